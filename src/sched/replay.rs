//! Whether a log's orders are those that this scheduler gives: its facts, fed to a fresh one.
//!
//! A log is read up to its last whole line, so its last step may lack orders; any other difference is one.

use super::{Policy, Scheduler};
use crate::base::{Span, Time};
use crate::run::{Entry, Event, Header, Order, Step};

/// The log's orders are not those that this scheduler gives.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error(
    "this version decides differently from {at} on: {} instead of {}",
    given.as_deref().unwrap_or("nothing"),
    expected.as_deref().unwrap_or("no further order")
)]
pub struct Differs {
    /// The entry that differs, from 0; where an order is missing, the one after it.
    pub row: usize,
    /// Since the run began.
    pub at: Span,
    /// What the log has there; `None` if it has no such order.
    pub expected: Option<String>,
    /// What was ordered now; `None` for nothing.
    pub given: Option<String>,
}

/// This version does not know the policy of a run.
#[derive(Debug, thiserror::Error)]
#[error("this version does not know the run's policy ({cause}); it was made by version {version}")]
pub struct UnknownPolicy {
    cause: serde_json::Error,
    version: String,
}

/// How much was the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Identical {
    /// Facts that were fed.
    pub events: usize,
    /// Orders that came out as the log has them.
    pub orders: usize,
}

impl Policy {
    /// The policy that a run was under.
    ///
    /// # Errors
    /// It is of a form that this version does not know.
    pub fn recorded(header: &Header) -> Result<Policy, UnknownPolicy> {
        serde_json::from_value(header.policy.clone())
            .map_err(|cause| UnknownPolicy { cause, version: header.version.clone() })
    }
}

impl Scheduler {
    /// The scheduler as it was when the run of a log began.
    ///
    /// # Errors
    /// The run's policy is of a form that this version does not know.
    pub fn recorded(header: &Header) -> Result<Scheduler, UnknownPolicy> {
        let policy = Policy::recorded(header)?;
        let (work, hosts) = (header.workload.clone(), header.hosts.clone());
        let fresh = Scheduler::new(work, hosts, header.estimates.clone(), header.eligible(), policy);
        Ok(fresh.with_parallel(header.parallel()))
    }

    /// Takes in the facts of a log, and compares its own orders with those of the log.
    ///
    /// # Errors
    /// The first difference.
    pub fn replay(&mut self, entries: &[Entry]) -> Result<Identical, Differs> {
        let mut same = Identical::default();
        let mut orders = Vec::new();
        // Before the first fact there is nothing to order.
        first_order(entries)?;
        for (row, at, event) in events(entries) {
            self.step(at, event, &mut orders);
            same.events += 1;
            same.orders += compare(row + 1, at, &orders, &entries[row + 1..])?;
            orders.clear();
        }
        Ok(same)
    }
}

/// The events with their rows.
pub(super) fn events(entries: &[Entry]) -> impl Iterator<Item = (usize, Time, &Event)> {
    entries.iter().enumerate().filter_map(|(row, entry)| match &entry.what {
        Step::Event(event) => Some((row, entry.at, event)),
        Step::Order(_) => None,
    })
}

/// A log that begins with an order is not of a run.
fn first_order(entries: &[Entry]) -> Result<(), Differs> {
    match entries.first() {
        Some(Entry { at, what: Step::Order(order) }) => {
            Err(Differs { row: 0, at: at.since(Time::ZERO), expected: Some(json(order)), given: None })
        }
        _ => Ok(()),
    }
}

/// Whether the log goes on with these orders at this time; how many there were. `row` is that of the
/// first of `rest`.
pub(super) fn compare(row: usize, at: Time, orders: &[Order], rest: &[Entry]) -> Result<usize, Differs> {
    let mut logged = rest.iter().map_while(|entry| match &entry.what {
        Step::Order(order) => Some((entry.at, order)),
        Step::Event(_) => None,
    });
    let mut same = 0;
    let mut now = orders.iter();
    loop {
        let then = logged.next();
        // A log may end in the middle of a step.
        if then.is_none() && same == rest.len() {
            return Ok(same);
        }
        match (now.next(), then) {
            (None, None) => return Ok(same),
            (Some(now), Some((when, then))) if now == then && when == at => same += 1,
            (now, then) => {
                let (expected, given) = (then.map(|(_, then)| json(then)), now.map(json));
                return Err(Differs { row: row + same, at: at.since(Time::ZERO), expected, given });
            }
        }
    }
}

/// As the log has it.
fn json(order: &Order) -> String {
    serde_json::to_string(order).unwrap_or_else(|_| format!("{order:?}"))
}

#[cfg(test)]
mod tests;
