//! One OpenSSH connection per host that every `nix copy` to or from it shares.
//!
//! Nix starts an ssh of its own for each store it opens; with [`Master::nix_sshopts`] in its
//! environment that ssh goes through the master's socket and costs no handshake. Two traps:
//! a store URI whose host is exactly `localhost` makes Nix run the command here, without ssh, and
//! `max-connections` above 1 in the URI makes Nix start a master of its own instead.

use std::fs::File;
use std::io::{self, Read, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, symlink};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::child::{self, Kind, Shared, Tail};
use super::error::of_ssh_stderr;
use super::openssh::{CONNECTED, arguments, options, pinned_options, pinned_text, whole};
use super::{DEFAULT_TIMEOUT, Gate, LAST_WORDS, Link, LinkError, Resolved};

/// A socket path must fit 108 bytes, and ssh adds 17 to it while it listens.
const LONGEST_DIR: usize = 70;

/// Ends ssh when this program is gone, however it went: then the shell's stdin ends.
const GUARD: &str = r#""$@" </dev/null & pid=$!; exec >/dev/null 2>&1; cat; kill "$pid"; wait "$pid""#;

/// A multiplexed connection; dropping it ends it.
pub struct Master {
    dir: TempDir,
    guard: Shared,
    stdin: Option<ChildStdin>,
    sshopts: String,
}

impl std::fmt::Debug for Master {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Master").field("socket", &self.socket()).finish_non_exhaustive()
    }
}

impl Master {
    /// Connects and waits until the connection can be shared. `timeout` and `gate` as for
    /// [`super::open`].
    ///
    /// # Errors
    /// As [`super::open`].
    pub fn open(host: &Resolved, timeout: Option<Duration>, gate: &Gate) -> Result<Master, LinkError> {
        let timeout = timeout.or(host.connect_timeout()).unwrap_or(DEFAULT_TIMEOUT);
        let _pass = gate.enter();
        let local = |error: io::Error| {
            LinkError::config(host.name(), &format!("preparing a shared connection: {error}"))
        };
        let dir = short_dir().map_err(local)?;
        let sshopts = sshopts(host, dir.path()).map_err(local)?;
        let (args, _known_hosts) = arguments(host, timeout)?;
        let socket = dir.path().join("s");

        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", GUARD, "sh"])
            .arg(&host.options().program)
            .args(["-M", "-N", "-T", "-x", "-a", "-S"])
            .arg(&socket)
            .args(options(&["ControlPersist=no", "PermitLocalCommand=yes"]))
            .args(options(&[&format!("LocalCommand=echo {CONNECTED}")]))
            .args(&args)
            .args(["--", host.name()])
            .env("SHELL", "/bin/sh")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        let mut child = command.spawn().map_err(local)?;
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let master = Master { dir, guard: Shared::new(child), stdin, sshopts };
        let (Some(stdout), Some(stderr)) = (stdout, stderr) else {
            return Err(local(io::Error::other("the child has no pipes")));
        };
        let tail = Tail::default();
        let stderr_ended = tail.collect(stderr).map_err(local)?;
        match wait_ready(stdout, whole(timeout)) {
            Ok(true) => Ok(master),
            Ok(false) => {
                let _ = stderr_ended.recv_timeout(LAST_WORDS);
                Err(of_ssh_stderr(&host.called(), &tail.text()))
            }
            Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                let cause = format!("ssh did not get in within {} s", whole(timeout).as_secs());
                Err(LinkError::unreachable(&host.called(), &cause, true))
            }
            Err(error) => Err(local(error)),
        }
    }

    /// The value of `NIX_SSHOPTS` for a `nix copy` to or from this host, under the same name. The
    /// user's own `NIX_SSHOPTS` is in it. Should the master be gone, Nix connects by itself with it,
    /// to the same host keys, with the same identity.
    #[must_use]
    pub fn nix_sshopts(&self) -> &str {
        &self.sshopts
    }

    /// The control socket, for `ssh -S`.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("s")
    }

    /// Starts the host's Nix over this connection: no handshake, and OpenSSH's own ciphers, which are
    /// faster than libssh2's; for what has many bytes to move.
    ///
    /// # Errors
    /// No ssh can be started. That the connection is gone shows at the first read.
    pub fn link(&self, host: &Resolved) -> Result<Link, LinkError> {
        let mut command = Command::new(&host.options().program);
        command.args(["-T", "-x", "-a", "-S"]).arg(self.socket());
        // Without its master it must not connect by itself: that is what the socket is for.
        command.args(options(&["ControlMaster=no", "BatchMode=yes", "ProxyCommand=false"]));
        command.args(&host.options().args).args(["--", host.name(), &host.command()]);
        let stream = child::spawn(&mut command, Kind::Ssh).map_err(|error| {
            LinkError::config(host.name(), &format!("starting {}: {error}", host.options().program.display()))
        })?;
        let interrupt = stream.interrupt();
        Ok(Link::new(Box::new(stream), interrupt, host.called(), &host.program()))
    }

    /// Whether the connection still stands, as far as is known here.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        UnixStream::connect(self.socket()).is_ok()
    }

    /// Ends the connection, and with it what goes over it.
    pub fn close(self) {}

    /// Begins to end the connection, and with it what goes over it; dropping it waits for that.
    pub fn begin_close(&mut self) {
        // The end of its stdin makes the guard end ssh, and then itself.
        self.stdin = None;
    }
}

