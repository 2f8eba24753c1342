//! What every verb begins with: this machine's Nix, its configuration, the hosts and how to reach them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::args::Where;
use super::error::CliError;
use crate::base::Table;
use crate::dispatch::link::{LocalNix, SshOptions, Target};
use crate::dispatch::{Access, EvalOptions, Imports, LoadError, Mux, NixCli};
use crate::fleet::{Fleet, HostId};
use crate::graph::{JobId, Workload};
use crate::nix::{Machine, NixConfig, parse_machines};
use crate::records::state_dir;
use crate::sched::Cores;

/// Nix and the hosts of a run.
pub struct Setup {
    /// The command.
    pub nix: NixCli,
    /// Its configuration.
    pub config: NixConfig,
    /// The hosts.
    pub fleet: Fleet,
    /// How to reach each.
    pub access: Table<HostId, Arc<Access>>,
    /// What this machine's store takes from other hosts, once that was asked.
    pub imports: Imports,
    /// Why other hosts are not used, if they are not.
    pub alone: Option<String>,
}

/// What to say of a machines file that is not there: nothing is meant to be in the default one, but whoever
/// names another on the command line means it to be. One that a file names may be left out, as Nix does.
fn missing_file(given: &str, file: &Path, warn: &mut dyn FnMut(&str)) -> Result<(), CliError> {
    let named = given.split(['\n', ';']).filter_map(|entry| entry.trim().strip_prefix('@'));
    if named.map(Path::new).any(|name| name == file) {
        return Err(no_such_file(file));
    }
    warn(&format!("warning: a machines file names another, '{}', but there is no such file", file.display()));
    Ok(())
}

/// A machines file that an option names, whatever that option is called.
pub fn no_such_file(file: &Path) -> CliError {
    CliError::Usage(format!(
        "there is no machines file '{}'; write @ and the path of one, or a list of builders as in nix.conf",
        file.display()
    ))
}

impl Setup {
    /// Asks Nix for its configuration and works out the fleet. Warnings go to `warn`.
    ///
    /// # Errors
    /// Nix does not work, or the hosts asked for are not there.
    pub fn new(place: &Where, options: &EvalOptions, warn: &mut dyn FnMut(&str)) -> Result<Setup, CliError> {
        let nix = NixCli::detect(Path::new("nix"))?;
        let config = nix.config(options, warn)?;
        let builders = place.builders.as_deref().unwrap_or(&config.builders);
        let machines = parse_machines(builders, &config.system, &mut |path| std::fs::read_to_string(path))?;
        machines.warnings.iter().for_each(|w| warn(&format!("warning: {w}")));
        if let Some(given) = &place.builders {
            machines.missing.iter().try_for_each(|file| missing_file(given, file, warn))?;
        }
        let processors =
            std::thread::available_parallelism().map_or(1, |n| u32::try_from(n.get()).unwrap_or(1));
        let fleet = Fleet::choose(&config, machines.list, &place.fleet_options(processors))?;
        let ssh = SshOptions::from_env()?;
        let access = fleet
            .machines
            .iter()
            .map(|(host, machine)| {
                let access = match machine {
                    None => Access::local(LocalNix::from_env()),
                    Some(machine) => Access::ssh(&fleet.hosts[host].name, target(machine)?, ssh.clone()),
                };
                Ok(Arc::new(access))
            })
            .collect::<Result<Table<_, _>, CliError>>()?;
        Ok(Setup { nix, config, fleet, access, imports: Imports::Anything, alone: None })
    }

    /// Sees to it that this machine's Nix is to be had and takes in what other hosts build. Where it
    /// does not, this machine is left to build alone.
    ///
    /// # Errors
    /// This machine's Nix is not to be had.
    pub fn ask_home(&mut self) -> Result<(), CliError> {
        let trust = self.access[HostId::HOME].home_trust().map_err(LoadError::Local)?;
        self.imports = Imports::of(trust, &self.config);
        if let (Some(why), true) = (self.imports.objection(), self.fleet.has_builders()) {
            self.fleet.retire_builders();
            self.alone = Some(why);
        }
        Ok(())
    }

