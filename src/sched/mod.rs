//! The scheduler: a pure state machine that turns facts into orders.
//!
//! It reads no clock, no environment and no random source and iterates over no hash map, so the same
//! events always give the same orders. It knows nothing of Nix and does no I/O.
//!
//! Jobs are ordered by upward rank. Each ready job goes to the host where it would *finish* first,
//! busy hosts counted in (`offer`), and is bound only when that host has a free slot (`place`); otherwise
//! only its inputs may be sent ahead, and what waits may yet move (`steal`). How many cores it gets and how
//! long it takes with them is in `cores`, when hosts will be free in `forecast`. What is needed at all
//! follows from what the reachable hosts hold (`demand`); who holds what is in `stores`, how a job's state
//! changes in `state`. Nothing is worked out anew that has not changed: an event costs about the
//! logarithm of the graph's size.

mod check;
mod coming;
mod copies;
mod cores;
mod demand;
mod draw;
mod estimates;
mod events;
mod explain;
mod forecast;
mod holders;
mod hosts;
mod keep;
mod lacks;
mod line;
mod offer;
mod paces;
mod parameters;
mod place;
mod plan;
mod policy;
mod replay;
mod stage;
mod state;
mod steal;
mod stores;
mod tries;
mod unit;
mod verdict;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub use explain::{Binding, OfferParts, Offers, explain, offers};
pub use policy::{Choice, Confine, Cores, Order as JobOrder, Policy, power};
pub use replay::{Differs, Identical, UnknownPolicy};
pub use state::{JobState, Seat};
pub use verdict::{Ending, Verdict};

use crate::base::{Span, Table, Time};
use crate::cost::{Cost, Factors, Live, OutputClass, Speeds, classify, parallel_parts};
use crate::fleet::{Host, HostId};
use crate::graph::{Clusters, JobId, PathId, Ranks, Workload};
use crate::run::{Event, Order, SlotId};
use coming::Coming;
use cores::Reservation;
use estimates::Pull;
use explain::Watched;
use forecast::Forecasts;
use hosts::Hosts;
use lacks::Lacks;
use line::Line;
use offer::Asked;
use paces::Paces;
use place::Placed;
use state::Jobs;
use stores::Stores;
use tries::Tries;

