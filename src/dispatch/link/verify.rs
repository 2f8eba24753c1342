//! Host keys: which are accepted, which types to ask for, and what a key that is not accepted means.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use sha2::{Digest, Sha256};

use super::LinkError;
use super::error::{Called, changed_remedy};
use super::known_hosts::{Entry, Marker, blob_type, entries, name_with_port, parse_key};

/// The keys that may be the host's.
#[derive(Clone, Debug, Default)]
pub(super) struct Accepted {
    entries: Vec<Entry>,
    /// On record for the bare name of a host that is reached at another port: enough to accept a
    /// key, too little to call another key wrong.
    without_port: Vec<Entry>,
    /// The entries come from the machines file: any other key is wrong, whatever its type.
    pinned: bool,
}

/// What a shown key is.
#[derive(Debug, PartialEq, Eq)]
enum Verdict<'a> {
    Accepted,
    Unknown,
    Changed(&'a str),
    Revoked(&'a str),
}

impl Accepted {
    /// Exactly the keys of a machines file's host-key field: lines of `TYPE BASE64 [comment]`.
    pub(super) fn pinned(lines: &str) -> Result<Accepted, String> {
        let place = "the machines file (field 8)".to_owned();
        let entries: Vec<Entry> = lines
            .lines()
            .filter_map(parse_key)
            .map(|(key_type, blob)| Entry { marker: Marker::Key, key_type, blob, place: place.clone() })
            .collect();
        if entries.is_empty() {
            return Err(
                "its host key (field 8, base64 of a line like `ssh-ed25519 AAAA…`) is not one".to_owned()
            );
        }
        Ok(Accepted { entries, without_port: Vec::new(), pinned: true })
    }

    /// What the known-hosts files say of a host. Files that cannot be read say nothing, as with ssh.
    pub(super) fn on_record(files: &[PathBuf], host: &str, port: u16, alias: Option<&str>) -> Accepted {
        let mut accepted = Accepted::default();
        for file in files {
            let Ok(text) = std::fs::read(file) else { continue };
            accepted.add(&String::from_utf8_lossy(&text), file, host, port, alias);
        }
        accepted
    }

    fn add(&mut self, text: &str, file: &Path, host: &str, port: u16, alias: Option<&str>) {
        // An alias stands for host and port together.
        let name = alias.map_or_else(|| name_with_port(host, port), str::to_ascii_lowercase);
        self.entries.extend(entries(text, file, &name));
        if alias.is_none() && port != 22 {
            self.without_port.extend(entries(text, file, &host.to_ascii_lowercase()));
        }
    }

    /// Whether an authority vouches for the host, which libssh2 cannot check.
    pub(super) fn has_authority(&self) -> bool {
        self.all().any(|entry| entry.marker == Marker::Authority)
    }

    fn all(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().chain(&self.without_port)
    }

    /// `supported` in the order to ask for: algorithms whose keys are on record first, so that a
    /// host with several keys shows one that can be checked.
    pub(super) fn preference(&self, supported: &[&str]) -> String {
        let is_known = |algorithm: &str| {
            let key_type = if algorithm.starts_with("rsa-sha2-") { "ssh-rsa" } else { algorithm };
            self.all().any(|entry| entry.marker == Marker::Key && entry.key_type == key_type)
        };
        let (mut order, rest): (Vec<&str>, Vec<&str>) =
            supported.iter().partition(|algorithm| is_known(algorithm));
        order.extend(rest);
        order.join(",")
    }

    fn judge(&self, blob: &[u8]) -> Verdict<'_> {
        let same = |entry: &&Entry| entry.blob == blob;
        if let Some(entry) = self.all().filter(same).find(|entry| entry.marker == Marker::Revoked) {
            return Verdict::Revoked(&entry.place);
        }
        if self.all().filter(same).any(|entry| entry.marker == Marker::Key) {
            return Verdict::Accepted;
        }
        let key_type = blob_type(blob).unwrap_or_default();
        self.entries
            .iter()
            .filter(|entry| entry.marker == Marker::Key)
            .find(|entry| self.pinned || entry.key_type == key_type)
            .map_or(Verdict::Unknown, |entry| Verdict::Changed(&entry.place))
    }

    /// Checks the key that the host showed.
    pub(super) fn check(&self, called: &Called, blob: &[u8]) -> Result<(), LinkError> {
        let (Called { host, ssh, .. }, fingerprint) = (called.clone(), fingerprint(blob));
        match self.judge(blob) {
            Verdict::Accepted => Ok(()),
            Verdict::Unknown => Err(LinkError::HostKeyUnknown { host, ssh, fingerprint }),
            Verdict::Revoked(place) => {
                Err(LinkError::HostKeyRevoked { host, fingerprint, place: place.to_owned() })
            }
            Verdict::Changed(place) => {
                let remedy = changed_remedy(&ssh, place);
                Err(LinkError::HostKeyChanged { host, fingerprint, place: place.to_owned(), remedy })
            }
        }
    }
}

