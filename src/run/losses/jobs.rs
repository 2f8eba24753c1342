//! Which jobs could run, where their inputs are going, and what the run waits for most.
//!
//! A reconstruction from events and orders alone: a job is done when one of its outputs can be had, and
//! ready when it is needed and all that it needs is done. What a path brings along in its closure is
//! not followed, so after a loss a job may be thought to be needed that is not.

use std::cmp::Reverse;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use super::super::event::Made;
use super::super::order::{Source, TransferId};
use crate::base::{Span, Table};
use crate::cost::Cost;
use crate::fleet::HostId;
use crate::graph::{JobId, Origin, PathId, Users, Workload, needed_jobs, upward_ranks};

/// What the run waits for: the state of the job with the longest way before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lead {
    /// It lost its host, or its outputs were lost.
    Struck,
    /// It has a slot.
    Running(JobId),
    /// Its inputs are on their way.
    Arriving,
    /// It could be built.
    Ready,
    /// There is none, and something is on its way.
    GoingHome,
    /// There is none, and a host is away.
    HostsAway,
    /// There is none.
    Nothing,
}

/// One job.
#[derive(Clone, Debug, Default)]
struct Status {
    class: usize,
    /// Needs that are not done.
    open: usize,
    needed: bool,
    done: bool,
    failed: bool,
    /// Attempts under way.
    begun: u32,
    struck: bool,
    /// Whether it is counted as ready.
    ready: bool,
    /// Where inputs of it are going while it is ready, and in how many transfers.
    inbound: BTreeMap<HostId, u32>,
}

/// All jobs.
#[derive(Clone, Debug)]
pub(super) struct Jobs {
    work: Workload,
    rank: Table<JobId, Span>,
    /// Sets of hosts that may build the same jobs, smallest first.
    classes: Vec<Vec<HostId>>,
    status: Table<JobId, Status>,
    users: Users<JobId>,
    readers: Users<PathId>,
    /// Where paths are going, and in how many transfers.
    coming: BTreeMap<(PathId, HostId), u32>,
    /// Ready jobs by class, those that nothing is on its way for.
    loose: Vec<u32>,
    /// Ready jobs by class, for which something is on its way to the host.
    arriving: Table<HostId, Vec<u32>>,
    /// Jobs that are ready or begun, longest way first.
    ahead: BTreeSet<(Reverse<Span>, JobId)>,
    transfers: BTreeMap<TransferId, (Source, HostId, Vec<PathId>)>,
    held: Table<HostId, BTreeSet<PathId>>,
    up: Table<HostId, bool>,
    /// Whether it was up and is away.
    away: Table<HostId, bool>,
    /// On how many hosts that are up a path is.
    copies: Table<PathId, u32>,
}

impl Jobs {
    pub(super) fn new(
        work: &Workload,
        hosts: usize,
        estimates: &Table<JobId, Cost>,
        eligible: &Table<JobId, Vec<HostId>>,
    ) -> Jobs {
        let hosts_of = |job: JobId| eligible.get(job).cloned().unwrap_or_default();
        let mut classes: Vec<Vec<HostId>> = work.jobs.ids().map(hosts_of).collect();
        classes.sort_unstable_by(|a, b| (a.len(), a).cmp(&(b.len(), b)));
        classes.dedup();
        let class_of = |job| {
            let own = hosts_of(job);
            let row = classes.binary_search_by(|class| (class.len(), class).cmp(&(own.len(), &own)));
            Status { class: row.unwrap_or_default(), ..Status::default() }
        };
        let medians = estimates.rows().iter().map(|cost| cost.median).collect();
        let mut jobs = Jobs {
            rank: upward_ranks(work, &medians),
            status: work.jobs.ids().map(class_of).collect(),
            users: Users::of_jobs(work),
            readers: Users::of_paths(work),
            coming: BTreeMap::new(),
            loose: vec![0; classes.len()],
            arriving: Table::filled(hosts, vec![0; classes.len()]),
            ahead: BTreeSet::new(),
            transfers: BTreeMap::new(),
            held: Table::filled(hosts, BTreeSet::new()),
            up: Table::filled(hosts, false),
            away: Table::filled(hosts, false),
            copies: Table::filled(work.paths.len(), 0),
            work: work.clone(),
            classes,
        };
        jobs.host_up(HostId::HOME);
        let home = work.paths.iter().filter(|(_, spec)| spec.origin == Origin::Home).map(|(id, _)| id);
        home.for_each(|path| jobs.hold(HostId::HOME, path));
        jobs
    }

