//! Geometric means with intervals.

use std::collections::BTreeMap;

use drvdispatch::base::{Draw, Interval};

/// The geometric mean of values by seed, with the 95 % interval over seeds: graphs are given, worlds are a
/// sample. Without values, all of it is not a number.
pub fn mean(values: &BTreeMap<u64, Vec<f64>>) -> Interval {
    let logs: Vec<Vec<f64>> =
        values.values().map(|of_seed| of_seed.iter().map(|value| value.ln()).collect()).collect();
    let nothing = Interval { mean: f64::NAN, low: f64::NAN, high: f64::NAN };
    Interval::of_mean(&logs, Draw::Groups, 0.95).unwrap_or(nothing).map(f64::exp)
}
