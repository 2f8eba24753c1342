//! A recorded run under other conditions.

use std::collections::BTreeMap;
use std::sync::Arc;

use rayon::prelude::*;
use serde::Serialize;

use super::{Recording, Trouble};
use crate::base::{Random, Span, Table, Time};
use crate::cost::{self, Cost, CostParams, Memory};
use crate::drive::{Watch, drive};
use crate::fleet::{Host, HostId, NoHost};
use crate::graph::{JobId, makespan_bound};
use crate::run::{Event, LossMeter, Losses, Order, SlotId};
use crate::sched::{Policy, Scheduler};
use crate::sim::{Choice, Fault, Idle, Measure, Measured, Rehearsal, SimWorld, Slowdown, noisy};

/// The pace of what does as good as nothing.
const STILL: f64 = 1e-6;

/// What the scheduler is to believe of jobs.
#[derive(Clone, Debug)]
pub enum Estimates {
    /// What they will really take.
    Perfect,
    /// What the run began with.
    Recorded,
    /// What is usual for them, as far as this program knows without a history.
    Prior,
    /// These, for one core of a host of speed 1: what history said at that time, as a rule.
    Given(Arc<Table<JobId, Cost>>),
}

/// What a recorded run is to be gone through under.
#[derive(Clone, Debug)]
pub struct Conditions {
    /// How to decide.
    pub policy: Policy,
    /// The hosts as the scheduler is told of them; the first is this machine. A host that the recording
    /// knows by the same name holds what it held, and comes and goes as it did.
    pub told_hosts: Table<HostId, Host>,
    /// The same hosts as they are: speeds, cores and links.
    pub hosts: Table<HostId, Host>,
    /// What is believed of jobs.
    pub estimates: Estimates,
    /// Jobs take other than recorded by a lognormal factor of this σ; 0 for none.
    pub noise: f64,
    /// Which noise.
    pub seed: u64,
}

/// What a run comes to under some conditions; times in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Outcome {
    /// From the beginning to the end.
    pub makespan: Span,
    /// What no schedule beats, with these durations on these hosts.
    pub bound: Span,
    /// Makespan over bound; nothing where nothing was built.
    pub ratio: Option<f64>,
    /// Bytes that were moved between hosts or fetched.
    pub bytes: u64,
    /// Time that slots built.
    pub busy: Span,
    /// Time that slots did not, by cause.
    pub idle: Idle,
    /// Where the makespan went beyond the bound.
    pub losses: Option<Losses>,
    /// Orders to build.
    pub builds: u64,
    /// Wanted paths that did not come home.
    pub missing: usize,
}

impl Conditions {
    /// As the run was.
    pub fn as_recorded(recording: &Recording) -> Conditions {
        Conditions {
            policy: recording.policy.clone(),
            told_hosts: recording.told_hosts.clone(),
            hosts: recording.hosts.clone(),
            estimates: Estimates::Recorded,
            noise: 0.0,
            seed: 0,
        }
    }
}

impl Outcome {
    /// The mean of several; of the numbers of missing paths, the largest.
    pub fn mean(all: &[Outcome]) -> Outcome {
        let count = all.len().max(1) as u64;
        let span = |of: fn(&Outcome) -> Span| Span(all.iter().map(|one| of(one).0).sum::<u64>() / count);
        let number = |of: fn(&Outcome) -> u64| all.iter().map(of).sum::<u64>() / count;
        let ratios: Vec<f64> = all.iter().filter_map(|one| one.ratio).collect();
        Outcome {
            makespan: span(|one| one.makespan),
            bound: span(|one| one.bound),
            ratio: (!ratios.is_empty()).then(|| ratios.iter().sum::<f64>() / ratios.len() as f64),
            bytes: number(|one| one.bytes),
            busy: span(|one| one.busy),
            idle: Idle {
                no_work: span(|one| one.idle.no_work),
                waiting: span(|one| one.idle.waiting),
                transfer: span(|one| one.idle.transfer),
            },
            losses: Losses::mean(all.iter().filter_map(|one| one.losses.as_ref())),
            builds: number(|one| one.builds),
            missing: all.iter().map(|one| one.missing).max().unwrap_or(0),
        }
    }
}

