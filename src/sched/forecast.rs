//! When each host is likely to have a free slot.
//!
//! Kept per host and worked out anew only when something happened there. Within a round of placement,
//! jobs that are only charged to a host are entered too, so that those behind them in the order see the
//! host as busy; such an outlook is out of date as soon as the round is over.

use std::collections::BTreeSet;

use crate::base::{Table, Time};
use crate::fleet::HostId;
use crate::run::SlotId;

/// What is expected of one host.
#[derive(Clone, Debug, Default)]
pub(super) struct Outlook {
    /// Slots that have no job, the first one to take last.
    pub free: Vec<SlotId>,
    /// When the others are likely to be free, soonest first. Beyond its slots, a host has as many ends as
    /// jobs were charged to it.
    pub ends: Vec<Time>,
    /// Cores that no job was given; as many as there are slots where the host's number is not known.
    pub cores: u32,
    /// Jobs charged to it that have no slot yet.
    pub charged: u32,
}

impl Outlook {
    /// When a slot is free for one more job.
    pub fn available(&self, at: Time) -> Option<Time> {
        if self.free.is_empty() { self.ends.first().map(|&end| end.max(at)) } else { Some(at) }
    }

    fn take(&mut self, end: Time, cores: u32) -> Option<SlotId> {
        let slot = self.free.pop()?;
        self.insert(end);
        self.cores = self.cores.saturating_sub(cores);
        Some(slot)
    }

    fn charge(&mut self, end: Time) {
        if !self.ends.is_empty() {
            self.ends.remove(0);
        }
        self.insert(end);
        self.charged += 1;
    }

    fn insert(&mut self, end: Time) {
        let row = self.ends.partition_point(|&e| e <= end);
        self.ends.insert(row, end);
    }
}

/// The outlooks of all hosts, and which of them are out of date.
#[derive(Clone, Debug)]
pub(super) struct Forecasts {
    known: Table<HostId, Outlook>,
    stale: Table<HostId, bool>,
}

impl Forecasts {
    pub fn new(hosts: usize) -> Self {
        Self { known: Table::filled(hosts, Outlook::default()), stale: Table::filled(hosts, true) }
    }

    /// Something happened at a host.
    pub fn touch(&mut self, host: HostId) {
        self.stale[host] = true;
    }

    /// Something happened everywhere.
    pub fn touch_all(&mut self) {
        for (_, stale) in self.stale.iter_mut() {
            *stale = true;
        }
    }

    /// Whether the outlook has to be worked out: something happened, or an expected end has passed.
    pub fn is_stale(&self, host: HostId, at: Time) -> bool {
        self.stale[host] || self.known[host].ends.first().is_some_and(|&end| end <= at)
    }

    /// Whether something happened at a host since its outlook was worked out.
    pub fn is_touched(&self, host: HostId) -> bool {
        self.stale[host]
    }

    /// Gives the next free slot of a host to a job that keeps it until `end`.
    pub fn take(&mut self, host: HostId, end: Time, cores: u32) -> Option<SlotId> {
        self.stale[host] = true;
        self.known[host].take(end, cores)
    }

    /// Gives one particular slot of a host to a job that keeps it until `end`; false if it is not free.
    pub fn take_slot(&mut self, host: HostId, slot: SlotId, end: Time, cores: u32) -> bool {
        let free = &mut self.known[host].free;
        let Some(row) = free.iter().position(|&s| s == slot) else { return false };
        // The last one is the next to be taken.
        let taken = free.remove(row);
        free.push(taken);
        self.take(host, end, cores).is_some()
    }

    /// Has a job wait for the slot of a host that is free first, and keep it until `end`.
    pub fn charge(&mut self, host: HostId, end: Time) {
        self.stale[host] = true;
        self.known[host].charge(end);
    }

    /// Has a job take the next free slot of a host, or wait for the one that is free first.
    pub fn enter(&mut self, host: HostId, end: Time, cores: u32) {
        if self.take(host, end, cores).is_none() {
            self.charge(host, end);
        }
    }

    /// Replaces an outlook by what follows from the slots and the ends of the jobs that have one.
    pub fn set(&mut self, host: HostId, slots: &BTreeSet<SlotId>, taken: &[(SlotId, Time)], cores: u32) {
        let outlook = &mut self.known[host];
        outlook.free.clear();
        outlook.free.extend(slots.iter().rev().filter(|slot| !taken.iter().any(|(s, _)| s == *slot)));
        outlook.ends.clear();
        outlook.ends.extend(taken.iter().map(|&(_, end)| end));
        outlook.ends.sort_unstable();
        outlook.cores = cores;
        outlook.charged = 0;
        self.stale[host] = false;
    }

    /// What is expected of a host.
    pub fn of(&self, host: HostId) -> &Outlook {
        &self.known[host]
    }
}

#[cfg(test)]
mod tests;
