//! What a run knows from those before it, and where it is put in: estimates, speeds, links, sizes, cores.

use clap::Args;
use serde::Serialize;

use super::error::CliError;
use super::setup::Setup;
use crate::base::Table;
use crate::cost::{About, Cost, CostParams, Known, Links, Memory};
use crate::fleet::{Host, HostId, LinkSpeed};
use crate::graph::{JobId, PathId, Workload};
use crate::records::history::{Healed, History, HistoryError, heal};

/// Whether to look at the history, and whether to write it.
#[derive(Args, Debug, Clone, Default)]
#[command(next_help_heading = "History")]
pub struct Remember {
    /// Neither use nor write the history of builds
    #[arg(long)]
    pub no_history: bool,
}

/// How many estimates rest on what.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Basis {
    /// On earlier builds of the package.
    history: usize,
    /// On the shipped table of packages.
    packages: usize,
    /// On its kind only.
    kinds: usize,
}

/// For people, in a few words.
impl std::fmt::Display for Basis {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Basis { history, packages, kinds } = *self;
        let all = history + packages + kinds;
        write!(f, "estimates: {history} of {all} from history")?;
        match (packages, kinds) {
            (0, 0) => Ok(()),
            (0, _) => write!(f, ", the rest by kind"),
            (_, 0) => write!(f, ", the rest from the shipped table"),
            _ => write!(f, ", {packages} from the shipped table, the rest by kind"),
        }
    }
}

/// What is being learned.
pub struct Learning(std::thread::JoinHandle<(Learned, Vec<String>)>);

impl Learning {
    /// Waits until all is read, and gives the hosts of the run the speeds and links that were learned. What
    /// the user said of them counts more.
    ///
    /// # Errors
    /// The thread has failed, which no file should make it do.
    pub fn finish(self, setup: &mut Setup, warn: &mut dyn FnMut(&str)) -> Result<Learned, CliError> {
        let failed =
            |_| CliError::Usage("reading the history has failed; --no-history goes without".to_owned());
        let (learned, said) = self.0.join().map_err(failed)?;
        said.iter().for_each(|line| warn(line));
        setup.fleet.learn_speeds(|host, system| learned.speed(host, system));
        for (_, host) in setup.fleet.hosts.iter_mut().filter(|(id, _)| *id != HostId::HOME) {
            if let Some(link) = learned.link(&host.name) {
                host.link = link;
            }
        }
        Ok(learned)
    }
}

/// What was learned.
#[derive(Debug)]
pub struct Learned {
    memory: Memory,
    links: Links,
    /// The file, where it can be used.
    pub history: Option<History>,
}

impl Learned {
    /// Reads the history, with these hosts as they are configured. What is wrong with it goes to `warn`.
    pub fn load(remember: &Remember, hosts: &[Host], warn: &mut dyn FnMut(&str)) -> Learned {
        Self::of_time(remember, None, hosts, warn)
    }

    /// The history as it was before a moment in seconds since 1970, or as it is.
    pub fn before(moment: Option<u64>, hosts: &[Host], warn: &mut dyn FnMut(&str)) -> Learned {
        Self::of_time(&Remember::default(), moment, hosts, warn)
    }

    fn of_time(
        remember: &Remember,
        before: Option<u64>,
        hosts: &[Host],
        warn: &mut dyn FnMut(&str),
    ) -> Learned {
        let mut fresh = Memory::new(CostParams::default());
        for host in hosts {
            fresh.configure(&host.name, host.speed);
            for system in host.emulated.keys() {
                fresh.configure_system(&host.name, system, host.speed_for(system));
            }
        }
        let nothing = |memory: Memory| Learned { memory, links: Links::default(), history: None };
        if remember.no_history {
            return nothing(fresh);
        }
        let Healed { got, warning } = match History::file() {
            Ok(path) => heal(&path, |history| read(history, &fresh, before)),
            Err(e) => Healed { got: None, warning: Some(format!("the history is not used: {e}")) },
        };
        warning.iter().for_each(|text| warn(&format!("warning: {text}")));
        got.unwrap_or_else(|| nothing(fresh))
    }

    /// Begins to read the history for the hosts of a run, on a thread, as evaluation takes its time as well.
    pub fn begin(setup: &Setup, remember: &Remember) -> Learning {
        let (hosts, remember) = (setup.fleet.hosts.rows().to_vec(), remember.clone());
        let read = move || {
            let mut said = Vec::new();
            let learned = Learned::load(&remember, &hosts, &mut |line| said.push(line.to_owned()));
            (learned, said)
        };
        Learning(std::thread::spawn(read))
    }

    /// The speed of a host for a system, where one was learned.
    pub fn speed(&self, host: &str, system: &str) -> Option<f64> {
        self.memory.speed(host, system)
    }

    /// The way to a host, where it was learned.
    pub fn link(&self, host: &str) -> Option<LinkSpeed> {
        let (bandwidth, latency) = self.links.of(host)?;
        // 0 stands for a link that costs nothing.
        Some(LinkSpeed { bandwidth: bandwidth.max(1), latency })
    }

    /// Gives what jobs make the sizes that it had before.
    pub fn sizes(&self, work: &mut Workload) {
        let known: Vec<(PathId, u64)> = work
            .jobs
            .rows()
            .iter()
            .filter_map(|job| Some((job, self.memory.output_size(&About::job(work, job))?)))
            .flat_map(|(job, size)| {
                let each = size.div_ceil(job.outputs.len().max(1) as u64);
                job.outputs.iter().map(move |&path| (path, each))
            })
            .collect();
        known.into_iter().for_each(|(path, size)| work.paths[path].size = size);
    }

    /// What the estimates of jobs rest on.
    pub fn basis(&self, work: &Workload) -> Basis {
        let mut basis = Basis::default();
        for (_, job) in work.jobs.iter() {
            match self.memory.forecast(&About::job(work, job)).known() {
                Known::Once | Known::Twice | Known::Often => basis.history += 1,
                Known::Table => basis.packages += 1,
                Known::Kind | Known::Size => basis.kinds += 1,
            }
        }
        basis
    }

    /// What each job is estimated to cost, and which part of it more cores make faster.
    pub fn estimates(&self, work: &Workload) -> (Table<JobId, Cost>, Table<JobId, f64>) {
        (self.memory.estimates(work), self.memory.parallel_parts(work))
    }
}

fn read(history: History, fresh: &Memory, before: Option<u64>) -> Result<Learned, HistoryError> {
    let memory = history.memory(fresh.clone(), before)?;
    Ok(Learned { memory, links: history.links(before)?, history: Some(history) })
}
