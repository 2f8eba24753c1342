//! What the simulated world makes of single orders, against what can be worked out by hand.

use drvdispatch::base::{Span, Table, Time};
use drvdispatch::drive::{Happening, World};
use drvdispatch::fleet::{Host, HostId, LinkSpeed};
use drvdispatch::graph::{Job, JobId, Origin, PathId, PathSpec, Workload};
use drvdispatch::run::{
    Attempt, Event, Expectation, HostFault, Order, Outcome, Side, SlotId, Source, TransferId,
};
use drvdispatch::sim::{Fault, SimWorld, Slowdown, Speed, Wire};

const MEGABYTE: u64 = 1_000_000;

/// This machine and three builders with links of 1 MB/s; a path of 1 MB at home, and one that refers
/// to it; jobs 0 and 1 need nothing, job 2 needs the second path.
struct Stage {
    work: Workload,
    hosts: Table<HostId, Host>,
    truth: Table<JobId, Option<Span>>,
}

fn stage(cores: u32) -> Stage {
    let path = |name: &str, origin, refs| PathSpec { path: name.into(), origin, size: MEGABYTE, refs };
    let job = |i: u32, inputs: Vec<PathId>| Job {
        drv: format!("{i}.drv"),
        name: format!("{i}"),
        system: "x".into(),
        features: vec![],
        needs: vec![],
        inputs,
        outputs: vec![PathId(2 + i)],
        fixed_output: false,
        prefer_local: false,
        parallel: true,
    };
    let host = |i: u32| Host {
        name: format!("h{i}"),
        systems: vec!["x".into(), "y".into()],
        features: vec![],
        mandatory: vec![],
        slots: 8,
        cores,
        speed: 1.0,
        emulated: std::collections::BTreeMap::new(),
        substitutes: false,
        link: if i == 0 { LinkSpeed::FREE } else { LinkSpeed { bandwidth: MEGABYTE, latency: Span::ZERO } },
    };
    let paths = [
        path("a", Origin::Home, vec![]),
        path("b", Origin::Home, vec![PathId(0)]),
        path("0", Origin::Job(JobId(0)), vec![]),
        path("1", Origin::Job(JobId(1)), vec![]),
        path("2", Origin::Job(JobId(2)), vec![]),
    ];
    let jobs = [job(0, vec![]), job(1, vec![]), job(2, vec![PathId(1)])];
    Stage {
        work: Workload {
            jobs: jobs.into_iter().collect(),
            paths: paths.into_iter().collect(),
            wanted: vec![],
        },
        hosts: (0..4).map(host).collect(),
        truth: Table::filled(3, Some(Span::from_secs(10))),
    }
}

impl Stage {
    fn world(&self) -> SimWorld<'_> {
        SimWorld::beginning(&self.work, &self.hosts, &self.truth, vec![])
    }
}

fn send(id: u32, from: u32, to: u32, path: u32) -> Order {
    Order::Stage {
        transfer: TransferId(id),
        from: Source::Host(HostId(from)),
        to: HostId(to),
        paths: vec![PathId(path)],
        for_job: None,
    }
}

fn build(job: u32, host: u32, cores: u32) -> Order {
    Order::Build {
        job: JobId(job),
        attempt: Attempt(0),
        host: HostId(host),
        slot: SlotId(job),
        cores,
        expect: Expectation::default(),
    }
}

/// The facts until nothing more happens, with seconds; that builds began is left out.
fn facts(world: &mut SimWorld<'_>) -> Vec<(f64, Event)> {
    let mut facts = Vec::new();
    loop {
        match world.next(None) {
            (_, Happening::Fact(Event::Interrupted)) => return facts,
            (_, Happening::Fact(Event::Started { .. })) => {}
            (at, Happening::Fact(event)) => facts.push((at.0 as f64 / 1e6, event)),
            _ => {}
        }
    }
}

/// When each transfer or build was over, in seconds.
fn ends(world: &mut SimWorld<'_>) -> Vec<(u32, f64)> {
    let end = |(at, event): (f64, Event)| match event {
        Event::Staged { transfer, .. } => Some((transfer.0, at)),
        Event::Finished { job, outcome: Outcome::Built { .. }, .. } => Some((job.0, at)),
        _ => None,
    };
    facts(world).into_iter().filter_map(end).collect()
}

#[test]
fn two_transfers_to_one_host_take_twice_as_long() {
    let stage = stage(0);
    let mut world = stage.world();
    world.obey(Time::ZERO, &send(0, 0, 1, 0));
    world.obey(Time::ZERO, &send(1, 0, 1, 0));
    world.obey(Time::ZERO, &send(2, 0, 2, 0));
    assert_eq!(ends(&mut world), [(2, 1.0), (0, 2.0), (1, 2.0)]);
}

#[test]
fn from_builder_to_builder_bytes_pass_through_this_machine() {
    let stage = stage(0);
    let mut wires: Table<HostId, Wire> = stage.hosts.rows().iter().map(|h| Wire::from(h.link)).collect();
    wires[HostId::HOME].up = MEGABYTE / 2;
    wires[HostId(1)].latency = Span::from_secs(1);
    wires[HostId(2)].latency = Span::from_secs(2);
    let mut world = stage.world().with_wires(&wires);
    world.obey(Time::ZERO, &build(0, 1, 1));
    while !matches!(world.next(None), (_, Happening::Fact(Event::Finished { .. }))) {}
    let ten = Time::ZERO + Span::from_secs(10);
    world.obey(ten, &send(0, 1, 2, 2));
    // Home has it from the first builder at that one's full speed: its link in costs nothing.
    world.obey(ten, &send(1, 1, 0, 2));
    // 1 MB of the second transfer leaves at 1 MB/s from 11 on; the first begins at 13, at 0.5 MB/s.
    assert_eq!(ends(&mut world), [(1, 12.0), (0, 15.0)]);
}

