//! The table, as text and as JSON.

use std::collections::{BTreeMap, BTreeSet};

use drvdispatch::base::{Interval, Span};
use drvdispatch::sched::Policy;
use serde_json::json;

use crate::Args;
use crate::cases::Row;
use crate::common::clusters::Cluster;
use crate::common::graphs::Source;
use crate::policies::is_clairvoyant;
use crate::stats::mean;

/// What all runs of one policy in one place come to.
struct Line<'a> {
    policy: &'a str,
    ratio: Interval,
    /// Its makespans over those of the first policy, world by world.
    relative: Interval,
    seeds: usize,
    gigabytes: f64,
    /// Parts of all slot time.
    no_work: f64,
    waiting: f64,
    transfer: f64,
    runs: usize,
}

/// What a table does not show.
const ROUNDED: f64 = 0.0005;

/// What intervals of worlds that are all alike are off by arithmetic.
const ALIKE: f64 = 1e-9;

/// Of fewer seeds an interval says nothing: all of four are on one side once in sixteen times by chance alone, and
/// hundreds of intervals are looked at.
const TELLING: usize = 5;

/// Fleets of unlike hosts, on which policies differ most: with the mean over both they are compared as a whole.
const UNLIKE: [&str; 2] = ["het4", "wan"];

/// Prints a table for each group of graphs, fleet and sigma.
pub fn print(
    args: &Args,
    sources: &[Source],
    fleets: &[Cluster],
    policies: &[(String, Policy)],
    rows: &[Row],
) {
    let group = |row: &Row| match args.each {
        true => sources[row.source].name.clone(),
        false => sources[row.source].family.name().to_owned(),
    };
    let mut groups: BTreeMap<(String, usize, usize), Vec<&Row>> = BTreeMap::new();
    let mut unlike: BTreeMap<usize, Vec<&Row>> = BTreeMap::new();
    for row in rows {
        groups.entry((group(row), row.fleet, row.sigma)).or_default().push(row);
        if UNLIKE.contains(&fleets[row.fleet].name) {
            unlike.entry(row.sigma).or_default().push(row);
        }
    }
    let mut better = Vec::new();
    for ((group, fleet, sigma), rows) in &groups {
        let Cluster { name, about, .. } = &fleets[*fleet];
        better.extend(print_group(args, policies, rows, [group, name, about], args.sigma[*sigma]));
    }
    let together = fleets.iter().filter(|fleet| UNLIKE.contains(&fleet.name)).count() > 1;
    for (sigma, rows) in unlike.iter().filter(|_| together && !args.each) {
        let place = ["all graphs", &UNLIKE.join(" and "), "each graph in each fleet counts once"];
        better.extend(print_group(args, policies, rows, place, args.sigma[*sigma]));
    }
    if !args.json && policies.len() > 1 {
        let compared =
            (groups.len() + if together && !args.each { unlike.len() } else { 0 }) * (policies.len() - 1);
        print!("{}", verdict(&policies[0].0, &better, args.seeds, compared));
    }
}

/// Where the first policy is not the best: what the tables come to. One in forty 95 % intervals is below what it is
/// an interval of, whatever was compared.
fn verdict(first: &str, better: &[String], seeds: u64, compared: usize) -> String {
    let how = match seeds < TELLING as u64 {
        true => format!("with {seeds} of the {TELLING} seeds that this takes: only where all are alike"),
        false => "the whole interval".to_owned(),
    };
    let mut text = format!("\nbetter than {first} by more than noise ({how}):\n");
    better.iter().for_each(|line| text += &format!("  {line}\n"));
    if better.is_empty() {
        text += "  no policy anywhere\n";
    }
    text +=
        &format!("({compared} compared; if all were alike, {} would be by chance)\n", compared.div_ceil(40));
    text
}

