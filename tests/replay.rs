//! `drvdispatch replay` on the recorded runs in fixtures/runs.

#![expect(clippy::unwrap_used, reason = "a test's helpers fail the test")]

use std::fs;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use drvdispatch::base::Random;
use drvdispatch::records::RunFile;
use drvdispatch::run::{Step, read_log};
use drvdispatch::sched::Scheduler;
use drvdispatch::sim::{Conditions, Recording};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/runs")
}

fn recorded(name: &str) -> PathBuf {
    folder().join(format!("{name}.jsonl"))
}

fn all() -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> =
        fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|end| end == "jsonl"));
    files.sort();
    assert!(files.len() >= 3, "{files:?}");
    files
}

/// The command with an empty history and no runs of its own.
fn replay(state: &Path, args: &[&str]) -> Command {
    let mut command = Command::cargo_bin("drvdispatch").unwrap();
    command.arg("replay").args(args).env("XDG_STATE_HOME", state);
    command
}

/// What it prints, and its exit code.
fn output(args: &[&str]) -> (String, String, i32) {
    let state = tempfile::tempdir().unwrap();
    let out = replay(state.path(), args).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (text(out.stdout), text(out.stderr), out.status.code().unwrap())
}

#[test]
fn every_recorded_run_is_identical() {
    for file in all() {
        let (header, entries, torn) = RunFile::at(&file).unwrap().read().unwrap();
        assert_eq!(torn, None);
        let same = Scheduler::recorded(&header).unwrap().replay(&entries).unwrap_or_else(|differs| {
            panic!("{}, line {}: {differs}", file.display(), differs.row + 2);
        });
        assert_eq!(same.events + same.orders, entries.len());
    }
}

#[test]
fn a_run_cut_off_anywhere_is_replayed_up_to_there() {
    let whole = fs::read(recorded("faulted")).unwrap();
    let header = whole.iter().position(|byte| *byte == b'\n').unwrap() as u64;
    let mut random = Random::new(7);
    for _ in 0..25 {
        let cut = (header + random.below(whole.len() as u64 - header)) as usize;
        let (header, entries, torn) = read_log(&whole[..cut]).unwrap();
        let lines = whole[..cut].iter().filter(|byte| **byte == b'\n').count();
        assert!(entries.len() + 1 >= lines, "cut at {cut}");
        if let Some(torn) = torn {
            assert_eq!((torn.line, entries.len()), (lines + 1, lines.saturating_sub(1)), "cut at {cut}");
        }
        let same = Scheduler::recorded(&header).unwrap().replay(&entries).unwrap();
        assert_eq!(same.events + same.orders, entries.len(), "cut at {cut}");
    }
}

#[test]
fn recorded_runs_simulated_as_they_were_take_about_what_they_took() {
    for file in all() {
        let (header, entries, _) = RunFile::at(&file).unwrap().read().unwrap();
        let recording = Recording::new(&header, &entries).unwrap();
        let outcome = recording.simulate(&Conditions::as_recorded(&recording));
        assert_eq!(outcome.missing, 0);
        let ratio = outcome.makespan.as_secs_f64() / recording.makespan.as_secs_f64();
        assert!((0.85..1.15).contains(&ratio), "{}: {ratio}", file.display());
    }
}

