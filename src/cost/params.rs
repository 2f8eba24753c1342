//! The numbers of the estimator, each of which tuning may change.

use serde::{Deserialize, Serialize};

use super::ratio::SPREAD_OF_HOSTS;

/// Parameters of the estimator.
///
/// Where nothing else is said, the values are those of the reference measurements: 832 builds on one host,
/// each predicted from the earlier ones.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CostParams {
    /// Weight of the newest build of a package against all earlier ones, above 0 and at most 1.
    pub decay: f64,
    /// How many builds the expectation is worth that a package begins with: the variance within
    /// packages over that between them.
    pub k0: f64,
    /// What is left of the weight of earlier builds when the major version changes, from 0 to 1.
    pub major_version_weight: f64,
    /// Time grows with the size of the source to this power (R² 0.46 over 1,369 pages of BLFS).
    pub size_exponent: f64,
    /// How much of the distance between the shipped table and the usual build of a kind is believed, from
    /// 0 to 1: the variance between packages, 1.15², over that and the table's own error, 0.63².
    pub table_trust: f64,
    /// How many packages the usual is worth against those that share the first word of a name.
    pub name_class_k: f64,
    /// How far configured host speeds are off as a rule, in units of the natural logarithm.
    pub speed_spread: f64,
    /// Weight of the newest build in how fast a host is at the moment, from 0 to 1.
    pub pace_gain: f64,
    /// After how many hours only 1/e is left of how fast a host was at the moment.
    pub pace_hours: f64,
    /// How many builds the parallel part by class is worth against those measured.
    pub parallel_k: f64,
}

impl Default for CostParams {
    fn default() -> CostParams {
        CostParams {
            decay: 0.3,
            k0: 0.1,
            major_version_weight: 0.5,
            size_exponent: 0.55,
            table_trust: 0.77,
            name_class_k: 2.0,
            speed_spread: SPREAD_OF_HOSTS,
            pace_gain: 0.1,
            pace_hours: 6.0,
            parallel_k: 1.0,
        }
    }
}

impl CostParams {
    /// The same with every value inside the range in which the estimator works; what is not a number
    /// becomes the default.
    pub fn sane(self) -> CostParams {
        let usual = CostParams::default();
        let within = |value: f64, usual: f64, least: f64, most: f64| match value.is_nan() {
            true => usual,
            false => value.clamp(least, most),
        };
        CostParams {
            decay: within(self.decay, usual.decay, 0.001, 1.0),
            k0: within(self.k0, usual.k0, 0.001, 1_000.0),
            major_version_weight: within(self.major_version_weight, usual.major_version_weight, 0.001, 1.0),
            size_exponent: within(self.size_exponent, usual.size_exponent, 0.0, 2.0),
            table_trust: within(self.table_trust, usual.table_trust, 0.0, 1.0),
            name_class_k: within(self.name_class_k, usual.name_class_k, 0.01, 1e6),
            speed_spread: within(self.speed_spread, usual.speed_spread, 0.01, 10.0),
            pace_gain: within(self.pace_gain, usual.pace_gain, 0.0, 1.0),
            pace_hours: within(self.pace_hours, usual.pace_hours, 0.001, 1e6),
            parallel_k: within(self.parallel_k, usual.parallel_k, 0.001, 1e6),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_written_and_read_in_part() {
        let params = CostParams { k0: 0.25, ..CostParams::default() };
        let json = serde_json::to_string(&params).expect("numbers can be written");
        assert_eq!(serde_json::from_str::<CostParams>(&json).expect("as written"), params);
        let part: CostParams = serde_json::from_str(r#"{"k0":0.25}"#).expect("the rest has defaults");
        assert_eq!(part, params);
        assert!(serde_json::from_str::<CostParams>(r#"{"k1":1}"#).is_err(), "a misspelt name is not ignored");
    }

    #[test]
    fn nonsense_is_brought_into_range() {
        let usual = CostParams::default();
        assert_eq!(usual.clone().sane(), usual);
        let odd = CostParams { decay: f64::NAN, k0: -1.0, pace_hours: f64::INFINITY, ..usual.clone() }.sane();
        assert_eq!((odd.decay, odd.k0, odd.pace_hours), (0.3, 0.001, 1e6));
    }
}
