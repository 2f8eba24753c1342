//! The store path of a fixed output, from its name and hash.
//!
//! Newer `nix derivation show` leaves the path out; Nix computes it in the same way.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

use super::base32;
use super::store_path::{BadStorePath, StorePath, shorten};

/// Bytes of the hash in a store path.
const PATH_HASH: usize = 20;

/// A hash of a fixed output that does not say what it should.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the hash '{text}' cannot be used: {why}")]
pub struct BadHash {
    /// The hash as it is written, shortened if very long.
    pub text: String,
    /// What it breaks.
    pub why: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Method {
    Flat,
    Nar,
    Text,
    Git,
}

/// What a fixed output's contents must hash to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FixedHash<'a> {
    method: Method,
    algo: &'a str,
    digest: Vec<u8>,
}

impl<'a> FixedHash<'a> {
    /// Reads all spellings: `sha256-<base 64>`, or hex digits with an algorithm beside them, whose
    /// `r:`, `text:` or `git:` stands for the method in formats that have no field for that.
    pub(super) fn parse(method: Option<&str>, algo: Option<&'a str>, hash: &'a str) -> Result<Self, BadHash> {
        let bad = |why| BadHash { text: shorten(hash), why };
        let (prefix, beside) = match algo.and_then(|text| text.split_once(':')) {
            Some((prefix, algo)) => (Some(prefix), Some(algo)),
            None => (None, algo),
        };
        let method = match method.or(prefix) {
            None | Some("flat") => Method::Flat,
            Some("nar" | "recursive" | "r") => Method::Nar,
            Some("text") => Method::Text,
            Some("git") => Method::Git,
            Some(_) => return Err(bad("its method is none of flat, nar, text and git")),
        };
        let (algo, digest) = if let Some((algo, digits)) = hash.split_once('-') {
            (algo, STANDARD.decode(digits).map_err(|_| bad("it is not base 64 after the '-'"))?)
        } else if let Some((algo, digits)) = hash.split_once(':') {
            (algo, from_hex(digits).ok_or_else(|| bad("it is not hexadecimal after the ':'"))?)
        } else {
            let algo = beside.ok_or_else(|| bad("its algorithm is not given"))?;
            (algo, from_hex(hash).ok_or_else(|| bad("it is not hexadecimal"))?)
        };
        if beside.is_some_and(|beside| beside != algo) {
            return Err(bad("it is of another algorithm than the one beside it"));
        }
        let bytes = match algo {
            "md5" => 16,
            "sha1" => 20,
            "sha256" | "blake3" => 32,
            "sha512" => 64,
            _ => return Err(bad("its algorithm is none of md5, sha1, sha256, sha512 and blake3")),
        };
        if digest.len() != bytes {
            return Err(bad("its length is not that of its algorithm"));
        }
        if method == Method::Text && algo != "sha256" {
            return Err(bad("the method text goes with sha256 only"));
        }
        Ok(Self { method, algo, digest })
    }

    /// Where an output with this hash and name is.
    pub(super) fn path(&self, store_dir: &str, name: &str) -> Result<StorePath, BadStorePath> {
        let digest = to_hex(&self.digest);
        let (kind, inner) = match (self.method, self.algo) {
            (Method::Text, _) => ("text", digest),
            (Method::Nar, "sha256") => ("source", digest),
            (method, algo) => {
                let prefix = match method {
                    Method::Nar => "r:",
                    Method::Git => "git:",
                    Method::Flat | Method::Text => "",
                };
                let fixed = format!("fixed:out:{prefix}{algo}:{digest}:");
                ("output:out", to_hex(&Sha256::digest(fixed)))
            }
        };
        let whole = Sha256::digest(format!("{kind}:sha256:{inner}:{store_dir}:{name}"));
        let mut folded = [0; PATH_HASH];
        for (place, byte) in whole.iter().enumerate() {
            folded[place % PATH_HASH] ^= byte;
        }
        StorePath::from_base_name(store_dir, &format!("{}-{name}", base32::encode(&folded)))
    }
}

