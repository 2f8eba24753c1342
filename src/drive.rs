//! The one loop: events in, orders out, over any [`World`].
//!
//! The real dispatcher and the simulator are two worlds under it; neither knows the other. Each event
//! and each order is shown to the [`Watch`] (the run log first of all) before it takes effect.

use std::collections::VecDeque;

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

/// A world that was listened to before there was a scheduler. It tells what was heard, at the times at
/// which it was, and goes on from there.
#[derive(Debug)]
pub struct Heard<W> {
    world: W,
    heard: VecDeque<(Time, Happening)>,
}

impl<W: World> Heard<W> {
    /// Listens until every host has answered or was waited for long enough, or the user ends the run.
    pub fn until_ready(mut world: W) -> Self {
        let mut heard = VecDeque::new();
        loop {
            let (at, happening) = world.next(None);
            let last = matches!(happening, Happening::Fact(Event::FleetReady | Event::Interrupted));
            if happening != Happening::Tick {
                heard.push_back((at, happening));
            }
            if last {
                return Self { world, heard };
            }
        }
    }

    /// The facts that were heard and not yet told.
    pub fn facts(&self) -> impl Iterator<Item = &Event> {
        self.heard.iter().filter_map(|(_, happening)| match happening {
            Happening::Fact(event) => Some(event),
            Happening::Note(_) | Happening::Tick => None,
        })
    }
}

impl<W: World> World for Heard<W> {
    fn obey(&mut self, at: Time, order: &Order) {
        self.world.obey(at, order);
    }

    fn next(&mut self, deadline: Option<Time>) -> (Time, Happening) {
        self.heard.pop_front().unwrap_or_else(|| self.world.next(deadline))
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Tells what it was given, then that the time has come.
    struct Script(VecDeque<(Time, Happening)>);

    impl World for Script {
        fn obey(&mut self, _at: Time, _order: &Order) {}

        fn next(&mut self, deadline: Option<Time>) -> (Time, Happening) {
            let end = (deadline.unwrap_or_default(), Happening::Fact(Event::DeadlineReached));
            self.0.pop_front().unwrap_or(end)
        }
    }

    #[test]
    fn what_was_heard_is_told_once_more_at_its_time() {
        let note = Happening::Note(Note::Warning { text: "slow".to_owned() });
        let (ready, last) = (Happening::Fact(Event::FleetReady), Happening::Fact(Event::Interrupted));
        let told = [(1, note.clone()), (2, Happening::Tick), (3, ready.clone()), (4, last.clone())];
        let script = Script(told.map(|(at, what)| (Time(at), what)).into());
        let mut world = Heard::until_ready(script);
        assert_eq!(world.facts().collect::<Vec<_>>(), [&Event::FleetReady]);
        let rest: Vec<_> = (0..4).map(|_| world.next(Some(Time(9)))).collect();
        let end = Happening::Fact(Event::DeadlineReached);
        assert_eq!(rest, [(Time(1), note), (Time(3), ready), (Time(4), last), (Time(9), end)]);
    }

    #[test]
    fn who_interrupts_is_not_kept_waiting_for_hosts() {
        let told = [(Time(1), Happening::Fact(Event::Interrupted))];
        let world = Heard::until_ready(Script(told.into()));
        assert_eq!(world.facts().count(), 1);
    }
}
