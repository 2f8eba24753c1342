//! How long a crowd of jobs takes on slots of different speed, one job on one slot at a time.
//!
//! The area of the hosts takes work for a liquid. Three things that it leaves out, for `k` jobs before each
//! of which runs a chain of at least `h`, and after each of which one of at least `t`:
//!
//! - **Counting.** Each of them is work of at least `p`. In a time of `T`, a slot of speed `s` ends at most
//!   `floor(T s / p)` jobs; so `T` is at least the `k`-th smallest of the times `i p / s`, for each slot and
//!   each whole `i`. The bound is `h + T + t` (the argument by which equal jobs on uniform machines are
//!   solved; Graham, Lawler, Lenstra and Rinnooy Kan 1979).
//! - **Few jobs.** At no time do `k` jobs keep more than `k` slots busy, so `T` is at least their work over
//!   the speed of the `k` fastest slots (Horvath, Lam and Sethi 1977).
//! - **Start and end.** Slots begin with different jobs and end with different jobs, so that only one of them
//!   can begin after the shortest head: together they stand still for at least the `k` smallest heads and the
//!   `k` smallest tails, the fastest for the smallest, or, where that is more than the whole run, for the
//!   whole run (Carlier 1987, for machines of one speed; by the rearrangement inequality here).
//!
//! A job is counted at the work for which it keeps a slot at least, so spreading it over cores is allowed
//! for. What is behind the three holds for any set of jobs. Looked at are those with at least `h` before and
//! `t` after them, for a grid of `h` and `t` that is as fine as the number of jobs allows, and of these the
//! `k` largest for each `k`, with the least head and tail that they really have.

use super::saturate;

/// The most heads, and the most tails.
const FINEST: usize = 64;
/// Floating-point numbers are only asked whether exact ones are worth it, and are no further off than this.
const SLACK: f64 = 1.0 + 1e-12;

/// A job: chain before, chain after (microseconds), and work in units of the speed's.
#[derive(Clone, Copy, Debug)]
pub(super) struct Point {
    pub head: u64,
    pub tail: u64,
    pub work: u128,
}

/// So many slots of one speed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slots {
    pub speed: u128,
    pub count: u32,
}

/// The largest of what the three say, and of `known`, which no schedule beats either. Over all pairs of a
/// head and a tail, about `looks` jobs are looked at, or each job four times if that is more.
pub(super) fn crowd_bound(mut points: Vec<Point>, slots: &[Slots], known: u64, looks: usize) -> u64 {
    points.retain(|point| point.work > 0);
    let fleet = Fleet::new(slots, points.len());
    let Some(rows) = looks.checked_div(points.len()).filter(|_| fleet.slots() > 0) else { return known };
    let rows = rows.isqrt().clamp(2, FINEST);
    let crowd = Crowd::new(points, fleet);
    let (heads, tails) = (grid(&crowd.heads, rows), grid(&crowd.tails, rows));
    let mut bound = known;
    for &head in &heads {
        for &tail in &tails {
            bound = crowd.within(head, tail, bound);
        }
    }
    bound
}

/// At most `rows` different values of a sorted list, the least among them.
fn grid(sorted: &[(u64, u64)], rows: usize) -> Vec<u64> {
    let mut values: Vec<u64> = sorted.iter().map(|&(value, _)| value).collect();
    values.dedup();
    if values.len() > rows {
        // By jobs, not by values: where many jobs are, a finer look is worth it.
        values = (0..rows).map(|row| sorted[row * sorted.len() / rows].0).collect();
        values.dedup();
    }
    values
}

/// What slots do at most for so many jobs.
struct Fleet {
    /// Per slot, fastest first, as many as there are jobs: its speed.
    speeds: Vec<u128>,
    /// Per number of slots: their speed together, the fastest first.
    together: Vec<u128>,
    /// Per number of jobs, of equal work: the place in its slot of the one that is over last, and the
    /// speed of that slot.
    last: Vec<(u128, u128)>,
    /// The same as a number: time per work.
    turns: Vec<f64>,
}

impl Fleet {
    fn new(slots: &[Slots], jobs: usize) -> Fleet {
        let mut groups: Vec<Slots> = slots.iter().copied().filter(|slots| slots.count > 0).collect();
        groups.sort_unstable_by_key(|group| std::cmp::Reverse(group.speed));
        let each = groups.iter().flat_map(|group| (0..group.count).map(|_| group.speed));
        let speeds: Vec<u128> = each.take(jobs).collect();
        let mut together = vec![0];
        together.extend(speeds.iter().scan(0, |sum, speed| {
            *sum += speed;
            Some(*sum)
        }));
        let last = last(&groups, jobs);
        let turns = last.iter().map(|&(place, speed)| place as f64 / speed as f64).collect();
        Fleet { speeds, together, last, turns }
    }

