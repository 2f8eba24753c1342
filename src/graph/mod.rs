//! The graph: what depends on what, what of it is left to do, and how long it must take.
//!
//! Knows nothing of hosts but their number and speed, and nothing of costs but what it is handed.

mod workload;

pub use workload::{Job, JobId, Origin, PathId, PathSpec, Workload};
