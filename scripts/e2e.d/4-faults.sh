# shellcheck shell=bash
# shellcheck disable=SC2154,SC2034,SC2016  # variables are shared with run-one; the last is about what hosts expand
# Hosts that cannot be used, or are lost; builder6 is the one to break. Sourced by run-one.

# The run has said in exactly one line that HOST is out of it, with a word of the remedy.
one_line_about() {
    expect err "$1.*($2)"
    [[ $(grep -cE "(could not reach|not using|lost) $1" err) == 1 ]] || fail "not one line about $1"
}

goes_on_without() {
    expect_status 0
    closure_is_valid result
    one_line_about "$@"
    built_on result | tee share
    expect_not share " $1\$"
}

check_host_without_nix() {
    machines mixed builder1 builder5
    with_builders mixed build wide --not-on local
    goes_on_without builder5 'install Nix'
}

check_old_protocol() {
    [[ " $LAB_HOSTS " == *' builder7 '* ]] || skip "the lab has no host with an old Nix"
    machines mixed builder1 builder7
    with_builders mixed build wide --not-on local
    goes_on_without builder7 'protocol 1\.21, .*install Nix 2\.4'
}

check_untrusted_user() {
    machines mixed builder1 builder4
    with_builders mixed build wide --not-on local
    goes_on_without builder4 'trusted-users'
}

check_cut_host_at_the_start() {
    machines mixed builder1 builder6
    lab cut builder6
    with_builders mixed build wide --not-on local --connect-timeout 3
    lab heal builder6
    goes_on_without builder6 'ssh root@builder6'
}

check_wrong_host_key() {
    local other
    machines other builder1
    machines mixed builder1 builder6
    other=$(awk '{ print $NF }' other)
    sed -i "s|^\(.*@builder6 .*\) [^ ]*$|\1 $other|" mixed
    with_builders mixed build wide --not-on local
    goes_on_without builder6 'machines file|field 8'
}

check_unknown_host_key() {
    machines mixed builder1 builder6
    sed -i 's|^\(.*@builder6 .*\) [^ ]*$|\1 -|' mixed
    sed '/builder6/d' "$LAB_KNOWN_HOSTS" >known_hosts
    sed "s|$LAB_KNOWN_HOSTS|$work/known_hosts|" "$LAB_SSH_CONFIG" >ssh_config
    NIX_SSHOPTS="-F $work/ssh_config" with_builders mixed build wide --not-on local
    goes_on_without builder6 'known host'
}

check_hosts_check_judges_each() {
    machines all builder1 builder4 builder5 builder6
    lab kill builder6
    run hosts check --builders "@$work/all" --connect-timeout 5
    lab start builder6
    expect_status 1
    expect out '^builder1: ok'
    expect out '^builder4: .*trusted-users'
    expect out '^builder5: .*install Nix'
    expect out '^builder6: .*(refused|cannot reach)'
    [[ $(wc -l <out) == 5 ]] || fail "that is not a line for each of five hosts"
}

# What a remedy names is what does not work: with the user and the port of the machines file.
check_remedies_name_user_and_port() {
    machines other builder6
    sed 's|ssh-ng://root@builder6|ssh-ng://nobody@builder6|' other >strange
    sed 's|ssh-ng://root@builder6|ssh-ng://root@builder6:2222|' other >>strange
    run hosts check --builders "@$work/strange" --not-on local
    lab kill builder6 # or its sshd holds the failed logins against this machine
    lab start builder6
    expect_status 1
    expect out 'ssh -o BatchMode=yes nobody@builder6 true'
    expect out '`ssh -p 2222 root@builder6` works'
}

check_no_host_left() {
    machines bad builder5
    with_builders bad build one --not-on local
    expect_status 1
    expect err 'install Nix'
    with_builders bad build wide --not-on local
    expect_status 1
    expect err '^error: 18 derivations were given up \(.* and 15 more\), each for: builder5 cannot be used: '
    [[ $(grep -c '^error' err) == 1 ]] || fail "that is more than one error"
}

# during ACTION…: builds while ACTION happens to builder6, in the middle of its builds.
during() {
    local pid
    machines mixed builder1 builder6
    "$E2E_BINARY" build -f "$repo/fixtures/e2e.nix" -A long --argstr salt "$salt" \
        --builders "@$work/mixed" --not-on local --connect-timeout 3 >out 2>err &
    pid=$!
    wait_until 30 runs_on builder6 'sleep 1.5'
    "$@"
    status=0
    wait "$pid" || status=$?
    cat err
    expect_status 0
    closure_is_valid result
    expect err 'lost builder6'
}

check_killed_host_in_the_middle() {
    during lab kill builder6
    lab start builder6
    built_on result
}

check_killed_connections_in_the_middle() {
    during on_host builder6 pkill -KILL sshd
    lab kill builder6
    lab start builder6
}

