//! Clusters of tiny jobs as one unit: one after the other in one slot, with no decision between.
//!
//! While a member has a slot the others wait for it, and the next one that can begin takes the slot over.
//! A member that must wait for something from outside is placed like any other job when that is there.

use crate::base::{Span, Table, Time};
use crate::graph::{ClusterId, ClusterLimits, Clusters, JobId};
use crate::run::{Expectation, Order, Why};

use super::Scheduler;
use super::offer::Offer;
use super::state::Seat;

/// The most work in a cluster, in longest members.
const MEMBERS: f64 = 8.0;
/// What handing out a job costs: some round trips.
const HANDING_OUT: Span = Span::from_millis(10);

impl Scheduler {
    /// The clusters by the estimates at the beginning; none if the policy wants none.
    pub(super) fn find_clusters(&self) -> Clusters {
        let tiny = self.policy.cluster;
        if tiny == Span::ZERO {
            return Clusters::default();
        }
        let cost: Table<JobId, Span> = self.estimates.rows().iter().map(|cost| cost.median).collect();
        let limits = ClusterLimits { tiny, total: tiny.scale(MEMBERS), saves: HANDING_OUT };
        let alike = |a: JobId, b: JobId| {
            std::sync::Arc::ptr_eq(&self.eligible[a], &self.eligible[b])
                && self.paces.system(a) == self.paces.system(b)
        };
        Clusters::new(&self.work, &cost, limits, alike)
    }

    /// Whether another member of the job's cluster has a slot, which this one will take over.
    pub(super) fn is_held_back(&self, job: JobId) -> bool {
        let seated = |&member: &JobId| self.jobs.state(member).seat().is_some();
        self.clusters.of(job).is_some_and(|cluster| self.members(cluster).iter().any(seated))
    }

    /// Has the next member of a cluster follow the one that is done; takes effect in the next round.
    pub(super) fn hand_over(&mut self, job: JobId, seat: Seat) {
        if self.clusters.of(job).is_some() {
            self.handed_over.push((job, seat));
        }
    }

    /// Gives the slots of members that are done to those that follow.
    pub(super) fn follow(&mut self, at: Time, out: &mut Vec<Order>) {
        for (job, Seat { host, slot, .. }) in std::mem::take(&mut self.handed_over) {
            let Some(cluster) = self.clusters.of(job) else { continue };
            let ready = |member: &JobId| self.jobs.is_ready(*member);
            let Some(next) = self.members(cluster).iter().copied().find(ready) else { continue };
            let barred = self.tries.avoids(next, host) || self.is_held_back(next);
            if barred || !self.is_eligible(next, host) {
                continue;
            }
            let (transfer, cores) = (self.transfer(host, next), self.cores_for(next, host));
            let work = self.work_time(next, host, cores);
            let finish = at + transfer + work;
            self.settle_for_show();
            self.show(at, next);
            if let Some(slot) = self.forecasts.take_slot(host, slot, finish, cores.max(1)) {
                let expect = Expectation { transfer, work, why: Why::Followed, ..Expectation::default() };
                let offer =
                    Offer { host, free: true, finish, cores, expect, must_move: false, score: finish };
                self.seat(at, next, offer, slot, out);
            }
        }
    }

    fn members(&self, cluster: ClusterId) -> &[JobId] {
        &self.clusters.members()[cluster]
    }
}
