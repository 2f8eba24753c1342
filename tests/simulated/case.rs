//! Generated runs: a graph, a fleet, what is true and what is told of it, and what goes wrong.

use drvdispatch::base::{Span, Table, Time};
use drvdispatch::cost::Cost;
use drvdispatch::fleet::{Host, HostId, LinkSpeed};
use drvdispatch::graph::{Job, JobId, Origin, PathId, PathSpec, Workload};
use drvdispatch::run::{Event, FORMAT, Header};
use drvdispatch::sched::{Cores, Policy, Scheduler};
use drvdispatch::sim::{Fault, SimWorld, Slowdown, Speed, Wire};
use proptest::prelude::*;

const MOST_JOBS: usize = 24;
/// Bytes per second. Over less, and a twentieth of that while a link is slow, a transfer takes days of probes for hosts
/// that are away, and no end can be told from a run that hangs.
const LEAST_UPLINK: u64 = 10_000;
/// Systems of jobs and hosts. This machine builds for both.
const SYSTEMS: [&str; 2] = ["x", "y"];
/// The feature of jobs that gain from all the cores of a host. This machine has it.
const BIG: &str = "big-parallel";

/// A generated run.
#[derive(Clone, Debug)]
pub struct Case {
    pub work: Workload,
    pub hosts: Table<HostId, Host>,
    /// How fast hosts really are.
    pub speeds: Table<HostId, Speed>,
    pub wires: Table<HostId, Wire>,
    pub truth: Table<JobId, Option<Span>>,
    pub parallel: Table<JobId, f64>,
    pub estimates: Table<JobId, Cost>,
    pub policy: Policy,
    pub trouble: Trouble,
}

/// What goes wrong, besides builds that fail.
#[derive(Clone, Debug, Default)]
pub struct Trouble {
    pub faults: Vec<Fault>,
    pub slowdowns: Vec<Slowdown>,
    /// Seed of the transfers that fail.
    pub transfers: Option<u64>,
    /// Seed of the attempts that hosts fail.
    pub hosts: Option<u64>,
    /// Seed of the facts that are heard again.
    pub stale: Option<u64>,
    /// Seed of the disks that are full.
    pub disks: Option<u64>,
    /// Seed of the builds that say how far they are.
    pub talk: Option<u64>,
    pub interrupted: Option<Time>,
    pub refused: Option<(HostId, Time)>,
    /// Per host: when it says how many cores it has; from the beginning, where there is no time.
    pub sized: Vec<Option<u64>>,
    /// Hosts that say later that they have other numbers of cores.
    pub resized: Vec<(HostId, Time, u32)>,
    /// Per job one host that alone may build it; any host, where there is no such host.
    pub only: Vec<u32>,
}

/// What is special about a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Nature {
    Plain,
    FixedOutput,
    PreferLocal,
    /// It gains from all the cores of a host, and requires one that says so.
    Big,
}

/// What is drawn of one job.
#[derive(Clone, Debug)]
struct JobDraw {
    needs: Vec<prop::sample::Index>,
    size: u64,
    micros: u64,
    /// One in thirty does not build.
    fails: bool,
    estimated_low: bool,
    system: usize,
    parallel: f64,
    refers: bool,
    nature: Nature,
}

/// What is drawn of one host.
#[derive(Clone, Debug)]
struct HostDraw {
    slots: u32,
    speed: f64,
    systems: usize,
    cores: u32,
    emulates_slowly: bool,
    /// Whether big jobs may go there, and whether no others may.
    big: (bool, bool),
    /// It says that it only emulates the second system.
    says_so: bool,
    substitutes: bool,
}

fn job() -> impl Strategy<Value = JobDraw> {
    (
        prop::collection::vec(any::<prop::sample::Index>(), 0..4),
        (0u64..2_000_000, 0u64..9_000_000),
        (0..30u8, any::<bool>(), any::<bool>()),
        prop::sample::select(vec![0, 0, 0, 1]),
        prop::sample::select(vec![0.0, 0.0, 0.5, 0.9]),
        prop_oneof![
            6 => Just(Nature::Plain),
            1 => Just(Nature::FixedOutput),
            1 => Just(Nature::PreferLocal),
            2 => Just(Nature::Big),
        ],
    )
        .prop_map(|(needs, (size, micros), (fail, estimated_low, refers), system, parallel, nature)| {
            JobDraw { needs, size, micros, fails: fail == 0, estimated_low, system, parallel, refers, nature }
        })
}

