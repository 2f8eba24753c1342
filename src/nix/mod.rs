//! Nix's own formats and wire: bytes in, values out.
//!
//! Store paths, `nix derivation show` in all its shapes, the `.drv` text, the machines file and the
//! worker protocol over any `Read + Write`. No processes, no sockets, no decisions.

mod assemble;
mod aterm;
mod attributes;
mod base32;
mod config;
mod derivation;
mod dry_run;
mod fixed_output;
mod installable;
mod machines;
mod numbers;
mod show;
mod store_path;
mod store_uri;
mod version;
pub mod wire;

pub use assemble::{BadDerivation, Unsupported};
pub use aterm::{AtermError, Recipe, RecipeOutput, parse_drv};
pub use config::{ConfigError, MaxJobs, NixConfig};
pub use derivation::{Derivation, Options, Output};
pub use dry_run::{DryRunEntry, DryRunFilter, parse_dry_run};
pub use fixed_output::BadHash;
pub use installable::{BadInstallable, Installable, Outputs, Target, configuration};
pub use machines::{Machine, Machines, MachinesError, Origin, parse_machines};
pub use numbers::{MOST_JOBS, parse_cores, parse_jobs, parse_speed};
pub use show::{ShowError, parse_show};
pub use store_path::{BadStorePath, DEFAULT_STORE_DIR, StorePath};
pub use store_uri::{Scheme, StoreUri};
pub use version::{Flavour, NixVersion};
