//! drvdispatch builds a Nix closure on more than one machine.
//!
//! The modules are floors: one imports only from the floors below it (`tests/floors.rs` holds the
//! list and checks it). Everything up to [`sched`] is pure: bytes or values in, values out. Clocks,
//! processes and sockets start at [`dispatch`]. ARCHITECTURE.md has the map.

pub mod base;
pub mod cli;
pub mod cost;
pub mod dispatch;
pub mod drive;
pub mod fleet;
pub mod graph;
pub mod nix;
pub mod records;
pub mod report;
pub mod run;
pub mod sched;
pub mod sim;
pub mod tune;
