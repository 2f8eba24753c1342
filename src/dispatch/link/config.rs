//! What `ssh -G` prints: the user's configuration as it applies to one host.
//!
//! Reads text only; running ssh and looking at files is [`super::resolve`]'s.

use std::collections::BTreeMap;
use std::time::Duration;

/// One host's effective ssh configuration. Keys are lower-case, as `ssh -G` prints them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SshConfig {
    values: BTreeMap<String, Vec<String>>,
}

impl SshConfig {
    /// Reads the output of `ssh -G`: one `key value…` per line; keys may repeat.
    #[must_use]
    pub fn parse(text: &str) -> SshConfig {
        let mut values: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for line in text.lines() {
            if let Some((key, value)) = line.trim().split_once(' ') {
                values.entry(key.to_ascii_lowercase()).or_default().push(value.trim().to_owned());
            }
        }
        SshConfig { values }
    }

    /// The first value of `key`; `none` counts as no value.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.all(key).first().map(String::as_str).filter(|value| !value.eq_ignore_ascii_case("none"))
    }

    /// Every value of `key`, in order.
    #[must_use]
    pub fn all(&self, key: &str) -> &[String] {
        self.values.get(key).map_or(&[], Vec::as_slice)
    }

    /// Whether `key` is switched on. ssh prints `yes` or `true`, depending on key and version.
    #[must_use]
    pub fn is_on(&self, key: &str) -> bool {
        matches!(self.get(key), Some("yes" | "true"))
    }

    fn is_off(&self, key: &str) -> bool {
        matches!(self.get(key), Some("no" | "false"))
    }

    /// The name or address to connect to.
    #[must_use]
    pub fn hostname(&self) -> Option<&str> {
        self.get("hostname")
    }

    /// The remote user.
    #[must_use]
    pub fn user(&self) -> Option<&str> {
        self.get("user")
    }

    /// The port; 22 where ssh does not say.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.get("port").and_then(|port| port.parse().ok()).unwrap_or(22)
    }

    /// `ConnectTimeout`, where it is set.
    #[must_use]
    pub fn connect_timeout(&self) -> Option<Duration> {
        let seconds: u64 = self.get("connecttimeout")?.parse().ok()?;
        (seconds > 0).then(|| Duration::from_secs(seconds))
    }

    /// Known-hosts files, the user's before the global ones, unexpanded.
    pub(super) fn known_hosts_files(&self) -> impl Iterator<Item = &str> {
        ["userknownhostsfile", "globalknownhostsfile"]
            .into_iter()
            .filter_map(|key| self.get(key))
            .flat_map(str::split_whitespace)
    }

    /// The setting that libssh2 cannot satisfy, if there is one. `pinned` says that the host key
    /// comes from the machines file, whatever the settings about known hosts.
    #[must_use]
    pub fn beyond_libssh2(&self, pinned: bool) -> Option<String> {
        const SET: [&str; 10] = [
            "proxyjump",
            "proxycommand",
            "certificatefile",
            "pkcs11provider",
            "knownhostscommand",
            "revokedhostkeys",
            "bindaddress",
            "bindinterface",
            "setenv",
            "hostbasedauthentication",
        ];
        let set = SET.iter().find(|key| self.get(key).is_some() && !self.is_off(key));
        if let Some(key) = set {
            return Some(format!("{key} is set"));
        }
        if self.get("securitykeyprovider").is_some_and(|provider| provider != "internal") {
            return Some("securitykeyprovider is set".to_owned());
        }
        if self.is_off("pubkeyauthentication") {
            return Some("pubkeyauthentication is off".to_owned());
        }
        if !pinned {
            if let Some(how @ ("no" | "false" | "off" | "accept-new")) = self.get("stricthostkeychecking") {
                return Some(format!("stricthostkeychecking is {how}"));
            }
            for key in ["verifyhostkeydns", "nohostauthenticationforlocalhost"] {
                if self.is_on(key) {
                    return Some(format!("{key} is on"));
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &str = "host b\nuser nix\nhostname 10.0.0.5\nport 2222\nidentityfile ~/.ssh/id_a\n\
        identityfile ~/.ssh/id_b\nidentitiesonly yes\nconnecttimeout 7\nproxycommand none\n\
        securitykeyprovider internal\nstricthostkeychecking ask\nverifyhostkeydns false\n\
        hostbasedauthentication no\npubkeyauthentication true\n\
        userknownhostsfile /h/known_hosts /h/known_hosts2\nglobalknownhostsfile /etc/ssh/ssh_known_hosts\n";

    #[test]
    fn reads_what_ssh_prints() {
        let config = SshConfig::parse(SAMPLE);
        assert_eq!(config.hostname(), Some("10.0.0.5"));
        assert_eq!((config.user(), config.port()), (Some("nix"), 2222));
        assert_eq!(config.connect_timeout(), Some(Duration::from_secs(7)));
        assert_eq!(config.all("identityfile"), ["~/.ssh/id_a", "~/.ssh/id_b"]);
        assert!(config.is_on("identitiesonly"));
        let files: Vec<&str> = config.known_hosts_files().collect();
        assert_eq!(files, ["/h/known_hosts", "/h/known_hosts2", "/etc/ssh/ssh_known_hosts"]);
    }

    #[test]
    fn plain_settings_stay_with_libssh2_and_others_do_not() {
        assert_eq!(SshConfig::parse(SAMPLE).beyond_libssh2(false), None);
        for line in [
            "proxyjump bastion",
            "proxycommand nc %h %p",
            "certificatefile ~/.ssh/c",
            "securitykeyprovider /usr/lib/x.so",
            "pkcs11provider /usr/lib/y.so",
            "bindaddress 10.0.0.1",
            "stricthostkeychecking accept-new",
            "stricthostkeychecking false",
            "verifyhostkeydns true",
            "pubkeyauthentication false",
        ] {
            let config = SshConfig::parse(&format!("{line}\nhostname x\n"));
            assert!(config.beyond_libssh2(false).is_some(), "{line}");
        }
    }

    #[test]
    fn a_pinned_key_makes_known_hosts_settings_moot() {
        let config = SshConfig::parse("stricthostkeychecking false\nverifyhostkeydns true\n");
        assert_eq!(config.beyond_libssh2(true), None);
        assert!(SshConfig::parse("proxyjump b\n").beyond_libssh2(true).is_some());
    }

    #[test]
    fn nonsense_gives_defaults() {
        let config = SshConfig::parse("\u{0}\nport many\nconnecttimeout none\nlonely\n");
        assert_eq!((config.port(), config.connect_timeout(), config.hostname()), (22, None, None));
    }
}
