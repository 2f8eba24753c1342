//! Placement: which ready job goes to which free slot.
//!
//! Dynamic HEFT with late binding: in rank order, each ready job is given to the host where it would
//! finish first, counting the wait for a slot there, the transfer of what the host lacks and the work
//! at its speed. If that host has no free slot now the job is only charged to it, so that jobs behind
//! it in the order see the host as busy and fill others; nothing is bound until a slot is free.
//!
//! Among jobs of about the same rank, those whose inputs are already where they finish first choose
//! before those that would have to bring theirs along: otherwise a job takes the last free slot next
//! to another one's data, and both pay for a transfer.
//!
//! To look at all that waits takes long, so that is done after a part of all slots was given to jobs, when a slot
//! is left that suits nobody in `line`, when next to nothing waits, or when an idle host loses its patience. Before
//! a job waits that could begin on another host, those that will be ready by then are charged, too (`coming`).

use std::sync::Arc;

use crate::base::{Span, Time};
use crate::fleet::HostId;
use crate::graph::JobId;
use crate::run::{Expectation, Order, SlotId, Why};

use super::Scheduler;
use super::line::Ended;
use super::offer::Offer;
use super::policy::Choice;
use super::state::{JobState, Seat};

/// All that waits is looked at again each time that such a part of all slots was given to jobs.
const LOOK: u32 = 4;
/// Ready jobs are always gone through if, with all hosts for each, that is no more to look at than this.
const FEW: usize = 32;
/// Where so many times as many jobs are ready as are looked at, what is to come is not: a slot that is taken now will
/// be left, and taken in the order of rank, many times before the run can be longer by it.
const ENOUGH: usize = 10;

/// One time that jobs are given to slots.
#[derive(Clone, Debug)]
pub(super) struct Round {
    /// Free slots.
    pub free: usize,
    /// Those among them that were not free when the last round ended.
    pub new: usize,
    /// All ready jobs are gone through, as far as the window goes, and those that wait for a host may have their
    /// inputs sent ahead. Otherwise no more than it takes to fill the slots that are new, and new jobs.
    full: bool,
    /// There are hosts to which more may be sent.
    ahead: bool,
    /// The jobs that became ready since the last round, ascending.
    pub fresh: Vec<JobId>,
}

/// What came of placing a job last, be it that it waits.
#[derive(Clone, Debug, Default)]
pub(super) struct Placed {
    /// When it should be over where it would be done first.
    pub due: Time,
    /// With a slot: when it should be over by its offer, or once it runs, by its estimate and by what it says.
    pub end: Time,
    /// The cores it was given.
    pub cores: u32,
    /// When it said last how much of its work it had done, and how much in thousandths.
    pub progress: Option<(Time, u16)>,
    /// Why it is where it is.
    pub expect: Expectation,
}

impl Round {
    /// Whether anything can come of looking at more jobs.
    pub fn goes_on(&self) -> bool {
        self.new > 0 || self.free > 0 && (self.full || !self.fresh.is_empty()) || self.ahead
    }
}

impl Scheduler {
    /// Binds ready jobs to free slots as far as that is best, and sends inputs ahead where it is not. That an
    /// input has come somewhere tells next to nothing; `tells` says that more has happened.
    pub(super) fn place(&mut self, at: Time, tells: bool, out: &mut Vec<Order>) {
        self.stir();
        self.asked.void();
        if self.jobs.any_moved() && !self.is_plenty() {
            self.wake_for_copies(at);
        }
        let tells = tells || self.is_impatient(at) || !self.handed_over.is_empty() || self.jobs.any_fresh();
        if !tells {
            return;
        }
        let draws = self.draws(at);
        match draws {
            Some(_) => self.count_free(),
            None => self.refresh(at, false),
        }
        let mut fresh = self.jobs.take_fresh();
        fresh.sort_unstable();
        for &job in &fresh {
            self.pull[job] = self.pull_of(job);
            // It may have been ready before, with inputs of other sizes.
            self.lacks.drop_job(job);
        }
        self.follow(at, out);
        let polled = self.poll(at);
        let mut round = self.round(at, tells, fresh);
        if let Some(left) = draws {
            self.draw(at, left, &mut round, out);
            round.full = round.new > 0;
        } else if !round.full {
            self.share_cores();
            self.fill(at, &mut round, out);
            if round.new > 0 && self.line.is_complete(self.enough_in_line()) {
                let window = self.line.jobs().collect::<Vec<_>>();
                self.use_idle(at, &window, &round.fresh, out);
            } else {
                // What suits nobody in line may suit somebody.
                round.full = round.new > 0;
            }
        }
        let mut looked_at = None;
        while round.full {
            let free = round.free;
            looked_at = self.look(at, polled, &mut round, out);
            // Where all that is looked at has a slot now and there are more, so are others.
            round.full = self.line.is_used_up() && (1..free).contains(&round.free);
        }
        if let Some(window) = looked_at.filter(|_| round.free > 0) {
            self.use_idle(at, &window, &window, out);
        }
        for (host, &free) in self.forecasts.free_slots().iter() {
            self.left_free[host] = free;
        }
        self.jobs.give_back(round.fresh);
    }

