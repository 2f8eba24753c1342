use super::*;
use crate::base::Id;
use crate::cost::Cost;
use crate::fleet::{Host, LinkSpeed};
use crate::graph::Workload;
use crate::graph::testkit::random_work;
use crate::sched::Policy;
use proptest::prelude::*;

fn host((slots, speed, rate): (u32, u32, u64)) -> Host {
    let link = LinkSpeed { bandwidth: rate << 20, latency: Span::from_millis(5) };
    let text = serde_json::json!({
        "name": "h", "systems": ["x86_64-linux"], "features": [], "mandatory": [], "slots": slots,
        "cores": 0, "speed": speed, "substitutes": false, "link": link,
    });
    serde_json::from_value(text).unwrap()
}

fn scheduler(work: Workload, cost: &Table<JobId, Span>, hosts: &[Host], without: usize) -> Scheduler {
    let estimates = cost.rows().iter().map(|&span| Cost { median: span, p10: span, p90: span }).collect();
    let hosts: Table<HostId, Host> = hosts.iter().cloned().collect();
    // Every third job may not go to one of the hosts.
    let barred = |job: JobId, host: &HostId| {
        job.index().is_multiple_of(3) && hosts.len() > 1 && host.index() == without % hosts.len()
    };
    let eligible = work.jobs.ids().map(|job| hosts.ids().filter(|host| !barred(job, host)).collect());
    let eligible: Table<JobId, Vec<HostId>> = eligible.collect();
    Scheduler::new(work, hosts, estimates, eligible, Policy::named("heft").unwrap())
}

proptest! {
    /// The jobs as the plan has them, one after the other: none would have been done sooner elsewhere.
    #[test]
    fn every_job_is_planned_where_it_is_done_first(
        (work, cost) in random_work(15),
        fleet in proptest::collection::vec((1..4u32, 1..5u32, 1..50u64), 1..4),
        without in 0..4usize,
    ) {
        let hosts: Vec<Host> = fleet.into_iter().map(host).collect();
        let scheduler = scheduler(work, &cost, &hosts, without);
        let plan = scheduler.static_plan();
        let mut order: Vec<JobId> = scheduler.work.jobs.ids().collect();
        order.sort_by_key(|&job| (std::cmp::Reverse(scheduler.jobs.rank(job)), job));
        let mut begun: Vec<(JobId, HostId, Time)> = Vec::new();
        for job in order {
            let spec = &scheduler.work.jobs[job];
            // The jobs before it on a host, each in the slot that was free first.
            let finish = |host: HostId| {
                let mut slots = vec![Time::ZERO; scheduler.hosts.spec[host].slots as usize];
                for (_, _, end) in begun.iter().filter(|(_, on, _)| *on == host) {
                    *slots.iter_mut().min().unwrap() = *end;
                }
                let arrives = |&(need, from, end): &(JobId, HostId, Time)| {
                    let outputs = scheduler.work.jobs[need].outputs.iter();
                    let bytes = outputs.map(|&path| scheduler.work.paths[path].size).sum();
                    let time = |h: HostId| scheduler.hosts.spec[h].link.time(bytes);
                    if from == host { end } else { end + time(from).max(time(host)) }
                };
                let inputs = begun.iter().filter(|(need, ..)| spec.needs.contains(need)).map(arrives);
                let from = inputs.max().unwrap_or_default().max(*slots.iter().min().unwrap());
                from + scheduler.work_time(job, host, 1)
            };
            let planned = plan[job].unwrap();
            prop_assert!(scheduler.eligible[job].contains(&planned));
            let end = finish(planned);
            for &other in scheduler.eligible[job].iter() {
                prop_assert!(finish(other) >= end, "{} on {} instead of {}", job, planned, other);
            }
            prop_assert!(begun.iter().filter(|(need, ..)| spec.needs.contains(need)).count() == spec.needs.len());
            begun.push((job, planned, end));
        }
    }
}
