//! Placement: which ready job goes to which free slot.
//!
//! Dynamic HEFT with late binding: in rank order, each ready job is given to the host where it would
//! finish first, counting the wait for a slot there, the transfer of what the host lacks and the work
//! at its speed. If that host has no free slot now the job is only charged to it, so that jobs behind
//! it in the order see the host as busy and fill others; nothing is bound until a slot is free.

use crate::base::{Span, Table, Time};
use crate::fleet::HostId;
use crate::graph::JobId;
use crate::run::{Expectation, Order, SlotId};

use super::Scheduler;
use super::state::{JobState, Seat};

/// What a job would meet on one host.
#[derive(Clone, Copy, Debug)]
struct Offer {
    host: HostId,
    /// Which of the host's slots, as an index into its forecast.
    seat: usize,
    finish: Time,
    expect: Expectation,
}

/// When each slot of a host is likely to be free; `None` stands for a slot that only looks busy because
/// a better job was charged to it.
#[derive(Clone, Debug, Default)]
struct Forecast {
    slots: Vec<(Time, Option<SlotId>)>,
    charged: u32,
}

impl Scheduler {
    /// Binds ready jobs to free slots as far as that is best, and sends inputs ahead where it is not.
    pub(super) fn place(&mut self, at: Time, out: &mut Vec<Order>) {
        let mut forecasts = self.forecasts(at);
        let window: Vec<JobId> = self.jobs.ready().take(self.policy.window).collect();
        for job in window {
            let idle = |f: &Forecast| f.slots.iter().any(|(_, slot)| slot.is_some());
            let ahead = |(h, f): (HostId, &Forecast)| f.charged < self.prefetch_limit(h);
            if !forecasts.rows().iter().any(idle) && !forecasts.iter().any(ahead) {
                break;
            }
            let Some(offer) = self.best_offer(at, job, &forecasts) else { continue };
            let forecast = &mut forecasts[offer.host];
            match forecast.slots[offer.seat].1.take() {
                Some(slot) => self.bind(at, job, slot, offer, out),
                None => {
                    forecast.charged += 1;
                    if forecast.charged <= self.prefetch_limit(offer.host) {
                        self.prefetch(offer.host, job, out);
                    }
                }
            }
            forecasts[offer.host].slots[offer.seat].0 = offer.finish;
        }
        self.start_complete(at, out);
    }

    fn prefetch_limit(&self, host: HostId) -> u32 {
        if self.hosts.is_up(host) { self.policy.prefetch * self.hosts.spec[host].slots } else { 0 }
    }

    /// Every connected slot with the time it is likely to be free from.
    fn forecasts(&self, at: Time) -> Table<HostId, Forecast> {
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
    fn best_offer(&self, at: Time, job: JobId, forecasts: &Table<HostId, Forecast>) -> Option<Offer> {
        let avoid = &self.tries[job].avoid;
        let up = |h: &&HostId| self.hosts.is_up(**h);
        let spared = self.eligible[job].iter().filter(up).any(|h| !avoid.contains(h));
        let offers = self.eligible[job]
            .iter()
            .filter(up)
            .filter(|h| !spared || !avoid.contains(h))
            .filter_map(|&host| self.offer(at, job, host, &forecasts[host]));
        let (mut best, mut second): (Option<Offer>, Option<Offer>) = (None, None);
        for offer in offers {
            let key = |o: &Offer| (o.finish, o.expect.transfer, o.host);
            if best.is_none_or(|b| key(&offer) < key(&b)) {
                second = best.replace(offer);
            } else if second.is_none_or(|s| key(&offer) < key(&s)) {
                second = Some(offer);
            }
        }
        best.map(|mut offer| {
            offer.expect.next_best = second.map(|s| (s.host, s.finish.since(at)));
            offer
        })
    }

    fn offer(&self, at: Time, job: JobId, host: HostId, forecast: &Forecast) -> Option<Offer> {
        let (seat, &(free, _)) =
            forecast.slots.iter().enumerate().min_by_key(|(i, (free, _))| (*free, *i))?;
        let transfer = self.transfer(host, job);
        let work = self.hosts.work(host, self.estimates[job].median);
        // Inputs travel while the slot is still busy.
        let begin = free.max(at + transfer);
        let expect = Expectation { queue: free.since(at), transfer, work, next_best: None };
        Some(Offer { host, seat, finish: begin + work, expect })
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
