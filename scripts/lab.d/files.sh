# shellcheck shell=bash
# The files that ssh and Nix need to reach the hosts. Sourced by scripts/lab.

write_known_hosts() {
    local host
    for host in $(hosts); do
        echo "$host,$(address "$host") $(host_key "$host")"
    done
}

host_key() { cut -d' ' -f1,2 "$RUN/hosts/$1/upper/etc/ssh/ssh_host_ed25519_key.pub"; }

# write_ssh_config KEY KNOWN_HOSTS. HostKeyAlias, since Nix writes a machines file's host key into a
# known_hosts file of its own under the name it was given, while ssh would look for the address.
write_ssh_config() {
    local host
    for host in $(hosts); do
        cat <<-EOF
	Host $host
	  HostName $(address "$host")
	  HostKeyAlias $host
	  User $(ssh_user "$host")
	  IdentityFile $1
	  IdentitiesOnly yes
	  UserKnownHostsFile $2
	  GlobalKnownHostsFile /dev/null
	  StrictHostKeyChecking yes
	EOF
    done
}

# write_machines KEY SLOTS SPEED HOST...; SLOTS empty: as given to `up`.
write_machines() {
    local key=$1 slots=$2 speed=$3 host
    shift 3
    for host in "$@"; do
        echo "ssh-ng://$(ssh_user "$host")@$host $(uname -m)-linux $key ${slots:-$(slots "$host")} $speed" \
            "nixos-test,benchmark,big-parallel,kvm - $(host_key "$host" | tr -d '\n' | base64 -w0)"
    done
}

write_hosts_file() {
    local host
    for host in $(hosts); do echo "$(address "$host") $host"; done
}

MARK="drvdispatch lab $LAB_ID"
unlist_hosts() {
    local kept
    grep -q "^# begin $MARK\$" /etc/hosts 2>/dev/null || return 0
    # Written in place: /etc/hosts may be a mount point.
    kept=$(sed "/^# begin $MARK\$/,/^# end $MARK\$/d" /etc/hosts)
    printf '%s\n' "$kept" >/etc/hosts
}
list_hosts() {
    unlist_hosts
    # Other labs have hosts of the same names: they are found through their ssh_config only.
    [[ $LAB_ID == 0 ]] || return 0
    { echo "# begin $MARK"; write_hosts_file; echo "# end $MARK"; } >>/etc/hosts
}

write_files() {
    local host
    local -a all
    write_known_hosts >"$RUN/known_hosts"
    write_ssh_config "$RUN/key" "$RUN/known_hosts" >"$RUN/ssh_config"
    mapfile -t all < <(builders)
    write_machines "$RUN/key" '' 1 "${all[@]}" >"$RUN/machines"
    mkdir -p "$RUN/nix"
    cat >"$RUN/nix/nix.conf" <<-EOF
	experimental-features = nix-command flakes
	build-users-group =
	sandbox = false
	substituters =
	builders = @$RUN/machines
	EOF
    for host in $(hosts); do
        { echo '127.0.0.1 localhost'; write_hosts_file; } | put "$host" /etc/hosts
    done
    if hosts | grep -qx home; then
        put home /root/.ssh/id_ed25519 <"$RUN/key"
        put home /root/.ssh/known_hosts <"$RUN/known_hosts"
        write_ssh_config /root/.ssh/id_ed25519 /root/.ssh/known_hosts | put home /root/.ssh/config
        write_machines /root/.ssh/id_ed25519 '' 1 "${all[@]}" | put home /etc/nix/machines
    fi
    list_hosts
}

# put HOST FILE <content: into a running host through its own root, for an overlay must not be
# written from below while it is mounted; otherwise into the upper directory.
put() {
    local pid root=$RUN/hosts/$1/upper
    if pid=$(init_pid "$(netns "$1")"); then root=/proc/$pid/root; fi
    (umask 077 && cat >"$root$2.new")
    case $2 in /etc/*) chmod 644 "$root$2.new" ;; esac
    mv "$root$2.new" "$root$2"
}

print_env() {
    local -a all
    mapfile -t all < <(builders)
    printf 'export %s=%q\n' LAB_DIR "$LAB_DIR" LAB_ID "$LAB_ID" LAB_RUN "$RUN" LAB_SHARED "$SHARED" \
        LAB_KEY "$RUN/key" LAB_KNOWN_HOSTS "$RUN/known_hosts" LAB_SSH_CONFIG "$RUN/ssh_config" \
        LAB_MACHINES "$RUN/machines" LAB_HOSTS "${all[*]}" \
        NIX_SSHOPTS "-F $RUN/ssh_config" NIX_CONF_DIR "$RUN/nix" NIX_USER_CONF_FILES /dev/null
}
