//! Which hosts a run may use: Nix's configuration and machines, narrowed by the run's own options.
//!
//! What hosts are called, and what a name on the command line stands for, is [`Names`]' affair. What a
//! host is short of for one derivation is told by [`Host::lacks`], with pins taken in by
//! [`Fleet::can_build`].

use std::collections::{BTreeMap, BTreeSet};

use globset::{Glob, GlobMatcher};

use super::host::{Host, HostId, Lack, LinkSpeed};
use super::names::Names;
use crate::base::{Span, Table};
use crate::nix::{MOST_JOBS, Machine, MaxJobs, NixConfig};

/// What a LAN does, until it is measured.
pub const LAN: LinkSpeed = LinkSpeed { bandwidth: 100_000_000, latency: Span::from_millis(5) };

/// What the user says about hosts for one run. A host is meant by the name that it is shown by, by
/// `host`, `user@host`, either with `:port`, or by its store URI as far as `?`, or by a glob over any of
/// these; `local` is this machine.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FleetOptions {
    /// Only these; empty means all.
    pub on: Vec<String>,
    /// Not these.
    pub not_on: Vec<String>,
    /// Only this machine.
    pub local_only: bool,
    /// Jobs at a time, by host.
    pub jobs: Vec<(String, u32)>,
    /// Speed, by host; finite and above 0.
    pub speed: Vec<(String, f64)>,
    /// Speed for one system, by host and system, in the same terms; finite and above 0.
    pub system_speed: Vec<(String, String, f64)>,
    /// Derivation-name globs, each with the host that alone may build what it matches; the first
    /// that matches a name counts.
    pub pins: Vec<(String, String)>,
    /// This machine's jobs at a time, in place of Nix's `max-jobs`.
    pub max_jobs: Option<u32>,
    /// This machine's processors.
    pub cores_local: u32,
}

/// The hosts of a run.
#[derive(Clone, Debug)]
pub struct Fleet {
    /// The chosen hosts; [`HostId::HOME`] is always there, with 0 slots if it is not chosen.
    pub hosts: Table<HostId, Host>,
    /// Where to reach each; `None` for this machine.
    pub machines: Table<HostId, Option<Machine>>,
    /// Whether this machine is among the chosen: if not, it only evaluates and takes in the results.
    pub local: bool,
    pins: Vec<Pin>,
    told: Table<HostId, Told>,
}

/// What the user says of a host's speed for one run, which no experience overrules.
#[derive(Clone, Debug, Default)]
struct Told {
    speed: bool,
    systems: BTreeSet<String>,
}

#[derive(Clone, Debug)]
struct Pin {
    names: GlobMatcher,
    hosts: Vec<HostId>,
    wanted: String,
}

/// Why options and hosts do not go together.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum FleetError {
    /// A name or glob that no host goes by.
    #[error("{option} names '{name}', but there is no such host{}; there are: {known}", hint(suggestion.as_deref()))]
    NoSuchHost {
        /// The option.
        option: &'static str,
        /// What it names.
        name: String,
        /// A host whose name is close.
        suggestion: Option<String>,
        /// All hosts, by name.
        known: String,
    },
    /// A pin to a host that the other options leave out.
    #[error(
        "--pin {pattern}={host}: '{host}' is not among the hosts of this run; choose it with --on, or drop the pin"
    )]
    PinnedAway {
        /// The derivation-name glob.
        pattern: String,
        /// The host.
        host: String,
    },
    /// A malformed glob.
    #[error("{option}: '{pattern}' is no valid pattern: {why}")]
    Pattern {
        /// The option.
        option: &'static str,
        /// The text.
        pattern: String,
        /// What globset says.
        why: String,
    },
    /// A speed for a system that no such host builds for.
    #[error(
        "--speed {host}:{system}: '{host}' does not build for {system}; add the system to its field 2 in \
         `builders` or the machines file, or drop the option"
    )]
    NoSuchSystem {
        /// The host as named.
        host: String,
        /// The system.
        system: String,
    },
    /// A new host with the name of one that is there.
    #[error("--add-host {name}: there is a host '{name}' already; give the new one another name")]
    NameTaken {
        /// The name.
        name: String,
    },
    /// A speed that is not above 0.
    #[error("--speed {host}={speed}: a speed is a finite number above 0")]
    Speed {
        /// The host as named.
        host: String,
        /// The number given.
        speed: f64,
    },
}

