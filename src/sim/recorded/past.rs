//! What a log says of a run apart from the decisions: what jobs take, what they made, what happened to
//! hosts.
//!
//! A build that ran on several cores took `work × amdahl / speed`, and longer while more cores were given
//! out on its host than it has: the simulated processors share as fair ones do, so here that is undone in
//! the same way. What is simulated under the run's own orders then takes what it took.

use std::collections::BTreeMap;

use super::Trouble;
use crate::base::{Span, Table, Time};
use crate::cost::{Live, amdahl, classify};
use crate::fleet::{Host, HostId};
use crate::graph::{JobId, Workload};
use crate::run::{Attempt, Entry, Event, Header, Made, Order, Outcome, Source, Step, TransferId};

/// What is kept of a run.
pub(super) struct Past {
    pub truth: Table<JobId, Option<Span>>,
    pub real: Workload,
    pub built: usize,
    pub handling: Span,
}

/// An attempt under way.
struct Running {
    since: Time,
    cores: u32,
    /// Seconds that it would have taken so far with its cores to itself.
    alone: f64,
}

/// The builds on a host, and how its processors are shared.
#[derive(Default)]
struct Busy {
    running: BTreeMap<(JobId, Attempt), Running>,
    last: Time,
}

impl Busy {
    /// Brings what was done up to a moment, on a host with so many cores; 0 where unknown.
    fn pass(&mut self, at: Time, cores: u32) {
        let given: u64 = self.running.values().map(|run| u64::from(run.cores)).sum();
        let rate = if cores == 0 { 1.0 } else { (f64::from(cores) / given.max(1) as f64).min(1.0) };
        let done = at.since(self.last).as_secs_f64() * rate;
        self.running.values_mut().for_each(|run| run.alone += done);
        self.last = self.last.max(at);
    }
}

impl Past {
    /// `hosts` with their processors; `parallel` has the part of each job that cores make shorter.
    pub fn of(
        header: &Header,
        hosts: &Table<HostId, Host>,
        parallel: &Table<JobId, f64>,
        entries: &[Entry],
    ) -> Past {
        let work = &header.workload;
        let mut past = Past {
            truth: header.estimates.rows().iter().map(|cost| Some(cost.median)).collect(),
            real: work.clone(),
            built: 0,
            handling: Span::ZERO,
        };
        let mut counted = Table::filled(work.jobs.len(), false);
        let mut measured = Table::filled(work.jobs.len(), false);
        let mut on: BTreeMap<(JobId, Attempt), HostId> = BTreeMap::new();
        let mut busy: Table<HostId, Busy> = hosts.ids().map(|_| Busy::default()).collect();
        let mut handling = Vec::new();
        for Entry { at, what } in entries {
            match what {
                Step::Order(Order::Build { job, attempt, host, cores, .. }) => {
                    let all = hosts[*host].cores;
                    busy[*host].pass(*at, all);
                    let cores = cores_used(parallel[*job], *cores, all);
                    on.insert((*job, *attempt), *host);
                    let running = Running { since: *at, cores, alone: 0.0 };
                    busy[*host].running.insert((*job, *attempt), running);
                }
                Step::Event(Event::HostLost { host, .. } | Event::HostRefused { host, .. }) => {
                    busy[*host].pass(*at, hosts[*host].cores);
                    busy[*host].running.clear();
                    on.retain(|_, at| at != host);
                }
                Step::Event(Event::Finished { job, attempt, outcome }) => {
                    let Some(host) = on.remove(&(*job, *attempt)) else { continue };
                    let spec = &hosts[host];
                    busy[host].pass(*at, spec.cores);
                    let Some(run) = busy[host].running.remove(&(*job, *attempt)) else { continue };
                    if let Outcome::Failed { .. } = outcome {
                        past.truth[*job] = None;
                    }
                    let Outcome::Built { made, times } = outcome else { continue };
                    past.made(made);
                    past.built += usize::from(!std::mem::replace(&mut counted[*job], true));
                    // Nothing was built if it took no time: it was there already.
                    if times.wall > Span::ZERO {
                        let lasted = at.since(run.since);
                        handling.push(lasted.saturating_sub(times.wall));
                        let share = run.alone / lasted.as_secs_f64().max(1e-6);
                        let speed = spec.speed_for(&work.jobs[*job].system);
                        let alone = speed * share.min(1.0) / amdahl(parallel[*job], run.cores);
                        past.truth[*job] = Some(times.wall.scale(alone));
                        measured[*job] = true;
                    }
                }
                _ => {}
            }
        }
        past.complete(header, &measured);
        handling.sort_unstable();
        past.handling = handling.get(handling.len() / 2).copied().unwrap_or_default();
        past
    }

    /// Has jobs that were not built take what is estimated, corrected by what the others of their kind took.
    fn complete(&mut self, header: &Header, measured: &Table<JobId, bool>) {
        let mut live = Live::new(classify(&header.workload), header.estimates.clone());
        for (job, truth) in self.truth.iter().filter(|(job, _)| measured[*job]) {
            truth.iter().for_each(|took| live.observe(job, *took));
        }
        for (job, truth) in self.truth.iter_mut().filter(|(job, _)| !measured[*job]) {
            *truth = truth.map(|_| live.cost(job).median);
        }
    }

    fn made(&mut self, made: &[Made]) {
        for Made { path, size, refs } in made {
            let spec = &mut self.real.paths[*path];
            (spec.size, spec.refs) = (*size, refs.clone());
        }
    }
}

