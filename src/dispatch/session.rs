//! A connection to a host's Nix that is ready for work: link, handshake and the checks in between.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::cores;
use super::link::{
    self, Gate, Interrupt, Link, LinkError, LocalNix, Resolved, SshOptions, Steps, Target, user_name,
};
use super::patience::Patience;
use crate::base::Span;
use crate::nix::wire::{Client, Rejected, Trust, WireError};

/// At most so many handshakes at a time per host: sshd begins to drop them at ten (`MaxStartups`).
const HANDSHAKES: usize = 4;

/// How a host is reached. What `ssh -G` says is asked once and kept.
pub struct Access {
    name: String,
    how: How,
    patience: Patience,
    /// Whether its number of processors was asked for.
    asked: AtomicBool,
}

enum How {
    Local(LocalNix),
    Ssh { target: Target, options: SshOptions, resolved: Mutex<Option<Arc<Resolved>>>, gate: Gate },
}

/// Why a host cannot be worked with, in one line that ends with the remedy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// Whether another try may go better without anybody doing anything.
    pub passing: bool,
    /// Whether nobody answered for as long as can be waited: whatever else is asked of the host, it
    /// would wait in vain, too.
    pub silent: bool,
    /// What to tell the user.
    pub text: String,
}

/// A connected client.
pub struct Session {
    /// The worker protocol over the link.
    pub client: Client<Link>,
    /// Ends the link from another thread.
    pub interrupt: Interrupt,
}

impl Access {
    /// This machine's Nix.
    pub fn local(how: LocalNix) -> Self {
        Self {
            name: "local".to_owned(),
            how: How::Local(how),
            patience: Patience::default(),
            asked: AtomicBool::new(false),
        }
    }

    /// A builder behind ssh.
    pub fn ssh(name: &str, target: Target, options: SshOptions) -> Self {
        let how = How::Ssh { target, options, resolved: Mutex::new(None), gate: Gate::new(HANDSHAKES) };
        Self { name: name.to_owned(), how, patience: Patience::default(), asked: AtomicBool::new(false) }
    }

    /// The same host, with other limits on its daemon's silence.
    #[must_use]
    pub fn with_patience(self, patience: Patience) -> Self {
        Self { patience, ..self }
    }

    /// How long its daemon may be silent.
    pub fn patience(&self) -> Patience {
        self.patience
    }

    /// The host's name in this run.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether this is this machine.
    pub fn is_local(&self) -> bool {
        matches!(self.how, How::Local(_))
    }

    /// What the user's ssh configuration makes of the host; `None` for this machine.
    ///
    /// # Errors
    /// ssh cannot make sense of its configuration.
    pub fn resolved(&self) -> Result<Option<Arc<Resolved>>, Trouble> {
        let How::Ssh { target, options, resolved, .. } = &self.how else { return Ok(None) };
        let mut slot = resolved.lock().unwrap_or_else(PoisonError::into_inner);
        if slot.is_none() {
            *slot = Some(Arc::new(link::resolve(target, options)?));
        }
        Ok(slot.clone())
    }

    /// Connects, shakes hands and checks that the host will do what this program asks of it.
    ///
    /// # Errors
    /// One line of what is wrong and what to do.
    pub fn open(&self, timeout: Option<Duration>) -> Result<Session, Trouble> {
        self.open_by(|resolved, gate| link::open(resolved, timeout, gate))
    }

