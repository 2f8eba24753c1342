use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::super::parse_show;
use super::*;

const FIXTURES: &str = "fixtures/derivations";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Real `.drv` files, in the order of their names.
fn files() -> Vec<(StorePath, Vec<u8>)> {
    let mut paths: Vec<PathBuf> =
        fs::read_dir(root().join(FIXTURES).join("drv")).unwrap().map(|file| file.unwrap().path()).collect();
    paths.sort();
    let read = |path: PathBuf| {
        let base = path.file_name().unwrap().to_str().unwrap().to_owned();
        (StorePath::from_base_name("/nix/store", &base).unwrap(), fs::read(path).unwrap())
    };
    paths.into_iter().map(read).collect()
}

fn file(name: &str) -> Vec<u8> {
    files().into_iter().find(|(path, _)| path.derivation_name() == Some(name)).unwrap().1
}

#[test]
fn real_files_come_back_byte_for_byte() {
    assert_eq!(files().len(), 9);
    for (path, text) in files() {
        assert_eq!(parse_drv(&text).unwrap().write(), text, "{path}");
    }
}

#[test]
fn says_the_same_as_the_json() {
    let facts: Vec<_> =
        files().into_iter().map(|(path, text)| parse_drv(&text).unwrap().facts(path).unwrap()).collect();
    let json = fs::read(root().join(FIXTURES).join("nix-2.34.json")).unwrap();
    assert_eq!(facts, parse_show(&json).unwrap());
}

