//! From a host's name to everything needed to connect: what `ssh -G` says, made concrete.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::error::Called;
use super::verify::Accepted;
use super::{LinkError, SshConfig};

/// A builder as the machines file (or the command line) names it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Target {
    /// Name, alias of ssh_config, or address (IPv6 with or without brackets).
    pub host: String,
    pub user: Option<String>,
    pub port: Option<u16>,
    /// The only private key to log in with.
    pub key: Option<PathBuf>,
    /// The only host key to accept: `TYPE BASE64 [comment]`, as in a `.pub` file.
    pub host_key: Option<String>,
    /// What to run there, before `--stdio`; `nix-daemon` where it is empty.
    pub remote_program: Vec<String>,
}

/// How ssh is called: `NIX_SSHOPTS`, as Nix understands it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SshOptions {
    /// The ssh program.
    pub program: PathBuf,
    /// Arguments that go to each call.
    pub args: Vec<String>,
    /// The value as it was given, for handing on to Nix.
    pub raw: String,
}

impl Default for SshOptions {
    fn default() -> SshOptions {
        SshOptions { program: PathBuf::from("ssh"), args: Vec::new(), raw: String::new() }
    }
}

impl SshOptions {
    /// Splits a value of `NIX_SSHOPTS` as a shell would.
    ///
    /// # Errors
    /// A quote that is not closed.
    pub fn parse(raw: &str) -> Result<SshOptions, LinkError> {
        let args = shell_words::split(raw).map_err(|error| {
            LinkError::config("any host", &format!("NIX_SSHOPTS cannot be split: {error}"))
        })?;
        Ok(SshOptions { args, raw: raw.to_owned(), ..SshOptions::default() })
    }

    /// From the environment's `NIX_SSHOPTS`.
    ///
    /// # Errors
    /// As [`SshOptions::parse`].
    pub fn from_env() -> Result<SshOptions, LinkError> {
        SshOptions::parse(&std::env::var("NIX_SSHOPTS").unwrap_or_default())
    }
}

/// What carries the bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// libssh2, in this process.
    Ssh2,
    /// An OpenSSH child process, because of something that libssh2 lacks.
    OpenSsh { why: String },
}

/// A host with everything known that connecting takes. Clones share what is learned by connecting.
#[derive(Clone, Debug)]
pub struct Resolved {
    target: Target,
    options: SshOptions,
    config: SshConfig,
    carrier: Carrier,
    learned: Arc<OnceLock<String>>,
    known_hosts: Vec<PathBuf>,
    identities: Vec<PathBuf>,
    agent: Option<PathBuf>,
}

impl Resolved {
    /// The host's name as it was given.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.target.host
    }

    /// How messages speak of it. A user and a port that only the machines file knows belong into the
    /// command that a remedy names; what ssh's configuration says, ssh finds by itself.
    pub(super) fn called(&self) -> Called {
        let (host, port) = (self.name(), self.target.port);
        let at = self.target.user.as_deref().map_or(host.to_owned(), |user| format!("{user}@{host}"));
        let ssh = port.map_or(at.clone(), |port| format!("-p {port} {at}"));
        Called { host: host.to_owned(), user: self.user().to_owned(), ssh }
    }

    /// The name or address that is connected to.
    #[must_use]
    pub fn hostname(&self) -> &str {
        self.config.hostname().unwrap_or(&self.target.host)
    }

    /// The remote user.
    #[must_use]
    pub fn user(&self) -> &str {
        self.config.user().unwrap_or("root")
    }

    /// The remote port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.config.port()
    }

    /// ssh's settings for this host.
    #[must_use]
    pub fn config(&self) -> &SshConfig {
        &self.config
    }

    /// What the next [`super::open`] uses.
    #[must_use]
    pub fn carrier(&self) -> Carrier {
        match self.learned.get() {
            Some(why) => Carrier::OpenSsh { why: why.clone() },
            None => self.carrier.clone(),
        }
    }

    /// Remembers that libssh2 did not do and OpenSSH did, so that the next slot goes there directly.
    pub(super) fn learn_openssh(&self, why: String) {
        let _ = self.learned.set(why);
    }

    pub(super) fn connect_timeout(&self) -> Option<Duration> {
        self.config.connect_timeout()
    }

    pub(super) fn target(&self) -> &Target {
        &self.target
    }

    pub(super) fn options(&self) -> &SshOptions {
        &self.options
    }

    pub(super) fn identities(&self) -> &[PathBuf] {
        &self.identities
    }

    pub(super) fn agent(&self) -> Option<&Path> {
        self.agent.as_deref()
    }

    /// The keys to accept; read anew each time, for the user may just have added one.
    pub(super) fn accepted(&self) -> Result<Accepted, LinkError> {
        match &self.target.host_key {
            Some(key) => Accepted::pinned(key).map_err(|cause| LinkError::config(self.name(), &cause)),
            None => {
                let alias = self.config.get("hostkeyalias");
                Ok(Accepted::on_record(&self.known_hosts, self.hostname(), self.port(), alias))
            }
        }
    }

    /// The remote program's words.
    pub(super) fn program(&self) -> String {
        match self.target.remote_program.as_slice() {
            [] => "nix-daemon".to_owned(),
            words => shell_words::join(words),
        }
    }

    /// The command line for the remote shell.
    pub(super) fn command(&self) -> String {
        format!("{} --stdio", self.program())
    }
}

