//! From the text of `nix derivation show -r` to a pruned graph with its critical path, once, in a
//! process of its own: how long each step takes, and the most memory it ever had.
//!
//! `scripts/bench-graph` runs it several times. Without a file it does nothing, so that a run of all
//! benchmarks passes over it.

use std::error::Error;
use std::path::PathBuf;
use std::time::Instant;

use drvdispatch::base::{Span, Table};
use drvdispatch::cost;
use drvdispatch::graph::{Graph, JobId, Workload, critical_path};
use drvdispatch::nix::parse_show;

fn main() -> Result<(), Box<dyn Error>> {
    let is_file = |arg: &String| !arg.starts_with("--");
    match std::env::args().skip(1).find(is_file) {
        Some(file) => measure(&PathBuf::from(file)),
        None => Ok(()),
    }
}

fn measure(file: &PathBuf) -> Result<(), Box<dyn Error>> {
    let begin = (Instant::now(), processor_time());
    let mut last = begin;
    // Wall time and, in brackets, processor time of all threads, in milliseconds.
    let mut step = || {
        let took = format!("{:.1} ({:.1})", millis(last.0), processor_time() - last.1);
        last = (Instant::now(), processor_time());
        took
    };
    let json = std::fs::read(file)?;
    let read = step();
    let derivations = parse_show(&json)?;
    let size = json.len();
    drop(json);
    let parsed = step();
    let graph = Graph::new(derivations)?;
    let linked = step();
    let work = Workload::from_graph_all(&graph, &graph.roots());
    let pruned = step();
    let medians: Table<JobId, Span> = cost::estimate(&work).rows().iter().map(|cost| cost.median).collect();
    let path = critical_path(&work, &medians);
    let ranked = step();
    println!(
        "{:.1} ms ({:.1} of processors): read {read}, parse {parsed}, link {linked}, prune {pruned}, \
         rank {ranked}; peak {:.0} MB; {} bytes, {} derivations, critical path of {}",
        millis(begin.0),
        processor_time() - begin.1,
        peak_memory()?,
        size,
        work.jobs.len(),
        path.len(),
    );
    Ok(())
}

fn millis(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}

/// What all threads have had of the processors, in milliseconds; 0 where the system does not say.
fn processor_time() -> f64 {
    let Ok(tasks) = std::fs::read_dir("/proc/self/task") else { return 0.0 };
    let had = |task: std::fs::DirEntry| {
        let text = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<f64>().ok()
    };
    tasks.flatten().filter_map(had).sum::<f64>() / 1e6
}

/// The largest resident set this process has had, in megabytes (10^6 bytes), as Linux counts it.
fn peak_memory() -> Result<f64, Box<dyn Error>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let kib = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"))
        .ok_or("/proc/self/status has no VmHWM")?;
    Ok(kib.trim().parse::<f64>()? * 1024.0 / 1e6)
}
