//! How many processors a builder has. Nix does not say, so its shell is asked.

use std::sync::Arc;
use std::time::Duration;

use crossbeam::channel::Sender;

use super::session::Access;
use super::slot::{Letter, Report};
use crate::fleet::HostId;
use crate::run::SlotId;

/// For any login shell: Linux, then macOS, then what POSIX has. Their complaints go to stderr.
pub(super) const COMMAND: &str = "sh -c 'nproc || sysctl -n hw.ncpu || getconf _NPROCESSORS_ONLN'";
/// Where only `nix-daemon --stdio` may be run, that runs instead, and waits for somebody to speak.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);
/// More than any machine has.
const MOST: u32 = 1 << 16;

/// The number that was said; a login shell may have said something else before.
pub(super) fn count(said: &str) -> Option<u32> {
    said.lines().rev().find_map(|line| line.trim().parse().ok()).filter(|n| (1..=MOST).contains(n))
}

/// Asks a host in a thread of its own and reports to `out` what it says. It is only asked once, unless
/// it could not be connected to, and nobody waits for the answer: without one, the host leaves the cores
/// of its builds to its own Nix.
pub(super) fn ask(
    access: &Arc<Access>,
    (host, slot): (HostId, SlotId),
    timeout: Option<Duration>,
    out: &Sender<Letter>,
) {
    if access.is_local() || !access.first_to_ask() {
        return;
    }
    let (access, out) = (Arc::clone(access), out.clone());
    std::thread::spawn(move || match access.processors(timeout) {
        Ok(Some(cores)) => {
            // The world is gone only when the run is over.
            let _ = out.send(Letter { host, slot, report: Report::Cores { cores } });
        }
        Ok(None) => tracing::debug!(host = access.name(), "it does not say how many processors it has"),
        Err(trouble) => {
            tracing::debug!(host = access.name(), %trouble, "asking for its processors");
            if trouble.passing && !trouble.silent {
                access.ask_again();
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_found_behind_a_greeting_and_nonsense_is_none() {
        assert_eq!(count("16\n"), Some(16));
        assert_eq!(count("Welcome!\n You have 3 mails\n8\r\n\n"), Some(8));
        for nonsense in ["", "0\n", "-4\n", "99999999999\n", "70000\n", "nix-daemon: no\n"] {
            assert_eq!(count(nonsense), None, "{nonsense:?}");
        }
    }

    #[test]
    fn the_command_says_how_many_processors_this_machine_has() {
        let out = std::process::Command::new("sh").args(["-c", COMMAND]).output().unwrap();
        let here = std::thread::available_parallelism().unwrap().get();
        assert_eq!(count(&String::from_utf8(out.stdout).unwrap()), u32::try_from(here).ok());
    }
}
