//! Who uses what: for each job or path, the jobs that do.

use super::workload::{JobId, PathId, Workload};
use crate::base::{Id, Table};

/// A list of jobs for each row of a table, one list after the other.
#[derive(Clone, Debug)]
pub struct Users<I: Id> {
    jobs: Vec<JobId>,
    /// Where the list of each row begins, and where the last one ends.
    first: Table<I, u32>,
}

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
    fn new<'a>(work: &'a Workload, rows: usize, uses: impl Fn(JobId) -> &'a [I]) -> Self {
        let mut first: Table<I, u32> = Table::filled(rows + 1, 0);
        let after = |row: I| I::from_index(row.index() + 1);
        for job in work.jobs.ids() {
            uses(job).iter().for_each(|&row| first[after(row)] += 1);
        }
        let mut before = 0;
        for (_, count) in first.iter_mut() {
            before += *count;
            *count = before;
        }
        let mut next = first.clone();
        let mut jobs = vec![JobId(0); before as usize];
        for job in work.jobs.ids() {
            for &row in uses(job) {
                jobs[next[row] as usize] = job;
                next[row] += 1;
            }
        }
        Self { jobs, first }
    }

    /// The users of a row, ascending.
    pub fn of(&self, row: I) -> &[JobId] {
        &self.jobs[self.first[row] as usize..self.first[I::from_index(row.index() + 1)] as usize]
    }

    /// Whether a job is among the users of a row.
    pub fn contains(&self, row: I, job: JobId) -> bool {
        self.of(row).binary_search(&job).is_ok()
    }
}
