//! `drvdispatch hosts` and `drvdispatch hosts check`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::{Args, Subcommand};
use serde::Serialize;

use super::args::Where;
use super::configured::config;
use super::error::CliError;
use super::learned::{Learned, Remember};
use super::setup::Setup;
use crate::base::Span;
use crate::dispatch::{Access, EvalOptions, Imports, Trouble};
use crate::fleet::{Host, HostId, LinkSpeed};
use crate::nix::wire::Trust;
use crate::report::{self, Cells, Room, bytes};
use crate::run::bare_cause;

/// Show the fleet as a run would see it
#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub struct HostsArgs {
    #[command(subcommand)]
    verb: Option<HostsVerb>,
    #[command(flatten)]
    place: Where,
    #[command(flatten)]
    remember: Remember,
    /// Print the hosts as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Subcommand, Debug)]
enum HostsVerb {
    /// Connect to each host and say whether it can be used, and what to do if not
    #[command(
        after_help = "Exit codes: 0 all hosts can be used; 1 some cannot, or the fleet cannot be worked out."
    )]
    Check {
        #[command(flatten)]
        place: Box<Where>,
    },
}

/// Runs the verb; the exit code is 1 if a host cannot be used.
///
/// # Errors
/// The fleet cannot be worked out.
pub fn run(args: &HostsArgs) -> Result<u8, CliError> {
    let (check, place) = match &args.verb {
        Some(HostsVerb::Check { place }) => (true, place.as_ref()),
        None => (false, &args.place),
    };
    let setup = Setup::new(place, &EvalOptions::default(), &mut |line| super::tell!("{line}"))?;
    if chosen(&setup).next().is_none() {
        return Err(CliError::Usage("these options leave no host; drop --not-on or --on".to_owned()));
    }
    if check {
        let timeout = place.connect_timeout(setup.config.connect_timeout);
        return Ok(u8::from(!check_all(&setup, timeout)?));
    }
    let params = config(false)?.cost;
    let learned =
        Learned::load(&args.remember, &params, setup.fleet.hosts.rows(), &mut |line| super::tell!("{line}"));
    if args.json {
        let all: Vec<Shown<'_>> = chosen(&setup).map(|(id, host)| Shown::of(id, host, &learned)).collect();
        super::put(&json(&all)?, "the hosts")?;
    } else {
        super::put(&table(&setup, &learned, Room::of_stdout()), "the hosts")?;
    }
    Ok(0)
}

/// A host for programs.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown<'a> {
    name: &'a str,
    slots: u32,
    /// `null` before a builder was asked.
    cores: Option<u32>,
    /// As configured.
    speed: f64,
    /// By system, where it is another one than the host's own.
    emulated: BTreeMap<&'a str, f64>,
    /// By system, as far as builds have shown it.
    learned: BTreeMap<&'a str, f64>,
    link: Option<Way>,
    systems: &'a [String],
    features: &'a [String],
    mandatory: &'a [String],
}

/// What transfers have shown of a link.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Way {
    bytes_per_second: u64,
    /// In microseconds.
    latency: Span,
}

