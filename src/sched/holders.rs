//! Which hosts have which paths, or are to get them, as a matrix of bits: a row per path, so that one look
//! tells all hosts that have a path, and a few looks those that have all of several.

use crate::base::Id;
use crate::fleet::HostId;
use crate::graph::PathId;

const BITS: usize = usize::BITS as usize;

/// How many blocks of bits there are for so many hosts.
pub(super) fn width(hosts: usize) -> usize {
    hosts.div_ceil(BITS)
}

/// The hosts of a row of bits, ascending.
pub(super) fn of(row: &[usize]) -> impl Iterator<Item = HostId> + '_ {
    row.iter().enumerate().flat_map(|(i, &block)| {
        let mut left = block;
        std::iter::from_fn(move || {
            let bit = (left != 0).then(|| left.trailing_zeros() as usize)?;
            left &= left - 1;
            Some(HostId::from_index(i * BITS + bit))
        })
    })
}

/// Whether a host is in a row of bits.
pub(super) fn has(row: &[usize], host: HostId) -> bool {
    row[host.index() / BITS] >> (host.index() % BITS) & 1 == 1
}

/// Takes the hosts out of a row of bits that are not to be `kept`.
pub(super) fn keep(row: &mut [usize], kept: impl Fn(HostId) -> bool) {
    for (i, block) in row.iter_mut().enumerate() {
        let bits = (0..BITS).filter(|bit| *block >> bit & 1 == 1);
        *block = bits.filter(|bit| kept(HostId::from_index(i * BITS + bit))).map(|bit| 1 << bit).sum();
    }
}

/// The hosts of each path.
#[derive(Clone, Debug)]
pub(super) struct Holders {
    /// Blocks in a row.
    width: usize,
    /// The last block in the row of a path that all hosts have.
    last: usize,
    blocks: Vec<usize>,
}

impl Holders {
    /// Nobody has any of `paths`.
    pub fn new(paths: usize, hosts: usize) -> Self {
        let width = width(hosts);
        let last = usize::MAX >> (width * BITS - hosts);
        Self { width, last, blocks: vec![0; paths * width] }
    }

    fn row(&self, path: PathId) -> &[usize] {
        &self.blocks[path.index() * self.width..][..self.width]
    }

    fn block(&mut self, path: PathId, host: HostId) -> &mut usize {
        &mut self.blocks[path.index() * self.width + host.index() / BITS]
    }

    pub fn contains(&self, path: PathId, host: HostId) -> bool {
        self.blocks[path.index() * self.width + host.index() / BITS] >> (host.index() % BITS) & 1 == 1
    }

    /// Whether all hosts have a path.
    pub fn is_everywhere(&self, path: PathId) -> bool {
        let Some((last, full)) = self.row(path).split_last() else { return true };
        *last == self.last && full.iter().all(|&block| block == usize::MAX)
    }

    /// Adds a host; false if it was there.
    pub fn insert(&mut self, path: PathId, host: HostId) -> bool {
        let (block, bit) = (self.block(path, host), 1 << (host.index() % BITS));
        let new = *block & bit == 0;
        *block |= bit;
        new
    }

    /// Takes a host out; false if it was not there.
    pub fn remove(&mut self, path: PathId, host: HostId) -> bool {
        let (block, bit) = (self.block(path, host), 1 << (host.index() % BITS));
        let was = *block & bit != 0;
        *block &= !bit;
        was
    }

    /// The hosts that have a path, ascending.
    pub fn of(&self, path: PathId) -> impl Iterator<Item = HostId> + '_ {
        of(self.row(path))
    }

    /// Makes `all` the hosts that have all of `paths`.
    pub fn of_all(&self, paths: &[PathId], all: &mut [usize]) {
        all.fill(usize::MAX);
        if let Some(last) = all.last_mut() {
            *last = self.last;
        }
        for &path in paths {
            let mut left = 0;
            for (block, has) in all.iter_mut().zip(self.row(path)) {
                *block &= has;
                left |= *block;
            }
            if left == 0 {
                break;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn holders_are_a_set_of_hosts_for_each_path(
            changes in proptest::collection::vec((0..4u32, 0..130u32, any::<bool>()), 0..200),
            asked in proptest::collection::vec(0..4u32, 0..4),
        ) {
            let mut holders = Holders::new(4, 130);
            let mut sets = vec![BTreeSet::new(); 4];
            for (path, host, comes) in changes {
                if comes {
                    let new = holders.insert(PathId(path), HostId(host));
                    prop_assert_eq!(new, sets[path as usize].insert(HostId(host)));
                } else {
                    let was = holders.remove(PathId(path), HostId(host));
                    prop_assert_eq!(was, sets[path as usize].remove(&HostId(host)));
                }
            }
            for (path, set) in (0..).map(PathId).zip(&sets) {
                prop_assert_eq!(&holders.of(path).collect::<BTreeSet<_>>(), set);
                prop_assert_eq!(holders.is_everywhere(path), set.len() == 130);
                prop_assert!((0..130).map(HostId).all(|h| holders.contains(path, h) == set.contains(&h)));
            }
            let asked: Vec<PathId> = asked.into_iter().map(PathId).collect();
            let has_all = |h: &HostId| asked.iter().all(|p| sets[p.index()].contains(h));
            let expected: Vec<usize> = (0..130).map(HostId).filter(has_all).map(Id::index).collect();
            let mut all = vec![0; width(130)];
            holders.of_all(&asked, &mut all);
            prop_assert_eq!(of(&all).map(Id::index).collect::<Vec<_>>(), expected);
        }
    }
}