fn host() -> impl Strategy<Value = HostDraw> {
    let says = (any::<bool>(), prop::bool::weighted(0.1), any::<bool>(), any::<bool>());
    // Now and then more than are filled by what is looked at.
    let slots = prop_oneof![8 => 0u32..3, 2 => 3u32..7, 1 => Just(9)];
    (slots, 1u32..5, 1usize..4, prop::sample::select(vec![0u32, 0, 1, 2, 3, 6]), any::<bool>(), says)
        .prop_map(|(slots, speed, systems, cores, emulates_slowly, (big, only_big, says_so, substitutes))| {
            HostDraw {
                slots,
                speed: f64::from(speed) / 2.0,
                systems,
                cores,
                emulates_slowly,
                big: (big, only_big),
                says_so,
                substitutes,
            }
        })
}

/// Runs in which builds may fail, but nothing else goes wrong.
pub fn calm() -> impl Strategy<Value = Case> {
    (
        prop::collection::vec(job(), 1..MOST_JOBS),
        prop::collection::vec(host(), 2..5),
        any::<bool>(),
        prop::option::of(LEAST_UPLINK..3_000_000),
        (
            prop::sample::select(Policy::NAMES),
            prop::option::of(0u32..5),
            any::<bool>(),
            prop::bool::weighted(0.2),
        ),
    )
        .prop_map(|(jobs, hosts, keep_going, uplink, (policy, cores, soon_plenty, exact))| {
            let mut policy = Policy { keep_going, ..Policy::named(policy).expect("a name of a policy") };
            if soon_plenty {
                (policy.window, policy.plenty) = (2, policy.plenty.min(1));
            }
            if let Some(cores) = cores {
                policy.cores = Cores::Fixed(cores);
            }
            let specs: Table<HostId, Host> = hosts.iter().enumerate().map(|(i, h)| describe(i, h)).collect();
            let cost = |job: &JobDraw| {
                let median = match job.estimated_low {
                    _ if exact => Span(job.micros),
                    true => Span(job.micros / 3),
                    false => Span(job.micros * 2),
                };
                Cost { median, p10: median.scale(0.5), p90: median.scale(2.0) }
            };
            let mut wires: Table<HostId, Wire> = specs.rows().iter().map(|h| Wire::from(h.link)).collect();
            wires[HostId::HOME].up = uplink.unwrap_or(0);
            Case {
                work: workload(&jobs),
                speeds: hosts.iter().map(real_speed).collect(),
                wires,
                truth: jobs.iter().map(|job| (!job.fails).then_some(Span(job.micros))).collect(),
                parallel: jobs.iter().map(|job| job.parallel).collect(),
                estimates: jobs.iter().map(cost).collect(),
                policy,
                hosts: specs,
                trouble: Trouble::default(),
            }
        })
}

/// Runs in which hosts come and go, and are slow.
pub fn faulty() -> impl Strategy<Value = Case> {
    (calm(), faults(), slowdowns()).prop_map(|(mut case, faults, slowdowns)| {
        let known = |host: HostId| case.hosts.get(host).is_some();
        case.trouble.faults = faults.into_iter().filter(|fault| known(fault.host)).collect();
        case.trouble.slowdowns = slowdowns.into_iter().filter(|slow| known(slow.host)).collect();
        case
    })
}

