//! `drvdispatch split`: a closure in parts, for machines that are separate CI runners.

use std::fmt::Write as _;

use clap::Args;
use serde::Serialize;

use super::args::{What, Where};
use super::configured::config;
use super::error::CliError;
use super::learned::{Learned, Remember};
use super::prepare;
use super::setup::Setup;
use crate::base::{Span, Table};
use crate::cost::Cost;
use crate::graph::{JobId, Limits, Pace, PathId, Power, Shard, ShardId, Sharding, Workload, makespan_bound};
use crate::report::{self, Cells, Room, bytes, plural};

/// Divide what is to be built among machines that work by themselves
#[derive(Args, Debug, Clone)]
pub struct SplitArgs {
    #[command(flatten)]
    what: What,
    /// In how many parts
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u32).range(1..=1000))]
    shards: u32,
    /// Builds at a time on each machine, for the estimate of time
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    slots: u32,
    /// With --graph: ask no store, but divide all of it as if nothing had been built
    #[arg(long, requires = "graph")]
    offline: bool,
    /// Print the parts as JSON
    #[arg(long)]
    json: bool,
    /// Ignore the configuration file
    #[arg(long)]
    no_config: bool,
    #[command(flatten)]
    remember: Remember,
}

/// What `--json` prints; times in microseconds, sizes in bytes.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Split {
    derivations: usize,
    /// The sum over all shards.
    cost: Span,
    makespan: Span,
    /// What one such machine would take for all of it.
    one_machine: Span,
    /// How many shards are built at the same time, at most.
    at_once: usize,
    /// Fewer derivations than shards were asked for, so that some have nothing to build.
    #[serde(skip)]
    empty: usize,
    /// More shards on no more machines that are done clearly sooner: how many, how many at a time, and when.
    #[serde(skip)]
    with_more: Option<(usize, usize, Span)>,
    /// What no schedule on so many machines takes less than, transfers not counted.
    lower_bound: Span,
    crossing_bytes: u64,
    shards: Vec<Part>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Part {
    shard: u32,
    cost: Span,
    start: Span,
    finish: Span,
    /// What to hand to `nix build`, inputs before users.
    build: Vec<String>,
    needs: Vec<Need>,
    /// What other shards need of this one.
    uploads: Vec<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Need {
    shard: u32,
    bytes: u64,
    paths: Vec<String>,
}

/// Runs the verb.
///
/// # Errors
/// There is nothing to divide.
pub fn run(args: &SplitArgs) -> Result<(), CliError> {
    let mut say = |line: &str| super::tell!("{line}");
    let mut prepared = match args.what.whole_graph(args.offline)? {
        Some(path) => prepare::load_whole(path)?,
        None => {
            let here = Where { local_only: true, ..Where::default() };
            let setup = Setup::new(&here, &args.what.eval_options(), &mut say)?;
            prepare::load(&setup, &args.what, &mut say)?
        }
    };
    let learned = Learned::load(&args.remember, &config(args.no_config)?.cost, &[], &mut say);
    learned.sizes(&mut prepared.work);
    let split = split(&prepared.work, &learned.estimates(&prepared.work).0, args.shards, args.slots);
    if args.json {
        let json = serde_json::to_string(&split).map_err(|e| CliError::io("writing the parts")(e.into()))?;
        super::put(&format!("{json}\n"), "the parts")
    } else {
        super::put(&text(&split, Room::of_stdout()), "the parts")
    }
}

/// On as many machines as there are shards, a base and an end may come before and after: so many more shards.
const BASE_AND_END: u32 = 2;
/// How much sooner all has to be done with more shards to speak of them.
const CLEARLY: f64 = 0.95;

fn split(work: &Workload, estimates: &Table<JobId, Cost>, shards: u32, slots: u32) -> Split {
    let cost: Table<JobId, Span> = estimates.rows().iter().map(|cost| cost.median).collect();
    let most = u32::try_from(work.jobs.len()).unwrap_or(u32::MAX).min(shards + BASE_AND_END);
    let more = (shards + 1..=most).filter(|_| shards > 1);
    let counts: Vec<u32> = [shards, 1].into_iter().chain(more).collect();
    let shardings = Sharding::several(work, &cost, &counts, slots);
    let (sharding, one_machine, more) = (&shardings[0], &shardings[1], &shardings[2..]);
    let machines = vec![Power::slots(slots); shards as usize];
    let limits =
        Limits::new(work, &machines, |_| (0..machines.len()).map(|i| (i, Pace::one_core(1.0))).collect());
    Split {
        derivations: work.jobs.len(),
        cost: cost.rows().iter().copied().sum(),
        makespan: sharding.makespan(),
        one_machine: one_machine.makespan(),
        at_once: sharding.at_once(),
        empty: sharding.shards.rows().iter().filter(|shard| shard.jobs.is_empty()).count(),
        with_more: with_more(sharding, more),
        lower_bound: makespan_bound(work, &cost, &limits),
        crossing_bytes: sharding.crossing(work),
        shards: sharding.shards.iter().map(|(id, shard)| part(work, sharding, id, shard)).collect(),
    }
}

/// Those of `more` shards that have all done the soonest and clearly sooner, on no more machines than there are
/// shards now.
fn with_more(now: &Sharding, more: &[Sharding]) -> Option<(usize, usize, Span)> {
    let limit = now.makespan().scale(CLEARLY);
    more.iter()
        .map(|sharding| (sharding.shards.len(), sharding.at_once(), sharding.makespan()))
        .filter(|&(_, at_once, makespan)| at_once <= now.shards.len() && makespan < limit)
        .min_by_key(|&(count, _, makespan)| (makespan, count))
}

fn part(work: &Workload, sharding: &Sharding, id: ShardId, shard: &Shard) -> Part {
    let path = |&path: &PathId| work.paths[path].path.clone();
    let need = |(from, paths): (&ShardId, &Vec<PathId>)| Need {
        shard: from.0,
        bytes: paths.iter().map(|&path| work.paths[path].size).fold(0, u64::saturating_add),
        paths: paths.iter().map(path).collect(),
    };
    let others = sharding.shards.rows().iter();
    let mut uploads: Vec<PathId> =
        others.filter_map(|other| other.needs.get(&id)).flatten().copied().collect();
    uploads.sort_unstable();
    uploads.dedup();
    Part {
        shard: id.0,
        cost: shard.cost,
        start: shard.start,
        finish: shard.finish,
        build: shard.jobs.iter().map(|&job| format!("{}^*", work.jobs[job].drv)).collect(),
        needs: shard.needs.iter().map(need).collect(),
        uploads: uploads.iter().map(path).collect(),
    }
}

fn text(split: &Split, room: Room) -> String {
    if split.derivations == 0 {
        return "nothing to build\n".to_owned();
    }
    let mut table = report::Table::new([
        (Cells::Numbers, "shard"),
        (Cells::Numbers, "builds"),
        (Cells::Numbers, "cost"),
        (Cells::Numbers, "from"),
        (Cells::Numbers, "until"),
        (Cells::List, "needs"),
    ]);
    for part in &split.shards {
        let [cost, start, finish] = [part.cost, part.start, part.finish].map(|span| span.to_string());
        let need = |need: &Need| {
            format!("{} of {} ({})", plural(need.paths.len(), "path"), need.shard, bytes(need.bytes))
        };
        let needs: Vec<String> = part.needs.iter().map(need).collect();
        let needs = match needs.is_empty() {
            true if part.build.is_empty() => "nothing to build".to_owned(),
            true => "nothing of others".to_owned(),
            false => needs.join(", "),
        };
        table.row([part.shard.to_string(), part.build.len().to_string(), cost, start, finish, needs]);
    }
    table.text(room) + &summary(split)
}

/// What dividing is good for.
fn summary(split: &Split) -> String {
    let (count, machines) = (plural(split.derivations, "derivation"), split.shards.len());
    let shards = plural(machines, "shard");
    if machines == 1 {
        return format!("{count} in {shards}: done in about {}\n", split.makespan);
    }
    let (makespan, one) = (split.makespan.to_string(), split.one_machine.to_string());
    let side_by_side = match split.at_once {
        _ if machines - split.empty <= 1 => String::new(),
        0 | 1 => " that only follow each other".to_owned(),
        at_once if at_once < machines => format!(", at most {at_once} of them at a time"),
        _ => ", all at the same time".to_owned(),
    };
    let versus = match () {
        () if makespan == one => "as on one machine".to_owned(),
        () if split.makespan < split.one_machine => format!("against {one} on one machine"),
        () => format!("though one machine would take {one}"),
    };
    let crossing = bytes(split.crossing_bytes);
    let bound = split.lower_bound;
    let mut out = format!("{count} in {shards}{side_by_side}: done in about {makespan}, {versus}\n");
    if split.empty > 0 {
        let _ = writeln!(
            out,
            "there are fewer derivations than shards: {} nothing to build",
            match split.empty {
                1 => "the last has".to_owned(),
                empty => format!("the last {empty} have"),
            }
        );
    }
    let _ = writeln!(out, "each begins when those that it needs are done; {crossing} cross between them");
    if let Some((count, at_once, sooner)) = split.with_more {
        let _ = writeln!(out, "in {count} shards, at most {at_once} of them at a time, it would be {sooner}");
    }
    let _ = writeln!(
        out,
        "one schedule over {machines} machines that reach each other takes at least {bound}: `drvdispatch build`"
    );
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{Job, Origin, PathSpec};

    fn said(split: &Split) -> String {
        text(split, Room::PIPE)
    }

    fn chain(length: u32) -> Workload {
        let job = |n: u32| Job {
            drv: format!("/nix/store/{n:032}-hello-{n}.drv"),
            name: format!("hello-{n}"),
            system: "x86_64-linux".to_owned(),
            features: vec![],
            needs: n.checked_sub(1).map(JobId).into_iter().collect(),
            inputs: n.checked_sub(1).map(PathId).into_iter().collect(),
            outputs: vec![PathId(n)],
            fixed_output: false,
            prefer_local: false,
            parallel: false,
        };
        let path = |n: u32| PathSpec {
            path: format!("/nix/store/{n:032}-hello-{n}"),
            origin: Origin::Job(JobId(n)),
            size: 1 << 20,
            refs: vec![],
        };
        Workload {
            jobs: (0..length).map(job).collect(),
            paths: (0..length).map(path).collect(),
            wanted: vec![],
        }
    }

    fn divided(work: &Workload, shards: u32) -> Split {
        split(work, &crate::cost::estimate(work), shards, 1)
    }

    #[test]
    fn programs_get_what_to_build_and_what_to_fetch() {
        let json = serde_json::to_value(divided(&chain(2), 2)).unwrap();
        let zeros = "0".repeat(31);
        assert_eq!(
            json["shards"][1]["build"],
            serde_json::json!([format!("/nix/store/{zeros}1-hello-1.drv^*")])
        );
        let need = serde_json::json!([{
            "shard": 0, "bytes": 1 << 20, "paths": [format!("/nix/store/{zeros}0-hello-0")],
        }]);
        assert_eq!(json["shards"][1]["needs"], need);
        assert_eq!(json["shards"][0]["uploads"], need[0]["paths"]);
        assert_eq!((&json["derivations"], &json["crossingBytes"]), (&2.into(), &(1 << 20).into()));
    }

    #[test]
    fn of_one_machine_nothing_is_said_of_several() {
        insta::assert_snapshot!(said(&divided(&chain(2), 1)), @r"
        shard  builds   cost  from  until  needs
            0       2  1m00s  0.0s  1m00s  nothing of others
        2 derivations in 1 shard: done in about 1m00s
        ");
    }

    #[test]
    fn people_hear_that_more_shards_can_overlap() {
        // Two chains on one derivation, and one that needs both.
        let mut fork = chain(6);
        for (job, needs) in [vec![], vec![0], vec![0], vec![1], vec![2], vec![3, 4]].into_iter().enumerate() {
            let job = &mut fork.jobs[JobId(job as u32)];
            job.inputs = needs.iter().copied().map(PathId).collect();
            job.needs = needs.into_iter().map(JobId).collect();
        }
        let more = divided(&fork, 4);
        assert!(more.makespan < more.one_machine);
        let hint = format!("\nin 4 shards, at most 2 of them at a time, it would be {}\n", more.makespan);
        assert!(said(&divided(&fork, 2)).contains(&hint), "{}", said(&divided(&fork, 2)));
        let (text, one) = (said(&more), more.one_machine);
        assert!(!text.contains("follow each other") && !text.contains("it would be"), "{text}");
        let versus = format!(
            "in 4 shards, at most 2 of them at a time: done in about {}, against {one} on one machine\n",
            more.makespan
        );
        assert!(text.contains(&versus), "{text}");
    }

    #[test]
    fn people_hear_that_some_shards_have_nothing_to_build() {
        let few = divided(&chain(2), 4);
        let builds: Vec<usize> = few.shards.iter().map(|part| part.build.len()).collect();
        assert_eq!(builds, [1, 1, 0, 0]);
        let line = "there are fewer derivations than shards: the last 2 have nothing to build\n";
        assert!(said(&few).contains(line), "{}", said(&few));
        assert!(said(&divided(&chain(1), 2)).contains("the last has nothing to build\n"));
    }

    #[test]
    fn people_get_a_line_each() {
        assert_eq!(said(&divided(&Workload::default(), 2)), "nothing to build\n");
        let text = said(&divided(&chain(4), 2));
        let shape: Vec<String> =
            text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        assert!(shape[1].starts_with("0 2 ") && shape[1].ends_with(" nothing of others"), "{text}");
        assert!(shape[2].starts_with("1 2 ") && shape[2].ends_with(" 1 path of 0 (1.0 MiB)"), "{text}");
        let done = "4 derivations in 2 shards that only follow each other: done in about";
        assert!(shape[3].starts_with(done) && shape[3].ends_with(", as on one machine"), "{text}");
    }
}
