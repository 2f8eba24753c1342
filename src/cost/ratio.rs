//! What one build says about a host: the logarithm of what it took over what was expected.
//!
//! Shared by what is learned within a run ([`super::Speeds`], [`super::Live`]) and between runs
//! ([`super::Memory`]).

use crate::base::Span;

/// One measurement says at most a factor of e⁶, about 400, either way.
pub(super) const MAX_LOG: f64 = 6.0;
/// Builds of one package on one host scatter by this much in their logarithm (832 builds of 468 packages).
pub(super) const SPREAD_OF_BUILDS: f64 = 0.36;
/// Configured speeds are off by a factor of e^0.7, about 2, as a rule.
pub(super) const SPREAD_OF_HOSTS: f64 = 0.7;
/// Nothing is taken to last less.
pub(super) const SHORTEST: Span = Span::from_millis(1);
/// Builds shorter than this measure processes and round trips rather than the host.
const TELLING: Span = Span::from_millis(200);

/// What starting processes takes on any host, in seconds.
const START: f64 = 0.7;

/// How much a build that took `seconds` says about its host, from 0 to 1: of a short one, much is the start
/// of processes and round trips, which is the same everywhere.
pub(super) fn says(seconds: f64) -> f64 {
    let own = seconds / (seconds + START);
    own * own
}

/// What of a build is the same on any host, in seconds, if nothing else is known: processes and round trips.
const SAME: f64 = 0.05;

/// The logarithm of the part of a build that depends on its host, by that of the whole; of a short one half.
pub(super) fn own_part(log: f64) -> f64 {
    let seconds = log.exp();
    (seconds - SAME).max(seconds / 2.0).ln()
}

/// The logarithm of `actual` over `expected`, within [`MAX_LOG`].
pub(super) fn log_ratio(expected: Span, actual: Span) -> f64 {
    let ratio = actual.max(SHORTEST).as_secs_f64() / expected.max(SHORTEST).as_secs_f64();
    ratio.ln().clamp(-MAX_LOG, MAX_LOG)
}

/// Whether a build says something about its host.
pub(super) fn tells(expected: Span, actual: Span) -> bool {
    expected >= TELLING && actual >= TELLING
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_bounded_and_short_builds_say_little() {
        assert_eq!(log_ratio(Span::ZERO, Span(u64::MAX)), MAX_LOG);
        assert_eq!(log_ratio(Span::from_secs(2), Span::from_secs(2)), 0.0);
        assert!(says(0.0) == 0.0 && says(0.1) < 0.05 && says(60.0) > 0.95);
        assert!(own_part(60f64.ln()).exp() > 59.9 && own_part(0.1f64.ln()).exp() < 0.051);
        assert!(!tells(Span::from_secs(1), Span::from_millis(10)));
    }
}
