//! A slot's thread: owns one connection and does one thing at a time over it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, RecvTimeoutError, Sender};

use super::build::BuildContext;
use super::joblog::JobLog;
use super::judge;
use super::limits::Progress;
use super::link::{Interrupt, Steps};
use super::percent::Percent;
use super::roots::Roots;
use super::session::{Access, Session, Trouble};
use crate::fleet::HostId;
use crate::graph::JobId;
use crate::nix::wire::{LogMessage, WireError};
use crate::run::{Attempt, Event, Failure, HostFault, Note, Outcome, SlotId, Times};

/// How often an idle connection shows that it lives; below the limits of sshd and of most NATs.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// How long a connection that broke in a build may take to come back before the host counts as lost. A
/// cut link shows in the first step, in which even a busy host's kernel answers at once: 2 s are enough
/// for one packet to get lost. sshd on a busy host is given longer.
const RECONNECT: Steps = Steps { connect: Duration::from_secs(2), each: Duration::from_secs(4) };

/// Nix's numbers of two activities: a builder runs; a build waits for a lock that somebody else has.
const BUILD: u64 = 105;
const BUILD_WAITING: u64 = 111;

/// What a slot is asked to do.
pub(super) enum Task {
    /// Connect (again).
    Connect { epoch: u32 },
    /// Ask the host which paths of the run it has.
    Holds { epoch: u32, context: Arc<BuildContext> },
    /// Build.
    Build { job: JobId, attempt: Attempt, cores: u32, context: Arc<BuildContext> },
}

/// What a slot reports.
pub(super) enum Report {
    Connected {
        epoch: u32,
        /// When, since the run's epoch.
        at: Duration,
    },
    Failed {
        epoch: u32,
        trouble: Trouble,
    },
    /// The host did not say what it has.
    Mute {
        epoch: u32,
        trouble: Trouble,
    },
    Holds {
        epoch: u32,
        paths: Vec<crate::graph::PathId>,
    },
    /// How many processors the host has.
    Cores {
        cores: u32,
    },
    Fact(Event),
    Note(Note),
    /// A build is over; `lost` if the host went with it.
    Over {
        job: JobId,
        attempt: Attempt,
        outcome: Outcome,
        lost: Option<Trouble>,
    },
}

/// A report with its sender.
pub(super) struct Letter {
    pub host: HostId,
    pub slot: SlotId,
    pub report: Report,
}

/// What others see and touch of a slot.
#[derive(Default)]
pub(super) struct Shared {
    current: Mutex<Current>,
    /// When the build last said something, in milliseconds since the run's epoch.
    activity: AtomicU64,
}

#[derive(Default)]
struct Current {
    build: Option<(JobId, Attempt)>,
    progress: Progress,
    interrupt: Option<Interrupt>,
    why: Option<Ended>,
}

/// Why this side ended a build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    Cancelled,
    TimedOut(String),
    /// A limit was reached before the builder was even started: not the build's fault.
    NotBegun(String),
    /// The host was declared lost.
    HostLost,
}

impl Shared {
    /// Ends the given build, if it is still the one that runs here.
    pub fn end(&self, job: JobId, attempt: Attempt, why: Ended) {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.build == Some((job, attempt)) {
            current.why = Some(why);
            if let Some(interrupt) = &current.interrupt {
                interrupt.fire();
            }
        }
    }

    /// Cuts the connection, whatever it is used for.
    pub fn cut(&self) {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        current.why = Some(Ended::HostLost);
        if let Some(interrupt) = &current.interrupt {
            interrupt.fire();
        }
    }

    /// When the build last said something.
    pub fn last_activity(&self) -> Duration {
        Duration::from_millis(self.activity.load(Ordering::Relaxed))
    }

    fn set_interrupt(&self, interrupt: Option<Interrupt>) {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).interrupt = interrupt;
    }

    /// How far the build is.
    pub fn progress(&self) -> Progress {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).progress
    }

    fn set_progress(&self, progress: Progress) {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).progress = progress;
    }

    /// Notes which build the slot was given and when, so that it can be ended before its thread gets to it.
    pub fn assign(&self, build: (JobId, Attempt), now: Duration) {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        current.build = Some(build);
        current.progress = Progress::Asked(now);
        current.why = None;
    }

    fn ended_early(&self) -> bool {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).why.is_some()
    }

    fn finish(&self) -> Option<Ended> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        current.build = None;
        current.why.take()
    }
}

