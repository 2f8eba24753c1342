//! What the scheduler knows of each host's health: connected slots, and when to try a lost one again.

use std::collections::{BTreeMap, BTreeSet};

use crate::base::{Span, Table, Time};
use crate::fleet::{Host, HostId, LinkSpeed, UsedSlots};
use crate::graph::JobId;
use crate::run::{Attempt, SlotId, bare_cause};

use super::policy::Policy;
use super::state::Jobs;

/// Whether a host can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Health {
    /// It has not answered yet.
    Connecting,
    /// At least one slot is connected.
    Up,
    /// It was lost; a probe is due at the time given.
    Lost { retry: Time },
    /// It was lost, and a probe is on its way.
    Probing,
    /// It cannot be used in this run.
    Refused,
}

#[derive(Clone, Debug)]
pub(super) struct HostState {
    pub health: Health,
    /// Connected slots, ascending, without those with older attempts.
    pub slots: Vec<SlotId>,
    /// Vain tries to reach it since it was last up.
    pub tries: u32,
    /// Why it takes no more jobs in this run, if it does not: up or away, it is there for its data only.
    drained: Option<String>,
    /// Why it was last lost or refused.
    trouble: String,
    /// The bandwidth when it last changed by much.
    pub bandwidth: u64,
}

impl HostState {
    /// Adds a slot; false if it was there.
    fn add(&mut self, slot: SlotId) -> bool {
        let place = self.slots.binary_search(&slot);
        if let Err(row) = place {
            self.slots.insert(row, slot);
        }
        place.is_err()
    }

    /// Takes a slot out; false if it was not there.
    fn remove(&mut self, slot: SlotId) -> bool {
        let place = self.slots.binary_search(&slot);
        if let Ok(row) = place {
            self.slots.remove(row);
        }
        place.is_ok()
    }
}

/// An attempt that goes on beside a newer one of the same job, or that is being ended. Its slot takes no job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Older {
    pub job: JobId,
    pub attempt: Attempt,
    pub cores: u32,
    pub since: Time,
    /// It was told to end.
    pub ends: bool,
}

/// All hosts of the run.
#[derive(Clone, Debug)]
pub(super) struct Hosts {
    pub spec: Table<HostId, Host>,
    used: UsedSlots,
    state: Table<HostId, HostState>,
    /// Slots in which jobs are built that have a newer attempt elsewhere, or were built there.
    older: BTreeMap<(HostId, SlotId), Older>,
    /// The hosts that are lost, probed, refused or drained: mostly none, and asked for at each step.
    ailing: BTreeSet<HostId>,
}

impl Hosts {
    pub fn new(spec: Table<HostId, Host>, policy: &Policy) -> Self {
        let state = spec
            .rows()
            .iter()
            .map(|host| HostState {
                health: Health::Connecting,
                slots: Vec::new(),
                tries: 0,
                drained: None,
                trouble: String::new(),
                bandwidth: host.link.bandwidth,
            })
            .collect();
        let used = UsedSlots::new(&spec, policy.jobs_per_core);
        Self { spec, used, state, older: BTreeMap::new(), ailing: BTreeSet::new() }
    }

    /// Notes how many cores a host has, and with that how many of its slots are used at a time.
    pub fn set_cores(&mut self, host: HostId, cores: u32) {
        self.spec[host].cores = cores;
        self.used.set_cores(host, cores);
    }

    /// How many slots are used at a time.
    pub fn used_slots(&self) -> &UsedSlots {
        &self.used
    }

    /// How long so many bytes take over the link on which that is longest.
    pub fn longest_way(&self, bytes: u64) -> Span {
        self.spec.rows().iter().map(|host| host.link.time(bytes)).max().unwrap_or_default()
    }

    pub fn is_up(&self, host: HostId) -> bool {
        self.state[host].health == Health::Up
    }

    /// Whether it is up and takes jobs.
    pub fn takes_jobs(&self, host: HostId) -> bool {
        self.is_up(host) && self.state[host].drained.is_none()
    }

    /// Why a host takes no more jobs in this run, if it was drained.
    pub fn drained(&self, host: HostId) -> Option<&str> {
        self.state[host].drained.as_deref()
    }

    /// A host takes no more jobs in this run, whatever becomes of its connections. False if that was known.
    pub fn drain(&mut self, host: HostId, cause: &str) -> bool {
        let drained = &mut self.state[host].drained;
        let new = drained.is_none();
        drained.get_or_insert_with(|| cause.to_owned());
        self.ailing.insert(host);
        new
    }

