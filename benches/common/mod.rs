//! What the benchmarks of the scheduler have in common: graphs, fleets, and one simulated run.

pub mod clusters;
pub mod graphs;
pub mod run;
pub mod wfformat;
