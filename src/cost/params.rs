//! The numbers of the estimator, each of which tuning may change.

use serde::{Deserialize, Serialize};

/// Parameters of the estimator.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CostParams {
    /// Weight of the newest build of a package against what was known before, from 0 to 1.
    pub decay: f64,
    /// How many builds the expectation is worth that a package begins with.
    pub k0: f64,
    /// What is left of the weight of earlier builds when the major version changes, from 0 to 1.
    pub major_version_weight: f64,
    /// Time grows with the size of the source to this power.
    pub size_exponent: f64,
}

impl Default for CostParams {
    fn default() -> CostParams {
        CostParams { decay: 0.3, k0: 0.1, major_version_weight: 0.5, size_exponent: 0.55 }
    }
}
