use super::compare::{Kind, table};
use super::exact::{Exact, grouped};
use super::source::Replayed;
use super::table::{Row, Table};
use super::what_if::WhatIf;
use crate::base::Span;
use crate::run::Losses;
use crate::sim::{Idle, Outcome, Recording};

fn recorded(name: &str) -> String {
    format!("{}/fixtures/runs/{name}.jsonl", env!("CARGO_MANIFEST_DIR"))
}

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
    insta::assert_snapshot!(table.text(crate::report::Room::PIPE), @r"
    last: 9 derivations, built in 1m31s; means of 5 seeds
                           takes  × bound   copied  error  hosts
      as it was            1m40s     1.67  3.0 MiB   5.0s    35s
      policy nix           1m30s     1.50  3.0 MiB   5.0s    25s

      one more like ruby   1m12s     1.20  3.0 MiB   5.0s   7.0s
      twice the bandwidth  1m35s     1.58  3.0 MiB   5.0s    30s
      without ruby         5m00s     5.00  3.0 MiB   5.0s  3m55s  (does not build all)
    beyond the bound: no ready work, estimate error, waiting by choice, transfer
    (moves), hosts away, handling (orders)
    would have saved: one more like ruby 18s (20 %), twice the bandwidth nothing
    ");
}

#[test]
fn a_log_that_is_identical_says_where_its_time_went() {
    let exact = Exact::of(&crate::cli::runs::find(&recorded("faulted")).unwrap()).unwrap();
    let text = exact.text();
    let second = text.lines().nth(1).unwrap_or_default();
    let quotes = second.contains("s, ") && second.contains(" times the lower bound of ");
    assert!(quotes && second.contains("hosts away "), "{text}");
}

#[test]
fn numbers_are_grouped_by_thousands() {
    assert_eq!([0, 999, 1000, 5_213, 1_234_567].map(grouped), ["0", "999", "1,000", "5,213", "1,234,567"]);
}

#[test]
fn a_graph_is_gone_about_as_a_build_of_it_would_be() {
    let header = crate::cli::runs::find(&recorded("layered")).unwrap().header().unwrap();
    let mut hosts = header.hosts.clone();
    hosts.iter_mut().for_each(|(_, host)| host.link.bandwidth = host.link.bandwidth.min(5_000));
    let eligible = header.eligible();
    let recording = Recording::imagined(header.workload, hosts, header.estimates, eligible);
    let replayed = Replayed { name: "layered".to_owned(), recording, makespan: None, began: None };
    let base = ["--no-config", "--estimates", "perfect"];
    let of = |options: &[&str]| {
        let what_if = <WhatIf as clap::FromArgMatches>::from_arg_matches(
            &<WhatIf as clap::Args>::augment_args(clap::Command::new("replay").no_binary_name(true))
                .get_matches_from(base.iter().chain(options)),
        );
        table(&replayed, &what_if.unwrap(), false).unwrap().rows.pop().unwrap()
    };
    let (rehearsed, full) = (of(&[]), of(&["--policy", "full"]));
    assert_eq!(rehearsed.name, "estimates perfect (by all-fastest)");
    assert!(rehearsed.outcome.makespan < full.outcome.makespan);
}
