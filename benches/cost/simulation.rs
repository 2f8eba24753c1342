//! What estimates are worth: makespans in simulation, over those of an oracle.
//!
//! A seed is a world: what each package usually takes is drawn around the shipped table, or around what its
//! kind takes, with the errors that these have been measured to have; and in each run what each build takes
//! around that. (So the table is as good here as it was there: a simulation cannot show that it is.) All
//! ways of estimating are tried in the same last run; those that learn have seen the runs before it.

use std::collections::BTreeMap;

use drvdispatch::base::{Random, Span, Table, Time};
use drvdispatch::cost::{About, Cost, CostParams, Known, Memory, OutputClass, Sample, pname_version};
use drvdispatch::drive::{Watch, drive};
use drvdispatch::fleet::{Host, HostId};
use drvdispatch::graph::{Job, JobId, Workload};
use drvdispatch::run::{Event, Order, Outcome};
use drvdispatch::sched::{Policy, Scheduler};
use drvdispatch::sim::SimWorld;
use rayon::prelude::*;

use crate::common::clusters;
use crate::common::graphs::{Input, sources};
use crate::stats;

/// How far the shipped table is off for a package, a kind's usual time for one that is not in the table,
/// and a package's for a build: standard deviations of logarithms, all measured on one host's history.
const TABLE: f64 = 0.63;
const KINDS: f64 = 1.0;
const BUILDS: f64 = 0.36;
/// By what configured speeds are wrong, by host.
const WRONG: [f64; 4] = [1.0, 3.0, 0.5, 1.0];
const X86: &str = "x86_64-linux";
/// Between two runs, in seconds.
const DAY: u64 = 86_400;

/// One way of estimating in one world.
const WAYS: [&str; 7] = [
    "oracle",
    "history",
    "shipped table and kinds",
    "kinds alone",
    "wrong speeds, nothing learned",
    "wrong speeds, learned",
    "wrong speeds, shipped table only",
];

/// What is compared to what, and the target.
const COMPARED: [(usize, usize, &str); 6] = [
    (1, 0, "at most 1.01"),
    (2, 0, "at most 1.04"),
    (3, 0, ""),
    (4, 1, ""),
    (5, 1, "at most 1.08"),
    (6, 2, ""),
];

/// Prints the tables.
pub fn print(graphs: &[String], seeds: u64, runs: u64) -> Result<(), String> {
    let (found, missing) = sources(graphs);
    missing.iter().for_each(|why| eprintln!("left out: {why}"));
    if found.is_empty() {
        return Err("no graph is left".to_owned());
    }
    for source in &found {
        let worlds: Vec<World> = (0..seeds).map(|seed| World::new(source.seeded(seed), seed)).collect();
        let outcomes: Vec<Outcomes> =
            worlds.par_iter().map(|world| world.ways(runs)).collect::<Result<_, String>>()?;
        println!(
            "{} on 4 hosts of speeds 1, 1, 2 and 0.5; {seeds} worlds, {runs} runs to learn from, makespan ratios \
             (geometric mean, 95 %)",
            source.name
        );
        for (way, to, target) in COMPARED {
            let ratio = |(seed, outcome): (usize, &Outcomes)| {
                (
                    seed as u64,
                    vec![outcome.makespans[way].as_secs_f64() / outcome.makespans[to].as_secs_f64()],
                )
            };
            let by_seed: BTreeMap<u64, Vec<f64>> = outcomes.iter().enumerate().map(ratio).collect();
            let mean = stats::mean(&by_seed);
            println!(
                "  {:<34} / {:<26} {:.3} ({:.3} to {:.3})  {target}",
                WAYS[way], WAYS[to], mean.mean, mean.low, mean.high
            );
        }
        let off = outcomes.iter().flat_map(|outcome| &outcome.speeds_off).fold(0.0, |a: f64, b| a.max(*b));
        println!("  learned speeds are off by at most {:.1} % (configured: 200 %)\n", 100.0 * off);
    }
    Ok(())
}

/// What came of one world.
struct Outcomes {
    makespans: Vec<Span>,
    /// By how much each learned speed is off, by host, relative to the first.
    speeds_off: Vec<f64>,
}

struct World {
    input: Input,
    /// What each job usually takes.
    usual: Table<JobId, Span>,
    hosts: Table<HostId, Host>,
    seed: u64,
}

impl World {
    fn new(input: Input, seed: u64) -> World {
        let hosts = clusters::all().into_iter().find(|cluster| cluster.name == "het4");
        let hosts = hosts.map(|cluster| cluster.hosts).unwrap_or_default();
        let shipped = Memory::new(CostParams::default());
        let usual = |job: &Job| {
            let forecast = shipped.forecast(&About::job(&input.told, job));
            let spread = if forecast.known() == Known::Table { TABLE } else { KINDS };
            let package = format!("{} {:?}", pname_version(&job.name).0, OutputClass::of(job));
            forecast.median().scale(Random::named(seed, &package).lognormal(spread))
        };
        let usual = input.told.jobs.rows().iter().map(usual).collect();
        World { input, usual, hosts, seed }
    }

