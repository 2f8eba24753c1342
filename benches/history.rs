//! The history's speed: rows written in a run, and reading all of it before the next.

use std::path::PathBuf;

use divan::Bencher;
use divan::counter::ItemsCount;
use drvdispatch::base::Span;
use drvdispatch::cost::{CostParams, Memory, OutputClass, Sample};
use drvdispatch::records::history::{Build, Ended, History, Row};

const PACKAGES: u64 = 3_000;

fn main() {
    divan::main();
}

/// The `n`th build of so many packages.
fn row(n: u64, packages: u64) -> Row {
    let sample = Sample {
        pname: format!("package{}", n % packages),
        version: format!("1.{}", n / packages),
        class: OutputClass::Source,
        system: "x86_64-linux".to_owned(),
        host: format!("host{}", n % 4),
        cores: 4,
        wall: Span::from_millis(500 + n * 7919 % 90_000),
        cpu: Some(Span::from_millis(900 + n * 7919 % 300_000)),
        input_size: n << 12,
        output_size: n << 10,
        stopped: 1_700_000_000 + n,
    };
    Row::Build(Build { sample, outcome: Ended::Built, run: "2026-01-01T00-00-00Z-1".to_owned() })
}

fn filled(builds: u64, packages: u64) -> (tempfile::TempDir, PathBuf) {
    let temp = tempfile::tempdir().expect("there is a place for temporary files");
    let path = temp.path().join("history.sqlite");
    let rows: Vec<Row> = (0..builds).map(|n| row(n, packages)).collect();
    History::open(&path).and_then(|mut history| history.add(&rows)).expect("it can be written");
    (temp, path)
}

/// In transactions of so many rows, after 20,000 that are there already.
#[divan::bench(args = [1, 64, 512], sample_count = 20)]
fn write(bencher: Bencher<'_, '_>, batch: u64) {
    let (_temp, path) = filled(20_000, PACKAGES);
    let mut history = History::open(&path).expect("it was just made");
    let mut next = 20_000;
    bencher.counter(ItemsCount::new(batch)).bench_local(|| {
        let rows: Vec<Row> = (next..next + batch).map(|n| row(n, PACKAGES)).collect();
        next += batch;
        history.add(&rows).expect("it can be written")
    });
}

/// What a run does before it begins.
#[divan::bench(args = [1_000, 20_000, 200_000], sample_count = 5, sample_size = 1)]
fn read(bencher: Bencher<'_, '_>, builds: u64) {
    reading(bencher, builds, PACKAGES);
}

/// The same with each package built once: then the most is learned.
#[divan::bench(args = [20_000, 200_000], sample_count = 5, sample_size = 1)]
fn read_distinct(bencher: Bencher<'_, '_>, builds: u64) {
    reading(bencher, builds, builds);
}

fn reading(bencher: Bencher<'_, '_>, builds: u64, packages: u64) {
    let (_temp, path) = filled(builds, packages);
    bencher.counter(ItemsCount::new(builds)).bench_local(|| {
        let history = History::open(&path).expect("it was just made");
        history.memory(Memory::new(CostParams::default()), None).expect("it can be read")
    });
}
