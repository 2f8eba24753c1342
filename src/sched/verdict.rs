//! How a run ended.

use crate::fleet::HostId;
use crate::graph::{JobId, PathId};
use crate::run::Failure;

use super::state::JobState;
use super::{Phase, Scheduler};

/// How a job ended that did not end well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It does not build.
    Failed { failure: Failure, message: String },
    /// Hosts failed it too often, or none is left for it.
    GivenUp { cause: String },
}

/// How a run ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Jobs that ended badly of themselves, in the order in which they did.
    pub endings: Vec<(JobId, Ending)>,
    /// Jobs skipped because of one of those.
    pub skipped: Vec<(JobId, JobId)>,
    /// Wanted paths that are not at home.
    pub missing: Vec<PathId>,
}

impl Scheduler {
    /// Whether nothing is left to do or to wait for.
    pub fn is_done(&self) -> bool {
        let seated = self.jobs.seated().next().is_some();
        match self.phase {
            Phase::Gathering => false,
            Phase::Stopping => !seated,
            Phase::Building => {
                !seated && self.jobs.left() == 0 && !self.unmet_wants().any(|p| self.may_come_home(p))
            }
        }
    }

    /// What came of the run. Of use once it is done.
    pub fn verdict(&self) -> Verdict {
        let skipped = self.jobs.states().iter().filter_map(|(job, state)| match state {
            JobState::Skipped(because) => Some((job, *because)),
            _ => None,
        });
        Verdict {
            endings: self.endings.clone(),
            skipped: skipped.collect(),
            missing: self
                .work
                .wanted
                .iter()
                .copied()
                .filter(|&path| !self.stores.holds(HostId::HOME, path))
                .collect(),
        }
    }
}
