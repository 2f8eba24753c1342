//! known_hosts files: which keys are on record for a host.
//!
//! Patterns, negation, `[host]:port`, hashed names, and the `@cert-authority` and `@revoked` markers,
//! as sshd(8) describes them. Text in, entries out; what a key on record means is [`super::verify`]'s.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use sha1::Sha1;

/// What the marker at the start of a line makes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Marker {
    Key,
    Authority,
    Revoked,
}

/// One key on record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub marker: Marker,
    /// As the key itself says: `ssh-ed25519`, `ssh-rsa`, …
    pub key_type: String,
    pub blob: Vec<u8>,
    /// `FILE:LINE`, or words.
    pub place: String,
}

/// The name under which a host is on record: with its port where that is not ssh's own.
pub(super) fn name_with_port(host: &str, port: u16) -> String {
    let host = host.to_ascii_lowercase();
    if port == 22 { host } else { format!("[{host}]:{port}") }
}

/// The entries of one file's text that are about `name`. Lines that make no sense are passed over.
pub(super) fn entries(text: &str, file: &Path, name: &str) -> Vec<Entry> {
    let line_entry = |(index, line): (usize, &str)| {
        let line = line.trim();
        if line.starts_with('#') {
            return None;
        }
        let (marker, rest) = match line.split_once(char::is_whitespace) {
            Some(("@cert-authority", rest)) => (Marker::Authority, rest.trim_start()),
            Some(("@revoked", rest)) => (Marker::Revoked, rest.trim_start()),
            _ => (Marker::Key, line),
        };
        let (names, key) = rest.split_once(char::is_whitespace)?;
        let (key_type, blob) = parse_key(key)?;
        let place = format!("{}:{}", file.display(), index + 1);
        names_match(names, name).then_some(Entry { marker, key_type, blob, place })
    };
    text.lines().enumerate().filter_map(line_entry).collect()
}

/// Reads `TYPE BASE64 [comment]`, as in a `.pub` file.
pub(super) fn parse_key(text: &str) -> Option<(String, Vec<u8>)> {
    let mut words = text.split_whitespace();
    let key_type = words.next()?;
    let blob = STANDARD.decode(words.next()?).ok()?;
    (blob_type(&blob)? == key_type).then(|| (key_type.to_owned(), blob))
}

/// The type that a public key blob starts with.
pub(super) fn blob_type(blob: &[u8]) -> Option<&str> {
    let length = u32::from_be_bytes(blob.get(..4)?.try_into().ok()?) as usize;
    std::str::from_utf8(blob.get(4..)?.get(..length)?).ok()
}

fn names_match(names: &str, name: &str) -> bool {
    let mut found = false;
    for pattern in names.split(',') {
        if let Some(negated) = pattern.strip_prefix('!') {
            if glob(negated.as_bytes(), name.as_bytes()) {
                return false;
            }
        } else if pattern.starts_with('|') {
            found |= hashed_match(pattern, name).unwrap_or(false);
        } else {
            found |= glob(pattern.to_ascii_lowercase().as_bytes(), name.as_bytes());
        }
    }
    found
}

/// `|1|SALT|HASH`, HMAC-SHA1 of the name under the salt.
fn hashed_match(pattern: &str, name: &str) -> Option<bool> {
    let (salt, hash) = pattern.strip_prefix("|1|")?.split_once('|')?;
    let mut mac = Hmac::<Sha1>::new_from_slice(&STANDARD.decode(salt).ok()?).ok()?;
    mac.update(name.as_bytes());
    Some(mac.verify_slice(&STANDARD.decode(hash).ok()?).is_ok())
}

/// `*` and `?` only: brackets are literal here, as `[host]:port` needs.
fn glob(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    // Where to go on after a mismatch: the last star, and one name byte later than before.
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(&byte) if byte == b'?' || byte == name[n] => {
                p += 1;
                n += 1;
            }
            _ => match star {
                Some((at, from)) => {
                    star = Some((at, from + 1));
                    p = at + 1;
                    n = from + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEVMa5jYaVbEGYuDRHqtF7KA5vqgu6+m3hkkEYlyXtJb";

    fn found(line: &str, name: &str) -> Vec<Entry> {
        entries(line, Path::new("/k"), name)
    }

    #[test]
    fn names_patterns_and_ports() {
        for (names, name, expected) in [
            ("build.example.org", "build.example.org", true),
            ("Build.Example.org", "build.example.org", true),
            ("a,b,10.0.0.1", "10.0.0.1", true),
            ("*.example.org", "x.example.org", true),
            ("*.example.org,!x.example.org", "x.example.org", false),
            ("10.0.0.?", "10.0.0.12", false),
            ("[h]:2222", "[h]:2222", true),
            ("h", "[h]:2222", false),
            ("[*]:2222", "[h]:2222", true),
        ] {
            assert_eq!(found(&format!("{names} {KEY}"), name).len() == 1, expected, "{names} for {name}");
        }
        assert_eq!(name_with_port("H", 22), "h");
        assert_eq!(name_with_port("h", 2222), "[h]:2222");
    }

    #[test]
    fn hashed_names() {
        // HMAC-SHA1 of "h" under the salt of twenty zero bytes.
        let salt = STANDARD.encode([0u8; 20]);
        let mut mac = Hmac::<Sha1>::new_from_slice(&[0u8; 20]).unwrap();
        mac.update(b"h");
        let hash = STANDARD.encode(mac.finalize().into_bytes());
        let line = format!("|1|{salt}|{hash} {KEY}");
        assert_eq!(found(&line, "h").len(), 1);
        assert_eq!(found(&line, "i").len(), 0);
    }

    #[test]
    fn markers_places_and_broken_lines() {
        let text = format!(
            "# note\n\n@revoked h {KEY}\n@cert-authority *.h {KEY}\nh {KEY} c\nh ssh-ed25519 AAAA\nh\n"
        );
        let entries = found(&text, "h");
        assert_eq!(
            entries.iter().map(|entry| entry.marker).collect::<Vec<_>>(),
            [Marker::Revoked, Marker::Key]
        );
        assert_eq!(entries[1].place, "/k:5");
        assert_eq!(found(&text, "x.h")[0].marker, Marker::Authority);
    }

    proptest! {
        #[test]
        fn never_panics(text: String, name: String) {
            let _ = found(&text, &name);
        }

        #[test]
        fn a_star_stands_for_anything(name in "[a-z.]{0,12}", cut in 0usize..12) {
            let cut = cut.min(name.len());
            for pattern in [
                format!("{}*", &name[..cut]),
                format!("*{}", &name[cut..]),
                format!("{}*{}", &name[..cut], &name[cut..]),
            ] {
                prop_assert!(glob(pattern.as_bytes(), name.as_bytes()), "{} for {}", pattern, name);
            }
        }
    }
}