impl Recording {
    /// Goes through the run under other conditions.
    pub fn simulate(&self, conditions: &Conditions) -> Outcome {
        let hosts = &conditions.hosts;
        let (estimates, eligible) = (self.believed(conditions), self.eligible_on(hosts));
        let mut seen = Seen {
            measure: Measure::new(&self.real, hosts, conditions.policy.jobs_per_core),
            meter: LossMeter::new(&self.real, hosts, &estimates, &eligible, conditions.policy.jobs_per_core),
            built: Table::filled(self.real.jobs.len(), false),
        };
        let told = if conditions.told_hosts == *hosts {
            eligible.clone()
        } else {
            self.eligible_on(&conditions.told_hosts)
        };
        let (scheduler, truth) = self.gone_through(conditions, estimates, told, &mut seen);
        let Measured { makespan, busy, idle, bytes, builds, .. } = seen.measure.result();
        let cost =
            |(job, truth): (JobId, &Option<Span>)| truth.filter(|_| seen.built[job]).unwrap_or_default();
        let cost: Table<JobId, Span> = truth.iter().map(cost).collect();
        let limits = cost::limits(&self.real, hosts, &eligible, &self.parallel, |id| hosts[id].lanes());
        let bound = makespan_bound(&self.real, &cost, &limits);
        let ratio = (bound > Span::ZERO).then(|| makespan.as_secs_f64() / bound.as_secs_f64());
        Outcome {
            makespan,
            bound,
            ratio,
            bytes,
            busy,
            idle,
            losses: seen.meter.finish(Time::ZERO + makespan, bound),
            builds,
            missing: scheduler.verdict().missing.len(),
        }
    }

    /// Goes through the run under each of these conditions, several at a time.
    pub fn simulate_all(&self, conditions: &[Conditions]) -> Vec<Outcome> {
        conditions.par_iter().map(|conditions| self.simulate(conditions)).collect()
    }

    /// How a build would go about it under these conditions with the policy `base`, but for what hosts have already.
    pub fn rehearsed(&self, conditions: &Conditions, base: &Policy) -> Choice {
        let (hosts, estimates) = (&conditions.told_hosts, self.believed(conditions));
        let eligible = self.eligible_on(hosts);
        let rehearsal = Rehearsal::new(&self.told, hosts, &estimates, &eligible, None);
        rehearsal.with_parallel(self.told_parallel.clone()).choose(base)
    }

    /// Goes through the run under other conditions while `watch` looks on; the scheduler at the end, and
    /// what jobs took.
    pub fn watched(
        &self,
        conditions: &Conditions,
        watch: &mut dyn Watch,
    ) -> (Scheduler, Table<JobId, Option<Span>>) {
        let (estimates, eligible) = (self.believed(conditions), self.eligible_on(&conditions.told_hosts));
        self.gone_through(conditions, estimates, eligible, watch)
    }

    fn gone_through(
        &self,
        conditions: &Conditions,
        estimates: Table<JobId, Cost>,
        eligible: Table<JobId, Vec<HostId>>,
        watch: &mut dyn Watch,
    ) -> (Scheduler, Table<JobId, Option<Span>>) {
        let truth = self.truth_with(conditions.noise, conditions.seed);
        let mut scheduler = Scheduler::new(
            self.told.clone(),
            conditions.told_hosts.clone(),
            estimates,
            eligible,
            conditions.policy.clone(),
        )
        .with_parallel(self.told_parallel.clone())
        .without_reasons();
        let mut world = self.world(&conditions.hosts, &truth);
        drive(&mut scheduler, &mut world, watch);
        (scheduler, truth)
    }

    /// What the scheduler is told that jobs take.
    fn believed(&self, conditions: &Conditions) -> Table<JobId, Cost> {
        match &conditions.estimates {
            Estimates::Perfect => self.perfect(&self.truth_with(conditions.noise, conditions.seed)),
            Estimates::Recorded => self.estimates.clone(),
            Estimates::Prior => Memory::new(CostParams::default()).estimates(&self.told),
            Estimates::Given(given) => Table::clone(given),
        }
    }

