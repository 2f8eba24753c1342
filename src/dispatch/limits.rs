//! `--timeout` and `--max-silent-time`, kept by this program itself: over ssh-ng Nix forgets them for
//! users other than root, and a daemon that hangs keeps none.

use std::time::Duration;

/// Limits on one build; `None` for no limit.
#[derive(Clone, Copy, Debug, Default)]
pub struct Limits {
    /// From start to end.
    pub total: Option<Duration>,
    /// Between two lines of its log.
    pub silent: Option<Duration>,
}

/// How far a build is, in time since the run's epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// The host was asked for it then.
    Asked(Duration),
    /// The host's Nix lets it wait for somebody who builds the same, as that activity of its says. As with
    /// Nix, this may take as long as it likes.
    Waiting(u64),
    /// The builder runs since then.
    Building(Duration),
}

impl Default for Progress {
    fn default() -> Self {
        Self::Asked(Duration::ZERO)
    }
}

impl Limits {
    /// When a build has to be looked at next, given when it began and when it last said something.
    pub(super) fn next_look(&self, began: Duration, last: Duration) -> Option<Duration> {
        let total = self.total.map(|limit| began + limit);
        let silent = self.silent.map(|limit| last + limit);
        total.into_iter().chain(silent).min()
    }

    /// Why it has to end now, if it has to.
    pub(super) fn exceeded(&self, now: Duration, began: Duration, last: Duration) -> Option<String> {
        match (self.total, self.silent) {
            (Some(limit), _) if now >= began + limit => {
                Some(format!("timed out after {} seconds", limit.as_secs()))
            }
            (_, Some(limit)) if now >= last + limit => {
                Some(format!("timed out after {} seconds of silence", limit.as_secs()))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearer_limit_counts() {
        let s = Duration::from_secs;
        let limits = Limits { total: Some(s(100)), silent: Some(s(10)) };
        assert_eq!(limits.next_look(s(5), s(20)), Some(s(30)));
        assert_eq!(limits.next_look(s(5), s(99)), Some(s(105)));
        assert_eq!(limits.exceeded(s(29), s(5), s(20)), None);
        assert!(limits.exceeded(s(30), s(5), s(20)).unwrap().contains("silence"));
        assert!(limits.exceeded(s(105), s(5), s(104)).unwrap().contains("100 seconds"));
        assert_eq!(Limits::default().next_look(s(1), s(1)), None);
        assert_eq!(Limits::default().exceeded(s(1000), s(1), s(1)), None);
    }
}
