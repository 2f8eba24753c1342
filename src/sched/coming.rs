//! What is to come: jobs that are not ready yet, but will be by the time that a slot is free for which others wait.
//!
//! A job that would rather wait for a busy host than take a free one counts on the slot that is free when that host's
//! next job ends. If by then a job is ready from which the run takes longer, that one gets the slot, and the wait was
//! in vain. So before anything waits although it could begin, the jobs of higher rank whose needs all have a place
//! are gone through in the order of rank, each as if it went where it would be done first: what HEFT does with all
//! jobs beforehand (Topcuoglu, Hariri and Wu 2002), from where the run stands and only as far as it makes a difference.
//!
//! Whether a slot that is free now is kept for one of them is for `keep` to say.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use super::Scheduler;
use super::keep::Booking;
use super::state::{JobState, Jobs};
use crate::base::{Span, Table, Time};
use crate::fleet::HostId;
use crate::graph::{JobId, Origin};

/// Of more users of a job than that, those that ranked highest at the beginning are looked at: more are not come to.
const USERS: usize = 128;
/// So many jobs that are far off count as one that is not: they are quickly looked at.
const FAR_OFF: u32 = 3;

/// What is looked at ahead in one look at all that waits.
#[derive(Clone, Debug)]
pub(super) struct Coming {
    /// Whether it has been begun in this look.
    is_begun: bool,
    /// The number of this look: what was noted in another one is out of date.
    look: u32,
    /// Where jobs go or wait, and the look in which they do.
    places: Table<JobId, (u32, HostId)>,
    covered: Table<JobId, Covered>,
    /// The first [`USERS`] users of the jobs that have more.
    first_users: BTreeMap<JobId, Vec<JobId>>,
    /// Jobs whose needs all have a place or are done.
    open: BinaryHeap<(Span, Reverse<JobId>)>,
    /// How many jobs that are not far off were looked at, times [`FAR_OFF`], and the others.
    looked_at: u32,
    /// What ranks no higher cannot come before any of those that are looked at.
    least: Span,
    /// Per host the bytes that it will have of what a job needs.
    held: Table<HostId, u64>,
    /// Per host those of them that are to go there.
    booked: Table<HostId, Vec<Booking>>,
}

/// What is known in one look of the needs of a job.
#[derive(Clone, Copy, Debug, Default)]
struct Covered {
    look: u32,
    /// How many of them have a place.
    count: u32,
    /// When the last of those should be over.
    ready: Time,
}

impl Coming {
    pub fn new(jobs: usize, hosts: usize) -> Self {
        Self {
            is_begun: false,
            look: 0,
            places: Table::filled(jobs, (0, HostId::HOME)),
            covered: Table::filled(jobs, Covered::default()),
            first_users: BTreeMap::new(),
            open: BinaryHeap::new(),
            looked_at: 0,
            least: Span::ZERO,
            held: Table::filled(hosts, 0),
            booked: Table::filled(hosts, Vec::new()),
        }
    }

    /// Notes by which users of each job what is to come is looked at.
    pub fn find_first_users(&mut self, jobs: &Jobs) {
        let wide = jobs.states().ids().filter(|&job| jobs.dependents(job).len() > USERS);
        let first = |job| {
            let mut users = jobs.dependents(job).to_vec();
            users.sort_unstable_by_key(|&user| (Reverse(jobs.rank(user)), user));
            users.truncate(USERS);
            (job, users)
        };
        self.first_users = wide.map(first).collect();
    }

    /// Begins a look at jobs of which none ranks lower than `least`.
    pub fn begin(&mut self, least: Span) {
        self.look += 1;
        self.open.clear();
        self.booked.iter_mut().for_each(|(_, booked)| booked.clear());
        (self.is_begun, self.looked_at, self.least) = (false, 0, least);
    }

    /// The jobs that are to go to a host once they are ready.
    pub fn booked(&self, host: HostId) -> &[Booking] {
        &self.booked[host]
    }
}

impl Scheduler {
    /// Notes what has a slot, and what waits for hosts by this look so far.
    fn begin_coming(&mut self, at: Time) {
        if std::mem::replace(&mut self.coming.is_begun, true) {
            return;
        }
        // What needs a job ranks lower than that.
        let least = self.coming.least;
        let seated = self.jobs.seated().filter(|&(.., job)| self.jobs.rank(job) > least);
        let seated = seated.map(|(host, _, job)| (job, host, self.expected_end(at, host, job)));
        let waiting = self.line.hosts().map(|(job, host)| (job, host, self.placed[job].due));
        for (job, host, end) in seated.chain(waiting).collect::<Vec<_>>() {
            self.note_coming(job, host, end);
        }
    }

