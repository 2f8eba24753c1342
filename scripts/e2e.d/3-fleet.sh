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
    expect out '^[a-z@]*builder1 +9 '
    expect out '^[a-z@]*builder2 +2 +2.5 '
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
    expect out '^[a-z@]*builder2: ok, .*trusts this user'
    expect out '^[a-z@]*builder3: ok, '
    for host in builder2 builder3; do
        build small --on "$host"
        expect_status 0
        closure_is_valid result
        all_built_on "$host"
        salt+=- # for the other one builds everything afresh
    done
}
