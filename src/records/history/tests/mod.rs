mod file;
mod fold;
mod import;
mod keeper;
mod nom;

use std::path::PathBuf;

use super::*;
use crate::base::Span;
use crate::cost::{LinkSample, OutputClass, Sample};

/// A place for a history that is gone with its first field.
pub fn place() -> (tempfile::TempDir, PathBuf) {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("state/history.sqlite");
    (temp, path)
}

pub fn build(pname: &str, seconds: u64, stopped: u64) -> Build {
    let sample = Sample {
        pname: pname.into(),
        version: "1.0".into(),
        class: OutputClass::Source,
        system: "x86_64-linux".into(),
        host: "local".into(),
        cores: 2,
        wall: Span::from_secs(seconds),
        cpu: Some(Span::from_secs(seconds)),
        input_size: 1 << 20,
        output_size: 1 << 10,
        stopped,
    };
    Build { sample, outcome: Ended::Built, run: "run".into() }
}

pub fn row(pname: &str, seconds: u64, stopped: u64) -> Row {
    Row::Build(build(pname, seconds, stopped))
}

pub fn transfer(host: &str, bytes: u64, at: u64) -> Row {
    let sample = LinkSample { host: host.into(), bytes, took: Span::from_millis(500) };
    Row::Transfer(Transfer { sample, at })
}

pub fn all(history: &History) -> Vec<Build> {
    let mut found = Vec::new();
    history.builds(&Filter::default(), |build| found.push(build)).unwrap();
    found
}

pub fn names(history: &History) -> Vec<String> {
    all(history).iter().map(Build::name).collect()
}
