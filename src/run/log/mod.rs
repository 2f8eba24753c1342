//! The run log: one JSON object per line, a [`Header`] first, then every event and order with its time.
//!
//! It is written as the run goes on, so what a crash leaves is a whole log up to its last whole line,
//! and that is what [`read_log`] gives. Everything read is checked against the header ([`check`]), so
//! that whoever replays a log can index its tables without asking. Where the files are is
//! `records/`'s business.

mod check;
#[cfg(test)]
mod tests;

use std::io::{self, BufRead, Read, Write};

use serde::{Deserialize, Serialize};

use super::event::Event;
use super::order::Order;
use crate::base::{Table, Time};
use crate::cost::{Cost, parallel_parts};
use crate::fleet::{Host, HostId};
use crate::graph::{JobId, Workload};

/// The version of the format that this program writes, and the newest it reads.
pub const FORMAT: u32 = 1;

/// The longest line that is read. The header holds the whole graph: about 1 KiB per derivation.
const MAX_LINE: usize = 1 << 29;

/// What a run starts from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Header {
    /// [`FORMAT`] at the time of writing.
    pub format: u32,
    /// The version of this program.
    pub version: String,
    /// Seconds since 1970 at [`Time::ZERO`].
    pub started: u64,
    /// The command line, program name first.
    pub command: Vec<String>,
    /// The work.
    pub workload: Workload,
    /// The hosts; the first is this machine.
    pub hosts: Table<HostId, Host>,
    /// One estimate per job.
    pub estimates: Table<JobId, Cost>,
    /// Per job the hosts that may build it; not in logs of older versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eligible: Option<Table<JobId, Vec<HostId>>>,
    /// Per job the part that more cores make faster, 0 to 1; not in logs of older versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parallel: Option<Table<JobId, f64>>,
    /// The scheduler's policy, as it writes itself.
    #[serde(default)]
    pub policy: serde_json::Value,
}

impl Header {
    /// Per job the hosts that may build it: as recorded, or else those that lack nothing for it.
    pub fn eligible(&self) -> Table<JobId, Vec<HostId>> {
        let able = |job: &crate::graph::Job| {
            let can = |(_, host): &(HostId, &Host)| host.lacks(&job.system, &job.features).is_none();
            self.hosts.iter().filter(can).map(|(id, _)| id).collect()
        };
        let told = self.eligible.clone();
        told.unwrap_or_else(|| self.workload.jobs.rows().iter().map(able).collect())
    }

    /// How many jobs the policy gives a host at a time for each of its cores; see [`Host::used_slots`].
    pub fn jobs_per_core(&self) -> Option<f64> {
        self.policy.get("jobs_per_core")?.as_f64()
    }

    /// Per job the part that more cores make faster: as recorded, or else as is usual for its kind.
    pub fn parallel(&self) -> Table<JobId, f64> {
        self.parallel.clone().unwrap_or_else(|| parallel_parts(&self.workload))
    }
}

/// One line after the header.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// When it happened or was ordered.
    pub at: Time,
    /// What it says.
    pub what: Step,
}

/// Either half of a run.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// A fact that came in.
    Event(Event),
    /// An order that went out.
    Order(Order),
}

/// A log whose last line is not whole: its writer was stopped in the middle of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Torn {
    /// The line in question, counted from 1; what is before it was read.
    pub line: usize,
    /// How much of it there is.
    pub bytes: usize,
}

impl std::fmt::Display for Torn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the log ends in the middle of line {}; read up to there", self.line)
    }
}

/// Why a log cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The reader failed.
    #[error("reading line {line} of the run log: {source}")]
    Io { line: usize, source: io::Error },
    /// Nothing, or less than a whole first line.
    #[error("the run log ends before its header does; nothing in it can be used")]
    NoHeader,
    /// Not a run log at all.
    #[error("this is not a run log: its first line has no format number")]
    NotALog,
    /// Written by a newer version of this program.
    #[error(
        "the run log has format {found}, this version reads up to {FORMAT}: read it with a newer drvdispatch"
    )]
    Newer { found: u32 },
    /// A line that is whole but wrong.
    #[error("line {line} of the run log is damaged: {why}")]
    Damaged { line: usize, why: String },
    /// A line beyond any sensible length.
    #[error("line {line} of the run log is longer than {limit} bytes")]
    TooLong { line: usize, limit: usize },
}

/// Writes a log, a line at a time, each as one write to `out`.
#[derive(Debug)]
pub struct LogWriter<W: Write> {
    out: W,
    line: Vec<u8>,
}

#[derive(Serialize)]
struct Line<'a, T> {
    at: Time,
    #[serde(flatten)]
    what: &'a T,
}

#[derive(Deserialize)]
struct OwnedLine<T> {
    at: Time,
    #[serde(flatten)]
    what: T,
}

impl<W: Write> LogWriter<W> {
    /// Begins a log with its header. Give it a buffered `out`, and [`flush`](Self::flush) after each step.
    pub fn new(out: W, header: &Header) -> io::Result<Self> {
        let mut log = Self { out, line: Vec::new() };
        log.append(header)?;
        Ok(log)
    }

