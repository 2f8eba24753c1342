//! Simpler estimators, as others have them.

use std::collections::BTreeMap;

/// Packages' categories are worth this many builds against the mean of all.
const CATEGORY_K: f64 = 2.0;

/// What an estimator predicts from the earlier builds of a package, in seconds.
pub type OfPackage = fn(&[f64]) -> f64;

/// By name; nix-output-monitor takes the median of ten.
pub const OF_PACKAGE: [(&str, OfPackage); 4] = [
    ("last", |seen| seen[seen.len() - 1]),
    ("mean", |seen| seen.iter().sum::<f64>() / seen.len() as f64),
    ("median of ten (nix-output-monitor)", |seen| {
        let mut newest = seen[seen.len().saturating_sub(10)..].to_vec();
        newest.sort_by(f64::total_cmp);
        let middle = newest.len() / 2;
        if newest.len() % 2 == 1 { newest[middle] } else { (newest[middle - 1] + newest[middle]) / 2.0 }
    }),
    ("moving average 0.3 of seconds", |seen| {
        seen[1..].iter().fold(seen[0], |mean, next| mean + 0.3 * (next - mean))
    }),
];

/// Estimates of packages that were never built: the mean logarithm of all, and that of a category shrunk
/// towards it.
#[derive(Debug, Default)]
pub struct Unseen {
    all: Sum,
    categories: BTreeMap<String, Sum>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    count: f64,
    sum: f64,
}

impl Unseen {
    pub fn learn(&mut self, category: &str, seconds: f64) {
        for sum in [&mut self.all, self.categories.entry(category.to_owned()).or_default()] {
            sum.count += 1.0;
            sum.sum += seconds.ln();
        }
    }

    pub fn mean(&self) -> f64 {
        if self.all.count > 0.0 { (self.all.sum / self.all.count).exp() } else { 30.0 }
    }

    pub fn category(&self, category: &str) -> f64 {
        let of = self.categories.get(category).copied().unwrap_or_default();
        ((of.sum + CATEGORY_K * self.mean().ln()) / (of.count + CATEGORY_K)).exp()
    }
}
