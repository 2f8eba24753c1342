//! How long a running job still takes, given that it has not ended yet.

use super::estimate::Cost;
use super::ratio::SHORTEST;
use crate::base::Span;

/// Spread of the logarithm: neither certainty nor nonsense.
const SPREAD: std::ops::RangeInclusive<f64> = 0.01..=2.0;
/// So far below the median, having run for a while says nothing.
const NO_NEWS: f64 = -6.0;
/// So far above it, a chance divided by a density is better not worked out from the two.
const FAR: f64 = 5.0;

/// How long a job of this cost still runs after `elapsed`, on average (both on a host of speed 1):
/// the mean of a lognormal distribution through the cost's quantiles beyond `elapsed`, but at least a
/// tenth of what has elapsed, and never nothing: what is running does not end this very moment.
pub fn remaining(cost: &Cost, elapsed: Span) -> Span {
    let median = cost.median.max(SHORTEST).as_secs_f64();
    let spread = cost.spread().clamp(*SPREAD.start(), *SPREAD.end());

    let elapsed_s = elapsed.as_secs_f64();
    let z = (elapsed_s / median).ln() / spread;
    let rest = if z < NO_NEWS {
        median * (spread * spread / 2.0).exp() - elapsed_s
    } else {
        elapsed_s * (mills(z - spread) / mills(z) - 1.0)
    };
    Span::from_secs_f64(rest).max(Span(elapsed.0 / 10)).max(SHORTEST)
}

/// Mills' ratio of the normal distribution: the chance of more than `z`, over the density at `z`.
///
/// With it the conditional mean beyond `e` is `e × mills(z - σ) / mills(z)`, without the underflow of
/// two tail chances divided by each other.
fn mills(z: f64) -> f64 {
    if z >= FAR {
        // 1 / (z + 1 / (z + 2 / (z + 3 / …))), of which k terms leave an error of about exp(-2z √(2k)).
        return 1.0 / (1..=6u32).rev().fold(z, |rest, k| z + f64::from(k) / rest);
    }
    (std::f64::consts::PI / 2.0).sqrt()
        * (z * z / 2.0).exp()
        * libm::erfc(z * std::f64::consts::FRAC_1_SQRT_2)
}

#[cfg(test)]
mod tests {
    use super::super::estimate::Z90;
    use super::*;
    use proptest::prelude::*;

    fn cost(median: f64, spread: f64) -> Cost {
        let at = |z: f64| Span::from_secs_f64(median * (spread * z).exp());
        Cost { median: at(0.0), p10: at(-Z90), p90: at(Z90) }
    }

    /// By summing the density.
    fn oracle(median: f64, spread: f64, elapsed: f64) -> f64 {
        let from = (elapsed / median).ln() / spread;
        let (mut chance, mut mean) = (0.0, 0.0);
        let steps = 200_000;
        for i in 0..steps {
            let z = from + 16.0 * (f64::from(i) + 0.5) / f64::from(steps);
            let density = (from * from / 2.0 - z * z / 2.0).exp();
            chance += density;
            mean += density * median * (spread * z).exp();
        }
        mean / chance - elapsed
    }

    #[test]
    fn it_is_the_conditional_mean() {
        for (median, spread, elapsed) in
            [(30.0, 1.0, 1.0), (30.0, 1.0, 30.0), (30.0, 1.0, 300.0), (100.0, 0.4, 90.0), (10.0, 1.5, 1000.0)]
        {
            let got = remaining(&cost(median, spread), Span::from_secs_f64(elapsed)).as_secs_f64();
            let expected = oracle(median, spread, elapsed);
            assert!((got / expected - 1.0).abs() < 1e-3, "{got} {expected} after {elapsed}");
        }
    }

    #[test]
    fn a_sure_estimate_counts_down_and_then_asks_for_a_tenth_more() {
        let sure =
            Cost { median: Span::from_secs(100), p10: Span::from_secs(100), p90: Span::from_secs(100) };
        let after = |s| remaining(&sure, Span::from_secs(s)).as_secs_f64().round();
        assert_eq!((after(0), after(40), after(90)), (100.0, 60.0, 10.0));
        assert_eq!((after(100), after(200)), (10.0, 20.0));
    }

    #[test]
    fn nonsense_gives_something() {
        let odd = Cost { median: Span::ZERO, p10: Span(u64::MAX), p90: Span::ZERO };
        assert_eq!(remaining(&odd, Span::ZERO), SHORTEST);
        let wide = Cost { median: Span(u64::MAX), p10: Span::ZERO, p90: Span(u64::MAX) };
        assert!(remaining(&wide, Span(u64::MAX)) >= Span(u64::MAX / 10));
    }

    proptest! {
        #[test]
        fn the_end_moves_only_away(
            median in 0.01..10_000.0f64, spread in 0.0..2.5f64, one in 0.0..50_000.0f64, more in 0.0..50_000.0f64,
        ) {
            let cost = cost(median, spread);
            let end = |elapsed: f64| {
                let elapsed = Span::from_secs_f64(elapsed);
                let rest = remaining(&cost, elapsed);
                assert!(rest >= Span(elapsed.0 / 10) && rest > Span::ZERO);
                (elapsed + rest).as_secs_f64()
            };
            // Where a branch ends, the last digits may differ.
            prop_assert!(end(one + more) >= end(one) * (1.0 - 1e-6) - 1e-5);
        }

        #[test]
        fn more_expensive_jobs_have_more_left(
            median in 0.01..10_000.0f64, factor in 1.0..10.0f64, spread in 0.05..2.0f64, elapsed in 0.0..50_000.0f64,
        ) {
            let rest = |median: f64| remaining(&cost(median, spread), Span::from_secs_f64(elapsed)).as_secs_f64();
            prop_assert!(rest(median * factor) >= rest(median) * (1.0 - 1e-4) - 1e-4);
        }
    }
}