    /// Looks at all ready jobs, as far as the window goes, and returns them, unless nothing can come of it.
    fn look(
        &mut self,
        at: Time,
        polled: bool,
        round: &mut Round,
        out: &mut Vec<Order>,
    ) -> Option<Vec<JobId>> {
        self.seats_since_round = 0;
        self.patience_ends = None;
        self.refresh(at, true);
        self.forecasts.clear();
        self.line.clear();
        round.ahead = self.policy.prefetch > 0 && self.may_send_ahead();
        if !round.goes_on() {
            self.line.close(Ended::Slots);
            return None;
        }
        let window = self.window(round.free, (!polled).then_some(&round.fresh));
        self.share_cores();
        self.look_ahead(at, &window);
        let mut rest = window.as_slice();
        while let Some(&first) = rest.first()
            && round.goes_on()
        {
            let least = self.least_alike(self.jobs.rank(first));
            let alike = rest.iter().take_while(|&&job| self.jobs.rank(job) >= least).count().max(1);
            let (group, behind) = rest.split_at(alike);
            self.place_group(at, group, round, out);
            rest = behind;
        }
        self.release();
        self.line.close(match () {
            () if !round.goes_on() => Ended::Slots,
            () if window.len() >= self.policy.window => Ended::Window,
            () => Ended::Last,
        });
        Some(window)
    }

    /// What free slots are good for that no ready job of `window` wants. Those of `fresh` are new to it.
    fn use_idle(&mut self, at: Time, window: &[JobId], fresh: &[JobId], out: &mut Vec<Order>) {
        if self.policy.choice == Choice::Planned {
            // They are meant to be free.
            return;
        }
        self.guard_idle(at, window, fresh, out);
        self.steal(at, out);
        self.copy_late(at, out);
    }

    /// Whether a host has been idle, or a build not been looked at, for too long.
    pub(super) fn is_impatient(&self, at: Time) -> bool {
        self.patience_ends.is_some_and(|end| end <= at)
    }

    /// The least rank that is about the same as another one.
    pub(super) fn least_alike(&self, rank: Span) -> Span {
        rank.scale(1.0 - self.policy.rank_tolerance)
    }

    /// What there is to do in a round.
    fn round(&mut self, at: Time, tells: bool, fresh: Vec<JobId>) -> Round {
        let slots = self.hosts.used_slots().all();
        let is_time = || {
            self.line.is_void()
                || fresh.len() > self.policy.window
                || self.seats_since_round * LOOK >= slots
                || self.jobs.ready_count() * self.hosts.spec.len() <= FEW
        };
        let full = self.policy.choice != Choice::Earliest || self.is_impatient(at) || tells && is_time();
        let (free, left) = (self.forecasts.free_slots().rows(), self.left_free.rows());
        let old: usize = free.iter().zip(left).map(|(free, left)| free.min(left)).sum();
        let free = free.iter().sum();
        Round { free, new: free - old, full, ahead: false, fresh }
    }

    /// The ready jobs to look at, best first: as many as the policy says, and beyond those as many for the
    /// free slots that none of them can take. Jobs for some hosts must not keep others from idle ones.
    /// With `only`, no others than those.
    pub(super) fn window(&self, free: usize, only: Option<&Vec<JobId>>) -> Vec<JobId> {
        let connected = |h: &HostId| self.forecasts.of(*h).available(Time::ZERO).is_some();
        let eligible = |job: JobId, can: &dyn Fn(&HostId) -> bool| self.eligible[job].iter().any(can);
        let first = self.jobs.ready().filter(|&job| eligible(job, &connected)).take(self.policy.window);
        let mut window: Vec<JobId> = first.collect();
        if window.len() == self.policy.window && free > 0 {
            let unserved = self.unserved(&window);
            let serves = |h: &HostId| unserved.contains(h);
            if !unserved.is_empty() {
                let more = self.jobs.ready().filter(|&job| eligible(job, &serves));
                window.extend(more.take(self.policy.window));
            }
        }
        if let Some(only) = only {
            window.retain(|job| only.contains(job));
        }
        window
    }

