use super::*;
use crate::drive::{Watch, drive};
use crate::fleet::LinkSpeed;
use crate::graph::{Job, Origin, PathId, PathSpec};
use crate::run::{FORMAT, Order, SlotId, Source, TransferId};
use crate::sched::Scheduler;
use crate::sim::{Fault, SimWorld};

const MEGABYTE: u64 = 1_000_000;

/// Six jobs beside each other and one that needs them all; the first is for `y` and can be spread.
fn work() -> Workload {
    let mut work = Workload::default();
    for i in 0..7u32 {
        let needs: Vec<u32> = if i == 6 { (0..6).collect() } else { Vec::new() };
        work.paths.push(PathSpec {
            path: format!("/nix/store/{i:032}-p{i}"),
            origin: Origin::Job(JobId(i)),
            size: 0,
            refs: vec![],
        });
        work.jobs.push(Job {
            drv: format!("/nix/store/{i:032}-p{i}.drv"),
            name: format!("p{i}-1"),
            system: if i == 0 { "y" } else { "x" }.into(),
            needs: needs.iter().copied().map(JobId).collect(),
            inputs: needs.iter().copied().map(PathId).collect(),
            outputs: vec![PathId(i)],
            parallel: i == 0,
            ..Job::default()
        });
    }
    work.wanted = vec![PathId(6)];
    work
}

fn host(name: &str, slots: u32, cores: u32, speed: f64) -> Host {
    let home = name == "local";
    Host {
        name: name.into(),
        systems: vec!["x".into(), "y".into()],
        features: vec![],
        mandatory: vec![],
        slots,
        cores,
        speed,
        emulated: [("y".to_owned(), 0.5)].into(),
        substitutes: false,
        link: if home { LinkSpeed::FREE } else { LinkSpeed { bandwidth: MEGABYTE, latency: Span(1_000) } },
    }
}

fn fleet() -> Table<HostId, Host> {
    [host("local", 1, 1, 1.0), host("fast", 2, 3, 2.0), host("slow", 1, 0, 0.5)].into_iter().collect()
}

#[derive(Default)]
struct Log(Vec<Entry>);

impl Watch for Log {
    fn event(&mut self, at: Time, event: &Event) {
        self.0.push(Entry { at, what: Step::Event(event.clone()) });
    }

    fn order(&mut self, at: Time, order: &Order) {
        self.0.push(Entry { at, what: Step::Order(order.clone()) });
    }
}

/// A run whose jobs take 10, 11, … seconds, estimated as half of that, and make so many megabytes.
struct Made {
    header: Header,
    log: Vec<Entry>,
    truth: Table<JobId, Option<Span>>,
}

fn record(hosts: Table<HostId, Host>, fault: Option<Fault>, fails: Option<u32>) -> Made {
    let told = work();
    let mut real = told.clone();
    real.paths.iter_mut().for_each(|(id, path)| path.size = MEGABYTE * u64::from(id.0 + 1));
    let seconds = |i: u32| (Some(i) != fails).then(|| Span::from_secs(u64::from(10 + i)));
    let truth: Table<JobId, Option<Span>> = (0..7).map(seconds).collect();
    let half = |i: u64| Span::from_secs(5 + i / 2);
    let estimates: Table<JobId, Cost> =
        (0..7).map(|i| Cost { median: half(i), p10: half(i), p90: half(i) }).collect();
    let header = Header {
        format: FORMAT,
        version: "0.1.0".into(),
        started: 0,
        command: vec![],
        eligible: Some(Table::filled(7, hosts.ids().collect())),
        workload: told.clone(),
        hosts: hosts.clone(),
        estimates: estimates.clone(),
        parallel: None,
        policy: serde_json::to_value(Policy::default()).unwrap(),
    };
    let facts = hosts.ids().flat_map(|host| {
        let slots =
            (0..hosts[host].slots).map(move |slot| (Time(9), Event::SlotUp { host, slot: SlotId(slot) }));
        std::iter::once((Time(8), Event::HostHolds { host, paths: vec![] })).chain(slots)
    });
    let facts = facts.chain([(Time(1_000_000), Event::FleetReady)]).collect();
    let mut world = SimWorld::following(&real, &hosts, &truth, facts)
        .with_parallel(parallel_parts(&told))
        .with_handling(Span(50_000));
    fault.into_iter().for_each(|fault| world.lose(fault));
    let mut scheduler = Scheduler::new(told, hosts.clone(), estimates, header.eligible(), Policy::default());
    let mut log = Log::default();
    drive(&mut scheduler, &mut world, &mut log);
    Made { header, log: log.0, truth }
}

