//! What the live region says, as a pure function of the run's state, the time and the window.

use console::style;

use super::super::fit::{Piece, append, cut, cut_apart, fitting, width};
use super::super::state::{HostState, JobState, RunState, Running, Standing};
use super::super::text::one_line;
use super::super::units::{bytes, plural};
use crate::base::Time;
use crate::fleet::HostId;

/// Names of hosts take up to this many columns, and up to a quarter of the window.
const NAME_WIDTH: usize = 20;
/// A window of fewer columns has none to spare for lining up what has no name in front.
const ROOMY: usize = 60;
/// Rows of the window that are left to what scrolls by.
const SCROLLING: usize = 2;

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
/// with counts. In a low window the hosts are the first to go, and the counts stay.
pub fn render(run: &RunState, now: Time, look: Look) -> Vec<String> {
    // A line as wide as the window wraps in some terminals.
    let room = look.width.saturating_sub(1);
    if room == 0 {
        return Vec::new();
    }
    let rows = look.height.saturating_sub(SCROLLING).max(1);
    let hosts: Vec<HostId> = run.hosts().ids().filter(|host| takes_part(run, *host)).collect();
    let names: Vec<&str> = hosts.iter().map(|host| run.host_name(*host)).collect();
    let longest = names.iter().map(|name| width(name)).max().unwrap_or(0).max(CRITICAL.len());
    let column = longest.min(NAME_WIDTH).min((room / 4).max(CRITICAL.len()));
    let hosts: Vec<(HostId, String)> = hosts.into_iter().zip(cut_apart(&names, column)).collect();
    let grid = Grid { column, room, color: look.color };

    let critical = critical_cell(run, now, grid.cell()).map(|cell| grid.line(CRITICAL, &cell));
    let critical = critical.filter(|_| rows > 1);
    let for_hosts = rows - 1 - usize::from(critical.is_some());
    let mut lines = host_lines(run, &hosts, now, &grid, for_hosts);
    lines.extend(critical);
    let counts = |room| counts(run, now, room);
    lines.push(if look.width < ROOMY { counts(room) } else { grid.line("", &counts(grid.cell())) });
    lines.iter().map(|line| cut(line, room).trim_end().to_owned()).collect()
}

const CRITICAL: &str = "critical";

/// Where names and what is said of them stand.
struct Grid {
    column: usize,
    room: usize,
    color: bool,
}

impl Grid {
    /// Columns behind the name.
    fn cell(&self) -> usize {
        self.room.saturating_sub(self.column + 2)
    }

    fn line(&self, name: &str, cell: &str) -> String {
        let gap = " ".repeat(self.column.saturating_sub(width(name)) + 2);
        match self.color && !name.is_empty() {
            true => format!("{}{gap}{cell}", style(name).bold().force_styling(true)),
            false => format!("{name}{gap}{cell}"),
        }
    }
}

/// A line for each host, or for as many as there are rows, and one about the others.
fn host_lines(
    run: &RunState,
    hosts: &[(HostId, String)],
    now: Time,
    grid: &Grid,
    rows: usize,
) -> Vec<String> {
    let line = |(host, name): &(HostId, String)| grid.line(name, &host_cell(run, *host, now, grid.cell()));
    if hosts.len() <= rows {
        return hosts.iter().map(line).collect();
    }
    if rows == 0 {
        return Vec::new();
    }
    // Those that are up say more than those that are not; else they keep their places.
    let is_up = |(host, _): &&(HostId, String)| matches!(run.hosts()[*host].standing, Standing::Up);
    let (up, down): (Vec<_>, Vec<_>) = hosts.iter().partition(is_up);
    let mut shown: Vec<&(HostId, String)> = up.into_iter().chain(down).take(rows - 1).collect();
    shown.sort_unstable();
    let others: Vec<HostId> = hosts.iter().filter(|host| !shown.contains(host)).map(|(id, _)| *id).collect();
    let mut lines: Vec<String> = shown.iter().map(|host| line(host)).collect();
    let lead = if shown.is_empty() { "" } else { "and " };
    let what = if shown.is_empty() { "host" } else { "more host" };
    let text = format!("{lead}{}: {}", plural(others.len(), what), together(run, &others));
    lines.push(if grid.room < ROOMY { text } else { grid.line("", &text) });
    lines
}

