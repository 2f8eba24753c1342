//! `drvdispatch plan`: the way of a build up to dispatch, then the same scheduler in the simulated world.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use serde::Serialize;

use super::args::{What, Where};
use super::error::CliError;
use super::explain::{Explained, WHY_A_COPY, copies, reason};
use super::learned::{Basis, Learned, Remember};
use super::policies::{Comparison, Decide, Tried, slots_left};
use super::prepare::{self, Prepared};
use super::setup::{Setup, logs_dir};
use crate::base::{Span, Table, Time};
use crate::cost::{self, Cost};
use crate::dispatch::{Crew, Limits, Means, listen};
use crate::drive::{Heard, Watch};
use crate::fleet::{Host, HostId};
use crate::graph::{JobId, Workload, makespan_bound};
use crate::report::{self, Cells, Room, loss_parts, plural};
use crate::run::{Attempt, Entry, Event, Expectation, LossMeter, Losses, Order, Step};
use crate::sched::{Policy, Scheduler, offers};
use crate::sim::Rehearsal;

/// Show what would be built where, how long it would take, and why
#[derive(Args, Debug, Clone)]
pub struct PlanArgs {
    /// Do not connect to the hosts: take them all for up and empty
    #[arg(long)]
    offline: bool,
    /// Print the plan as JSON
    #[arg(long)]
    json: bool,
    /// Say of these derivations (a name, a glob or a .drv path) what each host had to offer
    #[arg(long, value_name = "NAME", conflicts_with = "json")]
    explain: Option<String>,
    /// Compare policies instead: how long all of it would take under each
    #[arg(long, conflicts_with = "explain")]
    compare: bool,
    #[command(flatten)]
    what: What,
    #[command(flatten)]
    place: Where,
    #[command(flatten)]
    decide: Decide,
    #[command(flatten)]
    remember: Remember,
}

/// A plan, as `--json` prints it; times in microseconds.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Plan {
    derivations: usize,
    makespan: Span,
    lower_bound: Span,
    losses: Option<Losses>,
    unreachable: Vec<String>,
    /// The policy's name.
    policy: &'static str,
    /// That policy and those that it was compared with; empty where there was no choice.
    tried: Vec<Tried>,
    /// What is to be said of it.
    #[serde(skip)]
    choice: Option<String>,
    /// What its estimates rest on.
    estimates_from: Basis,
    /// Whether the hosts that are there can build all that was asked for.
    complete: bool,
    jobs: Vec<PlannedJob>,
}

