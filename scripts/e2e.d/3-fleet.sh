# shellcheck shell=bash
# shellcheck disable=SC2154  # run-one sets the variables
# Which hosts build what. Sourced by run-one.

# all_built_on HOST: of what `result` leads to.
all_built_on() {
    built_on result
    [[ $(built_on result | awk '{ print $2 }') == "$1" ]] || fail "not all of it was built on $1"
}

check_local_takes_its_share() {
    machines good builder1
    with_builders good build wide --max-jobs 2 --speed local=2
    expect_status 0
    built_on result | tee share
    expect share " $(uname -n)\$"
    expect share ' builder1$'
}

check_not_on_local() {
    build wide --not-on local --max-jobs 4
    expect_status 0
    closure_is_valid result
    built_on result | tee share
    expect_not share " $(uname -n)\$"
}

check_max_jobs_0() {
    build wide --max-jobs 0
    expect_status 0
    built_on result | tee share
    expect_not share " $(uname -n)\$"
}

check_local_only() {
    build wide --local-only --max-jobs 6
    expect_status 0
    all_built_on "$(uname -n)"
}

check_on() {
    build wide --on builder2
    expect_status 0
    all_built_on builder2
}

check_on_glob() {
    build wide --on 'builder[23]'
    expect_status 0
    built_on result | tee share
    expect_not share "builder1| $(uname -n)\$"
}

check_pin() {
    build small --pin 'e2e-step-*=builder3'
    expect_status 0
    nix-store -qR result | grep e2e-step | while read -r path; do head -n 1 "$path"; done | sort -u | tee share
    [[ $(cat share) == builder3 ]] || fail "not all of the pinned were built there"
}

check_jobs() {
    build wide --on builder1 --jobs builder1=9
    expect_status 0
    all_built_on builder1
    run hosts --builders "@$work/good" --jobs builder1=9 --speed builder2=2.5
    expect out '^builder1 +9 '
    expect out '^builder2 +2 +\? +2.5 '
}

check_cores_are_asked_for() {
    machines good builder1 builder2
    run hosts check --builders "@$work/good" --on builder1,builder2
    expect_status 0
    expect out 'builder1: ok, .* cores?, '
    build wide --not-on local --no-link
    expect_status 0
    grep -rq '"event":"host-cores","host":1,' state/drvdispatch/runs || fail "builder1 did not say its cores"
    # Nix's default may be the number of processors here, and is not what anybody wants of builders.
    grep -rq '"cores":"adaptive"' state/drvdispatch/runs || fail "cores are given by Nix's default"
}

# A builder with more slots than cores is given no more builds at a time than it has cores, once it has said how many.
check_slots_beyond_cores() {
    local cores
    cores=$(nproc)
    build wide --on builder1 --jobs "builder1=$((cores + 1))" --no-link
    expect_status 0
    awk -v cores="$cores" '
        /"event":"host-cores","host":1,/ { told = 1 }
        /"order":"build"/ { wrong += told && busy >= cores; busy++; full += told && busy == cores }
        /"event":"finished"/ { busy-- }
        END { exit !(full && !wrong) }' state/drvdispatch/runs/*.jsonl ||
        fail "builder1 was not given $cores builds at a time"
}

check_speed() {
    build wide --not-on local --speed builder1=8 --speed builder2=0.1 --speed builder3=0.1
    expect_status 0
    built_on result | tee share
    [[ $(awk '$2 == "builder1" { print $1 }' share) -ge 12 ]] || fail "the fast host did not get most of it"
}

# builder2 and builder3: Nix behind a nix-daemon, and an ssh user who is not root, on each suite.
check_multi_user() {
    local host
    machines good builder1 builder2 builder3
    run hosts check --builders "@$work/good" --on 'builder[23]'
    expect_status 0
    expect out '^builder2: ok, .*trusts this user'
    expect out '^builder3: ok, '
    for host in builder2 builder3; do
        build small --on "$host"
        expect_status 0
        closure_is_valid result
        all_built_on "$host"
        salt+=- # for the other one builds everything afresh
    done
}

check_policy() {
    build wide --policy all-local --max-jobs 6
    expect_status 0
    expect err '^policy: all-local, as asked for$'
    all_built_on "$(uname -n)"
    head -qn 1 state/drvdispatch/runs/*.jsonl >headers
    expect headers '"confine":"home"'
    run build --policy best
    expect_status 1
    expect err 'all-fastest'
}

check_policies_compared() {
    with_builders good plan wide
    expect_status 0
    expect out '^policy: [a-z-]+ in about .*; .*all-(local|fastest) would take '
    with_builders good plan wide --compare
    expect_status 0
    expect out '^[ *] full +[0-9.m]+s +[0-9.]+ '
    expect out '^[ *] heft +'
    expect out '^\* '
    with_builders good plan wide --compare --json
    expect_status 0
    python3 - <<'END'
import json
table = json.load(open("out"))
rows = {row["policy"]: row for row in table["policies"]}
assert {"full", "nix", "heft", "all-local", "all-fastest"} <= rows.keys(), rows
assert all(row["complete"] and row["makespan"] > 0 for row in rows.values()), rows
assert rows["all-local"]["bytesMoved"] == 0, rows
chosen = rows[table["chosen"]]["makespan"]
assert chosen * 0.99 <= min(rows["full"]["makespan"], rows["all-local"]["makespan"]), table
END
}
