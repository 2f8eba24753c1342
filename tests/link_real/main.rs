//! Links against a real sshd and OpenSSH, over loopback.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod lab;
#[path = "../common/skipped.rs"]
mod skipped;

use std::io::{ErrorKind, Read, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use drvdispatch::dispatch::link::{
    Carrier, Gate, Link, LinkError, LocalNix, Master, Resolved, Target, open, open_local, resolve,
};
use lab::{Lab, lab};

const TIMEOUT: Option<Duration> = Some(Duration::from_secs(10));

fn try_open(host: &Resolved) -> Result<Link, LinkError> {
    open(host, TIMEOUT, &Gate::default())
}

fn refused(lab: &Lab, target: &Target) -> LinkError {
    try_open(&lab.resolve(target)).expect_err("the link should have been refused")
}

/// Sends something and gets it back; the remote program is `cat`.
fn echoes(link: &mut Link) {
    link.write_all(b"hello").unwrap();
    link.flush().unwrap();
    let mut got = [0; 5];
    link.read_exact(&mut got).unwrap();
    assert_eq!(&got, b"hello");
}

#[test]
fn a_good_key_opens_a_link_through_libssh2() {
    let Some(lab) = lab("") else { return };
    let host = lab.resolve(&lab.target());
    assert_eq!(host.carrier(), Carrier::Ssh2);
    let mut link = try_open(&host).unwrap();
    echoes(&mut link);
    link.keep_alive().unwrap();
    echoes(&mut link);
}

#[test]
fn much_data_passes_both_ways_and_through_rekeying() {
    let Some(lab) = lab("RekeyLimit 1M") else { return };
    let mut link = try_open(&lab.resolve(&lab.target())).unwrap();
    let block: Vec<u8> = (0..1u32 << 18).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    let mut got = vec![0; block.len()];
    for _ in 0..16 {
        link.write_all(&block).unwrap();
        link.read_exact(&mut got).unwrap();
        assert!(got == block);
    }
}

#[test]
fn an_unknown_host_is_refused_with_its_fingerprint() {
    let Some(lab) = lab("") else { return };
    lab.know("elsewhere ssh-ed25519 AAAA");
    let error = refused(&lab, &lab.target());
    let LinkError::HostKeyUnknown { fingerprint, .. } = &error else { panic!("{error}") };
    let shown = Command::new("ssh-keygen").arg("-lf").arg(lab.path("host_ed25519.pub")).output().unwrap();
    let rsa = Command::new("ssh-keygen").arg("-lf").arg(lab.path("host_rsa.pub")).output().unwrap();
    let shown = [shown.stdout, rsa.stdout].concat();
    assert!(String::from_utf8_lossy(&shown).contains(fingerprint.as_str()), "{error}");
    assert!(error.to_string().contains("ssh builder"), "{error}");
}

#[test]
fn a_changed_key_is_refused_with_its_place() {
    let Some(lab) = lab("") else { return };
    lab.know(&format!("# a note\n[127.0.0.1]:{} {}", lab.port, lab.public("stranger")));
    let error = refused(&lab, &lab.target());
    let LinkError::HostKeyChanged { place, .. } = &error else { panic!("{error}") };
    assert_eq!(*place, format!("{}:2", lab.path("known_hosts").display()));
}

#[test]
fn hashed_known_hosts_and_the_key_type_on_record() {
    let Some(lab) = lab("") else { return };
    // Only the RSA key is on record, so it must be the one that is asked for.
    lab.know(&format!("[127.0.0.1]:{} {}", lab.port, lab.public("host_rsa")));
    let hashed =
        Command::new("ssh-keygen").args(["-q", "-H", "-f"]).arg(lab.path("known_hosts")).output().unwrap();
    assert!(hashed.status.success());
    assert!(std::fs::read_to_string(lab.path("known_hosts")).unwrap().starts_with("|1|"));
    echoes(&mut try_open(&lab.resolve(&lab.target())).unwrap());
}

#[test]
fn the_machines_file_key_counts_alone() {
    let Some(lab) = lab("") else { return };
    let with_key = |name: &str| Target { host_key: Some(lab.public(name)), ..lab.target() };
    lab.know("");
    echoes(&mut try_open(&lab.resolve(&with_key("host_ed25519"))).unwrap());
    echoes(&mut try_open(&lab.resolve(&with_key("host_rsa"))).unwrap());
    lab.know(&format!("[127.0.0.1]:{} {}", lab.port, lab.public("host_ed25519")));
    let error = refused(&lab, &with_key("stranger"));
    assert!(
        matches!(&error, LinkError::HostKeyChanged { place, .. } if place.contains("field 8")),
        "{error}"
    );
}

#[test]
fn a_wrong_user_key_is_refused_and_named() {
    let Some(lab) = lab("") else { return };
    let target = Target { key: Some(lab.path("stranger")), ..lab.target() };
    let error = refused(&lab, &target);
    let LinkError::Authentication { methods, tried, .. } = &error else { panic!("{error}") };
    assert_eq!(methods, "publickey");
    assert!(tried.contains("stranger"), "{tried}");
    // The right key beside it is not tried: the machines file named one.
    let missing = Target { key: Some(lab.path("nonexistent")), ..lab.target() };
    let error = refused(&lab, &missing);
    assert!(error.to_string().contains("does not exist"), "{error}");
}

#[test]
fn an_encrypted_key_is_a_clear_error_and_works_through_an_agent() {
    let Some(lab) = lab("") else { return };
    let key = lab.path("user");
    let change =
        Command::new("ssh-keygen").args(["-q", "-p", "-N", "secret", "-P", "", "-f"]).arg(&key).output();
    assert!(change.unwrap().status.success());
    let error = refused(&lab, &lab.target());
    assert!(error.to_string().contains("encrypted"), "{error}");

    let socket = lab.path("agent");
    let mut agent =
        Command::new("ssh-agent").args(["-D", "-a"]).arg(&socket).stdout(Stdio::null()).spawn().unwrap();
    let open =
        Command::new("ssh-keygen").args(["-q", "-p", "-N", "", "-P", "secret", "-f"]).arg(&key).output();
    assert!(open.unwrap().status.success());
    let deadline = Instant::now() + Duration::from_secs(10);
    let add = || Command::new("ssh-add").arg("-q").arg(&key).env("SSH_AUTH_SOCK", &socket).output().unwrap();
    while !add().status.success() {
        assert!(Instant::now() < deadline, "the agent takes no key");
    }
    std::fs::remove_file(&key).unwrap();
    lab.config(&format!("  IdentityAgent {}\n  IdentitiesOnly yes", socket.display()));
    let opened = try_open(&lab.resolve(&lab.target()));
    agent.kill().unwrap();
    agent.wait().unwrap();
    echoes(&mut opened.unwrap());
}

#[test]
fn a_missing_program_is_diagnosed() {
    let Some(lab) = lab("") else { return };
    for openssh in [false, true] {
        if openssh {
            lab.config("  BindAddress 127.0.0.1");
        }
        let target = Target { remote_program: vec!["no-such nix".to_owned()], ..lab.target() };
        let mut link = try_open(&lab.resolve(&target)).unwrap();
        let end = link.read(&mut [0; 8]);
        assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");
        let error = link.diagnose();
        assert!(matches!(&error, LinkError::NoNix { program, .. } if program == "'no-such nix'"), "{error}");

        let target = Target { remote_program: vec!["failing".to_owned()], ..lab.target() };
        let mut link = try_open(&lab.resolve(&target)).unwrap();
        assert_eq!(link.read(&mut [0; 8]).unwrap(), 0);
        let error = link.diagnose();
        assert!(error.to_string().contains("exit status 3: error: the store is broken"), "{error}");
    }
}

#[test]
fn stderr_in_masses_does_not_block_the_stream() {
    let Some(lab) = lab("") else { return };
    let target = Target { remote_program: vec!["noisy".to_owned()], ..lab.target() };
    let mut link = try_open(&lab.resolve(&target)).unwrap();
    echoes(&mut link);
    let tail = link.stderr_tail();
    assert!(tail.len() <= 8192 && tail.ends_with("xlast words\n"), "{}", tail.len());
}

#[test]
fn an_interrupt_from_another_thread_ends_a_blocked_call_at_once() {
    let Some(lab) = lab("") else { return };
    for openssh in [false, true] {
        if openssh {
            lab.config("  BindAddress 127.0.0.1");
        }
        for write in [false, true] {
            let mut link = try_open(&lab.resolve(&lab.target())).unwrap();
            echoes(&mut link);
            let interrupt = link.interrupt();
            let blocked = std::thread::spawn(move || {
                // Nobody reads what comes back, so writing gets stuck too.
                let block = vec![7; 1 << 20];
                loop {
                    let result = if write { link.write(&block) } else { link.read(&mut [0; 8]) };
                    if let Err(error) = result {
                        return error.kind();
                    }
                }
            });
            interrupt.fire();
            assert_eq!(blocked.join().unwrap(), ErrorKind::ConnectionAborted);
        }
    }
}

#[test]
fn a_killed_sshd_ends_the_stream() {
    for extra in ["", "  BindAddress 127.0.0.1"] {
        let Some(lab) = lab("") else { return };
        lab.config(extra);
        let mut link = try_open(&lab.resolve(&lab.target())).unwrap();
        echoes(&mut link);
        lab.kill_sessions();
        let mut rest = Vec::new();
        let _ = link.read_to_end(&mut rest);
        assert!(rest.is_empty(), "{}", String::from_utf8_lossy(&rest));
        let error = link.diagnose();
        assert!(error.is_transient(), "{error:?}");
    }
}

#[test]
fn nobody_there_is_said() {
    let Some(lab) = lab("") else { return };
    let target = Target { port: Some(1), ..lab.target() };
    let error = refused(&lab, &target);
    assert!(matches!(&error, LinkError::Unreachable { timed_out: false, .. }), "{error}");
    // A listener that accepts and says nothing.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    for extra in ["", "  BindAddress 127.0.0.1"] {
        lab.config(extra);
        let host = lab.resolve(&Target { port: Some(port), ..lab.target() });
        let error = open(&host, Some(Duration::from_secs(1)), &Gate::default()).expect_err("nobody answers");
        assert!(matches!(&error, LinkError::Unreachable { timed_out: true, .. }), "{error}");
    }
}