/// What one call of the verb prints.
enum Output {
    Plan(Plan),
    Explanation(String),
    Comparison(Comparison),
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct PlannedJob {
    start: Time,
    /// When it would be over. It may take other than estimated, with more or fewer builds beside it than when it was
    /// placed, and ends early if another attempt is done first.
    end: Option<Time>,
    drv: String,
    name: String,
    host: String,
    estimate: Span,
    p10: Span,
    p90: Span,
    /// A further attempt, on a faster host that has nothing else to do.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    copy: bool,
    why: String,
}

/// Runs the verb.
///
/// # Errors
/// There is nothing to plan for.
pub fn run(args: &PlanArgs) -> Result<(), CliError> {
    let options = args.what.eval_options();
    let mut say = |line: &str| super::tell!("{line}");
    let bare = args.what.whole_graph(args.offline)?;
    let config = args.decide.config()?;
    let mut setup = Setup::new(&args.place, &options, &mut say)?;
    match args.offline {
        true => setup.fleet.hosts.iter_mut().for_each(|(_, host)| host.guess_cores()),
        false => setup.ask_home()?,
    }
    let learning = Learned::begin(&setup, &args.remember, &config.cost);
    let mut prepared = match bare {
        Some(path) => prepare::load_whole(path)?,
        None => prepare::load(&setup, &args.what, &mut say)?,
    };
    let learned = learning.finish(&mut setup, &mut say)?;
    learned.sizes(&mut prepared.work);
    let base = Policy { cores: setup.cores(&args.place), ..config.policy };
    match make(args, &setup, &prepared, &learned, &base)? {
        Output::Explanation(text) => super::put(&text, "the explanation"),
        Output::Comparison(table) if args.json => print_json(&table, "the comparison"),
        Output::Comparison(table) => super::put(&table.text(Room::of_stdout()), "the comparison"),
        Output::Plan(plan) if args.json => print_json(&plan, "the plan"),
        Output::Plan(plan) => super::put(&text(&plan, Room::of_stdout()), "the plan"),
    }
}

fn print_json(what: &impl Serialize, name: &str) -> Result<(), CliError> {
    let json = serde_json::to_string(what).map_err(|e| CliError::io(format!("writing {name}"))(e.into()))?;
    super::put(&format!("{json}\n"), name)
}

/// Goes through the run beforehand, and says of it what was asked for.
fn make(
    args: &PlanArgs,
    setup: &Setup,
    prepared: &Prepared,
    learned: &Learned,
    base: &Policy,
) -> Result<Output, CliError> {
    let work = &prepared.work;
    let eligible = setup.eligible(work)?;
    setup.say_if_alone(work, &mut |line| super::tell!("{line}"));
    let (estimates, parallel) = learned.estimates(work);
    let hosts = &setup.fleet.hosts;
    let facts = if args.offline { None } else { Some(gather(args, setup, prepared, eligible.clone())?) };
    let unreachable: Vec<String> = facts.iter().flatten().filter_map(trouble).collect();
    let rehearsal = Rehearsal::new(work, hosts, &estimates, &eligible, facts).with_parallel(parallel.clone());
    let choice = args.decide.choose(base, &rehearsal);
    let warnings = unreachable.iter().map(|text| format!("warning: {text}"));
    let said = warnings.chain(slots_left(&choice.policy, rehearsal.hosts()));
    said.filter(|_| !args.json).for_each(|line| super::tell!("{line}"));
    let fresh = rehearsal.scheduler(choice.policy.clone());
    let sized = rehearsal.hosts();
    let limits = cost::limits(work, sized, &eligible, &parallel, |id| sized[id].lanes());
    let meter = LossMeter::new(work, hosts, &estimates, &eligible, choice.policy.jobs_per_core);
    let mut placements = Placements { builds: Vec::new(), meter, entries: Vec::new() };
    let mut scheduler = fresh.clone();
    let end = rehearsal.run(&mut scheduler, &mut placements);
    let Placements { builds, meter, entries } = placements;
    // What a host has already is neither planned nor held against the plan.
    let mut cost: Table<JobId, Span> = Table::filled(work.jobs.len(), Span::ZERO);
    builds.iter().for_each(|(_, job, ..)| cost[*job] = estimates[*job].median);
    let lower_bound = makespan_bound(work, &cost, &limits);
    if args.compare {
        let comparison = Comparison::new(
            &rehearsal,
            base,
            choice.name,
            lower_bound,
            builds.len() - copies(&entries).len(),
        );
        return Ok(Output::Comparison(comparison));
    }
    if let Some(name) = &args.explain {
        return explanation(name, setup, work, &fresh, &entries).map(Output::Explanation);
    }
    if !args.json && builds.len() > 1 && hosts.rows().iter().filter(|host| host.slots > 0).count() > 1 {
        super::tell!("what each host has to offer for a derivation: --explain NAME");
    }
    let copies = copies(&entries);
    Ok(Output::Plan(Plan {
        derivations: builds.len() - copies.len(),
        makespan: end.since(Time::ZERO),
        lower_bound,
        losses: meter.finish(end, lower_bound),
        unreachable,
        policy: choice.name,
        tried: choice.trials.iter().map(Tried::from).collect(),
        choice: args.decide.said_of(&choice, work.jobs.len()),
        estimates_from: learned.basis(work),
        complete: scheduler.verdict().missing.is_empty(),
        jobs: planned(&builds, &fresh, &entries, work, hosts, &estimates),
    }))
}

/// What each host had to offer for the derivations that go by a name.
fn explanation(
    name: &str,
    setup: &Setup,
    work: &Workload,
    fresh: &Scheduler,
    entries: &[Entry],
) -> Result<String, CliError> {
    let lack = |job: JobId, host: HostId| {
        let job = &work.jobs[job];
        setup.fleet.can_build(&job.name, &job.system, &job.features, host).err().map(|l| l.to_string())
    };
    let (hosts, room) = (&setup.fleet.hosts, Room::of_stdout());
    let run = Explained { work, hosts, fresh, entries, lack: &lack, room };
    run.text(name).map_err(|why| CliError::Usage(format!("--explain {name}: {why}")))
}

/// When each attempt is over.
fn ends(entries: &[Entry]) -> BTreeMap<(JobId, Attempt), Time> {
    let end = |entry: &Entry| match &entry.what {
        Step::Event(Event::Finished { job, attempt, .. }) => Some(((*job, *attempt), entry.at)),
        _ => None,
    };
    entries.iter().filter_map(end).collect()
}

/// What is to be said of each build.
fn planned(
    builds: &[Begun],
    fresh: &Scheduler,
    entries: &[Entry],
    work: &Workload,
    hosts: &Table<HostId, Host>,
    estimates: &Table<JobId, Cost>,
) -> Vec<PlannedJob> {
    let (ends, copies) = (ends(entries), copies(entries));
    // The plan's own orders are what is gone through again; if they did differ, those alone would have to do.
    let offers = offers(fresh, entries).unwrap_or_default();
    let name = |host: HostId| hosts[host].name.as_str();
    // What is expected has the host's speed and cores in it; the interval around it has the same.
    let spread = |job: JobId, work: Span| work.as_secs_f64() / estimates[job].median.as_secs_f64().max(1e-6);
    let planned = |&(start, job, attempt, host, expect): &Begun| {
        let copy = copies.contains(&(job, attempt));
        let offers = offers.get(&(job, attempt)).map_or(&[][..], Vec::as_slice);
        PlannedJob {
            start,
            end: ends.get(&(job, attempt)).copied(),
            drv: work.jobs[job].drv.clone(),
            name: work.jobs[job].name.clone(),
            host: hosts[host].name.clone(),
            estimate: expect.work,
            p10: estimates[job].p10.scale(spread(job, expect.work)),
            p90: estimates[job].p90.scale(spread(job, expect.work)),
            copy,
            why: if copy { WHY_A_COPY.to_owned() } else { reason(&expect, offers, host, name) },
        }
    };
    builds.iter().map(planned).collect()
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
        interrupts: interrupts.heed(),
        limits: Limits::default(),
        keep_failed: false,
        imports: setup.imports.clone(),
    };
    let work = Arc::new(prepared.work.clone());
    let (world, _logs) = crew.into_world(work, eligible, Arc::new(setup.mux()?), means);
    let facts: Vec<Event> = Heard::until_ready(world).facts().cloned().collect();
    runtime.shutdown_background();
    match facts.contains(&Event::Interrupted) {
        true => Err(CliError::Interrupted),
        false => Ok(facts),
    }
}

