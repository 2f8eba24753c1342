//! Where the time went that a run took beyond its lower bound: a fold of its events and orders.
//!
//! The unit is slot-time weighted by speed: what a slot could have built in that time, at the speed that
//! the host has for what it builds fastest of the jobs that it can build (it may only emulate them all).
//! The *capacity* of the fleet is the sum of slots × speed over all hosts that can build any of the jobs,
//! there or not. Slots beyond those that a host uses at a time ([`Host::used_slots`]) do not count. Otherwise cores do
//! not enter: a free slot is given a core whatever the others have, so a slot is never idle for want of cores, and that
//! a job is shorter on many of them shows in the bound. Capacity × makespan is then all that could have been built, and
//! each bit of it is one of:
//!
//! - **useful**: what a build took by its host's own clock, of the attempt that counted;
//! - **hosts away**: the slot was not connected, or the fleet had not answered yet; what ran was lost with
//!   its host, failed for its reasons or had to be done again; or nothing was ready, and the leader (see
//!   below) was such a job;
//! - **transfer**: the slot was free, and inputs of a ready job were on their way to its host (a job
//!   accounts for one slot of each host that something is on its way to);
//! - **waiting by choice**: the slot was free, and another job that its host could build was ready. It
//!   accounts for one slot at a time: the fastest hosts first, jobs for the fewest hosts first;
//! - **no ready work**: the slot was free, and nothing of that was so. Then it waits for the *leader*, of
//!   the jobs that are ready or begun the one from which the estimates see the longest way to the end. It
//!   counts as *transfer* if the leader waits for its inputs (or there is none and something is on its way
//!   home), as *waiting by choice* if the leader is ready and some slot waits by choice, and as **estimate
//!   error** from when the leader runs longer than it was expected to, whether its estimate was wrong or
//!   more cores were given out on its host than there are, which slows down all that is built there;
//! - **handling**: the slot was taken, but its host was not building: orders and answers on their way,
//!   attempts that failed or were ended.
//!
//! Even a run that takes no longer than the bound has idle time: capacity × bound - useful. That is taken
//! off, of *no ready work* first, then of the others in the order of [`Losses`]' fields. What remains,
//! divided by the capacity, is time that adds up to makespan - bound, to the microsecond.

mod jobs;
mod slots;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use self::jobs::{Jobs, Lead};
use self::slots::{Closed, Slots};
use super::event::{Event, Outcome};
use super::log::Header;
use super::order::Order;
use crate::base::{Span, Table, Time};
use crate::cost::Cost;
use crate::fleet::{Host, HostId};
use crate::graph::{JobId, Workload};

/// How much longer a run took than its lower bound, by cause. The parts add up to the difference.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Losses {
    /// From the beginning of the run to its end.
    pub makespan: Span,
    /// What no schedule could have beaten.
    pub bound: Span,
    /// Nothing was ready.
    pub no_ready_work: Span,
    /// Nothing was ready because a job took longer than expected, also for cores that it had to share.
    pub estimate_error: Span,
    /// Something was ready, and the scheduler held it back.
    pub waiting_by_choice: Span,
    /// Paths were on their way.
    pub transfer: Span,
    /// Hosts were not there, or what they did was in vain.
    pub lost_host: Span,
    /// Slots were taken without building.
    pub handling: Span,
}

