//! The search for better settings, and the proof that they are better.
//!
//! Coordinate descent: one dial after the other is turned through the values worth trying, the others as
//! they are by then. What is found is judged where it was not found: runs are divided into folds (the
//! seeds, if there is one run only), the best value is chosen on all folds but one, and what it gains is
//! measured on that one, for each fold in turn (cross-validation, Stone 1974). So a dial at which nothing
//! is to be gained shows no gain, however many values were tried.
//!
//! A value is kept if the interval of its gain excludes zero. The more dials are looked at, the likelier it
//! is that one of the intervals does so by chance; hence they are wide enough to hold for all dials at once
//! with 95 % (Bonferroni). In the end all that was kept is measured again, on seeds that were never used.

use rayon::prelude::*;

use super::settings::{Dial, Settings};
use crate::base::{Draw, Interval, Value};

/// All intervals together hold with this probability.
const LEVEL: f64 = 0.95;

/// What gains less than this part of the makespan is not worth a line in a configuration.
const WORTH: f64 = 0.002;

/// The same where only other durations of the same runs say that it gains anything.
const WORTH_OF_FEW: f64 = 0.01;

/// With fewer runs than this nothing can be said of other runs.
pub const FEWEST_RUNS: usize = 3;

/// More folds say nothing more.
const MOST_FOLDS: usize = 5;

/// Fewer (run, seed) pairs than this cannot show that anything is better.
const FEWEST_PAIRS: usize = 6;

/// The most seeds per run: more say little beyond what the run itself says.
const MOST_SEEDS: usize = 8;

/// One simulation: a recorded run under a seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pair {
    /// The index of the run.
    pub run: usize,
    /// What its durations are drawn by; 0 for as they were.
    pub seed: u64,
}

/// What a search simulates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Design {
    /// How many runs, the first ones of the list.
    pub runs: usize,
    /// How many seeds of each.
    pub seeds: usize,
    /// How many folds, of runs or of seeds.
    pub folds: usize,
    /// The most simulations that it takes.
    pub simulations: u64,
}

/// What came of one dial.
pub struct Finding {
    /// Which.
    pub dial: Dial,
    /// What it was set to.
    pub now: Value,
    /// The best value over all runs, maybe the same.
    pub best: Value,
    /// How much of the makespan it takes away where it was not looked for: 0.01 for 1 %. `None` if nothing
    /// tried was better than what is set.
    pub gain: Option<Interval>,
    /// Whether anything that was tried made any difference.
    pub matters: bool,
    /// Whether it is better beyond noise.
    pub kept: bool,
}

/// What came of a search.
pub struct Found {
    /// A finding for each dial.
    pub findings: Vec<Finding>,
    /// The settings with all that was kept.
    pub settings: Settings,
    /// What all that was kept gains together, on new seeds; `None` if nothing was. If it is not better there,
    /// nothing is kept after all.
    pub together: Option<Interval>,
}

/// Which setting takes how long: the makespan in seconds of a pair, or `None` if not all got built.
pub type Makespan<'a> = &'a (dyn Fn(&Settings, Pair) -> Option<f64> + Sync);

impl Design {
    /// As many runs and seeds as `budget` simulations allow for; `None` if it does not allow for enough to
    /// say anything.
    pub fn new(runs: usize, dials: &[Dial], start: &Settings, budget: u64) -> Option<Design> {
        let each = Design::each(dials, start);
        let pairs = usize::try_from(budget / each).unwrap_or(usize::MAX);
        if runs == 0 || pairs < FEWEST_PAIRS {
            return None;
        }
        let runs = runs.min(pairs / 2);
        let seeds = (pairs / runs).min(MOST_SEEDS);
        let mut design = Design { runs, seeds, folds: 0, simulations: each * (runs * seeds) as u64 };
        design.folds = if design.is_by_run() { runs } else { seeds }.min(MOST_FOLDS);
        Some(design)
    }

    /// The fewest simulations that can say anything.
    pub fn fewest(dials: &[Dial], start: &Settings) -> u64 {
        Design::each(dials, start) * FEWEST_PAIRS as u64
    }

    /// For each pair: each value once, what is set once, and in the end both once more.
    fn each(dials: &[Dial], start: &Settings) -> u64 {
        3 + dials.iter().map(|dial| dial.others(start).len() as u64).sum::<u64>()
    }

    /// Whether what is found is judged on other runs; if not, on other durations of the same ones.
    pub fn is_by_run(&self) -> bool {
        self.runs >= FEWEST_RUNS
    }

    /// Run by run, seeds from `first` on.
    fn pairs(&self, first: u64) -> Vec<Pair> {
        let seeds = first..first + self.seeds as u64;
        (0..self.runs).flat_map(|run| seeds.clone().map(move |seed| Pair { run, seed })).collect()
    }

    fn fold(&self, pair: Pair) -> usize {
        if self.is_by_run() { pair.run % self.folds } else { pair.seed as usize % self.folds }
    }

    /// Values of pairs in their order, in groups that say something of each other: runs, or else pairs.
    fn groups(&self, values: &[f64]) -> Vec<Vec<f64>> {
        let size = if self.is_by_run() { self.seeds } else { 1 };
        values.chunks(size).map(<[f64]>::to_vec).collect()
    }

    fn worth(&self) -> f64 {
        if self.is_by_run() { WORTH } else { WORTH_OF_FEW }
    }
}

