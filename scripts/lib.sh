# shellcheck shell=bash
# What the scripts share. Source it from a bash script in this folder:
#
#   source "$(dirname "$(readlink -f "$0")")/lib.sh"
#
# Sets `repo` to the root of the repository. Messages go to standard error;
# standard output is left to results.

repo=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.." && pwd)

say() { echo "${0##*/}: $*" >&2; }

die() {
    say "error: $*"
    exit 1
}

# A wrong command line, as opposed to a failure.
die_usage() {
    say "$*; see ${0##*/} --help"
    exit 2
}

# need_root WHY
need_root() { [[ $EUID == 0 ]] || die "needs root: $1"; }

# need_tool TOOL PACKAGE: fails, saying what to install.
need_tool() {
    command -v "$1" >/dev/null || die "$1 is not installed; run: apt-get install $2"
}

# ensure_tool TOOL PACKAGE: installs Debian's package where the tool is missing.
ensure_tool() {
    command -v "$1" >/dev/null && return
    if ! can_install; then need_tool "$@"; fi
    install_packages "$2"
}

can_install() { [[ $EUID == 0 ]] && command -v apt-get >/dev/null; }

install_packages() {
    say "installing: $*"
    apt-get -q update >&2
    DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=300 install -y \
        --no-install-recommends "$@" >&2
}

# missing_packages PACKAGE…: those that dpkg does not have, one per line.
missing_packages() {
    local package
    for package in "$@"; do
        [[ $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) == installed ]] || echo "$package"
    done
}

# What cargo needs besides Rust. Where packages cannot be installed, cargo will say what it misses.
ensure_build_packages() {
    local -a missing
    command -v cargo >/dev/null || die "cargo is not installed; see https://rustup.rs"
    can_install || return 0
    mapfile -t missing < <(missing_packages gcc libc6-dev libssl-dev pkg-config)
    if [[ ${#missing[@]} -gt 0 ]]; then install_packages "${missing[@]}"; fi
}

# Builds the release binary and prints its path.
release_binary() {
    ensure_build_packages
    cargo build --quiet --release --manifest-path "$repo/Cargo.toml" >&2
    echo "${CARGO_TARGET_DIR:-$repo/target}/release/drvdispatch"
}

# A word that no run before has used, for the `salt` of the fixtures.
fresh_salt() { echo "$EPOCHREALTIME-$$-$RANDOM"; }

# The time in milliseconds, to take differences of.
now_ms() {
    local micros=${EPOCHREALTIME/[.,]/}
    echo $((micros / 1000))
}
