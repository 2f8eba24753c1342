//! Who holds which path, and what is on its way where.
//!
//! Every store is closed under references, so a host that holds a path holds its closure too. A lost
//! host keeps what it has: it counts again when it is back.

use std::collections::{BTreeMap, BTreeSet};

use crate::base::{Id, Span, Table};
use crate::fleet::{Host, HostId, LinkSpeed};
use crate::graph::{Origin, PathId, PathSpec, Workload};
use crate::run::{Made, Source, TransferId};

use super::holders::Holders;

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
    holders: Holders,
    /// Where a path came, went or was sent since [`Stores::take_touched`].
    touched: Vec<(HostId, PathId)>,
    /// Which paths are on their way to which hosts, and how many to each.
    arriving: Holders,
    coming: Table<HostId, u32>,
    reachable: Table<HostId, bool>,
    transfers: BTreeMap<TransferId, Transfer>,
    next_transfer: u32,
    paths: Table<PathId, Row>,
    refs: Table<PathId, Vec<PathId>>,
    /// What is wanted at home and not there.
    unmet: BTreeSet<PathId>,
    /// The paths that [`Stores::fill_closure`] has met, by its last call that did.
    met: Table<PathId, u64>,
    calls: u64,
    /// What [`Stores::losses`] returns.
    losses: u32,
    /// Per host what a transfer would take from it, and last what it takes from none; and which of these rows count.
    from: Vec<u64>,
    sources: Vec<usize>,
    /// The number of changes to links and hosts, from 1.
    changes: u32,
    /// Per host how many others a path is rather got from, if they have it, as by [`by_link`].
    order: Table<HostId, usize>,
}

/// One path. What is asked of it together lies side by side.
#[derive(Clone, Debug)]
struct Row {
    size: u64,
    /// The best host to get it from, by so many changes to links and hosts; by none if that has to be looked up.
    nearest: Option<HostId>,
    as_of: u32,
    substitutable: bool,
    wanted: bool,
    /// Whether a host has it or had it.
    known: bool,
}

impl Row {
    /// Where a host is to get the path from that has this one nearest.
    fn source(&self, nearest: Option<HostId>, fetches: bool) -> Option<Source> {
        match nearest {
            Some(host) if host == HostId::HOME || !fetches || !self.substitutable => Some(Source::Host(host)),
            _ => self.substitutable.then_some(Source::Substituter),
        }
    }
}

impl Stores {
    /// What is known when the run begins: this machine holds what it holds.
    pub fn new(work: &Workload, hosts: &Table<HostId, Host>) -> Self {
        let links = hosts.rows().iter().map(|host| host.link).collect();
        let (order, hosts) = (by_link(&links), hosts.len());
        let row = |path: &PathSpec| Row {
            size: path.size,
            nearest: None,
            as_of: 0,
            substitutable: path.origin == Origin::Substituter,
            wanted: false,
            known: false,
        };
        let mut stores = Self {
            holders: Holders::new(work.paths.len(), hosts),
            touched: Vec::new(),
            arriving: Holders::new(work.paths.len(), hosts),
            coming: Table::filled(hosts, 0),
            reachable: Table::filled(hosts, false),
            transfers: BTreeMap::new(),
            next_transfer: 0,
            paths: work.paths.rows().iter().map(row).collect(),
            refs: work.paths.rows().iter().map(|path| path.refs.clone()).collect(),
            unmet: work.wanted.iter().copied().collect(),
            met: Table::filled(work.paths.len(), 0),
            calls: 0,
            losses: 0,
            from: vec![0; hosts + 1],
            sources: Vec::new(),
            changes: 1,
            order,
        };
        work.wanted.iter().for_each(|&path| stores.paths[path].wanted = true);
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
        self.holders.contains(path, host)
    }

    /// Records a path and its closure at a host.
    pub fn hold(&mut self, host: HostId, path: PathId) {
        if self.holds(host, path) {
            return;
        }
        let mut stack = vec![path];
        while let Some(p) = stack.pop() {
            if self.holders.insert(p, host) {
                let row = &mut self.paths[p];
                // Nobody could look for what nobody had.
                if row.known || row.substitutable {
                    self.touched.push((host, p));
                }
                row.known = true;
                let order = &self.order;
                // If it is not known which one was the nearest, that is still to be looked up.
                if self.reachable[host] && row.nearest.is_none_or(|known| order[host] < order[known]) {
                    row.nearest = Some(host);
                }
                if host == HostId::HOME {
                    self.unmet.remove(&p);
                }
                stack.extend_from_slice(&self.refs[p]);
            }
        }
    }

    /// Where a path came, went or was sent since this was last asked.
    pub fn take_touched(&mut self) -> Vec<(HostId, PathId)> {
        std::mem::take(&mut self.touched)
    }

    /// Takes back the emptied list that [`Stores::take_touched`] gave out, for its room.
    pub fn give_back(&mut self, mut list: Vec<(HostId, PathId)>) {
        if self.touched.is_empty() {
            list.clear();
            self.touched = list;
        }
    }

