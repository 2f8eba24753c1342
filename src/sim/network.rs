//! Links shared by flows, max-min fairly: no flow could be faster without making one slower that is not
//! faster than it. That is about what TCP does to long transfers that share links.
//!
//! Rates follow from progressive filling (Bertsekas and Gallager, Data Networks, 6.5.2): all flows grow
//! alike until a link is full; its flows stay as they are, the others go on. When a flow begins or ends,
//! only those are computed anew that share links with it, directly or through others.

use slab::Slab;

use super::progress::{Forecast, Progress, Stamp};
use crate::base::Time;

/// The index of a link.
pub(super) type Link = u32;

/// The links of a flow: four at most, each named once.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Route {
    links: [Link; 4],
    len: usize,
}

impl Route {
    pub fn links(&self) -> &[Link] {
        &self.links[..self.len]
    }
}

impl FromIterator<Link> for Route {
    fn from_iter<It: IntoIterator<Item = Link>>(links: It) -> Self {
        let mut route = Self::default();
        for link in links {
            route.links[route.len] = link;
            route.len += 1;
        }
        route
    }
}

#[derive(Clone, Debug)]
struct LinkState {
    /// Bytes per microsecond.
    capacity: f64,
    flows: Vec<u32>,
    // What follows is of use only within one computation of rates.
    seen: u64,
    left: f64,
    unfixed: u32,
    /// What each of its flows that are still to grow could have; `None` where that has to be computed.
    offer: Option<f64>,
}

#[derive(Clone, Debug)]
struct Flow {
    route: Route,
    bytes: Progress,
    stamp: Stamp,
    seen: u64,
    fixed: Option<f64>,
}

/// All links and flows.
#[derive(Clone, Debug)]
pub(super) struct Network {
    links: Vec<LinkState>,
    flows: Slab<Flow>,
    stamp: Stamp,
    /// Numbers the computations.
    round: u64,
    /// What the present computation is about.
    concerned: Concerned,
}

/// The links and flows that a computation of rates is about, in vectors that are used again.
#[derive(Clone, Debug, Default)]
struct Concerned {
    links: Vec<Link>,
    flows: Vec<u32>,
}

impl Network {
    /// Links with their capacities in bytes per microsecond, which may be infinite.
    pub fn new(capacities: impl IntoIterator<Item = f64>) -> Self {
        let link =
            |capacity| LinkState { capacity, flows: Vec::new(), seen: 0, left: 0.0, unfixed: 0, offer: None };
        Self {
            links: capacities.into_iter().map(link).collect(),
            flows: Slab::new(),
            stamp: Stamp::FIRST,
            round: 0,
            concerned: Concerned::default(),
        }
    }

    /// Begins a flow over `links`, four at most, each named once. Returns it; `out` gets the new ends of all
    /// flows whose rate changes, this one's included.
    pub fn begin(&mut self, at: Time, links: &[Link], bytes: u64, out: &mut Vec<Forecast>) -> u32 {
        let is_limited = |link: &Link| self.links[*link as usize].capacity.is_finite();
        let route: Route = links.iter().copied().filter(is_limited).collect();
        let (bytes, stamp) = (Progress::new(at, bytes as f64), self.stamp.next());
        let index = self.flows.insert(Flow { route, bytes, stamp, seen: 0, fixed: None });
        let index = u32::try_from(index).expect("there are fewer than 2^32 flows");
        for &link in route.links() {
            self.links[link as usize].flows.push(index);
        }
        if route.links().iter().all(|&link| self.links[link as usize].flows.len() == 1) {
            // Nobody to share with.
            let capacities = route.links().iter().map(|&link| self.links[link as usize].capacity);
            let least = capacities.fold(f64::INFINITY, f64::min);
            self.set_rate(at, index, least, out);
        } else {
            self.share(at, route.links(), out);
        }
        index
    }

    /// Ends a flow; `out` gets the new ends of the flows whose rate changes.
    pub fn end(&mut self, at: Time, index: u32, out: &mut Vec<Forecast>) {
        let Some(flow) = self.flows.try_remove(index as usize) else { return };
        let mut is_shared = false;
        for &link in flow.route.links() {
            let flows = &mut self.links[link as usize].flows;
            flows.retain(|&other| other != index);
            is_shared |= !flows.is_empty();
        }
        if is_shared {
            self.share(at, flow.route.links(), out);
        }
    }