/// Arguments for any ssh that is to reach `target`. What the machines file says comes first, since
/// ssh takes the first value of a setting; then the user's `NIX_SSHOPTS`.
pub(super) fn target_args(target: &Target, options: &SshOptions) -> Vec<String> {
    let mut args = Vec::new();
    if let Some(port) = target.port {
        args.extend(["-p".to_owned(), port.to_string()]);
    }
    if let Some(user) = &target.user {
        args.extend(["-l".to_owned(), user.clone()]);
    }
    if let Some(key) = &target.key {
        args.extend([
            "-o".to_owned(),
            "IdentitiesOnly=yes".to_owned(),
            "-i".to_owned(),
            key.display().to_string(),
        ]);
    }
    args.extend(options.args.iter().cloned());
    args
}

/// Asks ssh about a host and decides what will carry its links.
///
/// # Errors
/// ssh is not there or rejects its configuration; the machines file's host key is none.
pub fn resolve(target: &Target, options: &SshOptions) -> Result<Resolved, LinkError> {
    let mut target = target.clone();
    target.host = bare_host(&target.host).to_owned();
    if target.host.is_empty() || target.host.starts_with('-') || target.host.contains(char::is_whitespace) {
        return Err(LinkError::config(&target.host, "that is no host name"));
    }
    let config = SshConfig::parse(&ask_ssh(&target, options)?);
    let mut resolved = Resolved {
        target,
        options: options.clone(),
        config,
        carrier: Carrier::Ssh2,
        learned: Arc::default(),
        known_hosts: Vec::new(),
        identities: Vec::new(),
        agent: None,
    };
    if let Err(why) = make_concrete(&mut resolved) {
        resolved.carrier = Carrier::OpenSsh { why };
    }
    resolved.accepted()?;
    Ok(resolved)
}

fn bare_host(host: &str) -> &str {
    host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host)
}