#[test]
fn openssh_takes_over_where_a_proxy_command_is_set() {
    let Some(lab) = lab("") else { return };
    via_proxy(&lab);
    let host = lab.resolve(&lab.target());
    assert!(matches!(host.carrier(), Carrier::OpenSsh { why } if why.contains("proxycommand")));
    echoes(&mut try_open(&host).unwrap());
    let pinned = |name: &str| Target { host_key: Some(lab.public(name)), ..lab.target() };
    echoes(&mut try_open(&lab.resolve(&pinned("host_rsa"))).unwrap());
    assert!(matches!(
        refused(&lab, &pinned("stranger")),
        LinkError::HostKeyChanged { .. } | LinkError::HostKeyUnknown { .. }
    ));
    let stranger = Target { key: Some(lab.path("stranger")), ..lab.target() };
    std::fs::remove_file(lab.path("user")).unwrap();
    assert!(matches!(refused(&lab, &stranger), LinkError::Authentication { .. }));
    lab.know("");
    assert!(matches!(refused(&lab, &lab.target()), LinkError::HostKeyUnknown { .. }));
}

/// `ssh -W` through the lab's own sshd serves as the proxy.
fn via_proxy(lab: &Lab) {
    let dir = lab.path("");
    let dir = dir.display();
    lab.config(&format!(
        "  ProxyCommand ssh -F /dev/null -o BatchMode=yes -o UserKnownHostsFile={dir}/known_hosts_proxy -o \
         StrictHostKeyChecking=no -o IdentityAgent=none -i {dir}/proxy_key -p {} -W %h:%p 127.0.0.1",
        lab.port
    ));
    std::fs::copy(lab.path("user"), lab.path("proxy_key")).unwrap();
}

