//! A recorded run, and what it would have come to under other conditions.
//!
//! The log of a run tells what each job took, where and with how many cores, what it made, how long
//! transfers took and which hosts went away when. Taken apart, that is a world in which the run can be
//! gone through again: under another policy, on other hosts, with other estimates. What took time is kept
//! in terms of one core of a host of speed 1 (`past`), and links as they were (`links`).
//!
//! Hosts that were lost, refused or full are so again, at the same times; a lost one does nothing from its
//! last sign of life on, as it may take long until a cut is noticed. That single transfers or
//! attempts failed is not repeated: other orders would not have met the same failures. Nor is that the
//! user ended the run. Reading logs and what to compare is not done here.

mod links;
mod past;
#[cfg(test)]
mod tests;
mod what_if;

use crate::base::{Span, Table, Time};
use crate::cost::{Cost, parallel_parts};
use crate::fleet::{Host, HostId};
use crate::graph::{JobId, Workload};
use crate::run::{Entry, Event, Header, Step};
use crate::sched::{Policy, UnknownPolicy};

pub use what_if::{Conditions, Estimates, Outcome};

/// A run taken apart, or a graph that was never built.
#[derive(Clone, Debug)]
pub struct Recording {
    /// The work as the scheduler knew it in the beginning.
    pub told: Workload,
    /// The work with the sizes and references that outputs came to have.
    pub real: Workload,
    /// The hosts as the scheduler knew them in the beginning; the first is this machine.
    pub told_hosts: Table<HostId, Host>,
    /// The hosts with the processors that they said they have and links as fast as transfers were.
    pub hosts: Table<HostId, Host>,
    /// The estimates that the run began with, for one core of a host of speed 1.
    pub estimates: Table<JobId, Cost>,
    /// Per job the hosts that might build it.
    pub eligible: Table<JobId, Vec<HostId>>,
    /// The run's policy.
    pub policy: Policy,
    /// Which part of each job (0 to 1) more cores make shorter, as the scheduler believed.
    pub told_parallel: Table<JobId, f64>,
    /// The same as it is.
    pub parallel: Table<JobId, f64>,
    /// What each job takes on one core of a host of speed 1: as it took, or where it was not built as
    /// estimated, corrected by what others of its kind took; `None` for one that does not build.
    pub truth: Table<JobId, Option<Span>>,
    /// Jobs that were built in the run.
    pub built: usize,
    /// From the beginning to the last event.
    pub makespan: Span,
    /// What handling a build takes beside the build itself: orders and answers on their way.
    pub handling: Span,
    /// What the hosts said until all had answered, and slots that came later.
    facts: Vec<(Time, Event)>,
    troubles: Vec<Trouble>,
}

/// What happened to a host, once all had answered.
#[derive(Clone, Debug, PartialEq)]
enum Trouble {
    /// It was lost, and perhaps found again. Nothing had been heard from it since `silent`.
    Lost { host: HostId, silent: Time, at: Time, back: Option<Time> },
    /// It was lost before all had answered, and found again then.
    Found { host: HostId, at: Time },
    /// It would not be used.
    Refused { host: HostId, at: Time, cause: String },
    /// Its disk was full.
    Full { host: HostId, at: Time },
}

impl Recording {
    /// Takes a run apart.
    ///
    /// # Errors
    /// The policy in the header is of a form that this version does not know.
    pub fn new(header: &Header, entries: &[Entry]) -> Result<Recording, UnknownPolicy> {
        let policy = Policy::recorded(header)?;
        let mut hosts = header.hosts.clone();
        for entry in entries {
            if let Step::Event(Event::HostCores { host, cores }) = &entry.what {
                hosts[*host].cores = *cores;
            }
        }
        let parallel = header.parallel();
        let past = past::Past::of(header, &hosts, &parallel, entries);
        for (host, link) in links::measured(&header.hosts, entries) {
            hosts[host].link = link;
        }
        let (facts, troubles) = past::facts_and_troubles(entries, hosts.len());
        Ok(Recording {
            told: header.workload.clone(),
            real: past.real,
            told_hosts: header.hosts.clone(),
            hosts,
            estimates: header.estimates.clone(),
            eligible: header.eligible(),
            policy,
            told_parallel: parallel.clone(),
            parallel,
            truth: past.truth,
            built: past.built,
            makespan: entries.last().map_or(Span::ZERO, |last| last.at.since(Time::ZERO)),
            handling: past.handling,
            facts,
            troubles,
        })
    }

    /// A run of `work` that nobody has made: everything takes what it is estimated to, all hosts are up
    /// and empty.
    pub fn imagined(
        work: Workload,
        hosts: Table<HostId, Host>,
        estimates: Table<JobId, Cost>,
        eligible: Table<JobId, Vec<HostId>>,
    ) -> Recording {
        Recording {
            told_parallel: parallel_parts(&work),
            parallel: parallel_parts(&work),
            real: work.clone(),
            told: work,
            told_hosts: hosts.clone(),
            hosts,
            truth: estimates.rows().iter().map(|cost| Some(cost.median)).collect(),
            estimates,
            eligible,
            policy: Policy::default(),
            built: 0,
            makespan: Span::ZERO,
            handling: Span::ZERO,
            facts: Vec::new(),
            troubles: Vec::new(),
        }
    }

    /// Says which part of each job (0 to 1) more cores make shorter, and are believed to.
    #[must_use]
    pub fn with_parallel(mut self, parallel: Table<JobId, f64>) -> Self {
        self.told_parallel.clone_from(&parallel);
        self.parallel = parallel;
        self
    }

    /// Jobs that fail, now as then.
    pub fn failing(&self) -> impl Iterator<Item = JobId> + '_ {
        self.truth.iter().filter(|(_, truth)| truth.is_none()).map(|(job, _)| job)
    }
}
