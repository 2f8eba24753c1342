//! How long a run that is otherwise ready waits for hosts that have not answered.
//!
//! What such a host has already would be built again, and its slots would go without the first jobs;
//! but nobody wants to wait for a host that is switched off. Who comes later joins the run then.

use std::time::Duration;

use super::world::HostState;

/// How long hosts have for answering, from when they were called, or from the start of the run for what
/// they are asked then. A host on the same network needs 0.3 s, and one abroad 1 s.
const LONGEST: Duration = Duration::from_millis(1500);

/// What a host that is no slower than those that answered may take longer than they did.
const LEEWAY: Duration = Duration::from_millis(100);

/// One host with slots.
#[derive(Clone, Copy, Debug)]
pub(super) struct Guest {
    /// This machine, which is called when the run starts.
    pub home: bool,
    pub state: HostState,
    /// When its first slot was connected.
    pub answered: Option<Duration>,
}

/// Until when to wait, `None` for no longer; like all times here since the builders were called. The run
/// starts at `began`; `enough` if those who answered can do all of the work: then nobody is given more
/// than twice the time that the slowest of them took.
pub(super) fn until(began: Duration, guests: &[Guest], enough: bool) -> Option<Duration> {
    let slowest = guests.iter().filter(|g| !g.home).filter_map(|g| g.answered).max();
    let limit = |guest: &Guest| match guest.state {
        HostState::Up | HostState::Down => None,
        HostState::Connecting if !guest.home => Some(match slowest {
            Some(slowest) if enough => LONGEST.min(slowest * 2 + LEEWAY),
            _ => LONGEST,
        }),
        HostState::Connecting | HostState::Asking => Some(began + LONGEST),
    };
    guests.iter().filter_map(limit).max()
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    const HOME: Guest = Guest { home: true, state: HostState::Up, answered: Some(ms(2020)) };
    const NEAR: Guest = Guest { home: false, state: HostState::Up, answered: Some(ms(200)) };
    const SILENT: Guest = Guest { home: false, state: HostState::Connecting, answered: None };

    #[test]
    fn nobody_is_waited_for_when_all_have_answered_or_are_lost() {
        let lost = Guest { state: HostState::Down, ..SILENT };
        assert_eq!(until(ms(2000), &[HOME, NEAR, lost], true), None);
    }

    #[test]
    fn a_silent_host_has_twice_the_time_of_the_slowest_if_it_can_be_done_without() {
        assert_eq!(until(ms(0), &[HOME, NEAR, SILENT], true), Some(ms(500)));
        assert_eq!(until(ms(0), &[HOME, NEAR, SILENT], false), Some(LONGEST));
        let far = Guest { answered: Some(ms(900)), ..NEAR };
        assert_eq!(until(ms(0), &[HOME, far, SILENT], true), Some(LONGEST));
    }

    #[test]
    fn this_machine_says_nothing_about_how_long_others_take() {
        assert_eq!(until(ms(0), &[HOME, SILENT], true), Some(LONGEST));
    }

    #[test]
    fn who_is_about_to_say_what_it_has_is_waited_for_after_a_long_evaluation() {
        let asking = Guest { state: HostState::Asking, ..NEAR };
        assert_eq!(until(ms(9000), &[HOME, asking, SILENT], true), Some(ms(10_500)));
        let connecting = Guest { state: HostState::Connecting, answered: None, ..HOME };
        assert_eq!(until(ms(9000), &[connecting, NEAR], true), Some(ms(10_500)));
        assert_eq!(until(ms(9000), &[HOME, NEAR, SILENT], true), Some(ms(500)), "long ago");
    }
}
