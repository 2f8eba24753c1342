use proptest::prelude::*;

use super::*;
use crate::base::Id;
use crate::fleet::LinkSpeed;
use crate::graph::{Job, Origin, PathId, PathSpec};
use crate::run::SlotId;
use crate::sched::Cores;

const MB: u64 = 1_000_000;

/// A run of few jobs on few hosts.
#[derive(Debug)]
struct Case {
    work: Workload,
    hosts: Table<HostId, Host>,
    estimates: Table<JobId, Cost>,
    eligible: Table<JobId, Vec<HostId>>,
}

/// Per job: which jobs it needs, its seconds, the megabytes of its output, and those of a source that is
/// here. The last job is wanted, and per host: slots, speed, and megabytes a second to it.
fn case(jobs: &[(Vec<usize>, u64, u64, u64)], hosts: &[(u32, f64, u64)]) -> Case {
    let mut work = Workload::default();
    let spec = |path: String, origin, size| PathSpec { path, origin, size: size * MB, refs: vec![] };
    for (i, (_, _, output, _)) in jobs.iter().enumerate() {
        work.paths.push(spec(format!("out{i}"), Origin::Job(JobId::from_index(i)), *output));
    }
    for (i, (needs, _, _, source)) in jobs.iter().enumerate() {
        let mut needs = needs.clone();
        needs.sort_unstable();
        needs.dedup();
        let mut inputs: Vec<PathId> = needs.iter().map(|&need| PathId::from_index(need)).collect();
        if *source > 0 {
            inputs.push(work.paths.push(spec(format!("source{i}"), Origin::Home, *source)));
        }
        work.jobs.push(Job {
            drv: format!("{i}.drv"),
            name: format!("package-{i}"),
            system: "x".to_owned(),
            needs: needs.iter().map(|&need| JobId::from_index(need)).collect(),
            inputs,
            outputs: vec![PathId::from_index(i)],
            ..Job::default()
        });
    }
    work.wanted = vec![PathId::from_index(jobs.len() - 1)];
    let host = |(i, &(slots, speed, rate)): (usize, &(u32, f64, u64))| Host {
        name: format!("h{i}"),
        systems: vec!["x".to_owned()],
        features: vec![],
        mandatory: vec![],
        slots,
        cores: 0,
        speed,
        emulated: std::collections::BTreeMap::new(),
        substitutes: false,
        link: LinkSpeed { bandwidth: rate * MB, latency: Span::ZERO },
    };
    let cost = |seconds| {
        let median = Span::from_secs(seconds);
        Cost { median, p10: median.scale(0.5), p90: median.scale(2.0) }
    };
    Case {
        work,
        hosts: hosts.iter().enumerate().map(host).collect(),
        estimates: jobs.iter().map(|&(_, seconds, ..)| cost(seconds)).collect(),
        eligible: Table::filled(jobs.len(), (0..hosts.len()).map(HostId::from_index).collect()),
    }
}

impl Case {
    fn rehearsal(&self, facts: Option<Vec<Event>>) -> Rehearsal<'_> {
        Rehearsal::new(&self.work, &self.hosts, &self.estimates, &self.eligible, facts)
    }

    fn choose(&self) -> Choice {
        self.rehearsal(None).choose(&Policy::default())
    }
}

const HOME: (u32, f64, u64) = (1, 1.0, 0);

/// Twice as fast, at the end of a slow link.
const FAR: (u32, f64, u64) = (1, 2.0, 5);

/// A first job that is soonest done far away, and a second one that needs its large output and a source
/// that is larger still.
fn chain_with_a_large_source() -> Case {
    case(&[(vec![], 120, 500, 0), (vec![0], 120, 1, 1000)], &[HOME, FAR])
}

fn summary(choice: &Choice) -> Vec<(&'static str, u64, u64)> {
    choice.trials.iter().map(|t| (t.name, t.makespan.0 / 1_000_000, t.bytes / MB)).collect()
}

#[test]
fn all_is_built_here_where_each_step_away_looks_good_and_the_way_is_bad() {
    let choice = chain_with_a_large_source().choose();
    assert_eq!(choice.name, "all-local");
    assert_eq!(Some(&choice.policy), Policy::named("all-local").as_ref());
    // 60 s there, 100 s for 500 MB, 120 s here; against 240 s here, and 200 s for the source and 120 s there.
    let trials = summary(&choice);
    assert_eq!(trials, [("full", 280, 500), ("all-local", 240, 0), ("all-fastest", 320, 1001)]);
}

