//! How far a build is, by what it says itself: the lines of its log that count, as ninja's `[12/345]` or
//! CMake's `[ 45%]`, and the bytes of a download that Nix follows.
//!
//! Logs are not written to be read by programs, so one sign of doubt is enough: a count that starts over (a
//! second run of ninja, tests after a compilation), another way of counting or a new phase, and the build
//! has said nothing, now and for the rest of its time. Pure: lines and the time go in by call.

use std::time::Duration;

use super::judge::plain;
use crate::nix::wire::LogMessage;

/// Steps of which a tool must count to be taken for one that counts its work: `[1/4] Fetching packages…`
/// says nothing about time.
const LEAST_TOTAL: u64 = 20;
/// A download shorter than this, in bytes, is over before anybody looks.
const LEAST_BYTES: u64 = 1 << 20;
/// Parallel builds end out of order: so many thousandths a count may go back.
const SLACK: u16 = 50;
/// What is told: changes of 1 % or more, two seconds apart or more.
const LEAST_CHANGE: u16 = 10;
const LEAST_WAIT: Duration = Duration::from_secs(2);
/// What counts stands at the beginning of a line.
const LONGEST_LEAD: usize = 64;

/// Nix's number of the activity that is a download.
const FILE_TRANSFER: u64 = 101;

/// Ways of counting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Steps,
    Percent,
    Bytes,
}

/// What one build has said so far.
#[derive(Debug, Default)]
pub(super) struct Percent {
    way: Option<Way>,
    best: u16,
    told: Option<(Duration, u16)>,
    /// The download that Nix follows for it.
    download: Option<u64>,
    /// It started over: nothing that it says counts any more.
    doubted: bool,
}

impl Percent {
    /// Takes in what the daemon says during a build; thousandths that are worth telling.
    pub fn message(&mut self, now: Duration, message: &LogMessage) -> Option<u16> {
        match message {
            LogMessage::Line { text, .. } => self.line(now, text),
            LogMessage::SetPhase { .. } => self.phase(),
            LogMessage::Start { kind: FILE_TRANSFER, id, .. } => {
                self.download = Some(*id);
                None
            }
            LogMessage::Progress { activity, done, expected, .. } if self.download == Some(*activity) => {
                self.bytes(now, *done, *expected)
            }
            _ => None,
        }
    }

    /// Takes in a line of the log; thousandths that are worth telling.
    fn line(&mut self, now: Duration, line: &str) -> Option<u16> {
        if self.doubted || line.len() < 4 {
            return None;
        }
        let (way, part) = count(line)?;
        self.note(now, way, part)
    }

    /// Takes in how many bytes of a download there are.
    fn bytes(&mut self, now: Duration, done: u64, expected: u64) -> Option<u16> {
        if self.doubted || expected < LEAST_BYTES || done > expected {
            return None;
        }
        self.note(now, Way::Bytes, permille(done, expected))
    }

    /// A new phase begins: what was counted in the one before was not the whole work.
    fn phase(&mut self) -> Option<u16> {
        if self.way.is_some() && !self.doubted { self.doubt() } else { None }
    }

    fn note(&mut self, now: Duration, way: Way, part: u16) -> Option<u16> {
        if self.way.is_some_and(|known| known != way) || part.saturating_add(SLACK) < self.best {
            return self.doubt();
        }
        self.way = Some(way);
        self.best = self.best.max(part);
        let news = match self.told {
            None => self.best >= LEAST_CHANGE,
            Some((at, before)) => self.best >= before + LEAST_CHANGE && now.saturating_sub(at) >= LEAST_WAIT,
        };
        if !news {
            return None;
        }
        self.told = Some((now, self.best));
        Some(self.best)
    }

    /// Zero takes back what was told, if anything was.
    fn doubt(&mut self) -> Option<u16> {
        self.doubted = true;
        self.told.map(|_| 0)
    }
}

/// What a line counts: `[12/345] …`, `[ 3 of 45] …` or `[ 45%] …`.
fn count(line: &str) -> Option<(Way, u16)> {
    let lead: String = line.chars().take(LONGEST_LEAD).collect();
    let lead = plain(&lead);
    let (inside, _) = lead.trim_start().strip_prefix('[')?.split_once(']')?;
    if let Some(percent) = inside.strip_suffix('%') {
        let percent = number(percent)?;
        return (percent <= 100).then(|| (Way::Percent, permille(percent, 100)));
    }
    let (done, total) = inside.split_once('/').or_else(|| inside.split_once(" of "))?;
    let (done, total) = (number(done)?, number(total)?);
    (total >= LEAST_TOTAL && done <= total).then(|| (Way::Steps, permille(done, total)))
}

fn number(text: &str) -> Option<u64> {
    let digits = text.trim();
    let all = !digits.is_empty() && digits.len() <= 9 && digits.bytes().all(|b| b.is_ascii_digit());
    if all { digits.parse().ok() } else { None }
}

