//! A plan of the whole run made beforehand: static HEFT, to measure the dynamic one against, and to go by where all
//! is known. Nothing is mended in a plan: once a host is gone, or it or a derivation is not as the plan took it to be,
//! the rest is decided as it comes.

use crate::base::{Span, Table, Time};
use crate::fleet::HostId;
use crate::graph::JobId;

use super::Scheduler;
use super::policy::Choice;

impl Scheduler {
    /// Makes the plan, if the policy is to follow one, once it is known what the hosts are.
    pub(super) fn make_plan(&mut self) {
        if self.policy.choice == Choice::Planned {
            self.plan = self.static_plan();
        }
    }

    /// Hosts or jobs are not as the plan took them to be.
    pub(super) fn give_up_plan(&mut self) {
        if self.policy.choice == Choice::Planned {
            self.policy.choice = Choice::Earliest;
            self.plan = Table::new();
            self.line.void();
        }
    }

    /// In the order of rank, gives each job the host and slot where it would be finished first, with the
    /// time its inputs take from where they are planned to be (Topcuoglu et al. 2002, without insertion
    /// into gaps).
    pub(super) fn static_plan(&self) -> Table<JobId, Option<HostId>> {
        let mut order: Vec<JobId> = self.work.jobs.ids().collect();
        order.sort_by_key(|&job| (std::cmp::Reverse(self.jobs.rank(job)), job));
        let free = |host: HostId| vec![Time::ZERO; self.hosts.used_slots().of(host) as usize];
        let mut slots: Table<HostId, Vec<Time>> = self.hosts.spec.ids().map(free).collect();
        let mut plan: Table<JobId, Option<HostId>> = Table::filled(order.len(), None);
        let mut end = Table::filled(order.len(), Time::ZERO);
        for job in order {
            let finish = |&host: &HostId| {
                let (slot, &from) = slots[host].iter().enumerate().min_by_key(|(_, from)| **from)?;
                let ready = self.planned_inputs(job, host, &plan, &end);
                Some((from.max(ready) + self.work_time(job, host, 1), host, slot))
            };
            if let Some((finish, host, slot)) = self.eligible[job].iter().filter_map(finish).min() {
                slots[host][slot] = finish;
                plan[job] = Some(host);
                end[job] = finish;
            }
        }
        plan
    }

    fn planned_inputs(
        &self,
        job: JobId,
        host: HostId,
        plan: &Table<JobId, Option<HostId>>,
        end: &Table<JobId, Time>,
    ) -> Time {
        let link = |h: HostId, bytes: u64| self.hosts.spec[h].link.time(bytes);
        let arrival = |&need: &JobId| {
            let outputs = &self.work.jobs[need].outputs;
            let bytes: u64 = outputs.iter().map(|&path| self.work.paths[path].size).sum();
            let moved = match plan[need] {
                Some(from) if from != host => link(host, bytes).max(link(from, bytes)),
                _ => Span::ZERO,
            };
            end[need] + moved
        };
        self.work.jobs[job].needs.iter().map(arrival).max().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
