//! Shards side by side: a workload in layers that follow each other, each in shards that need nothing of
//! each other, such as a base, what builds on it, and what brings all together.
//!
//! An order with needs before users is cut into layers. The jobs of a layer that are connected by needs
//! within it stay together; these components are dealt out to the layer's shards, the longest first and each
//! to the shard that is done first (Graham, Bounds on multiprocessing timing anomalies, 1969). Where to cut
//! and how many shards each layer gets is what makes the sum of their times least, by dynamic programming
//! over a grid of places. Which order is best differs from graph to graph; several are proposed.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::ShardId;
use crate::base::{Id, Span, Table};
use crate::graph::order::Order;
use crate::graph::workload::{JobId, Workload};

/// Places where the order may be cut, at equal distances in cost.
const GRID: u128 = 40;
/// How many jobs are followed to find what rests on each, at most: these are enough to tell.
const FOLLOWED: usize = 1 << 14;
/// Jobs that are followed together, one bit each.
const BITS: usize = u64::BITS as usize;

/// Orders with needs before users, in each of which another kind of base comes first.
pub(super) fn orders(work: &Workload, order: &Order, cost: &Table<JobId, Span>) -> Vec<Vec<JobId>> {
    let (head, tail) = chains(work, order, cost);
    let (users, needs) = (resting(work, order, cost, true), resting(work, order, cost, false));
    let signed = |span: Span| i128::from(span.0);
    // Along a need, each of these grows or stays.
    let keys: [&dyn Fn(JobId) -> i128; 6] = [
        &|job| signed(head[job]),
        &|job| -signed(tail[job]),
        &|job| signed(head[job]) - signed(tail[job]),
        &|job| -signed(users[job]),
        &|job| signed(needs[job]),
        &|job| signed(needs[job]) - signed(users[job]),
    ];
    let sorted = |key: &dyn Fn(JobId) -> i128| {
        let mut jobs = order.jobs().to_vec();
        jobs.sort_by_cached_key(|&job| (key(job), order.position(job)));
        jobs
    };
    keys.into_iter().map(sorted).collect()
}

/// The longest chain before each job, and that which begins with it.
fn chains(
    work: &Workload,
    order: &Order,
    cost: &Table<JobId, Span>,
) -> (Table<JobId, Span>, Table<JobId, Span>) {
    let mut head = Table::filled(cost.len(), Span::ZERO);
    for &job in order.jobs() {
        let ends = work.jobs[job].needs.iter().map(|&need| head[need] + cost[need]);
        head[job] = ends.max().unwrap_or_default();
    }
    let mut tail = Table::filled(cost.len(), Span::ZERO);
    for &job in order.jobs().iter().rev() {
        let after = order.users(job).iter().map(|&user| tail[user]).max().unwrap_or_default();
        tail[job] = after + cost[job];
    }
    (head, tail)
}

/// The cost of all jobs that need each job, or that it needs, directly or not; with itself. Of very many
/// jobs, an even sample is followed.
fn resting(work: &Workload, order: &Order, cost: &Table<JobId, Span>, users: bool) -> Table<JobId, Span> {
    let step = order.jobs().len().div_ceil(FOLLOWED).max(1);
    let followed: Vec<JobId> = order.jobs().iter().copied().step_by(step).collect();
    let mut sums = Table::filled(cost.len(), Span::ZERO);
    for block in followed.chunks(BITS) {
        let mut seen: Table<JobId, u64> = Table::filled(cost.len(), 0);
        for (bit, &job) in block.iter().enumerate() {
            seen[job] |= 1 << bit;
        }
        let mut visit = |job: JobId| {
            let near = if users { order.users(job) } else { &work.jobs[job].needs };
            let mut bits = near.iter().fold(seen[job], |bits, &other| bits | seen[other]);
            seen[job] = bits;
            while bits != 0 {
                sums[job] += cost[block[bits.trailing_zeros() as usize]];
                bits &= bits - 1;
            }
        };
        match users {
            true => order.jobs().iter().rev().for_each(|&job| visit(job)),
            false => order.jobs().iter().for_each(|&job| visit(job)),
        }
    }
    sums
}

