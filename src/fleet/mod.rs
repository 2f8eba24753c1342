//! The fleet: hosts, what each can build, and which of them this run may use.
//!
//! A host here is a description. Connections to it live in `dispatch/`, what it holds and does
//! during a run in `sched/`.

mod changes;
mod host;
mod names;
mod select;
mod used;

pub use changes::{HostChanges, NewHost, bandwidth, take_away};
pub use host::{Host, HostId, Lack, LinkSpeed};
pub use select::{Fleet, FleetError, FleetOptions, LAN, NoHost};
pub use used::UsedSlots;
