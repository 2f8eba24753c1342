//! Upward ranks: how long the run still takes from the start of a job, along the longest way.
//!
//! Costs are what the caller says they are; so is what lies between a job and its users, such as moving
//! its outputs.

use std::cmp::Reverse;

use fixedbitset::FixedBitSet;

use super::order::Order;
use super::workload::{JobId, Workload};
use crate::base::{Span, Table};

/// The upward rank of every job: its own cost and the highest rank among its users.
pub fn upward_ranks(work: &Workload, cost: &Table<JobId, Span>) -> Table<JobId, Span> {
    Ranks::new(work, cost.clone()).rank
}

/// The jobs of the longest way through `work`, first to last.
pub fn critical_path(work: &Workload, cost: &Table<JobId, Span>) -> Vec<JobId> {
    Ranks::new(work, cost.clone()).critical_path()
}

/// Upward ranks that follow changes of costs.
#[derive(Clone, Debug)]
pub struct Ranks {
    order: Order,
    needs: Table<JobId, Vec<JobId>>,
    cost: Table<JobId, Span>,
    /// Between a job and its users; empty for nothing.
    after: Table<JobId, Span>,
    rank: Table<JobId, Span>,
}

impl Ranks {
    /// The ranks of all jobs of a workload that passed its check; a job beyond the end of `cost`
    /// costs nothing.
    pub fn new(work: &Workload, cost: Table<JobId, Span>) -> Ranks {
        Ranks::with_transfers(work, cost, Table::new())
    }

    /// The same with the time between the end of each job and the beginning of a user of it.
    pub fn with_transfers(work: &Workload, cost: Table<JobId, Span>, after: Table<JobId, Span>) -> Ranks {
        let cost = work.jobs.ids().map(|job| cost.get(job).copied().unwrap_or_default()).collect();
        let mut ranks = Ranks {
            order: Order::new(work),
            needs: work.jobs.iter().map(|(_, job)| job.needs.clone()).collect(),
            cost,
            after,
            rank: Table::filled(work.jobs.len(), Span::ZERO),
        };
        ranks.settle();
        ranks
    }

    fn settle(&mut self) {
        for i in (0..self.order.jobs().len()).rev() {
            let job = self.order.jobs()[i];
            self.rank[job] = self.fresh(job);
        }
    }

    /// The rank of a job.
    pub fn of(&self, job: JobId) -> Span {
        self.rank[job]
    }

    /// What a job costs.
    pub fn cost(&self, job: JobId) -> Span {
        self.cost[job]
    }

    /// All ranks.
    pub fn all(&self) -> &Table<JobId, Span> {
        &self.rank
    }

    /// Changes the costs of jobs, up or down, and the ranks that depend on those that are other than before. Returns
    /// the jobs whose rank changed, users before needs.
    pub fn set_costs(&mut self, costs: impl IntoIterator<Item = (JobId, Span)>) -> Vec<JobId> {
        let mut open = FixedBitSet::with_capacity(self.rank.len());
        for (job, cost) in costs {
            if std::mem::replace(&mut self.cost[job], cost) != cost {
                open.insert(self.order.position(job));
            }
        }
        let mut changed = Vec::new();
        // Last in the order first, so each job is looked at once, when its users are settled.
        for block in (0..open.as_slice().len()).rev() {
            while let bits @ 1.. = open.as_slice()[block] {
                let position = block * usize::BITS as usize + bits.ilog2() as usize;
                open.remove(position);
                let job = self.order.jobs()[position];
                let rank = self.fresh(job);
                if std::mem::replace(&mut self.rank[job], rank) != rank {
                    changed.push(job);
                    open.extend(self.needs[job].iter().map(|&need| self.order.position(need)));
                }
            }
        }
        changed
    }

    /// The jobs of the longest way, first to last; among equals the smallest id.
    pub fn critical_path(&self) -> Vec<JobId> {
        let first = self.longest(self.rank.ids());
        std::iter::successors(first, |&job| self.next(job)).take(self.rank.len()).collect()
    }

    /// The user of a job by way of which the end is farthest; among equals the smallest id.
    pub fn next(&self, job: JobId) -> Option<JobId> {
        self.longest(self.users(job).iter().copied())
    }

    /// The jobs that need `job`, ascending.
    pub fn users(&self, job: JobId) -> &[JobId] {
        self.order.users(job)
    }

    fn longest(&self, jobs: impl Iterator<Item = JobId>) -> Option<JobId> {
        jobs.min_by_key(|&job| (Reverse(self.rank[job]), job))
    }

    /// The rank of `job` by its cost and the ranks of its users.
    fn fresh(&self, job: JobId) -> Span {
        let users = self.users(job).iter().map(|&user| self.rank[user]);
        let after = self.after.get(job).copied().unwrap_or_default();
        self.cost[job] + users.max().map_or(Span::ZERO, |rank| after + rank)
    }
}

#[cfg(test)]
mod tests;
