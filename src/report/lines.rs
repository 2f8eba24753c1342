//! What a step of the run says in words, the same in every view.

use std::fmt::Write as _;

use super::failure::failure_lines;
use super::state::{Ended, JobState, NO_OUTPUTS, RunState, Running, Transfer};
use super::text::{clean, one_line};
use super::units::{bytes, plural};
use crate::graph::JobId;
use crate::run::{Attempt, Event, HostFault, Note, Order, Outcome, Source, bare_cause};

/// How much a line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Weight {
    /// Things go as they should.
    Routine,
    /// A line of build log that the user asked for.
    Log,
    /// The user should know.
    Notice,
    /// A build failed.
    Failure,
}

/// One line of output, without its line end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    pub weight: Weight,
    pub text: String,
}

impl Line {
    fn one(weight: Weight, text: String) -> Vec<Line> {
        vec![Line { weight, text }]
    }
}

/// What a fact says. `run` has taken it in already.
pub fn event_lines(run: &RunState, event: &Event) -> Vec<Line> {
    use Weight::{Notice, Routine};
    match event {
        Event::SlotUp { host, .. } if run.hosts()[*host].back => {
            Line::one(Notice, format!("{} is back", run.host_name(*host)))
        }
        Event::HostLost { host, .. } if !run.hosts()[*host].newly_lost => Vec::new(),
        Event::HostLost { host, cause } => {
            let what = if run.hosts()[*host].met { "lost" } else { "could not reach" };
            Line::one(Notice, about_host(what, run.host_name(*host), cause))
        }
        Event::HostRefused { host, cause } => {
            Line::one(Notice, about_host("not using", run.host_name(*host), cause))
        }
        Event::HostDrained { host, cause } if run.hosts()[*host].newly_drained => {
            Line::one(Notice, about_host("no more jobs for", run.host_name(*host), cause))
        }
        Event::StageFailed { cause, .. } => match run.ended() {
            Some(Ended::Transfer(t)) => {
                Line::one(Notice, format!("copy of {} failed: {}", route(run, &t), one_line(cause)))
            }
            _ => Vec::new(),
        },
        Event::Started { job, attempt } => match run.attempt(*job, *attempt) {
            Some(r) => {
                let (name, host) = (&run.job(*job).name, run.host_name(r.host));
                let late = others(run, *job, *attempt).filter(|r| !r.ends);
                let late: Vec<&str> = late.map(|r| run.host_name(r.host)).collect();
                let too = match late.is_empty() {
                    true => String::new(),
                    false => format!(", too, as it is late on {}", late.join(" and ")),
                };
                Line::one(Routine, format!("building {name} on {host} (est. {}){too}", r.estimate))
            }
            None => Vec::new(),
        },
        Event::Finished { job, outcome, .. } => match run.ended() {
            Some(Ended::Attempt { host, took }) => {
                outcome_lines(run, *job, run.host_name(host), took, outcome)
            }
            _ => Vec::new(),
        },
        Event::Interrupted => Line::one(Notice, "interrupted: ending the builds under way".to_owned()),
        Event::SlotUp { .. }
        | Event::HostHolds { .. }
        | Event::HostCores { .. }
        | Event::HostDrained { .. }
        | Event::Progress { .. }
        | Event::FleetReady
        | Event::Staged { .. }
        | Event::DeadlineReached => Vec::new(),
    }
}

/// The attempts at a job beside this one.
fn others(run: &RunState, job: JobId, attempt: Attempt) -> impl Iterator<Item = &Running> {
    run.running().filter(move |(j, a, _)| *j == job && *a != attempt).map(|(_, _, running)| running)
}

/// What an order says. `run` has taken it in already.
pub fn order_lines(run: &RunState, order: &Order) -> Vec<Line> {
    match order {
        Order::Stage { transfer, .. } => match run.transfers().get(*transfer) {
            Some(t) => Line::one(Weight::Routine, format!("copying {}", route(run, t))),
            None => Vec::new(),
        },
        Order::Build { .. } | Order::Cancel { .. } | Order::Probe { .. } => Vec::new(),
    }
}

/// What a note says; build logs only with `logs`.
pub fn note_lines(run: &RunState, note: &Note, logs: bool) -> Vec<Line> {
    match note {
        Note::LogLine { job, attempt, text } if logs => {
            let name = &run.job(*job).name;
            let who = match run.attempt(*job, *attempt) {
                // Two that say the same are told apart.
                Some(r) if others(run, *job, *attempt).next().is_some() => {
                    format!("{name} on {}", run.host_name(r.host))
                }
                _ => name.clone(),
            };
            Line::one(Weight::Log, format!("{who}> {}", clean(text)).trim_end().to_owned())
        }
        Note::Warning { text } => Line::one(Weight::Notice, format!("warning: {}", clean(text))),
        Note::Message { text } => Line::one(Weight::Notice, clean(text).into_owned()),
        Note::LogLine { .. } | Note::Phase { .. } | Note::TransferProgress { .. } => Vec::new(),
    }
}

fn outcome_lines(
    run: &RunState,
    job: JobId,
    host: &str,
    took: crate::base::Span,
    outcome: &Outcome,
) -> Vec<Line> {
    let name = &run.job(job).name;
    match outcome {
        Outcome::Built { .. } if !matches!(run.jobs()[job], JobState::Built { .. }) => {
            Line::one(Weight::Notice, format!("{name} could not be built on {host}: {NO_OUTPUTS}"))
        }
        Outcome::Built { .. } => Line::one(Weight::Routine, format!("built {name} on {host} in {took}")),
        Outcome::Failed { .. } => {
            let block = run.failures().last().map(|failure| failure_lines(run, failure)).unwrap_or_default();
            block.into_iter().map(|text| Line { weight: Weight::Failure, text }).collect()
        }
        Outcome::HostFailed { fault, message } => {
            let what = match fault {
                HostFault::Connection => "was cut off",
                HostFault::MissingInputs => "lacks inputs",
                HostFault::Transient | HostFault::Other => "could not be built",
            };
            Line::one(Weight::Notice, format!("{name} {what} on {host}: {}", one_line(message)))
        }
        Outcome::Cancelled => Line::one(Weight::Routine, format!("stopped {name} on {host} after {took}")),
    }
}

/// `lost HOST: CAUSE`.
fn about_host(what: &str, host: &str, cause: &str) -> String {
    let cause = one_line(cause);
    format!("{what} {host}: {}", bare_cause(host, &cause))
}

/// `3 paths (1.2 MiB) from A to B`.
fn route(run: &RunState, transfer: &Transfer) -> String {
    let mut what = plural(transfer.paths, "path");
    // Nobody has said how large the rest of what is substituted is.
    if transfer.expected > 0 {
        let _ = write!(what, " ({})", bytes(transfer.expected));
    }
    let to = run.host_name(transfer.to);
    match transfer.from {
        Source::Host(from) => format!("{what} from {} to {to}", run.host_name(from)),
        Source::Substituter => format!("{what} from a substituter to {to}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_named_once() {
        let lost = |cause| about_host("could not reach", "b1", cause);
        assert_eq!(lost("cannot reach b1: no route\n"), "could not reach b1: no route");
        assert_eq!(lost("b1: its Nix does not answer"), "could not reach b1: its Nix does not answer");
        assert_eq!(lost("b1 has no `nix-daemon`"), "could not reach b1: has no `nix-daemon`");
        assert_eq!(lost("b12 is not known"), "could not reach b1: b12 is not known");
    }
}
