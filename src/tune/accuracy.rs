//! How well the estimator does: each build is estimated from those before it only, where and with the cores
//! with which it ran, and compared with what it took.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::cost::{Memory, OutputClass, Sample};

/// Shorter builds are not named among the worst predicted: nobody waits for them.
const LEAST_SECONDS: f64 = 1.0;

/// How far estimates of some builds are off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Score {
    /// How many builds.
    pub builds: usize,
    /// The root of the mean squared error, of natural logarithms: 0.7 is a factor of two.
    pub log_rmse: f64,
    /// The mean of log(took / estimated): above zero if builds take longer than estimated.
    pub bias: f64,
    /// The part of builds within their 80 % intervals.
    pub within80: f64,
    /// The part of builds within their 90 % intervals.
    pub within90: f64,
}

/// A package, and how far its estimates are off.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Package {
    /// Its name without a version.
    pub pname: String,
    /// Its kind.
    pub class: OutputClass,
    /// How far off.
    #[serde(flatten)]
    pub score: Score,
    /// What it took, in seconds: the geometric mean.
    pub took: f64,
}

/// How well the estimator does.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Accuracy {
    /// On all builds.
    pub all: Score,
    /// On packages that had been built before, for the same system.
    pub repeats: Score,
    /// On the others.
    pub first_seen: Score,
    /// By kind of derivation, in the order of kinds.
    pub classes: Vec<(OutputClass, Score)>,
    /// By host and the system that was built for, in the order of names.
    pub hosts: Vec<(String, String, Score)>,
    /// The packages that are worst predicted, the worst first.
    pub worst: Vec<Package>,
}

/// Adds up to a [`Score`].
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    builds: usize,
    error: f64,
    squares: f64,
    within80: usize,
    within90: usize,
    took: f64,
}

/// One build and its estimate.
#[derive(Clone, Copy)]
struct Compared {
    took: f64,
    error: f64,
    within80: bool,
    within90: bool,
}

impl Sums {
    fn add(&mut self, compared: &Compared) {
        self.builds += 1;
        self.error += compared.error;
        self.squares += compared.error.powi(2);
        self.within80 += usize::from(compared.within80);
        self.within90 += usize::from(compared.within90);
        self.took += compared.took;
    }

    fn score(&self) -> Score {
        let part = |sum: f64| sum / self.builds.max(1) as f64;
        Score {
            builds: self.builds,
            log_rmse: part(self.squares).sqrt(),
            bias: part(self.error),
            within80: part(self.within80 as f64),
            within90: part(self.within90 as f64),
        }
    }
}

impl Accuracy {
    /// Goes through the builds in the order of time, from a memory that has learned of none of them. Names at
    /// most `worst` packages.
    pub fn new(samples: &[Sample], mut memory: Memory, worst: usize) -> Accuracy {
        let [mut all, mut repeats, mut first_seen] = [Sums::default(); 3];
        let mut classes: BTreeMap<OutputClass, Sums> = BTreeMap::new();
        let mut hosts: BTreeMap<(&str, &str), Sums> = BTreeMap::new();
        let mut packages: BTreeMap<(&str, OutputClass), Sums> = BTreeMap::new();
        let mut seen: BTreeSet<(&str, OutputClass, &str)> = BTreeSet::new();
        for sample in samples {
            let compared = compare(&memory, sample);
            let again = !seen.insert((&sample.pname, sample.class, &sample.system));
            let into = if again { &mut repeats } else { &mut first_seen };
            [&mut all, into].into_iter().for_each(|sums| sums.add(&compared));
            classes.entry(sample.class).or_default().add(&compared);
            hosts.entry((&sample.host, &sample.system)).or_default().add(&compared);
            packages.entry((&sample.pname, sample.class)).or_default().add(&compared);
            memory.learn(sample);
        }
        let host =
            |((host, system), sums): ((&str, &str), Sums)| (host.to_owned(), system.to_owned(), sums.score());
        Accuracy {
            all: all.score(),
            repeats: repeats.score(),
            first_seen: first_seen.score(),
            classes: classes.into_iter().map(|(class, sums)| (class, sums.score())).collect(),
            hosts: hosts.into_iter().map(host).collect(),
            worst: worst_of(packages, worst),
        }
    }
}

fn compare(memory: &Memory, sample: &Sample) -> Compared {
    let forecast = memory.forecast_build(sample);
    let took = sample.wall.as_secs_f64().max(1e-3).ln();
    let within = |coverage: f64| {
        let (low, high) = forecast.interval(coverage);
        low <= sample.wall && sample.wall <= high
    };
    Compared {
        took,
        error: took - forecast.median().as_secs_f64().max(1e-3).ln(),
        within80: within(0.8),
        within90: within(0.9),
    }
}

fn worst_of(packages: BTreeMap<(&str, OutputClass), Sums>, most: usize) -> Vec<Package> {
    let package = |((pname, class), sums): ((&str, OutputClass), Sums)| Package {
        pname: pname.to_owned(),
        class,
        score: sums.score(),
        took: (sums.took / sums.builds.max(1) as f64).exp(),
    };
    let mut all: Vec<Package> = packages.into_iter().map(package).collect();
    all.retain(|package| package.took >= LEAST_SECONDS);
    all.sort_by(|a, b| b.score.log_rmse.total_cmp(&a.score.log_rmse));
    all.truncate(most);
    all
}

#[cfg(test)]
mod tests;
