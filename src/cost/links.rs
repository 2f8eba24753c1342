//! How fast the ways to hosts are, from what was moved over them.
//!
//! A transfer takes the link's latency and then its bytes over the bandwidth. Small transfers show the
//! latency and large ones the bandwidth; of each the median is taken, as one that had to share the link or
//! to wait for a disk is slow without the link being so. Only the newest
//! transfers count.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use crate::base::Span;

/// A finished transfer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkSample {
    /// The host at the other end.
    pub host: String,
    /// What was moved, in bytes.
    pub bytes: u64,
    /// How long that took.
    pub took: Span,
}

/// Transfers of less than this take the latency, and hardly more.
const SMALL: u64 = 64 << 10;
/// Transfers of this and more take the time of their bytes.
const LARGE: u64 = 1 << 20;
/// How many of each count.
const WINDOW: usize = 50;
/// The range of bandwidths in bytes per second: a modem, and more than memory.
const BANDWIDTHS: (f64, f64) = (1e3, 1e12);
/// So much of a large transfer may be latency.
const MOST_LATENCY: f64 = 0.9;

/// Bandwidth and latency of links, learned from transfers.
#[derive(Clone, Debug, Default)]
pub struct Links {
    hosts: BTreeMap<String, Seen>,
}

#[derive(Clone, Debug, Default)]
struct Seen {
    small: VecDeque<Span>,
    large: VecDeque<(u64, Span)>,
}

impl Links {
    /// Takes in a transfer. Those of medium size say something about both, and so nothing about either.
    pub fn learn(&mut self, sample: &LinkSample) {
        let seen = self.hosts.entry(sample.host.clone()).or_default();
        if sample.bytes < SMALL {
            push(&mut seen.small, sample.took);
        } else if sample.bytes >= LARGE {
            push(&mut seen.large, (sample.bytes, sample.took));
        }
    }

    /// Bandwidth in bytes per second and the time that a transfer takes however small it is; `None` before
    /// a large transfer has been seen.
    pub fn of(&self, host: &str) -> Option<(u64, Span)> {
        let seen = self.hosts.get(host)?;
        let mut small: Vec<f64> = seen.small.iter().map(|took| took.as_secs_f64()).collect();
        let known = median(&mut small);
        let with = |latency: f64| {
            let one = |&(bytes, took): &(u64, Span)| {
                let took = took.as_secs_f64().max(1e-6);
                let rate = bytes as f64 / (took - latency.min(MOST_LATENCY * took));
                rate.clamp(BANDWIDTHS.0, BANDWIDTHS.1)
            };
            median(&mut seen.large.iter().map(one).collect::<Vec<f64>>())
        };
        let latency = match known {
            Some(latency) => latency,
            None => {
                // What the quickest transfer took beyond its bytes at the rate of all.
                let rate = with(0.0)?;
                let beyond = |&(bytes, took): &(u64, Span)| took.as_secs_f64() - bytes as f64 / rate;
                seen.large.iter().map(beyond).fold(f64::INFINITY, f64::min).max(0.0)
            }
        };
        let rate = with(latency)?;
        Some((rate as u64, Span::from_secs_f64(latency)))
    }
}

fn push<T>(newest: &mut VecDeque<T>, next: T) {
    if newest.len() == WINDOW {
        newest.pop_front();
    }
    newest.push_back(next);
}

fn median(values: &mut [f64]) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Random;
    use proptest::prelude::*;

    fn moved(bytes: u64, took: f64) -> LinkSample {
        LinkSample { host: "a".into(), bytes, took: Span::from_secs_f64(took) }
    }

    /// Transfers over a link of 20 MB/s and 50 ms, of which every fifth has to wait.
    fn transfers(small: bool) -> Vec<LinkSample> {
        let mut random = Random::new(4);
        let mut one = |i: u64| {
            let bytes = if small && i.is_multiple_of(2) { 4_096 } else { 1 << (20 + i % 6) };
            let took = (0.05 + bytes as f64 / 20e6) * random.lognormal(0.05);
            moved(bytes, if i % 5 == 4 { took * 4.0 } else { took })
        };
        (0..60).map(&mut one).collect()
    }

    #[test]
    fn bandwidth_and_latency_are_told_apart() {
        let mut links = Links::default();
        transfers(true).iter().for_each(|transfer| links.learn(transfer));
        let (bandwidth, latency) = links.of("a").expect("seen");
        assert!((17_000_000..22_000_000).contains(&bandwidth), "{bandwidth}");
        assert!((0.045..0.06).contains(&latency.as_secs_f64()), "{latency:?}");
        assert_eq!(links.of("b"), None);
    }

    #[test]
    fn without_small_transfers_the_latency_is_a_guess_and_without_large_ones_there_is_none() {
        let mut links = Links::default();
        links.learn(&moved(100, 0.05));
        links.learn(&moved(200_000, 0.06));
        assert_eq!(links.of("a"), None);
        let mut links = Links::default();
        transfers(false).iter().for_each(|transfer| links.learn(transfer));
        let (bandwidth, latency) = links.of("a").expect("seen");
        assert!((12_000_000..22_000_000).contains(&bandwidth), "{bandwidth}");
        assert!(latency < Span::from_millis(60), "{latency:?}");
    }

    #[test]
    fn a_link_that_changed_is_learned_anew() {
        let mut links = Links::default();
        (0..200).for_each(|_| links.learn(&moved(100 << 20, 1.0)));
        (0..50).for_each(|_| links.learn(&moved(100 << 20, 10.0)));
        assert!(links.of("a").expect("seen").0 < 11 << 20);
    }

    proptest! {
        #[test]
        fn any_transfers_give_a_link_in_any_order(
            seen in proptest::collection::vec((any::<u64>(), any::<u64>()), 0..40),
        ) {
            let (mut one, mut other) = (Links::default(), Links::default());
            let sample = |&(bytes, took): &(u64, u64)| LinkSample { host: "a".into(), bytes, took: Span(took) };
            seen.iter().for_each(|transfer| one.learn(&sample(transfer)));
            seen.iter().rev().for_each(|transfer| other.learn(&sample(transfer)));
            prop_assert_eq!(one.of("a"), other.of("a"));
            let large = seen.iter().any(|(bytes, _)| *bytes >= LARGE);
            prop_assert_eq!(one.of("a").is_some(), large);
            prop_assert!(one.of("a").is_none_or(|(bandwidth, _)| bandwidth >= 1_000));
        }
    }
}