impl Losses {
    /// The parts with their names, in the order of the fields.
    pub fn parts(&self) -> [(&'static str, Span); 6] {
        [
            ("no ready work", self.no_ready_work),
            ("estimate error", self.estimate_error),
            ("waiting by choice", self.waiting_by_choice),
            ("transfer", self.transfer),
            ("hosts away", self.lost_host),
            ("handling", self.handling),
        ]
    }

    /// The mean of several runs, part by part; `None` of none.
    pub fn mean<'a>(all: impl Iterator<Item = &'a Losses> + Clone) -> Option<Losses> {
        let count = u64::try_from(all.clone().count()).ok().filter(|&count| count > 0)?;
        let span = |of: fn(&Losses) -> Span| Span(all.clone().map(|one| of(one).0).sum::<u64>() / count);
        Some(Losses {
            makespan: span(|one| one.makespan),
            bound: span(|one| one.bound),
            no_ready_work: span(|one| one.no_ready_work),
            estimate_error: span(|one| one.estimate_error),
            waiting_by_choice: span(|one| one.waiting_by_choice),
            transfer: span(|one| one.transfer),
            lost_host: span(|one| one.lost_host),
            handling: span(|one| one.handling),
        })
    }

    /// Makespan / bound; nothing without a bound.
    pub fn ratio(&self) -> Option<f64> {
        (self.bound > Span::ZERO).then(|| self.makespan.as_secs_f64() / self.bound.as_secs_f64())
    }
}

/// Speeds are fixed-point numbers with this many binary places, so that sums are exact.
const PLACES: u32 = 20;

/// Why a slot builds nothing; the order of [`Losses`]' fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    NoReadyWork,
    Estimate,
    Choice,
    Transfer,
    LostHost,
    Handling,
}
const CAUSES: usize = 6;

/// The fold. Feed it every event and order of a run, in order.
#[derive(Clone, Debug)]
pub struct LossMeter {
    speed: Table<HostId, u128>,
    /// Microseconds × slots × speed so far, of the slots that count.
    there: u128,
    /// Hosts, fastest first.
    by_speed: Vec<HostId>,
    slots: Slots,
    jobs: Jobs,
    /// Per cause: microseconds × slots × speed.
    idle: [u128; CAUSES],
    useful: u128,
    /// Useful work per job, to be taken back if it must be done again.
    done: Table<JobId, u128>,
    gathered: bool,
    now: Time,
}

impl LossMeter {
    /// A meter for a run of `work` on `hosts`, with the `estimates` that it began with, for each job the hosts that may
    /// build it, and how many jobs a host is given for each of its cores.
    pub fn new(
        work: &Workload,
        hosts: &Table<HostId, Host>,
        estimates: &Table<JobId, Cost>,
        eligible: &Table<JobId, Vec<HostId>>,
        jobs_per_core: Option<f64>,
    ) -> LossMeter {
        let mut usable = Table::filled(hosts.len(), false);
        eligible.rows().iter().flatten().for_each(|&host| usable[host] = true);
        let mut counted = hosts.clone();
        counted.iter_mut().filter(|(id, _)| !usable[*id]).for_each(|(_, host)| host.slots = 0);
        let fixed = |speed: f64| (speed * f64::from(1u32 << PLACES)).round().max(1.0) as u128;
        let mut speed: Table<HostId, u128> = Table::filled(hosts.len(), 0);
        for (job, able) in eligible.iter() {
            for &host in able {
                speed[host] = speed[host].max(fixed(hosts[host].speed_for(&work.jobs[job].system)));
            }
        }
        let mut by_speed: Vec<HostId> = hosts.ids().filter(|&id| counted[id].slots > 0).collect();
        by_speed.sort_by_key(|&id| (std::cmp::Reverse(speed[id]), id));
        LossMeter {
            there: 0,
            slots: Slots::new(&counted, jobs_per_core),
            jobs: Jobs::new(work, hosts.len(), estimates, eligible),
            idle: [0; CAUSES],
            useful: 0,
            done: Table::filled(work.jobs.len(), 0),
            gathered: false,
            now: Time::ZERO,
            by_speed,
            speed,
        }
    }

    /// A meter for the run that has this header.
    pub fn of(header: &Header) -> LossMeter {
        let Header { workload, hosts, estimates, .. } = header;
        LossMeter::new(workload, hosts, estimates, &header.eligible(), header.jobs_per_core())
    }

