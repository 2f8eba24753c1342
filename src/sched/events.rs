//! What each fact changes. Decisions follow from the changes, elsewhere.

use crate::base::{Span, Time};
use crate::fleet::HostId;
use crate::graph::{JobId, Origin, PathId};
use crate::run::{Attempt, Event, Failure, HostFault, Made, Order, Outcome, Side, Source, Times, TransferId};

use super::state::{JobState, Seat};
use super::stores::Transfer;
use super::{Ending, Phase, Scheduler};

impl Scheduler {
    /// Takes one fact in. Facts about attempts and transfers that are over and unknown ids are stale.
    pub(super) fn take(&mut self, at: Time, event: &Event, out: &mut Vec<Order>) {
        match event {
            Event::SlotUp { host, slot } => self.slot_up(*host, *slot),
            Event::HostHolds { host, paths } if self.hosts.spec.get(*host).is_some() => {
                let known = paths.iter().copied().filter(|p| self.work.paths.get(*p).is_some());
                self.stores.told(*host, known);
                self.demand_changed = true;
            }
            Event::HostCores { host, cores } if self.hosts.spec.get(*host).is_some() => {
                self.hosts.set_cores(*host, *cores);
                self.only = self.policy.confine.host(&self.hosts.spec);
                self.outgrown[*host] = self.shared_out(*host);
                self.estimate_ends(*host);
            }
            Event::HostLost { host, cause } if self.hosts.spec.get(*host).is_some() => {
                self.host_lost(at, *host, cause);
            }
            Event::HostRefused { host, cause } if self.hosts.spec.get(*host).is_some() => {
                self.host_lost(at, *host, cause);
                self.hosts.refused(*host, cause);
                self.forecasts.touch(*host);
            }
            Event::HostDrained { host, cause } if self.hosts.spec.get(*host).is_some() => {
                self.host_drained(*host, cause);
            }
            Event::FleetReady if self.phase == Phase::Gathering => {
                self.phase = Phase::Building;
                self.demand_changed = true;
                // By the slots that hosts really use.
                self.rank_anew();
                self.make_plan();
                if self.hosts.spec.iter().any(|(host, spec)| spec.slots > 0 && !self.hosts.takes_jobs(host)) {
                    self.give_up_plan();
                }
            }
            Event::Staged { transfer, bytes, took } => self.staged(*transfer, *bytes, *took),
            Event::StageFailed { transfer, side, cause } => self.stage_failed(at, *transfer, *side, cause),
            Event::Started { job, attempt } => self.started(at, *job, *attempt),
            Event::Progress { job, attempt, permille } => self.progressed(at, *job, *attempt, *permille),
            Event::Finished { job, attempt, outcome } => self.finished(*job, *attempt, outcome, out),
            Event::Interrupted => self.stop(out),
            _ => {}
        }
    }

    fn slot_up(&mut self, host: HostId, slot: crate::run::SlotId) {
        let was_up = self.hosts.spec.get(host).is_some() && self.hosts.is_up(host);
        let new = self.hosts.slot_up(host, slot);
        if new {
            self.forecasts.touch(host);
        }
        if new && !was_up {
            self.stores.set_reachable(host, true);
            self.demand_changed = true;
        }
    }

    fn host_lost(&mut self, at: Time, host: HostId, cause: &str) {
        if !self.hosts.lost(at, host, cause, &self.policy) {
            return;
        }
        self.give_up_plan();
        self.forecasts.touch(host);
        // This machine's store is a file system: it stays readable when its daemon does not answer.
        self.stores.set_reachable(host, host == HostId::HOME);
        self.stores.drop_transfers_of(host);
        let jobs: Vec<JobId> = self.jobs.seated_on(host).map(|(_, job)| job).collect();
        for job in jobs {
            if matches!(self.jobs.state(job), JobState::Running(_)) {
                self.lost_under(job, host, cause);
            }
            self.unseat(job);
        }
        self.demand_changed = true;
    }

