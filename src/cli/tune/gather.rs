//! What there is to learn from: run logs, and builds from them and from the history.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{LeftOut, TuneArgs};
use crate::cli::error::CliError;
use crate::cli::runs::find;
use crate::cost::Sample;
use crate::records::history::{Build, Ended, Filter, Fold, History, Row};
use crate::records::{RunFile, RunsDir, RunsError};
use crate::run::{Entry, Header, Step};
use crate::sim::Recording;
use crate::tune::Run;

/// The newest so many runs are looked at if none are named.
const NEWEST: usize = 20;

/// All of it.
pub(super) struct Gathered {
    /// The newest first.
    pub runs: Vec<Run>,
    /// In no particular order.
    pub samples: Vec<Sample>,
    /// Logs that were not asked for by name and cannot be used.
    pub left_out: Vec<LeftOut>,
}

/// Reads what the user named, or the newest runs.
///
/// # Errors
/// What was named cannot be read, or there is nothing.
pub(super) fn gather(args: &TuneArgs) -> Result<Gathered, CliError> {
    let mut gathered = Gathered { runs: Vec::new(), samples: Vec::new(), left_out: Vec::new() };
    let remembered = if args.no_history { BTreeSet::new() } else { remembered(&mut gathered.samples) };
    let files = files(args)?;
    for file in &files {
        match read(file) {
            Ok((run, samples)) => {
                // What the history has of a run it need not be told by the log again.
                if !remembered.contains(&run.name) {
                    gathered.samples.extend(samples);
                }
                gathered.runs.push(run);
            }
            Err(why) if args.runs.is_empty() => {
                gathered.left_out.push(LeftOut { run: file.name.clone(), why });
            }
            Err(why) => return Err(CliError::Usage(why)),
        }
    }
    if gathered.runs.is_empty() && gathered.samples.is_empty() {
        return Err(nothing(&gathered.left_out));
    }
    Ok(gathered)
}

fn files(args: &TuneArgs) -> Result<Vec<RunFile>, CliError> {
    if !args.runs.is_empty() {
        let mut files: Vec<RunFile> = args.runs.iter().map(|name| find(name)).collect::<Result<_, _>>()?;
        let mut paths = BTreeSet::new();
        files.retain(|file| paths.insert(file.path.clone()));
        return Ok(files);
    }
    let usage = |e: RunsError| CliError::Usage(e.to_string());
    let mut files = RunsDir::of_user().map_err(usage)?.list().map_err(usage)?;
    files.truncate(NEWEST);
    Ok(files)
}

fn nothing(left_out: &[LeftOut]) -> CliError {
    let place = RunsDir::of_user().map_or_else(|e| e.to_string(), |dir| dir.path().display().to_string());
    CliError::Usage(match left_out {
        [] => format!(
            "no runs are recorded yet in {place}, so there is nothing to learn from: each `drvdispatch build` \
             records one; three or more, of the work that you usually have, are enough to begin with"
        ),
        [LeftOut { run, why }, ..] => {
            format!("none of the {} runs in {place} can be read; {run}: {why}", left_out.len())
        }
    })
}

fn read(file: &RunFile) -> Result<(Run, Vec<Sample>), String> {
    let (header, entries, _torn) = file.read().map_err(|e| e.to_string())?;
    let recording = Recording::new(&header, &entries).map_err(|e| format!("{}: {e}", file.path.display()))?;
    let (name, started) = (file.name.clone(), header.started);
    let samples = samples(header, &entries, &name);
    Ok((Run { name, started, recording }, samples))
}

/// The builds of a run that say how long such builds take.
fn samples(header: Header, entries: &[Entry], name: &str) -> Vec<Sample> {
    let mut fold = Fold::new(&Arc::new(header), name.to_owned());
    let mut samples = Vec::new();
    for Entry { at, what } in entries {
        match what {
            Step::Order(order) => fold.order(order),
            Step::Event(event) => {
                if let Some(Row::Build(Build { sample, outcome: Ended::Built, .. })) = fold.event(*at, event)
                {
                    samples.push(sample);
                }
            }
        }
    }
    samples
}

/// Adds the builds of the history, and returns the runs that they are from. A history that cannot be read
/// costs only itself.
fn remembered(samples: &mut Vec<Sample>) -> BTreeSet<String> {
    let mut runs = BTreeSet::new();
    let mut read = || {
        let path = History::file()?;
        // To look is no reason to make one.
        if !path.exists() {
            return Ok(());
        }
        History::open(&path)?.builds(&Filter::default(), |build: Build| {
            runs.insert(build.run);
            if build.outcome == Ended::Built {
                samples.push(build.sample);
            }
        })
    };
    if let Err(e) = read() {
        super::super::tell!("warning: the history is not used: {e}");
    }
    runs
}
