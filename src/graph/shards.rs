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
//! Pieces of one order tend to follow each other, since most of what there is rests on a few jobs and ends
//! in a few. So shards that can run side by side are looked for as well (`layers`), if need be at the price of
//! parts that differ in cost, and taken if all is clearly done sooner with them. There are none for fewer than four
//! machines where everything rests on one job and ends in one: a base, two parts beside each other and the
//! end are four.
//!
//! A path crosses once to each shard with a job that uses it. What it brings along in its closure is
//! not counted, nor is what comes from elsewhere than these jobs.

mod layers;
mod refine;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use super::order::Order;
use super::workload::{JobId, Origin, PathId, Workload};
use crate::base::{Span, Table, typed_id};

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
    /// Its jobs, needs before users.
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
    /// Deals `work` out to `shards` machines that build `slots` jobs at a time each, a job taking `cost`
    /// (nothing, beyond its end): in parts of equal cost, or in others that are all done clearly sooner.
    pub fn new(work: &Workload, cost: &Table<JobId, Span>, shards: u32, slots: u32) -> Sharding {
        let cost: Table<JobId, Span> =
            work.jobs.ids().map(|job| cost.get(job).copied().unwrap_or_default()).collect();
        let order = Order::new(work);
        let count = shards.max(1);
        let equal = Sharding::equal(work, &order, &cost, slots, count);
        if count < 3 {
            // One needs the other, or they are parts that need nothing of each other: both are found above.
            return equal;
        }
        let key = |sharding: &Sharding| (sharding.makespan(), sharding.crossing(work));
        let beside = layers::orders(work, &order, &cost).into_iter().flat_map(|jobs| {
            let of = layers::cut(work, &jobs, &cost, slots, count);
            let mut refined = of.clone();
            refine::refine(work, &order, &cost, count, &mut refined);
            [of, refined].map(|of| Sharding::describe(work, &order, &cost, slots, count, of))
        });
        match beside.min_by_key(key) {
            Some(beside) if beside.makespan() <= equal.makespan().scale(1.0 - GAIN) => beside,
            _ => equal,
        }
    }

    /// Parts of equal cost: none costs more than an equal part and 5 %, or than an equal part and the most
    /// expensive job.
    fn equal(work: &Workload, order: &Order, cost: &Table<JobId, Span>, slots: u32, count: u32) -> Sharding {
        let try_cut = |jobs: &[JobId]| {
            let mut of = cut(jobs, cost, count);
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
        let mut shards: Table<ShardId, Shard> = Table::filled(count as usize, Shard::default());
        // The longest chain that ends with each job, within its shard.
        let mut chain = Table::filled(work.jobs.len(), Span::ZERO);
        let mut longest: Table<ShardId, Span> = Table::filled(count as usize, Span::ZERO);
        for &job in order.jobs() {
            let own = of[job];
            let inside = work.jobs[job].needs.iter().filter(|&&need| of[need] == own);
            chain[job] = inside.map(|&need| chain[need]).max().unwrap_or_default() + cost[job];
            longest[own] = longest[own].max(chain[job]);
            shards[own].jobs.push(job);
            shards[own].cost += cost[job];
            for &path in &work.jobs[job].inputs {
                if let Some(from) = maker(work, path).map(|maker| of[maker]).filter(|&from| from != own) {
                    shards[own].needs.entry(from).or_default().push(path);
                }
            }
        }
        for shard in shards.ids() {
            let mut needs = std::mem::take(&mut shards[shard].needs);
            for paths in needs.values_mut() {
                paths.sort_unstable();
                paths.dedup();
            }
            let start = needs.keys().map(|&need| shards[need].finish).max().unwrap_or_default();
            let side_by_side = Span(shards[shard].cost.0.div_ceil(u64::from(slots.max(1))));
            let own = &mut shards[shard];
            (own.needs, own.start, own.finish) = (needs, start, start + side_by_side.max(longest[shard]));
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
