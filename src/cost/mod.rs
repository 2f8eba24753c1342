//! What a job costs: estimates with spread, and where they come from.
//!
//! Costs are for a host of speed 1. Scheduling with them is `sched/`'s work, keeping samples between
//! runs is `records/`'s.

mod estimate;

pub use estimate::Cost;
