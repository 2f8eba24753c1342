use super::super::LeftOut;
use super::*;
use crate::base::Value;
use crate::cost::OutputClass;

fn row(name: &'static str, now: Value, best: Value, gain: Option<[f64; 3]>, kept: bool) -> Row {
    let gain = gain.map(|[low, mean, high]| Gain { mean, low, high });
    Row { table: "policy", name, now, best, gain, matters: name != "window", kept }
}

fn tuned(kept: bool, together: Option<[f64; 3]>) -> Tuned {
    let n = Value::Number;
    let parameters = vec![
        row("prefetch", n(1.0), n(2.0), Some([0.004, 0.012, 0.02]), kept),
        row("steal_margin", Value::OFF, n(1.25), Some([-0.003, 0.001, 0.005]), false),
        row("rank_tolerance", n(0.1), n(0.1), None, false),
        row("window", n(64.0), n(64.0), None, false),
    ];
    let search = Searched {
        seeds: 4,
        folds: 5,
        judged_by: Judge::OtherRuns,
        parameters,
        together: together.map(|[low, mean, high]| Gain { mean, low, high }),
        written: None,
        file: "config.toml".to_owned(),
        dry_run: true,
    };
    let score = Score { builds: 120, log_rmse: 0.412, bias: -0.031, within80: 0.79, within90: 0.91 };
    let worst = Package { pname: "ghc".to_owned(), class: OutputClass::BigParallel, score, took: 3_000.0 };
    let estimator = Accuracy {
        all: score,
        repeats: score,
        classes: vec![(OutputClass::BigParallel, score)],
        hosts: vec![("builder1".to_owned(), "x86_64-linux".to_owned(), score)],
        worst: vec![worst],
        ..Accuracy::default()
    };
    let left_out = vec![LeftOut { run: "first".to_owned(), why: "it built fewer than 10".to_owned() }];
    Tuned { runs: vec![String::new(); 6], left_out, search: Some(search), estimator }
}

fn said(tuned: &Tuned) -> String {
    text(tuned, Room::PIPE)
}

#[test]
fn people_get_a_table_and_what_it_comes_to() {
    insta::assert_snapshot!(said(&tuned(true, Some([0.002, 0.011, 0.02]))), @r"
    left out first: it built fewer than 10
    6 runs, 4 seeds each; gains are those on the runs that a value was not chosen on (5 folds)

    parameter              now  best    gain  95 % interval
    policy.prefetch          1     2  +1.2 %   +0.4 to +2.0  better
    policy.steal_margin    off  1.25  +0.1 %   -0.3 to +0.5  not beyond noise
    policy.rank_tolerance  0.1   0.1                         as good as any
    policy.window           64    64                         makes no difference

    together they gain +1.1 % of the makespan on new seeds (95 %: +0.2 to +2.0)
    1 value would be written to config.toml

    the estimator, each build from those before it:
                               builds  log-RMSE   bias  in 80 %  in 90 %
    all builds                    120      0.41  -0.03     79 %     91 %
      built before                120      0.41  -0.03     79 %     91 %
    big-parallel                  120      0.41  -0.03     79 %     91 %
    on builder1, x86_64-linux     120      0.41  -0.03     79 %     91 %

    worst predicted:
    ghc                           120      0.41  -0.03     79 %     91 %  took 50m00s
    ");
}

#[test]
fn that_nothing_was_found_is_said_and_why() {
    let said =
        |tuned: &Tuned| said(tuned).lines().find(|line| line.contains("config.toml")).unwrap().to_owned();
    insta::assert_snapshot!(said(&tuned(false, None)), @"nothing that was tried is better beyond noise: config.toml stays as it is");
    insta::assert_snapshot!(said(&tuned(false, Some([-0.01, 0.001, 0.012]))), @"what looked better did not hold up on new seeds (+0.1 %, 95 %: -1.0 to +1.2): config.toml stays as it is");
    let mut few = tuned(false, None);
    few.runs.truncate(2);
    few.search.as_mut().unwrap().judged_by = Judge::OtherDurations;
    let text = text(&few, Room::PIPE);
    assert!(
        text.contains("\n2 runs, 4 seeds each; with fewer than 3 runs, gains are those with other durations"),
        "{text}"
    );
}
