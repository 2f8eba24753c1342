//! What can go wrong on the wire, told apart by what the caller can do about it.

use std::fmt;
use std::io;

use super::types::Version;

/// A failed operation.
///
/// After [`Remote`](Self::Remote), the client can go on ([`Client::is_usable`](super::Client::is_usable)
/// has the last word). After everything else but a failed upload source it is out of step with the
/// daemon, and the connection has to be dropped.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// Reading or writing the stream failed.
    #[error("the connection to the Nix daemon failed while {during}: {source}")]
    Io {
        /// What was being done.
        during: &'static str,
        /// The stream's error.
        source: io::Error,
    },
    /// The stream ended in the middle of an exchange.
    #[error("the Nix daemon closed the connection while {during}")]
    Closed {
        /// What was being done.
        during: &'static str,
    },
    /// The daemon understood the request and says no.
    #[error("{0}")]
    Remote(RemoteError),
    /// Bytes that are not this protocol.
    #[error("the Nix daemon's answer makes no sense while {during}: {what}")]
    Protocol {
        /// What was being done.
        during: &'static str,
        /// What is wrong with the bytes.
        what: String,
    },
    /// The other side is too old (or too new) for this program, or for this operation.
    #[error("the Nix daemon speaks protocol {found}, but {what} needs {needed}")]
    Unsupported {
        /// What the daemon speaks.
        found: Version,
        /// What would have been needed.
        needed: &'static str,
        /// What for.
        what: &'static str,
    },
    /// The reader or writer that the caller passed in failed, not the connection.
    #[error("{what}: {source}")]
    Local {
        /// What was read or written.
        what: String,
        /// The reader's or writer's error.
        source: io::Error,
    },
    /// An earlier operation left the connection out of step.
    #[error("not {during}: an earlier failure made this connection unusable; open a new one")]
    Unusable {
        /// What was asked for.
        during: &'static str,
    },
}

impl WireError {
    /// Whether the other side said nothing for as long as the stream waits.
    pub fn is_silence(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::TimedOut)
    }

    /// Whether an upload met a path that somebody else had brought since it was found missing: old daemons
    /// (of Nix 2.8, for one) then take its contents for what comes next (NixOS/nix#6253).
    pub fn is_overtaken(&self) -> bool {
        // There are colours between the words.
        let all =
            |text: &str| ["not an absolute path", "nix-archive-1"].iter().all(|words| text.contains(words));
        matches!(self, Self::Remote(error) if all(&error.message))
    }

    /// Whether the connection is at fault, rather than the request: another connection may do better.
    pub fn is_connection(&self) -> bool {
        match self {
            Self::Io { .. } | Self::Closed { .. } | Self::Protocol { .. } | Self::Unusable { .. } => true,
            Self::Remote(_) | Self::Unsupported { .. } | Self::Local { .. } => false,
        }
    }
}

/// The daemon's own error, as it sent it (terminal colours included).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RemoteError {
    /// Nix's verbosity level of the message; 0 is an error.
    pub level: u64,
    /// The message, possibly many lines.
    pub message: String,
    /// "while …" lines, innermost first as Nix sends them.
    pub traces: Vec<String>,
}

impl fmt::Display for RemoteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message.trim_end())
    }
}

impl std::error::Error for RemoteError {}

/// An error before it is known which operation it ended.
#[derive(Debug)]
pub(super) enum Fault {
    /// The stream failed or ended (`UnexpectedEof`).
    Stream(io::Error),
    /// Malformed bytes.
    Malformed(String),
    /// The daemon's error, after which it reads the next request.
    Remote(RemoteError),
    /// The daemon's error, after which it hangs up.
    LastWords(RemoteError),
    /// The caller's reader or writer failed; whether client and daemon are still in step.
    Local { what: String, source: io::Error, in_step: bool },
}

impl Fault {
    /// Whether the next request may follow on the same connection.
    pub(super) fn keeps_step(&self) -> bool {
        match self {
            Self::Remote(_) => true,
            Self::Local { in_step, .. } => *in_step,
            Self::Stream(_) | Self::Malformed(_) | Self::LastWords(_) => false,
        }
    }

    /// The error as the caller sees it.
    pub(super) fn during(self, during: &'static str) -> WireError {
        match self {
            Self::Stream(source) => match source.kind() {
                // Which of these a hang-up shows as depends on who was about to speak.
                io::ErrorKind::UnexpectedEof | io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => {
                    WireError::Closed { during }
                }
                _ => WireError::Io { during, source },
            },
            Self::Malformed(what) => WireError::Protocol { during, what },
            Self::Remote(error) | Self::LastWords(error) => WireError::Remote(error),
            Self::Local { what, source, .. } => WireError::Local { what, source },
        }
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Stream(error)
    }
}

/// Shorthand for malformed bytes.
pub(super) fn malformed<T>(what: impl Into<String>) -> Result<T, Fault> {
    Err(Fault::Malformed(what.into()))
}
