//! The state of each job, and the one function that changes it.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::sync::Arc;

use crate::base::{Id, Lists, Span, Table, Time};
use crate::fleet::HostId;
use crate::graph::{JobId, Order, PathId, Users, Workload};
use crate::run::{Attempt, Failure, SlotId};

/// Where a job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobState {
    /// Nobody needs what it makes, or no longer.
    Unneeded,
    /// Some of the jobs it needs are not done.
    Waiting,
    /// It could be built now.
    Ready,
    /// It has a slot; its inputs are on their way there.
    Staging(Seat),
    /// It is being built.
    Running(Seat),
    /// Every output that somebody needs can be had.
    Done,
    /// It does not build.
    Failed(Failure),
    /// It was given up, for no fault of its own.
    GivenUp,
    /// A job that it needs failed or was given up.
    Skipped(JobId),
}

/// A slot taken by a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seat {
    /// On which host.
    pub host: HostId,
    /// In which of its slots.
    pub slot: SlotId,
    /// For which attempt.
    pub attempt: Attempt,
    /// Since when.
    pub since: Time,
}

impl JobState {
    /// The slot it has, if it has one.
    pub fn seat(self) -> Option<Seat> {
        match self {
            JobState::Staging(seat) | JobState::Running(seat) => Some(seat),
            _ => None,
        }
    }

    /// Whether nothing more will happen to it, short of a host being lost.
    pub fn is_over(self) -> bool {
        matches!(
            self,
            JobState::Unneeded
                | JobState::Done
                | JobState::Failed(_)
                | JobState::GivenUp
                | JobState::Skipped(_)
        )
    }

    /// Whether it ended without its outputs.
    pub fn is_bad(self) -> bool {
        matches!(self, JobState::Failed(_) | JobState::GivenUp | JobState::Skipped(_))
    }
}

/// All jobs with the indices that follow from their states.
#[derive(Clone, Debug)]
pub(super) struct Jobs {
    state: Table<JobId, JobState>,
    /// How many of a job's needs are not done.
    open: Table<JobId, u32>,
    /// Shared, so that states may change on the way through a list.
    dependents: Arc<Users<JobId>>,
    /// What each job reads and makes: asked too often to be looked up in the workload, among names.
    inputs: Arc<Lists<JobId, PathId>>,
    outputs: Arc<Lists<JobId, PathId>>,
    rank: Table<JobId, Span>,
    /// Ready jobs, best first.
    ready: BTreeSet<Turn>,
    /// How many jobs the longest chain before each job has.
    depth: Table<JobId, u32>,
    /// Who sits where, by slot.
    seats: Table<HostId, Vec<Option<JobId>>>,
    /// How many are waiting or ready.
    left: usize,
    /// Jobs whose inputs are on their way to their seat.
    staging: BTreeSet<JobId>,
    /// Rank the ready jobs by when they became so.
    by_arrival: bool,
    arrivals: u64,
    /// Hosts where a seat was taken or left, and jobs that became ready, since each was last asked.
    moved: Vec<HostId>,
    fresh: Vec<JobId>,
}

/// When it is a ready job's turn. Least first: the highest rank; of equal ones, the job with the longest chain
/// before it, then the first. What only comes late cannot be made up for, and what rests on much else tends to
/// be larger than it looks. All three in one number, as it is compared again and again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Turn(u128);

impl Turn {
    fn new(rank: Span, depth: u32, job: JobId) -> Self {
        Self(u128::from(!rank.0) << 64 | u128::from(!depth) << 32 | u128::from(job.0))
    }

    fn job(self) -> JobId {
        JobId(self.0 as u32)
    }
}

/// How many jobs the longest chain before each job has.
fn depths(work: &Workload) -> Table<JobId, u32> {
    let mut depth: Table<JobId, u32> = Table::filled(work.jobs.len(), 0);
    for &job in Order::new(work).jobs() {
        let before = work.jobs[job].needs.iter().map(|&need| depth[need] + 1);
        depth[job] = before.max().unwrap_or(0);
    }
    depth
}

impl Jobs {
    fn turn(&self, job: JobId) -> Turn {
        Turn::new(self.rank[job], self.depth[job], job)
    }

