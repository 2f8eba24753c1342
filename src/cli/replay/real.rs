//! A recorded run built again, of derivations that only take time: the simulator held against reality.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use clap::Parser as _;
use serde::Serialize;
use serde_json::{Value, json};

use super::source::{Source, from_log};
use super::what_if::WhatIf;
use crate::base::{Span, Table};
use crate::cli::error::CliError;
use crate::cli::{Cli, Verb, build};
use crate::fleet::FleetError;
use crate::graph::{JobId, Origin, PathId};
use crate::nix::parse_drv;
use crate::records::{RunFile, RunsDir};
use crate::sim::{Conditions, Recording};

/// What makes the derivations.
const REPLICA: &str = include_str!("../../../fixtures/replica.nix");
const JOB: &str = include_str!("../../../fixtures/job.nix");

/// Simulated against real; times in microseconds.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Held {
    run: String,
    /// Of the replica.
    log: String,
    derivations: usize,
    bound: Span,
    simulated: Span,
    real: Span,
    /// Simulated over real.
    ratio: f64,
}

/// Builds each run again and simulates the same; the exit code.
pub(super) fn run(runs: &[String], what_if: &WhatIf, scale: f64, json: bool) -> Result<u8, CliError> {
    let mut all = Vec::new();
    for run in runs {
        let Source::Log(file) = Source::find(run)? else {
            return Err(CliError::Usage(format!("--real: '{run}' is a graph; it takes the log of a run")));
        };
        match held(&file, what_if, scale)? {
            Ok(held) => all.push(held),
            Err(code) => return Ok(code),
        }
    }
    if json {
        super::put_json(&all)?;
    } else {
        let text: String = all.iter().map(Held::text).collect();
        crate::cli::put(&text, "the result")?;
    }
    Ok(0)
}

impl Held {
    fn text(&self) -> String {
        let over = |span: Span| span.as_secs_f64() / self.bound.as_secs_f64().max(1e-6);
        format!(
            "{}: {} built again\n  simulated  {:>7}  {:.2} × bound\n  real       {:>7}  {:.2} × bound\n  \
             simulated / real: {:.3}\n",
            self.run,
            crate::report::plural(self.derivations, "derivation"),
            self.simulated.to_string(),
            over(self.simulated),
            self.real.to_string(),
            over(self.real),
            self.ratio
        )
    }
}

/// The exit code of the build, if it did not succeed.
fn held(file: &RunFile, what_if: &WhatIf, scale: f64) -> Result<Result<Held, u8>, CliError> {
    let recorded = from_log(file)?.recording;
    let dir = tempfile::tempdir().map_err(CliError::io("making a temporary directory"))?;
    write_files(dir.path(), &recorded)?;
    let runs = RunsDir::of_user().map_err(|e| CliError::Usage(e.to_string()))?;
    let list = || runs.list().map_err(|e| CliError::Usage(e.to_string()));
    let before = list()?;
    let code = build::run(&arguments(dir.path(), what_if, scale)?).map_err(as_asked)?;
    if code != 0 {
        return Ok(Err(code));
    }
    let new = list()?.into_iter().find(|run| !before.iter().any(|old| old.name == run.name));
    let new =
        new.ok_or_else(|| CliError::Usage("the replica was built, but its run was not recorded".to_owned()))?;
    let replica = from_log(&new)?.recording;
    let real = replica.makespan;
    let simulated = simulate(replica, &recorded)?;
    Ok(Ok(Held {
        run: file.name.clone(),
        log: new.name,
        derivations: recorded.built,
        bound: simulated.bound,
        simulated: simulated.makespan,
        real,
        ratio: simulated.makespan.as_secs_f64() / real.as_secs_f64().max(1e-6),
    }))
}

/// The run of the replica, simulated with nothing of what it measured but when its hosts answered: durations
/// are those that it was made with, links and handling those of the run that it repeats.
fn simulate(mut replica: Recording, recorded: &Recording) -> Result<crate::sim::Outcome, CliError> {
    replica.truth =
        replica.told.jobs.rows().iter().map(|job| duration(&job.drv)).collect::<Result<_, _>>()?;
    // What only sleeps gains nothing from cores.
    replica.parallel = Table::filled(replica.truth.len(), 0.0);
    if recorded.built > 0 {
        replica.handling = recorded.handling;
    }
    let mut conditions = Conditions::as_recorded(&replica);
    for (id, host) in conditions.hosts.iter_mut() {
        let known = recorded.hosts.rows().iter().find(|other| other.name == host.name);
        host.link = known.map_or(replica.told_hosts[id].link, |other| other.link);
    }
    Ok(replica.simulate(&conditions))
}

/// How long a derivation of the replica sleeps on a host of speed 1.
fn duration(drv: &str) -> Result<Option<Span>, CliError> {
    let text = fs::read(drv).map_err(CliError::io(format!("reading {drv}")))?;
    let recipe = parse_drv(&text).map_err(|e| CliError::Usage(format!("{drv}: {e}")))?;
    let ms = recipe.variable("durationMs").and_then(|ms| std::str::from_utf8(ms).ok()?.parse().ok());
    Ok(Some(Span::from_millis(ms.unwrap_or(0))))
}

