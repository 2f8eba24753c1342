//! From derivations to a bound, on a graph of the size of a distribution.

use divan::{Bencher, black_box};
use drvdispatch::base::{Span, Table};
use drvdispatch::cost;
use drvdispatch::graph::{
    ClusterLimits, Clusters, Graph, JobId, Limits, Pace, Power, Ranks, Workload, makespan_bound,
};
use drvdispatch::nix::{Derivation, Options, Output, StorePath};

/// The derivations of a large public closure.
const SIZE: usize = 12_083;
const INPUTS: usize = 8;

fn main() {
    divan::main();
}

fn path(row: usize, suffix: &str) -> StorePath {
    // Scrambled, so that path order says nothing about the order of needs.
    let hash = (row as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) % 10_u64.pow(16);
    StorePath::parse(&format!("/nix/store/{hash:032}-n{row}{suffix}")).expect("digits are base-32")
}

/// A generator of numbers that look random and are always the same.
fn numbers() -> impl FnMut(usize) -> usize {
    let mut state = 1u64;
    move |below| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    }
}

fn derivations() -> Vec<Derivation> {
    let mut number = numbers();
    let mut derivation = |row: usize| {
        // Near inputs make the graph deep, as real ones are.
        let mut inputs: Vec<_> = (0..INPUTS.min(row)).map(|_| row - 1 - number(row.min(150))).collect();
        inputs.sort_unstable();
        inputs.dedup();
        Derivation {
            path: path(row, ".drv"),
            name: format!("n{row}"),
            pname: None,
            version: None,
            system: "x86_64-linux".to_owned(),
            builder: "/bin/sh".to_owned(),
            outputs: vec![Output { name: "out".to_owned(), path: path(row, ""), fixed: false }],
            input_srcs: Vec::new(),
            input_drvs: inputs.into_iter().map(|i| (path(i, ".drv"), vec!["out".to_owned()])).collect(),
            options: Options::default(),
        }
    };
    (0..SIZE).map(&mut derivation).collect()
}

fn workload() -> Workload {
    let graph = Graph::new(derivations()).expect("the made-up graph is sound");
    Workload::from_graph_all(&graph, &graph.roots())
}

fn costs(work: &Workload) -> Table<JobId, Span> {
    let mut number = numbers();
    work.jobs.ids().map(|_| Span::from_millis(100 + number(100_000) as u64)).collect()
}

#[divan::bench]
fn link(bencher: Bencher) {
    bencher.with_inputs(derivations).bench_values(|all| Graph::new(all).map(|graph| graph.len()));
}

#[divan::bench]
fn prune(bencher: Bencher) {
    let graph = Graph::new(derivations()).expect("the made-up graph is sound");
    let roots = graph.roots();
    bencher.bench_local(|| Workload::from_graph_all(black_box(&graph), &roots));
}

#[divan::bench]
fn estimate(bencher: Bencher) {
    let work = workload();
    bencher.bench_local(|| cost::estimate(black_box(&work)));
}

#[divan::bench]
fn rank(bencher: Bencher) {
    let work = workload();
    let cost = costs(&work);
    bencher.bench_local(|| Ranks::new(black_box(&work), cost.clone()));
}

#[divan::bench]
fn change_one_cost(bencher: Bencher) {
    let work = workload();
    let mut ranks = Ranks::new(&work, costs(&work));
    let mut number = numbers();
    bencher.bench_local(|| {
        let job = JobId(number(work.jobs.len()) as u32);
        ranks.set_costs([(job, Span::from_millis(100 + number(100_000) as u64))])
    });
}

#[divan::bench]
fn cluster(bencher: Bencher) {
    let work = workload();
    let cost = costs(&work);
    let second = Span::from_secs(1);
    let limits = ClusterLimits { tiny: Span::from_secs(30), total: Span::from_secs(300), saves: second };
    bencher.bench_local(|| Clusters::new(black_box(&work), &cost, limits, |_, _| true));
}

#[divan::bench]
fn bound(bencher: Bencher) {
    let work = workload();
    let cost = costs(&work);
    let hosts = [Power::slots(8), Power::slots(4), Power::slots(2)];
    let speeds = [1.0, 2.0, 0.5].map(Pace::one_core);
    let able = |job: JobId| (0..3).filter(move |&host| host != 1 || !job.0.is_multiple_of(3));
    bencher.bench_local(|| {
        let limits = Limits::new(&work, &hosts, |job| able(job).map(|host| (host, speeds[host])).collect());
        makespan_bound(black_box(&work), &cost, &limits)
    });
}
