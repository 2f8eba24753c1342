//! The multiplexed connections that transfers go over: one per host, opened when first needed.
//!
//! A copy between two builders involves two hosts but has only one `NIX_SSHOPTS`, so the hosts get
//! aliases of this program's own in an ssh_config of this program's own, which lead to the sockets of
//! their masters and nowhere else.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::{Arc, Mutex, PoisonError};

use super::kept::Kept;
use super::link::{Gate, LinkError, Master, Resolved};
use super::session::{Access, Session, Trouble};
use crate::base::Table;
use crate::fleet::HostId;

/// The connections of a run, closed when this is dropped.
pub struct Mux {
    hosts: Table<HostId, Entry>,
    dir: tempfile::TempDir,
    /// What the ssh_config says now.
    sockets: Mutex<BTreeMap<HostId, std::path::PathBuf>>,
}

struct Entry {
    access: Arc<Access>,
    master: Kept<Master>,
    gate: Gate,
    /// What comes after the host in the store URI.
    parameters: String,
}

impl Mux {
    /// No connection yet.
    ///
    /// # Errors
    /// No temporary directory can be made.
    pub fn new(hosts: impl IntoIterator<Item = (Arc<Access>, String)>) -> std::io::Result<Self> {
        let entry =
            |(access, parameters)| Entry { access, master: Kept::default(), gate: Gate::new(1), parameters };
        Ok(Self {
            hosts: hosts.into_iter().map(entry).collect(),
            dir: tempfile::Builder::new().prefix("drvd-").tempdir()?,
            sockets: Mutex::new(BTreeMap::new()),
        })
    }

    /// The store URI of a host, usable as long as its master lives; opens that if need be.
    ///
    /// # Errors
    /// The host cannot be connected to.
    pub async fn uri(self: &Arc<Self>, host: HostId) -> Result<String, Trouble> {
        let mux = Arc::clone(self);
        let opened = tokio::task::spawn_blocking(move || mux.with_master(host, |_, _| Ok(()))).await;
        opened.unwrap_or_else(|e| Err(Trouble::passing(e.to_string())))?;
        Ok(format!("ssh-ng://{}{}", alias(host), self.hosts[host].parameters))
    }

    /// `NIX_SSHOPTS` for every URI of this mux.
    pub fn ssh_options(&self) -> String {
        format!("-F {}", self.dir.path().join("config").display())
    }

    /// Gives the connection to a host up: nothing new goes over it. Ending it is up to
    /// [`Self::clear_away`].
    pub fn give_up(&self, host: HostId) {
        self.hosts[host].master.give_up();
    }

    /// Ends a connection that was given up, and with it the copies that go over it. May take a while.
    pub fn clear_away(&self, host: HostId) {
        self.hosts[host].master.clear_away();
    }

    /// Whether the connection to a host is known to have ended.
    pub fn is_broken(&self, host: HostId) -> bool {
        let entry = &self.hosts[host];
        !entry.access.is_local() && entry.master.is_good(Master::is_alive) == Some(false)
    }

    /// A session with the host's Nix over its shared connection; of this machine, one of its own.
    ///
    /// # Errors
    /// The host cannot be connected to or not be used.
    pub fn session(&self, host: HostId) -> Result<Session, Trouble> {
        let access = &self.hosts[host].access;
        if access.is_local() {
            return access.open(None);
        }
        let link = self.with_master(host, |master, resolved| Ok(master.link(resolved)?))?;
        access.shake_hands(link)
    }

    /// Does something with the host's master, opened anew if need be.
    fn with_master<T>(
        &self,
        host: HostId,
        work: impl FnOnce(&Master, &Resolved) -> Result<T, Trouble>,
    ) -> Result<T, Trouble> {
        let entry = &self.hosts[host];
        let name = entry.access.name();
        let Some(resolved) = entry.access.resolved()? else {
            return Err(Trouble::lasting(format!("{name} is this machine")));
        };
        let open = || -> Result<Master, Trouble> {
            let master = Master::open(&resolved, None, &entry.gate)?;
            self.publish(host, &master).map_err(|e| LinkError::Config {
                host: name.to_owned(),
                cause: format!("writing an ssh_config: {e}"),
            })?;
            Ok(master)
        };
        entry.master.with(Master::is_alive, open, |master| work(master, &resolved))
    }

    /// Writes the ssh_config anew, in one step, for copies that are starting just now.
    fn publish(&self, host: HostId, master: &Master) -> std::io::Result<()> {
        let mut sockets = self.sockets.lock().unwrap_or_else(PoisonError::into_inner);
        sockets.insert(host, master.socket());
        let mut text = String::new();
        for (host, socket) in sockets.iter() {
            // Without its master an alias leads nowhere: better no connection than another host's.
            let _ = writeln!(
                text,
                "Host {}\n  ControlPath {}\n  ControlMaster no\n  BatchMode yes\n  ProxyCommand false",
                alias(*host),
                socket.display()
            );
        }
        let mut file = tempfile::NamedTempFile::new_in(self.dir.path())?;
        file.write_all(text.as_bytes())?;
        file.persist(self.dir.path().join("config"))?;
        Ok(())
    }
}

impl Drop for Mux {
    /// All of them end at the same time.
    fn drop(&mut self) {
        for (_, entry) in self.hosts.iter_mut() {
            entry.master.get_mut().into_iter().for_each(Master::begin_close);
        }
    }
}

fn alias(host: HostId) -> String {
    format!("drvdispatch-{}", host.0)
}
