//! Those that wait for a host, in line, and how a slot that has become free is filled from it.
//!
//! A look at all that waits asks many hosts about many jobs, and from one to the next little changes: what was
//! best for a job mostly still is. So each look notes for which host a job waits and when it would be done
//! there, and until the next look a free slot goes to the first in line that waits for its host, or that would
//! be done sooner there than where it waits. New jobs are asked what they prefer when it is their turn: as in a look,
//! each meets those before it, as busy hosts, and neither itself nor those behind, who would have to wait for it.
//! If a slot suits nobody in line and more may be ready, all that waits is looked at again.

use crate::base::{Span, Time};
use crate::fleet::HostId;
use crate::graph::JobId;
use crate::run::Order;

use super::Scheduler;
use super::forecast::NEVER;
use super::offer::Offer;
use super::place::Round;
use super::state::Jobs;

/// A job in line.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wait {
    pub job: JobId,
    pub rank: Span,
    /// Its system, and the microseconds of its work on one core.
    pub system: u16,
    pub work: f64,
    /// It takes no less with more cores.
    is_plain: bool,
    /// Where its output will be needed, if it is to be built there.
    home: Option<HostId>,
    /// What was best for it when that was last asked; `None` if it is yet to be.
    best: Option<Best>,
}

#[derive(Clone, Copy, Debug)]
struct Best {
    host: HostId,
    /// What counts, least first, as in [`Offer`].
    score: Time,
    /// When it should be over there, and how long it would keep a slot.
    finish: Time,
    keeps: Span,
}

impl Wait {
    /// Has it asked again if it should have been over where it waits.
    pub fn forget_if_past(&mut self, at: Time) {
        self.best = self.best.filter(|best| best.score > at);
    }

    /// Whether nothing is lost if its output is on a host.
    pub fn may_stay(&self, host: HostId) -> bool {
        self.home.is_none_or(|home| home == host)
    }

    /// The same, now that it waits for the host of this offer.
    pub fn with(self, offer: &Offer) -> Self {
        let Offer { host, score, finish, .. } = *offer;
        Self { best: Some(Best { host, score, finish, keeps: offer.expect.work }), ..self }
    }
}

/// Where a look ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Ended {
    /// With the last ready job.
    #[default]
    Last,
    /// With the last one that the policy has looked at.
    Window,
    /// With the last slot: jobs behind that were not asked.
    Slots,
}

/// The jobs that the last look at all that waits left waiting, in the order of their ranks, and what came since.
#[derive(Clone, Debug, Default)]
pub(super) struct Line {
    waits: Vec<Wait>,
    ended: Ended,
    /// Something happened since the look that no line tells of.
    is_void: bool,
    /// So many of the first in it are all that counts where they wait, if that is known.
    charged: Option<usize>,
}

impl Line {
    /// Begins a look.
    pub fn clear(&mut self) {
        self.waits.clear();
        (self.ended, self.is_void) = (Ended::default(), false);
    }

    /// Begins anew with the first ready jobs, of which none was asked.
    pub fn draw_from(&mut self, waits: impl Iterator<Item = Wait>) {
        self.clear();
        self.waits.extend(waits);
        self.ended = Ended::Window;
    }

    /// Whether it has so many jobs, and none but those that are behind it would come before them.
    pub fn is_long(&self, jobs: usize) -> bool {
        self.waits.len() >= jobs && self.ended == Ended::Window
    }

    /// Whether a look would ask no others than those in it, or it has so many.
    pub fn is_complete(&self, jobs: usize) -> bool {
        self.ended == Ended::Last || self.is_long(jobs)
    }

    /// Whether all that a look came to was given a slot, and more may be ready.
    pub fn is_used_up(&self) -> bool {
        self.waits.is_empty() && self.ended == Ended::Window
    }

    /// What counts where it waits is not known: a slot was given away, or hosts were looked at anew.
    pub fn forget_charged(&mut self) {
        self.charged = None;
    }

    /// Takes out the jobs that are no longer ready.
    pub fn keep_ready(&mut self, jobs: &Jobs) {
        self.waits.retain(|wait| jobs.is_ready(wait.job));
    }

    /// The one in a row.
    pub fn wait_mut(&mut self, row: usize) -> Option<&mut Wait> {
        self.waits.get_mut(row)
    }

    /// The last one in it.
    pub fn last(&self) -> Option<JobId> {
        Some(self.waits.last()?.job)
    }

    /// Takes out the one in a row, which is given a slot.
    pub fn take(&mut self, row: usize) -> JobId {
        self.forget_charged();
        self.waits.remove(row).job
    }

