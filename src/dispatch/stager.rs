//! Which transfers go together, and when: the queue in front of the [`Carrier`].
//!
//! Transfers of the same way (from, to) that are ordered while one is under way go together in the next.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;

use super::session::Trouble;
use super::transfer::{Broken, Carrier, Delivery, Parcel, Way};
use crate::fleet::HostId;
use crate::graph::PathId;
use crate::run::{Event, Source, TransferId};

/// Paths on one command line: well below the kernel's limit on arguments.
const MAX_PATHS: usize = 500;

/// Copies at a time from or to one host; sshd allows ten sessions a connection (`MaxSessions`).
const COPIES_PER_HOST: usize = 4;

/// How long the end of a run waits for connections that are still being made.
const WARM_UP: Duration = Duration::from_secs(1);

/// Queues transfers by their way and keeps the carriers busy.
pub(super) struct Stager {
    carrier: Arc<Carrier>,
    waiting: BTreeMap<Way, Vec<Parcel>>,
    active: Vec<Way>,
    /// Hosts that were said to be lost because of a transfer, since when none succeeded.
    suspects: Vec<HostId>,
    /// Hosts to which a first connection was or is being made.
    warmed: BTreeSet<HostId>,
    warming: Vec<JoinHandle<()>>,
}

impl Stager {
    pub fn new(carrier: Carrier) -> Self {
        Self {
            carrier: Arc::new(carrier),
            waiting: BTreeMap::new(),
            active: Vec::new(),
            suspects: Vec::new(),
            warmed: BTreeSet::new(),
            warming: Vec::new(),
        }
    }

    /// Takes an order.
    pub fn stage(&mut self, transfer: TransferId, from: Source, to: HostId, paths: Vec<PathId>) {
        self.waiting.entry((from, to)).or_default().push(Parcel { transfer, paths });
        self.pump();
    }

    /// Connects ahead of the transfers that are to come from a host that builds: while it does, nobody
    /// waits for the handshake.
    pub fn warm(&mut self, host: HostId) {
        if self.warmed.insert(host) {
            let carrier = Arc::clone(&self.carrier);
            self.warming.retain(|task| !task.is_finished());
            self.warming.push(self.carrier.runtime.spawn_blocking(move || carrier.porters.warm(host)));
        }
    }

    /// Forgets what waits to go to or from a lost host and ends what is under way.
    pub fn forget(&mut self, host: HostId) {
        self.warmed.remove(&host);
        self.waiting.retain(|(from, to), _| *to != host && *from != Source::Host(host));
        self.carrier.porters.cut(host);
        self.doubt(host);
        let mux = Arc::clone(&self.carrier.mux);
        mux.give_up(host);
        self.carrier.runtime.spawn_blocking(move || mux.clear_away(host));
    }

    /// A host lacks what it was thought to have: whatever is known of it has to be asked again.
    pub fn doubt(&self, host: HostId) {
        self.carrier.known.forget(host);
        self.carrier.porters.roots(host).connection_ended();
    }

    /// Takes note of a batch that is over; its events are to be passed on.
    pub fn delivered(&mut self, delivery: &Delivery) {
        let way = delivery.way;
        if let Some(i) = self.active.iter().position(|active| *active == way) {
            self.active.swap_remove(i);
        }
        if delivery.events.iter().any(|event| matches!(event, Event::Staged { .. })) {
            self.suspects.retain(|&host| host != way.1 && Source::Host(host) != way.0);
        }
        self.pump();
    }

    /// The host that has to be counted as lost after this delivery, if it `may` be. Once only, until a
    /// transfer succeeds: a host that can be connected to but takes no part in transfers would be lost and
    /// found for ever.
    pub fn lost_by(
        &mut self,
        delivery: &Delivery,
        may: impl Fn(HostId, &Trouble) -> bool,
    ) -> Option<(HostId, Trouble)> {
        let Broken { host, epoch, trouble } = delivery.broken.as_ref()?;
        let stale = self.carrier.porters.epoch(*host) != *epoch;
        if stale || self.suspects.contains(host) || !may(*host, trouble) {
            return None;
        }
        self.suspects.push(*host);
        Some((*host, trouble.clone()))
    }

    fn pump(&mut self) {
        let ways: Vec<Way> = self.waiting.keys().copied().collect();
        for way in ways {
            if self.active.contains(&way) || !self.has_room(way) {
                continue;
            }
            let batch = self.next_batch(way);
            self.active.push(way);
            let carrier = Arc::clone(&self.carrier);
            self.carrier.runtime.spawn(async move { carrier.carry(way, batch).await });
        }
    }

    fn has_room(&self, (from, to): Way) -> bool {
        let touches = |host: HostId| move |w: &&Way| w.1 == host || w.0 == Source::Host(host);
        let busy = |host: HostId| {
            host != HostId::HOME && self.active.iter().filter(touches(host)).count() >= COPIES_PER_HOST
        };
        !busy(to) && !matches!(from, Source::Host(h) if busy(h))
    }

    /// As many of the waiting parcels as fit one command line, but at least one.
    fn next_batch(&mut self, way: Way) -> Vec<Parcel> {
        let mut waiting = self.waiting.remove(&way).unwrap_or_default();
        let (mut count, mut paths) = (0, 0);
        for parcel in &waiting {
            paths += parcel.paths.len();
            if count > 0 && paths > MAX_PATHS {
                break;
            }
            count += 1;
        }
        let rest = waiting.split_off(count);
        if !rest.is_empty() {
            self.waiting.insert(way, rest);
        }
        waiting
    }
}

impl Drop for Stager {
    /// A run may be over before its connections are: they are to be closed and their sockets removed
    /// as all others are. One that hangs is left to the end of this process.
    fn drop(&mut self) {
        let warming = std::mem::take(&mut self.warming);
        if warming.iter().all(JoinHandle::is_finished) {
            return;
        }
        let all = async {
            for task in warming {
                let _ = task.await;
            }
        };
        let _ = self.carrier.runtime.block_on(async { tokio::time::timeout(WARM_UP, all).await });
    }
}
