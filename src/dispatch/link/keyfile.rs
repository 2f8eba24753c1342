//! Private key files: whether one can be used without a passphrase, and which public key it holds.
//!
//! Nothing is decrypted or checked here; libssh2 reads the keys itself.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::known_hosts::{blob_type, parse_key};

/// Larger than any key file; more is not read.
const LIMIT: u64 = 256 * 1024;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum State {
    Plain,
    Encrypted,
    /// A public key: names one that an agent holds.
    Public,
    Missing,
    Unreadable(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct KeyFile {
    pub path: PathBuf,
    pub state: State,
    /// The public key, where it could be learned.
    pub blob: Option<Vec<u8>>,
}

impl KeyFile {
    pub(super) fn read(path: &Path) -> KeyFile {
        let (state, inner) = match read_limited(path) {
            Ok(text) => judge(&text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => (State::Missing, None),
            Err(error) => (State::Unreadable(error.to_string()), None),
        };
        let beside = || {
            let mut name = path.as_os_str().to_owned();
            name.push(".pub");
            parse_key(&read_limited(Path::new(&name)).ok()?).map(|(_, blob)| blob)
        };
        KeyFile { path: path.to_owned(), state, blob: inner.or_else(beside) }
    }

    /// A key inside a hardware token, which libssh2 cannot use.
    pub(super) fn is_hardware(&self) -> bool {
        self.blob.as_deref().and_then(blob_type).is_some_and(|key_type| key_type.starts_with("sk-"))
    }

    /// Whether ssh would offer a certificate that lies beside the key.
    pub(super) fn has_certificate(&self) -> bool {
        let mut name = self.path.as_os_str().to_owned();
        name.push("-cert.pub");
        Path::new(&name).exists()
    }
}

fn read_limited(path: &Path) -> std::io::Result<String> {
    let mut bytes = Vec::new();
    File::open(path)?.take(LIMIT).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn judge(text: &str) -> (State, Option<Vec<u8>>) {
    if let Some(body) = between(text, "-----BEGIN OPENSSH PRIVATE KEY-----", "-----END") {
        return match openssh_header(&body) {
            Some((true, blob)) => (State::Encrypted, Some(blob)),
            Some((false, blob)) => (State::Plain, Some(blob)),
            None => (State::Unreadable("a damaged OpenSSH private key".to_owned()), None),
        };
    }
    if text.contains("-----BEGIN ENCRYPTED PRIVATE KEY-----") || text.contains("Proc-Type: 4,ENCRYPTED") {
        return (State::Encrypted, None);
    }
    if text.contains("PRIVATE KEY-----") {
        return (State::Plain, None);
    }
    match parse_key(text) {
        Some((_, blob)) => (State::Public, Some(blob)),
        None => (State::Unreadable("no private key in it".to_owned()), None),
    }
}

fn between(text: &str, start: &str, end: &str) -> Option<String> {
    let rest = &text[text.find(start)? + start.len()..];
    Some(rest[..rest.find(end)?].split_whitespace().collect())
}

/// Whether an `openssh-key-v1` body is encrypted, and its public key.
fn openssh_header(body: &str) -> Option<(bool, Vec<u8>)> {
    let bytes = STANDARD.decode(body).ok()?;
    let mut rest = bytes.strip_prefix(b"openssh-key-v1\0")?;
    let cipher = string(&mut rest)?;
    let _kdf = string(&mut rest)?;
    let _kdf_options = string(&mut rest)?;
    let _keys = rest.split_off(..4)?;
    let blob = string(&mut rest)?;
    Some((cipher != b"none", blob.to_vec()))
}

fn string<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = u32::from_be_bytes(rest.split_off(..4)?.try_into().ok()?) as usize;
    rest.split_off(..length)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn openssh(cipher: &str) -> String {
        let mut bytes = b"openssh-key-v1\0".to_vec();
        for part in [cipher.as_bytes(), b"kdf", b""] {
            bytes.extend(u32::try_from(part.len()).unwrap().to_be_bytes());
            bytes.extend(part);
        }
        bytes.extend([0, 0, 0, 1, 0, 0, 0, 3, b'p', b'u', b'b', 9, 9]);
        format!(
            "-----BEGIN OPENSSH PRIVATE KEY-----\n{}\n-----END OPENSSH PRIVATE KEY-----\n",
            STANDARD.encode(bytes)
        )
    }

    #[test]
    fn tells_plain_from_encrypted() {
        assert_eq!(judge(&openssh("none")), (State::Plain, Some(b"pub".to_vec())));
        assert_eq!(judge(&openssh("aes256-ctr")), (State::Encrypted, Some(b"pub".to_vec())));
        assert_eq!(judge("-----BEGIN ENCRYPTED PRIVATE KEY-----\n").0, State::Encrypted);
        assert_eq!(judge("-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n").0, State::Encrypted);
        assert_eq!(judge("-----BEGIN RSA PRIVATE KEY-----\nMII\n").0, State::Plain);
        assert!(matches!(judge("hello").0, State::Unreadable(_)));
        assert_eq!(KeyFile::read(Path::new("/does/not/exist")).state, State::Missing);
    }

    proptest! {
        #[test]
        fn never_panics(bytes: Vec<u8>) {
            let body = STANDARD.encode([b"openssh-key-v1\0".as_slice(), &bytes].concat());
            let _ = openssh_header(&body);
        }
    }
}
