//! Byte streams to hosts: something that speaks the worker protocol is running at the other end.
//!
//! [`resolve`] asks `ssh -G` what the user's configuration makes of a host, [`open`] connects,
//! verifies the host key, authenticates and starts `nix-daemon --stdio`; [`open_local`] does the like
//! for this machine. [`Master`] keeps one OpenSSH connection per host for `nix copy`. What is said
//! over the stream, and when a lost host is tried again, is decided elsewhere.
//!
//! libssh2 carries the stream where it can; where the user's configuration needs what it lacks
//! (jump hosts, certificates, hardware keys), an OpenSSH child process carries the same bytes.

mod auth;
mod child;
mod cipher;
mod config;
mod error;
mod gate;
mod keyfile;
mod known_hosts;
mod local;
mod master;
mod openssh;
mod resolve;
mod ssh2_carrier;
mod verify;

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

pub use config::SshConfig;
use error::Called;
pub use error::LinkError;
pub use gate::Gate;
pub use local::{LocalNix, open_local, user_name};
pub use master::Master;
pub use resolve::{Carrier, Resolved, SshOptions, Target, resolve};

/// How long connecting may take where neither the caller nor ssh's `ConnectTimeout` says.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long [`Link::diagnose`] waits for the far side's last words.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// How much of a command's stderr is kept, from its end, in bytes.
const STDERR_KEPT: usize = 8 * 1024;

/// A byte stream to a host. Reads block until there is something, writes until it is taken.
pub trait Stream: Read + Write + Send {
    /// Tells the far side that this one lives, and learns whether it does; for a link that is idle.
    ///
    /// # Errors
    /// The link is gone.
    fn keep_alive(&mut self) -> io::Result<()>;

    /// How the far command ended and what it said, waiting at most `wait` for that.
    fn ending(&mut self, wait: Duration) -> Ending;

    /// How long one read or write may wait without a byte; `None` for ever. It then ends with
    /// [`silence`].
    fn set_patience(&mut self, limit: Option<Duration>);
}

/// The error of a call that waited in vain for as long as it may.
fn silence(limit: Duration) -> io::Error {
    let text = format!("no byte in either direction for {} s", limit.as_secs_f32());
    io::Error::new(io::ErrorKind::TimedOut, text)
}

/// How the command at the far end came to its end, as far as that is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ending {
    /// The exit status, where the command exited.
    pub status: Option<i32>,
    /// The last of what it wrote to stderr.
    pub stderr: String,
    /// The carrying ssh itself failed (the status is ssh's own, the stderr too).
    pub carrier_failed: bool,
}

/// A stream with `nix-daemon --stdio` (or this machine's daemon socket) at its far end.
pub struct Link {
    stream: Box<dyn Stream>,
    interrupt: Interrupt,
    called: Called,
    program: String,
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link")
            .field("host", &self.called.host)
            .field("program", &self.program)
            .finish_non_exhaustive()
    }
}

impl Link {
    fn new(stream: Box<dyn Stream>, interrupt: Interrupt, called: Called, program: &str) -> Link {
        Link { stream, interrupt, called, program: program.to_owned() }
    }

    /// A handle with which any thread can end this link.
    #[must_use]
    pub fn interrupt(&self) -> Interrupt {
        self.interrupt.clone()
    }

    /// Sends a keep-alive over an idle link. A blocked read sends its own, so this is for a link
    /// that nobody reads from. It also answers what sshd asked meanwhile, so it has to come oftener than
    /// `ClientAliveInterval × ClientAliveCountMax`; every 15 s or so does.
    ///
    /// # Errors
    /// The link is gone.
    pub fn keep_alive(&mut self) -> io::Result<()> {
        self.stream.keep_alive()
    }

    /// Limits how long a read or write may wait without a byte; `None` for no limit, as at first. A
    /// call that waited in vain ends with [`io::ErrorKind::TimedOut`], and nothing can be said over the
    /// link after that. What only keeps the connection alive is no byte.
    pub fn set_patience(&mut self, limit: Option<Duration>) {
        self.stream.set_patience(limit);
    }

    /// The last of what the far command wrote to stderr; waits briefly for it.
    pub fn stderr_tail(&mut self) -> String {
        self.stream.ending(LAST_WORDS).stderr
    }

    /// Why the far side ended: to be called when the protocol met an end of stream or an error.
    /// Waits at most 2 s for the exit status and stderr.
    pub fn diagnose(&mut self) -> LinkError {
        if self.interrupt.fired() {
            return LinkError::Closed { host: self.called.host.clone() };
        }
        let ending = self.stream.ending(LAST_WORDS);
        error::of_ending(&self.called, &self.program, &ending)
    }
}

impl Read for Link {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.stream.read(buf)
    }
}

