use std::sync::Arc;

use super::*;
use crate::base::{Table, Time};
use crate::fleet::{Host, HostId, LinkSpeed};
use crate::graph::{Job, JobId, Origin, PathId, PathSpec, Workload};
use crate::run::{
    Attempt, Event, Expectation, FORMAT, Failure, Header, HostFault, Made, Order, Outcome, SlotId, Source,
    Times, TransferId,
};

/// `zlib-1.3` of a source of 100 bytes, `hello-2.12` of zlib; this machine and `ruby`.
pub fn header() -> Arc<Header> {
    let job = |n: u32, name: &str| Job {
        drv: format!("/nix/store/{}-{name}.drv", n.to_string().repeat(32)),
        name: name.into(),
        system: "x86_64-linux".into(),
        needs: n.checked_sub(1).map(JobId).into_iter().collect(),
        inputs: vec![PathId(n)],
        outputs: vec![PathId(n + 1)],
        ..Job::default()
    };
    let path = |origin, size| PathSpec { path: String::new(), origin, size, refs: vec![] };
    let host = |name: &str, cores| Host {
        name: name.into(),
        systems: vec!["x86_64-linux".into()],
        features: vec![],
        mandatory: vec![],
        slots: 2,
        cores,
        speed: 1.0,
        emulated: Default::default(),
        substitutes: false,
        link: LinkSpeed::FREE,
    };
    let paths = [path(Origin::Home, 100), path(Origin::Job(JobId(0)), 7), path(Origin::Job(JobId(1)), 7)];
    Arc::new(Header {
        format: FORMAT,
        version: "0".into(),
        started: 1_700_000_000,
        command: vec![],
        workload: Workload {
            jobs: [job(0, "zlib-1.3"), job(1, "hello-2.12")].into_iter().collect(),
            paths: paths.into_iter().collect(),
            wanted: vec![PathId(2)],
        },
        hosts: [host("local", 8), host("ruby", 0)].into_iter().collect(),
        estimates: Table::new(),
        eligible: None,
        parallel: None,
        policy: serde_json::Value::Null,
    })
}

pub fn order(job: u32, host: u32, cores: u32) -> Order {
    let expect = Expectation::default();
    Order::Build { job: JobId(job), attempt: Attempt(0), host: HostId(host), slot: SlotId(0), cores, expect }
}

fn times(seconds: u64) -> Times {
    let half = Some(Span::from_secs(seconds / 2));
    Times { wall: Span::from_secs(seconds), cpu_user: half, cpu_system: half, start: 0, stop: 0 }
}

pub fn built(job: u32, seconds: u64) -> Event {
    let made = vec![Made { path: PathId(job + 1), size: 1000, refs: vec![PathId(job)] }];
    finished(job, Outcome::Built { made, times: times(seconds) })
}

fn finished(job: u32, outcome: Outcome) -> Event {
    Event::Finished { job: JobId(job), attempt: Attempt(0), outcome }
}

fn build_of(row: Option<Row>) -> Build {
    match row {
        Some(Row::Build(build)) => build,
        other => panic!("no build: {other:?}"),
    }
}

#[test]
fn a_build_is_kept_with_all_that_there_is_to_know() {
    let mut fold = Fold::new(&header(), "run-7".into());
    fold.order(&order(0, 0, 0));
    let zlib = build_of(fold.event(Time(4_500_000), &built(0, 4)));
    let expected = Sample {
        pname: "zlib".into(),
        version: "1.3".into(),
        class: OutputClass::Source,
        system: "x86_64-linux".into(),
        host: "local".into(),
        cores: 8,
        wall: Span::from_secs(4),
        cpu: Some(Span::from_secs(4)),
        input_size: 100,
        output_size: 1000,
        stopped: 1_700_000_004,
    };
    assert_eq!(zlib, Build { sample: expected, outcome: Ended::Built, run: "run-7".into() });
    assert_eq!(fold.event(Time(5_000_000), &built(0, 4)), None, "told once");
    // Of a host that says later how many processors it has; of the input's closure, as it turned out.
    fold.event(Time(0), &Event::HostCores { host: HostId(1), cores: 4 });
    fold.order(&order(1, 1, 6));
    let hello = build_of(fold.event(Time(9_000_000), &built(1, 4))).sample;
    assert_eq!((hello.host.as_str(), hello.cores, hello.input_size), ("ruby", 4, 1100));
}

#[test]
fn failures_and_cached_results_are_told_apart_and_lost_attempts_are_none() {
    let outcome = |outcome: Outcome| {
        let mut fold = Fold::new(&header(), String::new());
        fold.order(&order(0, 1, 2));
        fold.event(Time(1), &finished(0, outcome)).map(|row| build_of(Some(row)).outcome)
    };
    let failed = |failure| Outcome::Failed { failure, message: String::new(), times: Times::default() };
    assert_eq!(outcome(Outcome::Built { made: vec![], times: times(0) }), Some(Ended::Cached));
    assert_eq!(outcome(Outcome::Built { made: vec![], times: times(1) }), Some(Ended::Built));
    assert_eq!(outcome(failed(Failure::TimedOut)), Some(Ended::TimedOut));
    assert_eq!(outcome(failed(Failure::Build)), Some(Ended::Failed));
    assert_eq!(outcome(Outcome::Cancelled), None);
    let lost = Outcome::HostFailed { fault: HostFault::Connection, message: String::new() };
    assert_eq!(outcome(lost), None);
}

#[test]
fn transfers_tell_of_the_one_link_that_they_go_over() {
    let transfer = |from: Source, to: u32, bytes: u64| {
        let mut fold = Fold::new(&header(), String::new());
        let transfer = TransferId(3);
        fold.order(&Order::Stage { transfer, from, to: HostId(to), paths: vec![], for_job: None });
        let row = fold.event(Time(2_000_000), &Event::Staged { transfer, bytes, took: Span(5) });
        row.map(|row| match row {
            Row::Transfer(Transfer { sample, at }) => (sample.host, sample.bytes, sample.took, at),
            Row::Build(build) => panic!("{build:?}"),
        })
    };
    let expected = Some(("ruby".to_owned(), 9, Span(5), 1_700_000_002));
    assert_eq!(transfer(Source::Host(HostId(0)), 1, 9), expected);
    assert_eq!(transfer(Source::Host(HostId(1)), 0, 9), expected);
    assert_eq!(transfer(Source::Host(HostId(1)), 1, 9), None);
    assert_eq!(transfer(Source::Substituter, 1, 9), None);
    assert_eq!(transfer(Source::Host(HostId(0)), 1, 0), None, "it was there");
}
