//! Jobs in the order of their needs, and who waits for whom.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::users::Users;
use super::workload::{JobId, Workload};
use crate::base::Table;

/// A topological order of the jobs of a workload, with the users of each job.
#[derive(Clone, Debug)]
pub struct Order {
    jobs: Vec<JobId>,
    position: Table<JobId, u32>,
    users: Users<JobId>,
    sorted: usize,
}

impl Order {
    /// Orders the jobs of `work`: needs before users, and the smallest id first where that leaves a
    /// choice. Ids of `work` must be in range ([`Workload::check`]).
    pub fn new(work: &Workload) -> Order {
        let users = Users::of_jobs(work);
        let mut waits: Table<JobId, usize> = work.jobs.iter().map(|(_, job)| job.needs.len()).collect();
        let mut ready: BinaryHeap<Reverse<JobId>> =
            work.jobs.ids().filter(|&job| waits[job] == 0).map(Reverse).collect();
        let mut order = Order { jobs: Vec::new(), position: Table::new(), users, sorted: 0 };
        while let Some(Reverse(job)) = ready.pop() {
            order.jobs.push(job);
            for &user in order.users(job) {
                waits[user] -= 1;
                if waits[user] == 0 {
                    ready.push(Reverse(user));
                }
            }
        }
        order.sorted = order.jobs.len();
        order.jobs.extend(work.jobs.ids().filter(|&job| waits[job] > 0));
        order.position = Table::filled(work.jobs.len(), 0);
        for (position, &job) in (0..).zip(&order.jobs) {
            order.position[job] = position;
        }
        order
    }

    /// All jobs, needs before users.
    pub fn jobs(&self) -> &[JobId] {
        &self.jobs
    }

    /// Where a job stands in [`Order::jobs`].
    pub fn position(&self, job: JobId) -> usize {
        self.position[job] as usize
    }

    /// The jobs that need `job`, ascending.
    pub fn users(&self, job: JobId) -> &[JobId] {
        self.users.of(job)
    }

    /// Jobs that no order can hold, since they are on a circle or behind one; at the end of
    /// [`Order::jobs`]. None in a workload that passed its check.
    pub fn stuck(&self) -> &[JobId] {
        &self.jobs[self.sorted..]
    }
}

#[cfg(test)]
mod tests;
