//! How fast hosts really are, from what they built.
//!
//! Each build gives the logarithm of how much longer it took than was estimated for a host of the
//! configured speed. A host's mean of these, against the mean over all hosts, is how far its configured
//! speed is off: that all builds take longer than estimated says nothing about any one host. The mean
//! is shrunk towards the configured speed by how much single builds scatter: a small difference by more than a large
//! one, as many hosts are about as configured and the others may be anything.
//!
//! This is for one run and exact in any order, as a scheduler needs it. What holds between runs is in
//! `levels`.

use super::ratio::{log_ratio, tells};
use crate::base::{Span, Table};
use crate::fleet::HostId;

/// Of two hosts one is as history or its configuration has it, off by a factor of about e^0.2; the other one may be
/// off by e^0.7, about 2. A normal between the two would believe too much of what is noise, and too little of what
/// is not. Chosen by `scripts/bench-sched` on all its graphs, with hosts as configured and with `wrong` ones.
const RIGHT: f64 = 0.2;
const WRONG: f64 = 0.7;
/// The part of all hosts that are as configured.
const PART_RIGHT: f64 = 0.5;
/// What all hosts have in common follows from which of them are wrong, and the other way around: so often in turns.
const TURNS: usize = 2;
/// Log ratios are summed as integers of this fraction of a unit: exact in any order.
const UNIT: f64 = 65_536.0;
/// One measurement says at most a factor of e³ either way: within a run there are few.
const MAX_LOG: f64 = 3.0;
/// A host is at most e² times as fast or as slow as configured.
const MAX_OFFSET: f64 = 2.0;
/// The scatter of single builds that is assumed until there are more than these many.
const ASSUMED_COUNT: f64 = 8.0;
const ASSUMED_SPREAD: f64 = 0.6;

/// What is known of each host.
#[derive(Clone, Debug)]
pub struct Speeds {
    hosts: Table<HostId, Seen>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    count: i64,
    sum: i64,
    /// Sum of squares, in 1/65536.
    squares: i64,
}

impl Speeds {
    /// Nothing measured yet.
    pub fn new(hosts: usize) -> Speeds {
        Speeds { hosts: Table::filled(hosts, Seen::default()) }
    }

    /// A build took `actual` where `expected` was estimated, on this host at its configured speed. False
    /// if that says nothing.
    pub fn observe(&mut self, host: HostId, expected: Span, actual: Span) -> bool {
        if !tells(expected, actual) {
            return false;
        }
        let log = log_ratio(expected, actual).clamp(-MAX_LOG, MAX_LOG);
        let seen = &mut self.hosts[host];
        seen.count += 1;
        seen.sum += (log * UNIT).round() as i64;
        seen.squares += (log * log * UNIT).round() as i64;
        true
    }

    /// How many times as fast as configured each host is.
    pub fn factors(&self) -> Table<HostId, f64> {
        let measured = || self.hosts.rows().iter().filter(|seen| seen.count > 0);
        let hosts = measured().count();
        if hosts < 2 {
            return Table::filled(self.hosts.len(), 1.0);
        }
        let noise = self.noise();
        let variance = |seen: &Seen| noise / seen.count as f64;
        let mut common = mean(measured().map(|seen| (seen.mean(), 1.0 / (variance(seen) + WRONG * WRONG))));
        for _ in 0..TURNS {
            let weighed = |seen: &Seen| {
                let seen_as = SeenAs::new(common - seen.mean(), variance(seen));
                (seen.mean(), seen_as.precision())
            };
            common = mean(measured().map(weighed));
        }
        let factor = |seen: &Seen| match seen.count {
            0 => 1.0,
            _ => {
                let offset = SeenAs::new(common - seen.mean(), variance(seen)).offset();
                let offset = offset.clamp(-MAX_OFFSET, MAX_OFFSET);
                // Multiples of 1/1024, so that last digits of a logarithm never decide.
                ((offset.exp() * 1024.0).round() / 1024.0).max(1.0 / 1024.0)
            }
        };
        self.hosts.rows().iter().map(factor).collect()
    }

    /// The variance of single builds around their hosts' means.
    fn noise(&self) -> f64 {
        let (mut squares, mut count) = (ASSUMED_COUNT * ASSUMED_SPREAD * ASSUMED_SPREAD, ASSUMED_COUNT);
        for seen in self.hosts.rows().iter().filter(|seen| seen.count > 1) {
            squares += (seen.squares as f64 / UNIT - seen.count as f64 * seen.mean() * seen.mean()).max(0.0);
            count += (seen.count - 1) as f64;
        }
        squares / count
    }
}

/// A host of which an offset was measured, by a mixture of two normals.
struct SeenAs {
    measured: f64,
    /// The variance of what is measured of a host that is right, and of one that is wrong.
    right: f64,
    wrong: f64,
    /// How likely it is wrong.
    is_wrong: f64,
}

impl SeenAs {
    fn new(measured: f64, variance: f64) -> Self {
        let (right, wrong) = (variance + RIGHT * RIGHT, variance + WRONG * WRONG);
        let likelier =
            (right / wrong).sqrt() * (measured * measured * 0.5 * (1.0 / right - 1.0 / wrong)).exp();
        let odds = likelier * (1.0 - PART_RIGHT) / PART_RIGHT;
        // Beyond all numbers it is certain.
        let is_wrong = if odds.is_finite() { odds / (1.0 + odds) } else { 1.0 };
        Self { measured, right, wrong, is_wrong }
    }

