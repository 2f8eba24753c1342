//! Who looks on while a run is driven: the run log first, then the view, and who counts the losses.

use std::fs::File;
use std::io::BufWriter;
use std::sync::Arc;

use crate::base::Time;
use crate::drive::Watch;
use crate::records::{Recorder, RunsDir, RunsError};
use crate::report::{Reporter, RunState, View};
use crate::run::{Event, Header, LossMeter, MeasuredBound, Note, Order};

/// The log and the view of a run.
pub struct Watcher {
    recorder: Recorder<BufWriter<File>>,
    reporter: Reporter,
    meter: LossMeter,
    bound: MeasuredBound,
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
        let meter = LossMeter::new(&header.workload, &header.hosts, &header.estimates, &header.eligible());
        let reporter = Reporter::new(Arc::clone(header), view);
        let mut watcher = Self { recorder, reporter, meter, bound: MeasuredBound::new(header) };
        watcher.warn(Time::ZERO);
        watcher
    }

    /// Whether the user ended the run.
    pub fn interrupted(&self) -> bool {
        self.reporter.state().interrupted()
    }

    /// Ends the view; what remains is the state of the run, and who knows where its time went and how
    /// short it could have been.
    pub fn finish(mut self, at: Time) -> (RunState, LossMeter, MeasuredBound) {
        self.recorder.step_done();
        self.reporter.finish(at);
        (self.reporter.into_state(), self.meter, self.bound)
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
        self.meter.event(at, event);
        self.bound.event(event);
        self.reporter.event(at, event);
    }

    fn order(&mut self, at: Time, order: &Order) {
        self.recorder.order(at, order);
        self.meter.order(at, order);
        self.bound.order(order);
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
