//! What a memory must do, by its public face.

use proptest::prelude::*;

use super::super::testkit::sample;
use super::*;
use crate::base::Random;

const X86: &str = "x86_64-linux";

fn about(name: &str) -> About<'_> {
    About { name, class: OutputClass::Source, system: X86, input_size: None }
}

fn learned(samples: &[Sample]) -> Memory {
    let mut memory = Memory::new(CostParams::default());
    memory.learn_all(samples);
    memory
}

fn seconds(memory: &Memory, name: &str) -> f64 {
    memory.estimate(&about(name)).median.as_secs_f64()
}

fn on(host: &str, pname: &str, seconds: f64) -> Sample {
    Sample { host: host.into(), ..sample(pname, seconds) }
}

#[test]
fn an_empty_memory_says_what_table_and_kind_say() {
    let memory = learned(&[]);
    let usual = OutputClass::Source.prior();
    let kind = memory.estimate(&about("unheard-of-1"));
    assert!((kind.median.as_secs_f64() / usual.median.as_secs_f64() - 1.0).abs() < 0.01, "{kind:?}");
    assert!((kind.p90.as_secs_f64() / usual.p90.as_secs_f64() - 1.0).abs() < 0.02, "{kind:?}");
    assert!(seconds(&memory, "gcc-14.3.0") > 1_000.0 && seconds(&memory, "zlib-1.3") < 30.0);
    assert_eq!(memory.speed("a", X86), None);
    assert_eq!(memory.output_size(&about("gcc-14.3.0")), None);
}

#[test]
fn what_was_built_is_estimated_as_it_took() {
    let memory = learned(&[sample("gcc", 300.0), sample("unheard-of", 300.0)]);
    for name in ["gcc-1.0", "unheard-of-1.0"] {
        let found = seconds(&memory, name);
        assert!((200.0..450.0).contains(&found), "{name} {found}");
        assert_eq!(memory.forecast(&about(name)).known(), Known::Once);
    }
}

#[test]
fn another_kind_or_system_of_the_same_name_is_another_package() {
    let mut memory = learned(&vec![sample("a", 1_000.0); 3]);
    let text = About { class: OutputClass::Text, ..about("a-1.0") };
    assert!(memory.estimate(&text).median < Span::from_secs(2));
    let arm = About { system: "aarch64-linux", ..about("a-1.0") };
    let elsewhere = memory.forecast(&arm);
    assert_eq!(elsewhere.known(), Known::Once, "the other system says something");
    assert!(elsewhere.median() > Span::from_secs(300));
    let own = Sample { system: "aarch64-linux".into(), ..sample("a", 100.0) };
    (0..3).for_each(|_| memory.learn(&own));
    let wall = |sample: &Sample| memory.forecast_build(sample).median().as_secs_f64();
    assert!((80.0..150.0).contains(&wall(&own)), "its own builds say more: {}", wall(&own));
    assert!(wall(&sample("a", 0.0)) > 800.0);
}

#[test]
fn hosts_are_told_apart_by_what_both_built() {
    let mut samples = Vec::new();
    for i in 0..15 {
        let name = format!("p{i}");
        samples.push(on("fast", &name, 20.0 + f64::from(i)));
        samples.push(on("slow", &name, 2.0 * (20.0 + f64::from(i))));
    }
    let memory = learned(&samples);
    let ratio = memory.speed("fast", X86).expect("built") / memory.speed("slow", X86).expect("built");
    assert!((1.85..2.1).contains(&ratio), "{ratio}");
}

#[test]
fn a_wrong_configured_speed_stops_mattering_after_a_few_builds() {
    let speeds_after = |builds: u32| {
        let mut memory = Memory::new(CostParams::default());
        memory.configure("a", 1.0);
        memory.configure("b", 3.0);
        for i in 0..builds {
            let name = format!("p{i}");
            memory.learn(&on("a", &name, 50.0));
            memory.learn(&on("b", &name, 50.0));
        }
        memory.speed("b", X86).expect("built") / memory.speed("a", X86).expect("built")
    };
    assert!(speeds_after(1) < 2.2, "{}", speeds_after(1));
    assert!((0.95..1.12).contains(&speeds_after(10)), "{}", speeds_after(10));
}

