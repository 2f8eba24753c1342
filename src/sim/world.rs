//! The simulated world: what becomes of an order, and when.
//!
//! A build takes its given work at its host's speed for the system it is for; a transfer takes the
//! latency of its ends and then its bytes' way through their links, which it shares with others. A
//! world is stricter than real hosts are: a transfer from a host that does not hold the paths fails, and
//! so does a build whose inputs are not there. The same orders always have the same consequences.

mod setup;

use super::network::Network;
use super::processors::{Processors, Run};
use super::progress::{Forecast, Stamp};
use super::queue::{Queue, Which};
use super::stores::Stores;
use super::transfers::{Transfer, Transfers};
use super::trouble::{Chances, Fault, Slowdown};
use super::wire::{Wire, Wires};
use crate::base::{Span, Table, Time};
use crate::drive::{Happening, World};
use crate::fleet::{Host, HostId};
use crate::graph::{JobId, PathId, Workload};
use crate::run::{
    Attempt, Event, Failure, HostFault, Made, Order, Outcome, Side, SlotId, Source, Times, TransferId,
};

/// How often a build says how far it is.
const TALK: Span = Span::from_secs(2);

/// How fast a host really is, whatever the scheduler was told.
#[derive(Clone, Debug, PartialEq)]
pub struct Speed {
    /// Work per second and core for the systems that are not named.
    pub usual: f64,
    /// Work per second and core for certain systems: emulated ones, as a rule.
    pub of_system: Vec<(String, f64)>,
}

/// A fleet in virtual time.
#[derive(Clone, Debug)]
pub struct SimWorld<'a> {
    work: &'a Workload,
    hosts: &'a Table<HostId, Host>,
    /// What each job really takes on one core of a host of speed 1; `None` for one that fails at once.
    truth: &'a Table<JobId, Option<Span>>,
    speeds: Option<Table<HostId, Speed>>,
    /// Which part of each job can be spread over cores; empty for none of any.
    parallel: Table<JobId, f64>,
    chances: Chances,
    /// How often a host's link is cut at the moment.
    cuts: Table<HostId, u32>,
    /// Whose disks are full.
    full: Table<HostId, bool>,
    stores: Stores,
    wires: Wires,
    network: Network,
    processors: Processors,
    transfers: Transfers,
    /// The place of the transfer of each flow of the network.
    of_flow: Vec<u32>,
    now: Time,
    /// Facts told, to draw echoes by.
    told: u64,
    queue: Queue<Event, Due>,
    forecasts: Vec<Forecast>,
    /// How long a build's end takes to be heard.
    handling: Span,
}

/// What the world itself has to do at a moment. Small, since the queue moves it around.
#[derive(Clone, Debug)]
enum Due {
    Tell(Box<Event>),
    /// The latency of the transfer at a place is over, unless it is another one by then.
    Flow(u32, TransferId),
    /// The bytes of a flow are through, unless it was overtaken.
    Through(u32, Stamp),
    /// A build is over, unless it was overtaken.
    Built(u32, Stamp),
    Cut(HostId),
    Mend(HostId),
    Slow(Box<Slowdown>),
    /// The disk of a host is full.
    Fill(HostId),
    /// A build says how far it is, and is asked again.
    Talk(HostId, JobId, Attempt),
}

impl<'a> SimWorld<'a> {
    /// A world in which every host answers at once.
    pub fn new(
        work: &'a Workload,
        hosts: &'a Table<HostId, Host>,
        truth: &'a Table<JobId, Option<Span>>,
        faults: Vec<Fault>,
    ) -> Self {
        let mut world = Self::beginning(work, hosts, truth, Vec::new());
        for host in hosts.ids() {
            world.connect(Time::ZERO, host);
        }
        world.at(Time::ZERO, Event::FleetReady);
        faults.into_iter().for_each(|fault| world.lose(fault));
        world
    }

    /// A world that begins with the given facts, `FleetReady` among them: those that a real fleet told.
    pub fn beginning(
        work: &'a Workload,
        hosts: &'a Table<HostId, Host>,
        truth: &'a Table<JobId, Option<Span>>,
        facts: Vec<Event>,
    ) -> Self {
        Self::following(work, hosts, truth, facts.into_iter().map(|fact| (Time::ZERO, fact)).collect())
    }

