//! Slots that could not connect while others of their host could: when to try each again.
//!
//! A lost host as a whole is the scheduler's business. Knows no clock: whoever asks says what time it is.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::fleet::HostId;
use crate::run::SlotId;

/// The wait before the second try; doubles with each.
const FIRST: Duration = Duration::from_secs(2);

/// The longest wait.
const LAST: Duration = Duration::from_secs(60);

/// So far apart are the tries of one host's slots: its sshd may have refused them for being too many.
const APART: Duration = Duration::from_millis(300);

/// The slots that are away.
#[derive(Debug, Default)]
pub(super) struct Retries(BTreeMap<(HostId, SlotId), Away>);

#[derive(Debug)]
struct Away {
    /// Vain tries so far.
    tries: u32,
    /// When to try again; `None` while it is being tried, and for a slot that is not to be tried.
    due: Option<Instant>,
}

impl Retries {
    /// A slot could not connect; how often in a row. It is tried again if `again`.
    pub fn failed(&mut self, host: HostId, slot: SlotId, now: Instant, again: bool) -> u32 {
        let others = self.of(host).filter(|(s, _)| *s != slot).filter_map(|(_, away)| away.due).max();
        let away = self.0.entry((host, slot)).or_insert(Away { tries: 0, due: None });
        let due = now + FIRST.saturating_mul(1 << away.tries.min(16)).min(LAST);
        let turn = others.filter(|other| *other + APART > due).map_or(due, |other| other + APART);
        away.due = again.then_some(turn);
        away.tries += 1;
        away.tries
    }

    fn of(&self, host: HostId) -> impl Iterator<Item = (SlotId, &Away)> {
        let slots = (host, SlotId(0))..=(host, SlotId(u32::MAX));
        self.0.range(slots).map(|(&(_, slot), away)| (slot, away))
    }

    /// A slot is connected.
    pub fn connected(&mut self, host: HostId, slot: SlotId) {
        self.0.remove(&(host, slot));
    }

    /// How many slots of a host could not connect.
    pub fn away(&self, host: HostId) -> usize {
        self.of(host).count()
    }

    /// The host is lost, or tried anew as a whole.
    pub fn forget(&mut self, host: HostId) {
        self.0.retain(|(h, _), _| *h != host);
    }

    /// When the next slot is to be tried.
    pub fn next(&self) -> Option<Instant> {
        self.0.values().filter_map(|away| away.due).min()
    }

    /// The slots to be tried now; each is named once.
    pub fn due(&mut self, now: Instant) -> Vec<(HostId, SlotId)> {
        let due = self.0.iter_mut().filter(|(_, away)| away.due.is_some_and(|due| due <= now));
        due.map(|(slot, away)| {
            away.due = None;
            *slot
        })
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_tried_again_with_a_wait_that_doubles() {
        let (host, slot, start) = (HostId(1), SlotId(2), Instant::now());
        let mut retries = Retries::default();
        let (mut now, mut waits) = (start, Vec::new());
        for n in 0..7 {
            assert_eq!(retries.failed(host, slot, now, true), n + 1);
            let due = retries.next().unwrap();
            assert!(retries.due(due - Duration::from_millis(1)).is_empty());
            assert_eq!(retries.due(due), [(host, slot)]);
            assert!(retries.due(due).is_empty() && retries.next().is_none(), "it is being tried");
            waits.push((due - now).as_secs());
            now = due;
        }
        assert_eq!(waits, [2, 4, 8, 16, 32, 60, 60]);
        retries.connected(host, slot);
        assert_eq!(retries.failed(host, slot, now, false), 1);
        assert!(retries.next().is_none() && retries.away(host) == 1, "it is not to be tried");
    }

    #[test]
    fn the_slots_of_a_host_take_turns() {
        let now = Instant::now();
        let mut retries = Retries::default();
        for slot in 0..3 {
            retries.failed(HostId(1), SlotId(slot), now, true);
        }
        retries.failed(HostId(2), SlotId(0), now, true);
        assert_eq!(retries.due(now + FIRST), [(HostId(1), SlotId(0)), (HostId(2), SlotId(0))]);
        assert_eq!(retries.due(now + FIRST + APART), [(HostId(1), SlotId(1))]);
        assert_eq!(retries.due(now + FIRST + APART * 2), [(HostId(1), SlotId(2))]);
    }

    #[test]
    fn only_the_host_that_is_lost_is_forgotten() {
        let now = Instant::now();
        let mut retries = Retries::default();
        retries.failed(HostId(1), SlotId(0), now, true);
        retries.failed(HostId(2), SlotId(0), now, true);
        retries.forget(HostId(1));
        assert_eq!((retries.away(HostId(1)), retries.away(HostId(2))), (0, 1));
        assert_eq!(retries.due(now + LAST), [(HostId(2), SlotId(0))]);
    }
}
