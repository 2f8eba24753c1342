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

use crate::base::{Span, Table, Time};
use crate::fleet::HostId;
use crate::graph::JobId;
use crate::run::{Expectation, Order, SlotId};

use super::Scheduler;
use super::state::{JobState, Seat};

/// What a job would meet on one host.
#[derive(Clone, Copy, Debug)]
pub(super) struct Offer {
    pub(super) host: HostId,
    /// Which of the host's slots, as an index into its forecast.
    seat: usize,
    pub(super) finish: Time,
    pub(super) expect: Expectation,
    /// Whether there is no host that has all of the job's inputs.
    must_move: bool,
}

/// When each slot of a host is likely to be free; `None` stands for a slot that only looks busy because
/// a better job was charged to it.
#[derive(Clone, Debug, Default)]
pub(super) struct Forecast {
    slots: Vec<(Time, Option<SlotId>)>,
    charged: u32,
}

impl Forecast {
    /// Makes the slot of an offer look busy until the job would be done.
    pub(super) fn charge(&mut self, offer: Offer) {
        self.slots[offer.seat].0 = offer.finish;
    }

    fn has_free_slot(&self) -> bool {
        self.slots.iter().any(|(_, slot)| slot.is_some())
    }

    /// Takes the slot of an offer, if `really` and if it is free.
    fn take_if(&mut self, really: bool, offer: Offer) -> Option<SlotId> {
        let (free, slot) = &mut self.slots[offer.seat];
        let slot = if really { slot.take() } else { None }?;
        *free = offer.finish;
        Some(slot)
    }
}

impl Scheduler {
    /// Binds ready jobs to free slots as far as that is best, and sends inputs ahead where it is not.
    pub(super) fn place(&mut self, at: Time, out: &mut Vec<Order>) {
        let mut forecasts = self.forecasts(at);
        let window = self.window(&forecasts);
        let mut rest = window.as_slice();
        while let Some(&first) = rest.first() {
            let least = self.jobs.rank(first).scale(1.0 - self.policy.rank_tolerance);
            let alike = rest.iter().take_while(|&&job| self.jobs.rank(job) >= least).count();
            let (group, behind) = rest.split_at(alike);
            self.place_group(at, group, &mut forecasts, out);
            rest = behind;
        }
        self.start_complete(at, out);
    }

    /// The ready jobs to look at, best first: as many as the policy says, and beyond those as many that
    /// could have a slot now. Jobs for a host that is away or busy must not keep others from idle ones.
    pub(super) fn window(&self, forecasts: &Table<HostId, Forecast>) -> Vec<JobId> {
        let connected = |job: JobId| self.eligible[job].iter().any(|&h| !forecasts[h].slots.is_empty());
        let free: Vec<HostId> =
            forecasts.iter().filter(|(_, f)| f.has_free_slot()).map(|(host, _)| host).collect();
        let first = self.jobs.ready().filter(|&job| connected(job)).take(self.policy.window);
        let mut window: Vec<JobId> = first.collect();
        let seatable = |job: JobId| self.eligible[job].iter().any(|h| free.contains(h));
        if window.len() == self.policy.window && !free.is_empty() && !window.iter().any(|&j| seatable(j)) {
            window.extend(self.jobs.ready().filter(|&job| seatable(job)).take(self.policy.window));
        }
        window
    }

    /// Places jobs of about the same rank: first those that need nothing brought.
    fn place_group(
        &mut self,
        at: Time,
        group: &[JobId],
        forecasts: &mut Table<HostId, Forecast>,
        out: &mut Vec<Order>,
    ) {
        for &job in group {
            if !forecasts.rows().iter().any(Forecast::has_free_slot) {
                break;
            }
            let Some(offer) = self.best_offer(at, job, forecasts) else { continue };
            let here = offer.expect.transfer == Span::ZERO;
            if let Some(slot) = forecasts[offer.host].take_if(here, offer) {
                self.bind(at, job, slot, offer, out);
            }
        }
        for &job in group {
            if self.jobs.state(job) != JobState::Ready {
                continue;
            }
            let ahead = |(h, f): (HostId, &Forecast)| f.charged < self.prefetch_limit(h);
            if !forecasts.rows().iter().any(Forecast::has_free_slot) && !forecasts.iter().any(ahead) {
                break;
            }
            let Some(offer) = self.best_offer(at, job, forecasts) else { continue };
            let forecast = &mut forecasts[offer.host];
            if let Some(slot) = forecast.take_if(true, offer) {
                self.bind(at, job, slot, offer, out);
                continue;
            }
            forecast.slots[offer.seat].0 = offer.finish;
            forecast.charged += 1;
            // Sending ahead what may yet be built next to its inputs would be a waste more often than not.
            if offer.must_move && forecast.charged <= self.prefetch_limit(offer.host) {
                self.prefetch(offer.host, job, out);
            }
        }
    }