/// The thread's own part.
pub(super) struct SlotWorker {
    pub host: HostId,
    pub slot: SlotId,
    pub access: Arc<Access>,
    pub shared: Arc<Shared>,
    pub roots: Arc<Roots>,
    pub tasks: Receiver<Task>,
    pub out: Sender<Letter>,
    pub logs: super::joblog::Keeper,
    /// The run's epoch, for the activity clock.
    pub zero: Instant,
    pub connect_timeout: Option<Duration>,
    pub session: Option<Session>,
    pub cores: Option<u32>,
}

impl SlotWorker {
    /// Works until the other side hangs up.
    pub fn run(mut self) {
        loop {
            match self.tasks.recv_timeout(KEEP_ALIVE) {
                Ok(task) => self.perform(task),
                Err(RecvTimeoutError::Timeout) => self.keep_alive(),
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn perform(&mut self, task: Task) {
        match task {
            Task::Connect { epoch } => {
                let timeout = self.connect_timeout;
                let report = match self.connect(|access| access.open(timeout)) {
                    Ok(()) => Report::Connected { epoch, at: self.zero.elapsed() },
                    Err(trouble) => Report::Failed { epoch, trouble },
                };
                let connected = matches!(report, Report::Connected { .. });
                self.send(report);
                if connected {
                    super::cores::ask(&self.access, (self.host, self.slot), timeout, &self.out);
                }
            }
            Task::Holds { epoch, context } => {
                let report = match self.holds(&context) {
                    Ok(paths) => Report::Holds { epoch, paths },
                    Err(trouble) => Report::Mute { epoch, trouble },
                };
                self.send(report);
            }
            Task::Build { job, attempt, cores, context } => self.build(job, attempt, cores, &context),
        }
    }

    fn send(&self, report: Report) {
        // The world is gone only when the run is over.
        let _ = self.out.send(Letter { host: self.host, slot: self.slot, report });
    }

    fn connect(&mut self, open: impl FnOnce(&Access) -> Result<Session, Trouble>) -> Result<(), Trouble> {
        self.drop_session();
        let session = open(&self.access)?;
        self.shared.set_interrupt(Some(session.interrupt.clone()));
        self.session = Some(session);
        self.cores = None;
        Ok(())
    }

    fn drop_session(&mut self) {
        self.shared.set_interrupt(None);
        if self.session.take().is_some() {
            self.roots.connection_ended();
        }
    }

    fn keep_alive(&mut self) {
        let alive = self.session.as_mut().is_none_or(|s| s.client.get_mut().keep_alive().is_ok());
        if !alive {
            // Found out now, mended when there is something to build.
            self.drop_session();
        }
    }

    fn holds(&mut self, context: &BuildContext) -> Result<Vec<crate::graph::PathId>, Trouble> {
        let session = match &mut self.session {
            Some(session) => session,
            None => return Err(Trouble::passing("not connected")),
        };
        let paths: Vec<&str> = context.work.paths.rows().iter().map(|p| p.path.as_str()).collect();
        let valid = session.client.query_valid_paths(&paths, false);
        let valid = valid.map_err(|e| Trouble::of(self.access.name(), &e))?;
        let mut ids: Vec<_> = valid.iter().filter_map(|p| context.ids.get(p).copied()).collect();
        ids.sort_unstable();
        Ok(ids)
    }

    fn build(&mut self, job: JobId, attempt: Attempt, cores: u32, context: &BuildContext) {
        if self.shared.ended_early() {
            return self.over_early(job, attempt);
        }
        self.note_activity();
        // A connection that broke while idle is mended before it counts against anybody.
        if self.session.is_none()
            && let Err(trouble) = self.connect(|access| access.open_again(RECONNECT))
        {
            self.shared.finish();
            self.over(job, attempt, lost_outcome(&trouble), Some(trouble));
            return;
        }
        // Who ended it while it connected had nothing to cut yet.
        if self.shared.ended_early() {
            return self.over_early(job, attempt);
        }
        self.send(Report::Fact(Event::Started { job, attempt }));
        let mut log = JobLog::new(&context.work.jobs[job].drv);
        let result = self.build_on_session((job, attempt), cores, context, &mut log);
        let ended = self.shared.finish();
        // Half a log must not take the place of the whole one of a copy that was done sooner.
        if !self.access.is_local() && ended != Some(Ended::Cancelled) {
            self.logs.keep(log);
        }
        let (outcome, broken) = match (result, ended) {
            (Ok(outcome), _) => (outcome, false),
            (Err(_), Some(Ended::Cancelled)) => (Outcome::Cancelled, true),
            (Err(_), Some(Ended::TimedOut(message))) => {
                let (failure, times) = (Failure::TimedOut, Times::default());
                (Outcome::Failed { failure, message, times }, true)
            }
            (Err(_), Some(Ended::NotBegun(message))) => (not_begun(message), true),
            (Err(error), Some(Ended::HostLost)) => (judge::of_error(&error), true),
            (Err(error), None) => {
                let outcome = judge::of_error(&error);
                if error.is_connection() {
                    return self.reconnect(job, attempt, outcome);
                }
                (outcome, false)
            }
        };
        if broken || self.session.as_ref().is_some_and(|s| !s.client.is_usable()) {
            self.drop_session();
        }
        self.over(job, attempt, outcome, None);
    }

    /// The end of a build that was ended before it was sent.
    fn over_early(&self, job: JobId, attempt: Attempt) {
        let outcome = match self.shared.finish() {
            Some(Ended::NotBegun(message) | Ended::TimedOut(message)) => not_begun(message),
            Some(Ended::Cancelled | Ended::HostLost) | None => Outcome::Cancelled,
        };
        self.over(job, attempt, outcome, None);
    }

    /// Tells a broken connection from a lost host by connecting again.
    fn reconnect(&mut self, job: JobId, attempt: Attempt, outcome: Outcome) {
        let lost = self.connect(|access| access.open_again(RECONNECT)).err();
        self.over(job, attempt, outcome, lost);
    }

    fn over(&self, job: JobId, attempt: Attempt, outcome: Outcome, lost: Option<Trouble>) {
        self.send(Report::Over { job, attempt, outcome, lost });
    }

    fn note_activity(&self) {
        let ms = u64::try_from(self.zero.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.shared.activity.store(ms, Ordering::Relaxed);
    }

    /// Follows how far a build is by the daemon's activities; what to tell the user about it.
    fn follow(&self, job: &str, message: &LogMessage) -> Option<Note> {
        let progress = self.shared.progress();
        match message {
            LogMessage::Start { kind: BUILD, .. } => {
                self.shared.set_progress(Progress::Building(self.zero.elapsed()));
            }
            LogMessage::Start { kind: BUILD_WAITING, id, text, .. }
                if !matches!(progress, Progress::Building(_)) =>
            {
                self.shared.set_progress(Progress::Waiting(*id));
                let (host, text) = (self.access.name(), judge::plain(text));
                return Some(Note::Message { text: format!("{job} on {host}: {text}") });
            }
            LogMessage::Stop { id } if progress == Progress::Waiting(*id) => {
                self.shared.set_progress(Progress::Asked(self.zero.elapsed()));
            }
            _ => {}
        }
        None
    }

    fn build_on_session(
        &mut self,
        (job, attempt): (JobId, Attempt),
        cores: u32,
        context: &BuildContext,
        log: &mut JobLog,
    ) -> Result<Outcome, WireError> {
        let Some(mut session) = self.session.take() else {
            return Err(WireError::Unusable { during: "building a derivation" });
        };
        let mut percent = Percent::default();
        let mut kept = None;
        let mut on_message = |message: LogMessage| {
            self.note_activity();
            if let Some(permille) = percent.message(self.zero.elapsed(), &message) {
                self.send(Report::Fact(Event::Progress { job, attempt, permille }));
            }
            if let Some(note) = self.follow(&context.work.jobs[job].name, &message) {
                self.send(Report::Note(note));
            }
            let note = match message {
                LogMessage::Line { text, .. } => {
                    log.line(&text);
                    Note::LogLine { job, attempt, text }
                }
                LogMessage::SetPhase { phase, .. } => Note::Phase { job, attempt, name: phase },
                LogMessage::Text(text) => {
                    kept = judge::kept_directory(&text).or(kept.take());
                    return;
                }
                _ => return,
            };
            self.send(Report::Note(note));
        };
        let mut attempt_build = || {
            if self.cores != Some(cores) {
                session.client.set_options(&context.options(cores))?;
            }
            context.build(
                &mut session.client,
                &self.roots,
                (self.host, job),
                self.access.is_local(),
                &mut on_message,
            )
        };
        let mut result = attempt_build();
        self.cores = Some(cores);
        self.session = Some(session);
        if let (Ok(Outcome::Failed { failure, message, .. }), true) = (&mut result, context.keep_failed) {
            message.push_str(&judge::about_directory(self.access.name(), *failure, kept.as_deref()));
        }
        result
    }
}

fn not_begun(message: String) -> Outcome {
    Outcome::HostFailed { fault: HostFault::Other, message }
}

fn lost_outcome(trouble: &Trouble) -> Outcome {
    Outcome::HostFailed { fault: HostFault::Connection, message: trouble.text.clone() }
}
