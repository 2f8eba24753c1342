//! A connection to a host's Nix that is ready for work: link, handshake and the checks in between.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crossbeam::channel::{RecvTimeoutError, bounded};

use super::link::{self, Gate, Interrupt, Link, LinkError, LocalNix, Resolved, SshOptions, Target};
use crate::nix::wire::{Client, Rejected, Trust, WireError};

/// At most so many handshakes at a time per host: sshd begins to drop them at ten (`MaxStartups`).
const HANDSHAKES: usize = 4;

/// How long a daemon may take to answer the first greeting: nobody else could end such a wait.
const PATIENCE: Duration = Duration::from_secs(30);

/// How a host is reached. What `ssh -G` says is asked once and kept.
pub struct Access {
    name: String,
    how: How,
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
        Self { name: "local".to_owned(), how: How::Local(how) }
    }

    /// A builder behind ssh.
    pub fn ssh(name: &str, target: Target, options: SshOptions) -> Self {
        let how = How::Ssh { target, options, resolved: Mutex::new(None), gate: Gate::new(HANDSHAKES) };
        Self { name: name.to_owned(), how }
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
        let link = match (&self.how, self.resolved()?) {
            (How::Ssh { gate, .. }, Some(resolved)) => link::open(&resolved, timeout, gate)?,
            (How::Local(how), _) => link::open_local(how)?,
            (How::Ssh { .. }, None) => unreachable!("an ssh host is resolved to something"),
        };
        self.shake_hands(link)
    }

    /// Makes a session of a link to this host, after the same checks.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn shake_hands(&self, link: Link) -> Result<Session, Trouble> {
        let interrupt = link.interrupt();
        let (done, over) = bounded::<()>(0);
        let watched = interrupt.clone();
        std::thread::spawn(move || {
            if over.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
                watched.fire();
            }
        });
        let answer = Client::try_handshake(link);
        drop(done);
        let client = answer.map_err(|failed| match interrupt.fired() {
            true => self.silent(),
            false => self.explain_handshake(*failed),
        })?;
        if client.trust() == Trust::Untrusted && !self.is_local() {
            return Err(self.untrusted());
        }
        Ok(Session { client, interrupt })
    }

    fn silent(&self) -> Trouble {
        let seconds = PATIENCE.as_secs();
        let text = format!(
            "{}: its Nix daemon did not answer within {seconds} s; see what holds it up there",
            self.name
        );
        Trouble { passing: true, text }
    }

    fn explain_handshake(&self, failed: Rejected<Link>) -> Trouble {
        let name = &self.name;
        match failed.error {
            WireError::Unsupported { found, needed, .. } => Trouble {
                passing: false,
                text: format!(
                    "{name} runs a Nix that speaks protocol {found}, but {needed} is needed; install Nix 2.4 or \
                     later there"
                ),
            },
            WireError::Io { .. } | WireError::Closed { .. } => {
                let mut stream = failed.stream;
                stream.diagnose().into()
            }
            other => Trouble {
                passing: false,
                text: format!("{name} does not answer like a Nix daemon: {other}; check `remote-program`"),
            },
        }
    }

    fn untrusted(&self) -> Trouble {
        let user = self.resolved().ok().flatten().map_or_else(String::new, |r| r.user().to_owned());
        Trouble {
            passing: false,
            text: format!(
                "{}: its Nix does not trust the user '{user}', who may neither build nor copy unsigned paths; \
                 add `extra-trusted-users = {user}` to /etc/nix/nix.conf there and restart its nix-daemon",
                self.name
            ),
        }
    }
}

impl From<LinkError> for Trouble {
    fn from(error: LinkError) -> Self {
        Self { passing: error.is_transient(), text: error.to_string() }
    }
}

impl std::fmt::Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}
