//! A run gone through beforehand, under one policy or several: what plans are, and how it is made sure
//! that the default does no worse than what anybody would think of first.
//!
//! For any list scheduler there are graphs for which doing everything in one place is several times
//! better. They are rare and cannot be told by looking at them, but a simulated run costs milliseconds: so
//! the plain ways are tried beside the default, and the soonest is taken.
//!
//! First everything takes what it is estimated to take. That compares plans, not how well they stand being wrong:
//! where one comes near the default, both are gone through again with what jobs may take instead ([`draws`]), and
//! the sooner one on average is taken. Where estimates are certain, so is the plan that is made of them.

mod draws;

use rayon::prelude::*;

use super::world::SimWorld;
use crate::base::{Span, Table, Time};
use crate::cost::{Cost, parallel_parts};
use crate::drive::{Watch, drive};
use crate::fleet::{Host, HostId};
use crate::graph::{JobId, Workload};
use crate::run::{Event, Order};
use crate::sched::{Policy, Scheduler};

/// The name of the policy that is taken unless another one is clearly better.
pub const DEFAULT: &str = "full";

/// What is tried beside it before a run.
pub const RIVALS: [&str; 2] = ["all-local", "all-fastest"];
/// What is tried, too, where estimates are certain: small differences between ranks then mean something, and a
/// plan may be followed. Where they are not, these do worse than the default as often as better.
pub const EXACT: [&str; 2] = ["no-tolerance", "planned"];

/// How much sooner another policy has to be than the default: by less, estimates say nothing, and the
/// default has more ways to go on when they are wrong, or the speeds of hosts. By `scripts/bench-sched` 0.01 and 0.02
/// are a little worse where a host is larger than all others or is not as fast as it is said to be.
const MARGIN: f64 = 0.03;
/// The same where estimates are certain.
const CERTAIN: f64 = 0.001;
/// What takes longer than the default by more than this is not looked at more closely.
const NEAR: f64 = 0.05;
/// And by so much at least: with estimates of tenths of a second, less than this says nothing, and a policy
/// that keeps to one host is a bad one to be wrong with.
const LEAST: Span = Span::from_secs(1);

/// With more jobs than this only the default is looked at: on two processors, the comparison takes about half
/// a second for 12,000 of them on four hosts, and three times as long where something comes near.
pub const MOST_JOBS: usize = 20_000;

/// What is known before a run.
#[derive(Clone, Debug)]
pub struct Rehearsal<'a> {
    work: &'a Workload,
    hosts: &'a Table<HostId, Host>,
    estimates: &'a Table<JobId, Cost>,
    eligible: &'a Table<JobId, Vec<HostId>>,
    /// What the hosts said; `None` if nobody asked them.
    facts: Option<Vec<Event>>,
    /// The hosts with the numbers of processors that they said they have.
    sized: Table<HostId, Host>,
    truth: Table<JobId, Option<Span>>,
    parallel: Table<JobId, f64>,
}

/// What a run would come to under a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trial {
    /// The policy's name.
    pub name: &'static str,
    /// From when the hosts have answered to the end.
    pub makespan: Span,
    /// What would be copied between hosts or fetched, in bytes.
    pub bytes: u64,
    /// Wanted paths that would not come home.
    pub missing: usize,
    /// The makespan on average if jobs take other than estimated, where that was looked at.
    pub mean: Option<Span>,
}

impl Trial {
    /// What counts of how long it takes.
    pub fn takes(&self) -> Span {
        self.mean.unwrap_or(self.makespan)
    }
}

/// The policy for a run, and what it was compared with.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    /// Its name.
    pub name: &'static str,
    /// The policy.
    pub policy: Policy,
    /// The default first; empty where nothing was compared.
    pub trials: Vec<Trial>,
}

impl<'a> Rehearsal<'a> {
    /// For a run of `work` on `hosts`, which said `facts` when they were asked (`FleetReady` last), or all
    /// of which are up and empty.
    pub fn new(
        work: &'a Workload,
        hosts: &'a Table<HostId, Host>,
        estimates: &'a Table<JobId, Cost>,
        eligible: &'a Table<JobId, Vec<HostId>>,
        facts: Option<Vec<Event>>,
    ) -> Self {
        let truth = estimates.rows().iter().map(|cost| Some(cost.median)).collect();
        let mut sized = hosts.clone();
        for fact in facts.iter().flatten() {
            if let Event::HostCores { host, cores } = fact {
                sized[*host].cores = *cores;
            }
        }
        Self { work, hosts, estimates, eligible, facts, sized, truth, parallel: parallel_parts(work) }
    }

    /// Says which part of each job (0 to 1) more cores make faster, in place of what is usual for its kind.
    #[must_use]
    pub fn with_parallel(mut self, parallel: Table<JobId, f64>) -> Self {
        self.parallel = parallel;
        self
    }

    /// The hosts with the numbers of processors that they said they have.
    pub fn hosts(&self) -> &Table<HostId, Host> {
        &self.sized
    }

    /// The scheduler as it is when the run begins.
    pub fn scheduler(&self, policy: Policy) -> Scheduler {
        let (work, hosts) = (self.work.clone(), self.hosts.clone());
        Scheduler::new(work, hosts, self.estimates.clone(), self.eligible.clone(), policy)
            .with_parallel(self.parallel.clone())
    }