    /// Changes a finite capacity; `out` gets the new ends of the flows whose rate changes.
    pub fn set_capacity(&mut self, at: Time, link: Link, capacity: f64, out: &mut Vec<Forecast>) {
        self.links[link as usize].capacity = capacity;
        self.share(at, &[link], out);
    }

    /// Whether a forecast of the end of a flow still stands.
    pub fn stands(&self, index: u32, stamp: Stamp) -> bool {
        self.flows.get(index as usize).is_some_and(|flow| flow.stamp == stamp)
    }

    /// Bytes per microsecond.
    #[cfg(test)]
    fn rate(&self, index: u32) -> Option<f64> {
        self.flows.get(index as usize).map(|flow| flow.bytes.rate())
    }

    /// Computes the rates of all flows that share links with `links`, directly or through others.
    fn share(&mut self, at: Time, links: &[Link], out: &mut Vec<Forecast>) {
        let mut concerned = std::mem::take(&mut self.concerned);
        self.find_concerned(links, &mut concerned);
        while let Some((share, link)) = self.tightest(&mut concerned.links) {
            self.fill(link, share);
        }
        for flow in concerned.flows.drain(..) {
            let rate = self.flows.get_mut(flow as usize).and_then(|flow| flow.fixed.take());
            self.set_rate(at, flow, rate.unwrap_or(0.0), out);
        }
        self.concerned = concerned;
    }

    /// The flows that share links with `links`, directly or through others, in their order, and all their links,
    /// nothing given out yet.
    fn find_concerned(&mut self, links: &[Link], found: &mut Concerned) {
        self.round += 1;
        found.links.clear();
        self.meet(links, &mut found.links);
        let mut next = 0;
        while let Some(&link) = found.links.get(next) {
            next += 1;
            for i in 0..self.links[link as usize].flows.len() {
                let index = self.links[link as usize].flows[i];
                let Some(flow) = self.flows.get_mut(index as usize) else { continue };
                if std::mem::replace(&mut flow.seen, self.round) != self.round {
                    found.flows.push(index);
                    let route = flow.route;
                    self.meet(route.links(), &mut found.links);
                }
            }
        }
        found.flows.sort_unstable();
    }

    /// Adds those links that are met for the first time.
    fn meet(&mut self, links: &[Link], met: &mut Vec<Link>) {
        for &link in links {
            let state = &mut self.links[link as usize];
            if std::mem::replace(&mut state.seen, self.round) != self.round {
                (state.left, state.unfixed) = (state.capacity, state.flows.len() as u32);
                state.offer = None;
                met.push(link);
            }
        }
    }

    /// The link that is full first when all flows grow alike, and the share of each of its flows. Of several, the
    /// first. Takes out links without flows to grow.
    ///
    /// Links are few, and each is looked at at most as often as there are links: no heap is as fast.
    fn tightest(&mut self, links: &mut Vec<Link>) -> Option<(f64, Link)> {
        let mut least: Option<(f64, Link)> = None;
        let mut i = 0;
        while let Some(&link) = links.get(i) {
            let state = &mut self.links[link as usize];
            if state.unfixed == 0 {
                links.swap_remove(i);
                continue;
            }
            let offer = *state.offer.get_or_insert_with(|| state.left / f64::from(state.unfixed));
            if least.is_none_or(|(least, first)| offer < least || offer == least && link < first) {
                least = Some((offer, link));
            }
            i += 1;
        }
        least
    }

    /// Fixes all flows of a full link at their share.
    fn fill(&mut self, link: Link, share: f64) {
        for i in 0..self.links[link as usize].flows.len() {
            let index = self.links[link as usize].flows[i];
            let Some(flow) = self.flows.get_mut(index as usize) else { continue };
            if flow.fixed.is_none() {
                flow.fixed = Some(share);
                for &other in flow.route.links() {
                    let other = &mut self.links[other as usize];
                    other.left = (other.left - share).max(0.0);
                    other.unfixed -= 1;
                    other.offer = None;
                }
            }
        }
    }

    fn set_rate(&mut self, at: Time, index: u32, rate: f64, out: &mut Vec<Forecast>) {
        let Some(flow) = self.flows.get_mut(index as usize) else { return };
        if flow.bytes.set_rate(at, rate) {
            flow.stamp = self.stamp.next();
            out.extend(flow.bytes.end().map(|end| Forecast { index, stamp: flow.stamp, end }));
        }
    }
}

#[cfg(test)]
mod tests;
