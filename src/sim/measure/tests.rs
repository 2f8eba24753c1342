use super::*;
use crate::fleet::LinkSpeed;
use crate::graph::{Job, Origin, PathId, PathSpec};
use crate::run::{Expectation, SlotId, Times};

/// Two jobs, the second of which needs the first.
fn pair() -> Workload {
    let job = |id: u32, needs: Vec<JobId>| Job {
        drv: String::new(),
        name: String::new(),
        system: "x".to_owned(),
        features: Vec::new(),
        inputs: needs.iter().map(|need| PathId(need.0)).collect(),
        needs,
        outputs: vec![PathId(id)],
        fixed_output: false,
        prefer_local: false,
        parallel: false,
    };
    let path =
        |id| PathSpec { path: String::new(), origin: Origin::Job(JobId(id)), size: 5, refs: Vec::new() };
    Workload {
        jobs: [job(0, Vec::new()), job(1, vec![JobId(0)])].into_iter().collect(),
        paths: [path(0), path(1)].into_iter().collect(),
        wanted: vec![PathId(1)],
    }
}

fn one_host(slots: u32) -> Table<HostId, Host> {
    let host = Host {
        name: "local".to_owned(),
        systems: vec!["x".to_owned()],
        features: Vec::new(),
        mandatory: Vec::new(),
        slots,
        cores: 0,
        speed: 1.0,
        emulated: std::collections::BTreeMap::new(),
        substitutes: false,
        link: LinkSpeed::FREE,
    };
    std::iter::once(host).collect()
}

fn build(job: u32) -> Order {
    Order::Build {
        job: JobId(job),
        attempt: Attempt(0),
        host: HostId::HOME,
        slot: SlotId(0),
        cores: 1,
        expect: Expectation::default(),
    }
}

fn built(job: u32, attempt: u32) -> Event {
    let outcome = Outcome::Built { made: Vec::new(), times: Times::default() };
    Event::Finished { job: JobId(job), attempt: Attempt(attempt), outcome }
}

#[test]
fn idle_time_has_its_cause() {
    let mut measure = Measure::new(&pair(), &one_host(2), None);
    // A job is ready and not begun for 10, waits for a transfer for 20 more, and is built for 30.
    measure.event(Time(10), &Event::FleetReady);
    let stage = Order::Stage {
        transfer: TransferId(0),
        from: Source::Substituter,
        to: HostId::HOME,
        paths: Vec::new(),
        for_job: Some(JobId(0)),
    };
    measure.order(Time(10), &stage);
    measure.event(Time(30), &Event::Staged { transfer: TransferId(0), bytes: 7, took: Span(20) });
    measure.event(Time(30), &Event::Staged { transfer: TransferId(0), bytes: 7, took: Span(20) });
    measure.order(Time(30), &build(0));
    measure.event(Time(50), &built(0, 9));
    measure.event(Time(60), &built(0, 0));
    measure.order(Time(60), &build(1));
    measure.event(Time(100), &built(1, 0));
    let idle = Idle { no_work: Span(10 + 20 + 30 + 40), waiting: Span(10), transfer: Span(20) };
    let expected = Measured { makespan: Span(100), busy: Span(70), idle, bytes: 7, transfers: 1, builds: 2 };
    assert_eq!(measure.result(), expected);
}

#[test]
fn what_is_lost_is_no_longer_under_way() {
    let mut measure = Measure::new(&pair(), &one_host(1), None);
    measure.order(Time(0), &build(0));
    measure.event(Time(10), &Event::HostLost { host: HostId::HOME, cause: String::new() });
    measure.event(Time(30), &built(0, 0));
    let Measured { busy, idle, .. } = measure.result();
    assert_eq!((busy, idle.waiting, idle.no_work), (Span(10), Span(20), Span::ZERO));
}
