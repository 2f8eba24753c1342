//! The value that an estimate is.

use serde::{Deserialize, Serialize};

use super::ratio::SHORTEST;
use crate::base::Span;

/// The distance from the median to the end of the 80 % interval, in standard deviations.
pub const Z90: f64 = 1.281_551_565_544_6;

/// How long a job takes on a host of speed 1: the median and the ends of the 80 % interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cost {
    /// Half of such jobs are done by then.
    pub median: Span,
    /// One in ten is done by then.
    pub p10: Span,
    /// Nine in ten are done by then.
    pub p90: Span,
}

impl Cost {
    /// All three, multiplied by `factor`.
    #[must_use]
    pub fn scale(self, factor: f64) -> Self {
        let Self { median, p10, p90 } = self;
        Self { median: median.scale(factor), p10: p10.scale(factor), p90: p90.scale(factor) }
    }

    /// The standard deviation of the logarithm of a lognormal distribution with the ends of this interval.
    pub fn spread(&self) -> f64 {
        let seconds = |span: Span| span.max(SHORTEST).as_secs_f64();
        (seconds(self.p90) / seconds(self.p10)).ln() / (2.0 * Z90)
    }
}