    /// Ready jobs by class that nothing is on its way for.
    pub(super) fn loose(&self) -> &[u32] {
        &self.loose
    }

    /// For how many of the `idle` slots of a host there is a ready job whose inputs are coming; those for
    /// which there is no slot go into the pool.
    pub(super) fn take_arriving(&self, host: HostId, idle: u32, pool: &mut [u32]) -> u32 {
        let mut left = idle;
        for (&coming, pool) in self.arriving[host].iter().zip(pool) {
            let taken = coming.min(left);
            left -= taken;
            *pool += coming - taken;
        }
        idle - left
    }

    /// For how many of the `free` slots of a host there is a ready job in the pool; takes these out.
    pub(super) fn take_loose(&self, host: HostId, free: u32, pool: &mut [u32]) -> u32 {
        let mut left = free;
        for (class, pool) in self.classes.iter().zip(pool).filter(|(class, _)| class.contains(&host)) {
            debug_assert!(!class.is_empty());
            let taken = (*pool).min(left);
            left -= taken;
            *pool -= taken;
        }
        free - left
    }

    /// What the run waits for most.
    pub(super) fn lead(&self) -> Lead {
        match self.ahead.first() {
            Some(&(_, job)) => match &self.status[job] {
                Status { struck: true, .. } => Lead::Struck,
                Status { begun: 1.., .. } => Lead::Running(job),
                Status { inbound, .. } if !inbound.is_empty() => Lead::Arriving,
                _ => Lead::Ready,
            },
            None if !self.transfers.is_empty() => Lead::GoingHome,
            None if self.away.rows().contains(&true) => Lead::HostsAway,
            None => Lead::Nothing,
        }
    }

    /// A slot of the host is connected.
    pub(super) fn host_up(&mut self, host: HostId) {
        if self.up.get(host) == Some(&false) {
            (self.up[host], self.away[host]) = (true, false);
            self.held[host].iter().for_each(|&path| self.copies[path] += 1);
        }
    }

    /// The host says what it has. Of this machine only what is added counts.
    pub(super) fn holds(&mut self, host: HostId, paths: &[PathId]) {
        if host != HostId::HOME {
            let before = std::mem::take(&mut self.held[host]);
            if self.up[host] {
                before.iter().for_each(|&path| self.copies[path] -= 1);
            }
        }
        paths.iter().for_each(|&path| self.hold(host, path));
    }

    /// The host is gone, with what was going there or coming from there.
    pub(super) fn host_lost(&mut self, host: HostId) {
        let concerned = |(from, to, _): &(Source, HostId, _)| *to == host || *from == Source::Host(host);
        let lost: Vec<TransferId> =
            self.transfers.iter().filter(|(_, t)| concerned(t)).map(|(id, _)| *id).collect();
        lost.into_iter().for_each(|transfer| self.arrived(transfer, false));
        // This machine's store stays readable.
        if host != HostId::HOME && self.up[host] {
            (self.up[host], self.away[host]) = (false, true);
            self.held[host].iter().for_each(|&path| self.copies[path] -= 1);
        }
    }

    /// A transfer begins.
    pub(super) fn leaving(&mut self, id: TransferId, from: Source, to: HostId, paths: &[PathId]) {
        // A number that comes again would be counted twice.
        self.arrived(id, false);
        for &path in paths {
            self.inbound(path, to, true);
        }
        self.transfers.insert(id, (from, to, paths.to_vec()));
    }

    /// A transfer ends, well or not.
    pub(super) fn arrived(&mut self, id: TransferId, well: bool) {
        let Some((_, to, paths)) = self.transfers.remove(&id) else { return };
        for &path in &paths {
            self.inbound(path, to, false);
            if well {
                self.hold(to, path);
            }
        }
    }

    fn inbound(&mut self, path: PathId, to: HostId, more: bool) {
        change(&mut self.coming, (path, to), more);
        for i in 0..self.readers.of(path).len() {
            let job = self.readers.of(path)[i];
            // Nobody asks what comes for the others.
            if !self.status[job].ready {
                continue;
            }
            let Status { class, ref mut inbound, .. } = self.status[job];
            let (was_loose, was_coming) = (inbound.is_empty(), inbound.contains_key(&to));
            change(inbound, to, more);
            let (is_loose, is_coming) = (inbound.is_empty(), inbound.contains_key(&to));
            self.loose[class] = self.loose[class] + u32::from(is_loose) - u32::from(was_loose);
            let arriving = &mut self.arriving[to][class];
            *arriving = *arriving + u32::from(is_coming) - u32::from(was_coming);
        }
    }

