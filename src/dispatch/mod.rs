//! The world of real hosts: ssh, this machine's Nix, evaluation, transfers, slot workers, signals.
//!
//! Makes no decision about what runs where. Knows nothing of `sim/`.

mod evaluate;
mod nix_cli;

pub use evaluate::{Argument, EvalError, Evaluator, Root, read_drv_file};
pub use nix_cli::{EvalOptions, NixCli, NixError, Stderr};
