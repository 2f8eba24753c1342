//! A derivation as this program needs it: the facts that decide where and when it is built.
//!
//! Made from either `nix derivation show` (`show/`) or the `.drv` text (`aterm/`). What is sent to
//! a builder is not this but the exact text, parsed: [`super::aterm`].

use super::store_path::StorePath;

/// The facts of one derivation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Derivation {
    /// Its own store path, ending in `.drv`.
    pub path: StorePath,
    /// The name, without hash and `.drv`.
    pub name: String,
    /// `pname`, where the environment has it.
    pub pname: Option<String>,
    /// `version`, where the environment has it.
    pub version: Option<String>,
    /// The Nix system, or `builtin`.
    pub system: String,
    /// The builder program: a path, or `builtin:…`.
    pub builder: String,
    /// Outputs in the order of their names.
    pub outputs: Vec<Output>,
    /// Source inputs, ascending.
    pub input_srcs: Vec<StorePath>,
    /// Input derivations with the outputs used of each, ascending.
    pub input_drvs: Vec<(StorePath, Vec<String>)>,
    /// What the environment (or the structured attributes) says about how to build it.
    pub options: Options,
}

/// One output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// `out`, `dev`, ….
    pub name: String,
    /// Where it will be.
    pub path: StorePath,
    /// Whether its hash is known beforehand.
    pub fixed: bool,
}

/// Attributes of a derivation that bear on scheduling, read from the environment strings, or with
/// structured attributes from their JSON (never from both).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// `requiredSystemFeatures`, ascending.
    pub required_features: Vec<String>,
    /// `preferLocalBuild`.
    pub prefer_local: bool,
    /// `allowSubstitutes`; true unless said otherwise.
    pub allow_substitutes: bool,
    /// `enableParallelBuilding`.
    pub parallel: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { required_features: Vec::new(), prefer_local: false, allow_substitutes: true, parallel: false }
    }
}
