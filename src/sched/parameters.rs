//! The policy's numbers by name, with the ranges in which they make sense.
//!
//! Not here: what a run decides by itself or its user by a flag (`keep_going`, `cores`, `order`, `choice`,
//! `confine`), and `poll`, which only rivals have.

use super::policy::Policy;
use crate::base::{Domain, Parameter, Span, Value};

use Value::Number as N;

fn span(value: Value) -> Option<Span> {
    value.number().map(Span::from_secs_f64)
}

fn or_off(number: Option<f64>) -> Value {
    number.map_or(Value::OFF, N)
}

impl Policy {
    /// All of them, in the order in which a search goes through them.
    ///
    /// What cannot be judged by replay is not tried: there hosts are as fast as they were said to be, so that
    /// learning speeds could only do harm, lost ones come back when they did, whatever the waits, and builds wait for
    /// nothing but processors, so that more of them than cores never help.
    pub const PARAMETERS: &[Parameter<Policy>] = &[
        Parameter {
            name: "rank_tolerance",
            domain: Domain::Number { low: 0.0, high: 1.0 },
            tried: &[N(0.0), N(0.03), N(0.05), N(0.1), N(0.2), N(0.3)],
            get: |policy| N(policy.rank_tolerance),
            set: |policy, value| policy.rank_tolerance = value.number().unwrap_or(policy.rank_tolerance),
        },
        Parameter {
            name: "idle_margin",
            domain: Domain::NumberOrOff { low: 0.0, high: 10.0 },
            tried: &[Value::OFF, N(0.0), N(0.05), N(0.1), N(0.2), N(0.5)],
            get: |policy| or_off(policy.idle_margin),
            set: |policy, value| policy.idle_margin = value.number(),
        },
        Parameter {
            name: "steal_margin",
            domain: Domain::NumberOrOff { low: 1.0, high: 100.0 },
            tried: &[Value::OFF, N(1.1), N(1.25), N(1.5), N(2.0)],
            get: |policy| or_off(policy.steal_margin),
            set: |policy, value| policy.steal_margin = value.number(),
        },
        Parameter {
            name: "copy_margin",
            domain: Domain::NumberOrOff { low: 1.0, high: 100.0 },
            tried: &[Value::OFF, N(1.0), N(1.25), N(1.5), N(2.0)],
            get: |policy| or_off(policy.copy_margin),
            set: |policy, value| policy.copy_margin = value.number(),
        },
        Parameter {
            name: "look_ahead",
            domain: Domain::Count { low: 0, high: 10_000 },
            tried: &[N(0.0), N(16.0), N(64.0), N(256.0)],
            get: |policy| N(policy.look_ahead.into()),
            set: |policy, value| policy.look_ahead = value.number().map_or(policy.look_ahead, |n| n as u32),
        },
        Parameter {
            name: "plenty",
            domain: Domain::Count { low: 0, high: 10_000 },
            tried: &[N(0.0), N(1.0), N(3.0), N(8.0), N(16.0)],
            get: |policy| N(policy.plenty.into()),
            set: |policy, value| policy.plenty = value.number().map_or(policy.plenty, |n| n as u32),
        },
        Parameter {
            name: "jobs_per_core",
            domain: Domain::NumberOrOff { low: 0.1, high: 100.0 },
            tried: &[],
            get: |policy| or_off(policy.jobs_per_core),
            set: |policy, value| policy.jobs_per_core = value.number(),
        },
        Parameter {
            name: "prefetch",
            domain: Domain::Count { low: 0, high: 100 },
            tried: &[N(0.0), N(1.0), N(2.0), N(4.0)],
            get: |policy| N(policy.prefetch.into()),
            set: |policy, value| policy.prefetch = value.number().map_or(policy.prefetch, |n| n as u32),
        },
        Parameter {
            name: "cluster",
            domain: Domain::Seconds { low: 0.0, high: 600.0 },
            tried: &[N(0.0), N(0.2), N(0.5), N(1.0), N(2.0), N(5.0)],
            get: |policy| N(policy.cluster.as_secs_f64()),
            set: |policy, value| policy.cluster = span(value).unwrap_or(policy.cluster),
        },
        Parameter {
            name: "window",
            domain: Domain::Count { low: 1, high: 100_000 },
            tried: &[N(16.0), N(32.0), N(64.0), N(256.0)],
            get: |policy| N(policy.window as f64),
            set: |policy, value| policy.window = value.number().map_or(policy.window, |n| n as usize),
        },
        Parameter {
            name: "transfer_term",
            domain: Domain::Switch,
            tried: &[Value::OFF, Value::ON],
            get: |policy| Value::Switch(policy.transfer_term),
            set: |policy, value| policy.transfer_term = value == Value::ON,
        },
        Parameter {
            name: "stay_with_consumer",
            domain: Domain::Switch,
            tried: &[Value::OFF, Value::ON],
            get: |policy| Value::Switch(policy.stay_with_consumer),
            set: |policy, value| policy.stay_with_consumer = value == Value::ON,
        },
        Parameter {
            name: "learn_speeds",
            domain: Domain::Switch,
            tried: &[],
            get: |policy| Value::Switch(policy.learn_speeds),
            set: |policy, value| policy.learn_speeds = value == Value::ON,
        },
        Parameter {
            name: "learn_costs",
            domain: Domain::Switch,
            tried: &[Value::OFF, Value::ON],
            get: |policy| Value::Switch(policy.learn_costs),
            set: |policy, value| policy.learn_costs = value == Value::ON,
        },
        Parameter {
            name: "transfer_overhead",
            domain: Domain::Seconds { low: 0.0, high: 3_600.0 },
            tried: &[N(0.0), N(0.03), N(0.1), N(0.3), N(1.0)],
            get: |policy| N(policy.transfer_overhead.as_secs_f64()),
            set: |policy, value| policy.transfer_overhead = span(value).unwrap_or(policy.transfer_overhead),
        },
        Parameter {
            name: "attempts",
            domain: Domain::Count { low: 1, high: 100 },
            tried: &[],
            get: |policy| N(policy.attempts.into()),
            set: |policy, value| policy.attempts = value.number().map_or(policy.attempts, |n| n as u32),
        },
        Parameter {
            name: "first_retry",
            domain: Domain::Seconds { low: 0.0, high: 3_600.0 },
            tried: &[],
            get: |policy| N(policy.first_retry.as_secs_f64()),
            set: |policy, value| policy.first_retry = span(value).unwrap_or(policy.first_retry),
        },
        Parameter {
            name: "last_retry",
            domain: Domain::Seconds { low: 0.0, high: 86_400.0 },
            tried: &[],
            get: |policy| N(policy.last_retry.as_secs_f64()),
            set: |policy, value| policy.last_retry = span(value).unwrap_or(policy.last_retry),
        },
        Parameter {
            name: "host_tries",
            domain: Domain::Count { low: 1, high: 1_000 },
            tried: &[],
            get: |policy| N(policy.host_tries.into()),
            set: |policy, value| policy.host_tries = value.number().map_or(policy.host_tries, |n| n as u32),
        },
    ];
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fields that are no parameters; see the module's documentation.
    const DECIDED_ELSEWHERE: [&str; 6] = ["keep_going", "order", "choice", "confine", "cores", "poll"];

    #[test]
    fn every_number_of_a_policy_is_here_under_the_name_of_its_field() {
        let value = serde_json::to_value(Policy::default()).unwrap();
        let mut fields: Vec<&str> = value.as_object().unwrap().keys().map(String::as_str).collect();
        fields.retain(|field| !DECIDED_ELSEWHERE.contains(field));
        let mut names: Vec<&str> = Policy::PARAMETERS.iter().map(|parameter| parameter.name).collect();
        fields.sort_unstable();
        names.sort_unstable();
        assert_eq!(fields, names);
    }

    #[test]
    fn what_is_set_is_what_is_got_and_nothing_else_changes() {
        Policy::PARAMETERS.iter().for_each(|parameter| parameter.check(&Policy::default()));
    }
}