    /// Which of two jobs comes first if both are ready.
    pub fn compare(&self, a: JobId, b: JobId) -> Ordering {
        self.turn(a).cmp(&self.turn(b))
    }

    /// All jobs unneeded; `rank` orders the ready ones.
    pub fn new(work: &Workload, hosts: usize, rank: Table<JobId, Span>) -> Self {
        Self {
            state: Table::filled(work.jobs.len(), JobState::Unneeded),
            open: work.jobs.rows().iter().map(|j| u32::try_from(j.needs.len()).unwrap_or(u32::MAX)).collect(),
            dependents: Arc::new(Users::of_jobs(work)),
            inputs: Arc::new(Lists::new(&work.jobs, |job| &job.inputs)),
            outputs: Arc::new(Lists::new(&work.jobs, |job| &job.outputs)),
            rank,
            ready: BTreeSet::new(),
            depth: depths(work),
            seats: Table::filled(hosts, Vec::new()),
            left: 0,
            staging: BTreeSet::new(),
            by_arrival: false,
            arrivals: 0,
            moved: Vec::new(),
            fresh: Vec::new(),
        }
    }

    /// Where a job stands.
    pub fn state(&self, job: JobId) -> JobState {
        self.state[job]
    }

    /// Whether it could be built now, and has no slot yet.
    pub fn is_ready(&self, job: JobId) -> bool {
        matches!(self.state[job], JobState::Ready)
    }

    /// Whether its inputs are on their way to where it has a slot.
    pub fn is_staging(&self, job: JobId) -> bool {
        matches!(self.state[job], JobState::Staging(_))
    }

    /// All states.
    pub fn states(&self) -> &Table<JobId, JobState> {
        &self.state
    }

    /// How many of a job's needs are not done.
    pub fn open(&self, job: JobId) -> u32 {
        self.open[job]
    }

    /// The jobs that need this one.
    pub fn dependents(&self, job: JobId) -> &[JobId] {
        self.dependents.of(job)
    }

    /// What a job reads: its direct inputs.
    pub fn inputs(&self, job: JobId) -> &[PathId] {
        self.inputs.of(job)
    }

    /// What a job makes.
    pub fn outputs(&self, job: JobId) -> &[PathId] {
        self.outputs.of(job)
    }

