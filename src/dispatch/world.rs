//! The real world: slot threads, transfers and signals behind the [`World`] trait.
//!
//! Translates orders into work for threads and their reports into facts. What it keeps is only what is
//! needed for that: which slot runs which attempt, and which epoch of a host's connections counts.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, Sender, after, bounded, select, unbounded};

use super::build::BuildContext;
use super::drains::Drains;
use super::gather::{self, Guest};
use super::limits::{Limits, Progress};
use super::retries::Retries;
use super::session::Trouble;
use super::slot::{Ended, Letter, Report, Shared, Task};
use super::stager::Stager;
use super::transfer::Delivery;
use crate::base::{Table, Time};
use crate::drive::{Happening, World};
use crate::fleet::HostId;
use crate::graph::JobId;
use crate::run::{Attempt, Event, HostFault, Note, Order, Outcome, SlotId};

/// One slot as the world sees it.
pub(super) struct Slot {
    pub tasks: Sender<Task>,
    pub shared: Arc<Shared>,
}

/// One host as the world sees it.
pub(super) struct HostHandle {
    pub slots: Table<SlotId, Slot>,
    pub epoch: u32,
    pub state: HostState,
    /// Slots that connected before the host was announced.
    pub connected: Vec<SlotId>,
    /// When its first slot was connected, since the run's epoch.
    pub answered: Option<Duration>,
}

/// How far the connection to a host is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HostState {
    /// Nobody has answered yet.
    Connecting,
    /// It was asked what it has.
    Asking,
    /// The scheduler knows of it.
    Up,
    /// Lost or refused.
    Down,
}

/// How often whoever shows the run is told that time passes.
const TICK: Duration = Duration::from_millis(100);

/// So many unread letters make their writers wait: a build may talk faster than it can be shown.
const LETTERS: usize = 4096;

struct Running {
    job: JobId,
    attempt: Attempt,
}

/// Hosts, transfers and the user's signals.
pub struct RealWorld {
    /// The epoch of the slots' activity clocks.
    pub(super) zero: Instant,
    /// When the run began.
    pub(super) began: Instant,
    pub(super) hosts: Table<HostId, HostHandle>,
    pub(super) letters: Receiver<Letter>,
    pub(super) deliveries: Receiver<Delivery>,
    pub(super) interrupts: Receiver<()>,
    pub(super) stager: Stager,
    pub(super) context: Arc<BuildContext>,
    pub(super) limits: Limits,
    /// Hosts that have not answered are still waited for.
    gathering: bool,
    /// For each job the hosts that can build it.
    eligible: Table<JobId, Vec<HostId>>,
    /// When time is next told to pass.
    next_tick: Instant,
    running: BTreeMap<(HostId, SlotId), Running>,
    retries: Retries,
    drains: Drains,
    pending: std::collections::VecDeque<Happening>,
}

/// The channels of a world, for those who report to it.
pub(super) struct Inbox {
    pub letters: (Sender<Letter>, Receiver<Letter>),
    pub deliveries: (Sender<Delivery>, Receiver<Delivery>),
}

impl Inbox {
    pub fn new() -> Self {
        Self { letters: bounded(LETTERS), deliveries: unbounded() }
    }
}

impl RealWorld {
    #[expect(clippy::too_many_arguments, reason = "called once, by the one who makes all the parts")]
    pub(super) fn new(
        zero: Instant,
        hosts: Table<HostId, HostHandle>,
        letters: Receiver<Letter>,
        deliveries: Receiver<Delivery>,
        interrupts: Receiver<()>,
        stager: Stager,
        context: Arc<BuildContext>,
        limits: Limits,
        eligible: Table<JobId, Vec<HostId>>,
    ) -> Self {
        Self {
            zero,
            began: Instant::now(),
            hosts,
            letters,
            deliveries,
            interrupts,
            stager,
            context,
            limits,
            gathering: true,
            eligible,
            next_tick: Instant::now() + TICK,
            running: BTreeMap::new(),
            retries: Retries::default(),
            drains: Drains::default(),
            pending: std::collections::VecDeque::new(),
        }
    }