    /// Takes in a fact.
    pub fn event(&mut self, at: Time, event: &Event) {
        self.advance(at);
        match event {
            Event::SlotUp { host, slot } => {
                self.slots.up(*host, *slot);
                self.jobs.host_up(*host);
            }
            Event::HostHolds { host, paths } => {
                self.jobs.holds(*host, paths);
                if self.gathered {
                    self.jobs.review();
                }
            }
            Event::HostLost { host, .. } | Event::HostRefused { host, .. } => self.lose(at, *host),
            Event::FleetReady => {
                self.gathered = true;
                self.jobs.review();
            }
            Event::Staged { transfer, .. } => self.jobs.arrived(*transfer, true),
            Event::StageFailed { transfer, .. } => self.jobs.arrived(*transfer, false),
            Event::Started { job, attempt } => self.slots.started(at, (*job, *attempt)),
            Event::Finished { job, attempt, outcome } => {
                let Some(closed) = self.slots.close(at, (*job, *attempt)) else { return };
                self.settle(closed, outcome);
            }
            Event::HostCores { host, cores } => self.slots.set_cores(*host, *cores),
            Event::HostDrained { .. }
            | Event::Progress { .. }
            | Event::DeadlineReached
            | Event::Interrupted => {}
        }
    }

    /// Takes in an order.
    pub fn order(&mut self, at: Time, order: &Order) {
        self.advance(at);
        match order {
            Order::Build { job, attempt, host, slot, expect, .. } => {
                if self.slots.open(at, *host, *slot, (*job, *attempt), expect.work) {
                    self.jobs.begin(*job);
                }
            }
            Order::Stage { transfer, from, to, paths, .. } => self.jobs.leaving(*transfer, *from, *to, paths),
            Order::Cancel { .. } | Order::Probe { .. } => {}
        }
    }

    /// The losses of a run that ended at `end`; `None` if it took less than `bound`, which then is not
    /// a bound of what was done.
    pub fn finish(mut self, end: Time, bound: Span) -> Option<Losses> {
        self.advance(end);
        for closed in self.slots.close_all(self.now) {
            self.add(Cause::Handling, closed.host, closed.taken);
        }
        let makespan = self.now.since(Time::ZERO);
        let beyond = makespan.0.checked_sub(bound.0)?;
        let mut idle = self.idle.map(|idle| i128::try_from(idle).unwrap_or(i128::MAX));
        // On average: hosts may say later how many cores they have.
        let capacity = self.there.checked_div(u128::from(makespan.0)).unwrap_or_default();
        let capacity = i128::try_from(capacity).unwrap_or(i128::MAX);
        let mut even_then = capacity * i128::from(bound.0) - i128::try_from(self.useful).unwrap_or(i128::MAX);
        for part in &mut idle {
            // Where more was useful than the bound has room for, this adds to the first.
            let taken = even_then.min(*part);
            *part -= taken;
            even_then -= taken;
        }
        let mut spans = [Span::ZERO; CAUSES];
        let (mut sum, mut before) = (0i128, 0u64);
        for (span, part) in spans.iter_mut().zip(idle) {
            sum += part;
            // Rounding what is summed up, not the parts, makes them add up. Without capacity nothing
            // was built, and there is nothing to divide by.
            let so_far = sum.checked_div(capacity).unwrap_or_default();
            let so_far = u64::try_from(so_far).unwrap_or_default().min(beyond);
            *span = Span(so_far - before);
            before = so_far;
        }
        spans[Cause::NoReadyWork as usize] += Span(beyond - before);
        let [no_ready_work, estimate_error, waiting_by_choice, transfer, lost_host, handling] = spans;
        Some(Losses {
            makespan,
            bound,
            no_ready_work,
            estimate_error,
            waiting_by_choice,
            transfer,
            lost_host,
            handling,
        })
    }