fn to_hex(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from(b"0123456789abcdef"[usize::from(value)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

fn from_hex(digits: &str) -> Option<Vec<u8>> {
    let value = |c: u8| char::from(c).to_digit(16).and_then(|v| u8::try_from(v).ok());
    let (pairs, odd) = digits.as_bytes().as_chunks::<2>();
    if !odd.is_empty() {
        return None;
    }
    pairs.iter().map(|[high, low]| Some(value(*high)? << 4 | value(*low)?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(method: Option<&str>, algo: Option<&str>, hash: &str, name: &str) -> String {
        let hash = FixedHash::parse(method, algo, hash).unwrap();
        hash.path("/nix/store", name).unwrap().to_string()
    }

    const HEX: &str = "1088fbde8f2b49d95a549a195707afa7a76a3ce9bcadc26b6d71f0ffda5fe313";
    const SRI: &str = "sha256-EIj73o8rSdlaVJoZVwevp6dqPOm8rcJrbXHw/9pf4xM=";

    /// The paths are those that Nix itself gives.
    #[test]
    fn computes_the_paths_that_nix_does() {
        let flat = "/nix/store/f9pr2rs0algcvgy2xfyhmdsqb3yzk8r2-pytest-9.1.1.tar.gz";
        assert_eq!(path(Some("flat"), None, SRI, "pytest-9.1.1.tar.gz"), flat);
        assert_eq!(path(None, Some("sha256"), HEX, "pytest-9.1.1.tar.gz"), flat);
        let nar = "/nix/store/6ayhk9q8ja9ybkxnimhxmk1sg5fg8iq4-boot";
        assert_eq!(path(Some("nar"), None, SRI, "boot"), nar);
        assert_eq!(path(None, Some("r:sha256"), HEX, "boot"), nar);
        assert_eq!(path(Some("nar"), Some("sha256"), HEX, "boot"), nar);
        assert_eq!(path(None, None, &format!("sha256:{HEX}"), "x"), path(Some("flat"), None, SRI, "x"));
        let md5 = "d41d8cd98f00b204e9800998ecf8427e";
        let sha1 = "da39a3ee5e6b4b0d3255bfef95601890afd80709";
        assert_eq!(
            path(None, Some("md5"), md5, "srcmd"),
            "/nix/store/ywpwffg0w2r392g9avyy8qmfiqp29n6n-srcmd"
        );
        assert_eq!(
            path(Some("nar"), Some("sha1"), sha1, "srcs1"),
            "/nix/store/wgrhil89wih8rjavsssrcig8xxmq4l7k-srcs1"
        );
        // `builtins.toFile "f" "hello"`.
        let hello = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
        assert_eq!(
            path(Some("text"), Some("sha256"), hello, "f"),
            "/nix/store/r7f24v08nr4mqdf5qaxa8d0irqf3zl0q-f"
        );
        assert_ne!(path(Some("git"), Some("sha1"), sha1, "g"), path(None, Some("sha1"), sha1, "g"));
    }

    #[test]
    fn refuses_wrong_hashes() {
        let why = |method, algo, hash| FixedHash::parse(method, algo, hash).unwrap_err().why;
        insta::assert_snapshot!(why(Some("tar"), None, SRI), @"its method is none of flat, nar, text and git");
        insta::assert_snapshot!(why(None, None, HEX), @"its algorithm is not given");
        insta::assert_snapshot!(why(None, Some("sha256"), "xyz"), @"it is not hexadecimal");
        insta::assert_snapshot!(why(None, Some("sha256"), "abc"), @"it is not hexadecimal");
        insta::assert_snapshot!(why(None, Some("sha1"), HEX), @"its length is not that of its algorithm");
        insta::assert_snapshot!(why(None, Some("sha1"), SRI), @"it is of another algorithm than the one beside it");
        insta::assert_snapshot!(why(None, None, "sha256-***"), @"it is not base 64 after the '-'");
        insta::assert_snapshot!(why(None, None, "sha9-AAAA"), @"its algorithm is none of md5, sha1, sha256, sha512 and blake3");
        insta::assert_snapshot!(why(Some("text"), Some("md5"), "d41d8cd98f00b204e9800998ecf8427e"), @"the method text goes with sha256 only");
    }
}
