//! How sure a mean is: bootstrap intervals (Efron 1979), for values that come in groups.
//!
//! Values of one group, such as several simulations of one recorded run, are like each other; drawing
//! them one by one as if they were not would give intervals that are too narrow. So groups are drawn.

use super::Random;

/// How often all is drawn again.
const RESAMPLES: usize = 4_000;

/// A mean with an interval around it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// The mean of all values.
    pub mean: f64,
    /// Its lower end.
    pub low: f64,
    /// Its upper end.
    pub high: f64,
}

/// What is drawn again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Draw {
    /// Groups, each with all of its values: values of a group are given.
    Groups,
    /// Groups, and within each drawn group its values: both are samples.
    GroupsAndValues,
}

impl Interval {
    /// The percentile interval that holds the mean with probability `level` (0 to 1); nothing without
    /// values. The same values give the same interval.
    pub fn of_mean(groups: &[Vec<f64>], draw: Draw, level: f64) -> Option<Interval> {
        let groups: Vec<&[f64]> =
            groups.iter().map(Vec::as_slice).filter(|group| !group.is_empty()).collect();
        if groups.is_empty() {
            return None;
        }
        let sum = |group: &[f64]| (group.iter().sum::<f64>(), group.len());
        let sums: Vec<(f64, usize)> = groups.iter().map(|group| sum(group)).collect();
        let mean = |(sum, count): (f64, usize)| sum / count as f64;
        let total = |sums: &mut dyn Iterator<Item = (f64, usize)>| {
            sums.fold((0.0, 0), |(sum, n), (more, k)| (sum + more, n + k))
        };
        let mut random = Random::new(1);
        let mut again: Vec<f64> = (0..RESAMPLES)
            .map(|_| {
                let mut picked = (0..groups.len()).map(|_| {
                    let group = random.below(groups.len() as u64) as usize;
                    match draw {
                        Draw::Groups => sums[group],
                        Draw::GroupsAndValues => drawn(groups[group], &mut random),
                    }
                });
                mean(total(&mut picked))
            })
            .collect();
        again.sort_by(f64::total_cmp);
        let cut = (((1.0 - level) / 2.0 * RESAMPLES as f64) as usize).min(RESAMPLES / 2 - 1);
        let mean = mean(total(&mut sums.iter().copied()));
        Some(Interval { mean, low: again[cut], high: again[RESAMPLES - 1 - cut] })
    }

    /// The interval as wide as few groups require: drawn from themselves, they look more alike than they are.
    /// Its ends move away from the mean as those of Student's t interval do against the normal one, the
    /// standard deviation being that of a sample of `groups` (Hesterberg 2015, "What Teachers Should Know About
    /// the Bootstrap"). All that is not certain is possible with fewer than two.
    #[must_use]
    pub fn widened(self, groups: usize, level: f64) -> Interval {
        let tail = (1.0 + level) / 2.0;
        let width = |end: f64| {
            let off = end - self.mean;
            // Also where the factor is infinite.
            if off == 0.0 { 0.0 } else { off * factor(groups, tail) }
        };
        Interval { mean: self.mean, low: self.mean + width(self.low), high: self.mean + width(self.high) }
    }

    /// The same of a value that follows from the mean by a function that grows.
    pub fn map(self, growing: impl Fn(f64) -> f64) -> Interval {
        Interval { mean: growing(self.mean), low: growing(self.low), high: growing(self.high) }
    }
}

fn factor(groups: usize, tail: f64) -> f64 {
    if groups < 2 {
        return f64::INFINITY;
    }
    let n = groups as f64;
    student(tail, n - 1.0) / student(tail, 1e4) * (n / (n - 1.0)).sqrt()
}

