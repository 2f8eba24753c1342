//! What jobs really take, where nobody has measured it: drawn, the same for the same seed.
//!
//! Durations are lognormal by the kind of the derivation, with medians and spread of [`OutputClass`], but
//! for a heavier tail; what a job takes depends on its name alone, as one package built twice takes the
//! same. Measured elsewhere, the longest hundredth of 832 builds on one host had 61 % of all time.

use crate::base::{Random, Span, Table};
use crate::cost::{Cost, OutputClass, Z90};
use crate::graph::{Job, JobId, Origin, PathId, Workload};

/// How much heavier than lognormal the tail beyond the 90th percentile is: with it the percentiles 95 and
/// 99 of those 832 builds, 10 and 67 times their median, follow from the 90th (5.4 times).
const TAIL: f64 = 0.3;
/// Nothing takes longer on one core.
const LONGEST: Span = Span::from_secs(8 * 3600);

/// A made-up world behind a workload.
#[derive(Clone, Copy, Debug)]
pub struct Model {
    /// Another seed, another world.
    pub seed: u64,
}

/// What is drawn, so that no two draws for one job are the same numbers.
#[derive(Clone, Copy)]
enum What {
    Duration,
    Size,
    Refs,
    Parallel,
}

impl Model {
    fn random(&self, what: What, name: &str) -> Random {
        Random::named(self.seed.wrapping_mul(4).wrapping_add(what as u64), name)
    }

    /// What each job takes on one core of a host of speed 1.
    pub fn durations(&self, work: &Workload) -> Table<JobId, Span> {
        work.jobs.rows().iter().map(|job| self.duration(job)).collect()
    }

    fn duration(&self, job: &Job) -> Span {
        let prior = OutputClass::of(job).prior();
        let normal = self.random(What::Duration, &job.name).normal();
        // The two halves are of different width.
        let end = if normal > 0.0 { prior.p90 } else { prior.p10 };
        let sigma = (end.as_secs_f64() / prior.median.as_secs_f64()).ln().abs() / Z90;
        let tail = 1.0 + TAIL * (normal - Z90).max(0.0);
        prior.median.scale((sigma * normal * tail).exp()).min(LONGEST)
    }

    /// Gives what jobs make sizes, lognormal (σ 1.2) around what is usual for their kind, and
    /// references: environments refer to all their inputs, downloads to none, others to a part of them
    /// (assumed).
    pub fn fill_paths(&self, work: &mut Workload) {
        for id in work.jobs.ids() {
            let job = &work.jobs[id];
            let class = OutputClass::of(job);
            let part = match class {
                OutputClass::Archive | OutputClass::Patch | OutputClass::Vendor => 0.0,
                OutputClass::Join => 1.0,
                OutputClass::Hook | OutputClass::Text => 0.5,
                OutputClass::Module | OutputClass::Source | OutputClass::BigParallel => 0.2,
            };
            let made = |path: &PathId| matches!(work.paths[*path].origin, Origin::Job(_));
            let inputs: Vec<PathId> = job.inputs.iter().copied().filter(made).collect();
            let (mut sizes, mut refs) =
                (self.random(What::Size, &job.name), self.random(What::Refs, &job.name));
            for path in job.outputs.clone() {
                let size = class.output_size() as f64 * sizes.lognormal(1.2);
                work.paths[path].size = size as u64;
                work.paths[path].refs = inputs.iter().copied().filter(|_| refs.chance(part)).collect();
            }
        }
    }

    /// Which part of each job more cores make shorter. Of 814 Rust crates measured at one to eight jobs,
    /// those of 15 s and more had quartiles of 0.61, 0.70 and 0.81, those of 5 s and more 0.57, and short
    /// ones none.
    pub fn parallel(&self, work: &Workload, durations: &Table<JobId, Span>) -> Table<JobId, f64> {
        let part = |(id, job): (JobId, &Job)| {
            let median = match durations[id].0 / 1_000_000 {
                _ if !job.parallel && OutputClass::of(job) != OutputClass::BigParallel => return 0.0,
                0 => return 0.0,
                1..15 => 0.57,
                _ => 0.70,
            };
            (median + 0.15 * self.random(What::Parallel, &job.name).normal()).clamp(0.0, 0.98)
        };
        work.jobs.iter().map(part).collect()
    }
}

/// Estimates that are off by a lognormal factor of this σ, and know that they are: 80 % of the truth is
/// within their intervals.
pub fn noisy(durations: &Table<JobId, Span>, sigma: f64, seed: u64) -> Table<JobId, Cost> {
    let estimate = |(job, truth): (JobId, &Span)| {
        let median = truth.scale(Random::keyed(seed, u64::from(job.0)).lognormal(sigma));
        let spread = (Z90 * sigma).exp();
        Cost { median, p10: median.scale(1.0 / spread), p90: median.scale(spread) }
    };
    durations.iter().map(estimate).collect()
}

#[cfg(test)]
mod tests;
