//! The worker protocol against a real `nix-daemon --stdio` over a store in a temporary directory.
//! Skipped where there is no `nix-daemon`.

#![expect(clippy::unwrap_used, reason = "a test's helpers fail the test")]

#[path = "common/skipped.rs"]
mod skipped;

use std::io::{Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use drvdispatch::nix::wire::{
    BasicDerivation, BuildMode, Client, DrvOutput, LogMessage, PathInfo, SetOptions, Status, Trust, Upload,
    Version, WireError,
};

/// A daemon process as one stream, with the directories it lives in.
struct Daemon {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: ChildStdout,
}

impl Read for Daemon {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        self.stdout.read(buf)
    }
}

impl Write for Daemon {
    fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
        self.stdin.as_mut().expect("open until dropped").write(buf)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.stdin.as_mut().expect("open until dropped").flush()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.stdin = None; // the end of its input is what ends it
        self.child.wait().expect("the daemon was started");
    }
}

/// Where a daemon keeps everything.
struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    /// None where Nix is not installed: the test is then skipped.
    fn new() -> Option<Self> {
        if Command::new("nix-daemon").arg("--version").output().is_err() {
            skipped::skip("no nix-daemon here");
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        let conf = dir.path().join("conf");
        std::fs::create_dir(&conf).unwrap();
        let text = "build-users-group =\nsandbox = false\nsubstituters =\ntrusted-users = *\n";
        std::fs::write(conf.join("nix.conf"), text).unwrap();
        Some(Self { dir })
    }

    fn sub(&self, name: &str) -> String {
        self.dir.path().canonicalize().unwrap().join(name).to_str().unwrap().to_owned()
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .env("NIX_STORE_DIR", self.sub("store"))
            .env("NIX_STATE_DIR", self.sub("var"))
            .env("NIX_LOG_DIR", self.sub("log"))
            .env("NIX_CONF_DIR", self.sub("conf"))
            // Its own store, not that of a daemon that happens to run here.
            .env("NIX_REMOTE", "local");
        command
    }

    fn connect(&self) -> Client<Daemon> {
        let mut child = self
            .command("nix-daemon")
            .arg("--stdio")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdin = child.stdin.take();
        let stdout = child.stdout.take().unwrap();
        Client::handshake(Daemon { child, stdin, stdout }).unwrap()
    }

    /// A store path, its hash part `digit` all over.
    fn path(&self, digit: char, name: &str) -> String {
        let hash: String = std::iter::repeat_n(digit, 32).collect();
        format!("{}/{hash}-{name}", self.sub("store"))
    }

    /// A derivation that runs `script`, under a path of its own.
    fn derivation(&self, digit: char, name: &str, script: &str) -> (String, BasicDerivation) {
        let out = self.path(digit, name);
        let drv = BasicDerivation {
            outputs: vec![DrvOutput { name: "out".into(), path: out.clone(), ..DrvOutput::default() }],
            input_srcs: vec![],
            platform: system(),
            builder: "/bin/sh".into(),
            args: vec![b"-c".to_vec(), script.into()],
            env: vec![
                (b"PATH".to_vec(), b"/usr/bin:/bin".to_vec()),
                (b"name".to_vec(), name.into()),
                (b"out".to_vec(), out.into()),
            ],
        };
        (self.path(digit, &format!("{name}.drv")), drv)
    }
}

fn system() -> String {
    let os = if cfg!(target_os = "macos") { "darwin" } else { "linux" };
    format!("{}-{os}", std::env::consts::ARCH)
}

fn lines(log: &[LogMessage]) -> Vec<&str> {
    let mut lines = Vec::new();
    for message in log {
        if let LogMessage::Line { text, .. } = message {
            lines.push(text.as_str());
        }
    }
    lines
}