/// What some hosts do, in sum: `3 building, 1 idle, 1 not in use`.
fn together(run: &RunState, hosts: &[HostId]) -> String {
    let (mut building, mut idle, mut away) = (0, 0, 0);
    for host in hosts {
        let state = &run.hosts()[*host];
        match state.standing {
            Standing::Lost { .. } | Standing::Refused { .. } => away += 1,
            Standing::Awaited | Standing::Up => {
                building += state.slots().filter(|(_, doing)| doing.is_some()).count();
                idle += run.idle(*host);
            }
        }
    }
    let parts = [(building, "building"), (idle, "idle"), (away, "not in use")];
    let said = parts.iter().filter(|(n, what)| *n > 0 || *what == "building");
    said.map(|(n, what)| format!("{n} {what}")).collect::<Vec<_>>().join(", ")
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
        Standing::Awaited | Standing::Up => work_cell(run, state, host, now, room),
    }
}

/// What a host's slots do, longest running first, then what is copied to it, then idle slots.
fn work_cell(run: &RunState, state: &HostState, host: HostId, now: Time, room: usize) -> String {
    let mut busy: Vec<_> = state
        .slots()
        .filter_map(|(_, doing)| doing)
        .filter_map(|(job, attempt)| Some((job, run.attempt(job, attempt)?)))
        .collect();
    let idle = run.idle(host);
    busy.sort_by_key(|(job, r)| (r.ordered, *job));
    let builds: Vec<Piece> = busy.iter().map(|(job, r)| build_piece(&run.job(*job).name, r, now)).collect();
    let mut text = fitting(&builds, ", ", room);
    let copies = copies(run, host).map_or_else(Vec::new, |(paths, done)| {
        let done = bytes(done);
        vec![format!("copying {} ({done})", plural(paths, "path")), format!("copying {done}")]
    });
    let idle = match &state.drained {
        Some(cause) => vec![format!("no more jobs: {}", one_line(cause)), "no more jobs".to_owned()],
        None if idle > 0 => vec![format!("{idle} idle")],
        None => Vec::new(),
    };
    append(&mut text, &[&copies, &idle], ", ", room);
    text
}

/// `gcc-13.2 (build 45 %) 1m20s of 5m00s`.
fn build_piece(name: &str, running: &Running, now: Time) -> Piece {
    let phase = running.phase.as_ref().map(|phase| phase.strip_suffix("Phase").unwrap_or(phase));
    let percent = (running.permille >= 10).then(|| format!("{} %", running.permille / 10));
    let extra: Vec<&str> = phase.into_iter().chain(percent.as_deref()).collect();
    Piece {
        name: name.to_owned(),
        extra: if extra.is_empty() { String::new() } else { format!(" ({})", extra.join(" ")) },
        fact: format!(" {} of {}", running.elapsed(now), running.estimate),
    }
}

/// How many paths are under way to a host, and how many bytes of them have arrived.
fn copies(run: &RunState, host: HostId) -> Option<(usize, u64)> {
    let here: Vec<_> = run.transfers().under_way().map(|(_, t)| t).filter(|t| t.to == host).collect();
    let paths: usize = here.iter().map(|t| t.paths).sum();
    let done = here.iter().map(|t| t.bytes).fold(0, u64::saturating_add);
    (!here.is_empty()).then_some((paths, done))
}

/// `about 4m20s: gcc-13.2 → curl-8.9 → nixos-system-demo`.
fn critical_cell(run: &RunState, now: Time, room: usize) -> Option<String> {
    let path = run.critical_path(now)?;
    let left = path
        .jobs
        .iter()
        .filter(|job| !matches!(run.jobs()[**job], JobState::Skipped { .. } | JobState::Unneeded));
    let names: Vec<Piece> = left.map(|job| Piece::named(&run.job(*job).name)).collect();
    let about = if room < ROOMY / 2 { "" } else { "about " };
    let head = format!("{about}{}: ", path.left);
    let names = fitting(&names, " → ", room.saturating_sub(width(&head)));
    Some(head + &names)
}

