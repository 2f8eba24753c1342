//! The world of real hosts: ssh, this machine's Nix, evaluation, transfers, slot workers, signals.
//!
//! Makes no decision about what runs where. Knows nothing of `sim/`.

mod build;
mod cores;
mod crew;
mod drains;
mod evaluate;
mod gather;
mod joblog;
mod judge;
mod kept;
mod limits;
pub mod link;
mod load;
mod mux;
mod nix_cli;
mod nix_copy;
mod patience;
mod percent;
mod porters;
mod retries;
mod roots;
mod session;
mod signals;
mod slot;
mod stager;
mod stream;
#[cfg(test)]
mod testkit;
mod transfer;
mod trust;
mod world;

pub use crew::{Crew, Logs, Means};
pub use evaluate::{Argument, EvalError, Evaluator, Root, read_drv_file};
pub use limits::Limits;
pub use load::{Load, LoadError, graph_from, graph_of, missing_work, whole_work};
pub use mux::Mux;
pub use nix_cli::{Children, EvalOptions, NixCli, NixError, Stderr};
pub use patience::Patience;
pub use session::{Access, Session, Trouble};
pub use signals::{EXIT_INTERRUPTED, Interrupts, listen};
pub use trust::Imports;
pub use world::RealWorld;

/// Why no further job can succeed on the host that gave this outcome, if it says so.
fn refusal(outcome: &crate::run::Outcome) -> Option<&str> {
    match outcome {
        crate::run::Outcome::HostFailed { fault: crate::run::HostFault::Other, message }
            if judge::is_refusal(message) || trust::is_unsigned(message) =>
        {
            Some(message)
        }
        _ => None,
    }
}
