use super::*;
use crate::graph::testkit::{random_work, work};
use proptest::prelude::*;

fn seconds(costs: &[u64]) -> Table<JobId, Span> {
    costs.iter().map(|&s| Span::from_secs(s)).collect()
}

/// Hosts with so many slots at such speeds, of which `can` says who builds what.
fn limits(work: &Workload, hosts: &[(u32, f64)], can: impl Fn(JobId, usize) -> bool) -> Limits {
    let powers: Vec<Power> = hosts.iter().map(|&(slots, _)| Power::slots(slots)).collect();
    let able = |job: JobId, (i, &(_, speed)): (usize, &(u32, f64))| {
        can(job, i).then_some((i, Pace::one_core(speed)))
    };
    Limits::new(work, &powers, |job| hosts.iter().enumerate().filter_map(|host| able(job, host)).collect())
}

fn one_class(work: &Workload, slots: u32, speed: f64) -> Limits {
    limits(work, &[(slots, speed)], |_, _| true)
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
    let can = |job: JobId, host: usize| host == 1 || job.0 >= 2;
    let limits = limits(&work, &[(8, 2.0), (1, 1.0)], can);
    assert_eq!(
        limits.classes,
        [
            Class {
                jobs: work.jobs.ids().collect(),
                lanes: 17.0,
                slots: 17.0,
                each: vec![(8, 2.0), (1, 1.0)]
            },
            Class { jobs: vec![JobId(0), JobId(1)], lanes: 1.0, slots: 1.0, each: vec![(1, 1.0)] },
        ]
    );
    assert_eq!(makespan_bound(&work, &seconds(&[3; 4]), &limits), Span::from_secs(6));
}

#[test]
fn disjoint_classes_are_also_taken_together() {
    let work = work(&vec![vec![]; 2]);
    let hosts = [(1, 1.0), (2, 1.0), (0, 9.0)];
    let limits = limits(&work, &hosts, |job, host| host == 2 || job.index() == host);
    let sums: Vec<_> = limits.classes.iter().map(|class| (class.jobs.len(), class.lanes)).collect();
    assert_eq!(sums, [(1, 1.0), (1, 2.0), (2, 3.0)], "a host without slots is no host");
}

#[test]
fn nonsense_bounds_nothing_and_breaks_nothing() {
    let work = work(&[vec![], vec![0]]);
    let cost: Table<JobId, Span> = [Span(u64::MAX); 2].into_iter().collect();
    for speed in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert_eq!(makespan_bound(&work, &cost, &one_class(&work, 4, speed)), Span::ZERO);
    }
    assert_eq!(makespan_bound(&work, &cost, &one_class(&work, 1, 1e-9)), Span(u64::MAX));
    // Limits of another workload.
    let longer = one_class(&self::work(&vec![vec![]; 9]), 1, 1.0);
    assert_eq!(makespan_bound(&work, &seconds(&[1, 1]), &longer), Span::from_secs(2));
    assert_eq!(makespan_bound(&work, &Table::new(), &longer), Span::ZERO);
    assert_eq!(makespan_bound(&Workload::default(), &cost, &longer), Span::ZERO);
}

#[test]
fn jobs_are_no_liquid() {
    // By area 20 jobs of 6 s are done in 20 x 6 / 24 = 5 s. But a slot of half the speed does none in 6 s.
    let hosts = [(4, 2.0), (12, 1.0), (8, 0.5)];
    let bound = |needs: &[Vec<usize>], cost: &[u64]| {
        let work = work(needs);
        makespan_bound(&work, &seconds(cost), &limits(&work, &hosts, |_, _| true))
    };
    assert_eq!(bound(&vec![vec![]; 20], &[6; 20]), Span::from_secs(6));
    // Five of different length: four fast slots are as busy, or a slower one gets the shortest.
    assert_eq!(bound(&vec![vec![]; 5], &[10, 9, 8, 8, 7]), Span::from_secs(7));
    // Between one job of 2 s before and one after, both at double speed.
    let mut needs = vec![vec![]];
    needs.extend(vec![vec![0]; 20]);
    needs.push((1..21).collect());
    let cost: Vec<u64> = [2].into_iter().chain([6; 20]).chain([2]).collect();
    assert_eq!(bound(&needs, &cost), Span::from_secs(8));
}

/// One host on whose cores jobs are spread as far as `least`.
fn spread(work: &Workload, power: Power, speed: f64, least: f64) -> Limits {
    Limits::new(work, &[power], |_| vec![(0, Pace { speed, least })])
}

#[test]
fn what_is_spread_over_cores_is_shorter_in_a_chain_and_no_less_work_in_a_crowd() {
    let power = Power { slots: 4, lanes: 8 };
    let chain = work(&[vec![], vec![0]]);
    let bound = |work: &Workload, cost: &[u64], least| {
        makespan_bound(work, &seconds(cost), &spread(work, power, 2.0, least))
    };
    assert_eq!(bound(&chain, &[8, 8], 0.25), Span::from_secs(2));
    // 16 x 8 s on 8 cores of speed 2: 8 s. The slots alone would do it in 4 x 8 x 0.25 / 2 = 4 s.
    let crowd = work(&vec![vec![]; 16]);
    assert_eq!(bound(&crowd, &[8; 16], 0.25), Span::from_secs(8));
    // What cannot be spread leaves the cores beyond the slots idle.
    assert_eq!(bound(&crowd, &[8; 16], 1.0), Span::from_secs(16));
}

