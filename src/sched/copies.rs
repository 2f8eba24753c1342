//! Further attempts at what is built on a slow host, on faster ones that have nothing else to do.
//!
//! A build that takes longer than estimated may keep a whole run waiting while faster hosts have nothing to
//! do. One of those then builds it, too, from the beginning, if all of it is likely to be done sooner there
//! than the rest of it here. The first attempt that ends counts, and the others are ended. What a job
//! needs in all follows from how long it has run: the same derivation is the same work on all hosts, so
//! nothing is to be gained between equally fast ones.
//!
//! Older attempts keep their slots, but not the job: that has its seat where its newest attempt is, and
//! [`super::hosts::Older`] has the others. None is ended for a newer one: that would be to trust an estimate that was
//! wrong before.

use std::cmp::Reverse;

use crate::base::{Span, Time};
use crate::cost::remaining;
use crate::fleet::HostId;
use crate::graph::JobId;
use crate::run::{Attempt, Order, Outcome};

use super::hosts::Older;
use super::policy::{Choice, Confine};
use super::state::{JobState, Seat};
use super::{Phase, Scheduler};

/// How many copies of a job are begun at most. Some come to nothing, between hosts of which one only seems faster.
pub(super) const MOST: u32 = 4;
/// Parts of the time since the beginning after which the builds are looked at again.
const AGAIN: f64 = 0.02;
/// The least such time.
const SOONEST: Span = Span::from_millis(500);
/// A copy has to gain so much: another build of the same for less only costs.
const LEAST_GAIN: Span = Span::from_millis(200);

/// What is to be expected of the attempts at a running job.
struct Outlook {
    job: JobId,
    /// All of its work, on one core of a host of speed 1.
    work: Span,
    /// When one of them should be over and its output where it is needed.
    end: Time,
    /// Where they are.
    hosts: Vec<HostId>,
}

impl Scheduler {
    /// Has idle hosts build what slower ones are not done with, if nothing that is ready needs them.
    pub(super) fn copy_late(&mut self, at: Time, out: &mut Vec<Order>) {
        let Some(margin) = self.copy_margin().filter(|_| self.is_slow_host_busy()) else { return };
        if at >= self.next_look {
            self.next_look = at + at.since(Time::ZERO).scale(AGAIN).max(SOONEST);
            let mut late = self.late_builds(at);
            if late.is_empty() {
                return;
            }
            late.sort_unstable_by_key(|outlook| (outlook.end, outlook.job));
            self.copy_what_gains(at, &late, margin, out);
        }
        // Nothing else may happen until what is late ends.
        self.patience_ends = self.patience_ends.into_iter().chain([self.next_look]).min();
    }

    /// What a copy has to gain, if there are to be any.
    fn copy_margin(&self) -> Option<f64> {
        // A policy that keeps to one host, or to a plan, means to leave others idle.
        let leaves_idle = self.policy.confine != Confine::No || self.policy.choice == Choice::Planned;
        self.policy.copy_margin.filter(|_| !leaves_idle)
    }

    /// Has the builds looked at when it is time, if an idle host might build one, too: one has begun.
    pub(super) fn wake_for_copies(&mut self, at: Time) {
        if self.copy_margin().is_some() && !self.forecasts.free().is_clear() {
            self.patience_ends = self.patience_ends.into_iter().chain([self.next_look.max(at)]).min();
        }
    }

    /// Whether there are builds on a host that is slower than one with a free slot.
    fn is_slow_host_busy(&self) -> bool {
        let hosts = || self.hosts.spec.ids();
        self.paces.rows().iter().any(|pace| {
            let free = hosts().filter(|&h| !self.forecasts.of(h).free.is_empty());
            let fastest = free.map(|h| pace[h]).fold(f64::INFINITY, f64::min);
            hosts().any(|h| pace[h] > fastest && self.jobs.seated_on(h).next().is_some())
        })
    }

