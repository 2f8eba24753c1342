//! What the live region says, as a pure function of the run's state, the time and the window.

use console::{measure_text_width, pad_str, style, truncate_str};

use super::super::state::{HostState, JobState, RunState, Running, Standing};
use super::super::text::one_line;
use super::super::units::{bytes, plural};
use crate::base::Time;
use crate::fleet::HostId;

/// Names of hosts take up to this many columns.
const NAME_WIDTH: usize = 20;

/// The window that is drawn into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// Whether to use colours.
    pub color: bool,
}

/// The region's lines, each narrower than the window: one per host, one for the critical path, one
/// with counts. A low window shows fewer hosts and says how many it leaves out.
pub fn render(run: &RunState, now: Time, look: Look) -> Vec<String> {
    // A line as wide as the window wraps in some terminals.
    let width = look.width.saturating_sub(1);
    if width == 0 {
        return Vec::new();
    }
    let shown: Vec<HostId> = run.hosts().ids().filter(|host| takes_part(run, *host)).collect();
    let labels = shown.iter().map(|host| run.host_name(*host)).chain(["critical"]);
    let column = labels.map(measure_text_width).max().unwrap_or(0).min(NAME_WIDTH);
    let label = |name: &str| {
        let name = pad_str(name, column, console::Alignment::Left, Some("…")).into_owned();
        if look.color && !name.trim().is_empty() {
            style(name).bold().force_styling(true).to_string()
        } else {
            name
        }
    };
    let room = width.saturating_sub(column + 2);

    let fits = look.height.saturating_sub(4).max(1);
    let cut = if shown.len() > fits { fits.saturating_sub(1) } else { shown.len() };
    let mut lines: Vec<String> = shown[..cut]
        .iter()
        .map(|host| format!("{}  {}", label(run.host_name(*host)), host_cell(run, *host, now, room)))
        .collect();
    if cut < shown.len() {
        lines.push(format!("{}  and {}", label(""), plural(shown.len() - cut, "more host")));
    }
    if let Some(cell) = critical_cell(run, now, room) {
        lines.push(format!("{}  {cell}", label("critical")));
    }
    lines.push(format!("{}  {}", label(""), counts(run, now)));
    lines.iter().map(|line| truncate_str(line, width, "…").trim_end().to_owned()).collect()
}

/// A host without slots is shown only when something is copied to it.
fn takes_part(run: &RunState, host: HostId) -> bool {
    run.header().hosts[host].slots > 0 || copies(run, host).is_some()
}

fn host_cell(run: &RunState, host: HostId, now: Time, room: usize) -> String {
    let state = &run.hosts()[host];
    match &state.standing {
        Standing::Awaited if run.header().hosts[host].slots > 0 => "connecting".to_owned(),
        Standing::Lost { cause, at } if state.met => {
            format!("lost {} ago: {}", now.since(*at), one_line(cause))
        }
        Standing::Lost { cause, .. } => format!("not reached: {}", one_line(cause)),
        Standing::Refused { cause } => format!("not used: {}", one_line(cause)),
        Standing::Awaited | Standing::Up => fitting(&pieces(run, state, host, now), ", ", room),
    }
}

/// What a host's slots do, longest running first, then what is copied to it, then idle slots.
fn pieces(run: &RunState, state: &HostState, host: HostId, now: Time) -> Vec<String> {
    let mut busy: Vec<_> = state
        .slots()
        .filter_map(|(_, doing)| doing)
        .filter_map(|(job, attempt)| Some((job, run.attempt(job, attempt)?)))
        .collect();
    let idle = state.slots().count() - busy.len();
    busy.sort_by_key(|(job, r)| (r.ordered, *job));
    let mut pieces: Vec<String> =
        busy.iter().map(|(job, r)| build_piece(&run.job(*job).name, r, now)).collect();
    pieces.extend(copies(run, host));
    if idle > 0 {
        pieces.push(format!("{idle} idle"));
    }
    pieces
}

/// `gcc-13.2 (configure) 1m20s of 5m00s`.
fn build_piece(name: &str, running: &Running, now: Time) -> String {
    let phase = match &running.phase {
        Some(phase) => format!(" ({})", phase.strip_suffix("Phase").unwrap_or(phase)),
        None => String::new(),
    };
    format!("{name}{phase} {} of {}", running.elapsed(now), running.estimate)
}

fn copies(run: &RunState, host: HostId) -> Option<String> {
    let here: Vec<_> = run.transfers().under_way().map(|(_, t)| t).filter(|t| t.to == host).collect();
    let paths: usize = here.iter().map(|t| t.paths).sum();
    let done = here.iter().map(|t| t.bytes).fold(0, u64::saturating_add);
    (!here.is_empty()).then(|| format!("copying {} ({})", plural(paths, "path"), bytes(done)))
}

/// The first pieces that fit, and how many do not.
fn fitting(pieces: &[String], between: &str, room: usize) -> String {
    let mut text = String::new();
    for (n, piece) in pieces.iter().enumerate() {
        let left = pieces.len() - n;
        let lead = if n == 0 { "" } else { between };
        // Unless this is the last, what is left over must still be said.
        let reserve = if left == 1 { 0 } else { format!("{between}{} more", left - 1).len() };
        let wide = measure_text_width(&text) + measure_text_width(lead) + measure_text_width(piece) + reserve;
        if wide > room && n > 0 {
            return format!("{text}{lead}{left} more");
        }
        text.push_str(lead);
        text.push_str(piece);
    }
    text
}

