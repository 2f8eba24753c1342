//! One plain line per thing that happens: for logs, pipes and CI.

use std::io::Write;

use super::lines::{Line, Weight, event_lines, note_lines, order_lines};
use super::sink::View;
use super::state::RunState;
use crate::base::Time;
use crate::run::Note;
use crate::run::{Event, Order};

/// How much is said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Detail {
    /// Build logs too (`-L`).
    pub logs: bool,
    /// Failures only (`--quiet`).
    pub quiet: bool,
}

impl Detail {
    pub(super) fn shows(self, line: &Line) -> bool {
        line.weight == Weight::Failure || !self.quiet
    }
}

/// The plain view.
#[derive(Debug)]
pub struct Plain<W> {
    out: W,
    detail: Detail,
}

impl<W: Write> Plain<W> {
    /// Writes to `out`; what cannot be written is not worth ending a build for.
    pub fn new(out: W, detail: Detail) -> Self {
        Self { out, detail }
    }

    fn print(&mut self, lines: &[Line]) {
        let mut text = String::new();
        for line in lines.iter().filter(|line| self.detail.shows(line)) {
            text.push_str(&line.text);
            text.push('\n');
        }
        if !text.is_empty() {
            // One write per step: lines of other processes on the same pipe do not end up inside.
            let _ = self.out.write_all(text.as_bytes()).and_then(|()| self.out.flush());
        }
    }
}

impl<W: Write> View for Plain<W> {
    fn event(&mut self, run: &RunState, _at: Time, event: &Event) {
        self.print(&event_lines(run, event));
    }

    fn order(&mut self, run: &RunState, _at: Time, order: &Order) {
        self.print(&order_lines(run, order));
    }

    fn note(&mut self, run: &RunState, _at: Time, note: &Note) {
        self.print(&note_lines(run, note, self.detail.logs));
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::plain;
    use super::*;

    #[test]
    fn every_step_has_its_line() {
        insta::assert_snapshot!(plain(Detail::default()), @r"
        could not reach opal: no answer within 5s
        building zlib-1.3 on ruby (est. 1.5s)
        building gcc-13.2 on ruby (est. 2m30s)
        built zlib-1.3 on ruby in 3.2s
        copying 1 path (5.0 MiB) from ruby to local
        copy of 1 path (5.0 MiB) from ruby to local failed: broken pipe
        copying 1 path (5.0 MiB) from ruby to local
        building hello-2.12 on local (est. 5.0s)
        hello-2.12 could not be built on local: no space left on device
        building hello-2.12 on ruby (est. 2.5s)
        lost ruby: connection reset by peer
        ruby is back
        building gcc-13.2 on ruby (est. 2m30s)
        copying 1 path (1.0 MiB) from a substituter to local
        building hello-2.12 on local (est. 5.0s)
        warning: this run is not recorded any further: disk full
        built hello-2.12 on local in 40s
        error: gcc-13.2 failed on ruby after 59s
          builder failed with exit code 2
          Its last 3 log lines:
          > cc1: out of memory
          >
          > make: *** [all] Error 2
          For the full log, run: nix log /nix/store/00000000000000000000000000000001-gcc-13.2.drv
        ");
    }

    #[test]
    fn with_logs_their_lines_are_prefixed() {
        let with: Vec<String> =
            plain(Detail { logs: true, quiet: false }).lines().map(str::to_owned).collect();
        let without = plain(Detail::default());
        let more: Vec<_> = with.iter().filter(|l| !without.lines().any(|w| w == *l)).collect();
        insta::assert_snapshot!(format!("{more:#?}"), @r#"
        [
            "zlib-1.3> checking for gcc... yes",
            "gcc-13.2> cc1: out of memory",
            "gcc-13.2>",
            "gcc-13.2> make: *** [all] Error 2",
        ]
        "#);
    }

    #[test]
    fn quiet_shows_failures_only() {
        insta::assert_snapshot!(plain(Detail { logs: true, quiet: true }), @r"
        error: gcc-13.2 failed on ruby after 59s
          builder failed with exit code 2
          Its last 3 log lines:
          > cc1: out of memory
          >
          > make: *** [all] Error 2
          For the full log, run: nix log /nix/store/00000000000000000000000000000001-gcc-13.2.drv
        ");
    }
}