/// `done` is at most `total`, which is above 0.
fn permille(done: u64, total: u64) -> u16 {
    let part = u128::from(done) * 1000 / u128::from(total.max(1));
    u16::try_from(part).unwrap_or(1000).min(1000)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn told(lines: &[&str]) -> Vec<u16> {
        let mut percent = Percent::default();
        let seconds = (0..).map(|i| Duration::from_secs(i * 2));
        lines.iter().zip(seconds).filter_map(|(line, now)| percent.line(now, line)).collect()
    }

    #[test]
    fn lines_that_count_are_known() {
        assert_eq!(count("[12/345] Compiling C object a.o"), Some((Way::Steps, 34)));
        assert_eq!(count("[ 45%] Building CXX object a.o"), Some((Way::Percent, 450)));
        assert_eq!(count("[100%] Built target a"), Some((Way::Percent, 1000)));
        assert_eq!(count("[ 3 of 45] Compiling Data.Map"), Some((Way::Steps, 66)));
        assert_eq!(count("\u{1b}[32m[ 45%]\u{1b}[0m Building"), Some((Way::Percent, 450)));
        for line in [
            "",
            "[",
            "[]",
            "[/]",
            "[%]",
            "[-1%]",
            "[101%]",
            "[1/0]",
            "[2/1]",
            "[9/8] x",
            "[1/4] Fetching",
            "ok [45%]",
            "[+5/50]",
            "[1/99999999999999999999999]",
            "[x/50]",
            "[12/345",
            "[٣/50]",
            "[1.5%]",
        ] {
            assert_eq!(count(line), None, "{line}");
        }
    }

    #[test]
    fn what_rises_is_told() {
        assert_eq!(told(&["[1/100] a", "text", "[2/100] a", "[2/100] b", "[50/100] c"]), [10, 20, 500]);
        // Out of order by a little.
        assert_eq!(told(&["[ 50%] a", "[ 48%] b", "[ 52%] c"]), [500, 520]);
    }

    #[test]
    fn whoever_starts_over_is_not_believed_any_more() {
        assert_eq!(told(&["[50/100] a", "[1/200] b", "[90/100] c", "[100/100] d"]), [500, 0]);
        assert_eq!(told(&["[50/100] a", "[ 60%] b", "[70/100] c"]), [500, 0]);
        let mut percent = Percent::default();
        assert_eq!(percent.phase(), None, "nothing was counted yet");
        assert_eq!(percent.line(Duration::ZERO, "[30/60] a"), Some(500));
        assert_eq!(percent.phase(), Some(0));
        assert_eq!(percent.line(Duration::from_secs(9), "[60/60] a"), None);
    }

    #[test]
    fn downloads_count_by_bytes() {
        let mut percent = Percent::default();
        let at = Duration::from_secs;
        assert_eq!(percent.bytes(at(0), 10, 1000), None, "too short to matter");
        assert_eq!(percent.bytes(at(0), 0, 0), None, "its length is not known");
        assert_eq!(percent.bytes(at(0), 1 << 30, 1 << 32), Some(250));
        assert_eq!(percent.bytes(at(1), 1 << 31, 1 << 32), None, "too soon");
        assert_eq!(percent.bytes(at(2), 1 << 31, 1 << 32), Some(500));
        assert_eq!(percent.bytes(at(4), 0, 1 << 32), Some(0), "another mirror");
    }

    #[test]
    fn only_a_download_has_bytes() {
        let start = |kind| LogMessage::Start {
            id: 7,
            level: 3,
            kind,
            text: String::new(),
            fields: Vec::new(),
            parent: 0,
        };
        let half =
            LogMessage::Progress { activity: 7, done: 1 << 30, expected: 1 << 31, running: 0, failed: 0 };
        let mut percent = Percent::default();
        assert_eq!(percent.message(Duration::ZERO, &start(105)), None);
        assert_eq!(percent.message(Duration::ZERO, &half), None);
        assert_eq!(percent.message(Duration::ZERO, &start(FILE_TRANSFER)), None);
        assert_eq!(percent.message(Duration::ZERO, &half), Some(500));
    }

    proptest! {
        /// Whatever a log says: what is told rises, in steps and with pauses, until it is taken back once.
        #[test]
        fn any_log_is_told_little(
            lines in prop::collection::vec(
                (prop_oneof![
                    r"\[ ?[0-9]{1,3}/[0-9]{2,3}\] x",
                    r"\[ {0,2}[0-9]{1,3}%\] x",
                    r"\PC{0,20}",
                    Just("\u{1b}[1m[ 7%]".to_owned()),
                ], 0u64..3000),
                0..200,
            ),
            phases in prop::collection::vec(0usize..200, 0..2),
        ) {
            let mut percent = Percent::default();
            let (mut now, mut out) = (Duration::ZERO, Vec::new());
            for (i, (line, wait)) in lines.iter().enumerate() {
                now += Duration::from_millis(*wait);
                out.extend(percent.line(now, line).map(|part| (now, part)));
                if phases.contains(&i) {
                    out.extend(percent.phase().map(|part| (now, part)));
                }
            }
            for pair in out.windows(2) {
                let [(at, before), (then, after)] = pair else { unreachable!() };
                prop_assert!(*before > 0, "told after it was taken back");
                prop_assert!(*after == 0 || *after >= before + LEAST_CHANGE && *then >= *at + LEAST_WAIT);
            }
            prop_assert!(out.iter().all(|(_, part)| *part <= 1000));
            prop_assert!(out.first().is_none_or(|(_, part)| *part > 0));
        }
    }
}
