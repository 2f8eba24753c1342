//! How many cores a job is given, and how long it takes with them.
//!
//! A job takes `w × ((1 - f) + f / c)` on `c` cores (Amdahl), where `w` is its work on one core and `f` its
//! parallel part. Cores are given out as `free cores / ready jobs`, but no fewer than a host has for each free slot:
//! with much to do each slot has its part, and the last jobs share what there is. A host whose number of cores is
//! not known leaves the choice to its own Nix, and its jobs are taken to run as estimated.

use crate::base::{Span, Time};
use crate::fleet::HostId;
use crate::graph::JobId;
use crate::run::SlotId;

use super::Scheduler;
use super::forecast::Left;
use super::hosts::Older;
use super::offer::Offer;
use super::policy::{Choice, Cores};
use super::state::{JobState, Seat};

/// A host kept free for a job that needs all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reservation {
    pub job: JobId,
    /// When its other jobs are over, nine times of ten.
    pub from: Time,
}

/// What a build says of less of its work than this says nothing about the rest.
const LEAST_PART: f64 = 0.05;

/// Cores given out beyond those that a host has, at most: jobs wait for disk and network, too.
const OVERCOMMIT: f64 = 1.25;

impl Scheduler {
    /// The cores that a job would be given on a host now; 0 leaves it to the host.
    pub(super) fn cores_for(&self, job: JobId, host: HostId) -> u32 {
        let all = self.hosts.spec[host].cores;
        match self.policy.cores {
            Cores::Fixed(n) => n,
            Cores::Adaptive if all == 0 => 0,
            Cores::Adaptive if self.parallel[job] <= 0.0 => 1,
            Cores::Adaptive => {
                let each = self.cores_each(host);
                let free = self.forecasts.of(host).cores.most.max(each).max(1);
                let share = if self.is_big(job) { free } else { self.share.max(each) };
                share.clamp(1, free).min(all)
            }
        }
    }

    /// The cores for each free slot of a host, or for each slot if none is free, so that all are in use when the slots
    /// are, and none is given out twice.
    fn cores_each(&self, host: HostId) -> u32 {
        let (spec, outlook) = (&self.hosts.spec[host], self.forecasts.of(host));
        match u32::try_from(outlook.free.len()) {
            Ok(free) if free > 0 => outlook.cores.once / free,
            _ => spec.lanes() / self.hosts.used_slots().of(host).max(1),
        }
    }

    /// Whether a job is to have a whole host: it says that it gains from all cores, and no ready job has
    /// a longer way to the end of the run.
    pub(super) fn is_big(&self, job: JobId) -> bool {
        let is_first =
            || self.jobs.ready().next().is_none_or(|first| self.jobs.rank(job) >= self.jobs.rank(first));
        self.big[job] && is_first()
    }

    /// Keeps a host for a big job that is done sooner if it waits until the host is all its own than by
    /// the offer. Until then, jobs that are over by then, nine times of ten, may still go there. Returns
    /// when the big job would be done.
    pub(super) fn reserve(&mut self, at: Time, job: JobId, offer: &Offer) -> Option<Time> {
        // A policy that takes none but free hosts, or follows a plan, waits for none.
        if self.policy.choice != Choice::Earliest || self.policy.cores != Cores::Adaptive || !self.is_big(job)
        {
            return None;
        }
        let mut best: Option<(Time, HostId, Time)> = None;
        let bars = self.bars(job);
        for &host in self.eligible[job].clone().iter() {
            let all = self.hosts.spec[host].cores;
            let is_away = self.forecasts.available(host, at).is_none();
            // A host that is not to have the job would be kept for it for ever.
            if all == 0 || is_away || self.is_barred(job, host, bars) {
                continue;
            }
            let from = self.latest_end(at, host);
            // Where nothing runs there is nothing to wait for: if the job is not to go there, it never will.
            if from <= at {
                continue;
            }
            let begin = from.max(at + self.transfer(host, job));
            let finish = begin + self.work_time(job, host, all);
            best = best.into_iter().chain([(finish, host, from)]).min();
        }
        let (finish, host, from) = best.filter(|&(finish, ..)| finish < offer.finish)?;
        self.reserved[host] = Some(Reservation { job, from });
        Some(finish)
    }

