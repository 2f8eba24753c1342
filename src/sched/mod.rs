//! The scheduler: a pure state machine that turns facts into orders.
//!
//! It reads no clock, no environment and no random source and iterates over no hash map, so the same
//! events always give the same orders. It knows nothing of Nix and does no I/O.
//!
//! Jobs are ordered by upward rank. Each ready job goes to the host where it would *finish* first,
//! busy hosts counted in, and is bound only when that host has a free slot (`place`); otherwise only
//! its inputs may be sent ahead. What is needed at all follows from what the reachable hosts hold
//! (`demand`); who holds what is in `stores`, how a job's state changes in `state`.

mod check;
mod demand;
mod events;
mod hosts;
mod place;
mod policy;
mod stage;
mod state;
mod stores;
mod verdict;

use std::collections::{BTreeMap, BTreeSet};

pub use policy::Policy;
pub use state::{JobState, Seat};
pub use verdict::{Ending, Verdict};

use crate::base::{Span, Table, Time};
use crate::cost::{Cost, Live, classify};
use crate::fleet::{Host, HostId};
use crate::graph::{JobId, PathId, Workload, upward_ranks};
use crate::run::{Attempt, Event, Expectation, Order};
use hosts::Hosts;
use state::Jobs;
use stores::Stores;

/// The state of a run, and what to do about each fact.
#[derive(Clone, Debug)]
pub struct Scheduler {
    work: Workload,
    policy: Policy,
    /// What this run's builds say about the estimates.
    live: Live,
    /// The estimates for a host of speed 1, as corrected when that last made a difference.
    estimates: Table<JobId, Cost>,
    /// The corrections in `estimates`.
    factors: Vec<f64>,
    hosts: Hosts,
    stores: Stores,
    jobs: Jobs,
    /// Per job: the hosts that may build it at all.
    eligible: Table<JobId, Vec<HostId>>,
    tries: Table<JobId, Tries>,
    /// Per job: the host to which inputs were sent ahead for it.
    sent_ahead: Table<JobId, Option<HostId>>,
    /// Per bound job: why it is where it is.
    expect: Table<JobId, Expectation>,
    phase: Phase,
    /// A host came, went or disappointed: ask again what is needed.
    demand_changed: bool,
    /// Vain tries to bring each wanted path home.
    home_failures: Vec<u32>,
    /// When to try those again that did not come.
    home_retry: BTreeMap<PathId, Time>,
    /// Paths that a transfer failed to bring somewhere: not sent ahead any more.
    unlucky: BTreeSet<PathId>,
    endings: Vec<(JobId, Ending)>,
    /// Jobs that failed too often for hosts' reasons.
    exhausted: Vec<JobId>,
}

/// How often a job was tried, and where in vain.
#[derive(Clone, Debug, Default)]
struct Tries {
    next: u32,
    failed: u32,
    /// How often its host or the connection was lost under it.
    lost: u32,
    avoid: Vec<HostId>,
    last_cause: String,
    /// The last failure was of the builder itself.
    transient: bool,
}

impl Tries {
    fn attempt(&self) -> Attempt {
        Attempt(self.next)
    }
}

/// What the run as a whole is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Hosts are still answering.
    Gathering,
    /// Jobs are handed out.
    Building,
    /// Nothing new is begun: the user or a failure ended the run.
    Stopping,
}

impl Scheduler {
    /// A scheduler for `work` on `hosts` (this machine first), with `estimates` for a host of speed 1
    /// and for each job the hosts that may build it.
    pub fn new(
        work: Workload,
        hosts: Table<HostId, Host>,
        estimates: Table<JobId, Cost>,
        eligible: Table<JobId, Vec<HostId>>,
        policy: Policy,
    ) -> Self {
        let live = Live::new(classify(&work), estimates.clone());
        let mut scheduler = Self {
            stores: Stores::new(&work, hosts.len()),
            jobs: Jobs::new(&work, Table::filled(work.jobs.len(), Span::ZERO)),
            expect: Table::filled(work.jobs.len(), Expectation::default()),
            sent_ahead: Table::filled(work.jobs.len(), None),
            tries: Table::filled(work.jobs.len(), Tries::default()),
            home_failures: vec![0; work.paths.len()],
            home_retry: BTreeMap::new(),
            unlucky: BTreeSet::new(),
            hosts: Hosts::new(hosts),
            factors: live.factors().to_vec(),
            estimates,
            phase: Phase::Gathering,
            demand_changed: true,
            endings: Vec::new(),
            exhausted: Vec::new(),
            live,
            eligible,
            policy,
            work,
        };
        scheduler.rank();
        scheduler
    }

    /// Takes in one fact that happened at `at`, and appends to `out` what is to be done about it.
    /// Stale and senseless facts change nothing.
    pub fn step(&mut self, at: Time, event: &Event, out: &mut Vec<Order>) {
        self.take(at, event, out);
        if self.phase == Phase::Gathering {
            return;
        }
        self.probe(at, out);
        loop {
            if std::mem::take(&mut self.demand_changed) {
                self.review_demand();
            }
            // Before anything is placed, or a job that failed too often would just be bound again.
            if self.phase == Phase::Building {
                self.give_up_hopeless(out);
            }
            if self.phase == Phase::Building {
                self.stage_seated(out);
                self.place(at, out);
                self.bring_home(at, out);
            }
            // An input that turns out to be gone changes what is needed, and no event may ever follow.
            if !self.demand_changed {
                break;
            }
        }
    }

    /// When to be woken by `DeadlineReached` if nothing happens before.
    pub fn deadline(&self) -> Option<Time> {
        if self.phase != Phase::Building {
            return None;
        }
        let home = self.home_retry.values().copied().min();
        self.hosts.next_retry().into_iter().chain(home).min()
    }

    /// Where a job stands.
    pub fn state(&self, job: JobId) -> JobState {
        self.jobs.state(job)
    }

    /// Recomputes every rank from the estimates as they stand.
    fn rank(&mut self) {
        let speed = mean_speed(&self.hosts.spec);
        let cost: Table<JobId, Span> = self
            .estimates
            .rows()
            .iter()
            .map(|cost| cost.median.scale(1.0 / speed) + Span::from_millis(1))
            .collect();
        self.jobs.set_ranks(upward_ranks(&self.work, &cost));
    }

    /// Takes in what a job really cost; estimates and ranks follow once they are off by a tenth.
    fn learn(&mut self, job: JobId, actual: Span) {
        self.live.observe(job, actual);
        let factors = self.live.factors();
        let off = |(now, then): (&f64, &f64)| (now / then).ln().abs() > 0.1;
        if factors.iter().zip(&self.factors).any(off) {
            self.factors = factors.to_vec();
            self.estimates = self.work.jobs.ids().map(|job| self.live.cost(job)).collect();
            self.rank();
        }
    }

    /// Wanted paths that are not at home yet.
    fn unmet_wants(&self) -> impl Iterator<Item = PathId> + '_ {
        self.work.wanted.iter().copied().filter(|&p| !self.stores.holds(HostId::HOME, p))
    }
}

/// The mean speed of a slot; 1 for a fleet without slots.
fn mean_speed(hosts: &Table<HostId, Host>) -> f64 {
    let slots: f64 = hosts.rows().iter().map(|h| f64::from(h.slots)).sum();
    let speed: f64 = hosts.rows().iter().map(|h| f64::from(h.slots) * h.speed).sum();
    if slots > 0.0 { speed / slots } else { 1.0 }
}
