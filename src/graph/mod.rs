//! The graph: what depends on what, what of it is left to do, and how long it must take.
//!
//! Knows nothing of hosts but their number and speed, and nothing of costs but what it is handed.

mod bound;
mod check;
mod clusters;
mod demand;
mod derivations;
mod order;
mod paths;
mod prune;
mod rank;
mod shards;
#[cfg(test)]
pub(crate) mod testkit;
mod users;
mod workload;

pub use bound::{Limits, Pace, Power, makespan_bound};
pub use check::BadWorkload;
pub use clusters::{ClusterId, Clusters, Limits as ClusterLimits};
pub use demand::needed_jobs;
pub use derivations::{DrvId, Graph, GraphError};
pub use order::Order;
pub use prune::Missing;
pub use rank::{Ranks, critical_path, upward_ranks};
pub use shards::{Shard, ShardId, Sharding};
pub use users::Users;
pub use workload::{Job, JobId, Origin, PathId, PathSpec, Workload};
