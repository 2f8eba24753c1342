//! What is being copied, and what went over which link.

use std::collections::BTreeMap;

use crate::base::{Span, Table, Time};
use crate::fleet::HostId;
use crate::graph::PathId;
use crate::run::{Header, Made, Source, TransferId};

/// A transfer under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transfer {
    pub from: Source,
    pub to: HostId,
    /// Paths named in the order; their closures come with them.
    pub paths: usize,
    /// The sizes of those paths, as far as known.
    pub expected: u64,
    /// What is over so far.
    pub bytes: u64,
    pub begun: Time,
}

/// What went from one place to another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkTotals {
    pub transfers: usize,
    pub failed: usize,
    pub paths: usize,
    pub bytes: u64,
    /// In sum over transfers, which may have run at the same time.
    pub busy: Span,
}

/// All transfers of a run.
#[derive(Debug)]
pub struct Transfers {
    under_way: BTreeMap<TransferId, Transfer>,
    links: BTreeMap<(Source, HostId), LinkTotals>,
    sizes: Table<PathId, u64>,
}

impl Transfers {
    pub(super) fn new(header: &Header) -> Self {
        let sizes = header.workload.paths.iter().map(|(_, path)| path.size).collect();
        Self { under_way: BTreeMap::new(), links: BTreeMap::new(), sizes }
    }

    /// Those under way.
    pub fn under_way(&self) -> impl Iterator<Item = (TransferId, &Transfer)> {
        self.under_way.iter().map(|(id, transfer)| (*id, transfer))
    }

    /// One of them.
    pub fn get(&self, transfer: TransferId) -> Option<&Transfer> {
        self.under_way.get(&transfer)
    }

    /// Totals of what is over, by source and destination.
    pub fn links(&self) -> impl Iterator<Item = (Source, HostId, &LinkTotals)> {
        self.links.iter().map(|((from, to), totals)| (*from, *to, totals))
    }

    /// Bytes moved so far, between hosts and from substituters, with what is under way.
    pub fn bytes(&self) -> u64 {
        let done = self.links.values().map(|link| link.bytes);
        done.chain(self.under_way.values().map(|t| t.bytes)).fold(0, u64::saturating_add)
    }

    /// The size of a path, as far as known by now.
    pub fn size(&self, path: PathId) -> u64 {
        self.sizes.get(path).copied().unwrap_or(0)
    }

    pub(super) fn learn_sizes(&mut self, made: &[Made]) {
        for made in made {
            self.sizes[made.path] = made.size;
        }
    }

    pub(super) fn begin(&mut self, id: TransferId, from: Source, to: HostId, paths: &[PathId], at: Time) {
        let expected = paths.iter().map(|path| self.size(*path)).fold(0, u64::saturating_add);
        let transfer = Transfer { from, to, paths: paths.len(), expected, bytes: 0, begun: at };
        self.under_way.insert(id, transfer);
    }

    pub(super) fn progress(&mut self, id: TransferId, bytes: u64) {
        if let Some(transfer) = self.under_way.get_mut(&id) {
            transfer.bytes = bytes;
        }
    }

    pub(super) fn done(&mut self, id: TransferId, bytes: u64, took: Span) -> Option<Transfer> {
        let transfer = self.under_way.remove(&id)?;
        let link = self.links.entry((transfer.from, transfer.to)).or_default();
        link.transfers += 1;
        link.paths += transfer.paths;
        link.bytes = link.bytes.saturating_add(bytes);
        link.busy += took;
        Some(Transfer { bytes, ..transfer })
    }

    pub(super) fn failed(&mut self, id: TransferId) -> Option<Transfer> {
        let transfer = self.under_way.remove(&id)?;
        self.links.entry((transfer.from, transfer.to)).or_default().failed += 1;
        Some(transfer)
    }
}
