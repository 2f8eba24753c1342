//! The work of one run: the derivations to build and every store path they touch.
//!
//! This is what the scheduler, the simulator and the run log share. It is small and complete: with
//! the hosts and the costs beside it, a run can be scheduled without Nix.

use serde::{Deserialize, Serialize};

use crate::base::{Table, typed_id};

typed_id!(
    /// A derivation that this run has to build; numbered in the order of store paths.
    JobId, "j"
);
typed_id!(
    /// A store path that this run reads or makes.
    PathId, "p"
);

/// Jobs, the paths between them, and what this machine is to receive.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Workload {
    /// The jobs, in the order of their derivations' store paths.
    pub jobs: Table<JobId, Job>,
    /// Every path that a job reads or makes.
    pub paths: Table<PathId, PathSpec>,
    /// Paths to have at home in the end, each with its closure.
    pub wanted: Vec<PathId>,
}

/// One derivation to build.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// The derivation's store path.
    pub drv: String,
    /// Its name, without hash and `.drv`.
    pub name: String,
    /// The Nix system it needs, or `builtin`.
    pub system: String,
    /// `requiredSystemFeatures`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub features: Vec<String>,
    /// The jobs that make its inputs, ascending, each once.
    pub needs: Vec<JobId>,
    /// Its direct inputs, ascending, each once: outputs of `needs`, sources, and what is valid or
    /// substitutable already.
    pub inputs: Vec<PathId>,
    /// What it makes, in the order of output names.
    pub outputs: Vec<PathId>,
    /// The output hash is known beforehand: a download, as a rule.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub fixed_output: bool,
    /// `preferLocalBuild`: quick enough not to be worth moving.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub prefer_local: bool,
    /// `enableParallelBuilding`: more cores make it faster.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub parallel: bool,
}

/// One store path of the run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PathSpec {
    /// The full path.
    pub path: String,
    /// Where it comes from.
    pub origin: Origin,
    /// Size as a NAR in bytes, as far as known; a guess for what is still to be built.
    pub size: u64,
    /// Paths of this run that it refers to, as far as known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refs: Vec<PathId>,
}

/// Where a path can be had when the run begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// A job makes it.
    Job(JobId),
    /// It is valid in this machine's store.
    Home,
    /// A substituter has it.
    Substituter,
}
