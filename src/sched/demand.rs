//! Which jobs are needed, given what the reachable hosts hold: asked when the fleet is ready and each
//! time a host is lost or comes back.
//!
//! A run that was cut off continues where it was by this, and a job whose outputs were lost with their
//! host is built again by this.

use crate::base::Table;
use crate::graph::{JobId, PathId, needed_jobs};

use super::Scheduler;
use super::state::JobState;

impl Scheduler {
    /// Sets every job that has no slot and is not failed to what follows from demand and supply.
    pub(super) fn review_demand(&mut self) {
        let needed = self.needed_jobs();
        for job in self.work.jobs.ids() {
            let state = self.jobs.state(job);
            if state.seat().is_some() || state.is_bad() {
                continue;
            }
            // A job that is not needed but has outputs somewhere was done, here or in an earlier run.
            let to = match needed[job] {
                true => JobState::Waiting,
                false if self.jobs.outputs(job).iter().any(|&p| self.stores.available(p)) => JobState::Done,
                false => JobState::Unneeded,
            };
            self.jobs.set(job, to);
        }
        // What is needed again may need what has failed since.
        for job in self.work.jobs.ids() {
            match self.jobs.state(job) {
                JobState::Skipped(because) => self.skip_dependents(job, because),
                state if state.is_bad() => self.skip_dependents(job, job),
                _ => {}
            }
        }
        self.sum_up();
    }

    /// Walks back from what is wanted and not there to the jobs that have to make it.
    fn needed_jobs(&self) -> Table<JobId, bool> {
        let mut start: Vec<PathId> = self.unmet_wants().collect();
        for (host, _, job) in self.jobs.seated() {
            let inputs = self.jobs.inputs(job);
            start.extend(inputs.iter().filter(|&&p| !self.stores.holds(host, p)));
        }
        needed_jobs(&self.work, start, |path| self.stores.available(path))
    }
}
