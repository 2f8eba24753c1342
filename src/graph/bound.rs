//! A makespan that no schedule can beat.
//!
//! Take the jobs before which a chain of at least `h` must run and after which one of at least `t`
//! must. All of them run between `h` after the beginning and `t` before the end, on the hosts that can
//! build them; so the run takes at least `h + (their work) / (those hosts' speed) + t`. The bound is
//! the largest such sum, over all `h`, `t` and classes of jobs, and holds the critical path and
//! `work / speed` as special cases. Transfers count nothing.
//!
//! Everything is in integers and rounded down, so that rounding never lifts the bound over the truth.

use super::order::Order;
use super::workload::{JobId, Workload};
use crate::base::{Id, Span, Table};

/// Speeds are fixed-point numbers with this many binary places.
const PLACES: u32 = 20;
/// No sum of what fits into [`Span`] and such speeds overflows 128 bits.
const MAX_SPEED: f64 = (1u64 << 40) as f64;

/// Jobs that only certain hosts can build. Classes may overlap: the narrower the hosts, the stronger
/// what a class says about its jobs.
#[derive(Clone, Debug, PartialEq)]
pub struct Class {
    /// The jobs that no host outside the class can build, ascending.
    pub jobs: Vec<JobId>,
    /// The sum of slots × speed over the hosts of the class.
    pub speed_total: f64,
    /// The speed of the fastest of them.
    pub fastest: f64,
}

/// What a host can do at most.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Power {
    /// Jobs at a time.
    pub slots: u32,
    /// Work per second and slot.
    pub speed: f64,
}

/// Groups the jobs of `work` by the set of hosts that `can` build them: a class for each such set,
/// and one for all jobs. Jobs that no host can build are in no class.
pub fn classes(work: &Workload, hosts: &[Power], can: impl Fn(JobId, usize) -> bool) -> Vec<Class> {
    let mut groups: std::collections::BTreeMap<Vec<usize>, Vec<JobId>> = Default::default();
    for job in work.jobs.ids() {
        let able: Vec<usize> = (0..hosts.len()).filter(|&i| hosts[i].slots > 0 && can(job, i)).collect();
        if !able.is_empty() {
            groups.entry(able).or_default().push(job);
        }
    }
    let mut sets: Vec<Vec<usize>> = groups.keys().cloned().collect();
    let mut all: Vec<usize> = sets.concat();
    all.sort_unstable();
    all.dedup();
    if !all.is_empty() && !groups.contains_key(&all) {
        sets.push(all);
    }
    let class = |set: Vec<usize>| {
        let within = |able: &&Vec<usize>| able.iter().all(|i| set.binary_search(i).is_ok());
        let mut jobs: Vec<JobId> =
            groups.keys().filter(within).flat_map(|able| &groups[able]).copied().collect();
        jobs.sort_unstable();
        Class {
            jobs,
            speed_total: set.iter().map(|&i| f64::from(hosts[i].slots) * hosts[i].speed).sum(),
            fastest: set.iter().map(|&i| hosts[i].speed).fold(0.0, f64::max),
        }
    };
    sets.into_iter().map(class).collect()
}

/// The longest time that every schedule of `work` takes at least, when a job takes `cost` on a host
/// of speed 1. A class whose speeds are not positive numbers bounds nothing; a job in no class, or
/// beyond the end of `cost`, counts nothing.
pub fn makespan_bound(work: &Workload, cost: &Table<JobId, Span>, classes: &[Class]) -> Span {
    let order = Order::new(work);
    let shortest = shortest_times(work, cost, classes);
    let (heads, tails) = chains(work, &order, &shortest);
    let whole = |job| heads[job].saturating_add(shortest[job]).saturating_add(tails[job]);
    let mut bound = work.jobs.ids().map(whole).max().unwrap_or(0);
    for class in classes {
        if let Some(speed) = fixed_point(class.speed_total) {
            let points = class.jobs.iter().filter(|&&job| job.index() < work.jobs.len());
            let points = points.map(|&job| Point {
                head: heads[job],
                tail: tails[job],
                work: u128::from(cost.get(job).copied().unwrap_or_default().0) << PLACES,
            });
            bound = bound.max(area_bound(points.collect(), speed));
        }
    }
    Span(bound)
}

/// A job in the sweep: chain before, chain after (microseconds), and work in units of the speed's.
#[derive(Clone, Copy, Debug)]
struct Point {
    head: u64,
    tail: u64,
    work: u128,
}