    /// Says so if a run over `work` goes without the hosts that it was meant for.
    pub fn say_if_alone(&self, work: &Workload, say: &mut dyn FnMut(&str)) {
        if let (Some(why), false) = (&self.alone, work.jobs.is_empty()) {
            say(&format!("warning: building on this machine only: {why}"));
        }
    }

    /// The shared connections for `nix copy`, none of them open yet.
    ///
    /// # Errors
    /// There is no place for temporary files.
    pub fn mux(&self) -> Result<Mux, CliError> {
        let hosts = self.fleet.machines.iter().map(|(host, machine)| {
            (Arc::clone(&self.access[host]), machine.as_ref().map_or_else(String::new, copy_parameters))
        });
        Mux::new(hosts).map_err(CliError::io("preparing shared connections"))
    }

    /// For each job the hosts that can build it.
    ///
    /// # Errors
    /// Some job can be built by none.
    pub fn eligible(&self, work: &Workload) -> Result<Table<JobId, Vec<HostId>>, CliError> {
        let mut refusals = Vec::new();
        let mut eligible = Table::new();
        for (_, job) in work.jobs.iter() {
            let can = |h: &HostId| self.fleet.can_build(&job.name, &job.system, &job.features, *h).is_ok();
            let hosts: Vec<HostId> = self.fleet.hosts.ids().filter(can).collect();
            if hosts.is_empty() {
                refusals.extend(self.fleet.refusal(&job.name, &job.system, &job.features));
            }
            eligible.push(hosts);
        }
        match (refusals.is_empty(), &self.alone) {
            (true, _) => Ok(eligible),
            (false, None) => Err(CliError::NoHost(refusals)),
            (false, Some(why)) => Err(self.too_little_alone(work, why)),
        }
    }

    fn too_little_alone(&self, work: &Workload, why: &str) -> CliError {
        let lack = |job: &crate::graph::Job| {
            let lack = self.fleet.can_build(&job.name, &job.system, &job.features, HostId::HOME).err()?;
            Some(format!("{} cannot be built here: local {lack}", job.name))
        };
        let lack = work.jobs.rows().iter().find_map(lack).unwrap_or_default();
        CliError::Alone { lack, why: why.to_owned() }
    }

    /// How cores are given to jobs: as the user or Nix's `cores` says, else as it suits the run.
    pub fn cores(&self, place: &Where) -> Cores {
        match place.cores.or((self.config.cores > 0).then_some(self.config.cores)) {
            Some(cores) => Cores::Fixed(cores),
            None => Cores::Adaptive,
        }
    }
}

fn target(machine: &Machine) -> Result<Target, CliError> {
    let program = machine.uri.params.get("remote-program").map_or("nix-daemon", String::as_str);
    let remote_program = shell_words::split(program)
        .map_err(|e| CliError::Usage(format!("{}: remote-program '{program}': {e}", machine.uri)))?;
    Ok(Target {
        host: machine.uri.host.clone(),
        user: machine.uri.user.clone(),
        port: machine.uri.port,
        key: machine.key.clone(),
        host_key: machine.host_key.clone(),
        remote_program,
    })
}

/// What of a store URI's parameters concerns copying.
fn copy_parameters(machine: &Machine) -> String {
    let kept = ["remote-program", "remote-store", "compress"];
    let pairs: Vec<String> = kept
        .into_iter()
        .filter_map(|name| Some(format!("{name}={}", machine.uri.params.get(name)?)))
        .collect();
    if pairs.is_empty() { String::new() } else { format!("?{}", pairs.join("&")) }
}

/// Where build logs go that this machine's Nix does not take.
pub fn logs_dir() -> PathBuf {
    state_dir().unwrap_or_else(|| std::env::temp_dir().join("drvdispatch")).join("logs")
}