    /// A job is left waiting by a look. Jobs come in the order of their ranks.
    pub fn push(&mut self, wait: Wait) {
        self.waits.push(wait);
    }

    /// The jobs that wait for a host, and for which.
    pub fn hosts(&self) -> impl Iterator<Item = (JobId, HostId)> + '_ {
        self.waits.iter().filter_map(|wait| Some((wait.job, wait.best?.host)))
    }

    /// The look ends.
    pub fn close(&mut self, ended: Ended) {
        self.ended = ended;
    }

    /// The jobs in it.
    pub fn jobs(&self) -> impl Iterator<Item = JobId> + '_ {
        self.waits.iter().map(|wait| wait.job)
    }

    /// All that waits has to be looked at again.
    pub fn void(&mut self) {
        self.is_void = true;
    }

    pub fn is_void(&self) -> bool {
        self.is_void
    }
}

/// The row of a job in line, or the one where its rank puts it.
fn find(waits: &[Wait], jobs: &Jobs, job: JobId) -> Result<usize, usize> {
    let row = waits.partition_point(|wait| jobs.compare(wait.job, job).is_lt());
    if waits.get(row).is_some_and(|wait| wait.job == job) { Ok(row) } else { Err(row) }
}

impl Scheduler {
    /// So many in line are enough until the next look, if more are ready.
    pub(super) fn enough_in_line(&self) -> usize {
        self.policy.window.div_ceil(2)
    }

    /// A job that is yet to be asked.
    pub(super) fn lined_up(&self, job: JobId) -> Wait {
        let is_plain = self.parallel[job] == 0.0 && !self.big[job];
        let (system, work) = (self.paces.system(job), self.estimates[job].median.0 as f64);
        let (rank, home) = (self.jobs.rank(job), self.pull[job].map(|pull| pull.home));
        Wait { job, rank, system, work, is_plain, home, best: None }
    }

    /// Fills slots that have become free from the line.
    pub(super) fn fill(&mut self, at: Time, round: &mut Round, out: &mut Vec<Order>) {
        if !round.goes_on() && round.fresh.is_empty() {
            return;
        }
        let mut line = std::mem::take(&mut self.line);
        line.keep_ready(&self.jobs);
        self.line_up(&mut line, round);
        let waits = line.waits.as_mut_slice();
        let new: Vec<HostId> = self.hosts.spec.ids().filter(|&host| self.has_new(host)).collect();
        let asks = round.free > 0 && waits.iter().any(|wait| self.is_asked_anew(wait));
        if asks {
            // Whoever is asked meets those before it in line, and neither itself nor those behind.
            self.refresh(at, false);
            self.forecasts.clear();
        } else if let Some(asks) = &mut self.watched.asks {
            asks.line = waits.to_vec();
        }
        let mut rest = waits;
        while let Some(first) = rest.first()
            && round.goes_on()
        {
            let least = self.least_alike(first.rank);
            let alike = rest.iter().take_while(|wait| wait.rank >= least).count().max(1);
            let (group, behind) = rest.split_at_mut(alike);
            self.fill_from(at, group, &new, asks, round, out);
            rest = behind;
        }
        self.release();
        line.keep_ready(&self.jobs);
        self.watched.asks.iter_mut().for_each(|asks| asks.line.clear());
        self.line = line;
    }

    /// Has new jobs stand in line where their ranks put them; those that a look would not have come to only if
    /// there are slots that nobody wanted.
    pub(super) fn line_up(&self, line: &mut Line, round: &Round) {
        for &job in round.fresh.iter().filter(|&&job| self.jobs.is_ready(job)) {
            let Err(row) = find(&line.waits, &self.jobs, job) else { continue };
            let is_behind = row == line.waits.len() && line.ended != Ended::Last;
            if !is_behind || round.free > round.new {
                line.waits.insert(row, self.lined_up(job));
            }
        }
    }

    /// Has the jobs before a row count where they wait, and no others.
    pub(super) fn charge_before(&mut self, at: Time, line: &mut Line, row: usize) {
        let known = line.charged.filter(|&charged| charged <= row);
        if known.is_none() {
            self.forecasts.clear();
        }
        for wait in &line.waits[known.unwrap_or(0)..row] {
            self.charge(at, wait);
        }
        line.charged = Some(row);
    }

    /// Has a job in line count where it waits.
    pub(super) fn charge(&mut self, at: Time, wait: &Wait) {
        if let Some(best) = wait.best
            && self.jobs.is_ready(wait.job)
            && !self.forecasts.is_free(best.host)
            && let Some(available) = self.forecasts.available(best.host, at)
        {
            self.forecasts.charge(best.host, best.finish.max(available + best.keeps));
        }
    }

