use super::*;
use crate::graph::testkit::{random_work, work};
use proptest::prelude::*;

fn seconds(costs: &[u64]) -> Table<JobId, Span> {
    costs.iter().map(|&s| Span::from_secs(s)).collect()
}

fn one_class(work: &Workload, slots: u32, speed: f64) -> Vec<Class> {
    classes(work, &[Power { slots, speed }], |_, _| true)
}

/// The definition: every pair of a head and a tail.
fn oracle(points: &[Point], speed: u128) -> u64 {
    let mut bound = 0;
    for h in points.iter().map(|p| p.head) {
        for t in points.iter().map(|p| p.tail) {
            let inside = || points.iter().filter(|p| p.head >= h && p.tail >= t);
            if inside().next().is_some() {
                let area: u128 = inside().map(|p| p.work).sum();
                bound = bound.max(h + saturate((area + speed * u128::from(t)) / speed));
            }
        }
    }
    bound
}

/// A schedule: jobs in topological order, each as early as a slot of its class's hosts allows.
/// `slots` lists the speed of each slot with the class that it builds for.
fn greedy(
    work: &Workload,
    cost: &Table<JobId, Span>,
    slots: &[(f64, usize)],
    class: impl Fn(JobId) -> usize,
) -> f64 {
    let mut free = vec![0.0f64; slots.len()];
    let mut done = Table::filled(work.jobs.len(), 0.0f64);
    for &job in Order::new(work).jobs() {
        let ready = work.jobs[job].needs.iter().map(|&need| done[need]).fold(0.0, f64::max);
        let finish = |i: usize| free[i].max(ready) + cost[job].0 as f64 / slots[i].0;
        let able = (0..slots.len()).filter(|&i| slots[i].1 >= class(job));
        let best = able.min_by(|&a, &b| finish(a).total_cmp(&finish(b))).unwrap();
        free[best] = finish(best);
        done[job] = free[best];
    }
    done.rows().iter().copied().fold(0.0, f64::max)
}

#[test]
fn a_chain_is_bound_by_its_length_and_a_crowd_by_its_area() {
    let chain = work(&[vec![], vec![0], vec![1]]);
    let bound = |work: &Workload, cost: &[u64], slots, speed| {
        makespan_bound(work, &seconds(cost), &one_class(work, slots, speed))
    };
    assert_eq!(bound(&chain, &[1, 2, 3], 4, 1.0), Span::from_secs(6));
    assert_eq!(bound(&chain, &[1, 2, 3], 4, 2.0), Span::from_secs(3));
    let crowd = work(&vec![vec![]; 8]);
    assert_eq!(bound(&crowd, &[1; 8], 2, 1.0), Span::from_secs(4));
    assert_eq!(bound(&crowd, &[1; 8], 2, 0.5), Span::from_secs(8));
}

#[test]
fn a_crowd_between_two_chains_is_bound_by_all_three() {
    // 0 first, then eight jobs, then 9: neither the longest way (7 s) nor the area (5.5 s) is enough.
    let mut needs = vec![vec![]];
    needs.extend(std::iter::repeat_n(vec![0], 8));
    needs.push((1..9).collect());
    let work = work(&needs);
    let cost = seconds(&[3, 1, 1, 1, 1, 1, 1, 1, 1, 3]);
    assert_eq!(makespan_bound(&work, &cost, &one_class(&work, 2, 1.0)), Span::from_secs(10));
}

#[test]
fn a_long_head_and_a_long_tail_of_different_jobs_do_not_add_up() {
    let work = work(&[vec![], vec![0], vec![], vec![2]]);
    let cost = seconds(&[5, 1, 1, 5]);
    assert_eq!(makespan_bound(&work, &cost, &one_class(&work, 100, 1.0)), Span::from_secs(6));
}

