//! Store paths as numbers: a large graph names the same paths hundreds of thousands of times, and to
//! compare their texts is most of the work of linking it.

use super::derivations::DrvId;
use crate::base::{Id, Table, typed_id};
use crate::nix::StorePath;

typed_id!(
    /// A store path of a graph; numbered in the order of the text.
    RowId, "r"
);

/// Numbers `paths`: each once, ascending, and for each of those given its number.
pub(super) fn number(paths: &[&StorePath]) -> (Table<RowId, StorePath>, Vec<RowId>) {
    by_first_digits(paths).unwrap_or_else(|| by_text(paths))
}

/// Compares as integers what the hashes begin with. `None` if that is not enough: the store directories
/// differ, or two paths begin alike.
fn by_first_digits(paths: &[&StorePath]) -> Option<(Table<RowId, StorePath>, Vec<RowId>)> {
    let dir = paths.first()?.store_dir();
    let keys: Option<Vec<u64>> = paths.iter().map(|path| first_digits(path, dir)).collect();
    let mut sorted: Vec<(u64, usize)> = keys?.into_iter().zip(0..).collect();
    sorted.sort_unstable();
    let numbered = rows(paths, sorted.chunk_by(|a, b| a.0 == b.0));
    // In the order of the memory, not of the hashes.
    let sound = paths.iter().zip(&numbered.1).all(|(path, &row)| **path == numbered.0[row]);
    sound.then_some(numbered)
}

fn by_text(paths: &[&StorePath]) -> (Table<RowId, StorePath>, Vec<RowId>) {
    let mut sorted: Vec<(u64, usize)> = paths.iter().enumerate().map(|(i, _)| (0, i)).collect();
    sorted.sort_by_key(|&(_, i)| paths[i]);
    rows(paths, sorted.chunk_by(|a, b| paths[a.1] == paths[b.1]))
}

/// A row for each group, and for each path its group's.
fn rows<'a>(
    paths: &[&StorePath],
    groups: impl Iterator<Item = &'a [(u64, usize)]>,
) -> (Table<RowId, StorePath>, Vec<RowId>) {
    let mut rows = Table::new();
    let mut numbers = vec![RowId(0); paths.len()];
    for same in groups {
        let row = rows.push(paths[same[0].1].clone());
        same.iter().for_each(|&(_, i)| numbers[i] = row);
    }
    (rows, numbers)
}

/// The first ten digits of the hash as a number that is ordered as they are; `None` in another
/// directory.
fn first_digits(path: &StorePath, dir: &str) -> Option<u64> {
    let digits = path.as_str().strip_prefix(dir)?.strip_prefix('/')?.as_bytes().get(..10)?;
    digits.iter().try_fold(0, |key, &digit| {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'z' => digit - b'a' + 10,
            _ => return None,
        };
        Some(key << 6 | u64::from(value))
    })
}

/// A list for each derivation, one behind the other.
#[derive(Clone, Debug)]
pub(super) struct Lists<T> {
    /// Where each list ends.
    ends: Vec<u32>,
    all: Vec<T>,
}

impl<T> Lists<T> {
    pub(super) fn new() -> Self {
        Self { ends: Vec::new(), all: Vec::new() }
    }

    /// The list of the next derivation.
    pub(super) fn push(&mut self, list: impl IntoIterator<Item = T>) {
        self.all.extend(list);
        self.ends.push(u32::try_from(self.all.len()).expect("a graph has fewer than 2^32 edges"));
    }

    pub(super) fn of(&self, drv: DrvId) -> &[T] {
        let start = drv.index().checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.all[start as usize..self.ends[drv.index()] as usize]
    }

    pub(super) fn total(&self) -> usize {
        self.all.len()
    }
}

#[cfg(test)]
mod tests {
    use super::super::testkit::path;
    use super::*;
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    proptest! {
        #[test]
        fn numbers_follow_the_text(
            picks in prop::collection::vec(("[01]", "[ab]{1,2}", any::<bool>()), 0..20),
        ) {
            let paths: Vec<StorePath> = picks
                .iter()
                .map(|(digit, name, elsewhere)| {
                    let usual = path(digit.chars().next().unwrap(), name);
                    let dir = if *elsewhere { "/a/b" } else { "/nix/store" };
                    StorePath::from_base_name(dir, usual.base_name()).unwrap()
                })
                .collect();
            let (rows, numbers) = number(&paths.iter().collect::<Vec<_>>());
            let expected: BTreeSet<&StorePath> = paths.iter().collect();
            prop_assert!(rows.rows().iter().eq(expected));
            for (path, row) in paths.iter().zip(numbers) {
                prop_assert_eq!(&rows[row], path);
            }
        }
    }
}