    /// Begins a copy of each job that is done sooner by one, the one that ends last first.
    fn copy_what_gains(&mut self, at: Time, late: &[Outlook], margin: f64, out: &mut Vec<Order>) {
        for outlook in late.iter().rev() {
            let rest = outlook.end.since(at);
            let gains = |finish: Time| finish.since(at).scale(margin) + LEAST_GAIN < rest;
            if let Some(host) = self.soonest_copy(at, outlook, gains) {
                self.begin_copy(at, outlook.job, host, out);
            }
        }
    }

    /// The running jobs that a free host would build faster than theirs do.
    fn late_builds(&self, at: Time) -> Vec<Outlook> {
        let free: Vec<HostId> =
            self.hosts.spec.ids().filter(|&h| !self.forecasts.of(h).free.is_empty()).collect();
        let is_faster = |job: JobId, here: HostId| {
            let pace = self.paces.of_job(job);
            let here = self.older_of(job).map(|(host, _)| pace[host]).fold(pace[here], f64::min);
            free.iter().filter(|h| pace[**h] < here).any(|h| self.is_eligible(job, *h))
        };
        let is_late = |&(host, _, job): &(HostId, _, JobId)| {
            matches!(self.jobs.state(job), JobState::Running(_))
                && self.tries.trouble(job).is_none_or(|trouble| trouble.copies < MOST)
                && is_faster(job, host)
        };
        let seated = self.jobs.seated().filter(is_late);
        seated.filter_map(|(.., job)| self.outlook_of(at, job)).collect()
    }

    /// What is to be expected of a running job's attempts. Each of them tells how much work it is at least.
    fn outlook_of(&self, at: Time, job: JobId) -> Option<Outlook> {
        let JobState::Running(seat) = self.jobs.state(job) else { return None };
        let pace = |host: HostId, cores: u32| self.paces.of(job, host) * self.amdahl(job, host, cores);
        let newest = (seat.host, seat.since, pace(seat.host, self.placed[job].cores));
        let older = self.older_of(job).map(|(host, older)| (host, older.since, pace(host, older.cores)));
        let attempts: Vec<(HostId, Time, f64)> = older.chain([newest]).collect();
        let mut work = self.expected_end(at, seat.host, job).since(seat.since).scale(1.0 / newest.2);
        let done = attempts.iter().map(|&(_, since, pace)| at.since(since).scale(1.0 / pace)).max()?;
        if done > work {
            work = done + remaining(&self.estimates[job], done);
        }
        let ends =
            attempts.iter().map(|&(host, since, pace)| since + work.scale(pace) + self.onward(job, host));
        let (end, hosts) = (ends.min()?, attempts.iter().map(|&(host, ..)| host).collect());
        Some(Outlook { job, work, end, hosts })
    }

    /// The free host that would have all of a running job's work done first, if that `gains` enough. Two attempts on one
    /// host are one: Nix locks the outputs.
    fn soonest_copy(&mut self, at: Time, outlook: &Outlook, gains: impl Fn(Time) -> bool) -> Option<HostId> {
        let &Outlook { job, work, .. } = outlook;
        let mut best: Option<(Time, HostId)> = None;
        for &host in self.eligible[job].clone().iter() {
            let is_free = !self.forecasts.of(host).free.is_empty();
            if outlook.hosts.contains(&host) || !is_free || self.tries.avoids(job, host) {
                continue;
            }
            let cores = self.cores_for(job, host);
            let takes = work.scale(self.paces.of(job, host) * self.amdahl(job, host, cores));
            let least = at + takes + self.onward(job, host);
            if !gains(least) || best.is_some_and(|(finish, _)| finish <= least) {
                continue;
            }
            let finish = least + self.transfer(host, job);
            best = best.into_iter().chain([(finish, host)]).min();
        }
        best.filter(|&(finish, _)| gains(finish)).map(|(_, host)| host)
    }

