//! A makespan that no schedule can beat.
//!
//! Take the jobs before which a chain of at least `h` must run and after which one of at least `t`
//! must. All of them run between `h` after the beginning and `t` before the end, on the hosts that can
//! build them; so the run takes at least `h + (their work) / (what those hosts do per second) + t`. The
//! bound is the largest such sum, over all `h`, `t` and classes of jobs, and holds the critical path and
//! `work / speed` as special cases. Transfers count nothing.
//!
//! Work is no liquid, and one job keeps one slot: `bound/crowd.rs` has what that adds on hosts of different
//! speed.
//!
//! A job may be spread over the cores of its host. Chains count each job at the shortest it can be. Its
//! work is counted twice: against the cores, of which it never uses less than one core's work, and
//! against the slots, of which it keeps one for as long as it is short at best. A job that a host only
//! emulates is work at another speed there: jobs are in one class with others as far as no host of the
//! class builds them faster.
//!
//! Everything is in integers and rounded down, so that rounding never lifts the bound over the truth.

use std::collections::BTreeMap;

use self::crowd::{Point, Slots, crowd_bound};
use super::order::Order;
use super::workload::{JobId, Workload};
use crate::base::{Id, Span, Table};

/// Speeds are fixed-point numbers with this many binary places.
const PLACES: u32 = 20;
/// Parts of a job's work are such numbers with more of them.
const PART_PLACES: u32 = 32;
/// No sum of what fits into [`Span`] and such speeds overflows 128 bits.
const MAX_SPEED: f64 = (1u64 << 40) as f64;

/// Jobs that [`crowd_bound`] looks at, all classes together.
const LOOKS: usize = 1 << 21;

/// What a host has room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Power {
    /// Jobs at a time.
    pub slots: u32,
    /// Cores at work at a time; as many as slots where each job has but one.
    pub lanes: u32,
}

impl Power {
    /// A host on which each job has one core.
    pub fn slots(slots: u32) -> Power {
        Power { slots, lanes: slots }
    }
}

/// How a host builds a job.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pace {
    /// Work per second and core.
    pub speed: f64,
    /// The part of its one-core time that it takes on all the cores it can get, from 0 to 1.
    pub least: f64,
}

impl Pace {
    /// On one core at a time.
    pub fn one_core(speed: f64) -> Pace {
        Pace { speed, least: 1.0 }
    }
}

/// Jobs that only certain hosts can build, or none faster. Classes may overlap: the narrower the hosts,
/// the stronger what a class says about its jobs.
#[derive(Clone, Debug, PartialEq)]
struct Class {
    /// The jobs that no host builds faster than as one of the class, ascending.
    jobs: Vec<JobId>,
    /// The sum of lanes × speed over the hosts of the class.
    lanes: f64,
    /// The sum of slots × speed.
    slots: f64,
    /// Slots by host with their speed.
    each: Vec<(u32, f64)>,
}

/// What hosts can do for jobs at most.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    classes: Vec<Class>,
    /// Per job: the time that it takes at least, as a part of its work; 0 for what nobody builds.
    shortest: Table<JobId, u128>,
    /// Per job: the part of its one-core time for which it takes a slot at least.
    least: Table<JobId, u128>,
}

/// Hosts in order, with the bits of their speeds: these are in the order of the speeds.
type Set = BTreeMap<usize, u64>;

impl Limits {
    /// What `hosts` can do for the jobs of `work`, of which each can be built by the hosts (by index) that
    /// `paces` has for it. A job that no host with slots builds, or one at a speed that is no positive
    /// number, bounds nothing.
    pub fn new(work: &Workload, hosts: &[Power], paces: impl Fn(JobId) -> Vec<(usize, Pace)>) -> Limits {
        let mut groups: BTreeMap<Set, Vec<JobId>> = BTreeMap::new();
        let (mut shortest, mut least) = (Table::new(), Table::new());
        for job in work.jobs.ids() {
            let mut paces = paces(job);
            paces.retain(|(host, _)| hosts.get(*host).is_some_and(|power| power.slots > 0));
            if paces.is_empty() || paces.iter().any(|(_, pace)| fixed_point(pace.speed).is_none()) {
                shortest.push(0);
                least.push(0);
                continue;
            }
            let parts = || paces.iter().map(|(_, pace)| pace.least.clamp(0.0, 1.0));
            let times = parts().zip(&paces).map(|(part, (_, pace))| part / pace.speed);
            shortest.push(part(times.fold(f64::INFINITY, f64::min)));
            least.push(part(parts().fold(1.0, f64::min)));
            let set = paces.iter().map(|&(host, pace)| (host, pace.speed.to_bits())).collect();
            groups.entry(set).or_default().push(job);
        }
        let mut sets: Vec<Set> = groups.keys().cloned().collect();
        let mut all = Set::new();
        for (&host, &speed) in sets.iter().flatten() {
            all.entry(host).and_modify(|known| *known = speed.max(*known)).or_insert(speed);
        }
        if !all.is_empty() && !groups.contains_key(&all) {
            sets.push(all);
        }
        let classes = sets.into_iter().map(|set| class(hosts, &groups, &set)).collect();
        Limits { classes, shortest, least }
    }
}

