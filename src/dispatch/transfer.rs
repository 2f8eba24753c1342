//! Moving closures between stores, in batches.
//!
//! Transfers of the same way (from, to) that are ordered while one is under way go together in the
//! next. Large closures are moved by `nix copy` over a multiplexed connection; for small ones, where
//! starting it would take longer than the bytes, they are streamed between live connections. What is
//! substituted is asked of the destination's own daemon. The scheduler decided what goes where; here
//! it is only carried out.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use crossbeam::channel::Sender;
use tokio::process::Command;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use super::build::Roots;
use super::mux::Mux;
use super::nix_copy::{self, Failed};
use super::porters::{Porter, Porters};
use super::session::{Access, Trouble};
use super::stream::{self, End, Fault, Knowledge, at};
use super::trust;
use crate::base::{Span, Table};
use crate::fleet::HostId;
use crate::graph::{PathId, Workload};
use crate::run::{Event, Side, Source, TransferId};

/// Paths on one command line: well below the kernel's limit on arguments.
const MAX_PATHS: usize = 500;

/// Copies at a time from or to one host; sshd allows ten sessions a connection (`MaxSessions`).
const COPIES_PER_HOST: usize = 4;

/// From so many bytes on, as far as is known beforehand, a batch is worth a `nix copy`: about a second
/// of a fast link, where its processes take a fifth of one.
const WORTH_NIX_COPY: u64 = 64 << 20;

/// How long the end of a run waits for connections that are still being made.
const WARM_UP: Duration = Duration::from_secs(1);

type Way = (Source, HostId);

/// One ordered transfer.
#[derive(Clone, Debug)]
struct Parcel {
    transfer: TransferId,
    paths: Vec<PathId>,
}

/// What carries transfers out.
pub(super) struct Carrier {
    pub work: Arc<Workload>,
    pub hosts: Table<HostId, Arc<Access>>,
    pub roots: Table<HostId, Roots>,
    pub porters: Porters,
    pub known: Arc<Knowledge>,
    pub mux: Arc<Mux>,
    pub nix: PathBuf,
    pub runtime: Handle,
    pub out: Sender<Delivery>,
}

/// A batch that is over.
#[derive(Debug)]
pub(super) struct Delivery {
    way: Way,
    pub events: Vec<Event>,
    /// Hosts that turned out not to answer.
    pub lost: Vec<(HostId, Trouble)>,
}

/// Queues transfers by their way and keeps the carriers busy.
pub(super) struct Stager {
    carrier: Arc<Carrier>,
    waiting: BTreeMap<Way, Vec<Parcel>>,
    active: Vec<Way>,
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
        // Ending ssh may take a while.
        self.carrier.runtime.spawn_blocking(move || mux.close(host));
    }

    /// A host lacks what it was thought to have: whatever is known of it has to be asked again.
    pub fn doubt(&self, host: HostId) {
        self.carrier.known.forget(host);
        self.carrier.roots[host].lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Takes note of a batch that is over; its events are to be passed on.
    pub fn delivered(&mut self, delivery: &Delivery) {
        if let Some(i) = self.active.iter().position(|way| *way == delivery.way) {
            self.active.swap_remove(i);
        }
        self.pump();
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
        let all = async {
            for task in warming {
                let _ = task.await;
            }
        };
        let _ = self.carrier.runtime.block_on(async { tokio::time::timeout(WARM_UP, all).await });
    }
}

impl Carrier {
    async fn carry(self: Arc<Self>, way: Way, batch: Vec<Parcel>) {
        let began = Instant::now();
        let result = self.attempt(way, &batch).await;
        let took = Span::from(began.elapsed());
        let mut left = *result.as_ref().unwrap_or(&0);
        let mut events = Vec::with_capacity(batch.len());
        for parcel in &batch {
            events.push(match &result {
                Ok(_) => {
                    // What went over is known for the batch as a whole: the first parcels take it up.
                    let size = parcel.paths.iter().map(|&p| self.size(way.0, p)).sum::<u64>();
                    let last = parcel.transfer == batch[batch.len() - 1].transfer;
                    let bytes = if last { left } else { size.min(left) };
                    left -= bytes;
                    Event::Staged { transfer: parcel.transfer, bytes, took }
                }
                Err(Fault { side, cause, .. }) => {
                    Event::StageFailed { transfer: parcel.transfer, side: *side, cause: cause.clone() }
                }
            });
        }
        let lost = result.err().and_then(|fault| lost(way, &fault)).into_iter().collect();
        // The world is gone only when the run is over.
        let _ = self.out.send(Delivery { way, events, lost });
    }