    /// Accounts for the time until `at`, in which nothing changed.
    fn advance(&mut self, at: Time) {
        let span = at.since(self.now);
        if span == Span::ZERO {
            return;
        }
        let mut pool = self.jobs.loose().to_vec();
        let mut free: Table<HostId, u32> = Table::filled(self.speed.len(), 0);
        for i in 0..self.by_speed.len() {
            let host = self.by_speed[i];
            self.there += u128::from(span.0) * u128::from(self.slots.counted(host)) * self.speed[host];
            let away = self.slots.away(host);
            self.add_slots(Cause::LostHost, host, away, span);
            let idle = self.slots.idle(host);
            if !self.gathered {
                self.add_slots(Cause::LostHost, host, idle, span);
                continue;
            }
            let arriving = self.jobs.take_arriving(host, idle, &mut pool);
            self.add_slots(Cause::Transfer, host, arriving, span);
            free[host] = idle - arriving;
        }
        let mut choice = false;
        for i in 0..self.by_speed.len() {
            let host = self.by_speed[i];
            let held_back = self.jobs.take_loose(host, free[host], &mut pool);
            self.add_slots(Cause::Choice, host, held_back, span);
            free[host] -= held_back;
            choice |= held_back > 0;
        }
        let lead = match self.jobs.lead() {
            Lead::Ready if !choice => Lead::Nothing,
            lead => lead,
        };
        for i in 0..self.by_speed.len() {
            let host = self.by_speed[i];
            if free[host] > 0 {
                self.wait_for(lead, host, free[host], at);
            }
        }
        self.now = at;
    }

    /// Accounts for slots of a host that wait for the leader until `at`.
    fn wait_for(&mut self, lead: Lead, host: HostId, slots: u32, at: Time) {
        let span = at.since(self.now);
        let cause = match lead {
            Lead::Struck | Lead::HostsAway => Cause::LostHost,
            Lead::Arriving | Lead::GoingHome => Cause::Transfer,
            Lead::Ready => Cause::Choice,
            Lead::Nothing => Cause::NoReadyWork,
            Lead::Running(job) => {
                let due = self.slots.due(job).unwrap_or(at).clamp(self.now, at);
                self.add_slots(Cause::Estimate, host, slots, at.since(due));
                return self.add_slots(Cause::NoReadyWork, host, slots, due.since(self.now));
            }
        };
        self.add_slots(cause, host, slots, span);
    }

    fn add_slots(&mut self, cause: Cause, host: HostId, slots: u32, span: Span) {
        self.idle[cause as usize] += u128::from(span.0) * u128::from(slots) * self.speed[host];
    }

    fn add(&mut self, cause: Cause, host: HostId, span: Span) {
        self.add_slots(cause, host, 1, span);
    }

    fn lose(&mut self, at: Time, host: HostId) {
        for closed in self.slots.down(at, host) {
            self.add(Cause::LostHost, host, closed.taken);
            self.jobs.ended(closed.job, true);
        }
        self.jobs.host_lost(host);
        self.jobs.review();
    }

    /// Shares out the time of an attempt that has ended.
    fn settle(&mut self, closed: Closed, outcome: &Outcome) {
        let Closed { job, host, taken } = closed;
        match outcome {
            Outcome::Built { made, times } => {
                let wall = times.wall.min(taken);
                let useful = u128::from(wall.0) * self.speed[host];
                // What was done before was in vain.
                let before = std::mem::replace(&mut self.done[job], useful);
                self.idle[Cause::LostHost as usize] += before;
                self.useful = self.useful + useful - before;
                self.add(Cause::Handling, host, taken.saturating_sub(wall));
                self.jobs.built(job, host, made);
            }
            Outcome::HostFailed { .. } => {
                self.add(Cause::LostHost, host, taken);
                self.jobs.ended(job, true);
            }
            Outcome::Failed { .. } => {
                self.add(Cause::Handling, host, taken);
                self.jobs.failed(job);
            }
            Outcome::Cancelled => {
                self.add(Cause::Handling, host, taken);
                self.jobs.ended(job, false);
            }
        }
    }
}