/// The state of a run, and what to do about each fact.
#[derive(Clone, Debug)]
pub struct Scheduler {
    work: Workload,
    policy: Policy,
    /// What this run's builds say about the estimates.
    live: Live,
    /// What they say about the hosts.
    speeds: Speeds,
    /// The estimates for one core of a host of speed 1, as corrected when that last made a difference.
    estimates: Table<JobId, Cost>,
    /// What is left to do: the sum of the estimates of all jobs that are not over.
    left: Span,
    /// The corrections in `estimates`.
    factors: Factors,
    /// Jobs that ended since what they say of the estimates was last looked at.
    ends_since_look: usize,
    /// Builds that told of a host's speed: up to when all were last compared, and since then.
    measured: usize,
    measured_since: usize,
    /// What lies between the start of each job and the end of the run.
    ranks: Option<Ranks>,
    /// Per job: the part of it that more cores make faster.
    parallel: Table<JobId, f64>,
    /// Per job: whether it says that it gains from all the cores of a host.
    big: Table<JobId, bool>,
    /// Per job: whether it belongs to its consumer whatever it takes, as what is only fetched does.
    stays: Table<JobId, bool>,
    paces: Paces,
    hosts: Hosts,
    stores: Stores,
    jobs: Jobs,
    forecasts: Forecasts,
    lacks: Lacks,
    /// Those that wait for a host.
    line: Line,
    coming: Coming,
    /// Those that were last asked for their offers.
    asked: Asked,
    /// Per job: the hosts that may build it at all.
    eligible: Table<JobId, Arc<[HostId]>>,
    /// The one host to use for what it can build, as long as it is there.
    only: Option<HostId>,
    tries: Tries,
    /// Per job: the host to which inputs were sent ahead for it.
    sent_ahead: Table<JobId, Option<HostId>>,
    /// Per job: what came of placing it last.
    placed: Table<JobId, Placed>,
    /// Per host: cores given out before it said that it has fewer, as far as they are still in use.
    outgrown: Table<HostId, u32>,
    /// Per ready job: where its output will be needed, and what it costs to move it there.
    pull: Table<JobId, Option<Pull>>,
    /// Per job the host that had most of what it needs, and how many jobs it waited for then.
    homes: Table<JobId, Option<(Option<HostId>, u32)>>,
    /// Per job the host that a plan has for it, if the policy is to follow one.
    plan: Table<JobId, Option<HostId>>,
    /// Tiny jobs that share a slot, and slots of those that are done for those that follow.
    clusters: Clusters,
    handed_over: Vec<(JobId, Seat)>,
    /// Hosts kept free within a round of placement.
    reserved: Table<HostId, Option<Reservation>>,
    /// Since when a host has had nothing to do although jobs were ready.
    idle_since: Table<HostId, Option<Time>>,
    /// When the first idle host loses its patience.
    patience_ends: Option<Time>,
    /// Free cores for each ready job.
    share: u32,
    /// Slots given to jobs since all that waits was last gone through.
    seats_since_round: u32,
    /// Per host how many slots the last round left free.
    left_free: Table<HostId, usize>,
    /// When jobs that found no slot are looked at again, if the policy polls.
    next_poll: Time,
    /// When running builds are next looked at for whether a faster host should build them, too.
    next_look: Time,
    phase: Phase,
    /// A host came, went or disappointed: ask again what is needed.
    demand_changed: bool,
    /// Wanted paths may have become available, nobody knows which.
    home_changed: bool,
    /// Wanted paths that were made just now.
    wants_made: Vec<PathId>,
    /// Jobs that wait for their inputs where those came, went or were sent.
    stirred: BTreeSet<(HostId, SlotId, JobId)>,
    /// Vain tries to bring each wanted path home.
    home_failures: Vec<u32>,
    /// When to try those again that did not come.
    home_retry: BTreeMap<PathId, Time>,
    /// Paths that a transfer failed to bring somewhere: not sent ahead any more.
    unlucky: BTreeSet<PathId>,
    endings: Vec<(JobId, Ending)>,
    /// Jobs that failed too often for hosts' reasons.
    exhausted: Vec<JobId>,
    /// For whoever asks why a job goes where it goes.
    watched: Watched,
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
    /// A scheduler for `work` on `hosts` (this machine first), with `estimates` for one core of a host of
    /// speed 1 and for each job the hosts that may build it.
    pub fn new(
        work: Workload,
        hosts: Table<HostId, Host>,
        estimates: Table<JobId, Cost>,
        eligible: Table<JobId, Vec<HostId>>,
        policy: Policy,
    ) -> Self {
        let (jobs, count) = (work.jobs.len(), hosts.len());
        Self {
            stores: Stores::new(&work, &hosts),
            jobs: Jobs::new(&work, count, Table::filled(jobs, Span::ZERO)),
            forecasts: Forecasts::new(count),
            lacks: Lacks::new(&work, count),
            line: Line::default(),
            coming: Coming::new(jobs, count),
            asked: Asked::default(),
            placed: Table::filled(jobs, Placed::default()),
            pull: Table::filled(jobs, None),
            homes: Table::filled(jobs, None),
            plan: Table::new(),
            clusters: Clusters::default(),
            handed_over: Vec::new(),
            outgrown: Table::filled(count, 0),
            reserved: Table::filled(count, None),
            idle_since: Table::filled(count, None),
            patience_ends: None,
            share: 1,
            seats_since_round: 0,
            left_free: Table::filled(count, 0),
            next_poll: Time::ZERO,
            next_look: Time::ZERO,
            sent_ahead: Table::filled(jobs, None),
            tries: Tries::new(jobs),
            home_failures: vec![0; work.paths.len()],
            home_retry: BTreeMap::new(),
            unlucky: BTreeSet::new(),
            only: policy.confine.host(&hosts),
            paces: Paces::new(&work, &hosts),
            eligible: shared(eligible),
            hosts: Hosts::new(hosts, &policy),
            live: Live::new(classify(&work), estimates.clone()),
            factors: [1.0; OutputClass::ALL.len()],
            speeds: Speeds::new(count),
            parallel: parallel_parts(&work),
            big: work.jobs.rows().iter().map(|j| j.features.iter().any(|f| f == "big-parallel")).collect(),
            stays: work.jobs.rows().iter().map(|j| j.fixed_output || j.prefer_local).collect(),
            ranks: None,
            ends_since_look: 0,
            measured: 0,
            measured_since: 0,
            estimates,
            left: Span::ZERO,
            phase: Phase::Gathering,
            demand_changed: true,
            home_changed: true,
            wants_made: Vec::new(),
            stirred: BTreeSet::new(),
            endings: Vec::new(),
            exhausted: Vec::new(),
            watched: Watched::default(),
            policy,
            work,
        }
        .arranged()
    }

