//! What a job would meet on each host, and which of them it prefers.

use crate::base::{Id, Span, Time};
use crate::fleet::HostId;
use crate::graph::{JobId, PathId};
use crate::run::Expectation;

use super::Scheduler;
use super::estimates::{Follows, Pull};
use super::forecast::NEVER;
use super::holders;
use super::lacks::Lacks;
use super::policy::Choice;
use super::state::Jobs;
use super::stores::Stores;

/// What a job would meet on one host.
#[derive(Clone, Copy, Debug)]
pub(super) struct Offer {
    pub host: HostId,
    /// Whether it could begin now.
    pub free: bool,
    pub finish: Time,
    pub cores: u32,
    pub expect: Expectation,
    /// Whether there is no host that has all of the job's inputs.
    pub must_move: bool,
    /// What counts: the finish, and what follows from it for others.
    pub score: Time,
}

impl Offer {
    /// Least first: what counts, then the transfer, then the id.
    pub fn key(&self) -> (Time, Span, HostId) {
        (self.score, self.expect.transfer, self.host)
    }
}

/// Which hosts a job is not to have, although they could build it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bars {
    /// The only one it is to have.
    only: Option<HostId>,
    /// It is to have none of those that failed it.
    spared: bool,
}

impl Bars {
    const NONE: Self = Self { only: None, spared: false };
}

/// The last time that a host can be done by: [`NEVER`] is where a job may not go.
const LATEST: Time = Time(NEVER.0 - 1);

/// What a job was last asked about.
#[derive(Clone, Debug, Default)]
pub(super) struct Asked {
    /// Per host what its finish there cannot be before: [`NEVER`] where it may not go.
    bounds: Vec<Time>,
    /// The row of the least of them, which is asked first.
    first: usize,
    /// Whose these are, when they were worked out, and how often outlooks had changed by then.
    now: Option<(JobId, Time, u32)>,
}

impl Asked {
    /// What jobs lack or may have has changed.
    pub fn void(&mut self) {
        self.now = None;
    }
}

impl Scheduler {
    /// The best offer that a job has by the policy; `None` if no host can take it now or later.
    pub(super) fn best_offer(&mut self, at: Time, job: JobId) -> Option<Offer> {
        let mut best = self.best_but(at, job, None)?;
        best.must_move = self.lacks.complete(job).is_some_and(|hosts| hosts.iter().all(|&block| block == 0));
        Some(best)
    }

    /// The best offer of all hosts but one.
    ///
    /// A host is asked for its offer only if that may be the best: what it cannot be better than is known
    /// without asking what the job lacks there.
    pub(super) fn best_but(&mut self, at: Time, job: JobId, without: Option<HostId>) -> Option<Offer> {
        self.find_complete(job);
        let mut asked = std::mem::take(&mut self.asked);
        let now = Some((job, at, self.forecasts.changes()));
        if asked.now != now {
            self.bound_hosts(at, job, &mut asked.bounds);
            let least = asked.bounds.iter().enumerate().min_by_key(|&(_, bound)| bound);
            (asked.first, asked.now) = (least.map_or(0, |(row, _)| row), now);
        }
        let (mut best, mut latest) = (None, LATEST);
        let may_be_best = |row: usize, bound: Time, latest: Time| {
            bound <= latest && without.is_none_or(|without| without.index() != row)
        };
        if let Some(&least) = asked.bounds.get(asked.first)
            && may_be_best(asked.first, least, latest)
        {
            latest = self.ask(at, job, HostId::from_index(asked.first), &mut best);
        }
        for (row, &bound) in asked.bounds.iter().enumerate() {
            if row != asked.first && may_be_best(row, bound, latest) {
                latest = self.ask(at, job, HostId::from_index(row), &mut best);
            }
        }
        self.asked = asked;
        best
    }