    /// The hosts with a free slot that can build none of `jobs`, ascending.
    fn unserved(&self, jobs: &[JobId]) -> Vec<HostId> {
        // Few lists are distinct, and equal ones are kept once.
        let mut lists: Vec<&Arc<[HostId]>> = Vec::new();
        for &job in jobs {
            if !lists.iter().any(|list| Arc::ptr_eq(list, &self.eligible[job])) {
                lists.push(&self.eligible[job]);
            }
        }
        let open = |h: &HostId| !self.forecasts.of(*h).free.is_empty();
        let unserved = |h: &HostId| !lists.iter().any(|list| list.contains(h));
        self.hosts.spec.ids().filter(open).filter(unserved).collect()
    }

    /// Whether it is time to look at jobs that found no slot before.
    fn poll(&mut self, at: Time) -> bool {
        let due = at >= self.next_poll;
        if due {
            self.next_poll = at + self.policy.poll;
        }
        due
    }

    /// Places jobs of about the same rank: first those that need nothing brought.
    fn place_group(&mut self, at: Time, group: &[JobId], round: &mut Round, out: &mut Vec<Order>) {
        let mut tried: Vec<Option<(Offer, u32)>> = Vec::new();
        if group.len() > 1 {
            tried.resize(group.len(), None);
            for (&job, tried) in group.iter().zip(&mut tried) {
                if round.free == 0 {
                    break;
                }
                if self.is_held_back(job) || !self.is_free_beside_inputs(job) {
                    continue;
                }
                let Some(offer) = self.best_offer(at, job) else { continue };
                *tried = Some((offer, self.forecasts.version(offer.host)));
                let takes = offer.free && offer.expect.transfer == Span::ZERO;
                if takes && self.reserve(at, job, &offer).is_none() {
                    self.expects_others(at, job, &offer);
                    if !self.is_kept(at, job, &offer, None) {
                        self.give(at, job, offer, round, out);
                    }
                }
            }
        }
        // What a round enters makes offers worse, never better: the best one of a job is so as long as nothing
        // was entered at that host.
        let stands = |of: &Self, offer: &Offer, version| of.forecasts.version(offer.host) == version;
        for (row, &job) in group.iter().enumerate() {
            if !round.goes_on() {
                break;
            }
            if !self.jobs.is_ready(job) {
                continue;
            }
            if self.is_held_back(job) {
                self.line.push(self.lined_up(job));
                continue;
            }
            self.placed[job].due = Time::ZERO;
            let tried = tried.get(row).copied().flatten().filter(|(offer, was)| stands(self, offer, *was));
            let Some(mut offer) = tried.map(|(offer, _)| offer).or_else(|| self.best_offer(at, job)) else {
                self.line.push(self.lined_up(job));
                continue;
            };
            if self.expects_others(at, job, &offer) && !offer.free {
                offer = self.best_offer(at, job).unwrap_or(offer);
            }
            let Some(offer) = self.beside_booked(at, job, offer) else {
                self.line.push(self.lined_up(job));
                continue;
            };
            if let Some(end) = self.reserve(at, job, &offer) {
                self.placed[job].due = end;
                self.forecasts.charge(offer.host, end);
                self.line.push(self.lined_up(job));
            } else if offer.free {
                self.give(at, job, offer, round, out);
            } else {
                self.wait(job, offer, round, out);
            }
            self.note_coming(job, offer.host, offer.finish);
        }
    }

    /// Looks at what is to come, if the job would wait although it could begin somewhere, or take the last free slot
    /// of a host. Returns whether anything was charged.
    fn expects_others(&mut self, at: Time, job: JobId, offer: &Offer) -> bool {
        let is_telling = match offer.free {
            true => self.forecasts.of(offer.host).free.len() == 1,
            false => self.is_scarce() && self.has_free_host(job),
        };
        self.looks_ahead() && is_telling && self.charge_coming(at, self.jobs.rank(job))
    }

    fn looks_ahead(&self) -> bool {
        let is_enough = self.jobs.ready_count() > ENOUGH * self.policy.window;
        self.policy.look_ahead > 0 && self.policy.choice == Choice::Earliest && !is_enough
    }

    /// Begins to look ahead. Where more is ready than is looked at, only to what ranks higher than all of that.
    fn look_ahead(&mut self, at: Time, window: &[JobId]) {
        let is_scarce = self.is_scarce();
        let least = if is_scarce { window.last() } else { window.first() };
        let least = least.map_or(Span::ZERO, |&job| self.jobs.rank(job));
        self.coming.begin(least);
        if self.looks_ahead() && !is_scarce {
            self.charge_coming(at, least);
        }
    }

