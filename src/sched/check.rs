//! An audit of every invariant, for tests: what must hold after each step.

use std::collections::{BTreeMap, BTreeSet};

use super::policy::{Choice, Cores};
use super::state::JobState;
use super::{Phase, Scheduler};
use crate::base::{Span, Time};
use crate::fleet::HostId;
use crate::graph::{JobId, PathId, Ranks};

impl Scheduler {
    /// The first invariant that does not hold, as a sentence.
    ///
    /// # Errors
    /// If the state is inconsistent, which is a bug.
    pub fn check(&self) -> Result<(), String> {
        self.check_seats()?;
        self.check_jobs()?;
        self.check_indices()?;
        self.check_clusters()?;
        self.check_copies()?;
        self.hosts.spec.ids().try_for_each(|host| self.check_host(host))?;
        self.hosts.check()?;
        self.check_sources()?;
        self.check_lacks()
    }

    /// What is kept of where each path is nearest is so.
    fn check_sources(&self) -> Result<(), String> {
        if !self.stores.is_ordered_by(&self.hosts.known_links()) {
            return Err("paths are got by what was thought of links before".to_owned());
        }
        match self.stores.misrouted() {
            Some(path) => Err(format!("{path} is got from a host that is not the nearest")),
            None => Ok(()),
        }
    }

    /// Every slot is taken by at most one job, which may be there and knows that it is.
    fn check_seats(&self) -> Result<(), String> {
        for (host, slot, job) in self.jobs.seated() {
            let Some(seat) = self.jobs.state(job).seat() else {
                return Err(format!("{job} has slot {host}/{slot} without being staged or run"));
            };
            if (seat.host, seat.slot) != (host, slot) {
                return Err(format!("{job} thinks it has another slot than {host}/{slot}"));
            }
            if !self.hosts.slots(host).contains(&slot) {
                return Err(format!("{job} has slot {host}/{slot}, which is not connected"));
            }
            if self.hosts.drained(host).is_some() && matches!(self.jobs.state(job), JobState::Staging(_)) {
                return Err(format!("{job} is to be built on {host}, which takes no more jobs"));
            }
            if !self.is_eligible(job, host) {
                return Err(format!("{job} is on {host}, which cannot build it"));
            }
        }
        Ok(())
    }

    /// Every job's state goes with those of the jobs it needs.
    fn check_jobs(&self) -> Result<(), String> {
        let mut left = 0;
        let mut seats = 0;
        for (job, state) in self.jobs.states().iter() {
            let open = self.work.jobs[job].needs.iter().filter(|&&n| self.jobs.state(n) != JobState::Done);
            let open = open.count();
            if open != self.jobs.open(job) as usize {
                return Err(format!("{job} has {open} open needs and counts {}", self.jobs.open(job)));
            }
            left += usize::from(matches!(state, JobState::Waiting | JobState::Ready));
            seats += usize::from(state.seat().is_some());
            if *state == JobState::Waiting && open == 0 {
                return Err(format!("{job} waits for nothing"));
            }
            let bad = |n: &&JobId| self.jobs.state(**n).is_bad();
            if *state == JobState::Waiting && self.work.jobs[job].needs.iter().any(|n| bad(&n)) {
                return Err(format!("{job} waits for a job that will never be done"));
            }
            if *state == JobState::Ready && open > 0 {
                return Err(format!("{job} is ready with {open} needs open"));
            }
        }
        if left != self.jobs.left() || seats != self.jobs.seated().count() {
            return Err("the counts of jobs are wrong".to_owned());
        }
        Ok(())
    }

    /// The sets of ready and staged jobs are those that the states say, and some host may yet build what
    /// is ready.
    fn check_indices(&self) -> Result<(), String> {
        let in_state = |is: fn(&JobState) -> bool| -> BTreeSet<JobId> {
            self.jobs.states().iter().filter(|(_, state)| is(state)).map(|(job, _)| job).collect()
        };
        let ready = in_state(|state| *state == JobState::Ready);
        if ready != self.jobs.ready().collect() {
            return Err("the set of ready jobs is wrong".to_owned());
        }
        if in_state(|state| matches!(state, JobState::Staging(_))) != self.jobs.staging().collect() {
            return Err("the set of jobs that wait for their inputs is wrong".to_owned());
        }
        let ranks: Vec<Span> = self.jobs.ready().map(|job| self.jobs.rank(job)).collect();
        if !ranks.is_sorted_by(|a, b| a >= b) {
            return Err("the ready jobs are not in the order of their ranks".to_owned());
        }
        let follows = |ranks: &Ranks| self.work.jobs.ids().all(|job| self.jobs.rank(job) == ranks.of(job));
        if self.ranks.as_ref().is_some_and(|ranks| !follows(ranks)) {
            return Err("jobs do not have the ranks that were worked out".to_owned());
        }
        let is_planned = self.policy.choice == Choice::Planned && self.phase != Phase::Gathering;
        let planned = if is_planned { self.work.jobs.len() } else { 0 };
        if self.plan.len() != planned {
            return Err(format!("{planned} jobs are to follow a plan, which has {}", self.plan.len()));
        }
        let hope = |job: &JobId| self.eligible[*job].iter().any(|&h| self.hosts.has_hope(h, &self.policy));
        match ready.iter().find(|job| !hope(job)) {
            Some(job) if self.phase == Phase::Building => Err(format!("{job} is ready and nobody builds it")),
            _ => Ok(()),
        }
    }

