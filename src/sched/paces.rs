//! How fast each host is for the system of each job: as configured, and as this run's builds have it.

use std::collections::BTreeMap;

use crate::base::Table;
use crate::fleet::{Host, HostId};
use crate::graph::{JobId, Workload};

/// Seconds that hosts take for each second of work, by the work's system.
#[derive(Clone, Debug)]
pub(super) struct Paces {
    /// Per job the number of its system.
    system: Table<JobId, u16>,
    /// Per system a row with all hosts.
    learned: Vec<Table<HostId, f64>>,
    configured: Vec<Table<HostId, f64>>,
}

impl Paces {
    pub fn new(work: &Workload, hosts: &Table<HostId, Host>) -> Self {
        let mut names: BTreeMap<&str, u16> = BTreeMap::new();
        let mut system = Table::new();
        for (_, job) in work.jobs.iter() {
            // More systems than that do not exist; those beyond share the last number.
            let next = u16::try_from(names.len()).unwrap_or(u16::MAX);
            system.push(*names.entry(job.system.as_str()).or_insert(next));
        }
        let mut numbered: Vec<&str> = vec![""; names.len()];
        names.iter().for_each(|(name, &number)| numbered[usize::from(number)] = name);
        let row = |name: &&str| hosts.rows().iter().map(|host| 1.0 / host.speed_for(name)).collect();
        let configured: Vec<_> = numbered.iter().map(row).collect();
        Self { system, learned: configured.clone(), configured }
    }

    /// The number of a job's system.
    pub fn system(&self, job: JobId) -> u16 {
        self.system[job]
    }

    /// What the host takes for a second of the job's work.
    pub fn of(&self, job: JobId, host: HostId) -> f64 {
        self.of_job(job)[host]
    }

    /// What each host takes for a second of the job's work.
    pub fn of_job(&self, job: JobId) -> &Table<HostId, f64> {
        self.of_system(self.system[job])
    }

    /// What the fastest host takes for a second of the job's work.
    pub fn least(&self, job: JobId) -> f64 {
        self.of_job(job).rows().iter().copied().fold(f64::INFINITY, f64::min)
    }

    /// What each host takes for a second of work for a system.
    pub fn of_system(&self, system: u16) -> &Table<HostId, f64> {
        &self.learned[usize::from(system)]
    }

    /// The same by what the hosts were said to be.
    pub fn configured(&self, job: JobId, host: HostId) -> f64 {
        self.configured[usize::from(self.system[job])][host]
    }

    /// The rows of all systems.
    pub fn rows(&self) -> &[Table<HostId, f64>] {
        &self.learned
    }

    /// Takes a host to be faster than configured by `factor`, if that makes a difference by `differs`.
    pub fn correct(&mut self, host: HostId, factor: f64, differs: impl Fn(f64, f64) -> bool) -> bool {
        let mut told = false;
        for (row, configured) in self.learned.iter_mut().zip(&self.configured) {
            told |= differs(configured[host] / factor, row[host]);
        }
        if told {
            let rows = self.learned.iter_mut().zip(&self.configured);
            rows.for_each(|(row, configured)| row[host] = configured[host] / factor);
        }
        told
    }
}