#[test]
fn a_class_with_one_slow_host_is_the_narrow_place() {
    let work = work(&vec![vec![]; 4]);
    let hosts = [Power { slots: 8, speed: 2.0 }, Power { slots: 1, speed: 1.0 }];
    let can = |job: JobId, host: usize| host == 1 || job.0 >= 2;
    let classes = classes(&work, &hosts, can);
    assert_eq!(
        classes,
        [
            Class { jobs: work.jobs.ids().collect(), speed_total: 17.0, fastest: 2.0 },
            Class { jobs: vec![JobId(0), JobId(1)], speed_total: 1.0, fastest: 1.0 },
        ]
    );
    assert_eq!(makespan_bound(&work, &seconds(&[3; 4]), &classes), Span::from_secs(6));
}

#[test]
fn disjoint_classes_are_also_taken_together() {
    let work = work(&vec![vec![]; 2]);
    let hosts =
        [Power { slots: 1, speed: 1.0 }, Power { slots: 2, speed: 1.0 }, Power { slots: 0, speed: 9.0 }];
    let classes = classes(&work, &hosts, |job, host| host == 2 || job.index() == host);
    let sums: Vec<_> = classes.iter().map(|class| (class.jobs.len(), class.speed_total)).collect();
    assert_eq!(sums, [(1, 1.0), (1, 2.0), (2, 3.0)], "a host without slots is no host");
}

#[test]
fn nonsense_bounds_nothing_and_breaks_nothing() {
    let work = work(&[vec![], vec![0]]);
    let cost: Table<JobId, Span> = [Span(u64::MAX); 2].into_iter().collect();
    for speed in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let class = Class { jobs: vec![JobId(0), JobId(9)], speed_total: speed, fastest: speed };
        assert_eq!(makespan_bound(&work, &cost, &[class]), Span::ZERO);
    }
    let class = |speed| Class { jobs: work.jobs.ids().collect(), speed_total: speed, fastest: speed };
    assert_eq!(makespan_bound(&work, &cost, &[class(1e-9), class(1e12)]), Span(u64::MAX));
    assert_eq!(makespan_bound(&work, &Table::new(), &[class(1.0)]), Span::ZERO);
    assert_eq!(makespan_bound(&Workload::default(), &cost, &[]), Span::ZERO);
}

proptest! {
    #[test]
    fn the_sweep_finds_what_all_pairs_find(
        points in proptest::collection::vec((0..20u64, 0..20u64, 0..50u128), 0..40),
        speed in 1..30u128,
    ) {
        let points: Vec<_> = points.into_iter()
            .map(|(head, tail, work)| Point { head, tail, work }).collect();
        prop_assert_eq!(area_bound(points.clone(), speed), oracle(&points, speed));
    }

    #[test]
    fn no_schedule_beats_the_bound_and_it_beats_chain_and_area(
        (work, cost) in random_work(20),
        speeds in proptest::collection::vec((0.1..4.0f64, 0..2usize), 1..5),
        picky in proptest::collection::vec(any::<bool>(), 20),
    ) {
        // Hosts of kind 1 build everything, those of kind 0 only jobs that are not picky.
        let mut slots = speeds;
        slots.push((1.0, 1));
        let class = |job: JobId| usize::from(picky[job.index()]);
        let hosts: Vec<_> = slots.iter().map(|&(speed, _)| Power { slots: 1, speed }).collect();
        let classes = classes(&work, &hosts, |job, host| slots[host].1 >= class(job));
        let bound = makespan_bound(&work, &cost, &classes).0 as f64;

        let schedule = greedy(&work, &cost, &slots, class);
        prop_assert!(bound <= schedule * (1.0 + 1e-12), "{} > {}", bound, schedule);
        let total: f64 = slots.iter().map(|&(speed, _)| speed).sum();
        let area: f64 = cost.rows().iter().map(|cost| cost.0 as f64).sum::<f64>() / total;
        prop_assert!(bound >= area * (1.0 - 1e-5) - 2.0, "{} < area {}", bound, area);
        let fastest = slots.iter().map(|&(speed, _)| speed).fold(0.0, f64::max);
        let chain = crate::graph::rank::upward_ranks(&work, &cost);
        let chain = chain.rows().iter().max().unwrap().0 as f64 / fastest;
        // Each job of a chain is rounded down by itself.
        prop_assert!(bound >= chain * (1.0 - 1e-4) - 21.0, "{} < chain {}", bound, chain);
    }
}