impl Drop for Master {
    fn drop(&mut self) {
        self.begin_close();
        if self.guard.wait_until(Instant::now() + LAST_WORDS).is_none() {
            self.guard.end();
        }
    }
}

/// Whether ssh said that it is connected; `false` when it ended without.
fn wait_ready(stdout: impl Read + Send + 'static, timeout: Duration) -> io::Result<bool> {
    let (sender, receiver) = mpsc::channel();
    std::thread::Builder::new().name("link-master".to_owned()).spawn(move || {
        let mut line = Vec::new();
        let read = stdout.take(CONNECTED.len() as u64).read_to_end(&mut line);
        let _ = sender.send(read.is_ok() && line == CONNECTED.as_bytes());
    })?;
    match receiver.recv_timeout(timeout) {
        Ok(ready) => Ok(ready),
        Err(RecvTimeoutError::Disconnected) => Ok(false),
        Err(RecvTimeoutError::Timeout) => Err(io::ErrorKind::TimedOut.into()),
    }
}

/// A private directory whose path is short, and free of what a shell or Nix would split at.
fn short_dir() -> io::Result<TempDir> {
    let fits = |dir: &Path| dir.as_os_str().len() <= LONGEST_DIR && is_plain(dir);
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let candidates = runtime.into_iter().chain([std::env::temp_dir(), PathBuf::from("/tmp")]);
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for parent in candidates.filter(|dir| fits(dir)) {
        match tempfile::Builder::new().prefix("drvd-").tempdir_in(&parent) {
            Ok(dir) => return Ok(dir),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Old versions of Nix split `NIX_SSHOPTS` at blanks and know no quotes.
fn is_plain(path: &Path) -> bool {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"/._-+,:@".contains(byte);
    path.as_os_str().as_encoded_bytes().iter().all(plain)
}

fn sshopts(host: &Resolved, dir: &Path) -> io::Result<String> {
    let mut words = vec!["-S".to_owned(), dir.join("s").display().to_string()];
    words.extend(["-o".to_owned(), "BatchMode=yes".to_owned()]);
    if let Some(keys) = &host.target().host_key {
        let path = dir.join("known_hosts");
        let mut file = File::options().write(true).create_new(true).mode(0o600).open(&path)?;
        file.write_all(pinned_text(keys).as_bytes())?;
        words.extend(pinned_options(&path.display().to_string()));
    }
    if let Some(key) = &host.target().key {
        let mut path = std::path::absolute(key)?;
        if !is_plain(&path) {
            symlink(&path, dir.join("key"))?;
            path = dir.join("key");
        }
        words.extend(["-o", "IdentitiesOnly=yes", "-i"].map(str::to_owned));
        words.push(path.display().to_string());
    }
    let port = host.target().port.into_iter().flat_map(|port| ["-p".to_owned(), port.to_string()]);
    words.extend(port);
    let user = host.target().user.iter().flat_map(|user| ["-l".to_owned(), user.clone()]);
    words.extend(user);
    // As it was given: whichever way this version of Nix splits it is what the user wrote it for.
    words.push(host.options().raw.clone());
    Ok(words.join(" ").trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_directory_is_short_and_plain() {
        let dir = short_dir().unwrap();
        assert!(dir.path().as_os_str().len() < 90 && is_plain(dir.path()), "{dir:?}");
        assert!(!is_plain(Path::new("/a b")) && !is_plain(Path::new("/a'b")));
    }
}
