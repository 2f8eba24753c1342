//! Copying a closure from one live connection to another, path by path, without a process of its own.
//!
//! What `nix copy` does, for closures so small that starting it and two remote daemons would take
//! longer than the bytes: the NARs go from the source's connection straight into the destination's.
//! Nothing is kept here but what is known of paths.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::io::PipeReader;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::link::Link;
use super::patience::Patience;
use super::session::Trouble;
use crate::base::Table;
use crate::fleet::HostId;
use crate::nix::wire::{Client, PathInfo, Upload, WireError};
use crate::run::Side;

/// What has been learned of the hosts' stores. Looked up, never iterated over.
#[derive(Debug, Default)]
pub(super) struct Knowledge {
    valid: Table<HostId, Mutex<HashSet<String>>>,
    infos: Table<HostId, Mutex<HashMap<String, PathInfo>>>,
}

/// Why a copy failed, and on which side.
#[derive(Clone, Debug)]
pub(super) struct Fault {
    pub side: Side,
    pub cause: String,
    /// Whether the connection to that side is at fault: the same may succeed over another one.
    pub connection: bool,
    /// Whether the host on that side does not answer, which is a fault of the connection, too: it is lost,
    /// and not only for this copy.
    pub silent: bool,
    /// Whether others brought what was to be copied, so that there is less to do at another try.
    pub overtaken: bool,
}

impl Fault {
    /// A fault that is none of the connection.
    pub fn new(side: Side, cause: impl Into<String>) -> Self {
        Self { side, cause: cause.into(), connection: false, silent: false, overtaken: false }
    }

    /// The host could not be connected to.
    pub fn of_trouble(side: Side, trouble: Trouble) -> Self {
        let (connection, silent) = (trouble.passing, trouble.silent);
        Self { connection, silent, ..Self::new(side, trouble.text) }
    }