fn write_files(dir: &Path, recorded: &Recording) -> Result<(), CliError> {
    let (facts, costs) = facts_and_costs(recorded);
    for (name, text) in [
        ("replica.nix", REPLICA.to_owned()),
        ("job.nix", JOB.to_owned()),
        ("facts.json", facts.to_string()),
        ("costs.json", costs.to_string()),
    ] {
        let path = dir.join(name);
        fs::write(&path, text).map_err(CliError::io(format!("writing {}", path.display())))?;
    }
    Ok(())
}

/// The arguments of the build, as they would be written.
fn arguments(dir: &Path, what_if: &WhatIf, scale: f64) -> Result<build::BuildArgs, CliError> {
    let path = |name: &str| dir.join(name).display().to_string();
    let salt = format!("{}-{}", crate::cli::prepare::unix_now(), std::process::id());
    let mut words: Vec<String> =
        ["drvdispatch", "build", "-A", "root", "--no-link", "--no-history", "-f"].map(str::to_owned).into();
    words.push(path("replica.nix"));
    words.extend(["--argstr".to_owned(), "salt".to_owned(), salt]);
    for (name, value) in
        [("facts", path("facts.json")), ("costs", path("costs.json")), ("scale", scale.to_string())]
    {
        words.extend(["--arg".to_owned(), name.to_owned(), value]);
    }
    words.extend(what_if.build_options());
    match Cli::try_parse_from(words).map_err(|e| CliError::Usage(e.to_string()))?.verb {
        Verb::Build(args) => Ok(*args),
        _ => Err(CliError::Usage("--real: the build could not be begun".to_owned())),
    }
}

/// What is wrong with the build, by the options that it was asked for with.
fn as_asked(error: CliError) -> CliError {
    match error {
        CliError::NoHost(refused) => CliError::NobodyLeft(refused),
        CliError::Fleet(FleetError::NoSuchHost { option: "--not-on", name, suggestion, known }) => {
            FleetError::NoSuchHost { option: "--without", name, suggestion, known }.into()
        }
        other => other,
    }
}

/// What decides scheduling of each job, by the name of its .drv file, and what each takes and makes, as
/// fixtures/replica.nix reads it.
fn facts_and_costs(recorded: &Recording) -> (Value, Value) {
    let work = &recorded.real;
    let key = |job: JobId| base_name(&work.jobs[job].drv).to_owned();
    let output = |path: PathId| match work.paths[path].origin {
        Origin::Job(job) => {
            let spec = &work.jobs[job];
            let row = spec.outputs.iter().position(|out| *out == path).unwrap_or(0);
            Some((job, output_name(&work.paths[path].path, &spec.name, row)))
        }
        Origin::Home | Origin::Substituter => None,
    };
    let (mut facts, mut costs) = (serde_json::Map::new(), serde_json::Map::new());
    for (id, job) in work.jobs.iter() {
        let mut inputs: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (needed, name) in job.inputs.iter().filter_map(|path| output(*path)) {
            inputs.entry(key(needed)).or_default().push(name);
        }
        for need in &job.needs {
            let first = work.jobs[*need].outputs.first().and_then(|path| output(*path));
            inputs.entry(key(*need)).or_insert_with(|| first.into_iter().map(|(_, name)| name).collect());
        }
        let yes = |is: bool| if is { "1" } else { "" };
        let outputs: serde_json::Map<String, Value> =
            job.outputs.iter().filter_map(|path| output(*path)).map(|(_, name)| (name, json!({}))).collect();
        facts.insert(
            key(id),
            json!({
                "name": job.name,
                "env": {
                    "requiredSystemFeatures": job.features.join(" "),
                    "preferLocalBuild": yes(job.prefer_local),
                    "enableParallelBuilding": yes(job.parallel),
                },
                "outputs": outputs,
                "inputs": { "drvs": inputs },
            }),
        );
        let took = recorded.truth[id].unwrap_or(recorded.estimates[id].median);
        let bytes: u64 = job.outputs.iter().map(|path| work.paths[*path].size).sum();
        let each = bytes / job.outputs.len().max(1) as u64;
        costs.insert(key(id), json!([took.0.div_ceil(1000), each]));
    }
    (json!({ "derivations": facts }), Value::Object(costs))
}

fn base_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// `lib` of `/nix/store/HASH-name-lib`; the path of `out` has no such end. A path of another form gives its
/// place among the outputs.
fn output_name(path: &str, name: &str, row: usize) -> String {
    let rest = base_name(path).get(33..).and_then(|rest| rest.strip_prefix(name));
    match rest {
        Some("") => "out".to_owned(),
        Some(end) if end.len() > 1 && end.starts_with('-') => end[1..].to_owned(),
        _ if row == 0 => "out".to_owned(),
        _ => format!("out{row}"),
    }
}

#[cfg(test)]
mod tests;