#[test]
fn an_emulated_system_has_a_speed_of_its_own() {
    let mut memory = Memory::new(CostParams::default());
    for i in 0..15 {
        let own = on("a", &format!("p{i}"), 20.0);
        let emulated = Sample { system: "aarch64-linux".into(), wall: own.wall.scale(10.0), ..own.clone() };
        memory.learn(&own);
        memory.learn(&emulated);
    }
    let ratio = memory.speed("a", X86).expect("built") / memory.speed("a", "aarch64-linux").expect("built");
    assert!((7.0..11.0).contains(&ratio), "{ratio}");
}

#[test]
fn a_host_that_is_slow_today_is_so_only_for_hours() {
    let mut memory = Memory::new(CostParams::default());
    let mut at = 0;
    for _ in 0..10 {
        for i in 0..5 {
            at += 60;
            memory.learn(&Sample { stopped: at, ..sample(&format!("p{i}"), 50.0) });
        }
    }
    let usual = memory.speed_at("a", X86, at).expect("built");
    for i in 0..5 {
        at += 60;
        memory.learn(&Sample { stopped: at, ..sample(&format!("p{i}"), 100.0) });
    }
    let slow = memory.speed_at("a", X86, at).expect("built");
    assert!(slow < 0.9 * usual, "{slow} {usual}");
    let later = memory.speed_at("a", X86, at + 3 * 24 * 3600).expect("built");
    assert!((later / memory.speed("a", X86).expect("built") - 1.0).abs() < 0.01);
}

#[test]
fn cores_are_taken_into_account() {
    let four = |wall: f64| Sample { cores: 4, cpu: Some(Span::from_secs(100)), ..sample("a", wall) };
    // 100 s of one core, 80 % of it in parallel.
    let memory = learned(&vec![four(100.0 * amdahl(0.8, 4)); 20]);
    let found = seconds(&memory, "a-1.0");
    assert!((85.0..110.0).contains(&found), "{found}");
    let job = Job { name: "a-1.0".into(), system: X86.into(), ..Job::default() };
    let work = Workload { jobs: [job].into_iter().collect(), ..Workload::default() };
    let part = memory.parallel_parts(&work)[JobId(0)];
    assert!((0.55..=0.8).contains(&part), "{part}");
}

#[test]
fn new_classes_of_names_teach_the_next_of_them() {
    let of = |i: u32| [sample(&format!("kde{i}-thing"), 600.0), sample(&format!("p{i}-thing"), 30.0)];
    let samples: Vec<Sample> = (0..10).flat_map(of).collect();
    let memory = learned(&samples);
    assert!(seconds(&memory, "kde-other-1") > 3.0 * seconds(&memory, "unheard-of-1"));
}

#[test]
fn sizes_of_outputs_are_remembered() {
    let memory = learned(&[Sample { output_size: 7, ..sample("a", 1.0) }, sample("a", 1.0)]);
    assert_eq!(memory.output_size(&about("a-2")), Some(7));
    let arm = About { system: "aarch64-linux", ..about("a-2") };
    assert_eq!(memory.output_size(&arm), Some(7));
}