    /// As [`Self::open`], for a host that was there a moment ago.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_again(&self, steps: Steps) -> Result<Session, Trouble> {
        self.open_by(|resolved, gate| link::open_within(resolved, steps, gate))
    }

    fn open_by(
        &self,
        open: impl FnOnce(&Resolved, &Gate) -> Result<Link, LinkError>,
    ) -> Result<Session, Trouble> {
        let began = Instant::now();
        let link = match (&self.how, self.resolved()?) {
            (How::Ssh { gate, .. }, Some(resolved)) => open(&resolved, gate)?,
            (How::Local(how), _) => link::open_local(how)?,
            (How::Ssh { .. }, None) => unreachable!("an ssh host is resolved to something"),
        };
        let session = self.shake_hands(link);
        let (host, took) = (&self.name, Span::from(began.elapsed()));
        match &session {
            Ok(Session { client, .. }) => tracing::debug!(
                "connected to {host} in {took}: {}, protocol {}, {:?}",
                client.nix_version().unwrap_or("a Nix that does not say its version"),
                client.protocol(),
                client.trust()
            ),
            Err(trouble) => tracing::debug!("{host} is not to be had after {took}: {trouble}"),
        }
        session
    }

    /// Whether the daemon of this machine trusts the user, for whom it is a short question; who opens
    /// the store without one is not asked. [`Trust::Unknown`] of a builder.
    ///
    /// # Errors
    /// The daemon is not to be had.
    pub fn home_trust(&self) -> Result<Trust, Trouble> {
        match &self.how {
            How::Local(how) if how.socket()?.is_some() => Ok(self.open(None)?.client.trust()),
            How::Local(_) => Ok(Trust::Trusted),
            How::Ssh { .. } => Ok(Trust::Unknown),
        }
    }

    /// Whether nobody has asked for its processors; the one who hears so does.
    pub(super) fn first_to_ask(&self) -> bool {
        !self.asked.swap(true, Ordering::Relaxed)
    }

    /// Lets somebody ask again.
    pub(super) fn ask_again(&self) {
        self.asked.store(false, Ordering::Relaxed);
    }

    /// How many processors the host has, asked over a connection of its own; `None` where that cannot be
    /// asked. Takes a while, and longest where nothing but Nix may be run.
    ///
    /// # Errors
    /// The host cannot be connected to.
    pub fn processors(&self, timeout: Option<Duration>) -> Result<Option<u32>, Trouble> {
        match self.resolved()? {
            Some(resolved) => {
                Ok(cores::count(&link::ask(&resolved, cores::COMMAND, timeout, cores::PATIENCE)?))
            }
            None => Ok(std::thread::available_parallelism().ok().and_then(|n| u32::try_from(n.get()).ok())),
        }
    }

    /// Makes a session of a link to this host, after the same checks.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn shake_hands(&self, mut link: Link) -> Result<Session, Trouble> {
        let interrupt = link.interrupt();
        link.set_patience(Some(self.patience.greeting));
        let mut client = Client::try_handshake(link).map_err(|failed| self.explain_handshake(*failed))?;
        if client.trust() == Trust::Untrusted && !self.is_local() {
            return Err(self.untrusted());
        }
        client.get_mut().set_patience(Some(self.patience.asking));
        Ok(Session { client, interrupt })
    }

    fn explain_handshake(&self, failed: Rejected<Link>) -> Trouble {
        let name = &self.name;
        match failed.error {
            error if error.is_silence() => Trouble::silent(format!(
                "{name}: its Nix daemon did not answer within {} s; see what holds it up there",
                self.patience.greeting.as_secs_f32()
            )),
            WireError::Unsupported { found, needed, .. } => Trouble::lasting(format!(
                "{name} runs a Nix that speaks protocol {found}, but {needed} is needed; install Nix 2.4 or \
                 later there"
            )),
            WireError::Io { .. } | WireError::Closed { .. } => {
                let mut stream = failed.stream;
                match stream.diagnose() {
                    // Who may not connect is not told so.
                    LinkError::Closed { .. } if self.is_local() && !stream.interrupt().fired() => {
                        Trouble::lasting(hung_up())
                    }
                    cause => cause.into(),
                }
            }
            other => Trouble::lasting(format!(
                "{name} does not answer like a Nix daemon: {other}; check `remote-program`"
            )),
        }
    }

    fn untrusted(&self) -> Trouble {
        let user = self.resolved().ok().flatten().map_or_else(String::new, |r| r.user().to_owned());
        Trouble::lasting(format!(
            "{}: its Nix does not trust the user '{user}', who may neither build nor copy unsigned paths; \
             add `extra-trusted-users = {user}` to /etc/nix/nix.conf there and restart its nix-daemon",
            self.name
        ))
    }
}

fn hung_up() -> String {
    let user = user_name();
    format!(
        "cannot use this machine's Nix: its nix-daemon hung up on the user '{user}'; if that user is not among \
         `allowed-users` in /etc/nix/nix.conf, add it there and restart the nix-daemon"
    )
}

impl Trouble {
    /// It may pass by itself.
    pub fn passing(text: impl Into<String>) -> Self {
        Self { passing: true, silent: false, text: text.into() }
    }

    /// Somebody has to do something about it.
    pub fn lasting(text: impl Into<String>) -> Self {
        Self { passing: false, silent: false, text: text.into() }
    }

    /// Nobody answered.
    pub fn silent(text: impl Into<String>) -> Self {
        Self { passing: true, silent: true, text: text.into() }
    }

    /// What an operation that ended in an error says about its host.
    pub fn of(host: &str, error: &WireError) -> Self {
        match error {
            error if error.is_silence() => {
                Self::silent(format!("{host}: {error}; see what holds its nix-daemon up there"))
            }
            error => Self { passing: error.is_connection(), silent: false, text: format!("{host}: {error}") },
        }
    }
}

impl From<LinkError> for Trouble {
    fn from(error: LinkError) -> Self {
        let silent = matches!(error, LinkError::Unreachable { timed_out: true, .. });
        Self { passing: error.is_transient(), silent, text: error.to_string() }
    }
}

impl std::fmt::Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}