    /// Asks a host for its offer, and keeps the better one. Returns what no other host has to be asked for that cannot
    /// be done before.
    fn ask(&mut self, at: Time, job: JobId, host: HostId, best: &mut Option<Offer>) -> Time {
        if let Some(mut offer) = self.offer(at, job, host)
            && let Some(score) = self.score(job, &offer)
        {
            offer.score = score;
            if best.is_none_or(|best| offer.key() < best.key()) {
                *best = Some(offer);
            }
        }
        let early = matches!(self.policy.choice, Choice::Earliest | Choice::EarliestFree);
        best.filter(|_| early).map_or(LATEST, |best| best.score)
    }

    pub(super) fn bars(&self, job: JobId) -> Bars {
        if self.only.is_none() && !self.tries.any_avoided() {
            return Bars::NONE;
        }
        let avoid = self.tries.avoided(job);
        let takes = |host: &HostId| self.hosts.takes_jobs(*host) && !avoid.contains(host);
        let spared = !avoid.is_empty() && self.eligible[job].iter().any(takes);
        let only = self.only.filter(|only| takes(only) && self.is_eligible(job, *only));
        Bars { only, spared }
    }

    /// Whether a policy that keeps to one host has the job built there.
    pub(super) fn is_confined(&self, job: JobId) -> bool {
        self.bars(job).only.is_some()
    }

    /// Whether a host may build a job at all.
    pub(super) fn is_eligible(&self, job: JobId, host: HostId) -> bool {
        let hosts = &self.eligible[job];
        hosts.len() == self.hosts.spec.len() || hosts.binary_search(&host).is_ok()
    }

    pub(super) fn is_barred(&self, job: JobId, host: HostId, bars: Bars) -> bool {
        bars.only.is_some_and(|only| only != host) || bars.spared && self.tries.avoids(job, host)
    }

    /// Looks up which hosts have all of a job's inputs, if that is not known.
    #[inline]
    pub(super) fn find_complete(&mut self, job: JobId) {
        if self.lacks.complete(job).is_none() {
            self.look_up_complete(job);
        }
    }

    /// Whether a host has all of a job's inputs.
    #[inline]
    pub(super) fn has_all(&mut self, host: HostId, job: JobId) -> bool {
        self.find_complete(job);
        self.lacks.complete(job).is_some_and(|hosts| holders::has(hosts, host))
    }

    fn look_up_complete(&mut self, job: JobId) {
        let (stores, inputs, eligible) = (&self.stores, self.jobs.inputs(job), &self.eligible[job]);
        let is_any = eligible.len() == self.hosts.spec.len();
        self.lacks.find_complete(job, |complete| {
            stores.holders_of_all(inputs, complete);
            if !is_any {
                holders::keep(complete, |host| eligible.contains(&host));
            }
        });
    }

    /// Whether a host with a free slot has all that the job reads. Where not, it is not worth asking for
    /// offers if nothing else would be taken.
    pub(super) fn is_free_beside_inputs(&mut self, job: JobId) -> bool {
        self.find_complete(job);
        let free = self.forecasts.free().as_slice();
        // Few blocks each: sooner compared one by one than by a call.
        self.lacks.complete(job).is_some_and(|has| has.iter().zip(free).any(|(has, free)| has & free != 0))
    }

    /// What a job's finish on a host cannot be before: as if it had all cores, and where it is not known how
    /// long its inputs take, as if they had next to no bytes. `None` while the host is away. Where a host has all
    /// inputs is known only once that was looked up.
    pub(super) fn soonest(&self, at: Time, job: JobId, host: HostId) -> Option<Time> {
        let available = self.forecasts.available(host, at)?;
        let transfer = self.lacks.get(host, job).unwrap_or(self.policy.transfer_overhead);
        let least = self.scaled(self.estimates[job].median, job, host, self.hosts.spec[host].cores);
        Some(available.max(at + self.counted(transfer)) + least)
    }