#[test]
fn keeps_strings_exactly() {
    let recipe = parse_drv(&file("multi")).unwrap();
    assert_eq!(recipe.args, [b"-c".to_vec(), "echo \"hi\"\t\\\n \r$x ü".as_bytes().to_vec()]);
    let json = parse_drv(&file("sa")).unwrap();
    let json = std::str::from_utf8(json.variable("__json").unwrap()).unwrap();
    assert!(json.contains(r#""q":"\"a\"\n\\""#), "{json}");
    let bytes = Recipe { args: vec![vec![0, 255, b'"']], ..Recipe::default() };
    assert_eq!(parse_drv(&bytes.write()), Ok(bytes));
}

#[test]
fn says_where_it_is_wrong() {
    let error = |text: &str| parse_drv(text.as_bytes()).unwrap_err().to_string();
    insta::assert_snapshot!(error(""), @"the .drv text is wrong at byte 0: expected 'Derive(', found the end");
    insta::assert_snapshot!(error("Derive([],[] "), @"the .drv text is wrong at byte 12: expected ',', found ' '");
    insta::assert_snapshot!(error(r#"Derive([("out","","")],"#), @"the .drv text is wrong at byte 20: expected ',', found ')],'");
    insta::assert_snapshot!(error(r#"Derive([],[("a",["out"]]"#), @"the .drv text is wrong at byte 23: expected ')', found ']'");
    insta::assert_snapshot!(error(r#"Derive([],[],["a" "#), @"the .drv text is wrong at byte 17: expected ',' or ']', found ' '");
    insta::assert_snapshot!(error(r#"Derive([],[],["a"#), @"the .drv text is wrong at byte 16: expected the end of a string, found the end");
    insta::assert_snapshot!(error(r#"Derive([],[],["a\x"#), @r#"the .drv text is wrong at byte 16: expected one of the escapes \\, \", \n, \r and \t, found '\\x'"#);
    insta::assert_snapshot!(error("Derive([],[],[\"a\n"), @r#"the .drv text is wrong at byte 16: expected a string without bare line ends and tabs, found '\n'"#);
    insta::assert_snapshot!(error("Derive([],[],[],\"\",\"\",[],[]) "), @"the .drv text is wrong at byte 28: expected the end, found ' '");
    insta::assert_snapshot!(error(r#"DrvWithVersion("xp-dyn-drv",[],"#), @"the .drv text is of version 'xp-dyn-drv', which is for dynamic derivations; drvdispatch cannot build these yet; build it with `nix build`");
    insta::assert_snapshot!(parse_drv(b"Derive([],[],[\"\xff\"],").unwrap_err(), @r#"the .drv text is wrong at byte 14: expected a string in UTF-8, found '\"\xff\"],'"#);
}

#[test]
fn names_what_it_cannot_build() {
    let path = StorePath::parse("/nix/store/c4shhk59yk3b0phzxhpw3mbx03h9mbqm-a.drv").unwrap();
    let output = |path: &str, algo: &str, hash: &str| RecipeOutput {
        name: "out".to_owned(),
        path: path.to_owned(),
        hash_algo: algo.to_owned(),
        hash: hash.to_owned(),
    };
    let error = |output| {
        let recipe = Recipe { outputs: vec![output], ..Recipe::default() };
        recipe.facts(path.clone()).unwrap_err().to_string()
    };
    insta::assert_snapshot!(error(output("", "r:sha256", "")), @"its output 'out' is floating content-addressed, which drvdispatch cannot build yet; build it with `nix build`");
    insta::assert_snapshot!(error(output("", "r:sha256", "impure")), @"its output 'out' is impure, which drvdispatch cannot build yet; build it with `nix build`");
    insta::assert_snapshot!(error(output("", "", "")), @"its output 'out' is deferred (it depends on a content-addressed derivation), which drvdispatch cannot build yet; build it with `nix build`");
    insta::assert_snapshot!(error(output("/x", "", "")), @"'/x' is not a store path: it is not an absolute path in a store directory");
    insta::assert_snapshot!(Recipe::default().facts(path.clone()).unwrap_err(), @"it has no outputs");
    let other = StorePath::parse("/nix/store/c4shhk59yk3b0phzxhpw3mbx03h9mbqm-a").unwrap();
    insta::assert_snapshot!(Recipe::default().facts(other).unwrap_err(), @"its path '/nix/store/c4shhk59yk3b0phzxhpw3mbx03h9mbqm-a' does not end in '.drv'");
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..8),
        "[\"\\\\\n\r\t,)a]{0,8}".prop_map(String::into_bytes)
    ]
}

prop_compose! {
    fn recipes()(
        outputs in prop::collection::vec(any::<[String; 4]>(), 0..3),
        input_drvs in prop::collection::vec((any::<String>(), prop::collection::vec(".{0,4}", 0..3)), 0..3),
        input_srcs in prop::collection::vec(".{0,9}", 0..3),
        system in ".{0,9}",
        builder in ".{0,9}",
        args in prop::collection::vec(bytes(), 0..3),
        env in prop::collection::vec((".{0,5}", bytes()), 0..3),
    ) -> Recipe {
        let output = |[name, path, hash_algo, hash]: [String; 4]| RecipeOutput { name, path, hash_algo, hash };
        let outputs = outputs.into_iter().map(output).collect();
        Recipe { outputs, input_drvs, input_srcs, system, builder, args, env }
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read_the_same(recipe in recipes()) {
        prop_assert_eq!(parse_drv(&recipe.write()), Ok(recipe));
    }

    #[test]
    fn a_part_is_an_error(recipe in recipes(), cut in any::<prop::sample::Index>()) {
        let text = recipe.write();
        prop_assert!(parse_drv(&text[..cut.index(text.len())]).is_err());
    }

    #[test]
    fn what_is_read_is_written_the_same(
        file in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..3),
    ) {
        let mut text = file.get(&files()).1.clone();
        for (place, byte) in changes {
            let place = place.index(text.len());
            text[place] = byte;
        }
        if let Ok(recipe) = parse_drv(&text) {
            prop_assert_eq!(recipe.write(), text);
        }
    }

    #[test]
    fn never_panics(text in prop::collection::vec(any::<u8>(), 0..200), like in r#"Derive\([\[\]()",a\\n]{0,40}"#) {
        let path = StorePath::parse("/nix/store/c4shhk59yk3b0phzxhpw3mbx03h9mbqm-a.drv").unwrap();
        for text in [&text, like.as_bytes()] {
            if let Ok(recipe) = parse_drv(text) {
                prop_assert_eq!(&recipe.write(), text);
                let _ = recipe.facts(path.clone());
            }
        }
    }
}
