//! Transfers under way.

use slab::Slab;

use crate::base::Time;
use crate::fleet::HostId;
use crate::graph::PathId;
use crate::run::TransferId;

/// A transfer under way.
#[derive(Clone, Debug)]
pub(super) struct Transfer {
    pub id: TransferId,
    /// The host that it comes from; `None` for a substituter.
    pub source: Option<HostId>,
    pub to: HostId,
    pub paths: Vec<PathId>,
    pub bytes: u64,
    pub began: Time,
    /// Its flow in the network, once its latency is over.
    pub flow: Option<u32>,
}

/// All of them, each at a place that is given to another one when it is over.
#[derive(Clone, Debug, Default)]
pub(super) struct Transfers {
    places: Slab<Transfer>,
}

impl Transfers {
    /// Takes one in; returns its place.
    pub fn begin(&mut self, transfer: Transfer) -> u32 {
        u32::try_from(self.places.insert(transfer)).expect("there are fewer than 2^32 transfers at a time")
    }

    /// What is at a place, if it is this transfer still.
    pub fn get_mut(&mut self, place: u32, id: TransferId) -> Option<&mut Transfer> {
        self.places.get_mut(place as usize).filter(|transfer| transfer.id == id)
    }

    /// Ends what is at a place.
    pub fn end(&mut self, place: u32) -> Option<Transfer> {
        self.places.try_remove(place as usize)
    }

    /// Those from or to a host, in the order of their numbers.
    pub fn of(&self, host: HostId) -> Vec<u32> {
        let on_it = |transfer: &Transfer| transfer.to == host || transfer.source == Some(host);
        let found = self.places.iter().filter(|(_, transfer)| on_it(transfer));
        let mut found: Vec<(TransferId, usize)> =
            found.map(|(place, transfer)| (transfer.id, place)).collect();
        found.sort_unstable();
        found.into_iter().map(|(_, place)| place as u32).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transfer(id: u32, from: u32) -> Transfer {
        Transfer {
            id: TransferId(id),
            source: Some(HostId(from)),
            to: HostId(9),
            paths: Vec::new(),
            bytes: 1,
            began: Time::ZERO,
            flow: None,
        }
    }

    #[test]
    fn a_place_is_used_again_and_not_mistaken() {
        let mut transfers = Transfers::default();
        let place = transfers.begin(transfer(0, 1));
        transfers.begin(transfer(1, 2));
        assert!(transfers.end(place).is_some() && transfers.end(place).is_none());
        assert_eq!(transfers.begin(transfer(2, 2)), place);
        assert!(transfers.get_mut(place, TransferId(0)).is_none());
        assert!(transfers.get_mut(place, TransferId(2)).is_some());
        // Oldest first, wherever they are.
        assert_eq!(transfers.of(HostId(2)), [1, 0]);
        assert_eq!(transfers.of(HostId(1)), [0; 0]);
    }
}
