//! How fast the ways to hosts are, from what was moved over them.

use std::collections::BTreeMap;

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

/// Bandwidth and latency of links, learned from transfers.
#[derive(Clone, Debug, Default)]
pub struct Links {
    hosts: BTreeMap<String, Vec<(u64, Span)>>,
}

impl Links {
    /// Takes in a transfer.
    pub fn learn(&mut self, sample: &LinkSample) {
        self.hosts.entry(sample.host.clone()).or_default().push((sample.bytes, sample.took));
    }

    /// Bandwidth in bytes per second and the time that a transfer takes however small it is.
    pub fn of(&self, host: &str) -> Option<(u64, Span)> {
        let seen = self.hosts.get(host)?;
        let latency = seen.iter().map(|(_, took)| *took).min()?;
        let (bytes, took) = *seen.iter().max()?;
        let took = took.saturating_sub(latency).max(Span::from_millis(1));
        Some((((bytes as f64 / took.as_secs_f64()) as u64).max(1), latency))
    }
}
