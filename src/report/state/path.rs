//! The longest way that is left, and how long the rest takes, by the estimates of the log's header.
//!
//! For showing only: the scheduler has its own ranks, which also count transfers.

use super::{JobState, RunState};
use crate::base::{Id, Span, Table, Time};
use crate::graph::JobId;
use crate::run::Header;

/// The longest way from now to the end of the run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CriticalPath {
    /// Its jobs, first to last; the first may be running.
    pub jobs: Vec<JobId>,
    /// How long it takes, each job at its fastest host.
    pub left: Span,
}

/// Per job: the time at its fastest host, and from its start to the end along the longest way.
#[derive(Debug)]
pub(super) struct Ranks {
    best: Table<JobId, Span>,
    rank: Table<JobId, Span>,
    next: Table<JobId, Option<JobId>>,
    /// Slots times speed, over all hosts.
    capacity: f64,
}

impl Ranks {
    pub(super) fn new(header: &Header, dependents: &Table<JobId, Vec<JobId>>) -> Self {
        let jobs = &header.workload.jobs;
        let best: Table<JobId, Span> =
            jobs.iter().map(|(id, _)| header.estimates[id].median.scale(1.0 / fastest(header, id))).collect();
        let mut ranks = Self {
            rank: best.clone(),
            next: Table::filled(jobs.len(), None),
            capacity: header.hosts.iter().map(|(_, h)| f64::from(h.slots) * h.speed).sum(),
            best,
        };
        let mut open: Table<JobId, usize> = dependents.iter().map(|(_, d)| d.len()).collect();
        let mut free: Vec<JobId> = open.iter().filter(|(_, n)| **n == 0).map(|(id, _)| id).collect();
        while let Some(id) = free.pop() {
            let longest = dependents[id].iter().copied().max_by_key(|d| (ranks.rank[*d], !d.index()));
            ranks.next[id] = longest;
            ranks.rank[id] = ranks.best[id] + ranks.after(id);
            for need in &jobs[id].needs {
                open[*need] -= 1;
                if open[*need] == 0 {
                    free.push(*need);
                }
            }
        }
        ranks
    }

    pub(super) fn critical_path(&self, run: &RunState, now: Time) -> Option<CriticalPath> {
        let waiting = run.jobs.iter().filter(|(_, state)| **state == JobState::Waiting);
        let waiting = waiting.map(|(job, _)| (self.rank[job], job));
        let running = run.running().map(|(job, _, r)| (r.left(now) + self.after(job), job));
        let (left, first) = running.chain(waiting).max_by_key(|(left, job)| (*left, !job.index()))?;
        let jobs = std::iter::successors(Some(first), |job| self.next[*job]).collect();
        Some(CriticalPath { jobs, left })
    }

    pub(super) fn time_left(&self, run: &RunState, now: Time) -> Span {
        let path = self.critical_path(run, now).map_or(Span::ZERO, |path| path.left);
        if self.capacity <= 0.0 {
            return path;
        }
        // In seconds of a host of speed 1, which is what the capacity counts in.
        let speed = |host| run.header.hosts[host].speed;
        let waiting = run.jobs.iter().filter(|(_, state)| **state == JobState::Waiting);
        let work: Span = waiting.map(|(job, _)| run.header.estimates[job].median).sum();
        let begun: Span = run.running().map(|(_, _, r)| r.left(now).scale(speed(r.host))).sum();
        path.max((work + begun).scale(1.0 / self.capacity))
    }

    fn after(&self, job: JobId) -> Span {
        self.next[job].map_or(Span::ZERO, |next| self.rank[next])
    }
}

/// The highest speed among the hosts that can build `job`; 1 if none can.
fn fastest(header: &Header, job: JobId) -> f64 {
    let job = &header.workload.jobs[job];
    let able = header.hosts.iter().filter(|(_, h)| h.lacks(&job.system, &job.features).is_none());
    let best = able.map(|(_, h)| h.speed).fold(0.0, f64::max);
    if best > 0.0 { best } else { 1.0 }
}
