//! Which paths of a host its connections keep from being collected as garbage.
//!
//! A temporary root lives as long as the connection that asked for it. Which connection keeps what is
//! not tracked: when one ends, all of them count as lost, and the next one that has something to do
//! there asks for them again.

use std::collections::HashSet;
use std::io::{Read, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::graph::{PathId, Workload};
use crate::nix::wire::{Client, WireError};

/// The roots of one host.
#[derive(Debug, Default)]
pub(super) struct Roots(Mutex<Sets>);

#[derive(Debug, Default)]
struct Sets {
    kept: HashSet<PathId>,
    lost: HashSet<PathId>,
}

impl Roots {
    fn sets(&self) -> MutexGuard<'_, Sets> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection keeps these without having been asked: it made them or took them in.
    pub fn note(&self, paths: impl IntoIterator<Item = PathId>) {
        self.sets().kept.extend(paths);
    }

    /// A connection ended, and with it the roots it had.
    pub fn connection_ended(&self) {
        let mut sets = self.sets();
        let kept = std::mem::take(&mut sets.kept);
        sets.lost.extend(kept);
    }

    /// Has a connection keep `paths`, and what others kept that have ended, as far as no other does.
    ///
    /// # Errors
    /// Those of the connection.
    pub fn keep<S: Read + Write>(
        &self,
        client: &mut Client<S>,
        work: &Workload,
        paths: &[PathId],
    ) -> Result<(), WireError> {
        let new = self.missing(paths);
        let names: Vec<&str> = new.iter().map(|&p| work.paths[p].path.as_str()).collect();
        client.add_temp_roots(&names)?;
        let mut sets = self.sets();
        for path in &new {
            sets.lost.remove(path);
        }
        sets.kept.extend(new);
        Ok(())
    }

    fn missing(&self, paths: &[PathId]) -> Vec<PathId> {
        let sets = self.sets();
        let wanted = paths.iter().chain(&sets.lost);
        let mut new: Vec<PathId> = wanted.copied().filter(|p| !sets.kept.contains(p)).collect();
        new.sort_unstable();
        new.dedup();
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_connection_kept_is_asked_for_again_when_it_has_ended() {
        let roots = Roots::default();
        roots.note([PathId(1), PathId(2)]);
        assert_eq!(roots.missing(&[PathId(3), PathId(1)]), [PathId(3)]);
        roots.connection_ended();
        assert_eq!(roots.missing(&[PathId(3), PathId(1)]), [PathId(1), PathId(2), PathId(3)]);
        roots.note([PathId(1), PathId(2), PathId(3)]);
        assert_eq!(roots.missing(&[PathId(3)]), []);
    }
}
