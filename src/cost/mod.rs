//! What a job costs: estimates with spread, and where they come from.
//!
//! Costs are for a host of speed 1. Scheduling with them is `sched/`'s work, keeping samples between
//! runs is `records/`'s.

mod estimate;
mod expectation;
mod forecast;
mod hosts;
mod levels;
mod limits;
mod links;
mod live;
mod memory;
mod names;
mod packages;
mod parallel;
mod parameters;
mod params;
mod prior;
mod ratio;
mod remaining;
mod sample;
mod shipped;
mod sources;
mod speeds;
mod spread;
#[cfg(test)]
mod testkit;

pub use estimate::{Cost, Z90};
pub use expectation::Known;
pub use forecast::Forecast;
pub use limits::limits;
pub use links::{LinkSample, Links};
pub use live::{Factors, Live};
pub use memory::{About, Memory, estimate};
pub use names::pname_version;
pub use parallel::{amdahl, parallel_part, parallel_parts};
pub use params::CostParams;
pub use prior::{OutputClass, classify, guess_sizes};
pub use remaining::remaining;
pub use sample::Sample;
pub use speeds::Speeds;
