use super::*;
use crate::base::Id;
use crate::graph::testkit::{random_work, work};
use proptest::prelude::*;

fn costs(seconds: &[u64]) -> Table<JobId, Span> {
    seconds.iter().map(|&s| Span::from_secs(s)).collect()
}

/// By the definition, from every job anew.
fn oracle(work: &Workload, cost: &Table<JobId, Span>, job: JobId) -> Span {
    let users = work.jobs.iter().filter(|(_, user)| user.needs.contains(&job));
    cost[job] + users.map(|(user, _)| oracle(work, cost, user)).max().unwrap_or_default()
}

#[test]
fn the_heavier_way_is_critical() {
    // 0 -> 1 -> 4 is longer in jobs, 2 -> 3 in time.
    let work = work(&[vec![], vec![0], vec![], vec![2], vec![1]]);
    let cost = costs(&[1, 1, 5, 1, 1]);
    assert_eq!(upward_ranks(&work, &cost), costs(&[3, 2, 6, 1, 1]));
    assert_eq!(critical_path(&work, &cost), [JobId(2), JobId(3)]);

    let mut ranks = Ranks::new(&work, cost);
    assert_eq!(ranks.set_costs([(JobId(1), Span::from_secs(9))]), [JobId(1), JobId(0)]);
    assert_eq!(ranks.critical_path(), [JobId(0), JobId(1), JobId(4)]);
    assert_eq!(ranks.set_costs([(JobId(1), Span::from_secs(9))]), [], "nothing changed");
}

#[test]
fn a_change_that_the_longest_way_hides_goes_no_further() {
    let work = work(&[vec![], vec![0], vec![0]]);
    let mut ranks = Ranks::new(&work, costs(&[1, 9, 2]));
    assert_eq!(ranks.set_costs([(JobId(2), Span::from_secs(3))]), [JobId(2)]);
    assert_eq!(ranks.of(JobId(0)), Span::from_secs(10));
}

#[test]
fn no_jobs_have_no_way() {
    assert_eq!(critical_path(&Workload::default(), &Table::new()), []);
    assert_eq!(critical_path(&work(&[vec![]]), &Table::new()), [JobId(0)], "costs that are missing are zero");
}

proptest! {
    #[test]
    fn ranks_follow_the_definition((work, cost) in random_work(12)) {
        let ranks = upward_ranks(&work, &cost);
        for job in work.jobs.ids() {
            prop_assert_eq!(ranks[job], oracle(&work, &cost, job));
        }
        let path = critical_path(&work, &cost);
        prop_assert_eq!(path.iter().map(|&job| cost[job]).sum::<Span>(), ranks.rows().iter().copied().max().unwrap());
        for pair in path.windows(2) {
            prop_assert!(work.jobs[pair[1]].needs.contains(&pair[0]));
        }
    }

    #[test]
    fn transfers_lie_between_a_job_and_its_users(
        (work, cost) in random_work(12), after in proptest::collection::vec(0..5_000_000u64, 12),
    ) {
        /// By the definition: the longest way over the users, with what lies between.
        fn way(work: &Workload, cost: &Table<JobId, Span>, after: &Table<JobId, Span>, job: JobId) -> Span {
            let users = work.jobs.iter().filter(|(_, user)| user.needs.contains(&job));
            let longest = users.map(|(user, _)| after[job] + way(work, cost, after, user)).max();
            cost[job] + longest.unwrap_or_default()
        }
        let after: Table<JobId, Span> = after.into_iter().map(Span).collect();
        let mut ranks = Ranks::with_transfers(&work, cost.clone(), after.clone());
        for job in work.jobs.ids() {
            prop_assert_eq!(ranks.of(job), way(&work, &cost, &after, job));
        }
        let twice: Table<JobId, Span> = cost.rows().iter().map(|span| span.scale(2.0)).collect();
        ranks.set_costs(twice.iter().map(|(job, &cost)| (job, cost)));
        for job in work.jobs.ids() {
            prop_assert_eq!(ranks.of(job), way(&work, &twice, &after, job));
        }
    }

    #[test]
    fn changes_give_what_a_new_start_gives(
        (work, mut cost) in random_work(25),
        changes in proptest::collection::vec(
            proptest::collection::vec((any::<prop::sample::Index>(), 0..10_000_000u64), 1..5), 1..20,
        ),
    ) {
        let mut ranks = Ranks::new(&work, cost.clone());
        for some in changes {
            let of = |(job, micros): (prop::sample::Index, u64)| {
                (JobId::from_index(job.index(work.jobs.len())), Span(micros))
            };
            let some: Vec<(JobId, Span)> = some.into_iter().map(of).collect();
            let before = ranks.all().clone();
            some.iter().for_each(|&(job, span)| cost[job] = span);
            let mut changed = ranks.set_costs(some);
            let expected = upward_ranks(&work, &cost);
            prop_assert_eq!(ranks.all(), &expected);
            changed.sort();
            let differ: Vec<_> = work.jobs.ids().filter(|&j| before[j] != expected[j]).collect();
            prop_assert_eq!(changed, differ);
        }
    }
}
