//! All runs of a table, over all processors.

use drvdispatch::sched::Policy;
use drvdispatch::sim::Measured;
use rayon::prelude::*;

use crate::common::clusters::{Cluster, FOREIGN};
use crate::common::graphs::Source;
use crate::common::run::Setting;
use crate::policies::{REHEARSED, is_clairvoyant};

/// What to run: all of each with all of the others.
pub struct Cases<'a> {
    pub sources: &'a [Source],
    pub fleets: &'a [Cluster],
    pub sigmas: &'a [f64],
    pub seeds: u64,
    pub policies: &'a [(String, Policy)],
}

/// One run; the indices are those of its [`Cases`].
#[derive(Clone, Copy, Debug)]
pub struct Row {
    pub source: usize,
    pub fleet: usize,
    pub sigma: usize,
    pub seed: u64,
    pub policy: usize,
    /// Makespan / bound.
    pub ratio: f64,
    pub measured: Measured,
}

impl Cases<'_> {
    /// Runs them; also says which did not end as they should.
    pub fn run(&self) -> (Vec<Row>, Vec<String>) {
        let mut worlds = Vec::new();
        for source in 0..self.sources.len() {
            for fleet in 0..self.fleets.len() {
                worlds.extend((0..self.seeds).map(|seed| (source, fleet, seed)));
            }
        }
        let results: Vec<Result<Row, String>> = worlds
            .par_iter()
            .flat_map_iter(|&(source, fleet, seed)| self.world(source, fleet, seed))
            .collect();
        let (mut rows, mut failures) = (Vec::new(), Vec::new());
        for result in results {
            match result {
                Ok(row) => rows.push(row),
                Err(why) => failures.push(why),
            }
        }
        (rows, failures)
    }

    /// All policies at all sigmas in one world.
    fn world(&self, source: usize, fleet: usize, seed: u64) -> Vec<Result<Row, String>> {
        let mut input = self.sources[source].seeded(seed);
        let Cluster { hosts, told, is_mixed, .. } = &self.fleets[fleet];
        if *is_mixed {
            input = input.mixed(FOREIGN, seed);
        }
        if hosts.rows().iter().all(|host| host.cores == 0) {
            input.parallel.iter_mut().for_each(|(_, part)| *part = 0.0);
        }
        let setting = Setting::new(&input, hosts).told(told);
        let bound = setting.bound();
        let mut rows = Vec::new();
        for (sigma, &wrong) in self.sigmas.iter().enumerate() {
            for (policy, (name, value)) in self.policies.iter().enumerate() {
                let wrong = if is_clairvoyant(name) { 0.0 } else { wrong };
                let estimates = setting.estimates(wrong, seed);
                let value = if name == REHEARSED { &setting.rehearsed(value, &estimates) } else { value };
                let ready = setting.ready(value, estimates);
                let row = ready.measured(&setting).map(|measured| Row {
                    source,
                    fleet,
                    sigma,
                    seed,
                    policy,
                    ratio: measured.makespan.as_secs_f64() / bound.as_secs_f64(),
                    measured,
                });
                rows.push(row.map_err(|why| {
                    let (graph, fleet) = (&self.sources[source].name, self.fleets[fleet].name);
                    format!("{name} with {graph} on {fleet}, sigma {wrong}, seed {seed}: {why}")
                }));
            }
        }
        rows
    }
}
