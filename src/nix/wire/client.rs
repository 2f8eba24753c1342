//! A connection: greeting, and the way every request goes.

use std::fmt;
use std::io::{BufReader, Read, Write};

use super::codec::{Decoder, Encoder};
use super::error::{Fault, WireError, malformed};
use super::frames::{self, LogMessage};
use super::types::{Trust, Version};

const CLIENT_MAGIC: u64 = 0x6e69_7863;
const SERVER_MAGIC: u64 = 0x6478_696f;
/// Nix 2.4.
const OLDEST: Version = Version::new(1, 32);
/// What is declared. 1.38 only adds a set of feature names, none of which is needed here.
const OURS: Version = Version::new(1, 37);
const GREETING: &str = "greeting";

/// A connection to a Nix daemon, on which one operation runs at a time.
pub struct Client<S> {
    pub(super) input: Decoder<BufReader<S>>,
    version: Version,
    nix_version: Option<String>,
    trust: Trust,
    usable: bool,
}

/// A stream at whose other end nobody speaks the protocol as it should be.
#[derive(Debug)]
pub struct Rejected<S> {
    /// The stream.
    pub stream: S,
    /// What went wrong.
    pub error: WireError,
}

impl<S: Read + Write> Client<S> {
    /// Greets the daemon at the other end of `stream`.
    ///
    /// # Errors
    /// [`WireError::Unsupported`] for a Nix older than 2.4, [`WireError::Protocol`] with what was read
    /// for something that is no Nix daemon, [`WireError::Remote`] when the daemon refuses us.
    pub fn handshake(stream: S) -> Result<Self, WireError> {
        Self::try_handshake(stream).map_err(|rejected| rejected.error)
    }

    /// As [`Self::handshake`], but a failure gives the stream back, for its last words.
    ///
    /// # Errors
    /// As [`Self::handshake`].
    pub fn try_handshake(stream: S) -> Result<Self, Box<Rejected<S>>> {
        let input = Decoder::new(BufReader::with_capacity(64 << 10, stream));
        let (version, nix_version, trust) = (OURS, None, Trust::Unknown);
        let mut client = Self { input, version, nix_version, trust, usable: true };
        match client.greet() {
            Ok(()) => Ok(client),
            Err(error) => Err(Box::new(Rejected { stream: client.into_inner(), error })),
        }
    }

    fn greet(&mut self) -> Result<(), WireError> {
        let found = greet(&mut self.input).map_err(|fault| fault.during(GREETING))?;
        if found.major != OLDEST.major || found < OLDEST {
            return Err(WireError::Unsupported {
                found,
                needed: "1.32 or a later 1.x (Nix 2.4 or later)",
                what: "this program",
            });
        }
        self.version = found.min(OURS);
        self.introduce().map_err(|fault| fault.during(GREETING))
    }

    fn introduce(&mut self) -> Result<(), Fault> {
        let mut hello = Encoder::default();
        // After the version: no CPU affinity, no reserved space, both long obsolete.
        hello.u64(self.version.to_word()).bool(false).bool(false);
        send(&mut self.input, &hello.finish())?;
        if self.version >= Version::new(1, 33) {
            self.nix_version = Some(self.input.text("the Nix version")?);
        }
        if self.version >= Version::new(1, 35) {
            self.trust = match self.input.u64()? {
                0 => Trust::Unknown,
                1 => Trust::Trusted,
                2 => Trust::Untrusted,
                n => return malformed(format!("the trust level {n}")),
            };
        }
        frames::until_done(&mut self.input, &mut |_| ())
    }

    /// One operation: the request, the daemon's log, the answer.
    pub(super) fn call<T>(
        &mut self,
        during: &'static str,
        request: Encoder,
        log: &mut dyn FnMut(LogMessage),
        answer: impl FnOnce(&mut Decoder<BufReader<S>>) -> Result<T, Fault>,
    ) -> Result<T, WireError> {
        self.guarded(during, |client| {
            send(&mut client.input, &request.finish())?;
            frames::until_done(&mut client.input, log)?;
            answer(&mut client.input)
        })
    }

    /// Runs `exchange` unless the connection is out of step, and notes whether it is afterwards.
    pub(super) fn guarded<T>(
        &mut self,
        during: &'static str,
        exchange: impl FnOnce(&mut Self) -> Result<T, Fault>,
    ) -> Result<T, WireError> {
        if !self.usable {
            return Err(WireError::Unusable { during });
        }
        // Stays so should a log callback panic half-way through an answer.
        self.usable = false;
        let outcome = exchange(self);
        self.usable = match &outcome {
            Ok(_) => true,
            Err(fault) => fault.keeps_step(),
        };
        outcome.map_err(|fault| fault.during(during))
    }
}

impl<S> Client<S> {
    /// The protocol version in use: the lower of both sides'.
    pub fn protocol(&self) -> Version {
        self.version
    }

    /// The daemon's version as it calls itself (since Nix 2.5).
    pub fn nix_version(&self) -> Option<&str> {
        self.nix_version.as_deref()
    }

    /// Whether the daemon trusts us.
    pub fn trust(&self) -> Trust {
        self.trust
    }

    /// Whether a further operation can be tried.
    pub fn is_usable(&self) -> bool {
        self.usable
    }

    /// The stream.
    pub fn get_ref(&self) -> &S {
        self.input.get_ref().get_ref()
    }

    /// The stream, for what is outside the protocol.
    pub fn get_mut(&mut self) -> &mut S {
        self.input.get_mut().get_mut()
    }

    /// The stream, without what was read ahead.
    pub fn into_inner(self) -> S {
        self.input.into_inner().into_inner()
    }
}

impl<S> fmt::Debug for Client<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("version", &self.version)
            .field("nix_version", &self.nix_version)
            .field("trust", &self.trust)
            .field("usable", &self.usable)
            .finish_non_exhaustive()
    }
}

/// Writes a whole request and flushes it.
pub(super) fn send<S: Read + Write>(input: &mut Decoder<BufReader<S>>, bytes: &[u8]) -> Result<(), Fault> {
    let stream = input.get_mut().get_mut();
    stream.write_all(bytes)?;
    stream.flush()?;
    Ok(())
}

/// Both magic numbers, and the daemon's version.
fn greet<S: Read + Write>(input: &mut Decoder<BufReader<S>>) -> Result<Version, Fault> {
    send(input, &CLIENT_MAGIC.to_le_bytes())?;
    let magic = input.u64()?;
    if magic != SERVER_MAGIC {
        // Usually a login message; what came with it says more than eight bytes do.
        let mut start = magic.to_le_bytes().to_vec();
        start.extend(input.get_ref().buffer().iter().take(120));
        return malformed(format!(
            "no Nix daemon there; it begins with '{}' (does a shell start-up file print something?)",
            start.escape_ascii()
        ));
    }
    let word = input.u64()?;
    Version::from_word(word).map_or_else(|| malformed(format!("the version {word:#x}")), Ok)
}
