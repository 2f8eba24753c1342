//! A world with a virtual clock: the scheduler's orders take modelled time instead of real time.
//!
//! Knows nothing of `dispatch/`.

mod world;

pub use world::{Fault, SimWorld};
