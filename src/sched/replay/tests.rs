use proptest::prelude::*;

use super::*;
use crate::base::Table;
use crate::cost::Cost;
use crate::fleet::{Host, HostId, LinkSpeed};
use crate::graph::{Job, JobId, Origin, PathId, PathSpec, Workload};
use crate::run::{Attempt, FORMAT, LogWriter, Made, Outcome, SlotId, Times, read_log};

/// Two jobs on two hosts, of which the second is lost.
fn header() -> Header {
    let job = |i: u32| Job {
        drv: format!("j{i}.drv"),
        name: format!("j{i}"),
        system: "x".into(),
        outputs: vec![PathId(i)],
        ..Job::default()
    };
    let path =
        |i: u32| PathSpec { path: format!("p{i}"), origin: Origin::Job(JobId(i)), size: 0, refs: vec![] };
    let host = |i: u32| Host {
        name: format!("h{i}"),
        systems: vec!["x".into()],
        features: vec![],
        mandatory: vec![],
        slots: 1,
        cores: 0,
        speed: 1.0,
        emulated: Default::default(),
        substitutes: false,
        link: LinkSpeed::FREE,
    };
    let cost = Cost { median: Span::from_secs(2), p10: Span::from_secs(1), p90: Span::from_secs(4) };
    Header {
        format: FORMAT,
        version: "0.1.0".into(),
        started: 0,
        command: vec![],
        workload: Workload {
            jobs: (0..2).map(job).collect(),
            paths: (0..2).map(path).collect(),
            wanted: vec![PathId(0), PathId(1)],
        },
        hosts: (0..2).map(host).collect(),
        estimates: Table::filled(2, cost),
        eligible: None,
        parallel: None,
        policy: serde_json::to_value(Policy::default()).unwrap(),
    }
}

/// The log of a run, as its facts make it.
fn log() -> Vec<Entry> {
    let up = |host| Event::SlotUp { host: HostId(host), slot: SlotId(0) };
    let built = |job: u32, attempt| {
        let made = vec![Made { path: PathId(job), size: 9, refs: vec![] }];
        let outcome = Outcome::Built { made, times: Times { wall: Span::from_secs(2), ..Times::default() } };
        Event::Finished { job: JobId(job), attempt: Attempt(attempt), outcome }
    };
    let lost = Event::HostLost { host: HostId(1), cause: "cut".into() };
    let facts =
        [(0, up(0)), (0, up(1)), (1, Event::FleetReady), (2, lost), (3, built(0, 0)), (6, built(1, 1))];
    let mut scheduler = Scheduler::recorded(&header()).unwrap();
    let mut entries = Vec::new();
    for (second, event) in facts {
        let (at, mut orders) = (Time(second * 1_000_000), Vec::new());
        scheduler.step(at, &event, &mut orders);
        entries.push(Entry { at, what: Step::Event(event) });
        entries.extend(orders.into_iter().map(|order| Entry { at, what: Step::Order(order) }));
    }
    entries
}

fn replayed(entries: &[Entry]) -> Result<Identical, Differs> {
    Scheduler::recorded(&header()).unwrap().replay(entries)
}

fn orders(log: &[Entry]) -> Vec<usize> {
    let is_order = |row: &usize| matches!(log[*row].what, Step::Order(_));
    (0..log.len()).filter(is_order).collect()
}

#[test]
fn a_run_with_a_lost_host_is_identical() {
    let log = log();
    assert!(orders(&log).len() >= 4, "{log:?}");
    assert_eq!(replayed(&log), Ok(Identical { events: 6, orders: orders(&log).len() }));
}

#[test]
fn the_first_difference_is_named_by_its_row() {
    let whole = log();
    for row in orders(&whole) {
        let mut missing = whole.clone();
        missing.remove(row);
        let last = row + 1 == whole.len();
        match replayed(&missing) {
            Ok(_) => assert!(last, "{row}"),
            Err(differs) => assert_eq!(differs.row, row),
        }
        let mut twice = whole.clone();
        twice.insert(row, whole[row].clone());
        assert!(replayed(&twice).is_err());
        let mut late = whole.clone();
        late[row].at = Time(u64::MAX);
        let differs = replayed(&late).unwrap_err();
        assert_eq!((differs.row, differs.expected.is_some()), (row, true));
    }
    let first = orders(&whole)[0];
    assert_eq!(replayed(&whole[first..]).unwrap_err().row, 0, "an order without a fact");
}

#[test]
fn an_unknown_policy_is_said_with_the_version_that_knows_it() {
    let header = Header { policy: serde_json::json!({ "order": "by-moonlight" }), ..header() };
    let error = Scheduler::recorded(&header).unwrap_err().to_string();
    assert!(error.contains("made by version 0.1.0") && error.contains("by-moonlight"), "{error}");
}

/// The log as a file has it.
fn written() -> Vec<u8> {
    let mut writer = LogWriter::new(Vec::new(), &header()).unwrap();
    for Entry { at, what } in log() {
        match what {
            Step::Event(event) => writer.event(at, &event).unwrap(),
            Step::Order(order) => writer.order(at, &order).unwrap(),
        }
    }
    writer.into_inner()
}

#[test]
fn a_log_cut_off_at_any_byte_is_replayed_to_its_last_whole_line() {
    let whole = written();
    let header_ends = whole.iter().position(|b| *b == b'\n').unwrap();
    let mut seen = 0;
    for cut in 0..=whole.len() {
        let Ok((header, entries, torn)) = read_log(&whole[..cut]) else {
            assert!(cut < header_ends, "cut at {cut}");
            continue;
        };
        let lines = whole[..cut].iter().filter(|b| **b == b'\n').count();
        // A last line without its end is whole all the same if nothing is missing of it.
        assert!(entries.len() + 1 == lines.max(1) || torn.is_none(), "cut at {cut}");
        let same = Scheduler::recorded(&header).unwrap().replay(&entries).unwrap();
        assert_eq!(same.events + same.orders, entries.len());
        seen = seen.max(entries.len());
    }
    assert_eq!(seen, log().len());
}

proptest! {
    #[test]
    fn no_other_order_passes_for_the_right_one(row in 0usize..100, slot in 1u32..9) {
        let mut log = log();
        let builds: Vec<usize> = orders(&log);
        let row = builds[row % builds.len()];
        match &mut log[row].what {
            Step::Order(Order::Build { slot: at, .. }) => at.0 += slot,
            Step::Order(Order::Stage { transfer, .. }) => transfer.0 += slot,
            Step::Order(Order::Probe { host }) => host.0 += slot,
            _ => return Ok(()),
        }
        prop_assert_eq!(replayed(&log).unwrap_err().row, row);
    }
}
