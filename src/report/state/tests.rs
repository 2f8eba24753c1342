//! The fold over the hand-written run, and over arbitrary ones.

use proptest::collection::vec;
use proptest::prelude::*;

use super::super::lines::{event_lines, note_lines};
use super::super::testing::{GCC, HELLO, Scene, ZLIB};
use super::*;
use crate::run::arbitrary::{self, entry};
use crate::run::{Expectation, SlotId, Source, Step};

const LOCAL: HostId = HostId(0);
const RUBY: HostId = HostId(1);
const OPAL: HostId = HostId(2);

fn fold(steps: &[crate::run::Entry]) -> RunState {
    let mut run = RunState::new(Arc::new(arbitrary::header()));
    for step in steps {
        match &step.what {
            Step::Event(event) => run.event(step.at, event),
            Step::Order(order) => run.order(step.at, order),
        }
    }
    run
}

fn recount(run: &RunState) -> Counts {
    let mut counts = Counts::default();
    run.jobs().iter().for_each(|(_, state)| *counts.of(state) += 1);
    counts
}

#[test]
fn jobs_are_where_the_events_left_them() {
    let run = Scene::failed().run;
    assert_eq!(run.counts(), Counts { waiting: 0, active: 0, built: 2, failed: 1, skipped: 2, unneeded: 0 });
    assert!(matches!(run.jobs()[ZLIB], JobState::Built { host: RUBY, took: Span(3_200_000), .. }));
    // Without a measured time, what passed between start and end counts.
    assert!(matches!(run.jobs()[HELLO], JobState::Built { host: LOCAL, took: Span(40_000_000), .. }));
    assert_eq!(run.jobs()[GCC], JobState::Failed { failure: 0 });
    assert_eq!(run.jobs()[JobId(4)], JobState::Skipped { because: GCC });
}

#[test]
fn busy_and_connected_time_are_summed_over_slots_and_connections() {
    let run = Scene::failed().run;
    let [local, ruby, opal] = [LOCAL, RUBY, OPAL].map(|host| &run.hosts()[host]);
    assert_eq!((local.built, local.failed, ruby.built, ruby.failed), (1, 0, 1, 1));
    // hello: 4.7 s to 8 s and 61 s to 101 s.
    assert_eq!(local.busy, Span::from_millis(3_300 + 40_000));
    // zlib 3.25 s, gcc 59.8 s until the loss and 59.5 s after it, hello 52 s until the loss.
    assert_eq!(ruby.busy, Span::from_millis(3_250 + 59_800 + 59_500 + 52_000));
    // Two slots, 0.1 s to 60 s and 60.5 s to 120 s.
    assert_eq!(ruby.connected(run.now()), Span::from_millis(2 * (59_900 + 59_500)));
    assert_eq!((opal.met, opal.connected(run.now())), (false, Span::ZERO));
}

#[test]
fn slots_that_are_not_used_are_neither_idle_nor_connected() {
    let policy = serde_json::json!({ "jobs_per_core": 1.0 });
    let header = Header { policy, ..Header::clone(&super::super::testing::header()) };
    let mut run = RunState::new(Arc::new(header));
    let at = |seconds: u64| Time(seconds * 1_000_000);
    for slot in [SlotId(0), SlotId(1)] {
        run.event(at(0), &Event::SlotUp { host: RUBY, slot });
    }
    assert_eq!(run.idle(RUBY), 2);
    run.event(at(2), &Event::HostCores { host: RUBY, cores: 1 });
    assert_eq!(run.idle(RUBY), 1);
    begin(&mut run, at(10), Attempt(0), RUBY, Span::from_secs(5));
    assert_eq!(run.idle(RUBY), 0);
    run.event(at(20), &Event::Finished { job: GCC, attempt: Attempt(0), outcome: built() });
    assert_eq!((run.idle(RUBY), run.hosts()[RUBY].busy), (1, Span::from_secs(10)));
    // Two for two seconds, and one since.
    assert_eq!(run.hosts()[RUBY].connected(at(20)), Span::from_secs(2 * 2 + 18));
}

#[test]
fn links_count_what_arrived() {
    let run = Scene::failed().run;
    let links: Vec<_> = run.transfers().links().map(|(from, to, t)| (from, to, t.bytes, t.failed)).collect();
    assert_eq!(links, [(Source::Host(RUBY), LOCAL, 5 << 20, 1), (Source::Substituter, LOCAL, 1 << 20, 0)]);
    assert_eq!(run.transfers().bytes(), 6 << 20);
}

