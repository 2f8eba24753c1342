//! The longest way that is left, and how long the rest takes, by the estimates of the log's header.
//!
//! For showing only: the scheduler has its own ranks, which also count transfers.

use std::collections::BTreeMap;

use super::{JobState, RunState};
use crate::base::{Id, Span, Time};
use crate::fleet::HostId;
use crate::graph::{self, JobId};
use crate::run::Header;

/// The longest way from now to the end of the run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CriticalPath {
    /// Its jobs, first to last; the first may be running.
    pub jobs: Vec<JobId>,
    /// How long it takes, each job at its fastest host.
    pub left: Span,
}

/// How long the run takes from the start of each job, at the fastest hosts.
#[derive(Debug)]
pub(super) struct Ranks {
    of: graph::Ranks,
}

impl Ranks {
    pub(super) fn new(header: &Header) -> Self {
        let jobs = header.workload.jobs.ids();
        let best = jobs.map(|id| header.estimates[id].median.scale(1.0 / fastest(header, id))).collect();
        Self { of: graph::Ranks::new(&header.workload, best) }
    }

    /// The jobs that need a job.
    pub(super) fn users(&self, job: JobId) -> &[JobId] {
        self.of.users(job)
    }

    pub(super) fn critical_path(&self, run: &RunState, now: Time) -> Option<CriticalPath> {
        let waiting = run.jobs.iter().filter(|(_, state)| **state == JobState::Waiting);
        let waiting = waiting.map(|(job, _)| (self.of.of(job), job));
        let running = underway(run, now).into_iter().map(|(job, (left, _))| (left + self.after(job), job));
        let (left, first) = running.chain(waiting).max_by_key(|(left, job)| (*left, !job.index()))?;
        let jobs = std::iter::successors(Some(first), |job| self.of.next(*job)).collect();
        Some(CriticalPath { jobs, left })
    }

    pub(super) fn time_left(&self, run: &RunState, now: Time) -> Span {
        let path = self.critical_path(run, now).map_or(Span::ZERO, |path| path.left);
        let speed = |host| run.header.hosts[host].speed;
        let hosts = run.header.hosts.ids();
        let capacity: f64 = hosts.map(|host| f64::from(run.used.of(host)) * speed(host)).sum();
        if capacity <= 0.0 {
            return path;
        }
        // In seconds of a host of speed 1, which is what the capacity counts in.
        let waiting = run.jobs.iter().filter(|(_, state)| **state == JobState::Waiting);
        let work: Span = waiting.map(|(job, _)| run.header.estimates[job].median).sum();
        let begun: Span = underway(run, now).into_values().map(|(left, host)| left.scale(speed(host))).sum();
        path.max((work + begun).scale(1.0 / capacity))
    }

    fn after(&self, job: JobId) -> Span {
        self.of.of(job).saturating_sub(self.of.cost(job))
    }
}

/// How long each job under way should still take, and where it is done then: the first of its attempts counts. What is
/// late says nothing of its end, so it counts only where there is nothing else to go by.
fn underway(run: &RunState, now: Time) -> BTreeMap<JobId, (Span, HostId)> {
    let mut soonest = BTreeMap::<JobId, (Span, HostId)>::new();
    let is_open = |job: JobId| run.jobs[job] == JobState::Active;
    for (job, _, attempt) in run.running().filter(|(job, ..)| is_open(*job)) {
        let this = (attempt.left(now), attempt.host);
        let best = soonest.entry(job).or_insert(this);
        if best.0 == Span::ZERO || this.0 > Span::ZERO && this.0 < best.0 {
            *best = this;
        }
    }
    soonest
}

/// The highest speed among the hosts that can build `job`; 1 if none can.
fn fastest(header: &Header, job: JobId) -> f64 {
    let job = &header.workload.jobs[job];
    let able = header.hosts.iter().filter(|(_, h)| h.lacks(&job.system, &job.features).is_none());
    let best = able.map(|(_, h)| h.speed).fold(0.0, f64::max);
    if best > 0.0 { best } else { 1.0 }
}
