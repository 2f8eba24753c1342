//! The graph: what depends on what, what of it is left to do, and how long it must take.
//!
//! Knows nothing of hosts but their number and speed, and nothing of costs but what it is handed.

mod check;
mod derivations;
mod order;
mod prune;
#[cfg(test)]
mod testkit;
mod workload;

pub use check::BadWorkload;
pub use derivations::{DrvId, Graph, GraphError};
pub use order::Order;
pub use prune::Missing;
pub use workload::{Job, JobId, Origin, PathId, PathSpec, Workload};
