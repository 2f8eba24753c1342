//! Shards: the jobs of a workload dealt out to machines that share nothing but what they upload, such
//! as the runners of a CI service.
//!
//! A job is never in an earlier shard than a job that it needs, so shards in their order never wait for
//! each other in a circle. Two topological orders are cut into pieces of equal cost: one that follows
//! each job with what it is for, which keeps together what belongs together, and one by distance from the
//! beginning. Then jobs at the edges are moved while that makes fewer bytes cross (after Fiduccia and
//! Mattheyses, A linear-time heuristic for improving network partitions, 1982: the best move first,
//! good or bad, each job once, and back to the best that was seen). The result of the two that is done
//! sooner is taken.
//!
//! No shard is empty where there are jobs enough (`fill`).
//!
//! Pieces of one order tend to follow each other, since most of what there is rests on a few jobs and ends
//! in a few. So shards that can run side by side are looked for as well (`layers`), if need be at the price of
//! parts that differ in cost, and taken if all is clearly done sooner with them. There are none for fewer than four
//! shards where everything rests on one job and ends in one: a base, two parts beside each other and the
//! end are four, and two machines are enough for them.
//!
//! A path crosses once to each shard with a job that uses it. What it brings along in its closure is
//! not counted, nor is what comes from elsewhere than these jobs.

mod fill;
mod layers;
mod refine;
mod runner;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use super::order::Order;
use super::workload::{JobId, Origin, PathId, Workload};
use crate::base::{Id, Span, Table, typed_id};

typed_id!(
    /// A shard of a workload, from 0; it needs only shards with smaller numbers.
    ShardId, "shard "
);

/// A workload in shards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sharding {
    /// The shard of each job.
    pub of: Table<JobId, ShardId>,
    /// The shards; some are empty if there are fewer jobs.
    pub shards: Table<ShardId, Shard>,
}

/// One shard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shard {
    /// Its jobs in the order in which to build them: the longest way to the end of the shard first, and so needs
    /// before users.
    pub jobs: Vec<JobId>,
    /// The sum of their costs.
    pub cost: Span,
    /// The paths that it needs of each other shard, ascending.
    pub needs: BTreeMap<ShardId, Vec<PathId>>,
    /// When it can begin, if all shards that it needs are done then.
    pub start: Span,
    /// When it is done.
    pub finish: Span,
}

/// How much sooner, as a part of the time, all has to be done for parts that differ in cost: one machine with nearly
/// all of the work is what was to be avoided.
const GAIN: f64 = 0.05;

impl Sharding {
    /// Deals `work` out in `shards` parts to machines that build `slots` jobs at a time each, a job taking `cost`
    /// (nothing, beyond its end): in parts of equal cost, or in others that are all done clearly sooner.
    pub fn new(work: &Workload, cost: &Table<JobId, Span>, shards: u32, slots: u32) -> Sharding {
        Self::several(work, cost, &[shards], slots).swap_remove(0)
    }

    /// The same for each of several numbers of parts, which takes less long than one by one.
    pub fn several(work: &Workload, cost: &Table<JobId, Span>, counts: &[u32], slots: u32) -> Vec<Sharding> {
        let cost: Table<JobId, Span> =
            work.jobs.ids().map(|job| cost.get(job).copied().unwrap_or_default()).collect();
        let order = Order::new(work);
        let counts: Vec<u32> = counts.iter().map(|&count| count.max(1)).collect();
        let mut orders = Vec::new();
        if counts.iter().any(|&count| count > 1) {
            orders = layers::orders(work, &order, &cost);
        }
        let cuts: Vec<Vec<Table<JobId, ShardId>>> =
            orders.iter().map(|jobs| layers::cut(work, jobs, &cost, slots, &counts)).collect();
        let best = |(row, &count): (usize, &u32)| {
            let beside = orders.iter().zip(&cuts).filter(|_| count > 1).flat_map(|(jobs, cuts)| {
                let mut of = cuts[row].clone();
                fill::fill(work, jobs, &cost, count, &mut of);
                let mut refined = of.clone();
                refine::refine(work, &order, &cost, count, &mut refined);
                [of, refined].map(|of| Sharding::describe(work, &order, &cost, slots, count, of))
            });
            let equal = Sharding::equal(work, &order, &cost, slots, count);
            match beside.min_by_key(|sharding| (sharding.makespan(), sharding.crossing(work))) {
                Some(beside) if beside.makespan() <= equal.makespan().scale(1.0 - GAIN) => beside,
                _ => equal,
            }
        };
        counts.iter().enumerate().map(best).collect()
    }

    /// Parts of equal cost: none costs more than an equal part and 5 %, or than an equal part and the most
    /// expensive job.
    fn equal(work: &Workload, order: &Order, cost: &Table<JobId, Span>, slots: u32, count: u32) -> Sharding {
        let try_cut = |jobs: &[JobId]| {
            let mut of = cut(jobs, cost, count);
            fill::fill(work, jobs, cost, count, &mut of);
            refine::refine(work, order, cost, count, &mut of);
            Sharding::describe(work, order, cost, slots, count, of)
        };
        let together = try_cut(&depth_first(work, order));
        let by_distance = try_cut(&by_distance(work, order));
        let key = |sharding: &Sharding| (sharding.makespan(), sharding.crossing(work));
        if key(&by_distance) < key(&together) { by_distance } else { together }
    }