    fn begin_copy(&mut self, at: Time, job: JobId, host: HostId, out: &mut Vec<Order>) {
        let JobState::Running(seat) = self.jobs.state(job) else { return };
        let Some(offer) = self.offer(at, job, host).filter(|offer| offer.free) else { return };
        self.set_aside(job, seat, false);
        self.tries.trouble_mut(job).copies += 1;
        self.unseat_for_another(job);
        self.bind(at, job, offer, out);
    }

    /// The attempts that go on beside a job's newest one, and on which hosts.
    pub(super) fn older_of(&self, job: JobId) -> impl Iterator<Item = (HostId, Older)> + '_ {
        let all = self.hosts.all_older().filter(move |(_, _, older)| older.job == job && !older.ends);
        all.map(|(host, _, older)| (host, older))
    }

    fn set_aside(&mut self, job: JobId, seat: Seat, ends: bool) {
        let Seat { host, slot, attempt, since } = seat;
        self.hosts.set_aside(host, slot, Older { job, attempt, cores: self.placed[job].cores, since, ends });
        self.forecasts.touch(host);
    }

    /// Gives jobs whose newest attempt came to nothing back to the newest one that goes on, and ends what is not needed.
    pub(super) fn review_older(&mut self, out: &mut Vec<Order>) {
        let mut older: Vec<_> = self.hosts.all_older().filter(|(_, _, older)| !older.ends).collect();
        older.sort_by_key(|(_, _, older)| Reverse(older.attempt));
        for (host, slot, Older { job, attempt, cores, since, .. }) in older {
            let state = self.jobs.state(job);
            if state.is_over() {
                self.end_older(job, out);
            } else if state.seat().is_none() && self.hosts.older_over(job, attempt).is_some() {
                self.placed[job].cores = cores;
                self.placed[job].progress = None;
                self.run(job, Seat { host, slot, attempt, since });
                self.forecasts.touch(host);
            }
        }
    }

    /// Ends the older attempts of a job that needs them no more.
    pub(super) fn end_older(&mut self, job: JobId, out: &mut Vec<Order>) {
        while let Some((host, slot, attempt)) = self.hosts.end_older(job) {
            self.forecasts.touch(host);
            out.push(Order::Cancel { job, attempt, host, slot });
        }
    }

    /// An attempt is over that is not its job's newest: what came of it counts, if nothing else has yet.
    pub(super) fn older_finished(
        &mut self,
        job: JobId,
        attempt: Attempt,
        outcome: &Outcome,
        out: &mut Vec<Order>,
    ) {
        let Some((host, slot, older)) = self.hosts.older_over(job, attempt) else { return };
        self.forecasts.touch(host);
        if self.jobs.state(job).is_over() {
            return;
        }
        match outcome {
            Outcome::Built { made, times } => {
                self.end_newer(job, out);
                self.placed[job].cores = older.cores;
                self.built(job, Seat { host, slot, attempt, since: older.since }, made, *times);
            }
            Outcome::Failed { failure, message, .. } => {
                self.end_newer(job, out);
                self.failed(job, *failure, message, out);
            }
            Outcome::HostFailed { fault, message } => {
                self.doubt_inputs(job, host, *fault);
                self.tries.blame(job, Some(host), message);
            }
            Outcome::Cancelled => {}
        }
    }

    /// Ends the newest attempt of a job that is over by another one. A run that is stopping has told it already.
    fn end_newer(&mut self, job: JobId, out: &mut Vec<Order>) {
        if let JobState::Running(seat) = self.jobs.state(job) {
            let Seat { host, slot, attempt, .. } = seat;
            if self.phase != Phase::Stopping {
                out.push(Order::Cancel { job, attempt, host, slot });
            }
            self.set_aside(job, seat, true);
        }
        if self.jobs.state(job).seat().is_some() {
            self.unseat_for_another(job);
        }
    }
}