#[test]
fn intervals_cover_what_they_say() {
    let mut memory = Memory::new(CostParams::default());
    let mut random = Random::new(5);
    let (mut inside, mut all) = ([0; 2], 0);
    for build in 0..1_500 {
        let package = random.below(200);
        let own = 40.0 * Random::keyed(9, package).lognormal(1.0);
        let next = sample(&format!("p{package}"), own * random.lognormal(0.3));
        if build > 300 {
            let forecast = memory.forecast_build(&next);
            for (i, coverage) in [0.8, 0.9].into_iter().enumerate() {
                let (low, high) = forecast.interval(coverage);
                inside[i] += u32::from(low <= next.wall && next.wall <= high);
            }
            all += 1;
        }
        memory.learn(&next);
    }
    let part = |i: usize| f64::from(inside[i]) / f64::from(all);
    assert!((0.77..0.83).contains(&part(0)), "{}", part(0));
    assert!((0.87..0.93).contains(&part(1)), "{}", part(1));
}

/// The jobs of a NixOS system, without what they need.
fn system() -> Workload {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/graphs/system-facts.json");
    let facts: serde_json::Value =
        serde_json::from_slice(&std::fs::read(file).expect("it is in the repository")).expect("JSON");
    let job = |drv: &serde_json::Value| {
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        let fixed = |output: &serde_json::Value| output.get("method").is_some();
        Job {
            name: text(&drv["name"]),
            system: text(&drv["system"]),
            features: text(&drv["env"]["requiredSystemFeatures"]).split(' ').map(str::to_owned).collect(),
            fixed_output: drv["outputs"].as_object().is_some_and(|all| all.values().any(fixed)),
            prefer_local: text(&drv["env"]["preferLocalBuild"]) == "1",
            parallel: text(&drv["env"]["enableParallelBuilding"]) == "1",
            ..Job::default()
        }
    };
    let derivations = facts["derivations"].as_object().expect("derivations by path");
    Workload { jobs: derivations.values().map(job).collect(), ..Workload::default() }
}

#[test]
fn the_first_plan_has_the_large_packages_first() {
    let work = system();
    let costs = learned(&[]).estimates(&work);
    let mut order: Vec<JobId> = work.jobs.ids().collect();
    order.sort_by_key(|job| std::cmp::Reverse(costs[*job].median));
    let place = |package: &str| {
        let is = |job: &JobId| {
            let job = &work.jobs[*job];
            pname_version(&job.name).0 == package && !job.fixed_output
        };
        order.iter().position(is).unwrap_or_else(|| panic!("{package} is in the graph"))
    };
    for package in ["gcc", "llvm", "linux", "rustc", "glibc", "clang", "cargo"] {
        assert!(place(package) < 25, "{package} is number {}", place(package));
    }
    for package in ["python3", "perl", "cmake", "boost", "openssl", "systemd", "binutils"] {
        assert!(place(package) < 75, "{package} is number {}", place(package));
    }
    let small = [OutputClass::Text, OutputClass::Hook, OutputClass::Patch];
    let first_small = order.iter().position(|job| small.contains(&OutputClass::of(&work.jobs[*job])));
    assert!(first_small.is_some_and(|at| at > 300), "{first_small:?}");
}

fn any_sample() -> impl Strategy<Value = Sample> {
    let wall = prop_oneof![Just(0), Just(u64::MAX), 0..10_000_000_000u64];
    let cpu = proptest::option::of(prop_oneof![Just(0), Just(u64::MAX), 0..10_000_000_000u64]);
    (("[ab]", "[0-9a-z.]{0,4}", 0..9usize, "[xy]"), ("[hi]", 0..6u32, wall, cpu, any::<u64>(), any::<u64>()))
        .prop_map(|((pname, version, class, system), (host, cores, wall, cpu, size, stopped))| Sample {
            pname,
            version,
            class: OutputClass::ALL[class],
            system,
            host,
            cores: if cores == 5 { u32::MAX } else { cores },
            wall: Span(wall),
            cpu: cpu.map(Span),
            input_size: size,
            output_size: size / 2,
            stopped,
        })
}

