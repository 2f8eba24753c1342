//! The scheduler's rules, one file each in `tests/scenarios/`: facts in, orders out.
//!
//! A file says in words what the rule is, then describes a fleet and some work, then tells what
//! happens, a line beginning with `>` for each fact. The indented lines below such a line are what the
//! scheduler orders then, and when it asks to be woken if nothing happens before; they are compared.
//! `UPDATE_SCENARIOS=1` writes them anew.
//!
//! Where nothing else is said, a host has one slot, speed 1, an unknown number of cores and a link of
//! 1 MiB/s, and everybody has the same system.

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
use drvdispatch::sched::{Cores, Ending, Policy, Scheduler};

/// The system of hosts and jobs that name none.
const SYSTEM: &str = "x86_64-linux";

/// A scenario as far as it was told.
#[derive(Default)]
struct Stage {
    hosts: Table<HostId, Host>,
    work: Workload,
    cost: Table<JobId, Cost>,
    /// The hosts that each job is pinned to.
    pins: Vec<Option<Vec<String>>>,
    policy: Policy,
    /// Names of paths; a job's only output has the job's name.
    paths: BTreeMap<String, PathId>,
    scheduler: Option<Scheduler>,
    /// The running attempt of each job, and since when.
    attempts: BTreeMap<JobId, (Attempt, Time)>,
    /// When the scheduler last asked to be woken.
    deadline: Option<Time>,
}

/// The words of one line: a value follows its key.
struct Words<'a>(Vec<&'a str>);