/// Cuts `jobs`, needs before users, into layers of so many shards in all, or of fewer, for machines that build
/// `slots` jobs at a time; for each of `counts`.
pub(super) fn cut(
    work: &Workload,
    jobs: &[JobId],
    cost: &Table<JobId, Span>,
    slots: u32,
    counts: &[u32],
) -> Vec<Table<JobId, ShardId>> {
    let grid = grid(jobs, cost);
    let count = counts.iter().copied().max().unwrap_or(1);
    let best = ways(work, jobs, cost, slots, count, &grid);
    let shards = |&count: &u32| {
        let mut of = Table::filled(cost.len(), ShardId(0));
        let mut first = 0;
        for (from, to, width) in layers(&best, count) {
            let mut layer = Layer::new(work, cost, slots);
            jobs[grid[from]..grid[to]].iter().for_each(|&job| layer.add(job));
            let parts = layer.components();
            for (part, bin) in parts.iter().zip(deal(&parts, width, slots).0) {
                for &job in &part.jobs {
                    of[job] = ShardId(first + bin);
                }
            }
            first += width;
        }
        of
    };
    counts.iter().map(shards).collect()
}

/// The best way to have built all up to each place of the grid in each number of shards, up to `count`.
fn ways(
    work: &Workload,
    jobs: &[JobId],
    cost: &Table<JobId, Span>,
    slots: u32,
    count: u32,
    grid: &[usize],
) -> Vec<Vec<Option<Way>>> {
    let mut best = vec![vec![None; count as usize + 1]; grid.len()];
    best[0][0] = Some(Way { time: 0, from: 0, width: 0 });
    for from in 0..grid.len() - 1 {
        let mut layer = Layer::new(work, cost, slots);
        for to in from + 1..grid.len() {
            jobs[grid[to - 1]..grid[to]].iter().for_each(|&job| layer.add(job));
            let parts = layer.components();
            for (width, time) in widths(&parts, slots, count) {
                for used in 0..=(count - width) as usize {
                    let Some(before) = best[from][used] else { continue };
                    let way = Way { time: before.time + time, from, width };
                    let known = &mut best[to][used + width as usize];
                    if known.is_none_or(|known: Way| way.time < known.time) {
                        *known = Some(way);
                    }
                }
            }
        }
    }
    best
}

/// The best way found to have built all up to a place of the grid.
#[derive(Clone, Copy)]
struct Way {
    time: u128,
    from: usize,
    width: u32,
}

/// The layers of the best way in at most `count` shards, from where to where in the grid and in how many shards.
fn layers(best: &[Vec<Option<Way>>], count: u32) -> Vec<(usize, usize, u32)> {
    let mut layers = Vec::new();
    let mut at = best.len() - 1;
    let all = best[at].iter().enumerate().take(count as usize + 1);
    let soonest = all.filter_map(|(used, way)| Some((way.as_ref()?.time, used))).min();
    let mut used = soonest.map_or(0, |(_, used)| used);
    while let Some(way) = best[at][used].filter(|_| at > 0) {
        layers.push((way.from, at, way.width));
        (at, used) = (way.from, used - way.width as usize);
    }
    layers.reverse();
    layers
}

/// Places in `jobs` at equal distances in cost, from its beginning to its end.
fn grid(jobs: &[JobId], cost: &Table<JobId, Span>) -> Vec<usize> {
    let total: u128 = cost.rows().iter().map(|cost| u128::from(cost.0)).sum();
    let mut grid = vec![0];
    let mut before = 0u128;
    for (row, &job) in jobs.iter().enumerate() {
        let after = before + u128::from(cost[job].0);
        if total > 0 && before * GRID / total < after * GRID / total {
            // An expensive job may be a layer of its own.
            grid.extend([row, row + 1]);
        }
        before = after;
    }
    grid.push(jobs.len());
    grid.dedup();
    grid
}

/// Jobs of one layer that are connected.
pub(super) struct Component {
    cost: u128,
    /// The longest chain in it.
    chain: u128,
    pub(super) jobs: Vec<JobId>,
}

