//! Parameters by name: the numbers of a policy or of an estimator, with their ranges, for whoever reads
//! them from a file or searches for better ones. What a parameter means is said where its type is.

use std::fmt;

/// What a parameter is set to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value {
    /// A number, in the unit of its parameter.
    Number(f64),
    /// Switched on or off; `false` also stands for doing without what a number would limit.
    Switch(bool),
}

/// What a parameter may be set to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Domain {
    /// `true` or `false`.
    Switch,
    /// A number without a unit, within these ends.
    Number { low: f64, high: f64 },
    /// A number as above, or `false`.
    NumberOrOff { low: f64, high: f64 },
    /// A whole number within these ends.
    Count { low: u32, high: u32 },
    /// A time in seconds within these ends.
    Seconds { low: f64, high: f64 },
}

/// A parameter of a `T`.
pub struct Parameter<T: 'static> {
    /// Its name: that of its field.
    pub name: &'static str,
    /// What it may be set to.
    pub domain: Domain,
    /// What a search tries; empty for what no search can judge.
    pub tried: &'static [Value],
    /// What it is set to. Within the domain for every `T` that was only changed by `set`.
    pub get: fn(&T) -> Value,
    /// Sets it to a value of its domain; other values are left out.
    pub set: fn(&mut T, Value),
}

impl Value {
    /// Switched off.
    pub const OFF: Value = Value::Switch(false);
    /// Switched on.
    pub const ON: Value = Value::Switch(true);

    /// The number, if it is one.
    pub fn number(self) -> Option<f64> {
        match self {
            Value::Number(number) => Some(number),
            Value::Switch(_) => None,
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Number(number) => write!(f, "{number}"),
            Value::Switch(true) => f.write_str("on"),
            Value::Switch(false) => f.write_str("off"),
        }
    }
}

impl Domain {
    /// Whether a value is within it.
    pub fn holds(self, value: Value) -> bool {
        let within = |low: f64, high: f64| value.number().is_some_and(|n| (low..=high).contains(&n));
        match self {
            Domain::Switch => value.number().is_none(),
            Domain::Number { low, high } | Domain::Seconds { low, high } => within(low, high),
            Domain::NumberOrOff { low, high } => value == Value::OFF || within(low, high),
            Domain::Count { low, high } => {
                within(low.into(), high.into()) && value.number().is_some_and(|n| n.fract() == 0.0)
            }
        }
    }
}

/// Completes "it has to be …".
impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Domain::Switch => f.write_str("true or false"),
            Domain::Number { low, high } => write!(f, "a number from {low} to {high}"),
            Domain::NumberOrOff { low, high } => write!(f, "a number from {low} to {high}, or false"),
            Domain::Count { low, high } => write!(f, "a whole number from {low} to {high}"),
            Domain::Seconds { low, high } => write!(f, "a number of seconds from {low} to {high}"),
        }
    }
}

#[cfg(test)]
impl<T: Clone + PartialEq> Parameter<T> {
    /// Sets it to all that is tried and more: what is set is got, and nothing else changes.
    pub fn check(&self, default: &T) {
        let usual = (self.get)(default);
        assert!(self.domain.holds(usual), "{}", self.name);
        let other = match self.domain {
            Domain::Switch => Value::Switch(usual == Value::OFF),
            Domain::NumberOrOff { .. } => Value::OFF,
            Domain::Number { high, .. } | Domain::Seconds { high, .. } => Value::Number(high),
            Domain::Count { high, .. } => Value::Number(high.into()),
        };
        for &value in self.tried.iter().chain([&other]) {
            assert!(self.domain.holds(value), "{}: {value}", self.name);
            let mut changed = default.clone();
            (self.set)(&mut changed, value);
            assert_eq!((self.get)(&changed), value, "{}", self.name);
            assert_eq!(changed != *default, value != usual, "{}: {value}", self.name);
            (self.set)(&mut changed, usual);
            assert!(changed == *default, "{}", self.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn domains_hold_what_they_say() {
        let number = Value::Number;
        for (domain, yes, no) in [
            (Domain::Switch, vec![Value::ON, Value::OFF], vec![number(1.0)]),
            (Domain::Number { low: 0.0, high: 1.0 }, vec![number(0.0), number(1.0)], vec![Value::OFF]),
            (Domain::NumberOrOff { low: 1.0, high: 9.0 }, vec![Value::OFF], vec![Value::ON, number(0.5)]),
            (Domain::Count { low: 1, high: 4 }, vec![number(4.0)], vec![number(0.0), number(1.5)]),
            (Domain::Seconds { low: 0.0, high: 9.0 }, vec![number(0.25)], vec![number(f64::NAN)]),
        ] {
            assert!(yes.into_iter().all(|value| domain.holds(value)), "{domain}");
            assert!(no.into_iter().all(|value| !domain.holds(value)), "{domain}");
        }
    }
}
