use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use super::*;

#[path = "../../../tests/common/skipped.rs"]
mod skipped;

/// A `nix` that notes its arguments, one call a line, and answers as `script` says.
pub(in crate::dispatch) struct FakeNix {
    dir: tempfile::TempDir,
}

impl FakeNix {
    pub(in crate::dispatch) fn new(version: &str, script: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let fake = Self { dir };
        let calls = fake.dir.path().join("calls");
        let text = format!(
            "#!/bin/sh\nif [ \"$1\" = --version ]; then echo '{version}'; exit; fi\nshift 2\n\
             (printf '%s|' \"$@\"; echo) >>'{}'\n{script}\n",
            calls.display()
        );
        // Written by another process: an executable that a thread here still had open for writing when
        // a test beside this one forks could not be run.
        let mut sh = Command::new("/bin/sh");
        sh.arg("-c").arg("cat >\"$0\" && chmod 755 \"$0\"").arg(fake.path()).stdin(Stdio::piped());
        let mut child = sh.spawn().unwrap();
        child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        assert!(child.wait().unwrap().success());
        assert_eq!(fs::metadata(fake.path()).unwrap().permissions().mode() & 0o777, 0o755);
        fake
    }

    pub(in crate::dispatch) fn path(&self) -> PathBuf {
        self.dir.path().join("nix")
    }

    pub(in crate::dispatch) fn cli(&self) -> NixCli {
        NixCli::detect(&self.path()).unwrap()
    }

    pub(in crate::dispatch) fn calls(&self) -> String {
        fs::read_to_string(self.dir.path().join("calls")).unwrap_or_default()
    }
}

fn pair(a: &str, b: &str) -> Vec<(String, String)> {
    vec![(a.to_owned(), b.to_owned())]
}

#[test]
fn every_option_is_passed_through() {
    let options = EvalOptions {
        file: Some("release.nix".into()),
        expr: None,
        impure: true,
        override_inputs: pair("nixpkgs", "path:/n"),
        options: pair("sandbox", "false"),
        args: pair("x", "1"),
        argstrs: pair("y", "z"),
        extra: vec!["--refresh".into()],
    };
    assert_eq!(
        options.flags(true).join(" "),
        "--option sandbox false --impure --override-input nixpkgs path:/n --arg x 1 --argstr y z --file release.nix --refresh"
    );
    // For flake references beside the file: Nix refuses arguments there.
    assert_eq!(
        options.flags(false).join(" "),
        "--option sandbox false --impure --override-input nixpkgs path:/n --refresh"
    );
    assert_eq!(options.settings().join(" "), "--option sandbox false");
}

#[test]
fn says_what_is_wrong_with_the_program() {
    let error = |path: &Path| NixCli::detect(path).unwrap_err().to_string();
    insta::assert_snapshot!(error(Path::new("/nonexistent/nix")), @"cannot run '/nonexistent/nix': No such file or directory (os error 2); is Nix installed and in PATH?");
    insta::assert_snapshot!(error(&FakeNix::new("nix (Nix) 2.3.16", "").path()), @"nix (Nix) 2.3.16 is too old; Nix 2.4 or later is needed");
    assert!(error(&FakeNix::new("busybox", "").path()).contains("prints 'busybox'"));
}

#[test]
fn configuration_is_asked_for_in_the_versions_words() {
    let script = r#"case "$1" in show-config) echo '{"system":{"value":"x86_64-linux"}}';; *) echo nope >&2; exit 1;; esac"#;
    let options = EvalOptions { options: pair("cores", "2"), ..Default::default() };
    for (version, calls) in [
        ("nix (Nix) 2.8.0", "show-config|--json|--option|cores|2|\n"),
        // A Nix that should know the new words but does not.
        (
            "nix (Lix, like Nix) 2.90.0",
            "config|show|--json|--option|cores|2|\nshow-config|--json|--option|cores|2|\n",
        ),
    ] {
        let fake = FakeNix::new(version, script);
        let config = fake.cli().config(&options, &mut |line| panic!("{line}")).unwrap();
        assert_eq!((config.system.as_str(), fake.calls().as_str()), ("x86_64-linux", calls));
    }
    let broken = FakeNix::new("nix (Nix) 2.30.0", "echo \"no $1\" >&2; exit 3");
    let mut said = Vec::new();
    let result = broken.cli().config(&EvalOptions::default(), &mut |line| said.push(line.to_owned()));
    insta::assert_snapshot!(result.unwrap_err(), @"`nix config show --json` failed (exit status: 3)");
    assert_eq!(said, ["no config"]);
}

#[test]
fn derivations_go_by_stdin_or_in_chunks() {
    let new = FakeNix::new("nix (Nix) 2.26.0", "cat");
    let shown =
        new.cli().derivation_show(&["/a.drv", "/b.drv"], &EvalOptions::default(), &mut |_| ()).unwrap();
    assert_eq!(shown, [b"/a.drv\n/b.drv\n".to_vec()]);
    assert_eq!(new.calls(), "derivation|show|-r|--stdin|\n");

    let old = FakeNix::new("nix (Nix) 2.8.0", "echo $#");
    let shown =
        old.cli().derivation_show(&["/a.drv"; CHUNK + 1], &EvalOptions::default(), &mut |_| ()).unwrap();
    assert_eq!(shown, [format!("{}\n", CHUNK + 2).into_bytes(), b"3\n".to_vec()]);
    assert!(old.calls().starts_with("show-derivation|-r|/a.drv|"));
}

#[test]
fn long_input_and_output_do_not_block_each_other() {
    // More than a pipe holds, on all three at once.
    let fake = FakeNix::new("nix (Nix) 2.26.0", "head -c 300000 /dev/zero | tr '\\0' x >&2; echo >&2; cat");
    let input = vec![b'y'; 300_000];
    let mut longest = 0;
    let output = fake.cli().run(&[], Some(&input), &mut |line| longest = longest.max(line.len())).unwrap();
    assert_eq!((output.len(), longest), (300_000, 300_000));
}

/// One that would never end by itself, as an endless evaluation.
#[test]
fn what_runs_can_be_ended_from_elsewhere() {
    // The other one is deaf, as Nix is while it computes.
    for script in ["echo begun >&2; exec sleep 97.531", "trap '' TERM; echo begun >&2; while :; do :; done"] {
        let fake = FakeNix::new("nix (Nix) 2.26.0", script);
        let children = Children::default();
        let nix = fake.cli().with_children(children.clone());
        let ended = nix.run(&[], None, &mut |_| children.end());
        assert!(matches!(ended, Err(NixError::Failed { .. })), "{ended:?}");
        assert!(children.running().is_empty());
    }
}

/// The Nix of this machine, if it has one; the test says so if it has none.
pub(in crate::dispatch) fn real_nix() -> Option<NixCli> {
    match NixCli::detect(Path::new("nix")) {
        Ok(nix) => Some(nix),
        Err(e) => {
            skipped::skip(&e.to_string());
            None
        }
    }
}

#[test]
fn reads_the_configuration_of_the_nix_that_is_here() {
    let Some(nix) = real_nix() else { return };
    let options = EvalOptions { options: pair("max-silent-time", "77"), ..Default::default() };
    let config = nix.config(&options, &mut |line| eprintln!("{line}")).unwrap();
    assert!(config.system.contains('-'), "{config:?}");
    assert_eq!(config.max_silent_time, 77);
}
