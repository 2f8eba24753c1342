//! Links shared by flows, max-min fairly: no flow could be faster without making one slower that is not
//! faster than it. That is about what TCP does to long transfers that share links.
//!
//! Rates follow from progressive filling (Bertsekas and Gallager, Data Networks, 6.5.2): all flows grow
//! alike until a link is full; its flows stay as they are, the others go on. When a flow begins or ends,
//! only those are computed anew that share links with it, directly or through others.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::progress::{Forecast, Progress, Stamp};
use crate::base::Time;

/// The index of a link.
pub(super) type Link = usize;

#[derive(Clone, Debug)]
struct LinkState {
    /// Bytes per microsecond.
    capacity: f64,
    flows: Vec<usize>,
    // What follows is of use only within one computation of rates.
    seen: u64,
    left: f64,
    unfixed: usize,
    version: u32,
}

#[derive(Clone, Debug)]
struct Flow {
    links: Vec<Link>,
    bytes: Progress,
    stamp: Stamp,
    seen: u64,
    fixed: Option<f64>,
}

/// All links and flows.
#[derive(Clone, Debug)]
pub(super) struct Network {
    links: Vec<LinkState>,
    flows: Vec<Option<Flow>>,
    vacant: Vec<usize>,
    stamp: Stamp,
    /// Numbers the computations.
    round: u64,
}

impl Network {
    /// Links with their capacities in bytes per microsecond, which may be infinite.
    pub fn new(capacities: impl IntoIterator<Item = f64>) -> Self {
        let link =
            |capacity| LinkState { capacity, flows: Vec::new(), seen: 0, left: 0.0, unfixed: 0, version: 0 };
        Self {
            links: capacities.into_iter().map(link).collect(),
            flows: Vec::new(),
            vacant: Vec::new(),
            stamp: Stamp::FIRST,
            round: 0,
        }
    }

    /// Begins a flow over `links`, each named once. Returns it; `out` gets the new ends of all flows
    /// whose rate changes, this one's included.
    pub fn begin(&mut self, at: Time, links: &[Link], bytes: u64, out: &mut Vec<Forecast>) -> usize {
        let links: Vec<Link> =
            links.iter().copied().filter(|&link| self.links[link].capacity.is_finite()).collect();
        let index = self.vacant.pop().unwrap_or(self.flows.len());
        if index == self.flows.len() {
            self.flows.push(None);
        }
        for &link in &links {
            self.links[link].flows.push(index);
        }
        let (bytes, stamp) = (Progress::new(at, bytes as f64), self.stamp.next());
        self.flows[index] = Some(Flow { links: links.clone(), bytes, stamp, seen: 0, fixed: None });
        if links.iter().all(|&link| self.links[link].flows.len() == 1) {
            // Nobody to share with.
            let least = links.iter().map(|&link| self.links[link].capacity).fold(f64::INFINITY, f64::min);
            self.set_rate(at, index, least, out);
        } else {
            self.share(at, &links, out);
        }
        index
    }

    /// Ends a flow; `out` gets the new ends of the flows whose rate changes.
    pub fn end(&mut self, at: Time, index: usize, out: &mut Vec<Forecast>) {
        let Some(flow) = self.flows[index].take() else { return };
        self.vacant.push(index);
        for &link in &flow.links {
            self.links[link].flows.retain(|&other| other != index);
        }
        if flow.links.iter().any(|&link| !self.links[link].flows.is_empty()) {
            self.share(at, &flow.links, out);
        }
    }

    /// Changes a finite capacity; `out` gets the new ends of the flows whose rate changes.
    pub fn set_capacity(&mut self, at: Time, link: Link, capacity: f64, out: &mut Vec<Forecast>) {
        self.links[link].capacity = capacity;
        self.share(at, &[link], out);
    }

    /// Whether a forecast of the end of a flow still stands.
    pub fn stands(&self, index: usize, stamp: Stamp) -> bool {
        self.flows[index].as_ref().is_some_and(|flow| flow.stamp == stamp)
    }

    /// Bytes per microsecond.
    #[cfg(test)]
    fn rate(&self, index: usize) -> Option<f64> {
        self.flows[index].as_ref().map(|flow| flow.bytes.rate())
    }

    /// Computes the rates of all flows that share links with `links`, directly or through others.
    fn share(&mut self, at: Time, links: &[Link], out: &mut Vec<Forecast>) {
        let (links, flows) = self.together(links);
        let mut queue = BinaryHeap::new();
        for &link in &links {
            let state = &mut self.links[link];
            (state.left, state.unfixed) = (state.capacity, state.flows.len());
            queue.extend(state.offer(link));
        }
        let mut touched = Vec::new();
        while let Some(Reverse((share, link, version))) = queue.pop() {
            if self.links[link].version != version || self.links[link].unfixed == 0 {
                continue;
            }
            self.fill(link, f64::from_bits(share), &mut touched);
            touched.sort_unstable();
            touched.dedup();
            for other in touched.drain(..) {
                self.links[other].version += 1;
                queue.extend(self.links[other].offer(other));
            }
        }
        for flow in flows {
            let rate = self.flows[flow].as_mut().and_then(|flow| flow.fixed.take());
            self.set_rate(at, flow, rate.unwrap_or(0.0), out);
        }
    }

    /// The flows that share links with `links`, directly or through others, and all their links.
    fn together(&mut self, links: &[Link]) -> (Vec<Link>, Vec<usize>) {
        self.round += 1;
        let (mut known, mut flows) = (Vec::new(), Vec::new());
        let mut open = links.to_vec();
        while let Some(link) = open.pop() {
            if std::mem::replace(&mut self.links[link].seen, self.round) == self.round {
                continue;
            }
            known.push(link);
            for &index in &self.links[link].flows {
                let Some(flow) = &mut self.flows[index] else { continue };
                if std::mem::replace(&mut flow.seen, self.round) != self.round {
                    flows.push(index);
                    open.extend_from_slice(&flow.links);
                }
            }
        }
        flows.sort_unstable();
        (known, flows)
    }

    /// Fixes all flows of a full link at their share.
    fn fill(&mut self, link: Link, share: f64, touched: &mut Vec<Link>) {
        for i in 0..self.links[link].flows.len() {
            let Some(flow) = &mut self.flows[self.links[link].flows[i]] else { continue };
            if flow.fixed.is_none() {
                flow.fixed = Some(share);
                for &other in &flow.links {
                    let other_link = &mut self.links[other];
                    other_link.left = (other_link.left - share).max(0.0);
                    other_link.unfixed -= 1;
                }
                touched.extend_from_slice(&flow.links);
            }
        }
    }

    fn set_rate(&mut self, at: Time, index: usize, rate: f64, out: &mut Vec<Forecast>) {
        let Some(flow) = &mut self.flows[index] else { return };
        if flow.bytes.set_rate(at, rate) {
            flow.stamp = self.stamp.next();
            out.extend(flow.bytes.end().map(|end| Forecast { index, stamp: flow.stamp, end }));
        }
    }
}

impl LinkState {
    /// What each of its flows that are still to grow could have; as bits, which for numbers that are
    /// not negative have the same order.
    fn offer(&self, link: Link) -> Option<Reverse<(u64, Link, u32)>> {
        (self.unfixed > 0).then(|| Reverse(((self.left / self.unfixed as f64).to_bits(), link, self.version)))
    }
}

#[cfg(test)]
mod tests;
