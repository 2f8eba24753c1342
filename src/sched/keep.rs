//! Slots kept for jobs that are not ready yet.
//!
//! Late binding gives a free slot to whoever is ready. If the last fast slots go to long jobs on which little rests
//! just before the one becomes ready on which the end of the run rests, that one waits for hours, or goes to a slow
//! host. So a look ahead books a place for each job that comes soon and ranks higher than what is ready, and a slot
//! is not given to another one if that would still have it when it is needed, and the run would be longer by it.
//! What is over by then may have the slot, as with backfilling of reservations (Lifka 1995).
//!
//! To wait for what does not come is a loss, too. How long a slot may be kept is a part of what the job takes, the
//! less the less is known about that: nothing is certain of the others in front of it either.

use crate::base::{Span, Time};
use crate::fleet::HostId;
use crate::graph::JobId;

use super::Scheduler;
use super::offer::Offer;
use super::state::JobState;

/// Where a job that is not ready should be done first.
#[derive(Clone, Copy, Debug)]
pub(super) struct Booking {
    pub job: JobId,
    pub host: HostId,
    /// When it should begin, and when it should be over.
    pub start: Time,
    pub finish: Time,
    /// How long a slot waits for it.
    pub idle: Span,
    /// When it should be over on the next best host.
    pub elsewhere: Option<Time>,
    /// Its slot is free now.
    pub is_free: bool,
}

/// A slot is kept for this part of what a job takes if its 90 % quantile is twice its 10 % quantile.
const PART: f64 = 0.05;

impl Scheduler {
    /// When a host has a slot for one more job than those for which free ones are booked.
    pub(super) fn available_beside_booked(&self, at: Time, host: HostId) -> Option<Time> {
        let outlook = self.forecasts.of(host);
        let booked = || self.coming.booked(host).iter().filter(|booked| booked.is_free);
        if outlook.free.is_empty() || outlook.free.len() > booked().count() {
            return self.forecasts.available(host, at);
        }
        let ends = outlook.ends.first().copied().into_iter();
        ends.chain(booked().map(|booked| booked.finish)).min().map(|end| end.max(at))
    }

    /// The offer, or the next best one if its slot is kept for another job; `None` if the job is to wait.
    pub(super) fn beside_booked(&mut self, at: Time, job: JobId, offer: Offer) -> Option<Offer> {
        if !offer.free || self.in_the_way_of(at, job, &offer).is_none() {
            return Some(offer);
        }
        let other = self.best_but(at, job, Some(offer.host));
        if !self.is_kept(at, job, &offer, other.map(|other| other.finish)) {
            return Some(offer);
        }
        let other = other.filter(|other| !other.free || !self.is_kept(at, job, other, None))?;
        Some(Offer { must_move: offer.must_move, ..other })
    }

    /// Whether the slot of an offer is kept for a job that is not ready yet: the run would be longer by what that one
    /// loses than by what this one does. Without the slot, this one would be over `elsewhere`. When the other one
    /// should have begun, all that waits is looked at again, as it may not have come.
    pub(super) fn is_kept(&mut self, at: Time, job: JobId, offer: &Offer, elsewhere: Option<Time>) -> bool {
        let Some(booked) = self.in_the_way_of(at, job, offer) else { return false };
        let is_kept = self.loses_more(at, job, offer, &booked, elsewhere);
        if is_kept {
            self.patience_ends = self.patience_ends.into_iter().chain([booked.start]).min();
        }
        is_kept
    }

    /// Whether the run would be longer if a booking was not kept than if it was.
    fn loses_more(
        &self,
        at: Time,
        job: JobId,
        offer: &Offer,
        booked: &Booking,
        elsewhere: Option<Time>,
    ) -> bool {
        let next = self.forecasts.settled(offer.host).ends.iter().copied().find(|&end| end > booked.start);
        let later = next.unwrap_or(offer.finish).min(offer.finish) + booked.finish.since(booked.start);
        let loss = later.min(booked.elsewhere.unwrap_or(later)).since(booked.finish);
        let way = self.way_through(booked) + loss;
        let own_later = booked.finish + offer.expect.work;
        let own_loss = own_later.min(elsewhere.unwrap_or(own_later)).since(offer.finish);
        let own_start = Time(offer.finish.0.saturating_sub(offer.expect.work.0));
        // Where there is so much to do that the run takes longer anyway, no slot should be idle.
        way > own_start + self.jobs.rank(job) + own_loss && way > self.soonest_end(at, booked.job)
    }

    /// Of the bookings that a job would come in the way of, the one with the longest way behind it.
    fn in_the_way_of(&self, at: Time, job: JobId, offer: &Offer) -> Option<Booking> {
        let booked = self.coming.booked(offer.host).iter();
        let waiting = booked.filter(|booked| self.is_worth_keeping(at, job, offer, booked));
        waiting.max_by_key(|booked| (self.way_through(booked), booked.job)).copied()
    }

    /// When the run ends at the soonest by what rests on a job that has a booking.
    fn way_through(&self, booked: &Booking) -> Time {
        booked.start + self.jobs.rank(booked.job)
    }

    /// Whether a booking is one that a job with less behind it would come in the way of.
    fn is_worth_keeping(&self, at: Time, job: JobId, offer: &Offer, booked: &Booking) -> bool {
        let Booking { job: other, start, finish, .. } = *booked;
        let is_between = start > at && start < offer.finish;
        is_between
            && self.jobs.state(other) == JobState::Waiting
            && self.jobs.rank(other) > self.jobs.rank(job)
            && start.since(at) <= finish.since(start).scale(self.part_to_keep(other))
            && !self.is_slot_left(offer.host, booked)
    }

    fn part_to_keep(&self, job: JobId) -> f64 {
        let cost = self.estimates[job];
        let spread = cost.p90.saturating_sub(cost.p10).as_secs_f64();
        (PART * cost.p10.as_secs_f64() / spread).clamp(0.0, 1.0)
    }

    /// Whether a slot of the host is free when a booking begins, even if one that is free now is given away.
    fn is_slot_left(&self, host: HostId, booked: &Booking) -> bool {
        let (free, ends) = (self.forecasts.of(host).free.len(), &self.forecasts.settled(host).ends);
        let open = free + ends.iter().filter(|&&end| end <= booked.start).count();
        let meets = |other: &&Booking| other.start <= booked.start && other.finish > booked.start;
        open > self.coming.booked(host).iter().filter(meets).count()
    }
}