    /// Fills slots from jobs of about the same rank: first from those that need nothing brought.
    fn fill_from(
        &mut self,
        at: Time,
        group: &mut [Wait],
        new: &[HostId],
        asks: bool,
        round: &mut Round,
        out: &mut Vec<Order>,
    ) {
        for beside_inputs in [true, false] {
            if beside_inputs && group.len() == 1 {
                continue;
            }
            for wait in &mut *group {
                if !round.goes_on() {
                    return;
                }
                let is_told = wait.best.is_some() && round.new == 0;
                let is_asked = !is_told
                    && self.may_suit(at, wait, new)
                    && self.jobs.is_ready(wait.job)
                    && (!beside_inputs || self.is_free_beside_inputs(wait.job))
                    && !self.is_held_back(wait.job);
                let offer = match is_asked {
                    // What it waits for is noted when it is its turn.
                    true if beside_inputs && self.is_asked_anew(wait) => self.wants(at, wait.job),
                    true => self.suits(at, wait, new),
                    false => None,
                };
                let takes =
                    |offer: &Offer| offer.free && (!beside_inputs || offer.expect.transfer == Span::ZERO);
                match offer.filter(takes) {
                    Some(offer) => self.give(at, wait.job, offer, round, out),
                    None if asks && !beside_inputs => self.charge(at, wait),
                    None => {}
                }
            }
        }
    }

    /// Whether one of these hosts may suit a job in line, without asking what it lacks there. One that may get
    /// several cores is always asked.
    pub(super) fn may_suit(&self, at: Time, wait: &Wait, new: &[HostId]) -> bool {
        let Some(best) = wait.best.filter(|_| wait.is_plain) else { return true };
        let (pace, left) = (self.paces.of_system(wait.system), best.score.since(at).0 as f64);
        new.iter().any(|&host| host == best.host || wait.work * pace[host] < left)
    }

    /// Whether a job in line is to be asked what is best for it: if it never was, and if a host may have to be kept for
    /// it, each time anew.
    pub(super) fn is_asked_anew(&self, wait: &Wait) -> bool {
        wait.best.is_none() || self.is_big(wait.job)
    }

    /// The offer of a host with a free slot that a job in line would take.
    pub(super) fn suits(&mut self, at: Time, wait: &mut Wait, new: &[HostId]) -> Option<Offer> {
        let Some(best) = wait.best.filter(|_| !self.is_asked_anew(wait)) else {
            return self.prefers(at, wait);
        };
        let mut soonest: Option<Offer> = None;
        for &host in new {
            let waits_for_it = host == best.host;
            let limit = if waits_for_it { NEVER } else { best.score };
            let Some(offer) = self.offer_before(at, wait.job, host, limit) else { continue };
            if soonest.is_none_or(|soonest| offer.key() < soonest.key()) {
                soonest = Some(offer);
            }
        }
        soonest.filter(|offer| !self.is_kept(at, wait.job, offer, Some(best.score)))
    }

    /// The best offer for a job in line, if it can begin there now. If not, it waits for it.
    fn prefers(&mut self, at: Time, wait: &mut Wait) -> Option<Offer> {
        let offer = self.wants(at, wait.job)?;
        if offer.free {
            return Some(offer);
        }
        *wait = wait.with(&offer);
        self.placed[wait.job].due = offer.finish;
        None
    }

    /// The best offer for a job, unless a host is kept for it or all slots are for others.
    fn wants(&mut self, at: Time, job: JobId) -> Option<Offer> {
        let offer = self.best_offer(at, job)?;
        let offer = self.beside_booked(at, job, offer)?;
        if let Some(end) = self.reserve(at, job, &offer) {
            self.placed[job].due = end;
            return None;
        }
        Some(offer)
    }

    /// The offer of a host with a free slot, if a job may have it and would be done there before `limit`.
    fn offer_before(&mut self, at: Time, job: JobId, host: HostId, limit: Time) -> Option<Offer> {
        if !self.forecasts.is_free(host) {
            return None;
        }
        self.find_complete(job);
        if self.soonest(at, job, host)? >= limit {
            return None;
        }
        let mut offer = self.offer(at, job, host)?;
        offer.score = offer.finish + self.onward(job, host);
        let barred = || !self.is_eligible(job, host) || self.is_barred(job, host, self.bars(job));
        (offer.score < limit && !barred()).then_some(offer)
    }
}
