//! How fast the links of a run were, by its transfers.
//!
//! Large transfers that went over a host's link at the same time shared it: what each took counts as if it
//! had had the link to itself, so many times shorter as there were of them. What small ones take is round
//! trips and processes, which nobody shares. Where no transfer was large enough to tell the bandwidth, it is
//! taken to be what the scheduler believed.

use std::collections::BTreeMap;

use crate::base::{Span, Table, Time};
use crate::cost::{LinkSample, Links};
use crate::fleet::{Host, HostId, LinkSpeed};
use crate::run::{Entry, Event, Order, Source, Step, TransferId};

/// A transfer of less than this is over after the latency, and hardly later.
const SMALL: u64 = 64 << 10;

/// A transfer under way.
struct Moving {
    since: Time,
    /// The host whose link it goes over, beside this machine's.
    over: HostId,
    /// Seconds that it would have taken so far with the link to itself.
    alone: f64,
}

/// The links over which something was moved, as fast as it was.
pub(super) fn measured(hosts: &Table<HostId, Host>, entries: &[Entry]) -> Vec<(HostId, LinkSpeed)> {
    let samples = samples(hosts, entries);
    let mut links = Links::default();
    samples.iter().for_each(|sample| links.learn(sample));
    let link = |(id, host): (HostId, &Host)| {
        if id == HostId::HOME {
            return None;
        }
        match links.of(&host.name) {
            Some((bandwidth, latency)) => Some((id, LinkSpeed { bandwidth, latency })),
            None => Some((id, LinkSpeed { latency: latency(host, &samples)?, ..host.link })),
        }
    };
    hosts.iter().filter_map(link).collect()
}

/// What transfers to or from a host take beyond their bytes at the bandwidth that it is thought to have:
/// the median.
fn latency(host: &Host, samples: &[LinkSample]) -> Option<Span> {
    let alone = LinkSpeed { latency: Span::ZERO, ..host.link };
    let own = samples.iter().filter(|sample| sample.host == host.name);
    let mut beyond: Vec<Span> = own.map(|s| s.took.saturating_sub(alone.time(s.bytes))).collect();
    beyond.sort_unstable();
    beyond.get(beyond.len() / 2).copied()
}

/// The transfers between this machine and others that came to an end. What goes from one builder to
/// another takes two links, and does not say which of them was slow.
pub(super) fn samples(hosts: &Table<HostId, Host>, entries: &[Entry]) -> Vec<LinkSample> {
    let mut moving: BTreeMap<TransferId, Moving> = BTreeMap::new();
    let mut samples = Vec::new();
    let mut last = Time::ZERO;
    for Entry { at, what } in entries {
        let passed = at.since(last).as_secs_f64();
        last = last.max(*at);
        let mut sharing: BTreeMap<HostId, u32> = BTreeMap::new();
        moving.values().for_each(|other| *sharing.entry(other.over).or_default() += 1);
        moving.values_mut().for_each(|it| it.alone += passed / f64::from(sharing[&it.over]));
        match what {
            Step::Order(Order::Stage { transfer, from: Source::Host(from), to, .. }) => {
                let over = match (*from, *to) {
                    (HostId::HOME, other) | (other, HostId::HOME) => other,
                    _ => continue,
                };
                moving.insert(*transfer, Moving { since: *at, over, alone: 0.0 });
            }
            Step::Event(Event::Staged { transfer, bytes, .. }) => {
                if let Some(done) = moving.remove(transfer).filter(|_| *bytes > 0) {
                    let host = hosts[done.over].name.clone();
                    let whole = at.since(done.since);
                    let took = if *bytes < SMALL { whole } else { Span::from_secs_f64(done.alone) };
                    samples.push(LinkSample { host, bytes: *bytes, took });
                }
            }
            Step::Event(Event::StageFailed { transfer, .. }) => {
                moving.remove(transfer);
            }
            Step::Event(Event::HostLost { host, .. } | Event::HostRefused { host, .. }) => {
                moving.retain(|_, it| it.over != *host);
            }
            _ => {}
        }
    }
    samples
}
