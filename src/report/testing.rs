//! A small run, written by hand, that the tests of all views show.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use super::plain::{Detail, Plain};
use super::sink::Reporter;
use super::{RunState, View};
use crate::base::{Span, Time};
use crate::cost::Cost;
use crate::drive::Watch;
use crate::fleet::{Host, HostId, LinkSpeed};
use crate::graph::{Job, JobId, Origin, PathId, PathSpec, Workload};
use crate::run::{
    Attempt, Event, Expectation, FORMAT, Failure, Header, HostFault, Made, Note, Order, Outcome, Side,
    SlotId, Source, Times, TransferId,
};

pub const ZLIB: JobId = JobId(0);
pub const GCC: JobId = JobId(1);
pub const HELLO: JobId = JobId(3);

const LOCAL: HostId = HostId(0);
const RUBY: HostId = HostId(1);
const OPAL: HostId = HostId(2);

/// zlib and gcc are leaves, curl needs both, hello needs zlib, the system needs curl and hello.
pub fn header() -> Arc<Header> {
    let jobs: [(&str, &[u32], u64); 5] = [
        ("zlib-1.3", &[], 3),
        ("gcc-13.2", &[], 300),
        ("curl-8.9", &[0, 1], 40),
        ("hello-2.12", &[0], 5),
        ("nixos-system-demo", &[2, 3], 2),
    ];
    let ids = |ids: &[u32]| ids.iter().map(|n| JobId(*n)).collect::<Vec<_>>();
    let job = |n: usize| Job {
        drv: format!("/nix/store/{n:032}-{}.drv", jobs[n].0),
        name: jobs[n].0.into(),
        system: "x86_64-linux".into(),
        features: vec![],
        needs: ids(jobs[n].1),
        inputs: jobs[n].1.iter().map(|n| PathId(*n)).collect(),
        outputs: vec![PathId(n as u32)],
        fixed_output: false,
        prefer_local: false,
        parallel: false,
    };
    let path = |n: usize| PathSpec {
        path: format!("/nix/store/{n:032}-{}", jobs[n].0),
        origin: Origin::Job(JobId(n as u32)),
        size: 1 << 20,
        refs: vec![],
    };
    let host = |name: &str, slots, speed| Host {
        name: name.into(),
        systems: vec!["x86_64-linux".into()],
        features: vec![],
        mandatory: vec![],
        slots,
        cores: 8,
        speed,
        emulated: Default::default(),
        substitutes: true,
        link: LinkSpeed::FREE,
    };
    let cost =
        |s| Cost { median: Span::from_secs(s), p10: Span::from_secs(s / 2), p90: Span::from_secs(2 * s) };
    Arc::new(Header {
        format: FORMAT,
        version: "0.1.0".into(),
        started: 1_700_000_000,
        command: vec!["drvdispatch".into(), "build".into()],
        workload: Workload {
            jobs: (0..5).map(job).collect(),
            paths: (0..5).map(path).collect(),
            wanted: vec![PathId(4)],
        },
        hosts: [host("local", 1, 1.0), host("ruby", 2, 2.0), host("opal", 1, 1.0)].into_iter().collect(),
        estimates: jobs.iter().map(|(_, _, s)| cost(*s)).collect(),
        eligible: None,
        parallel: None,
        policy: serde_json::Value::Null,
    })
}

/// Anything that a sink is told.
#[derive(Clone, Debug)]
pub enum Told {
    Event(Event),
    Order(Order),
    Note(Note),
}

type Script = Vec<(u64, Told)>;

fn build(job: JobId, attempt: u32, host: HostId, slot: u32) -> Told {
    let (attempt, slot) = (Attempt(attempt), SlotId(slot));
    Told::Order(Order::Build { job, attempt, host, slot, cores: 4, expect: Expectation::default() })
}

fn started(job: JobId, attempt: u32) -> Told {
    Told::Event(Event::Started { job, attempt: Attempt(attempt) })
}

fn finished(job: JobId, attempt: u32, outcome: Outcome) -> Told {
    Told::Event(Event::Finished { job, attempt: Attempt(attempt), outcome })
}

fn built(job: JobId, attempt: u32, wall: u64, size: u64) -> Told {
    let made = vec![Made { path: PathId(job.0), size, refs: vec![] }];
    let times = Times {
        wall: Span::from_millis(wall),
        cpu_user: Some(Span::from_millis(1500)),
        cpu_system: Some(Span::ZERO),
        start: 1_700_000_001,
        stop: 1_700_000_004,
    };
    finished(job, attempt, Outcome::Built { made, times })
}

fn log(job: JobId, attempt: u32, text: &str) -> Told {
    Told::Note(Note::LogLine { job, attempt: Attempt(attempt), text: text.into() })
}

