//! The simulated world: durations and links from a model, faults from a list.
//!
//! Each build takes its given work divided by the host's speed; each transfer takes what its links
//! take, regardless of others. Events that fall on the same moment come in the order in which they
//! were caused, so a run is the same each time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::base::{Span, Table, Time};
use crate::drive::{Happening, World};
use crate::fleet::{Host, HostId};
use crate::graph::{JobId, PathId, Workload};
use crate::run::{Attempt, Event, Failure, Made, Order, Outcome, Side, SlotId, Source, Times, TransferId};

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

/// A fleet in virtual time.
#[derive(Debug)]
pub struct SimWorld<'a> {
    work: &'a Workload,
    hosts: &'a Table<HostId, Host>,
    /// What each job really takes on a host of speed 1; `None` for a build that fails at once.
    truth: &'a Table<JobId, Option<Span>>,
    faults: Vec<Fault>,
    /// Seed of the transfers that fail, if any do.
    spoilt: Option<u64>,
    now: Time,
    next_seq: u64,
    queue: BinaryHeap<Reverse<(Time, u64, usize)>>,
    events: Vec<Option<Event>>,
}

impl<'a> SimWorld<'a> {
    /// A world in which every host answers at once.
    pub fn new(
        work: &'a Workload,
        hosts: &'a Table<HostId, Host>,
        truth: &'a Table<JobId, Option<Span>>,
        faults: Vec<Fault>,
    ) -> Self {
        let mut world = Self::beginning(work, hosts, truth, Vec::new());
        for host in hosts.ids() {
            world.connect(Time::ZERO, host);
        }
        world.at(Time::ZERO, Event::FleetReady);
        for fault in &faults {
            world.at(fault.at, Event::HostLost { host: fault.host, cause: "simulated".to_owned() });
        }
        Self { faults, ..world }
    }

    /// A world that begins with the given facts, `FleetReady` among them: those that a real fleet told.
    pub fn beginning(
        work: &'a Workload,
        hosts: &'a Table<HostId, Host>,
        truth: &'a Table<JobId, Option<Span>>,
        facts: Vec<Event>,
    ) -> Self {
        let mut world = Self {
            work,
            hosts,
            truth,
            faults: Vec::new(),
            spoilt: None,
            now: Time::ZERO,
            next_seq: 0,
            queue: BinaryHeap::new(),
            events: Vec::new(),
        };
        for fact in facts {
            world.at(Time::ZERO, fact);
        }
        world
    }

    /// Has a part of the transfers fail, on either side: which, follows from the seed. Of four seeds, one
    /// has all of them fail.
    #[must_use]
    pub fn with_failing_transfers(mut self, seed: u64) -> Self {
        self.spoilt = Some(seed);
        self
    }

    /// A fact that no order causes.
    pub fn at(&mut self, time: Time, event: Event) {
        self.queue.push(Reverse((time, self.next_seq, self.events.len())));
        self.next_seq += 1;
        self.events.push(Some(event));
    }

    fn connect(&mut self, time: Time, host: HostId) {
        for slot in 0..self.hosts[host].slots {
            self.at(time, Event::SlotUp { host, slot: SlotId(slot) });
        }
    }

    /// Whether the host's link is cut at some time of the interval.
    fn cut_between(&self, host: HostId, from: Time, to: Time) -> bool {
        self.faults.iter().any(|f| f.host == host && f.at <= to && f.back.is_none_or(|b| b > from))
    }

    fn build(&mut self, at: Time, job: JobId, attempt: Attempt, host: HostId) {
        self.at(at, Event::Started { job, attempt });
        let (outcome, wall) = match self.truth[job] {
            Some(work) => {
                let wall = work.scale(1.0 / self.hosts[host].speed);
                let times = Times { wall, ..Times::default() };
                let made = self.work.jobs[job].outputs.iter().map(|&p| self.made(job, p)).collect();
                (Outcome::Built { made, times }, wall)
            }
            None => {
                let message = "simulated".to_owned();
                (Outcome::Failed { failure: Failure::Build, message, times: Times::default() }, Span::ZERO)
            }
        };
        if !self.cut_between(host, at, at + wall) {
            self.at(at + wall, Event::Finished { job, attempt, outcome });
        }
    }

    /// An output refers to all inputs of its job that are built in this run.
    fn made(&self, job: JobId, path: PathId) -> Made {
        Made { path, size: self.work.paths[path].size, refs: self.work.jobs[job].inputs.clone() }
    }

    fn failure_of(&self, transfer: TransferId) -> Option<Side> {
        let seed = self.spoilt?;
        let hash = (seed ^ u64::from(transfer.0)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        let sides = [Side::Source, Side::Destination, Side::Unknown];
        (seed % 4 == 0 || hash % 4 == 0).then(|| sides[(hash / 4 % 3) as usize])
    }

    fn transfer_time(&self, from: Source, to: HostId, paths: &[PathId]) -> (u64, Span) {
        let bytes = paths.iter().map(|&p| self.work.paths[p].size).sum();
        let there = self.hosts[to].link.time(bytes);
        match from {
            Source::Host(host) => (bytes, there.max(self.hosts[host].link.time(bytes))),
            Source::Substituter => (bytes, there),
        }
    }
}

impl World for SimWorld<'_> {
    fn obey(&mut self, at: Time, order: &Order) {
        match order {
            Order::Build { job, attempt, host, .. } => self.build(at, *job, *attempt, *host),
            Order::Stage { transfer, from, to, paths, .. } => {
                let (bytes, took) = self.transfer_time(*from, *to, paths);
                let lost = |h: HostId| self.cut_between(h, at, at + took);
                let source_lost = matches!(*from, Source::Host(h) if lost(h));
                if !lost(*to) && !source_lost {
                    let transfer = *transfer;
                    let event = match self.failure_of(transfer) {
                        Some(side) => Event::StageFailed { transfer, side, cause: "simulated".to_owned() },
                        None => Event::Staged { transfer, bytes, took },
                    };
                    self.at(at + took, event);
                }
            }
            Order::Cancel { job, attempt, .. } => {
                let event = Event::Finished { job: *job, attempt: *attempt, outcome: Outcome::Cancelled };
                self.at(at, event);
            }
            Order::Probe { host } => {
                if self.cut_between(*host, at, at) {
                    self.at(at, Event::HostLost { host: *host, cause: "still cut".to_owned() });
                } else {
                    self.connect(at, *host);
                }
            }
        }
    }

    fn next(&mut self, deadline: Option<Time>) -> (Time, Happening) {
        let due = self.queue.peek().map(|Reverse((time, ..))| *time);
        let event = match (due, deadline) {
            (Some(due), Some(deadline)) if deadline < due => None,
            (Some(_), _) => self.queue.pop().and_then(|Reverse((time, _, row))| {
                self.now = self.now.max(time);
                self.events[row].take()
            }),
            (None, _) => None,
        };
        let event = event.unwrap_or_else(|| {
            // Without a deadline nothing will ever happen; the user would end such a run.
            let end = if deadline.is_none() { Event::Interrupted } else { Event::DeadlineReached };
            self.now = self.now.max(deadline.unwrap_or(self.now));
            end
        });
        (self.now, Happening::Fact(event))
    }
}
