//! The options that say what is to be other than it was.

use clap::{Args, ValueEnum};

use super::source::Replayed;
use crate::base::Table;
use crate::cli::args::{Speed, Where, slots, speed};
use crate::cli::error::CliError;
use crate::cli::policies::Decide;
use crate::cli::setup::no_such_file;
use crate::fleet::{Fleet, FleetOptions, Host, HostChanges, HostId, NewHost, bandwidth};
use crate::nix::{NixConfig, parse_machines};
use crate::records::Config;
use crate::sim::{Conditions, Estimates, Recording, named};

/// What is other.
#[derive(Args, Debug, Clone, Default, PartialEq)]
#[group(id = "what_if", multiple = true)]
#[command(next_help_heading = "What if")]
pub struct WhatIf {
    #[command(flatten)]
    pub decide: Decide,
    /// With these builders in place of the run's: @FILE names a machines file, anything else is one (`;` ends
    /// a line). What a builder of the same name held in the run, it holds
    #[arg(long, value_name = "BUILDERS")]
    pub hosts: Option<String>,
    /// Without these hosts: names or globs
    #[arg(long, value_name = "HOST,…", value_delimiter = ',')]
    pub without: Vec<String>,
    /// With so many slots on a host; may be repeated
    #[arg(long, value_name = "HOST=N", value_parser = slots)]
    pub jobs: Vec<(String, u32)>,
    /// With a host of this speed, or of this speed for one system; may be repeated
    #[arg(long, value_name = "HOST[:SYSTEM]=F", value_parser = speed)]
    pub speed: Vec<Speed>,
    /// With a link of so many bytes per second (such as 12.5M) to a host, or to all; may be repeated
    #[arg(long, value_name = "[HOST=]RATE", value_parser = link)]
    pub bandwidth: Vec<(Option<String>, u64)>,
    /// With one more host: its name, then any of slots, speed, cores, systems, features, mandatory and bandwidth
    /// as KEY=VALUE; may be repeated
    #[arg(long, value_name = "'NAME slots=8 speed=2 …'")]
    pub add_host: Vec<NewHost>,
    /// With these estimates
    #[arg(long, value_name = "WHICH")]
    pub estimates: Option<Believed>,
    /// Have every build take other than recorded, by a lognormal factor of this σ (such as 0.3)
    #[arg(long, value_name = "SIGMA", value_parser = sigma)]
    pub noise: Option<f64>,
    /// Which noise
    #[arg(long, value_name = "N", requires = "noise")]
    pub seed: Option<u64>,
    /// Take the mean over so many seeds
    #[arg(long, value_name = "N", requires = "noise", value_parser = clap::value_parser!(u64).range(1..=10_000))]
    pub seeds: Option<u64>,
}

/// `--estimates`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Believed {
    /// What the run began with
    Recorded,
    /// What builds really take
    Perfect,
    /// What the history of builds said at that time
    History,
    /// What is usual for packages and kinds, as with an empty history
    None,
}

impl Believed {
    /// The estimates; `history` has those of the history, and is asked only for these.
    pub(super) fn estimates(self, history: &dyn Fn() -> Estimates) -> Estimates {
        match self {
            Believed::Recorded => Estimates::Recorded,
            Believed::Perfect => Estimates::Perfect,
            Believed::History => history(),
            Believed::None => Estimates::Prior,
        }
    }
}

fn link(text: &str) -> Result<(Option<String>, u64), String> {
    match text.rsplit_once('=') {
        Some((host, rate)) if !host.is_empty() => Ok((Some(host.to_owned()), bandwidth(rate)?)),
        Some(_) => Err("it should be RATE or HOST=RATE, such as builder1=12.5M".to_owned()),
        None => Ok((None, bandwidth(text)?)),
    }
}

fn sigma(text: &str) -> Result<f64, String> {
    let sigma = text.parse().ok().filter(|sigma: &f64| (0.0..=5.0).contains(sigma));
    sigma.ok_or_else(|| format!("'{text}' is no standard deviation of logarithms (a number from 0 to 5)"))
}

impl WhatIf {
    /// As options of a run to come, for graphs: the hosts to begin with.
    pub(super) fn place(&self) -> Where {
        Where { builders: self.hosts.clone(), ..Where::default() }
    }

    /// As options of `drvdispatch build`: what there is of them there.
    pub(super) fn build_options(&self) -> Vec<String> {
        let mut words = Vec::new();
        let mut say = |option: &str, value: String| words.extend([option.to_owned(), value]);
        self.hosts.iter().for_each(|builders| say("--builders", builders.clone()));
        self.without.iter().for_each(|host| say("--not-on", host.clone()));
        self.jobs.iter().for_each(|(host, jobs)| say("--jobs", format!("{host}={jobs}")));
        self.speed.iter().for_each(|speed| say("--speed", speed.to_string()));
        self.decide.policy.iter().for_each(|name| say("--policy", (*name).to_owned()));
        words
    }