/// Goes through the dials, from `start`. `done` is told of each simulation.
pub fn search(
    design: &Design,
    dials: &[Dial],
    start: &Settings,
    makespan: Makespan<'_>,
    done: &(dyn Fn() + Sync),
) -> Found {
    let told = |settings: &Settings, pair: Pair| {
        let took = makespan(settings, pair);
        done();
        took
    };
    let search = Search { design, pairs: design.pairs(0), makespan: &told, dials: dials.len() };
    let mut settings = start.clone();
    let mut base = search.all(std::slice::from_ref(&settings)).swap_remove(0);
    let mut findings = Vec::new();
    for &dial in dials {
        let (finding, took) = search.look(dial, &settings, &base);
        if finding.kept {
            settings = dial.turned(&settings, finding.best);
            base = took;
        }
        findings.push(finding);
    }
    let together = search.together(start, &settings);
    if together.is_some_and(|gain| gain.low <= 0.0) {
        findings.iter_mut().for_each(|finding| finding.kept = false);
        settings = start.clone();
    }
    Found { findings, settings, together }
}

struct Search<'a> {
    design: &'a Design,
    pairs: Vec<Pair>,
    makespan: Makespan<'a>,
    dials: usize,
}

impl Search<'_> {
    /// What each of these settings takes for each pair.
    fn all(&self, settings: &[Settings]) -> Vec<Vec<Option<f64>>> {
        let one = |index: usize| {
            let (setting, pair) = (index / self.pairs.len(), index % self.pairs.len());
            (self.makespan)(&settings[setting], self.pairs[pair])
        };
        let flat: Vec<Option<f64>> =
            (0..settings.len() * self.pairs.len()).into_par_iter().map(one).collect();
        flat.chunks(self.pairs.len()).map(<[Option<f64>]>::to_vec).collect()
    }

    /// Turns one dial; also returns what the best value takes.
    fn look(&self, dial: Dial, settings: &Settings, base: &[Option<f64>]) -> (Finding, Vec<Option<f64>>) {
        let values = dial.others(settings);
        let turned: Vec<Settings> = values.iter().map(|value| dial.turned(settings, *value)).collect();
        let mut took = self.all(&turned);
        let logs: Vec<Vec<f64>> = took.iter().map(|took| log_ratios(took, base)).collect();
        let held_out: Vec<f64> = (0..self.pairs.len())
            .map(|pair| {
                let fold = self.design.fold(self.pairs[pair]);
                let chosen = best(&logs, |other| self.design.fold(self.pairs[other]) != fold);
                chosen.map_or(0.0, |value| logs[value][pair])
            })
            .collect();
        let chosen = best(&logs, |_| true);
        let level = 1.0 - (1.0 - LEVEL) / self.dials.max(1) as f64;
        let gain = chosen.and_then(|_| self.gain(&held_out, level));
        let now = dial.of(settings);
        let finding = Finding {
            dial,
            now,
            best: chosen.map_or(now, |value| values[value]),
            gain,
            matters: logs.iter().flatten().any(|log| *log != 0.0),
            kept: gain.is_some_and(|gain| gain.low > 0.0 && gain.mean > self.design.worth()),
        };
        let took = chosen.map_or_else(|| base.to_vec(), |value| took.swap_remove(value));
        (finding, took)
    }

    fn gain(&self, logs: &[f64], level: f64) -> Option<Interval> {
        // From logarithms of ratios, the smaller the better, to parts that are gained.
        let flipped: Vec<f64> = logs.iter().map(|log| -log).collect();
        let groups = self.design.groups(&flipped);
        let interval = Interval::of_mean(&groups, Draw::GroupsAndValues, level)?;
        Some(interval.widened(groups.len(), level).map(|log| 1.0 - (-log).exp()))
    }

    /// What the new settings gain over the old ones on seeds beyond those of the search.
    fn together(&self, old: &Settings, new: &Settings) -> Option<Interval> {
        if old == new {
            return None;
        }
        let fresh = Search { pairs: self.design.pairs(self.design.seeds as u64), ..*self };
        let took = fresh.all(&[old.clone(), new.clone()]);
        self.gain(&log_ratios(&took[1], &took[0]), LEVEL)
    }
}

/// Logarithms of a setting's makespans over those of another one; as if ten times as long where it did not get
/// everything built and the other one did.
fn log_ratios(took: &[Option<f64>], base: &[Option<f64>]) -> Vec<f64> {
    let ratio = |(took, base): (&Option<f64>, &Option<f64>)| match (took, base) {
        (Some(took), Some(base)) if *took > 0.0 && *base > 0.0 => (took / base).ln(),
        (None, Some(_)) => std::f64::consts::LN_10,
        _ => 0.0,
    };
    took.iter().zip(base).map(ratio).collect()
}

/// The value with the smallest mean over some of the pairs, if that is below zero; of equal ones the first.
fn best(logs: &[Vec<f64>], among: impl Fn(usize) -> bool) -> Option<usize> {
    let sum = |logs: &Vec<f64>| {
        let picked = logs.iter().enumerate().filter(|(pair, _)| among(*pair));
        picked.map(|(_, log)| log).sum::<f64>()
    };
    let sums = logs.iter().map(sum).enumerate().filter(|(_, sum)| *sum < 0.0);
    sums.min_by(|a, b| a.1.total_cmp(&b.1)).map(|(value, _)| value)
}

#[cfg(test)]
mod tests;