#[test]
fn the_default_is_kept_where_all_hosts_are_of_use() {
    let jobs: Vec<_> = (0..8).map(|_| (vec![], 60, 1, 0)).chain([((0..8).collect(), 10, 1, 0)]).collect();
    let choice = case(&jobs, &[(2, 1.0, 0), (2, 2.0, 100)]).choose();
    assert_eq!(choice.name, DEFAULT);
    let [full, rivals @ ..] = choice.trials.as_slice() else { panic!("nothing was tried") };
    assert!(rivals[..2].iter().all(|rival| rival.makespan > full.makespan.scale(1.2)), "{choice:?}");
}

#[test]
fn a_difference_that_estimates_cannot_tell_changes_nothing() {
    let trial = |name, millis, missing| {
        let makespan = Span::from_millis(millis);
        Trial { name, makespan, bytes: 0, missing, mean: None }
    };
    let full = trial(DEFAULT, 100_000, 0);
    let best = |trials: &[Trial]| soonest(trials, MARGIN);
    assert_eq!(best(&[full, trial("all-local", 97_000, 0)]), DEFAULT);
    assert_eq!(best(&[full, trial("all-local", 96_999, 0), trial("all-fastest", 96_998, 0)]), "all-fastest");
    assert_eq!(best(&[full, trial("all-local", 5, 1)]), DEFAULT, "that does not build all");
    assert_eq!(soonest(&[full, trial("planned", 98_999, 0)], CERTAIN), "planned");
    let with = |trial: Trial, mean| Trial { mean: Some(Span::from_secs(mean)), ..trial };
    let full = with(full, 130);
    assert_eq!(best(&[full, with(trial("all-local", 90_000, 0), 140)]), DEFAULT, "on average");
    assert_eq!(best(&[full, with(trial("all-local", 104_000, 0), 120)]), "all-local", "on average");
    assert_eq!(best(&[full, trial("all-local", 110_000, 0)]), DEFAULT, "its average may be anything");
}

#[test]
fn what_comes_near_is_looked_at_with_other_times_and_exact_ways_only_where_there_are_none() {
    let mut case = chain_with_a_large_source();
    let is_near = |trial: &Trial| trial.mean.is_some();
    let trials = case.choose().trials;
    let near: Vec<_> = trials.iter().filter(|trial| is_near(trial)).map(|trial| trial.name).collect();
    assert_eq!(near, [DEFAULT, "all-local"]);
    // Of a lognormal distribution with these intervals the mean is 1.16 times the median.
    let means =
        trials.iter().filter_map(|trial| Some(trial.mean?.as_secs_f64() / trial.makespan.as_secs_f64()));
    means.for_each(|ratio| assert!((1.0..1.4).contains(&ratio), "{ratio}"));
    assert_eq!(trials, case.choose().trials, "the same each time");

    for (_, cost) in case.estimates.iter_mut() {
        (cost.p10, cost.p90) = (cost.median, cost.median);
    }
    let choice = case.choose();
    assert!(!choice.trials.iter().any(is_near), "{choice:?}");
    assert_eq!(choice.trials.len(), 1 + RIVALS.len() + EXACT.len());
}

#[test]
fn nothing_is_compared_without_a_choice() {
    let jobs = [(vec![], 60, 1, 0)];
    assert_eq!(case(&jobs, &[HOME]).choose().trials, []);
    assert_eq!(case(&jobs, &[HOME, (0, 2.0, 5)]).choose().trials, []);
    assert_eq!(case(&jobs, &[HOME, FAR]).choose().trials.len(), 1 + RIVALS.len());
    let many: Vec<_> = (0..=MOST_JOBS).map(|_| (vec![], 60, 1, 0)).collect();
    let choice = case(&many, &[HOME, FAR]).choose();
    assert_eq!((choice.name, choice.trials.len()), (DEFAULT, 0));
}

#[test]
fn what_hosts_have_and_that_they_are_away_counts() {
    let case = chain_with_a_large_source();
    let (far, slot) = (HostId(1), SlotId(0));
    let up = |host| Event::SlotUp { host, slot };
    let begin = |facts: Vec<Event>| {
        let facts = [up(HostId::HOME)].into_iter().chain(facts).chain([Event::FleetReady]).collect();
        case.rehearsal(Some(facts)).choose(&Policy::default())
    };
    // The source is there already, so nothing large has to be moved.
    let source = case.work.jobs[JobId(1)].inputs[1];
    let choice = begin(vec![Event::HostHolds { host: far, paths: vec![source] }, up(far)]);
    assert_eq!((choice.name, choice.trials[0].makespan.0 / 1_000_000), (DEFAULT, 120));
    // Nobody is there but this machine.
    let choice = begin(vec![Event::HostLost { host: far, cause: "no answer".to_owned() }]);
    assert_eq!(choice.name, DEFAULT);
    assert!(summary(&choice).iter().all(|&(_, seconds, _)| seconds == 240), "{choice:?}");
}