    /// What [`Stores::take_touched`] will return.
    pub fn touched(&self) -> &[(HostId, PathId)] {
        &self.touched
    }

    /// Records all that a host has, as it says itself: what it had before it was away may be gone. Of
    /// this machine only what is added counts, because transfers go on while it is asked.
    pub fn told(&mut self, host: HostId, paths: impl Iterator<Item = PathId>) {
        if host != HostId::HOME {
            for path in self.paths.ids() {
                self.forget(host, path);
            }
        }
        paths.for_each(|path| self.hold(host, path));
    }

    /// Records that a host does not have a path after all.
    pub fn forget(&mut self, host: HostId, path: PathId) {
        if self.holds(host, path) {
            self.holders.remove(path, host);
            self.losses += 1;
            self.paths[path].as_of = 0;
            self.touched.push((host, path));
            if host == HostId::HOME && self.paths[path].wanted {
                self.unmet.insert(path);
            }
        }
    }

    /// Records an output where it was built, now that its size and references are known. One that was there before
    /// may be in closures that have been found.
    pub fn made(&mut self, host: HostId, made: &Made) {
        let (row, refs) = (&mut self.paths[made.path], &mut self.refs[made.path]);
        self.losses += u32::from(row.known && (row.size != made.size || *refs != made.refs));
        row.size = made.size;
        refs.clone_from(&made.refs);
        self.hold(host, made.path);
    }

    /// Records a host as reachable or not.
    pub fn set_reachable(&mut self, host: HostId, yes: bool) {
        self.reachable[host] = yes;
        self.changes += 1;
    }

    /// Links are not what they were thought to be.
    pub fn relinked(&mut self, links: &Table<HostId, LinkSpeed>) {
        let order = by_link(links);
        if order != self.order {
            self.order = order;
            self.changes += 1;
        }
    }

    /// Whether hosts are asked for a path in the order of these links.
    pub fn is_ordered_by(&self, links: &Table<HostId, LinkSpeed>) -> bool {
        self.order == by_link(links)
    }

    /// Whether a substituter has the path.
    pub fn is_substitutable(&self, path: PathId) -> bool {
        self.paths[path].substitutable
    }

    /// Whether the path is wanted at home.
    pub fn is_wanted(&self, path: PathId) -> bool {
        self.paths[path].wanted
    }

