//! The numbers that a schedule depends on. A policy is a value: the log's header carries it.

use serde::{Deserialize, Serialize};

use crate::base::Span;

/// How to decide.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Policy {
    /// Go on with what does not depend on a failed job.
    pub keep_going: bool,
    /// Cores for each job; 0 leaves all of a host's to each.
    pub cores: u32,
    /// How many ready jobs are looked at in one decision, best rank first.
    pub window: usize,
    /// Ranks that differ by no more than this part count as alike: estimates are not that good.
    pub rank_tolerance: f64,
    /// For how many jobs beyond its slots a host gets inputs ahead, at most, per slot.
    pub prefetch: u32,
    /// How often a job may fail for a host's reasons before it is given up.
    pub attempts: u32,
    /// The wait before a lost host is tried again; doubles with each try.
    pub first_retry: Span,
    /// The longest such wait.
    pub last_retry: Span,
    /// After how many vain tries a host no longer counts as one that may come back.
    pub host_tries: u32,
    /// Estimated cost of a transfer beyond its bytes: processes and round trips.
    pub transfer_overhead: Span,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            keep_going: false,
            cores: 0,
            window: 64,
            rank_tolerance: 0.1,
            prefetch: 1,
            attempts: 3,
            first_retry: Span::from_secs(1),
            last_retry: Span::from_secs(60),
            host_tries: 6,
            transfer_overhead: Span::from_millis(100),
        }
    }
}