#[test]
fn a_closure_is_carried_and_only_what_is_missing_of_it() {
    let stage = stage(0);
    let mut world = stage.world();
    world.obey(Time::ZERO, &send(0, 0, 1, 1));
    let staged = |facts: &[(f64, Event)]| match facts {
        [(at, Event::Staged { bytes, .. })] => (*at, *bytes / MEGABYTE),
        other => panic!("{other:?}"),
    };
    assert_eq!(staged(&facts(&mut world)), (2.0, 2));
    world.obey(Time(5_000_000), &send(1, 0, 1, 1));
    assert_eq!(staged(&facts(&mut world)).1, 0);
}

#[test]
fn what_is_not_there_cannot_be_sent_or_read() {
    let stage = stage(0);
    let mut world = stage.world();
    world.obey(Time::ZERO, &send(0, 1, 2, 0));
    world.obey(Time::ZERO, &build(2, 3, 1));
    let found = facts(&mut world);
    let source = |(_, e): &(f64, Event)| matches!(e, Event::StageFailed { side: Side::Source, .. });
    let missing = |(_, e): &(f64, Event)| match e {
        Event::Finished { outcome: Outcome::HostFailed { fault, .. }, .. } => {
            *fault == HostFault::MissingInputs
        }
        _ => false,
    };
    assert!(found.len() == 2 && found.iter().any(source) && found.iter().any(missing), "{found:?}");
}

#[test]
fn builds_share_cores_and_use_those_they_are_given() {
    let stage = stage(4);
    let half = Table::filled(3, 0.5);
    let alone = |cores| {
        let mut world = stage.world().with_parallel(half.clone());
        world.obey(Time::ZERO, &build(0, 1, cores));
        ends(&mut world)
    };
    // Amdahl: 10 s × (0.5 + 0.5 / c).
    assert_eq!(
        [alone(1), alone(2), alone(0), alone(64)],
        [[(0, 10.0)], [(0, 7.5)], [(0, 6.25)], [(0, 6.25)]]
    );
    // Eight cores given out of four: half the speed while both run.
    let mut world = stage.world().with_parallel(half.clone());
    world.obey(Time::ZERO, &build(0, 1, 4));
    world.obey(Time::ZERO, &build(1, 1, 4));
    assert_eq!(ends(&mut world), [(0, 12.5), (1, 12.5)]);
}

#[test]
fn hosts_are_as_fast_as_they_are_and_slow_when_they_are_slow() {
    let mut stage = stage(0);
    stage.work.jobs[JobId(1)].system = "y".into();
    let emulated = Speed { usual: 2.0, of_system: vec![("y".into(), 0.25)] };
    let mut world = stage.world().with_speeds(Table::filled(4, emulated));
    world.obey(Time::ZERO, &build(0, 1, 1));
    world.obey(Time::ZERO, &build(1, 1, 1));
    assert_eq!(ends(&mut world), [(0, 5.0), (1, 40.0)]);

    let slow = Slowdown {
        host: HostId(1),
        from: Time(5_000_000),
        until: Some(Time(9_000_000)),
        pace: 0.5,
        link: 0.1,
    };
    let mut world = stage.world().with_slowdowns(&[slow]);
    world.obey(Time::ZERO, &build(0, 1, 1));
    assert_eq!(ends(&mut world), [(0, 12.0)]);
    let mut world = stage.world().with_slowdowns(&[Slowdown { from: Time::ZERO, ..slow }]);
    world.obey(Time::ZERO, &send(0, 0, 1, 1));
    // Nine seconds at 0.1 MB/s, then 1.1 MB at 1 MB/s.
    assert_eq!(ends(&mut world), [(0, 10.1)]);
}

#[test]
fn a_cut_ends_what_is_under_way_and_only_that() {
    let stage = stage(0);
    let fault = Fault { host: HostId(1), at: Time(500_000), back: Some(Time(3_000_000)) };
    let mut world = SimWorld::new(&stage.work, &stage.hosts, &stage.truth, vec![fault]);
    world.obey(Time::ZERO, &build(0, 1, 1));
    world.obey(Time::ZERO, &build(1, 2, 1));
    world.obey(Time::ZERO, &send(0, 0, 1, 0));
    world.obey(Time::ZERO, &send(1, 0, 2, 0));
    assert_eq!(ends(&mut world), [(1, 1.0), (1, 10.0)]);
    // It answers again, as it is back.
    world.obey(Time(11_000_000), &Order::Probe { host: HostId(1) });
    assert_eq!(facts(&mut world).len(), 8);
}

#[test]
fn a_cancelled_build_is_over_at_once() {
    let stage = stage(0);
    let mut world = stage.world();
    world.obey(Time::ZERO, &build(0, 1, 1));
    let cancel = Order::Cancel { job: JobId(0), attempt: Attempt(0), host: HostId(1), slot: SlotId(0) };
    world.obey(Time(4_000_000), &cancel);
    let found = facts(&mut world);
    assert!(
        matches!(found[..], [(at, Event::Finished { outcome: Outcome::Cancelled, .. })] if at == 4.0),
        "{found:?}"
    );
}

#[test]
fn the_clock_stops_at_a_deadline() {
    let stage = stage(0);
    let mut world = stage.world();
    world.obey(Time::ZERO, &send(0, 0, 1, 0));
    assert_eq!(world.next(Some(Time(7))), (Time(7), Happening::Fact(Event::DeadlineReached)));
    assert!(matches!(
        world.next(Some(Time(1_000_000))),
        (Time(1_000_000), Happening::Fact(Event::Staged { .. }))
    ));
}
