//! `drvdispatch history` as it is used: the binary, with files of its own.

#![expect(clippy::unwrap_used, reason = "a test's helpers fail the test")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use assert_cmd::cargo::cargo_bin;

#[path = "common/skipped.rs"]
mod skipped;

const NOM: &str = "hostname,derivation name,utc time,build seconds\r
,hello,2025-11-09 10:00:00,3\r
,hello,2025-11-09 11:00:00,4\r
ruby,gcc,2025-11-08 10:00:00,1800\r
ruby,gcc\r
";

struct Place {
    temp: tempfile::TempDir,
}

struct Said {
    out: String,
    err: String,
    ok: bool,
}

impl Place {
    fn new() -> Place {
        Place { temp: tempfile::tempdir().unwrap() }
    }

    fn with(nom: &str) -> Place {
        let place = Place::new();
        place.write("nom.csv", nom);
        assert!(place.run("import nom.csv").ok);
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.temp.path().join(name)
    }

    fn file(&self) -> PathBuf {
        self.path("state/drvdispatch/history.sqlite")
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    fn command(&self, program: &Path, arguments: &str) -> Command {
        let mut command = Command::new(program);
        command.args(["history"].into_iter().chain(arguments.split_whitespace()));
        command.current_dir(self.temp.path()).stdin(Stdio::null());
        command.env("XDG_STATE_HOME", self.path("state")).env("TZ", "UTC").env_remove("RUST_LOG");
        command
    }

    fn run(&self, arguments: &str) -> Said {
        said(self.command(&cargo_bin("drvdispatch"), arguments))
    }
}

fn said(mut command: Command) -> Said {
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Said { out: text(output.stdout), err: text(output.stderr), ok: output.status.success() }
}

#[test]
fn without_builds_it_says_where_they_would_come_from() {
    let place = Place::new();
    let said = place.run("");
    assert!(said.ok && said.out.is_empty());
    insta::assert_snapshot!(said.err, @"no builds are remembered yet: they are after the first `drvdispatch build`, or when taken in with `drvdispatch history import`");
    assert!(!place.file().exists());
    assert_eq!(place.run("list --json").out, "[]\n");
}

#[test]
fn what_is_taken_in_is_listed_and_shown() {
    let place = Place::new();
    place.write("nom.csv", NOM);
    insta::assert_snapshot!(place.run("import nom.csv").err, @r"
    warning: nom.csv:5: it has 2 fields in place of 4; left out
    nom.csv: 3 builds taken in, 1 left out
    ");
    insta::assert_snapshot!(place.run("import nom.csv").err, @r"
    warning: nom.csv:5: it has 2 fields in place of 4; left out
    nom.csv: 0 builds taken in, 3 remembered already, 1 left out
    ");
    let list = place.run("list");
    let columns: Vec<Vec<&str>> =
        list.out.lines().map(|line| line.split_whitespace().take(6).collect()).collect();
    assert_eq!(columns[0], ["package", "version", "kind", "builds", "last", "estimate"]);
    assert_eq!((columns[1][0], columns[2][0], columns[2][2]), ("gcc", "hello", "2"), "{}", list.out);
    assert!(list.out.lines().last().unwrap().starts_with("all for "), "{}", list.out);
    assert_eq!(place.run("").out, list.out);
    assert_eq!(place.run("--host ruby").out.lines().count(), 3);
    let shown = place.run("show hello").out;
    assert!(shown.contains("\n2025-11-09 11:00  hello"), "{shown}");
    assert!(shown.lines().last().unwrap().ends_with("; from 2 builds"), "{shown}");
    let json: serde_json::Value = serde_json::from_str(&place.run("show gcc --json").out).unwrap();
    assert_eq!(json["builds"][0]["wall"], 1_800_000_000u64);
    assert_eq!(json["builds"][0]["host"], "ruby");
    assert!(json["estimates"][0]["p10"].as_u64() < json["estimates"][0]["p90"].as_u64());
    let none = place.run("show zlib");
    assert!(!none.ok && none.err.starts_with("error: no build of 'zlib' is remembered"), "{}", none.err);
}

#[test]
fn an_export_makes_the_same_history_elsewhere() {
    let (one, other) = (Place::with(NOM), Place::new());
    let json = one.run("export").out;
    assert_eq!(json.lines().count(), 3);
    other.write("own.jsonl", &json);
    assert!(other.run("import own.jsonl").ok);
    assert_eq!(other.run("export").out, json);
    assert_eq!(other.run("export hello").out.lines().count(), 2);
    let csv = other.run("export --format csv").out;
    assert_eq!(csv.lines().count(), 4);
    other.write("own.csv", &csv);
    insta::assert_snapshot!(other.run("import own.csv").err, @"own.csv: 0 builds taken in, 3 remembered already");
}

#[test]
fn what_nix_build_prints_comes_by_stdin() {
    let place = Place::new();
    let drv = format!("/nix/store/{}-hello-2.12.drv", "0".repeat(32));
    let entry =
        format!(r#"[{{"drvPath":"{drv}","outputs":{{}},"startTime":1700000000,"stopTime":1700000042}}]"#);
    place.write("results.json", &entry);
    let mut command = place.command(&cargo_bin("drvdispatch"), "import - --host opal");
    command.stdin(fs::File::open(place.path("results.json")).unwrap());
    assert_eq!(said(command).err, "standard input: 1 build taken in\n");
    let row: serde_json::Value = serde_json::from_str(&place.run("export").out).unwrap();
    let build = &row["build"];
    let found = [&build["pname"], &build["version"], &build["host"], &build["run"]];
    assert_eq!(found.map(|text| text.as_str().unwrap()), ["hello", "2.12", "opal", "nix-build"]);
    assert_eq!(build["wall"], 42_000_000);
}

#[test]
fn forgetting_asks_first() {
    let place = Place::with(NOM);
    let refused = place.run("forget --host ruby");
    assert!(!refused.ok);
    insta::assert_snapshot!(refused.err, @"error: this would forget 1 build; without a terminal to ask on, confirm it with --yes");
    insta::assert_snapshot!(place.run("forget --host ruby --yes").err, @"1 build forgotten");
    insta::assert_snapshot!(place.run("forget --before 2025-11-09T10:30:00Z --yes").err, @"1 build forgotten");
    insta::assert_snapshot!(place.run("forget zlib --yes").err, @"nothing of that is remembered");
    insta::assert_snapshot!(place.run("forget --all --yes").err, @"1 build forgotten");
    let what = place.run("forget --yes");
    assert!(!what.ok && what.err.contains("<NAME|--host <HOST>|--before <DATE>|--all>"), "{}", what.err);
    assert_eq!(place.run("export").out, "");
}

#[test]
fn a_damaged_file_is_kept_aside() {
    let place = Place::with(NOM);
    fs::write(place.file(), "damage".repeat(2000)).unwrap();
    let said = place.run("import nom.csv");
    assert!(said.ok && said.err.contains("history.sqlite.damaged-1\n"), "{}", said.err);
    assert_eq!(place.run("export").out.lines().count(), 3);
    assert!(place.path("state/drvdispatch/history.sqlite.damaged-1").exists());
}

#[test]
fn a_file_of_a_newer_version_is_left_alone() {
    let place = Place::with(NOM);
    let mut bytes = fs::read(place.file()).unwrap();
    // The user version, in the database's header.
    bytes[60..64].copy_from_slice(&99u32.to_be_bytes());
    fs::write(place.file(), &bytes).unwrap();
    let said = place.run("list");
    assert!(!said.ok && said.err.contains("has schema 99, this version knows up to 2"), "{}", said.err);
    assert!(fs::read(place.file()).unwrap() == bytes);
}

/// Root may write anything, so somebody else tries.
#[test]
fn a_file_that_can_only_be_read_says_so_and_stays_as_it_is() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::with(NOM);
    let exported = place.run("export").out;
    let program = place.path("drvdispatch");
    fs::copy(cargo_bin("drvdispatch"), &program).unwrap();
    let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    mode(place.temp.path(), 0o755);
    for dir in ["state", "state/drvdispatch"] {
        mode(&place.path(dir), 0o555);
    }
    mode(&place.file(), 0o444);
    let run = |arguments: &str| {
        let mut command = place.command(&program, arguments);
        if rustix::process::geteuid().is_root() {
            use std::os::unix::process::CommandExt;
            command.uid(65_534).gid(65_534);
        }
        said(command)
    };
    let (read, written) = (run("export"), run("import nom.csv"));
    for dir in ["state", "state/drvdispatch"] {
        mode(&place.path(dir), 0o755);
    }
    // SQLite would make files beside it even to read.
    for said in [read, written] {
        assert!(!said.ok && said.out.is_empty());
        let told = "history.sqlite: it can only be read; check who may write to it and its directory\n";
        assert!(said.err.ends_with(told), "{}", said.err);
    }
    assert_eq!(place.run("export").out, exported);
}

/// Real processes, all from the first moment.
#[test]
fn several_processes_take_in_at_once() {
    let place = Place::new();
    let mut running = Vec::new();
    for n in 0..6 {
        let lines: String = (0..300)
            .map(|i| format!("host{n},p{i},2025-11-09 10:{:02}:{:02},3\r\n", i / 60, i % 60))
            .collect();
        let name = format!("nom{n}.csv");
        place.write(&name, &format!("hostname,derivation name,utc time,build seconds\r\n{lines}"));
        let mut command = place.command(&cargo_bin("drvdispatch"), &format!("import {name}"));
        running.push(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap());
    }
    for child in running {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    assert_eq!(place.run("export").out.lines().count(), 1800);
}

#[test]
fn hosts_show_what_their_builds_have_taught() {
    if Command::new("nix").arg("--version").output().is_err() {
        return skipped::skip("no nix here");
    }
    let place = Place::new();
    // Five packages that ruby builds in a third of the time, and transfers at 10 MB/s.
    let mut rows = String::from(
        "pname,version,class,system,host,cores,wall,cpu,input-size,output-size,outcome,stopped,run\n",
    );
    for n in 0..20 {
        let (pname, wall) = (n % 5, 60_000_000 + n % 5 * 1_000_000);
        rows +=
            &format!("p{pname},1,source,x86_64-linux,local,1,{wall},,0,0,built,{},a\n", 1_700_000_000 + n);
        rows += &format!(
            "p{pname},1,source,x86_64-linux,ruby,1,{},,0,0,built,{},a\n",
            wall / 3,
            1_700_000_000 + n
        );
    }
    place.write("builds.csv", &rows);
    let way =
        |n: u64| format!(r#"{{"transfer":{{"host":"ruby","bytes":100000000,"took":10000000,"at":{n}}}}}"#);
    place.write("ways.jsonl", &(0..9).map(|n| way(n) + "\n").collect::<String>());
    let taken = place.run("import builds.csv ways.jsonl");
    assert!(
        taken.ok && taken.err.contains("40 builds") && taken.err.contains("9 transfers"),
        "{}",
        taken.err
    );
    let hosts = |more: &[&str]| {
        let mut command = Command::new(cargo_bin("drvdispatch"));
        command.args(["hosts", "--builders", "ssh://ruby x86_64-linux - 2 1 kvm"]).args(more);
        command.env("XDG_STATE_HOME", place.path("state")).env("NIX_CONFIG", "system = x86_64-linux");
        said(command)
    };
    let json = hosts(&["--json"]);
    assert!(json.ok, "{}", json.err);
    let json: serde_json::Value = serde_json::from_str(&json.out).unwrap();
    let ruby = json.as_array().unwrap().iter().find(|host| host["name"] == "ruby").unwrap();
    assert_eq!(
        (&ruby["slots"], &ruby["speed"], &ruby["features"][0]),
        (&2.into(), &1.0.into(), &"kvm".into())
    );
    assert_eq!(ruby["cores"], serde_json::Value::Null);
    let speed = |host: &serde_json::Value| host["learned"]["x86_64-linux"].as_f64().unwrap();
    let ratio = speed(ruby) / speed(&json[0]);
    assert!((2.7..3.1).contains(&ratio), "{ratio}");
    assert!(ruby["link"]["bytesPerSecond"].as_u64().unwrap().abs_diff(10_000_000) < 1_000_000, "{ruby}");
    let none = hosts(&["--json", "--no-history"]);
    let none: serde_json::Value = serde_json::from_str(&none.out).unwrap();
    assert_eq!((&none[1]["learned"], &none[1]["link"]), (&serde_json::json!({}), &serde_json::Value::Null));
    assert!(hosts(&[]).out.contains("learned"));
}