    /// The same with the time of each fact.
    pub fn following(
        work: &'a Workload,
        hosts: &'a Table<HostId, Host>,
        truth: &'a Table<JobId, Option<Span>>,
        facts: Vec<(Time, Event)>,
    ) -> Self {
        let wires = Wires::new(hosts.rows().iter().map(|host| Wire::from(host.link)));
        let mut world = Self {
            work,
            hosts,
            truth,
            speeds: None,
            parallel: Table::new(),
            chances: Chances::default(),
            cuts: Table::filled(hosts.len(), 0),
            full: Table::filled(hosts.len(), false),
            stores: Stores::new(work, hosts.len()),
            network: Network::new(wires.capacities()),
            wires,
            processors: Processors::new(hosts.rows().iter().map(|host| host.cores)),
            transfers: Transfers::default(),
            of_flow: Vec::new(),
            now: Time::ZERO,
            told: 0,
            queue: Queue::new(),
            forecasts: Vec::new(),
            handling: Span::ZERO,
        };
        for (at, fact) in facts {
            if let Event::HostHolds { host, paths } = &fact
                && hosts.get(*host).is_some()
            {
                let known = paths.iter().filter(|path| work.paths.get(**path).is_some());
                known.for_each(|&path| world.stores.hold(*host, path));
            }
            // Nothing says that a host that is away will ever be back.
            if let Event::HostLost { host, .. } = &fact
                && hosts.get(*host).is_some()
            {
                world.cuts[*host] += 1;
            }
            world.at(at, fact);
        }
        world
    }

    /// A fact that no order causes.
    pub fn at(&mut self, time: Time, event: Event) {
        if time <= self.now && self.queue.is_in_turn(time) {
            self.queue.push_now(time, event);
        } else {
            self.queue.push(time, Due::Tell(Box::new(event)));
        }
    }

    /// Tells a fact that may be heard again.
    fn tell(&mut self, time: Time, event: Event) {
        self.told += 1;
        if let Some(later) = self.chances.of_echo(self.told) {
            self.at(time + later, event.clone());
        }
        self.at(time, event);
    }

    fn connect(&mut self, time: Time, host: HostId) {
        for slot in 0..self.hosts[host].slots {
            self.at(time, Event::SlotUp { host, slot: SlotId(slot) });
        }
    }

    fn is_cut(&self, host: HostId) -> bool {
        self.cuts.get(host).is_none_or(|&cuts| cuts > 0)
    }

    /// Queues the ends of builds or flows that have changed.
    fn queue_forecasts(&mut self, due: impl Fn(u32, Stamp) -> Due) {
        for Forecast { index, stamp, end } in self.forecasts.drain(..) {
            self.queue.push(end, due(index, stamp));
        }
    }

    fn speed(&self, host: HostId, job: JobId) -> f64 {
        let spec = &self.hosts[host];
        let Some(speed) = self.speeds.as_ref().and_then(|speeds| speeds.get(host)) else {
            // The job's own row is left alone where it does not matter.
            let is_same_for_all = spec.emulated.is_empty();
            return if is_same_for_all { spec.speed } else { spec.speed_for(&self.work.jobs[job].system) };
        };
        let system = &self.work.jobs[job].system;
        speed.of_system.iter().find(|(name, _)| name == system).map_or(speed.usual, |(_, speed)| *speed)
    }

    fn build(&mut self, at: Time, job: JobId, attempt: Attempt, host: HostId, cores: u32) {
        if self.is_cut(host) {
            return;
        }
        self.tell(at, Event::Started { job, attempt });
        let outcome = match self.truth[job] {
            _ if !self.stores.complete(host, job) => Outcome::HostFailed {
                fault: HostFault::MissingInputs,
                message: "simulated: an input is not there".to_owned(),
            },
            _ if self.full[host] => Outcome::HostFailed {
                fault: HostFault::Transient,
                message: "simulated: no space left on device".to_owned(),
            },
            None => Outcome::Failed {
                failure: Failure::Build,
                message: "simulated".to_owned(),
                times: Times::default(),
            },
            Some(work) => {
                let run = Run { job, attempt, host, began: at };
                return self.begin_build(at, run, cores, work);
            }
        };
        self.tell(at, Event::Finished { job, attempt, outcome });
    }