#[test]
fn the_critical_path_shrinks_as_its_first_job_runs() {
    let run = Scene::running().run;
    let at = |s: u64| run.critical_path(Time(s * 1_000_000)).unwrap();
    // gcc takes 150 s on ruby, from 60.6 s on; after it curl takes 20 s and the system 1 s.
    assert_eq!(at(100).jobs, [GCC, JobId(2), JobId(4)]);
    assert_eq!(at(100).left, Span::from_millis(150_000 - 39_400 + 21_000));
    // Late: what is left cannot be less than what comes after.
    assert_eq!(at(10_000).left, Span::from_secs(21));
    assert!(run.time_left(Time(100_000_000)) >= at(100).left);
}

/// Begins a further attempt at gcc, which is to take so long if that is not left to the estimate.
fn begin(run: &mut RunState, at: Time, attempt: Attempt, host: HostId, work: Span) -> Event {
    let expect = Expectation { work, ..Expectation::default() };
    let (job, slot) = (GCC, SlotId(attempt.0));
    run.order(at, &Order::Build { job, attempt, host, slot, cores: 1, expect });
    let started = Event::Started { job, attempt };
    run.event(at, &started);
    started
}

/// gcc is built.
fn built() -> Outcome {
    let made = vec![crate::run::Made { path: PathId(1), size: 1, refs: vec![] }];
    Outcome::Built { made, times: Times::default() }
}

/// gcc is built on ruby, and on local, too, whose daemon says so and holds nothing.
#[test]
fn what_is_built_without_outputs_is_not_built() {
    let mut run = Scene::running().run;
    let (at, job, attempt) = (Time(100_000_000), GCC, Attempt(9));
    begin(&mut run, at, attempt, LOCAL, Span::ZERO);
    let before = run.counts();
    let empty =
        Event::Finished { job, attempt, outcome: Outcome::Built { made: vec![], times: Times::default() } };
    run.event(at, &empty);
    let text = "gcc-13.2 could not be built on local: it reported success without outputs";
    assert_eq!(event_lines(&run, &empty)[0].text, text);
    assert_eq!((run.counts(), run.setback(job).map(|(host, _)| host)), (before, Some(LOCAL)));
    let full = Event::Finished { job, attempt: Attempt(1), outcome: built() };
    run.event(at, &full);
    assert_eq!(event_lines(&run, &full)[0].text, "built gcc-13.2 on ruby in 39s");
    assert!(matches!(run.jobs()[job], JobState::Built { host: RUBY, .. }));
    assert_eq!(run.setback(job), None);
}

/// gcc runs on ruby and is told to end there, as another attempt was done first, and what that made was lost.
#[test]
fn what_was_told_to_end_is_not_late() {
    let mut run = Scene::running().run;
    let (at, slot) = (Time(100_000_000), SlotId(0));
    run.order(at, &Order::Cancel { job: GCC, attempt: Attempt(1), host: RUBY, slot });
    let started = begin(&mut run, at, Attempt(9), LOCAL, Span::ZERO);
    assert_eq!(event_lines(&run, &started)[0].text, "building gcc-13.2 on local (est. 5m00s)");
}

/// gcc runs on ruby; the same on local beside it, which is done sooner.
#[test]
fn attempts_at_the_same_job_are_told_apart() {
    let mut run = Scene::running().run;
    let at = Time(100_000_000);
    let (job, attempt) = (GCC, Attempt(9));
    let started = begin(&mut run, at, attempt, LOCAL, Span::ZERO);
    let lines = event_lines(&run, &started);
    assert_eq!(lines[0].text, "building gcc-13.2 on local (est. 5m00s), too, as it is late on ruby");
    for (attempt, text) in [(Attempt(1), "from ruby"), (Attempt(9), "from local")] {
        let note = Note::LogLine { job, attempt, text: text.to_owned() };
        run.note(at, &note);
        let shown = note_lines(&run, &note, true);
        assert_eq!(shown[0].text, format!("gcc-13.2 on {}> {text}", &text[5..]));
    }
    let (failure, message, times) = (Failure::Build, String::new(), Times::default());
    run.event(at, &Event::Finished { job, attempt, outcome: Outcome::Failed { failure, message, times } });
    assert_eq!(run.failures()[0].tail, ["from local"]);
}

