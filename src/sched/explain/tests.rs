use super::*;
use crate::base::Table;
use crate::cost::Cost;
use crate::fleet::{Host, LinkSpeed};
use crate::graph::{Job, Origin, PathId, PathSpec, Workload};
use crate::run::{Attempt, Event, Made, Outcome, SlotId, Times};
use crate::sched::Policy;

fn cost(s: u64) -> Cost {
    Cost { median: Span::from_secs(s), p10: Span::from_secs(s / 2), p90: Span::from_secs(s * 2) }
}

fn host(name: &str, speed: f64) -> Host {
    let text = serde_json::json!({
        "name": name, "systems": ["x"], "features": [], "mandatory": [], "slots": 1, "cores": 0,
        "speed": speed, "substitutes": false, "link": LinkSpeed::FREE,
    });
    serde_json::from_value(text).unwrap()
}

/// Two independent jobs of ten and eight seconds, here and on a host of twice the speed.
fn fresh() -> Scheduler {
    two_jobs([10, 8], 2.0)
}

/// Two independent jobs of so many seconds, here and on a host of that speed.
fn two_jobs(seconds: [u64; 2], speed: f64) -> Scheduler {
    let job = |n: u32| Job {
        drv: format!("/nix/store/{n:032}-j{n}.drv"),
        name: format!("j{n}"),
        system: "x".to_owned(),
        features: vec![],
        needs: vec![],
        inputs: vec![],
        outputs: vec![PathId(n)],
        fixed_output: false,
        prefer_local: false,
        parallel: false,
    };
    let path = |n: u32| PathSpec {
        path: format!("/nix/store/{n:032}-j{n}"),
        origin: Origin::Job(JobId(n)),
        size: 0,
        refs: vec![],
    };
    let work = Workload {
        jobs: (0..2).map(job).collect(),
        paths: (0..2).map(path).collect(),
        wanted: vec![PathId(0), PathId(1)],
    };
    let hosts: Table<HostId, Host> = [host("local", 1.0), host("fast", speed)].into_iter().collect();
    let eligible = Table::filled(2, hosts.ids().collect());
    let estimates = seconds.map(cost).into_iter().collect();
    Scheduler::new(work, hosts, estimates, eligible, Policy::default())
}

/// What a run logs that begins so and is fed with these events.
fn log(mut scheduler: Scheduler, events: Vec<(Time, Event)>) -> Vec<Entry> {
    let mut entries = Vec::new();
    for (at, event) in events {
        let mut orders = Vec::new();
        scheduler.step(at, &event, &mut orders);
        entries.push(Entry { at, what: Step::Event(event) });
        entries.extend(orders.into_iter().map(|order| Entry { at, what: Step::Order(order) }));
    }
    entries
}

fn up(host: u32) -> (Time, Event) {
    (Time::ZERO, Event::SlotUp { host: HostId(host), slot: SlotId(0) })
}

/// The first attempt at a job is over, so many seconds after the beginning.
fn built(job: u32, seconds: u64) -> (Time, Event) {
    let made = vec![Made { path: PathId(job), size: 0, refs: vec![] }];
    let times = Times { wall: Span::from_secs(seconds), ..Times::default() };
    let outcome = Outcome::Built { made, times };
    let done = Event::Finished { job: JobId(job), attempt: Attempt(0), outcome };
    (Time(seconds * 1_000_000), done)
}

fn run() -> Vec<Entry> {
    log(fresh(), vec![up(0), up(1), (Time::ZERO, Event::FleetReady), built(0, 5)])
}

#[test]
fn a_job_is_shown_what_those_before_it_left() {
    let first = explain(&fresh(), &run(), JobId(0)).unwrap();
    let offers = |bindings: &[Binding]| -> Vec<(u32, Span, Span)> {
        bindings[0].offers.iter().map(|o| (o.host.0, o.queue, o.finish)).collect()
    };
    let s = Span::from_secs;
    assert_eq!(offers(&first), [(1, s(0), s(5)), (0, s(0), s(10))]);
    assert_eq!((first.len(), first[0].seat.host), (1, HostId(1)));
    // The first has taken the fast host, so the second would have to wait for it.
    let second = explain(&fresh(), &run(), JobId(1)).unwrap();
    assert_eq!(second[0].seat.host, HostId(0));
    assert_eq!(offers(&second), [(0, s(0), s(8)), (1, s(5), s(9))]);
}

#[test]
fn the_offer_that_was_taken_is_the_expectation_of_the_order() {
    for job in [JobId(0), JobId(1)] {
        for binding in explain(&fresh(), &run(), job).unwrap() {
            let taken = binding.offers.iter().find(|o| o.host == binding.seat.host).unwrap();
            let (_, expect) = binding.build.unwrap();
            assert_eq!((taken.transfer, taken.work), (expect.transfer, expect.work));
        }
    }
}

#[test]
fn a_job_that_goes_back_to_an_older_attempt_was_not_given_that_slot_again() {
    let fresh = two_jobs([100, 8], 8.0);
    let lost = Event::HostLost { host: HostId(1), cause: "no answer".to_owned() };
    let events = vec![
        up(0),
        up(1),
        (Time::ZERO, Event::FleetReady),
        built(0, 13),
        (Time(14_000_000), lost),
        built(1, 20),
    ];
    let bindings = explain(&fresh, &log(fresh.clone(), events), JobId(1)).unwrap();
    let seats: Vec<_> = bindings.iter().map(|b| (b.seat.host, b.seat.attempt, b.offers.len())).collect();
    assert_eq!(seats, [(HostId(0), Attempt(0), 2), (HostId(1), Attempt(1), 2)]);
}

#[test]
fn a_log_with_other_orders_is_not_explained() {
    let mut other = run();
    let order = other.iter().position(|entry| matches!(entry.what, Step::Order(_))).unwrap();
    let removed = other.remove(order);
    let found = explain(&fresh(), &other, JobId(0)).unwrap_err().to_string();
    assert!(found.contains("this version decides differently"), "{found}");
    other.insert(order, removed.clone());
    other.insert(order, removed);
    assert!(explain(&fresh(), &other, JobId(0)).is_err());
    // The end of a log may be missing.
    let cut: Vec<Entry> = run()[..order + 1].to_vec();
    assert_eq!(explain(&fresh(), &cut, JobId(0)).unwrap().len(), 1);
}
