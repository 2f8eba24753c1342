//! Which hosts have no disk space left and so take no more jobs in this run.
//!
//! A builder that failed while the disk was full may have filled it itself, and Nix removes what it left:
//! that has to happen twice. A store that could not be written to has no room for anybody.

use std::collections::{BTreeMap, BTreeSet};

use super::judge::{self, Space};
use crate::fleet::HostId;
use crate::run::{Event, Outcome, Side};

/// So many builders must have failed for want of space.
const SHORT: u32 = 2;

/// What the hosts have said of their disks.
#[derive(Debug, Default)]
pub(super) struct Drains {
    short: BTreeMap<HostId, u32>,
    drained: BTreeSet<HostId>,
}

impl Drains {
    /// What the end of a build says; the fact to tell if the host is drained by it.
    pub fn build(&mut self, host: HostId, outcome: &Outcome) -> Option<Event> {
        let Outcome::HostFailed { message, .. } = outcome else { return None };
        self.hear(host, message)
    }

    /// What the end of a transfer to `host` says.
    pub fn transfer(&mut self, host: HostId, event: &Event) -> Option<Event> {
        match event {
            Event::StageFailed { side: Side::Destination, cause, .. } => self.hear(host, cause),
            _ => None,
        }
    }

    fn hear(&mut self, host: HostId, message: &str) -> Option<Event> {
        let full = match judge::space(message)? {
            Space::Gone => true,
            Space::Short => {
                let times = self.short.entry(host).or_default();
                *times += 1;
                *times >= SHORT
            }
        };
        (full && self.drained.insert(host))
            .then(|| Event::HostDrained { host, cause: "its disk is full".to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::{HostFault, TransferId};

    fn failed(message: &str) -> Outcome {
        Outcome::HostFailed { fault: HostFault::Transient, message: message.to_owned() }
    }

    #[test]
    fn one_builder_without_space_may_have_filled_the_disk_itself() {
        let (mut drains, host) = (Drains::default(), HostId(1));
        let short = failed("builder failed with exit code 1; the host may be short of free disk space");
        assert_eq!(drains.build(host, &failed("builder failed with exit code 1")), None);
        assert_eq!(drains.build(host, &short), None);
        assert_eq!(drains.build(HostId(2), &short), None);
        let full = Event::HostDrained { host, cause: "its disk is full".to_owned() };
        assert_eq!(drains.build(host, &short), Some(full));
        assert_eq!(drains.build(host, &short), None, "told once");
    }

    #[test]
    fn a_store_that_cannot_be_written_to_is_full() {
        let mut drains = Drains::default();
        let failed =
            |side, cause: &str| Event::StageFailed { transfer: TransferId(0), side, cause: cause.into() };
        let cause = "writing to file: No space left on device";
        assert_eq!(drains.transfer(HostId(1), &failed(Side::Source, cause)), None);
        assert_eq!(drains.transfer(HostId(1), &failed(Side::Destination, "no such path")), None);
        assert!(drains.transfer(HostId(1), &failed(Side::Destination, cause)).is_some());
        assert_eq!(drains.transfer(HostId(1), &failed(Side::Destination, cause)), None, "told once");
    }
}