/// Runs in which everything goes wrong that can.
pub fn rough() -> impl Strategy<Value = Case> {
    let seed = || prop::option::of(any::<u64>());
    (
        faulty(),
        (seed(), seed(), seed(), seed(), seed()),
        prop::collection::vec(0u32..9, MOST_JOBS),
        prop::option::weighted(0.2, 0u64..10_000_000),
        prop::option::weighted(0.3, (1u32..4, 0u64..10_000_000)),
        prop::option::of((1u32..4, 1u64..9)),
        (
            any::<bool>(),
            prop::collection::vec(prop::option::of(0u64..8_000_000), 5),
            prop::collection::vec((0u32..5, 0u64..15_000_000, 1u32..7), 0..3),
        ),
    )
        .prop_map(
            |(
                mut case,
                (transfers, hosts, stale, disks, talk),
                only,
                interrupted,
                refused,
                flapping,
                (cached, sized, resized),
            )| {
                let known = |host: u32| case.hosts.get(HostId(host)).is_some();
                // For half a second in each two.
                if let Some((host, times)) = flapping.filter(|(host, _)| known(*host)) {
                    let cut = |i| {
                        let at = Time(i * 2_000_000);
                        Fault { host: HostId(host), at, back: Some(at + Span(500_000)) }
                    };
                    case.trouble.faults.extend((0..times).map(cut));
                }
                let refused = refused.filter(|(host, _)| known(*host)).map(|(h, at)| (HostId(h), Time(at)));
                let interrupted = interrupted.map(Time);
                let trouble = std::mem::take(&mut case.trouble);
                case.trouble = Trouble {
                    transfers,
                    hosts,
                    stale,
                    disks,
                    talk,
                    interrupted,
                    refused,
                    only,
                    sized,
                    resized: resized.into_iter().map(|(host, at, n)| (HostId(host), Time(at), n)).collect(),
                    ..trouble
                };
                // A cache has the source then, and nobody else has.
                if cached {
                    case.work.paths[PathId(0)].origin = Origin::Substituter;
                }
                case
            },
        )
}

fn faults() -> impl Strategy<Value = Vec<Fault>> {
    let fault =
        (1u32..5, 0u64..20_000_000, prop::option::of(1u64..20_000_000)).prop_map(|(host, at, back)| Fault {
            host: HostId(host),
            at: Time(at),
            back: back.map(|later| Time(at + later)),
        });
    prop::collection::vec(fault, 0..3)
}

fn slowdowns() -> impl Strategy<Value = Vec<Slowdown>> {
    let factor = || prop::sample::select(vec![0.05, 0.5, 1.0, 2.0]);
    let slow = (0u32..5, 0u64..10_000_000, prop::option::of(1u64..20_000_000), factor(), factor()).prop_map(
        |(host, from, until, pace, link)| Slowdown {
            host: HostId(host),
            from: Time(from),
            until: until.map(|later| Time(from + later)),
            pace,
            link,
        },
    );
    prop::collection::vec(slow, 0..3)
}

fn describe(index: usize, draw: &HostDraw) -> Host {
    let local = index == 0;
    let offers = |i: &usize| local || draw.systems >> i & 1 == 1;
    let feature = |yes: bool| if yes { vec![BIG.to_owned()] } else { vec![] };
    let only_big = !local && draw.big.1;
    let emulated = (SYSTEMS[1].to_owned(), draw.speed / 4.0);
    Host {
        name: if local { "local".into() } else { format!("h{index}") },
        systems: (0..SYSTEMS.len()).filter(offers).map(|i| SYSTEMS[i].to_owned()).collect(),
        features: feature(local || draw.big.0 || only_big),
        mandatory: feature(only_big),
        slots: if local { draw.slots.max(1) } else { draw.slots },
        cores: draw.cores,
        speed: draw.speed,
        emulated: if draw.says_so { [emulated].into() } else { [].into() },
        substitutes: draw.substitutes,
        link: if local {
            LinkSpeed::FREE
        } else {
            LinkSpeed { bandwidth: 1 << 20, latency: Span::from_millis(5) }
        },
    }
}

fn real_speed(draw: &HostDraw) -> Speed {
    let emulated = (SYSTEMS[1].to_owned(), draw.speed / 4.0);
    let of_system = if draw.emulates_slowly { vec![emulated] } else { vec![] };
    Speed { usual: draw.speed, of_system }
}