    /// The bytes that went over.
    async fn attempt(self: &Arc<Self>, (from, to): Way, batch: &[Parcel]) -> Result<u64, Fault> {
        let ids: Vec<PathId> = batch.iter().flat_map(|b| &b.paths).copied().collect();
        let paths: Vec<String> = ids.iter().map(|&p| self.work.paths[p].path.clone()).collect();
        let size: u64 = ids.iter().map(|&p| self.size(from, p)).sum();
        match from {
            Source::Host(from) if size >= WORTH_NIX_COPY => {
                self.copy(from, to, &paths, size).await.map(|()| size)
            }
            from => {
                let carrier = Arc::clone(self);
                let done = tokio::task::spawn_blocking(move || match from {
                    Source::Host(from) => carrier.stream(from, to, &ids, &paths),
                    Source::Substituter => carrier.substitute(to, &paths).map(|()| size),
                });
                done.await.unwrap_or_else(|e| Err(Fault::new(Side::Unknown, e.to_string())))
            }
        }
    }

    /// The size of a path where it comes from, or else what was guessed of it.
    fn size(&self, from: Source, path: PathId) -> u64 {
        let spec = &self.work.paths[path];
        let known = match from {
            Source::Host(host) => self.known.size(host, &spec.path),
            Source::Substituter => None,
        };
        known.unwrap_or(spec.size)
    }

    /// Streams a closure from one live connection to another.
    fn stream(&self, from: HostId, to: HostId, ids: &[PathId], paths: &[String]) -> Result<u64, Fault> {
        self.with_porter(from, Side::Source, |source| {
            self.with_porter(to, Side::Destination, |destination| {
                let end =
                    |host: HostId| move |client| End { host, client, patience: self.hosts[host].patience() };
                let source = end(from)(&mut source.session.client);
                let destination = end(to)(&mut destination.session.client);
                let bytes = stream::copy(&self.known, source, destination, paths)?;
                // The connection that took them in keeps them from being collected.
                self.roots[to].lock().unwrap_or_else(PoisonError::into_inner).extend(ids);
                Ok(bytes)
            })
        })
        .map_err(|fault| {
            let advice = if is_unsigned(&fault.cause) { self.signatures(to) } else { String::new() };
            let (from, to) = (self.hosts[from].name(), self.hosts[to].name());
            let cause = format!("copying from {from} to {to}: {}{advice}", fault.cause);
            Fault { cause, ..fault }
        })
    }

    fn with_porter<T>(
        &self,
        host: HostId,
        side: Side,
        work: impl FnOnce(&mut Porter) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let mut porter = self.porters.take(host).map_err(not_connected(side))?;
        let result = work(&mut porter);
        self.porters.give_back(host, porter);
        result
    }

    /// Lets the destination's daemon fetch paths from its substituters.
    fn substitute(&self, to: HostId, paths: &[String]) -> Result<(), Fault> {
        self.with_porter(to, Side::Destination, |porter| {
            let patience = self.hosts[to].patience();
            porter.session.client.get_mut().set_patience(Some(patience.fetching));
            for path in paths {
                porter.session.client.ensure_path(path).map_err(|e| {
                    let side = if e.is_connection() { Side::Destination } else { Side::Source };
                    let fault = at(side)(e);
                    let cause = format!("{} could not fetch {path}: {}", self.hosts[to].name(), fault.cause);
                    Fault { cause, ..fault }
                })?;
            }
            porter.session.client.get_mut().set_patience(Some(patience.asking));
            Ok(())
        })
    }