    /// A host takes no more jobs: what runs there may end, and what only has a slot there looks for another.
    fn host_drained(&mut self, host: HostId, cause: &str) {
        if !self.hosts.drain(host, cause) {
            return;
        }
        self.give_up_plan();
        self.forecasts.touch(host);
        let jobs: Vec<JobId> = self.jobs.seated_on(host).map(|(_, job)| job).collect();
        for job in jobs {
            if matches!(self.jobs.state(job), JobState::Staging(_)) {
                self.unseat(job);
            }
        }
        self.demand_changed = true;
    }

    /// A job's host or connection was lost while it ran. That is nobody's fault, but a job that takes
    /// every host with it must not do so for ever.
    fn lost_under(&mut self, job: JobId, host: HostId, cause: &str) {
        let trouble = self.tries.blame(job, Some(host), cause);
        trouble.lost += 1;
        if trouble.lost >= self.policy.host_tries {
            self.exhausted.push(job);
        }
    }

    /// Takes a job's slot away; the attempt is over, whatever else is heard of it.
    pub(super) fn unseat(&mut self, job: JobId) {
        self.tries.end(job);
        self.jobs.set(job, JobState::Waiting);
        self.demand_changed = true;
    }

    /// Takes a job's slot away for a better one.
    pub(super) fn unseat_for_another(&mut self, job: JobId) {
        self.tries.end(job);
        self.jobs.set(job, JobState::Waiting);
    }

    fn seat_of(&self, job: JobId, attempt: Attempt) -> Option<Seat> {
        self.work.jobs.get(job)?;
        self.jobs.state(job).seat().filter(|seat| seat.attempt == attempt)
    }

    fn started(&mut self, at: Time, job: JobId, attempt: Attempt) {
        let Some(seat) = self.seat_of(job, attempt) else { return };
        if matches!(self.jobs.state(job), JobState::Running(_)) {
            self.run(job, Seat { since: at, ..seat });
        }
    }

    fn progressed(&mut self, at: Time, job: JobId, attempt: Attempt, permille: u16) {
        let Some(seat) = self.seat_of(job, attempt) else { return };
        if matches!(self.jobs.state(job), JobState::Running(_)) {
            self.placed[job].progress = Some((at, permille.min(1000)));
            self.placed[job].end = self.estimated_end(job, seat);
            self.forecasts.touch(seat.host);
        }
    }

    fn finished(&mut self, job: JobId, attempt: Attempt, outcome: &Outcome, out: &mut Vec<Order>) {
        let Some(seat) = self.seat_of(job, attempt) else {
            return self.older_finished(job, attempt, outcome, out);
        };
        self.tries.end(job);
        if matches!(outcome, Outcome::Built { .. } | Outcome::Failed { .. }) {
            self.end_older(job, out);
        }
        match outcome {
            Outcome::Built { made, times } => self.built(job, seat, made, *times),
            Outcome::Failed { failure, message, .. } => self.failed(job, *failure, message, out),
            Outcome::HostFailed { fault, message } => self.host_failed(job, seat.host, *fault, message),
            Outcome::Cancelled => {
                self.jobs.set(job, JobState::Waiting);
                self.demand_changed = true;
            }
        }
    }

    pub(super) fn built(&mut self, job: JobId, seat: Seat, made: &[Made], times: Times) {
        for output in made.iter().filter(|m| self.jobs.outputs(job).contains(&m.path)) {
            self.stores.made(seat.host, output);
            if self.stores.is_wanted(output.path) {
                self.wants_made.push(output.path);
            }
        }
        if times.wall > Span::ZERO {
            self.learn(job, seat, times.wall);
        }
        if self.jobs.outputs(job).iter().any(|&p| self.stores.available(p)) {
            self.jobs.set(job, JobState::Done);
            self.lacks.drop_job(job);
            self.left = self.left.saturating_sub(self.estimates[job].median);
            self.hand_over(job, seat);
        } else {
            // A host that says "built" and holds nothing is not to be believed.
            self.retry(job, Some(seat.host), "the host reported success without outputs");
        }
    }

    pub(super) fn failed(&mut self, job: JobId, failure: Failure, message: &str, out: &mut Vec<Order>) {
        self.jobs.set(job, JobState::Failed(failure));
        self.end_badly(job, Ending::Failed { failure, message: message.to_owned() }, out);
    }