    /// Whether all that is ready is looked at. With more, there is always another one to take a free slot.
    fn is_scarce(&self) -> bool {
        self.jobs.ready_count() <= self.policy.window
    }

    /// Gives a job its best offer.
    pub(super) fn give(
        &mut self,
        at: Time,
        job: JobId,
        offer: Offer,
        round: &mut Round,
        out: &mut Vec<Order>,
    ) {
        if self.has_new(offer.host) {
            round.new -= 1;
        }
        round.free -= 1;
        self.bind_best(at, job, offer, out);
    }

    /// Whether a host has a free slot that was not free when the last round ended.
    pub(super) fn has_new(&self, host: HostId) -> bool {
        self.left_free[host] < self.forecasts.free_slots()[host]
    }

    /// Has a job wait for its best offer, and sends what it needs ahead.
    fn wait(&mut self, job: JobId, offer: Offer, round: &mut Round, out: &mut Vec<Order>) {
        self.placed[job].due = offer.finish;
        self.forecasts.charge(offer.host, offer.finish);
        self.line.push(self.lined_up(job).with(&offer));
        if !round.ahead {
            return;
        }
        let (charged, limit) = (self.forecasts.of(offer.host).charged, self.prefetch_limit(offer.host));
        // Sending ahead what may yet be built next to its inputs would be a waste more often than not.
        if offer.must_move && charged <= limit {
            self.prefetch(offer.host, job, out);
        }
        if charged == limit {
            round.ahead = self.may_send_ahead();
        }
    }

    fn prefetch_limit(&self, host: HostId) -> u32 {
        if self.hosts.takes_jobs(host) { self.policy.prefetch * self.hosts.used_slots().of(host) } else { 0 }
    }

    fn may_send_ahead(&self) -> bool {
        // By a plan nothing waits for a host that is busy.
        self.policy.choice != Choice::Planned
            && self.hosts.spec.ids().any(|h| self.forecasts.of(h).charged < self.prefetch_limit(h))
    }

    /// Gives a job its slot by its best offer, and notes which one would have been the next.
    pub(super) fn bind_best(&mut self, at: Time, job: JobId, mut offer: Offer, out: &mut Vec<Order>) {
        offer.expect.why = match offer.expect.why {
            Why::Soonest if self.policy.choice == Choice::Planned => Why::Planned,
            Why::Soonest if self.is_confined(job) => Why::Confined,
            why => why,
        };
        if !self.watched.by_nobody && offer.expect.why == Why::Soonest {
            let next = self.best_but(at, job, Some(offer.host));
            offer.expect.next_best = next.map(|next| (next.host, next.finish.since(at)));
        }
        self.bind(at, job, offer, out);
    }

    /// Gives a job its slot and asks for the inputs it lacks there.
    pub(super) fn bind(&mut self, at: Time, job: JobId, offer: Offer, out: &mut Vec<Order>) {
        self.show(at, job);
        let Some(slot) = self.forecasts.take(offer.host, offer.finish, offer.cores.max(1)) else { return };
        self.seat(at, job, offer, slot, out);
    }

    pub(super) fn seat(&mut self, at: Time, job: JobId, offer: Offer, slot: SlotId, out: &mut Vec<Order>) {
        let seat = Seat { host: offer.host, slot, attempt: self.tries.attempt(job), since: at };
        self.seats_since_round += 1;
        let Offer { finish, cores, expect, .. } = offer;
        self.placed[job] = Placed { due: finish, end: finish, cores, progress: None, expect };
        // What was found out for those who ask why must not count in what is decided later.
        self.lacks.drop_job(job);
        if self.inputs_complete(offer.host, job) {
            return self.start(at, job, seat, out);
        }
        self.jobs.set(job, JobState::Staging(seat));
        self.stage_or_unseat(offer.host, job, out);
    }

    /// Starts a job whose inputs are complete where it sits.
    pub(super) fn start_if_complete(&mut self, at: Time, job: JobId, out: &mut Vec<Order>) {
        let JobState::Staging(seat) = self.jobs.state(job) else { return };
        if self.inputs_complete(seat.host, job) {
            self.start(at, job, seat, out);
        }
    }

    fn start(&mut self, at: Time, job: JobId, seat: Seat, out: &mut Vec<Order>) {
        self.run(job, Seat { since: at, ..seat });
        let Seat { host, slot, attempt, .. } = seat;
        let Placed { cores, expect, .. } = self.placed[job];
        out.push(Order::Build { job, attempt, host, slot, cores, expect });
    }
}
