//! Placement: which ready job goes to which free slot.
//!
//! Dynamic HEFT with late binding: in rank order, each ready job is given to the host where it would
//! finish first, counting the wait for a slot there, the transfer of what the host lacks and the work
//! at its speed. If that host has no free slot now the job is only charged to it, so that jobs behind
//! it in the order see the host as busy and fill others; nothing is bound until a slot is free.
//!
//! Among jobs of about the same rank, those whose inputs are already where they finish first choose
//! before those that would have to bring theirs along: otherwise a job takes the last free slot next
//! to another one's data, and both pay for a transfer.

use std::sync::Arc;

use crate::base::{Span, Time};
use crate::fleet::HostId;
use crate::graph::JobId;
use crate::run::{Expectation, Order, SlotId};

use super::Scheduler;
use super::offer::Offer;
use super::state::{JobState, Seat};

impl Scheduler {
    /// Binds ready jobs to free slots as far as that is best, and sends inputs ahead where it is not.
    pub(super) fn place(&mut self, at: Time, out: &mut Vec<Order>) {
        self.refresh(at);
        for (host, path) in self.stores.take_touched() {
            self.lacks.touch(host, path);
        }
        let fresh = self.jobs.take_fresh();
        for &job in &fresh {
            self.pull[job] = self.pull_of(job);
            // It may have been ready before, with inputs of other sizes.
            self.lacks.drop_job(job);
        }
        self.follow(at, out);
        let polled = self.poll(at);
        self.patience_ends = None;
        let mut free = self.free_slots();
        if free == 0 && (fresh.is_empty() || self.policy.prefetch == 0) {
            return;
        }
        let window = self.window(free, (!polled).then_some(&fresh));
        self.share_cores();
        let mut rest = window.as_slice();
        while let Some(&first) = rest.first()
            && (free > 0 || self.may_send_ahead())
        {
            let least = self.jobs.rank(first).scale(1.0 - self.policy.rank_tolerance);
            let alike = rest.iter().take_while(|&&job| self.jobs.rank(job) >= least).count().max(1);
            let (group, behind) = rest.split_at(alike);
            self.place_group(at, group, &mut free, out);
            rest = behind;
        }
        self.release();
        if free > 0 {
            self.guard_idle(at, &window, out);
            self.steal(at, out);
            self.copy_late(at, out);
        }
    }

    /// Slots without a job, over all hosts that are up.
    fn free_slots(&self) -> usize {
        self.hosts.spec.ids().map(|host| self.forecasts.of(host).free.len()).sum()
    }

    /// The ready jobs to look at, best first: as many as the policy says, and beyond those as many for the
    /// free slots that none of them can take. Jobs for some hosts must not keep others from idle ones.
    /// With `only`, no others than those.
    pub(super) fn window(&self, free: usize, only: Option<&Vec<JobId>>) -> Vec<JobId> {
        let connected = |h: &HostId| self.forecasts.of(*h).available(Time::ZERO).is_some();
        let eligible = |job: JobId, can: &dyn Fn(&HostId) -> bool| self.eligible[job].iter().any(can);
        let first = self.jobs.ready().filter(|&job| eligible(job, &connected)).take(self.policy.window);
        let mut window: Vec<JobId> = first.collect();
        if window.len() == self.policy.window && free > 0 {
            let unserved = self.unserved(&window);
            let serves = |h: &HostId| unserved.contains(h);
            if !unserved.is_empty() {
                let more = self.jobs.ready().filter(|&job| eligible(job, &serves));
                window.extend(more.take(self.policy.window));
            }
        }
        if let Some(only) = only {
            window.retain(|job| only.contains(job));
        }
        window
    }

    /// The hosts with a free slot that can build none of `jobs`, ascending.
    fn unserved(&self, jobs: &[JobId]) -> Vec<HostId> {
        // Few lists are distinct, and equal ones are kept once.
        let mut lists: Vec<&Arc<[HostId]>> = Vec::new();
        for &job in jobs {
            if !lists.iter().any(|list| Arc::ptr_eq(list, &self.eligible[job])) {
                lists.push(&self.eligible[job]);
            }
        }
        let open = |h: &HostId| !self.forecasts.of(*h).free.is_empty();
        let unserved = |h: &HostId| !lists.iter().any(|list| list.contains(h));
        self.hosts.spec.ids().filter(open).filter(unserved).collect()
    }

