//! The reader of recorded workflows that schedules are measured on: what it makes of a workflow, and what it
//! says of one that makes no sense.

#![expect(clippy::unwrap_used, reason = "a test's helpers fail the test")]

#[path = "common/skipped.rs"]
mod skipped;
#[path = "../benches/common/wfformat.rs"]
mod wfformat;

use std::io::Read as _;
use std::path::Path;

use drvdispatch::base::Span;
use drvdispatch::graph::{JobId, PathId};
use serde_json::{Value, json};

/// `split` makes a file that `use` reads; `use` also comes after `other`, which makes nothing.
fn workflow() -> Value {
    let task = |id: &str, parents: &[&str], inputs: &[&str], outputs: &[&str]| json!({ "name": id, "id": id, "parents": parents, "inputFiles": inputs, "outputFiles": outputs });
    let time = |id: &str, seconds: f64| json!({ "id": id, "runtimeInSeconds": seconds });
    json!({
        "schemaVersion": "1.5",
        "workflow": {
            "specification": {
                "tasks": [
                    task("split", &[], &["raw"], &["part"]),
                    task("other", &[], &[], &[]),
                    task("use", &["split", "other"], &["part", "raw"], &["result"]),
                ],
                "files": [
                    { "id": "raw", "sizeInBytes": 9 },
                    { "id": "part", "sizeInBytes": 500 },
                    { "id": "result", "sizeInBytes": 7 },
                ],
            },
            "execution": { "tasks": [time("split", 1.5), time("other", 0.0), time("use", 20.0)] },
        },
    })
}

fn error(change: impl Fn(&mut Value)) -> String {
    let mut json = workflow();
    change(&mut json);
    wfformat::read(json.to_string().as_bytes()).unwrap_err()
}

#[test]
fn tasks_are_jobs_and_what_they_make_travels() {
    let (work, times) = wfformat::read(workflow().to_string().as_bytes()).unwrap();
    let last = &work.jobs[JobId(2)];
    assert_eq!(last.needs, [JobId(0), JobId(1)]);
    let read = |&path: &PathId| (work.paths[path].path.as_str(), work.paths[path].size);
    // What no task makes is everywhere; an order without a file is an empty path.
    assert_eq!(last.inputs.iter().map(read).collect::<Vec<_>>(), [("part", 500), ("end of other", 0)]);
    assert_eq!(work.wanted.iter().map(read).collect::<Vec<_>>(), [("end of use", 0)]);
    assert_eq!(times.rows(), [Span(1_500_000), Span::ZERO, Span::from_secs(20)]);
}

#[test]
fn what_makes_no_sense_is_named() {
    let tasks = "/workflow/specification/tasks";
    let executed = "/workflow/execution/tasks";
    fn set(json: &mut Value, place: &str, value: Value) {
        *json.pointer_mut(place).unwrap() = value;
    }
    assert!(wfformat::read(b"{").unwrap_err().starts_with("not WfFormat: EOF"));
    assert!(wfformat::read(b"[]").unwrap_err().starts_with("not WfFormat: "));
    assert_eq!(
        error(|json| set(json, "/schemaVersion", json!("1.3"))),
        "WfFormat 1.3 is not known, only 1.5"
    );
    assert_eq!(
        error(|json| set(json, &format!("{tasks}/2/parents/0"), json!("merge"))),
        "no task is called merge"
    );
    let twice = |json: &mut Value| {
        set(json, &format!("{tasks}/1/id"), json!("split"));
        set(json, &format!("{tasks}/2/parents"), json!(["split"]));
    };
    assert_eq!(error(twice), "end of split appears twice");
    assert_eq!(
        error(|json| set(json, &format!("{tasks}/0/parents"), json!(["use"]))),
        "jobs need each other in a circle, split among them"
    );
    assert_eq!(
        error(|json| set(json, &format!("{executed}/2/id"), json!("unknown"))),
        "task use has no run time"
    );
    assert_eq!(
        error(|json| set(json, &format!("{executed}/0/runtimeInSeconds"), json!(-2.0))),
        "task split ran for -2 s"
    );
    assert_eq!(
        error(|json| set(json, &format!("{tasks}/2/outputFiles/0"), json!("nowhere"))),
        "task use makes nowhere, which has no size"
    );
}

#[test]
fn recorded_workflows_are_read() {
    let data = std::env::var_os("BENCH_DATA").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data"),
        std::path::PathBuf::from,
    );
    let Ok(files) = std::fs::read_dir(data.join("workflows")) else {
        return skipped::skip("there are no workflows in BENCH_DATA or ../shared/data");
    };
    let mut read = 0;
    for file in
        files.map(|file| file.unwrap().path()).filter(|file| file.to_string_lossy().ends_with(".json.gz"))
    {
        let mut json = Vec::new();
        flate2::read::GzDecoder::new(std::fs::File::open(&file).unwrap()).read_to_end(&mut json).unwrap();
        let (work, times) = wfformat::read(&json).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        assert!(work.jobs.len() > 10 && times.len() == work.jobs.len(), "{}", file.display());
        // Cut off anywhere, it is an error.
        for part in 1..8 {
            wfformat::read(&json[..json.len() * part / 8]).unwrap_err();
        }
        read += 1;
    }
    assert!(read > 0, "the folder has no workflow");
}