    /// No job has more older attempts than copies may be begun, each has its slot to itself, and is needed or ends.
    fn check_copies(&self) -> Result<(), String> {
        let mut going_on: BTreeMap<JobId, Vec<HostId>> = BTreeMap::new();
        for (host, slot, older) in self.hosts.all_older() {
            if self.hosts.slots(host).contains(&slot) {
                return Err(format!("{host}/{slot} takes jobs beside {}", older.job));
            }
            if older.attempt >= self.tries.attempt(older.job) {
                return Err(format!("an attempt at {} counts as older than itself", older.job));
            }
            if !older.ends && self.jobs.state(older.job).is_over() {
                return Err(format!("{} is over and still built on {host}", older.job));
            }
            if older.ends {
                continue;
            }
            let newest = self.jobs.state(older.job).seat().map(|seat| seat.host);
            let hosts = going_on.entry(older.job).or_default();
            if newest == Some(host) || hosts.contains(&host) {
                return Err(format!("{} is built twice on {host}", older.job));
            }
            hosts.push(host);
            if hosts.len() > super::copies::MOST as usize {
                return Err(format!("{} is built beside {} older attempts", older.job, hosts.len()));
            }
        }
        Ok(())
    }

    /// The members of a cluster are built one after the other.
    fn check_clusters(&self) -> Result<(), String> {
        let seated = |job: &&JobId| self.jobs.state(**job).seat().is_some();
        match self.clusters.members().iter().find(|(_, jobs)| jobs.iter().filter(seated).count() > 1) {
            Some((cluster, _)) => Err(format!("two members of {cluster} have slots")),
            None => Ok(()),
        }
    }

    /// What is expected of a host follows from who sits there, cores are given out within bounds, and
    /// nothing is kept free beyond a round.
    fn check_host(&self, host: HostId) -> Result<(), String> {
        if self.reserved[host].is_some() {
            return Err(format!("{host} is still kept for a job"));
        }
        let several = self.shared_out(host);
        if self.policy.cores == Cores::Adaptive && several > self.most_cores(host).max(self.outgrown[host]) {
            return Err(format!("{several} cores of {host} are given out"));
        }
        let is_late = |job| match self.jobs.state(job) {
            JobState::Running(seat) => self.placed[job].end != self.estimated_end(job, seat),
            _ => false,
        };
        if let Some((_, job)) = self.jobs.seated_on(host).find(|&(_, job)| is_late(job)) {
            return Err(format!("the end that is kept of {job} is out of date"));
        }
        if self.jobs.has_moved(host) {
            return Ok(());
        }
        if !self.forecasts.is_miscounted(host) {
            let free = self.hosts.vacant(host, &self.jobs).into_iter().flatten().count();
            if self.forecasts.free_slots()[host] != free || self.forecasts.is_free(host) != (free > 0) {
                return Err(format!("the free slots of {host} are miscounted"));
            }
        }
        if self.forecasts.is_stale(host) {
            return Ok(());
        }
        let outlook = self.forecasts.settled(host);
        let Some(free) = self.hosts.vacant(host, &self.jobs) else {
            let offers = !outlook.free.is_empty() || !outlook.ends.is_empty();
            return if offers {
                Err(format!("{host} is drained and has something to offer"))
            } else {
                Ok(())
            };
        };
        // A job that is overdue is expected later than it was, and never sooner.
        let mut ends: Vec<Time> =
            self.jobs.seated_on(host).map(|(_, job)| self.expected_end(Time::ZERO, host, job)).collect();
        self.leave_slots(host, &mut ends);
        let later = ends.len() == outlook.ends.len() && ends.iter().zip(&outlook.ends).all(|(a, b)| a <= b);
        if !outlook.free.iter().copied().rev().eq(free)
            || !later
            || outlook.charged > 0
            || outlook.cores != self.cores_left(host)
        {
            return Err(format!("what is expected of {host} is out of date"));
        }
        Ok(())
    }

    /// The transfer times that are kept for ready jobs are nothing where nothing is to be transferred, and
    /// only there; the hosts that are thought to have all inputs of one are those that do; and a closure that is kept
    /// is one.
    fn check_lacks(&self) -> Result<(), String> {
        if self.policy.transfer_overhead == Span::ZERO {
            return Ok(());
        }
        let pending: BTreeSet<(HostId, PathId)> = self.stores.touched().iter().copied().collect();
        for job in self.jobs.ready() {
            let inputs = self.jobs.inputs(job);
            for &host in self.eligible[job].iter() {
                let Some(known) = self.lacks.get(host, job) else { continue };
                let settled = !inputs.iter().any(|&path| pending.contains(&(host, path)));
                if settled && (known == Span::ZERO) != self.inputs_complete(host, job) {
                    return Err(format!("what {job} lacks on {host} is out of date"));
                }
            }
            let closure = self.lacks.kept_closure(job, self.stores.losses());
            if closure.is_some_and(|closure| !self.stores.is_closure(inputs, closure)) {
                return Err(format!("the closure that is kept of {job} lacks something"));
            }
            let settled = |host| !inputs.iter().any(|&path| pending.contains(&(host, path)));
            if let Some(complete) = self.lacks.complete(job) {
                let here = |host: &&HostId| self.inputs_complete(**host, job) && settled(**host);
                let listed =
                    |host: &&HostId| super::holders::of(complete).any(|h| h == **host) && settled(**host);
                let eligible = || self.eligible[job].iter();
                if !eligible().filter(here).eq(eligible().filter(listed)) {
                    return Err(format!("the hosts that have all of what {job} reads are others"));
                }
            }
        }
        Ok(())
    }
}
