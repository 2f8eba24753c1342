use proptest::prelude::*;

use super::*;
use crate::nix::parse_machines;

const MACHINES: &str = "
root@builder1 x86_64-linux - 4 2 kvm
ssh-ng://builder2 aarch64-linux,x86_64-linux - 8 1 - benchmark
ssh://root@builder1 i686-linux - 0
aqua x86_64-linux";

fn config() -> NixConfig {
    NixConfig::from_text(
        "system = x86_64-linux\nextra-platforms = i686-linux\nsystem-features = kvm\nmax-jobs = auto",
    )
    .unwrap()
}

fn fleet(options: FleetOptions) -> Result<Fleet, FleetError> {
    let machines =
        parse_machines(MACHINES, "x86_64-linux", &mut |_| Err(std::io::ErrorKind::NotFound.into()));
    Fleet::choose(&config(), machines.unwrap().list, &FleetOptions { cores_local: 6, ..options })
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

fn on(on: &str, not_on: &str) -> FleetOptions {
    FleetOptions { on: words(on), not_on: words(not_on), ..Default::default() }
}

fn shown(fleet: &Fleet) -> String {
    fleet.hosts.rows().iter().map(|h| format!("{}:{}", h.name, h.slots)).collect::<Vec<_>>().join(" ")
}

#[test]
fn everybody_by_default() {
    let fleet = fleet(FleetOptions::default()).unwrap();
    assert_eq!(shown(&fleet), "local:6 builder1#1:4 builder2:8 builder1#2:0 aqua:1");
    let home = &fleet.hosts[HostId::HOME];
    assert_eq!(
        (home.systems.join(" ").as_str(), home.cores, home.link),
        ("x86_64-linux i686-linux", 6, LinkSpeed::FREE)
    );
    assert_eq!(fleet.hosts[HostId(2)].features, ["benchmark"]);
    assert!(fleet.machines[HostId::HOME].is_none());
    assert_eq!(fleet.machines[HostId(4)].as_ref().unwrap().uri.host, "aqua");
}

#[test]
fn names_and_globs_choose() {
    for (yes, no, expected) in [
        ("builder1", "", "local:0 builder1#1:4 builder1#2:0"),
        ("builder1#2 local", "", "local:6 builder1#2:0"),
        ("build*", "builder1", "local:0 builder2:8"),
        ("", "local", "local:0 builder1#1:4 builder2:8 builder1#2:0 aqua:1"),
        ("", "*", "local:0"),
        ("{aqua,local}", "", "local:6 aqua:1"),
        ("l*", "", "local:6"),
    ] {
        assert_eq!(shown(&fleet(on(yes, no)).unwrap()), expected, "--on {yes} --not-on {no}");
    }
}

#[test]
fn a_system_has_a_speed_of_its_own() {
    let of = |speed: &[(&str, f64)], system_speed: &[(&str, &str, f64)]| {
        fleet(FleetOptions {
            speed: speed.iter().map(|&(host, f)| (host.into(), f)).collect(),
            system_speed: system_speed.iter().map(|&(h, s, f)| (h.into(), s.into(), f)).collect(),
            ..Default::default()
        })
    };
    let speeds =
        |fleet: Fleet| ["aarch64-linux", "x86_64-linux"].map(|s| fleet.hosts[HostId(2)].speed_for(s));
    assert_eq!(speeds(of(&[], &[]).unwrap()), [1.0, 0.1], "what is guessed of emulation");
    let both = of(&[("builder2", 2.0)], &[("builder2", "x86_64-linux", 0.5)]);
    assert_eq!(speeds(both.unwrap()), [2.0, 0.5], "in the same terms as the host's");
    // A glob means those hosts that build for the system.
    assert_eq!(speeds(of(&[], &[("*", "aarch64-linux", 3.0)]).unwrap()), [3.0, 0.1]);
    insta::assert_snapshot!(of(&[], &[("aqua", "riscv64-linux", 1.0)]).unwrap_err(), @"--speed aqua:riscv64-linux: 'aqua' does not build for riscv64-linux; add the system to its field 2 in `builders` or the machines file, or drop the option");
    let wrong = of(&[], &[("aqua", "x86_64-linux", 0.0)]).unwrap_err();
    insta::assert_snapshot!(wrong, @"--speed aqua:x86_64-linux=0: a speed is a finite number above 0");
}

#[test]
fn slots_and_speeds_are_overridden() {
    let options = FleetOptions {
        jobs: vec![("builder1".into(), 3), ("local".into(), 2)],
        speed: vec![("*".into(), 2.0), ("aqua".into(), 0.5)],
        max_jobs: Some(9),
        ..Default::default()
    };
    let chosen = fleet(options.clone()).unwrap();
    assert_eq!(shown(&chosen), "local:2 builder1#1:3 builder2:8 builder1#2:3 aqua:1");
    assert_eq!(chosen.hosts.rows().iter().map(|h| h.speed).collect::<Vec<_>>(), [2.0, 2.0, 2.0, 2.0, 0.5]);
    // What is not chosen builds nothing, whatever else is said of it.
    let away = fleet(FleetOptions { not_on: words("local"), ..options }).unwrap();
    assert_eq!(away.hosts[HostId::HOME].slots, 0);
    let alone = fleet(FleetOptions { local_only: true, max_jobs: Some(9), ..Default::default() }).unwrap();
    assert_eq!(shown(&alone), "local:9");
}

#[test]
fn unknown_names_are_errors() {
    let error = |options| fleet(options).unwrap_err().to_string();
    insta::assert_snapshot!(error(on("bulider2", "")), @"--on names 'bulider2', but there is no such host (did you mean 'builder2'?); there are: local, builder1#1, builder2, builder1#2, aqua");
    insta::assert_snapshot!(error(on("", "zebra*")), @"--not-on names 'zebra*', but there is no such host; there are: local, builder1#1, builder2, builder1#2, aqua");
    insta::assert_snapshot!(error(on("[x", "")), @"--on: '[x' is no valid pattern: unclosed character class; missing ']'");
    let jobs = FleetOptions { jobs: vec![("nobody".into(), 1)], ..Default::default() };
    assert!(error(jobs).starts_with("--jobs names 'nobody'"));
    let speed = FleetOptions { speed: vec![("local".into(), f64::NAN)], ..Default::default() };
    insta::assert_snapshot!(error(speed), @"--speed local=NaN: a speed is a finite number above 0");
    let pins = vec![("gcc*".into(), "aqua".into())];
    insta::assert_snapshot!(error(FleetOptions { pins, ..on("local", "") }), @"--pin gcc*=aqua: 'aqua' is not among the hosts of this run; choose it with --on, or drop the pin");
}

#[test]
fn a_builder_called_local_is_not_this_machine() {
    let machines = parse_machines("ssh://root@local", "x86_64-linux", &mut |_| unreachable!()).unwrap().list;
    let options = FleetOptions { cores_local: 2, ..on("local", "") };
    assert_eq!(shown(&Fleet::choose(&config(), machines, &options).unwrap()), "local:2");
}

#[test]
fn pins_bind_to_a_host() {
    let pins = vec![("gcc-*".into(), "builder1".into()), ("gcc*".into(), "aqua".into())];
    let fleet = fleet(FleetOptions { pins, ..Default::default() }).unwrap();
    let can = |name: &str| -> Vec<u32> {
        fleet
            .hosts
            .ids()
            .filter(|h| fleet.can_build(name, "x86_64-linux", &[], *h).is_ok())
            .map(|h| h.0)
            .collect()
    };
    assert_eq!(can("gcc-12"), [1]);
    assert_eq!(can("gcc"), [4]);
    assert_eq!(can("hello"), [0, 1, 4]);
}

#[test]
fn says_what_every_host_lacks() {
    let chosen = fleet(on("local builder*", "")).unwrap();
    let show = |fleet: &Fleet, system: &str, features: &str| {
        fleet.refusal("hello-2", system, &words(features)).unwrap().to_string()
    };
    insta::assert_snapshot!(show(&chosen, "aarch64-linux", ""), @r"
    no chosen host can build hello-2: local does not build for aarch64-linux; builder1#1 does not build for aarch64-linux; builder2 takes only derivations that require 'benchmark'; builder1#2 builds nothing in this run (0 slots)
    take 'benchmark' out of the mandatory features (field 7) of builder2 in `builders` or the machines file, or add a builder without it
    ");
    insta::assert_snapshot!(show(&chosen, "x86_64-linux", "big"), @r"
    no chosen host can build hello-2: local lacks the feature 'big'; builder1#1 lacks the feature 'big'; builder2 lacks the feature 'big'; builder1#2 builds nothing in this run (0 slots)
    if local does have 'big', add it to `system-features` in this machine's nix.conf; otherwise add a builder that has it
    ");
    let alone = fleet(FleetOptions { local_only: true, ..Default::default() }).unwrap();
    insta::assert_snapshot!(show(&alone, "riscv64-linux", ""), @r"
    no chosen host can build hello-2: local does not build for riscv64-linux
    add a builder for riscv64-linux to `builders`, or, where local can run it by emulation, add it to `extra-platforms` in this machine's nix.conf
    ");
    assert_eq!(alone.refusal("fetch", "builtin", &[]), None);
}

proptest! {
    #[test]
    fn on_and_not_on_divide_the_hosts(name in "(local|aqua|b[a-z0-9*?]{0,8}|[*?]{1,3}|\\PC{0,8})") {
        let slots = |options| fleet(options).map(|f| f.hosts.rows().iter().map(|h| h.slots).sum::<u32>());
        let yes = slots(FleetOptions { on: vec![name.clone()], ..Default::default() });
        let no = slots(FleetOptions { not_on: vec![name], ..Default::default() });
        match (yes, no) {
            (Ok(chosen), Ok(rest)) => prop_assert_eq!(chosen + rest, 6 + 4 + 8 + 1),
            (yes, no) => prop_assert!(yes.is_err() && no.is_err()),
        }
    }
}

#[test]
fn what_was_learned_of_speeds_is_taken_over_but_for_what_the_user_says() {
    let learned = |host: &str, system: &str| match (host, system) {
        ("local", "x86_64-linux") => Some(2.0),
        ("builder2", "aarch64-linux") => Some(3.0),
        ("builder2", "x86_64-linux") => Some(0.6),
        ("builder1#1", _) => Some(9.0),
        ("aqua", _) => Some(f64::NAN),
        _ => None,
    };
    let speeds = |options: FleetOptions| {
        let mut fleet = fleet(options).unwrap();
        fleet.learn_speeds(learned);
        let host = |name: &str| {
            let host = fleet.hosts.rows().iter().find(|host| host.name == name).unwrap();
            host.systems.iter().map(|system| host.speed_for(system)).collect::<Vec<_>>()
        };
        [host("local"), host("builder2"), host("builder1#1"), host("aqua")]
    };
    let nothing_said = speeds(FleetOptions::default());
    assert_eq!(nothing_said, [vec![2.0, 2.0], vec![3.0, 0.6], vec![9.0], vec![1.0]]);
    let said = FleetOptions {
        speed: vec![("builder1#1".into(), 5.0)],
        system_speed: vec![
            ("builder2".into(), "x86_64-linux".into(), 0.25),
            ("local".into(), "x86_64-linux".into(), 4.0),
        ],
        ..Default::default()
    };
    assert_eq!(speeds(said), [vec![4.0, 1.0], vec![3.0, 0.25], vec![5.0], vec![1.0]]);
}