#[test]
fn a_host_that_only_emulates_is_as_slow_as_that() {
    let work = work(&vec![vec![]; 4]);
    let hosts = [Power::slots(1), Power::slots(1)];
    // The first two jobs are emulated by both; only one host builds the others fast.
    let paces = |job: JobId| match job.0 {
        0 | 1 => vec![(0, Pace::one_core(0.1)), (1, Pace::one_core(0.1))],
        _ => vec![(0, Pace::one_core(1.0)), (1, Pace::one_core(0.5))],
    };
    let limits = Limits::new(&work, &hosts, paces);
    let sums: Vec<_> = limits.classes.iter().map(|class| (class.jobs.len(), class.lanes)).collect();
    assert_eq!(sums, [(2, 0.2), (4, 1.5)]);
    assert_eq!(makespan_bound(&work, &seconds(&[1; 4]), &limits).0 / 1000, 10_000);
}

/// The least makespan of all schedules, by trying them: any job whose needs are done goes next to any slot.
/// `times` has the time of each job on each slot, if it can be built there.
struct Optimum<'a> {
    work: &'a Workload,
    times: &'a Table<JobId, Vec<Option<f64>>>,
    best: f64,
}

impl Optimum<'_> {
    fn search(&mut self, done: &mut Table<JobId, Option<f64>>, free: &mut Vec<f64>) {
        let end = done.rows().iter().flatten().copied().fold(0.0, f64::max);
        if end >= self.best {
            return;
        }
        if done.rows().iter().all(Option::is_some) {
            self.best = end;
            return;
        }
        for job in self.work.jobs.ids().filter(|&job| done[job].is_none()).collect::<Vec<_>>() {
            let needs = self.work.jobs[job].needs.iter().map(|&need| done[need]);
            let Some(ready) = needs.collect::<Option<Vec<f64>>>() else { continue };
            let ready = ready.into_iter().fold(0.0, f64::max);
            for slot in 0..free.len() {
                let Some(time) = self.times[job][slot] else { continue };
                let before = free[slot];
                free[slot] = before.max(ready) + time;
                done[job] = Some(free[slot]);
                self.search(done, free);
                (done[job], free[slot]) = (None, before);
            }
        }
    }
}

proptest! {
    #[test]
    fn the_best_of_all_schedules_does_not_beat_the_bound(
        (work, cost) in random_work(6),
        hosts in proptest::collection::vec((1..=2u32, prop_oneof![Just(0.5), Just(1.0), Just(2.0), 0.1..4.0f64]), 2),
        can in proptest::collection::vec(0..4u32, 6),
        least in proptest::collection::vec(prop_oneof![Just(1.0), 0.125..1.0f64], 12),
    ) {
        // Of at most three slots. As many cores as a job can use are always free.
        let slots: Vec<(usize, f64)> = hosts.iter().enumerate()
            .flat_map(|(i, &(slots, speed))| (0..slots).map(move |_| (i, speed))).take(3).collect();
        let count = |host| slots.iter().filter(|slot| slot.0 == host).count() as u32;
        let powers: Vec<Power> = (0..2).map(|i| Power { slots: count(i), lanes: 8 * count(i) }).collect();
        let able = |job: JobId, host: usize| can[job.index()] == 0 || can[job.index()] != host as u32 + 1;
        let least = |job: JobId, host: usize| least[2 * job.index() + host];
        let limits = Limits::new(&work, &powers, |job| {
            let pace = |host: usize| Pace { speed: hosts[host].1, least: least(job, host) };
            (0..2).filter(|&host| able(job, host)).map(|host| (host, pace(host))).collect()
        });
        let time = |job: JobId, &(host, speed): &(usize, f64)| {
            able(job, host).then(|| cost[job].0 as f64 * least(job, host) / speed)
        };
        let times: Table<JobId, Vec<Option<f64>>> =
            work.jobs.ids().map(|job| slots.iter().map(|slot| time(job, slot)).collect()).collect();
        let mut optimum = Optimum { work: &work, times: &times, best: f64::INFINITY };
        optimum.search(&mut Table::filled(work.jobs.len(), None), &mut vec![0.0; slots.len()]);
        let bound = makespan_bound(&work, &cost, &limits).0 as f64;
        prop_assert!(bound <= optimum.best * (1.0 + 1e-9), "{} > {}", bound, optimum.best);
    }

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
        let hosts: Vec<_> = slots.iter().map(|&(speed, _)| (1, speed)).collect();
        let limits = limits(&work, &hosts, |job, host| slots[host].1 >= class(job));
        let bound = makespan_bound(&work, &cost, &limits).0 as f64;

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