/// A key's fingerprint as ssh prints it.
pub(super) fn fingerprint(blob: &[u8]) -> String {
    format!("SHA256:{}", STANDARD_NO_PAD.encode(Sha256::digest(blob)))
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    fn blob(key_type: &str, body: u8) -> Vec<u8> {
        let mut blob = u32::try_from(key_type.len()).unwrap().to_be_bytes().to_vec();
        blob.extend(key_type.as_bytes());
        blob.extend([body; 8]);
        blob
    }

    fn line(key_type: &str, body: u8) -> String {
        format!("{key_type} {}", STANDARD.encode(blob(key_type, body)))
    }

    fn record(text: &str, port: u16, alias: Option<&str>) -> Accepted {
        let mut accepted = Accepted::default();
        accepted.add(text, Path::new("/k"), "H", port, alias);
        accepted
    }

    #[test]
    fn known_changed_unknown_revoked() {
        let text = format!("h {}\n@revoked * {}\n", line("ssh-ed25519", 1), line("ssh-rsa", 9));
        let accepted = record(&text, 22, None);
        assert_eq!(accepted.judge(&blob("ssh-ed25519", 1)), Verdict::Accepted);
        assert_eq!(accepted.judge(&blob("ssh-ed25519", 2)), Verdict::Changed("/k:1"));
        assert_eq!(accepted.judge(&blob("ssh-rsa", 9)), Verdict::Revoked("/k:2"));
        assert_eq!(accepted.judge(&blob("ssh-rsa", 1)), Verdict::Unknown);
    }

    #[test]
    fn a_key_for_the_bare_name_is_accepted_at_another_port_but_accuses_nobody() {
        let accepted = record(&format!("h {}\n", line("ssh-ed25519", 1)), 2222, None);
        assert_eq!(accepted.judge(&blob("ssh-ed25519", 1)), Verdict::Accepted);
        assert_eq!(accepted.judge(&blob("ssh-ed25519", 2)), Verdict::Unknown);
    }

    #[test]
    fn an_alias_stands_for_name_and_port() {
        let accepted = record(
            &format!("nick {}\nh {}\n", line("ssh-ed25519", 1), line("ssh-rsa", 2)),
            2222,
            Some("Nick"),
        );
        assert_eq!(accepted.judge(&blob("ssh-ed25519", 1)), Verdict::Accepted);
        assert_eq!(accepted.judge(&blob("ssh-rsa", 2)), Verdict::Unknown);
    }

    #[test]
    fn only_the_pinned_key_will_do() {
        let accepted = Accepted::pinned(&line("ssh-ed25519", 1)).unwrap();
        assert_eq!(accepted.judge(&blob("ssh-ed25519", 1)), Verdict::Accepted);
        assert!(matches!(accepted.judge(&blob("ssh-rsa", 2)), Verdict::Changed(_)));
        assert!(Accepted::pinned("ssh-ed25519 nonsense").is_err());
    }

    #[test]
    fn types_on_record_are_asked_for_first() {
        let supported = ["ssh-ed25519", "ecdsa-sha2-nistp256", "rsa-sha2-512", "rsa-sha2-256", "ssh-rsa"];
        let accepted = record(&format!("h {}\nh {}\n", line("ssh-rsa", 1), line("other", 2)), 22, None);
        assert_eq!(
            accepted.preference(&supported),
            "rsa-sha2-512,rsa-sha2-256,ssh-rsa,ssh-ed25519,ecdsa-sha2-nistp256"
        );
    }
}
