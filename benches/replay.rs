//! What the scheduler makes of recorded runs, and how fast runs are gone through again.
//!
//! Before the times, a line for each run in fixtures/runs says whether its orders are still the same, and
//! how far from the lower bound it ends in simulation under this version's default policy.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use divan::Bencher;
use divan::counter::ItemsCount;
use drvdispatch::base::{Span, Table};
use drvdispatch::cost;
use drvdispatch::fleet::HostId;
use drvdispatch::records::RunFile;
use drvdispatch::run::{Entry, Header};
use drvdispatch::sched::{Policy, Scheduler};
use drvdispatch::sim::{Conditions, Estimates, Recording};

#[expect(dead_code, reason = "some of it is for the other benchmarks")]
#[path = "common/mod.rs"]
mod common;

use common::{clusters, graphs};

fn main() {
    println!(
        "{:<10} {:>7} {:>9} {:>9} {:>8} {:>8} {:>8}  orders",
        "run", "jobs", "real s", "as then s", "× bound", "now", "perfect"
    );
    files().iter().for_each(|file| line(file));
    divan::main();
}

fn files() -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/runs");
    let entries = std::fs::read_dir(dir).into_iter().flatten().filter_map(Result::ok);
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    files.retain(|file| file.extension().is_some_and(|end| end == "jsonl"));
    files.sort();
    files
}

fn read(file: &Path) -> (Header, Vec<Entry>) {
    let (header, entries, _) = RunFile::at(file).and_then(|file| file.read()).expect("it was recorded");
    (header, entries)
}

fn line(file: &Path) {
    let (header, entries) = read(file);
    let recording = Recording::new(&header, &entries).expect("its policy is known");
    let then = Conditions::as_recorded(&recording);
    let now = Conditions { policy: Policy::default(), ..then.clone() };
    let perfect = Conditions { estimates: Estimates::Perfect, ..now.clone() };
    let outcomes = recording.simulate_all(&[then, now, perfect]);
    let ratio = |i: usize| outcomes[i].ratio.unwrap_or(0.0);
    let orders = match Scheduler::recorded(&header).map(|mut fresh| fresh.replay(&entries)) {
        Ok(Ok(same)) => format!("{} identical", same.orders),
        Ok(Err(differs)) => format!("differ from line {} on", differs.row + 2),
        Err(unknown) => unknown.to_string(),
    };
    println!(
        "{:<10} {:>7} {:>9.1} {:>9.1} {:>8.3} {:>8.3} {:>8.3}  {orders}",
        file.file_stem().unwrap_or_default().to_string_lossy(),
        recording.built,
        recording.makespan.as_secs_f64(),
        outcomes[0].makespan.as_secs_f64(),
        ratio(0),
        ratio(1),
        ratio(2),
    );
}

/// The facts of all recorded runs, fed to fresh schedulers.
#[divan::bench]
fn exactly(bencher: Bencher) {
    let runs: Vec<_> = files().iter().map(|file| read(file)).collect();
    let events: usize = runs.iter().map(|(_, entries)| entries.len()).sum();
    bencher.counter(ItemsCount::new(events)).bench_local(|| {
        let replay = |(header, entries): &(Header, Vec<Entry>)| {
            Scheduler::recorded(header).map(|mut fresh| fresh.replay(entries).is_ok()).unwrap_or(false)
        };
        runs.iter().filter(|run| replay(run)).count()
    });
}

/// A hundred seeds of the distribution's graph on four hosts, on all processors.
#[divan::bench(sample_count = 1, sample_size = 1)]
fn hundred_configurations_of_12083(bencher: Bencher) {
    let input = graphs::distribution().unwrap_or_else(|_| graphs::made_up(12_083, 1)).seeded(1);
    let mut hosts = clusters::many(4);
    // Who may build what is worked out anew for each fleet, by what hosts have.
    let features: BTreeSet<String> =
        input.told.jobs.rows().iter().flat_map(|job| job.features.iter().cloned()).collect();
    hosts.iter_mut().for_each(|(_, host)| host.features = features.iter().cloned().collect());
    let all: Vec<HostId> = hosts.ids().collect();
    let eligible = Table::filled(input.told.jobs.len(), all);
    let estimates = cost::estimate(&input.told);
    let recording = Recording::imagined(input.told, hosts, estimates, eligible);
    let seeded = |seed| Conditions { noise: 0.3, seed, ..Conditions::as_recorded(&recording) };
    let conditions: Vec<Conditions> = (0..100).map(seeded).collect();
    bencher.counter(ItemsCount::new(conditions.len())).bench_local(|| {
        let outcomes = recording.simulate_all(&conditions);
        assert!(outcomes.iter().all(|outcome| outcome.makespan > Span::ZERO && outcome.missing == 0));
    });
}