/// Prints the table of one group: of which graphs, where, and what that is. Returns a line for each policy that
/// is better there than the first one.
fn print_group(
    args: &Args,
    policies: &[(String, Policy)],
    rows: &[&Row],
    [group, fleet, about]: [&str; 3],
    sigma: f64,
) -> Vec<String> {
    let lines = lines(policies, rows);
    if args.json {
        lines.iter().for_each(|line| println!("{}", line.json(group, fleet, sigma)));
        return Vec::new();
    }
    println!("\n{group} on {fleet} ({about}), sigma {sigma}");
    println!(
        "{:<24} {:>8} {:>15} {:>9} {:>17} {:>9}  idle %: {:>7} {:>7} {:>8}",
        "policy", "/ bound", "95 %", "to first", "95 %", "GB", "no work", "waiting", "transfer"
    );
    lines.iter().for_each(Line::print);
    let better = lines.iter().filter(|line| line.is_better());
    better
        .map(|line| {
            let [mean, low, high] = [line.relative.mean, line.relative.low, line.relative.high].map(percent);
            format!(
                "{}: {mean:+.1} % ({low:+.1} to {high:+.1}), {group} on {fleet}, sigma {sigma}",
                line.policy
            )
        })
        .collect()
}

fn percent(ratio: f64) -> f64 {
    (ratio - 1.0) * 100.0
}

fn lines<'a>(policies: &'a [(String, Policy)], rows: &[&Row]) -> Vec<Line<'a>> {
    let world = |row: &Row| (row.source, row.fleet, row.seed);
    let first: BTreeMap<(usize, usize, u64), f64> =
        rows.iter().filter(|row| row.policy == 0).map(|row| (world(row), row.ratio)).collect();
    let line = |(index, (name, _)): (usize, &'a (String, Policy))| {
        let of: Vec<&Row> = rows.iter().filter(|row| row.policy == index).copied().collect();
        let seeds: BTreeSet<u64> = of.iter().map(|row| row.seed).collect();
        let by_seed = |value: &dyn Fn(&Row) -> Option<f64>| {
            let mut values: BTreeMap<u64, Vec<f64>> = BTreeMap::new();
            for row in &of {
                values.entry(row.seed).or_default().extend(value(row));
            }
            mean(&values)
        };
        let sum = |span: &dyn Fn(&Row) -> Span| of.iter().map(|row| span(row).as_secs_f64()).sum::<f64>();
        let [no_work, waiting, transfer] = [
            sum(&|row| row.measured.idle.no_work),
            sum(&|row| row.measured.idle.waiting),
            sum(&|row| row.measured.idle.transfer),
        ];
        let all = no_work + waiting + transfer + sum(&|row| row.measured.busy);
        let bytes: u64 = of.iter().map(|row| row.measured.bytes).sum();
        (!of.is_empty()).then(|| Line {
            policy: name,
            ratio: by_seed(&|row| Some(row.ratio)),
            relative: by_seed(&|row| Some(row.ratio / first.get(&world(row))?)),
            seeds: seeds.len(),
            gigabytes: bytes as f64 / 1e9 / of.len() as f64,
            no_work: no_work / all,
            waiting: waiting / all,
            transfer: transfer / all,
            runs: of.len(),
        })
    };
    policies.iter().enumerate().filter_map(line).collect()
}

impl Line<'_> {
    /// Whether it is better than the first policy, beyond noise: with all of its interval, and by more than
    /// what is rounded away, and with enough seeds unless there is no noise. Who knows the truth does not compete.
    fn is_better(&self) -> bool {
        let Interval { low, high, .. } = self.relative;
        let tells = self.seeds >= TELLING || high - low < ALIKE;
        !is_clairvoyant(self.policy) && tells && high < 1.0 - ROUNDED
    }

    fn print(&self) {
        println!(
            "{:<24} {:>8.3} {:>15} {:>+8.1}% {:>17} {:>9.2}          {:>7.1} {:>7.1} {:>8.1}",
            self.policy,
            self.ratio.mean,
            format!("{:.3} to {:.3}", self.ratio.low, self.ratio.high),
            percent(self.relative.mean),
            format!("{:+.1} to {:+.1}", percent(self.relative.low), percent(self.relative.high)),
            self.gigabytes,
            self.no_work * 100.0,
            self.waiting * 100.0,
            self.transfer * 100.0,
        );
    }

    fn json(&self, group: &str, fleet: &str, sigma: f64) -> serde_json::Value {
        json!({
            "graphs": group,
            "fleet": fleet,
            "sigma": sigma,
            "policy": self.policy,
            "runs": self.runs,
            "ratio": self.ratio.mean,
            "ratio95": [self.ratio.low, self.ratio.high],
            "toFirst": self.relative.mean,
            "toFirst95": [self.relative.low, self.relative.high],
            "better": self.is_better(),
            "gigabytes": self.gigabytes,
            "idle": { "noWork": self.no_work, "waiting": self.waiting, "transfer": self.transfer },
        })
    }
}
