//! What is gone through again: a run log, or a graph that was never built.

use std::path::Path;
use std::sync::Arc;

use super::what_if::WhatIf;
use crate::base::Span;
use crate::cli::error::CliError;
use crate::cli::learned::Learned;
use crate::cli::prepare;
use crate::cli::runs::find;
use crate::cli::setup::Setup;
use crate::cost::CostParams;
use crate::dispatch::EvalOptions;
use crate::records::{RunFile, RunsError};
use crate::run::LogError;
use crate::sim::{Estimates, Recording};

/// Where it is.
pub(super) enum Source {
    Log(RunFile),
    /// The file, with the name that the user has for it.
    Graph(RunFile),
}

/// A run that can be simulated.
pub(super) struct Replayed {
    pub name: String,
    pub recording: Recording,
    /// What it really took; `None` if it was never made.
    pub makespan: Option<Span>,
    /// When it began, in seconds since 1970; `None` if it never did.
    pub began: Option<u64>,
}

impl Replayed {
    /// What the history of builds said when the run began.
    pub(super) fn history(&self, params: &CostParams) -> Estimates {
        let hosts = self.recording.hosts.rows();
        let memory = Learned::before(self.began, params, hosts, &mut |line| crate::cli::tell!("{line}"));
        Estimates::Given(Arc::new(memory.estimates(&self.recording.told).0))
    }
}

impl Source {
    /// Tells a log from a graph by its first line.
    pub(super) fn find(run: &str) -> Result<Source, CliError> {
        let file = find(run)?;
        match file.header() {
            Err(RunsError::Log { source: LogError::NotALog | LogError::NoHeader, .. })
                if Path::new(run).is_file() && looks_like_a_graph(&file) =>
            {
                Ok(Source::Graph(file))
            }
            Err(RunsError::Log { .. }) if is_packed(&file) => {
                let place = file.path.display();
                Err(CliError::Usage(format!("{place} is compressed; unpack it first, as with `gunzip -k`")))
            }
            Err(error) => Err(CliError::Usage(error.to_string())),
            Ok(_) => Ok(Source::Log(file)),
        }
    }

    pub(super) fn load(self, what_if: &WhatIf) -> Result<Replayed, CliError> {
        match self {
            Source::Log(file) => from_log(&file),
            Source::Graph(file) => from_graph(&file, what_if),
        }
    }
}

/// The first bytes of a file, as many as there are of 64.
fn beginning(file: &RunFile) -> Vec<u8> {
    use std::io::Read as _;
    let mut start = Vec::new();
    let read = std::fs::File::open(&file.path).and_then(|file| file.take(64).read_to_end(&mut start));
    read.map(|_| start).unwrap_or_default()
}

/// Whether the file begins as JSON objects do, and not as a log or the little that is left of one.
fn looks_like_a_graph(file: &RunFile) -> bool {
    let start = beginning(file);
    let log = b"{\"format\":";
    start.trim_ascii_start().starts_with(b"{") && !start.starts_with(log) && !log.starts_with(&start)
}

/// Whether it begins as what gzip, xz or zstd have written does.
fn is_packed(file: &RunFile) -> bool {
    let magic: [&[u8]; 3] = [&[0x1f, 0x8b], &[0xfd, b'7', b'z', b'X', b'Z'], &[0x28, 0xb5, 0x2f, 0xfd]];
    magic.iter().any(|magic| beginning(file).starts_with(magic))
}

/// Reads a log and takes it apart.
///
/// # Errors
/// It cannot be read.
pub(super) fn from_log(file: &RunFile) -> Result<Replayed, CliError> {
    let (header, entries, torn) = file.read().map_err(|e| CliError::Usage(e.to_string()))?;
    let place = file.path.display();
    if let Some(torn) = torn {
        crate::cli::tell!("warning: {place}: {torn}");
    }
    let recording =
        Recording::new(&header, &entries).map_err(|e| CliError::Usage(format!("{place}: {e}")))?;
    let failing = recording.failing().count();
    if failing > 0 {
        let builds = crate::report::plural(failing, "build");
        crate::cli::tell!("warning: {place}: {builds} failed in this run, and will fail again");
    }
    let jobs = recording.told.jobs.len();
    let unknown = jobs.saturating_sub(recording.built + failing);
    if unknown > 0 {
        crate::cli::tell!(
            "warning: {place}: {unknown} of {jobs} derivations were not built in this run, and take what is estimated"
        );
    }
    Ok(Replayed {
        name: file.name.clone(),
        makespan: Some(recording.makespan),
        began: Some(header.started),
        recording,
    })
}

/// All of a graph on the hosts of `--hosts`, or else those that a build would use.
fn from_graph(file: &RunFile, what_if: &WhatIf) -> Result<Replayed, CliError> {
    let prepared = prepare::load_whole(&file.path)?;
    let setup =
        Setup::new(&what_if.place(), &EvalOptions::default(), &mut |line| crate::cli::tell!("{line}"))?;
    let config = what_if.decide.config()?;
    let hosts = setup.fleet.hosts.rows();
    let learned = Learned::before(None, &config.cost, hosts, &mut |line| crate::cli::tell!("{line}"));
    let (mut work, mut hosts) = (prepared.work, setup.fleet.hosts);
    learned.sizes(&mut work);
    hosts.iter_mut().for_each(|(_, host)| host.guess_cores());
    let eligible = work
        .jobs
        .rows()
        .iter()
        .map(|job| {
            let able = |id: &crate::fleet::HostId| hosts[*id].lacks(&job.system, &job.features).is_none();
            hosts.ids().filter(able).collect()
        })
        .collect();
    let (estimates, parallel) = learned.estimates(&work);
    let mut recording = Recording::imagined(work, hosts, estimates, eligible).with_parallel(parallel);
    recording.policy = config.policy;
    Ok(Replayed { name: file.name.clone(), recording, makespan: None, began: None })
}
