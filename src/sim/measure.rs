//! What a run came to: how long it took, what it moved, and why slots were idle.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::base::{Span, Table, Time};
use crate::drive::Watch;
use crate::fleet::{Host, HostId, UsedSlots};
use crate::graph::{self, JobId, Workload};
use crate::run::{Attempt, Event, Order, Outcome, Source, TransferId};

/// Why slots were idle, in slot time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Idle {
    /// There was nothing to do: what was left waited for what ran.
    pub no_work: Span,
    /// Something could have been built, but no slot was thought good enough, or able, to do it.
    pub waiting: Span,
    /// What could have been built waited for its inputs.
    pub transfer: Span,
}

/// What a run came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Measured {
    /// From the beginning to the last event.
    pub makespan: Span,
    /// Time that slots built.
    pub busy: Span,
    /// Time that they did not.
    pub idle: Idle,
    /// Bytes that arrived somewhere.
    pub bytes: u64,
    /// Transfers that arrived.
    pub transfers: u64,
    /// Orders to build.
    pub builds: u64,
}

/// Looks on at a run and adds up.
#[derive(Clone, Debug)]
pub struct Measure {
    order: graph::Order,
    open: Table<JobId, u32>,
    done: Table<JobId, bool>,
    running: BTreeMap<(JobId, Attempt), HostId>,
    /// Jobs that could be built now and are not.
    ready: u64,
    /// Transfers for each job.
    incoming: Table<JobId, u32>,
    /// Jobs that could be built now and have transfers on their way.
    moving: u64,
    transfers: BTreeMap<TransferId, (Source, HostId, Option<JobId>)>,
    slots: UsedSlots,
    last: Time,
    sums: Measured,
}

impl Measure {
    /// For a run of all jobs of `work`, none of which is done, with so many jobs on a host for each of its cores.
    pub fn new(work: &Workload, hosts: &Table<HostId, Host>, jobs_per_core: Option<f64>) -> Self {
        let open: Table<JobId, u32> = work.jobs.rows().iter().map(|job| job.needs.len() as u32).collect();
        Self {
            order: graph::Order::new(work),
            ready: open.rows().iter().filter(|&&open| open == 0).count() as u64,
            open,
            done: Table::filled(work.jobs.len(), false),
            running: BTreeMap::new(),
            incoming: Table::filled(work.jobs.len(), 0),
            moving: 0,
            transfers: BTreeMap::new(),
            slots: UsedSlots::new(hosts, jobs_per_core),
            last: Time::ZERO,
            sums: Measured::default(),
        }
    }

    /// What it came to until the last event.
    pub fn result(&self) -> Measured {
        Measured { makespan: self.last.since(Time::ZERO), ..self.sums }
    }

    fn pass(&mut self, at: Time) {
        let time = at.since(self.last).0;
        self.last = self.last.max(at);
        let slots = u64::from(self.slots.all());
        let busy = slots.min(self.running.len() as u64);
        let idle = slots - busy;
        let transfer = idle.min(self.moving);
        let waiting = (idle - transfer).min(self.ready - self.moving);
        self.sums.busy += Span(busy * time);
        self.sums.idle.transfer += Span(transfer * time);
        self.sums.idle.waiting += Span(waiting * time);
        self.sums.idle.no_work += Span((idle - transfer - waiting) * time);
    }

    fn is_ready(&self, job: JobId) -> bool {
        let attempts = (job, Attempt(0))..=(job, Attempt(u32::MAX));
        self.open[job] == 0 && !self.done[job] && self.running.range(attempts).next().is_none()
    }

    /// Changes what is known of a job, and the counts with it.
    fn change(&mut self, job: JobId, change: impl FnOnce(&mut Self)) {
        let counts = |of: &Self| (u64::from(of.is_ready(job)), u64::from(of.incoming[job] > 0));
        let (ready, moving) = counts(self);
        change(self);
        let (ready_now, moving_now) = counts(self);
        self.ready = self.ready + ready_now - ready;
        self.moving = self.moving + ready_now * moving_now - ready * moving;
    }

    fn finished(&mut self, job: JobId, attempt: Attempt, built: bool) {
        if !self.running.contains_key(&(job, attempt)) {
            return;
        }
        let first = built && !self.done[job];
        self.change(job, |of| {
            of.running.remove(&(job, attempt));
            of.done[job] |= built;
        });
        if first {
            for i in 0..self.order.users(job).len() {
                let user = self.order.users(job)[i];
                self.change(user, |of| of.open[user] -= 1);
            }
        }
    }

    fn end_transfer(&mut self, id: TransferId) -> bool {
        let Some((_, _, for_job)) = self.transfers.remove(&id) else { return false };
        if let Some(job) = for_job {
            self.change(job, |of| of.incoming[job] -= 1);
        }
        true
    }

    fn lost(&mut self, host: HostId) {
        let on_it = |(_, on): &(&(JobId, Attempt), &HostId)| **on == host;
        let runs: Vec<(JobId, Attempt)> = self.running.iter().filter(on_it).map(|(&key, _)| key).collect();
        runs.into_iter().for_each(|(job, attempt)| self.finished(job, attempt, false));
        let touches = |(from, to): (Source, HostId)| to == host || from == Source::Host(host);
        let transfers: Vec<TransferId> = self
            .transfers
            .iter()
            .filter(|(_, (from, to, _))| touches((*from, *to)))
            .map(|(&id, _)| id)
            .collect();
        for id in transfers {
            self.end_transfer(id);
        }
    }
}

impl Watch for Measure {
    fn event(&mut self, at: Time, event: &Event) {
        self.pass(at);
        match event {
            Event::Finished { job, attempt, outcome } => {
                self.finished(*job, *attempt, matches!(outcome, Outcome::Built { .. }));
            }
            Event::Staged { transfer, bytes, .. } if self.end_transfer(*transfer) => {
                self.sums.bytes += bytes;
                self.sums.transfers += 1;
            }
            Event::StageFailed { transfer, .. } => {
                self.end_transfer(*transfer);
            }
            Event::HostLost { host, .. } | Event::HostRefused { host, .. } => self.lost(*host),
            Event::HostCores { host, cores } if self.slots.knows(*host) => {
                self.slots.set_cores(*host, *cores)
            }
            _ => {}
        }
    }

    fn order(&mut self, _at: Time, order: &Order) {
        match order {
            Order::Build { job, attempt, host, .. } => {
                self.sums.builds += 1;
                self.change(*job, |of| {
                    of.running.insert((*job, *attempt), *host);
                });
            }
            Order::Stage { transfer, from, to, for_job, .. } => {
                self.transfers.insert(*transfer, (*from, *to, *for_job));
                if let Some(job) = *for_job {
                    self.change(job, |of| of.incoming[job] += 1);
                }
            }
            Order::Cancel { .. } | Order::Probe { .. } => {}
        }
    }
}

#[cfg(test)]
mod tests;
