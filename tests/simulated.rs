//! The scheduler under the simulated world: whatever the graph, the fleet and the faults, every job
//! ends once, every invariant holds after each step, and the same run gives the same orders.

#![expect(clippy::unwrap_used, reason = "a test's helpers fail the test")]

use drvdispatch::base::{Span, Table, Time};
use drvdispatch::cost::Cost;
use drvdispatch::drive::{Happening, Watch, World};
use drvdispatch::fleet::{Host, HostId, LinkSpeed};
use drvdispatch::graph::{Job, JobId, Origin, PathId, PathSpec, Power, Workload, classes, makespan_bound};
use drvdispatch::run::{Event, Order, Outcome};
use drvdispatch::sched::{JobState, Policy, Scheduler};
use drvdispatch::sim::{Fault, SimWorld};
use proptest::prelude::*;

/// A generated run.
#[derive(Clone, Debug)]
struct Case {
    work: Workload,
    hosts: Table<HostId, Host>,
    truth: Table<JobId, Option<Span>>,
    estimates: Table<JobId, Cost>,
    faults: Vec<Fault>,
    keep_going: bool,
}

fn host(index: usize, slots: u32, speed: f64) -> Host {
    Host {
        name: if index == 0 { "local".into() } else { format!("h{index}") },
        systems: vec!["x".into()],
        features: vec![],
        mandatory: vec![],
        slots,
        cores: 0,
        speed,
        emulated: Default::default(),
        substitutes: false,
        link: if index == 0 {
            LinkSpeed::FREE
        } else {
            LinkSpeed { bandwidth: 1 << 20, latency: Span::from_millis(5) }
        },
    }
}

/// Jobs where job i may need any earlier one; one output each, and one source.
fn workload(needs: &[Vec<prop::sample::Index>], sizes: &[u64]) -> Workload {
    let mut work = Workload::default();
    let source = work.paths.push(PathSpec {
        path: "/nix/store/s".into(),
        origin: Origin::Home,
        size: 9,
        refs: vec![],
    });
    for (i, picks) in needs.iter().enumerate() {
        let mut needs: Vec<JobId> =
            if i == 0 { vec![] } else { picks.iter().map(|p| JobId(p.index(i) as u32)).collect() };
        needs.sort();
        needs.dedup();
        let mut inputs: Vec<PathId> = needs.iter().map(|j| PathId(j.0 + 1)).collect();
        inputs.insert(0, source);
        let id = JobId(i as u32);
        let path = format!("/nix/store/{i:05}");
        let output =
            work.paths.push(PathSpec { path, origin: Origin::Job(id), size: sizes[i], refs: vec![] });
        work.jobs.push(Job {
            drv: format!("/nix/store/{i:05}.drv"),
            name: format!("job{i}"),
            system: "x".into(),
            features: vec![],
            needs,
            inputs,
            outputs: vec![output],
            fixed_output: false,
            prefer_local: false,
            parallel: false,
        });
        if i + 1 == sizes.len() {
            work.wanted.push(output);
        }
    }
    work
}

fn case() -> impl Strategy<Value = Case> {
    (1usize..24, 2usize..5).prop_flat_map(|(jobs, hosts)| {
        (
            prop::collection::vec(prop::collection::vec(any::<prop::sample::Index>(), 0..4), jobs),
            prop::collection::vec(0u64..2_000_000, jobs),
            prop::collection::vec((0u64..9_000_000, any::<bool>(), 0..30u8), jobs),
            prop::collection::vec((0u32..3, 1u32..5), hosts),
            prop::collection::vec((1usize..5, 0u64..20_000_000, prop::option::of(1u64..20_000_000)), 0..3),
            any::<bool>(),
        )
            .prop_map(|(needs, sizes, truths, fleet, faults, keep_going)| {
                let mut hosts: Table<HostId, Host> = fleet
                    .iter()
                    .enumerate()
                    .map(|(i, &(slots, speed))| host(i, slots, f64::from(speed) / 2.0))
                    .collect();
                hosts[HostId::HOME].slots = hosts[HostId::HOME].slots.max(1);
                let truth = truths.iter().map(|&(us, _, fail)| (fail > 0).then_some(Span(us))).collect();
                let estimate = |us: u64, low| if low { Span(us / 3) } else { Span(us * 2) };
                let estimates = truths
                    .iter()
                    .map(|&(us, low, _)| {
                        let median = estimate(us, low);
                        Cost { median, p10: median.scale(0.5), p90: median.scale(2.0) }
                    })
                    .collect();
                let faults = faults
                    .iter()
                    .filter(|(h, ..)| *h < fleet.len())
                    .map(|&(h, at, back)| Fault {
                        host: HostId(h as u32),
                        at: Time(at),
                        back: back.map(|b| Time(at + b)),
                    })
                    .collect();
                Case { work: workload(&needs, &sizes), hosts, truth, estimates, faults, keep_going }
            })
    })
}

