//! What a fleet can do for a workload at most: hosts and the model of cores, put into the bound's terms.

use super::parallel::amdahl;
use crate::base::{Id, Table};
use crate::fleet::{Host, HostId};
use crate::graph::{JobId, Limits, Pace, Power, Workload};

/// The limits of `hosts` for jobs that can be built by those `eligible`, and of which `parallel` is spread
/// over cores. `lanes` has the cores at work at a time per host, [`Host::lanes`] as a rule.
pub fn limits(
    work: &Workload,
    hosts: &Table<HostId, Host>,
    eligible: &Table<JobId, Vec<HostId>>,
    parallel: &Table<JobId, f64>,
    lanes: impl Fn(HostId) -> u32,
) -> Limits {
    let powers: Vec<Power> =
        hosts.iter().map(|(id, host)| Power { slots: host.slots, lanes: lanes(id) }).collect();
    Limits::new(work, &powers, |job| {
        let spread = parallel.get(job).copied().unwrap_or(0.0);
        let pace = |&id: &HostId| {
            let host = &hosts[id];
            let pace =
                Pace { speed: host.speed_for(&work.jobs[job].system), least: amdahl(spread, host.cores) };
            (id.index(), pace)
        };
        eligible.get(job).into_iter().flatten().map(pace).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Span;
    use crate::fleet::LinkSpeed;
    use crate::graph::{Job, makespan_bound};

    fn host(slots: u32, cores: u32, speed: f64) -> Host {
        Host {
            name: String::new(),
            systems: vec!["x".into(), "y".into()],
            features: Vec::new(),
            mandatory: Vec::new(),
            slots,
            cores,
            speed,
            emulated: [("y".to_owned(), 0.1)].into(),
            substitutes: false,
            link: LinkSpeed::FREE,
        }
    }

    #[test]
    fn a_job_is_as_short_as_cores_and_emulation_make_it() {
        let job = |system: &str| Job { system: system.into(), ..Job::default() };
        let bound = |systems: &[&str], hosts: Vec<Host>, spread: f64| {
            let work = Workload { jobs: systems.iter().map(|s| job(s)).collect(), ..Workload::default() };
            let hosts: Table<HostId, Host> = hosts.into_iter().collect();
            let eligible = Table::filled(work.jobs.len(), hosts.ids().collect());
            let (cost, parallel) =
                (Table::filled(work.jobs.len(), Span::from_secs(8)), Table::filled(work.jobs.len(), spread));
            let lanes = |id: HostId| hosts[id].lanes();
            let limits = limits(&work, &hosts, &eligible, &parallel, lanes);
            makespan_bound(&work, &cost, &limits).as_secs_f64().round()
        };
        assert_eq!(bound(&["x"], vec![host(1, 4, 1.0)], 1.0), 2.0);
        assert_eq!(bound(&["x"], vec![host(1, 0, 1.0)], 1.0), 8.0, "cores unknown");
        assert_eq!(bound(&["y"], vec![host(1, 4, 1.0)], 1.0), 20.0);
        assert_eq!(bound(&["x"], vec![host(1, 4, 1.0), host(1, 2, 4.0)], 1.0), 1.0, "the better of two");
        assert_eq!(bound(&["x"; 4], vec![host(4, 4, 1.0)], 1.0), 8.0, "all cores busy all the time");
    }
}
