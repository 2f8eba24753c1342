//! How soon each host could have a ready job done if it had nothing else to do: worked out once, and anew
//! only where a path came or went or an estimate changed.
//!
//! With its hosts in this order, a job need not ask all of them for the best: none further down can beat
//! one that is sooner done than it would be without waiting.

use crate::base::{Id, Span, Table};
use crate::fleet::HostId;
use crate::graph::{JobId, PathId, Workload};

/// Not worked out yet, or no longer true.
const UNKNOWN: Span = Span(u64::MAX);

/// A host for a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Prospect {
    /// Transfer and work, without any wait: what an offer cannot be below.
    pub least: Span,
    /// Until the job's inputs are there.
    pub transfer: Span,
    pub host: HostId,
}

/// What is known of one job.
#[derive(Clone, Debug)]
struct Row {
    transfer: Box<[Span]>,
    /// Its hosts, best first; empty if that has to be worked out.
    order: Vec<Prospect>,
    /// Some transfer times in `order` are no longer known.
    patchy: bool,
    /// The estimates that `order` rests on.
    epoch: u32,
}

/// Transfer times of ready jobs. Estimates: a path that appears at a better source, or a path at the
/// destination that an input only refers to, does not count before an input itself comes or goes there.
#[derive(Clone, Debug)]
pub(super) struct Lacks {
    rows: Table<JobId, Option<Box<Row>>>,
    /// The jobs that read each path.
    readers: Table<PathId, Vec<JobId>>,
    hosts: usize,
    /// Jobs that have a row, and some that had.
    known: Vec<JobId>,
    /// The length of that list beyond which it is cleaned.
    clean_at: usize,
    epoch: u32,
}

impl Lacks {
    pub fn new(work: &Workload, hosts: usize) -> Self {
        let mut readers = Table::filled(work.paths.len(), Vec::new());
        for (id, job) in work.jobs.iter() {
            for &path in &job.inputs {
                readers[path].push(id);
            }
        }
        let rows = Table::filled(work.jobs.len(), None);
        Self { rows, readers, hosts, known: Vec::new(), clean_at: 1024, epoch: 0 }
    }

    /// The transfer time of a job's inputs to a host, if it is known.
    pub fn get(&self, host: HostId, job: JobId) -> Option<Span> {
        let span = self.rows[job].as_ref()?.transfer[host.index()];
        (span != UNKNOWN).then_some(span)
    }

    /// Keeps a transfer time.
    pub fn set(&mut self, host: HostId, job: JobId, span: Span) {
        if self.rows[job].is_none() {
            self.known.push(job);
        }
        let empty =
            || Row { transfer: vec![UNKNOWN; self.hosts].into(), order: Vec::new(), patchy: false, epoch: 0 };
        self.rows[job].get_or_insert_with(|| Box::new(empty())).transfer[host.index()] = span;
    }

    /// A job's hosts, best first, as far as they are known to be so.
    pub fn order(&self, job: JobId) -> Option<&[Prospect]> {
        let row = self.rows[job].as_ref()?;
        (row.epoch == self.epoch && !row.patchy && !row.order.is_empty()).then_some(&row.order)
    }

    /// Takes the list of a job's hosts, to be given back by [`Lacks::set_order`]; empty where nothing of it
    /// is true any more. What it says of hosts whose transfer time is unknown is out of date.
    pub fn take_order(&mut self, job: JobId) -> Vec<Prospect> {
        let Some(row) = &mut self.rows[job] else { return Vec::new() };
        let mut order = std::mem::take(&mut row.order);
        if row.epoch != self.epoch {
            order.clear();
        }
        order
    }

    /// Keeps a job's hosts, whose transfer times were all set.
    pub fn set_order(&mut self, job: JobId, mut order: Vec<Prospect>) {
        // The one that is quick where most is in order already.
        order.sort();
        if let Some(row) = &mut self.rows[job] {
            row.order = order;
            row.patchy = false;
            row.epoch = self.epoch;
        }
    }

    /// Estimates of work have changed.
    pub fn reorder(&mut self) {
        self.epoch += 1;
    }

    /// A path came, went or was sent somewhere.
    pub fn touch(&mut self, host: HostId, path: PathId) {
        for &job in &self.readers[path] {
            if let Some(row) = &mut self.rows[job] {
                row.transfer[host.index()] = UNKNOWN;
                row.patchy = true;
            }
        }
    }

    /// The link of a host is not what it was thought to be.
    pub fn forget_host(&mut self, host: HostId) {
        for &job in &self.known {
            if let Some(row) = &mut self.rows[job] {
                row.transfer[host.index()] = UNKNOWN;
                row.patchy = true;
            }
        }
    }

    /// A job has its place.
    pub fn drop_job(&mut self, job: JobId) {
        self.rows[job] = None;
        // Cleaned now and then, so that the list stays as short as the rows are few.
        if self.known.len() > self.clean_at {
            self.known.retain(|&job| self.rows[job].is_some());
            self.known.sort_unstable();
            self.known.dedup();
            self.clean_at = 1024.max(2 * self.known.len());
        }
    }
}

#[cfg(test)]
mod tests;