    /// At most as many as there are jobs.
    fn slots(&self) -> usize {
        self.speeds.len()
    }
}

/// See [`Fleet::last`]: the first `jobs` of the times `place / speed`, ascending.
fn last(groups: &[Slots], jobs: usize) -> Vec<(u128, u128)> {
    // By each of these times all are done: by one group alone, and by all, though each slot ends with less
    // than a job undone.
    let alone = groups.iter().map(|group| (jobs.div_ceil(group.count as usize) as u128, group.speed));
    let slots: u128 = groups.iter().map(|group| u128::from(group.count)).sum();
    let speed: u128 = groups.iter().map(|group| u128::from(group.count) * group.speed).sum();
    let all = (slots > 0).then_some((jobs as u128 + slots, speed));
    let Some(end) = alone.chain(all).min_by(soonest) else { return Vec::new() };
    let mut times: Vec<(u128, u128, u32)> = Vec::new();
    for group in groups {
        let most = end.0 * group.speed / end.1;
        times.extend((1..=most).map(|place| (place, group.speed, group.count)));
    }
    times.sort_by(|a, b| soonest(&(a.0, a.1), &(b.0, b.1)));
    let each = times.iter().flat_map(|&(place, speed, count)| (0..count).map(move |_| (place, speed)));
    each.take(jobs).collect()
}

/// Compares `a.0 / a.1` with `b.0 / b.1`.
fn soonest(a: &(u128, u128), b: &(u128, u128)) -> std::cmp::Ordering {
    // Places are below 2^64 and speeds below 2^61.
    (a.0 * b.1).cmp(&(b.0 * a.1))
}

struct Crowd {
    /// The most work first.
    points: Vec<Point>,
    /// Their work as numbers.
    works: Vec<f64>,
    /// Heads with tails, and tails with heads, ascending.
    heads: Vec<(u64, u64)>,
    tails: Vec<(u64, u64)>,
    fleet: Fleet,
}

impl Crowd {
    fn new(mut points: Vec<Point>, fleet: Fleet) -> Crowd {
        points.sort_unstable_by_key(|point| std::cmp::Reverse((point.work, point.head, point.tail)));
        let mut heads: Vec<_> = points.iter().map(|point| (point.head, point.tail)).collect();
        let mut tails: Vec<_> = points.iter().map(|point| (point.tail, point.head)).collect();
        heads.sort_unstable();
        tails.sort_unstable();
        Crowd { works: points.iter().map(|point| point.work as f64).collect(), points, heads, tails, fleet }
    }

    /// The bound by the jobs with at least this head and tail, or `known` if that is more.
    fn within(&self, head: u64, tail: u64, known: u64) -> u64 {
        let (mut bound, mut ends) = (known, (u64::MAX, u64::MAX));
        let (mut jobs, mut sum) = (0, 0u128);
        for (point, &work) in self.points.iter().zip(&self.works) {
            if point.head < head || point.tail < tail {
                continue;
            }
            ends = (ends.0.min(point.head), ends.1.min(point.tail));
            sum += point.work;
            let around = ends.0.saturating_add(ends.1);
            if (work * self.fleet.turns[jobs] + around as f64) * SLACK >= bound as f64 + 1.0 {
                let (place, speed) = self.fleet.last[jobs];
                bound = bound.max(around.saturating_add(saturate(point.work.saturating_mul(place) / speed)));
            }
            jobs += 1;
            if jobs <= self.fleet.slots() {
                let least = saturate(sum / self.fleet.together[jobs]);
                bound = bound.max(around.saturating_add(least));
            }
        }
        bound.max(self.starts_and_ends(head, tail, jobs, sum, bound))
    }

    /// The same by all of these `jobs` together, whose work is `sum`.
    fn starts_and_ends(&self, head: u64, tail: u64, jobs: usize, sum: u128, known: u64) -> u64 {
        let ends = among(&self.heads, head, tail).zip(among(&self.tails, tail, head));
        let idle = ends.zip(&self.fleet.speeds).map(|((first, last), speed)| {
            // No slot stands still for longer than the run takes.
            speed * u128::from(first.saturating_add(last).min(known))
        });
        let speed = self.fleet.together[jobs.min(self.fleet.slots())];
        (sum + idle.sum::<u128>()).checked_div(speed).map_or(0, saturate)
    }
}

/// The first of each pair, ascending, where it is at least `least` and the second at least `other`.
fn among(sorted: &[(u64, u64)], least: u64, other: u64) -> impl Iterator<Item = u64> {
    let from = sorted.partition_point(|&(value, _)| value < least);
    sorted[from..].iter().filter(move |pair| pair.1 >= other).map(|pair| pair.0)
}

#[cfg(test)]
mod tests;
