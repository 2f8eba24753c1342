# shellcheck shell=bash
# The network: one bridge, one namespace and one veth pair per host. Sourced by scripts/lab.

netns() { echo "$BRIDGE-$1"; }
# The bridge's end of a host's cable; interface names have 15 characters at most.
veth() { echo "ddl$LAB_ID${1/builder/b}"; }
mac() { printf '02:dd:%02x:4c:ab:%02x' "$LAB_ID" "$1"; }

make_bridge() {
    local clash
    ip link show "$BRIDGE" >/dev/null 2>&1 && return
    clash=$(ip -4 -o route show match "$NET.10/32" | grep -v '^default' || true)
    [[ -z $clash ]] || die "$NET.0/24 is already in use here ($clash); choose another: LAB_NET=10.x.y"
    # No delays: a port that comes up forwards at once.
    ip link add "$BRIDGE" address "$(mac 1)" type bridge forward_delay 0 stp_state 0
    ip link set "$BRIDGE" addrgenmode none
    ip addr add "$NET.1/24" dev "$BRIDGE"
    ip link set "$BRIDGE" up
}

# No default route inside: what is not in the lab is unreachable at once instead of after a timeout.
make_host_net() {
    local ns cable octet
    ns=$(netns "$1") cable=$(veth "$1") octet=$(field "$1" 5)
    ip netns add "$ns"
    ip link add "$cable" type veth peer name eth0 address "$(mac "$octet")" netns "$ns"
    ip link set "$cable" addrgenmode none
    ip link set "$cable" master "$BRIDGE" up
    ip -n "$ns" -batch - <<-EOF
	link set lo up
	link set eth0 addrgenmode none
	addr add $NET.$octet/24 dev eth0
	link set eth0 up
	EOF
}

# Everybody knows everybody's hardware address for good. Otherwise a cut cable would show as
# "no route to host" once address resolution fails, while a lost host far away is just silent.
introduce_hosts() {
    local host other
    for host in $(hosts); do
        {
            echo "neigh replace $NET.1 lladdr $(mac 1) dev eth0 nud permanent"
            for other in $(hosts); do
                [[ $other == "$host" ]] || neighbour "$other" eth0
            done
        } | ip -n "$(netns "$host")" -batch -
        neighbour "$host" "$BRIDGE"
    done | ip -batch -
}
neighbour() { echo "neigh replace $(address "$1") lladdr $(mac "$(field "$1" 5)") dev $2 nud permanent"; }

# Every namespace of this lab, also those that a half-failed start left without a specification.
our_namespaces() { ip netns list | awk -v p="$BRIDGE-" 'index($1, p) == 1 { print $1 }'; }

# Processes are known by the namespace they are in, so none of somebody else's can be meant.
ns_pids() { ip netns pids "$1" 2>/dev/null || true; }

# The host's process 1: in our namespaces one level deeper than this shell, with id 1 there.
init_pid() {
    local pid depth
    depth=$(awk '/^NSpid:/ { print NF }' /proc/self/status)
    for pid in $(ns_pids "$1"); do
        awk -v n="$((depth + 1))" '/^NSpid:/ { found = NF == n && $NF == 1 } END { exit !found }' \
            "/proc/$pid/status" 2>/dev/null || continue
        echo "$pid"
        return
    done
    return 1
}

kill_ns() {
    local pid tries
    for ((tries = 0; tries < 500; tries++)); do
        local -a pids=()
        mapfile -t pids < <(ns_pids "$1")
        [[ ${#pids[@]} -gt 0 ]] || return 0
        for pid in "${pids[@]}"; do kill -KILL "$pid" 2>/dev/null || true; done
        sleep 0.02
    done
    die "processes of $1 do not end: ${pids[*]}"
}

remove_ns() {
    local ns=$1
    kill_ns "$ns"
    ip link del "$(veth "${ns#"$BRIDGE"-}")" 2>/dev/null || true
    ip netns del "$ns"
}

link_is_cut() { ! ip -o link show dev "$(veth "$1")" up | grep -q .; }

rate_of() {
    tc qdisc show dev "$(veth "$1")" root 2>/dev/null | sed -n 's/^qdisc tbf.* rate \([^ ]*\) .*/\1/p'
}

# Both directions. The bucket holds 10 ms, at least 32 KiB.
set_rate() {
    local host=$1 mbit=$2 ns cable burst
    ns=$(netns "$host") cable=$(veth "$host")
    if [[ $mbit == off ]]; then
        tc qdisc del dev "$cable" root 2>/dev/null || true
        tc -n "$ns" qdisc del dev eth0 root 2>/dev/null || true
        return
    fi
    [[ $mbit =~ ^[0-9]+(\.[0-9]+)?$ ]] || usage "rate: MBIT is a number or 'off', got '$mbit'"
    burst=$(awk -v m="$mbit" 'BEGIN { b = int(m * 1250); print b < 32768 ? 32768 : b }')
    tc qdisc replace dev "$cable" root tbf rate "${mbit}mbit" burst "$burst" latency 100ms
    tc -n "$ns" qdisc replace dev eth0 root tbf rate "${mbit}mbit" burst "$burst" latency 100ms
}
