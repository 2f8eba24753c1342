//! Arbitrary runs, for property tests here and on higher floors: any order of any events and orders that
//! fit a small header.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::log::{Entry, FORMAT, Header, Step};
use super::{
    Attempt, Event, Expectation, Failure, HostFault, Made, Order, Outcome, Side, SlotId, Source, Times,
    TransferId, Why,
};
use crate::base::{Span, Table, Time};
use crate::cost::Cost;
use crate::fleet::{Host, HostId, LinkSpeed};
use crate::graph::{Job, JobId, Origin, PathId, PathSpec, Workload};

const JOBS: u32 = 3;
const HOSTS: u32 = 2;
const SLOTS: u32 = 2;

/// A chain of three jobs with one output each, and one source.
pub(crate) fn header() -> Header {
    let job = |n: u32| Job {
        drv: format!("/nix/store/{n:032}-job{n}.drv"),
        name: format!("job{n}"),
        system: "x86_64-linux".into(),
        features: vec![],
        needs: if n == 0 { vec![] } else { vec![JobId(n - 1)] },
        inputs: if n == 0 { vec![PathId(JOBS)] } else { vec![PathId(n - 1)] },
        outputs: vec![PathId(n)],
        fixed_output: false,
        parallel: n.is_multiple_of(2),
        prefer_local: false,
    };
    let path = |n: u32| PathSpec {
        path: format!("/nix/store/{n:032}-path{n}"),
        origin: if n < JOBS { Origin::Job(JobId(n)) } else { Origin::Home },
        size: 100,
        refs: vec![],
    };
    let host = |n: u32| Host {
        name: format!("host{n}"),
        systems: vec!["x86_64-linux".into()],
        features: vec![],
        mandatory: vec![],
        slots: SLOTS,
        cores: 4,
        speed: 1.5,
        emulated: Default::default(),
        substitutes: true,
        link: LinkSpeed::FREE,
    };
    let cost = Cost { median: Span::from_secs(2), p10: Span::from_secs(1), p90: Span::from_secs(4) };
    Header {
        format: FORMAT,
        version: "0.1.0".into(),
        started: 1_700_000_000,
        command: vec!["drvdispatch".into(), "build".into(), ".#x".into()],
        workload: Workload {
            jobs: (0..JOBS).map(job).collect(),
            paths: (0..=JOBS).map(path).collect(),
            wanted: vec![PathId(2)],
        },
        hosts: (0..HOSTS).map(host).collect(),
        estimates: Table::filled(JOBS as usize, cost),
        eligible: Some(Table::filled(JOBS as usize, (0..HOSTS).map(HostId).collect())),
        parallel: Some(Table::filled(JOBS as usize, 0.7)),
        policy: serde_json::json!({ "name": "rank", "factor": 0.5 }),
    }
}

fn job() -> impl Strategy<Value = JobId> {
    (0..JOBS).prop_map(JobId)
}
fn host() -> impl Strategy<Value = HostId> {
    (0..HOSTS).prop_map(HostId)
}
fn slot() -> impl Strategy<Value = SlotId> {
    (0..SLOTS).prop_map(SlotId)
}
fn paths() -> impl Strategy<Value = Vec<PathId>> {
    vec((0..=JOBS).prop_map(PathId), 0..4)
}
fn span() -> impl Strategy<Value = Span> {
    any::<u64>().prop_map(Span)
}
fn attempt() -> impl Strategy<Value = Attempt> {
    any::<u32>().prop_map(Attempt)
}
fn transfer() -> impl Strategy<Value = TransferId> {
    any::<u32>().prop_map(TransferId)
}

fn times() -> impl Strategy<Value = Times> {
    (span(), option::of(span()), option::of(span()), any::<u64>(), any::<u64>()).prop_map(
        |(wall, cpu_user, cpu_system, start, stop)| Times { wall, cpu_user, cpu_system, start, stop },
    )
}

