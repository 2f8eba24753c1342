//! What has been learned from earlier builds.

use std::collections::BTreeMap;

use super::estimate::Cost;
use super::names::pname_version;
use super::params::CostParams;
use super::prior::OutputClass;
use super::sample::Sample;
use crate::base::{Span, Table};
use crate::graph::{Job, JobId, Workload};

/// What an estimate is wanted for.
#[derive(Clone, Copy, Debug)]
pub struct About<'a> {
    /// The derivation's name with its version.
    pub name: &'a str,
    /// Its kind.
    pub class: OutputClass,
    /// The Nix system it is built for.
    pub system: &'a str,
    /// Size of its source in bytes, where known.
    pub input_size: Option<u64>,
}

impl<'a> About<'a> {
    /// What is known of a job.
    pub fn job(job: &'a Job) -> About<'a> {
        About { name: &job.name, class: OutputClass::of(job), system: &job.system, input_size: None }
    }
}

/// What has been learned, from samples in the order of time.
#[derive(Clone, Debug)]
pub struct Memory {
    params: CostParams,
    speeds: BTreeMap<String, f64>,
    packages: BTreeMap<(String, OutputClass, String), Seen>,
}

/// What is known of a package.
#[derive(Clone, Debug, Default)]
struct Seen {
    weight: f64,
    log: f64,
    output_size: u64,
}

impl Memory {
    /// Nothing learned yet.
    pub fn new(params: CostParams) -> Memory {
        Memory { params, speeds: BTreeMap::new(), packages: BTreeMap::new() }
    }

    /// Configured speed factor of a host, towards which its learned speed is shrunk.
    pub fn configure(&mut self, host: &str, speed: f64) {
        self.speeds.insert(host.to_owned(), speed);
    }

    /// Takes in a build.
    pub fn learn(&mut self, sample: &Sample) {
        let speed = self.speeds.get(&sample.host).copied().unwrap_or(1.0);
        let log = sample.wall.scale(speed).max(Span::from_millis(1)).as_secs_f64().ln();
        let key = (sample.pname.clone(), sample.class, sample.system.clone());
        let seen = self.packages.entry(key).or_default();
        let keep = (1.0 - self.params.decay) * seen.weight;
        seen.log = (seen.log * keep + log) / (keep + 1.0);
        seen.weight = keep + 1.0;
        seen.output_size = sample.output_size;
    }

    /// What a job costs on a host of speed 1, with one core.
    pub fn estimate(&self, about: &About<'_>) -> Cost {
        let prior = about.class.prior();
        let Some(seen) = self.seen(about) else { return prior };
        let k0 = self.params.k0;
        let log = (seen.log * seen.weight + k0 * prior.median.as_secs_f64().ln()) / (seen.weight + k0);
        let at = |factor: f64| Span::from_secs_f64(log.exp() * factor);
        Cost { median: at(1.0), p10: at(0.6), p90: at(1.6) }
    }

    /// [`Memory::estimate`] of all jobs.
    pub fn estimates(&self, work: &Workload) -> Table<JobId, Cost> {
        work.jobs.rows().iter().map(|job| self.estimate(&About::job(job))).collect()
    }

    /// Learned speed factor of a host for a system; `None` where nothing was learned.
    pub fn speed(&self, _host: &str, _system: &str) -> Option<f64> {
        None
    }

    /// The part of each job that is spread over its cores (Amdahl's `f`, 0 to 1).
    pub fn parallel_parts(&self, work: &Workload) -> Table<JobId, f64> {
        super::parallel_parts(work)
    }

    /// Usual size of all outputs in bytes, where one was learned.
    pub fn output_size(&self, about: &About<'_>) -> Option<u64> {
        self.seen(about).map(|seen| seen.output_size).filter(|size| *size > 0)
    }

    fn seen(&self, about: &About<'_>) -> Option<&Seen> {
        let (pname, _) = pname_version(about.name);
        self.packages.get(&(pname.to_owned(), about.class, about.system.to_owned()))
    }
}
