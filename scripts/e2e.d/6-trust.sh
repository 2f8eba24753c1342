# shellcheck shell=bash
# shellcheck disable=SC2154,SC2034,SC2016  # variables are shared with run-one; the last is about what hosts expand
# What this machine's own nix-daemon lets a user do. Sourced by run-one.

# `home` with a nix-daemon, which knows the user `guest` but does not trust it.
guest_at_home() {
    lab coordinator --suite "${E2E_SUITES%%,*}"
    on_host home sh -c '
        pkill -x nix-daemon; rm -rf /nix/var/nix/daemon-socket
        [ -e /etc/nix/of-lab ] || cp /etc/nix/nix.conf /etc/nix/of-lab
        cp /etc/nix/of-lab /etc/nix/nix.conf
        sed -i "s/^build-users-group.*/build-users-group = nixbld/" /etc/nix/nix.conf
        echo "trusted-users = root" >>/etc/nix/nix.conf
        rm -rf /home/guest/.ssh; cp -r /root/.ssh /home/guest/ && sed -i "s|/root/|/home/guest/|" /home/guest/.ssh/config
        chown -R guest: /home/guest/.ssh'
    cp "$E2E_BINARY" "$repo/fixtures/e2e.nix" "$LAB_SHARED/"
    lab machines builder1 builder3 | sed 's|[^ ]*/key |/home/guest/.ssh/id_ed25519 |' >"$LAB_SHARED/machines"
    start_daemon
}

start_daemon() {
    # A process of its own, which does not end with the command that started it.
    on_host home sh -c 'setsid nix-daemon </dev/null >/dev/null 2>&1 &'
    wait_until 10 on_host home test -S /nix/var/nix/daemon-socket/socket
}

stop_daemon() {
    on_host home pkill -x nix-daemon
    wait_until 10 on_host home sh -c '! pgrep -x nix-daemon'
}

# As `run`, by that user at home. A cache is no place for root's files.
run_as_guest() {
    status=0
    say "+ drvdispatch $*"
    on_host home runuser -u guest -- env HOME=/home/guest USER=guest sh -c \
        'cd; exec /shared/drvdispatch "$@"' sh "$@" >out 2>err || status=$?
    say "exit code $status; stdout:"
    cat out
    say "stderr:"
    cat err
}

guest_builds() {
    local attribute=$1
    shift
    run_as_guest build -f /shared/e2e.nix -A "$attribute" --argstr salt "$salt" --builders @/shared/machines "$@"
}

check_untrusted_at_home() {
    guest_at_home
    # Its own daemon builds for it, other hosts are left out, and it is said why and what to do.
    guest_builds small --print-out-paths
    expect_status 0
    expect err '^warning: building on this machine only: .*`extra-trusted-users = guest` to /etc/nix/nix.conf'
    [[ $(on_host home head -n 1 "$(cat out)") == home ]] || fail "it was not built at home"
    # What nobody else may build for it is said before anything is built.
    guest_builds one --not-on local
    expect_status 1
    expect err '^error: e2e-one cannot be built here: .*extra-trusted-users = guest'
    expect_not err '^(building|built) '
    run_as_guest hosts check --builders @/shared/machines
    expect_status 1
    expect out '^local: ok, .*does not trust this user'
    expect out '^no host but local can be used: .*extra-trusted-users = guest'
    expect out '^builder1: ok'
    # With that remedy it goes.
    on_host home sh -c 'echo "extra-trusted-users = guest" >>/etc/nix/nix.conf'
    stop_daemon
    start_daemon
    guest_builds wide --not-on local --print-out-paths
    expect_status 0
    expect_not err 'warning'
    on_host home nix-store --verify-path "$(cat out)"
}

# An untrusted user gets what is signed with a key that this machine knows, and from nobody else.
check_signing_builder() {
    local key
    guest_at_home
    on_host builder1 sh -c 'umask 077; nix key generate-secret --key-name e2e-1 >/etc/nix/e2e.key
        sed -i /secret-key-files/d /etc/nix/nix.conf; echo "secret-key-files = /etc/nix/e2e.key" >>/etc/nix/nix.conf'
    key=$(on_host builder1 sh -c 'nix key convert-secret-to-public </etc/nix/e2e.key')
    on_host home sh -c "echo 'extra-trusted-public-keys = $key' >>/etc/nix/nix.conf"
    stop_daemon
    start_daemon
    # Build logs are taken in from trusted users only.
    guest_builds logged --not-on local --no-link
    expect_status 0
    expect err 'takes no build logs from this user: they are in /home/guest/.*/logs$'
    on_host home sh -c 'grep -q "a line for the log" /home/guest/.local/state/drvdispatch/logs/*e2e-logged*'
    guest_builds wide --not-on local --print-out-paths
    on_host builder1 sed -i /secret-key-files/d /etc/nix/nix.conf
    expect_status 0
    expect err 'not using builder3: .*has no signature.*extra-trusted-public-keys'
    [[ $(on_host home head -n 1 "$(cat out)") == builder1 ]] || fail "builder1 did not build it"
}

check_no_daemon_for_this_user() {
    guest_at_home
    on_host home chown root:nixbld /nix/var/nix/daemon-socket
    on_host home chmod 750 /nix/var/nix/daemon-socket
    guest_builds one
    expect_status 1
    expect err "^error: cannot use this machine's Nix: the user 'guest' may not connect to .*usermod -aG nixbld guest"
    [[ $(wc -l <err) == 1 ]] || fail "that is more than one line"
    on_host home chmod 755 /nix/var/nix/daemon-socket
    on_host home sh -c 'echo "allowed-users = root" >>/etc/nix/nix.conf'
    stop_daemon
    # The socket is still there, but nobody listens.
    guest_builds one
    expect_status 1
    expect err "^error: cannot use this machine's Nix: nobody listens at .*start its nix-daemon"
    start_daemon
    guest_builds one
    expect_status 1
    expect err "^error: cannot use this machine's Nix: its nix-daemon hung up on the user 'guest'.*allowed-users"
    stop_daemon
    on_host home rm -f /nix/var/nix/daemon-socket/socket
    guest_builds one
    expect_status 1
    expect err "^error: cannot use this machine's Nix: there is no .*socket, .*start its nix-daemon"
    [[ $(wc -l <err) == 1 ]] || fail "that is more than one line"
}