proptest! {
    #[test]
    fn nothing_that_is_learned_breaks_it(
        samples in proptest::collection::vec(any_sample(), 0..40), speed in any::<f64>(), size in any::<u64>(),
    ) {
        let mut memory = Memory::new(CostParams::default());
        memory.configure("h", speed);
        for sample in &samples {
            memory.learn(sample);
            let (low, high) = memory.forecast_build(sample).interval(0.9);
            prop_assert!(low <= high);
        }
        memory.configure_system("i", "y", 1.0 / speed);
        for class in OutputClass::ALL {
            for system in ["x", "y", "z"] {
                let about = About { name: "a-1", class, system, input_size: Some(size) };
                let Cost { median, p10, p90 } = memory.estimate(&about);
                prop_assert!(Span::ZERO < p10 && p10 <= median && median <= p90, "{p10:?} {median:?} {p90:?}");
                let (low, high) = memory.interval(&about, 0.9);
                prop_assert!(low <= p10 && p90 <= high);
            }
        }
        for host in ["h", "i"] {
            for system in ["x", "y"] {
                let built = samples.iter().any(|sample| sample.host == host && sample.system == system);
                let speed = memory.speed(host, system);
                prop_assert_eq!(speed.is_some(), built);
                prop_assert!(speed.is_none_or(|speed| speed.is_finite() && speed > 0.0));
                prop_assert!(memory.speed_at(host, system, size).is_none_or(|speed| speed > 0.0));
            }
        }
    }

    /// A package that took longer is never estimated to be shorter.
    #[test]
    fn longer_builds_never_lower_an_estimate(
        walls in proptest::collection::vec(1_000..1_000_000_000u64, 1..12),
    ) {
        let of = |times: u64| {
            let samples: Vec<Sample> =
                walls.iter().map(|wall| Sample { wall: Span(wall * times), ..sample("a", 0.0) }).collect();
            learned(&samples)
        };
        let [one, other] = [of(1), of(2)].map(|memory| memory.estimate(&about("a-1.0")).median);
        prop_assert!(one.as_secs_f64() <= other.as_secs_f64() * 1.001, "{one:?} {other:?}");
    }

    /// What hosts have in common is no host's: all builds taking longer leaves the ratio of two hosts.
    #[test]
    fn the_ratio_of_hosts_does_not_depend_on_the_unit(
        walls in proptest::collection::vec((5.0..100.0f64, 0..2usize), 4..30), unit in 0.3..3.0f64,
    ) {
        let ratio = |unit: f64| {
            let samples: Vec<Sample> = walls
                .iter()
                .enumerate()
                .map(|(i, (wall, host))| on(["a", "b"][*host], &format!("p{}", i / 2), wall * unit))
                .collect();
            let memory = learned(&samples);
            memory.speed("a", X86).zip(memory.speed("b", X86)).map(|(a, b)| a / b)
        };
        if let (Some(one), Some(other)) = (ratio(1.0), ratio(unit)) {
            prop_assert!((one / other).ln().abs() < 0.3, "{one} {other}");
        }
    }
}

#[test]
fn hosts_are_told_apart_also_by_many_builds_of_one_name() {
    // As in a build of generated derivations: one name, and each takes what it takes.
    let speeds = [2.0, 1.0, 1.0, 0.5];
    let mut random = Random::new(5);
    let mut worst: Vec<f64> = (0..20)
        .map(|_| {
            let mut memory = Memory::new(CostParams::default());
            for n in 0..400 {
                let host = random.below(4) as usize;
                let seconds = 20.0 * random.lognormal(0.5) / speeds[host];
                let sample = Sample { host: format!("h{host}"), stopped: n * 10, ..sample("job", seconds) };
                memory.learn(&sample);
            }
            memory.learn_all([]);
            let learned = |host: usize| memory.speed(&format!("h{host}"), "x86_64-linux").unwrap();
            let off = |host: usize| (learned(host) / learned(1) / speeds[host]).ln().abs();
            (0..4).map(off).fold(0.0, f64::max)
        })
        .collect();
    worst.sort_by(f64::total_cmp);
    assert!(worst[10] < 0.25, "{worst:?}");
}