    /// When the last job on a host is over, nine times of ten.
    fn latest_end(&self, at: Time, host: HostId) -> Time {
        let end = |(_, job): (SlotId, JobId)| match self.jobs.state(job) {
            JobState::Running(seat) => (seat.since + self.p90_time(job, host, self.placed[job].cores))
                .max(self.expected_end(at, host, job)),
            _ => at.max(self.placed[job].due) + self.p90_time(job, host, self.placed[job].cores),
        };
        let older = self.hosts.older_on(host).filter(|older| !older.ends);
        let older = older.map(|&Older { job, cores, since, .. }| {
            (since + self.p90_time(job, host, cores)).max(self.overrun_end(at, host, job, cores, since))
        });
        self.jobs.seated_on(host).map(end).chain(older).max().unwrap_or(at)
    }

    /// Ends all reservations: they hold for one round.
    pub(super) fn release(&mut self) {
        self.reserved.iter_mut().for_each(|(_, kept)| *kept = None);
    }

    /// Free cores for each ready job, over the hosts that have a free slot.
    pub(super) fn share_cores(&mut self) {
        let free: u32 = self
            .hosts
            .spec
            .ids()
            .map(|h| self.forecasts.of(h))
            .filter(|outlook| !outlook.free.is_empty())
            .map(|outlook| outlook.cores.most)
            .sum();
        let ready = u32::try_from(self.jobs.ready_count().max(1)).unwrap_or(u32::MAX);
        self.share = (free / ready).max(1);
    }

    /// The cores that a host has left, its jobs' taken off.
    pub(super) fn cores_left(&self, host: HostId) -> Left {
        let lanes = self.hosts.spec[host].lanes();
        let given: u32 = self.cores_given(host).map(|cores| cores.max(1)).sum();
        let most = self.most_cores(host).saturating_sub(given).min(lanes);
        Left { most, once: lanes.saturating_sub(given) }
    }

    /// The cores of a host that jobs with more than one have in sum.
    pub(super) fn shared_out(&self, host: HostId) -> u32 {
        self.cores_given(host).filter(|&cores| cores > 1).sum()
    }

    /// The cores of each attempt on a host, older ones, too, but for those that were told to end.
    fn cores_given(&self, host: HostId) -> impl Iterator<Item = u32> {
        let newest = self.jobs.seated_on(host).map(|(_, job)| self.placed[job].cores);
        let older = self.hosts.older_on(host).filter(|older| !older.ends);
        newest.chain(older.map(|older| older.cores))
    }

    /// The most cores that jobs with more than one are given in sum; each of the others has one anyway.
    pub(super) fn most_cores(&self, host: HostId) -> u32 {
        let spec = &self.hosts.spec[host];
        ((f64::from(spec.lanes()) * OVERCOMMIT) as u32).max(self.hosts.used_slots().of(host))
    }

    /// How long a job of median cost takes on a host with so many cores.
    pub(super) fn work_time(&self, job: JobId, host: HostId, cores: u32) -> Span {
        self.scaled(self.estimates[job].median, job, host, cores)
    }

    /// How long it takes at most, nine times of ten.
    pub(super) fn p90_time(&self, job: JobId, host: HostId, cores: u32) -> Span {
        self.scaled(self.estimates[job].p90, job, host, cores)
    }

    pub(super) fn scaled(&self, work: Span, job: JobId, host: HostId, cores: u32) -> Span {
        let pace = self.paces.of(job, host);
        Span((work.0 as f64 * pace * self.amdahl(job, host, cores)) as u64)
    }

    /// Whether it makes a difference how many cores a job has on a host.
    pub(super) fn is_spread(&self, job: JobId, host: HostId) -> bool {
        self.parallel[job] > 0.0 && self.hosts.spec[host].cores > 0
    }

    /// The part of its one-core time that a job takes with so many cores.
    pub(super) fn amdahl(&self, job: JobId, host: HostId, cores: u32) -> f64 {
        let all = self.hosts.spec[host].cores;
        let parallel = self.parallel[job];
        if !self.is_spread(job, host) {
            return 1.0;
        }
        let cores = if cores == 0 { all } else { cores.min(all) };
        crate::cost::amdahl(parallel, cores)
    }

    /// When a job that has a slot will probably leave it.
    pub(super) fn expected_end(&self, at: Time, host: HostId, job: JobId) -> Time {
        let end = self.placed[job].end;
        if end > at {
            return end;
        }
        match self.jobs.state(job) {
            JobState::Running(seat) => self.overrun_end(at, host, job, self.placed[job].cores, seat.since),
            _ => at + self.work_time(job, host, self.placed[job].cores),
        }
    }

