//! What this machine's store takes from other hosts, and what to do where it takes nothing.
//!
//! What a builder built is unsigned, unless it signs. A daemon takes unsigned paths only from users it
//! trusts, and from nobody else even if they ask it not to check; paths that are named after their own
//! content need no signature. So a run by an untrusted user would fail when its first result comes home.

use std::collections::BTreeSet;

use super::link::user_name;
use crate::nix::NixConfig;
use crate::nix::wire::{PathInfo, Trust};

/// The key that every Nix trusts, which no builder of one's own has.
const PUBLIC_CACHE: &str = "cache.nixos.org-1";

/// Part of what is said of a host that does not sign, by which such words are known again.
const UNSIGNED: &str = "has no signature by a key in `trusted-public-keys`";

/// What this machine's store takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Imports {
    /// Everything.
    Anything,
    /// What is signed with a key of one of these names. Whether builders sign shows in what they build.
    Signed(BTreeSet<String>),
    /// Nothing that a builder builds.
    Nothing,
}

impl Imports {
    /// What the store takes from this user, by what its daemon says of trust and what is configured.
    pub fn of(trust: Trust, config: &NixConfig) -> Self {
        let trusted = match trust {
            Trust::Trusted => true,
            Trust::Untrusted => false,
            // A daemon before Nix 2.14 does not say. A group may have anybody as its member.
            Trust::Unknown => {
                let user = user_name();
                config.trusted_users.iter().any(|u| *u == user || u == "*" || u.starts_with('@'))
            }
        };
        if trusted || !config.require_sigs {
            return Imports::Anything;
        }
        let name = |key: &String| key.split(':').next().unwrap_or_default().to_owned();
        let keys: BTreeSet<String> =
            config.trusted_public_keys.iter().map(name).filter(|name| name != PUBLIC_CACHE).collect();
        if keys.is_empty() { Imports::Nothing } else { Imports::Signed(keys) }
    }

    /// Whether it takes a path of which a builder says this.
    pub fn takes(&self, info: &PathInfo) -> bool {
        let signed = |keys: &BTreeSet<String>| {
            info.sigs.iter().filter_map(|sig| sig.split_once(':')).any(|(name, _)| keys.contains(name))
        };
        match self {
            Imports::Anything => true,
            Imports::Signed(keys) => info.ca.is_some() || signed(keys),
            Imports::Nothing => info.ca.is_some(),
        }
    }

    /// Why other hosts are of no use, and what to do; `None` where they may be.
    pub fn objection(&self) -> Option<String> {
        let nothing = *self == Imports::Nothing;
        nothing.then(|| {
            format!("this machine's Nix refuses what other hosts build, for it is unsigned; {}", remedy())
        })
    }
}

/// What is to be said of a builder whose result `path` this machine's store does not take.
pub(super) fn unsigned(host: &str, path: &str) -> String {
    format!("what {host} built would be refused here: {path} {UNSIGNED}; {}", remedy())
}

/// Whether a message was made by [`unsigned`].
pub(super) fn is_unsigned(message: &str) -> bool {
    message.contains(UNSIGNED)
}

/// What lets this machine take in what others build.
pub(super) fn remedy() -> String {
    let user = user_name();
    format!(
        "add `extra-trusted-users = {user}` to /etc/nix/nix.conf here, or let the builders sign \
         (`secret-key-files` in their nix.conf) and add their keys to `extra-trusted-public-keys` here; then \
         restart the nix-daemon"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> NixConfig {
        NixConfig::from_text(text).unwrap()
    }

    const CACHE: &str = "trusted-public-keys = cache.nixos.org-1:abc\n";

    #[test]
    fn a_trusted_user_or_a_careless_store_takes_anything() {
        assert_eq!(Imports::of(Trust::Trusted, &config(CACHE)), Imports::Anything);
        let careless = config("require-sigs = false\n");
        assert_eq!(Imports::of(Trust::Untrusted, &careless), Imports::Anything);
    }

    #[test]
    fn a_daemon_that_does_not_say_is_judged_by_its_settings() {
        let of = |users: &str| Imports::of(Trust::Unknown, &config(&format!("trusted-users = {users}\n")));
        assert_eq!(of("nobody-of-that-name"), Imports::Nothing);
        for users in ["*", "@wheel", &user_name()] {
            assert_eq!(of(users), Imports::Anything, "{users}");
        }
    }

    #[test]
    fn an_untrusted_user_needs_signatures_by_a_known_key() {
        assert_eq!(Imports::of(Trust::Untrusted, &config(CACHE)), Imports::Nothing);
        let imports = Imports::of(
            Trust::Untrusted,
            &config("trusted-public-keys = cache.nixos.org-1:abc ours-1:def\n"),
        );
        assert!(imports.objection().is_none());
        let takes = |sigs: &[&str], ca: Option<&str>| {
            let sigs = sigs.iter().map(|s| (*s).to_owned()).collect();
            imports.takes(&PathInfo { sigs, ca: ca.map(str::to_owned), ..PathInfo::default() })
        };
        assert!(takes(&["ours-1:sig"], None) && takes(&[], Some("fixed:sha256:x")));
        assert!(!takes(&[], None) && !takes(&["theirs-1:sig", "ours-1"], None));
    }

    #[test]
    fn an_objection_names_the_line_and_the_file() {
        let text = Imports::Nothing.objection().unwrap();
        assert!(text.contains(&format!("`extra-trusted-users = {}` to /etc/nix/nix.conf", user_name())));
        assert!(is_unsigned(&unsigned("opal", "/nix/store/x")));
    }
}