#[test]
fn greeting_and_questions() {
    let Some(place) = Place::new() else { return };
    let mut client = place.connect();
    assert!(client.protocol() >= Version::new(1, 32), "{client:?}");
    if client.protocol() >= Version::new(1, 33) {
        assert!(client.nix_version().unwrap().starts_with(|c: char| c.is_ascii_digit()), "{client:?}");
    }
    if client.protocol() >= Version::new(1, 35) {
        assert_eq!(client.trust(), Trust::Trusted);
    }
    client.set_options(&SetOptions::default()).unwrap();
    let absent = place.path('0', "absent");
    assert_eq!(client.query_valid_paths(&[&absent], false).unwrap(), Vec::<String>::new());
    assert_eq!(client.query_path_info(&absent).unwrap(), None);
    client.add_temp_root(&absent).unwrap();
    let missing = client.query_missing(std::slice::from_ref(&absent)).unwrap();
    assert_eq!(missing.unknown, [absent.as_str()]);
    assert_eq!((missing.will_build.len(), missing.download_size), (0, 0));

    // What the daemon refuses does not end the connection.
    let error = client.ensure_path(&absent).unwrap_err();
    assert!(matches!(&error, WireError::Remote(e) if e.message.contains(&absent)), "{error}");
    assert!(!error.is_connection() && client.is_usable());
    assert!(client.query_missing(&["no path".into()]).is_err());
    if client.is_usable() {
        // Nix hangs up on a request that it cannot read; either way the client stays in step.
        let _ = client.query_valid_paths(&[], false);
    }
}

#[test]
fn a_build_with_its_log() {
    let Some(place) = Place::new() else { return };
    let mut client = place.connect();
    client.set_options(&SetOptions::default()).unwrap();
    let script = "echo one; echo two >&2; echo contents > $out; printf three";
    let (path, drv) = place.derivation('1', "good", script);
    let mut log = Vec::new();
    let result = client.build_derivation(&path, &drv, BuildMode::Normal, &mut |m| log.push(m)).unwrap();
    assert_eq!(result.status, Status::Built, "{result:?}");
    assert_eq!(lines(&log), ["one", "two", "three"]);
    assert!(result.start_time > 1_600_000_000 && result.stop_time >= result.start_time, "{result:?}");

    let out = drv.outputs[0].path.as_str();
    assert_eq!(client.query_valid_paths(&[out], false).unwrap(), [out]);
    let info = client.query_path_info(out).unwrap().unwrap();
    assert_eq!((info.references.len(), info.nar_hash.len()), (0, 64), "{info:?}");
    let mut nar = Vec::new();
    assert_eq!(client.nar_from_path(out, &mut nar).unwrap(), info.nar_size);
    assert_eq!(nar.len() as u64, info.nar_size);
    assert!(nar.windows(9).any(|w| w == b"contents\n"));

    // In step after the NAR, and the second time there is nothing to do.
    let again = client.build_derivation(&path, &drv, BuildMode::Normal, &mut |_| ()).unwrap();
    assert_eq!(again.status, Status::AlreadyValid, "{again:?}");
}

#[test]
fn failures_and_time_limits_are_results() {
    let Some(place) = Place::new() else { return };
    let mut client = place.connect();
    client.set_options(&SetOptions::default()).unwrap();
    let (path, drv) = place.derivation('2', "bad", "echo so it goes; exit 3");
    let mut log = Vec::new();
    let result = client.build_derivation(&path, &drv, BuildMode::Normal, &mut |m| log.push(m)).unwrap();
    assert_eq!(result.status, Status::PermanentFailure, "{result:?}");
    assert!(result.error_msg.contains("exit code 3"), "{result:?}");
    assert_eq!(lines(&log), ["so it goes"]);

    for (digit, options) in [
        ('3', SetOptions { max_silent: 1, ..SetOptions::default() }),
        ('4', SetOptions { timeout: 1, ..SetOptions::default() }),
    ] {
        client.set_options(&options).unwrap();
        let (path, drv) = place.derivation(digit, "slow", "sleep 600");
        let result = client.build_derivation(&path, &drv, BuildMode::Normal, &mut |_| ()).unwrap();
        assert_eq!(result.status, Status::TimedOut, "{result:?}");
    }
}

