//! What jobs are expected to cost, corrected as the run goes on, and the ranks that follow.

use std::collections::BTreeMap;

use crate::base::{Span, Table};
use crate::fleet::HostId;
use crate::graph::{JobId, Ranks};

use super::Scheduler;
use super::policy::Order;
use super::state::Seat;

/// A correction that makes less of a difference does not change the order of anything.
const TELLING: f64 = 0.1;
/// How much of what moving a job's outputs would take is in its rank: most users run where it was built.
const TRANSFER_PART: f64 = 0.5;
/// A rank is never nothing, so that longer chains come first.
const EACH: Span = Span::from_millis(1);

impl Scheduler {
    /// Works out every rank from the estimates as they stand.
    pub(super) fn rank(&mut self) {
        let cost = match self.policy.order {
            Order::Rank => self.mean_costs(),
            Order::Hops => Table::filled(self.work.jobs.len(), Span::from_secs(1)),
            Order::Arrival => return self.jobs.rank_by_arrival(),
            Order::Name => return self.jobs.set_ranks(self.by_name()),
        };
        match &mut self.ranks {
            Some(ranks) => ranks.set_costs(cost),
            None => {
                let after = match self.policy.order {
                    Order::Rank => self.mean_transfers(),
                    _ => Table::new(),
                };
                self.ranks = Some(Ranks::with_transfers(&self.work, cost, after));
            }
        }
        if let Some(ranks) = &self.ranks {
            self.jobs.set_ranks(ranks.all().clone());
        }
    }

    /// What each job takes on a slot of the hosts that may build it, on average.
    fn mean_costs(&self) -> Table<JobId, Span> {
        let mut known: BTreeMap<(*const HostId, u16), f64> = BTreeMap::new();
        let mut cost = Table::new();
        for (job, estimate) in self.estimates.iter() {
            let (hosts, system) = (&self.eligible[job], self.system[job]);
            let pace = known.entry((hosts.as_ptr(), system)).or_insert_with(|| self.mean_pace(hosts, system));
            cost.push(estimate.median.scale(*pace) + EACH);
        }
        cost
    }

    /// Seconds for each second of work, over the slots of `hosts`.
    fn mean_pace(&self, hosts: &[HostId], system: u16) -> f64 {
        let slots = |h: &HostId| f64::from(self.hosts.spec[*h].slots);
        let total: f64 = hosts.iter().map(slots).sum();
        let speed: f64 = hosts.iter().map(|h| slots(h) / self.pace[*h][usize::from(system)]).sum();
        if speed > 0.0 { total / speed } else { 1.0 }
    }

    /// What moving each job's outputs over a mean link would add to the way through it.
    fn mean_transfers(&self) -> Table<JobId, Span> {
        let links = || self.hosts.spec.rows().iter().map(|host| host.link).filter(|link| link.bandwidth > 0);
        let count = links().count();
        if count == 0 || !self.policy.transfer_term {
            return Table::new();
        }
        let rate = links().map(|link| link.bandwidth as f64).sum::<f64>() / count as f64;
        let size = |path| self.work.paths[path].size as f64;
        let of = |outputs: &[_]| outputs.iter().map(|&path| size(path)).sum::<f64>();
        let jobs = self.work.jobs.rows().iter();
        jobs.map(|job| Span::from_secs_f64(of(&job.outputs) / rate * TRANSFER_PART)).collect()
    }

    fn by_name(&self) -> Table<JobId, Span> {
        let mut order: Vec<JobId> = self.work.jobs.ids().collect();
        order.sort_by_key(|&job| (&self.work.jobs[job].name, job));
        let mut rank = Table::filled(order.len(), Span::ZERO);
        for (place, &job) in order.iter().rev().enumerate() {
            rank[job] = Span(place as u64);
        }
        rank
    }

    /// Takes in how long a job really took in its seat; estimates, speeds and ranks follow once they are
    /// off by a tenth.
    pub(super) fn learn(&mut self, job: JobId, seat: Seat, wall: Span) {
        let amdahl = self.amdahl(job, seat.host, self.given[job]);
        let system = usize::from(self.system[job]);
        let work = |pace: f64| wall.scale(1.0 / (pace * amdahl));
        if self.policy.learn_speeds {
            let actual = work(self.configured[seat.host][system]);
            if self.speeds.observe(seat.host, self.estimates[job].median, actual) {
                self.correct_speeds();
            }
        }
        if self.policy.learn_costs {
            self.live.observe(job, work(self.pace[seat.host][system]));
        }
        let factors = self.live.factors();
        if factors.iter().zip(&self.factors).any(|(now, then)| differs(*now, *then)) {
            self.factors = factors.to_vec();
            self.estimates = self.work.jobs.ids().map(|job| self.live.cost(job)).collect();
            self.rank();
            self.lacks.reorder();
            self.forecasts.touch_all();
        }
    }

    fn correct_speeds(&mut self) {
        for (host, factor) in self.speeds.factors().iter() {
            let row = &mut self.pace[host];
            let now = |i: usize| self.configured[host][i] / factor;
            if row.iter().enumerate().any(|(i, &pace)| differs(now(i), pace)) {
                (0..row.len()).for_each(|i| row[i] = now(i));
                self.lacks.reorder();
                self.forecasts.touch(host);
            }
        }
    }

    /// For a job that is quicker built than its output is moved: the host that has most of what its only
    /// consumer needs, and what moving the output there would take.
    pub(super) fn pull_of(&self, job: JobId) -> Option<(HostId, Span)> {
        if !self.policy.stay_with_consumer {
            return None;
        }
        let &[consumer] = self.jobs.dependents(job) else { return None };
        let spec = &self.work.jobs[job];
        let bytes: u64 = spec.outputs.iter().map(|&path| self.work.paths[path].size).sum();
        let mut held: BTreeMap<HostId, u64> = BTreeMap::new();
        for &path in &self.work.jobs[consumer].inputs {
            for &host in self.stores.holders(path) {
                *held.entry(host).or_default() += self.work.paths[path].size.max(1);
            }
        }
        let can = |h: &HostId| self.eligible[consumer].contains(h);
        let best =
            held.into_iter().filter(|(h, _)| can(h)).max_by_key(|&(h, bytes)| (bytes, std::cmp::Reverse(h)));
        let (home, _) = best?;
        let links = self.hosts.spec.ids().map(|h| self.hosts.spec[h].link.time(bytes));
        let cost = links.max().unwrap_or_default();
        let stays = spec.fixed_output || spec.prefer_local || cost > self.estimates[job].median;
        stays.then_some((home, cost))
    }
}

fn differs(now: f64, then: f64) -> bool {
    (now / then).ln().abs() > TELLING
}
