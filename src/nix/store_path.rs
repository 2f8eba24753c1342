//! Store paths: `/nix/store/<32 base-32 digits>-<name>`, in any store directory.
//!
//! Only the form is checked here. Whether a path exists is for a store to say.

use std::fmt;
use std::sync::Arc;

use super::base32;

/// The store directory of nearly every installation.
pub const DEFAULT_STORE_DIR: &str = "/nix/store";

/// Digits of the hash in front of the name.
const HASH_LEN: usize = 32;
/// The longest name that Nix allows.
const MAX_NAME: usize = 211;
/// No file system takes a longer path, so a longer store directory is a mistake.
const MAX_DIR: usize = 4096;
/// How much of a wrong text is quoted.
const QUOTED: usize = 120;

/// A full store path, `/nix/store/<32 base-32 digits>-<name>`; ordered as text.
///
/// Cloning is cheap: the text is shared.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StorePath(Arc<str>);

/// What is wrong with a store path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{text}' is not a store path: {why}")]
pub struct BadStorePath {
    /// The text in question, shortened if very long.
    pub text: String,
    /// What it breaks.
    pub why: &'static str,
}

impl BadStorePath {
    fn new(text: &str, why: &'static str) -> Self {
        Self { text: shorten(text), why }
    }
}

/// The text, or its beginning when it is too long to be quoted in a message.
pub(super) fn shorten(text: &str) -> String {
    match text.char_indices().nth(QUOTED) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

impl StorePath {
    /// Reads a full path in any store directory.
    ///
    /// # Errors
    /// When it is not absolute, or what follows its last `/` is not `<32 base-32 digits>-<name>`.
    pub fn parse(text: &str) -> Result<Self, BadStorePath> {
        let bad = |why| BadStorePath::new(text, why);
        let (dir, base) = text.rsplit_once('/').ok_or_else(|| bad("it is not an absolute path"))?;
        check_dir(dir).and_then(|()| check_base(base)).map_err(bad)?;
        Ok(Self(text.into()))
    }

    /// Joins a store directory and a base name, as newer JSON formats have it.
    ///
    /// # Errors
    /// As [`StorePath::parse`]; also when `base` has a `/` in it.
    pub fn from_base_name(store_dir: &str, base: &str) -> Result<Self, BadStorePath> {
        check_dir(store_dir).map_err(|why| BadStorePath::new(store_dir, why))?;
        check_base(base).map_err(|why| BadStorePath::new(base, why))?;
        // Not `format!`: a large graph has hundreds of thousands of these.
        Ok(Self([store_dir, "/", base].concat().into()))
    }

    /// The whole path.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The directory it is in, without a `/` at the end.
    pub fn store_dir(&self) -> &str {
        &self.0[..self.base_start() - 1]
    }

    /// What follows the store directory: `<hash>-<name>`.
    pub fn base_name(&self) -> &str {
        &self.0[self.base_start()..]
    }

    /// The 32 digits of the hash.
    pub fn hash_part(&self) -> &str {
        &self.base_name()[..HASH_LEN]
    }

    /// What follows the hash and its `-`; with `.drv`, if it is a derivation.
    pub fn name(&self) -> &str {
        &self.base_name()[HASH_LEN + 1..]
    }

    /// Whether its name ends in `.drv`.
    pub fn is_derivation(&self) -> bool {
        self.derivation_name().is_some()
    }

    /// For a derivation, its name without `.drv`.
    pub fn derivation_name(&self) -> Option<&str> {
        self.name().strip_suffix(".drv")
    }

    fn base_start(&self) -> usize {
        self.0.rfind('/').expect("checked when it was made") + 1
    }
}

/// A store directory is absolute and has no empty, `.` or `..` part.
fn check_dir(dir: &str) -> Result<(), &'static str> {
    // The usual one, without the work.
    if dir == DEFAULT_STORE_DIR {
        return Ok(());
    }
    let parts = dir.strip_prefix('/').ok_or("it is not an absolute path in a store directory")?;
    if parts.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err("its store directory has an empty, '.' or '..' part");
    }
    if dir.len() > MAX_DIR || dir.contains(char::is_control) {
        return Err("its store directory is too long or has control characters");
    }
    Ok(())
}

fn check_base(base: &str) -> Result<(), &'static str> {
    let (hash, rest) = base
        .as_bytes()
        .split_at_checked(HASH_LEN)
        .ok_or("it does not begin with a hash of 32 digits and '-'")?;
    if !hash.iter().all(|digit| base32::is_digit(*digit)) {
        return Err("its hash is not 32 digits of Nix's base 32 (0-9 and a-z without e, o, t, u)");
    }
    match rest {
        [b'-', name @ ..] => check_name(name),
        _ => Err("its hash of 32 digits is not followed by '-'"),
    }
}

