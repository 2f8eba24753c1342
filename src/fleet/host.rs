//! One host as the scheduler sees it, and which derivations it can build.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::base::{Span, typed_id};

typed_id!(
    /// A host of this run; [`HostId::HOME`] is always this machine.
    HostId, "h"
);

impl HostId {
    /// This machine: where evaluation happened and where the results go, even when it builds nothing.
    pub const HOME: HostId = HostId(0);
}

/// A machine that jobs can run on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Host {
    /// `local`, or as much of what the machines file writes as tells it from the others.
    pub name: String,
    /// The Nix systems it builds for, its own first.
    pub systems: Vec<String>,
    /// `system-features` it offers, mandatory ones included.
    pub features: Vec<String>,
    /// Features of which a derivation must ask for every one, or stay away.
    pub mandatory: Vec<String>,
    /// Jobs at a time; 0 means that it builds nothing in this run.
    pub slots: u32,
    /// Processors, 0 where unknown.
    pub cores: u32,
    /// Work done per second, relative to a host of speed 1 (Nix's speed factor); above 0.
    pub speed: f64,
    /// Speed relative to [`Host::speed`] for systems that it only emulates, or that it is known to build
    /// for at another speed.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub emulated: BTreeMap<String, f64>,
    /// Whether it fetches from its own substituters what they have (`builders-use-substitutes`).
    pub substitutes: bool,
    /// The way between this machine and the host; both directions alike.
    pub link: LinkSpeed,
}

/// A network link.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LinkSpeed {
    /// Bytes per second; 0 stands for a link that costs nothing.
    pub bandwidth: u64,
    /// What a transfer costs however small it is.
    pub latency: Span,
}

impl LinkSpeed {
    /// The link of this machine to itself.
    pub const FREE: LinkSpeed = LinkSpeed { bandwidth: 0, latency: Span::ZERO };

    /// How long `bytes` take; nothing for no bytes.
    pub fn time(&self, bytes: u64) -> Span {
        if self.bandwidth == 0 || bytes == 0 {
            return Span::ZERO;
        }
        self.latency + Span::from_secs_f64(bytes as f64 / self.bandwidth as f64)
    }

    /// What orders links, the fastest first: by bandwidth, then by latency.
    pub fn slowness(self) -> (Reverse<u64>, Span) {
        // One that costs nothing has bandwidth 0.
        let bandwidth = if self.bandwidth == 0 { u64::MAX } else { self.bandwidth };
        (Reverse(bandwidth), self.latency)
    }
}

/// Why a host cannot build a derivation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lack {
    /// It does not build for this system.
    System(String),
    /// It does not offer this required feature.
    Feature(String),
    /// It takes only derivations that require this feature.
    Mandatory(String),
    /// It has no slots in this run.
    Slots,
    /// The user pinned the derivation to another host.
    Pinned(String),
}

impl std::fmt::Display for Lack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Lack::System(s) => write!(f, "does not build for {s}"),
            Lack::Feature(x) => write!(f, "lacks the feature '{x}'"),
            Lack::Mandatory(x) => write!(f, "takes only derivations that require '{x}'"),
            Lack::Slots => write!(f, "builds nothing in this run (0 slots)"),
            Lack::Pinned(host) => write!(f, "is not {host}, to which the derivation is pinned"),
        }
    }
}

impl Host {
    /// Work done per second on a derivation for `system`, relative to a host of speed 1.
    pub fn speed_for(&self, system: &str) -> f64 {
        self.speed * self.emulated.get(system).copied().unwrap_or(1.0)
    }

    /// Sets [`Self::speed_for`] one system.
    pub(super) fn set_speed_for(&mut self, system: &str, speed: f64) {
        self.emulated.insert(system.to_owned(), speed / self.speed);
    }

    /// Cores to give out: as many as slots where the number is not known.
    pub fn lanes(&self) -> u32 {
        if self.cores == 0 { self.slots } else { self.cores }
    }

    /// Takes it to have as many cores as slots where nobody was asked how many it has.
    pub fn guess_cores(&mut self) {
        self.cores = self.lanes();
    }

    /// What keeps this host from building a derivation for `system` that requires `features`;
    /// `None` if it can (the rule of Nix's machines.cc: `builtin` runs anywhere).
    pub fn lacks(&self, system: &str, features: &[String]) -> Option<Lack> {
        if self.slots == 0 {
            return Some(Lack::Slots);
        }
        if system != "builtin" && !self.systems.iter().any(|s| s == system) {
            return Some(Lack::System(system.to_owned()));
        }
        if let Some(x) = features.iter().find(|x| !self.features.contains(x)) {
            return Some(Lack::Feature(x.clone()));
        }
        self.mandatory.iter().find(|x| !features.contains(x)).map(|x| Lack::Mandatory(x.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_ordered_by_bandwidth_then_by_latency_and_the_free_one_comes_first() {
        let link = |bandwidth, ms| LinkSpeed { bandwidth, latency: Span::from_millis(ms) };
        let ordered = [LinkSpeed::FREE, link(200, 9), link(100, 1), link(100, 2), link(50, 0)];
        assert!(ordered.is_sorted_by(|one, other| one.slowness() < other.slowness()));
    }
}
