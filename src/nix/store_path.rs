//! Store paths.

use std::fmt;
use std::sync::Arc;

/// A full store path, `/nix/store/<32 base-32 digits>-<name>`; ordered as text.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StorePath(Arc<str>);

/// What is wrong with a store path.
#[derive(Debug, thiserror::Error)]
#[error("'{text}' is not a store path: {why}")]
pub struct BadStorePath {
    /// The text in question, shortened if very long.
    pub text: String,
    /// What it breaks.
    pub why: &'static str,
}

impl StorePath {
    /// The whole path.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for StorePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for StorePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}
