//! The policies by name: which one a run is to use, and how they compare.

use std::fmt::Write as _;

use clap::Args;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use serde::Serialize;

use super::configured::config;
use super::error::CliError;
use crate::base::{Span, Table};
use crate::fleet::{Host, HostId};
use crate::records::Config;
use crate::report::{self, Cells, Room, bytes};
use crate::sched::Policy;
use crate::sim::{Choice, DEFAULT, MOST_JOBS, Rehearsal, Trial, named};

/// Those worth showing, with what they do.
pub const SHOWN: [(&str, &str); 10] = [
    ("full", "the longest way to the end first, each derivation where it is done first"),
    (
        "nix",
        "as `nix build --builders` does: by name, on the builder with the least to do, this machine last",
    ),
    ("fifo-fastest", "first come, first served, on the fastest host that is free"),
    ("hops-fastest", "those with the most derivations behind them first, on the fastest host that is free"),
    ("rank-fastest", "the longest way to the end first, on the fastest host that is free"),
    ("heft", "by a plan made before the run and kept to while its hosts are there"),
    (
        "planned",
        "by the same plan while hosts and derivations are as it took them to be, too, then as no-tolerance",
    ),
    ("all-local", "on this machine only, but for what it cannot build"),
    ("all-fastest", "on the host with the most speed in all only, but for what it cannot build"),
    ("no-tolerance", "as full, but strictly by the longest way, however small the difference"),
];

/// Which policy.
#[derive(Args, Debug, Clone, Default, PartialEq, Eq)]
#[command(next_help_heading = "How to decide")]
pub struct Decide {
    /// Decide by this policy. Without it, by the default one or, where that is sooner, a plainer one; what is replayed,
    /// as it was
    #[arg(long, value_name = "NAME", value_parser = names())]
    pub policy: Option<&'static str>,
    /// Ignore the configuration file: decide and estimate by the numbers that are built in
    #[arg(long)]
    pub no_config: bool,
}

fn names() -> impl TypedValueParser<Value = &'static str> {
    let value = |name: &&'static str| match SHOWN.iter().find(|(shown, _)| shown == name) {
        Some((_, about)) => PossibleValue::new(name).help(about),
        // For measuring what a single idea is worth.
        None => PossibleValue::new(name).hide(true),
    };
    let values: Vec<PossibleValue> = Policy::NAMES.iter().map(value).collect();
    let own = |name: String| Policy::NAMES.iter().find(|own| **own == name).copied().unwrap_or(DEFAULT);
    PossibleValuesParser::new(values).map(own)
}

impl Decide {
    /// The numbers to decide and estimate by.
    ///
    /// # Errors
    /// The configuration is wrong.
    pub fn config(&self) -> Result<Config, CliError> {
        config(self.no_config)
    }

    /// The policy for a run: the one asked for, or the best of a few; with the user's decisions from `base`.
    pub fn choose(&self, base: &Policy, rehearsal: &Rehearsal<'_>) -> Choice {
        let asked = self.policy.and_then(|name| Some((name, named(name, base)?)));
        match asked {
            Some((name, policy)) => {
                if let Some(idle) = idle_host(&policy, rehearsal.hosts()) {
                    super::tell!("warning: --policy {name}: {idle} builds nothing, so all goes elsewhere");
                }
                Choice { name, policy, trials: Vec::new() }
            }
            None => rehearsal.choose(base),
        }
    }

    /// What was chosen, and over what; nothing if there was no choice.
    pub fn said_of(&self, choice: &Choice, jobs: usize) -> Option<String> {
        let Choice { name, trials, .. } = choice;
        match (self.policy, trials.is_empty()) {
            (Some(_), _) => Some(format!("policy: {name}, as asked for")),
            (None, true) => (jobs > MOST_JOBS)
                .then(|| format!("policy: {name}; with more than {MOST_JOBS} derivations no other is tried")),
            (None, false) => {
                let (chosen, others): (Vec<&Trial>, Vec<&Trial>) =
                    trials.iter().partition(|trial| trial.name == *name);
                let list = |trials: &[&Trial], of: &dyn Fn(&Trial) -> Option<String>| -> String {
                    trials.iter().filter_map(|trial| of(trial)).collect::<Vec<_>>().join(", ")
                };
                let takes =
                    list(&chosen, &|trial| Some(format!("{} in about {}", trial.name, trial.makespan)));
                let rivals =
                    list(&others, &|trial| Some(format!("{} would take {}", trial.name, trial.makespan)));
                let means = list(&[chosen, others].concat(), &|trial| {
                    Some(format!("{} {}", trial.name, trial.mean?))
                });
                let means = if means.is_empty() { means } else { format!("{ON_AVERAGE}{means}") };
                Some(format!("policy: {takes}; {rivals}{means}"))
            }
        }
    }
}

