//! What jobs may take instead of what they are estimated to take.

use crate::base::{Id, Random, Span, Table};
use crate::cost::Cost;
use crate::graph::JobId;

/// How many runs are gone through with other times. What is compared meets the same times, so that few tell.
pub const COUNT: u64 = 8;

/// The seed of the first.
const SEED: u64 = 0x0d15_7a7c;

/// Estimates with intervals that end within this factor of the median are certain.
const NEXT_TO_NOTHING: f64 = 1.02;

/// Whether all jobs will take what they are estimated to take.
pub fn is_certain(estimates: &Table<JobId, Cost>) -> bool {
    let is_narrow = |Cost { median, p10, p90 }: &Cost| {
        *p90 <= median.scale(NEXT_TO_NOTHING) && *median <= p10.scale(NEXT_TO_NOTHING)
    };
    estimates.rows().iter().all(is_narrow)
}

/// What each job takes in one of these runs, drawn from its estimate's distribution; the same for the same number.
/// Every second run has the opposite of the one before, so that few draws have a mean near that of many
/// (Hammersley and Morton 1956).
pub fn draw(estimates: &Table<JobId, Cost>, number: u64) -> Table<JobId, Option<Span>> {
    let draw = |(job, cost): (JobId, &Cost)| {
        let random = &mut Random::keyed(SEED + number / 2, job.index() as u64);
        let spread = if number.is_multiple_of(2) { cost.spread() } else { -cost.spread() };
        Some(cost.median.scale(random.lognormal(spread)))
    };
    estimates.iter().map(draw).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cost(seconds: u64, width: f64) -> Cost {
        let median = Span::from_secs(seconds);
        Cost { median, p10: median.scale(1.0 / width), p90: median.scale(width) }
    }

    #[test]
    fn only_estimates_that_are_all_narrow_are_certain() {
        let of = |widths: &[f64]| is_certain(&widths.iter().map(|&width| cost(60, width)).collect());
        assert_eq!([of(&[]), of(&[1.0, 1.01]), of(&[1.0, 1.1])], [true, true, false]);
        let less = Cost { p90: Span::from_secs(60), ..cost(60, 3.0) };
        assert!(!is_certain(&[less].into_iter().collect()), "it may be done much sooner");
    }

    #[test]
    fn whatever_an_estimate_says_there_is_a_time() {
        let of = |median, p10, p90| {
            let estimates =
                [Cost { median: Span(median), p10: Span(p10), p90: Span(p90) }].into_iter().collect();
            (0..COUNT).map(|number| draw(&estimates, number)[JobId(0)].unwrap().0).collect::<Vec<_>>()
        };
        assert_eq!(of(0, 0, 5_000_000), [0; COUNT as usize]);
        assert_eq!(of(7, 7, 7), [7; COUNT as usize]);
        assert_eq!(of(7, 5, 0), [7; COUNT as usize], "nothing is told apart below a millisecond");
        let backwards = of(1 << 40, 1 << 50, 1 << 30);
        assert!(backwards.iter().all(|&time| time > 0), "{backwards:?}");
        assert!(of(u64::MAX, 1, u64::MAX).contains(&u64::MAX), "no more than there is");
    }

    #[test]
    fn as_many_take_longer_as_take_less_by_the_same_factors() {
        let estimates: Table<JobId, Cost> = (0..1000).map(|_| cost(1000, 2.0)).collect();
        let runs: Vec<_> = (0..COUNT).map(|number| draw(&estimates, number)).collect();
        let seconds = |run: usize, job: JobId| runs[run][job].unwrap().as_secs_f64();
        for job in estimates.ids() {
            let pair = seconds(0, job) * seconds(1, job);
            assert!((pair - 1e6).abs() < 1.0, "{pair}");
            assert_ne!(runs[0][job], runs[2][job]);
        }
        let beyond = estimates.ids().filter(|&job| seconds(0, job) > 2000.0).count();
        assert!((70..130).contains(&beyond), "one in ten: {beyond} of 1000");
    }
}