/// The jobs of a layer, and which of them are connected (Tarjan, Efficiency of a good but not linear set
/// union algorithm, 1975).
pub(super) struct Layer<'a> {
    work: &'a Workload,
    cost: &'a Table<JobId, Span>,
    slots: u32,
    jobs: Vec<JobId>,
    above: Table<JobId, Option<JobId>>,
    chain: Table<JobId, Span>,
}

impl<'a> Layer<'a> {
    pub(super) fn new(work: &'a Workload, cost: &'a Table<JobId, Span>, slots: u32) -> Self {
        let (above, chain) = (Table::filled(cost.len(), None), Table::filled(cost.len(), Span::ZERO));
        Self { work, cost, slots, jobs: Vec::new(), above, chain }
    }

    /// Adds a job, all of whose needs are in it already or in an earlier layer.
    pub(super) fn add(&mut self, job: JobId) {
        self.above[job] = Some(job);
        self.jobs.push(job);
        let mut before = Span::ZERO;
        for &need in self.work.jobs[job].needs.iter().filter(|&&need| need != job) {
            if self.above[need].is_some() {
                before = before.max(self.chain[need]);
                let root = self.root(need);
                self.above[root] = Some(job);
            }
        }
        self.chain[job] = before + self.cost[job];
    }

    fn root(&mut self, mut job: JobId) -> JobId {
        while let Some(above) = self.above[job].filter(|&above| above != job) {
            self.above[job] = self.above[above];
            job = above;
        }
        job
    }

    /// What is connected, what takes longest first.
    pub(super) fn components(&mut self) -> Vec<Component> {
        let mut row: Table<JobId, usize> = Table::filled(self.cost.len(), usize::MAX);
        let mut parts: Vec<Component> = Vec::new();
        for i in 0..self.jobs.len() {
            let job = self.jobs[i];
            let root = self.root(job);
            if row[root] == usize::MAX {
                row[root] = parts.len();
                parts.push(Component { cost: 0, chain: 0, jobs: Vec::new() });
            }
            let part = &mut parts[row[root]];
            part.cost += u128::from(self.cost[job].0);
            part.chain = part.chain.max(u128::from(self.chain[job].0));
            part.jobs.push(job);
        }
        let slots = self.slots;
        parts.sort_by_key(|part| Reverse(time(part.cost, part.chain, slots)));
        parts
    }
}

/// What a machine takes for work of a cost with a chain in it.
fn time(cost: u128, chain: u128, slots: u32) -> u128 {
    cost.div_ceil(u128::from(slots.max(1))).max(chain)
}

/// Numbers of shards for a layer that are worth having, and how long it takes in each. Of large numbers
/// only some are tried.
fn widths(parts: &[Component], slots: u32, count: u32) -> Vec<(u32, u128)> {
    let mut found: Vec<(u32, u128)> = Vec::new();
    let least = parts.first().map_or(0, |part| time(part.cost, part.chain, slots));
    let mut width = 1;
    while width <= count && width as usize <= parts.len().max(1) {
        let time = deal(parts, width, slots).1;
        if found.last().is_none_or(|&(_, before)| time < before) {
            found.push((width, time));
        }
        if time <= least {
            break;
        }
        width += (width / 4).max(1);
    }
    found
}

/// The shard of each component if they are dealt out to so many, and when the last shard is done.
pub(super) fn deal(parts: &[Component], width: u32, slots: u32) -> (Vec<u32>, u128) {
    let mut bins: BinaryHeap<Reverse<(u128, u32)>> = (0..width).map(|bin| Reverse((0, bin))).collect();
    let mut chains = vec![0u128; width as usize];
    let mut dealt = Vec::with_capacity(parts.len());
    let mut last = 0;
    for part in parts {
        let Some(Reverse((cost, bin))) = bins.pop() else { break };
        let chain = &mut chains[ShardId(bin).index()];
        *chain = part.chain.max(*chain);
        last = last.max(time(cost + part.cost, *chain, slots));
        bins.push(Reverse((cost + part.cost, bin)));
        dealt.push(bin);
    }
    (dealt, last)
}