fn class(hosts: &[Power], groups: &BTreeMap<Set, Vec<JobId>>, set: &Set) -> Class {
    let within = |own: &&Set| own.iter().all(|(host, speed)| set.get(host).is_some_and(|s| s >= speed));
    let mut jobs: Vec<JobId> = groups.keys().filter(within).flat_map(|own| &groups[own]).copied().collect();
    jobs.sort_unstable();
    let rooms = |count: fn(&Power) -> u32| -> Vec<(u32, f64)> {
        set.iter().map(|(&host, &speed)| (count(&hosts[host]), f64::from_bits(speed))).collect()
    };
    let sum = |rooms: &[(u32, f64)]| rooms.iter().map(|&(count, speed)| f64::from(count) * speed).sum();
    let each = rooms(|power| power.slots);
    Class { jobs, lanes: sum(&rooms(|power| power.lanes)), slots: sum(&each), each }
}

/// The longest time that every schedule of `work` takes at least, when a job takes `cost` on one core of
/// a host of speed 1. A job beyond the end of `cost` counts nothing.
pub fn makespan_bound(work: &Workload, cost: &Table<JobId, Span>, limits: &Limits) -> Span {
    let order = Order::new(work);
    let cost_of = |job| u128::from(cost.get(job).copied().unwrap_or_default().0);
    let shortest: Table<JobId, u64> = work
        .jobs
        .ids()
        .map(|job| saturate(cost_of(job).saturating_mul(part_of(&limits.shortest, job)) >> PART_PLACES))
        .collect();
    let (heads, tails) = chains(work, &order, &shortest);
    let whole = |job| heads[job].saturating_add(shortest[job]).saturating_add(tails[job]);
    let mut bound = work.jobs.ids().map(whole).max().unwrap_or(0);
    for class in &limits.classes {
        let points = |work_of: &dyn Fn(JobId) -> u128| -> Vec<Point> {
            let jobs = class.jobs.iter().filter(|&&job| job.index() < work.jobs.len());
            jobs.map(|&job| Point { head: heads[job], tail: tails[job], work: work_of(job) }).collect()
        };
        if let Some(speed) = fixed_point(class.lanes) {
            bound = bound.max(area_bound(points(&|job| cost_of(job) << PLACES), speed));
        }
        let Some(speed) = fixed_point(class.slots) else { continue };
        let on_slots = points(&|job| (cost_of(job) * part_of(&limits.least, job)) >> (PART_PLACES - PLACES));
        // Where there are as many slots as lanes, their area says no more.
        if class.slots < class.lanes {
            bound = bound.max(area_bound(on_slots.clone(), speed));
        }
        let each: Option<Vec<Slots>> = class.each.iter().map(slots).collect();
        bound = each.map_or(bound, |each| crowd_bound(on_slots, &each, bound, LOOKS / limits.classes.len()));
    }
    Span(bound)
}

fn slots(&(count, speed): &(u32, f64)) -> Option<Slots> {
    fixed_point(speed).map(|speed| Slots { speed, count })
}

fn part_of(parts: &Table<JobId, u128>, job: JobId) -> u128 {
    parts.get(job).copied().unwrap_or(0)
}

/// A part rounded down.
fn part(part: f64) -> u128 {
    (part * (1u64 << PART_PLACES) as f64) as u128
}

/// A speed rounded up, for bounds get lower with it.
fn fixed_point(speed: f64) -> Option<u128> {
    let usable = speed > 0.0 && speed <= MAX_SPEED;
    usable.then(|| (speed * f64::from(1u32 << PLACES)).ceil() as u128)
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

mod crowd;
#[cfg(test)]
mod tests;
