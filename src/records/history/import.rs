//! Takes in what other programs have recorded of builds, and what the history has exported.
//!
//! A file is told by its beginning. What is wrong in it is named by its line, and the rest taken. Nothing is
//! taken in twice, also not a build that this program made and passed on to nix-output-monitor.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::row::word;
use super::{Build, Ended, History, HistoryError, Row, export, nom};
use crate::base::Span;
use crate::cost::{OutputClass, Sample, pname_version};
use crate::graph::Job;

/// No build takes longer: a hundred days.
const LONGEST: Span = Span::from_secs(100 * 24 * 3600);

/// What is assumed where a file does not say it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Defaults {
    /// The system that was built for.
    pub system: String,
    /// The host that built.
    pub host: String,
}

/// What became of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// Builds that were added.
    pub builds: usize,
    /// Transfers that were added.
    pub transfers: usize,
    /// What the history had already.
    pub known: usize,
    /// Results that were not built but there already.
    pub unbuilt: usize,
    /// What could not be taken.
    pub bad: Vec<Bad>,
}

/// A line that could not be taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bad {
    /// From 1.
    pub line: u64,
    /// What is wrong with it.
    pub why: String,
}

/// Why a file could not be taken in.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// It is none of the forms that are known.
    #[error(
        "this is neither nix-output-monitor's build-reports.csv, nor what `nix build --json` prints, nor what \
         `drvdispatch history export` does"
    )]
    Unknown,
    /// The history failed.
    #[error(transparent)]
    History(#[from] HistoryError),
}

/// What a file has in it.
#[derive(Default)]
struct Found {
    rows: Vec<Row>,
    unbuilt: usize,
    bad: Vec<Bad>,
    /// Whether another program recorded these builds, which may have been this program's.
    foreign: bool,
}

/// Takes the text of a file into the history, all of it in one transaction.
///
/// # Errors
/// The text is of no known form, or the history cannot be written.
pub fn import(history: &mut History, text: &str, defaults: &Defaults) -> Result<Imported, ImportError> {
    let mut found = read(text, defaults).ok_or(ImportError::Unknown)?;
    let all = found.rows.len();
    if found.foreign {
        let mut fresh = Vec::with_capacity(all);
        for row in found.rows {
            let known = match &row {
                Row::Build(build) => history.knows(build)?,
                Row::Transfer(_) => false,
            };
            if !known {
                fresh.push(row);
            }
        }
        found.rows = fresh;
    }
    let added = history.add(&found.rows)?;
    Ok(Imported {
        builds: added.builds,
        transfers: added.transfers,
        known: all - added.builds - added.transfers,
        unbuilt: found.unbuilt,
        bad: found.bad,
    })
}

fn read(text: &str, defaults: &Defaults) -> Option<Found> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let first = text.lines().map(str::trim).find(|line| !line.is_empty())?;
    if first.starts_with('[') {
        return Some(results(text, defaults));
    }
    if first.starts_with('{') {
        return Some(own_lines(text));
    }
    let mut lines = csv::ReaderBuilder::new().has_headers(false).from_reader(first.as_bytes());
    let header: Vec<String> = lines.records().next()?.ok()?.iter().map(str::to_owned).collect();
    let has = |columns: &[&str]| columns.iter().all(|column| header.iter().any(|name| name == column));
    match header.as_slice() {
        _ if has(&nom::COLUMNS) => Some(table(text, true, |cell| nom_build(cell, defaults), true)),
        _ if has(&export::COLUMNS) => Some(table(text, true, own_build, false)),
        // The form of older versions: host, name, mean seconds.
        [_, _, seconds] if seconds.parse::<u64>().is_ok() => {
            Some(table(text, false, |cell| old_nom_build(cell, defaults), true))
        }
        _ => None,
    }
}

/// The cell of a column, by its name, or by its number where there is no header.
type Cell<'a> = &'a dyn Fn(&str) -> String;

