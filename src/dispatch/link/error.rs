//! What can go wrong with a link, each in one line that ends with the remedy.
//!
//! Also reads the same out of OpenSSH's stderr, whose texts are stable over decades but not promised:
//! what is not recognised is passed on as it is.

use super::Ending;

/// Why a link could not be opened, or ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// No connection came about.
    #[error("cannot reach {host}: {cause}; check that it is up and that `ssh {ssh}` works from here")]
    Unreachable { host: String, ssh: String, cause: String, timed_out: bool },
    /// The host showed a key that nothing here vouches for.
    #[error(
        "{host} is not a known host (its key: {fingerprint}); check that fingerprint, then run `ssh {ssh}` \
         once or put the key into field 8 of the machines file"
    )]
    HostKeyUnknown { host: String, ssh: String, fingerprint: String },
    /// The host showed another key than the one on record.
    #[error("the key of {host} is not the one on record in {place} (it shows {fingerprint}); {remedy}")]
    HostKeyChanged { host: String, fingerprint: String, place: String, remedy: String },
    /// The host showed a key that is marked as revoked.
    #[error("the key of {host} ({fingerprint}) is revoked by {place}; give the host a new key")]
    HostKeyRevoked { host: String, fingerprint: String, place: String },
    /// The host let nobody in.
    #[error("{host} does not let {user} in (it accepts: {methods}; tried: {tried}); {remedy}")]
    Authentication { host: String, user: String, methods: String, tried: String, remedy: String },
    /// The remote program does not exist.
    #[error(
        "{host} has no `{program}` in the PATH of a non-interactive shell ({detail}); install Nix there or set \
         `remote-program` in its store URI"
    )]
    NoNix { host: String, program: String, detail: String },
    /// The remote program ended by itself.
    #[error("`{program}` on {host} ended with {status}: {detail}; run it there by hand to see why")]
    CommandFailed { host: String, program: String, status: String, detail: String },
    /// This machine's own Nix is there but not to be had.
    #[error("cannot use this machine's Nix: {cause}; {remedy}")]
    Home { cause: String, remedy: String },
    /// ssh cannot make sense of its configuration.
    #[error(
        "ssh cannot be asked about {host}: {cause}; fix that in ssh_config, NIX_SSHOPTS or the machines file"
    )]
    Config { host: String, cause: String },
    /// The link ended, with no reason given.
    #[error("the link to {host} is closed; it can be opened again")]
    Closed { host: String },
}

impl LinkError {
    /// Whether trying again later can help without somebody doing something.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self, LinkError::Unreachable { .. } | LinkError::Closed { .. })
    }

    pub(super) fn unreachable(called: &Called, cause: &str, timed_out: bool) -> LinkError {
        let Called { host, ssh, .. } = called.clone();
        LinkError::Unreachable { host, ssh, cause: one_line(cause), timed_out }
    }

    pub(super) fn config(host: &str, cause: &str) -> LinkError {
        LinkError::Config { host: host.to_owned(), cause: one_line(cause) }
    }
}

/// How messages speak of a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Called {
    /// Its name as it was given.
    pub host: String,
    /// Who logs in there.
    pub user: String,
    /// What comes behind `ssh` to get there by hand, in the words of the machines file.
    pub ssh: String,
}

impl Called {
    /// What needs no ssh.
    pub fn local(name: &str) -> Called {
        Called { host: name.to_owned(), user: String::new(), ssh: name.to_owned() }
    }
}

/// What an ended command means.
pub(super) fn of_ending(called: &Called, program: &str, ending: &Ending) -> LinkError {
    if ending.carrier_failed {
        return of_ssh_stderr(called, &ending.stderr);
    }
    let host = &called.host;
    let text = ending.stderr.to_ascii_lowercase();
    let says_missing =
        ["not found", "no such file", "unknown command"].iter().any(|words| text.contains(words));
    let detail = last_lines(&ending.stderr);
    match ending.status {
        Some(status @ (126 | 127)) => {
            let detail = if detail.is_empty() { format!("exit status {status}") } else { detail };
            LinkError::NoNix { host: host.to_owned(), program: program.to_owned(), detail }
        }
        // csh exits with 1 when it finds no such command.
        Some(1..) if says_missing && text.contains("daemon") => {
            LinkError::NoNix { host: host.to_owned(), program: program.to_owned(), detail }
        }
        None if detail.is_empty() => LinkError::Closed { host: host.to_owned() },
        Some(0) if detail.is_empty() => LinkError::Closed { host: host.to_owned() },
        status => LinkError::CommandFailed {
            host: host.to_owned(),
            program: program.to_owned(),
            status: status.map_or("no exit status".to_owned(), |code| format!("exit status {code}")),
            detail: if detail.is_empty() { "it said nothing".to_owned() } else { detail },
        },
    }
}