    /// All ways in the run after `runs`.
    fn ways(&self, runs: u64) -> Result<Outcomes, String> {
        let right: Vec<f64> = self.hosts.rows().iter().map(|host| host.speed).collect();
        let wrong: Vec<f64> = right.iter().zip(WRONG).map(|(speed, by)| speed * by).collect();
        let truth = self.truth(runs);
        let exact = truth.rows().iter().map(|&span| Cost { median: span, p10: span, p90: span }).collect();
        let history = self.learned(&right, runs)?;
        let recovered = self.learned(&wrong, runs)?;
        let shipped = Memory::new(CostParams::default());
        let work = &self.input.told;
        let kinds = work.jobs.rows().iter().map(|job| OutputClass::of(job).prior()).collect();
        let learned = |memory: &Memory, configured: &[f64]| self.speeds(memory, configured);
        let ways: [(Table<JobId, Cost>, Vec<f64>); WAYS.len()] = [
            (exact, right.clone()),
            (history.estimates(work), learned(&history, &right)),
            (shipped.estimates(work), right.clone()),
            (kinds, right.clone()),
            (history.estimates(work), wrong.clone()),
            (recovered.estimates(work), learned(&recovered, &wrong)),
            (shipped.estimates(work), wrong.clone()),
        ];
        let mut makespans = Vec::new();
        for (estimates, speeds) in ways {
            makespans.push(self.run(estimates, &speeds, &truth, 0)?.0);
        }
        let found = learned(&recovered, &wrong);
        let off = |host: usize| ((found[host] / found[0]) / (right[host] / right[0]) - 1.0).abs();
        Ok(Outcomes { makespans, speeds_off: (0..right.len()).map(off).collect() })
    }

    /// What jobs take in one run.
    fn truth(&self, run: u64) -> Table<JobId, Span> {
        let of_run = Random::keyed(self.seed, run).next_u64();
        let scattered = |(job, usual): (JobId, &Span)| {
            usual.scale(Random::keyed(of_run, u64::from(job.0)).lognormal(BUILDS)).max(Span::from_millis(1))
        };
        self.usual.iter().map(scattered).collect()
    }

    /// A memory that began with these configured speeds, and has seen some runs scheduled by itself.
    fn learned(&self, configured: &[f64], runs: u64) -> Result<Memory, String> {
        let mut memory = Memory::new(CostParams::default());
        for (host, speed) in self.hosts.rows().iter().zip(configured) {
            memory.configure(&host.name, *speed);
        }
        for run in 0..runs {
            let (estimates, speeds) = (memory.estimates(&self.input.told), self.speeds(&memory, configured));
            let (_, samples) = self.run(estimates, &speeds, &self.truth(run), run * DAY)?;
            memory.learn_all(&samples);
        }
        Ok(memory)
    }

    fn speeds(&self, memory: &Memory, configured: &[f64]) -> Vec<f64> {
        let learned = |(host, speed): (&Host, &f64)| memory.speed(&host.name, X86).unwrap_or(*speed);
        self.hosts.rows().iter().zip(configured).map(learned).collect()
    }

    /// A run by a scheduler that is told these estimates and speeds.
    fn run(
        &self,
        estimates: Table<JobId, Cost>,
        speeds: &[f64],
        truth: &Table<JobId, Span>,
        begin: u64,
    ) -> Result<(Span, Vec<Sample>), String> {
        let told: Table<HostId, Host> = self
            .hosts
            .iter()
            .map(|(id, host)| Host { speed: speeds[id.0 as usize], ..host.clone() })
            .collect();
        let all: Vec<HostId> = self.hosts.ids().collect();
        let eligible = Table::filled(self.input.told.jobs.len(), all);
        let policy = Policy { keep_going: true, ..Policy::default() };
        let mut scheduler =
            Scheduler::new(self.input.told.clone(), told, estimates, eligible, policy).without_reasons();
        let truth: Table<JobId, Option<Span>> = truth.rows().iter().map(|&span| Some(span)).collect();
        let mut world = SimWorld::new(&self.input.real, &self.hosts, &truth, Vec::new());
        let mut builds = Builds::new(&self.input.told, &self.hosts, begin);
        let end = drive(&mut scheduler, &mut world, &mut builds);
        match scheduler.verdict().missing.len() {
            0 => Ok((end.since(Time::ZERO), builds.samples)),
            missing => Err(format!("seed {}: {missing} wanted paths are missing", self.seed)),
        }
    }
}

/// Collects samples as history would.
struct Builds<'a> {
    work: &'a Workload,
    hosts: &'a Table<HostId, Host>,
    begin: u64,
    on: BTreeMap<JobId, (HostId, u32)>,
    samples: Vec<Sample>,
}

impl<'a> Builds<'a> {
    fn new(work: &'a Workload, hosts: &'a Table<HostId, Host>, begin: u64) -> Self {
        Builds { work, hosts, begin, on: BTreeMap::new(), samples: Vec::new() }
    }
}

impl Watch for Builds<'_> {
    fn event(&mut self, at: Time, event: &Event) {
        let Event::Finished { job, outcome: Outcome::Built { times, .. }, .. } = event else { return };
        let Some((host, cores)) = self.on.get(job) else { return };
        let of = &self.work.jobs[*job];
        let (pname, version) = pname_version(&of.name);
        self.samples.push(Sample {
            pname: pname.to_owned(),
            version: version.to_owned(),
            class: OutputClass::of(of),
            system: X86.to_owned(),
            host: self.hosts[*host].name.clone(),
            cores: *cores,
            wall: times.wall,
            cpu: None,
            input_size: 0,
            output_size: 0,
            stopped: self.begin + at.0 / 1_000_000,
        });
    }

    fn order(&mut self, _at: Time, order: &Order) {
        if let Order::Build { job, host, cores, .. } = order {
            self.on.insert(*job, (*host, *cores));
        }
    }
}