    /// What jobs take if each is off by a factor drawn for it.
    fn truth_with(&self, noise: f64, seed: u64) -> Table<JobId, Option<Span>> {
        if noise == 0.0 {
            return self.truth.clone();
        }
        let other = |(job, truth): (JobId, &Option<Span>)| {
            truth.map(|span| span.scale(Random::keyed(seed, u64::from(job.0)).lognormal(noise)))
        };
        self.truth.iter().map(other).collect()
    }

    /// Estimates that are right; as recorded for what fails.
    fn perfect(&self, truth: &Table<JobId, Option<Span>>) -> Table<JobId, Cost> {
        let known = truth.iter().map(|(job, span)| span.unwrap_or(self.estimates[job].median)).collect();
        noisy(&known, 0.0, 0)
    }

    /// The host that goes by this name in the recording.
    fn known(&self, name: &str) -> Option<HostId> {
        self.told_hosts.iter().find(|(_, host)| host.name == name).map(|(id, _)| id)
    }

    /// Per job the hosts of another fleet that may build it. Where the run kept a job from hosts that
    /// could have built it, those that it left are all that there are.
    pub fn eligible_on(&self, hosts: &Table<HostId, Host>) -> Table<JobId, Vec<HostId>> {
        let was: Table<HostId, Option<HostId>> =
            hosts.rows().iter().map(|host| self.known(&host.name)).collect();
        // Few lists are distinct.
        type Key<'a> = (&'a str, &'a [String], &'a [HostId]);
        let mut lists: BTreeMap<Key<'_>, Vec<HostId>> = BTreeMap::new();
        let mut eligible = Table::new();
        for (id, job) in self.told.jobs.iter() {
            let recorded = self.eligible[id].as_slice();
            let able = || {
                let could = |host: &Host| host.lacks(&job.system, &job.features).is_none();
                let mut others = self.told_hosts.iter().filter(|(host, _)| !recorded.contains(host));
                let pinned = others.any(|(_, host)| could(host));
                let open = |host: &HostId| !pinned || was[*host].is_some_and(|was| recorded.contains(&was));
                hosts.ids().filter(|&host| could(&hosts[host])).filter(open).collect()
            };
            let key = (job.system.as_str(), job.features.as_slice(), recorded);
            eligible.push(lists.entry(key).or_insert_with(able).clone());
        }
        eligible
    }

    /// The derivations that might be built in the run and that nobody of another fleet can build; in one that
    /// was only imagined, all may be.
    pub fn refused_by(&self, hosts: &Table<HostId, Host>) -> Vec<NoHost> {
        let eligible = self.eligible_on(hosts);
        let imagined = self.facts.is_empty();
        let might = |job: JobId| imagined || !self.eligible[job].is_empty();
        let nobody = eligible.iter().filter(|(job, able)| able.is_empty() && might(*job));
        let refusal = |(job, _): (JobId, &Vec<HostId>)| {
            let spec = &self.told.jobs[job];
            let lack = |host: &Host| host.lacks(&spec.system, &spec.features);
            let lacks = hosts.rows().iter().filter_map(|host| Some((host.name.clone(), lack(host)?)));
            NoHost { name: spec.name.clone(), lacks: lacks.collect() }
        };
        nobody.map(refusal).collect()
    }

    /// The world of the run, with other hosts.
    fn world<'a>(
        &'a self,
        hosts: &'a Table<HostId, Host>,
        truth: &'a Table<JobId, Option<Span>>,
    ) -> SimWorld<'a> {
        let world = match self.facts.is_empty() {
            true => SimWorld::new(&self.real, hosts, truth, Vec::new()),
            false => self.answered(hosts, truth),
        };
        world.with_parallel(self.parallel.clone()).with_handling(self.handling)
    }

    /// A world whose hosts answer as they did, and those that are new when all have.
    fn answered<'a>(
        &'a self,
        hosts: &'a Table<HostId, Host>,
        truth: &'a Table<JobId, Option<Span>>,
    ) -> SimWorld<'a> {
        let now: Table<HostId, Option<HostId>> = self
            .told_hosts
            .rows()
            .iter()
            .map(|host| hosts.iter().find(|(_, other)| other.name == host.name).map(|(id, _)| id))
            .collect();
        let mut facts = Vec::new();
        for (at, event) in &self.facts {
            if *event == Event::FleetReady {
                let new = hosts.iter().filter(|(_, host)| self.known(&host.name).is_none());
                facts.extend(new.flat_map(|(host, spec)| slots_up(*at, host, 0..spec.slots)));
            }
            told(*at, event, &now, hosts, &self.told_hosts, &mut facts);
        }
        let mut world = SimWorld::following(&self.real, hosts, truth, facts);
        for trouble in &self.troubles {
            match trouble {
                Trouble::Lost { host, silent, at, back } => {
                    if let Some(host) = now[*host] {
                        let (from, until) = (*silent, Some(*at));
                        world.slow_down(Slowdown { host, from, until, pace: STILL, link: STILL });
                        world.lose(Fault { host, at: *at, back: *back });
                    }
                }
                Trouble::Found { host, at } => now[*host].into_iter().for_each(|host| world.find(host, *at)),
                Trouble::Refused { host, at, cause } => {
                    if let Some(host) = now[*host] {
                        world.at(*at, Event::HostRefused { host, cause: cause.clone() });
                    }
                }
                Trouble::Full { host, at } => now[*host].into_iter().for_each(|host| world.fill(host, *at)),
            }
        }
        world
    }
}

