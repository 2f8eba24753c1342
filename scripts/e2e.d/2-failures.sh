# shellcheck shell=bash
# shellcheck disable=SC2154  # run-one sets the variables
# Builds that fail, in each way that has an exit code of its own. Sourced by run-one.

check_failed_build() {
    local drv
    drv=$(drv_of failing)
    build failing
    expect_status 100
    expect_empty out
    [[ ! -e result ]] || fail "there is a link to a failed build"
    expect err 'e2e-failing failed on (builder[123]|local)'
    expect err '> no rule to make target'
    expect err '> line 17$'
    expect_not err '> line 15$'
    expect err "nix log $drv"
    nix log "$drv" >log
    expect log '^line 1$'
    expect log '^no rule to make target$'
}

# -K, and where to look then.
check_keep_failed() {
    local dir host
    for host in builder1 local; do
        machines single builder1
        salt+=-$host
        with_builders single build failing --on "$host" -K
        expect_status 100
        expect err "^  Its build directory is kept on $host: /"
        dir=$(sed -n "s/^  Its build directory is kept on $host: //p" err)
        if [[ $host == local ]]; then
            [[ -d $dir ]] || fail "$dir is not there"
            rm -rf --one-file-system "$dir"
        else
            on_host "$host" test -d "$dir" || fail "$dir is not there"
        fi
    done
    build failing --on builder3 -K
    expect_status 100
    expect err '^  Its build directory is not kept: the Nix of builder3 .* root$'
}

check_failure_stops_the_rest() {
    build needs-failing
    expect_status 100
    expect err 'e2e-needs-failing was skipped because of e2e-failing'
    expect_not err 'building e2e-needs-failing'
}

check_timeout() {
    build chatty --timeout 2
    expect_status 101
    expect err 'e2e-chatty timed out'
    wait_until 10 runs_nowhere 'while :; do echo still here'
}

check_max_silent_time() {
    build silent --max-silent-time 2
    expect_status 101
    expect err 'e2e-silent timed out'
    wait_until 10 runs_nowhere 'sleep 97.531'
}

# Waiting for somebody who builds the same is nobody's silence.
check_limits_begin_with_the_builder() {
    local pid
    machines single builder1
    "$E2E_BINARY" build -f "$repo/fixtures/e2e.nix" -A slow --argstr salt "$salt" \
        --builders "@$work/single" --not-on local --no-link >first 2>&1 &
    pid=$!
    wait_until 30 grep -q 'building e2e-slow' first
    wait_until 30 runs_on builder1 'sleep 0.5'
    with_builders single build slow --not-on local --max-silent-time 1
    wait "$pid"
    expect_status 0
    expect err 'e2e-slow on builder1: waiting for lock'
    closure_is_valid result
}

check_hash_mismatch() {
    build mismatch
    expect_status 102
    expect err 'hash'
}

check_keep_going_combines_codes() {
    build several-failures --keep-going --timeout 3 --not-on local
    expect_status 103
    expect err '^1 built, 3 failed, 1 skipped'
    # What could be built is there, on some builder, and is only fetched.
    build one --not-on local --print-out-paths
    expect_status 0
    closure_is_valid "$(cat out)"
    expect_not err 'building |not (begun|finished|built)'
}

# Of a build on this machine too, whose message from Nix has log lines of its own.
check_log_lines_are_shown_once() {
    build failing --local-only
    expect_status 100
    [[ $(grep -c '> no rule to make target' err) == 1 ]] || fail "the last log lines are not shown once"
}

check_own_failures_are_1() {
    run build -f "$repo/fixtures/e2e.nix" -A no-such-attribute
    expect_status 1
    expect err 'no-such-attribute'
    echo '{"half": ' >half.json
    run build --graph half.json /nix/store/00000000000000000000000000000000-x.drv
    expect_status 1
    expect err 'half.json'
    run plan --graph "$repo/fixtures/e2e.nix"
    expect_status 1
    expect err 'nix derivation show -r'
    build one --on nobody
    expect_status 1
    expect err "nobody"
    expect_empty out
}

check_nobody_can_build_it() {
    build impossible
    expect_status 1
    expect err 'e2e-special'
    expect err 'quantum'
    expect err 'builder2.*quantum|quantum.*builder2'
    expect_not err 'building '
    [[ ! -e $(nix-store -q --outputs "$(drv_of one)") ]] || fail "something was built before the error"
}

# As `timeout` and service managers do, to the one process only. Nix would go on for ever.
check_terminated_while_evaluating() {
    local pid code=0
    echo 'builtins.length (builtins.genericClosure {
        startSet = [ { key = 0; } ];
        operator = x: [ { key = builtins.seq (builtins.foldl'"'"' builtins.add 0 (builtins.genList (n: n) 9999)) (x.key + 1); } ];
    })' >endless.nix
    "$E2E_BINARY" build -f endless.nix --local-only >out 2>err &
    pid=$!
    wait_until 20 pgrep -P "$pid" -f 'nix .*endless.nix'
    kill -TERM "$pid"
    wait "$pid" || code=$?
    cat err
    [[ $code == 130 ]] || fail "exit code $code instead of 130"
    wait_until 5 eval '! pgrep -f "[n]ix .*--file endless.nix"'
}

# On a terminal, as a user would.
check_interrupt() {
    local code keys
    machines good builder1 builder2 builder3
    mkfifo keys
    cat >interrupted <<END
trap : INT
'$E2E_BINARY' build -f '$repo/fixtures/e2e.nix' -A hanging --argstr salt '$salt' --builders @'$work/good' \
    --not-on local --no-link
code=\$?
stty -a >terminal
exit \$code
END
    TERM=xterm script -qec 'bash interrupted' typescript <keys >screen 2>&1 &
    local pid=$!
    exec {keys}>keys
    wait_until 30 runs_on builder1 'sleep 97.531'
    wait_until 10 runs_on builder2 'sleep 97.531'
    printf '\003' >&"$keys"
    code=0
    wait "$pid" || code=$?
    exec {keys}>&-
    cat -v screen
    [[ $code == 130 ]] || fail "exit code $code instead of 130"
    wait_until 10 runs_nowhere 'sleep 97.531'
    grep -qE '(^| )echo( |$)' terminal && grep -qE '(^| )icanon( |$)' terminal || fail "the terminal is not as before"
    # Whoever hides the cursor last shows it again.
    [[ $(grep -oaE $'\e\\[\\?25[hl]' screen | tail -n 1) != *l ]] || fail "the cursor stays hidden"
}
