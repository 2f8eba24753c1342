//! How free slots are filled while far more is ready than can be begun.
//!
//! To find out where a job is done first is worth it where the run may be longer by it. As long as many times as many
//! jobs are ready as there are slots, that is so for few: whichever of the others a free slot is given, it is not
//! idle, and what follows from the job is over well before all the rest is. So the slot draws, of the first jobs in
//! line, the first one whose inputs are on its host, or else one that has little to bring. Jobs from which the end is
//! farther than a part of what all the rest takes are asked where they are done first, as ever, and may wait for that,
//! or leave the slot to one that comes soon with more behind it: what is drawn meanwhile is over soon.
//!
//! Ends of builds are estimated for those that are asked alone: a draw needs to know which slots are free.

use crate::base::{Span, Time};
use crate::fleet::HostId;
use crate::graph::JobId;
use crate::run::{Order, Why};

use super::Scheduler;
use super::line::Line;
use super::offer::Offer;
use super::place::Round;
use super::policy::Choice;

/// A job and what follows from it are over well before the rest is if they take less than this part of it. The job's
/// own work counts twice, on average hosts as in its rank and on the one that draws: rather asked than late.
const WELL: f64 = 0.1;
/// Of so many jobs that have something to bring it is found out how much.
const BRINGING: usize = 4;

impl Scheduler {
    /// Whether more is ready than can be begun for long.
    pub(super) fn is_plenty(&self) -> bool {
        let ready = self.jobs.ready_count();
        let many = self.policy.plenty as usize * self.hosts.used_slots().all() as usize;
        self.policy.choice == Choice::Earliest && ready > self.policy.window && many > 0 && ready > many
    }

    /// Whether free slots are to draw: then what takes no longer to the end than that need not be asked. Where all that
    /// would stand in line ranks higher, nothing is to be drawn.
    pub(super) fn draws(&self, at: Time) -> Option<Span> {
        if !self.is_plenty() || self.is_impatient(at) {
            return None;
        }
        let left = self.soonest_end(at, self.jobs.ready().next()?).since(at).scale(WELL);
        let is_drawn = |job: &JobId| self.jobs.rank(*job) <= left;
        let in_line = self.line.last().filter(|last| !self.line.is_void() && is_drawn(last));
        let last = in_line.or_else(|| self.jobs.ready().take(self.policy.window).last());
        last.filter(is_drawn).map(|_| left)
    }

    /// Has each free slot draw a job. Those that take longer than `left` to the end are asked.
    pub(super) fn draw(&mut self, at: Time, left: Span, round: &mut Round, out: &mut Vec<Order>) {
        self.share_cores();
        let mut line = std::mem::take(&mut self.line);
        let is_new = self.line_up_to_draw(at, round, &mut line);
        for host in self.hosts.spec.ids() {
            while round.goes_on() && self.forecasts.is_free(host) {
                // A slot that was left over was tried with all but the jobs that came since.
                let is_left = !is_new && !self.has_new(host);
                let only = is_left.then_some(round.fresh.as_slice());
                if only.is_some_and(<[JobId]>::is_empty) {
                    break;
                }
                let Some((row, offer)) = self.drawn(at, host, left, &mut line, only) else { break };
                let job = line.take(row);
                self.settle_for_show();
                self.give(at, job, offer, round, out);
            }
        }
        self.release();
        self.line = line;
    }

    /// Has the first jobs by rank stand in line, of which none needs to have been asked. Returns whether it is a new
    /// one, of which no slot has drawn.
    fn line_up_to_draw(&mut self, at: Time, round: &Round, line: &mut Line) -> bool {
        line.keep_ready(&self.jobs);
        line.forget_charged();
        let are_many = round.fresh.len() > self.policy.window;
        let is_new = line.is_void() || are_many || !line.is_long(self.enough_in_line());
        if is_new {
            self.refresh(at, false);
            self.forecasts.clear();
            // What is to come is looked for by those that are asked.
            self.coming.begin(Span(u64::MAX));
            let window = self.window(round.free, None);
            line.draw_from(window.into_iter().map(|job| self.lined_up(job)));
        } else {
            self.line_up(line, round);
        }
        is_new
    }