    /// When the last shard is done, if each begins as soon as what it needs is there.
    pub fn makespan(&self) -> Span {
        self.shards.rows().iter().map(|shard| shard.finish).max().unwrap_or_default()
    }

    /// How many shards are built at the same time, at most.
    pub fn at_once(&self) -> usize {
        let shards = self.shards.rows();
        let at = |moment: Span| shards.iter().filter(|s| s.start <= moment && moment < s.finish).count();
        shards.iter().map(|shard| at(shard.start)).max().unwrap_or(0)
    }

    /// The bytes that go from shard to shard.
    pub fn crossing(&self, work: &Workload) -> u64 {
        let paths = self.shards.rows().iter().flat_map(|shard| shard.needs.values().flatten());
        paths.map(|&path| work.paths[path].size).fold(0, u64::saturating_add)
    }

    fn describe(
        work: &Workload,
        order: &Order,
        cost: &Table<JobId, Span>,
        slots: u32,
        count: u32,
        of: Table<JobId, ShardId>,
    ) -> Sharding {
        let mut jobs: Vec<Vec<JobId>> = vec![Vec::new(); count as usize];
        order.jobs().iter().for_each(|&job| jobs[of[job].index()].push(job));
        runner::longest_first(order, cost, &of, &mut jobs);
        let times = runner::times(work, order, cost, &of, &jobs, slots);
        let mut shards: Table<ShardId, Shard> = Table::new();
        for (jobs, time) in jobs.into_iter().zip(times) {
            let mut needs: BTreeMap<ShardId, Vec<PathId>> = BTreeMap::new();
            let own = ShardId::from_index(shards.len());
            for &path in jobs.iter().flat_map(|&job| &work.jobs[job].inputs) {
                if let Some(from) = maker(work, path).map(|maker| of[maker]).filter(|&from| from != own) {
                    needs.entry(from).or_default().push(path);
                }
            }
            for paths in needs.values_mut() {
                paths.sort_unstable();
                paths.dedup();
            }
            let start = needs.keys().map(|&need| shards[need].finish).max().unwrap_or_default();
            let cost = jobs.iter().map(|&job| cost[job]).sum();
            shards.push(Shard { jobs, cost, needs, start, finish: start + time });
        }
        Sharding { of, shards }
    }
}

/// The job that makes a path.
fn maker(work: &Workload, path: PathId) -> Option<JobId> {
    match work.paths.get(path)?.origin {
        Origin::Job(job) => Some(job),
        Origin::Home | Origin::Substituter => None,
    }
}

/// Cuts an order into pieces of equal cost; a job goes where its middle is.
fn cut(jobs: &[JobId], cost: &Table<JobId, Span>, count: u32) -> Table<JobId, ShardId> {
    let total: u128 = cost.rows().iter().map(|cost| u128::from(cost.0)).sum();
    let mut of = Table::filled(cost.len(), ShardId(0));
    let mut before = 0u128;
    for (row, &job) in jobs.iter().enumerate() {
        let own = u128::from(cost[job].0);
        // Where nothing costs anything, by number.
        let (middle, whole) = match total {
            0 => (2 * row as u128 + 1, 2 * jobs.len() as u128),
            _ => (2 * before + own, 2 * total),
        };
        let piece = (middle * u128::from(count) / whole).min(u128::from(count - 1));
        of[job] = ShardId(u32::try_from(piece).unwrap_or(count - 1));
        before += own;
    }
    of
}

/// Needs before users, each job as late as possible before what it is for.
fn depth_first(work: &Workload, order: &Order) -> Vec<JobId> {
    let mut done = Table::filled(work.jobs.len(), false);
    let mut jobs = Vec::with_capacity(work.jobs.len());
    for &last in order.jobs().iter().filter(|&&job| order.users(job).is_empty()) {
        let mut stack = vec![(last, 0usize)];
        while let Some((job, row)) = stack.pop() {
            if done[job] {
                continue;
            }
            match work.jobs[job].needs.get(row) {
                Some(&need) => {
                    stack.push((job, row + 1));
                    stack.push((need, 0));
                }
                None => {
                    done[job] = true;
                    jobs.push(job);
                }
            }
        }
    }
    jobs
}

/// By the number of jobs on the longest chain before each.
fn by_distance(work: &Workload, order: &Order) -> Vec<JobId> {
    let mut distance: Table<JobId, u32> = Table::filled(work.jobs.len(), 0);
    for &job in order.jobs() {
        distance[job] = work.jobs[job].needs.iter().map(|&need| distance[need] + 1).max().unwrap_or(0);
    }
    let mut jobs = order.jobs().to_vec();
    jobs.sort_by_key(|&job| (distance[job], order.position(job)));
    jobs
}