    fn begin_build(&mut self, at: Time, run: Run, cores: u32, work: Span) {
        let has = self.hosts[run.host].cores;
        let parallel = self.parallel.get(run.job).copied().unwrap_or(0.0);
        // A job that cannot be spread keeps one core busy, however many it was given, and so does one on a
        // host of unknown size; 0 stands for all, and threads beyond all make nothing sooner or later.
        let cores = match (parallel > 0.0 && has > 0, cores) {
            (false, _) => 1,
            (true, 0) => has,
            (true, cores) => cores.min(has),
        };
        let part = self.chances.of_build(run.job, run.attempt).map_or(1.0, |(_, part)| part);
        let speed = self.speed(run.host, run.job);
        let micros = work.0 as f64 * part * crate::cost::amdahl(parallel, cores) / speed;
        if self.chances.of_talk(run.job).is_some() {
            self.queue.push(at + TALK, Due::Talk(run.host, run.job, run.attempt));
        }
        self.processors.begin(at, run, cores, micros, &mut self.forecasts);
        self.queue_forecasts(Due::Built);
    }

    fn talk(&mut self, at: Time, host: HostId, job: JobId, attempt: Attempt) {
        let part = self.processors.part_done(at, host, job, attempt);
        let Some((part, power)) = part.zip(self.chances.of_talk(job)) else { return };
        let permille = (part.powf(power) * 1000.0) as u16;
        self.tell(at, Event::Progress { job, attempt, permille });
        self.queue.push(at + TALK, Due::Talk(host, job, attempt));
    }

    fn built(&mut self, at: Time, index: u32) {
        let Some(run) = self.processors.end(at, index, &mut self.forecasts) else { return };
        self.queue_forecasts(Due::Built);
        let Run { job, attempt, host, began, .. } = run;
        let outcome = match self.chances.of_build(job, attempt) {
            Some((fault, _)) => Outcome::HostFailed { fault, message: "simulated".to_owned() },
            None => {
                self.stores.hold_outputs(host, job);
                self.success(job, at.since(began))
            }
        };
        self.tell(at + self.handling, Event::Finished { job, attempt, outcome });
    }

    fn success(&self, job: JobId, wall: Span) -> Outcome {
        let made = |&path: &PathId| Made {
            path,
            size: self.stores.size(path),
            refs: self.stores.refs(path).to_vec(),
        };
        let made = self.stores.outputs(job).iter().map(made).collect();
        Outcome::Built { made, times: Times { wall, ..Times::default() } }
    }

    fn cancel(&mut self, at: Time, job: JobId, attempt: Attempt, host: HostId) {
        if self.is_cut(host) {
            return;
        }
        if let Some(index) = self.processors.find(host, job, attempt) {
            self.processors.end(at, index, &mut self.forecasts);
            self.queue_forecasts(Due::Built);
        }
        self.tell(at, Event::Finished { job, attempt, outcome: Outcome::Cancelled });
    }

    fn stage(&mut self, at: Time, id: TransferId, from: Source, to: HostId, paths: &[PathId]) {
        let source = match from {
            Source::Host(host) => Some(host),
            Source::Substituter => None,
        };
        if self.is_cut(to) || source.is_some_and(|host| self.is_cut(host)) {
            return;
        }
        let bytes = self.stores.missing(to, paths);
        let transfer = Transfer { id, source, to, paths: paths.to_vec(), bytes, began: at, flow: None };
        let place = self.transfers.begin(transfer);
        self.queue.push(at + self.wires.latency(source, to), Due::Flow(place, id));
    }

    fn begin_flow(&mut self, at: Time, place: u32, id: TransferId) {
        let Some(transfer) = self.transfers.get_mut(place, id) else { return };
        let route = self.wires.route(transfer.source, transfer.to);
        let flow = self.network.begin(at, route.links(), transfer.bytes, &mut self.forecasts);
        transfer.flow = Some(flow);
        if flow as usize >= self.of_flow.len() {
            self.of_flow.resize(flow as usize + 1, place);
        }
        self.of_flow[flow as usize] = place;
        self.queue_forecasts(Due::Through);
    }

    fn end_transfer(&mut self, at: Time, place: u32) -> Option<Transfer> {
        let transfer = self.transfers.end(place)?;
        if let Some(flow) = transfer.flow {
            self.network.end(at, flow, &mut self.forecasts);
            self.queue_forecasts(Due::Through);
        }
        Some(transfer)
    }

