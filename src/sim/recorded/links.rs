//! How fast the links of a run were, by its transfers.
//!
//! Transfers that went over a host's link at the same time shared it: what each took counts as if it had
//! had the link to itself, so many times shorter as there were of them, but for what the quickest took.

use std::collections::BTreeMap;

use crate::base::{Span, Table, Time};
use crate::cost::{LinkSample, Links};
use crate::fleet::{Host, HostId, LinkSpeed};
use crate::run::{Entry, Event, Order, Source, Step, TransferId};

/// A transfer under way.
struct Moving {
    /// The host whose link it goes over, beside this machine's.
    over: HostId,
    /// Seconds that it would have taken so far with the link to itself.
    alone: f64,
}

/// The links over which something was moved, as fast as it was.
pub(super) fn measured(hosts: &Table<HostId, Host>, entries: &[Entry]) -> Vec<(HostId, LinkSpeed)> {
    let mut links = Links::default();
    samples(hosts, entries).iter().for_each(|sample| links.learn(sample));
    let link = |(id, host): (HostId, &Host)| {
        let (bandwidth, latency) = links.of(&host.name).filter(|_| id != HostId::HOME)?;
        Some((id, LinkSpeed { bandwidth, latency }))
    };
    hosts.iter().filter_map(link).collect()
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
                moving.insert(*transfer, Moving { over, alone: 0.0 });
            }
            Step::Event(Event::Staged { transfer, bytes, .. }) => {
                if let Some(done) = moving.remove(transfer).filter(|_| *bytes > 0) {
                    let host = hosts[done.over].name.clone();
                    samples.push(LinkSample { host, bytes: *bytes, took: Span::from_secs_f64(done.alone) });
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
