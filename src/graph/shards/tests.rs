use std::collections::BTreeSet;

use proptest::prelude::*;

use super::super::testkit::{random_work, work};
use super::*;

fn sized(mut work: Workload) -> Workload {
    for (path, spec) in work.paths.iter_mut() {
        spec.size = 10 + u64::from(path.0);
    }
    work
}

fn names(sharding: &Sharding) -> Vec<Vec<u32>> {
    sharding.shards.rows().iter().map(|shard| shard.jobs.iter().map(|job| job.0).collect()).collect()
}

#[test]
fn what_does_not_belong_together_runs_side_by_side() {
    let two_chains = sized(work(&[vec![], vec![], vec![0], vec![1], vec![2], vec![3]]));
    let sharding = Sharding::new(&two_chains, &Table::filled(6, Span(10)), 2, 1);
    assert_eq!(names(&sharding), [[0, 2, 4], [1, 3, 5]]);
    assert_eq!((sharding.makespan(), sharding.crossing(&two_chains)), (Span(30), 0));
}

#[test]
fn a_chain_is_cut_where_little_crosses() {
    let mut chain = work(&[vec![], vec![0], vec![1], vec![2]]);
    let sizes = [1_000, 5, 1_000, 0];
    for ((_, path), size) in chain.paths.iter_mut().zip(sizes) {
        path.size = size;
    }
    let sharding = Sharding::new(&chain, &Table::filled(4, Span(10)), 2, 4);
    assert_eq!(names(&sharding), [[0, 1], [2, 3]]);
    let second = &sharding.shards[ShardId(1)];
    assert_eq!((second.start, second.finish), (Span(20), Span(40)));
    assert_eq!(second.needs, BTreeMap::from([(ShardId(0), vec![PathId(1)])]));
    assert_eq!(sharding.crossing(&chain), 5);
}

#[test]
fn no_shard_is_empty_while_there_are_jobs_enough() {
    let costs = |needs: &[Vec<usize>], cost: &[u64], count: u32, slots: u32| -> Vec<u64> {
        let cost = cost.iter().map(|&cost| Span(cost)).collect();
        let sharding = Sharding::new(&sized(work(needs)), &cost, count, slots);
        sharding.shards.rows().iter().map(|shard| shard.cost.0).collect()
    };
    // A chain: moves that save bytes must not take the last job away.
    let chain: Vec<Vec<usize>> = (0..10).map(|job: usize| job.checked_sub(1).into_iter().collect()).collect();
    assert!(costs(&chain, &[10; 10], 8, 1).iter().all(|cost| [10, 20].contains(cost)));
    // One job that is most of the work, and would be six of eight equal parts.
    let mut star = vec![vec![]; 10];
    star.push((0..10).collect());
    let mut cost = [10; 11];
    cost[3] = 1000;
    let parts = costs(&star, &cost, 8, 1);
    assert!(
        parts.contains(&1000) && parts.iter().all(|&part| part == 1000 || (10..=20).contains(&part)),
        "{parts:?}"
    );
    // A machine with so many slots that one is enough.
    let mut fork = vec![vec![]];
    fork.extend(vec![vec![0]; 6]);
    fork.push((1..7).collect());
    for count in 2..=8 {
        let parts = costs(&fork, &[10; 8], count, 8);
        assert!(parts.iter().all(|&part| (10..=40).contains(&part)), "{count}: {parts:?}");
    }
}

#[test]
fn two_parts_need_nothing_of_each_other_where_that_is_possible() {
    // Chains of six and of four: five and five would follow each other.
    let needs: Vec<Vec<usize>> = (0..10usize)
        .map(|job| if job == 6 { vec![] } else { job.checked_sub(1).into_iter().collect() })
        .collect();
    let sharding = Sharding::new(&sized(work(&needs)), &Table::filled(10, Span(10)), 2, 1);
    assert_eq!((sharding.makespan(), sharding.at_once()), (Span(60), 2));
}

#[test]
fn a_machine_takes_the_longest_way_first_and_leaves_no_slot_free_while_something_is_ready() {
    // Three jobs of ten, and two of fifteen one after the other, on two slots.
    let needs = [vec![], vec![], vec![], vec![], vec![3]];
    let cost = [10, 10, 10, 15, 15].map(Span).into_iter().collect();
    let sharding = Sharding::new(&sized(work(&needs)), &cost, 1, 2);
    assert_eq!(names(&sharding), [[3, 4, 0, 1, 2]]);
    // 3, 4 on one slot, the others on the other.
    assert_eq!(sharding.makespan(), Span(30));
    let uneven = [10, 10, 10, 0, 0].map(Span).into_iter().collect();
    // More than half of the work, since jobs are not divided.
    assert_eq!(Sharding::new(&sized(work(&needs)), &uneven, 1, 2).makespan(), Span(20));
}

