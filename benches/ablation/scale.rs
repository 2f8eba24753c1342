//! What a run costs by its size.

use std::time::Instant;

use drvdispatch::base::Time;
use drvdispatch::cost;
use drvdispatch::graph::{Graph, Workload, critical_path};
use drvdispatch::nix::parse_show;
use drvdispatch::sched::Policy;

use crate::common::run::{Count, Setting};
use crate::common::{clusters, graphs};

/// For graphs of all sizes.
const HOSTS: usize = 100;
/// For the distribution's graph.
const FLEETS: [usize; 3] = [4, 16, 100];

/// Prints a line for each size, doubling up to `most` derivations: what an event costs divided by the logarithm of
/// the size, which should not grow, and how good the schedule was for it.
pub fn print(most: usize) {
    // First, as the peak of memory only goes up.
    loading();
    println!("made-up graphs, and the distribution's, sigma 0.36");
    println!(
        "{:>8} {:>5} {:>9} {:>9} {:>8} {:>9} {:>12} {:>10} {:>14} {:>8} {:>7}",
        "jobs",
        "hosts",
        "events",
        "orders",
        "set up s",
        "run s",
        "decisions/s",
        "ns/event",
        "ns/event/log2",
        "peak MB",
        "/ bound"
    );
    let mut sizes: Vec<usize> =
        std::iter::successors(Some(most), |&size| (size >= 2_000).then_some(size / 2)).collect();
    sizes.reverse();
    for jobs in sizes {
        line(&graphs::made_up(jobs, 1), HOSTS);
    }
    if let Ok(distribution) = graphs::distribution() {
        FLEETS.into_iter().for_each(|hosts| line(&distribution, hosts));
    }
}

/// From the text that Nix prints of a distribution to a critical path.
fn loading() {
    let json = match graphs::distribution_json() {
        Ok(json) => json,
        Err(why) => return eprintln!("left out: {why}"),
    };
    let began = Instant::now();
    let graph = Graph::new(parse_show(&json).expect("Nix printed it")).expect("it is a graph");
    let work = Workload::from_graph_all(&graph, &graph.roots());
    let cost = cost::estimate(&work).rows().iter().map(|cost| cost.median).collect();
    let path = critical_path(&work, &cost);
    println!(
        "reading {} derivations in {:.1} MB of JSON, to a critical path of {}: {:.0} ms, peak memory {:.0} MB",
        work.jobs.len(),
        json.len() as f64 / 1e6,
        path.len(),
        began.elapsed().as_secs_f64() * 1e3,
        peak().unwrap_or(0) as f64 / 1e6
    );
}

fn line(source: &graphs::Source, hosts: usize) {
    let input = source.seeded(1);
    let jobs = input.real.jobs.len();
    let hosts = clusters::many(hosts);
    let setting = Setting::new(&input, &hosts);
    let estimates = setting.estimates(0.36, 1);
    let began = Instant::now();
    let mut ready = setting.ready(&Policy::default(), estimates);
    let set_up = began.elapsed().as_secs_f64();
    let mut count = Count::default();
    let began = Instant::now();
    let end = ready.watched(&mut count);
    let took = began.elapsed().as_secs_f64();
    // Before the bound is worked out, which is not part of a run.
    let peak = peak().unwrap_or(0) as f64 / 1e6;
    let bound = setting.bound();
    let per_event = took * 1e9 / count.events as f64;
    println!(
        "{jobs:>8} {:>5} {:>9} {:>9} {set_up:>8.3} {took:>9.3} {:>12.0} {per_event:>10.0} {:>14.1} {peak:>8.0} {:>7.3}",
        hosts.len(),
        count.events,
        count.orders,
        count.builds as f64 / took,
        per_event / (jobs as f64).log2(),
        end.since(Time::ZERO).as_secs_f64() / bound.as_secs_f64(),
    );
}

/// The most memory that this process had, in bytes, where the system says it.
fn peak() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM"))?;
    Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? * 1024)
}
