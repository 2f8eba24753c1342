//! Why a job went where it went: what each host had to offer at the moment of the decision.
//!
//! Nothing is kept for this during a run. The same facts give the same decisions, so whoever wants to know feeds a
//! fresh scheduler with the run's log, and has it watch one job or all.

use std::collections::BTreeMap;

use super::Scheduler;
use super::line::Wait;
use super::policy::Order as JobOrder;
use super::replay::{Differs, compare, events};
use super::state::Seat;
use crate::base::{Span, Time};
use crate::fleet::HostId;
use crate::graph::JobId;
use crate::run::{Attempt, Entry, Expectation, Order, Step};

/// What a job would meet on one host, counted from the decision on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OfferParts {
    /// Which host.
    pub host: HostId,
    /// Until a slot is free, once those before it have had their choice.
    pub queue: Span,
    /// Until its inputs are there; at the same time as the wait for the slot.
    pub transfer: Span,
    /// The build itself.
    pub work: Span,
    /// Until it would be done.
    pub finish: Span,
    /// Whether it was tried there in vain, so that other hosts come first.
    pub avoided: bool,
}

/// One time that a job was given a slot.
#[derive(Clone, Debug, PartialEq)]
pub struct Binding {
    /// When.
    pub at: Time,
    /// Where, and for which attempt.
    pub seat: Seat,
    /// From its start to the end of the run along the longest way, as estimated then; `None` if the policy goes by
    /// something else.
    pub rank: Option<Span>,
    /// What the hosts had to offer that were up and could build it, soonest first.
    pub offers: Vec<OfferParts>,
    /// The order to build, with what counted in the decision; `None` if it never came to that.
    pub build: Option<(Time, Expectation)>,
}

/// Who asks why jobs go where they go.
#[derive(Clone, Debug, Default)]
pub(super) struct Watched {
    /// Nobody does: orders to build need not say which host would have been the next best.
    pub by_nobody: bool,
    /// Somebody does; `None` in a run.
    pub asks: Option<Asks>,
}

/// What is noted for those who ask.
#[derive(Clone, Debug, Default)]
pub(super) struct Asks {
    /// The job of which they ask; `None` of all.
    only: Option<JobId>,
    /// Those that stand in line while slots are filled from it.
    pub line: Vec<Wait>,
    /// The next to be given a slot was not asked.
    unsettled: bool,
    /// What each job was offered when it was given a slot.
    shown: Offers,
}

/// What jobs were offered when they were given a slot, by attempt, soonest first.
pub type Offers = BTreeMap<(JobId, Attempt), Vec<OfferParts>>;

impl Scheduler {
    /// Has the ends of builds that a draw leaves aside be estimated before the next job is shown.
    pub(super) fn settle_for_show(&mut self) {
        if let Some(asks) = &mut self.watched.asks {
            asks.unsettled = true;
        }
    }

    /// Notes what each host that is up and may build a watched job has to offer it, soonest first, just before it is
    /// given a slot. The run goes on as if nobody had asked.
    pub(super) fn show(&mut self, at: Time, job: JobId) {
        let Some(asks) = &mut self.watched.asks else { return };
        let unsettled = std::mem::take(&mut asks.unsettled);
        if asks.only.is_some_and(|only| only != job) {
            return;
        }
        // It is shown what those before it in line leave, and does not meet itself.
        let row = asks.line.iter().position(|wait| wait.job == job);
        let before = row.map(|row| asks.line[..row].to_vec());
        self.touch_moved();
        let kept = (self.forecasts.clone(), self.outgrown.clone());
        match before {
            Some(before) => self.charge_only(at, &before),
            None if unsettled => self.refresh(at, false),
            None => {}
        }
        let shown = self.offers(at, job);
        (self.forecasts, self.outgrown) = kept;
        let attempt = self.tries.attempt(job);
        if let Some(asks) = &mut self.watched.asks {
            asks.shown.insert((job, attempt), shown);
        }
    }

    /// Has these count where they wait, and no others.
    fn charge_only(&mut self, at: Time, waits: &[Wait]) {
        self.refresh(at, false);
        self.forecasts.clear();
        waits.iter().for_each(|wait| self.charge(at, wait));
    }

    /// What each host that is up and may build a job has to offer it now, soonest first.
    fn offers(&mut self, at: Time, job: JobId) -> Vec<OfferParts> {
        let mut shown = Vec::new();
        for &host in self.eligible[job].clone().iter() {
            // Also where the inputs are there long before the slot is.
            self.transfer(host, job);
            let Some(offer) = self.offer(at, job, host) else { continue };
            let Expectation { queue, transfer, work, .. } = offer.expect;
            let (avoided, finish) = (self.tries.avoids(job, host), offer.finish.since(at));
            shown.push(OfferParts { host, queue, transfer, work, finish, avoided });
        }
        shown.sort_by_key(|offer| (offer.finish, offer.transfer, offer.host));
        shown
    }

    /// The same scheduler for those who ask of a job, or of all.
    fn asked_of(&self, only: Option<JobId>) -> Scheduler {
        let asks = Some(Asks { only, ..Asks::default() });
        Scheduler { watched: Watched { asks, ..Watched::default() }, ..self.clone() }
    }

    /// What those who ask were shown.
    fn shown(self) -> Offers {
        self.watched.asks.map(|asks| asks.shown).unwrap_or_default()
    }
}

/// Every time that `job` was given a slot in the run that `entries` tell, which began with `fresh`.
///
/// # Errors
/// The orders are not those that `fresh` gives.
pub fn explain(fresh: &Scheduler, entries: &[Entry], job: JobId) -> Result<Vec<Binding>, Differs> {
    let mut scheduler = fresh.asked_of(Some(job));
    let mut bindings: Vec<Binding> = Vec::new();
    for (row, at, event) in events(entries) {
        let mut orders = Vec::new();
        scheduler.step(at, event, &mut orders);
        compare(row + 1, at, &orders, &entries[row + 1..])?;
        // A job that goes back to an older attempt was given that slot long before.
        let newest = bindings.last().map(|binding| binding.seat.attempt);
        if let Some(seat) = scheduler.state(job).seat().filter(|seat| Some(seat.attempt) > newest) {
            let rank = (scheduler.policy.order == JobOrder::Rank).then(|| scheduler.jobs.rank(job));
            bindings.push(Binding { at, seat, rank, offers: Vec::new(), build: build(entries, job, seat) });
        }
    }
    let mut shown = scheduler.shown();
    for binding in &mut bindings {
        binding.offers = shown.remove(&(job, binding.seat.attempt)).unwrap_or_default();
    }
    Ok(bindings)
}

/// What every job was offered each time that it was given a slot, in one go through the run that `entries` tell, which
/// began with `fresh`.
///
/// # Errors
/// The orders are not those that `fresh` gives.
pub fn offers(fresh: &Scheduler, entries: &[Entry]) -> Result<Offers, Differs> {
    let mut watching = fresh.asked_of(None);
    watching.replay(entries)?;
    Ok(watching.shown())
}

fn build(entries: &[Entry], job: JobId, seat: Seat) -> Option<(Time, Expectation)> {
    entries.iter().find_map(|entry| match &entry.what {
        Step::Order(Order::Build { job: built, attempt, expect, .. })
            if (*built, *attempt) == (job, seat.attempt) =>
        {
            Some((entry.at, *expect))
        }
        _ => None,
    })
}

#[cfg(test)]
mod tests;