    /// What the host's Nix said, or the end of its connection.
    pub fn of_error(side: Side, error: &WireError) -> Self {
        let silent = error.is_silence();
        let advice = if silent { "; see what holds that nix-daemon up" } else { "" };
        let (connection, overtaken) = (error.is_connection(), error.is_overtaken());
        Self { connection, silent, overtaken, ..Self::new(side, format!("{error}{advice}")) }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Knowledge {
    /// Nothing known of so many hosts.
    pub fn new(hosts: usize) -> Self {
        Self {
            valid: (0..hosts).map(|_| Mutex::default()).collect(),
            infos: (0..hosts).map(|_| Mutex::default()).collect(),
        }
    }

    /// A path is valid on a host, and this is what its store says of it.
    pub fn learn(&self, host: HostId, path: &str, info: PathInfo) {
        lock(&self.valid[host]).insert(path.to_owned());
        lock(&self.infos[host]).insert(path.to_owned(), info);
    }

    /// The size of a path as a NAR, as far as the host that has it was asked.
    pub fn size(&self, host: HostId, path: &str) -> Option<u64> {
        lock(&self.infos[host]).get(path).map(|info| info.nar_size)
    }

    /// Nothing is certain any more of a host that was away.
    pub fn forget(&self, host: HostId) {
        lock(&self.valid[host]).clear();
    }

    fn is_valid(&self, host: HostId, path: &str) -> bool {
        lock(&self.valid[host]).contains(path)
    }

    fn info(&self, host: HostId, client: &mut Client<Link>, path: &str) -> Result<PathInfo, Fault> {
        if let Some(info) = lock(&self.infos[host]).get(path) {
            return Ok(info.clone());
        }
        let info = client.query_path_info(path).map_err(at(Side::Source))?;
        let info =
            info.ok_or_else(|| Fault::new(Side::Source, format!("{path} is not valid there any more")))?;
        lock(&self.infos[host]).insert(path.to_owned(), info.clone());
        Ok(info)
    }
}

pub(super) fn at(side: Side) -> impl Fn(WireError) -> Fault {
    move |error| Fault::of_error(side, &error)
}

/// One end of a copy.
pub(super) struct End<'a> {
    pub host: HostId,
    pub client: &'a mut Client<Link>,
    pub patience: Patience,
}

/// Makes `paths`, each with its closure, valid at `to`; the bytes that went over.
pub(super) fn copy(known: &Knowledge, from: End, to: End, paths: &[String]) -> Result<u64, Fault> {
    let missing = missing_closure(known, from.host, from.client, to.host, to.client, paths)?;
    let order = references_first(&missing);
    let bytes: u64 = order.iter().map(|path| missing[*path].nar_size).sum();
    if !order.is_empty() {
        to.client.get_mut().set_patience(Some(to.patience.sending(bytes)));
        send(from.client, to.client, &order, &missing)?;
        to.client.get_mut().set_patience(Some(to.patience.asking));
    }
    for (path, info) in missing {
        known.learn(to.host, &path, PathInfo { ultimate: false, ..info });
    }
    Ok(bytes)
}

/// What `to` lacks of the closure of `paths`, by levels: one question to `to` for each.
fn missing_closure(
    known: &Knowledge,
    from: HostId,
    source: &mut Client<Link>,
    to: HostId,
    destination: &mut Client<Link>,
    paths: &[String],
) -> Result<BTreeMap<String, PathInfo>, Fault> {
    let mut missing: BTreeMap<String, PathInfo> = BTreeMap::new();
    let mut level: BTreeSet<String> = paths.iter().cloned().collect();
    while !level.is_empty() {
        let open: Vec<&str> = level.iter().filter(|p| !known.is_valid(to, p)).map(String::as_str).collect();
        if open.is_empty() {
            break;
        }
        let valid = destination.query_valid_paths(&open, false).map_err(at(Side::Destination))?;
        let valid: BTreeSet<&str> = valid.iter().map(String::as_str).collect();
        lock(&known.valid[to]).extend(valid.iter().map(|p| (*p).to_owned()));
        for path in open.into_iter().filter(|p| !valid.contains(p)) {
            missing.insert(path.to_owned(), known.info(from, source, path)?);
        }
        let next = level.iter().filter_map(|p| missing.get(p)).flat_map(|info| &info.references);
        level = next.filter(|p| !missing.contains_key(*p)).cloned().collect();
    }
    Ok(missing)
}

/// The paths in an order in which each comes after what it refers to.
fn references_first(infos: &BTreeMap<String, PathInfo>) -> Vec<&String> {
    let mut order = Vec::with_capacity(infos.len());
    let mut seen: BTreeSet<&String> = BTreeSet::new();
    for start in infos.keys() {
        // Each path is pushed to be entered, and again to be left after its references.
        let mut stack = vec![(start, false)];
        while let Some((path, leaving)) = stack.pop() {
            if leaving {
                order.push(path);
            } else if seen.insert(path) {
                stack.push((path, true));
                let refs = infos[path].references.iter();
                stack.extend(refs.filter_map(|r| infos.get_key_value(r)).map(|(key, _)| (key, false)));
            }
        }
    }
    order
}

/// Pumps the NARs from one connection into the other.
fn send(
    source: &mut Client<Link>,
    destination: &mut Client<Link>,
    order: &[&String],
    infos: &BTreeMap<String, PathInfo>,
) -> Result<(), Fault> {
    let (reader, mut writer) = std::io::pipe().map_err(|e| Fault::new(Side::Unknown, e.to_string()))?;
    let (read, written) = std::thread::scope(|scope| {
        let reading = scope.spawn(move || -> Result<(), WireError> {
            for path in order {
                source.nar_from_path(path, &mut writer)?;
            }
            Ok(())
        });
        // The reader is moved in, so that a destination that fails ends the source's thread as well.
        let written = upload(destination, reader, order, infos);
        let read = reading.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        (read, written)
    });
    match (read, written) {
        // Whichever end failed by itself is to blame; the other one only lost its pipe.
        (Err(e), _) if !matches!(e, WireError::Local { .. }) => Err(at(Side::Source)(e)),
        (_, Err(e)) => Err(at(Side::Destination)(e)),
        (Err(e), Ok(())) => Err(at(Side::Source)(e)),
        (Ok(()), Ok(())) => Ok(()),
    }
}

fn upload(
    destination: &mut Client<Link>,
    nars: PipeReader,
    order: &[&String],
    infos: &BTreeMap<String, PathInfo>,
) -> Result<(), WireError> {
    let mut readers: Vec<&PipeReader> = order.iter().map(|_| &nars).collect();
    let mut uploads: Vec<Upload> =
        order.iter().zip(&mut readers).map(|(path, nar)| Upload { path, info: &infos[*path], nar }).collect();
    destination.add_multiple_to_store(false, false, &mut uploads)
}

#[cfg(test)]
mod tests {
    use super::super::testkit::{self, LAST, Says};
    use super::*;

