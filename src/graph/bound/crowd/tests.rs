use super::*;
use proptest::prelude::*;

/// The least time in which these slots, one each, end `jobs` of this work, rounded down.
fn counted(speeds: &[u128], work: u128, jobs: usize) -> u64 {
    let ended = |time: u128| speeds.iter().map(|speed| time * speed / work).sum::<u128>();
    let before = |time: u128| speeds.iter().map(|speed| (time * speed).div_ceil(work) - 1).sum::<u128>();
    let time = (1..).find(|&time| ended(time) >= jobs as u128).unwrap();
    (time - u128::from(before(time) >= jobs as u128)) as u64
}

/// The definitions, each by itself, for every head and tail.
fn oracle(points: &[Point], speeds: &[u128], known: u64) -> u64 {
    let mut speeds = speeds.to_vec();
    speeds.sort_unstable_by(|a, b| b.cmp(a));
    let sorted = |of: fn(&Point) -> u64, points: &[Point]| {
        let mut values: Vec<u64> = points.iter().map(of).collect();
        values.sort_unstable();
        values
    };
    let mut bound = known;
    for h in sorted(|p| p.head, points) {
        for t in sorted(|p| p.tail, points) {
            let mut inside: Vec<Point> =
                points.iter().copied().filter(|p| p.head >= h && p.tail >= t).collect();
            inside.sort_by_key(|p| std::cmp::Reverse((p.work, p.head, p.tail)));
            for k in 1..=inside.len() {
                let some = &inside[..k];
                let around = sorted(|p| p.head, some)[0] + sorted(|p| p.tail, some)[0];
                bound = bound.max(around + counted(&speeds, some[k - 1].work, k));
                let few = speeds.iter().take(k).sum::<u128>();
                bound = bound.max(around + (some.iter().map(|p| p.work).sum::<u128>() / few) as u64);
            }
            let (heads, tails) = (sorted(|p| p.head, &inside), sorted(|p| p.tail, &inside));
            let used = &speeds[..inside.len().min(speeds.len())];
            let idle = used.iter().enumerate().map(|(i, s)| s * u128::from((heads[i] + tails[i]).min(bound)));
            let all = inside.iter().map(|p| p.work).sum::<u128>() + idle.sum::<u128>();
            bound = bound.max(all.checked_div(used.iter().sum()).unwrap_or(0) as u64);
        }
    }
    bound
}

fn point(head: u64, tail: u64, work: u128) -> Point {
    Point { head, tail, work }
}

#[test]
fn slots_that_begin_late_and_end_early_stand_still() {
    // The jobs alone are 22 s of work for two slots, but one of the two has to wait 4 s for its first one.
    // Without the one that is there at once it is 4 s and 12 s of work: 10 s.
    let late = |points: [(u64, u64, u128); 4]| {
        let points = points.map(|(head, tail, work)| point(head, tail, work)).to_vec();
        crowd_bound(points, &[Slots { speed: 1, count: 2 }], 0, 100)
    };
    assert_eq!(late([(0, 0, 10), (4, 0, 4), (4, 0, 4), (4, 0, 4)]), (22 + 4) / 2);
    assert_eq!(late([(0, 0, 10), (0, 4, 4), (0, 4, 4), (0, 4, 4)]), (22 + 4) / 2);
}

#[test]
fn many_slots_and_no_slots_and_no_jobs_are_nothing_special() {
    let slots = [Slots { speed: 3, count: u32::MAX }, Slots { speed: 1, count: u32::MAX }];
    assert_eq!(crowd_bound(vec![point(0, 0, 12); 4], &slots, 0, 100), 4);
    assert_eq!(crowd_bound(vec![point(0, 0, 12); 4], &[], 7, 100), 7);
    assert_eq!(crowd_bound(vec![point(0, 0, 12)], &[Slots { speed: 3, count: 0 }], 7, 100), 7);
    assert_eq!(crowd_bound(Vec::new(), &slots, 7, 100), 7);
    assert_eq!(crowd_bound(vec![point(u64::MAX, u64::MAX, u128::MAX >> 40); 2], &slots, 0, 100), u64::MAX);
}

#[test]
fn a_coarser_look_says_no_more_than_a_finer_one() {
    let points: Vec<Point> =
        (0..200).map(|i| point(i * 37 % 101, i * 53 % 97, u128::from(i * 71 % 89))).collect();
    let slots = [Slots { speed: 2, count: 3 }, Slots { speed: 1, count: 4 }];
    let looks = [1, 5_000, 1 << 20].map(|looks| crowd_bound(points.clone(), &slots, 0, looks));
    assert!(looks[0] > 0 && looks.is_sorted(), "{looks:?}");
}

proptest! {
    #[test]
    fn shortcuts_change_nothing(
        points in proptest::collection::vec((0..20u64, 0..20u64, 0..50u128), 0..14),
        slots in proptest::collection::vec((1..9u128, 0..4u32), 0..4),
        known in 0..30u64,
    ) {
        let points: Vec<Point> = points.into_iter().map(|(head, tail, work)| point(head, tail, work)).collect();
        let slots: Vec<Slots> = slots.into_iter().map(|(speed, count)| Slots { speed, count }).collect();
        let speeds: Vec<u128> =
            slots.iter().flat_map(|s| std::iter::repeat_n(s.speed, s.count as usize)).collect();
        let busy: Vec<Point> = points.iter().copied().filter(|p| p.work > 0).collect();
        let expected = if speeds.is_empty() { known } else { oracle(&busy, &speeds, known) };
        prop_assert_eq!(crowd_bound(points, &slots, known, usize::MAX), expected);
    }
}
