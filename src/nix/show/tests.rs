use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::*;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The same derivations as several versions of Nix print them.
const SHAPES: [&str; 8] = ["2.3", "2.8", "2.15", "2.18", "2.23", "2.30", "2.32", "2.34"];

fn fixture(version: &str) -> String {
    fs::read_to_string(root().join(format!("fixtures/derivations/nix-{version}.json"))).unwrap()
}

fn error(json: &str) -> String {
    parse_show(json.as_bytes()).unwrap_err().to_string()
}

/// The newest shape, after a replacement in its text.
fn changed(from: &str, to: &str) -> String {
    let text = fixture("2.34");
    assert!(text.contains(from), "{from}");
    text.replacen(from, to, 1)
}

#[test]
fn every_shape_says_the_same() {
    let newest = parse_show(fixture("2.34").as_bytes()).unwrap();
    insta::with_settings!({ prepend_module_to_snapshot => false, snapshot_path => "../../../fixtures/derivations" }, {
        insta::assert_debug_snapshot!("expected", newest);
    });
    for version in SHAPES {
        assert_eq!(parse_show(fixture(version).as_bytes()).unwrap(), newest, "Nix {version}");
    }
}

#[test]
fn lists_of_outputs_may_be_bare_in_the_newest_shape() {
    let json = changed(r#"{"dynamicOutputs": {}, "outputs": ["bin"]}"#, r#"["bin"]"#);
    assert_eq!(parse_show(json.as_bytes()), parse_show(fixture("2.34").as_bytes()));
}

#[test]
fn takes_the_store_directory_from_the_environments() {
    let json = changed("/nix/store/", "/opt/store/").replace("/nix/store/", "/opt/store/");
    let derivations = parse_show(json.as_bytes()).unwrap();
    assert!(derivations.iter().all(|drv| drv.path.store_dir() == "/opt/store"));
}

#[test]
fn nothing_is_no_derivations() {
    for json in ["{}", r#"{"derivations":{},"version":4}"#] {
        assert_eq!(parse_show(json.as_bytes()), Ok(Vec::new()));
    }
}

#[test]
fn says_what_is_wrong_with_the_whole() {
    insta::assert_snapshot!(error(""), @"the derivations' JSON is wrong at line 1, column 1: EOF while parsing a value");
    insta::assert_snapshot!(error("[]"), @"the derivations' JSON is wrong at line 1, column 1: invalid type: sequence, expected an object of derivations, as `nix derivation show` prints it");
    insta::assert_snapshot!(error("{\n  \"a\": {}}"), @"the derivations' JSON is wrong at line 2, column 10: the key 'a' is not a derivation");
    insta::assert_snapshot!(error("{\"derivations\":{},\n\"derivations\":{}}"), @"the derivations' JSON is wrong at line 2, column 13: duplicate field `derivations`");
    insta::assert_snapshot!(error(r#"{"version":4}"#), @"the derivations' JSON is wrong at line 1, column 13: missing field `derivations`");
    insta::assert_snapshot!(error(r#"{"version":5,"derivations":[]}"#), @"the derivations' JSON has format version 5, and only 3 to 4 are known (and older ones without a number); use a drvdispatch made for this Nix");
    insta::assert_snapshot!(error(r#"{"version":5,"derivations":{}}"#), @"the derivations' JSON has format version 5, and only 3 to 4 are known (and older ones without a number); use a drvdispatch made for this Nix");
    insta::assert_snapshot!(error(r#"{"derivations":{},"a.drv":{}}"#), @"the derivations' JSON is wrong at line 1, column 29: derivation 'a.drv' beside 'derivations'");
    insta::assert_snapshot!(error("{} {}"), @"the derivations' JSON is wrong at line 1, column 4: trailing characters");
    let error = parse_show(b"{\n\"a\xff\"").unwrap_err();
    insta::assert_snapshot!(error, @"the derivations' JSON is wrong at line 2, column 3: it is not UTF-8");
}

/// One small derivation, with these fields put in front.
fn one(fields: &str) -> String {
    format!(
        "{{\"/nix/store/c4shhk59yk3b0phzxhpw3mbx03h9mbqm-a.drv\": {{\n{fields}\n\"builder\":\"b\",\"env\":{{}}}}}}"
    )
}

#[test]
fn says_what_is_wrong_with_a_derivation() {
    let out = r#""outputs":{"out":{"path":"/nix/store/6ayhk9q8ja9ybkxnimhxmk1sg5fg8iq4-a"}},"#;
    let ins = r#""inputSrcs":[],"inputDrvs":{},"#;
    let sys = r#""system":"s","#;
    assert_eq!(parse_show(one(&[out, ins, sys].concat()).as_bytes()).unwrap()[0].name, "a");
    insta::assert_snapshot!(error(&one(&[out, ins].concat())), @"derivation '/nix/store/c4shhk59yk3b0phzxhpw3mbx03h9mbqm-a.drv' is wrong at line 3, column 23 of the JSON: missing field `system`");
    insta::assert_snapshot!(error(&one(&[out, sys].concat())), @"derivation '/nix/store/c4shhk59yk3b0phzxhpw3mbx03h9mbqm-a.drv': it has neither 'inputs' nor 'inputSrcs' and 'inputDrvs'");
    insta::assert_snapshot!(error(&one(&[out, sys, r#""inputSrcs":[],"#].concat())), @"derivation '/nix/store/c4shhk59yk3b0phzxhpw3mbx03h9mbqm-a.drv': it has no 'inputDrvs'");
    insta::assert_snapshot!(error(&one(&[ins, sys].concat())), @"derivation '/nix/store/c4shhk59yk3b0phzxhpw3mbx03h9mbqm-a.drv' is wrong at line 3, column 23 of the JSON: missing field `outputs`");
    insta::assert_snapshot!(error(&one(&[out, ins, sys, "\n", sys].concat())), @"derivation '/nix/store/c4shhk59yk3b0phzxhpw3mbx03h9mbqm-a.drv' is wrong at line 3, column 8 of the JSON: duplicate field `system`");
    insta::assert_snapshot!(error(&one(&[out, ins, sys, r#""version":5,"#].concat())), @"the derivations' JSON has format version 5, and only 3 to 4 are known (and older ones without a number); use a drvdispatch made for this Nix");
    insta::assert_snapshot!(error(&one(&[out, ins, sys, r#""name":"b","#].concat())), @"derivation '/nix/store/c4shhk59yk3b0phzxhpw3mbx03h9mbqm-a.drv': its name 'b' is not the one in its path");
    insta::assert_snapshot!(error(&one(&[out, ins, r#""system":1,"#].concat())), @"derivation '/nix/store/c4shhk59yk3b0phzxhpw3mbx03h9mbqm-a.drv' is wrong at line 2, column 115 of the JSON: invalid type: integer `1`, expected a string");
    insta::assert_snapshot!(error(&one(&[r#""outputs":{},"#, ins, sys].concat())), @"derivation '/nix/store/c4shhk59yk3b0phzxhpw3mbx03h9mbqm-a.drv': it has no outputs");
    insta::assert_snapshot!(error(&one(&[r#""outputs":{"a/b":{}},"#, ins, sys].concat())), @"derivation '/nix/store/c4shhk59yk3b0phzxhpw3mbx03h9mbqm-a.drv': it has an output 'a/b': its name has characters other than letters, digits and +-._?=");
    insta::assert_snapshot!(error(&one(&[r#""outputs":{"out":{"path":"x"}},"#, ins, sys].concat())), @"derivation '/nix/store/c4shhk59yk3b0phzxhpw3mbx03h9mbqm-a.drv': 'x' is not a store path: it does not begin with a hash of 32 digits and '-'");
    let twice = out.replace("}},", "},") + &out.replace("\"outputs\":{", "");
    insta::assert_snapshot!(error(&one(&[&twice, ins, sys].concat())), @"derivation '/nix/store/c4shhk59yk3b0phzxhpw3mbx03h9mbqm-a.drv': its output 'out' is there twice");
    let input = r#""/nix/store/c4shhk59yk3b0phzxhpw3mbx03h9mbqm-b.drv":["out"]"#;
    let drvs = format!(r#""inputSrcs":[],"inputDrvs":{{{input},{input}}},"#);
    insta::assert_snapshot!(error(&one(&[out, &drvs, sys].concat())), @"derivation '/nix/store/c4shhk59yk3b0phzxhpw3mbx03h9mbqm-a.drv': its input '/nix/store/c4shhk59yk3b0phzxhpw3mbx03h9mbqm-b.drv' is there twice");
    let drvs = drvs.replace("-b.drv", "-b");
    insta::assert_snapshot!(error(&one(&[out, &drvs.replace(&format!(",{}", input.replace("-b.drv", "-b")), ""), sys].concat())), @"derivation '/nix/store/c4shhk59yk3b0phzxhpw3mbx03h9mbqm-a.drv': its input derivation '/nix/store/c4shhk59yk3b0phzxhpw3mbx03h9mbqm-b' does not end in '.drv'");
    let entry = one(&[out, ins, sys].concat());
    let entry = entry.trim_start_matches('{').trim_end_matches("}}}");
    insta::assert_snapshot!(error(&format!("{{{entry}}}}},{entry}}}}}}}")), @"derivation '/nix/store/c4shhk59yk3b0phzxhpw3mbx03h9mbqm-a.drv' is there twice in the JSON");
}

#[test]
fn names_the_derivations_it_cannot_build() {
    let outputs = |output: &str| {
        error(&one(&format!(r#""outputs":{{"out":{output}}},"inputSrcs":[],"inputDrvs":{{}},"system":"s","#)))
    };
    insta::assert_snapshot!(outputs(r#"{"hashAlgo":"r:sha256"}"#), @"derivation '/nix/store/c4shhk59yk3b0phzxhpw3mbx03h9mbqm-a.drv': its output 'out' is floating content-addressed, which drvdispatch cannot build yet; build it with `nix build`");
    insta::assert_snapshot!(outputs(r#"{"hashAlgo":"sha256","method":"nar"}"#), @"derivation '/nix/store/c4shhk59yk3b0phzxhpw3mbx03h9mbqm-a.drv': its output 'out' is floating content-addressed, which drvdispatch cannot build yet; build it with `nix build`");
    insta::assert_snapshot!(outputs(r#"{"hashAlgo":"sha256","method":"nar","impure":true}"#), @"derivation '/nix/store/c4shhk59yk3b0phzxhpw3mbx03h9mbqm-a.drv': its output 'out' is impure, which drvdispatch cannot build yet; build it with `nix build`");
    insta::assert_snapshot!(outputs("{}"), @"derivation '/nix/store/c4shhk59yk3b0phzxhpw3mbx03h9mbqm-a.drv': its output 'out' is deferred (it depends on a content-addressed derivation), which drvdispatch cannot build yet; build it with `nix build`");
    insta::assert_snapshot!(outputs(r#"{"hash":"sha256-AAAA","method":"nar"}"#), @"derivation '/nix/store/c4shhk59yk3b0phzxhpw3mbx03h9mbqm-a.drv': its output 'out': the hash 'sha256-AAAA' cannot be used: its length is not that of its algorithm");
    let dynamic = changed(
        r#""dynamicOutputs": {}"#,
        r#""dynamicOutputs": {"out":{"outputs":["x"],"dynamicOutputs":{}}}"#,
    );
    insta::assert_snapshot!(error(&dynamic), @"derivation '431h7ykf9423rmwcxgk7s04d32gyx4va-multi.drv': its input '/nix/store/6fc75p9ynhs08hwyzajsyd9fa5rhv7i8-srcr.drv' is dynamic (a derivation made by a build), which drvdispatch cannot build yet; build it with `nix build`");
}

#[test]
fn an_error_inside_has_its_place_in_the_whole() {
    let broken = fixture("2.30").replacen("\"inputSrcs\": [", "\"inputSrcs\": 1, \"x\": [", 1);
    let found = parse_show(broken.as_bytes()).unwrap_err();
    let wrong = broken.lines().position(|line| line.contains("\"inputSrcs\": 1")).unwrap();
    let ShowError::Entry { line, column, .. } = found else { panic!("{found}") };
    assert_eq!(line, wrong + 1);
    assert!(broken.lines().nth(wrong).unwrap()[..column].ends_with('1'), "column {column}");
}

proptest! {
    #[test]
    fn a_part_is_an_error(version in 0..SHAPES.len(), cut in any::<prop::sample::Index>()) {
        let text = fixture(SHAPES[version]);
        let text = text.trim_end();
        prop_assert!(parse_show(&text.as_bytes()[..cut.index(text.len())]).is_err());
    }

    #[test]
    fn never_panics_on_changed_bytes(
        version in 0..SHAPES.len(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..5),
    ) {
        let mut json = fixture(SHAPES[version]).into_bytes();
        for (place, byte) in changes {
            let place = place.index(json.len());
            json[place] = byte;
        }
        let _ = parse_show(&json);
    }

    #[test]
    fn never_panics_on_anything(json in prop::collection::vec(any::<u8>(), 0..200), text in r#"[{}\[\]":,a0.drv/ ]{0,60}"#) {
        let _ = parse_show(&json);
        let _ = parse_show(text.as_bytes());
    }
}

/// A large graph from beside the project, or `None` with a word about what is therefore not tested.
fn shared(name: &str) -> Option<Vec<u8>> {
    let path: PathBuf = root().parent().unwrap().join("shared/data/graphs").join(name);
    let Ok(file) = fs::File::open(&path) else {
        eprintln!("SKIPPED: {} is not there, so no large graph is read in this test", path.display());
        return None;
    };
    let mut json = Vec::new();
    flate2::read::GzDecoder::new(file).read_to_end(&mut json).unwrap();
    Some(json)
}

#[test]
fn three_versions_print_the_same_system() {
    let Some(newest) = shared("system-nix2.34.json.gz") else { return };
    let newest = parse_show(&newest).unwrap();
    assert_eq!(newest.len(), 1021);
    for name in ["system-nix2.8.json.gz", "system-nix2.26.json.gz"] {
        let older = parse_show(&shared(name).unwrap()).unwrap();
        // Not `assert_eq` on the whole: its message would be megabytes.
        for (a, b) in older.iter().zip(&newest) {
            assert_eq!(a, b, "{name}");
        }
        assert_eq!(older.len(), newest.len(), "{name}");
    }
}

#[test]
fn reads_a_distribution() {
    let Some(json) = shared("distribution-nix2.34.json.gz") else { return };
    let derivations = parse_show(&json).unwrap();
    assert_eq!(derivations.len(), 12_083);
    assert!(derivations.is_sorted_by(|a, b| a.path < b.path));
}