/// A fact of the run as another fleet would tell it, if it would. `now` says which host each has become.
fn told(
    at: Time,
    event: &Event,
    now: &Table<HostId, Option<HostId>>,
    hosts: &Table<HostId, Host>,
    before: &Table<HostId, Host>,
    out: &mut Vec<(Time, Event)>,
) {
    let mut push = |event| out.push((at, event));
    match event {
        Event::SlotUp { host, slot } => {
            let Some(id) = now[*host] else { return };
            if slot.0 < hosts[id].slots {
                push(Event::SlotUp { host: id, slot: *slot });
            }
            // Slots that it did not have come with the first one.
            if slot.0 == 0 {
                out.extend(slots_up(at, id, before[*host].slots..hosts[id].slots));
            }
        }
        Event::HostHolds { host, paths } => {
            now[*host].into_iter().for_each(|host| push(Event::HostHolds { host, paths: paths.clone() }));
        }
        Event::HostCores { host, .. } => {
            let told = now[*host].filter(|&host| hosts[host].cores > 0);
            told.into_iter().for_each(|host| push(Event::HostCores { host, cores: hosts[host].cores }));
        }
        Event::HostLost { host, cause } => {
            now[*host].into_iter().for_each(|host| push(Event::HostLost { host, cause: cause.clone() }));
        }
        Event::HostRefused { host, cause } => {
            now[*host].into_iter().for_each(|host| push(Event::HostRefused { host, cause: cause.clone() }));
        }
        other => push(other.clone()),
    }
}

fn slots_up(at: Time, host: HostId, slots: std::ops::Range<u32>) -> impl Iterator<Item = (Time, Event)> {
    slots.map(move |slot| (at, Event::SlotUp { host, slot: SlotId(slot) }))
}

/// Adds up, and notes which jobs were built.
struct Seen {
    measure: Measure,
    meter: LossMeter,
    built: Table<JobId, bool>,
}

impl Watch for Seen {
    fn event(&mut self, at: Time, event: &Event) {
        self.measure.event(at, event);
        self.meter.event(at, event);
        if let Event::Finished { job, outcome: crate::run::Outcome::Built { .. }, .. } = event {
            self.built[*job] = true;
        }
    }

    fn order(&mut self, at: Time, order: &Order) {
        self.measure.order(at, order);
        self.meter.order(at, order);
    }
}