    fn now(&self) -> Time {
        Time(u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX))
    }

    fn fact(&mut self, event: Event) {
        self.pending.push_back(Happening::Fact(event));
    }

    /// That a host is lost has to be known before the transfers that failed, or it would be taken to lack
    /// what it has.
    fn take_delivery(&mut self, delivery: Delivery) {
        self.stager.delivered(&delivery);
        // Whether a host that builds is lost will be seen by its builds, unless it does not answer at all.
        let builds = |host: HostId| self.running.keys().any(|(h, _)| *h == host);
        let may = |host: HostId, trouble: &Trouble| {
            self.hosts[host].state == HostState::Up && (trouble.silent || !builds(host))
        };
        if let Some((host, trouble)) = self.stager.lost_by(&delivery, may) {
            self.lose(host, &trouble);
        }
        let to = delivery.way.1;
        let full = delivery.events.iter().find_map(|event| self.drains.transfer(to, event));
        self.pending.extend(full.into_iter().chain(delivery.events).map(Happening::Fact));
    }

    fn take_letter(&mut self, Letter { host, slot, report }: Letter) {
        let current = self.hosts[host].epoch;
        match report {
            Report::Connected { epoch, at } if epoch == current => self.connected(host, slot, at),
            Report::Failed { epoch, trouble } if epoch == current => self.connect_failed(host, slot, trouble),
            Report::Holds { epoch, paths } if epoch == current => self.announce(host, paths),
            Report::Cores { cores } => self.fact(Event::HostCores { host, cores }),
            Report::Fact(event) => self.fact(event),
            Report::Note(note) => self.pending.push_back(Happening::Note(note)),
            Report::Mute { epoch, trouble } if epoch == current => self.lose(host, &trouble),
            Report::Over { job, attempt, outcome, lost } => {
                // A build from before the host was lost says nothing about the connections it has now.
                let known = self.running.remove(&(host, slot)).is_some();
                if known {
                    self.judge_host(host, &outcome, lost);
                }
                self.fact(Event::Finished { job, attempt, outcome });
            }
            // From before the host was lost.
            Report::Connected { .. } | Report::Failed { .. } | Report::Mute { .. } | Report::Holds { .. } => {
            }
        }
    }

    /// What the end of a build says about its host. That a host is lost has to be known before its slot
    /// is free, or the next job would be given to it.
    fn judge_host(&mut self, host: HostId, outcome: &Outcome, lost: Option<Trouble>) {
        if let Some(drained) = self.drains.build(host, outcome) {
            self.fact(drained);
        }
        if let Some(text) = super::refusal(outcome).map(str::to_owned) {
            self.lose(host, &Trouble::lasting(text));
        } else if let Some(trouble) = lost {
            self.lose(host, &trouble);
        } else if matches!(outcome, Outcome::HostFailed { fault: HostFault::MissingInputs, .. }) {
            self.stager.doubt(host);
        }
    }

    fn connected(&mut self, host: HostId, slot: SlotId, at: Duration) {
        self.retries.connected(host, slot);
        match self.hosts[host].state {
            HostState::Connecting => {
                let handle = &mut self.hosts[host];
                handle.state = HostState::Asking;
                handle.answered = Some(at);
                handle.connected.push(slot);
                let context = Arc::clone(&self.context);
                // A slot's thread ends only with the world.
                let _ = handle.slots[slot].tasks.send(Task::Holds { epoch: handle.epoch, context });
            }
            HostState::Asking => self.hosts[host].connected.push(slot),
            HostState::Up => self.fact(Event::SlotUp { host, slot }),
            HostState::Down => {}
        }
    }

    fn announce(&mut self, host: HostId, paths: Vec<crate::graph::PathId>) {
        self.hosts[host].state = HostState::Up;
        self.fact(Event::HostHolds { host, paths });
        for slot in std::mem::take(&mut self.hosts[host].connected) {
            self.fact(Event::SlotUp { host, slot });
        }
    }

    /// One slot that cannot connect is a warning while others can, and tried again; the last one loses the
    /// host.
    fn connect_failed(&mut self, host: HostId, slot: SlotId, trouble: Trouble) {
        let tries = self.retries.failed(host, slot, Instant::now(), trouble.passing);
        let handle = &self.hosts[host];
        let all = self.retries.away(host) >= handle.slots.len();
        match handle.state {
            HostState::Connecting if all || !trouble.passing => self.lose(host, &trouble),
            // Once is often only sshd's limit on connections that have not logged in.
            HostState::Asking | HostState::Up if tries == 2 || !trouble.passing => {
                self.pending.push_back(Happening::Note(Note::Warning {
                    text: format!("one of its slots cannot connect: {}", trouble.text),
                }));
            }
            HostState::Connecting | HostState::Asking | HostState::Up | HostState::Down => {}
        }
    }

    /// Tries the slots again whose wait is over.
    fn retry_slots(&mut self) {
        for (host, slot) in self.retries.due(Instant::now()) {
            let handle = &self.hosts[host];
            let _ = handle.slots[slot].tasks.send(Task::Connect { epoch: handle.epoch });
        }
    }

    /// Declares a host lost: cuts what is left of its connections and tells the scheduler.
    fn lose(&mut self, host: HostId, trouble: &Trouble) {
        let handle = &mut self.hosts[host];
        handle.state = HostState::Down;
        handle.epoch += 1;
        handle.connected.clear();
        for (_, slot) in handle.slots.iter() {
            slot.shared.cut();
        }
        self.running.retain(|(h, _), _| *h != host);
        self.retries.forget(host);
        self.stager.forget(host);
        let cause = trouble.text.clone();
        self.fact(match trouble.passing {
            true => Event::HostLost { host, cause },
            false => Event::HostRefused { host, cause },
        });
    }

    fn connect(&mut self, host: HostId) {
        let handle = &mut self.hosts[host];
        handle.state = HostState::Connecting;
        for (_, slot) in handle.slots.iter() {
            let _ = slot.tasks.send(Task::Connect { epoch: handle.epoch });
        }
    }

    /// Ends builds that are over their limits; returns when to look again.
    fn enforce_limits(&mut self) -> Option<Duration> {
        let now = self.zero.elapsed();
        let mut next: Option<Duration> = None;
        for ((host, slot), run) in &self.running {
            let shared = &self.hosts[*host].slots[*slot].shared;
            let (began, building) = match shared.progress() {
                Progress::Asked(since) => (since, false),
                Progress::Building(since) => (since, true),
                Progress::Waiting(_) => continue,
            };
            let last = shared.last_activity().max(began);
            match self.limits.exceeded(now, began, last) {
                Some(message) if building => shared.end(run.job, run.attempt, Ended::TimedOut(message)),
                Some(message) => {
                    let message = format!("its Nix had not begun to build it: {message}");
                    shared.end(run.job, run.attempt, Ended::NotBegun(message));
                }
                None => next = next.into_iter().chain(self.limits.next_look(began, last)).min(),
            }
        }
        next
    }

    /// Until when hosts that have not answered are waited for; `None` for no longer.
    fn gather_until(&self) -> Option<Instant> {
        if !self.gathering {
            return None;
        }
        let until = self.zero + self.patience_with_hosts()?;
        if Instant::now() < until { Some(until) } else { None }
    }

    /// Until when hosts are waited for, since the run's epoch.
    fn patience_with_hosts(&self) -> Option<Duration> {
        // Without jobs there is nothing that a host could do.
        if self.eligible.is_empty() {
            return None;
        }
        let guest = |(id, host): (HostId, &HostHandle)| Guest {
            home: id == HostId::HOME,
            state: host.state,
            answered: host.answered,
        };
        let guests: Vec<Guest> =
            self.hosts.iter().filter(|(_, host)| !host.slots.is_empty()).map(guest).collect();
        let up = |host: &HostId| matches!(self.hosts[*host].state, HostState::Asking | HostState::Up);
        let enough = self.eligible.rows().iter().all(|hosts| hosts.iter().any(up));
        gather::until(self.began.duration_since(self.zero), &guests, enough)
    }

    /// Waits for a message until `deadline`. Whichever is there first: letters, of which a chatty build
    /// writes many, must not keep deliveries from being taken.
    fn wait(&mut self, deadline: Instant) {
        let timeout = after(deadline.saturating_duration_since(Instant::now()));
        if self.interrupts.try_recv().is_ok() {
            return self.fact(Event::Interrupted);
        }
        select! {
            recv(self.interrupts) -> _ => self.fact(Event::Interrupted),
            recv(self.letters) -> letter => {
                if let Ok(letter) = letter {
                    self.take_letter(letter);
                }
            }
            recv(self.deliveries) -> delivery => {
                if let Ok(delivery) = delivery {
                    self.take_delivery(delivery);
                }
            }
            recv(timeout) -> _ => {}
        }
    }
}

