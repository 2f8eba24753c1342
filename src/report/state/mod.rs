//! The fold that all views draw from: what is building where, what is done, moved, lost and left.
//!
//! Fed by the log's header, events and orders, and by notes. It follows orders rather than second
//! guesses them: what is odd (a fact about an attempt nobody ordered) is passed over.

mod hosts;
mod path;
mod transfers;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

pub use hosts::{HostState, Running, Standing};
pub use path::CriticalPath;
use path::Ranks;
pub use transfers::{LinkTotals, Transfer, Transfers};

use super::text::clean;
use crate::base::{Id, Span, Table, Time};
use crate::fleet::{HostId, UsedSlots};
use crate::graph::{Job, JobId, Origin, PathId, needed_jobs};
use crate::run::Note;
use crate::run::{Attempt, Event, Failure, Header, Order, Outcome, Times};

/// Log lines kept of each attempt at a job, for when it fails.
pub const LOG_TAIL: usize = 25;

/// What is wrong with a build that succeeded and made nothing.
pub const NO_OUTPUTS: &str = "it reported success without outputs";

/// Where a job is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobState {
    /// Not begun, or back in the queue.
    Waiting,
    /// Ordered or running, see [`RunState::running`].
    Active,
    /// Not to be built in this run: its outputs, or those of what needs it, are on some host already.
    Unneeded,
    /// Done.
    Built { host: HostId, took: Span, times: Times },
    /// Does not build: an index into [`RunState::failures`].
    Failed { failure: usize },
    /// Cannot be built because this job failed.
    Skipped { because: JobId },
}

/// A build that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobFailure {
    pub job: JobId,
    pub host: HostId,
    pub failure: Failure,
    /// What the host's Nix said.
    pub message: String,
    /// How long it ran.
    pub took: Span,
    /// Its last log lines, cleaned.
    pub tail: Vec<String>,
}

/// What the last event put an end to, for views that say so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// An attempt, and how long it ran.
    Attempt { host: HostId, took: Span },
    /// A transfer, as it was just before.
    Transfer(Transfer),
}

/// How many jobs are where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub waiting: usize,
    pub active: usize,
    pub built: usize,
    pub failed: usize,
    pub skipped: usize,
    pub unneeded: usize,
}

/// The state of a run.
#[derive(Debug)]
pub struct RunState {
    header: Arc<Header>,
    ranks: Ranks,
    jobs: Table<JobId, JobState>,
    counts: Counts,
    hosts: Table<HostId, HostState>,
    /// How many of its slots each uses at a time.
    used: UsedSlots,
    running: BTreeMap<(JobId, Attempt), Running>,
    setbacks: BTreeMap<JobId, (HostId, String)>,
    failures: Vec<JobFailure>,
    transfers: Transfers,
    ended: Option<Ended>,
    now: Time,
    interrupted: bool,
    /// Paths that some host has had from the start.
    found: Vec<bool>,
    gathered: bool,
}

impl RunState {
    /// The state before anything has happened. The header is taken to be consistent, as logs that were
    /// read are.
    pub fn new(header: Arc<Header>) -> Self {
        let jobs = &header.workload.jobs;
        let used = UsedSlots::new(&header.hosts, header.jobs_per_core());
        Self {
            ranks: Ranks::new(&header),
            jobs: Table::filled(jobs.len(), JobState::Waiting),
            counts: Counts { waiting: jobs.len(), ..Counts::default() },
            hosts: header.hosts.ids().map(|host| HostState::with_slots(used.of(host))).collect(),
            used,
            running: BTreeMap::new(),
            setbacks: BTreeMap::new(),
            failures: Vec::new(),
            transfers: Transfers::new(&header),
            ended: None,
            now: Time::ZERO,
            interrupted: false,
            found: vec![false; header.workload.paths.len()],
            gathered: false,
            header,
        }
    }