impl Write for Link {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.stream.write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

/// Ends a link from any thread: a blocked read or write returns an error at once.
#[derive(Clone)]
pub struct Interrupt(Arc<Wire>);

struct Wire {
    fired: AtomicBool,
    end: End,
}

/// What has to be cut so that a blocked call returns.
enum End {
    Tcp(TcpStream),
    Unix(UnixStream),
    /// The wake socket that the stream polls beside the pipes.
    Child {
        wake: UnixStream,
        child: child::Shared,
    },
}

impl Interrupt {
    fn new(end: End) -> Interrupt {
        Interrupt(Arc::new(Wire { fired: AtomicBool::new(false), end }))
    }

    /// Ends the link. Doing it twice does nothing.
    pub fn fire(&self) {
        if self.0.fired.swap(true, Ordering::SeqCst) {
            return;
        }
        // A failure means that the other end is gone already, which is what is wanted.
        match &self.0.end {
            End::Tcp(tcp) => drop(tcp.shutdown(Shutdown::Both)),
            End::Unix(unix) => drop(unix.shutdown(Shutdown::Both)),
            End::Child { wake, child } => {
                drop(wake.shutdown(Shutdown::Both));
                child.terminate();
            }
        }
    }

    /// Whether [`fire`](Interrupt::fire) was called.
    #[must_use]
    pub fn fired(&self) -> bool {
        self.0.fired.load(Ordering::SeqCst)
    }

    /// The error of a call that was interrupted.
    fn error() -> io::Error {
        io::Error::new(io::ErrorKind::ConnectionAborted, "the link was ended from this side")
    }
}

impl std::fmt::Debug for Interrupt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Interrupt").field("fired", &self.fired()).finish_non_exhaustive()
    }
}

/// Connects to a host and starts its Nix there.
///
/// `timeout` bounds each step (connecting to one address, the handshake, one authentication); where it
/// is `None`, ssh's `ConnectTimeout` counts, else [`DEFAULT_TIMEOUT`]. `gate` is the host's, shared by
/// its slots.
///
/// # Errors
/// One [`LinkError`], which says what to do. A remote program that does not exist shows only at the
/// first read: see [`Link::diagnose`].
pub fn open(host: &Resolved, timeout: Option<Duration>, gate: &Gate) -> Result<Link, LinkError> {
    let timeout = timeout.or(host.connect_timeout()).unwrap_or(DEFAULT_TIMEOUT);
    open_within(host, Steps { connect: timeout, each: timeout }, gate)
}

/// How long opening a link may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Steps {
    /// For the host's kernel to take the connection, which it does however busy the host is. Where
    /// OpenSSH carries the link `each` counts in its place, since its `ConnectTimeout` is for both.
    pub connect: Duration,
    /// For each step after that, which are its sshd's.
    pub each: Duration,
}

/// As [`open`], with a limit of its own for the first step.
///
/// # Errors
/// As [`open`].
pub fn open_within(host: &Resolved, steps: Steps, gate: &Gate) -> Result<Link, LinkError> {
    let _pass = gate.enter();
    open_command(host, &host.command(), steps)
}

/// Runs a command of a remote shell over a connection of its own; what it wrote to its stdout, the first
/// few kilobytes of it. Nothing may wait for this: where sshd runs another command than it is asked for,
/// that one may say nothing for as long as `patience`.
///
/// # Errors
/// As [`open`]; or the link broke, or nothing came in time.
pub fn ask(
    host: &Resolved,
    command: &str,
    timeout: Option<Duration>,
    patience: Duration,
) -> Result<String, LinkError> {
    const LONGEST: u64 = 4096;
    let timeout = timeout.or(host.connect_timeout()).unwrap_or(DEFAULT_TIMEOUT);
    let mut link = open_command(host, command, Steps { connect: timeout, each: timeout })?;
    link.set_patience(Some(patience));
    let mut said = Vec::new();
    let read = Read::by_ref(&mut link).take(LONGEST).read_to_end(&mut said);
    read.map_err(|error| {
        LinkError::unreachable(&host.called(), &error.to_string(), error.kind() == io::ErrorKind::TimedOut)
    })?;
    Ok(String::from_utf8_lossy(&said).into_owned())
}

fn open_command(host: &Resolved, command: &str, steps: Steps) -> Result<Link, LinkError> {
    if let Carrier::OpenSsh { why } = host.carrier() {
        tracing::debug!(host = host.name(), why, "an OpenSSH process carries the link");
        return openssh::open(host, command, steps.each);
    }
    match ssh2_carrier::open(host, command, steps) {
        Ok(link) => Ok(link),
        Err(ssh2_carrier::Failure::Error(error)) => Err(error),
        Err(ssh2_carrier::Failure::Beyond(why)) => {
            tracing::debug!(host = host.name(), why, "an OpenSSH process takes over the link");
            let link = openssh::open(host, command, steps.each)?;
            host.learn_openssh(why);
            Ok(link)
        }
    }
}