    /// The connected slots of a host that may be given to jobs, ascending, and no more than are used at a time; `None`
    /// of a host that takes no more jobs.
    pub fn vacant<'a>(&'a self, host: HostId, jobs: &'a Jobs) -> Option<impl Iterator<Item = SlotId> + 'a> {
        let state = &self.state[host];
        let slots = state.slots.iter().copied().filter(move |&slot| !jobs.is_taken(host, slot));
        state.drained.is_none().then(|| slots.take(self.room(host, jobs)))
    }

    /// How many more jobs may have a slot of a host.
    fn room(&self, host: HostId, jobs: &Jobs) -> usize {
        let used = self.used.of(host) as usize;
        if self.used.is_limited(host) { used.saturating_sub(self.going_on(host, jobs)) } else { usize::MAX }
    }

    /// How many jobs have to leave a host before one leaves a slot to another: it may have turned out to have fewer
    /// cores than it has jobs.
    pub fn surplus(&self, host: HostId, jobs: &Jobs) -> usize {
        let used = self.used.of(host) as usize;
        if self.used.is_limited(host) { self.going_on(host, jobs).saturating_sub(used) } else { 0 }
    }

    /// How many attempts a host has that were not told to end.
    fn going_on(&self, host: HostId, jobs: &Jobs) -> usize {
        jobs.seated_on(host).count() + self.older_on(host).filter(|older| !older.ends).count()
    }

    pub fn slots(&self, host: HostId) -> &[SlotId] {
        &self.state[host].slots
    }

    /// A slot is connected. False if the host is refused, or has no such slot.
    pub fn slot_up(&mut self, host: HostId, slot: SlotId) -> bool {
        let Some(spec) = self.spec.get(host) else { return false };
        if self.state[host].health == Health::Refused || slot.0 >= spec.slots {
            return false;
        }
        let state = &mut self.state[host];
        state.health = Health::Up;
        state.tries = 0;
        if state.drained.is_none() {
            self.ailing.remove(&host);
        }
        // A new connection has no old build.
        self.older.remove(&(host, slot));
        state.add(slot)
    }

    /// Leaves a slot to an attempt that is no longer its job's newest, until that is over.
    pub fn set_aside(&mut self, host: HostId, slot: SlotId, older: Older) {
        if self.state[host].remove(slot) {
            self.older.insert((host, slot), older);
        }
    }

    /// The attempts on a host that are not their jobs' newest.
    pub fn older_on(&self, host: HostId) -> impl Iterator<Item = &Older> {
        self.older.range((host, SlotId(0))..=(host, SlotId(u32::MAX))).map(|(_, older)| older)
    }

