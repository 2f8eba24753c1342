//! What jobs are expected to cost, corrected as the run goes on, and the ranks that follow.

use crate::base::{Span, Table, Time};
use crate::fleet::HostId;
use crate::graph::{JobId, Ranks};

use super::Scheduler;
use super::policy::Order;
use super::state::Seat;

/// A correction by less than this factor does not change the order of anything.
const TELLING: f64 = 1.1;
/// So often in a run estimates are corrected, at most.
const CORRECTIONS: usize = 100;
/// One in so many hosts is measured anew before their speeds are compared again.
const FEW: usize = 2;
/// No less than one in so many of the builds that told of speeds did so since they were last compared: fewer hardly
/// change what is known.
const LITTLE: usize = 64;
/// How much of what moving a job's outputs would take is in its rank: most users run where it was built.
const TRANSFER_PART: f64 = 0.5;
/// A rank is never nothing, so that longer chains come first.
const EACH: Span = Span::from_millis(1);

/// Where a job's outputs will be needed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pull {
    pub home: HostId,
    pub follows: Follows,
}

/// What has to go there if the job is built elsewhere.
#[derive(Clone, Copy, Debug)]
pub(super) enum Follows {
    /// So much, over the link of the host that builds it.
    Bytes(u64),
    /// What takes no longer than this over any link.
    InTime(Span),
}

impl Scheduler {
    /// Works out every rank.
    pub(super) fn rank(&mut self) {
        let (cost, after) = match self.policy.order {
            Order::Rank => (self.mean_costs().collect(), self.mean_transfers()),
            Order::Hops => (Table::filled(self.work.jobs.len(), Span::from_secs(1)), Table::new()),
            Order::Arrival => return self.jobs.rank_by_arrival(),
            Order::Name => return self.jobs.set_ranks(self.by_name().into_iter()),
        };
        let ranks = Ranks::with_transfers(&self.work, cost, after);
        self.jobs.set_ranks(ranks.all().iter().map(|(job, &rank)| (job, rank)));
        self.ranks = Some(ranks);
    }

    /// Has ranks follow the estimates.
    pub(super) fn rank_anew(&mut self) {
        if self.policy.order == Order::Rank
            && let Some(mut ranks) = self.ranks.take()
        {
            let changed = ranks.set_costs(self.work.jobs.ids().zip(self.mean_costs()));
            self.jobs.set_ranks(changed.into_iter().map(|job| (job, ranks.of(job))));
            self.ranks = Some(ranks);
        }
    }

