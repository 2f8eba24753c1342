//! The Nix worker protocol, client side, over any blocking `Read + Write`.
//!
//! What `nix-daemon --stdio` speaks: versions 1.32 (Nix 2.4) to 1.38 (2.24 and later), Lix's 1.35
//! among them. One request is answered before the next is sent, so N builds at a time need N
//! connections. How the stream comes about (a child process, an ssh channel), time limits on a
//! silent peer and what to do after a failure are the caller's; nothing here decides, retries or waits.
//!
//! Every byte that arrives is distrusted: counts and lengths are bounded, memory is taken only as
//! bytes come in, and what does not fit ends in [`WireError::Protocol`].

mod client;
mod codec;
mod error;
mod frames;
mod nar;
mod ops;
mod result;
mod types;
mod upload;

#[cfg(test)]
mod tests;

pub use client::{Client, Rejected};
pub use error::{RemoteError, WireError};
pub use frames::{Field, LogMessage};
pub use result::{BuildResult, Status};
pub use types::{BasicDerivation, BuildMode, DrvOutput, Missing, PathInfo, SetOptions, Trust, Version};
pub use upload::Upload;
