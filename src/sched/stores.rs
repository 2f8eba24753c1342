//! Who holds which path, and what is on its way where.
//!
//! Every store is closed under references, so a host that holds a path holds its closure too. A lost
//! host keeps what it has: it counts again when it is back.

use std::collections::BTreeMap;

use crate::base::{Id, Span, Table};
use crate::fleet::{Host, HostId, LinkSpeed};
use crate::graph::{Origin, PathId, Workload};
use crate::run::{Made, Source, TransferId};

/// So many places to get a path from are looked at: one of them is good enough.
const ENOUGH: usize = 8;

/// A transfer under way.
#[derive(Clone, Debug)]
pub(super) struct Transfer {
    pub from: Source,
    pub to: HostId,
    pub paths: Vec<PathId>,
}

/// The run's paths over the run's hosts.
#[derive(Clone, Debug)]
pub(super) struct Stores {
    /// Per host a bit per path.
    held: Table<HostId, Vec<u64>>,
    /// Per path who has it, ascending: the same as `held`, the other way round.
    holders: Table<PathId, Vec<HostId>>,
    /// Where a path came, went or was sent since [`Stores::take_touched`].
    touched: Vec<(HostId, PathId)>,
    /// Per host the paths on their way to it.
    arriving: Table<HostId, BTreeMap<PathId, TransferId>>,
    reachable: Table<HostId, bool>,
    transfers: BTreeMap<TransferId, Transfer>,
    next_transfer: u32,
    size: Table<PathId, u64>,
    refs: Table<PathId, Vec<PathId>>,
    substitutable: Table<PathId, bool>,
    /// The paths that [`Stores::transfer_time`] has met, by its last call that did, and room for a list of them.
    met: Table<PathId, u64>,
    calls: u64,
    lacking: Vec<PathId>,
}

impl Stores {
    /// What is known when the run begins: this machine holds what it holds.
    pub fn new(work: &Workload, hosts: usize) -> Self {
        let words = work.paths.len().div_ceil(64);
        let mut stores = Self {
            held: Table::filled(hosts, vec![0; words]),
            holders: Table::filled(work.paths.len(), Vec::new()),
            touched: Vec::new(),
            arriving: Table::filled(hosts, BTreeMap::new()),
            reachable: Table::filled(hosts, false),
            transfers: BTreeMap::new(),
            next_transfer: 0,
            size: work.paths.rows().iter().map(|p| p.size).collect(),
            refs: work.paths.rows().iter().map(|p| p.refs.clone()).collect(),
            substitutable: work.paths.rows().iter().map(|p| p.origin == Origin::Substituter).collect(),
            met: Table::filled(work.paths.len(), 0),
            calls: 0,
            lacking: Vec::new(),
        };
        stores.reachable[HostId::HOME] = true;
        for (path, spec) in work.paths.iter() {
            if spec.origin == Origin::Home {
                stores.hold(HostId::HOME, path);
            }
        }
        stores
    }

    /// Whether the host's store has the path, reachable or not.
    pub fn holds(&self, host: HostId, path: PathId) -> bool {
        self.held[host][path.index() / 64] >> (path.index() % 64) & 1 == 1
    }

    /// Records a path and its closure at a host.
    pub fn hold(&mut self, host: HostId, path: PathId) {
        if self.holds(host, path) {
            return;
        }
        let mut stack = vec![path];
        while let Some(p) = stack.pop() {
            if !self.holds(host, p) {
                self.held[host][p.index() / 64] |= 1 << (p.index() % 64);
                if let Err(row) = self.holders[p].binary_search(&host) {
                    self.holders[p].insert(row, host);
                }
                self.touched.push((host, p));
                stack.extend_from_slice(&self.refs[p]);
            }
        }
    }

    /// Where a path came, went or was sent since this was last asked.
    pub fn take_touched(&mut self) -> Vec<(HostId, PathId)> {
        std::mem::take(&mut self.touched)
    }

    /// What [`Stores::take_touched`] will return.
    pub fn touched(&self) -> &[(HostId, PathId)] {
        &self.touched
    }

    /// Records all that a host has, as it says itself: what it had before it was away may be gone. Of
    /// this machine only what is added counts, because transfers go on while it is asked.
    pub fn told(&mut self, host: HostId, paths: impl Iterator<Item = PathId>) {
        if host != HostId::HOME {
            for path in self.size.ids() {
                self.forget(host, path);
            }
        }
        paths.for_each(|path| self.hold(host, path));
    }

    /// Records that a host does not have a path after all.
    pub fn forget(&mut self, host: HostId, path: PathId) {
        if self.holds(host, path) {
            self.held[host][path.index() / 64] &= !(1 << (path.index() % 64));
            self.holders[path].retain(|&h| h != host);
            self.touched.push((host, path));
        }
    }

    /// Records an output where it was built, now that its size and references are known.
    pub fn made(&mut self, host: HostId, made: &Made) {
        self.size[made.path] = made.size;
        self.refs[made.path].clone_from(&made.refs);
        self.hold(host, made.path);
    }

    /// Records a host as reachable or not.
    pub fn set_reachable(&mut self, host: HostId, yes: bool) {
        self.reachable[host] = yes;
    }

    /// The hosts that have a path, reachable or not, ascending.
    pub fn holders(&self, path: PathId) -> &[HostId] {
        &self.holders[path]
    }

    /// Whether the path can be had somewhere now.
    pub fn available(&self, path: PathId) -> bool {
        self.substitutable[path] || self.holders[path].iter().any(|&h| self.reachable[h])
    }