    /// What is wanted at home and not there, ascending.
    pub fn unmet(&self) -> impl Iterator<Item = PathId> + '_ {
        self.unmet.iter().copied()
    }

    /// The hosts that have a path, reachable or not, ascending.
    pub fn holders(&self, path: PathId) -> impl Iterator<Item = HostId> + '_ {
        self.holders.of(path)
    }

    /// Whether all hosts have a path, reachable or not.
    pub fn is_everywhere(&self, path: PathId) -> bool {
        self.holders.is_everywhere(path)
    }

    /// Makes `all` the hosts that have all of `paths`, reachable or not.
    pub fn holders_of_all(&self, paths: &[PathId], all: &mut [usize]) {
        self.holders.of_all(paths, all);
    }

    /// Whether the path can be had somewhere now.
    pub fn available(&self, path: PathId) -> bool {
        self.paths[path].substitutable || self.holders.of(path).any(|h| self.reachable[h])
    }

    /// Whether another host than these two has the path, or a substituter.
    pub fn is_elsewhere(&self, path: PathId, from: HostId, to: HostId) -> bool {
        let is_other = |h: HostId| h != from && h != to && self.reachable[h];
        self.paths[path].substitutable || self.holders.of(path).any(is_other)
    }

    /// Whether the path is on its way to the host.
    pub fn is_arriving(&self, host: HostId, path: PathId) -> bool {
        self.arriving.contains(path, host)
    }

    /// How large a path is, as far as that is known.
    pub fn size(&self, path: PathId) -> u64 {
        self.paths[path].size
    }

    /// Fills a list with those of `inputs` and of what they refer to, and so on, that some host lacks. It holds as
    /// long as nothing more is lacking, that is, as [`Stores::losses`] says the same.
    pub fn fill_closure(&mut self, inputs: &[PathId], closure: &mut Vec<PathId>) {
        closure.clear();
        self.calls += 1;
        let (met, holders, call) = (&mut self.met, &self.holders, self.calls);
        let mut is_new =
            |path: &PathId| std::mem::replace(&mut met[*path], call) != call && !holders.is_everywhere(*path);
        closure.extend(inputs.iter().copied().filter(&mut is_new));
        let mut seen = 0;
        while let Some(&path) = closure.get(seen) {
            seen += 1;
            for &path in self.refs[path].iter().filter(|path| is_new(path)) {
                closure.push(path);
            }
        }
    }

    /// Whether a list has all that [`Stores::fill_closure`] would put there.
    pub fn is_closure(&self, inputs: &[PathId], closure: &[PathId]) -> bool {
        let listed: BTreeSet<PathId> = closure.iter().copied().collect();
        let has = |paths: &[PathId]| {
            paths.iter().all(|path| listed.contains(path) || self.holders.is_everywhere(*path))
        };
        has(inputs) && closure.iter().all(|&path| has(&self.refs[path]))
    }

    /// How often a host has lost a path, or one that there was has been made anew and is another: how often more may
    /// be lacking than before.
    pub fn losses(&self) -> u32 {
        self.losses
    }

    /// The bytes of some paths.
    pub fn bytes(&self, paths: &[PathId]) -> u64 {
        paths.iter().fold(0, |sum, &path| sum.saturating_add(self.paths[path].size))
    }

    /// How long until those paths of a closure that the host lacks would be there, estimated: what is on its way
    /// already counts half.
    pub fn transfer_time(
        &mut self,
        hosts: &Table<HostId, Host>,
        to: HostId,
        closure: &[PathId],
        overhead: Span,
    ) -> Span {
        let hurries = self.coming[to] > 0;
        let fetches = fetches(hosts, to);
        for &path in closure {
            if self.holders.contains(path, to) {
                continue;
            }
            let nearest = self.nearest(path);
            let row = &self.paths[path];
            let size = if hurries && self.is_arriving(to, path) { row.size / 2 } else { row.size };
            let source = match row.source(nearest, fetches) {
                Some(Source::Host(host)) => host.index(),
                _ => hosts.len(),
            };
            let from = &mut self.from[source];
            if *from == 0 {
                self.sources.push(source);
            }
            *from = from.saturating_add(size.max(1));
        }
        let (mut bytes_in, mut slowest) = (0u64, Span::ZERO);
        for source in self.sources.drain(..) {
            let bytes = std::mem::take(&mut self.from[source]);
            bytes_in = bytes_in.saturating_add(bytes);
            // Bytes from another builder pass through here without a stop: the slower of its links counts.
            if let Some(host) = hosts.rows().get(source) {
                slowest = slowest.max(host.link.time(bytes));
            }
        }
        match bytes_in {
            0 => Span::ZERO,
            _ => overhead + hosts[to].link.time(bytes_in).max(slowest),
        }
    }

    /// The cheapest place to get a path to `to` from, which lacks it: this machine, then of the reachable
    /// holders the one with the fastest link, then a substituter. `None` if nobody has it. Links change places only
    /// once one has changed by much, so that they do not with every transfer.
    pub fn source(&mut self, hosts: &Table<HostId, Host>, to: HostId, path: PathId) -> Option<Source> {
        let nearest = self.nearest(path).filter(|&host| host != to);
        self.paths[path].source(nearest, fetches(hosts, to))
    }

    /// This machine, or the reachable holder with the fastest link, of equal ones the first.
    #[inline]
    fn nearest(&mut self, path: PathId) -> Option<HostId> {
        let row = &self.paths[path];
        if row.as_of == self.changes { row.nearest } else { self.find_nearest(path) }
    }

    fn find_nearest(&mut self, path: PathId) -> Option<HostId> {
        let nearest = self.first_holder(path);
        let row = &mut self.paths[path];
        (row.nearest, row.as_of) = (nearest, self.changes);
        nearest
    }

    fn first_holder(&self, path: PathId) -> Option<HostId> {
        let reachable = self.holders.of(path).filter(|&host| self.reachable[host]);
        reachable.min_by_key(|&host| self.order[host])
    }

    /// A path that is not got from where it is nearest, which is a bug.
    pub fn misrouted(&self) -> Option<PathId> {
        let is_wrong = |(path, row): &(PathId, &Row)| {
            row.as_of == self.changes && row.nearest != self.first_holder(*path)
        };
        self.paths.iter().find(is_wrong).map(|(path, _)| path)
    }

    /// Begins a transfer.
    pub fn begin(&mut self, from: Source, to: HostId, paths: Vec<PathId>) -> TransferId {
        let id = TransferId(self.next_transfer);
        self.next_transfer += 1;
        self.coming[to] += paths.iter().map(|&path| u32::from(self.arriving.insert(path, to))).sum::<u32>();
        self.touched.extend(paths.iter().map(|&p| (to, p)));
        self.transfers.insert(id, Transfer { from, to, paths });
        id
    }

    /// Ends a transfer, whichever way; `None` if it is not under way (a stale fact).
    pub fn end(&mut self, id: TransferId) -> Option<Transfer> {
        let transfer = self.transfers.remove(&id)?;
        for path in &transfer.paths {
            self.coming[transfer.to] -= u32::from(self.arriving.remove(*path, transfer.to));
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

/// Per host its place in the order in which hosts are asked for a path: this machine, then those with the fastest
/// links, of equal ones the first.
fn by_link(links: &Table<HostId, LinkSpeed>) -> Table<HostId, usize> {
    let mut order: Vec<HostId> = links.ids().collect();
    order.sort_by_key(|&host| (host != HostId::HOME, links[host].slowness(), host));
    let mut places = Table::filled(order.len(), 0);
    order.into_iter().enumerate().for_each(|(place, host)| places[host] = place);
    places
}

/// Whether a host fetches from substituters itself.
fn fetches(hosts: &Table<HostId, Host>, host: HostId) -> bool {
    hosts[host].substitutes || host == HostId::HOME
}
