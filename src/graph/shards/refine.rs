//! Moving jobs between shards so that fewer bytes cross.

use std::collections::BinaryHeap;

use super::{ShardId, maker};
use crate::base::{Id, Span, Table};
use crate::graph::order::Order;
use crate::graph::workload::{JobId, PathId, Workload};

/// A pass ends after so many moves in a row that make nothing better.
const PATIENCE: usize = 200;
/// Passes gain little after the first few.
const PASSES: usize = 8;

/// Refines a cut in place. No shard gets more expensive than a fair part and 5 %, or than the most expensive was;
/// those with a job that is more than a fair part aside, which get no more expensive than they were. None gets
/// cheaper than half a fair part, or loses its last job.
pub(super) fn refine(
    work: &Workload,
    order: &Order,
    cost: &Table<JobId, Span>,
    count: u32,
    of: &mut Table<JobId, ShardId>,
) {
    let mut cut = Cut::new(work, order, cost, count, of.clone());
    for _ in 0..PASSES {
        if !cut.pass() {
            break;
        }
    }
    *of = cut.of;
}

/// A cut with what is needed to judge a move.
struct Cut<'a> {
    work: &'a Workload,
    order: &'a Order,
    cost: &'a Table<JobId, Span>,
    of: Table<JobId, ShardId>,
    spent: Table<ShardId, u64>,
    /// How many jobs each shard has.
    members: Table<ShardId, u32>,
    /// What each shard may cost, and has to.
    most: Table<ShardId, u64>,
    least: Table<ShardId, u64>,
    /// Per path: how many jobs use it in each shard that has such.
    readers: Table<PathId, Vec<(ShardId, u32)>>,
}

impl<'a> Cut<'a> {
    fn new(
        work: &'a Workload,
        order: &'a Order,
        cost: &'a Table<JobId, Span>,
        count: u32,
        of: Table<JobId, ShardId>,
    ) -> Self {
        let mut spent: Table<ShardId, u64> = Table::filled(count as usize, 0);
        let mut members = Table::filled(count as usize, 0);
        let mut readers = Table::filled(work.paths.len(), Vec::new());
        for (id, job) in work.jobs.iter() {
            members[of[id]] += 1;
            spent[of[id]] = spent[of[id]].saturating_add(cost[id].0);
            job.inputs.iter().for_each(|&path| add(&mut readers[path], of[id]));
        }
        let part = fair_part(cost, count);
        let mut has_large = Table::filled(count as usize, false);
        cost.iter().filter(|(_, own)| own.0 > part).for_each(|(job, _)| has_large[of[job]] = true);
        let others = spent.iter().filter(|&(shard, _)| !has_large[shard]);
        let most = others.map(|(_, &spent)| spent).max().unwrap_or(0).max(part.saturating_add(part / 20));
        let most = spent.iter().map(|(shard, &spent)| if has_large[shard] { spent } else { most }).collect();
        let least = spent.iter().map(|(_, &spent)| spent.min(part / 2)).collect();
        Self { work, order, cost, of, spent, members, most, least, readers }
    }

    /// One round of moves; whether it made anything better.
    fn pass(&mut self) -> bool {
        let mut queue: BinaryHeap<(i128, std::cmp::Reverse<JobId>)> = BinaryHeap::new();
        queue
            .extend(self.work.jobs.ids().filter_map(|job| Some((self.best(job)?.0, std::cmp::Reverse(job)))));
        let mut locked = Table::filled(self.work.jobs.len(), false);
        let mut moves: Vec<(JobId, ShardId)> = Vec::new();
        let (mut sum, mut best, mut kept) = (0i128, 0i128, 0usize);
        while let Some((gain, std::cmp::Reverse(job))) = queue.pop() {
            if locked[job] || moves.len() - kept > PATIENCE {
                continue;
            }
            let Some((now, to)) = self.best(job) else { continue };
            if now < gain {
                queue.push((now, std::cmp::Reverse(job)));
                continue;
            }
            locked[job] = true;
            moves.push((job, self.of[job]));
            self.shift(job, to);
            sum += now;
            if sum > best {
                (best, kept) = (sum, moves.len());
            }
            let near = self.work.jobs[job].needs.iter().chain(self.order.users(job));
            for &other in near.filter(|&&other| !locked[other]) {
                queue.extend(self.best(other).map(|(gain, _)| (gain, std::cmp::Reverse(other))));
            }
        }
        for (job, back) in moves.drain(kept..).rev() {
            self.shift(job, back);
        }
        best > 0
    }

