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
    if [[ $EUID != 0 ]] || ! command -v apt-get >/dev/null; then need_tool "$@"; fi
    say "installing $2"
    apt-get -q update >&2
    DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=300 install -y \
        --no-install-recommends "$2" >&2
}

# Builds the release binary and prints its path.
release_binary() {
    command -v cargo >/dev/null || die "cargo is not installed; see https://rustup.rs"
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