    /// Where inputs of a job are going, and in how many transfers.
    fn inbound_of(&self, job: JobId) -> BTreeMap<HostId, u32> {
        let mut inbound = BTreeMap::new();
        if self.coming.is_empty() {
            return inbound;
        }
        for &path in &self.work.jobs[job].inputs {
            for (&(_, to), n) in self.coming.range((path, HostId(0))..=(path, HostId(u32::MAX))) {
                *inbound.entry(to).or_default() += n;
            }
        }
        inbound
    }

    fn hold(&mut self, host: HostId, path: PathId) {
        if self.held[host].insert(path) && self.up[host] {
            self.copies[path] += 1;
        }
    }

    /// An attempt begins.
    pub(super) fn begin(&mut self, job: JobId) {
        self.status[job].begun += 1;
        self.refresh(job);
    }

    /// An attempt is over without a result; `struck` if a host is to blame.
    pub(super) fn ended(&mut self, job: JobId, struck: bool) {
        let status = &mut self.status[job];
        status.begun = status.begun.saturating_sub(1);
        status.struck |= struck;
        self.refresh(job);
    }

    /// It does not build.
    pub(super) fn failed(&mut self, job: JobId) {
        self.status[job].failed = true;
        self.ended(job, false);
    }

    /// It is built.
    pub(super) fn built(&mut self, job: JobId, host: HostId, made: &[Made]) {
        made.iter().for_each(|made| self.hold(host, made.path));
        self.status[job].struck = false;
        if !std::mem::replace(&mut self.status[job].done, true) {
            for i in 0..self.users.of(job).len() {
                let user = self.users.of(job)[i];
                self.status[user].open = self.status[user].open.saturating_sub(1);
                self.refresh(user);
            }
        }
        self.ended(job, false);
    }

    /// Works out anew what is done and what is needed, from what the hosts have.
    pub(super) fn review(&mut self) {
        let copies = &self.copies;
        let at_hand = |path: PathId| match self.work.paths[path].origin {
            Origin::Job(_) => copies[path] > 0,
            Origin::Home | Origin::Substituter => true,
        };
        let home = &self.held[HostId::HOME];
        let unmet = self.work.wanted.iter().copied().filter(|path| !home.contains(path));
        let needed = needed_jobs(&self.work, unmet, at_hand);
        let done: Table<JobId, bool> =
            self.work.jobs.iter().map(|(_, job)| job.outputs.iter().any(|&p| copies[p] > 0)).collect();
        for job in self.work.jobs.ids() {
            let status = &mut self.status[job];
            if status.done && !done[job] {
                status.struck = true;
            }
            (status.done, status.needed) = (done[job], needed[job]);
            status.open = self.work.jobs[job].needs.iter().filter(|&&need| !done[need]).count();
            self.refresh(job);
        }
    }

    /// Counts a job as what it now is.
    fn refresh(&mut self, job: JobId) {
        let Status { open, needed, done, failed, begun, .. } = self.status[job];
        let ready = needed && open == 0 && !done && !failed && begun == 0;
        if ready != self.status[job].ready {
            self.count(job, false);
            self.status[job].inbound = if ready { self.inbound_of(job) } else { BTreeMap::new() };
            self.status[job].ready = ready;
            self.count(job, true);
        }
        let key = (Reverse(self.rank[job]), job);
        if ready || begun > 0 {
            self.ahead.insert(key);
        } else {
            self.ahead.remove(&key);
        }
    }

    /// Adds a ready job to the counts, or takes it out.
    fn count(&mut self, job: JobId, add: bool) {
        let Status { class, ready, ref inbound, .. } = self.status[job];
        if !ready {
            return;
        }
        let change = |n: &mut u32| *n = if add { *n + 1 } else { n.saturating_sub(1) };
        if inbound.is_empty() {
            change(&mut self.loose[class]);
        }
        for &host in inbound.keys() {
            change(&mut self.arriving[host][class]);
        }
    }
}

/// Counts one more or one less; what is not there counts as none.
fn change<K: Ord>(counts: &mut BTreeMap<K, u32>, key: K, more: bool) {
    match counts.entry(key) {
        Entry::Vacant(none) if more => {
            none.insert(1);
        }
        Entry::Vacant(_) => {}
        Entry::Occupied(mut some) if more => *some.get_mut() += 1,
        Entry::Occupied(some) if *some.get() == 1 => {
            some.remove();
        }
        Entry::Occupied(mut some) => *some.get_mut() -= 1,
    }
}
