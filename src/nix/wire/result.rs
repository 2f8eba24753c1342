//! How a build went, as the daemon reports it.

use std::io::BufRead;

use serde::Deserialize;

use super::codec::Decoder;
use super::error::{Fault, malformed};
use super::types::Version;

/// The outcome of building one derivation. A failed build is an outcome, not an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildResult {
    /// What happened.
    pub status: Status,
    /// The daemon's explanation, empty on success.
    pub error_msg: String,
    /// How many times it was built (more than once when checking).
    pub times_built: u64,
    /// Built more than once with different results.
    pub non_deterministic: bool,
    /// When the build began by the daemon's clock, in seconds since 1970; 0 if nothing was built.
    pub start_time: u64,
    /// When it ended, likewise.
    pub stop_time: u64,
    /// User CPU time in microseconds, where the daemon measures it (protocol 1.37, with cgroups).
    pub cpu_user: Option<u64>,
    /// System CPU time in microseconds, likewise.
    pub cpu_system: Option<u64>,
    /// Output names with their store paths, as far as the daemon tells; empty on failure.
    pub built_outputs: Vec<(String, String)>,
}

/// Nix's build status codes, under Nix's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    Built,
    Substituted,
    AlreadyValid,
    PermanentFailure,
    InputRejected,
    /// Includes a hash mismatch of a fixed output.
    OutputRejected,
    TransientFailure,
    CachedFailure,
    TimedOut,
    MiscFailure,
    DependencyFailed,
    LogLimitExceeded,
    NotDeterministic,
    ResolvesToAlreadyValid,
    NoSubstituters,
    /// A code that this program does not know: taken as a failure.
    Unknown(u64),
}

/// In the order of their codes.
const CODES: [Status; 15] = [
    Status::Built,
    Status::Substituted,
    Status::AlreadyValid,
    Status::PermanentFailure,
    Status::InputRejected,
    Status::OutputRejected,
    Status::TransientFailure,
    Status::CachedFailure,
    Status::TimedOut,
    Status::MiscFailure,
    Status::DependencyFailed,
    Status::LogLimitExceeded,
    Status::NotDeterministic,
    Status::ResolvesToAlreadyValid,
    Status::NoSubstituters,
];

impl Status {
    /// The status of a code.
    pub fn from_code(code: u64) -> Self {
        usize::try_from(code).ok().and_then(|i| CODES.get(i).copied()).unwrap_or(Self::Unknown(code))
    }

    /// The code of a status.
    pub fn code(self) -> u64 {
        match self {
            Self::Unknown(code) => code,
            known => {
                CODES.iter().position(|s| *s == known).expect("every known status is in the list") as u64
            }
        }
    }

    /// Whether the outputs are there now.
    pub fn is_success(self) -> bool {
        matches!(self, Self::Built | Self::Substituted | Self::AlreadyValid | Self::ResolvesToAlreadyValid)
    }
}

impl BuildResult {
    /// Reads a result. Outputs come as base names; `store_dir` is put before them.
    pub(super) fn read<R: BufRead>(
        input: &mut Decoder<R>,
        version: Version,
        store_dir: &str,
    ) -> Result<Self, Fault> {
        let mut result = Self {
            status: Status::from_code(input.u64()?),
            error_msg: input.text("a build's error message")?,
            times_built: input.u64()?,
            non_deterministic: input.bool()?,
            start_time: input.u64()?,
            stop_time: input.u64()?,
            cpu_user: None,
            cpu_system: None,
            built_outputs: Vec::new(),
        };
        if version >= Version::new(1, 37) {
            result.cpu_user = optional_micros(input)?;
            result.cpu_system = optional_micros(input)?;
        }
        for _ in 0..input.count("a build's outputs")? {
            let id = input.string("the id of an output")?;
            let realisation = input.string("an output's realisation")?;
            result.built_outputs.push(built_output(&id, &realisation, store_dir)?);
        }
        Ok(result)
    }
}

fn optional_micros<R: BufRead>(input: &mut Decoder<R>) -> Result<Option<u64>, Fault> {
    match input.u64()? {
        0 => Ok(None),
        1 => Ok(Some(input.u64()?)),
        tag => malformed(format!("a CPU time with the tag {tag}")),
    }
}

/// The part of a realisation that says where the output is.
#[derive(Deserialize)]
struct Realisation {
    #[serde(rename = "outPath")]
    out_path: String,
}

/// From `sha256:…!out` and the realisation's JSON to name and path.
fn built_output(id: &str, realisation: &str, store_dir: &str) -> Result<(String, String), Fault> {
    let Some((_, name)) = id.split_once('!') else {
        return malformed(format!("an output without a name: '{}'", id.escape_debug()));
    };
    match serde_json::from_str::<Realisation>(realisation) {
        Ok(Realisation { out_path }) if out_path.starts_with('/') => Ok((name.to_owned(), out_path)),
        Ok(Realisation { out_path }) => Ok((name.to_owned(), format!("{store_dir}/{out_path}"))),
        Err(e) => malformed(format!("the realisation of output '{}': {e}", name.escape_debug())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_statuses_agree() {
        for code in 0..20 {
            assert_eq!(Status::from_code(code).code(), code);
        }
        assert_eq!(Status::from_code(8), Status::TimedOut);
        assert_eq!(Status::from_code(14), Status::NoSubstituters);
        assert_eq!(Status::from_code(15), Status::Unknown(15));
        assert_eq!(Status::from_code(u64::MAX).code(), u64::MAX);
        let good: Vec<u64> = (0..20).filter(|c| Status::from_code(*c).is_success()).collect();
        assert_eq!(good, [0, 1, 2, 13]);
    }

    #[test]
    fn outputs_get_their_store_directory() {
        let json = r#"{"id":"sha256:00!dev","outPath":"abc-x-dev","signatures":[]}"#;
        let got = built_output("sha256:00!dev", json, "/nix/store").unwrap();
        assert_eq!(got, ("dev".into(), "/nix/store/abc-x-dev".into()));
        assert!(built_output("sha256:00", json, "/nix/store").is_err());
        assert!(built_output("sha256:00!dev", "{}", "/nix/store").is_err());
    }
}
