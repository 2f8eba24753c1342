//! How fast the scheduler decides, and how fast a large graph is read.

#[expect(dead_code, reason = "some of it is for the other benchmark")]
#[path = "common/mod.rs"]
mod common;

use common::run::{Count, Setting};
use common::{clusters, graphs};
use divan::Bencher;
use divan::counter::ItemsCount;
use drvdispatch::base::Table;
use drvdispatch::cost;
use drvdispatch::drive::Watch;
use drvdispatch::graph::{Graph, Workload, critical_path, makespan_bound};
use drvdispatch::nix::parse_show;
use drvdispatch::run::{Event, Order};
use drvdispatch::sched::Policy;

fn main() {
    divan::main();
}

/// The distribution's graph, or a made-up one of its size where it is not there.
fn large() -> graphs::Input {
    graphs::distribution().unwrap_or_else(|_| graphs::made_up(12_083, 1)).seeded(1)
}

/// Keeps all facts of a run.
#[derive(Default)]
struct Facts {
    events: Vec<(drvdispatch::base::Time, Event)>,
    builds: usize,
}

impl Watch for Facts {
    fn event(&mut self, at: drvdispatch::base::Time, event: &Event) {
        self.events.push((at, event.clone()));
    }

    fn order(&mut self, _at: drvdispatch::base::Time, order: &Order) {
        self.builds += usize::from(matches!(order, Order::Build { .. }));
    }
}

/// The scheduler alone, given the facts of a run again: assignments a second, without the reasons for them.
#[divan::bench(sample_count = 5)]
fn decide_12083_on_16_hosts(bencher: Bencher) {
    let (input, hosts) = (large(), clusters::many(16));
    let setting = Setting::new(&input, &hosts);
    let estimates = setting.estimates(0.36, 1);
    let mut facts = Facts::default();
    setting.ready(&Policy::default(), estimates.clone()).watched(&mut facts);
    bencher
        .counter(ItemsCount::new(facts.builds))
        .with_inputs(|| setting.ready(&Policy::default(), estimates.clone()).scheduler)
        .bench_local_values(|mut scheduler| {
            let mut orders = Vec::new();
            for (at, event) in &facts.events {
                scheduler.step(*at, event, &mut orders);
                orders.clear();
            }
            scheduler
        });
}

/// The scheduler and its world.
#[divan::bench(sample_count = 5)]
fn simulate_12083_on_16_hosts(bencher: Bencher) {
    let (input, hosts) = (large(), clusters::many(16));
    let setting = Setting::new(&input, &hosts);
    let estimates = setting.estimates(0.36, 1);
    bencher.with_inputs(|| setting.ready(&Policy::default(), estimates.clone())).bench_local_values(
        |mut ready| {
            let mut count = Count::default();
            ready.watched(&mut count);
            // Given back, so that taking it apart does not count.
            (count.builds, ready)
        },
    );
}

/// What no schedule beats.
#[divan::bench(sample_count = 20)]
fn bound_12083_on_16_hosts(bencher: Bencher) {
    let (input, hosts) = (large(), clusters::many(16));
    let eligible = Table::filled(input.real.jobs.len(), hosts.ids().collect());
    bencher.bench_local(|| {
        let limits = cost::limits(&input.real, &hosts, &eligible, &input.parallel, |id| hosts[id].lanes());
        makespan_bound(&input.real, &input.truth, &limits)
    });
}

/// From the text that Nix prints to a critical path.
#[divan::bench(sample_count = 5)]
fn load_distribution(bencher: Bencher) {
    let Ok(json) = graphs::distribution_json() else {
        eprintln!("left out: the distribution's graph is not there");
        return;
    };
    bencher.bench_local(|| {
        let graph = Graph::new(parse_show(&json).expect("Nix printed it")).expect("it is a graph");
        let work = Workload::from_graph_all(&graph, &graph.roots());
        let cost: Table<_, _> = cost::estimate(&work).rows().iter().map(|cost| cost.median).collect();
        critical_path(&work, &cost).len()
    });
}
