//! How far off estimates are: the quantiles of what they were off by, as builds come in.
//!
//! Each build is estimated before it is learned from; the logarithm of what it took over that estimate is
//! kept, apart for each kind of derivation and for how much was known. An interval is between quantiles of
//! the newest of these residuals (split conformal prediction, Vovk, Gammerman and Shafer 2005, with a
//! moving window), so it covers what it says whatever their distribution is. A few residuals of an assumed
//! distribution are among them in the beginning.

use std::collections::VecDeque;

/// How many residuals count. Few follow a host that is busy today; with 300, intervals on one host's history
/// covered two percentage points more than they said, with 50 one less.
const WINDOW: usize = 80;
/// How many assumed residuals there are in the beginning.
const ASSUMED: usize = 5;

/// What estimates of one sort were off by.
#[derive(Clone, Debug, Default)]
pub(super) struct Spread {
    newest: VecDeque<f64>,
    sorted: Vec<f64>,
}

/// An assumed distribution of residuals: lognormal with halves of different width.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Assumed {
    /// The distance from the median to the 10th percentile, above 0.
    pub below: f64,
    /// The distance from the median to the 90th percentile, above 0.
    pub above: f64,
}

impl Assumed {
    fn quantile(self, p: f64) -> f64 {
        let z = normal_quantile(p);
        let end = if z < 0.0 { self.below } else { self.above };
        z * end / normal_quantile(0.9)
    }
}

impl Spread {
    /// Takes in what an estimate was off by.
    pub fn observe(&mut self, residual: f64) {
        if self.newest.len() == WINDOW
            && let Some(oldest) = self.newest.pop_front()
        {
            let at = self.sorted.partition_point(|known| *known < oldest);
            self.sorted.remove(at);
        }
        self.newest.push_back(residual);
        self.sorted.insert(self.sorted.partition_point(|known| *known < residual), residual);
    }

    /// The quantile `p`, from 0 to 1.
    ///
    /// Of `n` residuals, the next one is below the `k`-th with probability `k / (n + 1)`; between them the
    /// quantile is interpolated.
    pub fn quantile(&self, p: f64, assumed: Assumed) -> f64 {
        let all = self.with(assumed);
        let rank = p * (all.len() + 1) as f64 - 1.0;
        let last = all.len() - 1;
        if rank < 0.0 || rank > last as f64 {
            // Beyond all that was seen the assumed distribution says how much further.
            let (edge, at) = if rank < 0.0 { (0, 1.0) } else { (last, all.len() as f64) };
            let edge_p = at / (all.len() + 1) as f64;
            return all[edge] + assumed.quantile(p.clamp(1e-4, 1.0 - 1e-4)) - assumed.quantile(edge_p);
        }
        let (low, part) = (rank.floor() as usize, rank.fract());
        all[low] + part * (all[(low + 1).min(last)] - all[low])
    }

    /// Seen and assumed residuals, ascending.
    fn with(&self, assumed: Assumed) -> Vec<f64> {
        let mut all = Vec::with_capacity(self.sorted.len() + ASSUMED);
        let mut seen = self.sorted.iter().copied().peekable();
        for i in 0..ASSUMED {
            let next = assumed.quantile((i + 1) as f64 / (ASSUMED + 1) as f64);
            while let Some(residual) = seen.next_if(|residual| *residual < next) {
                all.push(residual);
            }
            all.push(next);
        }
        all.extend(seen);
        all
    }
}

/// The quantile of the standard normal distribution, to 5e-4 (Abramowitz and Stegun 1964, 26.2.23).
fn normal_quantile(p: f64) -> f64 {
    let p = p.clamp(1e-9, 1.0 - 1e-9);
    let tail = p.min(1.0 - p);
    let t = (-2.0 * tail.ln()).sqrt();
    let top = 2.515_517 + t * (0.802_853 + t * 0.010_328);
    let bottom = 1.0 + t * (1.432_788 + t * (0.189_269 + t * 0.001_308));
    (t - top / bottom).copysign(p - 0.5)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Random;
    use proptest::prelude::*;

    const USUAL: Assumed = Assumed { below: 0.5, above: 1.0 };

    #[test]
    fn nothing_seen_is_as_assumed() {
        let spread = Spread::default();
        for (p, expected) in [(0.1, -0.5), (0.5, 0.0), (0.9, 1.0)] {
            assert!((spread.quantile(p, USUAL) - expected).abs() < 1e-3, "{p}");
        }
        assert!(spread.quantile(0.95, USUAL) > 1.2);
        assert!(spread.quantile(0.0, USUAL).is_finite() && spread.quantile(1.0, USUAL).is_finite());
    }

    #[test]
    fn many_seen_have_their_own_quantiles() {
        let (mut spread, mut random) = (Spread::default(), Random::new(3));
        for i in 0..2_000 {
            spread.observe(if i < 1_000 { 5.0 } else { 0.2 * random.normal() });
        }
        assert_eq!(spread.sorted.len(), WINDOW);
        for (p, z) in [(0.05, -1.645), (0.1, -1.2816), (0.5, 0.0), (0.9, 1.2816), (0.95, 1.645)] {
            let found = spread.quantile(p, USUAL);
            assert!((found - 0.2 * z).abs() < 0.1, "{p}: {found}");
        }
    }

    #[test]
    fn the_quantile_of_the_normal_distribution_is_close() {
        for (p, z) in [(0.5, 0.0), (0.9, 1.281_552), (0.025, -1.959_964), (0.999, 3.090_232)] {
            assert!((normal_quantile(p) - z).abs() < 5e-4, "{p}");
        }
    }

    proptest! {
        #[test]
        fn quantiles_ascend(
            seen in proptest::collection::vec(-6.0..6.0f64, 0..400), one in 0.0..=1.0f64, other in 0.0..=1.0f64,
        ) {
            let mut spread = Spread::default();
            seen.iter().for_each(|residual| spread.observe(*residual));
            let (low, high) = (one.min(other), one.max(other));
            prop_assert!(spread.quantile(low, USUAL) <= spread.quantile(high, USUAL) + 1e-9);
        }
    }
}
