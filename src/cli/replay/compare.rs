//! What is simulated side by side.

use super::source::Replayed;
use super::table::{Row, Table};
use super::what_if::{Believed, WhatIf};
use crate::base::Span;
use crate::cli::error::CliError;
use crate::cli::policies::{SHOWN, idle_host};
use crate::fleet::{Host, HostId, take_away};
use crate::records::Config;
use crate::sched::{Policy, power};
use crate::sim::{Conditions, DEFAULT, Outcome, Recording, named};

/// What is shown of a run, by kind of change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The run as it was.
    Recorded,
    /// What the options say.
    Asked,
    Policy,
    Estimates,
    Fleet,
}

struct Variant {
    kind: Kind,
    name: String,
    conditions: Conditions,
}

/// Simulates the run as it was, as the options say, and with `compare` all that is worth comparing with
/// that.
pub(super) fn table(replayed: &Replayed, what_if: &WhatIf, compare: bool) -> Result<Table, CliError> {
    let recording = &replayed.recording;
    let graph = replayed.makespan.is_none();
    let (mut asked, config) = (what_if.conditions(replayed)?, what_if.config(recording)?);
    let (name, noise) = (what_if.name(), what_if.noise_only().name());
    let is_changed = name != noise;
    // A log has what was found best then; of a graph it is found out, as it would be before a build.
    let is_open = graph && what_if.decide.policy.is_none();
    let mut by = String::new();
    if is_open {
        let choice = recording.rehearsed(&asked, &config.policy);
        if choice.name != DEFAULT {
            by = format!(" (by {})", choice.name);
        }
        asked.policy = choice.policy;
    }
    let mut variants = Vec::new();
    // Of a graph there is nothing that it was.
    if !graph || !is_changed {
        let was = if graph { "as planned" } else { "as it was" };
        let name = if noise.is_empty() { was.to_owned() } else { format!("{was}, {noise}") } + &by;
        let as_it_was =
            Conditions { noise: asked.noise, seed: asked.seed, ..Conditions::as_recorded(recording) };
        let conditions = if graph { asked.clone() } else { as_it_was };
        variants.push(Variant { kind: Kind::Recorded, name, conditions });
    }
    if is_changed {
        variants.push(Variant { kind: Kind::Asked, name: name + &by, conditions: asked.clone() });
    }
    if compare {
        variants.extend(others(replayed, &asked, &config));
    }
    let is_other = |variant: &&mut Variant| matches!(variant.kind, Kind::Estimates | Kind::Fleet);
    for variant in variants.iter_mut().filter(is_other).filter(|_| is_open) {
        variant.conditions.policy = recording.rehearsed(&variant.conditions, &config.policy).policy;
    }
    let outcomes = simulate(recording, &variants, what_if.seeds.unwrap_or(1));
    let slots =
        |hosts: &crate::base::Table<HostId, Host>| hosts.rows().iter().map(|h| u64::from(h.slots)).sum();
    let rows = variants
        .iter()
        .zip(outcomes)
        .map(|(variant, outcome)| Row {
            kind: variant.kind,
            name: variant.name.clone(),
            slots: slots(&variant.conditions.hosts),
            outcome,
        })
        .collect();
    Ok(Table {
        run: replayed.name.clone(),
        derivations: if graph { recording.real.jobs.len() } else { recording.built },
        makespan: replayed.makespan,
        seeds: what_if.seeds.unwrap_or(1),
        rows,
    })
}

/// The mean of each over the seeds.
fn simulate(recording: &Recording, variants: &[Variant], seeds: u64) -> Vec<Outcome> {
    let mut all = Vec::new();
    for variant in variants {
        let seeded = |i| Conditions { seed: variant.conditions.seed + i, ..variant.conditions.clone() };
        all.extend((0..seeds).map(seeded));
    }
    let outcomes = recording.simulate_all(&all);
    outcomes.chunks_exact(seeds as usize).map(Outcome::mean).collect()
}

/// Policies, estimates and fleets to compare a run under `base` with.
fn others(replayed: &Replayed, base: &Conditions, config: &Config) -> Vec<Variant> {
    let recording = &replayed.recording;
    let mut variants = Vec::new();
    let mut add = |kind, name: String, change: &dyn Fn(&mut Conditions)| {
        let mut conditions = base.clone();
        change(&mut conditions);
        variants.push(Variant { kind, name, conditions });
    };
    for (name, _) in SHOWN {
        // One that keeps to a host that builds nothing would be another one by its name.
        let is_other = |policy: &Policy| *policy != base.policy && idle_host(policy, &base.hosts).is_none();
        if let Some(policy) = named(name, &config.policy).filter(is_other) {
            add(Kind::Policy, format!("policy {name}"), &|c| c.policy = policy.clone());
        }
    }
    for (which, name) in [
        (Believed::Perfect, "perfect"),
        (Believed::Recorded, "recorded"),
        (Believed::History, "history"),
        (Believed::None, "none"),
    ] {
        let estimates = which.estimates(&|| replayed.history(&config.cost));
        add(Kind::Estimates, format!("estimates {name}"), &|c| c.estimates = estimates.clone());
    }
    let builders: Vec<HostId> = base.hosts.ids().filter(|id| base.hosts[*id].slots > 0).collect();
    let by_power = |a: &HostId, b: &HostId| power(&base.hosts[*a]).total_cmp(&power(&base.hosts[*b]));
    let best = builders.iter().copied().max_by(by_power);
    let weakest = builders.iter().copied().min_by(by_power);
    for host in best.into_iter().chain(weakest.filter(|weakest| Some(*weakest) != best)) {
        let name = format!("one more like {}", base.hosts[host].name);
        add(Kind::Fleet, name, &|c| {
            c.told_hosts.push(twin(&c.told_hosts[host], &base.hosts[host]));
            c.hosts.push(twin(&c.hosts[host], &base.hosts[host]));
        });
    }
    add(Kind::Fleet, "twice the slots and cores".to_owned(), &|c| {
        c.told_hosts.iter_mut().chain(c.hosts.iter_mut()).for_each(|(_, host)| {
            (host.slots, host.cores) = (2 * host.slots, 2 * host.cores);
        });
    });
    add(Kind::Fleet, "twice the bandwidth".to_owned(), &|c| {
        let links = c.told_hosts.iter_mut().chain(c.hosts.iter_mut());
        links.for_each(|(_, host)| host.link.bandwidth *= 2);
    });
    for &host in builders.iter().filter(|_| builders.len() > 1) {
        let name = &base.hosts[host].name;
        add(Kind::Fleet, format!("without {name}"), &|c| {
            take_away(&mut c.told_hosts, &[host]);
            take_away(&mut c.hosts, &[host]);
        });
    }
    // Without a host, some derivations may have nobody to build them.
    variants.retain(|variant| recording.refused_by(&variant.conditions.hosts).is_empty());
    variants
}

/// One more host of the same kind; `real` knows its processors. A twin of this machine has a link.
fn twin(host: &Host, real: &Host) -> Host {
    let link = if host.link.bandwidth == 0 { crate::fleet::LAN } else { host.link };
    Host { name: format!("another {}", host.name), cores: real.cores, link, ..host.clone() }
}

/// How much shorter a row is than another one.
pub(super) fn gain(row: &Row, than: &Row) -> Option<(Span, f64)> {
    let saved = than.outcome.makespan.saturating_sub(row.outcome.makespan);
    let part = saved.as_secs_f64() / than.outcome.makespan.as_secs_f64().max(1e-6);
    (row.outcome.missing <= than.outcome.missing).then_some((saved, part))
}
