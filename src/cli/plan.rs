//! `drvdispatch plan`: the way of a build up to dispatch, then the same scheduler in the simulated world.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use serde::Serialize;

use super::args::{What, Where};
use super::error::CliError;
use super::prepare::{self, Prepared};
use super::setup::{Setup, logs_dir};
use crate::base::{Span, Table, Time};
use crate::cost;
use crate::dispatch::{Crew, Limits, Means, listen};
use crate::drive::{Watch, drive};
use crate::fleet::HostId;
use crate::graph::{JobId, makespan_bound};
use crate::report::plural;
use crate::run::{Event, Expectation, Order, SlotId};
use crate::sched::{Policy, Scheduler};
use crate::sim::SimWorld;

/// Show what would be built where, how long it would take, and why
#[derive(Args, Debug, Clone)]
pub struct PlanArgs {
    #[command(flatten)]
    what: What,
    #[command(flatten)]
    place: Where,
    /// Do not connect to the hosts: take them all for up and empty
    #[arg(long)]
    offline: bool,
    /// Print the plan as JSON
    #[arg(long)]
    json: bool,
}

/// A plan, as `--json` prints it; times in microseconds.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Plan {
    derivations: usize,
    makespan: Span,
    lower_bound: Span,
    unreachable: Vec<String>,
    jobs: Vec<PlannedJob>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct PlannedJob {
    start: Time,
    drv: String,
    name: String,
    host: String,
    estimate: Span,
    p10: Span,
    p90: Span,
    why: String,
}

/// Runs the verb.
///
/// # Errors
/// There is nothing to plan for.
pub fn run(args: &PlanArgs) -> Result<(), CliError> {
    let options = args.what.eval_options();
    let mut say = |line: &str| super::tell!("{line}");
    let mut setup = Setup::new(&args.place, &options, &mut say)?;
    if !args.offline {
        setup.ask_home()?;
    }
    let bare = args.what.graph.as_deref().filter(|_| args.offline);
    let prepared = match bare {
        Some(path) => prepare::load_whole(path)?,
        None => prepare::load(&setup, &args.what, &mut say)?,
    };
    let plan = make(args, &setup, &prepared)?;
    if args.json {
        let json = serde_json::to_string(&plan).map_err(|e| CliError::io("writing the plan")(e.into()))?;
        super::put(&format!("{json}\n"), "the plan")
    } else {
        plan.unreachable.iter().for_each(|text| super::tell!("warning: {text}"));
        super::put(&text(&plan), "the plan")
    }
}

fn make(args: &PlanArgs, setup: &Setup, prepared: &Prepared) -> Result<Plan, CliError> {
    let work = &prepared.work;
    let eligible = setup.eligible(work)?;
    setup.say_if_alone(work, &mut |line| super::tell!("{line}"));
    let classes = setup.classes(work, &eligible);
    let estimates = cost::estimate(work);
    let medians: Table<JobId, Span> = estimates.rows().iter().map(|c| c.median).collect();
    let truth = medians.rows().iter().map(|&median| Some(median)).collect();
    let hosts = &setup.fleet.hosts;
    let mut scheduler =
        Scheduler::new(work.clone(), hosts.clone(), estimates.clone(), eligible.clone(), Policy::default());
    let facts = if args.offline { None } else { Some(gather(args, setup, prepared, eligible)?) };
    let unreachable = facts.iter().flatten().filter_map(trouble).collect();
    let mut world = match facts {
        Some(facts) => SimWorld::beginning(work, hosts, &truth, facts),
        None => SimWorld::new(work, hosts, &truth, Vec::new()),
    };
    let mut placements = Placements::default();
    let end = drive(&mut scheduler, &mut world, &mut placements);
    let planned =
        |&(start, job, host, expect): &(Time, JobId, crate::fleet::HostId, Expectation)| PlannedJob {
            start,
            drv: work.jobs[job].drv.clone(),
            name: work.jobs[job].name.clone(),
            host: hosts[host].name.clone(),
            estimate: expect.work,
            p10: estimates[job].p10.scale(1.0 / hosts[host].speed),
            p90: estimates[job].p90.scale(1.0 / hosts[host].speed),
            why: why(&expect, |h| hosts[h].name.as_str()),
        };
    // What a host has already is neither planned nor held against the plan.
    let mut cost: Table<JobId, Span> = Table::filled(work.jobs.len(), Span::ZERO);
    placements.0.iter().for_each(|(_, job, ..)| cost[*job] = medians[*job]);
    Ok(Plan {
        derivations: placements.0.len(),
        makespan: end.since(Time::ZERO),
        lower_bound: makespan_bound(work, &cost, &classes),
        unreachable,
        jobs: placements.0.iter().map(planned).collect(),
    })
}

