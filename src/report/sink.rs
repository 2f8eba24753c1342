//! Between the run and the screen: [`Reporter`] watches the run, a [`View`] shows it.

use std::sync::Arc;

use super::state::RunState;
use crate::base::Time;
use crate::drive::Watch;
use crate::run::{Event, Header, Note, Order};

/// Shows a run. Each call comes after the state has taken in what it tells.
pub trait View {
    /// A fact came in.
    fn event(&mut self, run: &RunState, at: Time, event: &Event);
    /// An order went out.
    fn order(&mut self, run: &RunState, at: Time, order: &Order);
    /// Something else that is worth showing.
    fn note(&mut self, run: &RunState, at: Time, note: &Note);
    /// Time has passed.
    fn tick(&mut self, _run: &RunState, _at: Time) {}
    /// The run is over.
    fn finish(&mut self, _run: &RunState, _at: Time) {}
}

/// Folds the run and passes it on to its view. The state outlives the run, for the summary.
pub struct Reporter {
    state: RunState,
    view: Option<Box<dyn View + Send>>,
}

impl Reporter {
    /// Shows a run in `view`, or folds it silently.
    pub fn new(header: Arc<Header>, view: Option<Box<dyn View + Send>>) -> Self {
        Self { state: RunState::new(header), view }
    }

    /// The fold so far.
    pub fn state(&self) -> &RunState {
        &self.state
    }

    /// The fold, when nothing more comes.
    pub fn into_state(self) -> RunState {
        self.state
    }

    /// The run is over; nothing comes after this.
    pub fn finish(&mut self, at: Time) {
        self.state.finish(at);
        if let Some(view) = &mut self.view {
            view.finish(&self.state, at);
        }
    }
}

impl Watch for Reporter {
    fn event(&mut self, at: Time, event: &Event) {
        self.state.event(at, event);
        if let Some(view) = &mut self.view {
            view.event(&self.state, at, event);
        }
    }

    fn order(&mut self, at: Time, order: &Order) {
        self.state.order(at, order);
        if let Some(view) = &mut self.view {
            view.order(&self.state, at, order);
        }
    }

    fn note(&mut self, at: Time, note: &Note) {
        self.state.note(at, note);
        if let Some(view) = &mut self.view {
            view.note(&self.state, at, note);
        }
    }

    fn tick(&mut self, at: Time) {
        self.state.tick(at);
        if let Some(view) = &mut self.view {
            view.tick(&self.state, at);
        }
    }
}