fn ask_ssh(target: &Target, options: &SshOptions) -> Result<String, LinkError> {
    let output = Command::new(&options.program)
        .args(target_args(target, options))
        .args(["-G", "--", &target.host])
        .stdin(Stdio::null())
        .output()
        .map_err(|error| {
            LinkError::config(&target.host, &format!("{}: {error}", options.program.display()))
        })?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        return Err(LinkError::config(&target.host, &super::error::last_lines(&text)));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Fills in files and agent. `Err` says why only OpenSSH can carry the link.
fn make_concrete(host: &mut Resolved) -> Result<(), String> {
    if let Some(why) = host.config.beyond_libssh2(host.target.host_key.is_some()) {
        return Err(why);
    }
    let home = etcetera::home_dir().map_err(|error| error.to_string())?;
    let expand = |text: &str| {
        expand(text, &home, |token| match token {
            '%' => Some("%".to_owned()),
            'd' => Some(home.display().to_string()),
            'h' => Some(host.hostname().to_owned()),
            'k' => Some(host.config.get("hostkeyalias").unwrap_or(&host.target.host).to_owned()),
            'n' => Some(host.target.host.clone()),
            'p' => Some(host.port().to_string()),
            'r' => Some(host.user().to_owned()),
            'u' => std::env::var("USER").ok(),
            _ => None,
        })
    };
    let known_hosts = host.config.known_hosts_files().map(expand).collect::<Result<Vec<_>, _>>()?;
    let identities = match &host.target.key {
        Some(key) => vec![key.clone()],
        None => host.config.all("identityfile").iter().map(|file| expand(file)).collect::<Result<_, _>>()?,
    };
    let from_env = |name: &str| std::env::var_os(name).filter(|path| !path.is_empty()).map(PathBuf::from);
    let agent = match host.config.all("identityagent").first().map(String::as_str) {
        None | Some("SSH_AUTH_SOCK") => from_env("SSH_AUTH_SOCK"),
        Some("none") => None,
        Some(text) => match text.strip_prefix('$') {
            Some(name) => from_env(name),
            None => Some(expand(text)?),
        },
    };
    host.known_hosts = known_hosts;
    host.identities = identities;
    host.agent = agent;
    let accepted = host.accepted().unwrap_or_default();
    if accepted.has_authority() {
        Err("known_hosts names a certificate authority".to_owned())
    } else {
        Ok(())
    }
}

/// Expands `~/` and `%` tokens. `Err` names what only ssh itself can expand.
fn expand(text: &str, home: &Path, token: impl Fn(char) -> Option<String>) -> Result<PathBuf, String> {
    let text = text.trim_matches('"');
    if text.contains("${") || (text.starts_with('~') && !text.starts_with("~/")) {
        return Err(format!("the path {text} needs ssh itself"));
    }
    let (mut expanded, mut chars) = (String::new(), text.chars());
    while let Some(c) = chars.next() {
        if c != '%' {
            expanded.push(c);
            continue;
        }
        let value = chars.next().and_then(&token);
        expanded.push_str(&value.ok_or_else(|| format!("the path {text} needs ssh itself"))?);
    }
    Ok(match expanded.strip_prefix("~/") {
        Some(rest) => home.join(rest),
        None => PathBuf::from(expanded),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_expanded_or_left_to_ssh() {
        let home = Path::new("/home/u");
        let expand = |text: &str| expand(text, home, |token| (token == 'h').then(|| "build".to_owned()));
        assert_eq!(expand("~/.ssh/id_%h"), Ok(PathBuf::from("/home/u/.ssh/id_build")));
        assert_eq!(expand("/etc/k"), Ok(PathBuf::from("/etc/k")));
        for text in ["~other/k", "/k/${X}", "/k/%C", "/k/%"] {
            assert!(expand(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_machines_file_speaks_before_nix_sshopts() {
        let target = Target {
            port: Some(2222),
            user: Some("u".to_owned()),
            key: Some(PathBuf::from("/a b/key")),
            ..Target::default()
        };
        let options = SshOptions::parse("-p 1 -o 'ProxyCommand nc %h %p'").unwrap();
        assert_eq!(
            target_args(&target, &options),
            [
                "-p",
                "2222",
                "-l",
                "u",
                "-o",
                "IdentitiesOnly=yes",
                "-i",
                "/a b/key",
                "-p",
                "1",
                "-o",
                "ProxyCommand nc %h %p"
            ]
        );
        assert!(SshOptions::parse("-o 'open").is_err());
    }

    #[test]
    fn names_that_ssh_would_take_for_options_are_refused() {
        for host in ["", "-oProxyCommand=x", "a b", "[-x]"] {
            let target = Target { host: host.to_owned(), ..Target::default() };
            assert!(
                matches!(resolve(&target, &SshOptions::default()), Err(LinkError::Config { .. })),
                "{host}"
            );
        }
    }
}