    /// Takes in a fact.
    pub fn event(&mut self, at: Time, event: &Event) {
        self.tick(at);
        self.ended = None;
        match event {
            Event::SlotUp { host, slot } => self.hosts[*host].slot_up(*slot, at),
            Event::HostHolds { paths, .. } => {
                paths.iter().for_each(|path| self.found[path.index()] = true);
                self.review_demand();
            }
            Event::FleetReady => {
                self.gathered = true;
                self.review_demand();
            }
            Event::HostCores { host, cores } => {
                self.used.set_cores(*host, *cores);
                self.hosts[*host].use_slots(self.used.of(*host), at);
            }
            Event::DeadlineReached => {}
            Event::HostLost { host, cause } => {
                self.lose(at, *host, Standing::Lost { cause: cause.clone(), at })
            }
            Event::HostRefused { host, cause } => {
                self.lose(at, *host, Standing::Refused { cause: cause.clone() });
            }
            Event::HostDrained { host, cause } => self.hosts[*host].drain(cause),
            Event::Staged { transfer, bytes, took } => {
                self.ended = self.transfers.done(*transfer, *bytes, *took).map(Ended::Transfer);
            }
            Event::StageFailed { transfer, .. } => {
                self.ended = self.transfers.failed(*transfer).map(Ended::Transfer);
            }
            Event::Started { job, attempt } => {
                if let Some(running) = self.running.get_mut(&(*job, *attempt)) {
                    running.started = Some(at);
                }
            }
            Event::Progress { job, attempt, permille } => {
                if let Some(running) = self.running.get_mut(&(*job, *attempt)) {
                    running.permille = *permille;
                }
            }
            Event::Finished { job, attempt, outcome } => self.finished(at, *job, *attempt, outcome),
            Event::Interrupted => self.interrupted = true,
        }
    }

    /// Takes in an order.
    pub fn order(&mut self, at: Time, order: &Order) {
        self.tick(at);
        match order {
            Order::Stage { transfer, from, to, paths, .. } => {
                self.transfers.begin(*transfer, *from, *to, paths, at);
            }
            Order::Build { job, attempt, host, slot, expect, .. } => {
                let mut estimate = expect.work;
                if estimate == Span::ZERO {
                    estimate = self.estimate(*job, *host);
                }
                let running = Running {
                    host: *host,
                    slot: *slot,
                    ordered: at,
                    started: None,
                    estimate,
                    ends: false,
                    phase: None,
                    permille: 0,
                    tail: VecDeque::new(),
                };
                self.hosts[*host].occupy(*slot, (*job, *attempt));
                self.running.insert((*job, *attempt), running);
                self.setbacks.remove(job);
                self.set(*job, JobState::Active);
            }
            Order::Cancel { job, attempt, .. } => {
                if let Some(running) = self.running.get_mut(&(*job, *attempt)) {
                    running.ends = true;
                }
            }
            Order::Probe { .. } => {}
        }
    }

    /// Takes in a note.
    pub fn note(&mut self, at: Time, note: &Note) {
        self.tick(at);
        match note {
            Note::LogLine { job, attempt, text } => {
                let Some(Running { tail, .. }) = self.running.get_mut(&(*job, *attempt)) else { return };
                if tail.len() == LOG_TAIL {
                    tail.pop_front();
                }
                tail.push_back(clean(text).into_owned());
            }
            Note::Phase { job, attempt, name } => {
                if let Some(running) = self.running.get_mut(&(*job, *attempt)) {
                    running.phase = Some(clean(name).into_owned());
                }
            }
            Note::TransferProgress { transfer, bytes } => self.transfers.progress(*transfer, *bytes),
            Note::Warning { .. } | Note::Message { .. } => {}
        }
    }

    /// Time has passed; it never runs backwards.
    pub fn tick(&mut self, at: Time) {
        self.now = self.now.max(at);
    }

    /// The run is over: what still runs does not any more.
    pub fn finish(&mut self, at: Time) {
        self.tick(at);
        let left: Vec<_> = self.running.keys().copied().collect();
        for (job, attempt) in left {
            if let Some(run) = self.close(job, attempt) {
                self.set_back(job, run.host, "stopped");
            }
        }
        let now = self.now;
        self.hosts.iter_mut().for_each(|(_, host)| host.down(now));
    }

