//! How often each job was tried, and of the few that had trouble: where, how often and why.

use std::collections::BTreeMap;

use crate::base::Table;
use crate::fleet::HostId;
use crate::graph::JobId;
use crate::run::Attempt;

/// The attempts of all jobs.
#[derive(Clone, Debug)]
pub(super) struct Tries {
    /// The next one of each job.
    next: Table<JobId, Attempt>,
    troubles: BTreeMap<JobId, Trouble>,
    /// Whether any job avoids a host.
    any_avoided: bool,
}

/// What a job met with.
#[derive(Clone, Debug, Default)]
pub(super) struct Trouble {
    pub failed: u32,
    /// How often its host or the connection was lost under it.
    pub lost: u32,
    /// How often a copy of it was begun on a faster host.
    pub copies: u32,
    avoid: Vec<HostId>,
    pub last_cause: String,
    /// The last failure was of the builder itself.
    pub transient: bool,
}

impl Tries {
    /// Nothing was tried.
    pub fn new(jobs: usize) -> Self {
        Self { next: Table::filled(jobs, Attempt(0)), troubles: BTreeMap::new(), any_avoided: false }
    }

    /// The attempt that a job has now, or will have next.
    pub fn attempt(&self, job: JobId) -> Attempt {
        self.next[job]
    }

    /// An attempt is over, whatever else is heard of it.
    pub fn end(&mut self, job: JobId) {
        self.next[job].0 += 1;
    }

    /// What a job met with, if anything.
    pub fn trouble(&self, job: JobId) -> Option<&Trouble> {
        self.troubles.get(&job)
    }

    /// The same, to be changed.
    pub fn trouble_mut(&mut self, job: JobId) -> &mut Trouble {
        self.troubles.entry(job).or_default()
    }

    /// Notes why a job has to be tried again, and that it had better be tried elsewhere if a host is to blame.
    pub fn blame(&mut self, job: JobId, host: Option<HostId>, cause: &str) -> &mut Trouble {
        self.any_avoided |= host.is_some();
        let trouble = self.trouble_mut(job);
        cause.clone_into(&mut trouble.last_cause);
        trouble.avoid.extend(host.filter(|host| !trouble.avoid.contains(host)));
        trouble
    }

    /// The hosts that failed a job.
    pub fn avoided(&self, job: JobId) -> &[HostId] {
        // Mostly none does, and that is asked again and again.
        let trouble = if self.any_avoided { self.troubles.get(&job) } else { None };
        trouble.map_or(&[], |trouble| &trouble.avoid)
    }

    /// Whether a host failed a job.
    pub fn avoids(&self, job: JobId, host: HostId) -> bool {
        self.avoided(job).contains(&host)
    }

    /// Whether any host failed any job.
    pub fn any_avoided(&self) -> bool {
        self.any_avoided
    }
}
