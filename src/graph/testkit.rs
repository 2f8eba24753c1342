//! Small graphs for tests.

use proptest::prelude::*;

use super::workload::{Job, JobId, Origin, PathId, PathSpec, Workload};
use crate::base::{Id, Span, Table};
use crate::nix::{Derivation, Options, Output, StorePath};

/// `/nix/store/<32 times digit>-<name>`.
pub fn path(digit: char, name: &str) -> StorePath {
    let hash: String = std::iter::repeat_n(digit, 32).collect();
    StorePath::parse(&format!("/nix/store/{hash}-{name}")).unwrap()
}

/// The path of the derivation `name`.
pub fn drv_path(name: &str) -> StorePath {
    path('0', &format!("{name}.drv"))
}

/// The path of the output `out` of the derivation `name`.
pub fn out_path(name: &str) -> StorePath {
    path('1', name)
}

/// A derivation with the outputs `out` and `dev` that uses `out` of each input.
pub fn drv(name: &str, inputs: &[&str]) -> Derivation {
    let mut input_drvs: Vec<_> =
        inputs.iter().map(|input| (drv_path(input), vec!["out".to_owned()])).collect();
    input_drvs.sort();
    let output = |out: &str, path| Output { name: out.to_owned(), path, fixed: false };
    Derivation {
        path: drv_path(name),
        name: name.to_owned(),
        pname: None,
        version: None,
        system: "x86_64-linux".to_owned(),
        builder: "/bin/sh".to_owned(),
        outputs: vec![output("dev", path('2', &format!("{name}-dev"))), output("out", out_path(name))],
        input_srcs: vec![path('3', &format!("{name}-src"))],
        input_drvs,
        options: Options::default(),
    }
}

/// A workload of one job per row, which needs the jobs that its row lists; each makes one path.
pub fn work(needs: &[Vec<usize>]) -> Workload {
    let row = |(i, needs): (usize, &Vec<usize>)| {
        let mut needs = needs.clone();
        needs.sort_unstable();
        needs.dedup();
        Job {
            drv: drv_path(&format!("j{i}")).to_string(),
            name: format!("j{i}"),
            system: "x86_64-linux".to_owned(),
            features: Vec::new(),
            needs: needs.iter().map(|&n| JobId::from_index(n)).collect(),
            inputs: needs.iter().map(|&n| PathId::from_index(n)).collect(),
            outputs: vec![PathId::from_index(i)],
            fixed_output: false,
            prefer_local: false,
            parallel: false,
        }
    };
    let made = |i: usize| PathSpec {
        path: out_path(&format!("j{i}")).to_string(),
        origin: Origin::Job(JobId::from_index(i)),
        size: 0,
        refs: Vec::new(),
    };
    Workload {
        jobs: needs.iter().enumerate().map(row).collect(),
        paths: (0..needs.len()).map(made).collect(),
        wanted: Vec::new(),
    }
}

/// Random acyclic workloads of up to `most` jobs with a cost for each. Ids say nothing about the
/// order: the jobs are shuffled.
pub fn random_work(most: usize) -> impl Strategy<Value = (Workload, Table<JobId, Span>)> {
    (1..=most)
        .prop_flat_map(|n| {
            let edges = proptest::collection::vec((0..n, 0..n), 0..3 * n);
            let costs = proptest::collection::vec(prop_oneof![0..5u64, 0..10_000_000u64], n);
            (Just((0..n).collect::<Vec<usize>>()).prop_shuffle(), edges, costs)
        })
        .prop_map(|(place, edges, costs)| {
            let mut needs = vec![Vec::new(); place.len()];
            for (a, b) in edges.into_iter().filter(|(a, b)| a != b) {
                needs[place[a.max(b)]].push(place[a.min(b)]);
            }
            (work(&needs), costs.into_iter().map(Span).collect())
        })
}
