//! Getting inputs to where they are needed, and results home.

use std::collections::BTreeMap;

use crate::base::{Id, Time};
use crate::fleet::HostId;
use crate::graph::{JobId, Origin, PathId};
use crate::run::{Order, Source};

use super::Scheduler;
use super::state::Seat;

/// How often bringing a result home may fail. It may be all there is to show for hours of building, and
/// with a wait that doubles each time these tries take a quarter of a minute.
const HOME_TRIES: u32 = 5;

impl Scheduler {
    /// Takes in where paths came, went or were sent: what was known of transfers there is no longer, and
    /// the jobs that wait there for their inputs are looked at again.
    pub(super) fn stir(&mut self) {
        let touched = self.stores.take_touched();
        for &(host, path) in &touched {
            self.lacks.touch(host, path);
            if self.jobs.staging().next().is_none() {
                continue;
            }
            let (lacks, jobs) = (&self.lacks, &self.jobs);
            let reads = |job: JobId| jobs.is_staging(job) && lacks.reads(job, path);
            if host == HostId::HOME && self.stores.is_substitutable(path) {
                // It may have come here on its way to a host that must not fetch it itself.
                self.stirred.extend(jobs.seated().filter(|&(.., job)| reads(job)));
            } else {
                let here = jobs.seated_on(host).filter(|&(_, job)| reads(job));
                self.stirred.extend(here.map(|(slot, job)| (host, slot, job)));
            }
        }
        self.stores.give_back(touched);
    }

    /// Has all jobs that wait for their inputs looked at again.
    pub(super) fn stir_all(&mut self) {
        self.stirred.extend(self.jobs.seated().filter(|&(.., job)| self.jobs.is_staging(job)));
    }

    /// Sends each job that has a slot where something changed what it lacks there; builds it once it lacks
    /// nothing.
    pub(super) fn stage_seated(&mut self, at: Time, out: &mut Vec<Order>) {
        self.stir();
        let stirred = std::mem::take(&mut self.stirred);
        for &(host, slot, job) in &stirred {
            let is_here = |seat: Seat| (seat.host, seat.slot) == (host, slot);
            if self.jobs.is_staging(job) && self.jobs.state(job).seat().is_some_and(is_here) {
                self.stage_or_unseat(host, job, out);
            }
        }
        for (.., job) in stirred {
            self.start_if_complete(at, job, out);
        }
    }

    /// Orders the transfers of the inputs that `job` lacks on `host`; an input that nobody has any more
    /// puts the job back.
    pub(super) fn stage_or_unseat(&mut self, host: HostId, job: JobId, out: &mut Vec<Order>) {
        match self.request(host, self.lacking(host, self.jobs.inputs(job)), Some(job), out) {
            Ok(()) => {}
            Err(path) if matches!(self.work.paths[path].origin, Origin::Job(_)) => {
                self.unseat(job);
                self.demand_changed = true;
            }
            Err(path) => {
                self.tries.end(job);
                let cause = format!("its input {} is not to be had anywhere", self.work.paths[path].path);
                self.retry(job, Some(host), &cause);
            }
        }
    }

    /// Those of `paths` that are neither on the host nor on their way to it.
    fn lacking(&self, host: HostId, paths: &[PathId]) -> Vec<PathId> {
        let lacks = |p: &PathId| !self.stores.holds(host, *p) && !self.stores.is_arriving(host, *p);
        paths.iter().copied().filter(lacks).collect()
    }

    /// Whether every input of the job is valid on the host.
    pub(super) fn inputs_complete(&self, host: HostId, job: JobId) -> bool {
        self.jobs.inputs(job).iter().all(|&p| self.stores.holds(host, p))
    }

    /// Orders one transfer per source. What a substituter has and the host may not fetch itself comes
    /// to this machine first. `Err` with the first path that nobody has.
    fn request(
        &mut self,
        to: HostId,
        paths: Vec<PathId>,
        for_job: Option<JobId>,
        out: &mut Vec<Order>,
    ) -> Result<(), PathId> {
        let mut routes: BTreeMap<(HostId, Source), Vec<PathId>> = BTreeMap::new();
        for path in paths {
            let source = self.stores.source(&self.hosts.spec, to, path).ok_or(path)?;
            let via_home =
                source == Source::Substituter && to != HostId::HOME && !self.hosts.spec[to].substitutes;
            let stop = if via_home { HostId::HOME } else { to };
            if !self.stores.is_arriving(stop, path) {
                routes.entry((stop, source)).or_default().push(path);
            }
        }
        for ((to, from), paths) in routes {
            let transfer = self.stores.begin(from, to, paths.clone());
            out.push(Order::Stage { transfer, from, to, paths, for_job });
        }
        Ok(())
    }

    /// Sends a job's inputs ahead to a host that is likely to get it. A binding follows later, or not;
    /// but whatever is thought of other hosts meanwhile, no second one is sent the same.
    pub(super) fn prefetch(&mut self, host: HostId, job: JobId, out: &mut Vec<Order>) {
        let before = self.sent_ahead[job].filter(|&h| self.hosts.takes_jobs(h));
        if before.is_some_and(|h| h != host) {
            return;
        }
        self.sent_ahead[job] = Some(host);
        let mut lacking = self.lacking(host, self.jobs.inputs(job));
        lacking.retain(|path| !self.unlucky.contains(path));
        // What cannot be had is found out when the job is bound.
        let _ = self.request(host, lacking, Some(job), out);
    }

    /// A path was to come here and did not: it is fetched again after a wait.
    pub(super) fn not_home(&mut self, at: Time, path: PathId) {
        let failures = &mut self.home_failures[path.index()];
        let wait = self.policy.first_retry.scale(f64::from(1u32 << (*failures).min(16)));
        *failures += 1;
        self.home_retry.insert(path, at + wait.min(self.policy.last_retry));
    }

    /// Fetches what was asked for as soon as it exists.
    pub(super) fn bring_home(&mut self, at: Time, out: &mut Vec<Order>) {
        let again = self.home_retry.values().any(|&due| due <= at);
        let made = std::mem::take(&mut self.wants_made);
        if std::mem::take(&mut self.home_changed) || again {
            self.home_retry.retain(|_, retry| *retry > at);
            self.fetch(self.unmet_wants().collect(), out);
        } else if !made.is_empty() {
            self.fetch(made, out);
        }
    }

    /// Fetches those of some wanted paths that are to be had.
    fn fetch(&mut self, mut wants: Vec<PathId>, out: &mut Vec<Order>) {
        wants.retain(|&path| self.may_fetch(path));
        if !wants.is_empty() {
            let _ = self.request(HostId::HOME, wants, None, out);
        }
    }

    fn may_fetch(&mut self, path: PathId) -> bool {
        !self.stores.holds(HostId::HOME, path)
            && !self.stores.is_arriving(HostId::HOME, path)
            && !self.home_retry.contains_key(&path)
            && self.home_failures[path.index()] < HOME_TRIES
            && self.stores.source(&self.hosts.spec, HostId::HOME, path).is_some()
    }

    /// Whether a wanted path can still come home.
    pub(super) fn may_come_home(&self, path: PathId) -> bool {
        let made_by = match self.work.paths[path].origin {
            Origin::Job(job) => !self.jobs.state(job).is_bad(),
            Origin::Home | Origin::Substituter => true,
        };
        made_by && self.home_failures[path.index()] < HOME_TRIES
    }
}
