//! What is tuned: a policy and an estimator's parameters, and each number of either as a dial.

use crate::base::{Parameter, Value};
use crate::cost::CostParams;
use crate::sched::Policy;

/// Everything that a search may change.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings {
    /// How to decide.
    pub policy: Policy,
    /// How to estimate.
    pub cost: CostParams,
}

/// One number or switch of the settings.
#[derive(Clone, Copy)]
pub enum Dial {
    /// Of the policy.
    Policy(&'static Parameter<Policy>),
    /// Of the estimator.
    Cost(&'static Parameter<CostParams>),
}

impl Dial {
    /// Those that a search can judge, the policy's first.
    pub fn all() -> Vec<Dial> {
        let policy = Policy::PARAMETERS.iter().filter(|p| !p.tried.is_empty()).map(Dial::Policy);
        let cost = CostParams::PARAMETERS.iter().filter(|p| !p.tried.is_empty()).map(Dial::Cost);
        policy.chain(cost).collect()
    }

    /// The table of the configuration that has it.
    pub fn table(self) -> &'static str {
        match self {
            Dial::Policy(_) => "policy",
            Dial::Cost(_) => "cost",
        }
    }

    /// Its name within the table.
    pub fn name(self) -> &'static str {
        match self {
            Dial::Policy(parameter) => parameter.name,
            Dial::Cost(parameter) => parameter.name,
        }
    }

    /// What it is set to.
    pub fn of(self, settings: &Settings) -> Value {
        match self {
            Dial::Policy(parameter) => (parameter.get)(&settings.policy),
            Dial::Cost(parameter) => (parameter.get)(&settings.cost),
        }
    }

    /// The settings with this set to `value`.
    pub fn turned(self, settings: &Settings, value: Value) -> Settings {
        let mut turned = settings.clone();
        match self {
            Dial::Policy(parameter) => (parameter.set)(&mut turned.policy, value),
            Dial::Cost(parameter) => (parameter.set)(&mut turned.cost, value),
        }
        turned
    }

    /// What to try in place of what it is set to.
    pub fn others(self, settings: &Settings) -> Vec<Value> {
        let tried = match self {
            Dial::Policy(parameter) => parameter.tried,
            Dial::Cost(parameter) => parameter.tried,
        };
        tried.iter().copied().filter(|value| *value != self.of(settings)).collect()
    }
}
