//! `drvdispatch tune`: better settings from recorded runs, written to the configuration where they are
//! better beyond noise; and how well the estimator does.

mod gather;
mod text;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use self::gather::Gathered;
use super::error::CliError;
use crate::base::{Interval, Value};
use crate::records::{Change, ConfigFile};
use crate::tune::{Accuracy, Design, Dial, Finding, Found, Replays, Settings, search};

/// Packages that are named as badly predicted.
const WORST: usize = 10;

/// Search for better settings by going through recorded runs again
#[derive(Args, Debug, Clone)]
#[command(after_help = "\
Each parameter is turned in turn; what is found on some runs is judged on others, and written to the configuration \
only if it is better beyond noise. With one or two runs there are no others: then other durations of the same work \
have to do. The same runs, configuration, seed and budget give the same result.

Exit codes: 0 also if nothing better was found; 1 if there is nothing to learn from.")]
pub struct TuneArgs {
    /// Run logs: files, names of runs in the directory of runs, or `last` [default: the newest 20]
    #[arg(value_name = "RUN")]
    runs: Vec<String>,
    /// Only show what would be written to the configuration
    #[arg(long)]
    dry_run: bool,
    /// The most simulations
    #[arg(long, value_name = "N", default_value_t = 5_000, value_parser = clap::value_parser!(u64).range(1..))]
    budget: u64,
    /// Draw other durations
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Neither use nor need the history of builds
    #[arg(long)]
    no_history: bool,
    /// Print what was found as JSON
    #[arg(long)]
    json: bool,
}

/// What `--json` prints.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Tuned {
    runs: Vec<String>,
    left_out: Vec<LeftOut>,
    /// Nothing if no run can be gone through again.
    search: Option<Searched>,
    estimator: Accuracy,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct LeftOut {
    run: String,
    why: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Searched {
    seeds: usize,
    folds: usize,
    judged_by: Judge,
    parameters: Vec<Row>,
    together: Option<Gain>,
    /// The file that the new values were written to.
    written: Option<String>,
    #[serde(skip)]
    file: String,
    #[serde(skip)]
    dry_run: bool,
}

/// On what gains are measured.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Judge {
    OtherRuns,
    OtherDurations,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    table: &'static str,
    name: &'static str,
    #[serde(serialize_with = "as_written")]
    now: Value,
    #[serde(serialize_with = "as_written")]
    best: Value,
    /// Parts of the makespan; nothing if nothing tried is better.
    gain: Option<Gain>,
    matters: bool,
    kept: bool,
}

#[derive(Clone, Copy, Debug, Serialize)]
struct Gain {
    mean: f64,
    low: f64,
    high: f64,
}

impl From<Interval> for Gain {
    fn from(Interval { mean, low, high }: Interval) -> Gain {
        Gain { mean, low, high }
    }
}

fn as_written<S: serde::Serializer>(value: &Value, serializer: S) -> Result<S::Ok, S::Error> {
    match value {
        Value::Number(number) => serializer.serialize_f64(*number),
        Value::Switch(on) => serializer.serialize_bool(*on),
    }
}

/// Runs the verb.
///
/// # Errors
/// There is nothing to learn from, or something cannot be read or written.
pub fn run(args: &TuneArgs) -> Result<u8, CliError> {
    let file = ConfigFile::of_user()?;
    let config = file.read()?;
    let start = Settings { policy: config.policy, cost: config.cost };
    let Gathered { runs, samples, mut left_out } = gather::gather(args)?;
    let mut replays = Replays::new(runs, samples, args.seed);
    let estimator = Accuracy::new(replays.samples(), replays.unlearned(&start.cost), WORST);
    let unfit = replays.leave_out_unfit(&start);
    left_out.extend(unfit.into_iter().map(|(run, why)| LeftOut { run: run.name, why: why.to_string() }));
    let dials = Dial::all();
    let search = match replays.runs().len() {
        0 => None,
        runs => {
            let design = Design::new(runs, &dials, &start, args.budget).ok_or_else(|| {
                let fewest = Design::fewest(&dials, &start);
                CliError::Usage(format!(
                    "--budget {}: with fewer than {fewest} simulations nothing can be shown",
                    args.budget
                ))
            })?;
            Some(searched(args, &replays, &design, &dials, &start, &file)?)
        }
    };
    let usable = search.is_some();
    let used = replays.runs().iter().map(|run| run.name.clone()).collect();
    let tuned = Tuned { runs: used, left_out, search, estimator };
    if args.json {
        let json =
            serde_json::to_string(&tuned).map_err(|e| CliError::io("writing the findings")(e.into()))?;
        super::put(&format!("{json}\n"), "the findings")?;
    } else {
        super::put(&text::text(&tuned, crate::report::Room::of_stdout()), "the findings")?;
    }
    Ok(u8::from(!usable))
}

fn searched(
    args: &TuneArgs,
    replays: &Replays,
    design: &Design,
    dials: &[Dial],
    start: &Settings,
    file: &ConfigFile,
) -> Result<Searched, CliError> {
    let bar = progress(design.simulations);
    let makespan = |settings: &Settings, pair| replays.makespan(settings, pair);
    let Found { findings, settings: _, together } = search(design, dials, start, &makespan, &|| bar.inc(1));
    bar.finish_and_clear();
    let changes: Vec<Change> = findings.iter().filter(|finding| finding.kept).map(change).collect();
    let write = !changes.is_empty() && !args.dry_run;
    if write {
        file.write(&changes)?;
    }
    let row = |finding: &Finding| Row {
        table: finding.dial.table(),
        name: finding.dial.name(),
        now: finding.now,
        best: finding.best,
        gain: finding.gain.map(Gain::from),
        matters: finding.matters,
        kept: finding.kept,
    };
    let path = file.path().display().to_string();
    Ok(Searched {
        seeds: design.seeds,
        folds: design.folds,
        judged_by: if design.is_by_run() { Judge::OtherRuns } else { Judge::OtherDurations },
        parameters: findings.iter().map(row).collect(),
        together: together.map(Gain::from),
        written: write.then(|| path.clone()),
        file: path,
        dry_run: args.dry_run,
    })
}

fn change(finding: &Finding) -> Change {
    match finding.dial {
        Dial::Policy(parameter) => Change::Policy(parameter.name, finding.best),
        Dial::Cost(parameter) => Change::Cost(parameter.name, finding.best),
    }
}

/// On stderr, and only if that is a terminal.
fn progress(simulations: u64) -> ProgressBar {
    let bar = ProgressBar::new(simulations);
    if let Ok(style) = ProgressStyle::with_template("{wide_bar} {pos}/{len} simulations, {eta} left") {
        bar.set_style(style);
    }
    bar
}