    /// The mean of what its offset may really be.
    fn offset(&self) -> f64 {
        let part =
            (1.0 - self.is_wrong) * RIGHT * RIGHT / self.right + self.is_wrong * WRONG * WRONG / self.wrong;
        self.measured * part
    }

    /// How much it says about what all hosts have in common.
    fn precision(&self) -> f64 {
        (1.0 - self.is_wrong) / self.right + self.is_wrong / self.wrong
    }
}

/// The mean of values with weights.
fn mean(values: impl Iterator<Item = (f64, f64)>) -> f64 {
    let (sum, weights) =
        values.fold((0.0, 0.0), |(sum, all), (value, weight)| (sum + weight * value, all + weight));
    sum / weights
}

impl Seen {
    fn mean(&self) -> f64 {
        self.sum as f64 / UNIT / self.count as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn seconds(s: f64) -> Span {
        Span::from_secs_f64(s)
    }

    #[test]
    fn nothing_measured_changes_nothing() {
        assert_eq!(Speeds::new(3).factors().rows(), [1.0, 1.0, 1.0]);
    }

    #[test]
    fn what_all_hosts_have_in_common_is_no_host_s() {
        let mut speeds = Speeds::new(2);
        for host in [0, 1] {
            for _ in 0..20 {
                speeds.observe(HostId(host), seconds(10.0), seconds(40.0));
            }
        }
        assert_eq!(speeds.factors().rows(), [1.0, 1.0]);
    }

    #[test]
    fn a_host_half_as_fast_as_configured_is_found_out() {
        let mut speeds = Speeds::new(3);
        for build in 0..20 {
            let noise = if build % 2 == 0 { 1.4 } else { 1.0 / 1.4 };
            speeds.observe(HostId(0), seconds(10.0), seconds(10.0 * noise));
            speeds.observe(HostId(1), seconds(10.0), seconds(10.0 * noise));
            speeds.observe(HostId(2), seconds(10.0), seconds(20.0 * noise));
        }
        let found = speeds.factors();
        let ratio = found[HostId(2)] / found[HostId(0)];
        assert!((0.48..0.54).contains(&ratio), "{ratio}");
    }

    #[test]
    fn of_a_small_difference_less_is_believed_than_of_a_large_one() {
        let believed = |slower: f64| {
            let mut speeds = Speeds::new(2);
            for _ in 0..3 {
                speeds.observe(HostId(0), seconds(10.0), seconds(10.0));
                speeds.observe(HostId(1), seconds(10.0), seconds(10.0 * slower));
            }
            let found = speeds.factors();
            (found[HostId(0)] / found[HostId(1)]).ln() / slower.ln()
        };
        let (little, much) = (believed(1.2), believed(6.0));
        assert!(little < 0.55 && much > 0.7, "{little} {much}");
    }

    #[test]
    fn one_build_says_little() {
        let mut speeds = Speeds::new(2);
        speeds.observe(HostId(0), seconds(10.0), seconds(10.0));
        speeds.observe(HostId(1), seconds(10.0), seconds(40.0));
        let ratio = speeds.factors()[HostId(1)] / speeds.factors()[HostId(0)];
        assert!((0.3..0.7).contains(&ratio), "{ratio}");
    }

    #[test]
    fn what_is_over_at_once_says_nothing() {
        assert!(!Speeds::new(1).observe(HostId(0), seconds(1.0), seconds(0.01)));
    }

    proptest! {
        #[test]
        fn the_order_of_builds_does_not_matter(
            builds in proptest::collection::vec((0..4u32, 1..1_000u64, 1..1_000u64), 0..40),
        ) {
            let (mut one, mut other) = (Speeds::new(4), Speeds::new(4));
            for &(host, expected, actual) in &builds {
                one.observe(HostId(host), Span::from_secs(expected), Span::from_secs(actual));
            }
            for &(host, expected, actual) in builds.iter().rev() {
                other.observe(HostId(host), Span::from_secs(expected), Span::from_secs(actual));
            }
            let (found, other) = (one.factors(), other.factors());
            prop_assert_eq!(found.rows(), other.rows());
            for (host, &factor) in found.iter() {
                let most = MAX_OFFSET.exp();
                prop_assert!((1.0 / most - 0.001..=most + 0.001).contains(&factor), "{factor}");
                let measured = builds.iter().any(|build| HostId(build.0) == host);
                prop_assert!(measured || factor == 1.0, "nothing was measured there");
            }
        }

        /// Estimates that are all off by the same factor say nothing about hosts.
        #[test]
        fn a_factor_of_all_builds_is_no_host_s(
            builds in proptest::collection::vec((0..3u32, 10..100u64, 0.7..1.4f64), 1..40), all in 1.0..4.0f64,
        ) {
            let (mut one, mut other) = (Speeds::new(3), Speeds::new(3));
            for &(host, expected, ratio) in &builds {
                let expected = Span::from_secs(expected);
                one.observe(HostId(host), expected, expected.scale(ratio));
                other.observe(HostId(host), expected, expected.scale(ratio * all));
            }
            let (one, other) = (one.factors(), other.factors());
            for (host, factor) in one.iter() {
                let other = other[host];
                prop_assert!((factor - other).abs() < 0.01 * factor, "{factor} {other}");
            }
        }
    }
}