impl<'a> Shown<'a> {
    fn of(id: HostId, host: &'a Host, learned: &Learned) -> Shown<'a> {
        let of_system = |name: &'a String| Some((name.as_str(), learned.speed(&host.name, name)?));
        let way = |link: LinkSpeed| Way { bytes_per_second: link.bandwidth, latency: link.latency };
        Shown {
            name: &host.name,
            slots: host.slots,
            cores: (host.cores > 0).then_some(host.cores),
            speed: host.speed,
            emulated: host.emulated.keys().map(|name| (name.as_str(), host.speed_for(name))).collect(),
            learned: host.systems.iter().filter_map(of_system).collect(),
            link: learned.link(&host.name).filter(|_| id != HostId::HOME).map(way),
            systems: &host.systems,
            features: &host.features,
            mandatory: &host.mandatory,
        }
    }
}

fn json(hosts: &[Shown<'_>]) -> Result<String, CliError> {
    let text = serde_json::to_string(hosts).map_err(|e| CliError::io("writing the hosts")(e.into()))?;
    Ok(text + "\n")
}

fn table(setup: &Setup, learned: &Learned, room: Room) -> String {
    let mut table = report::Table::new([
        (Cells::Names, "host"),
        (Cells::Numbers, "slots"),
        (Cells::Numbers, "cores"),
        (Cells::Numbers, "speed"),
        (Cells::List, "learned"),
        (Cells::List, "link"),
        (Cells::List, "systems"),
        (Cells::List, "features"),
    ]);
    for (id, host) in chosen(setup) {
        let mandatory =
            |x: &String| if host.mandatory.contains(x) { format!("{x} (mandatory)") } else { x.clone() };
        let features: Vec<String> = host.features.iter().map(mandatory).collect();
        table.row([
            host.name.clone(),
            host.slots.to_string(),
            // A builder is asked when it is connected to.
            if host.cores == 0 { "?".to_owned() } else { host.cores.to_string() },
            host.speed.to_string(),
            known(learned_speeds(host, learned)),
            known(learned.link(&host.name).filter(|_| id != HostId::HOME).map(|link| {
                format!("{}/s, {:.0} ms", bytes(link.bandwidth), link.latency.as_secs_f64() * 1e3)
            })),
            systems(host),
            features.join(","),
        ]);
    }
    table.text(room)
}

fn known(text: Option<String>) -> String {
    text.unwrap_or_else(|| "-".to_owned())
}

/// What earlier builds say of a host's speed; with the system, where that is not its own.
fn learned_speeds(host: &Host, learned: &Learned) -> Option<String> {
    let speed = |(place, system): (usize, &String)| {
        let speed = learned.speed(&host.name, system)?;
        Some(if place == 0 { format!("{speed:.2}") } else { format!("{system}:{speed:.2}") })
    };
    let speeds: Vec<String> = host.systems.iter().enumerate().filter_map(speed).collect();
    (!speeds.is_empty()).then(|| speeds.join(","))
}

/// The systems of a host, with the speeds of those that it builds for at another one.
fn systems(host: &Host) -> String {
    let system = |name: &String| match host.emulated.get(name) {
        Some(_) => format!("{name} (speed {:.3})", host.speed_for(name)),
        None => name.clone(),
    };
    host.systems.iter().map(system).collect::<Vec<_>>().join(",")
}

/// The hosts of the run; this machine only if it is to build.
fn chosen(setup: &Setup) -> impl Iterator<Item = (HostId, &Host)> {
    setup.fleet.hosts.iter().filter(|(id, _)| *id != HostId::HOME || setup.fleet.local)
}

/// What was learned of a host that can be used.
struct Answer {
    took: Duration,
    nix: String,
    protocol: String,
    trust: Trust,
    /// Where it says so.
    cores: Option<u32>,
}

fn check_all(setup: &Setup, timeout: Option<Duration>) -> Result<bool, CliError> {
    let hosts: Vec<(HostId, &Host)> = chosen(setup).collect();
    let answers: Vec<Result<Answer, Trouble>> = std::thread::scope(|scope| {
        let ask = |(id, _): &(HostId, &Host)| {
            let access = Arc::clone(&setup.access[*id]);
            scope.spawn(move || check(&access, timeout))
        };
        let threads: Vec<_> = hosts.iter().map(ask).collect();
        let gone = || Trouble::passing("the check itself failed");
        threads.into_iter().map(|t| t.join().unwrap_or_else(|_| Err(gone()))).collect()
    });
    let objection = objection(setup);
    let (mut good, mut text) = (objection.is_none(), String::new());
    for (&(_, host), answer) in hosts.iter().zip(&answers) {
        let name = &host.name;
        match answer {
            Ok(answer) => {
                let _ = writeln!(text, "{name}: {}", praise(answer, host.slots));
            }
            Err(trouble) => {
                good = false;
                let trouble = trouble.to_string();
                let why = bare_cause(name, &trouble);
                let _ = writeln!(text, "{name}: cannot be used: {why}");
            }
        }
    }
    if let Some(why) = objection {
        let _ = writeln!(text, "no host but local can be used: {why}");
    }
    super::put(&text, "the hosts")?;
    Ok(good)
}

fn check(access: &Access, timeout: Option<Duration>) -> Result<Answer, Trouble> {
    let began = Instant::now();
    let session = access.open(timeout)?;
    let (client, took) = (&session.client, began.elapsed());
    Ok(Answer {
        took,
        // A host that may not be asked is none the worse for it.
        cores: access.processors(timeout).ok().flatten(),
        nix: client.nix_version().unwrap_or("of unknown version").to_owned(),
        protocol: client.protocol().to_string(),
        trust: client.trust(),
    })
}

/// Why this machine's answer makes the other hosts useless, if there are any and it does.
fn objection(setup: &Setup) -> Option<String> {
    let imports = Imports::of(setup.access[HostId::HOME].home_trust().ok()?, &setup.config);
    imports.objection().filter(|_| setup.fleet.has_builders())
}

fn praise(answer: &Answer, slots: u32) -> String {
    let trust = match answer.trust {
        Trust::Trusted => "trusts this user",
        Trust::Unknown => "does not say whether it trusts this user",
        Trust::Untrusted => "does not trust this user",
    };
    let slots = if slots == 0 { ", builds nothing (0 slots)" } else { "" };
    let cores = match answer.cores {
        Some(1) => "1 core".to_owned(),
        Some(n) => format!("{n} cores"),
        None => "an unknown number of cores".to_owned(),
    };
    let ms = answer.took.as_millis();
    format!(
        "ok, Nix {} (protocol {}), {cores}, {trust}{slots}, answered in {ms} ms",
        answer.nix, answer.protocol
    )
}
