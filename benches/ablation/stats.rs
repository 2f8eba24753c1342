//! Geometric means with intervals.

use std::collections::BTreeMap;

use drvdispatch::base::Random;

/// How often seeds are drawn again.
const RESAMPLES: usize = 1_000;

/// A geometric mean with its 95 % interval.
#[derive(Clone, Copy, Debug)]
pub struct Mean {
    pub mean: f64,
    pub low: f64,
    pub high: f64,
}

/// The geometric mean of values by seed, with the percentile bootstrap interval over seeds: graphs are
/// given, worlds are a sample.
pub fn mean(values: &BTreeMap<u64, Vec<f64>>) -> Mean {
    let logs: Vec<(f64, usize)> = values
        .values()
        .map(|of_seed| (of_seed.iter().map(|value| value.ln()).sum(), of_seed.len()))
        .collect();
    let of = |picked: &mut dyn Iterator<Item = (f64, usize)>| {
        let (sum, count) = picked.fold((0.0, 0), |(sum, n), (log, k)| (sum + log, n + k));
        (sum / count.max(1) as f64).exp()
    };
    let mut random = Random::new(1);
    let mut again: Vec<f64> = (0..RESAMPLES)
        .map(|_| of(&mut (0..logs.len()).map(|_| logs[random.below(logs.len() as u64) as usize])))
        .collect();
    again.sort_by(f64::total_cmp);
    let mean = of(&mut logs.iter().copied());
    Mean { mean, low: again[RESAMPLES / 40], high: again[RESAMPLES - 1 - RESAMPLES / 40] }
}