#[test]
fn a_server_that_shares_no_algorithm_with_libssh2_is_left_to_openssh() {
    let Some(lab) = lab("KexAlgorithms sntrup761x25519-sha512@openssh.com") else { return };
    let host = lab.resolve(&lab.target());
    assert_eq!(host.carrier(), Carrier::Ssh2);
    echoes(&mut try_open(&host).unwrap());
    assert!(matches!(host.carrier(), Carrier::OpenSsh { .. }), "it should have learned that");
}

#[test]
fn a_master_is_shared_and_ends() {
    let Some(lab) = lab("") else { return };
    let target =
        Target { host_key: Some(lab.public("host_rsa")), key: Some(lab.path("user")), ..lab.target() };
    let host = lab.resolve(&target);
    let master = Master::open(&host, TIMEOUT, &Gate::default()).unwrap();
    assert!(master.is_alive());
    let run = |options: &str| {
        let words = shell_words::split(options).unwrap();
        Command::new("ssh")
            .args(words)
            .args(["builder", "echo", "through"])
            .stdin(Stdio::null())
            .output()
            .unwrap()
    };
    let before = lab.log().matches("Accepted publickey").count();
    assert!(before > 0);
    let out = run(master.nix_sshopts());
    assert_eq!(String::from_utf8_lossy(&out.stdout), "through\n", "{}", String::from_utf8_lossy(&out.stderr));
    assert_eq!(lab.log().matches("Accepted publickey").count(), before, "it did not go through the master");
    let (socket, options) = (master.socket(), master.nix_sshopts().to_owned());
    master.close();
    assert!(!socket.exists() && !options.contains('\''));

    let denied = lab.resolve(&Target { key: Some(lab.path("stranger")), ..target });
    std::fs::remove_file(lab.path("user")).unwrap();
    let error = Master::open(&denied, TIMEOUT, &Gate::default()).unwrap_err();
    assert!(matches!(error, LinkError::Authentication { .. }), "{error}");
}

