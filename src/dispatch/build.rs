//! One build over a live connection: roots, options, the derivation itself, what it made.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use super::judge;
use super::link::Link;
use super::patience::Patience;
use super::roots::Roots;
use super::stream::Knowledge;
use super::trust::{self, Imports};
use crate::base::{Span, Table};
use crate::fleet::HostId;
use crate::graph::{JobId, PathId, Workload};
use crate::nix::wire::{
    BasicDerivation, BuildMode, BuildResult, Client, DrvOutput, LogMessage, SetOptions, Status, Trust,
    WireError,
};
use crate::nix::{RecipeOutput, parse_drv};
use crate::run::{HostFault, Made, Outcome};

/// What all builds of a run have in common.
#[derive(Debug)]
pub(super) struct BuildContext {
    pub work: Arc<Workload>,
    /// Looked up, never iterated over.
    pub ids: HashMap<String, PathId>,
    /// Nix's own limits, as a second line behind this program's.
    pub timeout: u32,
    pub max_silent: u32,
    pub keep_failed: bool,
    pub mode: BuildMode,
    /// What of the results this machine's store would take.
    pub imports: Imports,
    /// How long a daemon may be silent between builds.
    pub patience: Patience,
    /// The hosts' names.
    pub names: Table<HostId, String>,
    known: Arc<Knowledge>,
}

impl BuildContext {
    /// Options for a run over `work`.
    pub fn new(work: Arc<Workload>, known: Arc<Knowledge>) -> Self {
        let ids = work.paths.iter().map(|(id, spec)| (spec.path.clone(), id)).collect();
        Self {
            work,
            ids,
            timeout: 0,
            max_silent: 0,
            keep_failed: false,
            mode: BuildMode::Normal,
            imports: Imports::Anything,
            patience: Patience::default(),
            names: Table::new(),
            known,
        }
    }

    /// What the daemon is told at the beginning of a connection, and when `cores` changes.
    pub fn options(&self, cores: u32) -> SetOptions {
        SetOptions {
            cores,
            timeout: self.timeout,
            max_silent: self.max_silent,
            keep_failed: self.keep_failed,
            ..SetOptions::default()
        }
    }

    /// Builds a job whose inputs are on the host. `log` gets every message of the daemon.
    ///
    /// # Errors
    /// The connection is at fault, or the daemon will not begin; everything else is an outcome.
    pub fn build(
        &self,
        client: &mut Client<Link>,
        roots: &Roots,
        (host, job): (HostId, JobId),
        local: bool,
        log: &mut dyn FnMut(LogMessage),
    ) -> Result<Outcome, WireError> {
        // What was copied here is not rooted by anybody once the copying process is gone (NixOS/nix#1970).
        roots.keep(client, &self.work, &self.work.jobs[job].inputs)?;
        let began = Instant::now();
        // Only the user can say how long a build may be silent.
        client.get_mut().set_patience(None);
        let answer = self.run(client, job, local, log);
        client.get_mut().set_patience(Some(self.patience.asking));
        let result = match answer? {
            Ok(result) => result,
            Err(message) => return Ok(Outcome::HostFailed { fault: HostFault::Other, message }),
        };
        let wall = Span::from(began.elapsed());
        if !result.status.is_success() {
            return Ok(with_wall(judge::of_result(&result), wall));
        }
        let made = match self.made(client, host, job)? {
            Ok(made) => made,
            Err(message) => return Ok(Outcome::HostFailed { fault: HostFault::Other, message }),
        };
        roots.note(made.iter().map(|m| m.path));
        let wall = if result.status == Status::Built { wall } else { Span::ZERO };
        let mut times = judge::times(&result);
        times.wall = wall;
        if result.status == Status::Built && times.stop == 0 {
            // Nix 2.33 and later do not say when.
            times.stop = unix_now();
            times.start = times.stop.saturating_sub(wall.0 / 1_000_000);
        }
        Ok(Outcome::Built { made, times })
    }

    /// The derivation by its exact text; where this machine's daemon does not trust us, by its path.
    fn run(
        &self,
        client: &mut Client<Link>,
        job: JobId,
        local: bool,
        log: &mut dyn FnMut(LogMessage),
    ) -> Result<Result<BuildResult, String>, WireError> {
        let drv = &self.work.jobs[job].drv;
        if local && client.trust() == Trust::Untrusted {
            let results = client.build_paths_with_results(&[format!("{drv}!*")], self.mode, log)?;
            let first = results.into_iter().next().map(|(_, result)| result);
            return Ok(first.ok_or_else(|| "the local daemon gave no result".to_owned()));
        }
        match self.derivation(job) {
            Ok(basic) => client.build_derivation(drv, &basic, self.mode, log).map(Ok),
            Err(message) => Ok(Err(message)),
        }
    }

    /// Reads the `.drv` and puts paths in the place of its input derivations.
    fn derivation(&self, job: JobId) -> Result<BasicDerivation, String> {
        let job = &self.work.jobs[job];
        let text = std::fs::read(&job.drv).map_err(|e| format!("cannot read {}: {e}", job.drv))?;
        let recipe = parse_drv(&text).map_err(|e| format!("{}: {e}", job.drv))?;
        let inputs = job.inputs.iter().map(|&p| self.work.paths[p].path.clone()).collect();
        let output =
            |o: RecipeOutput| DrvOutput { name: o.name, path: o.path, hash_algo: o.hash_algo, hash: o.hash };
        Ok(BasicDerivation {
            outputs: recipe.outputs.into_iter().map(output).collect(),
            input_srcs: inputs,
            platform: recipe.system,
            builder: recipe.builder,
            args: recipe.args,
            env: recipe.env.into_iter().map(|(name, value)| (name.into_bytes(), value)).collect(),
        })
    }

    /// Sizes and references of the outputs, from the store that has them now; or why this machine's
    /// store would not take them.
    fn made(
        &self,
        client: &mut Client<Link>,
        host: HostId,
        job: JobId,
    ) -> Result<Result<Vec<Made>, String>, WireError> {
        let mut made = Vec::new();
        for &path in &self.work.jobs[job].outputs {
            let Some(info) = client.query_path_info(&self.work.paths[path].path)? else { continue };
            if host != HostId::HOME && !self.imports.takes(&info) {
                return Ok(Err(trust::unsigned(&self.names[host], &self.work.paths[path].path)));
            }
            let mut refs: Vec<PathId> = info
                .references
                .iter()
                .filter_map(|r| self.ids.get(r).copied())
                .filter(|&r| r != path)
                .collect();
            refs.sort_unstable();
            made.push(Made { path, size: info.nar_size, refs });
            self.known.learn(host, &self.work.paths[path].path, info);
        }
        Ok(Ok(made))
    }
}

/// Seconds since 1970.
fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

fn with_wall(outcome: Outcome, wall: Span) -> Outcome {
    match outcome {
        Outcome::Failed { failure, message, mut times } => {
            times.wall = wall;
            Outcome::Failed { failure, message, times }
        }
        other => other,
    }
}