/// `1 of 5 built, 1 failed, about 2m12s left, 2 running, …`: what matters most comes first, and what
/// does not fit is left out.
fn counts(run: &RunState, now: Time, room: usize) -> String {
    let counts = run.counts();
    let total = counts.total() - counts.unneeded;
    let some = |n: usize, what: &str| if n > 0 { vec![format!("{n} {what}")] } else { Vec::new() };
    let left = if counts.active + counts.waiting > 0 {
        let left = run.time_left(now);
        vec![format!("about {left} left"), format!("{left} left")]
    } else {
        Vec::new()
    };
    let built = match room < ROOMY / 2 {
        true => format!("{}/{total}", counts.built),
        false => format!("{} of {total} built", counts.built),
    };
    let items: [&[String]; 7] = [
        &[built],
        &some(counts.failed, "failed"),
        &left,
        &some(counts.active, "running"),
        &some(counts.skipped, "skipped"),
        &[format!("{} moved", bytes(run.transfers().bytes()))],
        &[format!("{} gone", now.since(Time::ZERO))],
    ];
    let mut text = String::new();
    append(&mut text, &items, ", ", room);
    text
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::super::fit::width as columns;
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
        critical  about 2m12s: gcc-13.2 → curl-8.9 → nixos-system-demo
                  1 of 5 built, about 2m12s left, 2 running, 5.3 MiB moved, 1m40s gone
        ");
    }

    #[test]
    fn every_width_has_first_what_matters() {
        let scenes = [Scene::running(), Scene::running_with_long_names()];
        let pictures = [20, 40, 80, 120].map(|width| {
            let lines = scenes.iter().flat_map(|scene| render(&scene.run, NOW, look(width, 24)));
            format!("{width}\n{}", lines.collect::<Vec<_>>().join("\n"))
        });
        insta::assert_snapshot!(pictures.join("\n\n"), @r"
        20
        local     hello… 3…
        ruby      gcc-1… 3…
        opal      not reac…
        critical  2m12s: g…
        1/5, 2m12s left
        local     pytho… 3…
        nix@…org  pytho… 3…
        nix@…org  not reac…
        critical  2m12s: p…
        1/5, 2m12s left

        40
        local     hello-2.12 39s of 5.0s
        ruby      gcc-13.2 39s of 2m30s, 1 idle
        opal      not reached: no answer withi…
        critical  2m12s: gcc-13.2 → 2 more
        1 of 5 built, about 2m12s left
        local      python3.13-djan… 39s of 5.0s
        nix@….org  python3.13-dja… 39s of 2m30s
        nix@….org  not reached: no answer with…
        critical   2m12s: python3.13-django… +2
        1 of 5 built, about 2m12s left

        80
        local     hello-2.12 39s of 5.0s, copying 1 path (300 KiB)
        ruby      gcc-13.2 39s of 2m30s, 1 idle
        opal      not reached: no answer within 5s
        critical  about 2m12s: gcc-13.2 → curl-8.9 → nixos-system-demo
                  1 of 5 built, about 2m12s left, 2 running, 5.3 MiB moved, 1m40s gone
        local                python3.13-django-rest-framework-hello-2.12 39s of 5.0s
        nix@build-1.ruby.e…  python3.13-django-rest-framework-gcc-13.2 39s of 2m30s
        nix@build-2.opal.e…  not reached: no answer within 5s
        critical             about 2m12s: python3.13-django-rest-framework-gcc-13.2 +2
                             1 of 5 built, about 2m12s left, 2 running, 5.3 MiB moved

        120
        local     hello-2.12 39s of 5.0s, copying 1 path (300 KiB)
        ruby      gcc-13.2 39s of 2m30s, 1 idle
        opal      not reached: no answer within 5s
        critical  about 2m12s: gcc-13.2 → curl-8.9 → nixos-system-demo
                  1 of 5 built, about 2m12s left, 2 running, 5.3 MiB moved, 1m40s gone
        local                 python3.13-django-rest-framework-hello-2.12 39s of 5.0s, copying 1 path (300 KiB)
        nix@build-1.ruby.ex…  python3.13-django-rest-framework-gcc-13.2 39s of 2m30s, 1 idle
        nix@build-2.opal.ex…  not reached: no answer within 5s
        critical              about 2m12s: python3.13-django-rest-framework-gcc-13.2 → 2 more
                              1 of 5 built, about 2m12s left, 2 running, 5.3 MiB moved, 1m40s gone
        ");
    }

    #[test]
    fn every_height_is_kept_to() {
        let run = Scene::running().run;
        let pictures = (0..8).map(|height| {
            let lines = render(&run, NOW, look(80, height));
            assert!(lines.len() <= height.saturating_sub(2).max(1), "{lines:?}");
            format!("{height}\n{}", lines.join("\n"))
        });
        insta::assert_snapshot!(pictures.collect::<Vec<_>>().join("\n\n"), @r"
        0
                  1 of 5 built, about 2m12s left, 2 running, 5.3 MiB moved, 1m40s gone

        1
                  1 of 5 built, about 2m12s left, 2 running, 5.3 MiB moved, 1m40s gone

        2
                  1 of 5 built, about 2m12s left, 2 running, 5.3 MiB moved, 1m40s gone

        3
                  1 of 5 built, about 2m12s left, 2 running, 5.3 MiB moved, 1m40s gone

        4
        critical  about 2m12s: gcc-13.2 → curl-8.9 → nixos-system-demo
                  1 of 5 built, about 2m12s left, 2 running, 5.3 MiB moved, 1m40s gone

        5
                  3 hosts: 2 building, 1 idle, 1 not in use
        critical  about 2m12s: gcc-13.2 → curl-8.9 → nixos-system-demo
                  1 of 5 built, about 2m12s left, 2 running, 5.3 MiB moved, 1m40s gone

        6
        local     hello-2.12 39s of 5.0s, copying 1 path (300 KiB)
                  and 2 more hosts: 1 building, 1 idle, 1 not in use
        critical  about 2m12s: gcc-13.2 → curl-8.9 → nixos-system-demo
                  1 of 5 built, about 2m12s left, 2 running, 5.3 MiB moved, 1m40s gone

        7
        local     hello-2.12 39s of 5.0s, copying 1 path (300 KiB)
        ruby      gcc-13.2 39s of 2m30s, 1 idle
        opal      not reached: no answer within 5s
        critical  about 2m12s: gcc-13.2 → curl-8.9 → nixos-system-demo
                  1 of 5 built, about 2m12s left, 2 running, 5.3 MiB moved, 1m40s gone
        ");
    }

    #[test]
    fn a_narrow_window_says_what_it_leaves_out() {
        let scene = Scene::running();
        insta::assert_snapshot!(render(&scene.run, NOW, look(44, 24)).join("\n"), @r"
        local     hello-2.12 39s of 5.0s
        ruby      gcc-13.2 39s of 2m30s, 1 idle
        opal      not reached: no answer within 5s
        critical  about 2m12s: gcc-13.2 → 2 more
        1 of 5 built, about 2m12s left, 2 running
        ");
    }

    #[test]
    fn a_low_window_shows_fewer_hosts() {
        let scene = Scene::running();
        insta::assert_snapshot!(render(&scene.run, NOW, look(100, 6)).join("\n"), @r"
        local     hello-2.12 39s of 5.0s, copying 1 path (300 KiB)
                  and 2 more hosts: 1 building, 1 idle, 1 not in use
        critical  about 2m12s: gcc-13.2 → curl-8.9 → nixos-system-demo
                  1 of 5 built, about 2m12s left, 2 running, 5.3 MiB moved, 1m40s gone
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
                  0 of 5 built, about 2m51s left, 0 B moved, 0.0s gone
        ");
    }

    #[test]
    fn after_a_failure_what_is_skipped_is_not_waited_for() {
        let scene = Scene::failed();
        insta::assert_snapshot!(render(&scene.run, scene.run.now(), look(80, 24)).join("\n"), @r"
        local
        ruby
        opal      not reached: no answer within 5s
                  2 of 5 built, 1 failed, 2 skipped, 6.0 MiB moved, 2m00s gone
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
                proptest::prop_assert!(columns(&line) < 80, "{line:?}");
            }
        }

        #[test]
        fn no_line_is_wider_than_the_window(width in 0usize..130, height in 0usize..30, color: bool) {
            let run = Scene::running().run;
            for line in render(&run, NOW, Look { width, height, color }) {
                proptest::prop_assert!(columns(&line) <= width.saturating_sub(1), "{line:?}");
            }
        }
    }
}
