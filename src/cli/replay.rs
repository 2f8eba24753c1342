//! `drvdispatch replay`: recorded runs once more, exactly or under other conditions.

mod compare;
mod exact;
mod real;
mod source;
mod table;
mod what_if;

use clap::Args;
use serde::Serialize;

use super::error::CliError;
use source::Source;
use what_if::WhatIf;

/// Go through recorded runs again: check their orders, or see what else they might have come to
#[derive(Args, Debug, Clone)]
#[command(after_help = "\
Without any of the options below --exact, the facts of each log are fed to a fresh scheduler, and
its orders are compared with those of the log. With any of them, the durations, sizes and faults of
the run are kept and it is simulated under other conditions, beside what it was. A graph that
`nix derivation show -r` has printed can take the place of a run: then everything takes what it is
estimated to, and by which policy is tried out beforehand, as `build` does.

Exit codes: 0 all is well; 1 the orders of a log are not those of this version, or anything else.")]
pub struct ReplayArgs {
    /// Run logs: files, names in the directory of runs, `last`, or 2 for the one before it; or graphs
    #[arg(value_name = "RUN", required = true)]
    runs: Vec<String>,
    /// Check that this version gives the orders that the logs have
    #[arg(long, conflicts_with_all = ["what_if", "Decide", "compare", "real"])]
    exact: bool,
    /// Build the derivations of the runs again as ones that only take time, on the builders of --hosts or of
    /// nix.conf (which must build without a sandbox), and compare with the simulation
    #[arg(long, conflicts_with_all = ["compare", "bandwidth", "add_host", "estimates", "noise"])]
    real: bool,
    /// Shorten what is built again, as in 0.1
    #[arg(long, value_name = "F", requires = "real", value_parser = scale, default_value_t = 1.0)]
    scale: f64,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    what_if: WhatIf,
    /// Compare policies, estimates and fleets side by side, starting from the other options
    #[arg(long)]
    compare: bool,
}

/// Runs the verb; the exit code.
///
/// # Errors
/// A log cannot be read, or the conditions do not fit a run.
pub fn run(args: &ReplayArgs) -> Result<u8, CliError> {
    if args.real {
        return real::run(&args.runs, &args.what_if, args.scale, args.json);
    }
    if args.exact {
        return exact::run(&args.runs, args.json);
    }
    let sources: Vec<Source> = args.runs.iter().map(|run| Source::find(run)).collect::<Result<_, _>>()?;
    let only_logs = sources.iter().all(|source| matches!(source, Source::Log(_)));
    if !args.compare && only_logs && args.what_if == WhatIf::default() {
        return exact::run(&args.runs, args.json);
    }
    let mut tables = Vec::new();
    for source in sources {
        let replayed = source.load(&args.what_if)?;
        tables.push(compare::table(&replayed, &args.what_if, args.compare)?);
    }
    if args.json {
        return put_json(&tables).map(|()| 0);
    }
    let room = crate::report::Room::of_stdout();
    let texts: Vec<String> = tables.iter().map(|table| table.text(room)).collect();
    super::put(&texts.join("\n"), "the comparison").map(|()| 0)
}

fn scale(text: &str) -> Result<f64, String> {
    let scale = text.parse().ok().filter(|scale: &f64| *scale > 0.0 && *scale <= 1000.0);
    scale.ok_or_else(|| format!("'{text}' is no factor (a number above 0)"))
}

fn put_json(what: &impl Serialize) -> Result<(), CliError> {
    let json = serde_json::to_string(what).map_err(|e| CliError::io("writing the result")(e.into()))?;
    super::put(&format!("{json}\n"), "the result")
}

#[cfg(test)]
mod tests;
