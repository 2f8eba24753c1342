use proptest::prelude::*;

use super::super::arbitrary::{entry, header};
use super::super::event::{Attempt, Failure, Made, Times};
use super::super::log::Step;
use super::super::order::{Expectation, SlotId, Source, TransferId};
use super::*;
use crate::graph::PathId;

/// The small run that is fed by hand: a chain of three jobs, two hosts with two slots each.
fn meter() -> LossMeter {
    meter_with(None)
}

fn meter_with(jobs_per_core: Option<f64>) -> LossMeter {
    let header = header();
    let eligible = Table::filled(header.workload.jobs.len(), header.hosts.ids().collect());
    LossMeter::new(&header.workload, &header.hosts, &header.estimates, &eligible, jobs_per_core)
}

fn at(s: u64) -> Time {
    Time(s * 1_000_000)
}

impl LossMeter {
    fn gather(mut self, hosts: &[u32]) -> Self {
        for &host in hosts {
            for slot in 0..2 {
                self.event(at(0), &Event::SlotUp { host: HostId(host), slot: SlotId(slot) });
            }
        }
        self.event(at(0), &Event::FleetReady);
        self
    }

    fn build(&mut self, s: u64, job: u32, host: u32, attempt: u32) {
        let (job, attempt) = (JobId(job), Attempt(attempt));
        let expect = Expectation { work: Span::from_secs(10), ..Expectation::default() };
        let (host, slot) = (HostId(host), SlotId(0));
        self.order(at(s), &Order::Build { job, attempt, host, slot, cores: 0, expect });
        self.event(at(s), &Event::Started { job, attempt });
    }

    fn built(&mut self, s: u64, job: u32, attempt: u32, wall: u64) {
        let times = Times { wall: Span::from_secs(wall), ..Times::default() };
        let made = vec![Made { path: PathId(job), size: 1, refs: vec![] }];
        let outcome = Outcome::Built { made, times };
        self.event(at(s), &Event::Finished { job: JobId(job), attempt: Attempt(attempt), outcome });
    }

    /// Seconds by cause, without those that are nothing.
    fn causes(self, end: u64, bound: u64) -> Vec<(&'static str, f64)> {
        let losses = self.finish(at(end), Span::from_secs(bound)).unwrap();
        let parts = losses.parts().into_iter().filter(|(_, span)| *span > Span::ZERO);
        parts.map(|(name, span)| (name, span.as_secs_f64())).collect()
    }
}

#[test]
fn a_run_that_meets_the_bound_lost_nothing_however_much_was_idle() {
    for hosts in [&[0, 1][..], &[0]] {
        let mut run = meter().gather(hosts);
        for job in 0..3 {
            run.build(u64::from(job) * 10, job, 0, 0);
            run.built(u64::from(job) * 10 + 10, job, 0, 10);
        }
        assert_eq!(run.causes(30, 30), []);
    }
}

#[test]
fn a_transfer_that_all_wait_for_is_a_transfer() {
    let mut run = meter().gather(&[0, 1]);
    run.build(0, 0, 0, 0);
    run.built(10, 0, 0, 10);
    let (transfer, from) = (TransferId(0), Source::Host(HostId(0)));
    let stage = Order::Stage { transfer, from, to: HostId(1), paths: vec![PathId(0)], for_job: None };
    run.order(at(10), &stage);
    run.event(at(12), &Event::Staged { transfer, bytes: 1, took: Span::from_secs(2) });
    run.build(12, 1, 1, 0);
    run.built(22, 1, 0, 10);
    run.build(22, 2, 1, 0);
    // It takes longer than expected, but the bound knows that too.
    run.built(35, 2, 0, 13);
    assert_eq!(run.causes(35, 33), [("transfer", 2.0)]);
}

#[test]
fn what_is_ready_and_left_is_waiting_by_choice() {
    let mut run = meter().gather(&[0, 1]);
    for job in 0..3 {
        run.build(u64::from(job) * 10 + 5, job, 0, 0);
        run.built(u64::from(job) * 10 + 15, job, 0, 10);
    }
    assert_eq!(run.causes(35, 30), [("waiting by choice", 5.0)]);
}

#[test]
fn a_lost_host_costs_what_was_running_there() {
    let mut run = meter().gather(&[0, 1]);
    run.build(0, 0, 1, 0);
    run.event(at(5), &Event::HostLost { host: HostId(1), cause: String::new() });
    for job in 0..3 {
        run.build(u64::from(job) * 10 + 5, job, 0, 1);
        run.built(u64::from(job) * 10 + 15, job, 1, 10);
    }
    assert_eq!(run.causes(35, 30), [("hosts away", 5.0)]);
}

#[test]
fn outputs_lost_with_their_host_are_its_loss_too() {
    let mut run = meter().gather(&[0, 1]);
    run.build(0, 0, 1, 0);
    run.built(10, 0, 0, 10);
    run.event(at(10), &Event::HostLost { host: HostId(1), cause: String::new() });
    for job in 0..3 {
        run.build(u64::from(job) * 10 + 10, job, 0, 1);
        run.built(u64::from(job) * 10 + 20, job, 1, 10);
    }
    assert_eq!(run.causes(40, 30), [("hosts away", 10.0)]);
}

