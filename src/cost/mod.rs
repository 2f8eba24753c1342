//! What a job costs: estimates with spread, and where they come from.
//!
//! Costs are for a host of speed 1. Scheduling with them is `sched/`'s work, keeping samples between
//! runs is `records/`'s.

mod estimate;
mod limits;
mod live;
mod parallel;
mod prior;
mod remaining;
mod speeds;

pub use estimate::Cost;
pub use limits::limits;
pub use live::Live;
pub use parallel::{amdahl, parallel_part, parallel_parts};
pub use prior::{OutputClass, classify, estimate, guess_sizes};
pub use remaining::remaining;
pub use speeds::Speeds;
