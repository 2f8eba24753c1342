//! The scheduler's rules, one file each in `tests/scenarios/`: facts in, orders out.
//!
//! A file says in words what the rule is, then describes a fleet and some work, then tells what
//! happens, a line beginning with `>` for each fact. The indented lines below such a line are what the
//! scheduler orders then, and are compared. `UPDATE_SCENARIOS=1` writes them anew.

#![expect(clippy::unwrap_used, reason = "a scenario that cannot be read is a failed test")]

use std::collections::BTreeMap;
use std::fmt::Write as _;

use drvdispatch::base::{Id, Span, Table, Time};
use drvdispatch::cost::Cost;
use drvdispatch::fleet::{Host, HostId, LinkSpeed};
use drvdispatch::graph::{Job, JobId, Origin, PathId, PathSpec, Workload};
use drvdispatch::run::{
    Attempt, Event, Failure, HostFault, Made, Order, Outcome, Side, SlotId, Source, Times, TransferId,
};
use drvdispatch::sched::{Ending, Policy, Scheduler};

/// A scenario as far as it was told.
#[derive(Default)]
struct Stage {
    hosts: Table<HostId, Host>,
    work: Workload,
    cost: Table<JobId, Cost>,
    eligible: Vec<Option<Vec<String>>>,
    policy: Policy,
    /// Names of paths; a job's only output has the job's name.
    paths: BTreeMap<String, PathId>,
    scheduler: Option<Scheduler>,
    /// The running attempt of each job, and since when.
    attempts: BTreeMap<JobId, (Attempt, Time)>,
}

fn seconds(text: &str) -> Span {
    Span((text.strip_suffix('s').unwrap().parse::<f64>().unwrap() * 1e6) as u64)
}

fn mebibytes(text: &str) -> u64 {
    text.strip_suffix("MiB").unwrap().parse::<u64>().unwrap() << 20
}