fn hint(suggestion: Option<&str>) -> String {
    suggestion.map(|s| format!(" (did you mean '{s}'?)")).unwrap_or_default()
}

impl Fleet {
    /// Picks the hosts of a run.
    ///
    /// # Errors
    /// When an option names a host that is not there, or has a value of no use.
    pub fn choose(
        config: &NixConfig,
        machines: Vec<Machine>,
        options: &FleetOptions,
    ) -> Result<Fleet, FleetError> {
        let names = Names::of(&machines);
        let mut all = vec![(home(config, options), None)];
        for (machine, name) in machines.into_iter().zip(names.of_builders()) {
            all.push((remote(&machine, name, config.builders_use_substitutes), Some(machine)));
        }
        let mut told = vec![Told::default(); all.len()];
        let chosen = names.chosen(options)?;
        for (name, slots) in &options.jobs {
            names.find("--jobs", name)?.into_iter().for_each(|i| all[i].0.slots = *slots);
        }
        for (name, speed) in &options.speed {
            if !(speed.is_finite() && *speed > 0.0) {
                return Err(FleetError::Speed { host: name.clone(), speed: *speed });
            }
            for i in names.find("--speed", name)? {
                (all[i].0.speed, told[i].speed) = (*speed, true);
            }
        }
        for (name, system, speed) in &options.system_speed {
            let mut able = names.find("--speed", name)?;
            able.retain(|&i| all[i].0.systems.contains(system));
            if able.is_empty() {
                return Err(FleetError::NoSuchSystem { host: name.clone(), system: system.clone() });
            }
            if !(speed.is_finite() && *speed > 0.0) {
                return Err(FleetError::Speed { host: format!("{name}:{system}"), speed: *speed });
            }
            for i in able {
                all[i].0.set_speed_for(system, *speed);
                told[i].systems.insert(system.clone());
            }
        }
        if !chosen[0] {
            all[0].0.slots = 0;
        }
        // Where each host of the whole list ends up in the fleet.
        let mut place = vec![None; all.len()];
        let (mut hosts, mut kept, mut kept_told) = (Table::new(), Table::new(), Table::new());
        for (i, ((host, machine), told)) in all.into_iter().zip(told).enumerate() {
            if i == 0 || chosen[i] {
                let id: HostId = hosts.push(host);
                kept.push(machine);
                kept_told.push(told);
                place[i] = (chosen[i]).then_some(id);
            }
        }
        let pins = options.pins.iter().map(|p| pin(&names, p, &place)).collect::<Result<_, _>>()?;
        Ok(Fleet { hosts, machines: kept, local: chosen[0], pins, told: kept_told })
    }

    /// Takes over speeds that were learned, by host and system, but for what the user said for this run.
    /// Where nothing was learned of a system, it keeps its speed relative to the host's own system.
    pub fn learn_speeds(&mut self, learned: impl Fn(&str, &str) -> Option<f64>) {
        for (id, host) in self.hosts.iter_mut() {
            let told = &self.told[id];
            if told.speed {
                continue;
            }
            let known = |name: &str, system: &String| match told.systems.contains(system) {
                true => None,
                false => learned(name, system).filter(|speed| speed.is_finite() && *speed > 0.0),
            };
            let said: Vec<(String, f64)> =
                told.systems.iter().map(|system| (system.clone(), host.speed_for(system))).collect();
            let mut systems = host.systems.clone().into_iter();
            if let Some(speed) = systems.next().and_then(|own| known(&host.name, &own)) {
                host.speed = speed;
            }
            for system in systems {
                if let Some(speed) = known(&host.name, &system) {
                    host.set_speed_for(&system, speed);
                }
            }
            said.into_iter().for_each(|(system, speed)| host.set_speed_for(&system, speed));
        }
    }