impl World for RealWorld {
    fn obey(&mut self, _at: Time, order: &Order) {
        match order {
            Order::Build { job, attempt, host, slot, cores, .. } => {
                let run = Running { job: *job, attempt: *attempt };
                self.running.insert((*host, *slot), run);
                let context = Arc::clone(&self.context);
                let slot = &self.hosts[*host].slots[*slot];
                slot.shared.assign((*job, *attempt), self.zero.elapsed());
                let _ = slot.tasks.send(Task::Build { job: *job, attempt: *attempt, cores: *cores, context });
                self.stager.warm(*host);
            }
            Order::Stage { transfer, from, to, paths, .. } => {
                self.stager.stage(*transfer, *from, *to, paths.clone());
            }
            Order::Cancel { job, attempt, host, slot } => {
                self.hosts[*host].slots[*slot].shared.end(*job, *attempt, Ended::Cancelled);
            }
            Order::Probe { host } => self.connect(*host),
        }
    }

    fn next(&mut self, deadline: Option<Time>) -> (Time, Happening) {
        let deadline = deadline.map(|d| self.began + Duration::from_micros(d.0));
        loop {
            if let Some(happening) = self.pending.pop_front() {
                return (self.now(), happening);
            }
            let gather_until = self.gather_until();
            if self.gathering && gather_until.is_none() {
                self.gathering = false;
                self.fact(Event::FleetReady);
                continue;
            }
            self.retry_slots();
            let look = self.enforce_limits().map(|d| self.zero + d);
            // Looked at first: a build that never stops talking must not stop the clock.
            let now = Instant::now();
            if deadline.is_some_and(|d| now >= d) {
                return (self.now(), Happening::Fact(Event::DeadlineReached));
            }
            if now >= self.next_tick {
                self.next_tick = now + TICK;
                return (self.now(), Happening::Tick);
            }
            let times = [deadline, look, gather_until, self.retries.next()];
            let until = times.into_iter().flatten().fold(self.next_tick, Instant::min);
            self.wait(until);
        }
    }
}
