//! A world with a virtual clock: the scheduler's orders take modelled time instead of real time.
//!
//! Builds share processors (`processors`), transfers share links (`network`), and things go wrong
//! (`trouble`). What jobs really take can be drawn from a model (`model`); what a run came to is added
//! up by [`Measure`]; runs are gone through beforehand by [`Rehearsal`], and afterwards under other conditions
//! by [`Recording`]. Knows nothing of `dispatch/`.

mod measure;
mod model;
mod network;
mod processors;
mod progress;
mod queue;
mod recorded;
mod rehearsal;
mod stores;
mod transfers;
mod trouble;
mod wire;
mod world;

pub use measure::{Idle, Measure, Measured};
pub use model::{Model, noisy};
pub use recorded::{Conditions, Estimates, Outcome, Recording};
pub use rehearsal::{Choice, DEFAULT, EXACT, MOST_JOBS, RIVALS, Rehearsal, Trial, named};
pub use trouble::{Fault, Slowdown};
pub use wire::Wire;
pub use world::{SimWorld, Speed};
