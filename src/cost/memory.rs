//! What has been learned from earlier builds.
//!
//! A [`Memory`] is fed with samples in the order of time and asked for estimates at any time between. It
//! keeps a moving average per package (`packages`), what is expected of packages that it has not seen
//! (`expectation`), hosts' speeds and how far expectations are off (`levels`), how hosts do at the moment
//! (`hosts`), and what its own estimates were off by (`spread`). It reads no files: keeping samples is
//! `records/`'s.

use std::collections::BTreeMap;

use super::estimate::Cost;
use super::expectation::{Expectation, Known, expect};
use super::forecast::Forecast;
use super::hosts::Hosts;
use super::levels::{Build, Evidence, Levels};
use super::names::{major_differs, name_class, pname_version};
use super::packages::Package;
use super::parallel::{amdahl, by_class};
use super::params::CostParams;
use super::prior::OutputClass;
use super::ratio::{MAX_LOG, SHORTEST, own_part, says};
use super::sample::Sample;
use super::shipped;
use super::sources::source_size;
use super::spread::Spread;
use crate::base::{Span, Table};
use crate::graph::{Job, JobId, Workload};

/// Levels are solved for again after this part of all samples more: often enough to follow, and seldom enough
/// that a long history is read in no time.
const SOLVE_AFTER: u64 = 8;

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
    /// What is known of a job of a workload.
    pub fn job(work: &Workload, job: &'a Job) -> About<'a> {
        About {
            name: &job.name,
            class: OutputClass::of(job),
            system: &job.system,
            input_size: source_size(work, job),
        }
    }
}

/// What is estimated: an [`About`] or the build that a sample is of.
#[derive(Clone, Copy)]
struct Subject<'a> {
    pname: &'a str,
    version: &'a str,
    class: OutputClass,
    system: &'a str,
    source_size: Option<u64>,
}