impl Stage {
    /// A line of the description; prose is passed over.
    fn describe(&mut self, line: &str) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let after = |key: &str| words.iter().position(|w| *w == key).map(|i| words[i + 1]);
        let list = |key: &str| -> Vec<String> {
            after(key).map_or(vec![], |text| text.split(',').map(str::to_owned).collect())
        };
        match words.as_slice() {
            ["host:", name, ..] => {
                let home = self.hosts.is_empty();
                let link = LinkSpeed { bandwidth: 1 << 20, latency: Span::ZERO };
                self.hosts.push(Host {
                    name: (*name).to_owned(),
                    systems: vec![],
                    features: vec![],
                    mandatory: vec![],
                    slots: after("slots").map_or(1, |n| n.parse().unwrap()),
                    cores: 0,
                    speed: after("speed").map_or(1.0, |n| n.parse().unwrap()),
                    emulated: Default::default(),
                    substitutes: words.contains(&"substitutes"),
                    link: if home { LinkSpeed::FREE } else { link },
                });
            }
            ["path:", name, "in", place, ..] => {
                let origin = if *place == "cache" { Origin::Substituter } else { Origin::Home };
                self.path(name, origin, after("size").map_or(0, mebibytes));
            }
            ["job:", name, ..] => {
                let id = JobId::from_index(self.work.jobs.len());
                let output = self.path(name, Origin::Job(id), after("size").map_or(0, mebibytes));
                let mut inputs: Vec<PathId> = list("from").iter().map(|p| self.paths[p]).collect();
                inputs.sort_unstable();
                let maker = |p: &PathId| match self.work.paths[*p].origin {
                    Origin::Job(job) => Some(job),
                    _ => None,
                };
                let needs = inputs.iter().filter_map(maker).collect();
                self.work.jobs.push(Job {
                    drv: format!("{name}.drv"),
                    name: (*name).to_owned(),
                    system: String::new(),
                    features: vec![],
                    needs,
                    inputs,
                    outputs: vec![output],
                    fixed_output: false,
                    prefer_local: false,
                    parallel: false,
                });
                let median = after("takes").map_or(Span::from_secs(1), seconds);
                self.cost.push(Cost { median, p10: median, p90: median });
                self.eligible.push(after("on").map(|_| list("on")));
            }
            ["want:", names @ ..] => self.work.wanted = names.iter().map(|n| self.paths[*n]).collect(),
            ["keep-going"] => self.policy.keep_going = true,
            _ => {}
        }
    }

    fn path(&mut self, name: &str, origin: Origin, size: u64) -> PathId {
        let id = self.work.paths.push(PathSpec { path: name.to_owned(), origin, size, refs: vec![] });
        self.paths.insert(name.to_owned(), id);
        id
    }

    fn start(&self) -> Scheduler {
        let all: Vec<HostId> = self.hosts.ids().filter(|&h| self.hosts[h].slots > 0).collect();
        let some = |names: &Vec<String>| names.iter().map(|n| self.host(n)).collect();
        let eligible = self.eligible.iter().map(|e| e.as_ref().map_or_else(|| all.clone(), some)).collect();
        let (work, hosts, cost) = (self.work.clone(), self.hosts.clone(), self.cost.clone());
        Scheduler::new(work, hosts, cost, eligible, self.policy.clone())
    }

    fn host(&self, name: &str) -> HostId {
        self.hosts.iter().find(|(_, h)| h.name == name).unwrap_or_else(|| panic!("no host {name}")).0
    }

    fn job(&self, name: &str) -> JobId {
        self.work.jobs.iter().find(|(_, j)| j.name == name).unwrap_or_else(|| panic!("no job {name}")).0
    }

    /// The facts of one line after its time.
    fn facts(&self, at: Time, words: &[&str]) -> Vec<Event> {
        let transfer = |text: &str| TransferId(text.strip_prefix('t').unwrap().parse().unwrap());
        let cause = || words.join(" ");
        vec![match words {
            ["up", hosts @ ..] => {
                let ids = hosts.iter().map(|name| self.host(name));
                let slots = |host: HostId| {
                    (0..self.hosts[host].slots).map(move |slot| Event::SlotUp { host, slot: SlotId(slot) })
                };
                return ids.flat_map(slots).collect();
            }
            [host, "holds", paths @ ..] => {
                let paths = paths.iter().map(|p| self.paths[*p]).collect();
                Event::HostHolds { host: self.host(host), paths }
            }
            [host, "is", "lost"] => Event::HostLost { host: self.host(host), cause: cause() },
            [host, "is", "refused"] => Event::HostRefused { host: self.host(host), cause: cause() },
            [host, "is", "full"] => Event::HostDrained { host: self.host(host), cause: cause() },
            [job, "says", percent] => {
                let percent: u16 = percent.strip_suffix('%').unwrap().parse().unwrap();
                let job = self.job(job);
                Event::Progress { job, attempt: self.attempts[&job].0, permille: percent * 10 }
            }
            ["fleet", "ready"] => Event::FleetReady,
            ["deadline"] => Event::DeadlineReached,
            ["interrupted"] => Event::Interrupted,
            [id, "staged"] => Event::Staged { transfer: transfer(id), bytes: 0, took: Span::ZERO },
            [id, "fails", "at", side] => {
                let side = match *side {
                    "source" => Side::Source,
                    "destination" => Side::Destination,
                    _ => Side::Unknown,
                };
                Event::StageFailed { transfer: transfer(id), side, cause: cause() }
            }
            [name, how @ ..] => self.finished(at, self.job(name), &how.join(" ")),
            [] => panic!("a line without a fact"),
        }]
    }

    fn finished(&self, at: Time, job: JobId, how: &str) -> Event {
        let (attempt, since) = self.attempts[&job];
        let message = how.to_owned();
        let times = Times { wall: at.since(since), ..Times::default() };
        let spec = &self.work.jobs[job];
        let made =
            |&path: &PathId| Made { path, size: self.work.paths[path].size, refs: spec.inputs.clone() };
        let outcome = match how {
            "built" => Outcome::Built { made: spec.outputs.iter().map(made).collect(), times },
            "fails" => Outcome::Failed { failure: Failure::Build, message, times },
            "lacks inputs" => Outcome::HostFailed { fault: HostFault::MissingInputs, message },
            "failed by its host" => Outcome::HostFailed { fault: HostFault::Other, message },
            "cancelled" => Outcome::Cancelled,
            other => panic!("what is '{other}'?"),
        };
        Event::Finished { job, attempt, outcome }
    }

    /// Takes in one line of facts; what is ordered then.
    fn happen(&mut self, line: &str) -> String {
        let words: Vec<&str> = line.split_whitespace().collect();
        let at = Time::ZERO + seconds(words[0]);
        let mut scheduler = self.scheduler.take().unwrap_or_else(|| self.start());
        let (mut orders, mut text) = (Vec::new(), String::new());
        for fact in self.facts(at, &words[1..]) {
            scheduler.step(at, &fact, &mut orders);
            scheduler.check().unwrap();
        }
        for order in orders {
            if let Order::Build { job, attempt, .. } = order {
                self.attempts.insert(job, (attempt, at));
            }
            writeln!(text, "    {}", self.say(&order)).unwrap();
        }
        if scheduler.is_done() {
            writeln!(text, "    done{}", self.say_verdict(&scheduler)).unwrap();
        }
        self.scheduler = Some(scheduler);
        text
    }

    fn names(&self, paths: &[PathId]) -> String {
        paths.iter().map(|&p| self.work.paths[p].path.as_str()).collect::<Vec<_>>().join(", ")
    }

    fn say(&self, order: &Order) -> String {
        let host = |h: &HostId| self.hosts[*h].name.clone();
        let name = |j: &JobId| self.work.jobs[*j].name.clone();
        match order {
            Order::Stage { transfer, from, to, paths, .. } => {
                let from = match from {
                    Source::Host(from) => host(from),
                    Source::Substituter => "its cache".to_owned(),
                };
                format!("{transfer}: {} from {from} to {}", self.names(paths), host(to))
            }
            Order::Build { job, host: at, .. } => format!("build {} on {}", name(job), host(at)),
            Order::Cancel { job, host: at, .. } => format!("cancel {} on {}", name(job), host(at)),
            Order::Probe { host: at } => format!("probe {}", host(at)),
        }
    }

    fn say_verdict(&self, scheduler: &Scheduler) -> String {
        let verdict = scheduler.verdict();
        let mut text = String::new();
        for (job, ending) in &verdict.endings {
            let how = match ending {
                Ending::Failed { .. } => "failed".to_owned(),
                Ending::GivenUp { cause } => format!("given up ({cause})"),
            };
            write!(text, "; {} {how}", self.work.jobs[*job].name).unwrap();
        }
        for (job, because) in &verdict.skipped {
            let because = &self.work.jobs[*because].name;
            write!(text, "; {} skipped because of {because}", self.work.jobs[*job].name).unwrap();
        }
        if !verdict.missing.is_empty() {
            write!(text, "; missing: {}", self.names(&verdict.missing)).unwrap();
        }
        text
    }
}

/// The scenario with the orders as they are.
fn play(text: &str) -> String {
    let mut stage = Stage::default();
    let mut out = String::new();
    for line in text.lines().filter(|line| !line.starts_with("    ")) {
        writeln!(out, "{line}").unwrap();
        match line.strip_prefix("> ") {
            Some(fact) => out += &stage.happen(fact),
            None => stage.describe(line),
        }
    }
    out
}

#[test]
fn every_scenario_goes_as_written() {
    let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let mut files: Vec<_> = std::fs::read_dir(dir).unwrap().map(|f| f.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 8, "scenarios are missing");
    for file in files {
        let written = std::fs::read_to_string(&file).unwrap();
        println!("{}", file.display());
        let played = play(&written);
        if std::env::var_os("UPDATE_SCENARIOS").is_some() {
            std::fs::write(&file, played).unwrap();
        } else {
            assert_eq!(written, played, "in {}", file.display());
        }
    }
}
