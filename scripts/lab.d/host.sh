# shellcheck shell=bash
# A host: its files in the overlay, starting and killing it. Sourced by scripts/lab.

PATH_INSIDE=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

make_host() {
    local host=$1 user dir=$RUN/hosts/$1
    local etc=$dir/upper/etc
    make_host_net "$host"
    mkdir -p "$dir"/{work,root,upper}
    if [[ $(kind "$host") == old ]]; then cp -a "$BASES/old/." "$dir/upper"; fi
    mkdir -p "$etc"/{nix,lab/keys,ssh/sshd_config.d}
    echo "$host" >"$etc/hostname"
    : >"$etc/resolv.conf" # no name server: names fail at once
    ssh-keygen -q -t ed25519 -N '' -C "$host" -f "$etc/ssh/ssh_host_ed25519_key"
    for user in root "$(ssh_user "$host")"; do cp "$RUN/key.pub" "$etc/lab/keys/$user"; done
    # Everything else stays as Debian ships it, MaxStartups, MaxSessions and PerSourcePenalties too.
    cat >"$etc/ssh/sshd_config.d/lab.conf" <<-EOF
	PasswordAuthentication no
	AuthorizedKeysFile /etc/lab/keys/%u
	EOF
    nix_conf "$(kind "$host")" >"$etc/nix/nix.conf"
    init_script "$host" >"$etc/lab/init"
    if [[ $host == home ]]; then (umask 077 && mkdir -p "$dir/upper/root/.ssh"); fi
}

nix_conf() {
    cat <<-EOF
	experimental-features = nix-command flakes
	substituters =
	sandbox = false
	max-jobs = 8
	system-features = nixos-test benchmark big-parallel kvm
	EOF
    case $1 in
        multi) printf '%s\n' 'build-users-group = nixbld' 'trusted-users = root builder' ;;
        untrusted) printf '%s\n' 'build-users-group = nixbld' 'trusted-users = root' ;;
        *) echo 'build-users-group =' ;;
    esac
}

# Process 1 stays when sshd ends: bash reaps what is orphaned, and only `lab kill` ends the host.
init_script() {
    echo "hostname $1"
    echo 'mkdir -p /run/sshd; rm -f /nix/var/nix/daemon-socket/socket'
    case $(kind "$1") in
        multi | untrusted) echo 'nix-daemon &' ;;
        bare) echo 'rm -rf /usr/bin/nix /usr/bin/nix-* /usr/libexec/nix /nix' ;;
    esac
    echo '/usr/sbin/sshd -D -e &'
    # shellcheck disable=SC2016  # meant for the host's shell
    echo 'while :; do sleep 3600 & wait $!; done'
}

# Leaves a running host alone; boots one that is down, or whose sshd is gone.
start_host() {
    local host=$1 ns dir=$RUN/hosts/$1 shared=''
    ns=$(netns "$host")
    if init_pid "$ns" >/dev/null && listens "$host"; then return; fi
    kill_ns "$ns"
    # shellcheck disable=SC2153
    if [[ $host == home ]]; then shared=$SHARED; fi
    setsid nsenter --net="/run/netns/$ns" \
        unshare --mount --pid --fork --uts --ipc --kill-child -- \
        "$LAB_LIB/boot.sh" "$dir" "$BASES/$(suite "$host")" "$shared" \
        </dev/null >"$dir/log" 2>&1 9>&- &
    disown
    if ! wait_ready "$host"; then
        say "$host did not start; the end of its log:"
        tail -n 20 "$dir/log" >&2
        return 1
    fi
}

listens() {
    local pid
    pid=$(init_pid "$(netns "$1")") || return 1
    grep -q ' 00000000:0016 00000000:0000 0A ' "/proc/$pid/net/tcp" 2>/dev/null || return 1
    case $(kind "$1") in
        multi | untrusted) [[ -S /proc/$pid/root/nix/var/nix/daemon-socket/socket ]] ;;
    esac
}

# First by looking, since sshd penalises connections that do not log in; then by one real login.
wait_ready() {
    local host=$1 deadline=$((SECONDS + 30))
    until listens "$host"; do
        ((SECONDS < deadline)) || return 1
        sleep 0.02
    done
    if link_is_cut "$host"; then return; fi
    until ssh -F "$RUN/ssh_config" -o BatchMode=yes -o ConnectTimeout=5 "$host" true </dev/null 9>&-; do
        ((SECONDS < deadline)) || return 1
        sleep 0.1
    done
}

exec_in() {
    local host=$1 pid
    shift
    [[ $# -gt 0 ]] || set -- /bin/bash -l
    field "$host" 1 >/dev/null
    pid=$(init_pid "$(netns "$host")") || die "$host is not running; run: scripts/lab start $host"
    exec nsenter -t "$pid" --mount --uts --ipc --net --pid --root --wd -- \
        env -i -C /root PATH="$PATH_INSIDE" HOME=/root USER=root LANG=C.UTF-8 TERM="${TERM:-dumb}" "$@"
}
