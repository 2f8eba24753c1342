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
    /// Per system the ends of its row in `learned`.
    ends: Vec<Ends>,
}

/// The least and the most that any of some hosts takes for a second of work.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ends {
    pub least: f64,
    /// The first host that takes that.
    pub fastest: HostId,
    pub most: f64,
}

impl Ends {
    /// Of these hosts in a row; `None` of no host.
    fn of(row: &Table<HostId, f64>, hosts: impl Iterator<Item = HostId>) -> Option<Self> {
        let paces = hosts.map(|host| (row[host], host));
        paces.fold(None, |ends: Option<Self>, (pace, host)| {
            let one = Self { least: pace, fastest: host, most: pace };
            let ends = ends.unwrap_or(one);
            let first = if pace < ends.least { one } else { ends };
            Some(Self { most: ends.most.max(pace), ..first })
        })
    }
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
        let mut paces = Self { system, learned: configured.clone(), configured, ends: Vec::new() };
        paces.find_ends();
        paces
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
        self.ends.get(usize::from(self.system[job])).map_or(f64::INFINITY, |ends| ends.least)
    }

    /// The least and the most that any of these hosts takes for a second of the job's work.
    pub fn ends(&self, job: JobId, hosts: &[HostId]) -> Option<Ends> {
        let row = self.of_job(job);
        if hosts.len() < row.len() {
            return Ends::of(row, hosts.iter().copied());
        }
        self.ends.get(usize::from(self.system[job])).copied()
    }

    fn find_ends(&mut self) {
        // Without hosts there are no ends.
        self.ends = self.learned.iter().filter_map(|row| Ends::of(row, row.ids())).collect();
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
            self.find_ends();
        }
        told
    }
}