#[test]
fn more_shards_than_jobs_leaves_some_empty() {
    let one = work(&[vec![]]);
    for cost in [Span::ZERO, Span(5)] {
        let sharding = Sharding::new(&one, &Table::filled(1, cost), 3, 1);
        assert_eq!(names(&sharding).concat(), [0]);
        assert_eq!((sharding.shards.len(), sharding.makespan()), (3, cost));
    }
    assert_eq!(Sharding::new(&Workload::default(), &Table::new(), 0, 0).shards.len(), 1);
}

#[test]
fn what_rests_on_one_base_and_ends_in_one_job_runs_side_by_side() {
    // A base of two, three chains of two on it, and an end.
    let needs = [vec![], vec![0], vec![1], vec![1], vec![1], vec![2], vec![3], vec![4], vec![5, 6, 7]];
    let diamond = sized(work(&needs));
    let cost = Table::filled(9, Span(10));
    let sharding = Sharding::new(&diamond, &cost, 5, 1);
    assert_eq!(names(&sharding), [vec![0, 1], vec![2, 5], vec![3, 6], vec![4, 7], vec![8]]);
    assert_eq!(sharding.makespan(), Span(50));
    assert_eq!(Sharding::new(&diamond, &cost, 4, 1).makespan(), Span(70));
    // With two of them, one waits for the other.
    assert_eq!(Sharding::new(&diamond, &cost, 2, 1).makespan(), Span(90));
}

#[test]
fn parts_are_of_like_cost_unless_others_are_clearly_sooner() {
    // Two sources beside each other, and a chain of twenty on both.
    let mut needs = vec![vec![], vec![], vec![0, 1]];
    needs.extend((2..21).map(|job| vec![job]));
    let long = sized(work(&needs));
    let costs = |source: u64| -> Vec<Span> {
        let cost = (0..22).map(|job| Span(if job < 2 { source } else { 10 })).collect();
        Sharding::new(&long, &cost, 3, 1).shards.rows().iter().map(|shard| shard.cost).collect()
    };
    let even = costs(5);
    assert!(even.iter().all(|part| (60..=80).contains(&part.0)), "{even:?}");
    assert_eq!(costs(50), [Span(50), Span(50), Span(200)], "a sixth sooner");
}

#[test]
fn bases_may_follow_each_other() {
    let fork = |on: usize| (0..2).map(move |_| vec![on]);
    let mut needs = vec![vec![]];
    needs.extend(fork(0));
    needs.push(vec![1, 2]);
    needs.extend(fork(3));
    needs.push(vec![4, 5]);
    let sharding = Sharding::new(&sized(work(&needs)), &Table::filled(7, Span(10)), 7, 1);
    assert_eq!(sharding.makespan(), Span(50));
}

proptest! {
    #[test]
    fn shards_are_what_they_should_be(
        (work, cost) in random_work(30), count in 1u32..6, slots in 1u32..4, equal: bool,
    ) {
        let work = sized(work);
        let equals = Sharding::equal(&work, &Order::new(&work), &cost, slots, count);
        let best = Sharding::new(&work, &cost, count, slots);
        prop_assert_eq!(&Sharding::several(&work, &cost, &[count + 2, count], slots)[1], &best);
        prop_assert!(best.makespan() <= equals.makespan());
        prop_assert!(best == equals || best.makespan() <= equals.makespan().scale(1.0 - GAIN));
        let sharding = if equal { equals } else { best };
        prop_assert_eq!(sharding.shards.len(), count as usize);
        let filled = sharding.shards.rows().iter().take_while(|shard| !shard.jobs.is_empty()).count();
        prop_assert!(filled >= work.jobs.len().min(count as usize));
        let mut seen = BTreeSet::new();
        let total: u64 = cost.rows().iter().map(|cost| cost.0).sum();
        let part = total / u64::from(count) + 1;
        let largest = cost.rows().iter().map(|cost| cost.0).max().unwrap_or(0);
        for (id, shard) in sharding.shards.iter() {
            let sum: Span = shard.jobs.iter().map(|&job| cost[job]).sum();
            prop_assert_eq!(sum, shard.cost);
            prop_assert!(!equal || sum.0 <= (part + largest).max(part + part / 20), "{:?} of {}", sum, part);
            for (row, &job) in shard.jobs.iter().enumerate() {
                prop_assert!(seen.insert(job));
                prop_assert_eq!(sharding.of[job], id);
                for &need in &work.jobs[job].needs {
                    prop_assert!(!shard.jobs[row..].contains(&need));
                    prop_assert!(sharding.of[need] <= id);
                    // One output each, with the number of its job.
                    let listed = shard.needs.get(&sharding.of[need]);
                    let listed = listed.is_some_and(|paths| paths.contains(&PathId(need.0)));
                    prop_assert_eq!(listed, sharding.of[need] != id);
                }
            }
            for (need, paths) in &shard.needs {
                prop_assert!(*need < id && shard.start >= sharding.shards[*need].finish);
                prop_assert!(!paths.is_empty() && paths.is_sorted_by(|a, b| a < b));
            }
            prop_assert!((shard.finish.0 - shard.start.0) * u64::from(slots) >= sum.0);
        }
        prop_assert_eq!(seen.len(), work.jobs.len());
    }
}
