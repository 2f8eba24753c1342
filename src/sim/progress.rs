//! Something that takes as long as the rate it is given lets it: a build, or the bytes of a transfer.

use crate::base::{Span, Time};

/// An amount that goes down at a rate which changes now and then.
#[derive(Clone, Copy, Debug)]
pub(super) struct Progress {
    left: f64,
    /// Per microsecond.
    rate: f64,
    since: Time,
}

impl Progress {
    /// `amount` at rest.
    pub fn new(at: Time, amount: f64) -> Self {
        Self { left: amount, rate: 0.0, since: at }
    }

    /// The rate per microsecond.
    #[cfg(test)]
    pub fn rate(&self) -> f64 {
        self.rate
    }

    /// Goes on at another rate from `at` on. False if that is the rate it has, and nothing changes.
    pub fn set_rate(&mut self, at: Time, rate: f64) -> bool {
        if rate == self.rate {
            return false;
        }
        let done = self.rate * at.since(self.since).0 as f64;
        // Infinitely fast for no time at all is not a number.
        self.left = (self.left - done).max(0.0);
        self.rate = rate;
        self.since = at;
        true
    }

    /// How much is left at a moment.
    pub fn left(&self, at: Time) -> f64 {
        (self.left - self.rate * at.since(self.since).0 as f64).max(0.0)
    }

    /// When it is done, to the next microsecond; `None` for never.
    pub fn end(&self) -> Option<Time> {
        if self.left == 0.0 {
            return Some(self.since);
        }
        // What is left over from rounding earlier ends must not cost a microsecond each time.
        let micros = (self.left / self.rate - 1e-6).ceil();
        (self.rate > 0.0 && micros < u64::MAX as f64).then(|| self.since + Span(micros as u64))
    }
}

/// Numbers the forecasts of ends, so that one that was overtaken by a change of rate is known as such.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp(u64);

impl Stamp {
    /// The first.
    pub const FIRST: Stamp = Stamp(0);

    /// Goes on to the next and returns it.
    pub fn next(&mut self) -> Stamp {
        self.0 += 1;
        *self
    }
}

/// When something of a given index is done, unless its stamp has changed by then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Forecast {
    pub index: u32,
    pub stamp: Stamp,
    pub end: Time,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_takes_as_long_as_its_rates_let_it() {
        let mut work = Progress::new(Time(0), 100.0);
        assert_eq!(work.end(), None);
        assert!(work.set_rate(Time(10), 2.0));
        assert_eq!(work.end(), Some(Time(60)));
        assert_eq!([10, 35, 60, 99].map(|at| work.left(Time(at))), [100.0, 50.0, 0.0, 0.0]);
        assert!(!work.set_rate(Time(20), 2.0));
        work.set_rate(Time(35), 0.5);
        assert_eq!(work.end(), Some(Time(135)));
        work.set_rate(Time(500), 1.0);
        assert_eq!(work.end(), Some(Time(500)));
    }

    #[test]
    fn infinite_rates_take_no_time() {
        let mut work = Progress::new(Time(7), 100.0);
        work.set_rate(Time(7), f64::INFINITY);
        assert_eq!(work.end(), Some(Time(7)));
    }
}