    /// Works out what follows from the estimates as long as nothing has happened.
    fn arranged(mut self) -> Self {
        self.rank();
        self.coming.find_first_users(&self.jobs);
        self.clusters = self.find_clusters();
        self
    }

    /// Says which part of each job (0 to 1) more cores make faster, in place of what is usual for its kind.
    /// To be said before the first fact.
    #[must_use]
    pub fn with_parallel(mut self, parallel: Table<JobId, f64>) -> Self {
        self.parallel = parallel;
        self
    }

    /// Leaves out of its orders which host would have been the next best: for whoever only asks what a run comes to.
    /// What is decided is the same.
    #[must_use]
    pub fn without_reasons(mut self) -> Self {
        self.watched.by_nobody = true;
        self
    }

    /// Takes in one fact that happened at `at`, and appends to `out` what is to be done about it.
    /// Stale and senseless facts change nothing.
    pub fn step(&mut self, at: Time, event: &Event, out: &mut Vec<Order>) {
        self.take(at, event, out);
        // That a build has begun gives nobody a slot.
        if self.phase == Phase::Gathering || matches!(event, Event::Started { .. }) {
            return;
        }
        self.probe(at, out);
        loop {
            if std::mem::take(&mut self.demand_changed) {
                self.review_demand();
                self.line.void();
                self.home_changed = true;
                self.stir_all();
            }
            self.review_older(out);
            // Before anything is placed, or a job that failed too often would just be bound again.
            if self.phase == Phase::Building {
                self.give_up_hopeless(out);
            }
            if self.phase == Phase::Building {
                self.stage_seated(at, out);
                self.place(at, !matches!(event, Event::Staged { .. }), out);
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
        let polls = self.policy.poll > Span::ZERO && self.jobs.ready_count() > 0;
        let home = self.home_retry.values().copied().min();
        let waits = [self.hosts.next_retry(), home, polls.then_some(self.next_poll), self.patience_ends];
        waits.into_iter().flatten().min()
    }

    /// Where a job stands.
    pub fn state(&self, job: JobId) -> JobState {
        self.jobs.state(job)
    }

    /// Wanted paths that are not at home yet.
    fn unmet_wants(&self) -> impl Iterator<Item = PathId> + '_ {
        self.stores.unmet()
    }
}

/// The hosts of each job, ascending, with each distinct list kept once.
fn shared(eligible: Table<JobId, Vec<HostId>>) -> Table<JobId, Arc<[HostId]>> {
    let mut lists: BTreeMap<Vec<HostId>, Arc<[HostId]>> = BTreeMap::new();
    let mut share = |list: &Vec<HostId>| match lists.get(list) {
        Some(known) => Arc::clone(known),
        None => {
            let ascending: BTreeSet<HostId> = list.iter().copied().collect();
            Arc::clone(lists.entry(list.clone()).or_insert(ascending.into_iter().collect()))
        }
    };
    eligible.rows().iter().map(&mut share).collect()
}