fn close(a: Span, b: Span) {
    let (a, b) = (a.as_secs_f64(), b.as_secs_f64());
    assert!((a / b - 1.0).abs() < 0.01, "{a} s, {b} s");
}

#[test]
fn what_a_run_took_is_found_again_on_a_host_of_speed_1_and_one_core() {
    let made = record(fleet(), None, None);
    let recording = Recording::new(&made.header, &made.log).unwrap();
    assert_eq!(recording.built, 7);
    for (job, truth) in made.truth.iter() {
        close(recording.truth[job].unwrap(), truth.unwrap());
    }
    assert_eq!(recording.real.paths[PathId(3)].size, 4 * MEGABYTE);
    assert_eq!(recording.told.paths[PathId(3)].size, 0);
    assert_eq!(recording.handling, Span(50_000));
}

#[test]
fn a_run_as_it_was_takes_what_it_took_whatever_happened() {
    let lost = Fault { host: HostId(1), at: Time(4_000_000), back: Some(Time(9_000_000)) };
    let gone = Fault { host: HostId(2), at: Time(3_000_000), back: None };
    let mut away = Vec::new();
    for fault in [None, Some(lost), Some(gone)] {
        let made = record(fleet(), fault, None);
        let recording = Recording::new(&made.header, &made.log).unwrap();
        // Links are measured too roughly to come out the same to the hundredth.
        let links = Conditions { hosts: fleet(), ..Conditions::as_recorded(&recording) };
        let outcome = recording.simulate(&links);
        close(outcome.makespan, recording.makespan);
        assert_eq!(outcome.missing, 0);
        assert!(outcome.ratio.unwrap() >= 1.0);
        let slots = 4 * outcome.makespan.0;
        let idle = outcome.idle.no_work + outcome.idle.waiting + outcome.idle.transfer;
        assert_eq!((outcome.busy + idle).0, slots);
        let losses = outcome.losses.unwrap();
        let sum: Span = losses.parts().into_iter().map(|(_, span)| span).sum();
        assert_eq!((losses.bound + sum, losses.bound), (outcome.makespan, outcome.bound));
        away.push(losses.lost_host);
        let json = serde_json::to_value(Outcome::mean(&[outcome, outcome])).unwrap();
        assert_eq!(json["losses"]["noReadyWork"], losses.no_ready_work.0);
    }
    // Nobody is there before all have answered.
    assert!(away[1] > away[0] && away[2] > away[0], "{away:?}");
}

#[test]
fn a_build_that_failed_fails_again() {
    let made = record(fleet(), None, Some(2));
    let recording = Recording::new(&made.header, &made.log).unwrap();
    assert_eq!(recording.failing().collect::<Vec<_>>(), [JobId(2)]);
    let outcome = recording.simulate(&Conditions::as_recorded(&recording));
    assert_eq!(outcome.missing, 1);
}

#[test]
fn other_hosts_make_it_longer_or_shorter() {
    let made = record(fleet(), None, None);
    let recording = Recording::new(&made.header, &made.log).unwrap();
    let with = |change: &dyn Fn(&mut Table<HostId, Host>)| {
        let mut conditions = Conditions::as_recorded(&recording);
        change(&mut conditions.hosts);
        change(&mut conditions.told_hosts);
        let outcome = recording.simulate(&conditions);
        assert_eq!(outcome.missing, 0);
        outcome.makespan
    };
    let as_it_was = with(&|_| ());
    let twice = with(&|hosts| hosts.iter_mut().for_each(|(_, host)| host.speed *= 2.0));
    assert!(twice < as_it_was.scale(0.7), "{twice} {as_it_was}");
    let without = with(&|hosts| hosts[HostId(1)].slots = 0);
    assert!(without > as_it_was.scale(1.5), "{without} {as_it_was}");
    let more = with(&|hosts| {
        hosts.push(host("new", 4, 4, 2.0));
    });
    assert!(more < as_it_was.scale(0.95), "{more} {as_it_was}");
    let slots = with(&|hosts| hosts[HostId(1)].slots = 6);
    assert!(slots < as_it_was, "{slots} {as_it_was}");
}

