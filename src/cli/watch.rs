//! Who looks on while a run is driven: the run log first, then the view.

use std::fs::File;
use std::io::BufWriter;
use std::sync::Arc;

use crate::base::Time;
use crate::drive::Watch;
use crate::records::{Recorder, RunsDir, RunsError};
use crate::report::{Reporter, RunState, View};
use crate::run::{Event, Header, Note, Order};

/// The log and the view of a run.
pub struct Watcher {
    recorder: Recorder<BufWriter<File>>,
    reporter: Reporter,
}

impl Watcher {
    /// Begins the log, in `runs` if there is such a place; if not, the view says so.
    pub fn begin(
        runs: &Result<RunsDir, RunsError>,
        header: &Arc<Header>,
        view: Option<Box<dyn View + Send>>,
    ) -> Self {
        let recorder = match runs {
            Ok(runs) => Recorder::begin(runs, header).0,
            Err(e) => Recorder::without(e),
        };
        let mut watcher = Self { recorder, reporter: Reporter::new(Arc::clone(header), view) };
        watcher.warn(Time::ZERO);
        watcher
    }

    /// Whether the user ended the run.
    pub fn interrupted(&self) -> bool {
        self.reporter.state().interrupted()
    }

    /// Ends the view; what remains is the state of the run.
    pub fn finish(mut self, at: Time) -> RunState {
        self.recorder.step_done();
        self.reporter.finish(at);
        self.reporter.into_state()
    }

    fn warn(&mut self, at: Time) {
        if let Some(text) = self.recorder.warning() {
            self.reporter.note(at, &Note::Warning { text });
        }
    }
}

impl Watch for Watcher {
    fn event(&mut self, at: Time, event: &Event) {
        self.recorder.event(at, event);
        self.reporter.event(at, event);
    }

    fn order(&mut self, at: Time, order: &Order) {
        self.recorder.order(at, order);
        self.reporter.order(at, order);
    }

    fn note(&mut self, at: Time, note: &Note) {
        self.reporter.note(at, note);
    }

    fn tick(&mut self, at: Time) {
        self.reporter.tick(at);
    }

    fn settled(&mut self, at: Time) {
        self.recorder.step_done();
        self.warn(at);
    }
}
