//! How good estimates are: each build of a recorded history predicted from those before it, beside
//! simpler estimators, and what estimates are worth to a schedule. `scripts/bench-cost --help` says what
//! it can be asked for.

#[path = "../common/mod.rs"]
#[expect(dead_code, reason = "other benchmarks use the rest")]
mod common;
mod history;
mod rivals;
mod score;
mod simulation;
#[path = "../ablation/stats.rs"]
mod stats;

use std::path::PathBuf;

use clap::Parser;

/// Measure estimates of build times
#[derive(Parser, Debug)]
#[command(name = "bench-cost")]
struct Args {
    /// Builds of one host in the order of time, as CSV with columns package, version, start_unix, seconds
    #[arg(value_name = "HISTORY")]
    history: Option<PathBuf>,
    /// Instead: makespans of simulated runs with estimates from history, from the shipped table, and from
    /// wrong host speeds, over those of an oracle
    #[arg(long)]
    sim: bool,
    /// Seeds: made-up worlds
    #[arg(long, default_value_t = 16)]
    seeds: u64,
    /// Graphs to simulate, whose names contain one of these
    #[arg(long, value_delimiter = ',', value_name = "PART,…", default_value = "system")]
    graphs: Vec<String>,
    /// Runs that are learned from
    #[arg(long, default_value_t = 3)]
    runs: u64,
    /// What `cargo bench` says
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> std::process::ExitCode {
    let args = Args::parse();
    let done = match args.sim {
        true => simulation::print(&args.graphs, args.seeds, args.runs),
        false => history::print(&args.history.unwrap_or_else(history::usual_place)),
    };
    match done {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("bench-cost: {why}");
            std::process::ExitCode::from(2)
        }
    }
}