    /// When an attempt will probably be over by how long it took so far.
    fn overrun_end(&self, at: Time, host: HostId, job: JobId, cores: u32, since: Time) -> Time {
        let pace = self.paces.of(job, host) * self.amdahl(job, host, cores);
        let done = at.since(since).scale(1.0 / pace);
        at + crate::cost::remaining(&self.estimates[job], done).scale(pace)
    }

    /// Has a job run in a seat.
    pub(super) fn run(&mut self, job: JobId, seat: Seat) {
        self.jobs.set(job, JobState::Running(seat));
        self.placed[job].end = self.estimated_end(job, seat);
    }

    /// Notes anew when the jobs that run on a host should be over: what is known of them or of it is other.
    pub(super) fn estimate_ends(&mut self, host: HostId) {
        let seated = self.jobs.seated_on(host);
        for job in seated.map(|(_, job)| job).collect::<Vec<_>>() {
            if let JobState::Running(seat) = self.jobs.state(job) {
                self.placed[job].end = self.estimated_end(job, seat);
            }
        }
        self.forecasts.touch(host);
    }

    /// The estimated end of a running job, mixed with what follows from how far it says that it is: a
    /// build that did a part `p` of its work in a time `t` needs `t × (1 - p) / p` for the rest. That has
    /// the weight `p`, so that a guess from the first lines of a log counts for little.
    pub(super) fn estimated_end(&self, job: JobId, seat: Seat) -> Time {
        let estimated = seat.since + self.work_time(job, seat.host, self.placed[job].cores);
        let Some((told, permille)) = self.placed[job].progress else { return estimated };
        let (part, took) = (f64::from(permille) / 1000.0, told.since(seat.since));
        if part < LEAST_PART || took == Span::ZERO {
            return estimated;
        }
        let said = took.scale(1.0 / part);
        let mixed = said.scale(part) + estimated.since(seat.since).scale(1.0 - part);
        seat.since + mixed
    }

    /// Brings the outlooks of hosts up to date where something happened; those of hosts where an expected end
    /// has passed, too, if `overdue` ones are to be estimated anew.
    pub(super) fn refresh(&mut self, at: Time, overdue: bool) {
        self.touch_moved();
        while let Some(host) = self.forecasts.first_stale() {
            self.settle(at, host);
        }
        if overdue {
            for host in self.hosts.spec.ids() {
                if self.forecasts.is_overdue(host, at) {
                    self.settle(at, host);
                }
            }
        }
    }

    /// Counts the free slots of hosts where something happened, and nothing else.
    pub(super) fn count_free(&mut self) {
        self.touch_moved();
        while let Some(host) = self.forecasts.first_miscounted() {
            let cores = self.cores_left(host);
            let free = self.hosts.vacant(host, &self.jobs).into_iter().flatten();
            self.forecasts.set_free(host, free, cores);
        }
    }

    /// Something happened at hosts where a seat was taken or left.
    pub(super) fn touch_moved(&mut self) {
        for host in self.jobs.take_moved() {
            self.forecasts.touch(host);
        }
    }

    /// Sorts the ends of a host's jobs, and keeps those that leave a slot to another.
    pub(super) fn leave_slots(&self, host: HostId, ends: &mut Vec<Time>) {
        ends.sort_unstable();
        ends.drain(..self.hosts.surplus(host, &self.jobs).min(ends.len()));
    }

    /// Works out anew what follows for a host from the jobs that have slots there.
    fn settle(&mut self, at: Time, host: HostId) {
        let mut outlook = self.forecasts.emptied(host);
        // What runs on a host that takes no more jobs is of no use to whoever looks for a slot.
        if let Some(vacant) = self.hosts.vacant(host, &self.jobs) {
            outlook.free.extend(vacant);
            outlook.free.reverse();
            let seated = self.jobs.seated_on(host);
            outlook.ends.extend(seated.map(|(_, job)| self.expected_end(at, host, job)));
            self.leave_slots(host, &mut outlook.ends);
            outlook.cores = self.cores_left(host);
        }
        self.forecasts.set(host, outlook);
        if self.outgrown[host] > 0 {
            self.outgrown[host] = self.outgrown[host].min(self.shared_out(host));
        }
    }
}
