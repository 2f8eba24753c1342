use super::*;
use crate::graph::PathSpec;

/// Jobs with these names, each of which reads what the one before makes.
fn chain(names: &[String]) -> Workload {
    let mut work = Workload::default();
    for (i, name) in (0u32..).zip(names) {
        let before = i.checked_sub(1);
        let made = PathSpec { path: String::new(), origin: Origin::Job(JobId(i)), size: 0, refs: Vec::new() };
        work.paths.push(made);
        work.jobs.push(Job {
            drv: String::new(),
            name: name.clone(),
            system: "x".to_owned(),
            features: Vec::new(),
            needs: before.map(JobId).into_iter().collect(),
            inputs: before.map(PathId).into_iter().collect(),
            outputs: vec![PathId(i)],
            fixed_output: name.ends_with(".tar.gz"),
            prefer_local: false,
            parallel: i % 2 == 0,
        });
    }
    work
}

fn names(count: usize, suffix: &str) -> Vec<String> {
    (0..count).map(|i| format!("package{i}-1.0{suffix}")).collect()
}

fn quantile(spans: impl Iterator<Item = Span>, part: f64) -> f64 {
    let mut seconds: Vec<f64> = spans.map(Span::as_secs_f64).collect();
    seconds.sort_by(f64::total_cmp);
    seconds[(seconds.len() as f64 * part) as usize]
}

#[test]
fn durations_are_spread_as_their_kind_is() {
    let work = chain(&names(4_000, ""));
    let durations = Model { seed: 3 }.durations(&work);
    let prior = OutputClass::Source.prior();
    for (part, expected) in [(0.1, prior.p10), (0.5, prior.median), (0.9, prior.p90)] {
        let found = quantile(durations.rows().iter().copied(), part);
        let ratio = found / expected.as_secs_f64();
        assert!((0.85..1.15).contains(&ratio), "quantile {part} is {found} s");
    }
}

#[test]
fn what_is_drawn_depends_on_the_seed_and_the_name() {
    let work = chain(&["a-1".to_owned(), "b-1".to_owned(), "a-1".to_owned()]);
    let durations = |seed| Model { seed }.durations(&work);
    let drawn = durations(1);
    assert_eq!(drawn, durations(1));
    assert_ne!(drawn, durations(2));
    assert_eq!(drawn[JobId(0)], drawn[JobId(2)]);
    assert_ne!(drawn[JobId(0)], drawn[JobId(1)]);
}

#[test]
fn downloads_refer_to_nothing_and_others_to_some_inputs() {
    let model = Model { seed: 1 };
    let referring = |suffix: &str| {
        let mut work = chain(&names(500, suffix));
        model.fill_paths(&mut work);
        assert!(work.paths.rows().iter().all(|path| path.size > 0));
        let part = model.parallel(&work, &model.durations(&work));
        assert!(part.iter().all(|(job, part)| (0.0..1.0).contains(part) && (job.0 % 2 == 0 || *part == 0.0)));
        work.paths.rows().iter().filter(|path| !path.refs.is_empty()).count()
    };
    assert_eq!([referring(".tar.gz"), referring("-env")], [0, 499]);
    assert!((50..150).contains(&referring("")));
}

#[test]
fn estimates_are_as_wrong_as_asked_for_and_say_so() {
    let truth = Table::filled(4_000, Span::from_secs(100));
    let estimates = noisy(&truth, 0.63, 9);
    let within = |cost: &Cost| cost.p10 <= Span::from_secs(100) && Span::from_secs(100) <= cost.p90;
    let share = estimates.rows().iter().filter(|cost| within(cost)).count() as f64 / 4_000.0;
    assert!((0.78..0.82).contains(&share), "{share}");
    let exact = Cost { median: Span(7), p10: Span(7), p90: Span(7) };
    assert_eq!(noisy(&Table::filled(2, Span(7)), 0.0, 9).rows(), [exact, exact]);
}
