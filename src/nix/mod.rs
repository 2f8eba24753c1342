//! Nix's own formats and wire: bytes in, values out.
//!
//! Store paths, `nix derivation show` in all its shapes, the `.drv` text, the machines file and the
//! worker protocol over any `Read + Write`. No processes, no sockets, no decisions.

mod assemble;
mod aterm;
mod attributes;
mod base32;
mod derivation;
mod fixed_output;
mod show;
mod store_path;

pub use assemble::{BadDerivation, Unsupported};
pub use aterm::{AtermError, Recipe, RecipeOutput, parse_drv};
pub use derivation::{Derivation, Options, Output};
pub use fixed_output::BadHash;
pub use show::{ShowError, parse_show};
pub use store_path::{BadStorePath, DEFAULT_STORE_DIR, StorePath};