    const PATH: &str = "/nix/store/00000000000000000000000000000001-a";

    /// A source that has [`PATH`], 1000000 bytes long, and sends no more than the beginning of it.
    fn source() -> Says {
        let info = Says::greeting().word(LAST).word(1).string("").string("00").word(0).word(0);
        let info = info.word(1_000_000).word(1).word(0).string("");
        info.word(LAST).string("nix-archive-1").string("(")
    }

    /// A destination that has nothing.
    fn destination() -> Says {
        Says::greeting().word(LAST).word(0)
    }

    fn copy_between(from: &Says, to: &Says, reads: bool) -> Fault {
        let (from, _dir) = testkit::host(from, true);
        let (to, _dir2) = testkit::host(to, reads);
        let (mut from, mut to) = (from.open(None).unwrap(), to.open(None).unwrap());
        let end = |index, client| End { host: HostId(index), client, patience: testkit::LIMITS };
        let known = Knowledge::new(2);
        copy(&known, end(0, &mut from.client), end(1, &mut to.client), &[PATH.to_owned()]).unwrap_err()
    }

    /// The side that does not answer.
    fn silent(fault: &Fault) -> Option<Side> {
        (fault.silent && fault.connection).then_some(fault.side)
    }

    #[test]
    fn the_end_that_falls_silent_in_a_copy_is_lost() {
        let fault = copy_between(&source(), &destination(), true);
        assert_eq!(silent(&fault), Some(Side::Source), "{}", fault.cause);
        insta::assert_snapshot!(fault.cause, @"the connection to the Nix daemon failed while receiving a NAR: no byte in either direction for 0.05 s; see what holds that nix-daemon up");
        // A file as long as was announced, but nobody takes it.
        let size = 1_000_000 - 112;
        let mut rest = source().string("type").string("regular").string("contents").word(size);
        rest.0.resize(rest.0.len() + (size as usize).next_multiple_of(8), 0);
        let whole = rest.string(")");
        let fault = copy_between(&whole, &destination(), false);
        assert_eq!(silent(&fault), Some(Side::Destination), "{}", fault.cause);
        // All of it is taken, but never acknowledged.
        let fault = copy_between(&whole, &destination(), true);
        assert_eq!(silent(&fault), Some(Side::Destination), "{}", fault.cause);
    }

    #[test]
    fn references_come_before_what_refers_to_them() {
        let info = |refs: &[&str]| PathInfo {
            references: refs.iter().map(|r| (*r).to_owned()).collect(),
            ..PathInfo::default()
        };
        let infos: BTreeMap<String, PathInfo> = [
            ("a", info(&["c", "elsewhere"])),
            ("b", info(&["a", "b"])),
            ("c", info(&[])),
            ("d", info(&["b", "c"])),
        ]
        .into_iter()
        .map(|(path, info)| (path.to_owned(), info))
        .collect();
        assert_eq!(references_first(&infos), ["c", "a", "b", "d"]);
    }
}
