//! `nix derivation show -r`, in every shape that Nix from 2.4 on and Lix print.
//!
//! What is read is only what decides where and when to build. The text that a builder gets is not made
//! from this but from the `.drv` file, see [`super::aterm`].
//!
//! The JSON of a distribution has tens of megabytes, so the derivations are first told apart without
//! being read, and then read in parallel, borrowing from the text.

mod listing;
mod raw;
#[cfg(test)]
mod tests;

use rayon::prelude::*;
use serde_json::value::RawValue;

use self::listing::Listing;
use self::raw::{RawDerivation, Text};
use super::assemble::BadDerivation;
use super::derivation::Derivation;
use super::store_path::{DEFAULT_STORE_DIR, StorePath, shorten};

/// The newest version of the JSON format that is known here.
const NEWEST: u64 = 4;
/// The oldest version with a number; what comes before has none.
const OLDEST: u64 = 3;

/// Why the output of `nix derivation show` could not be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ShowError {
    /// It is not JSON, or ends too early, or is not made of derivations.
    #[error("the derivations' JSON is wrong at line {line}, column {column}: {what}")]
    Json {
        /// Counted from 1.
        line: usize,
        /// In bytes, counted from 1.
        column: usize,
        /// What the parser says.
        what: String,
    },
    /// The JSON is right, but one derivation in it is not as it should be.
    #[error("derivation '{drv}' is wrong at line {line}, column {column} of the JSON: {what}")]
    Entry {
        /// The derivation as the JSON names it.
        drv: String,
        /// Counted from 1.
        line: usize,
        /// In bytes, counted from 1.
        column: usize,
        /// What the parser says.
        what: String,
    },
    /// A derivation could be read, but says what cannot be.
    #[error("derivation '{drv}': {source}")]
    Derivation {
        /// The derivation as the JSON names it.
        drv: String,
        /// What is wrong.
        source: BadDerivation,
    },
    /// A derivation is there twice.
    #[error("derivation '{0}' is there twice in the JSON")]
    Duplicate(StorePath),
    /// The format is of another version than those known.
    #[error(
        "the derivations' JSON has format version {found}, and only {OLDEST} to {NEWEST} are known \
         (and older ones without a number); use a drvdispatch made for this Nix"
    )]
    Version {
        /// The version it says it has.
        found: u64,
    },
}

/// Reads all derivations, in the order of their paths.
///
/// Formats with base names do not say the store directory: it is taken from the outputs' paths in the
/// environments, and is `/nix/store` where these do not say it either.
///
/// # Errors
/// When it is not the JSON of derivations, a derivation lacks something, is there twice or is of a kind
/// that cannot be built yet. Of several, the error of the derivation that comes first.
pub fn parse_show(json: &[u8]) -> Result<Vec<Derivation>, ShowError> {
    let text = std::str::from_utf8(json).map_err(|error| {
        let (line, column) = place(json, error.valid_up_to());
        ShowError::Json { line, column, what: "it is not UTF-8".to_owned() }
    })?;
    let listing = Listing::parse(text)?;
    let store_dir = store_dir(&listing.entries);
    let read: Vec<_> =
        listing.entries.par_iter().map(|(key, raw)| read_entry(text, key, raw, &store_dir)).collect();
    let mut derivations = read.into_iter().collect::<Result<Vec<_>, _>>()?;
    derivations.sort_unstable_by(|a, b| a.path.cmp(&b.path));
    match derivations.windows(2).find(|pair| pair[0].path == pair[1].path) {
        Some(pair) => Err(ShowError::Duplicate(pair[0].path.clone())),
        None => Ok(derivations),
    }
}

fn read_entry(json: &str, key: &Text<'_>, raw: &RawValue, store_dir: &str) -> Result<Derivation, ShowError> {
    let mut entry: RawDerivation<'_> = serde_json::from_str(raw.get()).map_err(|error| {
        let (line, column) = place_in(json, raw, &error);
        ShowError::Entry { drv: shorten(key), line, column, what: bare_message(&error) }
    })?;
    if let Some(found) = entry.version.filter(|version| *version > NEWEST) {
        return Err(ShowError::Version { found });
    }
    entry
        .parts(key, store_dir)
        .and_then(super::assemble::Parts::assemble)
        .map_err(|source| ShowError::Derivation { drv: shorten(key), source })
}

/// The store directory of formats that have base names only.
fn store_dir(entries: &[(Text<'_>, &RawValue)]) -> String {
    let based = entries.iter().filter(|(key, _)| !key.starts_with('/'));
    let mut dirs = based.filter_map(|(_, raw)| {
        let entry: RawDerivation<'_> = serde_json::from_str(raw.get()).ok()?;
        Some(entry.own_path()?.store_dir().to_owned())
    });
    dirs.next().unwrap_or_else(|| DEFAULT_STORE_DIR.to_owned())
}

/// Line and column of a byte, both from 1.
fn place(json: &[u8], offset: usize) -> (usize, usize) {
    let before = &json[..offset.min(json.len())];
    let line_start = before.iter().rposition(|c| *c == b'\n').map_or(0, |newline| newline + 1);
    (before.iter().filter(|c| **c == b'\n').count() + 1, before.len() - line_start + 1)
}

/// Where in the whole an error is that was found in a part of it.
fn place_in(json: &str, part: &RawValue, error: &serde_json::Error) -> (usize, usize) {
    // The part is borrowed from the whole, so the difference of the addresses is its offset.
    let offset = (part.get().as_ptr() as usize).saturating_sub(json.as_ptr() as usize);
    let (line, column) = place(json.as_bytes(), offset);
    match error.line() {
        0 | 1 => (line, column + error.column().saturating_sub(1)),
        further => (line + further - 1, error.column()),
    }
}

/// The parser's message without its own idea of the place.
fn bare_message(error: &serde_json::Error) -> String {
    let message = error.to_string();
    let suffix = format!(" at line {} column {}", error.line(), error.column());
    message.strip_suffix(&suffix).unwrap_or(&message).to_owned()
}
