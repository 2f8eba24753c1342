//! What a job would meet on each host, and which of them it prefers.

use crate::base::{Span, Time};
use crate::fleet::HostId;
use crate::graph::JobId;
use crate::run::Expectation;

use super::Scheduler;
use super::lacks::Prospect;
use super::policy::Choice;

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
    fn key(&self) -> (Time, Span, HostId) {
        (self.score, self.expect.transfer, self.host)
    }
}

impl Scheduler {
    /// The best offer that a job has by the policy; `None` if no host can take it now or later.
    pub(super) fn best_offer(&mut self, at: Time, job: JobId) -> Option<Offer> {
        self.order_hosts(job);
        let avoid = |host: HostId| self.tries[job].avoid.contains(&host);
        let spared = !self.tries[job].avoid.is_empty()
            && self.eligible[job].iter().any(|&h| self.hosts.takes_jobs(h) && !avoid(h));
        let usable = |only: &HostId| self.hosts.takes_jobs(*only) && !avoid(*only);
        let only = self.only.filter(|only| usable(only) && self.eligible[job].contains(only));
        let early = matches!(self.policy.choice, Choice::Earliest | Choice::EarliestFree);
        let (mut best, mut second): (Option<Offer>, Option<Offer>) = (None, None);
        let mut must_move = true;
        let prospects = self.lacks.order(job).unwrap_or_default();
        for &Prospect { least, transfer, host } in prospects {
            must_move &= transfer > Span::ZERO;
            if early && second.is_some_and(|s| s.key() <= (at + least, transfer, host)) {
                break;
            }
            if only.is_some_and(|only| only != host) || spared && avoid(host) {
                continue;
            }
            if early
                && second
                    .is_some_and(|s| s.key() <= (self.soonest(at, transfer, least, host), transfer, host))
            {
                continue;
            }
            let Some(mut offer) = self.offer_with(at, job, host, transfer, Some(least)) else { continue };
            match self.score(job, &offer) {
                Some(score) => offer.score = score,
                None => continue,
            }
            if best.is_none_or(|b| offer.key() < b.key()) {
                second = best.replace(offer);
            } else if second.is_none_or(|s| offer.key() < s.key()) {
                second = Some(offer);
            }
        }
        best.map(|mut offer| {
            offer.expect.next_best = second.map(|s| (s.host, s.finish.since(at)));
            offer.must_move = must_move;
            offer
        })
    }

    /// Brings a job's hosts into the order in which they would have it done with nothing else to do.
    fn order_hosts(&mut self, job: JobId) {
        if self.lacks.order(job).is_some() {
            return;
        }
        let mut order = self.lacks.take_order(job);
        if order.is_empty() {
            let hosts = self.eligible[job].clone();
            order.extend(hosts.iter().map(|&host| self.prospect(job, host)));
        } else {
            for prospect in &mut order {
                if self.lacks.get(prospect.host, job).is_none() {
                    *prospect = self.prospect(job, prospect.host);
                }
            }
        }
        self.lacks.set_order(job, order);
    }

    fn prospect(&mut self, job: JobId, host: HostId) -> Prospect {
        let transfer = self.transfer(host, job);
        // With all of its cores, as nothing is sooner.
        let all = self.hosts.spec[host].cores;
        Prospect { least: self.counted(transfer) + self.work_time(job, host, all), transfer, host }
    }

    /// What counts of a transfer.
    fn counted(&self, transfer: Span) -> Span {
        if self.policy.transfer_term { transfer } else { Span::ZERO }
    }

    /// Whether a host with a free slot has all that the job reads. Where not, it is not worth asking for
    /// offers if nothing else would be taken.
    pub(super) fn is_free_beside_inputs(&mut self, job: JobId) -> bool {
        self.order_hosts(job);
        let prospects = self.lacks.order(job).unwrap_or_default();
        prospects.iter().any(|p| p.transfer == Span::ZERO && !self.forecasts.of(p.host).free.is_empty())
    }

    /// What a finish cannot be before: as if the job had all cores of the host.
    fn soonest(&self, at: Time, transfer: Span, least: Span, host: HostId) -> Time {
        let counted = self.counted(transfer);
        let available = self.forecasts.of(host).available(at).unwrap_or(at);
        available.max(at + counted) + least.saturating_sub(counted)
    }

    /// What a job would meet on a host; `None` while the host is away or kept for another job.
    pub(super) fn offer(&mut self, at: Time, job: JobId, host: HostId) -> Option<Offer> {
        let transfer = self.transfer(host, job);
        self.offer_with(at, job, host, transfer, None)
    }

    /// `least` is what [`Prospect`] says, where that is known.
    fn offer_with(
        &self,
        at: Time,
        job: JobId,
        host: HostId,
        transfer: Span,
        least: Option<Span>,
    ) -> Option<Offer> {
        let outlook = self.forecasts.of(host);
        let available = outlook.available(at)?;
        let free = !outlook.free.is_empty();
        let cores = self.cores_for(job, host);
        // Inputs travel while the slot is still busy.
        let counted = self.counted(transfer);
        let work = match least {
            Some(least) if !self.is_spread(job, host) => least.saturating_sub(counted),
            _ => self.work_time(job, host, cores),
        };
        let finish = available.max(at + counted) + work;
        if let Some(kept) = self.reserved.get(host).copied().flatten()
            && kept.job != job
            && at + transfer + self.p90_time(job, host, cores) > kept.from
        {
            return None;
        }
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

    /// How long until a job's inputs would be on a host.
    pub(super) fn transfer(&mut self, host: HostId, job: JobId) -> Span {
        if let Some(known) = self.lacks.get(host, job) {
            return known;
        }
        let inputs = &self.work.jobs[job].inputs;
        let span = self.stores.transfer_time(&self.hosts.spec, host, inputs, self.policy.transfer_overhead);
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
