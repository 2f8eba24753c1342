//! Who really holds which path, and what a transfer has to carry.

use crate::base::{Id, Lists, Table};
use crate::fleet::HostId;
use crate::graph::{JobId, Origin, PathId, Workload};

/// A bit per host and path. Stores are closed under the references that the workload says. What is asked of the
/// workload again and again is kept apart from its names.
#[derive(Clone, Debug)]
pub(super) struct Stores {
    inputs: Lists<JobId, PathId>,
    outputs: Lists<JobId, PathId>,
    refs: Lists<PathId, PathId>,
    size: Table<PathId, u64>,
    /// The bits of each host in turn, in so many words.
    held: Vec<u64>,
    words: usize,
    /// The paths that [`Stores::missing`] has met, by its last call that did.
    met: Table<PathId, u32>,
    calls: u32,
    /// Paths to go on from; empty between calls.
    open: Vec<PathId>,
}

impl Stores {
    /// This machine holds what it holds, the others nothing.
    pub fn new(work: &Workload, hosts: usize) -> Self {
        let words = work.paths.len().div_ceil(64);
        let mut stores = Self {
            inputs: Lists::new(&work.jobs, |job| &job.inputs),
            outputs: Lists::new(&work.jobs, |job| &job.outputs),
            refs: Lists::new(&work.paths, |path| &path.refs),
            size: work.paths.rows().iter().map(|path| path.size).collect(),
            held: vec![0; hosts * words],
            words,
            met: Table::filled(work.paths.len(), 0),
            calls: 0,
            open: Vec::new(),
        };
        for (path, spec) in work.paths.iter() {
            if spec.origin == Origin::Home && hosts > 0 {
                stores.hold(HostId::HOME, path);
            }
        }
        stores
    }

    /// What a job makes.
    pub fn outputs(&self, job: JobId) -> &[PathId] {
        self.outputs.of(job)
    }

    /// The size of a path.
    pub fn size(&self, path: PathId) -> u64 {
        self.size[path]
    }

    /// What a path refers to.
    pub fn refs(&self, path: PathId) -> &[PathId] {
        self.refs.of(path)
    }

    /// Whether a host has everything that a job reads.
    pub fn complete(&self, host: HostId, job: JobId) -> bool {
        self.holds_all(host, self.inputs.of(job))
    }

    /// Whether a host has all of these.
    pub fn holds_all(&self, host: HostId, paths: &[PathId]) -> bool {
        let held = &self.held[host.index() * self.words..][..self.words];
        paths.iter().all(|&path| has(held, path))
    }

    /// A host has everything that a job makes from now on.
    pub fn hold_outputs(&mut self, host: HostId, job: JobId) {
        for i in 0..self.outputs.of(job).len() {
            self.hold(host, self.outputs.of(job)[i]);
        }
    }

    /// A host has a path from now on, with all that it refers to.
    pub fn hold(&mut self, host: HostId, path: PathId) {
        let held = &mut self.held[host.index() * self.words..][..self.words];
        if !add(held, path) {
            return;
        }
        self.open.push(path);
        while let Some(path) = self.open.pop() {
            self.open.extend(self.refs.of(path).iter().filter(|&&path| add(held, path)));
        }
    }

    /// What has to be carried so that a host has these paths with all that they refer to.
    pub fn missing(&mut self, host: HostId, paths: &[PathId]) -> u64 {
        self.calls += 1;
        let held = &self.held[host.index() * self.words..][..self.words];
        self.open.extend(paths.iter().filter(|&&path| !has(held, path)));
        let mut bytes = 0u64;
        while let Some(path) = self.open.pop() {
            if std::mem::replace(&mut self.met[path], self.calls) != self.calls {
                bytes = bytes.saturating_add(self.size[path]);
                self.open.extend(self.refs.of(path).iter().filter(|&&path| !has(held, path)));
            }
        }
        bytes
    }
}

fn has(held: &[u64], path: PathId) -> bool {
    held[path.index() / 64] >> (path.index() % 64) & 1 == 1
}

/// Adds a path; false if it was there.
fn add(held: &mut [u64], path: PathId) -> bool {
    let (word, bit) = (&mut held[path.index() / 64], 1 << (path.index() % 64));
    let is_new = *word & bit == 0;
    *word |= bit;
    is_new
}