    fn host_failed(&mut self, job: JobId, host: HostId, fault: HostFault, message: &str) {
        self.doubt_inputs(job, host, fault);
        self.tries.trouble_mut(job).transient = fault == HostFault::Transient;
        if fault == HostFault::Connection {
            self.lost_under(job, host, message);
            self.jobs.set(job, JobState::Waiting);
            self.demand_changed = true;
        } else {
            self.retry(job, Some(host), message);
        }
    }

    /// A host whose fault it was that it lacks inputs of a job has none of them.
    pub(super) fn doubt_inputs(&mut self, job: JobId, host: HostId, fault: HostFault) {
        if fault == HostFault::MissingInputs {
            for path in self.jobs.inputs(job).to_vec() {
                self.not_there(host, path);
            }
            self.demand_changed = true;
        }
    }

    /// A host does not have a path that it was thought to have. What only this machine has stays: there
    /// is nowhere else to look for it, and one confused message must not fail every job that needs it.
    fn not_there(&mut self, host: HostId, path: PathId) {
        if host != HostId::HOME || self.work.paths[path].origin != Origin::Home {
            self.stores.forget(host, path);
        }
    }

    /// Puts a job back after a host's fault, to be tried elsewhere than there if there is an elsewhere.
    pub(super) fn retry(&mut self, job: JobId, host: Option<HostId>, cause: &str) {
        let trouble = self.tries.blame(job, host, cause);
        trouble.failed += 1;
        if trouble.failed >= self.policy.attempts {
            self.exhausted.push(job);
        }
        self.jobs.set(job, JobState::Waiting);
        self.demand_changed = true;
    }

    pub(super) fn give_up(&mut self, job: JobId, out: &mut Vec<Order>) {
        let trouble = self.tries.trouble_mut(job);
        let cause = std::mem::take(&mut trouble.last_cause);
        if trouble.transient {
            // What fails in the same way wherever it is tried is a build that fails.
            return self.failed(job, Failure::Build, &cause, out);
        }
        self.jobs.set(job, JobState::GivenUp);
        self.end_badly(job, Ending::GivenUp { cause }, out);
    }

    /// Skips what depends on a job that ended badly; without `keep_going`, ends the run.
    pub(super) fn end_badly(&mut self, job: JobId, ending: Ending, out: &mut Vec<Order>) {
        self.endings.push((job, ending));
        self.skip_dependents(job, job);
        self.sum_up();
        if !self.policy.keep_going {
            self.stop(out);
        }
    }

    /// Skips what can no longer be built without `job`. What nobody needs is not missed by anybody: should
    /// it be needed again, it is skipped then.
    pub(super) fn skip_dependents(&mut self, job: JobId, because: JobId) {
        let mut stack = vec![job];
        while let Some(bad) = stack.pop() {
            for i in 0..self.jobs.dependents(bad).len() {
                let dependent = self.jobs.dependents(bad)[i];
                if matches!(self.jobs.state(dependent), JobState::Waiting | JobState::Ready) {
                    self.jobs.set(dependent, JobState::Skipped(because));
                    stack.push(dependent);
                }
            }
        }
    }

    /// Begins nothing new and cancels what runs; what only waits for its inputs is put back. All that only once.
    fn stop(&mut self, out: &mut Vec<Order>) {
        if std::mem::replace(&mut self.phase, Phase::Stopping) == Phase::Stopping {
            return;
        }
        let seated: Vec<_> = self.jobs.seated().map(|(_, _, job)| job).collect();
        for job in seated {
            match self.jobs.state(job) {
                JobState::Running(Seat { host, slot, attempt, .. }) => {
                    out.push(Order::Cancel { job, attempt, host, slot });
                }
                _ => self.unseat(job),
            }
        }
        let older: Vec<_> = self.hosts.all_older().map(|(.., older)| older.job).collect();
        older.into_iter().for_each(|job| self.end_older(job, out));
    }