fn outcome() -> impl Strategy<Value = Outcome> {
    let made = ((0..=JOBS).prop_map(PathId), any::<u64>(), paths()).prop_map(|(path, size, refs)| Made {
        path,
        size,
        refs,
    });
    let failure = prop_oneof![
        Just(Failure::Build),
        Just(Failure::TimedOut),
        Just(Failure::HashMismatch),
        Just(Failure::NotDeterministic),
        Just(Failure::LogLimit)
    ];
    let fault =
        prop_oneof![Just(HostFault::Connection), Just(HostFault::MissingInputs), Just(HostFault::Other)];
    prop_oneof![
        (vec(made, 0..3), times()).prop_map(|(made, times)| Outcome::Built { made, times }),
        (failure, ".*", times()).prop_map(|(failure, message, times)| Outcome::Failed {
            failure,
            message,
            times
        }),
        (fault, ".*").prop_map(|(fault, message)| Outcome::HostFailed { fault, message }),
        Just(Outcome::Cancelled),
    ]
}

fn event() -> impl Strategy<Value = Event> {
    let side = prop_oneof![Just(Side::Source), Just(Side::Destination), Just(Side::Unknown)];
    prop_oneof![
        (host(), slot()).prop_map(|(host, slot)| Event::SlotUp { host, slot }),
        (host(), paths()).prop_map(|(host, paths)| Event::HostHolds { host, paths }),
        (host(), 1..=u32::MAX).prop_map(|(host, cores)| Event::HostCores { host, cores }),
        (host(), ".*").prop_map(|(host, cause)| Event::HostLost { host, cause }),
        (host(), ".*").prop_map(|(host, cause)| Event::HostRefused { host, cause }),
        (host(), ".*").prop_map(|(host, cause)| Event::HostDrained { host, cause }),
        (job(), attempt(), 0..=1000u16).prop_map(|(job, attempt, permille)| Event::Progress {
            job,
            attempt,
            permille
        }),
        Just(Event::FleetReady),
        (transfer(), any::<u64>(), span()).prop_map(|(transfer, bytes, took)| Event::Staged {
            transfer,
            bytes,
            took
        }),
        (transfer(), side, ".*").prop_map(|(transfer, side, cause)| Event::StageFailed {
            transfer,
            side,
            cause
        }),
        (job(), attempt()).prop_map(|(job, attempt)| Event::Started { job, attempt }),
        (job(), attempt(), outcome()).prop_map(|(job, attempt, outcome)| Event::Finished {
            job,
            attempt,
            outcome
        }),
        Just(Event::DeadlineReached),
        Just(Event::Interrupted),
    ]
}

fn order() -> impl Strategy<Value = Order> {
    let source = prop_oneof![host().prop_map(Source::Host), Just(Source::Substituter)];
    let why = prop_oneof![
        Just(Why::Soonest),
        Just(Why::Drawn),
        Just(Why::Followed),
        Just(Why::Planned),
        Just(Why::Confined)
    ];
    let expect = (span(), span(), span(), why, option::of((host(), span()))).prop_map(
        |(queue, transfer, work, why, next_best)| Expectation { queue, transfer, work, why, next_best },
    );
    prop_oneof![
        (transfer(), source, host(), paths(), option::of(job())).prop_map(
            |(transfer, from, to, paths, for_job)| Order::Stage { transfer, from, to, paths, for_job }
        ),
        (job(), attempt(), host(), slot(), any::<u32>(), expect).prop_map(
            |(job, attempt, host, slot, cores, expect)| Order::Build {
                job,
                attempt,
                host,
                slot,
                cores,
                expect
            }
        ),
        (job(), attempt(), host(), slot()).prop_map(|(job, attempt, host, slot)| Order::Cancel {
            job,
            attempt,
            host,
            slot
        }),
        host().prop_map(|host| Order::Probe { host }),
    ]
}

/// One line of a log.
pub(crate) fn entry() -> impl Strategy<Value = Entry> {
    let what = prop_oneof![event().prop_map(Step::Event), order().prop_map(Step::Order)];
    (any::<u64>(), what).prop_map(|(at, what)| Entry { at: Time(at), what })
}
