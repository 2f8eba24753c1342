//! When each host is likely to have a free slot.
//!
//! Kept per host and worked out anew only when something happened there. Jobs that are only charged to a host are
//! entered too, so that those behind them in the order see the host as busy, until all that waits is looked at
//! again.

use fixedbitset::FixedBitSet;

use crate::base::{Id, Table, Time};
use crate::fleet::HostId;
use crate::run::SlotId;

/// Cores that may be given to jobs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Left {
    /// With those that may be given out beyond what the host has.
    pub most: u32,
    /// Without.
    pub once: u32,
}

/// What is expected of one host.
#[derive(Debug, Default)]
pub(super) struct Outlook {
    /// Slots that have no job, the first one to take last.
    pub free: Vec<SlotId>,
    /// When the others are likely to be free, soonest first. Beyond its slots, a host has as many ends as
    /// jobs were charged to it.
    pub ends: Vec<Time>,
    /// Cores that no job was given; as many as there are slots where the host's number is not known.
    pub cores: Left,
    /// Jobs charged to it that have no slot yet.
    pub charged: u32,
}

impl Clone for Outlook {
    fn clone(&self) -> Self {
        let Outlook { free, ends, cores, charged } = self;
        Self { free: free.clone(), ends: ends.clone(), cores: *cores, charged: *charged }
    }

    /// Keeps the room for the lists.
    fn clone_from(&mut self, other: &Self) {
        self.free.clone_from(&other.free);
        self.ends.clone_from(&other.ends);
        (self.cores, self.charged) = (other.cores, other.charged);
    }
}

impl Outlook {
    /// When a slot is free for one more job.
    pub fn available(&self, at: Time) -> Option<Time> {
        if self.free.is_empty() { self.ends.first().map(|&end| end.max(at)) } else { Some(at) }
    }

    /// Whether there are slots, and none of them has a job.
    pub fn is_idle(&self) -> bool {
        !self.free.is_empty() && self.ends.is_empty()
    }

    fn take(&mut self, end: Time, cores: u32) -> Option<SlotId> {
        let slot = self.free.pop()?;
        self.insert(end);
        self.cores.most = self.cores.most.saturating_sub(cores);
        self.cores.once = self.cores.once.saturating_sub(cores);
        Some(slot)
    }

    fn charge(&mut self, end: Time) {
        self.charged += 1;
        let Some(first) = self.ends.first_mut() else { return self.insert(end) };
        *first = end;
        // Few ends, and mostly a late one: up to its place step by step.
        for row in 1..self.ends.len() {
            if self.ends[row] > end {
                break;
            }
            self.ends.swap(row - 1, row);
        }
    }

    fn insert(&mut self, end: Time) {
        let row = self.ends.partition_point(|&e| e <= end);
        self.ends.insert(row, end);
    }
}

/// The outlooks of all hosts, and which of them are out of date.
#[derive(Clone, Debug)]
pub(super) struct Forecasts {
    /// What follows from the jobs that have slots.
    settled: Table<HostId, Outlook>,
    /// The same with what was entered in this round.
    known: Table<HostId, Outlook>,
    entered: Table<HostId, bool>,
    /// Per host how often its outlook has changed.
    version: Table<HostId, u32>,
    changes: u32,
    /// Per host when it has a free slot: the beginning of time if it has one now, `NEVER` if there is none to
    /// wait for. The same as in `known`, side by side for those who ask about all hosts.
    soonest: Table<HostId, Time>,
    /// The hosts that have a free slot, and how many each has.
    free: FixedBitSet,
    free_slots: Table<HostId, usize>,
    /// Something happened since the outlook was worked out; and since its free slots alone were.
    stale: FixedBitSet,
    slots_stale: FixedBitSet,
}

/// Later than all that can be.
pub(super) const NEVER: Time = Time(u64::MAX);

impl Forecasts {
    pub fn new(hosts: usize) -> Self {
        Self {
            settled: Table::filled(hosts, Outlook::default()),
            known: Table::filled(hosts, Outlook::default()),
            entered: Table::filled(hosts, false),
            version: Table::filled(hosts, 0),
            changes: 0,
            soonest: Table::filled(hosts, NEVER),
            free: FixedBitSet::with_capacity(hosts),
            free_slots: Table::filled(hosts, 0),
            stale: (0..hosts).collect(),
            slots_stale: (0..hosts).collect(),
        }
    }

    /// Something happened at a host.
    pub fn touch(&mut self, host: HostId) {
        self.stale.insert(host.index());
        self.slots_stale.insert(host.index());
    }

    /// Whether something happened since the outlook was worked out.
    pub fn is_stale(&self, host: HostId) -> bool {
        self.stale.contains(host.index())
    }

    /// Whether something happened since its free slots were counted.
    pub fn is_miscounted(&self, host: HostId) -> bool {
        self.slots_stale.contains(host.index())
    }

