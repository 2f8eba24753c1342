//! How long it would take to bring a job's missing inputs to each host: worked out once, and anew only
//! where a path came or went.

use crate::base::{Id, Span, Table};
use crate::fleet::HostId;
use crate::graph::{JobId, PathId, Workload};

/// Not worked out yet, or no longer true.
const UNKNOWN: Span = Span(u64::MAX);

/// Transfer times of ready jobs. Estimates: a path that appears at a better source, or a path at the
/// destination that an input only refers to, does not count before an input itself comes or goes there.
#[derive(Clone, Debug)]
pub(super) struct Lacks {
    rows: Table<JobId, Option<Box<[Span]>>>,
    /// The jobs that read each path.
    readers: Table<PathId, Vec<JobId>>,
    hosts: usize,
    /// Jobs that have a row.
    known: Vec<JobId>,
    /// The length of that list beyond which it is cleaned.
    clean_at: usize,
}

impl Lacks {
    pub fn new(work: &Workload, hosts: usize) -> Self {
        let mut readers = Table::filled(work.paths.len(), Vec::new());
        for (id, job) in work.jobs.iter() {
            for &path in &job.inputs {
                readers[path].push(id);
            }
        }
        Self { rows: Table::filled(work.jobs.len(), None), readers, hosts, known: Vec::new(), clean_at: 1024 }
    }

    /// The transfer time of a job's inputs to a host, if it is known.
    pub fn get(&self, host: HostId, job: JobId) -> Option<Span> {
        let span = self.rows[job].as_ref()?[host.index()];
        (span != UNKNOWN).then_some(span)
    }

    /// Keeps a transfer time.
    pub fn set(&mut self, host: HostId, job: JobId, span: Span) {
        if self.rows[job].is_none() {
            self.known.push(job);
        }
        self.rows[job].get_or_insert_with(|| vec![UNKNOWN; self.hosts].into_boxed_slice())[host.index()] =
            span;
    }

    /// A path came, went or was sent somewhere.
    pub fn touch(&mut self, host: HostId, path: PathId) {
        for &job in &self.readers[path] {
            if let Some(row) = &mut self.rows[job] {
                row[host.index()] = UNKNOWN;
            }
        }
    }

    /// The link of a host is not what it was thought to be.
    pub fn forget_host(&mut self, host: HostId) {
        for &job in &self.known {
            if let Some(row) = &mut self.rows[job] {
                row[host.index()] = UNKNOWN;
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
