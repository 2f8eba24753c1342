//! The value that an estimate is.

use serde::{Deserialize, Serialize};

use crate::base::Span;

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
}