/// The first 100 s: opal answers late, ruby builds zlib, gcc runs.
fn first_part() -> Script {
    let up = |host, slot| Told::Event(Event::SlotUp { host, slot: SlotId(slot) });
    let stage = |transfer, from, to, path| {
        let (transfer, paths) = (TransferId(transfer), vec![PathId(path)]);
        Told::Order(Order::Stage { transfer, from, to, paths, for_job: Some(HELLO) })
    };
    vec![
        (0, up(LOCAL, 0)),
        (100, up(RUBY, 0)),
        (100, up(RUBY, 1)),
        (150, Told::Event(Event::HostLost { host: OPAL, cause: "no answer within 5s".into() })),
        (200, Told::Event(Event::FleetReady)),
        (200, build(ZLIB, 0, RUBY, 0)),
        (200, build(GCC, 0, RUBY, 1)),
        (250, started(ZLIB, 0)),
        (260, started(GCC, 0)),
        (900, log(ZLIB, 0, "checking for gcc... \u{1b}[32myes\u{1b}[0m\r\n")),
        (1000, Told::Note(Note::Phase { job: GCC, attempt: Attempt(0), name: "configurePhase".into() })),
        (3450, built(ZLIB, 0, 3200, 5 << 20)),
        (3450, stage(0, Source::Host(RUBY), LOCAL, 0)),
        (3600, Told::Note(Note::TransferProgress { transfer: TransferId(0), bytes: 2 << 20 })),
        (
            3700,
            Told::Event(Event::StageFailed {
                transfer: TransferId(0),
                side: Side::Source,
                cause: "broken pipe\n".into(),
            }),
        ),
        (3700, stage(1, Source::Host(RUBY), LOCAL, 0)),
        (
            4700,
            Told::Event(Event::Staged { transfer: TransferId(1), bytes: 5 << 20, took: Span::from_secs(1) }),
        ),
        (4700, build(HELLO, 0, LOCAL, 0)),
        (4710, started(HELLO, 0)),
        (
            8000,
            finished(
                HELLO,
                0,
                Outcome::HostFailed { fault: HostFault::Other, message: "no space left on device".into() },
            ),
        ),
        (8000, build(HELLO, 1, RUBY, 0)),
        (8010, started(HELLO, 1)),
        (60_000, Told::Event(Event::HostLost { host: RUBY, cause: "connection reset by peer".into() })),
        (60_500, up(RUBY, 0)),
        (60_500, up(RUBY, 1)),
        (60_500, build(GCC, 1, RUBY, 1)),
        (60_600, started(GCC, 1)),
        (60_600, stage(2, Source::Substituter, LOCAL, 3)),
        (60_700, Told::Note(Note::TransferProgress { transfer: TransferId(2), bytes: 300 << 10 })),
        (61_000, build(HELLO, 2, LOCAL, 0)),
        (61_000, started(HELLO, 2)),
        (
            90_000,
            Told::Note(Note::Warning { text: "this run is not recorded any further: disk full".into() }),
        ),
    ]
}

/// The rest: hello is built, gcc fails, and with it curl and the system.
fn second_part(log_lines: impl IntoIterator<Item = String>) -> Script {
    let mut script = vec![
        (101_000, built(HELLO, 2, 0, 1 << 20)),
        (
            101_500,
            Told::Event(Event::Staged { transfer: TransferId(2), bytes: 1 << 20, took: Span::from_secs(2) }),
        ),
    ];
    script.extend(log_lines.into_iter().map(|line| (110_000, log(GCC, 1, &line))));
    let message = "builder failed with exit code 2\n".to_owned();
    let times = Times { wall: Span::from_secs(59), ..Times::default() };
    script.push((120_000, finished(GCC, 1, Outcome::Failed { failure: Failure::Build, message, times })));
    // A fact about an attempt that is over already changes nothing.
    script.push((120_000, built(GCC, 0, 1000, 1)));
    script
}

fn gcc_log() -> Vec<String> {
    vec!["cc1: out of memory".into(), "\t".into(), "make: *** [all] Error 2".into()]
}

fn tell(sink: &mut Reporter, script: Script) {
    for (ms, told) in script {
        let at = Time(ms * 1000);
        match told {
            Told::Event(event) => sink.event(at, &event),
            Told::Order(order) => sink.order(at, &order),
            Told::Note(note) => sink.note(at, &note),
        }
    }
}

/// The run, folded.
pub struct Scene {
    pub run: RunState,
}

impl Scene {
    /// At 100 s, when gcc and hello are running.
    pub fn running() -> Self {
        Self::of(header(), first_part(), false)
    }

    /// The same with names as long as they get.
    pub fn running_with_long_names() -> Self {
        let mut header = Header::clone(&header());
        for job in header.workload.jobs.iter_mut().map(|(_, job)| job) {
            job.name = format!("python3.13-django-rest-framework-{}", job.name);
        }
        for (id, host) in header.hosts.iter_mut().filter(|(id, _)| *id != LOCAL) {
            host.name = format!("nix@build-{}.{}.example.org", id.0, host.name);
        }
        Self::of(Arc::new(header), first_part(), false)
    }

    /// At the end.
    pub fn failed() -> Self {
        Self::failed_with_log(gcc_log())
    }

    /// At the end, with this log of gcc.
    pub fn failed_with_log(lines: impl IntoIterator<Item = String>) -> Self {
        let mut script = first_part();
        script.extend(second_part(lines));
        Self::of(header(), script, true)
    }

    fn of(header: Arc<Header>, script: Script, over: bool) -> Self {
        let mut reporter = Reporter::new(header, None);
        tell(&mut reporter, script);
        if over {
            reporter.finish(Time(120_000_000));
        }
        Self { run: reporter.into_state() }
    }
}

/// Shows the whole run in a view.
pub fn show(view: Box<dyn View + Send>) {
    let mut reporter = Reporter::new(header(), Some(view));
    let mut script = first_part();
    script.extend(second_part(gcc_log()));
    tell(&mut reporter, script);
    reporter.finish(Time(120_000_000));
}

/// What a view wrote.
#[derive(Clone, Debug, Default)]
pub struct Paper(pub Arc<Mutex<Vec<u8>>>);

impl Paper {
    pub fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Paper {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The whole run in plain lines.
pub fn plain(detail: Detail) -> String {
    let paper = Paper::default();
    show(Box::new(Plain::new(paper.clone(), detail)));
    paper.text()
}