/// If not, the test is skipped.
fn have_nix() -> bool {
    let have = Command::new("nix-daemon").arg("--version").output().is_ok();
    if !have {
        skipped::skip("no nix-daemon here");
    }
    have
}

/// The first words of the worker protocol, and the answer to them.
fn speaks_nix(link: &mut Link) {
    link.write_all(&0x6e69_7863u64.to_le_bytes()).unwrap();
    let mut answer = [0; 8];
    if let Err(error) = link.read_exact(&mut answer) {
        panic!("{error}: {}", link.diagnose());
    }
    assert_eq!(u64::from_le_bytes(answer), 0x6478_696f);
}

#[test]
fn nix_itself_answers_here_and_there() {
    let Some(lab) = lab("") else { return };
    if !have_nix() {
        return;
    }
    let store = lab.path("local-store").display().to_string();
    let here = LocalNix { remote: store, ..LocalNix::from_env() };
    speaks_nix(&mut open_local(&here).unwrap());
    let there = Target { remote_program: vec!["real-nix-daemon".to_owned()], ..lab.target() };
    speaks_nix(&mut try_open(&lab.resolve(&there)).unwrap());
}

#[test]
fn nix_goes_through_the_master() {
    let Some(lab) = lab("") else { return };
    if !have_nix() {
        return;
    }
    let host = lab.resolve(&Target { host_key: Some(lab.public("host_rsa")), ..lab.target() });
    let master = Master::open(&host, TIMEOUT, &Gate::default()).unwrap();
    let before = lab.log().matches("Accepted publickey").count();
    assert!(before > 0);
    let daemon = lab.path("bin/real-nix-daemon");
    let out = Command::new("nix")
        .args(["--extra-experimental-features", "nix-command", "store", "ping", "--store"])
        .arg(format!("ssh-ng://builder?remote-program={}", daemon.display()))
        .env("NIX_SSHOPTS", master.nix_sshopts())
        .output()
        .unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    assert_eq!(lab.log().matches("Accepted publickey").count(), before, "it did not go through the master");
}

#[test]
fn a_silent_build_outlives_the_servers_checks() {
    let Some(lab) = lab("ClientAliveInterval 1\nClientAliveCountMax 2") else { return };
    let target = Target { remote_program: vec!["slow".to_owned()], ..lab.target() };
    echoes(&mut try_open(&lab.resolve(&target)).unwrap());
}

#[test]
fn a_broken_ssh_config_is_said() {
    let Some(lab) = lab("") else { return };
    lab.config("  NoSuchSetting yes");
    let error = resolve(&lab.target(), &lab.options()).unwrap_err();
    assert!(matches!(&error, LinkError::Config { cause, .. } if cause.contains("nosuchsetting")), "{error}");
}