#[test]
fn drv_files_are_known_and_built() {
    let Some(place) = Place::new() else { return };
    let expression = format!(
        r#"derivation {{ name = "x"; system = "{}"; builder = "/bin/sh"; args = ["-c" "echo hi; echo 1 > $out"]; }}"#,
        system()
    );
    let made = place.command("nix-instantiate").args(["-E", &expression]).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let drv = String::from_utf8(made.stdout).unwrap().trim().to_owned();

    let mut client = place.connect();
    client.set_options(&SetOptions::default()).unwrap();
    let targets = [format!("{drv}!out")];
    assert_eq!(client.query_missing(&targets).unwrap().will_build, [drv.as_str()]);
    if client.protocol() < Version::new(1, 34) {
        let error = client.build_paths_with_results(&targets, BuildMode::Normal, &mut |_| ()).unwrap_err();
        assert!(matches!(error, WireError::Unsupported { .. }), "{error}");
        return;
    }
    let mut log = Vec::new();
    let results = client.build_paths_with_results(&targets, BuildMode::Normal, &mut |m| log.push(m)).unwrap();
    let [(target, result)] = results.as_slice() else { panic!("{results:?}") };
    assert_eq!((target.as_str(), result.status), (targets[0].as_str(), Status::Built), "{result:?}");
    assert_eq!(lines(&log), ["hi"]);
    let [(name, out)] = result.built_outputs.as_slice() else { panic!("{result:?}") };
    assert_eq!(name, "out");
    assert_eq!(std::fs::read_to_string(out).unwrap(), "1\n");
    assert_eq!(client.query_missing(&targets).unwrap().will_build, Vec::<String>::new());
}

#[test]
fn paths_go_from_store_to_store() {
    let Some(here) = Place::new() else { return };
    let Some(there) = Place::new() else { return };
    let mut from = here.connect();
    let (path, drv) =
        here.derivation('5', "tree", "mkdir -p $out/a/b; ln -s b $out/a/l; echo x > $out/a/b/f");
    let result = from.build_derivation(&path, &drv, BuildMode::Normal, &mut |_| ()).unwrap();
    assert_eq!(result.status, Status::Built, "{result:?}");
    let out = drv.outputs[0].path.as_str();
    let info = from.query_path_info(out).unwrap().unwrap();
    let mut nar = Vec::new();
    from.nar_from_path(out, &mut nar).unwrap();

    let mut to = there.connect();
    let target = there.path('5', "tree");
    let info = PathInfo { deriver: None, ..info };
    // Cut short: the reason is ours, and the connection goes on.
    let half = &nar[..nar.len() / 2];
    let mut upload = [Upload { path: &target, info: &info, nar: &mut &half[..] }];
    let error = to.add_multiple_to_store(false, false, &mut upload).unwrap_err();
    assert!(matches!(&error, WireError::Local { what, .. } if what.contains(&target)), "{error}");
    assert_eq!(to.query_valid_paths(&[&target], false).unwrap(), Vec::<String>::new());
    // Wrong hash: the daemon's reason, and the connection goes on.
    let wrong = PathInfo { nar_hash: "0".repeat(64), ..info.clone() };
    let mut upload = [Upload { path: &target, info: &wrong, nar: &mut nar.as_slice() }];
    let error = to.add_multiple_to_store(false, false, &mut upload).unwrap_err();
    assert!(matches!(&error, WireError::Remote(e) if e.message.contains("hash mismatch")), "{error}");

    let mut upload = [Upload { path: &target, info: &info, nar: &mut nar.as_slice() }];
    to.add_multiple_to_store(false, false, &mut upload).unwrap();
    assert_eq!(to.query_path_info(&target).unwrap().unwrap().nar_hash, info.nar_hash);
    let copied = std::fs::read_to_string(format!("{target}/a/l/f")).unwrap();
    assert_eq!(copied, "x\n");

    // What is there already, as somebody else has brought it meanwhile, and something behind it.
    let other = there.path('7', "tree");
    let (mut first, mut second) = (nar.as_slice(), nar.as_slice());
    let mut uploads = [
        Upload { path: &target, info: &info, nar: &mut first },
        Upload { path: &other, info: &info, nar: &mut second },
    ];
    let mut late = there.connect();
    match late.add_multiple_to_store(false, false, &mut uploads) {
        Ok(()) => assert_eq!(to.query_path_info(&other).unwrap().unwrap().nar_hash, info.nar_hash),
        // Old Nix.
        Err(error) => assert!(error.is_overtaken(), "{error}"),
    }

    // A path that is not there: the daemon answers and hangs up.
    let error = to.nar_from_path(&there.path('6', "none"), &mut std::io::sink()).unwrap_err();
    assert!(matches!(error, WireError::Remote(_)), "{error}");
    assert!(!to.is_usable());
    assert!(matches!(to.query_valid_paths(&[], false), Err(WireError::Unusable { .. })));
}
