//! The world of real hosts: ssh, this machine's Nix, evaluation, transfers, slot workers, signals.
//!
//! Makes no decision about what runs where. Knows nothing of `sim/`.

mod nix_cli;

pub use nix_cli::{EvalOptions, NixCli, NixError};
