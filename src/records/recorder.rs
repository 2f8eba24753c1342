//! A run log that may fail: what cannot be written costs the log, never the build.

use std::fs::File;
use std::io::{self, BufWriter, Write};

use super::{RunFile, RunsDir};
use crate::base::Time;
use crate::run::{Event, Header, LogWriter, Order};

/// Writes the log as long as that works, and says once when it does not any more.
#[derive(Debug)]
pub struct Recorder<W: Write> {
    log: Option<LogWriter<W>>,
    trouble: Option<String>,
    name: String,
}

impl Recorder<BufWriter<File>> {
    /// Begins the log of a run in a new file of `dir`. The file is `None` if that could not be made.
    pub fn begin(dir: &RunsDir, header: &Header) -> (Self, Option<RunFile>) {
        match dir.create(header.started) {
            Ok((file, out)) => (Self::new(out, file.path.display().to_string(), header), Some(file)),
            Err(e) => (
                Self::without(&format_args!("{e}; set XDG_STATE_HOME to a directory that can be written to")),
                None,
            ),
        }
    }
}

impl<W: Write> Recorder<W> {
    /// Records nothing, without complaint.
    pub fn off() -> Self {
        Self { log: None, trouble: None, name: String::new() }
    }

    /// Records nothing, and says once that this is so and why.
    pub fn without(why: &dyn std::fmt::Display) -> Self {
        Self { trouble: Some(format!("this run is not recorded: {why}")), ..Self::off() }
    }

    /// Begins a log in `out`, which warnings call `name`.
    pub fn new(out: W, name: String, header: &Header) -> Self {
        match LogWriter::new(out, header).and_then(|mut log| log.flush().map(|()| log)) {
            Ok(log) => Self { log: Some(log), name, ..Self::off() },
            Err(e) => Self::without(&format_args!("{name}: {e}")),
        }
    }

    /// Appends a fact.
    pub fn event(&mut self, at: Time, event: &Event) {
        self.attempt(|log| log.event(at, event));
    }

    /// Appends an order.
    pub fn order(&mut self, at: Time, order: &Order) {
        self.attempt(|log| log.order(at, order));
    }

    /// Hands what was appended to the operating system, so that it outlives this process. Call it once
    /// per step, before the step's orders are carried out.
    pub fn step_done(&mut self) {
        self.attempt(LogWriter::flush);
    }

    /// What went wrong, the first time this is called after it did.
    pub fn warning(&mut self) -> Option<String> {
        self.trouble.take()
    }

    fn attempt(&mut self, write: impl FnOnce(&mut LogWriter<W>) -> io::Result<()>) {
        if let Some(log) = &mut self.log
            && let Err(e) = write(log)
        {
            self.give_up(&e);
        }
    }

    fn give_up(&mut self, e: &io::Error) {
        self.log = None;
        self.trouble = Some(format!("this run is not recorded any further: {}: {e}", self.name));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Table;
    use crate::fleet::{Host, LinkSpeed};
    use crate::graph::Workload;
    use crate::run::{FORMAT, Step};

    fn header() -> Header {
        let home = Host {
            name: "local".into(),
            systems: vec![],
            features: vec![],
            mandatory: vec![],
            slots: 0,
            cores: 1,
            speed: 1.0,
            emulated: Default::default(),
            substitutes: false,
            link: LinkSpeed::FREE,
        };
        Header {
            format: FORMAT,
            version: "0".into(),
            started: 0,
            command: vec![],
            workload: Workload::default(),
            hosts: [home].into_iter().collect(),
            estimates: Table::new(),
            eligible: None,
            parallel: None,
            policy: serde_json::Value::Null,
        }
    }

    /// A disk with room for so many bytes.
    struct Full(usize);

    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 = self.0.checked_sub(bytes.len()).ok_or(io::ErrorKind::StorageFull)?;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_full_disk_is_said_once_and_stops_nothing() {
        let mut recorder = Recorder::new(Full(400), "run.jsonl".into(), &header());
        assert_eq!(recorder.warning(), None);
        (0..20).for_each(|n| recorder.event(Time(n), &Event::FleetReady));
        assert_eq!(
            recorder.warning().as_deref(),
            Some("this run is not recorded any further: run.jsonl: no storage space")
        );
        recorder.event(Time(20), &Event::FleetReady);
        recorder.step_done();
        assert_eq!(recorder.warning(), None);
    }

    #[test]
    fn a_disk_full_from_the_beginning_is_another_matter() {
        let mut recorder = Recorder::new(Full(10), "run.jsonl".into(), &header());
        recorder.event(Time(0), &Event::FleetReady);
        assert_eq!(
            recorder.warning().as_deref(),
            Some("this run is not recorded: run.jsonl: no storage space")
        );
        assert_eq!(recorder.warning(), None);
    }

    #[test]
    fn no_place_for_the_log_is_a_warning() {
        let temp = tempfile::NamedTempFile::new().unwrap();
        let (mut recorder, file) = Recorder::begin(&RunsDir::at(temp.path().join("runs")), &header());
        assert_eq!(file, None);
        assert!(recorder.warning().unwrap().starts_with("this run is not recorded: cannot create"));
        recorder.event(Time(0), &Event::FleetReady);
        assert_eq!(recorder.warning(), None);
    }

    #[test]
    fn a_step_that_is_done_can_be_read_while_the_run_goes_on() {
        let temp = tempfile::tempdir().unwrap();
        let (mut recorder, file) = Recorder::begin(&RunsDir::at(temp.path()), &header());
        let file = file.unwrap();
        recorder.event(Time(1), &Event::FleetReady);
        recorder.step_done();
        let (read, entries, torn) = file.read().unwrap();
        assert_eq!((read, torn), (header(), None));
        assert_eq!(entries.len(), 1);
        assert_eq!(entries[0].what, Step::Event(Event::FleetReady));
        assert_eq!(file.header().unwrap(), header());
    }
}
