//! `drvdispatch history`: what is remembered of earlier builds.

mod forget;
mod import;
mod list;
mod show;

use std::fmt::Write as _;

use clap::{Args, Subcommand, ValueEnum};
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::configured::config;
use super::error::CliError;
use crate::base::Span;
use crate::cost::{About, Memory};
use crate::records::history::{Filter, Healed, History, Trouble, export_csv, export_json, heal};
use crate::report::{Cells, Room, Table, clean};

/// Show, export, import and forget what is remembered of builds
#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub struct HistoryArgs {
    #[command(subcommand)]
    verb: Option<HistoryVerb>,
    #[command(flatten)]
    list: list::ListArgs,
}

#[derive(Subcommand, Debug)]
enum HistoryVerb {
    /// List the packages that were built, those that take longest first (the default)
    List(list::ListArgs),
    /// Show all builds of a package, and what another one is estimated to take
    Show(show::ShowArgs),
    /// Print builds for other programs, or to import elsewhere
    Export(ExportArgs),
    /// Take in builds that other programs have recorded
    Import(import::ImportArgs),
    /// Forget builds
    Forget(forget::ForgetArgs),
}

#[derive(Args, Debug)]
struct ExportArgs {
    /// Only builds whose name, with or without version, matches this glob
    #[arg(value_name = "NAME")]
    name: Option<String>,
    /// Only builds of this host
    #[arg(long, value_name = "HOST")]
    host: Option<String>,
    /// Lines of JSON with all there is, or a table of the builds; times in microseconds
    #[arg(long, value_name = "FORMAT", default_value = "json")]
    format: Format,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    Json,
    Csv,
}

/// Runs the verb.
///
/// # Errors
/// The history cannot be used.
pub fn run(args: &HistoryArgs) -> Result<(), CliError> {
    let done = match &args.verb {
        None => list::run(&args.list),
        Some(HistoryVerb::List(args)) => list::run(args),
        Some(HistoryVerb::Show(args)) => show::run(args),
        Some(HistoryVerb::Export(args)) => export(args),
        Some(HistoryVerb::Import(args)) => import::run(args),
        Some(HistoryVerb::Forget(args)) => forget::run(args),
    };
    match done {
        // Such a verb only reads, and may have shown half of it.
        Err(CliError::History(e)) if e.trouble() == Some(Trouble::Damaged) => {
            Err(CliError::Usage(format!("{e}; the next build keeps it aside and begins anew")))
        }
        done => done,
    }
}

fn export(args: &ExportArgs) -> Result<(), CliError> {
    let which = Filter { name: args.name.clone(), host: args.host.clone(), before: None };
    let Some(history) = existing()? else { return Ok(()) };
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let written = match args.format {
        Format::Json => export_json(&history, &which, &mut out)?,
        Format::Csv => export_csv(&history, &which, &mut out)?,
    };
    match written {
        Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        done => done.map_err(CliError::io("writing the history to stdout")),
    }
}

/// The history, made if need be. A damaged one is kept aside.
fn open() -> Result<History, CliError> {
    let path = History::file()?;
    let Healed { got, warning } = heal(&path, Ok);
    match (got, warning) {
        (Some(history), warning) => {
            warning.iter().for_each(|text| super::tell!("warning: {text}"));
            Ok(history)
        }
        (None, warning) => Err(CliError::Usage(warning.unwrap_or_default())),
    }
}

/// The history, if there is one; if not, this is said.
fn existing() -> Result<Option<History>, CliError> {
    if History::file()?.exists() {
        return open().map(Some);
    }
    super::tell!(
        "no builds are remembered yet: they are after the first `drvdispatch build`, or when taken in with \
         `drvdispatch history import`"
    );
    Ok(None)
}

/// What was learned from all of it.
fn memory(history: &History) -> Result<Memory, CliError> {
    Ok(history.memory(Memory::new(config(false)?.cost), None)?)
}

/// How long a build is estimated to take: the median and the ends of the 80 % interval.
#[derive(Clone, Copy, Debug, serde::Serialize)]
struct Estimate {
    estimate: Span,
    p10: Span,
    p90: Span,
}

impl Estimate {
    /// On one core of `host`, or of a host of speed 1.
    fn of(memory: &Memory, about: &About<'_>, host: Option<&str>) -> Estimate {
        let cost = memory.estimate(about);
        let speed = host.and_then(|host| memory.speed(host, about.system)).unwrap_or(1.0);
        let [estimate, p10, p90] = [cost.median, cost.p10, cost.p90].map(|span| span.scale(1.0 / speed));
        Estimate { estimate, p10, p90 }
    }
}

/// What estimates are for.
fn on_what(host: Option<&str>) -> String {
    let whose = host.map_or_else(|| "a host of speed 1".to_owned(), str::to_owned);
    format!("on one core of {whose}")
}

/// What all of these are, if they are the same.
fn same<'a>(mut all: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let first = all.next()?;
    all.all(|other| other == first).then_some(first)
}

/// A moment, by this machine's time zone.
fn moment(seconds: u64) -> String {
    written(seconds, "%Y-%m-%d %H:%M")
}

/// The day of a moment.
fn day(seconds: u64) -> String {
    written(seconds, "%Y-%m-%d")
}

fn written(seconds: u64, format: &str) -> String {
    if seconds == 0 {
        return "-".to_owned();
    }
    let at = i64::try_from(seconds).ok().and_then(|seconds| Timestamp::from_second(seconds).ok());
    at.map_or_else(|| seconds.to_string(), |at| at.to_zoned(TimeZone::system()).strftime(format).to_string())
}

/// A table of what the history says.
fn table<const N: usize>(columns: [(Cells, &str); N], rows: impl Iterator<Item = [String; N]>) -> String {
    let mut table = Table::new(columns);
    // Names in the file may be from anywhere.
    rows.for_each(|row| table.row(row.map(|cell| clean(&cell).into_owned())));
    table.text(Room::of_stdout())
}

fn print_json(value: &impl serde::Serialize) -> Result<(), CliError> {
    let mut text = serde_json::to_string(value).map_err(|e| CliError::io("writing the history")(e.into()))?;
    let _ = writeln!(text);
    super::put(&text, "the history")
}
