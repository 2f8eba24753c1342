//! An audit of every invariant, for tests: what must hold after each step.

use super::Scheduler;
use super::state::JobState;

impl Scheduler {
    /// The first invariant that does not hold, as a sentence.
    ///
    /// # Errors
    /// If the state is inconsistent, which is a bug.
    pub fn check(&self) -> Result<(), String> {
        for (host, slot, job) in self.jobs.seated() {
            let Some(seat) = self.jobs.state(job).seat() else {
                return Err(format!("{job} has slot {host}/{slot} without being staged or run"));
            };
            if (seat.host, seat.slot) != (host, slot) {
                return Err(format!("{job} thinks it has another slot than {host}/{slot}"));
            }
            if !self.hosts.slots(host).contains(&slot) {
                return Err(format!("{job} has slot {host}/{slot}, which is not connected"));
            }
            if self.hosts.drained(host).is_some() && matches!(self.jobs.state(job), JobState::Staging(_)) {
                return Err(format!("{job} is to be built on {host}, which takes no more jobs"));
            }
            if !self.eligible[job].contains(&host) {
                return Err(format!("{job} is on {host}, which cannot build it"));
            }
        }
        let mut left = 0;
        let mut seats = 0;
        for (job, state) in self.jobs.states().iter() {
            let open = self.work.jobs[job].needs.iter().filter(|&&n| self.jobs.state(n) != JobState::Done);
            let open = open.count();
            if open != self.jobs.open(job) as usize {
                return Err(format!("{job} has {open} open needs and counts {}", self.jobs.open(job)));
            }
            left += usize::from(matches!(state, JobState::Waiting | JobState::Ready));
            seats += usize::from(state.seat().is_some());
            if *state == JobState::Waiting && open == 0 {
                return Err(format!("{job} waits for nothing"));
            }
            let bad = |n: &&crate::graph::JobId| self.jobs.state(**n).is_bad();
            if *state == JobState::Waiting && self.work.jobs[job].needs.iter().any(|n| bad(&n)) {
                return Err(format!("{job} waits for a job that will never be done"));
            }
            if *state == JobState::Ready && open > 0 {
                return Err(format!("{job} is ready with {open} needs open"));
            }
        }
        if left != self.jobs.left() || seats != self.jobs.seated().count() {
            return Err("the counts of jobs are wrong".to_owned());
        }
        Ok(())
    }
}
