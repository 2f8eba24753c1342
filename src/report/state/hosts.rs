//! One host of a run: whether it can be reached, what its slots do, what they have done.

use std::collections::{BTreeMap, VecDeque};

use crate::base::{Span, Time};
use crate::fleet::HostId;
use crate::graph::JobId;
use crate::run::{Attempt, SlotId};

/// An attempt under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Running {
    pub host: HostId,
    pub slot: SlotId,
    /// When it was ordered: from then on its slot is taken.
    pub ordered: Time,
    /// When the host began, if it has.
    pub started: Option<Time>,
    /// How long it should take there.
    pub estimate: Span,
    /// It was told to end.
    pub ends: bool,
    /// What it is doing, if its builder says.
    pub phase: Option<String>,
    /// How much of its work it says that it has done; 0 if it does not say.
    pub permille: u16,
    /// Its last log lines, cleaned; at most [`LOG_TAIL`](super::LOG_TAIL).
    pub tail: VecDeque<String>,
}

impl Running {
    /// For how long it has been running.
    pub fn elapsed(&self, now: Time) -> Span {
        now.since(self.started.unwrap_or(self.ordered))
    }

    /// How long it should still take; nothing once it is late.
    pub fn left(&self, now: Time) -> Span {
        self.estimate.saturating_sub(self.elapsed(now))
    }
}

/// Whether a host can be used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Standing {
    /// It has not answered yet.
    #[default]
    Awaited,
    /// At least one slot is connected.
    Up,
    /// It was lost, or could not be reached, and may come back.
    Lost { cause: String, at: Time },
    /// Not in this run.
    Refused { cause: String },
}

impl Standing {
    /// Why it cannot be used.
    pub fn cause(&self) -> Option<&str> {
        match self {
            Standing::Awaited | Standing::Up => None,
            Standing::Lost { cause, .. } | Standing::Refused { cause } => Some(cause),
        }
    }
}

/// A host's part in the run so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostState {
    pub standing: Standing,
    /// Whether it was ever connected.
    pub met: bool,
    /// Whether the last slot that came up was the first after a loss.
    pub back: bool,
    /// Whether its last loss was news, and not another vain try to reach it.
    pub newly_lost: bool,
    /// Why it takes no more jobs, if it does not, and whether the last event was news about that.
    pub drained: Option<String>,
    pub newly_drained: bool,
    /// Jobs it built.
    pub built: usize,
    /// Jobs that failed on it.
    pub failed: usize,
    /// How long its slots were taken, in sum over all slots and ended attempts.
    pub busy: Span,
    up: Span,
    /// Up to when that is counted.
    counted: Time,
    /// What the connected slots do.
    slots: BTreeMap<SlotId, Option<(JobId, Attempt)>>,
    /// How many slots are used at a time.
    used: usize,
}

impl HostState {
    /// A host that has not answered yet and uses so many slots at a time.
    pub(super) fn with_slots(used: u32) -> Self {
        Self { used: used as usize, ..Self::default() }
    }

    /// What each connected slot does, in order.
    pub fn slots(&self) -> impl Iterator<Item = (SlotId, Option<(JobId, Attempt)>)> {
        self.slots.iter().map(|(id, doing)| (*id, *doing))
    }

    /// How many more jobs it could be given now, if so many of its slots are taken, and that many by attempts that go on.
    pub(super) fn room(&self, taken: usize, going_on: usize) -> usize {
        let free = self.slots.len().saturating_sub(taken);
        if self.drained.is_some() { 0 } else { free.min(self.used.saturating_sub(going_on)) }
    }

    /// For how long its slots were connected, in sum, without those that are not used.
    pub fn connected(&self, now: Time) -> Span {
        let slots = self.slots.len().min(self.used) as u64;
        self.up + Span(now.since(self.counted).0.saturating_mul(slots))
    }

    /// Counts what is connected up to now, before that changes.
    fn count(&mut self, at: Time) {
        (self.up, self.counted) = (self.connected(at), at);
    }

    pub(super) fn slot_up(&mut self, slot: SlotId, at: Time) {
        self.count(at);
        self.back = self.met && matches!(self.standing, Standing::Lost { .. });
        self.met = true;
        self.standing = Standing::Up;
        self.slots.entry(slot).or_default();
    }

    /// It uses so many slots at a time.
    pub(super) fn use_slots(&mut self, used: u32, at: Time) {
        self.count(at);
        self.used = used as usize;
    }

    /// It takes no more jobs.
    pub(super) fn drain(&mut self, cause: &str) {
        self.newly_drained = self.drained.is_none();
        self.drained.get_or_insert_with(|| cause.to_owned());
    }

    /// Every connection is gone.
    pub(super) fn down(&mut self, at: Time) {
        self.count(at);
        self.slots.clear();
    }

    pub(super) fn occupy(&mut self, slot: SlotId, by: (JobId, Attempt)) {
        if let Some(doing) = self.slots.get_mut(&slot) {
            *doing = Some(by);
        }
    }

    pub(super) fn vacate(&mut self, slot: SlotId, by: (JobId, Attempt), taken: Span) {
        self.busy += taken;
        if let Some(doing) = self.slots.get_mut(&slot)
            && *doing == Some(by)
        {
            *doing = None;
        }
    }
}
