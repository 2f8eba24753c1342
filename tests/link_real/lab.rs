//! A private sshd on loopback, run as the present user, and everything that talks to it: host keys,
//! user keys, an ssh_config of its own. Nothing under `~/.ssh` is read or written.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use drvdispatch::dispatch::link::{Resolved, SshOptions, Target, resolve};
use tempfile::TempDir;

pub struct Lab {
    dir: TempDir,
    sshd: Child,
    pub port: u16,
}

/// A running sshd, or `None` where there is none to run: the test is then skipped.
pub fn lab(sshd_extra: &str) -> Option<Lab> {
    let sshd = ["/usr/sbin/sshd", "/usr/bin/sshd", "/usr/local/sbin/sshd", "/run/current-system/sw/bin/sshd"]
        .into_iter()
        .find(|path| Path::new(path).exists());
    let Some(sshd) = sshd else {
        crate::skipped::skip("no sshd here (Debian: apt-get install openssh-server)");
        return None;
    };
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    for name in ["host_ed25519", "host_rsa", "user", "stranger"] {
        let kind = if name == "host_rsa" { ["rsa", "-b", "2048"].as_slice() } else { &["ed25519"] };
        let made = Command::new("ssh-keygen")
            .args(["-q", "-N", "", "-t"])
            .args(kind)
            .arg("-f")
            .arg(at(name))
            .status()
            .unwrap();
        assert!(made.success());
    }
    fs::copy(at("user.pub"), at("authorized")).unwrap();
    script(&at("bin/nix-daemon"), "test \"$1\" = --stdio && exec cat");
    script(&at("bin/failing"), "echo 'error: the store is broken' >&2; exit 3");
    script(&at("bin/noisy"), "head -c 300000 /dev/zero | tr '\\0' x >&2; echo last words >&2; exec cat");
    script(&at("bin/slow"), "sleep 5; exec cat");
    // The search path of this test, for the lab's own has a `nix-daemon` that is none.
    let (path, store) = (std::env::var("PATH").unwrap(), at("store"));
    let real = format!("PATH='{path}' NIX_REMOTE={} exec nix-daemon \"$@\"", store.display());
    script(&at("bin/real-nix-daemon"), &real);
    // sshd wants this directory where it runs as root, and only the service makes it.
    if rustix::process::geteuid().is_root() {
        fs::create_dir_all("/run/sshd").unwrap();
    }
    // Somebody else may take the port between its choice and its use.
    let started = (0..5).find_map(|_| start(sshd, dir.path(), sshd_extra));
    let Some((sshd, port)) = started else { panic!("sshd does not start") };
    let lab = Lab { dir, sshd, port };
    let host_key = lab.public("host_ed25519");
    lab.know(&format!("[127.0.0.1]:{port} {host_key}"));
    lab.config("");
    Some(lab)
}

/// Starts sshd at a free port and waits until it listens; `None` where it ends instead.
fn start(sshd: &str, dir: &Path, extra: &str) -> Option<(Child, u16)> {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let config = format!(
        "Port {port}\nListenAddress 127.0.0.1\nHostKey {0}/host_ed25519\nHostKey {0}/host_rsa\n\
         AuthorizedKeysFile {0}/authorized\nStrictModes no\nUsePAM no\nPidFile none\n\
         PasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin yes\n\
         SetEnv PATH={0}/bin:/usr/bin:/bin\n{extra}\n",
        dir.display()
    );
    fs::write(dir.join("sshd_config"), config).unwrap();
    let log = dir.join("sshd.log");
    let socket = dir.join("ready");
    let ready = UnixDatagram::bind(&socket).unwrap();
    ready.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut child = Command::new(sshd)
        .args(["-D", "-e", "-f"])
        .arg(dir.join("sshd_config"))
        .env("NOTIFY_SOCKET", &socket)
        .stdin(Stdio::null())
        .stderr(fs::File::create(&log).unwrap())
        .spawn()
        .unwrap();
    // sshd says that it listens, as it would to systemd.
    let said = ready.recv(&mut [0; 256]);
    let text = fs::read_to_string(&log).unwrap();
    if child.try_wait().unwrap().is_some() {
        eprintln!("sshd ended: {text}");
        return None;
    }
    assert!(said.is_ok(), "sshd does not get ready: {text}");
    Some((child, port))
}

fn script(path: &Path, body: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, format!("#!/bin/sh\n{body}\n")).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

impl Lab {
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.path("sshd.log")).unwrap_or_default()
    }

    /// The public part of a key of the lab, as one line.
    pub fn public(&self, name: &str) -> String {
        fs::read_to_string(self.path(&format!("{name}.pub"))).unwrap().trim().to_owned()
    }

    /// Makes `line` the whole known-hosts file.
    pub fn know(&self, line: &str) {
        fs::write(self.path("known_hosts"), format!("{line}\n")).unwrap();
    }

    /// Writes the ssh_config: `builder` is the lab's sshd, with `extra` settings put first.
    pub fn config(&self, extra: &str) {
        let dir = self.dir.path().display();
        let text = format!(
            "Host builder\n{extra}\n  HostName 127.0.0.1\n  Port {}\n  IdentityFile {dir}/user\n  IdentityAgent none\n  \
             UserKnownHostsFile {dir}/known_hosts\n  GlobalKnownHostsFile /dev/null\n",
            self.port
        );
        fs::write(self.path("config"), text).unwrap();
    }

    pub fn options(&self) -> SshOptions {
        SshOptions::parse(&format!("-F {}", self.path("config").display())).unwrap()
    }

    pub fn target(&self) -> Target {
        Target { host: "builder".to_owned(), ..Target::default() }
    }

    pub fn resolve(&self, target: &Target) -> Resolved {
        resolve(target, &self.options()).unwrap()
    }

    /// Ends the sshd and every session under it.
    pub fn kill_sessions(&self) {
        let listing = Command::new("ps").args(["-eo", "pid=,ppid="]).output().unwrap();
        let text = String::from_utf8_lossy(&listing.stdout).into_owned();
        let mut family = vec![self.sshd.id()];
        let pairs: Vec<(u32, u32)> = text
            .lines()
            .filter_map(|line| {
                let mut words = line.split_whitespace().map(str::parse);
                Some((words.next()?.ok()?, words.next()?.ok()?))
            })
            .collect();
        let mut index = 0;
        while let Some(parent) = family.get(index).copied() {
            family.extend(pairs.iter().filter(|(_, of)| *of == parent).map(|(pid, _)| *pid));
            index += 1;
        }
        for pid in family {
            let _ = Command::new("kill").args(["-9", &pid.to_string()]).status();
        }
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _ = self.sshd.kill();
        let _ = self.sshd.wait();
    }
}