    /// The attempts that go on beside newer ones, and where.
    pub fn all_older(&self) -> impl Iterator<Item = (HostId, SlotId, Older)> + '_ {
        self.older.iter().map(|(&(host, slot), &older)| (host, slot, older))
    }

    /// Notes that an attempt is told to end which goes on beside a job's newest one: where, and which.
    pub fn end_older(&mut self, job: JobId) -> Option<(HostId, SlotId, Attempt)> {
        let goes_on = |older: &Older| older.job == job && !older.ends;
        let (&(host, slot), older) = self.older.iter_mut().find(|(_, older)| goes_on(older))?;
        older.ends = true;
        Some((host, slot, older.attempt))
    }

    /// An attempt that was not its job's newest is over: its slot can take jobs again.
    pub fn older_over(&mut self, job: JobId, attempt: Attempt) -> Option<(HostId, SlotId, Older)> {
        let known = |(_, _, older): &(HostId, SlotId, Older)| (older.job, older.attempt) == (job, attempt);
        let (host, slot, older) = self.all_older().find(known)?;
        self.older.remove(&(host, slot));
        self.state[host].add(slot);
        Some((host, slot, older))
    }

    /// A host is lost: its slots are gone, and the next probe is due after a wait that doubles each
    /// time. False if that was known.
    pub fn lost(&mut self, at: Time, host: HostId, cause: &str, policy: &Policy) -> bool {
        let state = &mut self.state[host];
        if matches!(state.health, Health::Lost { .. } | Health::Refused) {
            return false;
        }
        cause.clone_into(&mut state.trouble);
        let wait = policy.first_retry.scale(f64::from(1u32 << state.tries.min(16)));
        state.tries += 1;
        state.health = Health::Lost { retry: at + wait.min(policy.last_retry) };
        self.disconnect(host);
        true
    }

    /// A host is out for this run.
    pub fn refused(&mut self, host: HostId, cause: &str) {
        cause.clone_into(&mut self.state[host].trouble);
        self.state[host].health = Health::Refused;
        self.disconnect(host);
    }

    /// A host's slots are gone, with all that was built in them.
    fn disconnect(&mut self, host: HostId) {
        self.state[host].slots.clear();
        self.older.retain(|&(on, _), _| on != host);
        self.ailing.insert(host);
    }

    /// The lost hosts whose probe is due; they count as probing from now on.
    pub fn due(&mut self, at: Time) -> Vec<HostId> {
        let is_due = |health: Health| matches!(health, Health::Lost { retry } if retry <= at);
        let ailing = self.ailing.iter().copied();
        let due: Vec<HostId> = ailing.filter(|&host| is_due(self.state[host].health)).collect();
        for &host in &due {
            self.state[host].health = Health::Probing;
        }
        due
    }

    /// When the next probe is due.
    pub fn next_retry(&self) -> Option<Time> {
        let retry = |&host: &HostId| match self.state[host].health {
            Health::Lost { retry } => Some(retry),
            _ => None,
        };
        self.ailing.iter().filter_map(retry).min()
    }

    /// Why none of these hosts, all of them out of hope, is left for a job. Of many, the first are named.
    pub fn why_hopeless(&self, hosts: &[HostId]) -> String {
        const NAMED: usize = 4;
        let why = |&host: &HostId| {
            let (name, state) = (&self.spec[host].name, &self.state[host]);
            let trouble = bare_cause(name, &state.trouble);
            match (&state.drained, state.health) {
                (Some(why), _) => format!("{name} takes no more jobs: {}", bare_cause(name, why)),
                (None, Health::Refused) => format!("{name} cannot be used: {trouble}"),
                (None, _) => format!("{name} is lost: {trouble}"),
            }
        };
        let mut words: Vec<String> = hosts.iter().take(NAMED).map(why).collect();
        match hosts.len().saturating_sub(NAMED) {
            0 if hosts.is_empty() => words.push("no host that could build it is left".to_owned()),
            0 => {}
            more => words.push(format!("and {more} more hosts that could build it are not left either")),
        }
        words.join("; ")
    }

    /// Whether some host is out of hope; only then can a job be.
    pub fn any_hopeless(&self, policy: &Policy) -> bool {
        self.ailing.iter().any(|&host| !self.has_hope(host, policy))
    }

    /// Whether the host is up for jobs or may yet be.
    pub fn has_hope(&self, host: HostId, policy: &Policy) -> bool {
        if self.state[host].drained.is_some() {
            return false;
        }
        match self.state[host].health {
            Health::Up | Health::Connecting => true,
            Health::Lost { .. } | Health::Probing => self.state[host].tries < policy.host_tries,
            Health::Refused => false,
        }
    }

    /// Audits which hosts count as ailing.
    pub fn check(&self) -> Result<(), String> {
        let is_well =
            |s: &HostState| matches!(s.health, Health::Up | Health::Connecting) && s.drained.is_none();
        let ailing = self.state.iter().filter(|(_, state)| !is_well(state)).map(|(host, _)| host);
        if !ailing.eq(self.ailing.iter().copied()) {
            return Err("the hosts that count as ailing are others".to_owned());
        }
        Ok(())
    }

    /// Takes in how fast a link really was: a mean in which the newest transfer counts for 0.3. What is
    /// too small to say anything about bandwidth is passed over, and so is this machine's own link. Returns whether it
    /// has changed by more than half since that was last so: what rests on it is to be worked out anew.
    pub fn measured(&mut self, host: HostId, bytes: u64, took: Span) -> bool {
        const TELLING: u64 = 1 << 20;
        const WEIGHT: f64 = 0.3;
        let link = &mut self.spec[host].link;
        if bytes < TELLING || took == Span::ZERO || link.bandwidth == 0 {
            return false;
        }
        let rate = bytes as f64 / took.as_secs_f64();
        let mean = (link.bandwidth as f64).ln() * (1.0 - WEIGHT) + rate.ln() * WEIGHT;
        // Whole kilobytes, so that last digits of a logarithm never decide.
        link.bandwidth = ((mean.exp() / 1e3).round() * 1e3).max(1e3) as u64;
        let (now, known) = (link.bandwidth, &mut self.state[host].bandwidth);
        let much = now.abs_diff(*known) > *known / 2;
        if much {
            *known = now;
        }
        much
    }

    /// The links as they were when each last changed by much.
    pub fn known_links(&self) -> Table<HostId, LinkSpeed> {
        let known =
            |(host, spec): (HostId, &Host)| LinkSpeed { bandwidth: self.state[host].bandwidth, ..spec.link };
        self.spec.iter().map(known).collect()
    }
}
