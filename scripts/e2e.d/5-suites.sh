# shellcheck shell=bash
# shellcheck disable=SC2154,SC2034  # variables are shared with run-one
# Coordinators with other versions of Nix than this machine's. Sourced by run-one.

# coordinate_from SUITE: a build that is started on a host of that suite.
coordinate_from() {
    [[ ,$E2E_SUITES, == *,$1,* ]] || skip "E2E_SUITES does not name $1"
    lab coordinator --suite "$1"
    cp "$E2E_BINARY" "$LAB_SHARED/drvdispatch"
    cp "$repo/fixtures/e2e.nix" "$LAB_SHARED/"
    sed -E '/builder[4567] /d' "$LAB_MACHINES" | sed 's|[^ ]*/key |/root/.ssh/id_ed25519 |' >"$LAB_SHARED/machines"
    if ! on_host home /shared/drvdispatch --version 2>version && grep GLIBC_ version; then
        skip "made on a newer Debian than $1: its C library is too old for this binary"
    fi
    status=0
    on_host home /shared/drvdispatch build -f /shared/e2e.nix -A small --argstr salt "$salt" \
        --builders @/shared/machines --print-out-paths --out-link /root/result >out 2>err || status=$?
    cat out err
    expect_status 0
    on_host home sh -c 'nix-store --verify-path $(nix-store -qR /root/result)'
    [[ $(on_host home nix-store -qR "$(cat out)" | wc -l) == 15 ]] || fail "the closure is not 15 paths"
    on_host home nix --version
}

check_coordinator_trixie() { coordinate_from trixie; }
check_coordinator_forky() { coordinate_from forky; }