#[derive(Default)]
struct Record(Vec<(Time, Order)>, Vec<(Time, Event)>);

impl Watch for Record {
    fn event(&mut self, at: Time, event: &Event) {
        self.1.push((at, event.clone()));
    }
    fn order(&mut self, at: Time, order: &Order) {
        self.0.push((at, order.clone()));
    }
}

fn scheduler(case: &Case) -> Scheduler {
    let all: Vec<HostId> = case.hosts.ids().filter(|&h| case.hosts[h].slots > 0).collect();
    let policy = Policy { keep_going: case.keep_going, ..Policy::default() };
    let eligible = Table::filled(case.work.jobs.len(), all);
    Scheduler::new(case.work.clone(), case.hosts.clone(), case.estimates.clone(), eligible, policy)
}

/// The loop of `drive`, with an audit after each step.
fn run(case: &Case) -> (Scheduler, Record, Time) {
    let mut scheduler = scheduler(case);
    let mut world = SimWorld::new(&case.work, &case.hosts, &case.truth, case.faults.clone());
    let (mut record, mut orders, mut at) = (Record::default(), Vec::new(), Time::ZERO);
    while !scheduler.is_done() {
        let (now, happening) = world.next(scheduler.deadline());
        let Happening::Fact(event) = happening else { continue };
        assert_ne!(event, Event::Interrupted, "stalled at {now:?}: {:?}", scheduler.verdict());
        at = now;
        record.event(at, &event);
        scheduler.step(at, &event, &mut orders);
        scheduler.check().expect("every invariant holds");
        for order in orders.drain(..) {
            record.order(at, &order);
            world.obey(at, &order);
        }
    }
    (scheduler, record, at)
}

/// What else may go wrong.
#[derive(Clone, Debug)]
struct Rough {
    /// Seed of the transfers that fail.
    transfers: Option<u64>,
    /// Per job one host that alone may build it; any host, where there is no such host.
    only: Vec<u32>,
    interrupted: Option<u64>,
    refused: Option<(u32, u64)>,
    /// A host that is cut so many times, for half a second in each two.
    flapping: Option<(u32, u64)>,
    /// Whether a cache has the source, which nobody else has then.
    cached: bool,
}

fn rough() -> impl Strategy<Value = Rough> {
    (
        prop::option::of(any::<u64>()),
        prop::collection::vec(0u32..9, 24),
        prop::option::weighted(0.2, 0u64..10_000_000),
        prop::option::weighted(0.3, (1u32..4, 0u64..10_000_000)),
        prop::option::of((1u32..4, 1u64..9)),
        any::<bool>(),
    )
        .prop_map(|(transfers, only, interrupted, refused, flapping, cached)| Rough {
            transfers,
            only,
            interrupted,
            refused,
            flapping,
            cached,
        })
}

