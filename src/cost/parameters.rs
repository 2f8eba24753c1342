//! The estimator's numbers by name, with the ranges in which they make sense.

use super::params::CostParams;
use crate::base::{Domain, Parameter, Value};

use Value::Number as N;

impl CostParams {
    /// All of them, in the order in which a search goes through them.
    ///
    /// Those of hosts' speeds and of cores are not tried: in a recorded run hosts are as fast as they were
    /// said to be, and cores of as much use.
    pub const PARAMETERS: &[Parameter<CostParams>] = &[
        Parameter {
            name: "decay",
            domain: Domain::Number { low: 0.001, high: 1.0 },
            tried: &[N(0.1), N(0.2), N(0.3), N(0.45), N(0.6)],
            get: |params| N(params.decay),
            set: |params, value| params.decay = value.number().unwrap_or(params.decay),
        },
        Parameter {
            name: "k0",
            domain: Domain::Number { low: 0.001, high: 1_000.0 },
            tried: &[N(0.03), N(0.1), N(0.2), N(0.4)],
            get: |params| N(params.k0),
            set: |params, value| params.k0 = value.number().unwrap_or(params.k0),
        },
        Parameter {
            name: "major_version_weight",
            domain: Domain::Number { low: 0.001, high: 1.0 },
            tried: &[N(0.25), N(0.5), N(0.75), N(1.0)],
            get: |params| N(params.major_version_weight),
            set: |params, value| {
                params.major_version_weight = value.number().unwrap_or(params.major_version_weight);
            },
        },
        Parameter {
            name: "size_exponent",
            domain: Domain::Number { low: 0.0, high: 2.0 },
            tried: &[N(0.35), N(0.45), N(0.55), N(0.7)],
            get: |params| N(params.size_exponent),
            set: |params, value| params.size_exponent = value.number().unwrap_or(params.size_exponent),
        },
        Parameter {
            name: "table_trust",
            domain: Domain::Number { low: 0.0, high: 1.0 },
            tried: &[N(0.4), N(0.6), N(0.77), N(1.0)],
            get: |params| N(params.table_trust),
            set: |params, value| params.table_trust = value.number().unwrap_or(params.table_trust),
        },
        Parameter {
            name: "name_class_k",
            domain: Domain::Number { low: 0.01, high: 1e6 },
            tried: &[N(1.0), N(2.0), N(4.0), N(8.0)],
            get: |params| N(params.name_class_k),
            set: |params, value| params.name_class_k = value.number().unwrap_or(params.name_class_k),
        },
        Parameter {
            name: "speed_spread",
            domain: Domain::Number { low: 0.01, high: 10.0 },
            tried: &[],
            get: |params| N(params.speed_spread),
            set: |params, value| params.speed_spread = value.number().unwrap_or(params.speed_spread),
        },
        Parameter {
            name: "pace_gain",
            domain: Domain::Number { low: 0.0, high: 1.0 },
            tried: &[],
            get: |params| N(params.pace_gain),
            set: |params, value| params.pace_gain = value.number().unwrap_or(params.pace_gain),
        },
        Parameter {
            name: "pace_hours",
            domain: Domain::Number { low: 0.001, high: 1e6 },
            tried: &[],
            get: |params| N(params.pace_hours),
            set: |params, value| params.pace_hours = value.number().unwrap_or(params.pace_hours),
        },
        Parameter {
            name: "parallel_k",
            domain: Domain::Number { low: 0.001, high: 1e6 },
            tried: &[],
            get: |params| N(params.parallel_k),
            set: |params, value| params.parallel_k = value.number().unwrap_or(params.parallel_k),
        },
    ];
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_of_the_estimator_is_here_under_the_name_of_its_field() {
        let value = serde_json::to_value(CostParams::default()).unwrap();
        let mut fields: Vec<&str> = value.as_object().unwrap().keys().map(String::as_str).collect();
        let mut names: Vec<&str> = CostParams::PARAMETERS.iter().map(|parameter| parameter.name).collect();
        fields.sort_unstable();
        names.sort_unstable();
        assert_eq!(fields, names);
    }

    #[test]
    fn what_may_be_set_is_what_the_estimator_works_with() {
        for parameter in CostParams::PARAMETERS {
            parameter.check(&CostParams::default());
            let Domain::Number { low, high } = parameter.domain else { panic!("{}", parameter.name) };
            for end in [low, high] {
                let mut params = CostParams::default();
                (parameter.set)(&mut params, N(end));
                assert_eq!(params.clone().sane(), params, "{}", parameter.name);
            }
        }
    }
}
