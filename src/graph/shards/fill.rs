//! No shard without jobs while another has several: shards are divided until there are as many as asked for.

use std::cmp::Reverse;

use super::ShardId;
use super::layers::{Layer, deal};
use crate::base::{Id, Span, Table};
use crate::graph::workload::{JobId, Workload};

/// Divides shards of `of` until `count` have jobs, and numbers them anew in their order, the empty ones last.
/// Each time the shard of which most can be taken off; there are empty ones only where there are fewer jobs.
/// `jobs` has needs before users.
pub(super) fn fill(
    work: &Workload,
    jobs: &[JobId],
    cost: &Table<JobId, Span>,
    count: u32,
    of: &mut Table<JobId, ShardId>,
) {
    let mut parts: Vec<Vec<JobId>> = vec![Vec::new(); count as usize];
    for &job in jobs {
        parts[of[job].index()].push(job);
    }
    parts.retain(|part| !part.is_empty());
    if parts.len() < count as usize {
        divide(work, cost, count as usize, &mut parts);
    }
    for (row, part) in parts.iter().enumerate() {
        part.iter().for_each(|&job| of[job] = ShardId::from_index(row));
    }
}

fn divide(work: &Workload, cost: &Table<JobId, Span>, count: usize, parts: &mut Vec<Vec<JobId>>) {
    let mut halves: Vec<Option<Halves>> = parts.iter().map(|part| Halves::of(work, cost, part)).collect();
    while parts.len() < count {
        let taken_off = |halves: &Halves| (halves.smaller, halves.larger);
        let rows =
            halves.iter().enumerate().filter_map(|(row, halves)| Some((taken_off(halves.as_ref()?), row)));
        let most = rows.max_by_key(|&(taken_off, row)| (taken_off, Reverse(row)));
        let Some((_, row)) = most else { return };
        let Some(Halves { first, second, .. }) = halves[row].take() else { return };
        halves.splice(row..=row, [&first, &second].map(|part| Halves::of(work, cost, part)));
        parts.splice(row..=row, [first, second]);
    }
}

/// What becomes of a shard that is divided in two, needs before users in each; the second may need the first.
struct Halves {
    first: Vec<JobId>,
    second: Vec<JobId>,
    /// What the cheaper one costs, and the other.
    smaller: Span,
    larger: Span,
}

impl Halves {
    /// Halves that need nothing of each other, unless far more can be taken off one that others wait for;
    /// `None` of a single job.
    fn of(work: &Workload, cost: &Table<JobId, Span>, jobs: &[JobId]) -> Option<Halves> {
        let after = Self::after(cost, jobs)?;
        match Self::beside(work, cost, jobs) {
            Some(beside) if beside.smaller + beside.smaller >= after.smaller => Some(beside),
            _ => Some(after),
        }
    }

    fn beside(work: &Workload, cost: &Table<JobId, Span>, jobs: &[JobId]) -> Option<Halves> {
        let mut layer = Layer::new(work, cost, 1);
        jobs.iter().for_each(|&job| layer.add(job));
        let parts = layer.components();
        let (mut first, mut second) = (Vec::new(), Vec::new());
        for (part, bin) in parts.iter().zip(deal(&parts, 2, 1).0) {
            if bin == 0 { &mut first } else { &mut second }.extend_from_slice(&part.jobs);
        }
        let spent = |half: &[JobId]| half.iter().map(|&job| cost[job]).sum::<Span>();
        let costs = [spent(&first), spent(&second)];
        let [smaller, larger] = [costs[0].min(costs[1]), costs[0].max(costs[1])];
        (!first.is_empty() && !second.is_empty()).then_some(Halves { first, second, smaller, larger })
    }

    fn after(cost: &Table<JobId, Span>, jobs: &[JobId]) -> Option<Halves> {
        let all: Span = jobs.iter().map(|&job| cost[job]).sum();
        let mut before = Span::ZERO;
        let places = jobs.iter().enumerate().skip(1).map(|(place, _)| {
            before += cost[jobs[place - 1]];
            // Where costs do not tell, by number.
            (before.min(all.saturating_sub(before)), Reverse(jobs.len().abs_diff(2 * place)), place)
        });
        let (smaller, _, place) = places.max()?;
        let (first, second) = jobs.split_at(place);
        let larger = all.saturating_sub(smaller);
        Some(Halves { first: first.to_vec(), second: second.to_vec(), smaller, larger })
    }
}