/// What an ssh process that failed (exit status 255) complains of.
pub(super) fn of_ssh_stderr(called: &Called, stderr: &str) -> LinkError {
    let has = |words: &str| stderr.contains(words);
    let Called { host, user, ssh } = called.clone();
    if has("REMOTE HOST IDENTIFICATION HAS CHANGED") {
        let place = after(stderr, " key in ").unwrap_or("known_hosts").to_owned();
        let fingerprint = after(stderr, "SHA256:").map_or("unknown".to_owned(), fingerprint);
        let remedy = changed_remedy(&ssh, &place);
        return LinkError::HostKeyChanged { host, fingerprint, place, remedy };
    }
    if has("REVOKED HOST KEY") {
        let place = after(stderr, "marked as revoked in ").unwrap_or("known_hosts").to_owned();
        return LinkError::HostKeyRevoked { host, fingerprint: "see `ssh -v`".to_owned(), place };
    }
    if has("Host key verification failed") || has("host key is known for") {
        let fingerprint = after(stderr, "SHA256:").map_or("not shown by ssh".to_owned(), fingerprint);
        return LinkError::HostKeyUnknown { host, ssh, fingerprint };
    }
    if has("Permission denied (") || has("Too many authentication failures") {
        let methods = after(stderr, "Permission denied (").and_then(|rest| rest.split(')').next());
        return LinkError::Authentication {
            user,
            methods: methods.unwrap_or("unknown").to_owned(),
            tried: "what ssh itself tries without asking".to_owned(),
            remedy: auth_remedy(&ssh),
            host,
        };
    }
    let cause = last_lines(stderr);
    let timed_out = cause.contains("timed out") || cause.contains("Timeout, server");
    let cause = if cause.is_empty() { "ssh failed and said nothing" } else { &cause };
    LinkError::unreachable(called, cause, timed_out)
}

/// What to do about a key that is not the one in `place`.
pub(super) fn changed_remedy(ssh: &str, place: &str) -> String {
    match place.rsplit_once(':') {
        Some((file, line)) if line.bytes().all(|byte| byte.is_ascii_digit()) => format!(
            "if the host was reinstalled, remove line {line} from {file} and run `ssh {ssh}` once, else beware"
        ),
        _ => "if the host was reinstalled, put its new key there, else beware".to_owned(),
    }
}

/// What to do where nobody is let in.
pub(super) fn auth_remedy(ssh: &str) -> String {
    format!(
        "make `ssh -o BatchMode=yes {ssh} true` work, by `ssh-copy-id`, `ssh-add` or the ssh key in the machines file"
    )
}

/// The rest of the line after `mark`.
fn after<'a>(text: &'a str, mark: &str) -> Option<&'a str> {
    let rest = &text[text.find(mark)? + mark.len()..];
    rest.lines().next().map(str::trim)
}

fn fingerprint(rest: &str) -> String {
    let hash = rest.split_whitespace().next().unwrap_or_default();
    format!("SHA256:{}", hash.trim_end_matches('.'))
}

/// The last few lines that say something, as one line of at most 300 characters.
pub(super) fn last_lines(text: &str) -> String {
    let mut lines: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        // Not complaints; `-v` in NIX_SSHOPTS gives the latter.
        .filter(|line| !line.starts_with("Warning: Permanently added") && !line.starts_with("debug"))
        .collect();
    let dropped = lines.len().saturating_sub(3);
    lines.drain(..dropped);
    one_line(&lines.join("; "))
}

fn one_line(text: &str) -> String {
    let flat: String = text.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let excess = flat.chars().count().saturating_sub(300);
    if excess == 0 { flat } else { format!("…{}", flat.chars().skip(excess).collect::<String>()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn called() -> Called {
        Called { host: "h".to_owned(), user: "u".to_owned(), ssh: "-p 7 u@h".to_owned() }
    }

    #[test]
    fn openssh_complaints_become_the_same_errors() {
        let changed = "@@@\n@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\nThe fingerprint for the ED25519 key \
                       sent by the remote host is\nSHA256:abc/def.\nOffending ECDSA key in /h/known_hosts:7\n\
                       Host key verification failed.\n";
        let LinkError::HostKeyChanged { fingerprint, place, remedy, .. } = of_ssh_stderr(&called(), changed)
        else {
            panic!("not recognised");
        };
        assert_eq!((fingerprint.as_str(), place.as_str()), ("SHA256:abc/def", "/h/known_hosts:7"));
        assert!(remedy.contains("line 7 from /h/known_hosts"), "{remedy}");

        let unknown = "No ED25519 host key is known for h and you have requested strict checking.\r\n\
                       Host key verification failed.\r\n";
        assert!(matches!(of_ssh_stderr(&called(), unknown), LinkError::HostKeyUnknown { .. }));

        let denied = of_ssh_stderr(&called(), "u@h: Permission denied (publickey,password).\r\n");
        assert!(
            matches!(denied, LinkError::Authentication { methods, .. } if methods == "publickey,password")
        );

        let timeout = of_ssh_stderr(&called(), "ssh: connect to host h port 22: Connection timed out\r\n");
        assert!(matches!(timeout, LinkError::Unreachable { timed_out: true, .. }));
        assert!(timeout.to_string().contains("`ssh -p 7 u@h` works"), "{timeout}");
    }

    #[test]
    fn a_missing_program_is_told_from_a_failing_one() {
        let ending =
            |status, stderr: &str| Ending { status, stderr: stderr.to_owned(), carrier_failed: false };
        let of = |ending| of_ending(&called(), "nix-daemon", &ending);
        assert!(matches!(of(ending(Some(127), "sh: 1: nix-daemon: not found\n")), LinkError::NoNix { .. }));
        assert!(matches!(of(ending(Some(1), "nix-daemon: Command not found.\n")), LinkError::NoNix { .. }));
        assert!(matches!(of(ending(Some(1), "error: no such file /nix\n")), LinkError::CommandFailed { .. }));
        assert!(matches!(of(ending(Some(1), "")), LinkError::CommandFailed { .. }));
        assert!(matches!(of(ending(None, "")), LinkError::Closed { .. }));
    }

    #[test]
    fn every_message_is_one_short_line() {
        let noisy = format!("{}\nlast\u{1b}[31m words\r\n", "x".repeat(5000));
        let message = of_ssh_stderr(&called(), &noisy).to_string();
        assert!(!message.chars().any(char::is_control) && message.chars().count() < 500, "{message}");
    }
}
