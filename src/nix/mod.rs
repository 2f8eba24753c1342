//! Nix's own formats and wire: bytes in, values out.
//!
//! Store paths, `nix derivation show` in all its shapes, the `.drv` text, the machines file and the
//! worker protocol over any `Read + Write`. No processes, no sockets, no decisions.

mod derivation;
mod store_path;
pub mod wire;

pub use derivation::{Derivation, Options, Output};
pub use store_path::{BadStorePath, StorePath};
