//! One machine that builds a shard.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::ShardId;
use crate::base::{Span, Table};
use crate::graph::order::Order;
use crate::graph::workload::{JobId, Workload};

/// Puts the jobs of each shard in the order of the longest chain that begins with them within the shard, the
/// longest first; so needs come before users.
pub(super) fn longest_first(
    order: &Order,
    cost: &Table<JobId, Span>,
    of: &Table<JobId, ShardId>,
    shards: &mut [Vec<JobId>],
) {
    let mut chain = Table::filled(cost.len(), Span::ZERO);
    for &job in order.jobs().iter().rev() {
        let inside = order.users(job).iter().filter(|&&user| of[user] == of[job]);
        chain[job] = inside.map(|&user| chain[user]).max().unwrap_or_default() + cost[job];
    }
    for jobs in shards {
        jobs.sort_by_key(|&job| (Reverse(chain[job]), order.position(job)));
    }
}

/// How long each shard takes on a machine with `slots` that begins with the first of its jobs that is ready
/// whenever a slot is free (Graham, Bounds for certain multiprocessing anomalies, 1966).
pub(super) fn times(
    work: &Workload,
    order: &Order,
    cost: &Table<JobId, Span>,
    of: &Table<JobId, ShardId>,
    shards: &[Vec<JobId>],
    slots: u32,
) -> Vec<Span> {
    let inside = |job: JobId| work.jobs[job].needs.iter().filter(|&&need| of[need] == of[job]).count();
    let mut waits: Table<JobId, usize> = work.jobs.ids().map(inside).collect();
    let mut row = Table::filled(cost.len(), 0usize);
    let time = |jobs: &Vec<JobId>| {
        jobs.iter().enumerate().for_each(|(i, &job)| row[job] = i);
        let first = (0..jobs.len()).filter(|&i| waits[jobs[i]] == 0);
        let mut ready: BinaryHeap<Reverse<usize>> = first.map(Reverse).collect();
        let mut running: BinaryHeap<Reverse<(Span, usize)>> = BinaryHeap::new();
        let mut now = Span::ZERO;
        loop {
            while running.len() < slots.max(1) as usize {
                let Some(Reverse(next)) = ready.pop() else { break };
                running.push(Reverse((now + cost[jobs[next]], next)));
            }
            let Some(Reverse((end, done))) = running.pop() else { return now };
            now = end;
            let own = of[jobs[done]];
            for &user in order.users(jobs[done]).iter().filter(|&&user| of[user] == own) {
                waits[user] -= 1;
                if waits[user] == 0 {
                    ready.push(Reverse(row[user]));
                }
            }
        }
    };
    shards.iter().map(time).collect()
}
