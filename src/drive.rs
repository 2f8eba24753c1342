//! The one loop: events in, orders out, over any [`World`].
//!
//! The real dispatcher and the simulator are two worlds under it; neither knows the other.

use crate::base::Time;
use crate::run::{Event, Order};

/// Where orders are carried out and facts come from.
pub trait World {
    /// Begins to carry out an order. Returns at once; what becomes of it arrives as events.
    fn obey(&mut self, at: Time, order: &Order);

    /// Waits for the next fact, `DeadlineReached` at `deadline` at the latest.
    fn next(&mut self, deadline: Option<Time>) -> (Time, Event);
}
