//! What the daemon says between a request and its answer: log frames, then "done" or an error.

use std::io::BufRead;

use super::codec::{Decoder, MAX_ITEMS};
use super::error::{Fault, RemoteError, malformed};

const NEXT: u64 = 0x6f6c_6d67;
const READ: u64 = 0x6461_7461;
const WRITE: u64 = 0x6461_7416;
const LAST: u64 = 0x616c_7473;
/// Also checked for where a NAR should begin.
pub(super) const ERROR: u64 = 0x6378_7470;
const START: u64 = 0x5354_5254;
const STOP: u64 = 0x5354_4f50;
const RESULT: u64 = 0x5253_4c54;

/// More fields than any activity or result of Nix has.
const MAX_FIELDS: u64 = 1024;
const _: () = assert!(MAX_FIELDS <= MAX_ITEMS, "a list may be that long");

/// A log frame. `activity` is the daemon's number for what it is doing, unique per connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogMessage {
    /// A line that the builder printed, without the newline.
    Line { activity: u64, text: String },
    /// A line that the post-build hook printed.
    PostBuildLine { activity: u64, text: String },
    /// The builder entered a phase.
    SetPhase { activity: u64, phase: String },
    /// How far an activity is, in its own unit.
    Progress { activity: u64, done: u64, expected: u64, running: u64, failed: u64 },
    /// An activity began. `kind` is Nix's activity type (105 is a build), `level` its verbosity.
    Start { id: u64, level: u64, kind: u64, text: String, fields: Vec<Field>, parent: u64 },
    /// An activity ended.
    Stop { id: u64 },
    /// A message that belongs to no activity: warnings, traces.
    Text(String),
    /// A result of an activity that this program has no use for yet.
    Other { activity: u64, kind: u64, fields: Vec<Field> },
}

/// One value beside an activity or a result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Field {
    /// A number.
    Int(u64),
    /// A string.
    Text(String),
}

/// Reads frames up to the one that ends the request, handing log messages on.
pub(super) fn until_done<R: BufRead>(
    input: &mut Decoder<R>,
    log: &mut dyn FnMut(LogMessage),
) -> Result<(), Fault> {
    loop {
        input.begin_message();
        match input.u64()? {
            LAST => {
                input.begin_message();
                return Ok(());
            }
            ERROR => return Err(Fault::Remote(read_error(input)?)),
            NEXT => {
                let mut text = input.text("a log message")?;
                text.truncate(text.trim_end_matches('\n').len());
                log(LogMessage::Text(text));
            }
            START => log(read_start(input)?),
            STOP => log(LogMessage::Stop { id: input.u64()? }),
            RESULT => log(read_result(input)?),
            frame @ (READ | WRITE) => {
                return malformed(format!("a data frame ({frame:#x}), which no request here allows"));
            }
            frame => return malformed(format!("an unknown frame ({frame:#x})")),
        }
    }
}

/// The structured error after an [`ERROR`] word (protocol 1.26 and later).
pub(super) fn read_error<R: BufRead>(input: &mut Decoder<R>) -> Result<RemoteError, Fault> {
    let kind = input.text("the kind of an error")?;
    if kind != "Error" {
        let kind: String = kind.chars().take(80).collect();
        return malformed(format!("an error of the unknown kind '{}'", kind.escape_debug()));
    }
    let level = input.u64()?;
    input.text("the name of an error")?;
    let message = input.text("an error message")?;
    no_position(input)?;
    let n = input.count("the traces of an error")?;
    let mut traces = Vec::new();
    for _ in 0..n {
        no_position(input)?;
        traces.push(input.text("a trace of an error")?);
    }
    Ok(RemoteError { level, message, traces })
}

/// No Nix ever sends a source position, so how one would look is unknown.
fn no_position<R: BufRead>(input: &mut Decoder<R>) -> Result<(), Fault> {
    match input.u64()? {
        0 => Ok(()),
        n => malformed(format!("an error with a source position ({n})")),
    }
}

fn read_start<R: BufRead>(input: &mut Decoder<R>) -> Result<LogMessage, Fault> {
    Ok(LogMessage::Start {
        id: input.u64()?,
        level: input.u64()?,
        kind: input.u64()?,
        text: input.text("the text of an activity")?,
        fields: read_fields(input)?,
        parent: input.u64()?,
    })
}

fn read_result<R: BufRead>(input: &mut Decoder<R>) -> Result<LogMessage, Fault> {
    let activity = input.u64()?;
    let kind = input.u64()?;
    let mut fields = read_fields(input)?;
    // A known number with other fields than usual is passed on as it is: logs do not fail builds.
    Ok(match (kind, fields.as_mut_slice()) {
        (101, [Field::Text(text)]) => LogMessage::Line { activity, text: std::mem::take(text) },
        (107, [Field::Text(text)]) => LogMessage::PostBuildLine { activity, text: std::mem::take(text) },
        (104, [Field::Text(phase)]) => LogMessage::SetPhase { activity, phase: std::mem::take(phase) },
        (105, &mut [Field::Int(done), Field::Int(expected), Field::Int(running), Field::Int(failed)]) => {
            LogMessage::Progress { activity, done, expected, running, failed }
        }
        _ => LogMessage::Other { activity, kind, fields },
    })
}

fn read_fields<R: BufRead>(input: &mut Decoder<R>) -> Result<Vec<Field>, Fault> {
    let n = input.u64()?;
    if n > MAX_FIELDS {
        return malformed(format!("a log message with {n} fields"));
    }
    let mut fields = Vec::new();
    for _ in 0..n {
        fields.push(match input.u64()? {
            0 => Field::Int(input.u64()?),
            1 => Field::Text(input.text("a field of a log message")?),
            kind => return malformed(format!("a log field of the unknown kind {kind}")),
        });
    }
    Ok(fields)
}
