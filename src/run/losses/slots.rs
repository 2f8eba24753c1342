//! What each slot did: away, free or taken, and by whom for how long.

use std::collections::{BTreeMap, VecDeque};

use super::super::event::Attempt;
use super::super::order::SlotId;
use crate::base::{Span, Table, Time};
use crate::fleet::{Host, HostId, UsedSlots};
use crate::graph::JobId;

type Key = (JobId, Attempt);

/// An attempt that is over.
#[derive(Clone, Copy, Debug)]
pub(super) struct Closed {
    pub(super) job: JobId,
    pub(super) host: HostId,
    /// For how long it had its slot.
    pub(super) taken: Span,
}

/// An attempt that has a slot, or comes next in one.
#[derive(Clone, Copy, Debug)]
struct Taken {
    key: Key,
    /// Since when the slot is its own.
    since: Time,
    expected: Span,
}

/// All slots.
#[derive(Clone, Debug)]
pub(super) struct Slots {
    /// How many each host has.
    all: Table<HostId, u32>,
    /// How many of them are used at a time: the others do not count.
    used: UsedSlots,
    connected: Table<HostId, BTreeMap<SlotId, VecDeque<Taken>>>,
    busy: Table<HostId, u32>,
    places: BTreeMap<Key, (HostId, SlotId)>,
}

impl Slots {
    pub(super) fn new(hosts: &Table<HostId, Host>, jobs_per_core: Option<f64>) -> Slots {
        let all: Table<HostId, u32> = hosts.rows().iter().map(|host| host.slots).collect();
        Slots {
            used: UsedSlots::new(hosts, jobs_per_core),
            connected: Table::filled(all.len(), BTreeMap::new()),
            busy: Table::filled(all.len(), 0),
            places: BTreeMap::new(),
            all,
        }
    }

    /// How many of a host's count: those that are used, and those that are at work beyond them, as attempts that are
    /// being ended beside those that follow.
    pub(super) fn counted(&self, host: HostId) -> u32 {
        self.used.of(host) + self.busy[host].saturating_sub(self.connected_count(host))
    }

    /// A host said how many cores it has.
    pub(super) fn set_cores(&mut self, host: HostId, cores: u32) {
        if self.used.knows(host) {
            self.used.set_cores(host, cores);
        }
    }

    /// How many are not connected.
    pub(super) fn away(&self, host: HostId) -> u32 {
        self.used.of(host) - self.connected_count(host)
    }

    /// How many are connected and have nothing to do.
    pub(super) fn idle(&self, host: HostId) -> u32 {
        self.connected_count(host).saturating_sub(self.busy[host])
    }

    fn connected_count(&self, host: HostId) -> u32 {
        u32::try_from(self.connected[host].len()).unwrap_or(u32::MAX).min(self.used.of(host))
    }

    pub(super) fn up(&mut self, host: HostId, slot: SlotId) {
        if slot.0 < self.all.get(host).copied().unwrap_or(0) {
            self.connected[host].entry(slot).or_default();
        }
    }

    /// Gives a slot to an attempt, or queues it there; false if there is no such slot.
    pub(super) fn open(&mut self, at: Time, host: HostId, slot: SlotId, key: Key, expected: Span) -> bool {
        let Some(queue) = self.connected.get(host).and_then(|slots| slots.get(&slot)) else { return false };
        if self.places.contains_key(&key) {
            return false;
        }
        self.busy[host] += u32::from(queue.is_empty());
        self.places.insert(key, (host, slot));
        if let Some(queue) = self.connected[host].get_mut(&slot) {
            queue.push_back(Taken { key, since: at, expected });
        }
        true
    }

    /// The host began: what was expected counts from now.
    pub(super) fn started(&mut self, at: Time, key: Key) {
        let Some(&(host, slot)) = self.places.get(&key) else { return };
        let queue = self.connected[host].get_mut(&slot);
        if let Some(taken) = queue.and_then(|queue| queue.iter_mut().find(|taken| taken.key == key)) {
            // The slot was taken before; only the expectation moves.
            taken.expected = at.since(taken.since) + taken.expected;
        }
    }

    /// When the job should be over, if it runs.
    pub(super) fn due(&self, job: JobId) -> Option<Time> {
        let range = (job, Attempt(0))..=(job, Attempt(u32::MAX));
        let (key, (host, slot)) = self.places.range(range).next_back()?;
        // What only comes next in its slot is not due yet.
        let taken = self.connected[*host].get(slot)?.front().filter(|taken| taken.key == *key)?;
        Some(taken.since + taken.expected)
    }

    /// Ends an attempt; what comes next in its slot has it from now on.
    pub(super) fn close(&mut self, at: Time, key: Key) -> Option<Closed> {
        let (host, slot) = self.places.remove(&key)?;
        let queue = self.connected[host].get_mut(&slot)?;
        let row = queue.iter().position(|taken| taken.key == key)?;
        let taken = queue.remove(row)?;
        if queue.is_empty() {
            self.busy[host] -= 1;
        }
        let had = if row == 0 { at.since(taken.since) } else { Span::ZERO };
        if let Some(next) = queue.front_mut().filter(|_| row == 0) {
            next.since = at;
        }
        Some(Closed { job: key.0, host, taken: had })
    }

    /// Ends all attempts of a host and disconnects it.
    pub(super) fn down(&mut self, at: Time, host: HostId) -> Vec<Closed> {
        let Some(slots) = self.connected.get(host) else { return Vec::new() };
        let keys: Vec<Key> = slots.values().flatten().map(|taken| taken.key).collect();
        let closed = keys.into_iter().filter_map(|key| self.close(at, key)).collect();
        self.connected[host].clear();
        closed
    }

    /// Ends what still has a slot when the run ends.
    pub(super) fn close_all(&mut self, at: Time) -> Vec<Closed> {
        let keys: Vec<Key> = self.places.keys().copied().collect();
        keys.into_iter().filter_map(|key| self.close(at, key)).collect()
    }
}
