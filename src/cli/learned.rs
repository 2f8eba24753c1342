//! What a run knows from those before it, and where it is put in: estimates, speeds, links, sizes, cores.

use clap::Args;

use super::setup::Setup;
use crate::base::Table;
use crate::cost::{About, Cost, CostParams, Links, Memory};
use crate::fleet::{HostId, LinkSpeed};
use crate::graph::{JobId, Workload};
use crate::records::history::{Healed, History, HistoryError, heal};

/// Whether to look at the history, and whether to write it.
#[derive(Args, Debug, Clone, Default)]
#[command(next_help_heading = "History")]
pub struct Remember {
    /// Neither use nor write the history of builds
    #[arg(long)]
    pub no_history: bool,
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
    /// Reads the history, with hosts of these configured speeds. What is wrong with it goes to `warn`.
    pub fn load<'a>(
        remember: &Remember,
        hosts: impl Iterator<Item = (&'a str, f64)>,
        warn: &mut dyn FnMut(&str),
    ) -> Learned {
        let mut fresh = Memory::new(CostParams::default());
        hosts.for_each(|(name, speed)| fresh.configure(name, speed));
        let nothing = |memory: Memory| Learned { memory, links: Links::default(), history: None };
        if remember.no_history {
            return nothing(fresh);
        }
        let Healed { got, warning } = match History::file() {
            Ok(path) => heal(&path, |history| read(history, &fresh)),
            Err(e) => Healed { got: None, warning: Some(format!("the history is not used: {e}")) },
        };
        warning.iter().for_each(|text| warn(&format!("warning: {text}")));
        got.unwrap_or_else(|| nothing(fresh))
    }

    /// The same for the hosts of a run, which get the speeds and links that were learned. What the user said
    /// of them counts more.
    pub fn of_hosts(setup: &mut Setup, remember: &Remember, warn: &mut dyn FnMut(&str)) -> Learned {
        let hosts = &setup.fleet.hosts;
        let learned =
            Learned::load(remember, hosts.rows().iter().map(|host| (host.name.as_str(), host.speed)), warn);
        setup.fleet.learn_speeds(|host, system| learned.speed(host, system));
        for (_, host) in setup.fleet.hosts.iter_mut().filter(|(id, _)| *id != HostId::HOME) {
            if let Some(link) = learned.link(&host.name) {
                host.link = link;
            }
        }
        learned
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
        for (_, job) in work.jobs.iter() {
            let outputs = job.outputs.len() as u64;
            if let Some(size) = self.memory.output_size(&About::job(job)).filter(|_| outputs > 0) {
                job.outputs.iter().for_each(|&path| work.paths[path].size = size.div_ceil(outputs));
            }
        }
    }

    /// What estimates rest on; nothing if there is nothing to build.
    pub fn basis(&self, work: &Workload) -> Option<String> {
        (!work.jobs.is_empty()).then(|| "estimates: TODO".to_owned())
    }

    /// What each job is estimated to cost, and which part of it more cores make faster.
    pub fn estimates(&self, work: &Workload) -> (Table<JobId, Cost>, Table<JobId, f64>) {
        (self.memory.estimates(work), self.memory.parallel_parts(work))
    }
}

fn read(history: History, fresh: &Memory) -> Result<Learned, HistoryError> {
    let memory = history.memory(fresh.clone(), None)?;
    Ok(Learned { memory, links: history.links(None)?, history: Some(history) })
}