    fn staged(&mut self, transfer: TransferId, bytes: u64, took: Span) {
        if let Some(done) = self.stores.end(transfer) {
            let from = if let Source::Host(from) = done.from { Some(from) } else { None };
            for host in [Some(done.to), from].into_iter().flatten() {
                if self.hosts.measured(host, bytes, took) {
                    self.lacks.forget_host(host);
                    self.stores.relinked(&self.hosts.known_links());
                }
            }
            for path in done.paths {
                self.stores.hold(done.to, path);
            }
        }
    }

    fn stage_failed(&mut self, at: Time, id: TransferId, side: Side, cause: &str) {
        let Some(transfer) = self.stores.end(id) else { return };
        for &path in &transfer.paths {
            self.doubt_source(&transfer, path, side);
            if transfer.to == HostId::HOME {
                self.not_home(at, path);
            }
        }
        self.unlucky.extend(&transfer.paths);
        // Another host would ask the same source. What a host's substituters lack, those of another may have.
        let elsewhere = side != Side::Source || transfer.from == Source::Substituter;
        for (host, job) in self.waiting_for(&transfer) {
            self.tries.end(job);
            let avoid = elsewhere.then_some(host);
            self.retry(job, avoid, cause);
        }
        self.demand_changed = true;
    }

    /// Where a path did not come from is not asked for it again: if it does not have it, or if nobody knows
    /// who is to blame and somebody else has it.
    fn doubt_source(&mut self, failed: &Transfer, path: PathId, side: Side) {
        let Source::Host(from) = failed.from else { return };
        let doubted = match side {
            Side::Source => true,
            Side::Unknown => from != HostId::HOME && self.stores.is_elsewhere(path, from, failed.to),
            Side::Destination => false,
        };
        if doubted {
            self.not_there(from, path);
        }
    }

    /// The seated jobs that wait for what a transfer did not bring: those at its destination, and those
    /// elsewhere that were to get it by way of this machine.
    fn waiting_for(&self, failed: &Transfer) -> Vec<(HostId, JobId)> {
        let waits = |host: HostId, job: JobId| {
            let inputs = self.jobs.inputs(job);
            failed.paths.iter().any(|p| {
                inputs.contains(p) && !self.stores.holds(host, *p) && !self.stores.is_arriving(host, *p)
            })
        };
        self.jobs
            .seated()
            .filter(|&(host, ..)| host == failed.to || failed.to == HostId::HOME)
            .filter(|&(_, _, job)| matches!(self.jobs.state(job), JobState::Staging(_)))
            .filter(|&(host, _, job)| waits(host, job))
            .map(|(host, _, job)| (host, job))
            .collect()
    }

    /// Sends a probe to each lost host whose wait is over.
    pub(super) fn probe(&mut self, at: Time, out: &mut Vec<Order>) {
        if self.phase != Phase::Stopping {
            out.extend(self.hosts.due(at).into_iter().map(|host| Order::Probe { host }));
        }
    }

    /// Gives up the jobs that failed too often for hosts' reasons, and the ready ones that no host is
    /// left to build.
    pub(super) fn give_up_hopeless(&mut self, out: &mut Vec<Order>) {
        for job in std::mem::take(&mut self.exhausted) {
            if matches!(self.jobs.state(job), JobState::Waiting | JobState::Ready) {
                self.give_up(job, out);
            }
        }
        if !self.hosts.any_hopeless(&self.policy) {
            return;
        }
        let hope = |job: &JobId| self.eligible[*job].iter().any(|&h| self.hosts.has_hope(h, &self.policy));
        let hopeless: Vec<JobId> = self.jobs.ready().filter(|job| !hope(job)).collect();
        for job in hopeless {
            let drained = self.eligible[job].iter().any(|&host| self.hosts.drained(host).is_some());
            let trouble = self.tries.trouble_mut(job);
            if drained || trouble.last_cause.is_empty() {
                trouble.last_cause = self.hosts.why_hopeless(&self.eligible[job]);
            }
            // Of a host that takes no more jobs it is the fault, and not of the build.
            trouble.transient &= !drained;
            self.give_up(job, out);
        }
    }
}
