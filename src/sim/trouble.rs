//! What goes wrong in a simulated world, and when: lost and slow hosts by list, the rest by seed.

use crate::base::{Random, Span, Time};
use crate::fleet::HostId;
use crate::graph::JobId;
use crate::run::{Attempt, HostFault, Side, TransferId};

/// A host that is lost for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Which.
    pub host: HostId,
    /// When the link is cut.
    pub at: Time,
    /// When it works again; `None` for never.
    pub back: Option<Time>,
}

/// A host that is slow for a while.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Slowdown {
    /// Which.
    pub host: HostId,
    /// From when on.
    pub from: Time,
    /// Until when; `None` for the rest of the run.
    pub until: Option<Time>,
    /// How fast it builds meanwhile, relative to its usual speed; above 0.
    pub pace: f64,
    /// How fast its link is meanwhile, relative to its usual bandwidth; above 0.
    pub link: f64,
}

/// What fails by chance. Everything follows from the seed and from what it happens to, so that another
/// order of events does not change what happens to a thing.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Chances {
    /// Of the transfers that fail, if any do.
    pub transfers: Option<u64>,
    /// Of the builds that a host fails, and how large a part they are.
    pub builds: Option<(u64, f64)>,
    /// Of the hosts whose disks fill up.
    pub disks: Option<u64>,
    /// Of the builds that say how far they are.
    pub talk: Option<u64>,
    /// Of the facts that are heard again later.
    pub echoes: Option<u64>,
}

impl Chances {
    /// On whose side a transfer fails, if it does. Of four seeds, one has all of them fail.
    pub fn of_transfer(&self, transfer: TransferId) -> Option<Side> {
        let seed = self.transfers?;
        let mut random = Random::keyed(seed, u64::from(transfer.0));
        let fails = random.chance(if seed % 4 == 0 { 1.0 } else { 0.25 });
        let sides = [Side::Source, Side::Destination, Side::Unknown];
        fails.then(|| sides[random.below(3) as usize])
    }

    /// How a host fails an attempt, if it does, and after which part of its work.
    pub fn of_build(&self, job: JobId, attempt: Attempt) -> Option<(HostFault, f64)> {
        let (seed, share) = self.builds?;
        let mut random = Random::keyed(seed, u64::from(job.0) << 32 | u64::from(attempt.0));
        let faults =
            [HostFault::Connection, HostFault::Transient, HostFault::MissingInputs, HostFault::Other];
        random.chance(share).then(|| (faults[random.below(4) as usize], random.unit()))
    }

    /// When the disk of a host is full, if it ever is: one in three, within twenty seconds.
    pub fn of_disk(&self, host: HostId) -> Option<Time> {
        let mut random = Random::keyed(self.disks?, u64::from(host.0));
        random.chance(1.0 / 3.0).then(|| Time::ZERO + Span(random.below(20_000_000)))
    }

    /// How a build counts its work, if it does: one in two. What it says of a part done is that part to
    /// this power, from 1/2 to 2, since counted steps do not all take the same time.
    pub fn of_talk(&self, job: JobId) -> Option<f64> {
        let mut random = Random::keyed(self.talk?, u64::from(job.0));
        random.chance(0.5).then(|| (random.unit() * 2.0 - 1.0).exp2())
    }

    /// How much later the fact of this number is heard again, if it is: one in four, within half a minute.
    pub fn of_echo(&self, number: u64) -> Option<Span> {
        let mut random = Random::keyed(self.echoes?, number);
        random.chance(0.25).then(|| Span(random.below(30_000_000)))
    }
}