/// Which hosts use fewer than their slots, as they have fewer cores; nothing where none does.
pub fn slots_left(policy: &Policy, hosts: &Table<HostId, Host>) -> Option<String> {
    let left = |host: &Host| match host.used_slots(policy.jobs_per_core) {
        used if used < host.slots => Some(format!("{} {used} of {}", host.name, host.slots)),
        _ => None,
    };
    let left: Vec<String> = hosts.rows().iter().filter_map(left).collect();
    let name = "jobs_per_core";
    (!left.is_empty())
        .then(|| format!("slots in use at a time, by number of cores ({name}): {}", left.join(", ")))
}

/// Before what those that come near take if derivations take other than estimated.
const ON_AVERAGE: &str = "; on average, as builds take more or less than estimated: ";

/// What was tried before a run, as `--json` prints it; times in microseconds.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Tried {
    policy: &'static str,
    makespan: Span,
    /// The makespan on average if derivations take other than estimated, where that was looked at.
    mean: Option<Span>,
}

impl From<&Trial> for Tried {
    fn from(&Trial { name, makespan, mean, .. }: &Trial) -> Self {
        Self { policy: name, makespan, mean }
    }
}

/// How the policies compare on one graph and fleet, as `--json` prints it; times in microseconds.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Comparison {
    derivations: usize,
    lower_bound: Span,
    /// What a run would use.
    chosen: &'static str,
    policies: Vec<Row>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    policy: &'static str,
    /// `None` where the policy is not possible, since its host builds nothing.
    makespan: Option<Span>,
    ratio: Option<f64>,
    bytes_moved: Option<u64>,
    /// Whether all would be built that was asked for.
    complete: bool,
    about: &'static str,
    /// The host that the policy keeps to and that builds nothing.
    #[serde(skip)]
    idle: Option<String>,
}

/// The host that a policy keeps to, if that builds nothing.
pub fn idle_host<'a>(policy: &Policy, hosts: &'a Table<HostId, Host>) -> Option<&'a str> {
    let host = &hosts[policy.confine.host(hosts)?];
    (host.slots == 0).then_some(host.name.as_str())
}

impl Comparison {
    /// Goes through the run under each policy; `bound` is what no schedule takes less than.
    pub fn new(
        rehearsal: &Rehearsal<'_>,
        base: &Policy,
        chosen: &'static str,
        bound: Span,
        derivations: usize,
    ) -> Self {
        let mut names: Vec<&'static str> = SHOWN[..SHOWN.len() - 1].iter().map(|(name, _)| *name).collect();
        if !names.contains(&chosen) {
            names.push(chosen);
        }
        let ratio = |span: Span| (bound > Span::ZERO).then(|| span.as_secs_f64() / bound.as_secs_f64());
        let idle = |name: &str| idle_host(&named(name, base)?, rehearsal.hosts()).map(str::to_owned);
        let row = |trial: Trial| {
            let idle = idle(trial.name);
            // It would go on as if it kept to no host.
            let makespan = Some(trial.makespan).filter(|_| idle.is_none());
            Row {
                policy: trial.name,
                makespan,
                ratio: makespan.and_then(ratio),
                bytes_moved: makespan.map(|_| trial.bytes),
                complete: makespan.is_some() && trial.missing == 0,
                about: about(trial.name),
                idle,
            }
        };
        let policies = rehearsal.compare(&names, base).into_iter().map(row).collect();
        Self { derivations, lower_bound: bound, chosen, policies }
    }

    /// The table.
    pub fn text(&self, room: Room) -> String {
        if self.derivations == 0 {
            return "nothing to build\n".to_owned();
        }
        let mut table = report::Table::new([
            (Cells::Words, "  policy"),
            (Cells::Numbers, "takes"),
            (Cells::Numbers, "× bound"),
            (Cells::Numbers, "copied"),
            (Cells::Text, "what it does"),
        ]);
        for row in &self.policies {
            let mark = if row.policy == self.chosen { '*' } else { ' ' };
            let ratio = row.ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}"));
            let dash = || "-".to_owned();
            let (takes, copied) = (
                row.makespan.map_or_else(dash, |span| span.to_string()),
                row.bytes_moved.map_or_else(dash, bytes),
            );
            let short = match &row.idle {
                Some(idle) => format!(" (not possible: {idle} builds nothing)"),
                None if row.complete => String::new(),
                None => " (does not build all)".to_owned(),
            };
            let (policy, about) = (format!("{mark} {}", row.policy), format!("{}{short}", row.about));
            table.row([policy, takes, ratio, copied, about]);
        }
        let mut out = table.text(room);
        let _ =
            writeln!(out, "* is what a build would use; no schedule takes less than {}", self.lower_bound);
        out
    }
}

