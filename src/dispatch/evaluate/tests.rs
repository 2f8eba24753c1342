use super::*;
use crate::dispatch::nix_cli::tests::{FakeNix, real_nix};

const DIR: &str = "/nix/store";

fn store(name: &str) -> String {
    format!("{DIR}/{}-{name}", "a".repeat(32))
}

/// A dry run that makes a derivation `NAME.drv` of every argument `…#NAME` or `NAME`; `two` is two.
const DRY_RUN: &str = r#"
if [ "$1" = eval ]; then case "$*" in *isdrv*) echo true;; *gone*) exit 1;; *) echo false;; esac; exit; fi
p=/nix/store/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
echo 'this derivation will be built:' >&2; echo "  $p-x.drv" >&2; echo 'warning: dirty' >&2
sep='['
for a do case $a in
  bad) echo 'error: bad' >&2; exit 1;;
  src) printf '%s"%s-src"' "$sep" "$p"; sep=,;;
  two) printf '%s{"drvPath":"%s-two1.drv","outputs":{"out":"%s-two1"}}' "$sep" "$p" "$p"; sep=,
       printf ',{"drvPath":"%s-two2.drv","outputs":{"out":"%s-two2"}}' "$p" "$p";;
  *'#'*|t-*|.) n=${a##*[#.]}; n=${n#t-}; n=${n:-dot}
       printf '%s{"drvPath":"%s-%s.drv","outputs":{"out":"%s-%s"}}' "$sep" "$p" "$n" "$p" "$n"; sep=,;;
esac; done
[ "$sep" = , ] || printf '['
echo ']'
"#;

/// A `.drv` with outputs `out` and `dev`.
fn read_drv(drv: &StorePath) -> io::Result<Vec<u8>> {
    let name = drv.derivation_name().unwrap();
    if name == "lost" {
        return Err(io::ErrorKind::NotFound.into());
    }
    let out = |o: &str| format!(r#"("{o}","{}-{o}","","")"#, store(name));
    let outputs = format!("{},{}", out("dev"), out("out"));
    Ok(format!(r#"Derive([{outputs}],[],[],"x","/bin/sh",[],[])"#).into_bytes())
}

struct Run {
    roots: Result<Vec<Root>, EvalError>,
    calls: Vec<String>,
    said: Vec<String>,
}

fn run(options: &EvalOptions, arguments: &[&str]) -> Run {
    let fake = FakeNix::new("nix (Nix) 2.8.0", DRY_RUN);
    let nix = fake.cli();
    let mut said = Vec::new();
    let mut evaluator = Evaluator {
        nix: &nix,
        options,
        store_dir: DIR,
        read_drv: &read_drv,
        stderr: &mut |line| said.push(line.to_owned()),
    };
    let argument = |text: &&str| match text.strip_prefix("-A") {
        Some(attribute) => Argument::Attribute(attribute.trim().to_owned()),
        None => Argument::Installable((*text).to_owned()),
    };
    let roots = evaluator.roots(&arguments.iter().map(argument).collect::<Vec<_>>());
    Run { roots, calls: fake.calls().lines().map(str::to_owned).collect(), said }
}

/// `FROM:NAME^out,…` for each root.
fn shown(run: &Run) -> String {
    let outputs = |r: &Root| r.outputs.iter().map(|(n, _)| n.as_str()).collect::<Vec<_>>().join(",");
    let one = |r: &Root| format!("{}:{}^{}", r.from, r.drv.derivation_name().unwrap(), outputs(r));
    run.roots.as_ref().unwrap().iter().map(one).collect::<Vec<_>>().join(" ")
}

fn in_file() -> EvalOptions {
    EvalOptions { file: Some("release.nix".into()), ..Default::default() }
}

#[test]
fn flakes_are_evaluated_together() {
    let run = run(&EvalOptions::default(), &[".#b", ".#a^*", ".#b^dev", &store("x.drv^out"), ".#c"]);
    assert_eq!(shown(&run), "0:b^out 1:a^dev,out 2:b^dev 3:x^out 4:c^out");
    assert_eq!(run.calls, ["build|--dry-run|--json|--no-link|.#b|.#a|.#c|"]);
    assert_eq!(run.said, ["warning: dirty"]);
}

#[test]
fn nothing_is_the_flake_here() {
    let run = run(&EvalOptions { impure: true, ..Default::default() }, &[]);
    assert_eq!(shown(&run), "0:dot^out");
    assert_eq!(run.calls, ["build|--dry-run|--json|--no-link|--impure|.|"]);
}

#[test]
fn files_give_attributes_beside_flakes() {
    let run = run(&in_file(), &["t-b", ".#a", "-A t-c", "t-a^dev"]);
    assert_eq!(shown(&run), "0:b^out 1:a^out 2:c^out 3:a^dev");
    assert_eq!(
        run.calls,
        [
            "build|--dry-run|--json|--no-link|.#a|",
            "build|--dry-run|--json|--no-link|--file|release.nix|t-b|t-c|",
            "build|--dry-run|--json|--no-link|--file|release.nix|t-a|",
        ]
    );
}

#[test]
fn a_file_without_attributes_is_meant_as_a_whole() {
    let run = run(&in_file(), &[".#a"]);
    assert_eq!(shown(&run), "0:a^out 1:dot^out");
    assert_eq!(run.calls[1], "build|--dry-run|--json|--no-link|--file|release.nix|.|");
}

#[test]
fn an_argument_may_be_several_derivations() {
    let together = run(&in_file(), &["t-b", "two", "t-a"]);
    assert_eq!(shown(&together), "0:b^out 1:two1^out 1:two2^out 2:a^out");
    assert_eq!(together.calls.len(), 4);
    let alone = run(&in_file(), &["two^dev"]);
    assert_eq!((shown(&alone).as_str(), alone.calls.len()), ("0:two1^dev 0:two2^dev", 1));
    assert_eq!(shown(&run(&in_file(), &["empty", "t-a"])), "1:a^out");
}

#[test]
fn configurations_mean_their_derivation_unless_they_are_one() {
    let arguments =
        [".#nixosConfigurations.host", ".#homeConfigurations.isdrv", ".#darwinConfigurations.gone"];
    let run = run(&EvalOptions::default(), &arguments);
    assert_eq!(shown(&run), "0:toplevel^out 1:isdrv^out 2:gone^out");
    assert_eq!(
        run.calls[0],
        r#"eval|--json|.#nixosConfigurations.host|--apply|x: (x.type or null) == "derivation"|"#
    );
    assert_eq!(
        run.calls[3],
        "build|--dry-run|--json|--no-link|.#nixosConfigurations.host.config.system.build.toplevel|.#homeConfigurations.isdrv|.#darwinConfigurations.gone|"
    );
}

#[test]
fn says_what_is_wrong() {
    let error =
        |options: &EvalOptions, argument: &str| run(options, &[argument]).roots.unwrap_err().to_string();
    let flakes = EvalOptions::default();
    insta::assert_snapshot!(error(&flakes, &store("x.drv^lib")), @"/nix/store/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-x.drv has no output 'lib'; it has: dev, out");
    insta::assert_snapshot!(error(&flakes, &store("lost.drv")), @"cannot read /nix/store/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-lost.drv: entity not found");
    insta::assert_snapshot!(error(&flakes, &store("hello")), @"/nix/store/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-hello is a store path, which is no derivation, so there is nothing to build; name a package, or a .drv file");
    insta::assert_snapshot!(error(&flakes, "-A x"), @"-A x needs a --file or --expr to look it up in; for a flake, write '.#x'");
    insta::assert_snapshot!(error(&in_file(), "src"), @"'src' is /nix/store/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-src, which is no derivation, so there is nothing to build; name a package, or a .drv file");
    let failed = run(&in_file(), &["bad"]);
    assert_eq!(failed.said, ["warning: dirty", "error: bad"]);
    assert!(failed.roots.unwrap_err().to_string().contains("failed (exit status: 1)"));
    let both = EvalOptions { expr: Some("1".into()), ..in_file() };
    insta::assert_snapshot!(error(&both, "a"), @"--file and --expr exclude each other");
}

#[test]
fn links_into_the_store_are_followed() {
    let dir = tempfile::tempdir().unwrap();
    let drv = dir.path().canonicalize().unwrap().join(format!("{}-x.drv", "a".repeat(32)));
    std::fs::write(&drv, "").unwrap();
    let link = dir.path().join("file.drv");
    std::os::unix::fs::symlink(&drv, &link).unwrap();
    let fake = FakeNix::new("nix (Nix) 2.8.0", "");
    let (nix, options) = (fake.cli(), EvalOptions::default());
    let evaluator = |store_dir| Evaluator {
        nix: &nix,
        options: &options,
        store_dir,
        read_drv: &read_drv,
        stderr: Box::leak(Box::new(|_: &str| ())),
    };
    let text = link.to_str().unwrap();
    let real = drv.parent().unwrap().to_str().unwrap();
    assert_eq!(evaluator(real).store_path(text).unwrap().as_str(), drv.to_str().unwrap());
    // A file that only looks like one is none.
    assert_eq!(evaluator(DIR).store_path(text), None);
    assert_eq!(evaluator(DIR).store_path(&format!("{}#a", store("source"))), None);
}

#[test]
fn agrees_with_the_nix_that_is_here() {
    let Some(nix) = real_nix() else { return };
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("release.nix");
    let text = r#"let d = name: derivation { inherit name; system = "x"; builder = "/x"; outputs = [ "out" "dev" ]; };
        in { b = d "b"; a = d "a"; s = { y = d "y"; z = d "z"; recurseForDerivations = true; }; none = {}; }"#;
    std::fs::write(&file, text).unwrap();
    let options = EvalOptions {
        file: Some(file.to_str().unwrap().to_owned()),
        options: vec![("substitute".into(), "false".into())],
        ..Default::default()
    };
    let mut said = Vec::new();
    let mut evaluate = |arguments: &[&str]| {
        let mut evaluator = Evaluator {
            nix: &nix,
            options: &options,
            store_dir: crate::nix::DEFAULT_STORE_DIR,
            read_drv: &read_drv_file,
            stderr: &mut |line| said.push(line.to_owned()),
        };
        let arguments: Vec<_> = arguments.iter().map(|a| Argument::Installable((*a).to_owned())).collect();
        let roots = evaluator.roots(&arguments);
        shown(&Run { roots, calls: Vec::new(), said: Vec::new() })
    };
    assert_eq!(evaluate(&["b^dev", "a^*", "b^out,dev", "a^dev"]), "0:b^dev 1:a^dev,out 2:b^dev,out 3:a^dev");
    // In the order of store paths, which differs with the store directory.
    let several = evaluate(&["b^dev", "s^dev", "a^dev"]);
    assert!(
        several == "0:b^dev 1:y^dev 1:z^dev 2:a^dev" || several == "0:b^dev 1:z^dev 1:y^dev 2:a^dev",
        "{several}"
    );
    // The right number by chance: the order holds.
    let chance = evaluate(&["b", "s", "none"]);
    // Which outputs a plain `b` means differs between versions.
    assert!(chance.starts_with("0:b^") && chance.split(' ').count() == 3, "{chance}");
    assert!(!said.iter().any(|line| line.contains("will be built") || line.starts_with("  /")), "{said:?}");
}

#[test]
fn evaluates_a_flake_with_the_nix_that_is_here() {
    let Some(nix) = real_nix() else { return };
    let dir = tempfile::tempdir().unwrap();
    let text = r#"{ outputs = { self }: let
        d = name: derivation { inherit name; system = "x"; builder = "/x"; outputs = [ "out" "dev" ]; };
      in {
        a = d "a";
        nixosConfigurations."my.host" = { type.name = "submodule"; config.system.build.toplevel = d "system"; };
        nixosConfigurations.plain = d "plain";
        homeConfigurations."me@h" = { activationPackage = d "home"; };
      }; }"#;
    std::fs::write(dir.path().join("flake.nix"), text).unwrap();
    let flake = format!("path:{}", dir.path().canonicalize().unwrap().display());
    let options = EvalOptions { options: vec![("substitute".into(), "false".into())], ..Default::default() };
    let evaluate = |fragments: &[&str]| {
        let mut said = Vec::new();
        let mut evaluator = Evaluator {
            nix: &nix,
            options: &options,
            store_dir: crate::nix::DEFAULT_STORE_DIR,
            read_drv: &read_drv_file,
            stderr: &mut |line| said.push(line.to_owned()),
        };
        let argument = |fragment: &&str| Argument::Installable(format!("{flake}#{fragment}"));
        let roots = evaluator.roots(&fragments.iter().map(argument).collect::<Vec<_>>());
        Run { roots, calls: Vec::new(), said }
    };
    let good = evaluate(&[
        r#"nixosConfigurations."my.host""#,
        "nixosConfigurations.plain",
        r#"homeConfigurations."me@h"^*"#,
        "a^dev",
    ]);
    assert_eq!(shown(&good), "0:system^out 1:plain^out 2:home^dev,out 3:a^dev", "{:?}", good.said);
    let drv = good.roots.unwrap().remove(3).drv;
    let shown_json = nix.derivation_show(&[drv.as_str()], &options, &mut |_| ()).unwrap();
    assert!(String::from_utf8_lossy(&shown_json[0]).contains(drv.base_name()));
    let bad = evaluate(&["nixosConfigurations.nobody"]);
    assert!(matches!(bad.roots, Err(EvalError::Nix(NixError::Failed { .. }))));
    assert!(bad.said.iter().any(|line| line.contains("nixosConfigurations.nobody")), "{:?}", bad.said);
}
