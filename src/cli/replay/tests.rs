use super::compare::Kind;
use super::exact::{Exact, grouped};
use super::table::{Row, Table};
use crate::base::Span;
use crate::run::Losses;
use crate::sim::{Idle, Outcome};

fn row(kind: Kind, name: &str, seconds: u64, missing: usize) -> Row {
    let span = |part: u64| Span::from_secs(seconds * part);
    Row {
        kind,
        name: name.to_owned(),
        slots: 4,
        outcome: Outcome {
            makespan: span(1),
            bound: Span::from_secs(60),
            ratio: Some(seconds as f64 / 60.0),
            bytes: 3 << 20,
            busy: span(2),
            idle: Idle { no_work: span(1), waiting: Span::ZERO, transfer: span(1) },
            losses: Some(Losses {
                makespan: span(1),
                bound: Span::from_secs(60),
                estimate_error: Span::from_secs(5),
                lost_host: Span::from_secs(seconds - 65),
                ..Losses::default()
            }),
            builds: 9,
            missing,
        },
    }
}

#[test]
fn the_table_says_what_more_hosts_would_have_gained() {
    let table = Table {
        run: "last".to_owned(),
        derivations: 9,
        makespan: Some(Span::from_secs(91)),
        seeds: 5,
        rows: vec![
            row(Kind::Recorded, "as it was", 100, 0),
            row(Kind::Asked, "policy nix", 90, 0),
            row(Kind::Fleet, "one more like ruby", 72, 0),
            row(Kind::Fleet, "twice the bandwidth", 95, 0),
            row(Kind::Fleet, "without ruby", 300, 1),
        ],
    };
    insta::assert_snapshot!(table.text(), @r"
    last: 9 derivations, built in 1m31s; means of 5 seeds
                             takes  × bound    copied    no work  estimate   choice  transfer    hosts  handling
      as it was              1m40s     1.67   3.0 MiB       0.0s      5.0s     0.0s      0.0s      35s      0.0s
      policy nix             1m30s     1.50   3.0 MiB       0.0s      5.0s     0.0s      0.0s      25s      0.0s

      one more like ruby     1m12s     1.20   3.0 MiB       0.0s      5.0s     0.0s      0.0s     7.0s      0.0s
      twice the bandwidth    1m35s     1.58   3.0 MiB       0.0s      5.0s     0.0s      0.0s      30s      0.0s
      without ruby           5m00s     5.00   3.0 MiB       0.0s      5.0s     0.0s      0.0s    3m55s      0.0s  (does not build all)
    beyond the bound: no ready work, estimate error, waiting by choice, transfer, hosts away, handling
    would have saved: one more like ruby 18s (20 %), twice the bandwidth nothing
    ");
}

#[test]
fn a_log_that_is_identical_says_where_its_time_went() {
    let log = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/runs/faulted.jsonl");
    let exact = Exact::of(&crate::cli::runs::find(log.to_str().unwrap()).unwrap()).unwrap();
    let text = exact.text();
    let second = text.lines().nth(1).unwrap_or_default();
    let quotes = second.contains("s, ") && second.contains(" times the lower bound of ");
    assert!(quotes && second.contains("hosts away "), "{text}");
}

#[test]
fn numbers_are_grouped_by_thousands() {
    assert_eq!([0, 999, 1000, 5_213, 1_234_567].map(grouped), ["0", "999", "1,000", "5,213", "1,234,567"]);
}
