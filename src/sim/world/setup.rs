//! What a simulated world can be made to be, beside what the scheduler is told of it.

use super::{Due, Fault, SimWorld, Slowdown, Speed};
use crate::base::{Span, Table, Time};
use crate::fleet::HostId;
use crate::graph::JobId;
use crate::run::{Attempt, Event, Outcome, SlotId, TransferId};
use crate::sim::network::Network;
use crate::sim::wire::Wire;

impl SimWorld<'_> {
    /// Has a host be lost for a while.
    pub fn lose(&mut self, Fault { host, at, back }: Fault) {
        self.queue.push(at, Due::Cut(host));
        if let Some(back) = back {
            self.queue.push(back, Due::Mend(host));
        }
    }

    /// Has a host be slow for a while.
    pub fn slow_down(&mut self, slow: Slowdown) {
        self.queue.push(slow.from, Due::Slow(Box::new(slow)));
        if let Some(until) = slow.until {
            let usual = Slowdown { pace: 1.0, link: 1.0, ..slow };
            self.queue.push(until, Due::Slow(Box::new(usual)));
        }
    }

    /// Has a host that was lost in the beginning be there when it is tried again after this time.
    pub fn find(&mut self, host: HostId, at: Time) {
        self.queue.push(at, Due::Mend(host));
    }

    /// Has the disk of a host be full from then on.
    pub fn fill(&mut self, host: HostId, at: Time) {
        self.queue.push(at, Due::Fill(host));
    }

    /// Says how much later than it happens the end of a build is heard, its slot being taken until then.
    #[must_use]
    pub fn with_handling(mut self, handling: Span) -> Self {
        self.handling = handling;
        self
    }

    /// Gives each host another link than its description says; a host beyond the end keeps its own. All
    /// bytes from builder to builder pass through the first one, which is this machine's.
    #[must_use]
    pub fn with_wires(mut self, wires: &Table<HostId, Wire>) -> Self {
        self.wires.replace(wires);
        self.network = Network::new(self.wires.capacities());
        self
    }

    /// Gives hosts other speeds than they say; one row per host.
    #[must_use]
    pub fn with_speeds(mut self, speeds: Table<HostId, Speed>) -> Self {
        self.speeds = Some(speeds);
        self
    }

    /// Says which part of each job (0 to 1) more cores make shorter.
    #[must_use]
    pub fn with_parallel(mut self, parallel: Table<JobId, f64>) -> Self {
        self.parallel = parallel;
        self
    }

    /// Has hosts be slow for a while. Of overlapping times, the last change counts.
    #[must_use]
    pub fn with_slowdowns(mut self, slowdowns: &[Slowdown]) -> Self {
        slowdowns.iter().for_each(|slow| self.slow_down(*slow));
        self
    }

    /// Has a part of the transfers fail, on either side: which, follows from the seed. Of four seeds, one
    /// has all of them fail.
    #[must_use]
    pub fn with_failing_transfers(mut self, seed: u64) -> Self {
        self.chances.transfers = Some(seed);
        self
    }

    /// Has hosts fail this part of all attempts, in every way there is.
    #[must_use]
    pub fn with_failing_hosts(mut self, seed: u64, share: f64) -> Self {
        self.chances.builds = Some((seed, share));
        self
    }

    /// Has the disks of some hosts fill up: they say so, finish what they build and fail what is begun later.
    #[must_use]
    pub fn with_full_disks(mut self, seed: u64) -> Self {
        self.chances.disks = Some(seed);
        for host in self.hosts.ids() {
            if let Some(at) = self.chances.of_disk(host) {
                self.queue.push(at, Due::Fill(host));
            }
        }
        self
    }

    /// Has some of the builds say how far they are, more or less.
    #[must_use]
    pub fn with_progress(mut self, seed: u64) -> Self {
        self.chances.talk = Some(seed);
        self
    }

    /// Has facts be heard again when they are no longer true, those about lost builds heard late, and
    /// facts about things that do not exist.
    #[must_use]
    pub fn with_stale_facts(mut self, seed: u64) -> Self {
        self.chances.echoes = Some(seed);
        let (host, job, attempt) = (HostId(9_999), JobId(u32::MAX), Attempt(3));
        let at = |second| Time::ZERO + Span::from_secs(second);
        self.at(at(1), Event::SlotUp { host, slot: SlotId(0) });
        self.at(at(2), Event::Finished { job, attempt, outcome: Outcome::Cancelled });
        self.at(at(3), Event::Staged { transfer: TransferId(u32::MAX), bytes: 1, took: Span(1) });
        self.at(at(4), Event::HostLost { host, cause: "never there".to_owned() });
        self.at(at(5), Event::Started { job, attempt });
        self
    }
}