/// Asks the real hosts whether they are up and what they have.
fn gather(
    args: &PlanArgs,
    setup: &Setup,
    prepared: &Prepared,
    eligible: Table<JobId, Vec<HostId>>,
) -> Result<Vec<Event>, CliError> {
    let runtime = prepare::runtime()?;
    let interrupts = listen(runtime.handle(), || ()).map_err(CliError::io("listening for signals"))?;
    let timeout = args.place.connect_timeout(setup.config.connect_timeout);
    let crew = Crew::start(prepare::slots(setup), timeout, logs_dir());
    let means = Means {
        nix: PathBuf::from("nix"),
        runtime: runtime.handle().clone(),
        interrupts,
        limits: Limits::default(),
        keep_failed: false,
        imports: setup.imports.clone(),
    };
    let work = Arc::new(prepared.work.clone());
    let (mut world, _logs) = crew.into_world(work, eligible, Arc::new(setup.mux()?), means);
    let facts = world.gather();
    runtime.shutdown_background();
    Ok(facts)
}

fn trouble(fact: &Event) -> Option<String> {
    match fact {
        Event::HostLost { cause, .. } | Event::HostRefused { cause, .. } => Some(cause.clone()),
        _ => None,
    }
}

/// The builds in the order in which they would begin.
#[derive(Default)]
struct Placements(Vec<(Time, JobId, crate::fleet::HostId, Expectation)>);

impl Watch for Placements {
    fn event(&mut self, _at: Time, _event: &Event) {}

    fn order(&mut self, at: Time, order: &Order) {
        if let Order::Build { job, host, slot: SlotId(_), expect, .. } = order {
            self.0.push((at, *job, *host, *expect));
        }
    }
}

fn why<'a>(expect: &Expectation, name: impl Fn(crate::fleet::HostId) -> &'a str) -> String {
    let here = expect.queue.max(expect.transfer) + expect.work;
    match expect.next_best {
        None => "the only host for it".to_owned(),
        Some((host, there)) if there > here => {
            format!("done {} sooner than on {}", there.saturating_sub(here), name(host))
        }
        Some((host, _)) => format!("as soon as on {}", name(host)),
    }
}

fn text(plan: &Plan) -> String {
    if plan.derivations == 0 {
        return "nothing to build\n".to_owned();
    }
    let width =
        |f: fn(&PlannedJob) -> &str| plan.jobs.iter().map(|j| f(j).chars().count()).max().unwrap_or(0);
    let (names, hosts) = (width(|j| &j.name).min(50), width(|j| &j.host));
    let mut out = String::new();
    let _ = writeln!(out, "{:>8}  {:>7}  {:hosts$}  {:names$}  why", "start", "takes", "host", "derivation");
    for job in &plan.jobs {
        let (start, takes) = (job.start.since(Time::ZERO).to_string(), job.estimate.to_string());
        let _ =
            writeln!(out, "{start:>8}  {takes:>7}  {:hosts$}  {:names$}  {}", job.host, job.name, job.why);
    }
    let _ = writeln!(
        out,
        "{} in about {} (no schedule takes less than {})",
        plural(plan.derivations, "derivation"),
        plan.makespan,
        plan.lower_bound
    );
    out
}