/// The quantile of Student's t distribution with `freedom` degrees, for `tail` from 0.5 on. With
/// `t = √ν tan θ` its density is that of θ, `cos^(ν-1) θ` but for a constant, over ±π/2.
fn student(tail: f64, freedom: f64) -> f64 {
    const STEPS: usize = 4_000;
    let step = std::f64::consts::FRAC_PI_2 / STEPS as f64;
    let density = |index: usize| ((index as f64 + 0.5) * step).cos().powf(freedom - 1.0);
    let half: f64 = (0..STEPS).map(density).sum();
    let wanted = (2.0 * tail - 1.0).clamp(0.0, 1.0) * half;
    let (mut sum, mut index) = (0.0, 0);
    while index < STEPS && sum + density(index) < wanted {
        sum += density(index);
        index += 1;
    }
    let part = (wanted - sum) / density(index.min(STEPS - 1)).max(f64::MIN_POSITIVE);
    ((index as f64 + part) * step).tan() * freedom.sqrt()
}

fn drawn(group: &[f64], random: &mut Random) -> (f64, usize) {
    let picked = (0..group.len()).map(|_| group[random.below(group.len() as u64) as usize]);
    (picked.sum(), group.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In what part of 100 samples of so many values the 90 % interval holds the true mean of 0.
    fn coverage(groups: usize, each: usize, between: f64, draw: Draw) -> f64 {
        let held = |seed: u64| {
            let mut random = Random::new(seed);
            let mut group = |_| {
                let own = between * random.normal();
                (0..each).map(|_| own + random.normal()).collect()
            };
            let groups: Vec<Vec<f64>> = (0..groups).map(&mut group).collect();
            let interval = Interval::of_mean(&groups, draw, 0.9).unwrap();
            interval.low <= 0.0 && interval.high >= 0.0
        };
        (0..100).filter(|seed| held(*seed)).count() as f64 / 100.0
    }

    #[test]
    fn intervals_hold_the_mean_as_often_as_they_say() {
        let single = coverage(30, 1, 0.0, Draw::Groups);
        assert!((0.82..0.96).contains(&single), "{single}");
        let grouped = coverage(30, 2, 2.0, Draw::GroupsAndValues);
        assert!((0.82..0.97).contains(&grouped), "{grouped}");
        // As if the values of a group said nothing of each other.
        let ungrouped = coverage(1, 30, 2.0, Draw::GroupsAndValues);
        assert!(ungrouped < 0.4, "{ungrouped}");
    }

    #[test]
    fn quantiles_are_those_of_the_tables() {
        for (tail, freedom, quantile) in [
            (0.975, 1.0, 12.706),
            (0.975, 4.0, 2.776),
            (0.995, 7.0, 3.499),
            (0.975, 1e4, 1.960),
            (0.5, 3.0, 0.0),
        ] {
            assert!((student(tail, freedom) - quantile).abs() < 0.002, "{tail} {freedom}");
        }
    }

    #[test]
    fn few_groups_make_wide_intervals() {
        let interval = Interval { mean: 1.0, low: 0.5, high: 2.0 };
        let wide = interval.widened(5, 0.95);
        let factor = 2.776 / 1.960 * 1.25_f64.sqrt();
        assert!(
            (wide.low - (1.0 - 0.5 * factor)).abs() < 0.002 && (wide.high - (1.0 + factor)).abs() < 0.003
        );
        assert!((interval.widened(10_000, 0.95).low - 0.5).abs() < 1e-3);
        assert_eq!(interval.widened(1, 0.95).low, f64::NEG_INFINITY);
        let sure = Interval { mean: 1.0, low: 1.0, high: 1.0 };
        assert_eq!(sure.widened(1, 0.95), sure);
    }

    #[test]
    fn what_is_sure_has_no_width_and_nothing_has_no_mean() {
        let sure = Interval::of_mean(&[vec![2.0, 2.0], vec![2.0]], Draw::GroupsAndValues, 0.95);
        assert_eq!(sure, Some(Interval { mean: 2.0, low: 2.0, high: 2.0 }));
        assert_eq!(Interval::of_mean(&[vec![], vec![]], Draw::Groups, 0.95), None);
    }
}