#[test]
fn jobs_stay_where_they_were_pinned() {
    let mut made = record(fleet(), None, None);
    if let Some(eligible) = &mut made.header.eligible {
        eligible[JobId(1)] = vec![HostId(2)];
    }
    let recording = Recording::new(&made.header, &made.log).unwrap();
    let mut hosts = recording.hosts.clone();
    let new = hosts.push(host("new", 1, 1, 1.0));
    let eligible = recording.eligible_on(&hosts);
    assert_eq!(eligible[JobId(1)], [HostId(2)]);
    assert_eq!(eligible[JobId(2)], [HostId(0), HostId(1), HostId(2), new]);
    // A host with the name of another takes its place, wherever it stands.
    let swapped: Table<HostId, Host> = [0, 2, 1].map(|i| hosts[HostId(i)].clone()).into_iter().collect();
    assert_eq!(recording.eligible_on(&swapped)[JobId(1)], [HostId(1)]);
}

#[test]
fn noise_is_the_same_for_the_same_seed_and_perfect_estimates_know_it() {
    let made = record(fleet(), None, None);
    let recording = Recording::new(&made.header, &made.log).unwrap();
    let outcome = |noise, seed, estimates| {
        recording.simulate(&Conditions { noise, seed, estimates, ..Conditions::as_recorded(&recording) })
    };
    let recorded = || Estimates::Recorded;
    assert_eq!(outcome(0.5, 1, recorded()), outcome(0.5, 1, recorded()));
    assert_ne!(outcome(0.5, 1, recorded()), outcome(0.5, 2, recorded()));
    let given = Estimates::Given(std::sync::Arc::new(recording.estimates.clone()));
    assert_eq!(outcome(0.0, 0, given), outcome(0.0, 7, recorded()));
    assert!(outcome(0.5, 1, Estimates::Perfect).bound == outcome(0.5, 1, Estimates::Prior).bound);
}

#[test]
fn transfers_that_shared_a_link_count_as_if_each_had_had_it_alone() {
    let stage = |id, from, to| {
        Step::Order(Order::Stage {
            transfer: TransferId(id),
            from: Source::Host(HostId(from)),
            to: HostId(to),
            paths: vec![],
            for_job: None,
        })
    };
    let staged = |id, bytes| Step::Event(Event::Staged { transfer: TransferId(id), bytes, took: Span(9) });
    let log = [
        (0, stage(0, 0, 1)),
        (0, stage(1, 2, 0)),
        (0, stage(2, 1, 2)),
        (2, stage(3, 1, 0)),
        (6, staged(0, 5 * MEGABYTE)),
        (7, staged(3, 40)),
        (8, staged(2, 70)),
        (9, staged(1, 60_000)),
    ];
    let log: Vec<Entry> =
        log.into_iter().map(|(at, what)| Entry { at: Time(at * 1_000_000), what }).collect();
    let found = links::samples(&fleet(), &log);
    let found: Vec<_> = found.iter().map(|s| (s.host.as_str(), s.bytes, s.took.as_secs_f64())).collect();
    // Two seconds alone and four shared; small ones share nothing. The one from builder to builder says
    // nothing of either.
    assert_eq!(found, [("fast", 5 * MEGABYTE, 4.0), ("fast", 40, 5.0), ("slow", 60_000, 9.0)]);
    let measured = links::measured(&fleet(), &log);
    assert_eq!(measured.iter().map(|(host, _)| *host).collect::<Vec<_>>(), [HostId(1), HostId(2)]);
    // Nothing large went over it, so its bandwidth is what it was thought to be.
    let told = LinkSpeed { bandwidth: MEGABYTE, latency: Span(8_940_000) };
    assert_eq!(measured[1].1, told);
}

#[test]
fn a_policy_of_another_time_is_no_panic() {
    let mut made = record(fleet(), None, None);
    made.header.policy = serde_json::json!({ "order": "by-moonlight" });
    let error = Recording::new(&made.header, &made.log).unwrap_err().to_string();
    assert!(error.contains("does not know the run's policy") && error.contains("0.1.0"), "{error}");
}

#[test]
fn what_nobody_can_build_is_told_also_of_a_graph() {
    let work = work();
    let hosts = fleet();
    let mut only_x = hosts.clone();
    only_x.iter_mut().for_each(|(_, host)| host.systems = vec!["x".into()]);
    let able = |job: &Job| -> Vec<HostId> {
        hosts.ids().filter(|id| only_x[*id].lacks(&job.system, &job.features).is_none()).collect()
    };
    let eligible = work.jobs.rows().iter().map(able).collect();
    let graph = Recording::imagined(work.clone(), only_x.clone(), crate::cost::estimate(&work), eligible);
    let names = |refused: Vec<crate::fleet::NoHost>| refused.into_iter().map(|r| r.name).collect::<Vec<_>>();
    assert_eq!(names(graph.refused_by(&only_x)), ["p0-1"]);
    assert_eq!(names(graph.refused_by(&hosts)), [""; 0], "hosts of a what-if can");
}