    /// Without all but that builds take other than recorded, which what the run was is gone through with, too.
    pub(super) fn noise_only(&self) -> WhatIf {
        WhatIf { noise: self.noise, seed: self.seed, ..WhatIf::default() }
    }

    fn changes(&self) -> HostChanges {
        HostChanges {
            without: self.without.clone(),
            jobs: self.jobs.clone(),
            speed: self.speed.iter().map(Speed::parts).collect(),
            bandwidth: self.bandwidth.clone(),
            add: self.add_host.clone(),
        }
    }

    /// The conditions that these options make of a recording; of one of a graph, `--hosts` is taken already.
    ///
    /// # Errors
    /// A host that is not there, or derivations that no host is left to build.
    pub(super) fn conditions(&self, replayed: &Replayed) -> Result<Conditions, CliError> {
        let (recording, graph) = (&replayed.recording, replayed.makespan.is_none());
        let mut conditions = Conditions::as_recorded(recording);
        if let (Some(builders), false) = (&self.hosts, graph) {
            let machines = machines(builders, recording)?;
            conditions.told_hosts = known(machines.clone(), &recording.told_hosts);
            conditions.hosts = known(machines, &recording.hosts);
        }
        let changes = self.changes();
        changes.apply(&mut conditions.told_hosts)?;
        changes.apply(&mut conditions.hosts)?;
        let config = self.config(recording)?;
        if let Some(policy) = self.decide.policy.and_then(|name| named(name, &config.policy)) {
            conditions.policy = policy;
        }
        if let Some(believed) = self.estimates {
            conditions.estimates = believed.estimates(&|| replayed.history(&config.cost));
        }
        conditions.noise = self.noise.unwrap_or(0.0);
        conditions.seed = self.seed.unwrap_or(0);
        let refused = recording.refused_by(&conditions.hosts);
        if refused.is_empty() { Ok(conditions) } else { Err(CliError::NobodyLeft(refused)) }
    }

    /// The configuration, with what the run's user decided: what policies by name and estimates go by.
    ///
    /// # Errors
    /// The configuration is wrong.
    pub(super) fn config(&self, recording: &Recording) -> Result<Config, CliError> {
        let config = self.decide.config()?;
        Ok(Config { policy: config.policy.decided_as(&recording.policy), ..config })
    }

    /// How it is called in a table.
    pub(super) fn name(&self) -> String {
        let mut words: Vec<String> = Vec::new();
        words.extend(self.decide.policy.map(|name| format!("policy {name}")));
        if let Some(builders) = &self.hosts {
            // A list of builders is no name.
            words.push(
                builders
                    .strip_prefix('@')
                    .map_or("other hosts".to_owned(), |file| format!("hosts of {file}")),
            );
        }
        let mut say = |word: &str, what: String| words.push(format!("{word} {what}"));
        self.without.iter().for_each(|host| say("without", host.clone()));
        self.jobs.iter().for_each(|(host, jobs)| say("jobs", format!("{host}={jobs}")));
        self.speed.iter().for_each(|speed| say("speed", speed.to_string()));
        for (host, rate) in &self.bandwidth {
            let host = host.as_ref().map(|host| format!("{host}=")).unwrap_or_default();
            say("bandwidth", format!("{host}{}/s", crate::report::bytes(*rate)));
        }
        self.add_host.iter().for_each(|host| say("with", host.name.clone()));
        if let Some(value) = self.estimates.and_then(|which| which.to_possible_value()) {
            say("estimates", value.get_name().to_owned());
        }
        self.noise.iter().for_each(|sigma| say("noise", sigma.to_string()));
        self.seed.iter().for_each(|seed| say("seed", seed.to_string()));
        words.join(", ")
    }
}

/// This machine as it was, and the builders of a setting or file.
fn machines(builders: &str, recording: &Recording) -> Result<Table<HostId, Host>, CliError> {
    let home = recording.told_hosts[HostId::HOME].clone();
    let system = home.systems.first().cloned().unwrap_or_default();
    let machines = parse_machines(builders, &system, &mut |path| std::fs::read_to_string(path))?;
    machines.warnings.iter().for_each(|warning| crate::cli::tell!("warning: {warning}"));
    if let Some(missing) = machines.missing.first() {
        return Err(no_such_file(missing));
    }
    let config =
        NixConfig::from_text(&format!("system = {system}\n")).map_err(|e| CliError::Usage(e.to_string()))?;
    let fleet = Fleet::choose(&config, machines.list, &FleetOptions::default())?;
    let mut hosts = fleet.hosts;
    hosts[HostId::HOME] = home;
    Ok(hosts)
}

/// Hosts with what a machines file does not say, as the hosts of the same names have it: their processors
/// and links.
fn known(mut hosts: Table<HostId, Host>, recorded: &Table<HostId, Host>) -> Table<HostId, Host> {
    for (id, host) in hosts.iter_mut() {
        match recorded.rows().iter().find(|other| other.name == host.name) {
            Some(other) if id == HostId::HOME => *host = other.clone(),
            Some(other) => (host.cores, host.link) = (other.cores, other.link),
            None => host.cores = host.lanes(),
        }
    }
    hosts
}