/// A speed rounded up, for bounds get lower with it.
fn fixed_point(speed: f64) -> Option<u128> {
    let usable = speed > 0.0 && speed <= MAX_SPEED;
    usable.then(|| (speed * f64::from(1u32 << PLACES)).ceil() as u128)
}

/// The time of each job on the fastest host that can build it, rounded down.
fn shortest_times(work: &Workload, cost: &Table<JobId, Span>, classes: &[Class]) -> Table<JobId, u64> {
    let mut fastest: Table<JobId, Option<u128>> = Table::filled(work.jobs.len(), None);
    for class in classes {
        if let Some(speed) = fixed_point(class.fastest) {
            for &job in class.jobs.iter().filter(|&&job| job.index() < work.jobs.len()) {
                fastest[job] = Some(fastest[job].map_or(speed, |known| known.min(speed)));
            }
        }
    }
    let time = |(job, speed): (JobId, &Option<u128>)| match (cost.get(job), speed) {
        (Some(cost), Some(speed)) => saturate((u128::from(cost.0) << PLACES) / speed),
        _ => 0,
    };
    fastest.iter().map(time).collect()
}

fn saturate(micros: u128) -> u64 {
    u64::try_from(micros).unwrap_or(u64::MAX)
}

/// The longest chain before each job and the longest after it, both without the job.
fn chains(
    work: &Workload,
    order: &Order,
    time: &Table<JobId, u64>,
) -> (Table<JobId, u64>, Table<JobId, u64>) {
    let mut heads = Table::filled(work.jobs.len(), 0u64);
    let mut tails = Table::filled(work.jobs.len(), 0u64);
    for &job in order.jobs() {
        let ends = work.jobs[job].needs.iter().map(|&need| heads[need].saturating_add(time[need]));
        heads[job] = ends.max().unwrap_or(0);
    }
    for &job in order.jobs().iter().rev() {
        let rests = order.users(job).iter().map(|&user| tails[user].saturating_add(time[user]));
        tails[job] = rests.max().unwrap_or(0);
    }
    (heads, tails)
}

/// The largest `h + work / speed + t`, in O(n log n): `h` sweeps down over the heads, and a tree over
/// the tails keeps the largest `work / speed + t` of the jobs seen.
fn area_bound(mut points: Vec<Point>, speed: u128) -> u64 {
    let mut tails: Vec<u64> = points.iter().map(|point| point.tail).collect();
    tails.sort_unstable();
    tails.dedup();
    let mut tree = TailTree::new(tails.len());
    points.sort_unstable_by_key(|point| std::cmp::Reverse(point.head));
    let mut bound = 0;
    for at_head in points.chunk_by(|a, b| a.head == b.head) {
        for point in at_head {
            let leaf = tails.partition_point(|&tail| tail < point.tail);
            tree.add(leaf, point.work, speed * u128::from(point.tail));
        }
        let rest = tree.best().map_or(0, |best| saturate(best / speed));
        bound = bound.max(at_head[0].head.saturating_add(rest));
    }
    bound
}

/// Over the distinct tails, ascending: the largest of `speed × tail + (work of jobs with at least
/// this tail)` among tails that some job has.
struct TailTree {
    /// Nodes of a binary tree as a heap: 1 is the root, the children of `i` are `2i` and `2i + 1`.
    nodes: Vec<Node>,
    leaves: usize,
}

#[derive(Clone, Copy, Default)]
struct Node {
    work: u128,
    best: Option<u128>,
}

impl TailTree {
    fn new(tails: usize) -> TailTree {
        let leaves = tails.next_power_of_two();
        TailTree { nodes: vec![Node::default(); 2 * leaves], leaves }
    }

    /// A job at this leaf; `base` is speed × tail.
    fn add(&mut self, leaf: usize, work: u128, base: u128) {
        let mut i = self.leaves + leaf;
        let work = self.nodes[i].work + work;
        self.nodes[i] = Node { work, best: Some(base + work) };
        while i > 1 {
            i /= 2;
            let (low, high) = (self.nodes[2 * i], self.nodes[2 * i + 1]);
            // Jobs with higher tails count for lower ones, not the other way round.
            let low_best = low.best.map(|best| best + high.work);
            self.nodes[i] = Node { work: low.work + high.work, best: low_best.max(high.best) };
        }
    }

    fn best(&self) -> Option<u128> {
        self.nodes[1].best
    }
}

#[cfg(test)]
mod tests;