fn table(
    text: &str,
    header: bool,
    build: impl Fn(Cell<'_>) -> Result<Build, String>,
    foreign: bool,
) -> Found {
    let mut found = Found { foreign, ..Found::default() };
    let mut lines = Lines { text, byte: 0, line: 1 };
    let mut csv = csv::ReaderBuilder::new().has_headers(header).flexible(true).from_reader(text.as_bytes());
    let names: BTreeMap<String, usize> = match (header, csv.headers()) {
        (true, Ok(names)) => names.iter().enumerate().map(|(i, name)| (name.to_owned(), i)).collect(),
        _ => (0..3).map(|i: usize| (i.to_string(), i)).collect(),
    };
    for record in csv.records() {
        let position = record.as_ref().map_or_else(csv::Error::position, csv::StringRecord::position);
        let line = position.map_or(0, |position| lines.of(position.byte()));
        let read = record.map_err(|e| e.to_string()).and_then(|record| {
            if record.len() != names.len() {
                return Err(format!("it has {} fields in place of {}", record.len(), names.len()));
            }
            let cell =
                |name: &str| names.get(name).and_then(|i| record.get(*i)).unwrap_or_default().to_owned();
            build(&cell).and_then(sound)
        });
        match read {
            Ok(build) => found.rows.push(Row::Build(build)),
            Err(why) => found.bad.push(Bad { line, why }),
        }
    }
    found
}

/// Counts the lines of a text, forwards only.
struct Lines<'a> {
    text: &'a str,
    byte: usize,
    line: u64,
}

impl Lines<'_> {
    /// The line, from 1, that the first thing at or after a byte is in.
    fn of(&mut self, byte: u64) -> u64 {
        let bytes = self.text.as_bytes();
        let byte = usize::try_from(byte).unwrap_or(usize::MAX).min(bytes.len());
        let gap = bytes[byte..].iter().take_while(|b| matches!(b, b'\r' | b'\n')).count();
        let to = (byte + gap).max(self.byte);
        self.line += bytes[self.byte..to].iter().filter(|b| **b == b'\n').count() as u64;
        self.byte = to;
        self.line
    }
}

fn nom_build(cell: Cell<'_>, defaults: &Defaults) -> Result<Build, String> {
    let time = cell("utc time");
    let at = nom::moment(&time).ok_or_else(|| format!("'{time}' is no time such as 2026-01-31 12:00:00"))?;
    let stopped = u64::try_from(at.as_second()).map_err(|_| format!("'{time}' is before 1970"))?;
    let (host, name) = (cell("hostname"), cell("derivation name"));
    Ok(of_nom(&host, &name, whole(&cell("build seconds"), "seconds")?, stopped, defaults))
}

fn old_nom_build(cell: Cell<'_>, defaults: &Defaults) -> Result<Build, String> {
    Ok(of_nom(&cell("0"), &cell("1"), whole(&cell("2"), "seconds")?, 0, defaults))
}

/// Its names are without versions, and this machine has none.
fn of_nom(host: &str, name: &str, seconds: u64, stopped: u64, defaults: &Defaults) -> Build {
    let host = if host.is_empty() { "local" } else { host };
    let sample = Sample {
        host: host.to_owned(),
        ..sample(name, "", Span::from_secs(seconds.min(LONGEST.0)), stopped, defaults)
    };
    Build { sample, outcome: Ended::Built, run: nom::RUN.to_owned() }
}

fn own_build(cell: Cell<'_>) -> Result<Build, String> {
    let number = |name: &str| whole(&cell(name), name);
    let unknown = |name: &str| format!("'{}' is no {name} that this version knows", cell(name));
    let cpu = cell("cpu");
    let sample = Sample {
        pname: cell("pname"),
        version: cell("version"),
        class: word(&cell("class")).ok_or_else(|| unknown("class"))?,
        system: cell("system"),
        host: cell("host"),
        cores: u32::try_from(number("cores")?).map_err(|_| unknown("cores"))?,
        wall: Span(number("wall")?),
        cpu: if cpu.is_empty() { None } else { Some(Span(number("cpu")?)) },
        input_size: number("input-size")?,
        output_size: number("output-size")?,
        stopped: number("stopped")?,
    };
    Ok(Build { sample, outcome: word(&cell("outcome")).ok_or_else(|| unknown("outcome"))?, run: cell("run") })
}

fn whole(text: &str, what: &str) -> Result<u64, String> {
    text.trim().parse().map_err(|_| format!("'{text}' is no whole number of {what}"))
}

/// The history's own lines.
fn own_lines(text: &str) -> Found {
    let mut found = Found::default();
    for (line, text) in (1..).zip(text.lines()).filter(|(_, text)| !text.trim().is_empty()) {
        let row: Result<Row, String> = serde_json::from_str(text).map_err(|e| reason(&e));
        let checked = row.and_then(|row| match row {
            Row::Build(build) => sound(build).map(Row::Build),
            transfer @ Row::Transfer(_) => Ok(transfer),
        });
        match checked {
            Ok(row) => found.rows.push(row),
            Err(why) => found.bad.push(Bad { line, why }),
        }
    }
    found
}