/// gcc is built on local, and on ruby, too, which is done first and then lost.
#[test]
fn what_comes_of_another_attempt_counts_once_the_host_of_the_first_is_lost() {
    let mut run = Scene::running().run;
    let (at, job, attempt) = (Time(100_000_000), GCC, Attempt(9));
    begin(&mut run, at, attempt, LOCAL, Span::ZERO);
    let built = built();
    run.event(at, &Event::Finished { job, attempt: Attempt(1), outcome: built });
    assert_ne!(run.critical_path(at).map(|path| path.jobs[0]), Some(GCC), "it is built");
    run.event(at, &Event::HostLost { host: RUBY, cause: "no answer".to_owned() });
    let (failure, message, times) = (Failure::Build, String::new(), Times::default());
    run.event(at, &Event::Finished { job, attempt, outcome: Outcome::Failed { failure, message, times } });
    assert_eq!(run.failures().len(), 1);
}

/// gcc is built on ruby, on local, too, and on opal.
#[test]
fn the_first_of_several_attempts_is_what_counts() {
    let mut run = Scene::running().run;
    let (at, job) = (Time(100_000_000), GCC);
    run.event(at, &Event::SlotUp { host: OPAL, slot: SlotId(9) });
    begin(&mut run, at, Attempt(8), LOCAL, Span::from_secs(4));
    let started = begin(&mut run, at, Attempt(9), OPAL, Span::from_secs(7));
    let lines = event_lines(&run, &started);
    assert_eq!(lines[0].text, "building gcc-13.2 on opal (est. 7.0s), too, as it is late on ruby and local");
    // What comes after gcc takes 21 s.
    let left = |s: u64, run: &RunState| run.critical_path(Time(s * 1_000_000)).unwrap().left;
    assert_eq!(left(100, &run), Span::from_secs(4 + 21));
    assert_eq!(left(106, &run), Span::from_secs(1 + 21), "the attempt that is late says nothing");
    let before = run.hosts()[RUBY].built;
    let built = built();
    for attempt in [Attempt(9), Attempt(1), Attempt(8)] {
        run.event(at, &Event::Finished { job, attempt, outcome: built.clone() });
        let counts = attempt == Attempt(9);
        assert_eq!(run.ended().is_some(), counts, "{attempt:?}");
    }
    let JobState::Built { host, .. } = run.jobs()[job] else { panic!("{:?}", run.jobs()[job]) };
    assert_eq!((host, run.hosts()[RUBY].built), (OPAL, before));
    assert_eq!(run.running().filter(|(of, ..)| *of == job).count(), 0);
}

#[test]
fn nothing_is_left_of_a_run_that_is_over() {
    let run = Scene::failed().run;
    assert_eq!(run.critical_path(run.now()), None);
    assert_eq!(run.time_left(run.now()), Span::ZERO);
}

proptest! {
    #[test]
    fn the_counts_are_those_of_the_jobs(steps in vec(entry(), 0..60)) {
        let mut run = fold(&steps);
        prop_assert_eq!(run.counts(), recount(&run));
        prop_assert_eq!(run.counts().total(), run.jobs().len());
        for (job, _, _) in run.running() {
            let idle = matches!(run.jobs()[job], JobState::Waiting | JobState::Skipped { .. });
            prop_assert!(!idle, "{job}");
        }
        run.finish(Time(u64::MAX));
        prop_assert_eq!(run.counts(), recount(&run));
        prop_assert_eq!(run.counts().active, 0);
        prop_assert_eq!(run.running().count(), 0);
    }

    #[test]
    fn time_never_runs_backwards(steps in vec(entry(), 1..20)) {
        let latest = steps.iter().map(|step| step.at).max().unwrap_or_default();
        prop_assert_eq!(fold(&steps).now(), latest);
    }
}

#[test]
fn what_was_there_before_the_run_is_not_to_be_built() {
    let mut run = RunState::new(super::super::testing::header());
    // curl is on a host from an earlier run; so gcc, which only curl needs, is not to be built.
    run.event(Time(1), &Event::HostHolds { host: HostId(1), paths: vec![PathId(2)] });
    assert_eq!(run.counts().unneeded, 0, "more hosts may answer");
    run.event(Time(2), &Event::FleetReady);
    assert_eq!(run.jobs()[GCC], JobState::Unneeded);
    assert_eq!((run.counts().unneeded, run.counts().waiting), (2, 3));
}
