//! Which jobs are needed for some paths, given what can be had already.

use super::workload::{JobId, Origin, PathId, Workload};
use crate::base::Table;

/// Walks back from the `start` paths to the jobs that have to make them: over every path that is not
/// `available` to its maker, and on to that job's inputs.
pub fn needed_jobs(
    work: &Workload,
    start: impl IntoIterator<Item = PathId>,
    available: impl Fn(PathId) -> bool,
) -> Table<JobId, bool> {
    let mut needed = Table::filled(work.jobs.len(), false);
    let mut stack: Vec<PathId> = start.into_iter().collect();
    while let Some(path) = stack.pop() {
        if available(path) {
            continue;
        }
        let Origin::Job(job) = work.paths[path].origin else { continue };
        if !std::mem::replace(&mut needed[job], true) {
            stack.extend_from_slice(&work.jobs[job].inputs);
        }
    }
    needed
}