fn about(name: &str) -> &'static str {
    SHOWN.iter().find(|(shown, _)| *shown == name).map_or("", |(_, about)| about)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::{EXACT, RIVALS};

    fn trial(name: &'static str, seconds: u64) -> Trial {
        Trial { name, makespan: Span::from_secs(seconds), bytes: 3 << 20, missing: 0, mean: None }
    }

    #[test]
    fn what_a_run_may_choose_can_be_asked_for_and_is_explained() {
        for (name, _) in SHOWN {
            assert!(Policy::NAMES.contains(&name), "{name}");
        }
        for name in RIVALS.iter().chain(&EXACT).chain([&DEFAULT]) {
            assert_ne!(about(name), "", "{name}");
        }
    }

    #[test]
    fn the_line_says_what_was_chosen_over_what() {
        let trials = vec![trial("full", 723), trial("all-local", 70), trial("all-fastest", 900)];
        let choice =
            |name, trials: &[Trial]| Choice { name, policy: Policy::default(), trials: trials.to_vec() };
        let said = |choice: &Choice, jobs| Decide::default().said_of(choice, jobs).unwrap_or_default();
        insta::assert_snapshot!(said(&choice("all-local", &trials), 9), @"policy: all-local in about 1m10s; full would take 12m03s, all-fastest would take 15m00s");
        let trials = [("full", 83), ("all-local", 79)]
            .map(|(name, mean)| Trial { mean: Some(Span::from_secs(mean)), ..trial(name, 70) });
        insta::assert_snapshot!(said(&choice("all-local", &trials), 9), @"policy: all-local in about 1m10s; full would take 1m10s; on average, as builds take more or less than estimated: all-local 1m19s, full 1m23s");
        insta::assert_snapshot!(said(&choice("full", &[]), MOST_JOBS + 1), @"policy: full; with more than 20000 derivations no other is tried");
        assert_eq!(said(&choice("full", &[]), 9), "", "one host");
        let asked = Decide { policy: Some("nix"), no_config: false };
        assert_eq!(asked.said_of(&choice("nix", &[]), 9).unwrap(), "policy: nix, as asked for");
    }

    #[test]
    fn programs_get_what_was_tried() {
        let tried = [trial("full", 2), Trial { mean: Some(Span::from_secs(3)), ..trial("all-local", 1) }];
        let tried: Vec<Tried> = tried.iter().map(Tried::from).collect();
        let expected = serde_json::json!([
            { "policy": "full", "makespan": 2_000_000, "mean": null },
            { "policy": "all-local", "makespan": 1_000_000, "mean": 3_000_000 },
        ]);
        assert_eq!(serde_json::to_value(tried).unwrap(), expected);
    }

    #[test]
    fn the_table_has_a_line_for_each_policy() {
        let row = |policy, seconds, complete| Row {
            policy,
            makespan: Some(Span::from_secs(seconds)),
            ratio: Some(seconds as f64 / 60.0),
            bytes_moved: Some(3 << 20),
            complete,
            about: about(policy),
            idle: None,
        };
        let policies = vec![row("full", 66, true), row("all-local", 600, false)];
        let bound = Span::from_secs(60);
        let table = Comparison { derivations: 2, lower_bound: bound, chosen: "full", policies };
        insta::assert_snapshot!(table.text(Room::terminal(80)), @r"
          policy      takes  × bound   copied  what it does
        * full        1m06s     1.10  3.0 MiB  the longest way to the end first, each
                                               derivation where it is done first
          all-local  10m00s    10.00  3.0 MiB  on this machine only, but for what it
                                               cannot build (does not build all)
        * is what a build would use; no schedule takes less than 1m00s
        ");
    }

    #[test]
    fn a_policy_that_keeps_to_a_host_that_builds_nothing_is_not_possible() {
        let host = |name: &str, slots: u32| -> Host {
            let json = serde_json::json!({
                "name": name, "systems": ["x"], "features": [], "mandatory": [], "slots": slots, "cores": 0,
                "speed": 1.0, "substitutes": false, "link": crate::fleet::LinkSpeed::FREE,
            });
            serde_json::from_value(json).unwrap()
        };
        let compared = |slots: u32| {
            let hosts: Table<HostId, Host> = [host("local", slots), host("far", 2)].into_iter().collect();
            let mut work = crate::graph::testkit::work(&[vec![], vec![0]]);
            work.jobs.iter_mut().for_each(|(_, job)| job.system = "x".to_owned());
            let estimates = crate::cost::estimate(&work);
            let able = if slots == 0 { vec![HostId(1)] } else { hosts.ids().collect() };
            let eligible = Table::filled(2, able);
            let rehearsal = Rehearsal::new(&work, &hosts, &estimates, &eligible, None);
            Comparison::new(&rehearsal, &Policy::default(), "full", Span::from_secs(60), 2)
        };
        let json = |slots| serde_json::to_value(compared(slots)).unwrap()["policies"].clone();
        let row =
            |slots| json(slots).as_array().unwrap().iter().find(|row| row["policy"] == "all-local").cloned();
        assert!(row(1).unwrap()["makespan"].is_u64());
        let none = row(0).unwrap();
        assert!(none["makespan"].is_null() && none["ratio"].is_null() && none["bytesMoved"].is_null());
        assert_eq!(none["complete"], false);
        let text = compared(0).text(Room::terminal(200));
        let line = text.lines().find(|line| line.contains("all-local")).unwrap();
        assert!(line.ends_with("cannot build (not possible: local builds nothing)"), "{text}");
        assert!(!compared(1).text(Room::PIPE).contains("not possible"));
    }
}