    /// What a free slot of a host draws, by its row in line; with `only`, of no others than those, ascending. Those
    /// that take longer than `left` to the end are asked.
    fn drawn(
        &mut self,
        at: Time,
        host: HostId,
        left: Span,
        line: &mut Line,
        only: Option<&[JobId]>,
    ) -> Option<(usize, Offer)> {
        let mut bringing = Vec::new();
        let mut pace = (u16::MAX, f64::INFINITY);
        for row in 0.. {
            let Some(wait) = line.wait_mut(row) else { break };
            if only.is_some_and(|only| only.binary_search(&wait.job).is_err()) {
                continue;
            }
            if wait.system != pace.0 {
                pace = (wait.system, self.paces.of_system(wait.system)[host]);
            }
            if wait.rank.0 as f64 + wait.work * pace.1 >= left.0 as f64 {
                if let Some(offer) = self.asked_to_draw(at, host, left, line, row) {
                    return Some((row, offer));
                }
            } else if wait.may_stay(host) && self.has_all(host, wait.job) {
                if self.may_draw(host, wait.job)
                    && let Some(offer) = self.drawn_offer(at, wait.job, host)
                {
                    return Some((row, offer));
                }
            } else if bringing.len() < BRINGING && self.may_draw(host, wait.job) {
                bringing.push((row, wait.job));
            }
        }
        self.least_to_bring(at, host, bringing)
    }

    /// Of some jobs with their rows in line, the one of which least is moved if a host builds it.
    fn least_to_bring(
        &mut self,
        at: Time,
        host: HostId,
        mut jobs: Vec<(usize, JobId)>,
    ) -> Option<(usize, Offer)> {
        jobs.sort_by_cached_key(|&(_, job)| self.transfer(host, job) + self.onward(job, host));
        jobs.into_iter().find_map(|(row, job)| Some((row, self.drawn_offer(at, job, host)?)))
    }

    /// Whether a job may have a slot of a host now.
    fn may_draw(&self, host: HostId, job: JobId) -> bool {
        self.jobs.is_ready(job)
            && !self.is_held_back(job)
            && self.is_eligible(job, host)
            && !self.is_barred(job, host, self.bars(job))
    }

    /// The offer of a host to a job that would take it without asking others.
    fn drawn_offer(&mut self, at: Time, job: JobId, host: HostId) -> Option<Offer> {
        let mut offer = self.offer(at, job, host)?;
        offer.expect.why = Why::Drawn;
        Some(offer)
    }

    /// The offer that a job takes by which the run may be longer, if it takes one now.
    fn asked_to_draw(
        &mut self,
        at: Time,
        host: HostId,
        left: Span,
        line: &mut Line,
        row: usize,
    ) -> Option<Offer> {
        let wait = line.wait_mut(row)?;
        wait.forget_if_past(at);
        if !self.may_suit(at, wait, &[host]) || !self.jobs.is_ready(wait.job) || self.is_held_back(wait.job) {
            return None;
        }
        self.refresh(at, false);
        if self.is_asked_anew(wait) {
            // It meets those before it, and neither itself nor those behind.
            self.charge_before(at, line, row);
        }
        let wait = line.wait_mut(row)?;
        let offer = self.suits(at, wait, &[host])?;
        // What keeps the slot for no longer than that is not in the way of anything.
        if offer.expect.work <= left || !self.is_to_be_kept(at, wait.job, &offer, line) {
            return Some(offer);
        }
        let wait = line.wait_mut(row)?;
        *wait = wait.with(&offer);
        self.placed[wait.job].due = offer.finish;
        None
    }

    /// Whether a slot is kept for a job that comes soon. Those are looked for anew, by what stands in line, too.
    fn is_to_be_kept(&mut self, at: Time, job: JobId, offer: &Offer, line: &mut Line) -> bool {
        if self.policy.look_ahead == 0 {
            return false;
        }
        let rank = self.jobs.rank(job);
        self.coming.begin(rank);
        std::mem::swap(&mut self.line, line);
        self.charge_coming(at, rank);
        std::mem::swap(&mut self.line, line);
        // What comes counts as well now.
        line.forget_charged();
        self.is_kept(at, job, offer, None)
    }
}
