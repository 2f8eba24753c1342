//! What a job would meet on each host, and which of them it prefers.

use fixedbitset::FixedBitSet;

use crate::base::{Id, Span, Time};
use crate::fleet::HostId;
use crate::graph::{JobId, PathId};
use crate::run::Expectation;

use super::Scheduler;
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
#[derive(Clone, Copy, Debug)]
pub(super) struct Bars {
    /// The only one it is to have.
    only: Option<HostId>,
    /// It is to have none of those that failed it.
    spared: bool,
}

/// The hosts that a job may have.
#[derive(Clone, Debug, Default)]
pub(super) struct Asked {
    /// What cannot be before on each, the soonest first.
    hosts: Vec<(Time, HostId)>,
    /// Whose these are, when they were listed, and how often outlooks had changed by then.
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
        best.must_move = self.lacks.complete(job).is_some_and(FixedBitSet::is_clear);
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
            asked.hosts.clear();
            self.list_hosts(at, job, &mut asked.hosts);
            asked.now = now;
        }
        let early = matches!(self.policy.choice, Choice::Earliest | Choice::EarliestFree);
        let mut best: Option<Offer> = None;
        for &(soonest, host) in &asked.hosts {
            if Some(host) == without || early && best.is_some_and(|best| best.score < soonest) {
                continue;
            }
            let Some(mut offer) = self.offer(at, job, host) else { continue };
            let Some(score) = self.score(job, &offer) else { continue };
            offer.score = score;
            if best.is_none_or(|best| offer.key() < best.key()) {
                best = Some(offer);
            }
        }
        self.asked = asked;
        best
    }

    pub(super) fn bars(&self, job: JobId) -> Bars {
        if self.only.is_none() && !self.any_avoided {
            return Bars { only: None, spared: false };
        }
        let avoid = &self.tries[job].avoid;
        let takes = |host: &HostId| self.hosts.takes_jobs(*host) && !avoid.contains(host);
        let spared = !avoid.is_empty() && self.eligible[job].iter().any(takes);
        let only = self.only.filter(|only| takes(only) && self.is_eligible(job, *only));
        Bars { only, spared }
    }

    /// Whether a host may build a job at all.
    pub(super) fn is_eligible(&self, job: JobId, host: HostId) -> bool {
        let hosts = &self.eligible[job];
        hosts.len() == self.hosts.spec.len() || hosts.binary_search(&host).is_ok()
    }

    pub(super) fn is_barred(&self, job: JobId, host: HostId, bars: Bars) -> bool {
        bars.only.is_some_and(|only| only != host) || bars.spared && self.tries[job].avoid.contains(&host)
    }

    /// Looks up which hosts have all of a job's inputs.
    pub(super) fn find_complete(&mut self, job: JobId) {
        if self.lacks.complete(job).is_some() {
            return;
        }
        let mut complete = self.stores.holders_of_all(self.jobs.inputs(job));
        let eligible = &self.eligible[job];
        if eligible.len() < self.hosts.spec.len() {
            complete = complete.ones().filter(|&host| eligible.contains(&HostId::from_index(host))).collect();
        }
        self.lacks.set_complete(job, complete);
    }

    /// Whether a host with a free slot has all that the job reads. Where not, it is not worth asking for
    /// offers if nothing else would be taken.
    pub(super) fn is_free_beside_inputs(&mut self, job: JobId) -> bool {
        self.find_complete(job);
        self.lacks.complete(job).is_some_and(|complete| !complete.is_disjoint(self.forecasts.free()))
    }

    /// What a job's finish on a host cannot be before: as if it had all cores, and where it is not known how
    /// long its inputs take, as if they had next to no bytes. `None` while the host is away.
    fn soonest_by_host(&self, at: Time, job: JobId) -> impl Fn(HostId) -> Option<Time> + '_ {
        let (times, pace) = (self.lacks.times(job), self.paces.of_job(job));
        let is_spread = self.parallel[job] > 0.0;
        let work = self.estimates[job].median.0 as f64;
        let unknown = self.counted(self.policy.transfer_overhead);
        move |host| {
            let available = self.forecasts.available(host, at)?;
            let transfer = times(host).map_or(unknown, |known| self.counted(known));
            let mut takes = work * pace[host];
            if is_spread {
                takes *= self.amdahl(job, host, self.hosts.spec[host].cores);
            }
            Some(available.max(at + transfer) + Span(takes as u64))
        }
    }

    /// The same on one host; where that has all inputs only once that was looked up.
    pub(super) fn soonest(&self, at: Time, job: JobId, host: HostId) -> Option<Time> {
        self.soonest_by_host(at, job)(host)
    }

    /// Lists the hosts that a job may have, each with what its finish there cannot be before. The soonest comes
    /// first.
    fn list_hosts(&self, at: Time, job: JobId, list: &mut Vec<(Time, HostId)>) {
        let bars = self.bars(job);
        let any_barred = bars.spared || bars.only.is_some();
        let soonest = self.soonest_by_host(at, job);
        let hosts = &self.eligible[job];
        list.reserve(hosts.len());
        let mut first = (Time(u64::MAX), 0);
        for &host in hosts.iter() {
            let Some(soonest) = soonest(host) else { continue };
            if any_barred && self.is_barred(job, host, bars) {
                continue;
            }
            if soonest < first.0 {
                first = (soonest, list.len());
            }
            list.push((soonest, host));
        }
        if first.1 > 0 {
            list.swap(0, first.1);
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
        let expect = Expectation { queue: available.since(at), transfer, work, next_best: None };
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
            Choice::LeastLoaded if offer.host == HostId::HOME => Some(Time(u64::MAX)),
            Choice::LeastLoaded => {
                let load = self.jobs.seated_on(offer.host).count() as f64;
                // The least part decides between equal ones.
                Some(Time((load / host.speed * 1e12) as u64 + (1e3 / host.speed) as u64))
            }
            Choice::Planned => {
                let planned = self.plan.get(job).copied().flatten();
                // A plan has no answer to a host that is lost or failed the job.
                let holds =
                    planned.filter(|&h| self.hosts.takes_jobs(h) && !self.tries[job].avoid.contains(&h));
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
        let closure = closure(&mut self.lacks, &mut self.stores, &self.jobs, job);
        let span = self.stores.transfer_time(&self.hosts.spec, host, closure, self.policy.transfer_overhead);
        self.lacks.set(host, job, span);
        span
    }

    /// What it would cost later that a job's output is on this host and not where its only consumer will
    /// be: where most of the consumer's other inputs are. Counts for what is quicker built than moved.
    pub(super) fn onward(&self, job: JobId, host: HostId) -> Span {
        if !self.policy.stay_with_consumer {
            return Span::ZERO;
        }
        let Some(&(home, cost)) = self.pull.get(job).and_then(Option::as_ref) else { return Span::ZERO };
        if home == host { Span::ZERO } else { cost }
    }
}

/// What some host lacks of a job's inputs with their closures.
fn closure<'a>(lacks: &'a mut Lacks, stores: &mut Stores, jobs: &Jobs, job: JobId) -> &'a [PathId] {
    lacks.closure(job, stores.losses(), |list| stores.fill_closure(jobs.inputs(job), list))
}