    /// What each job takes on a slot of the hosts that may build it, on average.
    fn mean_costs(&self) -> impl Iterator<Item = Span> + '_ {
        // Few are distinct.
        let mut known: Vec<(*const HostId, u16, f64)> = Vec::new();
        let mut pace_of = move |job: JobId| {
            let (hosts, system) = (&self.eligible[job], self.paces.system(job));
            let same = known.iter().find(|&&(list, of, _)| list == hosts.as_ptr() && of == system);
            same.map(|&(.., pace)| pace).unwrap_or_else(|| {
                let pace = self.mean_pace(hosts, system);
                known.push((hosts.as_ptr(), system, pace));
                pace
            })
        };
        self.estimates.iter().map(move |(job, estimate)| estimate.median.scale(pace_of(job)) + EACH)
    }

    /// Seconds for each second of work, over the slots of `hosts`.
    fn mean_pace(&self, hosts: &[HostId], system: u16) -> f64 {
        let slots = |h: &HostId| f64::from(self.hosts.used_slots().of(*h));
        let total: f64 = hosts.iter().map(slots).sum();
        let pace = self.paces.of_system(system);
        let speed: f64 = hosts.iter().map(|h| slots(h) / pace[*h]).sum();
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

    fn by_name(&self) -> Vec<(JobId, Span)> {
        let mut order: Vec<JobId> = self.work.jobs.ids().collect();
        order.sort_by_key(|&job| (&self.work.jobs[job].name, job));
        order.into_iter().rev().zip((0..).map(Span)).collect()
    }

    /// Takes in how long a job really took in its seat; estimates, speeds and ranks follow once they are
    /// off by a tenth.
    pub(super) fn learn(&mut self, job: JobId, seat: Seat, wall: Span) {
        let amdahl = self.amdahl(job, seat.host, self.placed[job].cores);
        let work = |pace: f64| wall.scale(1.0 / (pace * amdahl));
        if self.policy.learn_speeds {
            let actual = work(self.paces.configured(job, seat.host));
            self.measured_since +=
                usize::from(self.speeds.observe(seat.host, self.estimates[job].median, actual));
            let enough = self.hosts.spec.len().div_ceil(FEW).max(self.measured / LITTLE);
            if self.measured_since >= enough {
                self.measured += self.measured_since;
                self.measured_since = 0;
                self.correct_speeds();
            }
        }
        if self.policy.learn_costs {
            self.live.observe(job, work(self.paces.of(job, seat.host)));
        }
        self.ends_since_look += 1;
        if self.ends_since_look * CORRECTIONS >= self.work.jobs.len() {
            self.ends_since_look = 0;
            self.correct_costs();
        }
    }

    /// Has estimates and ranks follow what this run's builds say, if that makes a difference.
    fn correct_costs(&mut self) {
        let mut told = false;
        for (now, then) in self.live.factors().into_iter().zip(&mut self.factors) {
            if differs(now, *then) {
                (*then, told) = (now, true);
            }
        }
        if told {
            self.give_up_plan();
            self.estimates = self.live.costs(&self.factors);
            self.sum_up();
            self.rank_anew();
            self.line.void();
            self.hosts.spec.ids().for_each(|host| self.estimate_ends(host));
        }
    }

    /// Adds up what is left to do.
    pub(super) fn sum_up(&mut self) {
        let open = self.estimates.iter().filter(|(job, _)| !self.jobs.state(*job).is_over());
        self.left = Span(open.map(|(_, cost)| cost.median.0).sum());
    }

    /// When all that is left would be done if it were all like this job, and no slot ever idle.
    pub(super) fn soonest_end(&self, at: Time, like: JobId) -> Time {
        let pace = self.paces.of_job(like);
        let speed = |host: HostId| f64::from(self.hosts.used_slots().of(host)) / pace[host];
        let all: f64 = self.hosts.spec.ids().filter(|&host| self.hosts.takes_jobs(host)).map(speed).sum();
        at + if all > 0.0 { self.left.scale(1.0 / all) } else { Span::ZERO }
    }

    fn correct_speeds(&mut self) {
        for (host, factor) in self.speeds.factors().iter() {
            if self.paces.correct(host, *factor, differs) {
                self.give_up_plan();
                self.estimate_ends(host);
            }
        }
    }

    /// For a job that is only asked for, and read by no other: home. For one that is quicker built than its output is
    /// moved: the host that has most of what its only consumer needs.
    pub(super) fn pull_of(&mut self, job: JobId) -> Option<Pull> {
        if !self.policy.stay_with_consumer {
            return None;
        }
        let (outputs, dependents) = (self.jobs.outputs(job), self.jobs.dependents(job));
        let bytes: u64 = outputs.iter().map(|&path| self.stores.size(path)).sum();
        if dependents.is_empty() && outputs.iter().any(|&path| self.stores.is_wanted(path)) {
            // What it is made of comes along if it is put together rather than built, as systems are.
            let parts = if self.stays[job] { self.missing_at_home(job) } else { 0 };
            return Some(Pull { home: HostId::HOME, follows: Follows::Bytes(bytes + parts) });
        }
        let &[consumer] = dependents else { return None };
        let cost = self.hosts.longest_way(bytes);
        if cost <= self.estimates[job].median && !self.stays[job] {
            return None;
        }
        Some(Pull { home: self.home_of(consumer)?, follows: Follows::InTime(cost) })
    }

    /// The host that has most of what a job needs and may build it. Looked up anew once a quarter of what it
    /// waited for then is done.
    fn home_of(&mut self, job: JobId) -> Option<HostId> {
        let open = self.jobs.open(job);
        if let Some((home, then)) = self.homes[job]
            && open <= then
            && open > then - then.div_ceil(4)
        {
            return home;
        }
        let mut held: Table<HostId, u64> = Table::filled(self.hosts.spec.len(), 0);
        for &path in self.jobs.inputs(job) {
            for host in self.stores.holders(path) {
                held[host] += self.stores.size(path).max(1);
            }
        }
        let eligible = self.eligible[job].iter().copied().filter(|&host| held[host] > 0);
        let home = eligible.max_by_key(|&host| (held[host], std::cmp::Reverse(host)));
        self.homes[job] = Some((home, open));
        home
    }
}

fn differs(now: f64, then: f64) -> bool {
    let ratio = now / then;
    !(1.0 / TELLING..=TELLING).contains(&ratio)
}