/// `about 4m20s: gcc-13.2 → curl-8.9 → nixos-system-demo`.
fn critical_cell(run: &RunState, now: Time, room: usize) -> Option<String> {
    let path = run.critical_path(now)?;
    let left = path
        .jobs
        .iter()
        .filter(|job| !matches!(run.jobs()[**job], JobState::Skipped { .. } | JobState::Unneeded));
    let names: Vec<String> = left.map(|job| run.job(*job).name.clone()).collect();
    let head = format!("about {}: ", path.left);
    let names = fitting(&names, " → ", room.saturating_sub(measure_text_width(&head)));
    Some(head + &names)
}

fn counts(run: &RunState, now: Time) -> String {
    let counts = run.counts();
    let mut jobs = format!("{} of {} built", counts.built, counts.total() - counts.unneeded);
    let more = [(counts.active, "running"), (counts.failed, "failed"), (counts.skipped, "skipped")];
    for (n, what) in more.into_iter().filter(|(n, _)| *n > 0) {
        jobs.push_str(&format!(", {n} {what}"));
    }
    if counts.active + counts.waiting > 0 {
        jobs.push_str(&format!("; about {} left", run.time_left(now)));
    }
    format!("{jobs}; {} moved; {} gone", bytes(run.transfers().bytes()), now.since(Time::ZERO))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::super::testing::{Scene, header};
    use super::*;
    use crate::run::Step;
    use crate::run::arbitrary::{self, entry};

    const NOW: Time = Time(100_000_000);

    fn look(width: usize, height: usize) -> Look {
        Look { width, height, color: false }
    }

    #[test]
    fn the_region_shows_hosts_path_and_counts() {
        let scene = Scene::running();
        insta::assert_snapshot!(render(&scene.run, NOW, look(100, 24)).join("\n"), @r"
        local     hello-2.12 39s of 5.0s, copying 1 path (300 KiB)
        ruby      gcc-13.2 39s of 2m30s, 1 idle
        opal      not reached: no answer within 5s
        critical  about 2m11s: gcc-13.2 → curl-8.9 → nixos-system-demo
                  1 of 5 built, 2 running; about 2m11s left; 5.3 MiB moved; 1m40s gone
        ");
    }

    #[test]
    fn a_narrow_window_says_what_it_leaves_out() {
        let scene = Scene::running();
        insta::assert_snapshot!(render(&scene.run, NOW, look(44, 24)).join("\n"), @r"
        local     hello-2.12 39s of 5.0s, 1 more
        ruby      gcc-13.2 39s of 2m30s, 1 idle
        opal      not reached: no answer within 5s
        critical  about 2m11s: gcc-13.2 → 2 more
                  1 of 5 built, 2 running; about 2…
        ");
    }

    #[test]
    fn a_low_window_shows_fewer_hosts() {
        let scene = Scene::running();
        insta::assert_snapshot!(render(&scene.run, NOW, look(100, 6)).join("\n"), @r"
        local     hello-2.12 39s of 5.0s, copying 1 path (300 KiB)
                  and 2 more hosts
        critical  about 2m11s: gcc-13.2 → curl-8.9 → nixos-system-demo
                  1 of 5 built, 2 running; about 2m11s left; 5.3 MiB moved; 1m40s gone
        ");
    }

    #[test]
    fn before_anything_happens_hosts_connect() {
        let run = RunState::new(header());
        insta::assert_snapshot!(render(&run, Time::ZERO, look(80, 24)).join("\n"), @r"
        local     connecting
        ruby      connecting
        opal      connecting
        critical  about 2m51s: gcc-13.2 → curl-8.9 → nixos-system-demo
                  0 of 5 built; about 2m51s left; 0 B moved; 0.0s gone
        ");
    }

    #[test]
    fn after_a_failure_what_is_skipped_is_not_waited_for() {
        let scene = Scene::failed();
        insta::assert_snapshot!(render(&scene.run, scene.run.now(), look(80, 24)).join("\n"), @r"
        local
        ruby
        opal      not reached: no answer within 5s
                  2 of 5 built, 1 failed, 2 skipped; 6.0 MiB moved; 2m00s gone
        ");
    }

    proptest::proptest! {
        #[test]
        fn any_run_can_be_drawn(steps in proptest::collection::vec(entry(), 0..40), now: u64) {
            let mut run = RunState::new(Arc::new(arbitrary::header()));
            for step in &steps {
                match &step.what {
                    Step::Event(event) => run.event(step.at, event),
                    Step::Order(order) => run.order(step.at, order),
                }
            }
            for line in render(&run, Time(now), look(80, 24)) {
                proptest::prop_assert!(!line.contains(char::is_control), "{line:?}");
                proptest::prop_assert!(measure_text_width(&line) < 80, "{line:?}");
            }
        }

        #[test]
        fn no_line_is_wider_than_the_window(width in 0usize..130, height in 0usize..30, color: bool) {
            let run = Scene::running().run;
            for line in render(&run, NOW, Look { width, height, color }) {
                proptest::prop_assert!(measure_text_width(&line) <= width.saturating_sub(1), "{line:?}");
            }
        }
    }
}