    /// The same on all hosts that a job may have, [`NEVER`] on others; it was looked up which have all inputs.
    fn bound_hosts(&self, at: Time, job: JobId, bounds: &mut Vec<Time>) {
        bounds.clear();
        let (hosts, bars) = (&self.eligible[job], self.bars(job));
        let is_any = hosts.len() == self.hosts.spec.len() && bars == Bars::NONE;
        if is_any && self.parallel[job] == 0.0 {
            let (paces, work) = (self.paces.of_job(job), self.estimates[job].median.0 as f64);
            let (unknown, counts) = (self.policy.transfer_overhead, self.policy.transfer_term);
            let parts = self.forecasts.soonest().iter().zip(self.lacks.surely(job)).zip(paces.rows());
            bounds.extend(parts.map(|((&soonest, transfer), pace)| {
                let staged = if counts { at + transfer.unwrap_or(unknown) } else { at };
                soonest.max(staged) + Span((work * pace) as u64)
            }));
            return;
        }
        bounds.resize(self.hosts.spec.len(), NEVER);
        for &host in hosts.iter().filter(|&&host| !self.is_barred(job, host, bars)) {
            bounds[host.index()] = self.soonest(at, job, host).unwrap_or(NEVER);
        }
    }

    /// What counts of a transfer.
    pub(super) fn counted(&self, transfer: Span) -> Span {
        if self.policy.transfer_term { transfer } else { Span::ZERO }
    }

    /// What a job would meet on a host; `None` while the host is away or kept for another job.
    pub(super) fn offer(&mut self, at: Time, job: JobId, host: HostId) -> Option<Offer> {
        let available = self.forecasts.available(host, at)?;
        let transfer = self.transfer_until(available.since(at), host, job);
        let cores = self.cores_for(job, host);
        let work = self.work_time(job, host, cores);
        // Inputs travel while the slot is still busy.
        let finish = available.max(at + self.counted(transfer)) + work;
        if let Some(kept) = self.reserved.get(host).copied().flatten()
            && kept.job != job
            && at + transfer + self.p90_time(job, host, cores) > kept.from
        {
            return None;
        }
        let free = self.forecasts.is_free(host);
        let expect = Expectation { queue: available.since(at), transfer, work, ..Expectation::default() };
        Some(Offer { host, free, finish, cores, expect, must_move: false, score: finish })
    }

    /// What an offer is worth by the policy, least first; `None` if the policy rules it out.
    fn score(&self, job: JobId, offer: &Offer) -> Option<Time> {
        let host = &self.hosts.spec[offer.host];
        match self.policy.choice {
            Choice::Earliest => Some(offer.finish + self.onward(job, offer.host)),
            Choice::EarliestFree => offer.free.then(|| offer.finish + self.onward(job, offer.host)),
            Choice::FastestFree => offer.free.then(|| Time((1e9 / host.speed) as u64)),
            Choice::LeastLoaded if !offer.free => None,
            // Beyond all builders.
            Choice::LeastLoaded if offer.host == HostId::HOME => Some(NEVER),
            Choice::LeastLoaded => {
                let load = self.jobs.seated_on(offer.host).count() as f64;
                // The least part decides between equal ones.
                Some(Time((load / host.speed * 1e12) as u64 + (1e3 / host.speed) as u64))
            }
            Choice::Planned => {
                let planned = self.plan.get(job).copied().flatten();
                // A plan has no answer to a host that failed the job; once one is gone, it is given up.
                let holds = planned.filter(|&host| !self.tries.avoids(job, host));
                (offer.free && holds.is_none_or(|h| h == offer.host)).then_some(offer.finish)
            }
        }
    }

    /// How long until a job's inputs would be on a host. Where they are there in time anyway, it is not worked out how
    /// soon, and the longest that it may take is returned.
    fn transfer_until(&mut self, slot: Span, host: HostId, job: JobId) -> Span {
        if slot == Span::ZERO || self.lacks.get(host, job).is_some() {
            return self.transfer(host, job);
        }
        let most = self.most_transfer(job);
        if most <= slot { most } else { self.transfer(host, job) }
    }

    /// What no transfer of a job's inputs takes longer than.
    fn most_transfer(&mut self, job: JobId) -> Span {
        let losses = self.stores.losses();
        if let Some(known) = self.lacks.most(job, losses) {
            return known;
        }
        let closure = closure(&mut self.lacks, &mut self.stores, &self.jobs, job);
        let bytes = self.stores.bytes(closure);
        let most = self.policy.transfer_overhead + self.hosts.longest_way(bytes.max(1));
        self.lacks.set_most(job, most);
        most
    }