impl<'a> Subject<'a> {
    fn about(about: &About<'a>) -> Subject<'a> {
        let (pname, version) = pname_version(about.name);
        let About { class, system, input_size, .. } = *about;
        Subject { pname, version, class, system, source_size: input_size }
    }

    fn sample(sample: &'a Sample) -> Subject<'a> {
        let Sample { pname, version, class, system, .. } = sample;
        Subject { pname, version, class: *class, system, source_size: None }
    }
}

/// What has been learned, from samples in the order of time.
#[derive(Clone, Debug)]
pub struct Memory {
    params: CostParams,
    table: shipped::Table,
    hosts: Hosts,
    levels: Levels,
    packages: BTreeMap<OutputClass, BTreeMap<String, Systems>>,
    /// By kind and first word of the name.
    name_classes: BTreeMap<OutputClass, BTreeMap<String, NameClass>>,
    spreads: BTreeMap<(OutputClass, Known), Spread>,
    samples: u64,
    solved_at: u64,
}

/// One package, by the system it was built for.
#[derive(Clone, Debug)]
struct Systems {
    packages: BTreeMap<String, Package>,
    /// What is expected of it by its name and kind. Asked for again each time that levels are solved for.
    expected: Expectation,
    /// What it adds to the sum of its name class.
    counted: Option<f64>,
}

/// How much longer packages of one name class take than was expected, as a sum of logarithms.
#[derive(Clone, Copy, Debug, Default)]
struct NameClass {
    count: f64,
    sum: f64,
}

impl Systems {
    fn new(expected: Expectation) -> Systems {
        Systems { packages: BTreeMap::new(), expected, counted: None }
    }

    /// How far it is from what was expected of it, as a logarithm.
    fn residual(&self, class: OutputClass, levels: &Levels, parallel_k: f64) -> f64 {
        let by_class = f64::from(by_class(class, true));
        let (mut weight, mut sum) = (0.0, 0.0);
        for package in self.packages.values() {
            let part = package.parallel.part(by_class, parallel_k);
            weight += package.weight();
            sum += package.weight() * package.mean(part, &levels.speeds);
        }
        sum / weight - self.expected.log - levels.offset(class, self.expected.tilt)
    }
}

impl NameClass {
    fn add(&mut self, residual: f64, times: f64) {
        self.count += times;
        self.sum += times * residual;
    }
}

impl Memory {
    /// Nothing learned yet.
    pub fn new(params: CostParams) -> Memory {
        Memory {
            params: params.sane(),
            table: shipped::Table::new(),
            hosts: Hosts::default(),
            levels: Levels::new(&[]),
            packages: BTreeMap::new(),
            name_classes: BTreeMap::new(),
            spreads: BTreeMap::new(),
            samples: 0,
            solved_at: 0,
        }
    }

    /// Configured speed factor of a host, towards which its learned speed is shrunk; 1 where none is given.
    pub fn configure(&mut self, host: &str, speed: f64) {
        self.hosts.configure(host, speed);
        self.solve();
    }

    /// The same for one of its systems: what it emulates, as a rule.
    pub fn configure_system(&mut self, host: &str, system: &str, speed: f64) {
        self.hosts.configure_system(host, system, speed);
        self.solve();
    }

    /// Takes in a build. Failed builds and cached results must not get here.
    pub fn learn(&mut self, sample: &Sample) {
        let host = self.hosts.index(&sample.host, &sample.system);
        if host >= self.levels.speeds.len() {
            self.levels.speeds.push(self.hosts.configured[host]);
        }
        let forecast = self.forecast_build(sample);
        let (expected, known) = (forecast.log, forecast.known);
        let took = sample.wall.max(SHORTEST).as_secs_f64().ln();
        let residual = (took - expected).clamp(-MAX_LOG, MAX_LOG);
        self.spreads.entry((sample.class, known)).or_default().observe(residual);
        if known >= Known::Once && sample.class.is_built() {
            let said = residual * says(sample.wall.as_secs_f64());
            self.hosts.observe(host, sample.stopped, said, &self.params);
        }
        let packages = self.packages.entry(sample.class).or_default();
        let systems = packages.entry(sample.pname.clone()).or_insert_with(|| {
            Systems::new(expect(&self.table, &self.params, &sample.pname, sample.class, None))
        });
        let package = systems.packages.entry(sample.system.clone()).or_insert_with(Package::new);
        package.learn(sample, host, &self.params);
        self.samples += 1;
        if self.samples >= self.solved_at + (self.solved_at / SOLVE_AFTER).max(1) {
            self.solve();
        } else {
            self.count_again(sample.class, &sample.pname);
        }
    }

    /// Takes in many builds, in the order of time. What they say of hosts counts in full then, while
    /// [`Memory::learn`] alone comes to that only now and again.
    pub fn learn_all<'a>(&mut self, samples: impl IntoIterator<Item = &'a Sample>) {
        samples.into_iter().for_each(|sample| self.learn(sample));
        self.solve();
    }

    /// What a job costs on a host of speed 1, with one core.
    pub fn estimate(&self, about: &About<'_>) -> Cost {
        self.forecast(about).cost()
    }

    /// [`Memory::estimate`] of all jobs.
    pub fn estimates(&self, work: &Workload) -> Table<JobId, Cost> {
        let estimate = |job: &Job| {
            let subject = Subject::about(&About::job(work, job));
            self.one_core(&subject, self.parallel_part(job)).cost()
        };
        work.jobs.rows().iter().map(estimate).collect()
    }

    /// What [`Memory::estimate`] is taken from, with all quantiles.
    pub fn forecast(&self, about: &About<'_>) -> Forecast<'_> {
        let subject = Subject::about(about);
        self.one_core(&subject, self.part(&subject, true))
    }

    /// The interval that holds the part `coverage` (0 to 1) of such builds.
    pub fn interval(&self, about: &About<'_>, coverage: f64) -> (Span, Span) {
        self.forecast(about).interval(coverage)
    }

    /// How long the build that a sample is of would be estimated to take where and when it ran, with the
    /// cores it had. Nothing of the sample's times is used but when it began.
    pub fn forecast_build(&self, sample: &Sample) -> Forecast<'_> {
        let subject = Subject::sample(sample);
        let part = self.part(&subject, true);
        let mut forecast = self.one_core(&subject, part);
        let began = sample.stopped.saturating_sub(sample.wall.0 / 1_000_000);
        let (speed, pace) = match self.hosts.find(&sample.host, &sample.system) {
            Some(host) => (self.levels.speeds[host], self.hosts.pace(host, began, &self.params)),
            None => (self.hosts.expected_log(&sample.host, &sample.system), 0.0),
        };
        forecast.log += amdahl(part, sample.cores).ln() - speed + pace;
        forecast
    }

    /// Learned speed factor of a host for a system in the long run; `None` where nothing was learned.
    pub fn speed(&self, host: &str, system: &str) -> Option<f64> {
        let index = self.hosts.find(host, system)?;
        Some(self.levels.speeds[index].exp())
    }

    /// The same at a time, in seconds since 1970: a host that was slow in the last hours may still be busy.
    pub fn speed_at(&self, host: &str, system: &str, now: u64) -> Option<f64> {
        let index = self.hosts.find(host, system)?;
        Some((self.levels.speeds[index] - self.hosts.pace(index, now, &self.params)).exp())
    }

    /// The part of each job that is spread over its cores (Amdahl's `f`, 0 to 1).
    pub fn parallel_parts(&self, work: &Workload) -> Table<JobId, f64> {
        work.jobs.rows().iter().map(|job| self.parallel_part(job)).collect()
    }

    /// Usual size of all outputs in bytes, where one was learned.
    pub fn output_size(&self, about: &About<'_>) -> Option<u64> {
        let subject = Subject::about(about);
        let systems = &self.systems(&subject)?.packages;
        let own = systems.get(subject.system).map(|package| package.output_size).filter(|size| *size > 0);
        own.or_else(|| systems.values().map(|package| package.output_size).find(|size| *size > 0))
    }

    fn systems(&self, subject: &Subject<'_>) -> Option<&Systems> {
        self.packages.get(&subject.class)?.get(subject.pname)
    }

    fn parallel_part(&self, job: &Job) -> f64 {
        let subject = Subject {
            pname: pname_version(&job.name).0,
            version: "",
            class: OutputClass::of(job),
            system: &job.system,
            source_size: None,
        };
        self.part(&subject, job.parallel)
    }

    fn part(&self, subject: &Subject<'_>, parallel: bool) -> f64 {
        let by_class = f64::from(by_class(subject.class, parallel));
        let package = self.systems(subject).and_then(|systems| systems.packages.get(subject.system));
        package.map_or(by_class, |package| package.parallel.part(by_class, self.params.parallel_k))
    }

    /// On one core of speed 1.
    fn one_core(&self, subject: &Subject<'_>, part: f64) -> Forecast<'_> {
        let (expectation, level) = self.expectation(subject);
        let (mut log, mut known) = (expectation.log + level, expectation.known);
        let (k0, speeds) = (self.params.k0, &self.levels.speeds);
        if let Some(systems) = self.systems(subject) {
            // Other systems say what is expected of this one.
            let (mut weight, mut sum) = (k0, k0 * log);
            for package in others(systems, subject.system) {
                weight += package.weight();
                sum += package.weight() * package.mean(part, speeds);
                known = Known::Once;
            }
            log = sum / weight;
            if let Some(package) = systems.packages.get(subject.system) {
                let other = major_differs(&package.version, subject.version);
                let kept = if other { self.params.major_version_weight } else { 1.0 };
                let weight = package.weight() * kept;
                log = (weight * package.mean(part, speeds) + k0 * log) / (weight + k0);
                known = match package.count {
                    _ if other => Known::Once,
                    0 | 1 => Known::Once,
                    2 => Known::Twice,
                    _ => Known::Often,
                };
            }
        }
        let spread = self.spreads.get(&(subject.class, known));
        Forecast { log, known, assumed: known.assumed(subject.class), spread }
    }

    /// What is expected of a package that was never built, and by how much more such packages take.
    fn expectation(&self, subject: &Subject<'_>) -> (Expectation, f64) {
        let Subject { pname, class, source_size, .. } = *subject;
        let expectation = match (self.systems(subject), source_size) {
            (Some(systems), None) => systems.expected,
            _ => expect(&self.table, &self.params, pname, class, source_size),
        };
        let names = self.name_classes.get(&class).and_then(|classes| classes.get(name_class(pname)));
        let NameClass { count, sum } = names.copied().unwrap_or_default();
        let level = self.levels.offset(class, expectation.tilt) + sum / (count + self.params.name_class_k);
        (expectation, level)
    }

    /// Solves for hosts and levels from everything learned so far.
    fn solve(&mut self) {
        let mut evidence = Vec::new();
        for (class, packages) in &self.packages {
            for systems in packages.values() {
                let Expectation { log, tilt, .. } = systems.expected;
                let builds = systems.packages.values().flat_map(|package| self.builds(package, *class));
                evidence.push(Evidence { expected: log, tilt, class: *class, builds: builds.collect() });
            }
        }
        let Hosts { configured, .. } = &self.hosts;
        self.levels = Levels::solve(&evidence, configured, self.params.k0, self.params.speed_spread);
        self.solved_at = self.samples;
        self.name_classes.clear();
        for (class, packages) in &mut self.packages {
            let names = self.name_classes.entry(*class).or_default();
            for (pname, systems) in packages {
                let residual = systems.residual(*class, &self.levels, self.params.parallel_k);
                systems.counted = Some(residual);
                names.entry(name_class(pname).to_owned()).or_default().add(residual, 1.0);
            }
        }
    }

    /// The builds of a package, as far as they say something about hosts. How long a download takes says
    /// nothing about processors.
    fn builds(&self, package: &Package, class: OutputClass) -> impl Iterator<Item = Build> {
        let by_class = f64::from(by_class(class, true));
        let part = package.parallel.part(by_class, self.params.parallel_k);
        package.builds(part).map(move |build| {
            let weight = build.weight * says(build.log.exp());
            match build.host {
                Some(host) if !class.is_built() => {
                    Build { host: None, weight, log: build.log + self.levels.speeds[host] }
                }
                host => Build { host, weight, log: own_part(build.log) },
            }
        })
    }

    /// Puts a package's distance from what was expected of it into the sum of its name class.
    fn count_again(&mut self, class: OutputClass, pname: &str) {
        let Some(systems) = self.packages.get_mut(&class).and_then(|all| all.get_mut(pname)) else { return };
        let residual = systems.residual(class, &self.levels, self.params.parallel_k);
        let names = self.name_classes.entry(class).or_default();
        let name = names.entry(name_class(pname).to_owned()).or_default();
        if let Some(before) = systems.counted.replace(residual) {
            name.add(before, -1.0);
        }
        name.add(residual, 1.0);
    }
}

/// What every job costs before anything was learned: as the shipped table says, else by its source's size,
/// else as its kind takes.
pub fn estimate(work: &Workload) -> Table<JobId, Cost> {
    Memory::new(CostParams::default()).estimates(work)
}

fn others<'a>(systems: &'a Systems, system: &str) -> impl Iterator<Item = &'a Package> {
    systems.packages.iter().filter(move |(of, _)| *of != system).map(|(_, package)| package)
}

#[cfg(test)]
mod tests;