/// Which characters a name may have. A table, as this is asked for every character of every path.
const IN_NAMES: [bool; 256] = {
    let mut table = [false; 256];
    let mut c = 0_u8;
    while c.is_ascii() {
        table[c as usize] = c.is_ascii_alphanumeric() || matches!(c, b'+' | b'-' | b'.' | b'_' | b'?' | b'=');
        c += 1;
    }
    table
};

/// The rules for a name, which Nix also applies to the names of outputs.
pub(super) fn check_name(name: &[u8]) -> Result<(), &'static str> {
    let valid = |c: &u8| IN_NAMES[usize::from(*c)];
    let dots = name.split(|c| *c == b'-').next().unwrap_or_default();
    if name.is_empty() {
        Err("its name is empty")
    } else if name.len() > MAX_NAME {
        Err("its name is longer than 211 characters")
    } else if !name.iter().all(valid) {
        Err("its name has characters other than letters, digits and +-._?=")
    } else if matches!(dots, b"." | b"..") {
        Err("its name is '.' or '..', or begins with one of them and '-'")
    } else {
        Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HASH: &str = "0c1n1zq3wg7h7p7k1d6zsx7q0vz3bq8a";

    #[test]
    fn takes_a_path_apart() {
        let path = StorePath::parse(&format!("/nix/store/{HASH}-hello-2.12.drv")).unwrap();
        assert_eq!(path.store_dir(), "/nix/store");
        assert_eq!(path.base_name(), format!("{HASH}-hello-2.12.drv"));
        assert_eq!(path.hash_part(), HASH);
        assert_eq!(path.name(), "hello-2.12.drv");
        assert!(path.is_derivation());
        assert_eq!(path.derivation_name(), Some("hello-2.12"));
        let output = StorePath::from_base_name("/opt/s", &format!("{HASH}-hello")).unwrap();
        assert_eq!(output.as_str(), format!("/opt/s/{HASH}-hello"));
        assert_eq!(output.derivation_name(), None);
    }

    #[test]
    fn says_what_is_wrong() {
        let why = |text: &str| StorePath::parse(text).unwrap_err().why;
        insta::assert_snapshot!(why("hello"), @"it is not an absolute path");
        insta::assert_snapshot!(why(&format!("store/{HASH}-a")), @"it is not an absolute path in a store directory");
        insta::assert_snapshot!(why(&format!("/{HASH}-a")), @"it is not an absolute path in a store directory");
        insta::assert_snapshot!(why(&format!("/nix//{HASH}-a")), @"its store directory has an empty, '.' or '..' part");
        insta::assert_snapshot!(why(&format!("/nix/../{HASH}-a")), @"its store directory has an empty, '.' or '..' part");
        insta::assert_snapshot!(why(&format!("/n\n/{HASH}-a")), @"its store directory is too long or has control characters");
        insta::assert_snapshot!(why("/nix/store/abc"), @"it does not begin with a hash of 32 digits and '-'");
        insta::assert_snapshot!(why(&format!("/nix/store/{}-a", HASH.replace('0', "e"))), @"its hash is not 32 digits of Nix's base 32 (0-9 and a-z without e, o, t, u)");
        insta::assert_snapshot!(why(&format!("/nix/store/{HASH}")), @"its hash of 32 digits is not followed by '-'");
        insta::assert_snapshot!(why(&format!("/nix/store/{HASH}-")), @"its name is empty");
        insta::assert_snapshot!(why(&format!("/nix/store/{HASH}-a b")), @"its name has characters other than letters, digits and +-._?=");
        insta::assert_snapshot!(why(&format!("/nix/store/{HASH}-..-x")), @"its name is '.' or '..', or begins with one of them and '-'");
        insta::assert_snapshot!(why(&format!("/nix/store/{HASH}-{}", "x".repeat(212))), @"its name is longer than 211 characters");
        assert!(StorePath::parse(&format!("/nix/store/{HASH}-{}", "x".repeat(211))).is_ok());
        assert!(StorePath::from_base_name("/nix/store", &format!("a/{HASH}-x")).is_err());
    }

    proptest! {
        #[test]
        fn whatever_is_a_path_is_its_parts(text in ".{0,60}|(/[a-z.]{0,3}){0,3}/[0-9a-z]{31,33}-?[a-zA-Z.+=?_-]{0,8}") {
            if let Ok(path) = StorePath::parse(&text) {
                prop_assert_eq!(path.as_str(), &text);
                prop_assert_eq!(format!("{}/{}-{}", path.store_dir(), path.hash_part(), path.name()), text);
                prop_assert_eq!(StorePath::from_base_name(path.store_dir(), path.base_name()), Ok(path));
            }
        }

        #[test]
        fn every_well_formed_path_is_one(dir in "(/[a-z]{1,5}){1,3}", hash in "[0-9abcdfghijklmnpqrsvwxyz]{32}", name in "[a-zA-Z0-9+_?=][a-zA-Z0-9+_?=.-]{0,30}") {
            let text = format!("{dir}/{hash}-{name}");
            prop_assert!(StorePath::parse(&text).is_ok(), "{text}");
        }
    }
}
