use std::collections::BTreeSet;

use proptest::prelude::*;

use super::super::testkit::{random_work, work};
use super::super::workload::PathId;
use super::*;

const LIMITS: Limits = Limits { tiny: Span(100), total: Span(1_000), saves: Span(100) };

fn members(work: &Workload, cost: &[u64], limits: Limits) -> Vec<Vec<u32>> {
    let cost = cost.iter().map(|&c| Span(c)).collect();
    let clusters = Clusters::new(work, &cost, limits, |_, _| true);
    clusters.members().rows().iter().map(|jobs| jobs.iter().map(|job| job.0).collect()).collect()
}

#[test]
fn a_chain_is_one_cluster() {
    let chain = work(&[vec![], vec![0], vec![1], vec![2]]);
    assert_eq!(members(&chain, &[10; 4], LIMITS), [[0, 1, 2, 3]]);
    // In a chain nothing is lost, so it need not save anything.
    assert_eq!(members(&chain, &[10; 4], Limits { saves: Span::ZERO, ..LIMITS }), [[0, 1, 2, 3]]);
    assert_eq!(members(&chain, &[10; 4], Limits { total: Span(25), ..LIMITS }), [[0, 1], [2, 3]]);
    // What is not tiny is in none, and parts what is before it from what is behind it.
    assert_eq!(members(&chain, &[10, 10, 500, 10], LIMITS), [[0, 1]]);
}

#[test]
fn what_others_use_or_want_is_not_swallowed() {
    let shared = work(&[vec![], vec![0], vec![0]]);
    assert_eq!(members(&shared, &[10; 3], LIMITS), Vec::<Vec<u32>>::new());
    let diamond = work(&[vec![], vec![0], vec![0], vec![1, 2]]);
    assert_eq!(members(&diamond, &[10; 4], LIMITS), [[0, 1, 2, 3]]);
    let mut wanted = work(&[vec![], vec![0], vec![1]]);
    wanted.wanted = vec![PathId(1)];
    assert_eq!(members(&wanted, &[10; 3], LIMITS), [[0, 1]]);
}

#[test]
fn side_by_side_is_given_up_only_for_what_it_saves() {
    // Four that could run at the same time, then one.
    let fan = work(&[vec![], vec![], vec![], vec![], vec![0, 1, 2, 3]]);
    assert_eq!(members(&fan, &[10; 5], Limits { saves: Span(10), ..LIMITS }), [[0, 1, 2, 3, 4]]);
    assert_eq!(members(&fan, &[10; 5], Limits { saves: Span(9), ..LIMITS }), Vec::<Vec<u32>>::new());
    let cost = [Span(10); 5].into_iter().collect();
    let odd = |a: JobId, b: JobId| (a.0 == 2) == (b.0 == 2);
    let apart = Clusters::new(&fan, &cost, LIMITS, odd);
    assert_eq!(apart.members().rows(), [[JobId(0), JobId(1), JobId(3), JobId(4)]]);
    assert_eq!(
        (apart.of(JobId(2)), apart.of(JobId(3)), apart.of(JobId(9))),
        (None, Some(ClusterId(0)), None)
    );
}

/// Users of each job, by looking.
fn users(work: &Workload, job: JobId) -> BTreeSet<JobId> {
    work.jobs.iter().filter(|(_, other)| other.needs.contains(&job)).map(|(id, _)| id).collect()
}

fn is_wanted(work: &Workload, job: JobId) -> bool {
    work.jobs[job].outputs.iter().any(|path| work.wanted.contains(path))
}

/// How much later the last job ends than it would alone, in a world with free hands.
fn delay(work: &Workload, ends: &Table<JobId, Span>, cost: &Table<JobId, Span>, set: &[JobId]) -> Span {
    let outside = set.iter().flat_map(|&job| &work.jobs[job].needs).filter(|need| !set.contains(need));
    let begin = outside.map(|&need| ends[need]).max().unwrap_or_default();
    let sum: Span = set.iter().map(|&job| cost[job]).sum();
    // The last job was the first in the set.
    (begin + sum).saturating_sub(ends[set[0]])
}

/// The same choice, each time from the definition.
fn oracle(work: &Workload, cost: &Table<JobId, Span>, limits: Limits) -> BTreeSet<BTreeSet<JobId>> {
    let order = Order::new(work);
    let ends = chain_ends(work, &order, cost);
    let mut sets: Vec<Vec<JobId>> = Vec::new();
    for &job in order.jobs().iter().rev().filter(|&&job| cost[job] <= limits.tiny) {
        let users = users(work, job);
        let fits = |set: &&mut Vec<JobId>| {
            let with: Vec<JobId> = set.iter().copied().chain([job]).collect();
            let sum: Span = with.iter().map(|&job| cost[job]).sum();
            let saved = Span(limits.saves.0 * set.len() as u64);
            let inside = !users.is_empty() && users.iter().all(|user| set.contains(user));
            inside && !is_wanted(work, job) && sum <= limits.total && delay(work, &ends, cost, &with) <= saved
        };
        match sets.iter_mut().find(fits) {
            Some(set) => set.push(job),
            None => sets.push(vec![job]),
        }
    }
    sets.into_iter().filter(|set| set.len() > 1).map(|set| set.into_iter().collect()).collect()
}

fn reaches(work: &Workload, from: JobId, to: JobId) -> bool {
    from == to || users(work, from).into_iter().any(|user| reaches(work, user, to))
}

proptest! {
    #[test]
    fn clusters_are_what_they_should_be(
        (mut work, _) in random_work(14),
        costs in prop::collection::vec(0u64..40, 14),
        wanted in prop::collection::vec(any::<prop::sample::Index>(), 0..3),
        limits in (0u64..40, 0u64..150, 0u64..30),
    ) {
        let limits = Limits { tiny: Span(limits.0), total: Span(limits.1), saves: Span(limits.2) };
        work.wanted = wanted.iter().map(|path| PathId(path.index(work.paths.len()) as u32)).collect();
        let cost: Table<JobId, Span> = costs[..work.jobs.len()].iter().map(|&c| Span(c)).collect();
        let clusters = Clusters::new(&work, &cost, limits, |_, _| true);

        let found: BTreeSet<BTreeSet<JobId>> =
            clusters.members().rows().iter().map(|jobs| jobs.iter().copied().collect()).collect();
        prop_assert_eq!(found, oracle(&work, &cost, limits));
        let mut seen = BTreeSet::new();
        for (id, jobs) in clusters.members().iter() {
            prop_assert!(jobs.len() > 1);
            let last = jobs[jobs.len() - 1];
            for (i, &job) in jobs.iter().enumerate() {
                prop_assert!(seen.insert(job), "{} is in two", job);
                prop_assert_eq!(clusters.of(job), Some(id));
                prop_assert!(work.jobs[job].needs.iter().all(|need| !jobs[i..].contains(need)));
                let inside = users(&work, job).iter().all(|user| jobs.contains(user));
                prop_assert!(job == last || inside && !is_wanted(&work, job));
                // Convex: what lies on a way from one member to another is one too.
                for between in work.jobs.ids().filter(|between| !jobs.contains(between)) {
                    let back = jobs.iter().any(|&other| reaches(&work, between, other));
                    prop_assert!(!(reaches(&work, job, between) && back), "{} leaves and comes back", job);
                }
            }
        }
        for job in work.jobs.ids().filter(|job| !seen.contains(job)) {
            prop_assert_eq!(clusters.of(job), None);
        }
    }
}
