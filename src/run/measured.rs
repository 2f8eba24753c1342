//! The lower bound of a run by what its builds really took: a fold of its events and orders.
//!
//! What a build took on the cores that it was given tells, by the model of cores, what it takes on one and
//! what it takes at least. As much as the scheduler gives out at a time counts as what a host can do at
//! a time, so that the run itself is a schedule that keeps to the limits: the bound is never above its
//! makespan, however far the model is off.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::event::{Attempt, Event, Outcome};
use super::log::Header;
use super::order::Order;
use crate::base::{Span, Table};
use crate::cost::{amdahl, limits};
use crate::fleet::{Host, HostId};
use crate::graph::{JobId, makespan_bound};

/// The fold. Feed it every event and order of a run, in order.
#[derive(Clone, Debug)]
pub struct MeasuredBound {
    header: Arc<Header>,
    hosts: Table<HostId, Host>,
    parallel: Table<JobId, f64>,
    /// Attempts under way, with the cores that they have.
    running: BTreeMap<(JobId, Attempt), (HostId, u32)>,
    /// Per host: the most cores given out at a time.
    most: Table<HostId, u32>,
    /// Per job: its least time on one core of a host of speed 1, of all times that it was built.
    cost: Table<JobId, Option<Span>>,
}

impl MeasuredBound {
    /// Nothing built yet.
    pub fn new(header: &Arc<Header>) -> MeasuredBound {
        MeasuredBound {
            hosts: header.hosts.clone(),
            parallel: header.parallel(),
            running: BTreeMap::new(),
            most: Table::filled(header.hosts.len(), 0),
            cost: Table::filled(header.workload.jobs.len(), None),
            header: Arc::clone(header),
        }
    }

    /// Takes in a fact.
    pub fn event(&mut self, event: &Event) {
        match event {
            Event::HostCores { host, cores } if self.hosts.get(*host).is_some() => {
                self.hosts[*host].cores = *cores;
            }
            Event::HostLost { host, .. } | Event::HostRefused { host, .. } => {
                self.running.retain(|_, (on, _)| on != host);
            }
            Event::Finished { job, attempt, outcome } => {
                let Some((host, cores)) = self.running.remove(&(*job, *attempt)) else { return };
                if let Outcome::Built { times, .. } = outcome {
                    let speed = self.hosts[host].speed_for(&self.header.workload.jobs[*job].system);
                    let work = times.wall.scale(speed / amdahl(self.parallel[*job], cores));
                    self.cost[*job] = Some(self.cost[*job].map_or(work, |known| known.min(work)));
                }
            }
            _ => {}
        }
    }

    /// Takes in an order.
    pub fn order(&mut self, order: &Order) {
        let Order::Build { job, attempt, host, cores, .. } = order else { return };
        let (Some(spec), Some(_)) = (self.hosts.get(*host), self.cost.get(*job)) else { return };
        let cores = match (spec.cores, *cores) {
            // As the scheduler: a build on a host of unknown size runs as on one core.
            (0, _) => 1,
            (all, 0) => all,
            (all, given) => given.min(all),
        };
        self.running.insert((*job, *attempt), (*host, cores));
        let given = self.running.values().filter(|(on, _)| on == host).map(|(_, cores)| *cores);
        self.most[*host] = self.most[*host].max(given.fold(0, u32::saturating_add));
    }

    /// What no schedule beats that builds what this run built.
    pub fn bound(&self) -> Span {
        let work = &self.header.workload;
        let lanes = |id: HostId| self.hosts[id].lanes().max(self.most[id]);
        let limits = limits(work, &self.hosts, &self.header.eligible(), &self.parallel, lanes);
        let cost = self.cost.rows().iter().map(|cost| cost.unwrap_or_default()).collect();
        makespan_bound(work, &cost, &limits)
    }
}

#[cfg(test)]
mod tests {
    use super::super::arbitrary;
    use super::super::event::Times;
    use super::super::order::{Expectation, SlotId};
    use super::*;

    /// Builds the chain of three jobs, each in ten seconds with so many cores; the first and the last can
    /// be spread.
    fn chain(cores: u32, known: Option<u32>) -> f64 {
        let mut header = Header { parallel: None, ..arbitrary::header() };
        header.hosts.iter_mut().for_each(|(_, host)| (host.cores, host.speed) = (0, 1.0));
        let mut run = MeasuredBound::new(&Arc::new(header));
        let (host, slot, attempt) = (HostId(1), SlotId(0), Attempt(0));
        if let Some(cores) = known {
            run.event(&Event::HostCores { host, cores });
        }
        for job in (0..3).map(JobId) {
            let expect = Expectation::default();
            run.order(&Order::Build { job, attempt, host, slot, cores, expect });
            let times = Times { wall: Span::from_secs(10), ..Times::default() };
            let outcome = Outcome::Built { made: vec![], times };
            run.event(&Event::Finished { job, attempt, outcome });
        }
        run.bound().as_secs_f64()
    }

    #[test]
    fn what_had_all_cores_is_as_short_as_it_was_and_what_had_one_may_be_shorter() {
        let close = |bound: f64, expected: f64| assert!((bound - expected).abs() < 0.01, "{bound}");
        close(chain(1, None), 30.0);
        close(chain(4, Some(4)), 30.0);
        close(chain(0, Some(4)), 30.0);
        // 0.3 + 0.7 / 4 of ten seconds for two of them.
        close(chain(1, Some(4)), 10.0 + 2.0 * 4.75);
    }
}
