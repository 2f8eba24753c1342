//! How many of its slots each host uses at a time: not more than its cores, whose number it may say only later.

use super::{Host, HostId};
use crate::base::Table;

/// The slots in use of all hosts.
#[derive(Clone, Debug)]
pub struct UsedSlots {
    /// All that a host has.
    slots: Table<HostId, u32>,
    used: Table<HostId, u32>,
    all: u32,
    jobs_per_core: Option<f64>,
}

/// How many slots are used at a time, with no more than so many jobs for each core where the number of cores is known:
/// those that wait for each other's cores all take longer, and none is done sooner.
fn used(slots: u32, cores: u32, jobs_per_core: Option<f64>) -> u32 {
    // What is a whole number but for rounding is one.
    let most = |each: f64| ((f64::from(cores) * each + 1e-6) as u32).max(1);
    let limit = jobs_per_core.filter(|_| cores > 0).map_or(u32::MAX, most);
    slots.min(limit)
}

impl Host {
    /// How many of its slots are used at a time, with no more than so many jobs for each core.
    pub fn used_slots(&self, jobs_per_core: Option<f64>) -> u32 {
        used(self.slots, self.cores, jobs_per_core)
    }
}

impl UsedSlots {
    /// Those of hosts that are given so many jobs at a time for each core, if that is limited.
    pub fn new(hosts: &Table<HostId, Host>, jobs_per_core: Option<f64>) -> Self {
        let used: Table<HostId, u32> =
            hosts.rows().iter().map(|host| host.used_slots(jobs_per_core)).collect();
        let slots = hosts.rows().iter().map(|host| host.slots).collect();
        Self { slots, all: used.rows().iter().sum(), used, jobs_per_core }
    }

    /// Whether there is such a host.
    pub fn knows(&self, host: HostId) -> bool {
        self.slots.get(host).is_some()
    }

    /// A host said how many cores it has.
    pub fn set_cores(&mut self, host: HostId, cores: u32) {
        let used = used(self.slots[host], cores, self.jobs_per_core);
        self.all = self.all - self.used[host] + used;
        self.used[host] = used;
    }

    /// How many a host uses.
    pub fn of(&self, host: HostId) -> u32 {
        self.used[host]
    }

    /// Whether a host has more than it uses.
    pub fn is_limited(&self, host: HostId) -> bool {
        self.used[host] < self.slots[host]
    }

    /// How many all hosts use in sum.
    pub fn all(&self) -> u32 {
        self.all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_no_more_jobs_than_cores_and_always_one() {
        assert_eq!(used(8, 4, Some(1.0)), 4);
        assert_eq!(used(2, 4, Some(1.0)), 2);
        assert_eq!(used(8, 1, Some(0.5)), 1);
        assert_eq!(used(100, 100, Some(0.29)), 29, "a whole number but for rounding");
        assert_eq!([used(8, 0, Some(1.0)), used(8, 4, None), used(0, 4, Some(1.0))], [8, 8, 0]);
    }
}