#[test]
fn what_the_user_decided_holds_under_every_policy() {
    let base = Policy { keep_going: true, cores: Cores::Fixed(3), ..Policy::default() };
    for name in Policy::NAMES {
        let policy = named(name, &base).unwrap();
        assert!(policy.keep_going && policy.cores == Cores::Fixed(3), "{name}");
    }
    assert_eq!(named("nix", &Policy::default()), Policy::named("nix"));
    assert_eq!(named("best", &base), None);
}

#[test]
fn what_keeps_to_one_host_is_tried_once_for_each_that_builds() {
    let jobs: Vec<_> = (0..4).map(|_| (vec![], 60, 1, 0)).collect();
    let tried = |hosts: &[(u32, f64, u64)]| -> Vec<&str> {
        case(&jobs, hosts).choose().trials.iter().map(|trial| trial.name).collect()
    };
    let small = (1, 1.0, 100);
    assert_eq!(tried(&[HOME, FAR]), [DEFAULT, "all-local", "all-fastest"]);
    assert_eq!(tried(&[(4, 1.0, 0), small]), [DEFAULT, "all-local"], "this machine is the fastest");
    assert_eq!(tried(&[(0, 1.0, 0), small, small]), [DEFAULT, "all-fastest"], "this machine builds nothing");
}

#[test]
fn the_fastest_host_is_one_that_builds_by_the_processors_that_it_says_it_has() {
    let mut case =
        case(&[(vec![], 60, 1, 0), (vec![0], 60, 1, 0)], &[(0, 1.0, 0), (2, 1.0, 100), (3, 1.0, 100)]);
    case.hosts[HostId::HOME].cores = 64;
    let where_built = |facts: Vec<Event>| {
        let up = |host, slot| Event::SlotUp { host: HostId(host), slot: SlotId(slot) };
        let slots = [up(1, 0), up(1, 1), up(2, 0), up(2, 1), up(2, 2)];
        let facts = facts.into_iter().chain(slots).chain([Event::FleetReady]).collect();
        let rehearsal = case.rehearsal(Some(facts));
        let mut built = Built(Vec::new());
        let policy = named("all-fastest", &Policy::default()).unwrap();
        rehearsal.run(&mut rehearsal.scheduler(policy), &mut built);
        built.0
    };
    assert_eq!(where_built(vec![]), [HostId(2); 2]);
    assert_eq!(where_built(vec![Event::HostCores { host: HostId(1), cores: 16 }]), [HostId(1); 2]);
}

/// Where builds were begun.
struct Built(Vec<HostId>);

impl Watch for Built {
    fn event(&mut self, _at: Time, _event: &Event) {}

    fn order(&mut self, _at: Time, order: &Order) {
        if let Order::Build { host, .. } = order {
            self.0.push(*host);
        }
    }
}

fn any_case() -> impl Strategy<Value = Case> {
    let job = (proptest::collection::vec(0..12usize, 0..3), 1..300u64, 0..800u64, 0..1500u64);
    let host = (1..4u32, 1..8u32, 1..200u64);
    let (jobs, hosts) = (proptest::collection::vec(job, 1..12), proptest::collection::vec(host, 1..4));
    (jobs, hosts).prop_map(|(mut jobs, hosts)| {
        for (i, job) in jobs.iter_mut().enumerate() {
            job.0.retain(|&need| need < i);
        }
        let away = hosts.into_iter().map(|(slots, speed, rate)| (slots, f64::from(speed) / 2.0, rate));
        case(&jobs, &[HOME].into_iter().chain(away).collect::<Vec<_>>())
    })
}

proptest! {
    #[test]
    fn the_choice_is_never_worse_than_a_trivial_plan_by_more_than_the_margin(case in any_case()) {
        let choice = case.choose();
        let rehearsal = case.rehearsal(None);
        let mut scheduler = rehearsal.scheduler(choice.policy.clone());
        let end = rehearsal.run(&mut scheduler, &mut Copied(0)).since(Time::ZERO);
        prop_assert_eq!(scheduler.verdict().missing, vec![]);
        let Some(chosen) = choice.trials.iter().find(|trial| trial.name == choice.name) else { return Ok(()) };
        prop_assert_eq!(chosen.makespan, end);
        for trial in &choice.trials {
            prop_assert!(trial.name != "all-local" || trial.bytes == 0, "not all is local: {choice:?}");
            if trial.mean.is_some() == choice.trials[0].mean.is_some() {
                let limit = chosen.takes().scale(1.0 - MARGIN).min(chosen.takes().saturating_sub(LEAST));
                prop_assert!(limit <= trial.takes() + Span(1), "{choice:?}");
            } else {
                prop_assert!(trial.makespan > choice.trials[0].makespan.scale(1.0 + NEAR), "{choice:?}");
            }
        }
    }
}
