//! The table, as text and as JSON.

use std::collections::BTreeMap;

use drvdispatch::base::{Interval, Span};
use drvdispatch::sched::Policy;
use serde_json::json;

use crate::Args;
use crate::cases::Row;
use crate::common::clusters::Cluster;
use crate::common::graphs::Source;
use crate::stats::mean;

/// What all runs of one policy in one place come to.
struct Line<'a> {
    policy: &'a str,
    ratio: Interval,
    /// Its makespans over those of the first policy, world by world.
    relative: Interval,
    gigabytes: f64,
    /// Parts of all slot time.
    no_work: f64,
    waiting: f64,
    transfer: f64,
    runs: usize,
}

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
    for ((group, fleet, sigma), rows) in &groups {
        let Cluster { name, about, .. } = &fleets[*fleet];
        print_group(args, policies, rows, [group, name, about], args.sigma[*sigma]);
    }
    let together = fleets.iter().filter(|fleet| UNLIKE.contains(&fleet.name)).count() > 1;
    for (sigma, rows) in unlike.iter().filter(|_| together && !args.each) {
        let place = ["all graphs", &UNLIKE.join(" and "), "each graph in each fleet counts once"];
        print_group(args, policies, rows, place, args.sigma[*sigma]);
    }
}

/// Prints the table of one group: of which graphs, where, and what that is.
fn print_group(
    args: &Args,
    policies: &[(String, Policy)],
    rows: &[&Row],
    [group, fleet, about]: [&str; 3],
    sigma: f64,
) {
    let lines = lines(policies, rows);
    if args.json {
        return lines.iter().for_each(|line| println!("{}", line.json(group, fleet, sigma)));
    }
    println!("\n{group} on {fleet} ({about}), sigma {sigma}");
    println!(
        "{:<24} {:>8} {:>15} {:>9} {:>17} {:>9}  idle %: {:>7} {:>7} {:>8}",
        "policy", "/ bound", "95 %", "to first", "95 %", "GB", "no work", "waiting", "transfer"
    );
    lines.iter().for_each(Line::print);
}

fn lines<'a>(policies: &'a [(String, Policy)], rows: &[&Row]) -> Vec<Line<'a>> {
    let world = |row: &Row| (row.source, row.fleet, row.seed);
    let first: BTreeMap<(usize, usize, u64), f64> =
        rows.iter().filter(|row| row.policy == 0).map(|row| (world(row), row.ratio)).collect();
    let line = |(index, (name, _)): (usize, &'a (String, Policy))| {
        let of: Vec<&Row> = rows.iter().filter(|row| row.policy == index).copied().collect();
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
    fn print(&self) {
        let percent = |ratio: f64| (ratio - 1.0) * 100.0;
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
            "gigabytes": self.gigabytes,
            "idle": { "noWork": self.no_work, "waiting": self.waiting, "transfer": self.transfer },
        })
    }
}
