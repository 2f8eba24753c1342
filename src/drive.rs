//! The one loop: events in, orders out, over any [`World`].
//!
//! The real dispatcher and the simulator are two worlds under it; neither knows the other. Each event
//! and each order is shown to the [`Watch`] (the run log first of all) before it takes effect.

use crate::base::Time;
use crate::run::{Event, Note, Order};
use crate::sched::Scheduler;

/// Where orders are carried out and facts come from.
pub trait World {
    /// Begins to carry out an order. Returns at once; what becomes of it arrives as events.
    fn obey(&mut self, at: Time, order: &Order);

    /// Waits for the next thing to happen, until `deadline` at the longest: then the event is
    /// [`Event::DeadlineReached`]. Times never go back.
    fn next(&mut self, deadline: Option<Time>) -> (Time, Happening);
}

/// What a world has to tell.
#[derive(Clone, Debug, PartialEq)]
pub enum Happening {
    /// A fact for the scheduler, and for the log.
    Fact(Event),
    /// Something to show.
    Note(Note),
    /// Nothing but the passing of time, for those who show it.
    Tick,
}

/// Looks on: the log, the views.
pub trait Watch {
    /// A fact, before the scheduler learns it.
    fn event(&mut self, at: Time, event: &Event);
    /// An order, before it is carried out.
    fn order(&mut self, at: Time, order: &Order);
    /// Something to show.
    fn note(&mut self, _at: Time, _note: &Note) {}
    /// Time has passed.
    fn tick(&mut self, _at: Time) {}
    /// All that followed from one fact has been shown, and is about to be carried out.
    fn settled(&mut self, _at: Time) {}
}

/// Drives the scheduler until it is done; returns when that was.
pub fn drive(scheduler: &mut Scheduler, world: &mut dyn World, watch: &mut dyn Watch) -> Time {
    let mut orders = Vec::new();
    let mut at = Time::ZERO;
    while !scheduler.is_done() {
        let (now, happening) = world.next(scheduler.deadline());
        at = now;
        let event = match happening {
            Happening::Fact(event) => event,
            Happening::Note(note) => {
                watch.note(at, &note);
                continue;
            }
            Happening::Tick => {
                watch.tick(at);
                continue;
            }
        };
        watch.event(at, &event);
        scheduler.step(at, &event, &mut orders);
        for order in &orders {
            watch.order(at, order);
        }
        watch.settled(at);
        for order in orders.drain(..) {
            world.obey(at, &order);
        }
    }
    at
}
