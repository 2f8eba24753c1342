//! Facts, in the past tense. All that the scheduler ever learns comes in as one of these.
//!
//! That a job is ready, or that an estimate has changed, is no fact of its own: both follow from facts, and
//! `sched::Scheduler::step` draws these conclusions within the same step. A job becomes ready when the last
//! `Finished` that it needs comes in, or when a host holds what it needs; estimates change with what
//! `Finished` and `Progress` say.

use serde::{Deserialize, Serialize};

use super::order::{SlotId, TransferId};
use crate::base::{Span, typed_id};
use crate::fleet::HostId;
use crate::graph::{JobId, PathId};

typed_id!(
    /// Counts the starts of one job, from 0: a fact about an older attempt is stale.
    Attempt, "a"
);

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// A slot is connected and can take a job.
    SlotUp { host: HostId, slot: SlotId },
    /// A host said which paths of the run its store has. Comes before its first `SlotUp`.
    HostHolds { host: HostId, paths: Vec<PathId> },
    /// A host said how many processors it has, at least 1. Its builds are given cores from then on.
    HostCores { host: HostId, cores: u32 },
    /// The connection to a host broke or could not be made; it may come back.
    HostLost { host: HostId, cause: String },
    /// A host cannot be used in this run: trust, host key, Nix missing or too old.
    HostRefused { host: HostId, cause: String },
    /// A host can take no more jobs in this run: its disk is full. It stays connected; what it builds may
    /// still succeed, and what it holds can be fetched.
    HostDrained { host: HostId, cause: String },
    /// Every host has answered, or was waited for long enough.
    FleetReady,
    /// A transfer is complete; its paths and their closures are valid at its destination.
    Staged { transfer: TransferId, bytes: u64, took: Span },
    /// A transfer ended without.
    StageFailed { transfer: TransferId, side: Side, cause: String },
    /// A build has begun on its host.
    Started { job: JobId, attempt: Attempt },
    /// How much of its work a running build says that it has done, in thousandths; 0 if what it said
    /// before is not to be believed any more.
    Progress { job: JobId, attempt: Attempt, permille: u16 },
    /// An attempt is over.
    Finished { job: JobId, attempt: Attempt, outcome: Outcome },
    /// The moment the scheduler asked to be woken at.
    DeadlineReached,
    /// The user wants the run to end.
    Interrupted,
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub enum Outcome {
    /// All outputs are valid on the host.
    Built { made: Vec<Made>, times: Times },
    /// The derivation does not build. A result, not an error.
    Failed { failure: Failure, message: String, times: Times },
    /// The host could not do its part; the same job may succeed elsewhere.
    HostFailed { fault: HostFault, message: String },
    /// Ended because the scheduler asked for it.
    Cancelled,
}

/// An output after a build.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Made {
    /// Which.
    pub path: PathId,
    /// Its NAR size in bytes.
    pub size: u64,
    /// Paths of the run that it refers to, ascending.
    pub refs: Vec<PathId>,
}

/// What Nix measured of a build.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Times {
    /// From start to end.
    pub wall: Span,
    /// Processor time in user mode, where the host's Nix reports it. Logs of the first version have the
    /// sum of both modes here, under the name `cpu`.
    #[serde(default, alias = "cpu")]
    pub cpu_user: Option<Span>,
    /// Processor time in system mode, likewise.
    #[serde(default)]
    pub cpu_system: Option<Span>,
    /// Seconds since 1970 when the build began, by the host's clock; 0 if it did not say.
    pub start: u64,
    /// Seconds since 1970 when it ended.
    pub stop: u64,
}

impl Times {
    /// Processor time in user and system mode together, where either is known.
    pub fn cpu(&self) -> Option<Span> {
        match (self.cpu_user, self.cpu_system) {
            (None, None) => None,
            (user, system) => Some(user.unwrap_or_default() + system.unwrap_or_default()),
        }
    }
}

/// Ways for a derivation not to build.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Failure {
    /// The builder failed, or its output is not allowed.
    Build,
    /// It ran longer, or was silent longer, than allowed.
    TimedOut,
    /// A fixed output has another hash.
    HashMismatch,
    /// A check build differed.
    NotDeterministic,
    /// It wrote more log than allowed.
    LogLimit,
}

/// Ways for a host to fail a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HostFault {
    /// The connection broke.
    Connection,
    /// The builder failed in a way that another try may not (a download, a full disk); counts as a failed
    /// build if it never succeeds.
    Transient,
    /// Inputs were not there after all.
    MissingInputs,
    /// Anything else that is the host's and not the derivation's: full disk, no memory, a daemon error.
    Other,
}

/// Whose fault a failed transfer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Side {
    /// The place it should come from does not have it, or broke.
    Source,
    /// The place it should go to broke or refuses it.
    Destination,
    /// Not known.
    Unknown,
}

/// A cause beside the host's name. Causes may name the host or what became of it themselves; once is enough.
#[must_use]
pub fn bare_cause<'a>(host: &str, cause: &'a str) -> &'a str {
    let bare = [format!("cannot reach {host}: "), format!("{host}: "), format!("{host} ")];
    bare.iter().find_map(|lead| cause.strip_prefix(lead.as_str())).unwrap_or(cause)
}