fn trouble(fact: &Event) -> Option<String> {
    match fact {
        Event::HostLost { cause, .. } | Event::HostRefused { cause, .. } => Some(cause.clone()),
        _ => None,
    }
}

/// A build: when and where it begins, and what is expected of it.
type Begun = (Time, JobId, Attempt, HostId, Expectation);

/// The builds in the order in which they would begin, and everything that leads to them.
struct Placements {
    builds: Vec<Begun>,
    meter: LossMeter,
    entries: Vec<Entry>,
}

impl Watch for Placements {
    fn event(&mut self, at: Time, event: &Event) {
        self.meter.event(at, event);
        self.entries.push(Entry { at, what: Step::Event(event.clone()) });
    }

    fn order(&mut self, at: Time, order: &Order) {
        self.meter.order(at, order);
        self.entries.push(Entry { at, what: Step::Order(order.clone()) });
        if let Order::Build { job, attempt, host, expect, .. } = order {
            self.builds.push((at, *job, *attempt, *host, *expect));
        }
    }
}

fn text(plan: &Plan, room: Room) -> String {
    if plan.derivations == 0 {
        return "nothing to build\n".to_owned();
    }
    let mut table = report::Table::new([
        (Cells::Numbers, "start"),
        (Cells::Numbers, "takes"),
        (Cells::Words, "host"),
        (Cells::Words, "why"),
        (Cells::Names, "derivation"),
    ]);
    for job in &plan.jobs {
        let (start, takes) = (job.start.since(Time::ZERO).to_string(), job.estimate.to_string());
        table.row([start, takes, job.host.clone(), job.why.clone(), job.name.clone()]);
    }
    let mut out = table.text(room);
    let _ = writeln!(
        out,
        "{} in about {} (no schedule takes less than {})",
        plural(plan.derivations, "derivation"),
        plan.makespan,
        plan.lower_bound
    );
    if let Some(losses) = &plan.losses
        && let Some(ratio) = losses.ratio()
    {
        let parts = loss_parts(losses).map(|parts| format!(": {parts}")).unwrap_or_default();
        let _ = writeln!(out, "{ratio:.2} times the lower bound{parts}");
    }
    if let Some(choice) = &plan.choice {
        let _ = writeln!(out, "{choice}");
    }
    let _ = writeln!(out, "{}", plan.estimates_from);
    if !plan.complete {
        out.push_str("the hosts that have answered cannot build all of it\n");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::testkit;

    #[test]
    fn the_last_planned_end_is_that_of_the_plan() {
        let local = serde_json::json!({
            "name": "local", "systems": ["x"], "features": [], "mandatory": [], "slots": 2, "cores": 4,
            "speed": 1.0, "substitutes": false, "link": crate::fleet::LinkSpeed::FREE,
        });
        let hosts: Table<HostId, Host> = [serde_json::from_value(local).unwrap()].into_iter().collect();
        let mut work = testkit::work(&[vec![], vec![0], vec![0], vec![1, 2]]);
        work.wanted = work.jobs[JobId(3)].outputs.clone();
        let estimates = cost::estimate(&work);
        let eligible = Table::filled(4, vec![HostId::HOME]);
        let rehearsal = Rehearsal::new(&work, &hosts, &estimates, &eligible, None);
        let meter = LossMeter::new(&work, &hosts, &estimates, &eligible, None);
        let mut placements = Placements { builds: Vec::new(), meter, entries: Vec::new() };
        let fresh = rehearsal.scheduler(Policy::default());
        let end = rehearsal.run(&mut fresh.clone(), &mut placements);
        let Placements { builds, entries, .. } = placements;
        let jobs = planned(&builds, &fresh, &entries, &work, &hosts, &estimates);
        assert_eq!(jobs.len(), 4);
        assert!(jobs.iter().all(|job| job.end > Some(job.start)));
        assert_eq!(jobs.iter().filter_map(|job| job.end).max(), Some(end));
    }
}
