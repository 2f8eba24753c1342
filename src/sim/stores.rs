//! Who really holds which path, and what a transfer has to carry.

use crate::base::{Id, Lists, Table};
use crate::fleet::HostId;
use crate::graph::{JobId, Origin, PathId, Workload};

/// A bit per host and path. Stores are closed under the references that the workload says. What is asked of the
/// workload again and again is kept apart from its names.
#[derive(Clone, Debug)]
pub(super) struct Stores {
    inputs: Lists<JobId, PathId>,
    refs: Lists<PathId, PathId>,
    size: Table<PathId, u64>,
    held: Table<HostId, Vec<u64>>,
    /// The paths that [`Stores::missing`] has met, by its last call that did.
    met: Table<PathId, u64>,
    calls: u64,
}

impl Stores {
    /// This machine holds what it holds, the others nothing.
    pub fn new(work: &Workload, hosts: usize) -> Self {
        let words = work.paths.len().div_ceil(64);
        let held = Table::filled(hosts, vec![0; words]);
        let mut stores = Self {
            inputs: Lists::new(&work.jobs, |job| &job.inputs),
            refs: Lists::new(&work.paths, |path| &path.refs),
            size: work.paths.rows().iter().map(|path| path.size).collect(),
            held,
            met: Table::filled(work.paths.len(), 0),
            calls: 0,
        };
        for (path, spec) in work.paths.iter() {
            if spec.origin == Origin::Home && hosts > 0 {
                stores.hold(HostId::HOME, path);
            }
        }
        stores
    }

    pub fn holds(&self, host: HostId, path: PathId) -> bool {
        self.held[host][path.index() / 64] >> (path.index() % 64) & 1 == 1
    }

    /// A host has a path from now on, with all that it refers to.
    pub fn hold(&mut self, host: HostId, path: PathId) {
        if self.holds(host, path) {
            return;
        }
        let mut open = vec![path];
        while let Some(path) = open.pop() {
            if !self.holds(host, path) {
                self.held[host][path.index() / 64] |= 1 << (path.index() % 64);
                open.extend_from_slice(self.refs.of(path));
            }
        }
    }

    /// What has to be carried so that a host has these paths with all that they refer to.
    pub fn missing(&mut self, host: HostId, paths: &[PathId]) -> u64 {
        self.calls += 1;
        let mut open: Vec<PathId> = paths.to_vec();
        let mut bytes = 0u64;
        while let Some(path) = open.pop() {
            let was_met = std::mem::replace(&mut self.met[path], self.calls) == self.calls;
            if !was_met && !self.holds(host, path) {
                bytes = bytes.saturating_add(self.size[path]);
                open.extend_from_slice(self.refs.of(path));
            }
        }
        bytes
    }

    /// Whether a host has everything that a job reads.
    pub fn complete(&self, host: HostId, job: JobId) -> bool {
        self.inputs.of(job).iter().all(|&path| self.holds(host, path))
    }
}
