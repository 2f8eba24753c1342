//! What ready jobs lack on each host: how long their inputs would be on their way, and which hosts have
//! them all. Worked out when first asked for, and anew only where a path came or went.

use fixedbitset::FixedBitSet;

use crate::base::{Id, Span, Table};
use crate::fleet::HostId;
use crate::graph::{JobId, PathId, Workload};

/// A transfer time, and the state of the host's link in which it was worked out.
#[derive(Clone, Copy, Debug)]
struct Known {
    span: Span,
    epoch: u32,
}

/// Not worked out yet, or no longer true.
const UNKNOWN: Known = Known { span: Span(u64::MAX), epoch: u32::MAX };

/// What is known of one job.
#[derive(Clone, Debug)]
struct Row {
    transfer: Box<[Known]>,
    /// The hosts that have all its inputs; `None` where that has to be looked up.
    complete: Option<FixedBitSet>,
}

/// Transfer times of ready jobs. Estimates: a path that appears at a better source, or a path at the
/// destination that an input only refers to, does not count before an input itself comes or goes there.
#[derive(Clone, Debug)]
pub(super) struct Lacks {
    rows: Table<JobId, Option<Box<Row>>>,
    /// The jobs that read each path.
    readers: Table<PathId, Vec<JobId>>,
    /// Per host how often its link turned out to be another than was thought.
    epochs: Table<HostId, u32>,
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
        Self { rows, readers, epochs: Table::filled(hosts, 0) }
    }

    /// The transfer time of a job's inputs to a host, if it is known.
    pub fn get(&self, host: HostId, job: JobId) -> Option<Span> {
        self.times(job)(host)
    }

    /// The transfer times of a job's inputs, as far as they are known.
    pub fn times(&self, job: JobId) -> impl Fn(HostId) -> Option<Span> + '_ {
        let row = self.rows[job].as_deref();
        move |host| {
            let Known { span, epoch } = row?.transfer[host.index()];
            // Nothing is nothing over any link.
            (epoch == self.epochs[host] || span == Span::ZERO).then_some(span)
        }
    }

    /// Keeps a transfer time.
    pub fn set(&mut self, host: HostId, job: JobId, span: Span) {
        let known = Known { span, epoch: self.epochs[host] };
        self.row(job).transfer[host.index()] = known;
    }

    fn row(&mut self, job: JobId) -> &mut Row {
        let hosts = self.epochs.len();
        self.rows[job]
            .get_or_insert_with(|| Box::new(Row { transfer: vec![UNKNOWN; hosts].into(), complete: None }))
    }

    /// The hosts that have all of a job's inputs, if that is known.
    pub fn complete(&self, job: JobId) -> Option<&FixedBitSet> {
        self.rows[job].as_ref()?.complete.as_ref()
    }

    /// Keeps the hosts that have all of a job's inputs: nothing is to be transferred there.
    pub fn set_complete(&mut self, job: JobId, hosts: FixedBitSet) {
        let row = self.row(job);
        for host in hosts.ones() {
            row.transfer[host] = Known { span: Span::ZERO, epoch: 0 };
        }
        row.complete = Some(hosts);
    }

    /// A path came, went or was sent somewhere.
    pub fn touch(&mut self, host: HostId, path: PathId) {
        for &job in &self.readers[path] {
            if let Some(row) = &mut self.rows[job] {
                row.transfer[host.index()] = UNKNOWN;
                row.complete = None;
            }
        }
    }

    /// Whether a job reads a path.
    pub fn reads(&self, job: JobId, path: PathId) -> bool {
        self.readers[path].binary_search(&job).is_ok()
    }

    /// The link of a host is not what it was thought to be.
    pub fn forget_host(&mut self, host: HostId) {
        self.epochs[host] += 1;
    }

    /// A job has its place.
    pub fn drop_job(&mut self, job: JobId) {
        self.rows[job] = None;
    }
}

#[cfg(test)]
mod tests;
