//! Second thoughts: work that waits moves to a host that has nothing to do.
//!
//! Only a job whose inputs are still on their way is ever taken from a host; what runs, stays. Late binding
//! leaves little to steal: a job that could begin elsewhere was not bound in the first place, so this
//! happens where a transfer is slower than it was thought to be, or a host came up later.

use crate::base::{Span, Time};
use crate::fleet::HostId;
use crate::graph::JobId;
use crate::run::Order;

use super::Scheduler;
use super::offer::Offer;
use super::state::JobState;

/// The longest that a host stays idle while a job waits for a better one.
const PATIENCE: Span = Span::from_secs(60);
/// Below it, as a part of the median cost of what is ready.
const PATIENCE_PART: f64 = 0.25;
/// The shortest, also of what is expected to take no time at all: it is to pass before anybody is asked again.
const LEAST_PATIENCE: Span = Span::from_millis(1);

impl Scheduler {
    /// Moves jobs that wait for their inputs to free slots where they would be done sooner by a margin.
    /// What was already sent to the old host counts half against the move.
    pub(super) fn steal(&mut self, at: Time, out: &mut Vec<Order>) {
        let Some(margin) = self.policy.steal_margin.filter(|_| !self.forecasts.free().is_clear()) else {
            return;
        };
        let staging: Vec<JobId> = self.jobs.staging().collect();
        for job in staging {
            let JobState::Staging(seat) = self.jobs.state(job) else { continue };
            // A copy is where it gains, and would only come to where it is built already.
            if self.older_of(job).next().is_some() {
                continue;
            }
            let here = self.expected_end(at, seat.host, job).since(at);
            let sunk = at.since(seat.since);
            self.find_complete(job);
            let gains = |finish: Time| finish.since(at).scale(margin) + sunk.scale(0.5) < here;
            let may_gain = |host: &HostId| {
                let is_another = *host != seat.host && self.forecasts.is_free(*host);
                is_another && self.soonest(at, job, *host).is_some_and(gains)
            };
            let hosts: Vec<HostId> = self.eligible[job].iter().copied().filter(may_gain).collect();
            // What is lacked there is asked before what is lacked everywhere.
            let offers = hosts.into_iter().filter_map(|host| self.offer(at, job, host));
            if !offers.map(|offer| offer.finish).any(gains) {
                continue;
            }
            let Some(offer) = self.best_offer(at, job).filter(|o| o.free && o.host != seat.host) else {
                continue;
            };
            if gains(offer.finish) {
                self.unseat_for_another(job);
                self.bind_best(at, job, offer, out);
            }
        }
    }

    /// A host with nothing to do while jobs are ready is so by choice: they wait for a better one. When
    /// it has waited long enough, it gets the job that loses least, as long as that loses less than a part
    /// of the job's own work. Of the ready jobs of `window`, those that are not `fresh` were asked before.
    pub(super) fn guard_idle(&mut self, at: Time, window: &[JobId], fresh: &[JobId], out: &mut Vec<Order>) {
        let Some(margin) = self.policy.idle_margin else { return };
        if !self.hosts.spec.ids().any(|host| self.forecasts.of(host).is_idle()) {
            return self.idle_since.iter_mut().for_each(|(_, since)| *since = None);
        }
        let waits = |&job: &JobId| self.jobs.is_ready(job) && !self.is_held_back(job);
        let window: Vec<JobId> = window.iter().copied().filter(waits).collect();
        let fresh: Vec<JobId> = fresh.iter().copied().filter(waits).collect();
        let patience = self.patience(&window);
        let mut first_end = None;
        let mut best: Option<Vec<(JobId, Time)>> = None;
        for host in self.hosts.spec.ids() {
            if !self.forecasts.of(host).is_idle() || window.is_empty() {
                self.idle_since[host] = None;
                continue;
            }
            let since = *self.idle_since[host].get_or_insert(at);
            if at < since + patience {
                self.patience_ends = self.patience_ends.into_iter().chain([since + patience]).min();
                continue;
            }
            if fresh.is_empty() {
                continue;
            }
            let best = best.get_or_insert_with(|| self.finishes(at, &fresh, margin));
            if let Some((row, offer)) = self.least_loss(at, host, best, margin) {
                let (job, _) = best.swap_remove(row);
                self.idle_since[host] = None;
                self.bind(at, job, offer, out);
            } else {
                // What they wait for may take longer than thought, and then nothing else happens.
                let end = *first_end.get_or_insert_with(|| self.first_end(at));
                let again = end.map(|end| end + patience);
                self.patience_ends = self.patience_ends.into_iter().chain(again).min();
            }
        }
    }

    /// When each job would be done where that is soonest, as found in this round: since then it has been
    /// charged to a host itself, and would find it busier than it is. Without those that wait for the one
    /// host that the policy keeps to: others are meant to be idle then. Without those, too, that would lose too
    /// much wherever they went now.
    fn finishes(&self, at: Time, window: &[JobId], margin: f64) -> Vec<(JobId, Time)> {
        let kept =
            |job: JobId| self.only.is_some_and(|only| self.hosts.is_up(only) && self.is_eligible(job, only));
        let may_go = |&job: &JobId| {
            let least = self.estimates[job].median.scale(self.paces.least(job) * (1.0 - margin));
            at + least <= self.placed[job].due || self.parallel[job] > 0.0
        };
        let asked = window.iter().copied().filter(|job| !kept(*job) && may_go(job));
        asked.map(|job| (job, self.placed[job].due)).collect()
    }

    /// The job that would lose least by going to `host` now, by its row.
    fn least_loss(
        &mut self,
        at: Time,
        host: HostId,
        best: &[(JobId, Time)],
        margin: f64,
    ) -> Option<(usize, Offer)> {
        let mut least: Option<(Span, usize, Offer)> = None;
        for (row, &(job, elsewhere)) in best.iter().enumerate() {
            if !self.is_eligible(job, host) || self.is_held_back(job) {
                continue;
            }
            self.find_complete(job);
            // It loses no less than by what is known without asking what it lacks here.
            let most = self.work_time(job, host, 1).scale(margin);
            if self.soonest(at, job, host).is_none_or(|soonest| soonest.since(elsewhere) > most) {
                continue;
            }
            let Some(here) = self.offer(at, job, host) else { continue };
            if self.is_kept(at, job, &here, Some(elsewhere)) {
                continue;
            }
            let loss = here.finish.since(elsewhere);
            if loss <= here.expect.work.scale(margin) && least.as_ref().is_none_or(|(l, ..)| loss < *l) {
                least = Some((loss, row, here));
            }
        }
        least.map(|(_, row, offer)| (row, offer))
    }

    /// When the first slot should be left.
    fn first_end(&self, at: Time) -> Option<Time> {
        self.jobs.seated().map(|(host, _, job)| self.expected_end(at, host, job)).min()
    }

    fn patience(&self, window: &[JobId]) -> Span {
        let mut costs: Vec<Span> = window.iter().map(|&job| self.estimates[job].median).collect();
        costs.sort_unstable();
        let median = costs.get(costs.len() / 2).copied().unwrap_or_default();
        median.scale(PATIENCE_PART).clamp(LEAST_PATIENCE, PATIENCE)
    }
}