    /// The jobs that hold a slot, by host and slot.
    pub fn seated(&self) -> impl Iterator<Item = (HostId, SlotId, JobId)> + '_ {
        self.seats.ids().flat_map(|host| self.seated_on(host).map(move |(slot, job)| (host, slot, job)))
    }

    /// The jobs that hold a slot of one host.
    pub fn seated_on(&self, host: HostId) -> impl Iterator<Item = (SlotId, JobId)> + '_ {
        (0..).map(SlotId).zip(&self.seats[host]).filter_map(|(slot, job)| Some((slot, (*job)?)))
    }

    /// Whether a job holds a slot of a host.
    pub fn is_taken(&self, host: HostId, slot: SlotId) -> bool {
        self.seats[host].get(slot.index()).is_some_and(Option::is_some)
    }

    /// Ready jobs, best first.
    pub fn ready(&self) -> impl Iterator<Item = JobId> + '_ {
        self.ready.iter().map(|turn| turn.job())
    }

    /// A job's rank.
    pub fn rank(&self, job: JobId) -> Span {
        self.rank[job]
    }

    /// How many are waiting or ready.
    pub fn left(&self) -> usize {
        self.left
    }

    /// The jobs whose inputs are on their way to where they have a slot.
    pub fn staging(&self) -> impl Iterator<Item = JobId> + '_ {
        self.staging.iter().copied()
    }

    /// How many jobs are ready.
    pub fn ready_count(&self) -> usize {
        self.ready.len()
    }

    /// From now on, ready jobs are ranked by when they became so, and not by what [`Jobs::set_ranks`] says.
    pub fn rank_by_arrival(&mut self) {
        self.by_arrival = true;
    }

    /// Whether a seat was taken or left since [`Jobs::take_moved`].
    pub fn any_moved(&self) -> bool {
        !self.moved.is_empty()
    }

    /// The hosts where a seat was taken or left since this was last asked.
    pub fn take_moved(&mut self) -> impl Iterator<Item = HostId> + '_ {
        self.moved.drain(..)
    }

    /// Whether a seat of the host was taken or left since [`Jobs::take_moved`].
    pub fn has_moved(&self, host: HostId) -> bool {
        self.moved.contains(&host)
    }

    /// Whether jobs became ready since [`Jobs::take_fresh`].
    pub fn any_fresh(&self) -> bool {
        !self.fresh.is_empty()
    }

    /// The jobs that became ready since this was last asked; some may be so no longer.
    pub fn take_fresh(&mut self) -> Vec<JobId> {
        std::mem::take(&mut self.fresh)
    }

    /// Takes back the list that [`Jobs::take_fresh`] gave out, for its room.
    pub fn give_back(&mut self, mut list: Vec<JobId>) {
        if self.fresh.is_empty() {
            list.clear();
            self.fresh = list;
        }
    }

    /// Changes ranks.
    pub fn set_ranks(&mut self, ranks: impl Iterator<Item = (JobId, Span)>) {
        if self.by_arrival {
            return;
        }
        ranks.for_each(|(job, rank)| self.rank[job] = rank);
        self.ready = self.ready().map(|job| self.turn(job)).collect();
    }

    /// The only way a state changes. Keeps the seats, the ready set, the counts, and the dependents'
    /// open needs; a job made `Waiting` with nothing open becomes `Ready`, and a waiting dependent
    /// whose last open need this was becomes `Ready` with it.
    pub fn set(&mut self, job: JobId, to: JobState) {
        let to = if to == JobState::Waiting && self.open[job] == 0 { JobState::Ready } else { to };
        let from = std::mem::replace(&mut self.state[job], to);
        if from == to {
            return;
        }
        // It is built where it has its slot.
        let place = |state: JobState| state.seat().map(|seat| (seat.host, seat.slot));
        let moves_on = matches!(from, JobState::Staging(_))
            && matches!(to, JobState::Running(_))
            && place(from) == place(to);
        match from {
            JobState::Ready => {
                self.ready.remove(&self.turn(job));
            }
            JobState::Staging(_) if moves_on => {
                self.staging.remove(&job);
            }
            JobState::Staging(seat) | JobState::Running(seat) => {
                self.staging.remove(&job);
                self.seats[seat.host][seat.slot.index()] = None;
                self.moved.push(seat.host);
            }
            _ => {}
        }
        match to {
            JobState::Ready => {
                if self.by_arrival {
                    self.arrivals += 1;
                    self.rank[job] = Span(u64::MAX - self.arrivals);
                }
                self.ready.insert(self.turn(job));
                self.fresh.push(job);
            }
            JobState::Running(seat) if moves_on => self.moved.push(seat.host),
            JobState::Staging(seat) | JobState::Running(seat) => {
                self.moved.push(seat.host);
                let (seats, slot) = (&mut self.seats[seat.host], seat.slot.index());
                seats.resize(seats.len().max(slot + 1), None);
                debug_assert!(seats[slot].is_none(), "slot taken twice");
                seats[slot] = Some(job);
                if matches!(to, JobState::Staging(_)) {
                    self.staging.insert(job);
                }
            }
            _ => {}
        }
        let pending = |s| matches!(s, JobState::Waiting | JobState::Ready);
        self.left = self.left + usize::from(pending(to)) - usize::from(pending(from));
        match (from == JobState::Done, to == JobState::Done) {
            (false, true) => self.close_for_dependents(job),
            (true, false) => self.open_for_dependents(job),
            _ => {}
        }
    }

    fn close_for_dependents(&mut self, job: JobId) {
        let dependents = Arc::clone(&self.dependents);
        for &dependent in dependents.of(job) {
            self.open[dependent] -= 1;
            if self.open[dependent] == 0 && self.state[dependent] == JobState::Waiting {
                self.set(dependent, JobState::Waiting);
            }
        }
    }

    fn open_for_dependents(&mut self, job: JobId) {
        let dependents = Arc::clone(&self.dependents);
        for &dependent in dependents.of(job) {
            self.open[dependent] += 1;
            if self.state[dependent] == JobState::Ready {
                self.set(dependent, JobState::Waiting);
            }
        }
    }
}
