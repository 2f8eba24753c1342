//! Time as a value: microseconds as integers, so that sums are exact and ties are real.

use std::fmt;
use std::ops::{Add, AddAssign, Sub};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A length of time in whole microseconds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Span(pub u64);

/// A moment of a run: microseconds since the run began.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Time(pub u64);

impl Span {
    /// No time at all.
    pub const ZERO: Span = Span(0);

    /// `ms` milliseconds.
    pub const fn from_millis(ms: u64) -> Span {
        Span(ms * 1_000)
    }

    /// `s` seconds.
    pub const fn from_secs(s: u64) -> Span {
        Span(s * 1_000_000)
    }

    /// Seconds as a float, rounded to the microsecond; negative and not-a-number count as zero.
    pub fn from_secs_f64(s: f64) -> Span {
        // `as` saturates, and turns NaN into 0.
        Span((s * 1e6 + 0.5) as u64)
    }

    /// The length in seconds.
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / 1e6
    }

    /// This span multiplied by `factor` (not negative), rounded to the microsecond.
    pub fn scale(self, factor: f64) -> Span {
        // The nearest, without a call into the mathematics library.
        Span((self.0 as f64 * factor + 0.5) as u64)
    }

    /// The difference, or zero if `other` is longer.
    pub fn saturating_sub(self, other: Span) -> Span {
        Span(self.0.saturating_sub(other.0))
    }
}

impl Time {
    /// The moment the run began.
    pub const ZERO: Time = Time(0);

    /// How long after `earlier` this is; zero if it is not after it.
    pub fn since(self, earlier: Time) -> Span {
        Span(self.0.saturating_sub(earlier.0))
    }
}

impl From<Duration> for Span {
    fn from(d: Duration) -> Span {
        Span(u64::try_from(d.as_micros()).unwrap_or(u64::MAX))
    }
}

impl From<Span> for Duration {
    fn from(s: Span) -> Duration {
        Duration::from_micros(s.0)
    }
}

impl Add for Span {
    type Output = Span;
    fn add(self, other: Span) -> Span {
        Span(self.0.saturating_add(other.0))
    }
}

impl AddAssign for Span {
    fn add_assign(&mut self, other: Span) {
        *self = *self + other;
    }
}

impl std::iter::Sum for Span {
    fn sum<It: Iterator<Item = Span>>(spans: It) -> Span {
        spans.fold(Span::ZERO, Add::add)
    }
}

impl Add<Span> for Time {
    type Output = Time;
    fn add(self, span: Span) -> Time {
        Time(self.0.saturating_add(span.0))
    }
}

impl Sub<Span> for Time {
    type Output = Time;
    fn sub(self, span: Span) -> Time {
        Time(self.0.saturating_sub(span.0))
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.6}s", self.as_secs_f64())
    }
}

impl fmt::Debug for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "@{:.6}s", self.0 as f64 / 1e6)
    }
}

/// As people say it, to the nearest: `0.3s`, `42s`, `3m20s`, `2h05m`.
impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nearest = |unit: Span| self.0.saturating_add(unit.0 / 2) / unit.0;
        let [tenths, s, m] = [Span::from_millis(100), Span::from_secs(1), Span::from_secs(60)].map(nearest);
        // What is rounded up to the next unit is shown in that.
        match s {
            _ if tenths < 100 => write!(f, "{}.{}s", tenths / 10, tenths % 10),
            0..60 => write!(f, "{s}s"),
            60..3600 => write!(f, "{}m{:02}s", s / 60, s % 60),
            _ => write!(f, "{}h{:02}m", m / 60, m % 60),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_rounded_to_what_is_shown_of_them() {
        let cases = [
            (0, "0.0s"),
            (49, "0.0s"),
            (50, "0.1s"),
            (9_949, "9.9s"),
            (9_950, "10s"),
            (10_499, "10s"),
            (10_500, "11s"),
            (59_499, "59s"),
            (59_600, "1m00s"),
            (119_500, "2m00s"),
            (200_400, "3m20s"),
            (3_599_499, "59m59s"),
            (3_599_700, "1h00m"),
            (3_629_999, "1h00m"),
            (3_630_000, "1h01m"),
            (7_199_000, "2h00m"),
            (360_000_000, "100h00m"),
        ];
        for (ms, text) in cases {
            assert_eq!(Span::from_millis(ms).to_string(), text, "{ms} ms");
        }
        assert_eq!(Span(u64::MAX).to_string(), "5124095576h01m");
    }
}