    /// How long until a job's inputs would be on a host.
    pub(super) fn transfer(&mut self, host: HostId, job: JobId) -> Span {
        if let Some(known) = self.lacks.get(host, job) {
            return known;
        }
        // Sooner seen than worked out; where it was looked up, it is known.
        if self.lacks.complete(job).is_none() && self.inputs_complete(host, job) {
            self.lacks.set(host, job, Span::ZERO);
            return Span::ZERO;
        }
        let closure = closure(&mut self.lacks, &mut self.stores, &self.jobs, job);
        let span = self.stores.transfer_time(&self.hosts.spec, host, closure, self.policy.transfer_overhead);
        self.lacks.set(host, job, span);
        span
    }

    /// What it would cost later that a job's output is on this host and not where it will be needed: at home, or where
    /// most of the other inputs of its only consumer are, if it is quicker built than moved.
    pub(super) fn onward(&self, job: JobId, host: HostId) -> Span {
        if !self.policy.stay_with_consumer {
            return Span::ZERO;
        }
        match self.pull.get(job).copied().flatten() {
            Some(Pull { home, follows }) if home != host => match follows {
                Follows::Bytes(bytes) => self.hosts.spec[host].link.time(bytes),
                Follows::InTime(cost) => cost,
            },
            _ => Span::ZERO,
        }
    }

    /// How many bytes of a job's inputs, with their closures, this machine does not have.
    pub(super) fn missing_at_home(&mut self, job: JobId) -> u64 {
        let closure = closure(&mut self.lacks, &mut self.stores, &self.jobs, job);
        let missing = closure.iter().filter(|&&path| !self.stores.holds(HostId::HOME, path));
        missing.map(|&path| self.stores.size(path)).sum()
    }
}

/// What some host lacks of a job's inputs with their closures.
fn closure<'a>(lacks: &'a mut Lacks, stores: &mut Stores, jobs: &Jobs, job: JobId) -> &'a [PathId] {
    lacks.closure(job, stores.losses(), |list| stores.fill_closure(jobs.inputs(job), list))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Table;
    use crate::cost::Cost;
    use crate::fleet::{Host, LinkSpeed};
    use crate::graph::testkit;
    use crate::run::{Event, SlotId};
    use crate::sched::Policy;

    #[test]
    fn where_all_that_may_build_it_are_away_a_job_has_no_offer() {
        let host = |name: &str| -> Host {
            let text = serde_json::json!({
                "name": name, "systems": ["x"], "features": [], "mandatory": [], "slots": 1, "cores": 0,
                "speed": 1.0, "substitutes": false, "link": LinkSpeed::FREE,
            });
            serde_json::from_value(text).unwrap()
        };
        let hosts: Table<HostId, Host> = ["local", "away"].map(host).into_iter().collect();
        let (away, span) = (HostId(1), Span::from_secs(1));
        let estimates = Table::filled(1, Cost { median: span, p10: span, p90: span });
        let work = testkit::work(&[vec![]]);
        let (job, policy) = (JobId(0), Policy::default());
        let mut scheduler = Scheduler::new(work, hosts, estimates, Table::filled(1, vec![away]), policy);
        let up = |host| Event::SlotUp { host, slot: SlotId(0) };
        scheduler.step(Time::ZERO, &up(HostId::HOME), &mut Vec::new());
        scheduler.refresh(Time::ZERO, false);
        assert!(scheduler.forecasts.is_free(HostId::HOME));
        assert!(scheduler.best_offer(Time::ZERO, job).is_none());
        scheduler.step(Time::ZERO, &up(away), &mut Vec::new());
        scheduler.refresh(Time::ZERO, false);
        assert_eq!(scheduler.best_offer(Time::ZERO, job).map(|offer| offer.host), Some(away));
    }
}