#[test]
fn a_job_beyond_its_estimate_keeps_others_waiting() {
    let mut run = meter().gather(&[0, 1]);
    run.build(0, 0, 0, 0);
    run.built(14, 0, 0, 14);
    // Against a bound for jobs that take what was expected of them.
    assert_eq!(run.causes(14, 10), [("no ready work", 1.0), ("estimate error", 3.0)]);
}

#[test]
fn a_slot_that_is_taken_without_building_is_handled() {
    let mut run = meter().gather(&[0, 1]);
    run.build(0, 0, 0, 0);
    run.built(10, 0, 0, 6);
    assert_eq!(run.idle[Cause::Handling as usize], (4_000_000 * 3) << (PLACES - 1));
    let failed = Outcome::Failed { failure: Failure::Build, message: String::new(), times: Times::default() };
    run.build(10, 1, 0, 0);
    run.event(at(12), &Event::Finished { job: JobId(1), attempt: Attempt(0), outcome: failed });
    assert_eq!(run.idle[Cause::Handling as usize], (6_000_000 * 3) << (PLACES - 1));
}

#[test]
fn less_than_the_bound_is_no_loss_and_no_hosts_are_no_reason_to_divide() {
    assert_eq!(meter().finish(at(3), Span::from_secs(4)), None);
    let header = header();
    let nobody = Table::filled(header.workload.jobs.len(), Vec::new());
    let run = LossMeter::new(&header.workload, &header.hosts, &header.estimates, &nobody, None);
    assert_eq!(run.causes(5, 2), [("no ready work", 3.0)]);
}

#[test]
fn a_host_that_only_emulates_is_no_more_than_that() {
    let mut header = header();
    header.hosts[HostId(1)].emulated.insert("x86_64-linux".to_owned(), 0.5);
    let eligible = Table::filled(header.workload.jobs.len(), header.hosts.ids().collect());
    let mut run = LossMeter::new(&header.workload, &header.hosts, &header.estimates, &eligible, None);
    // Two slots of speed 1.5 and two of half of that, for a second.
    run.advance(at(1));
    assert_eq!(run.there, (9 * 1_000_000) << (PLACES - 1));
}

#[test]
fn that_a_host_says_later_how_many_cores_it_has_excuses_nobody() {
    let cores = |cores| Event::HostCores { host: HostId(0), cores };
    let away = |told: Option<u64>| {
        let mut run = meter_with(Some(1.0)).gather(&[0]);
        run.build(0, 0, 0, 0);
        told.into_iter().for_each(|s| run.event(at(s), &cores(1)));
        run.built(20, 0, 0, 20);
        run.idle[Cause::LostHost as usize]
    };
    let never = away(None);
    assert!(never > 0, "the other host is never there");
    assert_eq!([away(Some(0)), away(Some(5)), away(Some(19))], [never; 3]);
}

proptest! {
    #[test]
    fn the_parts_add_up_whatever_happened(
        mut entries in prop::collection::vec((0u64..1 << 40, entry()), 0..60),
        bound in 0u64..1 << 39,
        after in 0u64..1 << 30,
    ) {
        entries.sort_by_key(|(at, _)| *at);
        let mut run = meter_with(Some(1.0));
        let mut now = Time::ZERO;
        for (at, entry) in &entries {
            now = Time(*at);
            // Few attempts and transfers, or none would ever be heard of again.
            match &entry.what {
                Step::Event(event) => {
                    let mut event = event.clone();
                    match &mut event {
                        Event::Started { attempt, .. } | Event::Finished { attempt, .. } => attempt.0 %= 2,
                        Event::Staged { transfer, .. } | Event::StageFailed { transfer, .. } => transfer.0 %= 2,
                        Event::HostCores { cores, .. } => *cores %= 4,
                        _ => {}
                    }
                    run.event(now, &event);
                }
                Step::Order(order) => {
                    let mut order = order.clone();
                    match &mut order {
                        Order::Build { attempt, .. } => attempt.0 %= 2,
                        Order::Stage { transfer, .. } => transfer.0 %= 2,
                        _ => {}
                    }
                    run.order(now, &order);
                }
            }
            let open: u128 = run.clone().slots.close_all(now).iter().map(|c| u128::from(c.taken.0) * run.speed[c.host]).sum();
            let all = run.idle.iter().sum::<u128>() + run.useful + open;
            prop_assert_eq!(all, run.there);
        }
        let end = now + Span(after);
        match run.finish(end, Span(bound)) {
            Some(losses) => {
                let sum: Span = losses.parts().iter().map(|(_, span)| *span).sum();
                prop_assert_eq!(losses.bound + sum, losses.makespan);
                prop_assert_eq!(losses.makespan, end.since(Time::ZERO));
            }
            None => prop_assert!(Span(bound) > end.since(Time::ZERO)),
        }
    }
}