    fn through(&mut self, at: Time, flow: u32) {
        let Some(done) = self.end_transfer(at, self.of_flow[flow as usize]) else { return };
        let has_all = done.source.is_none_or(|host| self.stores.holds_all(host, &done.paths));
        let failure = if has_all { self.chances.of_transfer(done.id) } else { Some(Side::Source) };
        let event = match failure {
            Some(side) => Event::StageFailed { transfer: done.id, side, cause: "simulated".to_owned() },
            None => {
                done.paths.iter().for_each(|&path| self.stores.hold(done.to, path));
                Event::Staged { transfer: done.id, bytes: done.bytes, took: at.since(done.began) }
            }
        };
        self.tell(at, event);
    }

    /// The link of a host is cut: all that it was doing is lost.
    fn cut(&mut self, at: Time, host: HostId) {
        self.cuts[host] += 1;
        for index in self.processors.on(host).to_vec() {
            let run = self.processors.end(at, index, &mut self.forecasts);
            self.told += 1;
            if let (Some(run), Some(later)) = (run, self.chances.of_echo(self.told)) {
                let outcome = self.success(run.job, at.since(run.began));
                self.at(at + later, Event::Finished { job: run.job, attempt: run.attempt, outcome });
            }
        }
        // Nothing is left to slow down.
        self.forecasts.clear();
        for place in self.transfers.of(host) {
            self.end_transfer(at, place);
        }
    }

    fn slow(&mut self, at: Time, Slowdown { host, pace, link, .. }: Slowdown) {
        self.processors.set_pace(at, host, pace, &mut self.forecasts);
        self.queue_forecasts(Due::Built);
        for (link, capacity) in self.wires.slowed(host, link) {
            self.network.set_capacity(at, link, capacity, &mut self.forecasts);
        }
        self.queue_forecasts(Due::Through);
    }

    /// Does what is due; the fact to tell, if it is one.
    fn carry_out(&mut self, at: Time, due: Due) -> Option<Event> {
        match due {
            Due::Tell(event) => return Some(*event),
            Due::Flow(place, id) => self.begin_flow(at, place, id),
            Due::Through(flow, stamp) if self.network.stands(flow, stamp) => self.through(at, flow),
            Due::Built(run, stamp) if self.processors.stands(run, stamp) => self.built(at, run),
            Due::Through(..) | Due::Built(..) => {}
            Due::Cut(host) => {
                self.cut(at, host);
                return Some(Event::HostLost { host, cause: "simulated".to_owned() });
            }
            Due::Mend(host) => self.cuts[host] -= 1,
            Due::Slow(slow) => self.slow(at, *slow),
            Due::Fill(host) => {
                self.full[host] = true;
                self.tell(at, Event::HostDrained { host, cause: "simulated: its disk is full".to_owned() });
            }
            Due::Talk(host, job, attempt) => self.talk(at, host, job, attempt),
        }
        None
    }
}

impl World for SimWorld<'_> {
    fn obey(&mut self, at: Time, order: &Order) {
        match order {
            Order::Build { job, attempt, host, cores, .. } => {
                self.build(at, *job, *attempt, *host, *cores);
            }
            Order::Stage { transfer, from, to, paths, .. } => self.stage(at, *transfer, *from, *to, paths),
            Order::Cancel { job, attempt, host, .. } => self.cancel(at, *job, *attempt, *host),
            Order::Probe { host } if self.is_cut(*host) => {
                self.at(at, Event::HostLost { host: *host, cause: "still cut".to_owned() });
            }
            Order::Probe { host } => self.connect(at, *host),
        }
    }

    fn next(&mut self, deadline: Option<Time>) -> (Time, Happening) {
        let until = deadline.unwrap_or(Time(u64::MAX));
        while let Some((time, which)) = self.queue.next(until) {
            self.now = self.now.max(time);
            let event = match which {
                Which::Now => self.queue.pop_now(),
                Which::Later => self.queue.pop_later().and_then(|due| self.carry_out(self.now, due)),
            };
            if let Some(event) = event {
                return (self.now, Happening::Fact(event));
            }
        }
        // Without a deadline nothing will ever happen; the user would end such a run.
        let end = if deadline.is_none() { Event::Interrupted } else { Event::DeadlineReached };
        self.now = self.now.max(deadline.unwrap_or(self.now));
        (self.now, Happening::Fact(end))
    }
}
