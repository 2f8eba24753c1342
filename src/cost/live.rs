//! Estimates corrected by what this run has measured so far.
//!
//! A class of jobs that took twice as long as expected will go on doing so, and the other classes
//! perhaps too: the host on which speed 1 is defined may simply be slow. So each class keeps the mean
//! of its log ratios, shrunk to the mean over the classes, and that to no correction at all.

use super::estimate::Cost;
use super::prior::OutputClass;
use super::ratio::log_ratio;
use crate::base::{Span, Table};
use crate::graph::JobId;

/// How many measurements the expectation is worth.
const PRIOR_WEIGHT: i64 = 2;
/// Log ratios are summed as integers of this fraction of a unit: exact in any order.
const LOG_UNIT: f64 = 65_536.0;
/// Factors are multiples of 1/1024, so that last digits of a logarithm never decide.
const FACTOR_UNIT: f64 = 1_024.0;

/// By how much jobs take longer than expected, per class in the order of [`OutputClass::ALL`].
pub type Factors = [f64; OutputClass::ALL.len()];

/// Corrections within one run.
#[derive(Clone, Debug)]
pub struct Live {
    classes: Table<JobId, OutputClass>,
    prior: Table<JobId, Cost>,
    seen: [Seen; OutputClass::ALL.len()],
}

/// What has been measured of a class.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    count: i64,
    log_sum: i64,
}

impl Seen {
    /// The mean log ratio, as if the expectation had been measured too.
    fn mean(self, expected: i64) -> i64 {
        (self.log_sum + PRIOR_WEIGHT * expected) / (self.count + PRIOR_WEIGHT)
    }
}

impl Live {
    /// Nothing measured yet: every job costs what `prior` says. Both tables have a row for each job.
    pub fn new(classes: Table<JobId, OutputClass>, prior: Table<JobId, Cost>) -> Live {
        Live { classes, prior, seen: Default::default() }
    }

    /// A job has been built, and took `actual` in terms of a host of speed 1.
    pub fn observe(&mut self, job: JobId, actual: Span) {
        let log = log_ratio(self.prior[job].median, actual);
        let seen = &mut self.seen[self.classes[job] as usize];
        seen.count += 1;
        seen.log_sum += (log * LOG_UNIT).round() as i64;
    }

    /// By how much jobs of this class take longer than was expected; 1 as long as nothing is known.
    pub fn factor(&self, class: OutputClass) -> f64 {
        let log = self.seen[class as usize].mean(self.common()) as f64 / LOG_UNIT;
        ((log.exp() * FACTOR_UNIT).round() / FACTOR_UNIT).max(1.0 / FACTOR_UNIT)
    }

    /// The factors of all classes.
    pub fn factors(&self) -> Factors {
        OutputClass::ALL.map(|class| self.factor(class))
    }

    /// What a job that has not run yet is expected to cost now.
    pub fn cost(&self, job: JobId) -> Cost {
        self.prior[job].scale(self.factor(self.classes[job]))
    }

    /// What jobs are expected to cost by these factors.
    pub fn costs(&self, factors: &Factors) -> Table<JobId, Cost> {
        let cost = |(prior, class): (&Cost, &OutputClass)| prior.scale(factors[*class as usize]);
        self.prior.rows().iter().zip(self.classes.rows()).map(cost).collect()
    }

    /// The class of a job.
    pub fn class(&self, job: JobId) -> OutputClass {
        self.classes[job]
    }

    /// The log ratio that the classes have in common. Each class counts once, however many jobs it
    /// has: a thousand text files say little about compilers.
    fn common(&self) -> i64 {
        let measured = || self.seen.iter().filter(|seen| seen.count > 0);
        let sum: i64 = measured().map(|seen| seen.mean(0)).sum();
        sum / (measured().count() as i64 + PRIOR_WEIGHT)
    }
}

#[cfg(test)]
mod tests {
    use super::super::ratio::MAX_LOG;
    use super::*;
    use proptest::prelude::*;

    const TEXTS: u32 = 50;

    /// 50 texts, then 50 packages.
    fn live() -> Live {
        let class = |i| if i < TEXTS { OutputClass::Text } else { OutputClass::Source };
        let classes: Table<JobId, _> = (0..2 * TEXTS).map(class).collect();
        let prior = classes.rows().iter().map(|class| class.prior()).collect();
        Live::new(classes, prior)
    }

    fn source() -> Span {
        OutputClass::Source.prior().median
    }

    #[test]
    fn nothing_measured_changes_nothing() {
        let live = live();
        assert_eq!(live.cost(JobId(60)), OutputClass::Source.prior());
        assert_eq!(live.factor(OutputClass::Text), 1.0);
    }

    #[test]
    fn a_class_learns_at_once_and_the_others_a_little() {
        let mut live = live();
        for job in 50..60 {
            live.observe(JobId(job), source().scale(4.0));
        }
        let (source, text, other) = (
            live.factor(OutputClass::Source),
            live.factor(OutputClass::Text),
            live.factor(OutputClass::Hook),
        );
        assert!((3.0..4.0).contains(&source), "{source}");
        assert!((1.2..2.0).contains(&text) && text == other, "{text} {other}");
        let Cost { median, p10, p90 } = live.cost(JobId(99));
        assert!(p10 < median && median < p90);
        let alone: Vec<Cost> = live.classes.ids().map(|job| live.cost(job)).collect();
        assert_eq!(live.costs(&live.factors()).rows(), alone);
    }

    #[test]
    fn many_quick_texts_do_not_make_packages_quick() {
        let mut live = live();
        for job in 0..TEXTS {
            live.observe(JobId(job), Span::from_millis(50));
        }
        assert!(live.factor(OutputClass::Text) < 0.2);
        assert!(live.factor(OutputClass::Source) > 0.5);
    }

    #[test]
    fn one_absurd_measurement_is_bounded() {
        let mut live = live();
        live.observe(JobId(60), Span(u64::MAX));
        assert!(live.factor(OutputClass::Source).ln() < MAX_LOG / 2.0, "one says less than half of the most");
        live.observe(JobId(61), Span::ZERO);
        assert_eq!(live.factor(OutputClass::Source), 1.0, "one each way");
    }

    proptest! {
        #[test]
        fn the_order_of_measurements_does_not_matter(
            seen in proptest::collection::vec((0..100u32, 0..1_000_000_000u64), 0..40),
        ) {
            let (mut one, mut other) = (live(), live());
            for &(job, micros) in &seen {
                one.observe(JobId(job), Span(micros));
            }
            for &(job, micros) in seen.iter().rev() {
                other.observe(JobId(job), Span(micros));
            }
            for class in OutputClass::ALL {
                prop_assert_eq!(one.factor(class), other.factor(class));
                // To the next multiple of 1/1024.
                let (factor, most) = (one.factor(class), MAX_LOG.exp());
                prop_assert!((1.0 / most - 0.001..=most + 0.001).contains(&factor), "{factor}");
            }
        }

        #[test]
        fn longer_measurements_never_lower_an_estimate(
            seen in proptest::collection::vec((0..100u32, 1_000..1_000_000_000u64), 1..40),
            longer in any::<prop::sample::Index>(),
        ) {
            let (mut one, mut other) = (live(), live());
            let longer = longer.index(seen.len());
            for (i, &(job, micros)) in seen.iter().enumerate() {
                one.observe(JobId(job), Span(micros));
                other.observe(JobId(job), Span(if i == longer { micros * 2 } else { micros }));
            }
            for class in OutputClass::ALL {
                prop_assert!(one.factor(class) <= other.factor(class));
            }
        }
    }
}