# Cuts the link of builder6 and waits for that to be noticed: 10 to 12 s, as link/ssh2_carrier.rs says.
cut_and_watch() {
    local began
    lab cut builder6
    began=$EPOCHREALTIME
    wait_until 15 grep -qE 'lost builder6' err
    say "noticed after $(awk "BEGIN { print $EPOCHREALTIME - $began }") s"
}

mend_builder6() {
    lab heal builder6
    lab rate builder6 off
    lab kill builder6
    lab start builder6
}

check_cut_link_in_the_middle() {
    during cut_and_watch
    mend_builder6
}

# As before, over an OpenSSH process: libssh2 knows no jump hosts.
check_cut_link_behind_a_jump_host() {
    awk '{ print } $1 == "Host" && $2 == "builder6" { print "  ProxyJump builder1" }' "$LAB_SSH_CONFIG" >ssh_config
    export NIX_SSHOPTS="-F $work/ssh_config"
    during cut_and_watch
    mend_builder6
}

# A daemon that hangs in the middle of a transfer, at the end of a link that lives.
check_daemon_that_hangs_in_a_transfer() {
    local pid
    machines broken builder6
    lab rate builder6 20
    "$E2E_BINARY" build -f "$repo/fixtures/e2e.nix" -A big --argstr salt "$salt" \
        --builders "@$work/broken" --not-on local >out 2>err &
    pid=$!
    # The 30 MB take 12 s once they begin to move. The first two daemons are those of the slots, which may
    # have written as much; one of those after them sends.
    wait_until 30 on_host builder6 bash -c 'for pid in $(pgrep nix-daemon | sort -n | tail -n +3); do
            awk "/^wchar/ && \$2 > 1000000 { big = 1 } END { exit !big }" "/proc/$pid/io" && exit
        done
        exit 1'
    on_host builder6 pkill -STOP nix-daemon
    status=0
    wait "$pid" || status=$?
    cat err
    mend_builder6
    expect_status 0
    closure_is_valid result
    expect err 'lost builder6: copying .*no byte in either direction for 60 s'
    expect err 'builder6 is back'
}

# What hangs on a slow host is built on a faster one as soon as there is one, and ended where it hangs.
check_copy_of_a_late_build() {
    local pid
    machines mixed builder1 builder6
    lab kill builder6
    "$E2E_BINARY" build -f "$repo/fixtures/e2e.nix" -A straggler --argstr salt "$salt" --no-history --no-nom \
        --builders "@$work/mixed" --not-on local --speed builder6=8 >out 2>err &
    pid=$!
    wait_until 30 runs_on builder1 'sleep 97.531'
    lab start builder6
    status=0
    wait "$pid" || status=$?
    cat err
    expect_status 0
    closure_is_valid result
    expect err 'built e2e-straggler on builder6'
    expect err '^1 built in'
    wait_until 10 runs_nowhere 'sleep 97.531'
}

check_host_comes_back() {
    bounce() { lab kill builder6; lab start builder6; }
    during bounce
    expect err 'builder6 is back'
}

# Two of its builds find no room, and then it gets no more of them; what they were for is built elsewhere.
check_full_disk() {
    machines mixed builder1 builder6
    on_host builder6 mount -t tmpfs -o size=4m full /nix/store
    with_builders mixed build heavy --not-on local
    on_host builder6 umount -l /nix/store
    expect_status 0
    closure_is_valid result
    expect err 'e2e-heavy-[0-9] could not be built on builder6: .*free disk space'
    expect err '^no more jobs for builder6: its disk is full$'
    [[ $(grep -c 'no more jobs for' err) == 1 ]] || fail "not one line about the full disk"
    built_on result | tee share
    expect_not share ' builder6$'
    # A job for each of two slots, one more between the two failures that it takes, and none after that.
    [[ $(grep -c 'building e2e-heavy-[0-9] on builder6' err) -le 3 ]] || fail "it was given more"
}

# What was built before drvdispatch was killed is not built again.
check_killed_run_continues() {
    local pid out host n=0
    machines good builder1 builder2 builder3
    "$E2E_BINARY" build -f "$repo/fixtures/e2e.nix" -A long --argstr salt "$salt" \
        --builders "@$work/good" --not-on local --no-link >out 2>err &
    pid=$!
    wait_until 30 grep -qE 'built e2e-long-[0-9]+ on' err
    sleep 0.2
    kill -KILL "$pid"
    wait "$pid" || true
    wait_until 10 runs_nowhere '^sleep 1.5'
    mkdir before
    for out in $(nix-store -qR "$(drv_of long)" | grep 'e2e-long-[0-9]*.drv$' | xargs nix-store -q --outputs); do
        for host in builder1 builder2 builder3; do
            if on_host "$host" nix-store --check-validity "$out" 2>/dev/null; then
                on_host "$host" cat "$out" >"before/${out##*/}"
            fi
        done
    done
    build long --not-on local
    expect_status 0
    closure_is_valid result
    for out in before/*; do
        cmp "$out" "/nix/store/${out##*/}" || fail "${out##*/} was built twice"
        n=$((n + 1))
    done
    ((n >= 1)) || fail "nothing was built before"
    expect err "^$((19 - n)) built"
}