    /// Notes where a job goes or waits in this look, and when it should be over.
    pub(super) fn note_coming(&mut self, job: JobId, host: HostId, end: Time) {
        let coming = &mut self.coming;
        if !coming.is_begun
            || self.jobs.rank(job) <= coming.least
            || std::mem::replace(&mut coming.places[job], (coming.look, host)).0 == coming.look
        {
            return;
        }
        let users = self.jobs.dependents(job);
        let few = || coming.first_users.get(&job).map_or(users, Vec::as_slice);
        for &user in if users.len() > USERS { few() } else { users } {
            let rank = self.jobs.rank(user);
            if rank <= coming.least {
                continue;
            }
            let covered = &mut coming.covered[user];
            let (count, ready) = match covered.look == coming.look {
                true => (covered.count + 1, covered.ready.max(end)),
                false => (1, end),
            };
            *covered = Covered { look: coming.look, count, ready };
            if count == self.jobs.open(user) && self.jobs.state(user) == JobState::Waiting {
                coming.open.push((rank, Reverse(user)));
            }
        }
    }

    /// Charges the jobs that will be ready and rank higher than `rank` to the busy hosts that they will want. Returns
    /// whether there were any.
    pub(super) fn charge_coming(&mut self, at: Time, rank: Span) -> bool {
        self.begin_coming(at);
        let mut any = false;
        let latest = self.hosts.spec.ids().filter_map(|host| self.forecasts.available(host, at)).max();
        while let Some(&(own, Reverse(job))) = self.coming.open.peek() {
            if own <= rank || self.coming.looked_at >= FAR_OFF * self.policy.look_ahead {
                break;
            }
            self.coming.open.pop();
            let ready = self.coming.covered[job].ready;
            if let Some((host, finish)) = self.far_off(latest, job, ready) {
                self.coming.looked_at += 1;
                self.note_coming(job, host, finish);
                continue;
            }
            self.coming.looked_at += FAR_OFF;
            let Some(booked) = self.soonest_to_come(at, job, ready) else { continue };
            let Booking { host, finish, idle, is_free, .. } = booked;
            self.coming.booked[host].push(booked);
            // A slot that would be idle for longer than the job takes will be used by another one meanwhile.
            if !is_free && idle <= self.work_time(job, host, 1) {
                self.forecasts.charge(host, finish);
                any = true;
            }
            self.note_coming(job, host, finish);
        }
        any
    }

    /// Where and when a job should be over that is ready so much later than every host has a slot at the `latest` that
    /// none is to wait for it.
    fn far_off(&self, latest: Option<Time>, job: JobId, ready: Time) -> Option<(HostId, Time)> {
        let ends = self.paces.ends(job, &self.eligible[job])?;
        let takes = |pace: f64| Span((self.estimates[job].median.0 as f64 * pace) as u64);
        if ready.since(latest?) <= takes(ends.most) {
            return None;
        }
        Some((ends.fastest, ready + takes(ends.least)))
    }

    /// Where a job that is ready later should be done first.
    fn soonest_to_come(&mut self, at: Time, job: JobId, ready: Time) -> Option<Booking> {
        let bytes = self.inputs_to_come(job);
        let (held, pace) = (&self.coming.held, self.paces.of_job(job));
        let work = self.estimates[job].median.0 as f64;
        let mut best: Option<Booking> = None;
        for &host in self.eligible[job].iter() {
            let Some(available) = self.available_beside_booked(at, host) else { continue };
            let takes = Span((work * pace[host]) as u64);
            // What it cannot be done before, whatever there is to move.
            let soonest = available.max(ready) + takes;
            if best.and_then(|best| best.elsewhere).is_some_and(|elsewhere| elsewhere <= soonest) {
                continue;
            }
            let transfer = self.counted(self.hosts.spec[host].link.time(bytes - held[host]));
            let start = available.max(ready + transfer);
            let finish = start + takes;
            match &mut best {
                Some(best) if best.finish <= finish => {
                    best.elsewhere = best.elsewhere.into_iter().chain([finish]).min();
                }
                _ => {
                    let (elsewhere, is_free) = (best.map(|best| best.finish), self.forecasts.is_free(host));
                    let idle = start.since(available);
                    best = Some(Booking { job, host, start, finish, idle, elsewhere, is_free });
                }
            }
        }
        best
    }

    /// The bytes that a job will read and some host lacks, and of those, in `held`, what each host has or will have
    /// made.
    fn inputs_to_come(&mut self, job: JobId) -> u64 {
        let Coming { look, places, held, .. } = &mut self.coming;
        held.iter_mut().for_each(|(_, bytes)| *bytes = 0);
        let mut all = 0;
        for &path in self.jobs.inputs(job) {
            if self.stores.is_everywhere(path) {
                continue;
            }
            let size = self.stores.size(path);
            all += size;
            self.stores.holders(path).for_each(|host| held[host] += size);
            if let Origin::Job(maker) = self.work.paths[path].origin
                && let (in_look, host) = places[maker]
                && in_look == *look
                && !self.stores.holds(host, path)
            {
                held[host] += size;
            }
        }
        all
    }

    /// Whether a host with a free slot may build a job.
    pub(super) fn has_free_host(&self, job: JobId) -> bool {
        self.eligible[job].iter().any(|&host| self.forecasts.is_free(host))
    }
}