    /// Whether any host but this machine builds.
    pub fn has_builders(&self) -> bool {
        self.hosts.iter().any(|(id, host)| id != HostId::HOME && host.slots > 0)
    }

    /// Lets nothing but this machine build.
    pub fn retire_builders(&mut self) {
        let builders = self.hosts.iter_mut().filter(|(id, _)| *id != HostId::HOME);
        builders.for_each(|(_, host)| host.slots = 0);
    }

    /// Whether `host` can build the derivation called `name`, for `system`, requiring `features`.
    ///
    /// # Errors
    /// What keeps it from that.
    pub fn can_build(&self, name: &str, system: &str, features: &[String], host: HostId) -> Result<(), Lack> {
        if let Some(pin) = self.pins.iter().find(|pin| pin.names.is_match(name))
            && !pin.hosts.contains(&host)
        {
            return Err(Lack::Pinned(pin.wanted.clone()));
        }
        self.hosts[host].lacks(system, features).map_or(Ok(()), Err)
    }

    /// What every host lacks, if none can build the derivation.
    pub fn nobody(&self, name: &str, system: &str, features: &[String]) -> Option<Vec<(HostId, Lack)>> {
        self.hosts
            .ids()
            .map(|host| self.can_build(name, system, features, host).err().map(|lack| (host, lack)))
            .collect()
    }

    /// The message for a derivation that no host can build; `None` if one can.
    pub fn refusal(&self, name: &str, system: &str, features: &[String]) -> Option<NoHost> {
        let lacks = self.nobody(name, system, features)?;
        let lacks = lacks.into_iter().map(|(id, lack)| (self.hosts[id].name.clone(), lack)).collect();
        Some(NoHost { name: name.to_owned(), lacks })
    }
}

/// A derivation that no chosen host can build. Shown as one line on what each host lacks and one on
/// what to do, by the options of a run to come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoHost {
    /// The derivation's name.
    pub name: String,
    /// Each host by name, with what it lacks.
    pub lacks: Vec<(String, Lack)>,
}

impl std::error::Error for NoHost {}

impl NoHost {
    /// What each host lacks.
    pub fn lack(&self) -> String {
        let lacks: Vec<String> = self.lacks.iter().map(|(host, lack)| format!("{host} {lack}")).collect();
        format!("no chosen host can build {}: {}", self.name, lacks.join("; "))
    }
}

impl std::fmt::Display for NoHost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.lack())?;
        // The host that comes closest to building it says what to do.
        let closeness = |lack: &Lack| match lack {
            Lack::Pinned(_) => 1,
            Lack::Feature(_) | Lack::Mandatory(_) => 0,
            Lack::Slots => 2,
            Lack::System(_) => 3,
        };
        let Some((host, lack)) = self.lacks.iter().min_by_key(|(_, lack)| closeness(lack)) else {
            return Ok(());
        };
        write!(f, "\n{}", remedy(host, lack))
    }
}

fn remedy(host: &str, lack: &Lack) -> String {
    let whose = |setting: &str, field: &str| match host {
        "local" => format!("`{setting}` in this machine's nix.conf"),
        host => format!("{field} of {host} in `builders` or the machines file"),
    };
    match lack {
        Lack::Feature(x) => format!(
            "if {host} does have '{x}', add it to {}; otherwise add a builder that has it",
            whose("system-features", "the features (field 6)")
        ),
        Lack::Mandatory(x) => {
            format!(
                "take '{x}' out of {}, or add a builder without it",
                whose("system-features", "the mandatory features (field 7)")
            )
        }
        Lack::Pinned(pinned) => format!("drop or change the --pin to {pinned}"),
        Lack::Slots => format!(
            "give {host} slots with --jobs {host}=N, choose it with --on, leave it out of --not-on, or raise its \
             maximum of jobs"
        ),
        Lack::System(system) => format!(
            "add a builder for {system} to `builders`, or, where {host} can run it by emulation, add it to {}",
            whose("extra-platforms", "the systems (field 2)")
        ),
    }
}