    fn finished(&mut self, at: Time, job: JobId, attempt: Attempt, outcome: &Outcome) {
        let Some(run) = self.close(job, attempt) else { return };
        // Another attempt may have been done first, and that is what counts, unless what it made was lost since.
        let is_open = match self.jobs[job] {
            JobState::Built { host, .. } => self.hosts[host].standing.cause().is_some(),
            JobState::Active => true,
            _ => false,
        };
        if !is_open && *outcome != Outcome::Cancelled {
            return;
        }
        let host = run.host;
        let wall = match outcome {
            Outcome::Built { times, .. } | Outcome::Failed { times, .. } => times.wall,
            Outcome::HostFailed { .. } | Outcome::Cancelled => Span::ZERO,
        };
        let took = if wall > Span::ZERO { wall } else { run.elapsed(at) };
        self.ended = Some(Ended::Attempt { host, took });
        match outcome {
            // The scheduler does not believe it either.
            Outcome::Built { made, .. } if !made.iter().any(|made| self.makes(job, made.path)) => {
                self.set_back(job, host, NO_OUTPUTS);
            }
            Outcome::Built { made, times } => {
                self.transfers.learn_sizes(made);
                self.hosts[host].built += 1;
                self.setbacks.remove(&job);
                self.set(job, JobState::Built { host, took, times: *times });
            }
            Outcome::Failed { failure, message, .. } => {
                let tail = run.tail.into();
                let (failure, message) = (*failure, message.clone());
                self.failures.push(JobFailure { job, host, failure, message, took, tail });
                self.hosts[host].failed += 1;
                self.set(job, JobState::Failed { failure: self.failures.len() - 1 });
                self.skip_dependents(job);
            }
            Outcome::HostFailed { message, .. } => {
                self.set_back(job, host, message);
            }
            Outcome::Cancelled if self.jobs[job] == JobState::Active => self.set_back(job, host, "stopped"),
            // An attempt that was ended because another one was done first is no setback.
            Outcome::Cancelled => {}
        }
    }

    /// An attempt is over: its slot is free and its time counted.
    fn close(&mut self, job: JobId, attempt: Attempt) -> Option<Running> {
        let run = self.running.remove(&(job, attempt))?;
        self.hosts[run.host].vacate(run.slot, (job, attempt), self.now.since(run.ordered));
        Some(run)
    }

    fn makes(&self, job: JobId, path: PathId) -> bool {
        self.job(job).outputs.contains(&path)
    }

    /// An attempt came to nothing on this host.
    fn set_back(&mut self, job: JobId, host: HostId, why: &str) {
        self.setbacks.insert(job, (host, why.to_owned()));
        self.requeue(job);
    }

    /// Back to the queue, unless it is done or another attempt still runs.
    fn requeue(&mut self, job: JobId) {
        let others = self.running.range((job, Attempt(0))..=(job, Attempt(u32::MAX))).next().is_some();
        if !others && self.jobs[job] == JobState::Active {
            self.set(job, JobState::Waiting);
        }
    }

    fn lose(&mut self, at: Time, host: HostId, standing: Standing) {
        let cause = standing.cause().unwrap_or_default().to_owned();
        let there: Vec<_> =
            self.running.iter().filter(|(_, run)| run.host == host).map(|(key, _)| *key).collect();
        for (job, attempt) in there {
            self.close(job, attempt);
            self.set_back(job, host, &cause);
        }
        let known = matches!(self.hosts[host].standing, Standing::Lost { .. });
        self.hosts[host].newly_lost = !known;
        self.hosts[host].down(at);
        self.hosts[host].standing = standing;
    }

    /// Tells what has to be built from what was built before this run, as the scheduler does.
    fn review_demand(&mut self) {
        if !self.gathered {
            return;
        }
        let work = &self.header.workload;
        let available = |path: PathId| match work.paths[path].origin {
            Origin::Job(job) => self.found[path.index()] || matches!(self.jobs[job], JobState::Built { .. }),
            Origin::Home | Origin::Substituter => true,
        };
        let needed = needed_jobs(work, work.wanted.iter().copied(), available);
        let idle = |job: &JobId| self.jobs[*job] == JobState::Waiting && !needed[*job];
        let unneeded: Vec<JobId> = work.jobs.ids().filter(idle).collect();
        unneeded.into_iter().for_each(|job| self.set(job, JobState::Unneeded));
    }