    /// The first host where something happened since its outlook was worked out.
    pub fn first_stale(&self) -> Option<HostId> {
        self.stale.minimum().map(HostId::from_index)
    }

    /// The first one where something happened since its free slots were counted.
    pub fn first_miscounted(&self) -> Option<HostId> {
        self.slots_stale.minimum().map(HostId::from_index)
    }

    /// Replaces the free slots alone, given ascending; the ends of the others are still to be worked out.
    pub fn set_free(&mut self, host: HostId, free: impl Iterator<Item = SlotId>, cores: Left) {
        let known = &mut self.known[host];
        known.free.clear();
        known.free.extend(free);
        known.free.reverse();
        known.cores = cores;
        self.slots_stale.remove(host.index());
        self.note(host);
    }

    /// Whether an expected end has passed.
    pub fn is_overdue(&self, host: HostId, at: Time) -> bool {
        self.settled[host].ends.first().is_some_and(|&end| end <= at)
    }

    /// Begins a look at all that waits: what was entered in the last one is out of date.
    pub fn clear(&mut self) {
        for host in self.settled.ids() {
            if std::mem::take(&mut self.entered[host]) {
                self.known[host].clone_from(&self.settled[host]);
                self.note(host);
            }
        }
    }

    /// How often the outlook of a host has changed.
    pub fn version(&self, host: HostId) -> u32 {
        self.version[host]
    }

    /// How often the outlook of any host has changed.
    pub fn changes(&self) -> u32 {
        self.changes
    }

    /// Gives the next free slot of a host to a job that keeps it until `end`.
    pub fn take(&mut self, host: HostId, end: Time, cores: u32) -> Option<SlotId> {
        self.entered[host] = true;
        let slot = self.known[host].take(end, cores);
        self.note(host);
        slot
    }

    fn note(&mut self, host: HostId) {
        self.version[host] = self.version[host].wrapping_add(1);
        self.changes = self.changes.wrapping_add(1);
        self.soonest[host] = self.known[host].available(Time::ZERO).unwrap_or(NEVER);
        self.free_slots[host] = self.known[host].free.len();
        self.free.set(host.index(), self.free_slots[host] > 0);
    }

    /// Per host when it has a free slot: the beginning of time if it has one now, [`NEVER`] if there is none to wait
    /// for.
    pub fn soonest(&self) -> &[Time] {
        self.soonest.rows()
    }

    /// When a host has a slot for one more job.
    pub fn available(&self, host: HostId, at: Time) -> Option<Time> {
        let soonest = self.soonest[host];
        (soonest != NEVER).then(|| soonest.max(at))
    }

    /// Whether a host has a free slot.
    pub fn is_free(&self, host: HostId) -> bool {
        self.free.contains(host.index())
    }

    /// The hosts that have a free slot.
    pub fn free(&self) -> &FixedBitSet {
        &self.free
    }

    /// How many free slots each host has.
    pub fn free_slots(&self) -> &Table<HostId, usize> {
        &self.free_slots
    }

    /// Gives a job one particular slot of a host until `end`, or another one if that is not free.
    pub fn take_slot(&mut self, host: HostId, slot: SlotId, end: Time, cores: u32) -> Option<SlotId> {
        let free = &mut self.known[host].free;
        if let Some(row) = free.iter().position(|&s| s == slot) {
            // The last one is the next to be taken.
            let taken = free.remove(row);
            free.push(taken);
        }
        self.take(host, end, cores)
    }

    /// Has a job wait for the slot of a host that is free first, and keep it until `end`.
    pub fn charge(&mut self, host: HostId, end: Time) {
        self.entered[host] = true;
        self.known[host].charge(end);
        self.note(host);
    }

    /// Nothing expected of a host, in place of what was, with the room that its lists took.
    pub fn emptied(&mut self, host: HostId) -> Outlook {
        let mut outlook = std::mem::take(&mut self.settled[host]);
        outlook.free.clear();
        outlook.ends.clear();
        Outlook { cores: Left::default(), charged: 0, ..outlook }
    }

    /// Replaces an outlook by what follows from the jobs that have slots; their ends come soonest first.
    pub fn set(&mut self, host: HostId, outlook: Outlook) {
        self.known[host].clone_from(&outlook);
        self.settled[host] = outlook;
        self.stale.remove(host.index());
        self.slots_stale.remove(host.index());
        self.entered[host] = false;
        self.note(host);
    }

    /// What is expected of a host by the jobs that have its slots alone.
    pub fn settled(&self, host: HostId) -> &Outlook {
        &self.settled[host]
    }

    /// What is expected of a host.
    pub fn of(&self, host: HostId) -> &Outlook {
        &self.known[host]
    }
}

#[cfg(test)]
mod tests;
