//! Moving closures between stores, a batch of the [stager](super::stager) at a time.
//!
//! Large closures are moved by `nix copy` over a multiplexed connection; for small ones, where
//! starting it would take longer than the bytes, they are streamed between live connections. What is
//! substituted is asked of the destination's own daemon. The scheduler decided what goes where; here
//! it is only carried out.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam::channel::Sender;
use tokio::process::Command;
use tokio::runtime::Handle;

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

/// From so many bytes on, as far as is known beforehand, a batch is worth a `nix copy`: about a second
/// of a fast link, where its processes take a fifth of one.
const WORTH_NIX_COPY: u64 = 64 << 20;

/// The waits before what a broken connection cut off is tried over a new one.
const WAITS: [Duration; 3] = [Duration::ZERO, Duration::from_secs(1), Duration::from_secs(3)];

/// How often a copy may be overtaken by others that bring the same; each time less of it is left.
const RACES: usize = 20;

/// Not tried again once it took so long to find out that a host cannot be connected to.
const TRYING: Duration = Duration::from_secs(10);

pub(super) type Way = (Source, HostId);

/// One ordered transfer.
#[derive(Clone, Debug)]
pub(super) struct Parcel {
    pub transfer: TransferId,
    pub paths: Vec<PathId>,
}

/// What carries transfers out.
pub(super) struct Carrier {
    pub work: Arc<Workload>,
    pub hosts: Table<HostId, Arc<Access>>,
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
    pub way: Way,
    pub events: Vec<Event>,
    /// The host whose connections broke again and again, or that fell silent.
    pub broken: Option<Broken>,
}

/// A host that transfers could not reach.
#[derive(Debug)]
pub(super) struct Broken {
    pub host: HostId,
    /// How often it had been lost by then.
    pub epoch: u32,
    pub trouble: Trouble,
}

impl Carrier {
    /// Carries a batch and reports what came of it.
    pub async fn carry(self: Arc<Self>, way: Way, batch: Vec<Parcel>) {
        let mut delivery = Delivery { way, events: Vec::with_capacity(batch.len()), broken: None };
        let (before, began) = (self.epochs(way), Instant::now());
        let result = self.persist(way, &batch).await;
        match &result {
            // One path that cannot be had must not keep the others away. But nobody waits any more for what
            // goes to or from a host that was lost meanwhile.
            Err(fault) if !fault.connection && batch.len() > 1 && self.epochs(way) == before => {
                for parcel in batch.chunks(1) {
                    let (began, result) = (Instant::now(), self.persist(way, parcel).await);
                    self.report(&mut delivery, parcel, began, &result);
                }
            }
            _ => self.report(&mut delivery, &batch, began, &result),
        }
        // The world is gone only when the run is over.
        let _ = self.out.send(delivery);
    }

