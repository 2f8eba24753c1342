//! The ablation table: how far from the lower bound each policy's schedules end, over graphs, fleets,
//! and how wrong the estimates are. `scripts/bench-sched --help` says what it can be asked for.

mod cases;
#[path = "../common/mod.rs"]
mod common;
mod policies;
mod scale;
mod stats;
mod table;

use clap::Parser;
use common::{clusters, graphs};

/// Measure scheduling policies against each other on simulated hosts
#[derive(Parser, Debug)]
#[command(name = "bench-sched")]
struct Args {
    /// Seeds: made-up worlds for each graph
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    seeds: u64,
    /// Policies to compare, by name; the first is what the others are compared to
    #[arg(long, value_delimiter = ',', value_name = "NAME,…")]
    policies: Vec<String>,
    /// Graphs whose names contain one of these [default: all but distribution]
    #[arg(long, value_delimiter = ',', value_name = "PART,…")]
    graphs: Vec<String>,
    /// Fleets, by name
    #[arg(long, value_delimiter = ',', value_name = "NAME,…", default_value = "het4,wan,homog,cores")]
    clusters: Vec<String>,
    /// How wrong estimates are: standard deviations of their logarithms
    #[arg(long, value_delimiter = ',', value_name = "SIGMA,…", default_value = "0,0.36,0.63,1.0", value_parser = sigma)]
    sigma: Vec<f64>,
    /// A few minutes' table in a few seconds: two seeds, two sigmas, three graphs
    #[arg(long)]
    quick: bool,
    /// One JSON object per line instead of tables
    #[arg(long)]
    json: bool,
    /// Each graph on its own instead of families
    #[arg(long)]
    each: bool,
    /// Print policies, graphs and fleets by name, and end
    #[arg(long)]
    list: bool,
    /// Instead: what a run costs by its size, up to this many derivations on 100 hosts
    #[arg(long, value_name = "JOBS", num_args = 0..=1, default_missing_value = "100000")]
    scale: Option<usize>,
    /// What `cargo bench` says
    #[arg(long, hide = true)]
    bench: bool,
}

fn sigma(text: &str) -> Result<f64, String> {
    let sigma = text.parse().ok().filter(|sigma: &f64| (0.0..=5.0).contains(sigma));
    sigma.ok_or_else(|| "a standard deviation of logarithms is a number from 0 to 5".to_owned())
}

fn main() -> std::process::ExitCode {
    let mut args = Args::parse();
    if let Some(most) = args.scale {
        scale::print(most);
        return std::process::ExitCode::SUCCESS;
    }
    if args.quick {
        args.seeds = args.seeds.min(2);
        args.sigma = vec![0.0, 0.63];
        if args.graphs.is_empty() {
            args.graphs = ["system", "blast", "epigenomics"].map(str::to_owned).to_vec();
        }
    }
    match run(&args) {
        Ok(true) => std::process::ExitCode::SUCCESS,
        Ok(false) => std::process::ExitCode::FAILURE,
        Err(why) => {
            eprintln!("bench-sched: {why}");
            std::process::ExitCode::from(2)
        }
    }
}

/// False if a run did not end as it should.
fn run(args: &Args) -> Result<bool, String> {
    let policies = policies::chosen(&args.policies)?;
    let known = clusters::all();
    let names = |names: Vec<&str>| names.join(", ");
    if let Some(no) = args.clusters.iter().find(|name| known.iter().all(|c| c.name != **name)) {
        return Err(format!("no fleet '{no}'; there are {}", names(known.iter().map(|c| c.name).collect())));
    }
    let (mut sources, missing) = graphs::sources(&args.graphs);
    if args.graphs.is_empty() {
        sources.retain(|source| source.name != "distribution");
    }
    if args.list {
        println!("policies: {}", names(policies.iter().map(|(name, _)| name.as_str()).collect()));
        sources.iter().for_each(|source| println!("graph {}: {}", source.name, source.about()));
        known.iter().for_each(|c| println!("fleet {}: {}", c.name, c.about));
        return Ok(true);
    }
    missing.iter().for_each(|why| eprintln!("left out: {why}"));
    if sources.is_empty() {
        return Err("no graph is left; see --list".to_owned());
    }
    let fleets: Vec<_> =
        known.into_iter().filter(|c| args.clusters.iter().any(|name| name == c.name)).collect();
    let cases = cases::Cases {
        sources: &sources,
        fleets: &fleets,
        sigmas: &args.sigma,
        seeds: args.seeds,
        policies: &policies,
    };
    let began = std::time::Instant::now();
    let (rows, failures) = cases.run();
    table::print(args, &sources, &fleets, &policies, &rows);
    failures.iter().for_each(|why| eprintln!("failed: {why}"));
    eprintln!("{} runs in {:.1} s", rows.len() + failures.len(), began.elapsed().as_secs_f64());
    Ok(failures.is_empty())
}