    /// The best move of a job that the order of shards and their costs allow, and the bytes it saves.
    fn best(&self, job: JobId) -> Option<(i128, ShardId)> {
        let from = self.of[job];
        let own = self.cost[job].0;
        if self.members[from] == 1 || self.spent[from].saturating_sub(own) < self.least[from] {
            return None;
        }
        let least = self.work.jobs[job].needs.iter().map(|&need| self.of[need]).max();
        let last = ShardId::from_index(self.spent.len() - 1);
        let most = self.order.users(job).iter().map(|&user| self.of[user]).min().unwrap_or(last);
        let fits = |to: &ShardId| *to != from && self.spent[*to].saturating_add(own) <= self.most[*to];
        // The neighbours in the order of shards, and those where its needs and users are.
        let near = [from.0.checked_sub(1), Some(from.0 + 1)].into_iter().flatten().map(ShardId);
        let near = near.chain(least).chain([most]);
        near.filter(|to| least.unwrap_or(ShardId(0)) <= *to && *to <= most)
            .filter(fits)
            .map(|to| (self.gain(job, to), to))
            .max_by_key(|&(gain, to)| (gain, std::cmp::Reverse(to)))
    }

    /// The bytes that no longer cross if the job moves, less those that then do.
    fn gain(&self, job: JobId, to: ShardId) -> i128 {
        let from = self.of[job];
        let mut gain = 0;
        for &path in &self.work.jobs[job].inputs {
            let Some(made_in) = maker(self.work, path).map(|maker| self.of[maker]) else { continue };
            let size = i128::from(self.work.paths[path].size);
            if made_in != from && readers(&self.readers[path], from) == 1 {
                gain += size;
            }
            if made_in != to && readers(&self.readers[path], to) == 0 {
                gain -= size;
            }
        }
        for &path in &self.work.jobs[job].outputs {
            let size = i128::from(self.work.paths[path].size);
            if readers(&self.readers[path], to) > 0 {
                gain += size;
            }
            if readers(&self.readers[path], from) > 0 {
                gain -= size;
            }
        }
        gain
    }

    fn shift(&mut self, job: JobId, to: ShardId) {
        let from = std::mem::replace(&mut self.of[job], to);
        self.members[from] -= 1;
        self.members[to] += 1;
        self.spent[from] = self.spent[from].saturating_sub(self.cost[job].0);
        self.spent[to] = self.spent[to].saturating_add(self.cost[job].0);
        for &path in &self.work.jobs[job].inputs {
            let row = &mut self.readers[path];
            row.iter_mut().filter(|(shard, _)| *shard == from).for_each(|(_, n)| *n -= 1);
            row.retain(|(_, n)| *n > 0);
            add(row, to);
        }
    }
}

/// An equal part of what is left if each job that costs more has a shard of its own.
fn fair_part(cost: &Table<JobId, Span>, count: u32) -> u64 {
    let mut costs: Vec<u64> = cost.rows().iter().map(|cost| cost.0).collect();
    costs.sort_unstable();
    let mut left: u128 = costs.iter().map(|&cost| u128::from(cost)).sum();
    let mut count = u128::from(count);
    while let Some(largest) = costs.pop()
        && count > 1
        && u128::from(largest) * count > left
    {
        left -= u128::from(largest);
        count -= 1;
    }
    u64::try_from(left / count).unwrap_or(u64::MAX)
}

fn add(row: &mut Vec<(ShardId, u32)>, shard: ShardId) {
    match row.iter_mut().find(|(other, _)| *other == shard) {
        Some((_, n)) => *n += 1,
        None => row.push((shard, 1)),
    }
}

fn readers(row: &[(ShardId, u32)], shard: ShardId) -> u32 {
    row.iter().find(|(other, _)| *other == shard).map_or(0, |(_, n)| *n)
}

#[cfg(test)]
mod tests {
    use super::super::super::testkit::random_work;
    use super::*;
    use proptest::prelude::*;

    /// From the definition.
    fn crossing(work: &Workload, of: &Table<JobId, ShardId>) -> i128 {
        let mut crossings = std::collections::BTreeSet::new();
        for (id, job) in work.jobs.iter() {
            for &path in &job.inputs {
                if maker(work, path).is_some_and(|maker| of[maker] != of[id]) {
                    crossings.insert((path, of[id]));
                }
            }
        }
        crossings.iter().map(|(path, _)| i128::from(work.paths[*path].size)).sum()
    }

    proptest! {
        #[test]
        fn a_move_gains_what_it_says((mut work, cost) in random_work(12), count in 2u32..5) {
            for (path, spec) in work.paths.iter_mut() {
                spec.size = 1 << path.0;
            }
            let order = Order::new(&work);
            let start = super::super::cut(order.jobs(), &cost, count);
            let mut cut = Cut::new(&work, &order, &cost, count, start);
            for job in work.jobs.ids() {
                let Some((gain, to)) = cut.best(job) else { continue };
                let before = crossing(&work, &cut.of);
                cut.shift(job, to);
                prop_assert_eq!(before - crossing(&work, &cut.of), gain);
                prop_assert!(work.jobs.iter().all(|(id, job)| job.needs.iter().all(|&n| cut.of[n] <= cut.of[id])));
            }
            let before = crossing(&work, &cut.of);
            let better = cut.pass();
            prop_assert_eq!(crossing(&work, &cut.of) < before, better);
            prop_assert!(crossing(&work, &cut.of) <= before);
        }
    }
}