    /// Appends a fact.
    pub fn event(&mut self, at: Time, event: &Event) -> io::Result<()> {
        self.append(&Line { at, what: event })
    }

    /// Appends an order.
    pub fn order(&mut self, at: Time, order: &Order) -> io::Result<()> {
        self.append(&Line { at, what: order })
    }

    /// Hands everything appended so far to the operating system.
    pub fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    /// The writer underneath, not flushed.
    pub fn into_inner(self) -> W {
        self.out
    }

    fn append<T: Serialize>(&mut self, line: &T) -> io::Result<()> {
        self.line.clear();
        serde_json::to_writer(&mut self.line, line)?;
        self.line.push(b'\n');
        self.out.write_all(&self.line)
    }
}

/// Reads a whole log. A log that was cut off gives its whole lines and says where it was [`Torn`].
pub fn read_log(input: impl BufRead) -> Result<(Header, Vec<Entry>, Option<Torn>), LogError> {
    read_with_limit(input, MAX_LINE)
}

/// Reads the header alone, for lists of runs.
pub fn read_header(input: impl BufRead) -> Result<Header, LogError> {
    let mut lines = Lines { input, limit: MAX_LINE, number: 0, buffer: Vec::new() };
    header_of(&mut lines)
}

fn read_with_limit(
    input: impl BufRead,
    limit: usize,
) -> Result<(Header, Vec<Entry>, Option<Torn>), LogError> {
    let mut lines = Lines { input, limit, number: 0, buffer: Vec::new() };
    let header = header_of(&mut lines)?;
    let mut entries = Vec::new();
    while let Some(ended) = lines.advance()? {
        match entry_of(&lines.buffer).and_then(|e| check::entry(&header, &e).map(|()| e)) {
            Ok(entry) => entries.push(entry),
            Err(_) if !ended => {
                return Ok((header, entries, Some(Torn { line: lines.number, bytes: lines.buffer.len() })));
            }
            Err(why) => return Err(LogError::Damaged { line: lines.number, why }),
        }
    }
    Ok((header, entries, None))
}

fn header_of<R: BufRead>(lines: &mut Lines<R>) -> Result<Header, LogError> {
    #[derive(Deserialize)]
    struct Format {
        format: u32,
    }
    let Some(ended) = lines.advance()? else { return Err(LogError::NoHeader) };
    // The format first: a newer header need not have the fields that this version knows.
    let format = match serde_json::from_slice::<Format>(&lines.buffer) {
        Ok(found) => found.format,
        Err(_) if !ended => return Err(LogError::NoHeader),
        Err(_) => return Err(LogError::NotALog),
    };
    if format > FORMAT {
        return Err(LogError::Newer { found: format });
    }
    serde_json::from_slice::<Header>(&lines.buffer)
        .map_err(|e| e.to_string())
        .and_then(|header| check::header(&header).map(|()| header))
        .map_err(|why| LogError::Damaged { line: 1, why })
}

/// One line after the header. The two kinds are told apart first, for the sake of the message.
fn entry_of(line: &[u8]) -> Result<Entry, String> {
    #[derive(Deserialize)]
    struct Kind {
        event: Option<serde::de::IgnoredAny>,
        order: Option<serde::de::IgnoredAny>,
    }
    let kind: Kind = serde_json::from_slice(line).map_err(|e| e.to_string())?;
    match (kind.event.is_some(), kind.order.is_some()) {
        (true, false) => parse(line).map(|OwnedLine { at, what }| Entry { at, what: Step::Event(what) }),
        (false, true) => parse(line).map(|OwnedLine { at, what }| Entry { at, what: Step::Order(what) }),
        (true, true) => Err("it is both an event and an order".to_owned()),
        (false, false) => Err("it is neither an event nor an order".to_owned()),
    }
}

fn parse<T: serde::de::DeserializeOwned>(line: &[u8]) -> Result<OwnedLine<T>, String> {
    serde_json::from_slice(line).map_err(|e| e.to_string())
}

/// Lines of bounded length, with their numbers.
struct Lines<R> {
    input: R,
    limit: usize,
    number: usize,
    buffer: Vec<u8>,
}

impl<R: BufRead> Lines<R> {
    /// Reads the next line into `buffer`. `None` at the end; else whether the line has its line end.
    fn advance(&mut self) -> Result<Option<bool>, LogError> {
        self.buffer.clear();
        self.number += 1;
        let mut bounded = (&mut self.input).take(self.limit as u64 + 1);
        bounded
            .read_until(b'\n', &mut self.buffer)
            .map_err(|source| LogError::Io { line: self.number, source })?;
        if self.buffer.is_empty() {
            return Ok(None);
        }
        if self.buffer.last() == Some(&b'\n') {
            self.buffer.pop();
            return Ok(Some(true));
        }
        if self.buffer.len() > self.limit {
            return Err(LogError::TooLong { line: self.number, limit: self.limit });
        }
        Ok(Some(false))
    }
}