    /// Whether it is time to look at jobs that found no slot before.
    fn poll(&mut self, at: Time) -> bool {
        let due = at >= self.next_poll;
        if due {
            self.next_poll = at + self.policy.poll;
        }
        due
    }

    /// Places jobs of about the same rank: first those that need nothing brought.
    fn place_group(&mut self, at: Time, group: &[JobId], free: &mut usize, out: &mut Vec<Order>) {
        if group.len() > 1 {
            for &job in group {
                if *free == 0 {
                    break;
                }
                if self.is_held_back(job) || !self.is_free_beside_inputs(job) {
                    continue;
                }
                let Some(offer) = self.best_offer(at, job) else { continue };
                if offer.free
                    && offer.expect.transfer == Span::ZERO
                    && self.reserve(at, job, &offer).is_none()
                {
                    self.bind(at, job, offer, out);
                    *free -= 1;
                }
            }
        }
        let mut ahead = self.may_send_ahead();
        for &job in group {
            if self.jobs.state(job) != JobState::Ready || self.is_held_back(job) {
                continue;
            }
            if *free == 0 && !ahead {
                break;
            }
            self.due[job] = Time::ZERO;
            let Some(offer) = self.best_offer(at, job) else { continue };
            if let Some(end) = self.reserve(at, job, &offer) {
                self.due[job] = end;
                self.forecasts.charge(offer.host, end);
            } else if offer.free {
                self.bind(at, job, offer, out);
                *free -= 1;
            } else {
                self.due[job] = offer.finish;
                self.forecasts.charge(offer.host, offer.finish);
                let (charged, limit) =
                    (self.forecasts.of(offer.host).charged, self.prefetch_limit(offer.host));
                // Sending ahead what may yet be built next to its inputs would be a waste more often than not.
                if offer.must_move && charged <= limit {
                    self.prefetch(offer.host, job, out);
                }
                if charged == limit {
                    ahead = self.may_send_ahead();
                }
            }
        }
    }

    fn prefetch_limit(&self, host: HostId) -> u32 {
        if self.hosts.takes_jobs(host) { self.policy.prefetch * self.hosts.spec[host].slots } else { 0 }
    }

    fn may_send_ahead(&self) -> bool {
        self.hosts.spec.ids().any(|h| self.forecasts.of(h).charged < self.prefetch_limit(h))
    }

    /// Gives a job its slot and asks for the inputs it lacks there.
    pub(super) fn bind(&mut self, at: Time, job: JobId, offer: Offer, out: &mut Vec<Order>) {
        let Some(slot) = self.forecasts.take(offer.host, offer.finish, offer.cores.max(1)) else { return };
        self.seat(at, job, offer, slot, out);
    }

    pub(super) fn seat(&mut self, at: Time, job: JobId, offer: Offer, slot: SlotId, out: &mut Vec<Order>) {
        let seat = Seat { host: offer.host, slot, attempt: self.tries[job].attempt(), since: at };
        self.given[job] = offer.cores;
        self.due[job] = offer.finish;
        self.progress[job] = None;
        self.expect[job] = offer.expect;
        self.lacks.drop_job(job);
        self.jobs.set(job, JobState::Staging(seat));
        self.stage_or_unseat(offer.host, job, out);
        self.start_if_complete(at, job, out);
    }

    /// Starts a job whose inputs are complete where it sits.
    pub(super) fn start_if_complete(&mut self, at: Time, job: JobId, out: &mut Vec<Order>) {
        let JobState::Staging(seat) = self.jobs.state(job) else { return };
        if !self.inputs_complete(seat.host, job) {
            return;
        }
        self.jobs.set(job, JobState::Running(Seat { since: at, ..seat }));
        let Seat { host, slot, attempt, .. } = seat;
        let (cores, expect): (u32, Expectation) = (self.given[job], self.expect[job]);
        out.push(Order::Build { job, attempt, host, slot, cores, expect });
    }

    /// Starts every job whose inputs are complete where it sits.
    pub(super) fn start_complete(&mut self, at: Time, out: &mut Vec<Order>) {
        let staging: Vec<JobId> = self.jobs.staging().collect();
        for job in staging {
            self.start_if_complete(at, job, out);
        }
    }
}
