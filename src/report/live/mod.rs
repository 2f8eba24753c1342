//! The live view on a terminal: a region at the bottom that is drawn again and again, above it what
//! scrolls by. What the region says is [`render`]'s; this only puts it there.

mod render;

use std::fmt;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

pub use render::{Look, render};

use super::lines::{Line, Weight, event_lines, note_lines, order_lines};
use super::plain::Detail;
use super::sink::View;
use super::state::RunState;
use crate::base::{Span, Time};
use crate::run::Note;
use crate::run::{Event, Order};

/// At most ten pictures a second.
const PERIOD: Span = Span::from_millis(100);
/// Lines that wait for the next picture, at most.
const MAX_PENDING: usize = 1000;

/// The live view. Dropping it takes the region away and leaves what has scrolled.
pub struct Live {
    bar: ProgressBar,
    look: Box<dyn Fn() -> Look + Send>,
    detail: Detail,
    drawn: Option<Time>,
    pending: Vec<String>,
}

impl fmt::Debug for Live {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Live")
            .field("drawn", &self.drawn)
            .field("detail", &self.detail)
            .finish_non_exhaustive()
    }
}

impl Live {
    /// On standard error, with colours unless `NO_COLOR` or the terminal is against them.
    pub fn stderr(detail: Detail) -> Self {
        let term = console::Term::stderr();
        let target = ProgressDrawTarget::term(term.clone(), 20);
        let color = colors();
        Self::new(target, detail, move || {
            let (height, width) = term.size();
            Look { width: width.into(), height: height.into(), color }
        })
    }

    /// On any target; `look` is asked before each picture, since windows change their size.
    pub fn new(target: ProgressDrawTarget, detail: Detail, look: impl Fn() -> Look + Send + 'static) -> Self {
        let bar = ProgressBar::with_draw_target(None, target);
        bar.set_style(ProgressStyle::with_template("{msg}").expect("the template is constant and right"));
        Self { bar, look: Box::new(look), detail, drawn: None, pending: Vec::new() }
    }

    fn scroll(&mut self, run: &RunState, at: Time, lines: Vec<Line>) {
        // What goes as it should is in the region, and need not scroll by as well.
        let shown = lines.into_iter().filter(|l| l.weight > Weight::Routine && self.detail.shows(l));
        let color = (self.look)().color;
        let before = self.pending.len();
        self.pending.extend(shown.enumerate().map(|(n, line)| paint(&line, n == 0 && color)));
        let full = self.pending.len() >= MAX_PENDING;
        if full || (before != self.pending.len() && self.drawn.is_none()) {
            self.draw(run, at);
        } else {
            self.draw_if_due(run, at);
        }
    }

    fn draw_if_due(&mut self, run: &RunState, at: Time) {
        if self.drawn.is_none_or(|drawn| at.since(drawn) >= PERIOD) {
            self.draw(run, at);
        }
    }

    fn draw(&mut self, run: &RunState, at: Time) {
        self.drawn = Some(at);
        self.bar.set_message(render(run, at, (self.look)()).join("\n"));
        self.flush();
    }

    fn flush(&mut self) {
        if !self.pending.is_empty() {
            self.bar.println(self.pending.join("\n"));
            self.pending.clear();
        }
    }
}

impl View for Live {
    fn event(&mut self, run: &RunState, at: Time, event: &Event) {
        self.scroll(run, at, event_lines(run, event));
    }

    fn order(&mut self, run: &RunState, at: Time, order: &Order) {
        self.scroll(run, at, order_lines(run, order));
    }

    fn note(&mut self, run: &RunState, at: Time, note: &Note) {
        self.scroll(run, at, note_lines(run, note, self.detail.logs));
    }

    fn tick(&mut self, run: &RunState, at: Time) {
        self.draw_if_due(run, at);
    }

    fn finish(&mut self, _run: &RunState, _at: Time) {
        self.flush();
        self.bar.finish_and_clear();
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        if !self.bar.is_finished() {
            self.flush();
            self.bar.finish_and_clear();
        }
    }
}

fn paint(line: &Line, color: bool) -> String {
    if !color {
        return line.text.clone();
    }
    let text = console::style(&line.text).force_styling(true);
    match line.weight {
        Weight::Failure => text.red().bold().to_string(),
        Weight::Notice => text.yellow().to_string(),
        Weight::Log | Weight::Routine => line.text.clone(),
    }
}

/// Whether standard error is to be coloured: a terminal that can do it, and no `NO_COLOR` that is set and not
/// empty, as <https://no-color.org> has it.
pub fn colors() -> bool {
    console::colors_enabled_stderr() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

#[cfg(test)]
mod tests {
    use std::io;

    use indicatif::TermLike;

    use super::super::testing::{Paper, show};
    use super::*;

    /// A terminal that writes down what a region's drawing does to it: `^` for a line cleared.
    #[derive(Clone, Debug, Default)]
    struct Screen(Paper);

    impl Screen {
        fn put(&self, text: &str) -> io::Result<()> {
            io::Write::write_all(&mut self.0.clone(), text.as_bytes())
        }
    }

    impl TermLike for Screen {
        fn width(&self) -> u16 {
            80
        }
        fn move_cursor_up(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_down(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_right(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_left(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn write_line(&self, s: &str) -> io::Result<()> {
            self.put(&format!("{s}\n"))
        }
        fn write_str(&self, s: &str) -> io::Result<()> {
            self.put(s)
        }
        fn clear_line(&self) -> io::Result<()> {
            self.put("^")
        }
        fn flush(&self) -> io::Result<()> {
            Ok(())
        }
    }

    fn shown(detail: Detail) -> String {
        let screen = Screen::default();
        let target = ProgressDrawTarget::term_like(Box::new(screen.clone()));
        show(Box::new(Live::new(target, detail, || Look { width: 80, height: 24, color: false })));
        screen.0.text()
    }

    fn count(shown: &str, line: &str) -> usize {
        shown.matches(line).count()
    }

    #[test]
    fn failures_scroll_once_and_routine_does_not() {
        let shown = shown(Detail::default());
        assert_eq!(count(&shown, "error: gcc-13.2 failed on ruby after 59s"), 1, "{shown}");
        assert_eq!(count(&shown, "lost ruby: connection reset by peer"), 1, "{shown}");
        assert!(!shown.contains("building zlib-1.3 on"), "{shown}");
        assert!(!shown.contains("zlib-1.3> "), "{shown}");
    }

    #[test]
    fn logs_scroll_where_asked_for() {
        let detail = Detail { logs: true, quiet: false };
        assert_eq!(count(&shown(detail), "zlib-1.3> checking for gcc... yes"), 1);
    }

    #[test]
    fn the_region_is_gone_in_the_end() {
        let shown = shown(Detail::default());
        let last = shown.rfind("critical").expect("the region was drawn");
        assert!(shown[last..].contains('^'), "cleared after the last picture: {shown}");
    }

    #[test]
    fn colours_are_for_the_first_line() {
        let line = |text: &str| Line { weight: Weight::Failure, text: text.into() };
        assert_eq!(paint(&line("error"), true), "\u{1b}[31m\u{1b}[1merror\u{1b}[0m");
        assert_eq!(paint(&line("error"), false), "error");
    }
}
