//! Who uses what: for each job or path, the jobs that do.

use super::workload::{JobId, PathId, Workload};
use crate::base::{Id, Lists};

/// For each row of a table the jobs that use it.
#[derive(Clone, Debug)]
pub struct Users<I: Id>(Lists<I, JobId>);

impl Users<JobId> {
    /// For each job those that need it.
    pub fn of_jobs(work: &Workload) -> Self {
        Self::new(work, work.jobs.len(), |job| &work.jobs[job].needs)
    }
}

impl Users<PathId> {
    /// For each path those that read it.
    pub fn of_paths(work: &Workload) -> Self {
        Self::new(work, work.paths.len(), |job| &work.jobs[job].inputs)
    }
}

impl<I: Id + 'static> Users<I> {
    fn new<'a>(work: &'a Workload, rows: usize, uses: impl Fn(JobId) -> &'a [I] + Copy) -> Self {
        let uses = |job| uses(job).iter().map(move |&row| (row, job));
        Self(Lists::gathered(rows, work.jobs.ids().flat_map(uses)))
    }

    /// The users of a row, ascending.
    #[inline]
    pub fn of(&self, row: I) -> &[JobId] {
        self.0.of(row)
    }

    /// Whether a job is among the users of a row.
    pub fn contains(&self, row: I, job: JobId) -> bool {
        self.of(row).binary_search(&job).is_ok()
    }
}