/// This machine.
fn home(config: &NixConfig, options: &FleetOptions) -> Host {
    let mut systems = vec![config.system.clone()];
    systems.extend(config.extra_platforms.iter().filter(|s| **s != config.system).cloned());
    let slots = match (options.max_jobs, config.max_jobs) {
        (Some(jobs), _) | (None, MaxJobs::Number(jobs)) => jobs.min(MOST_JOBS),
        (None, MaxJobs::Auto) => options.cores_local.max(1),
    };
    Host {
        name: "local".to_owned(),
        features: config.system_features.clone(),
        mandatory: Vec::new(),
        slots,
        cores: options.cores_local,
        speed: 1.0,
        emulated: emulated(&systems),
        systems,
        substitutes: config.substitute,
        link: LinkSpeed::FREE,
    }
}

/// The speed of a processor that is emulated, relative to the one that does it; to the order of magnitude.
const EMULATION: f64 = 0.1;

/// Of the systems of a host, its own first, those that it can only emulate: those of another family of
/// processors. Intel programs on Apple's own processors count as native, nearly.
fn emulated(systems: &[String]) -> BTreeMap<String, f64> {
    let family = |system: &str| match system.split_once('-') {
        Some((_, "darwin")) => "darwin",
        Some(("i386" | "i486" | "i586" | "i686", _)) => "x86",
        Some((processor, _)) if processor.starts_with("x86_64") => "x86",
        Some((processor, _)) if processor.starts_with("arm") || processor.starts_with("aarch64") => "arm",
        Some((processor, _)) if processor.starts_with("riscv") => "riscv",
        _ => "",
    };
    let Some(own) = systems.first().map(|system| family(system)).filter(|own| !own.is_empty()) else {
        return BTreeMap::new();
    };
    let others = systems.iter().filter(|system| ![own, ""].contains(&family(system)));
    others.map(|system| (system.clone(), EMULATION)).collect()
}

/// A builder, called `name`.
fn remote(machine: &Machine, name: &str, substitutes: bool) -> Host {
    let mut features = machine.features.clone();
    features.extend(machine.mandatory.iter().filter(|x| !machine.features.contains(x)).cloned());
    Host {
        name: name.to_owned(),
        systems: machine.systems.clone(),
        features,
        mandatory: machine.mandatory.clone(),
        slots: machine.max_jobs,
        cores: 0,
        speed: machine.speed,
        emulated: emulated(&machine.systems),
        substitutes,
        link: LAN,
    }
}

fn pin(
    names: &Names,
    (pattern, host): &(String, String),
    place: &[Option<HostId>],
) -> Result<Pin, FleetError> {
    let hosts: Vec<HostId> = names.find("--pin", host)?.into_iter().filter_map(|i| place[i]).collect();
    if hosts.is_empty() {
        return Err(FleetError::PinnedAway { pattern: pattern.clone(), host: host.clone() });
    }
    Ok(Pin { names: glob("--pin", pattern)?, hosts, wanted: host.clone() })
}

/// Compiles the value of an option.
pub(super) fn glob(option: &'static str, pattern: &str) -> Result<GlobMatcher, FleetError> {
    let why = |e: globset::Error| e.kind().to_string();
    Glob::new(pattern).map(|glob| glob.compile_matcher()).map_err(|e| FleetError::Pattern {
        option,
        pattern: pattern.to_owned(),
        why: why(e),
    })
}

#[cfg(test)]
mod tests;