/// The cores that a build keeps busy, as the simulated world has it: one if it cannot be spread or the
/// host's number is unknown; 0 stands for all.
fn cores_used(parallel: f64, given: u32, all: u32) -> u32 {
    match (parallel > 0.0 && all > 0, given) {
        (false, _) => 1,
        (true, 0) => all,
        (true, given) => given,
    }
}

/// What hosts said in the beginning or later of themselves, with its time, and what happened to them.
pub(super) fn facts_and_troubles(entries: &[Entry], hosts: usize) -> (Vec<(Time, Event)>, Vec<Trouble>) {
    let mut seen = Hosts {
        facts: Vec::new(),
        troubles: Vec::new(),
        ready: false,
        hosts: Table::filled(hosts, Presence::default()),
        builds: BTreeMap::new(),
        transfers: BTreeMap::new(),
    };
    for Entry { at, what } in entries {
        match what {
            Step::Event(event) => seen.event(*at, event),
            Step::Order(order) => seen.order(order),
        }
    }
    // A run that ended before its hosts had answered says nothing of when they would have.
    if !seen.ready {
        seen.facts.clear();
    }
    (seen.facts, seen.troubles)
}

/// Whether a host is there.
#[derive(Clone, Copy, Default)]
struct Presence {
    /// It was lost at some time: later slots are answers to being tried again.
    ever_lost: bool,
    /// It is lost now.
    away: bool,
    /// Where its loss is among the troubles, if it came after all had answered.
    row: Option<usize>,
    /// When it last gave a sign of life.
    alive: Time,
    /// When it was last found to be away.
    seen_away: Time,
}

/// What is heard of hosts.
struct Hosts {
    facts: Vec<(Time, Event)>,
    troubles: Vec<Trouble>,
    ready: bool,
    hosts: Table<HostId, Presence>,
    /// Where attempts and transfers are that are under way.
    builds: BTreeMap<(JobId, Attempt), HostId>,
    transfers: BTreeMap<TransferId, [Option<HostId>; 2]>,
}

impl Hosts {
    fn order(&mut self, order: &Order) {
        match order {
            Order::Build { job, attempt, host, .. } => {
                self.builds.insert((*job, *attempt), *host);
            }
            Order::Stage { transfer, from, to, .. } => {
                let from = match from {
                    Source::Host(host) => Some(*host),
                    Source::Substituter => None,
                };
                self.transfers.insert(*transfer, [from, Some(*to)]);
            }
            Order::Cancel { .. } | Order::Probe { .. } => {}
        }
    }

    /// Notes which hosts a fact shows to be alive.
    fn signs_of_life(&mut self, at: Time, event: &Event) {
        let ended = |outcome: &Outcome| matches!(outcome, Outcome::Built { .. } | Outcome::Failed { .. });
        match event {
            Event::SlotUp { host, .. } => self.hosts[*host].alive = at,
            Event::Started { job, attempt } | Event::Progress { job, attempt, .. } => {
                let host = self.builds.get(&(*job, *attempt));
                host.into_iter().for_each(|host| self.hosts[*host].alive = at);
            }
            Event::Finished { job, attempt, outcome } => {
                let host = self.builds.remove(&(*job, *attempt)).filter(|_| ended(outcome));
                host.into_iter().for_each(|host| self.hosts[host].alive = at);
            }
            Event::Staged { transfer, .. } => {
                let ends = self.transfers.remove(transfer).into_iter().flatten().flatten();
                ends.for_each(|host| self.hosts[host].alive = at);
            }
            _ => {}
        }
    }

    fn event(&mut self, at: Time, event: &Event) {
        self.signs_of_life(at, event);
        match event {
            Event::SlotUp { host, .. } if self.hosts[*host].away => {
                self.found(*host);
                if !self.ready {
                    self.facts.push((at, event.clone()));
                }
            }
            Event::SlotUp { host, .. } if self.ready && self.hosts[*host].ever_lost => {}
            Event::HostLost { host, .. } => {
                let was_away = self.hosts[*host].away;
                self.hosts[*host] =
                    Presence { ever_lost: true, away: true, seen_away: at, ..self.hosts[*host] };
                if !self.ready {
                    self.facts.push((at, event.clone()));
                } else if !was_away {
                    self.hosts[*host].row = Some(self.troubles.len());
                    let silent = self.hosts[*host].alive;
                    self.troubles.push(Trouble::Lost { host: *host, silent, at, back: None });
                }
            }
            Event::HostRefused { host, cause } if self.ready => {
                self.troubles.push(Trouble::Refused { host: *host, at, cause: cause.clone() });
            }
            Event::HostDrained { host, .. } => self.troubles.push(Trouble::Full { host: *host, at }),
            Event::FleetReady => {
                self.ready = true;
                self.facts.push((at, event.clone()));
            }
            // What a host that was found again holds is for the simulated stores to know.
            Event::HostHolds { .. } | Event::HostCores { .. } | Event::HostRefused { .. } if !self.ready => {
                self.facts.push((at, event.clone()));
            }
            Event::SlotUp { .. } => self.facts.push((at, event.clone())),
            _ => {}
        }
    }

    /// A lost host has answered. It may have been there since it was last found to be away; as it was tried
    /// in vain until then, it is taken to have been.
    fn found(&mut self, host: HostId) {
        let Presence { row, seen_away, .. } = self.hosts[host];
        self.hosts[host].away = false;
        let since = seen_away + Span(1);
        match row.and_then(|row| self.troubles.get_mut(row)) {
            Some(Trouble::Lost { back, .. }) => *back = Some(since),
            _ if self.ready => self.troubles.push(Trouble::Found { host, at: since }),
            // It came up again while the others were still answering.
            _ => self.troubles.push(Trouble::Found { host, at: Time::ZERO }),
        }
    }
}
