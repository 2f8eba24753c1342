//! `drvdispatch tune` on made-up runs: what matters is found and written, what does not is left alone.

use std::fs;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use drvdispatch::base::{Random, Span, Table, Time};
use drvdispatch::cost::{self, Cost};
use drvdispatch::drive::{Watch, drive};
use drvdispatch::fleet::{Host, HostId, LinkSpeed};
use drvdispatch::graph::{Job, JobId, Origin, PathId, PathSpec, Workload};
use drvdispatch::run::{Event, FORMAT, Header, LogWriter, Order};
use drvdispatch::sched::{Policy, Scheduler};
use drvdispatch::sim::SimWorld;

const MEGABYTE: u64 = 1_000_000;

/// Where the verb finds its files.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Place {
        let place = Place(tempfile::tempdir().expect("a temporary directory"));
        fs::create_dir_all(place.runs()).expect("a directory");
        fs::create_dir_all(place.config().parent().expect("it has one")).expect("a directory");
        place
    }

    fn runs(&self) -> PathBuf {
        self.0.path().join("state/drvdispatch/runs")
    }

    fn config(&self) -> PathBuf {
        self.0.path().join("config/drvdispatch/config.toml")
    }

    fn configured(self, text: &str) -> Place {
        fs::write(self.config(), text).expect("it can be written");
        self
    }

    /// Runs of chains that share a first job with large output, on these hosts.
    fn with_runs(self, runs: u64, hosts: &Table<HostId, Host>) -> Place {
        (0..runs).for_each(|run| record(&self.runs(), run, hosts));
        self
    }

    /// Exit code, stdout and stderr; the place's own path left out.
    fn tune(&self, args: &[&str]) -> (i32, String, String) {
        let output = Command::cargo_bin("drvdispatch")
            .expect("it is built")
            .env("XDG_STATE_HOME", self.0.path().join("state"))
            .env("XDG_CONFIG_HOME", self.0.path().join("config"))
            .arg("tune")
            .args(args)
            .output()
            .expect("it runs");
        let place = self.0.path().display().to_string();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace(&place, "");
        (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
    }
}

fn host(name: &str, slots: u32, link: LinkSpeed) -> Host {
    Host {
        name: name.into(),
        systems: vec!["x86_64-linux".into()],
        features: vec![],
        mandatory: vec![],
        slots,
        cores: 0,
        speed: 1.0,
        emulated: Default::default(),
        substitutes: false,
        link,
    }
}

/// Two builders on slow links, beside this machine: an output takes about as long to move as to build.
fn slow_links() -> Table<HostId, Host> {
    let link = LinkSpeed { bandwidth: 10 * MEGABYTE, latency: Span::from_millis(20) };
    [host("local", 1, LinkSpeed::FREE), host("a", 2, link), host("b", 2, link)].into_iter().collect()
}

/// This machine only, one build at a time: in whatever order, it takes the sum of all.
fn alone() -> Table<HostId, Host> {
    [host("local", 1, LinkSpeed::FREE)].into_iter().collect()
}

/// Some chains of four jobs with outputs of 100 MB, and one job that needs the ends.
fn work(run: u64) -> Workload {
    let mut work = Workload::default();
    let (chains, length) = (6 + run as u32 % 3, 4);
    let last = chains * length;
    for i in 0..=last {
        let needs: Vec<u32> = match i {
            _ if i == last => (0..chains).map(|chain| chain * length + length - 1).collect(),
            _ if i % length == 0 => vec![],
            _ => vec![i - 1],
        };
        let name = format!("job{i}-1.{run}");
        let size = if i == last { MEGABYTE } else { 100 * MEGABYTE };
        let path = format!("/nix/store/{i:032}-{name}");
        work.jobs.push(Job {
            drv: format!("{path}.drv"),
            name,
            system: "x86_64-linux".into(),
            needs: needs.iter().copied().map(JobId).collect(),
            inputs: needs.iter().copied().map(PathId).collect(),
            outputs: vec![PathId(i)],
            ..Job::default()
        });
        work.paths.push(PathSpec { path, origin: Origin::Job(JobId(i)), size, refs: vec![] });
    }
    work.wanted = vec![PathId(last)];
    work
}

struct Log(LogWriter<Vec<u8>>);

impl Watch for Log {
    fn event(&mut self, at: Time, event: &Event) {
        self.0.event(at, event).expect("memory");
    }

    fn order(&mut self, at: Time, order: &Order) {
        self.0.order(at, order).expect("memory");
    }
}

fn record(dir: &Path, run: u64, hosts: &Table<HostId, Host>) {
    let work = work(run);
    let mut random = Random::new(run);
    let truth: Table<JobId, Option<Span>> =
        work.jobs.ids().map(|_| Some(Span::from_secs_f64(8.0 * random.lognormal(0.5)))).collect();
    let estimates: Table<JobId, Cost> = cost::estimate(&work);
    let eligible = Table::filled(work.jobs.len(), hosts.ids().collect());
    let policy = Policy::default();
    let header = Header {
        format: FORMAT,
        version: "0.1.0".into(),
        started: 1_700_000_000 + 1_000 * run,
        command: vec![],
        workload: work.clone(),
        hosts: hosts.clone(),
        estimates: estimates.clone(),
        eligible: Some(eligible.clone()),
        parallel: None,
        policy: serde_json::to_value(&policy).expect("it can be written"),
    };
    let mut log = Log(LogWriter::new(Vec::new(), &header).expect("memory"));
    let mut scheduler = Scheduler::new(work.clone(), hosts.clone(), estimates, eligible, policy);
    drive(&mut scheduler, &mut SimWorld::new(&work, hosts, &truth, vec![]), &mut log);
    fs::write(dir.join(format!("run-{run}.jsonl")), log.0.into_inner()).expect("it can be written");
}

