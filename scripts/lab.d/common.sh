# shellcheck shell=bash
# shellcheck disable=SC2034  # used by the files that source this one
# What every part of the lab shares: where things are, and small helpers. Sourced by scripts/lab.

umask 022
export LC_ALL=C.UTF-8

LAB_DIR=${LAB_DIR:-/var/lib/drvdispatch-lab}
LAB_ID=${LAB_ID:-0}
[[ $LAB_ID =~ ^[0-9]$ ]] || { echo "lab: LAB_ID must be one digit, got '$LAB_ID'" >&2; exit 2; }
SUFFIX=
if [[ $LAB_ID != 0 ]]; then SUFFIX=-$LAB_ID; fi

BASES=$LAB_DIR/base
RUN=$LAB_DIR/run$SUFFIX
SHARED=$LAB_DIR/shared$SUFFIX
SPEC=$RUN/spec # one line per host: name kind suite slots octet
BRIDGE=ddlab$LAB_ID

# A running lab keeps the network it was started with, whatever LAB_NET says now.
if [[ -r $RUN/net ]]; then NET=$(<"$RUN/net"); else NET=${LAB_NET:-10.213.$((77 + LAB_ID))}; fi

say() { echo "lab: $*" >&2; }
die() { say "$*"; exit 1; }
usage() { say "$*; see: scripts/lab help"; exit 2; }

need_root() { [[ $EUID == 0 ]] || die "this needs root: it makes mounts, namespaces and a bridge"; }

need_tools() {
    local tool
    for tool in ip tc unshare nsenter flock ssh ssh-keygen debootstrap; do
        command -v "$tool" >/dev/null || die "$tool is not installed; run: scripts/lab deps"
    done
}

# One lab command at a time changes things. The lock is the directory itself: no file to leave behind.
lock() {
    mkdir -p "$BASES"
    exec 9<"$BASES"
    flock 9
}

is_up() { [[ -s $SPEC ]]; }
# The files of a lab are root's, and nobody else can tell whether it is up.
may_look() { [[ ! -d $RUN || -x $RUN ]] || die "the lab is root's; ask as root"; }
need_up() { may_look; is_up || die "no lab is up; run: scripts/lab up 2"; }

hosts() { if is_up; then cut -d' ' -f1 "$SPEC"; fi; }
builders() { hosts | grep -v '^home$' || true; }

# field HOST N: a field of the host's line in the specification.
field() {
    local value
    value=$(awk -v name="$1" -v n="$2" '$1 == name { print $n }' "$SPEC")
    [[ -n $value ]] || die "no host '$1'; the lab has: $(hosts | tr '\n' ' ')"
    echo "$value"
}
kind() { field "$1" 2; }
suite() { field "$1" 3; }
slots() { field "$1" 4; }
address() { local octet; octet=$(field "$1" 5); echo "$NET.$octet"; }

ssh_user() {
    case $(kind "$1") in
        multi) echo builder ;;
        untrusted) echo guest ;;
        *) echo root ;;
    esac
}

# Runs a function for each host at the same time; fails if one of them failed. Call it as a plain
# command: after `||` or in an `if`, bash would ignore failures inside the function.
each_at_once() {
    local fn=$1 host pid failed=0
    shift
    local -a pids=()
    for host in "$@"; do
        "$fn" "$host" &
        pids+=($!)
    done
    for pid in "${pids[@]}"; do wait "$pid" || failed=1; done
    ((failed == 0)) || die "not every host could be set up"
}