    async fn copy(
        self: &Arc<Self>,
        from: HostId,
        to: HostId,
        paths: &[String],
        size: u64,
    ) -> Result<(), Fault> {
        let mut command = Command::new(&self.nix);
        command.args(["--extra-experimental-features", "nix-command", "copy", "--no-check-sigs"]);
        for (flag, host, side) in [("--from", from, Side::Source), ("--to", to, Side::Destination)] {
            if host != HostId::HOME {
                let uri = self.mux.uri(host).await.map_err(not_connected(side))?;
                command.arg(flag).arg(uri);
            }
        }
        command.args(paths).env("NIX_SSHOPTS", self.mux.ssh_options());
        match nix_copy::run(command, self.hosts[to].patience().sending(size)).await {
            Ok(()) => Ok(()),
            Err(Failed::Run(e)) => Err(Fault::new(Side::Unknown, format!("cannot run nix copy: {e}"))),
            Err(Failed::Said(text)) => Err(self.explain(from, to, &text)),
            Err(Failed::Silent(limit)) => {
                let (carrier, some) = (Arc::clone(self), paths.first().cloned().unwrap_or_default());
                let looked =
                    tokio::task::spawn_blocking(move || carrier.who_is_silent(from, to, &some)).await;
                looked.unwrap_or_else(|e| Err(Fault::new(Side::Unknown, e.to_string())))?;
                let (from, to) = (self.hosts[from].name(), self.hosts[to].name());
                let text =
                    format!("nix copy from {from} to {to}: nothing went over for {} s", limit.as_secs());
                Err(Fault::new(Side::Unknown, text))
            }
        }
    }

    /// Asks both ends of a copy that hangs for a sign of life; the one that gives none is at fault.
    fn who_is_silent(&self, from: HostId, to: HostId, path: &str) -> Result<(), Fault> {
        for (host, side) in [(from, Side::Source), (to, Side::Destination)] {
            self.with_porter(host, side, |porter| {
                porter.session.client.query_valid_paths(&[path], false).map(|_| ()).map_err(at(side))
            })?;
        }
        Ok(())
    }

    /// Whose fault a failed copy is, and what to do about it.
    fn explain(&self, from: HostId, to: HostId, stderr: &str) -> Fault {
        let text = super::judge::plain(stderr);
        let last = text.lines().rev().find(|l| !l.trim().is_empty()).unwrap_or("no reason given").trim();
        let side = if text.contains("is not valid") || text.contains("does not exist in the store") {
            Side::Source
        } else if text.contains("No space left") || is_unsigned(&text) {
            Side::Destination
        } else {
            Side::Unknown
        };
        let advice = if is_unsigned(&text) { self.signatures(to) } else { String::new() };
        let (from, to) = (self.hosts[from].name(), self.hosts[to].name());
        Fault::new(side, format!("nix copy from {from} to {to}: {last}{advice}"))
    }

    /// What to do where a host wants signatures that there are none of.
    fn signatures(&self, to: HostId) -> String {
        if to == HostId::HOME {
            return format!("; {}", trust::remedy());
        }
        let to = self.hosts[to].name();
        format!("; let the Nix of {to} trust this user (`extra-trusted-users` in /etc/nix/nix.conf there)")
    }
}

/// Nix's words for a path that it does not take unsigned.
fn is_unsigned(text: &str) -> bool {
    text.contains("lacks a signature") || text.contains("lacks a valid signature")
}

fn not_connected(side: Side) -> impl Fn(Trouble) -> Fault {
    move |trouble| Fault { side, cause: trouble.text, silent: trouble.silent }
}

/// The host that a fault says is lost.
fn lost((from, to): Way, fault: &Fault) -> Option<(HostId, Trouble)> {
    let host = match (fault.side, from) {
        (Side::Destination, _) => to,
        (Side::Source, Source::Host(from)) => from,
        _ => return None,
    };
    fault.silent.then(|| (host, Trouble::silent(&fault.cause)))
}