/// What is wrong, without the line of a part of the text.
fn reason(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.split(" at line ").next().unwrap_or(&text).to_owned()
}

/// One entry of what `nix build --json` prints.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BuildResult {
    drv_path: String,
    start_time: Option<u64>,
    stop_time: Option<u64>,
    cpu_user: Option<f64>,
    cpu_system: Option<f64>,
}

/// Arrays of results, any number of them one after the other.
fn results(text: &str, defaults: &Defaults) -> Found {
    let mut found = Found { foreign: true, ..Found::default() };
    let mut lines = Lines { text, byte: 0, line: 1 };
    for array in serde_json::Deserializer::from_str(text).into_iter::<Vec<&RawValue>>() {
        let entries = match array {
            Ok(entries) => entries,
            Err(e) => {
                // What comes after it cannot be told apart from it.
                found.bad.push(Bad { line: e.line() as u64, why: reason(&e) });
                break;
            }
        };
        for entry in entries {
            // It is a piece of the text.
            let begin = entry.get().as_ptr().addr().saturating_sub(text.as_ptr().addr());
            match result(entry.get(), defaults) {
                Ok(Some(build)) => found.rows.push(Row::Build(build)),
                Ok(None) => found.unbuilt += 1,
                Err(why) => found.bad.push(Bad { line: lines.of(begin as u64), why }),
            }
        }
    }
    found
}

/// The build that an entry tells of; none if it was not built.
fn result(entry: &str, defaults: &Defaults) -> Result<Option<Build>, String> {
    let entry: BuildResult = serde_json::from_str(entry).map_err(|e| reason(&e))?;
    // 0 stands for not known.
    let (Some(start @ 1..), Some(stop)) = (entry.start_time, entry.stop_time) else { return Ok(None) };
    let wall = stop.checked_sub(start).ok_or_else(|| format!("{} ends before it begins", entry.drv_path))?;
    let file = entry.drv_path.rsplit('/').next().unwrap_or_default();
    let name = file.strip_suffix(".drv").and_then(|name| Some(name.split_once('-')?.1));
    let name = name.ok_or_else(|| format!("'{}' is no path of a derivation", entry.drv_path))?;
    let cpu = match (entry.cpu_user, entry.cpu_system) {
        (None, None) => None,
        (user, system) => Some(Span::from_secs_f64(user.unwrap_or(0.0) + system.unwrap_or(0.0))),
    };
    let (pname, version) = pname_version(name);
    let wall = Span(wall.saturating_mul(1_000_000));
    let sample = Sample { cpu, ..sample(pname, version, wall, stop, defaults) };
    sound(Build { sample, outcome: Ended::Built, run: "nix-build".to_owned() }).map(Some)
}

fn sample(pname: &str, version: &str, wall: Span, stopped: u64, defaults: &Defaults) -> Sample {
    let full = super::name(pname, version);
    Sample {
        pname: pname.to_owned(),
        version: version.to_owned(),
        class: class_of(&full, &defaults.system),
        system: defaults.system.clone(),
        host: defaults.host.clone(),
        cores: 0,
        wall,
        cpu: None,
        input_size: 0,
        output_size: 0,
        stopped,
    }
}

/// The kind of a derivation of which only the name is known.
fn class_of(name: &str, system: &str) -> OutputClass {
    let fetched = name == "source"
        || [
            ".tar.gz", ".tar.xz", ".tar.bz2", ".tar.zst", ".tgz", ".zip", ".patch", ".diff", ".gem", ".crate",
        ]
        .iter()
        .any(|end| name.ends_with(end));
    let job =
        Job { name: name.to_owned(), system: system.to_owned(), fixed_output: fetched, ..Job::default() };
    OutputClass::of(&job)
}

/// Refuses what no build can have been.
fn sound(build: Build) -> Result<Build, String> {
    let Sample { pname, version, system, host, wall, .. } = &build.sample;
    if pname.is_empty() && version.is_empty() {
        return Err("it has no name".to_owned());
    }
    let texts = [pname, version, system, host, &build.run];
    if let Some(text) = texts.into_iter().find(|text| text.contains(char::is_control)) {
        return Err(format!("{text:?} has control characters in it"));
    }
    if *wall > LONGEST {
        return Err(format!("it took {wall}, which no build does"));
    }
    Ok(build)
}