    fn skip_dependents(&mut self, failed: JobId) {
        let mut open = self.ranks.users(failed).to_vec();
        while let Some(job) = open.pop() {
            if self.jobs[job] == JobState::Waiting {
                self.set(job, JobState::Skipped { because: failed });
                open.extend(self.ranks.users(job));
            }
        }
    }

    /// The only place where a job changes state, so that the counts are right.
    fn set(&mut self, job: JobId, state: JobState) {
        *self.counts.of(&self.jobs[job]) -= 1;
        *self.counts.of(&state) += 1;
        self.jobs[job] = state;
    }
}

/// Questions.
impl RunState {
    /// What the run started from.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The time of the last thing that happened.
    pub fn now(&self) -> Time {
        self.now
    }

    /// A job as the workload has it.
    pub fn job(&self, job: JobId) -> &Job {
        &self.header.workload.jobs[job]
    }

    /// Where every job is.
    pub fn jobs(&self) -> &Table<JobId, JobState> {
        &self.jobs
    }

    /// How many jobs are where.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// A host's name.
    pub fn host_name(&self, host: HostId) -> &str {
        &self.header.hosts[host].name
    }

    /// Every host.
    pub fn hosts(&self) -> &Table<HostId, HostState> {
        &self.hosts
    }

    /// The attempts under way, by job.
    pub fn running(&self) -> impl Iterator<Item = (JobId, Attempt, &Running)> {
        self.running.iter().map(|((job, attempt), run)| (*job, *attempt, run))
    }

    /// One attempt, while it is under way.
    pub fn attempt(&self, job: JobId, attempt: Attempt) -> Option<&Running> {
        self.running.get(&(job, attempt))
    }

    /// How many more jobs a host could be given now. What was told to end has its slot for a while, and counts no more.
    pub fn idle(&self, host: HostId) -> usize {
        let state = &self.hosts[host];
        let taken = || state.slots().filter_map(|(_, doing)| doing);
        let goes_on =
            |&(job, attempt): &(JobId, Attempt)| self.attempt(job, attempt).is_none_or(|one| !one.ends);
        state.room(taken().count(), taken().filter(goes_on).count())
    }

    /// What the last event put an end to; nothing if it was none of those known to be under way.
    pub fn ended(&self) -> Option<Ended> {
        self.ended
    }

    /// Failed builds in the order they failed in.
    pub fn failures(&self) -> &[JobFailure] {
        &self.failures
    }

    /// Where a job that is not built was last tried, and why that came to nothing.
    pub fn setback(&self, job: JobId) -> Option<(HostId, &str)> {
        self.setbacks.get(&job).map(|(host, why)| (*host, why.as_str()))
    }

    /// Transfers and what went over which link.
    pub fn transfers(&self) -> &Transfers {
        &self.transfers
    }

    /// Whether the user ended the run.
    pub fn interrupted(&self) -> bool {
        self.interrupted
    }

    /// The longest way from now to the end, if anything is left to do.
    pub fn critical_path(&self, now: Time) -> Option<CriticalPath> {
        self.ranks.critical_path(self, now)
    }

    /// How long it will take from `now`, by the estimates: the critical path, or the work shared out
    /// over all slots if that is longer.
    pub fn time_left(&self, now: Time) -> Span {
        self.ranks.time_left(self, now)
    }

    fn estimate(&self, job: JobId, host: HostId) -> Span {
        self.header.estimates[job].median.scale(1.0 / self.header.hosts[host].speed)
    }
}

impl Counts {
    /// Jobs of this run, of any kind.
    pub fn total(&self) -> usize {
        self.waiting + self.active + self.built + self.failed + self.skipped + self.unneeded
    }

    fn of(&mut self, state: &JobState) -> &mut usize {
        match state {
            JobState::Waiting => &mut self.waiting,
            JobState::Active => &mut self.active,
            JobState::Built { .. } => &mut self.built,
            JobState::Failed { .. } => &mut self.failed,
            JobState::Skipped { .. } => &mut self.skipped,
            JobState::Unneeded => &mut self.unneeded,
        }
    }
}

#[cfg(test)]
mod tests;
