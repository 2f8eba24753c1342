//! From a run's events and orders to rows of the history.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Build, Ended, Row, Transfer};
use crate::base::{Span, Table, Time};
use crate::cost::{LinkSample, OutputClass, Sample, pname_version};
use crate::fleet::HostId;
use crate::graph::{JobId, PathId};
use crate::run::{Attempt, Event, Header, Made, Order, Outcome, Source, Times, TransferId};

/// The fold. Feed it every event and order of a run, in order.
#[derive(Clone, Debug)]
pub struct Fold {
    header: Arc<Header>,
    /// The run's name.
    run: String,
    /// Per host: its processors, 0 where it did not say.
    cores: Table<HostId, u32>,
    /// Attempts under way, with the cores that they were given.
    building: BTreeMap<(JobId, Attempt), (HostId, u32)>,
    /// Transfers under way over one link, with the host at its other end.
    moving: BTreeMap<TransferId, HostId>,
    /// What builds have made, with sizes and references.
    made: BTreeMap<PathId, (u64, Vec<PathId>)>,
}

impl Fold {
    /// Nothing has happened yet in the run called `run`.
    pub fn new(header: &Arc<Header>, run: String) -> Fold {
        Fold {
            cores: header.hosts.rows().iter().map(|host| host.cores).collect(),
            header: Arc::clone(header),
            run,
            building: BTreeMap::new(),
            moving: BTreeMap::new(),
            made: BTreeMap::new(),
        }
    }

    /// Takes in an order.
    pub fn order(&mut self, order: &Order) {
        match order {
            Order::Build { job, attempt, host, cores, .. } => {
                // As the scheduler: 0 are all that the host has.
                let all = self.cores.get(*host).copied().unwrap_or(0);
                let given = match (all, *cores) {
                    (0, given) => given,
                    (all, 0) => all,
                    (all, given) => given.min(all),
                };
                self.building.insert((*job, *attempt), (*host, given));
            }
            Order::Stage { transfer, from: Source::Host(from), to, .. } => {
                // Between two builders the slower of two links counts, and nobody knows which that was.
                let ends = [*from, *to];
                if ends.contains(&HostId::HOME) {
                    let other = ends.into_iter().find(|host| *host != HostId::HOME);
                    other.and_then(|host| self.moving.insert(*transfer, host));
                }
            }
            Order::Stage { .. } | Order::Cancel { .. } | Order::Probe { .. } => {}
        }
    }

    /// Takes in a fact, and returns what it adds to the history.
    pub fn event(&mut self, at: Time, event: &Event) -> Option<Row> {
        match event {
            Event::HostCores { host, cores } if self.cores.get(*host).is_some() => {
                self.cores[*host] = *cores;
                None
            }
            Event::Staged { transfer, bytes, took } => {
                let host = self.moving.remove(transfer)?;
                let host = self.header.hosts.get(host)?.name.clone();
                let sample = LinkSample { host, bytes: *bytes, took: *took };
                // What was there already says nothing about the way.
                (*bytes > 0).then(|| Row::Transfer(Transfer { sample, at: self.clock(at) }))
            }
            Event::StageFailed { transfer, .. } => {
                self.moving.remove(transfer);
                None
            }
            Event::Finished { job, attempt, outcome } => {
                let (host, cores) = self.building.remove(&(*job, *attempt))?;
                let (outcome, times, made) = match outcome {
                    Outcome::Built { made, times } if times.wall == Span::ZERO => {
                        (Ended::Cached, times, made)
                    }
                    Outcome::Built { made, times } => (Ended::Built, times, made),
                    Outcome::Failed { failure, times, .. } => (Ended::from(*failure), times, &Vec::new()),
                    Outcome::HostFailed { .. } | Outcome::Cancelled => return None,
                };
                let sample = self.sample(*job, host, cores, times, made, self.clock(at))?;
                self.note(made);
                Some(Row::Build(Build { sample, outcome, run: self.run.clone() }))
            }
            _ => None,
        }
    }

    fn sample(
        &self,
        job: JobId,
        host: HostId,
        cores: u32,
        times: &Times,
        made: &[Made],
        stopped: u64,
    ) -> Option<Sample> {
        let spec = self.header.workload.jobs.get(job)?;
        let (pname, version) = pname_version(&spec.name);
        Some(Sample {
            pname: pname.to_owned(),
            version: version.to_owned(),
            class: OutputClass::of(spec),
            system: spec.system.clone(),
            host: self.header.hosts.get(host)?.name.clone(),
            cores,
            wall: times.wall,
            cpu: times.cpu(),
            input_size: self.closure_size(&spec.inputs),
            output_size: made.iter().map(|made| made.size).fold(0, u64::saturating_add),
            stopped,
        })
    }

    fn note(&mut self, made: &[Made]) {
        self.made.extend(made.iter().map(|made| (made.path, (made.size, made.refs.clone()))));
    }

    /// The size of these paths and of all that they refer to, as far as the run knows.
    fn closure_size(&self, inputs: &[PathId]) -> u64 {
        let mut seen: BTreeSet<PathId> = inputs.iter().copied().collect();
        let mut open: Vec<PathId> = inputs.to_vec();
        let mut total = 0u64;
        while let Some(path) = open.pop() {
            let Some(spec) = self.header.workload.paths.get(path) else { continue };
            let (size, refs) =
                self.made.get(&path).map_or((spec.size, &spec.refs), |(size, refs)| (*size, refs));
            total = total.saturating_add(size);
            open.extend(refs.iter().copied().filter(|path| seen.insert(*path)));
        }
        total
    }

    /// By this machine's clock, as builders' may differ; in seconds since 1970.
    fn clock(&self, at: Time) -> u64 {
        self.header.started.saturating_add(at.0 / 1_000_000)
    }
}
