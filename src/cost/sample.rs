//! What the cost model learns from.

use serde::{Deserialize, Serialize};

use super::prior::OutputClass;
use crate::base::Span;

/// A finished build, as history keeps it.
///
/// Failed builds and cached results are none: they say nothing about how long the build takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// The name without its version, see [`super::pname_version`].
    pub pname: String,
    /// The version, empty where the name has none.
    pub version: String,
    /// The kind of derivation.
    pub class: OutputClass,
    /// The Nix system it was built for.
    pub system: String,
    /// The host that built it, as the machines file names it.
    pub host: String,
    /// Cores it was given; 0 where that was left to the host.
    pub cores: u32,
    /// From the start of the build to its end.
    pub wall: Span,
    /// Time on processors, user and system, where it was reported.
    pub cpu: Option<Span>,
    /// Size of all inputs in bytes, 0 where unknown.
    pub input_size: u64,
    /// Size of all outputs as NARs in bytes, 0 where unknown.
    pub output_size: u64,
    /// When it ended, in seconds since 1970.
    pub stopped: u64,
}