#[test]
fn runs_are_named_and_counted() {
    let files: Vec<String> = all().iter().map(|file| file.display().to_string()).collect();
    let (out, err, code) = output(&files.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!((err.as_str(), code), ("", 0));
    let lines: Vec<&str> = out.lines().collect();
    for run in lines.chunks(2) {
        let (name, rest) = run[0].split_once(": identical: ").unwrap();
        assert!(["faulted", "layered", "onebig"].contains(&name) && rest.contains(" events, "), "{run:?}");
        assert!(run[1].contains(" times the lower bound of "), "{run:?}");
    }
    assert_eq!(lines.len(), 2 * files.len());
}

#[test]
fn the_first_difference_is_told_with_its_line_and_code_1() {
    let temp = tempfile::tempdir().unwrap();
    let text = fs::read_to_string(recorded("onebig")).unwrap();
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let row = lines.iter().position(|line| line.contains("\"order\":\"build\"")).unwrap();
    lines[row] = lines[row].replacen("\"cores\":", "\"cores\":1", 1);
    let file = temp.path().join("changed.jsonl");
    fs::write(&file, lines.join("\n") + "\n").unwrap();
    let (out, _, code) = output(&[file.to_str().unwrap()]);
    assert_eq!(code, 1);
    assert!(out.starts_with(&format!("changed: differs at line {} of the log, ", row + 1)), "{out}");
    assert!(
        out.contains("  the log has:  {\"order\":\"build\"") && out.contains("  this version: {"),
        "{out}"
    );
    assert!(!out.contains("other versions may decide differently"), "{out}");
    // The same from another version.
    lines[0] = lines[0].replacen("\"version\":\"", "\"version\":\"0.0.", 1);
    fs::write(&file, lines.join("\n") + "\n").unwrap();
    let (out, _, code) = output(&["--exact", file.to_str().unwrap()]);
    assert_eq!(code, 1);
    assert!(out.contains("other versions may decide differently"), "{out}");
    let (json, _, _) = output(&["--json", file.to_str().unwrap()]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&json[0]["identical"], &json[0]["difference"]["line"]), (&false.into(), &(row + 1).into()));
}