impl<'a> Words<'a> {
    fn after(&self, key: &str) -> Option<&'a str> {
        self.0.iter().position(|w| *w == key).map(|i| self.0[i + 1])
    }

    fn number<T: std::str::FromStr>(&self, key: &str, default: T) -> T {
        self.after(key).map_or(default, |text| text.parse().ok().unwrap())
    }

    fn list(&self, key: &str) -> Vec<String> {
        self.after(key).map_or(vec![], |text| text.split(',').map(str::to_owned).collect())
    }

    fn has(&self, key: &str) -> bool {
        self.0.contains(&key)
    }
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
        let words = Words(line.split_whitespace().collect());
        match words.0.as_slice() {
            ["host:", name, ..] => self.add_host(name, &words),
            ["path:", name, "in", place, ..] => {
                let origin = if *place == "cache" { Origin::Substituter } else { Origin::Home };
                let path = self.path(name, origin, words.after("size").map_or(0, mebibytes));
                let refs = words.list("refers-to").iter().map(|p| self.paths[p]).collect();
                self.work.paths[path].refs = refs;
            }
            ["job:", name, ..] => self.add_job(name, &words),
            ["want:", names @ ..] => self.work.wanted = names.iter().map(|n| self.paths[*n]).collect(),
            ["keep-going"] => self.policy.keep_going = true,
            ["policy:", name] => self.policy = Policy::named(name).unwrap(),
            ["cores:", number] => self.policy.cores = Cores::Fixed(number.parse().unwrap()),
            ["window:", number] => self.policy.window = number.parse().unwrap(),
            ["plenty:", number] => self.policy.plenty = number.parse().unwrap(),
            _ => {}
        }
    }

    fn add_host(&mut self, name: &str, words: &Words<'_>) {
        let home = self.hosts.is_empty();
        let bandwidth =
            words.after("link").map_or(1 << 20, |text| mebibytes(text.strip_suffix("/s").unwrap()));
        // As in `emulates riscv64-linux*0.1`.
        let emulated: BTreeMap<String, f64> = words
            .list("emulates")
            .iter()
            .map(|text| text.split_once('*').unwrap())
            .map(|(system, speed)| (system.to_owned(), speed.parse().unwrap()))
            .collect();
        let mut systems = words.list("systems");
        if systems.is_empty() {
            systems.push(SYSTEM.to_owned());
        }
        systems.extend(emulated.keys().cloned());
        let mandatory = words.list("mandatory");
        let mut features = words.list("features");
        features.extend(mandatory.iter().cloned().chain(["big-parallel".to_owned()]));
        self.hosts.push(Host {
            name: name.to_owned(),
            systems,
            features,
            mandatory,
            slots: words.number("slots", 1),
            cores: words.number("cores", 0),
            speed: words.number("speed", 1.0),
            emulated,
            substitutes: words.has("substitutes"),
            link: if home { LinkSpeed::FREE } else { LinkSpeed { bandwidth, latency: Span::ZERO } },
        });
    }

    fn add_job(&mut self, name: &str, words: &Words<'_>) {
        let id = JobId::from_index(self.work.jobs.len());
        let output = self.path(name, Origin::Job(id), words.after("size").map_or(0, mebibytes));
        let mut inputs: Vec<PathId> = words.list("from").iter().map(|p| self.paths[p]).collect();
        inputs.sort_unstable();
        let maker = |p: &PathId| match self.work.paths[*p].origin {
            Origin::Job(job) => Some(job),
            _ => None,
        };
        let needs = inputs.iter().filter_map(maker).collect();
        let mut features = words.list("requires");
        if words.has("big-parallel") {
            features.push("big-parallel".to_owned());
        }
        self.work.jobs.push(Job {
            drv: format!("{name}.drv"),
            name: name.to_owned(),
            system: words.after("system").unwrap_or(SYSTEM).to_owned(),
            features,
            needs,
            inputs,
            outputs: vec![output],
            fixed_output: words.has("fixed-output"),
            prefer_local: words.has("prefer-local"),
            parallel: words.has("parallel"),
        });
        let median = words.after("takes").map_or(Span::from_secs(1), seconds);
        let p90 = words.after("p90").map_or(median, seconds);
        // As far below the median as `p90` is above it.
        let p10 = median.scale(median.as_secs_f64() / p90.as_secs_f64());
        self.cost.push(Cost { median, p10, p90 });
        self.pins.push(words.after("on").map(|_| words.list("on")));
    }

    fn path(&mut self, name: &str, origin: Origin, size: u64) -> PathId {
        let id = self.work.paths.push(PathSpec { path: name.to_owned(), origin, size, refs: vec![] });
        self.paths.insert(name.to_owned(), id);
        id
    }

    fn start(&self) -> Scheduler {
        let can = |job: &Job, host: &HostId| self.hosts[*host].lacks(&job.system, &job.features).is_none();
        let pinned = |pin: &Option<Vec<String>>, host: &HostId| {
            pin.as_ref().is_none_or(|names| names.contains(&self.hosts[*host].name))
        };
        let jobs = self.work.jobs.rows().iter().zip(&self.pins);
        let hosts_of =
            |(job, pin)| self.hosts.ids().filter(|host| can(job, host) && pinned(pin, host)).collect();
        let eligible = jobs.map(hosts_of).collect();
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
            [host, "has", cores, "cores"] => {
                Event::HostCores { host: self.host(host), cores: cores.parse().unwrap() }
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
            [id, "staged", size, "in", took] => {
                Event::Staged { transfer: transfer(id), bytes: mebibytes(size), took: seconds(took) }
            }
            [id, "fails", "at", side] => {
                let side = match *side {
                    "source" => Side::Source,
                    "destination" => Side::Destination,
                    _ => Side::Unknown,
                };
                Event::StageFailed { transfer: transfer(id), side, cause: cause() }
            }
            [name, "of", "attempt", attempt, how @ ..] => {
                let attempt = Attempt(attempt.parse().unwrap());
                self.finished(at, self.job(name), attempt, &how.join(" "))
            }
            [name, how @ ..] => {
                let job = self.job(name);
                self.finished(at, job, self.attempts[&job].0, &how.join(" "))
            }
            [] => panic!("a line without a fact"),
        }]
    }

    fn finished(&self, at: Time, job: JobId, attempt: Attempt, how: &str) -> Event {
        let since = self.attempts[&job].1;
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
        let deadline = scheduler.deadline().filter(|_| !scheduler.is_done());
        if let Some(wake) = deadline.filter(|_| deadline != self.deadline) {
            writeln!(text, "    wake at {}s", wake.since(Time::ZERO).as_secs_f64()).unwrap();
        }
        self.deadline = deadline;
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
            Order::Build { job, host: at, cores, .. } => {
                let cores = match (*cores, self.hosts[*at].cores) {
                    (0, 0) => String::new(),
                    (0, _) => " with all cores".to_owned(),
                    (1, _) => " with 1 core".to_owned(),
                    (cores, _) => format!(" with {cores} cores"),
                };
                format!("build {} on {}{cores}", name(job), host(at))
            }
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
    assert!(files.len() >= 30, "scenarios are missing");
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
