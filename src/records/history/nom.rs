//! nix-output-monitor's record of build times: `$XDG_STATE_HOME/nix-output-monitor/build-reports.csv`.
//!
//! It has a line for each of the last ten builds of a name on a host, in the order of host, name and time,
//! and is written as a whole by whoever holds the lock of the file beside it (`flock`). Older versions have
//! kept mean times in the cache directory, without a header and without times; those are read, not written.
//! Columns, lock and names are those of CacheBuildReports.hs and Update.hs in its version 2.1.8.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use rustix::fs::{FlockOperation, flock};

use super::{Ended, Row};
use crate::cost::Sample;

/// The header of its file.
pub(super) const COLUMNS: [&str; 4] = ["hostname", "derivation name", "utc time", "build seconds"];
const TIME: &str = "%Y-%m-%d %H:%M:%S";
/// How many builds it keeps of a name on a host.
const MOST: usize = 10;
/// How long its lock is waited for. Its holders write one small file.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long until it is tried again.
const AGAIN: Duration = Duration::from_millis(20);

/// Its file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NomFile {
    path: PathBuf,
}

/// What it keeps: times in seconds by when they ended, by host and name.
type Reports = BTreeMap<(String, String), BTreeMap<Timestamp, u64>>;

impl NomFile {
    /// The user's own, if there is one.
    pub fn of_user() -> Option<NomFile> {
        let state = crate::records::state_dir()?;
        NomFile::at(state.parent()?.join("nix-output-monitor/build-reports.csv"))
    }

    /// A file, if it is there.
    pub fn at(path: impl Into<PathBuf>) -> Option<NomFile> {
        let path = path.into();
        path.is_file().then_some(NomFile { path })
    }

    /// Adds what was built, under its lock. A file that it could not read itself is left alone.
    ///
    /// # Errors
    /// The file cannot be read, understood, locked or written; it is as it was.
    pub fn append(&mut self, rows: &[Row]) -> Result<(), String> {
        self.append_after(rows, &mut || std::thread::sleep(AGAIN))
    }

    /// The same; `pause` is called as often as another process has the lock.
    pub(super) fn append_after(&mut self, rows: &[Row], pause: &mut dyn FnMut()) -> Result<(), String> {
        let built = |row: &Row| match row {
            Row::Build(build) if build.outcome == Ended::Built => report(&build.sample),
            _ => None,
        };
        let new: Vec<_> = rows.iter().filter_map(built).collect();
        if new.is_empty() {
            return Ok(());
        }
        let named = |e: io::Error| format!("{}: {e}", self.path.display());
        let _lock = lock(&self.path, pause).map_err(named)?;
        let mut reports = read(&self.path).map_err(|why| format!("{}: {why}", self.path.display()))?;
        for (key, at, seconds) in new {
            let times = reports.entry(key).or_default();
            times.insert(at, seconds);
            while times.len() > MOST {
                times.pop_first();
            }
        }
        write(&self.path, &reports).map_err(named)
    }
}

/// The key, the time and the seconds of a build.
fn report(sample: &Sample) -> Option<((String, String), Timestamp, u64)> {
    let at = Timestamp::from_second(i64::try_from(sample.stopped).ok()?).ok()?;
    let name = name_of(&sample.pname, &sample.version);
    // It rounds down.
    Some(((host_of(&sample.host).to_owned(), name.to_owned()), at, sample.wall.0 / 1_000_000))
}

/// Its name for what is built. It takes off what looks like a version where a derivation does not say what its
/// name is without.
pub(super) fn name_of<'a>(pname: &'a str, version: &str) -> &'a str {
    match version {
        "" => pname.trim_end_matches(|c: char| c.is_ascii_digit() || ".-".contains(c)),
        _ => pname,
    }
}

/// Its name for a host: without protocol and user, and nothing for this machine.
pub(super) fn host_of(host: &str) -> &str {
    let host = host.split_once("://").map_or(host, |(_, rest)| rest);
    let host = host.split_once('@').map_or(host, |(_, rest)| rest);
    if host == "local" { "" } else { host }
}

/// A moment as it writes them.
pub(super) fn moment(text: &str) -> Option<Timestamp> {
    let civil = jiff::civil::DateTime::strptime(TIME, text.trim()).ok()?;
    civil.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
}

fn read(path: &Path) -> Result<Reports, String> {
    let mut reports = Reports::new();
    let mut csv = csv::Reader::from_path(path).map_err(|e| e.to_string())?;
    let header = csv.headers().map_err(|e| e.to_string())?.clone();
    let column = |name: &str| {
        header.iter().position(|column| column == name).ok_or_else(|| format!("it has no column '{name}'"))
    };
    let [host, name, time, seconds] = COLUMNS.map(column);
    let (host, name, time, seconds) = (host?, name?, time?, seconds?);
    for record in csv.records() {
        let record = record.map_err(|e| e.to_string())?;
        let line = record.position().map_or(0, csv::Position::line);
        let text = |column: usize| record.get(column).unwrap_or_default();
        let at = moment(text(time)).ok_or_else(|| format!("line {line}: '{}' is no time", text(time)))?;
        let took = text(seconds).trim().parse();
        let took = took.map_err(|_| format!("line {line}: '{}' is no number of seconds", text(seconds)))?;
        reports.entry((text(host).to_owned(), text(name).to_owned())).or_default().insert(at, took);
    }
    Ok(reports)
}

/// Under a new name first, so that a reader without the lock never sees half of it.
fn write(path: &Path, reports: &Reports) -> io::Result<()> {
    // A link to the file elsewhere stays a link.
    let path = fs::canonicalize(path)?;
    let dir = path.parent().unwrap_or(Path::new("/"));
    let mut file = tempfile::NamedTempFile::new_in(dir)?;
    {
        let mut csv =
            csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(file.as_file_mut());
        csv.write_record(COLUMNS)?;
        for ((host, name), times) in reports {
            for (at, seconds) in times {
                let at = at.to_zoned(TimeZone::UTC).strftime(TIME).to_string();
                csv.write_record([host.as_str(), name, &at, &seconds.to_string()])?;
            }
        }
        csv.flush()?;
    }
    file.as_file().set_permissions(fs::metadata(&path)?.permissions())?;
    file.persist(&path).map(drop).map_err(|e| e.error)
}

/// Its lock, as soon as nobody else has it.
fn lock(path: &Path, pause: &mut dyn FnMut()) -> io::Result<File> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o666).open(&name)?;
    let until = Instant::now() + PATIENCE;
    loop {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Err(rustix::io::Errno::WOULDBLOCK | rustix::io::Errno::INTR) if Instant::now() < until => {
                pause();
            }
            Err(rustix::io::Errno::WOULDBLOCK) => {
                return Err(io::Error::other("another process keeps it locked"));
            }
            done => return done.map(|()| file).map_err(io::Error::from),
        }
    }
}

/// As [`Build::run`] for what it has recorded.
pub(super) const RUN: &str = "nom";