#[test]
fn logs_from_the_future_and_other_files_say_what_they_are() {
    let temp = tempfile::tempdir().unwrap();
    let file = temp.path().join("x.jsonl");
    let mut said = Vec::new();
    for text in ["{\"format\":2}\n", "hello\n", "", "{", "{\"format\":1", "\u{1f}\u{8b}\u{8}"] {
        // Each character a byte.
        fs::write(&file, text.chars().map(|c| c as u8).collect::<Vec<u8>>()).unwrap();
        let (out, err, code) = output(&[file.to_str().unwrap()]);
        assert_eq!((out.as_str(), code), ("", 1));
        said.push(err.replace(temp.path().to_str().unwrap(), "DIR"));
    }
    insta::assert_snapshot!(said.concat(), @r"
    error: DIR/x.jsonl: the run log has format 2, this version reads up to 1: read it with a newer drvdispatch
    error: DIR/x.jsonl: this is not a run log: its first line has no format number
    error: DIR/x.jsonl: the run log ends before its header does; nothing in it can be used
    error: DIR/x.jsonl: the run log ends before its header does; nothing in it can be used
    error: DIR/x.jsonl: the run log ends before its header does; nothing in it can be used
    error: DIR/x.jsonl is compressed; unpack it first, as with `gunzip -k`
    ");
}

#[test]
fn a_comparison_has_policies_estimates_and_fleets() {
    let (out, err, code) = output(&["--compare", recorded("layered").to_str().unwrap()]);
    assert_eq!((err.as_str(), code), ("", 0));
    for word in [
        "as it was",
        "policy nix",
        "estimates perfect",
        "one more like",
        "twice the slots and cores",
        "twice the bandwidth",
        "without builder1",
        "would have saved: ",
    ] {
        assert!(out.contains(word), "{word}: {out}");
    }
    let (json, ..) = output(&["--compare", "--json", recorded("layered").to_str().unwrap()]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let rows = json[0]["rows"].as_array().unwrap();
    let takes = |name: &str| {
        let row = rows.iter().find(|row| row["name"] == name).unwrap();
        (row["makespan"].as_u64().unwrap(), row["ratio"].as_f64().unwrap())
    };
    assert!(rows.iter().all(|row| row["ratio"].as_f64().is_none_or(|ratio| ratio >= 0.999)));
    assert!(takes("twice the slots and cores").0 < takes("as it was").0);
    assert!(takes("without builder1").0 > takes("as it was").0);
}

#[test]
fn conditions_change_what_a_run_comes_to() {
    let file = recorded("layered");
    let takes = |args: &[&str]| {
        let args: Vec<&str> =
            ["--json", file.to_str().unwrap()].into_iter().chain(args.iter().copied()).collect();
        let (json, err, code) = output(&args);
        assert_eq!(code, 0, "{err}");
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        let rows = json[0]["rows"].as_array().unwrap().clone();
        assert_eq!(rows.len(), 2, "{rows:?}");
        let row = |i: usize| rows[i]["makespan"].as_u64().unwrap();
        row(1) as f64 / row(0) as f64
    };
    assert!(takes(&["--add-host", "big slots=16 speed=4"]) < 0.7);
    assert!(takes(&["--speed", "builder*=0.5"]) > 1.3);
    assert!(takes(&["--without", "builder1,builder2"]) > 1.3);
    assert!(takes(&["--jobs", "builder1=1"]) > 1.0);
    assert!(takes(&["--bandwidth", "100k"]) > 1.05);
    assert!(takes(&["--hosts", "ssh://a x86_64-linux - 12 2"]) < 0.8);
    assert!(takes(&["--estimates", "perfect"]) < 1.1);
    assert_eq!(takes(&["--estimates", "recorded"]), 1.0);
    assert_eq!(takes(&["--estimates", "history"]), takes(&["--estimates", "none"]), "an empty history");
    let noisy = |seed| takes(&["--noise", "0.5", "--seed", seed, "--policy", "nix"]);
    assert!(noisy("1") == noisy("1") && noisy("1") != noisy("2"));
}

#[test]
fn noise_is_told_of_each_row_that_has_it_and_is_no_change_by_itself() {
    let file = recorded("layered");
    let names = |args: &[&str]| -> Vec<String> {
        let (json, err, code) = output(&[&["--json", file.to_str().unwrap()], args].concat());
        assert_eq!(code, 0, "{err}");
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        let rows = json[0]["rows"].as_array().unwrap().iter();
        rows.map(|row| row["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(&["--noise", "0.5", "--seeds", "2"]), ["as it was, noise 0.5"]);
    let both = names(&["--noise", "0.5", "--policy", "nix"]);
    assert_eq!(both, ["as it was, noise 0.5", "policy nix, noise 0.5"]);
}

#[test]
fn what_does_not_fit_is_said() {
    let file = recorded("onebig");
    let file = file.to_str().unwrap();
    let mut said = String::new();
    for args in [
        &["--without", "rubi"][..],
        &["--without", "*"],
        &["--add-host", "local slots=2"],
        &["--hosts", "@/does/not/exist"],
        &["--noise", "x"],
        &["--bandwidth", "fast"],
        &["--add-host", "a slots=many"],
        &["--seed", "3"],
        &["--exact", "--compare"],
    ] {
        let args: Vec<&str> = args.iter().copied().chain([file]).collect();
        let (out, err, code) = output(&args);
        assert_eq!((out.as_str(), code), ("", 1), "{err}");
        said.push_str(&err.lines().take_while(|line| !line.is_empty()).collect::<Vec<_>>().join("\n"));
        said.push('\n');
    }
    // Which of them are named first follows from their hashes.
    let (before, after) = said.split_once("can build ").unwrap();
    let (_, after) = after.split_once(" and 124 more").unwrap();
    let said = format!("{before}can build … and 124 more{after}");
    insta::assert_snapshot!(said, @r"
    error: --without names 'rubi', but there is no such host; there are: local, builder1, builder2, builder3
    error: no chosen host can build … and 124 more: local builds nothing in this run (0 slots)
    leave a host that can out of --without, give it slots with --jobs HOST=N, or name others with --hosts
    error: --add-host local: there is a host 'local' already; give the new one another name
    error: there is no machines file '/does/not/exist'; write @ and the path of one, or a list of builders as in nix.conf
    error: invalid value 'x' for '--noise <SIGMA>': 'x' is no standard deviation of logarithms (a number from 0 to 5)
    error: invalid value 'fast' for '--bandwidth <[HOST=]RATE>': 'fast' is no bandwidth (bytes per second, such as 12500000, 12.5M or 1G)
    error: invalid value 'a slots=many' for '--add-host <'NAME slots=8 speed=2 …'>': slots: 'many' is no number of jobs (a whole number from 0 to 4096)
    error: the following required arguments were not provided:
      --noise <SIGMA>
    error: the argument '--exact' cannot be used with '--compare'
    ");
}

#[test]
fn recorded_runs_hold_a_fault() {
    let (_, entries, _) = RunFile::at(recorded("faulted")).unwrap().read().unwrap();
    let lost = |step: &Step| matches!(step, Step::Event(drvdispatch::run::Event::HostLost { .. }));
    assert!(entries.iter().any(|entry| lost(&entry.what)));
}
