//! Connections for transfers and for questions while the slots build: opened when needed, kept, and
//! cut when their host is lost.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::link::Interrupt;
use super::mux::Mux;
use super::roots::Roots;
use super::session::{Session, Trouble};
use crate::base::Table;
use crate::fleet::HostId;

/// The porters of all hosts. How many a host has at a time is up to those who ask for them.
pub(super) struct Porters {
    mux: Arc<Mux>,
    hosts: Table<HostId, Mutex<State>>,
    roots: Table<HostId, Arc<Roots>>,
}

#[derive(Default)]
struct State {
    idle: Vec<Session>,
    /// Of those that are out.
    out: Vec<(u64, Interrupt)>,
    next: u64,
    /// Counts the losses: a porter from before one is not taken back.
    epoch: u32,
}

/// A connection on loan.
pub(super) struct Porter {
    pub session: Session,
    id: u64,
    epoch: u32,
}

impl Porters {
    pub fn new(mux: Arc<Mux>, roots: Table<HostId, Arc<Roots>>) -> Self {
        Self { mux, hosts: roots.ids().map(|_| Mutex::default()).collect(), roots }
    }

    /// What the host's connections keep from being collected.
    pub fn roots(&self, host: HostId) -> &Roots {
        &self.roots[host]
    }

    /// How often a host was lost.
    pub fn epoch(&self, host: HostId) -> u32 {
        self.state(host).epoch
    }

    fn state(&self, host: HostId) -> MutexGuard<'_, State> {
        self.hosts[host].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An idle connection, or a new one.
    ///
    /// # Errors
    /// The host cannot be connected to.
    pub fn take(&self, host: HostId) -> Result<Porter, Trouble> {
        let idle = self.state(host).idle.pop();
        let alive = idle.and_then(|mut session| {
            let alive = session.client.get_mut().keep_alive().is_ok();
            if !alive {
                self.roots[host].connection_ended();
            }
            alive.then_some(session)
        });
        let session = match alive {
            Some(session) => session,
            None => self.mux.session(host)?,
        };
        let mut state = self.state(host);
        state.next += 1;
        let id = state.next;
        state.out.push((id, session.interrupt.clone()));
        Ok(Porter { session, id, epoch: state.epoch })
    }

    /// Sees to it that a first connection is there before it is needed. Whatever is wrong shows when one
    /// is taken.
    pub fn warm(&self, host: HostId) {
        if let Ok(porter) = self.take(host) {
            self.give_back(host, porter);
        }
    }

    /// Takes a connection back, if it is still of use.
    pub fn give_back(&self, host: HostId, porter: Porter) {
        let mut state = self.state(host);
        state.out.retain(|(id, _)| *id != porter.id);
        if porter.session.client.is_usable() && porter.epoch == state.epoch {
            state.idle.push(porter.session);
        } else {
            // The idle ones go over the same shared connection: if that broke, each would be tried in vain.
            state.idle.clear();
            self.roots[host].connection_ended();
        }
    }

    /// Ends every connection to a host that was lost.
    pub fn cut(&self, host: HostId) {
        let mut state = self.state(host);
        state.epoch += 1;
        state.idle.clear();
        self.roots[host].connection_ended();
        state.out.iter().for_each(|(_, interrupt)| interrupt.fire());
    }
}
