//! One simulated run.

use drvdispatch::base::{Span, Table, Time};
use drvdispatch::cost::{Cost, limits};
use drvdispatch::drive::{Watch, drive};
use drvdispatch::fleet::{Host, HostId};
use drvdispatch::graph::{JobId, makespan_bound};
use drvdispatch::sched::{Policy, Scheduler};
use drvdispatch::sim::{Measure, Measured, Rehearsal, SimWorld, noisy};

use super::graphs::Input;

/// A run that is ready to begin.
pub struct Ready<'a> {
    pub scheduler: Scheduler,
    pub world: SimWorld<'a>,
    jobs_per_core: Option<f64>,
}

/// What a world lasts as long as.
pub struct Setting<'a> {
    pub input: &'a Input,
    pub hosts: &'a Table<HostId, Host>,
    /// What the scheduler is told of them.
    pub told: &'a Table<HostId, Host>,
    pub truth: Table<JobId, Option<Span>>,
}

impl<'a> Setting<'a> {
    pub fn new(input: &'a Input, hosts: &'a Table<HostId, Host>) -> Self {
        Self { input, hosts, told: hosts, truth: input.truth.rows().iter().map(|&span| Some(span)).collect() }
    }

    /// The same hosts, of which the scheduler is told something else.
    #[must_use]
    pub fn told(self, told: &'a Table<HostId, Host>) -> Self {
        Self { told, ..self }
    }

    /// Estimates are off by `sigma`, in the same way for the same seed.
    pub fn estimates(&self, sigma: f64, seed: u64) -> Table<JobId, Cost> {
        noisy(&self.input.truth, sigma, seed)
    }

    /// What no schedule beats.
    pub fn bound(&self) -> Span {
        let (work, parallel) = (&self.input.real, &self.input.parallel);
        let eligible = self.eligible();
        let limits = limits(work, self.hosts, &eligible, parallel, |id| self.hosts[id].lanes());
        makespan_bound(work, &self.input.truth, &limits)
    }

    /// Who may build each job: everybody who builds for its system, whatever features it asks for.
    fn eligible(&self) -> Table<JobId, Vec<HostId>> {
        let builds = |system: &str| {
            self.hosts.ids().filter(|&host| self.hosts[host].lacks(system, &[]).is_none()).collect()
        };
        self.input.told.jobs.rows().iter().map(|job| builds(&job.system)).collect()
    }

    /// The policy that a run would have in place of this one, the default.
    pub fn rehearsed(&self, policy: &Policy, estimates: &Table<JobId, Cost>) -> Policy {
        let eligible = self.eligible();
        let rehearsal = Rehearsal::new(&self.input.told, self.told, estimates, &eligible, None);
        rehearsal.with_parallel(self.input.parallel.clone()).choose(policy).policy
    }

    pub fn ready(&'a self, policy: &Policy, estimates: Table<JobId, Cost>) -> Ready<'a> {
        let (told, hosts) = (self.input.told.clone(), self.told.clone());
        let scheduler =
            Scheduler::new(told, hosts, estimates, self.eligible(), policy.clone()).without_reasons();
        let world = SimWorld::new(&self.input.real, self.hosts, &self.truth, Vec::new())
            .with_parallel(self.input.parallel.clone());
        Ready { scheduler, world, jobs_per_core: policy.jobs_per_core }
    }
}

impl Ready<'_> {
    pub fn watched(&mut self, watch: &mut dyn Watch) -> Time {
        drive(&mut self.scheduler, &mut self.world, watch)
    }

    /// What the run comes to, or why it came to nothing.
    pub fn measured(mut self, setting: &Setting<'_>) -> Result<Measured, String> {
        let jobs_per_core = self.jobs_per_core;
        let mut measure = Measure::new(&setting.input.real, setting.hosts, jobs_per_core);
        self.watched(&mut measure);
        let verdict = self.scheduler.verdict();
        match verdict.missing.len() {
            0 => Ok(measure.result()),
            missing => Err(format!("{missing} wanted paths are missing; {:?}", verdict.endings.first())),
        }
    }
}

/// Counts what happens, and looks at nothing.
#[derive(Default)]
pub struct Count {
    pub events: u64,
    pub builds: u64,
    pub orders: u64,
}

impl Watch for Count {
    fn event(&mut self, _at: Time, _event: &drvdispatch::run::Event) {
        self.events += 1;
    }

    fn order(&mut self, _at: Time, order: &drvdispatch::run::Order) {
        self.orders += 1;
        self.builds += u64::from(matches!(order, drvdispatch::run::Order::Build { .. }));
    }
}
