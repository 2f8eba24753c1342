//! The scheduler under the simulated world: whatever the graph, the fleet and the faults, every job
//! ends once or is reported with its cause, every invariant holds after each step, no run is faster
//! than the bound, and the same run gives the same orders.

#![expect(clippy::unwrap_used, reason = "a test's helpers fail the test")]

use std::collections::BTreeSet;
use std::sync::Arc;

mod case;
mod world;

use case::{Case, calm, faulty, rough};
use drvdispatch::base::{Span, Table, Time};
use drvdispatch::cost::limits;
use drvdispatch::drive::{Happening, Watch, World};
use drvdispatch::fleet::{Host, HostId};
use drvdispatch::graph::{JobId, PathId, makespan_bound};
use drvdispatch::run::{
    Attempt, Event, LogWriter, MeasuredBound, Order, Outcome, SlotId, TransferId, read_log,
};
use drvdispatch::sched::{JobState, Scheduler, explain, offers};
use drvdispatch::sim::Measure;
use proptest::prelude::*;

#[derive(Default)]
struct Record(Vec<(Time, Order)>, Vec<(Time, Event)>);

impl Record {
    fn builds(&self, job: JobId) -> usize {
        self.0.iter().filter(|(_, o)| matches!(o, Order::Build { job: j, .. } if *j == job)).count()
    }
}

/// A run that has ended.
struct Ended {
    scheduler: Scheduler,
    record: Record,
    measure: Measure,
    /// What no schedule beats, by what builds took.
    measured_bound: Span,
    end: Time,
    interrupted: bool,
    /// As a file would have it.
    log: Vec<u8>,
}

/// The loop of `drive`, with an audit after each step.
fn run(case: &Case) -> Ended {
    let (mut scheduler, mut world) = (case.scheduler(), case.world());
    let mut measure = Measure::new(&case.work, &case.hosts, case.policy.jobs_per_core);
    let mut bound = MeasuredBound::new(&Arc::new(case.header()));
    let mut log = LogWriter::new(Vec::new(), &case.header()).unwrap();
    let (mut record, mut orders) = (Record::default(), Vec::new());
    let (mut end, mut interrupted) = (Time::ZERO, false);
    while !scheduler.is_done() {
        let (at, happening) = world.next(scheduler.deadline());
        let Happening::Fact(event) = happening else { continue };
        if event == Event::Interrupted {
            let planned = case.trouble.interrupted.is_some_and(|i| at >= i) && !interrupted;
            assert!(planned, "stalled at {at:?}: {:?}", scheduler.verdict());
            interrupted = true;
        }
        assert!(at >= end, "time goes back");
        end = at;
        measure.event(at, &event);
        bound.event(&event);
        log.event(at, &event).unwrap();
        scheduler.step(at, &event, &mut orders);
        record.1.push((at, event));
        assert!(record.1.len() < 5_000, "this never ends");
        scheduler.check().unwrap();
        for order in orders.drain(..) {
            measure.order(at, &order);
            bound.order(&order);
            log.order(at, &order).unwrap();
            world.obey(at, &order);
            record.0.push((at, order));
        }
    }
    Ended {
        scheduler,
        record,
        measure,
        measured_bound: bound.bound(),
        end,
        interrupted,
        log: log.into_inner(),
    }
}

/// What a scheduler orders that is told what happened.
fn told(mut scheduler: Scheduler, events: &[(Time, Event)]) -> Vec<(Time, Order)> {
    let (mut orders, mut out) = (Vec::new(), Vec::new());
    for (at, event) in events {
        scheduler.step(*at, event, &mut out);
        orders.extend(out.drain(..).map(|order| (*at, order)));
    }
    orders
}

/// What no run of this case can beat if all jobs are built in it. A host may be twice as fast as usual
/// for a while.
fn bound(case: &Case) -> Span {
    let unusual = case.trouble.slowdowns.iter().map(|slow| slow.pace).fold(1.0, f64::max);
    let real = |(id, host): (HostId, &Host)| {
        let emulated = case.speeds[id].of_system.iter().map(|(name, f)| (name.clone(), f / host.speed));
        Host { speed: host.speed * unusual, emulated: emulated.collect(), ..host.clone() }
    };
    let hosts: Table<HostId, Host> = case.hosts.iter().map(real).collect();
    let lanes = |id: HostId| hosts[id].lanes();
    let eligible = case.work.jobs.ids().map(|job| case.eligible(job)).collect();
    let cost: Table<JobId, Span> = case.truth.rows().iter().map(|t| t.unwrap_or_default()).collect();
    makespan_bound(&case.work, &cost, &limits(&case.work, &hosts, &eligible, &case.parallel, lanes))
}