const BAD: &str = "# what somebody once tried\n[policy]\ntransfer_term = false # ?\nprefetch = 1\n";

#[test]
fn what_clearly_matters_is_found_and_written() {
    let place = Place::new().configured(BAD).with_runs(24, &slow_links());
    let (code, found, errors) = place.tune(&["--dry-run", "--budget", "2500"]);
    assert_eq!(code, 0, "{errors}");
    assert!(found.contains("would be written to /config/drvdispatch/config.toml"), "{found}");
    assert_eq!(fs::read_to_string(place.config()).expect("it is there"), BAD);
    let (_, json, _) = place.tune(&["--budget", "2500", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&json).expect("it is JSON");
    let rows = json["search"]["parameters"].as_array().expect("a list");
    let row = rows.iter().find(|row| row["name"] == "transfer_term").expect("it is tried");
    assert_eq!(
        (&row["now"], &row["best"], &row["kept"]),
        (&false.into(), &true.into(), &true.into()),
        "{row}"
    );
    assert!(row["gain"]["mean"].as_f64().expect("a number") > 0.1, "{row}");
    assert_eq!(json["search"]["judgedBy"], "other-runs");
    let written = fs::read_to_string(place.config()).expect("it is there");
    assert!(
        written.contains("# what somebody once tried\n[policy]\ntransfer_term = true # ?\n"),
        "{written}"
    );
    // What was found is where the next search begins.
    let (_, again, _) = place.tune(&["--budget", "400"]);
    let mut lines = again.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    assert!(lines.any(|words| words.starts_with(&["policy.transfer_term", "on", "on"])), "{again}");
}

#[test]
fn where_nothing_matters_nothing_is_written() {
    let place = Place::new().with_runs(3, &alone());
    let (code, found, errors) = place.tune(&["--budget", "400"]);
    assert_eq!(code, 0, "{errors}");
    assert!(found.contains("\nnothing that was tried is better beyond noise: "), "{found}");
    assert!(found.contains("makes no difference"), "{found}");
    assert!(!place.config().exists());
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    let place = Place::new().configured(BAD).with_runs(2, &slow_links());
    let tune = |seed: &str, threads: &str| {
        let output = Command::cargo_bin("drvdispatch")
            .expect("it is built")
            .env("XDG_STATE_HOME", place.0.path().join("state"))
            .env("XDG_CONFIG_HOME", place.0.path().join("config"))
            .env("RAYON_NUM_THREADS", threads)
            .args(["tune", "--dry-run", "--budget", "400", "--json", "--seed", seed])
            .output()
            .expect("it runs");
        String::from_utf8(output.stdout).expect("it is text")
    };
    let first = tune("1", "1");
    assert_eq!(first, tune("1", "3"));
    assert_ne!(first, tune("2", "1"));
}

#[test]
fn without_runs_it_says_what_to_do() {
    let place = Place::new();
    let (code, found, said) = place.tune(&[]);
    assert_eq!((code, found.as_str()), (1, ""));
    assert!(said.starts_with("error: no runs are recorded yet in /state/drvdispatch/runs"), "{said}");
    assert!(said.contains("`drvdispatch build`"), "{said}");
    let small = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/runs/onebig.jsonl");
    let text = fs::read_to_string(small).expect("it is in the repository");
    let begin: String = text.lines().take(40).map(|line| format!("{line}\n")).collect();
    fs::write(place.runs().join("begun.jsonl"), begin).expect("it can be written");
    let (code, found, _) = place.tune(&[]);
    assert_eq!(code, 1);
    assert!(found.contains("each `drvdispatch build` of 10 derivations or more records one"), "{found}");
    fs::remove_file(place.runs().join("begun.jsonl")).expect("it is there");
    fs::write(place.runs().join("torn.jsonl"), "{").expect("it can be written");
    let (code, _, said) = place.tune(&[]);
    assert_eq!(code, 1);
    assert!(said.contains("none of the 1 runs in"), "{said}");
}

#[test]
fn a_wrong_configuration_and_a_small_budget_are_said() {
    let place = Place::new().configured("[policy]\nprefech = 1\n").with_runs(1, &alone());
    let (code, _, said) = place.tune(&[]);
    assert_eq!(code, 1);
    assert!(said.contains("/config/drvdispatch/config.toml:2: there is no parameter 'prefech'"), "{said}");
    let place = Place::new().with_runs(1, &alone());
    let (code, _, said) = place.tune(&["--budget", "5"]);
    assert_eq!(code, 1);
    assert!(said.contains("--budget 5: with fewer than"), "{said}");
}
