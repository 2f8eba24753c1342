//! How long a host's daemon may be silent, by what it was asked for, before the host counts as lost.
//!
//! Each is a limit on the wait for a single byte, where bytes are due: log frames and pieces of a NAR
//! are signs of life, what keeps the connection alive is none. That the host is there at all is seen to
//! by the link; this is for a daemon that hangs at the end of a live one. Builds have no limit here,
//! for a compiler may say nothing for an hour: `--max-silent-time` is for those who know theirs.

use std::time::Duration;

/// The limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// For the answer to the first greeting: 30 s.
    pub greeting: Duration,
    /// For what a store's database or disk answers, each piece of a NAR included: 60 s. That is much
    /// more than a disk takes that does something else as well.
    pub asking: Duration,
    /// For what a daemon fetches: 10 min. Nix itself gives up a download that stalls for 5 min
    /// (`stalled-download-timeout`), and says so, which is a sign of life.
    pub fetching: Duration,
    /// How fast a daemon at least takes in what it is sent, in bytes per second: 10 MB/s. It says nothing
    /// while it hashes all files again to link equal ones (`auto-optimise-store`) or syncs them.
    pub storing: u64,
}

impl Default for Patience {
    fn default() -> Self {
        let (greeting, asking) = (Duration::from_secs(30), Duration::from_secs(60));
        Self { greeting, asking, fetching: Duration::from_secs(600), storing: 10_000_000 }
    }
}

impl Patience {
    /// The limit while a host is sent `bytes`.
    pub fn sending(&self, bytes: u64) -> Duration {
        self.asking + Duration::from_secs(bytes / self.storing.max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn much_to_store_may_take_longer() {
        let patience = Patience::default();
        assert_eq!(patience.sending(0), patience.asking);
        assert_eq!(patience.sending(6_000_000_000), Duration::from_secs(660));
        assert_eq!(Patience { storing: 0, ..patience }.sending(5), Duration::from_secs(65));
    }
}
