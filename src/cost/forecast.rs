//! An estimate with its whole distribution.

use super::estimate::Cost;
use super::expectation::Known;
use super::ratio::SHORTEST;
use super::spread::{Assumed, Spread};
use crate::base::Span;

/// Nothing is estimated to take longer: a year.
const LONGEST: f64 = 365.0 * 86_400.0;

/// How long something takes, as a distribution: an estimate, and what such estimates were off by.
#[derive(Clone, Copy, Debug)]
pub struct Forecast<'a> {
    pub(super) log: f64,
    pub(super) known: Known,
    pub(super) assumed: Assumed,
    pub(super) spread: Option<&'a Spread>,
}

impl Forecast<'_> {
    /// What part `p` of such builds (0 to 1) is done by.
    pub fn quantile(&self, p: f64) -> Span {
        let off = match self.spread {
            Some(spread) => spread.quantile(p, self.assumed),
            None => Spread::default().quantile(p, self.assumed),
        };
        Span::from_secs_f64((self.log + off).exp().min(LONGEST)).max(SHORTEST)
    }

    /// Half of such builds are done by then.
    pub fn median(&self) -> Span {
        self.quantile(0.5)
    }

    /// The interval that holds the part `coverage` (0 to 1) of such builds, with as many below as above.
    pub fn interval(&self, coverage: f64) -> (Span, Span) {
        let coverage = coverage.clamp(0.0, 1.0);
        (self.quantile((1.0 - coverage) / 2.0), self.quantile((1.0 + coverage) / 2.0))
    }

    /// The median with the 80 % interval.
    pub fn cost(&self) -> Cost {
        let (p10, p90) = self.interval(0.8);
        Cost { median: self.median(), p10, p90 }
    }

    /// How much was known.
    pub fn known(&self) -> Known {
        self.known
    }
}
