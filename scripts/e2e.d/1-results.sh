# shellcheck shell=bash
# shellcheck disable=SC2154  # run-one sets the variables
# What a run that goes well leaves: links, paths, JSON. Sourced by run-one.

# What builds say of their progress is in the run log, whichever Nix they run under.
check_progress_is_recorded() {
    local host what salt=$salt
    for host in builder1 builder2; do
        machines single "$host"
        salt+=-$host
        for what in counting downloading; do
            rm -rf state
            with_builders single build "$what" --not-on local --no-link
            expect_status 0
            cat state/drvdispatch/runs/*.jsonl >log
            expect log '"event":"progress".*"permille":[1-9]'
        done
    done
}

check_demo_on_four_hosts() {
    local host
    cp -r "$repo/fixtures/demo" flake
    echo "$salt" >flake/salt
    machines good builder1 builder2 builder3
    run build "path:$PWD/flake#nixosConfigurations.demo" --builders "@$work/good" --max-jobs 2
    expect_status 0
    expect_empty out
    [[ $(readlink result) == /nix/store/*-demo-system ]] || fail "result leads to $(readlink result)"
    closure_is_valid result
    [[ $(nix-store -qR result | wc -l) -ge 45 ]] || fail "the closure is too small"
    nix-store -q --roots "$(readlink result)" | grep -q "$PWD/result" || fail "result is no root"
    for host in builder1 builder2 builder3 local; do
        expect err "^$host +[1-9][0-9]* "
    done
    expect err '52 built'
    [[ -n $(find state/drvdispatch/runs -name '*.jsonl' -size +1k) ]] || fail "there is no run log"
}

check_small_graph() {
    build small --print-out-paths
    expect_status 0
    [[ $(cat out) == "$(readlink result)" ]] || fail "stdout has something else than the result"
    closure_is_valid result
    [[ $(nix-store -qR result | wc -l) == 15 ]] || fail "the closure is not 15 paths"
}

check_second_run_builds_nothing() {
    build small --no-link
    expect_status 0
    build small --no-link --print-out-paths
    expect_status 0
    expect_not err 'building '
    closure_is_valid "$(cat out)"
}

check_json() {
    # Which outputs one gets without asking depends on the version of Nix.
    nix build -f "$repo/fixtures/e2e.nix" parts --argstr salt "$salt" --dry-run --json >wanted 2>/dev/null
    build parts --no-link --json
    expect_status 0
    python3 - <<'END'
import json
(result,), (wanted,) = json.load(open("out")), json.load(open("wanted"))
assert result["drvPath"] == wanted["drvPath"], (result, wanted)
assert result["outputs"] == wanted["outputs"], (result, wanted)
assert result["stopTime"] >= result["startTime"] > 1_700_000_000, result
END
}

# Whatever the builder's Nix says of times (2.34 says nothing), and with the paths behind it, as Nix has it.
check_json_of_each_suite() {
    local host
    for host in builder1 builder2; do
        machines single "$host"
        salt+=-$host
        with_builders single build one --not-on local --no-link --json --print-out-paths
        expect_status 0
        python3 - <<'END'
import json
text, path = open("out").read().splitlines()
(result,) = json.loads(text)
assert result["outputs"] == {"out": path}, (result, path)
assert result["stopTime"] >= result["startTime"] > 1_700_000_000, result
END
    done
}

check_links() {
    local drv
    drv=$(drv_of parts)
    build one --out-link one
    expect_status 0
    expect_empty out
    [[ -L one && ! -e result ]] || fail "-o was not heeded"
    run build "$drv^out,dev" "$(drv_of one)^*" --builders "@$work/good"
    expect_status 0
    [[ $(readlink result) == *-e2e-parts && $(readlink result-dev) == *-e2e-parts-dev ]] || fail "wrong links"
    [[ $(readlink result-1) == *-e2e-one && ! -e result-doc ]] || fail "wrong links"
    rm result*
    build one --no-link
    expect_status 0
    [[ ! -e result ]] || fail "--no-link was not heeded"
}

check_dry_run() {
    build small --dry-run
    expect_status 0
    expect err '15 derivations will be built'
    expect err '-e2e-step-4.drv$'
    [[ ! -e result ]] || fail "there is a link"
}

check_build_logs() {
    build logged --no-link -L
    expect_status 0
    expect err 'a line for the log'
    nix log "$(drv_of logged)" >log
    expect log '^a line for the log$'
}

check_quiet() {
    build small --no-link --quiet
    expect_status 0
    expect_not err 'building '
    (($(wc -l <err) <= 2)) || fail "that is not quiet"
}

check_graph_file() {
    local drv
    drv=$(drv_of small)
    nix show-derivation -r "$drv" >graph.json 2>/dev/null || nix derivation show -r "$drv" >graph.json
    machines good builder1 builder2
    run build --graph graph.json "$drv^out" --builders "@$work/good" --print-out-paths
    expect_status 0
    closure_is_valid "$(cat out)"
}

check_plan_and_hosts() {
    machines good builder1 builder2 builder3
    run plan -f "$repo/fixtures/e2e.nix" -A small --argstr salt "$salt" --builders "@$work/good"
    expect_status 0
    expect out 'e2e-step-4'
    expect out '15 derivations'
    [[ ! -e $(nix-store -q --outputs "$(drv_of small)") ]] || fail "plan has built something"
    run hosts --builders "@$work/good"
    expect_status 0
    expect out '^builder1 +2 '
    expect out '^local '
    run hosts check --builders "@$work/good"
    expect_status 0
    expect out '^builder3: ok, Nix 2\.'
}

# The same builds under another salt: what they took is known from the first run.
check_history() {
    local history=state/drvdispatch/history.sqlite
    build small --no-link
    expect_status 0
    expect err '^estimates: 0 of [1-9][0-9]* from history'
    salt+=-again
    with_builders good plan small --json
    expect_status 0
    python3 - <<'END'
import json
plan = json.load(open("out"))
rests = plan["estimatesFrom"]
assert rests == {"history": plan["derivations"], "packages": 0, "kinds": 0}, rests
assert all(job["p10"] <= job["estimate"] <= job["p90"] for job in plan["jobs"]), plan["jobs"]
END
    build small --no-link --no-history
    expect_status 0
    expect err '^estimates: 0 of '
    run history export
    expect_status 0
    expect out '^\{"build":.*"outcome":"built"'
    expect out '^\{"transfer":\{"host":"builder'
    # A history that is no history costs nothing else.
    printf 'damage%.0s' {1..2000} >"$history"
    rm -f "$history"-*
    salt+=-again
    build small --no-link
    expect_status 0
    expect err 'the history begins anew: .* it is kept as .*damaged-1'
    [[ -s $history.damaged-1 ]] || fail "the damaged file is gone"
    # Two runs at once both leave what they built.
    salt+=-again
    "$E2E_BINARY" build -f "$repo/fixtures/e2e.nix" -A one --argstr salt "$salt" --builders '' --no-link &
    build parts --no-link
    wait $!
    run history list
    expect_status 0
    expect out '^e2e-one '
    expect out '^e2e-parts '
}
