//! Transfers under way.

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
    places: Vec<Option<Transfer>>,
    vacant: Vec<u32>,
}

impl Transfers {
    /// Takes one in; returns its place.
    pub fn begin(&mut self, transfer: Transfer) -> u32 {
        let place = self.vacant.pop().unwrap_or_else(|| {
            self.places.push(None);
            u32::try_from(self.places.len() - 1).expect("there are fewer than 2^32 transfers at a time")
        });
        self.places[place as usize] = Some(transfer);
        place
    }

    /// What is at a place, if it is this transfer still.
    pub fn get_mut(&mut self, place: u32, id: TransferId) -> Option<&mut Transfer> {
        self.places[place as usize].as_mut().filter(|transfer| transfer.id == id)
    }

    /// Ends what is at a place.
    pub fn end(&mut self, place: u32) -> Option<Transfer> {
        let transfer = self.places[place as usize].take()?;
        self.vacant.push(place);
        Some(transfer)
    }

    /// Those from or to a host, in the order of their numbers.
    pub fn of(&self, host: HostId) -> Vec<u32> {
        let places = (0..).zip(&self.places);
        let mut found: Vec<(TransferId, u32)> = places
            .filter_map(|(place, transfer)| transfer.as_ref().map(|transfer| (place, transfer)))
            .filter(|(_, transfer)| transfer.to == host || transfer.source == Some(host))
            .map(|(place, transfer)| (transfer.id, place))
            .collect();
        found.sort_unstable();
        found.into_iter().map(|(_, place)| place).collect()
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