    fn prefetch_limit(&self, host: HostId) -> u32 {
        if self.hosts.is_up(host) { self.policy.prefetch * self.hosts.spec[host].slots } else { 0 }
    }

    /// Every connected slot with the time it is likely to be free from.
    pub(super) fn forecasts(&self, at: Time) -> Table<HostId, Forecast> {
        let mut forecasts = Table::filled(self.hosts.spec.len(), Forecast::default());
        for host in self.hosts.spec.ids().filter(|&h| self.hosts.is_up(h)) {
            let taken: Vec<(SlotId, JobId)> = self.jobs.seated_on(host).collect();
            for &slot in self.hosts.slots(host) {
                let row = match taken.binary_search_by_key(&slot, |&(s, _)| s) {
                    Ok(i) => (at + self.time_left(at, host, taken[i].1), None),
                    Err(_) => (at, Some(slot)),
                };
                forecasts[host].slots.push(row);
            }
        }
        forecasts
    }

    /// How long a job that has a slot will probably keep it.
    fn time_left(&self, at: Time, host: HostId, job: JobId) -> Span {
        let cost = self.estimates[job];
        match self.jobs.state(job) {
            JobState::Running(seat) => {
                let speed = self.hosts.spec[host].speed;
                let done = at.since(seat.since).scale(speed);
                self.hosts.work(host, crate::cost::remaining(&cost, done))
            }
            _ => self.transfer(host, job) + self.hosts.work(host, cost.median),
        }
    }

    fn transfer(&self, host: HostId, job: JobId) -> Span {
        let inputs = &self.work.jobs[job].inputs;
        self.stores.transfer_time(&self.hosts.spec, host, inputs, self.policy.transfer_overhead)
    }

    /// The host where the job finishes first; ties go to the host with less to transfer, then by id.
    pub(super) fn best_offer(
        &self,
        at: Time,
        job: JobId,
        forecasts: &Table<HostId, Forecast>,
    ) -> Option<Offer> {
        let avoid = &self.tries[job].avoid;
        let up = |h: &&HostId| self.hosts.is_up(**h);
        let spared = self.eligible[job].iter().filter(up).any(|h| !avoid.contains(h));
        let offers = self.eligible[job]
            .iter()
            .filter(up)
            .filter(|h| !spared || !avoid.contains(h))
            .filter_map(|&host| self.offer(at, job, host, &forecasts[host]));
        let (mut best, mut second): (Option<Offer>, Option<Offer>) = (None, None);
        let mut must_move = true;
        for offer in offers {
            must_move &= offer.expect.transfer > Span::ZERO;
            let key = |o: &Offer| (o.finish, o.expect.transfer, o.host);
            if best.is_none_or(|b| key(&offer) < key(&b)) {
                second = best.replace(offer);
            } else if second.is_none_or(|s| key(&offer) < key(&s)) {
                second = Some(offer);
            }
        }
        best.map(|mut offer| {
            offer.expect.next_best = second.map(|s| (s.host, s.finish.since(at)));
            offer.must_move = must_move;
            offer
        })
    }

    pub(super) fn offer(&self, at: Time, job: JobId, host: HostId, forecast: &Forecast) -> Option<Offer> {
        let (seat, &(free, _)) =
            forecast.slots.iter().enumerate().min_by_key(|(i, (free, _))| (*free, *i))?;
        let transfer = self.transfer(host, job);
        let work = self.hosts.work(host, self.estimates[job].median);
        // Inputs travel while the slot is still busy.
        let begin = free.max(at + transfer);
        let expect = Expectation { queue: free.since(at), transfer, work, next_best: None };
        Some(Offer { host, seat, finish: begin + work, expect, must_move: false })
    }

    /// Gives a job its slot and asks for the inputs it lacks there.
    fn bind(&mut self, at: Time, job: JobId, slot: SlotId, offer: Offer, out: &mut Vec<Order>) {
        let seat = Seat { host: offer.host, slot, attempt: self.tries[job].attempt(), since: at };
        self.jobs.set(job, JobState::Staging(seat));
        self.expect[job] = offer.expect;
        self.stage_or_unseat(offer.host, job, out);
    }

    /// Starts every job whose inputs are complete where it sits.
    fn start_complete(&mut self, at: Time, out: &mut Vec<Order>) {
        let complete: Vec<(JobId, Seat)> = self
            .jobs
            .seated()
            .filter_map(|(_, _, job)| match self.jobs.state(job) {
                JobState::Staging(seat) => Some((job, seat)),
                _ => None,
            })
            .filter(|(job, seat)| self.inputs_complete(seat.host, *job))
            .collect();
        for (job, seat) in complete {
            self.jobs.set(job, JobState::Running(Seat { since: at, ..seat }));
            let Seat { host, slot, attempt, .. } = seat;
            let expect = self.expect[job];
            out.push(Order::Build { job, attempt, host, slot, cores: self.policy.cores, expect });
        }
    }
}