/// Jobs where job i may need any earlier one; one output each, and one source.
fn workload(draws: &[JobDraw]) -> Workload {
    let mut work = Workload::default();
    let path = |path: String, origin, size, refs| PathSpec { path, origin, size, refs };
    let source = work.paths.push(path("/nix/store/s".into(), Origin::Home, 9, vec![]));
    for (i, draw) in draws.iter().enumerate() {
        let picks = if i == 0 { &[][..] } else { &draw.needs };
        let mut needs: Vec<JobId> = picks.iter().map(|pick| JobId(pick.index(i) as u32)).collect();
        needs.sort();
        needs.dedup();
        let inputs: Vec<PathId> =
            std::iter::once(source).chain(needs.iter().map(|j| PathId(j.0 + 1))).collect();
        let refs = if draw.refers { inputs.clone() } else { vec![] };
        let origin = Origin::Job(JobId(i as u32));
        let output = work.paths.push(path(format!("/nix/store/{i:05}"), origin, draw.size, refs));
        work.jobs.push(Job {
            drv: format!("/nix/store/{i:05}.drv"),
            name: format!("job{i}"),
            system: SYSTEMS[draw.system].into(),
            features: if draw.nature == Nature::Big { vec![BIG.to_owned()] } else { vec![] },
            needs,
            inputs,
            outputs: vec![output],
            fixed_output: draw.nature == Nature::FixedOutput,
            prefer_local: draw.nature == Nature::PreferLocal,
            parallel: draw.parallel > 0.0,
        });
        if i + 1 == draws.len() {
            work.wanted.push(output);
        }
    }
    work
}

impl Case {
    /// The hosts that may build a job.
    pub fn eligible(&self, job: JobId) -> Vec<HostId> {
        let spec = &self.work.jobs[job];
        let can = |h: &HostId| self.hosts[*h].lacks(&spec.system, &spec.features).is_none();
        let all: Vec<HostId> = self.hosts.ids().filter(can).collect();
        let only = self.trouble.only.get(job.0 as usize).map(|&host| HostId(host));
        only.filter(|host| all.contains(host)).map_or(all, |host| vec![host])
    }

    pub fn header(&self) -> Header {
        Header {
            format: FORMAT,
            version: String::new(),
            started: 0,
            command: vec![],
            workload: self.told(),
            hosts: self.told_hosts(),
            estimates: self.estimates.clone(),
            eligible: Some(self.work.jobs.ids().map(|job| self.eligible(job)).collect()),
            parallel: None,
            policy: serde_json::to_value(&self.policy).expect("it is plain data"),
        }
    }

    /// The hosts as they are known in the beginning.
    fn told_hosts(&self) -> Table<HostId, Host> {
        let later = |id: HostId| self.trouble.sized.get(id.0 as usize).copied().flatten();
        let told = |(id, host): (HostId, &Host)| match later(id) {
            Some(_) => Host { cores: 0, ..host.clone() },
            None => host.clone(),
        };
        self.hosts.iter().map(told).collect()
    }

    /// What the scheduler knows of a path before it is made: not what it will refer to.
    fn told(&self) -> Workload {
        let mut told = self.work.clone();
        told.paths.iter_mut().for_each(|(_, path)| path.refs.clear());
        told
    }

    pub fn scheduler(&self) -> Scheduler {
        let eligible = self.work.jobs.ids().map(|job| self.eligible(job)).collect();
        Scheduler::new(self.told(), self.told_hosts(), self.estimates.clone(), eligible, self.policy.clone())
    }

    pub fn world(&self) -> SimWorld<'_> {
        let trouble = &self.trouble;
        let mut world = SimWorld::new(&self.work, &self.hosts, &self.truth, trouble.faults.clone())
            .with_wires(&self.wires)
            .with_speeds(self.speeds.clone())
            .with_parallel(self.parallel.clone())
            .with_slowdowns(&trouble.slowdowns);
        if let Some(seed) = trouble.transfers {
            world = world.with_failing_transfers(seed);
        }
        if let Some(seed) = trouble.hosts {
            world = world.with_failing_hosts(seed, 0.2);
        }
        if let Some(seed) = trouble.stale {
            world = world.with_stale_facts(seed);
        }
        if let Some(seed) = trouble.disks {
            world = world.with_full_disks(seed);
        }
        if let Some(seed) = trouble.talk {
            world = world.with_progress(seed);
        }
        if let Some((host, at)) = trouble.refused {
            world.at(at, Event::HostRefused { host, cause: "refused".into() });
        }
        for ((host, spec), at) in self.hosts.iter().zip(&trouble.sized) {
            if let (Some(at), cores @ 1..) = (at, spec.cores) {
                world.at(Time(*at), Event::HostCores { host, cores });
            }
        }
        for &(host, at, cores) in trouble.resized.iter().filter(|(host, ..)| self.hosts.get(*host).is_some())
        {
            world.at(at, Event::HostCores { host, cores });
        }
        if let Some(at) = trouble.interrupted {
            world.at(at, Event::Interrupted);
        }
        world
    }
}
