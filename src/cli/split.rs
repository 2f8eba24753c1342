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
use crate::report::{bytes, plural};

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
    /// What this number of such machines, more than asked for, would take, where those only follow each other.
    #[serde(skip)]
    with_more: Option<(u32, Span)>,
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
        super::put(&text(&split), "the parts")
    }
}

/// A base, two parts that are built on it at the same time, and the end that needs both: fewer shards have to
/// follow each other where all rests on one derivation and ends in one.
const BASE_AND_END: u32 = 4;

fn split(work: &Workload, estimates: &Table<JobId, Cost>, shards: u32, slots: u32) -> Split {
    let cost: Table<JobId, Span> = estimates.rows().iter().map(|cost| cost.median).collect();
    let sharding = Sharding::new(work, &cost, shards, slots);
    let one_machine = Sharding::new(work, &cost, 1, slots).makespan();
    let more = (sharding.makespan() >= one_machine && shards < BASE_AND_END)
        .then(|| (BASE_AND_END, Sharding::new(work, &cost, BASE_AND_END, slots).makespan()));
    let machines = vec![Power::slots(slots); shards as usize];
    let limits =
        Limits::new(work, &machines, |_| (0..machines.len()).map(|i| (i, Pace::one_core(1.0))).collect());
    let bound = makespan_bound(work, &cost, &limits);
    Split {
        derivations: work.jobs.len(),
        cost: cost.rows().iter().copied().sum(),
        makespan: sharding.makespan(),
        one_machine,
        with_more: more.filter(|&(_, makespan)| makespan < one_machine && shards > 1),
        lower_bound: bound,
        crossing_bytes: sharding.crossing(work),
        shards: sharding.shards.iter().map(|(id, shard)| part(work, &sharding, id, shard)).collect(),
    }
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

fn text(split: &Split) -> String {
    if split.derivations == 0 {
        return "nothing to build\n".to_owned();
    }
    let mut out = format!(
        "{:>5}  {:>11}  {:>7}  {:>7}  {:>7}  needs\n",
        "shard", "derivations", "cost", "from", "until"
    );
    for part in &split.shards {
        let [cost, start, finish] = [part.cost, part.start, part.finish].map(|span| span.to_string());
        let need = |need: &Need| {
            format!("{} of {} ({})", plural(need.paths.len(), "path"), need.shard, bytes(need.bytes))
        };
        let needs: Vec<String> = part.needs.iter().map(need).collect();
        let needs = if needs.is_empty() { "nothing of others".to_owned() } else { needs.join(", ") };
        let (shard, count) = (part.shard, part.build.len());
        let _ = writeln!(out, "{shard:>5}  {count:>11}  {cost:>7}  {start:>7}  {finish:>7}  {needs}");
    }
    let (count, shards) = (plural(split.derivations, "derivation"), plural(split.shards.len(), "shard"));
    let _ = write!(out, "{count} in {shards}: done in about {}", split.makespan);
    if split.shards.len() > 1 {
        let crossing = bytes(split.crossing_bytes);
        let _ = writeln!(
            out,
            ", if each begins when those that it needs are done; {crossing} cross between them"
        );
        let word = if split.makespan < split.one_machine {
            ""
        } else {
            " as well: these shards only follow each other"
        };
        let more = split.with_more.map(|(count, makespan)| format!(", {count} shards {makespan}"));
        let _ = writeln!(
            out,
            "one machine for all of it would take {}{word}{}",
            split.one_machine,
            more.unwrap_or_default()
        );
        let _ = writeln!(
            out,
            "one schedule over all these machines could take {} at best: `drvdispatch build`, where they can be reached",
            split.lower_bound
        );
    } else {
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{Job, Origin, PathSpec};

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
        insta::assert_snapshot!(text(&divided(&chain(2), 1)), @r"
        shard  derivations     cost     from    until  needs
            0            2    1m00s     0.0s    1m00s  nothing of others
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
        let hint = format!("only follow each other, 4 shards {}\n", more.makespan);
        assert!(text(&divided(&fork, 2)).contains(&hint), "{}", text(&divided(&fork, 2)));
        assert!(!text(&more).contains("follow each other"));
    }

    #[test]
    fn people_get_a_line_each() {
        assert_eq!(text(&divided(&Workload::default(), 2)), "nothing to build\n");
        let text = text(&divided(&chain(4), 2));
        let shape: Vec<String> =
            text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        assert!(shape[1].starts_with("0 2 ") && shape[1].ends_with(" nothing of others"), "{text}");
        assert!(shape[2].starts_with("1 2 ") && shape[2].ends_with(" 1 path of 0 (1.0 MiB)"), "{text}");
        assert!(shape[3].starts_with("4 derivations in 2 shards: done in about"), "{text}");
        assert!(shape[4].ends_with(" as well: these shards only follow each other"), "{text}");
    }
}
