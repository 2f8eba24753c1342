//! Orders, in the imperative. All that the scheduler ever does goes out as one of these.
//!
//! Every movement of paths is an [`Order::Stage`]: inputs of a job that has a slot, a prefetch for one that is
//! likely to get a slot there, and bringing home what was asked for, whose destination is this machine and
//! which is for no job.

use serde::{Deserialize, Serialize};

use super::event::Attempt;
use crate::base::{Span, typed_id};
use crate::fleet::HostId;
use crate::graph::{JobId, PathId};

typed_id!(
    /// One transfer of a run, numbered in the order of the orders.
    TransferId, "t"
);
typed_id!(
    /// One slot of a host, from 0.
    SlotId, "s"
);

/// Something to do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "order", rename_all = "kebab-case")]
pub enum Order {
    /// Make `paths`, each with its closure, valid on `to`.
    Stage { transfer: TransferId, from: Source, to: HostId, paths: Vec<PathId>, for_job: Option<JobId> },
    /// Build a job. Its inputs are there.
    Build { job: JobId, attempt: Attempt, host: HostId, slot: SlotId, cores: u32, expect: Expectation },
    /// End an attempt; it is answered by its `Finished`.
    Cancel { job: JobId, attempt: Attempt, host: HostId, slot: SlotId },
    /// Try to reach a lost host again; answered by `SlotUp` or `HostLost`.
    Probe { host: HostId },
}

/// Where a transfer comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// Another host's store.
    Host(HostId),
    /// The destination's own substituters.
    Substituter,
}

/// How a job's host was chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Why {
    /// It was asked where it would be done first, or what else the policy goes by.
    #[default]
    Soonest,
    /// It was one of many for a free slot, and no other host was asked.
    Drawn,
    /// It follows another one of its cluster in the same slot.
    Followed,
    /// A plan made before the run had it there.
    Planned,
    /// The policy keeps to one host, and the job may be built there.
    Confined,
}

impl Why {
    fn is_soonest(&self) -> bool {
        *self == Self::Soonest
    }
}

/// Why a job went where it went: its parts at the chosen host, and the next best host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expectation {
    /// Until a slot is free.
    pub queue: Span,
    /// Until its inputs are there.
    pub transfer: Span,
    /// The build itself.
    pub work: Span,
    /// How that host was chosen.
    #[serde(default, skip_serializing_if = "Why::is_soonest")]
    pub why: Why,
    /// The best of the other hosts, and when it would have been finished there, from the decision on. `None` if there
    /// is no other one, or if nobody asks.
    pub next_best: Option<(HostId, Span)>,
}
