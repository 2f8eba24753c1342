use super::*;
use crate::run::read_log;

fn recorded() -> Recording {
    let log = include_bytes!("../../../../fixtures/runs/layered.jsonl");
    let (header, entries, torn) = read_log(&log[..]).unwrap();
    assert_eq!(torn, None);
    Recording::new(&header, &entries).unwrap()
}

#[test]
fn every_job_of_the_run_has_its_facts_and_what_it_took() {
    let recorded = recorded();
    let (facts, costs) = facts_and_costs(&recorded);
    let facts = facts["derivations"].as_object().unwrap();
    assert_eq!(facts.len(), recorded.real.jobs.len());
    let mut inputs = 0;
    for (key, fact) in facts {
        let needed = fact["inputs"]["drvs"].as_object().unwrap();
        assert!(needed.keys().all(|need| facts.contains_key(need)), "{key}");
        assert!(needed.values().all(|outputs| outputs == &json!(["out"])), "{key}");
        inputs += needed.len();
        let [ms, bytes] = costs[key].as_array().unwrap().as_slice() else { panic!("{key}") };
        assert!(ms.is_u64() && bytes.is_u64(), "{key}");
    }
    let needs: usize = recorded.real.jobs.rows().iter().map(|job| job.needs.len()).sum();
    assert_eq!(inputs, needs);
    let work: u64 = costs.as_object().unwrap().values().map(|cost| cost[0].as_u64().unwrap()).sum();
    assert!((30_000..300_000).contains(&work), "{work} ms");
}

#[test]
fn outputs_are_called_by_the_ends_of_their_paths() {
    let hash = "0".repeat(32);
    let name = |end: &str, row| output_name(&format!("/nix/store/{hash}-gcc-14{end}"), "gcc-14", row);
    assert_eq!([name("", 1), name("-lib", 0), name("bogus", 0)], ["out", "lib", "out"]);
    assert_eq!(output_name("odd", "gcc-14", 2), "out2");
}

#[test]
fn what_is_asked_for_is_passed_on_to_the_build() {
    let what_if = WhatIf {
        hosts: Some("@fleet".to_owned()),
        without: vec!["local".to_owned()],
        jobs: vec![("ruby".to_owned(), 3)],
        ..WhatIf::default()
    };
    assert_eq!(what_if.build_options().join(" "), "--builders @fleet --not-on local --jobs ruby=3");
    assert!(arguments(Path::new("/somewhere"), &what_if, 0.5).is_ok());
}

#[test]
fn what_is_wrong_with_the_build_is_said_by_the_options_of_the_replay() {
    let unknown = FleetError::NoSuchHost {
        option: "--not-on",
        name: "x".into(),
        suggestion: None,
        known: "local".into(),
    };
    assert!(as_asked(unknown.into()).to_string().starts_with("--without names 'x', "));
    let refused = CliError::NoHost(vec![crate::fleet::NoHost { name: "gcc".to_owned(), lacks: vec![] }]);
    assert!(!as_asked(refused).to_string().contains("--on"));
}
