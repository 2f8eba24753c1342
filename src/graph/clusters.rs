//! Clusters: tiny jobs whose outputs nobody else uses, to be built one after the other in one slot
//! with no decision between them.
//!
//! A cluster is a job, its last, with jobs that serve only it: all users of every other member are
//! members, and nobody wants what those make. So nothing leaves a cluster but by its last job, and no
//! way leads out of it and back in.
//!
//! What a cluster costs is time that its members could have used side by side; what it saves is the
//! handing out of all but one of them. Both are counted in a world with free hands: with the chain
//! before a job as the time when it can begin, a cluster begins when the last thing that it needs from
//! outside is there, and takes the sum of its work. A job joins only if that ends later than the last
//! job alone would by no more than the members save. In a plain chain nothing is lost at all.

use std::collections::BinaryHeap;

use super::order::Order;
use super::workload::{JobId, Workload};
use crate::base::{Span, Table, typed_id};

typed_id!(
    /// A cluster; numbered in the order of the last jobs.
    ClusterId, "c"
);

/// What may become a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The longest job that may be in one.
    pub tiny: Span,
    /// The most work that one may have in sum.
    pub total: Span,
    /// What handing out one job less saves.
    pub saves: Span,
}

/// Which jobs make clusters. A job that is alone is in none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Clusters {
    of: Table<JobId, Option<ClusterId>>,
    members: Table<ClusterId, Vec<JobId>>,
}

impl Clusters {
    /// The clusters of `work`, when a job takes `cost` (a job beyond its end is in none). Jobs are put
    /// together only if `alike` says that they can be built in the same places. Takes O(E log E) for E
    /// pairs of a job and one that it needs.
    pub fn new(
        work: &Workload,
        cost: &Table<JobId, Span>,
        limits: Limits,
        alike: impl Fn(JobId, JobId) -> bool,
    ) -> Clusters {
        let order = Order::new(work);
        let ends = chain_ends(work, &order, cost);
        let wanted = wanted(work);
        let mut growing: Vec<Growing> = Vec::new();
        let mut place: Table<JobId, Option<usize>> = Table::filled(work.jobs.len(), None);
        // Users first, so that a job knows where all its users are.
        let sorted = order.jobs().len() - order.stuck().len();
        for &job in order.jobs()[..sorted].iter().rev() {
            let Some(&own) = cost.get(job).filter(|&&own| own <= limits.tiny) else { continue };
            let home = common(order.users(job).iter().map(|&user| place[user])).filter(|_| !wanted[job]);
            let row = match home.filter(|&row| alike(job, growing[row].last)) {
                Some(row) if growing[row].take(job, own, &limits, |job| ends[job], &place) => row,
                _ => {
                    growing.push(Growing::new(job, own, ends[job]));
                    growing.len() - 1
                }
            };
            place[job] = Some(row);
            growing[row].outside.extend(work.jobs[job].needs.iter().map(|&need| (ends[need], need)));
        }
        Clusters::gather(&order, &place, growing.len())
    }

    /// The cluster of a job.
    pub fn of(&self, job: JobId) -> Option<ClusterId> {
        self.of.get(job).copied().flatten()
    }

    /// The jobs of each cluster, at least two, needs before users; the last is the one whose outputs
    /// may be used outside.
    pub fn members(&self) -> &Table<ClusterId, Vec<JobId>> {
        &self.members
    }

    fn gather(order: &Order, place: &Table<JobId, Option<usize>>, rows: usize) -> Clusters {
        let mut members = vec![Vec::new(); rows];
        for &job in order.jobs() {
            if let Some(row) = place[job] {
                members[row].push(job);
            }
        }
        members.retain(|jobs| jobs.len() > 1);
        members.sort_by_key(|jobs| jobs.last().copied());
        let mut clusters =
            Clusters { of: Table::filled(place.len(), None), members: members.into_iter().collect() };
        for (id, jobs) in clusters.members.iter() {
            for &job in jobs {
                clusters.of[job] = Some(id);
            }
        }
        clusters
    }
}

/// A cluster in the making.
struct Growing {
    last: JobId,
    members: u64,
    work: Span,
    /// When the last job would be done if it were alone.
    alone: Span,
    /// What the members need, latest first: when it is there, and which job makes it. Holds members
    /// too, until they come up.
    outside: BinaryHeap<(Span, JobId)>,
}

impl Growing {
    fn new(last: JobId, work: Span, alone: Span) -> Growing {
        Growing { last, members: 1, work, alone, outside: BinaryHeap::new() }
    }

    /// Takes a job in if the limits allow it.
    fn take(
        &mut self,
        job: JobId,
        own: Span,
        limits: &Limits,
        ends: impl Fn(JobId) -> Span,
        place: &Table<JobId, Option<usize>>,
    ) -> bool {
        let work = self.work + own;
        // The latest that stays outside: neither a member nor the job itself.
        let row = place[self.last];
        let mut held = Vec::new();
        while let Some(&(_, need)) = self.outside.peek() {
            if need == job {
                held.extend(self.outside.pop());
            } else if place[need].is_some() && place[need] == row {
                self.outside.pop();
            } else {
                break;
            }
        }
        let others = self.outside.peek().map_or(Span::ZERO, |&(end, _)| end);
        let begin = others.max(ends(job).saturating_sub(own));
        let delay = (begin + work).saturating_sub(self.alone);
        let saved = Span(limits.saves.0.saturating_mul(self.members));
        let fits = work <= limits.total && delay <= saved;
        if fits {
            self.members += 1;
            self.work = work;
        } else {
            self.outside.extend(held);
        }
        fits
    }
}

/// When each job would be done at the earliest, with a slot for everyone.
fn chain_ends(work: &Workload, order: &Order, cost: &Table<JobId, Span>) -> Table<JobId, Span> {
    let mut ends = Table::filled(work.jobs.len(), Span::ZERO);
    for &job in order.jobs() {
        let begin = work.jobs[job].needs.iter().map(|&need| ends[need]).max();
        ends[job] = begin.unwrap_or_default() + cost.get(job).copied().unwrap_or_default();
    }
    ends
}

/// Whether somebody wants an output of the job.
fn wanted(work: &Workload) -> Table<JobId, bool> {
    let mut wanted = Table::filled(work.jobs.len(), false);
    for &path in &work.wanted {
        if let Some(super::workload::Origin::Job(job)) = work.paths.get(path).map(|spec| spec.origin) {
            wanted[job] = true;
        }
    }
    wanted
}

/// The row that all have; `None` if there are none, or they differ, or some has none.
fn common(mut rows: impl Iterator<Item = Option<usize>>) -> Option<usize> {
    let first = rows.next()??;
    rows.all(|row| row == Some(first)).then_some(first)
}

#[cfg(test)]
mod tests;