    /// Goes through the run with a fresh `scheduler`; returns when it ends.
    pub fn run(&self, scheduler: &mut Scheduler, watch: &mut dyn Watch) -> Time {
        let mut world = match &self.facts {
            Some(facts) => SimWorld::beginning(self.work, &self.sized, &self.truth, facts.clone()),
            None => SimWorld::new(self.work, &self.sized, &self.truth, Vec::new()),
        }
        .with_parallel(self.parallel.clone());
        drive(scheduler, &mut world, watch)
    }

    /// What the run comes to under each of these policies, with the user's decisions from `base`. Names
    /// that no policy has are left out.
    pub fn compare(&self, names: &[&'static str], base: &Policy) -> Vec<Trial> {
        let known: Vec<_> = names.iter().filter_map(|&name| Some((name, named(name, base)?))).collect();
        known.into_par_iter().map(|(name, policy)| self.trial(name, policy)).collect()
    }

    fn trial(&self, name: &'static str, policy: Policy) -> Trial {
        let mut scheduler = self.scheduler(policy).without_reasons();
        let mut copied = Copied(0);
        let end = self.run(&mut scheduler, &mut copied);
        let missing = scheduler.verdict().missing.len();
        Trial { name, makespan: end.since(Time::ZERO), bytes: copied.0, missing, mean: None }
    }

    /// Goes through the run again under the default, the first of `trials`, and what comes near it, with other times.
    fn look_closer(&self, trials: &mut [Trial], base: &Policy) {
        let Some(default) = trials.first() else { return };
        let limit = default.makespan.scale(1.0 + NEAR);
        let mut near: Vec<&mut Trial> = trials.iter_mut().filter(|trial| trial.makespan <= limit).collect();
        if near.len() < 2 {
            return;
        }
        let names: Vec<&'static str> = near.iter().map(|trial| trial.name).collect();
        let runs: Vec<Vec<Trial>> = (0..draws::COUNT)
            .into_par_iter()
            .map(|number| {
                let truth = draws::draw(self.estimates, number);
                Self { truth, ..self.clone() }.compare(&names, base)
            })
            .collect();
        for (row, trial) in near.iter_mut().enumerate() {
            let sum: Span = runs.iter().map(|run| run[row].makespan).sum();
            trial.mean = Some(Span(sum.0 / draws::COUNT));
        }
    }

    /// What is worth trying beside the default: of those of [`RIVALS`] that keep to one host, none whose host builds
    /// nothing, and only the first with each host.
    fn rivals(&self, base: &Policy) -> Vec<&'static str> {
        let mut kept_to = Vec::new();
        let mut is_worth = |name: &&'static str| {
            let Some(host) = named(name, base).and_then(|policy| policy.confine.host(&self.sized)) else {
                return true;
            };
            let is_new = self.sized[host].slots > 0 && !kept_to.contains(&host);
            kept_to.push(host);
            is_new
        };
        RIVALS.into_iter().filter(|name| is_worth(name)).collect()
    }

    /// The default with the user's decisions, which `base` has, unless one of [`RIVALS`] or, where estimates are
    /// certain, of [`EXACT`] gets as much done clearly sooner. Without a second host that builds there is nothing to
    /// choose from, and with more than [`MOST_JOBS`] jobs it is not tried.
    pub fn choose(&self, base: &Policy) -> Choice {
        let builders = self.hosts.rows().iter().filter(|host| host.slots > 0).count();
        let default = Choice { name: DEFAULT, policy: base.clone(), trials: Vec::new() };
        if builders < 2 || self.work.jobs.is_empty() || self.work.jobs.len() > MOST_JOBS {
            return default;
        }
        let is_certain = draws::is_certain(self.estimates);
        let mut names = vec![DEFAULT];
        names.extend(self.rivals(base));
        names.extend(EXACT.iter().filter(|_| is_certain));
        let mut trials = self.compare(&names, base);
        if !is_certain {
            self.look_closer(&mut trials, base);
        }
        let name = soonest(&trials, if is_certain { CERTAIN } else { MARGIN });
        let policy = named(name, base).unwrap_or_else(|| base.clone());
        Choice { name, policy, trials }
    }
}

/// The first, unless another one leaves no more undone and is sooner by the margin, as far as both were looked at.
fn soonest(trials: &[Trial], margin: f64) -> &'static str {
    let Some((default, rivals)) = trials.split_first() else { return DEFAULT };
    let takes = default.takes();
    let limit = takes.scale(1.0 - margin).min(takes.saturating_sub(LEAST));
    let is_alike =
        |rival: &&Trial| rival.missing <= default.missing && rival.mean.is_some() == default.mean.is_some();
    let better = rivals.iter().filter(is_alike).filter(|rival| rival.takes() < limit);
    better.min_by_key(|rival| rival.takes()).unwrap_or(default).name
}

/// The policy of that name with what the user decided: the numbers that it goes by, whether to go on after a
/// failure, and how many cores each job gets.
pub fn named(name: &str, base: &Policy) -> Option<Policy> {
    Some(base.variant(name)?.decided_as(base))
}

/// Bytes that arrived somewhere.
struct Copied(u64);

impl Watch for Copied {
    fn event(&mut self, _at: Time, event: &Event) {
        if let Event::Staged { bytes, .. } = event {
            self.0 += bytes;
        }
    }

    fn order(&mut self, _at: Time, _order: &Order) {}
}

#[cfg(test)]
mod tests;
