//! The ways between hosts, as links of the network.
//!
//! Each host has a link in and a link out. Bytes from one builder to another pass through this machine,
//! so they take four; from a substituter they come in over the host's own link only.

use super::network::{Link, Route};
use crate::base::{Span, Table};
use crate::fleet::{HostId, LinkSpeed};

/// How a host is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wire {
    /// Bytes per second to the host; 0 stands for a link that costs nothing.
    pub down: u64,
    /// Bytes per second from the host; 0 stands for a link that costs nothing.
    pub up: u64,
    /// What a transfer takes however small it is.
    pub latency: Span,
}

impl From<LinkSpeed> for Wire {
    fn from(link: LinkSpeed) -> Wire {
        Wire { down: link.bandwidth, up: link.bandwidth, latency: link.latency }
    }
}

/// The wires of all hosts.
#[derive(Clone, Debug)]
pub(super) struct Wires(Table<HostId, Wire>);

/// Bytes per microsecond.
fn capacity(bytes_per_second: u64) -> f64 {
    if bytes_per_second == 0 { f64::INFINITY } else { bytes_per_second as f64 / 1e6 }
}

fn down(host: HostId) -> Link {
    2 * host.0
}

fn up(host: HostId) -> Link {
    2 * host.0 + 1
}

impl Wires {
    pub fn new(wires: impl Iterator<Item = Wire>) -> Self {
        Self(wires.collect())
    }

    pub fn replace(&mut self, wires: &Table<HostId, Wire>) {
        for (host, wire) in wires.iter().take(self.0.len()) {
            self.0[host] = *wire;
        }
    }

    /// Bytes per microsecond of all links, in and out of each host.
    pub fn capacities(&self) -> impl Iterator<Item = f64> + '_ {
        self.0.rows().iter().flat_map(|wire| [capacity(wire.down), capacity(wire.up)])
    }

    /// What a transfer takes before its first byte arrives.
    pub fn latency(&self, from: Option<HostId>, to: HostId) -> Span {
        from.filter(|&from| from != to).map_or(Span::ZERO, |from| self.0[from].latency) + self.0[to].latency
    }

    /// The links that bytes take; `from` is `None` for a substituter.
    pub fn route(&self, from: Option<HostId>, to: HostId) -> Route {
        match from {
            Some(from) if from == to => Route::default(),
            Some(from) if from == HostId::HOME || to == HostId::HOME => {
                [up(from), down(to)].into_iter().collect()
            }
            Some(from) => [up(from), down(HostId::HOME), up(HostId::HOME), down(to)].into_iter().collect(),
            None => [down(to)].into_iter().collect(),
        }
    }

    /// The links of a host that cost something, with their capacity at this part of the usual.
    pub fn slowed(&self, host: HostId, part: f64) -> impl Iterator<Item = (Link, f64)> + use<> {
        let wire = self.0[host];
        [(down(host), capacity(wire.down) * part), (up(host), capacity(wire.up) * part)]
            .into_iter()
            .filter(|(_, capacity)| capacity.is_finite())
    }
}
