//! Who looks on while a run is driven: the run log first, then the history, the view, and who counts the
//! losses.

use std::fs::File;
use std::io::BufWriter;
use std::sync::Arc;

use crate::base::Time;
use crate::drive::Watch;
use crate::records::history::{Fold, History, Keeper, NomFile};
use crate::records::{Recorder, RunsDir, RunsError};
use crate::report::{Reporter, RunState, View};
use crate::run::{Event, Header, LossMeter, MeasuredBound, Note, Order};

/// The log and the view of a run.
pub struct Watcher {
    recorder: Recorder<BufWriter<File>>,
    keeper: Keeper,
    reporter: Reporter,
    meter: LossMeter,
    bound: MeasuredBound,
}

impl Watcher {
    /// Begins the log, in `runs` if there is such a place; if not, the view says so. Builds go to the history,
    /// where there is one, and from there to nix-output-monitor.
    pub fn begin(
        runs: &Result<RunsDir, RunsError>,
        header: &Arc<Header>,
        view: Option<Box<dyn View + Send>>,
        (history, nom): (Option<History>, Option<NomFile>),
    ) -> Self {
        let (recorder, file) = match runs {
            Ok(runs) => Recorder::begin(runs, header),
            Err(e) => (Recorder::without(e), None),
        };
        let name = file.map_or_else(|| format!("unrecorded-{}", header.started), |file| file.name);
        let keeper = Keeper::begin(history, Fold::new(header, name), nom);
        let meter = LossMeter::of(header);
        let reporter = Reporter::new(Arc::clone(header), view);
        let mut watcher = Self { recorder, keeper, reporter, meter, bound: MeasuredBound::new(header) };
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
        if let Some(text) = self.keeper.finish() {
            self.reporter.note(at, &Note::Warning { text });
        }
        self.reporter.finish(at);
        (self.reporter.into_state(), self.meter, self.bound)
    }

    fn warn(&mut self, at: Time) {
        for text in self.recorder.warning().into_iter().chain(self.keeper.warning()) {
            self.reporter.note(at, &Note::Warning { text });
        }
    }
}

impl Watch for Watcher {
    fn event(&mut self, at: Time, event: &Event) {
        self.recorder.event(at, event);
        self.keeper.event(at, event);
        self.meter.event(at, event);
        self.bound.event(event);
        self.reporter.event(at, event);
    }

    fn order(&mut self, at: Time, order: &Order) {
        self.recorder.order(at, order);
        self.keeper.order(order);
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
