//! Moving closures between stores, in batches.
//!
//! Transfers of the same way (from, to) that are ordered while one is under way go together in the
//! next. Large closures are moved by `nix copy` over a multiplexed connection; for small ones, where
//! starting it would take longer than the bytes, they are streamed between live connections. What is
//! substituted is asked of the destination's own daemon. The scheduler decided what goes where; here
//! it is only carried out.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam::channel::Sender;
use tokio::io::AsyncReadExt;
use tokio::process::Command;
use tokio::runtime::Handle;

use super::mux::Mux;
use super::porters::{Porter, Porters};
use super::session::{Access, Trouble};
use super::stream::{self, End, Fault, Knowledge};
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

/// The waits before what a broken connection cut off is tried over a new one.
const WAITS: [Duration; 3] = [Duration::ZERO, Duration::from_secs(1), Duration::from_secs(3)];

/// Not tried again once it took so long to find out that a host cannot be connected to.
const PATIENCE: Duration = Duration::from_secs(10);

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
    /// The host whose connections broke again and again.
    broken: Option<Broken>,
}

/// A host that transfers could not reach.
#[derive(Debug)]
struct Broken {
    host: HostId,
    /// How often it had been lost by then.
    epoch: u32,
    trouble: Trouble,
}

/// Queues transfers by their way and keeps the carriers busy.
pub(super) struct Stager {
    carrier: Arc<Carrier>,
    waiting: BTreeMap<Way, Vec<Parcel>>,
    active: Vec<Way>,
    /// Hosts that were said to be lost because of a transfer, since when none succeeded.
    suspects: Vec<HostId>,
}

impl Stager {
    pub fn new(carrier: Carrier) -> Self {
        Self {
            carrier: Arc::new(carrier),
            waiting: BTreeMap::new(),
            active: Vec::new(),
            suspects: Vec::new(),
        }
    }

    /// Takes an order.
    pub fn stage(&mut self, transfer: TransferId, from: Source, to: HostId, paths: Vec<PathId>) {
        self.waiting.entry((from, to)).or_default().push(Parcel { transfer, paths });
        self.pump();
    }