/// Runs a case with all of that; whether it was interrupted before it ended.
fn run_rough(case: &mut Case, rough: &Rough) -> (Scheduler, Record, bool) {
    let known = |host: u32| (host as usize) < case.hosts.len();
    if rough.cached {
        case.work.paths[PathId(0)].origin = Origin::Substituter;
    }
    if let Some((host, times)) = rough.flapping.filter(|(h, _)| known(*h)) {
        let cut = |i| Fault {
            host: HostId(host),
            at: Time(i * 2_000_000),
            back: Some(Time(i * 2_000_000 + 500_000)),
        };
        case.faults.extend((0..times).map(cut));
    }
    let slots = |&h: &HostId| case.hosts[h].slots > 0;
    let all: Vec<HostId> = case.hosts.ids().filter(slots).collect();
    let one = |only: u32| Some(HostId(only)).filter(|_| known(only)).filter(slots).map(|host| vec![host]);
    let eligible =
        case.work.jobs.ids().map(|j| one(rough.only[j.0 as usize]).unwrap_or(all.clone())).collect();
    let policy = Policy { keep_going: case.keep_going, ..Policy::default() };
    let mut scheduler =
        Scheduler::new(case.work.clone(), case.hosts.clone(), case.estimates.clone(), eligible, policy);
    let mut world = SimWorld::new(&case.work, &case.hosts, &case.truth, case.faults.clone());
    if let Some(seed) = rough.transfers {
        world = world.with_failing_transfers(seed);
    }
    if let Some((host, at)) = rough.refused.filter(|(h, _)| known(*h)) {
        world.at(Time(at), Event::HostRefused { host: HostId(host), cause: "refused".into() });
    }
    if let Some(at) = rough.interrupted {
        world.at(Time(at), Event::Interrupted);
    }
    let (mut record, mut orders, mut interrupted) = (Record::default(), Vec::new(), false);
    while !scheduler.is_done() {
        let (at, happening) = world.next(scheduler.deadline());
        let Happening::Fact(event) = happening else { continue };
        if event == Event::Interrupted {
            let planned = rough.interrupted.is_some_and(|i| at >= Time(i)) && !interrupted;
            assert!(planned, "stalled at {at:?}: {:?}", scheduler.verdict());
            interrupted = true;
        }
        record.event(at, &event);
        assert!(record.1.len() < 5_000, "this never ends");
        scheduler.step(at, &event, &mut orders);
        scheduler.check().unwrap();
        for order in orders.drain(..) {
            record.order(at, &order);
            world.obey(at, &order);
        }
    }
    (scheduler, record, interrupted)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, ..ProptestConfig::default() })]

    #[test]
    fn every_run_ends_well_or_says_why(case in case()) {
        let (scheduler, record, end) = run(&case);
        let verdict = scheduler.verdict();
        let fails = case.truth.rows().iter().any(Option::is_none);
        if verdict.missing.is_empty() {
            prop_assert!(scheduler.state(*case.work.jobs.ids().last().as_ref().unwrap()) == JobState::Done);
        } else {
            prop_assert!(!verdict.endings.is_empty(), "nothing says why something is missing");
            prop_assert!(fails, "only failing builds are a reason here: local never goes away");
        }
        // Faults may have a job built twice, but nothing is built twice without them.
        if case.faults.is_empty() {
            for job in case.work.jobs.ids() {
                let builds = record.0.iter().filter(|(_, o)| matches!(o, Order::Build { job: j, .. } if *j == job));
                prop_assert!(builds.count() <= 1);
            }
            let built = |e: &(Time, Event)| matches!(&e.1, Event::Finished { outcome: Outcome::Built { .. }, .. });
            if verdict.missing.is_empty() && record.1.iter().filter(|e| built(e)).count() == case.work.jobs.len() {
                let powers: Vec<Power> =
                    case.hosts.rows().iter().map(|h| Power { slots: h.slots, speed: h.speed }).collect();
                let cost = case.truth.rows().iter().map(|t| t.unwrap_or_default()).collect();
                let bound = makespan_bound(&case.work, &cost, &classes(&case.work, &powers, |_, _| true));
                // Each build's end is rounded to a microsecond.
                let slack = Span(case.work.jobs.len() as u64);
                prop_assert!(end.since(Time::ZERO) + slack >= bound, "{end:?} is below the bound {bound:?}");
            }
        }
    }

    #[test]
    fn whatever_goes_wrong_the_run_ends(mut case in case(), rough in rough()) {
        let (scheduler, record, interrupted) = run_rough(&mut case, &rough);
        let verdict = scheduler.verdict();
        if !verdict.missing.is_empty() && !interrupted && rough.transfers.is_none() {
            prop_assert!(!verdict.endings.is_empty(), "nothing says why something is missing");
        }
        // Nothing is tried for ever: three times for a host's failure, six for its loss.
        for job in case.work.jobs.ids() {
            let builds = record.0.iter().filter(|(_, o)| matches!(o, Order::Build { job: j, .. } if *j == job));
            prop_assert!(builds.count() <= 40);
        }
    }

    #[test]
    fn the_same_events_give_the_same_orders(case in case()) {
        let (_, record, _) = run(&case);
        let mut again = scheduler(&case);
        let (mut orders, mut out) = (Vec::new(), Vec::new());
        for (at, event) in &record.1 {
            again.step(*at, event, &mut out);
            orders.extend(out.drain(..).map(|o| (*at, o)));
        }
        prop_assert_eq!(orders, record.0);
    }

    #[test]
    fn stale_and_senseless_events_change_nothing_for_the_worse(
        case in case(),
        noise in prop::collection::vec((0u32..40, 0u32..6, 0u32..8, 0..6u8), 0..40),
    ) {
        let mut scheduler = scheduler(&case);
        let mut out = Vec::new();
        scheduler.step(Time::ZERO, &Event::FleetReady, &mut out);
        for (i, (job, attempt, host, kind)) in noise.into_iter().enumerate() {
            use drvdispatch::run::{Attempt, SlotId, TransferId};
            let event = match kind {
                0 => Event::Finished { job: JobId(job), attempt: Attempt(attempt), outcome: Outcome::Cancelled },
                1 => Event::Staged { transfer: TransferId(job), bytes: 0, took: Span::ZERO },
                2 => Event::SlotUp { host: HostId(host), slot: SlotId(attempt) },
                3 => Event::HostLost { host: HostId(host), cause: String::new() },
                4 => Event::HostHolds { host: HostId(host), paths: vec![PathId(job)] },
                _ => Event::Started { job: JobId(job), attempt: Attempt(attempt) },
            };
            scheduler.step(Time(i as u64), &event, &mut out);
            scheduler.check().unwrap();
        }
    }
}