    /// Adds what came of some parcels to a delivery.
    fn report(&self, delivery: &mut Delivery, batch: &[Parcel], began: Instant, result: &Result<u64, Fault>) {
        let (way, took) = (delivery.way, Span::from(began.elapsed()));
        let mut left = *result.as_ref().unwrap_or(&0);
        for parcel in batch {
            delivery.events.push(match result {
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
        if let Err(Fault { side, cause, connection: true, silent, .. }) = result
            && let Some(host) = host_at(way, *side).filter(|&h| *silent || h != HostId::HOME)
        {
            let trouble = if *silent { Trouble::silent(cause) } else { Trouble::passing(cause) };
            delivery.broken = Some(Broken { host, epoch: self.porters.epoch(host), trouble });
        }
    }

    /// How often the hosts of a way have been lost.
    fn epochs(&self, way: Way) -> [Option<u32>; 2] {
        [host_at(way, Side::Source), Some(way.1)].map(|host| host.map(|h| self.porters.epoch(h)))
    }

    /// Tries again over new connections what a broken one cut off: that says nothing about what its host
    /// has. Who does not answer was waited for long enough. The bytes that went over.
    async fn persist(self: &Arc<Self>, way: Way, batch: &[Parcel]) -> Result<u64, Fault> {
        let (before, began) = (self.epochs(way), Instant::now());
        let (mut waits, mut races) = (WAITS.into_iter(), 0);
        loop {
            let fault = match self.attempt(way, batch).await {
                Err(fault) if fault.connection => fault,
                Err(fault) if races < RACES && fault.overtaken => {
                    races += 1;
                    continue;
                }
                other => return other,
            };
            let wait = waits.next().filter(|_| !fault.silent && began.elapsed() < TRYING);
            tokio::time::sleep(wait.unwrap_or_default()).await;
            // Nobody waits any more for what goes to or from a host that was lost meanwhile.
            if self.epochs(way) != before {
                return Err(Fault { connection: false, silent: false, ..fault });
            }
            if wait.is_none() {
                return Err(fault);
            }
        }
    }

    /// The bytes that went over.
    async fn attempt(self: &Arc<Self>, (from, to): Way, batch: &[Parcel]) -> Result<u64, Fault> {
        let ids: Vec<PathId> = batch.iter().flat_map(|b| &b.paths).copied().collect();
        let paths: Vec<String> = ids.iter().map(|&p| self.work.paths[p].path.clone()).collect();
        let size: u64 = ids.iter().map(|&p| self.size(from, p)).sum();
        match from {
            Source::Host(from) if size >= WORTH_NIX_COPY => {
                self.copy(from, to, &paths, size).await?;
                let carrier = Arc::clone(self);
                // What the copy's own connection kept from being collected. If that fails, the build asks.
                let _ = tokio::task::spawn_blocking(move || carrier.keep(to, &ids)).await;
                Ok(size)
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
                self.porters.roots(to).note(ids.iter().copied());
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

    /// Has a connection to the host keep paths from being collected.
    fn keep(&self, host: HostId, paths: &[PathId]) -> Result<(), Fault> {
        self.with_porter(host, Side::Destination, |porter| {
            let kept = self.porters.roots(host).keep(&mut porter.session.client, &self.work, paths);
            kept.map_err(|e| Fault::of_error(Side::Destination, &e))
        })
    }

    fn with_porter<T>(
        &self,
        host: HostId,
        side: Side,
        work: impl FnOnce(&mut Porter) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let mut porter = self.porters.take(host).map_err(|t| Fault::of_trouble(side, t))?;
        // What connections kept that have ended since.
        let kept = self.porters.roots(host).keep(&mut porter.session.client, &self.work, &[]);
        let result = kept.map_err(|e| Fault::of_error(side, &e)).and_then(|()| work(&mut porter));
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
                let uri = self.mux.uri(host).await.map_err(|t| Fault::of_trouble(side, t))?;
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
        let mut connection = false;
        let side = if text.contains("is not valid") || text.contains("does not exist in the store") {
            Side::Source
        } else if text.contains("No space left") || is_unsigned(&text) {
            Side::Destination
        } else {
            let ends = [(from, Side::Source), (to, Side::Destination)];
            let broken = ends.into_iter().find(|(host, _)| self.mux.is_broken(*host));
            connection = broken.is_some();
            broken.map_or(Side::Unknown, |(_, side)| side)
        };
        let advice = if is_unsigned(&text) { self.signatures(to) } else { String::new() };
        let (from, to) = (self.hosts[from].name(), self.hosts[to].name());
        let fault = Fault::new(side, format!("nix copy from {from} to {to}: {last}{advice}"));
        Fault { connection, ..fault }
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

/// Which host a side of a transfer is; none for a substituter, or if that is not known.
fn host_at((from, to): Way, side: Side) -> Option<HostId> {
    match (side, from) {
        (Side::Source, Source::Host(host)) => Some(host),
        (Side::Destination, _) => Some(to),
        (Side::Source | Side::Unknown, _) => None,
    }
}