/// Nothing is lost: what is not there has a cause.
fn accounted(case: &Case, ended: &Ended) -> Result<(), TestCaseError> {
    let mut cancelled = BTreeSet::new();
    for (_, order) in &ended.record.0 {
        if let Order::Cancel { job, attempt, .. } = order {
            prop_assert!(cancelled.insert((*job, *attempt)), "{job} is told to end again");
        }
    }
    let verdict = ended.scheduler.verdict();
    let stopped = ended.interrupted || (!case.policy.keep_going && !verdict.endings.is_empty());
    for job in case.work.jobs.ids() {
        let endings = verdict.endings.iter().filter(|(j, _)| *j == job).count();
        let state = ended.scheduler.state(job);
        prop_assert!(state.seat().is_none(), "{job} still has a slot");
        match state {
            JobState::Failed(_) | JobState::GivenUp => prop_assert_eq!(endings, 1, "{} ends so often", job),
            JobState::Skipped(because) => {
                prop_assert!(
                    verdict.endings.iter().any(|(j, _)| *j == because),
                    "{job} is skipped for nothing"
                );
            }
            JobState::Done | JobState::Unneeded => {}
            _ => prop_assert!(stopped, "{job} is left {state:?}"),
        }
    }
    Ok(())
}

/// Whether no host is given work after it said that its disk is full.
fn spares_full_disks(record: &Record) -> bool {
    let full = |event: &Event| match event {
        Event::HostDrained { host, .. } => Some(*host),
        _ => None,
    };
    let facts = record.1.iter().filter_map(|(at, event)| full(event).map(|host| (*at, host)));
    let given = |order: &Order| match order {
        Order::Build { host, .. } => Some(*host),
        Order::Stage { to, for_job: Some(_), .. } if *to != HostId::HOME => Some(*to),
        _ => None,
    };
    facts
        .into_iter()
        .all(|(since, full)| record.0.iter().all(|(at, order)| *at <= since || given(order) != Some(full)))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn every_run_ends_well_or_says_why(case in faulty()) {
        let ended = run(&case);
        let verdict = ended.scheduler.verdict();
        let fails = case.truth.rows().iter().any(Option::is_none);
        accounted(&case, &ended)?;
        if verdict.missing.is_empty() {
            prop_assert!(ended.scheduler.state(*case.work.jobs.ids().last().as_ref().unwrap()) == JobState::Done);
        } else {
            prop_assert!(!verdict.endings.is_empty(), "nothing says why something is missing");
            prop_assert!(fails, "only failing builds are a reason here: local never goes away");
        }
    }

    #[test]
    fn without_faults_nothing_is_built_twice_or_faster_than_can_be(case in calm()) {
        let ended = run(&case);
        accounted(&case, &ended)?;
        let missing = !ended.scheduler.verdict().missing.is_empty();
        let mut built_all = true;
        for job in case.work.jobs.ids() {
            let builds = ended.record.builds(job);
            // Only copies on faster hosts are further ones: one for each other host, and four at most.
            let most = if case.policy.copy_margin.is_some() { case.hosts.len().min(5) } else { 1 };
            prop_assert!(builds <= most, "{job} is built {builds} times");
            built_all &= builds >= 1;
        }
        if built_all && !missing {
            let (bound, makespan) = (bound(&case), ended.end.since(Time::ZERO));
            // Each build's shortest time is rounded to a microsecond.
            let slack = Span(case.work.jobs.len() as u64);
            prop_assert!(makespan + slack >= bound, "{makespan:?} is below the bound {bound:?}");
        }
        // All slot time is accounted for.
        let measured = ended.measure.result();
        let used = |host: &Host| u64::from(host.used_slots(case.policy.jobs_per_core));
        let slots: u64 = case.hosts.rows().iter().map(used).sum();
        let idle = measured.idle.no_work + measured.idle.waiting + measured.idle.transfer;
        prop_assert_eq!((measured.busy + idle).0, measured.makespan.0 * slots);
    }

    #[test]
    fn whatever_goes_wrong_the_run_ends(case in rough()) {
        let ended = run(&case);
        accounted(&case, &ended)?;
        // What a build comes to on a host of speed 1 is rounded to a microsecond, and that is eight on the slowest.
        let (makespan, slack) = (ended.end.since(Time::ZERO), Span(8 * case.work.jobs.len() as u64));
        prop_assert!(
            makespan + slack >= ended.measured_bound,
            "{makespan:?} is below the bound {:?} by what builds took", ended.measured_bound
        );
        let verdict = ended.scheduler.verdict();
        if !verdict.missing.is_empty() && !ended.interrupted && case.trouble.transfers.is_none() {
            prop_assert!(!verdict.endings.is_empty(), "nothing says why something is missing");
        }
        prop_assert!(spares_full_disks(&ended.record), "a full host is given work");
        // Nothing is tried for ever: three times for a host's failure, six for its loss.
        for job in case.work.jobs.ids() {
            prop_assert!(ended.record.builds(job) <= 40);
        }
    }

    #[test]
    fn the_same_world_and_the_same_events_give_the_same_orders(case in rough()) {
        let record = run(&case).record;
        prop_assert_eq!(&record.1, &run(&case).record.1);
        prop_assert_eq!(told(case.scheduler(), &record.1), record.0);
    }

    #[test]
    fn that_nobody_asks_why_changes_nothing_else(case in rough()) {
        let mut record = run(&case).record;
        for (_, order) in &mut record.0 {
            if let Order::Build { expect, .. } = order {
                expect.next_best = None;
            }
        }
        prop_assert_eq!(told(case.scheduler().without_reasons(), &record.1), record.0);
    }

    #[test]
    fn all_are_told_of_together_what_each_is_told_of_alone(mut case in rough()) {
        // A real world knows nothing of hosts that there are not.
        case.trouble.stale = None;
        let ended = run(&case);
        let (_, entries, _) = read_log(&ended.log[..]).unwrap();
        let together = offers(&case.scheduler(), &entries).map_err(|e| TestCaseError::fail(e.to_string()))?;
        for job in case.work.jobs.ids() {
            for binding in explain(&case.scheduler(), &entries, job).unwrap() {
                let told = together.get(&(job, binding.seat.attempt));
                prop_assert_eq!(told, Some(&binding.offers), "{} at {:?}", job, binding.at);
            }
        }
    }

    #[test]
    fn a_log_gives_the_same_orders_when_it_is_read_again(mut case in rough()) {
        // A real world knows nothing of hosts that there are not.
        case.trouble.stale = None;
        let ended = run(&case);
        let (header, entries, torn) = read_log(&ended.log[..]).unwrap();
        prop_assert_eq!(torn, None);
        let same = Scheduler::recorded(&header).unwrap().replay(&entries).unwrap();
        prop_assert_eq!(same.events, ended.record.1.len());
        prop_assert_eq!(same.orders, ended.record.0.len());
    }

    #[test]
    fn stale_and_senseless_events_change_nothing_for_the_worse(
        case in calm(),
        noise in prop::collection::vec((0u32..40, 0u32..6, 0u32..8, 0..8u8), 0..40),
    ) {
        let mut scheduler = case.scheduler();
        let mut out = Vec::new();
        scheduler.step(Time::ZERO, &Event::FleetReady, &mut out);
        for (i, (job, attempt, host, kind)) in noise.into_iter().enumerate() {
            let event = match kind {
                0 => Event::Finished { job: JobId(job), attempt: Attempt(attempt), outcome: Outcome::Cancelled },
                1 => Event::Staged { transfer: TransferId(job), bytes: 0, took: Span::ZERO },
                2 => Event::SlotUp { host: HostId(host), slot: SlotId(attempt) },
                3 => Event::HostLost { host: HostId(host), cause: String::new() },
                5 => Event::HostCores { host: HostId(host), cores: job + 1 },
                6 => Event::HostDrained { host: HostId(host), cause: String::new() },
                7 => Event::Progress { job: JobId(job), attempt: Attempt(attempt), permille: u16::MAX },
                4 => Event::HostHolds { host: HostId(host), paths: vec![PathId(job)] },
                _ => Event::Started { job: JobId(job), attempt: Attempt(attempt) },
            };
            scheduler.step(Time(i as u64), &event, &mut out);
            scheduler.check().unwrap();
        }
    }
}