    /// Whether another host than these two has the path, or a substituter.
    pub fn is_elsewhere(&self, path: PathId, from: HostId, to: HostId) -> bool {
        let others = self.held.ids().filter(|&h| h != from && h != to);
        self.substitutable[path] || others.into_iter().any(|h| self.reachable[h] && self.holds(h, path))
    }

    /// Whether the path is on its way to the host.
    pub fn is_arriving(&self, host: HostId, path: PathId) -> bool {
        self.arriving[host].contains_key(&path)
    }

    /// How long until those of `inputs` that the host lacks would be there with their closures,
    /// estimated: what is on its way already counts half.
    pub fn transfer_time(
        &mut self,
        hosts: &Table<HostId, Host>,
        to: HostId,
        inputs: &[PathId],
        overhead: Span,
    ) -> Span {
        let mut lacking = std::mem::take(&mut self.lacking);
        lacking.clear();
        lacking.extend(inputs.iter().copied().filter(|&p| !self.holds(to, p)));
        self.calls += 1;
        lacking.iter().for_each(|&path| self.met[path] = self.calls);
        let time = if lacking.is_empty() {
            Span::ZERO
        } else {
            self.transfer_time_of(hosts, to, &mut lacking, overhead)
        };
        self.lacking = lacking;
        time
    }

    /// The same for what the host lacks, all of which this call has met. The list is filled with what that
    /// refers to.
    fn transfer_time_of(
        &mut self,
        hosts: &Table<HostId, Host>,
        to: HostId,
        lacking: &mut Vec<PathId>,
        overhead: Span,
    ) -> Span {
        let arriving = &self.arriving[to];
        let (mut bytes_in, mut from) = (0u64, Vec::<(HostId, u64)>::new());
        let mut seen = 0;
        while let Some(&path) = lacking.get(seen) {
            seen += 1;
            let half = !arriving.is_empty() && arriving.contains_key(&path);
            let size = if half { self.size[path] / 2 } else { self.size[path] };
            bytes_in = bytes_in.saturating_add(size);
            if let Some(Source::Host(host)) = self.source(hosts, to, path) {
                match from.iter_mut().find(|(h, _)| *h == host) {
                    Some((_, bytes)) => *bytes += size,
                    None => from.push((host, size)),
                }
            }
            for &p in &self.refs[path] {
                if self.met[p] != self.calls && !self.holds(to, p) {
                    self.met[p] = self.calls;
                    lacking.push(p);
                }
            }
        }
        // Bytes from another builder pass through here without a stop: the slower of its links counts.
        let slowest = from.into_iter().map(|(host, bytes)| hosts[host].link.time(bytes)).max();
        overhead + hosts[to].link.time(bytes_in.max(1)).max(slowest.unwrap_or_default())
    }

    /// The cheapest place to get a path to `to` from: this machine, then of some reachable holders the one
    /// with the fastest link, then a substituter. `None` if nobody has it.
    pub fn source(&self, hosts: &Table<HostId, Host>, to: HostId, path: PathId) -> Option<Source> {
        match self.best_holder(hosts, to, path) {
            Some(h) if h == HostId::HOME || !self.substitutable[path] => Some(Source::Host(h)),
            Some(h) if !hosts[to].substitutes && to != HostId::HOME => Some(Source::Host(h)),
            _ if self.substitutable[path] => Some(Source::Substituter),
            other => other.map(Source::Host),
        }
    }

    /// This machine, or the holder with the fastest link, of equal ones the first.
    fn best_holder(&self, hosts: &Table<HostId, Host>, to: HostId, path: PathId) -> Option<HostId> {
        let others = self.holders[path].iter().copied().filter(|&h| h != to && self.reachable[h]);
        let mut best: Option<(HostId, LinkSpeed)> = None;
        for host in others.take(ENOUGH) {
            if host == HostId::HOME {
                return Some(host);
            }
            let link = hosts[host].link;
            if best.is_none_or(|(_, known)| is_faster(link, known)) {
                best = Some((host, link));
            }
        }
        best.map(|(host, _)| host)
    }

    /// Begins a transfer.
    pub fn begin(&mut self, from: Source, to: HostId, paths: Vec<PathId>) -> TransferId {
        let id = TransferId(self.next_transfer);
        self.next_transfer += 1;
        self.arriving[to].extend(paths.iter().map(|&p| (p, id)));
        self.touched.extend(paths.iter().map(|&p| (to, p)));
        self.transfers.insert(id, Transfer { from, to, paths });
        id
    }

    /// Ends a transfer, whichever way; `None` if it is not under way (a stale fact).
    pub fn end(&mut self, id: TransferId) -> Option<Transfer> {
        let transfer = self.transfers.remove(&id)?;
        for path in &transfer.paths {
            self.arriving[transfer.to].remove(path);
            self.touched.push((transfer.to, *path));
        }
        Some(transfer)
    }

    /// The transfers under way.
    pub fn transfers(&self) -> impl Iterator<Item = (TransferId, &Transfer)> {
        self.transfers.iter().map(|(id, t)| (*id, t))
    }

    /// Ends every transfer from or to a host that was lost.
    pub fn drop_transfers_of(&mut self, host: HostId) {
        let ids: Vec<_> = self
            .transfers()
            .filter(|(_, t)| t.to == host || t.from == Source::Host(host))
            .map(|(id, _)| id)
            .collect();
        for id in ids {
            self.end(id);
        }
    }
}

/// Whether a link is faster than another one. One that costs nothing has bandwidth 0.
fn is_faster(link: LinkSpeed, known: LinkSpeed) -> bool {
    match (link.bandwidth, known.bandwidth) {
        (one, other) if one == other => link.latency < known.latency,
        (0, _) => true,
        (_, 0) => false,
        (one, other) => one > other,
    }
}