    /// Forgets what waits to go to or from a lost host and ends what is under way.
    pub fn forget(&mut self, host: HostId) {
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

    /// The host that has to be counted as lost after this delivery; not one that `builds`, whose builds will
    /// tell. Once only, until a transfer succeeds: a host that can be connected to but takes no part in
    /// transfers would be lost and found for ever.
    pub fn lost_by(
        &mut self,
        delivery: &Delivery,
        builds: impl Fn(HostId) -> bool,
    ) -> Option<(HostId, Trouble)> {
        let Broken { host, epoch, trouble } = delivery.broken.as_ref()?;
        if builds(*host) || self.suspects.contains(host) || self.carrier.porters.epoch(*host) != *epoch {
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

impl Carrier {
    async fn carry(self: Arc<Self>, way: Way, batch: Vec<Parcel>) {
        let mut delivery = Delivery { way, events: Vec::with_capacity(batch.len()), broken: None };
        let (began, result) = (Instant::now(), self.persist(way, &batch).await);
        match &result {
            // One path that cannot be had must not keep the others away.
            Err(fault) if !fault.connection && batch.len() > 1 => {
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
        if let Err(Fault { side, cause, connection: true }) = result
            && let Some(host) = host_at(way, *side).filter(|&h| h != HostId::HOME)
        {
            let trouble = Trouble { passing: true, text: cause.clone() };
            delivery.broken = Some(Broken { host, epoch: self.porters.epoch(host), trouble });
        }
    }

    /// Tries again over new connections what a broken one cut off: that says nothing about what its host
    /// has. The bytes that went over.
    async fn persist(self: &Arc<Self>, way: Way, batch: &[Parcel]) -> Result<u64, Fault> {
        let epochs = || [host_at(way, Side::Source), Some(way.1)].map(|h| h.map(|h| self.porters.epoch(h)));
        let (before, began) = (epochs(), Instant::now());
        let mut waits = WAITS.into_iter();
        loop {
            let fault = match self.attempt(way, batch).await {
                Err(fault) if fault.connection => fault,
                other => return other,
            };
            let Some(wait) = waits.next().filter(|_| began.elapsed() < PATIENCE) else { return Err(fault) };
            tokio::time::sleep(wait).await;
            // Nobody waits any more for what goes to or from a host that was lost meanwhile.
            if epochs() != before {
                return Err(Fault { connection: false, ..fault });
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
                self.copy(from, to, &paths).await?;
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
                let source = End { host: from, client: &mut source.session.client };
                let destination = End { host: to, client: &mut destination.session.client };
                let bytes = stream::copy(&self.known, source, destination, paths)?;
                // The connection that took them in keeps them from being collected.
                self.porters.roots(to).note(ids.iter().copied());
                Ok(bytes)
            })
        })
        .map_err(|fault| {
            let (from, to) = (self.hosts[from].name(), self.hosts[to].name());
            Fault { cause: format!("copying from {from} to {to}: {}", fault.cause), ..fault }
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
            for path in paths {
                porter.session.client.ensure_path(path).map_err(|e| {
                    let side = if e.is_connection() { Side::Destination } else { Side::Source };
                    let cause = format!("{} could not fetch {path}: {e}", self.hosts[to].name());
                    Fault { side, cause, connection: e.is_connection() }
                })?;
            }
            Ok(())
        })
    }

    async fn copy(&self, from: HostId, to: HostId, paths: &[String]) -> Result<(), Fault> {
        let mut command = Command::new(&self.nix);
        command.args(["--extra-experimental-features", "nix-command", "copy", "--no-check-sigs"]);
        for (flag, host, side) in [("--from", from, Side::Source), ("--to", to, Side::Destination)] {
            if host != HostId::HOME {
                let uri = self.mux.uri(host).await.map_err(|t| Fault::of_trouble(side, t))?;
                command.arg(flag).arg(uri);
            }
        }
        command.args(paths).env("NIX_SSHOPTS", self.mux.ssh_options());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child =
            command.spawn().map_err(|e| Fault::new(Side::Unknown, format!("cannot run nix copy: {e}")))?;
        let mut text = Vec::new();
        if let Some(stderr) = child.stderr.take() {
            // Only the end is of interest, but a copy says little.
            let _ = stderr.take(1 << 20).read_to_end(&mut text).await;
        }
        match child.wait().await {
            Ok(status) if status.success() => Ok(()),
            Ok(_) => Err(self.explain(from, to, &String::from_utf8_lossy(&text))),
            Err(e) => Err(Fault::new(Side::Unknown, format!("nix copy: {e}"))),
        }
    }

    /// Whose fault a failed copy is, and what to do about it.
    fn explain(&self, from: HostId, to: HostId, stderr: &str) -> Fault {
        let text = super::judge::plain(stderr);
        let last = text.lines().rev().find(|l| !l.trim().is_empty()).unwrap_or("no reason given").trim();
        let mut connection = false;
        let side = if text.contains("is not valid") || text.contains("does not exist in the store") {
            Side::Source
        } else if text.contains("No space left") || text.contains("lacks a") {
            Side::Destination
        } else {
            let ends = [(from, Side::Source), (to, Side::Destination)];
            let broken = ends.into_iter().find(|(host, _)| self.mux.is_broken(*host));
            connection = broken.is_some();
            broken.map_or(Side::Unknown, |(_, side)| side)
        };
        let (from, to) = (self.hosts[from].name(), self.hosts[to].name());
        let advice = if text.contains("lacks a") {
            "; let its Nix trust this user (`extra-trusted-users` in /etc/nix/nix.conf)"
        } else {
            ""
        };
        Fault { side, cause: format!("nix copy from {from} to {to}: {last}{advice}"), connection }
    }
}

/// Which host a side of a transfer is; none for a substituter, or if that is not known.
fn host_at((from, to): Way, side: Side) -> Option<HostId> {
    match (side, from) {
        (Side::Source, Source::Host(host)) => Some(host),
        (Side::Destination, _) => Some(to),
        (Side::Source | Side::Unknown, _) => None,
    }
}
