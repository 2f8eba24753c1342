use std::collections::BTreeSet;

use super::*;
use proptest::prelude::*;

const HOST: HostId = HostId(0);

/// Jobs with a slot and jobs without, as plain lists.
#[derive(Default)]
struct Naive {
    slots: BTreeSet<SlotId>,
    taken: Vec<(SlotId, Time)>,
    /// Ends of what keeps a slot busy, jobs that wait for one included.
    ends: Vec<Time>,
    charged: u32,
    cores: Left,
}

impl Naive {
    fn free(&self) -> Vec<SlotId> {
        let taken = |slot: &&SlotId| self.taken.iter().any(|(s, _)| s == *slot);
        self.slots.iter().filter(|slot| !taken(slot)).copied().collect()
    }

    fn soonest(&self) -> Option<usize> {
        (0..self.ends.len()).min_by_key(|&row| self.ends[row])
    }

    fn available(&self, at: Time) -> Option<Time> {
        match self.free().is_empty() {
            false => Some(at),
            true => self.soonest().map(|row| self.ends[row].max(at)),
        }
    }
}

/// What can happen to an outlook within a round: a job takes a slot, this one if one is named, or waits.
#[derive(Clone, Debug)]
enum Step {
    Take(u64, u32),
    TakeSlot(u32, u64),
    Charge(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..100u64, 0..5u32).prop_map(|(end, cores)| Step::Take(end, cores)),
        (0..6u32, 0..100u64).prop_map(|(slot, end)| Step::TakeSlot(slot, end)),
        (0..100u64).prop_map(Step::Charge),
    ]
}

fn take(naive: &mut Naive, slot: SlotId, end: Time, cores: u32) {
    naive.taken.push((slot, end));
    naive.ends.push(end);
    naive.cores.most = naive.cores.most.saturating_sub(cores);
    naive.cores.once = naive.cores.once.saturating_sub(cores);
}

fn charge(naive: &mut Naive, end: Time) {
    if let Some(row) = naive.soonest() {
        naive.ends.remove(row);
    }
    naive.ends.push(end);
    naive.charged += 1;
}

proptest! {
    #[test]
    fn an_outlook_is_what_the_seats_say(
        slots in proptest::collection::btree_set(0..6u32, 0..6),
        busy in proptest::collection::vec(0..100u64, 0..6),
        cores in 0..20u32,
        steps in proptest::collection::vec(step(), 0..20),
        at in 0..100u64,
    ) {
        let slots: BTreeSet<SlotId> = slots.into_iter().map(SlotId).collect();
        let taken: Vec<_> = slots.iter().copied().zip(busy.into_iter().map(Time)).collect();
        let mut ends: Vec<Time> = taken.iter().map(|&(_, end)| end).collect();
        ends.sort_unstable();
        let cores = Left { most: cores, once: cores / 2 };
        let mut naive = Naive { slots, taken: taken.clone(), ends: ends.clone(), charged: 0, cores };
        let free = naive.free().into_iter().rev().collect();
        let settled = Outlook { free, ends, cores, charged: 0 };
        let mut forecasts = Forecasts::new(1);
        prop_assert!(forecasts.is_stale(HOST), "nothing is known yet");
        forecasts.set(HOST, settled.clone());
        let first = taken.iter().map(|&(_, end)| end).min();
        prop_assert_eq!(forecasts.is_overdue(HOST, Time(at)), first.is_some_and(|end| end <= Time(at)));
        for step in steps {
            match step {
                Step::Take(end, cores) => {
                    let expected = naive.free().first().copied();
                    prop_assert_eq!(forecasts.take(HOST, Time(end), cores), expected, "the least slot first");
                    expected.into_iter().for_each(|slot| take(&mut naive, slot, Time(end), cores));
                }
                Step::TakeSlot(slot, end) => {
                    let free = naive.free();
                    let asked = free.iter().find(|&&free| free == SlotId(slot));
                    let expected = asked.or(free.first()).copied();
                    prop_assert_eq!(forecasts.take_slot(HOST, SlotId(slot), Time(end), 1), expected);
                    expected.into_iter().for_each(|slot| take(&mut naive, slot, Time(end), 1));
                }
                Step::Charge(end) => {
                    forecasts.charge(HOST, Time(end));
                    charge(&mut naive, Time(end));
                }
            }
            let outlook = forecasts.of(HOST);
            prop_assert_eq!(outlook.available(Time(at)), naive.available(Time(at)));
            prop_assert_eq!(outlook.free.iter().rev().copied().collect::<Vec<_>>(), naive.free());
            prop_assert_eq!((outlook.charged, outlook.cores), (naive.charged, naive.cores));
            naive.ends.sort_unstable();
            prop_assert_eq!(&outlook.ends, &naive.ends);
        }
        // A new round forgets what was only charged.
        forecasts.set(HOST, settled);
        prop_assert_eq!(forecasts.of(HOST).charged, 0);
        prop_assert_eq!(forecasts.of(HOST).ends.len(), taken.len());
    }
}
