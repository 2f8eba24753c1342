//! A link through an OpenSSH child process, for what libssh2 cannot do.

use std::io::Write as _;
use std::process::Command;
use std::time::{Duration, Instant};

use tempfile::TempPath;

use super::child::{self, Kind};
use super::cipher;
use super::error::of_ssh_stderr;
use super::resolve::target_args;
use super::{LAST_WORDS, Link, LinkError, Resolved, Stream as _};

/// ssh prints this once it is logged in, ahead of anything the remote program says.
pub(super) const CONNECTED: &str = "drvdispatch-connected";
/// The name under which a pinned host key is on record in a file of its own.
const PINNED: &str = "drvdispatch-pinned";

/// Arguments for an ssh to `host`, without the host itself, and the known-hosts file of a pinned key
/// that they refer to: it is gone when dropped, so it is kept until ssh is connected.
type Arguments = (Vec<String>, Option<TempPath>);

/// What every ssh to `host` gets: no questions, the machines file's keys, signs of life.
pub(super) fn arguments(host: &Resolved, timeout: Duration) -> Result<Arguments, LinkError> {
    let known_hosts = match &host.target().host_key {
        Some(key) => Some(pinned_file(host, key)?),
        None => None,
    };
    let mut args = options(&[
        "BatchMode=yes",
        "LogLevel=INFO",
        // Three in vain, noticed when the fourth is due: a cut link is known after 8 s. OpenSSH has no way
        // to ask the kernels only, so a host's sshd has 6 s to answer, which takes no more than a moment
        // of processor time however many builds it shares the processors with.
        "ServerAliveInterval=2",
        "ServerAliveCountMax=3",
        "RemoteCommand=none",
        "ClearAllForwardings=yes",
    ]);
    args.extend(options(&[&format!("ConnectTimeout={}", timeout.as_secs().max(1))]));
    // What ssh -G says is what these arguments come to, so this changes the order only.
    if let Some(ciphers) = host.config().get("ciphers").and_then(cipher::reordered) {
        args.extend(options(&[&format!("Ciphers={ciphers}")]));
    }
    if let Some(path) = &known_hosts {
        args.extend(pinned_options(&path.display().to_string()));
    }
    args.extend(target_args(host.target(), host.options()));
    Ok((args, known_hosts))
}

/// Accept the key in the file at `path` and no other, whatever the host is called.
pub(super) fn pinned_options(path: &str) -> Vec<String> {
    options(&[
        &format!("UserKnownHostsFile={path}"),
        "GlobalKnownHostsFile=/dev/null",
        &format!("HostKeyAlias={PINNED}"),
        "StrictHostKeyChecking=yes",
        "UpdateHostKeys=no",
    ])
}

/// The text of a known-hosts file with the pinned keys.
pub(super) fn pinned_text(keys: &str) -> String {
    let lines = keys.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.map(|line| format!("{PINNED} {line}\n")).collect()
}

fn pinned_file(host: &Resolved, keys: &str) -> Result<TempPath, LinkError> {
    let write = || {
        let mut file = tempfile::Builder::new().prefix("drvdispatch-known-").tempfile()?;
        file.write_all(pinned_text(keys).as_bytes())?;
        Ok::<_, std::io::Error>(file.into_temp_path())
    };
    write()
        .map_err(|error| LinkError::config(host.name(), &format!("writing its host key to a file: {error}")))
}

pub(super) fn options(settings: &[&str]) -> Vec<String> {
    settings.iter().flat_map(|setting| ["-o".to_owned(), (*setting).to_owned()]).collect()
}

/// Each step within ssh is bounded by its own `ConnectTimeout`; this bounds them all.
pub(super) fn whole(timeout: Duration) -> Duration {
    timeout * 3
}

pub(super) fn open(host: &Resolved, remote: &str, timeout: Duration) -> Result<Link, LinkError> {
    let (args, _known_hosts) = arguments(host, timeout)?;
    let local_command = format!("LocalCommand=echo {CONNECTED}");
    let mut command = Command::new(&host.options().program);
    command
        .args(["-T", "-x", "-a"])
        // A shared connection would not run the local command that says when it is open.
        .args(options(&["ControlMaster=no", "ControlPath=none", "PermitLocalCommand=yes", &local_command]))
        .args(&args)
        .args(["--", host.name(), remote])
        // Runs the local command; the user's own shell may be one that greets, or runs nothing.
        .env("SHELL", "/bin/sh");
    let mut stream = child::spawn(&mut command, Kind::Ssh).map_err(|error| {
        LinkError::config(host.name(), &format!("starting {}: {error}", host.options().program.display()))
    })?;
    match stream.expect_line(&format!("{CONNECTED}\n"), Instant::now() + whole(timeout)) {
        Ok(()) => {
            let interrupt = stream.interrupt();
            Ok(Link::new(Box::new(stream), interrupt, host.called(), &host.program()))
        }
        Err(error) if error.kind() == std::io::ErrorKind::TimedOut => {
            let cause = format!("ssh did not get in within {} s", whole(timeout).as_secs());
            Err(LinkError::unreachable(&host.called(), &cause, true))
        }
        Err(_) => {
            let ending = stream.ending(LAST_WORDS);
            Err(of_ssh_stderr(&host.called(), &ending.stderr))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pinned_key_is_on_record_under_one_name() {
        assert_eq!(
            pinned_text("ssh-ed25519 AAAA c\n\n ssh-rsa BBBB"),
            format!("{PINNED} ssh-ed25519 AAAA c\n{PINNED} ssh-rsa BBBB\n")
        );
        assert!(pinned_options("/k").contains(&format!("HostKeyAlias={PINNED}")));
    }
}
