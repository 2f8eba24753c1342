//! Nix's effective configuration, as `nix config show` prints it.
//!
//! From Nix 2.4 on the JSON is `{NAME: {"value": …}}`; the text form, for whatever cannot print that,
//! is `NAME = VALUE` lines. Values come as numbers, booleans, lists or strings depending on version, so
//! each is taken in any of those forms. Settings that are missing have Nix's defaults.

use std::collections::BTreeMap;

use serde_json::Value;

/// The settings that bear on this program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NixConfig {
    /// `system`; empty if the configuration does not say.
    pub system: String,
    /// `extra-platforms`.
    pub extra_platforms: Vec<String>,
    /// `system-features`.
    pub system_features: Vec<String>,
    /// `max-jobs`.
    pub max_jobs: MaxJobs,
    /// `cores`: for each build; 0 stands for all, and for what nobody has set.
    pub cores: u32,
    /// `builders`, to be read by [`super::parse_machines`].
    pub builders: String,
    /// `builders-use-substitutes`.
    pub builders_use_substitutes: bool,
    /// `store`.
    pub store: String,
    /// The store directory, where the configuration has it (no Nix so far does).
    pub store_dir: Option<String>,
    /// `trusted-users`.
    pub trusted_users: Vec<String>,
    /// `trusted-public-keys`, each `NAME:KEY`.
    pub trusted_public_keys: Vec<String>,
    /// `require-sigs`.
    pub require_sigs: bool,
    /// `substitute`.
    pub substitute: bool,
    /// `substituters`.
    pub substituters: Vec<String>,
    /// `max-silent-time` in seconds; 0 stands for no limit.
    pub max_silent_time: u64,
    /// `timeout` in seconds; 0 stands for no limit.
    pub timeout: u64,
    /// `connect-timeout` in seconds; 0 stands for the system's.
    pub connect_timeout: u64,
    /// `sandbox`: `true`, `false` or `relaxed`.
    pub sandbox: String,
    /// `keep-going`.
    pub keep_going: bool,
    /// `keep-failed`.
    pub keep_failed: bool,
    /// `log-lines`: how much of a failed build's log is shown.
    pub log_lines: u32,
}

/// `max-jobs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MaxJobs {
    /// As many as there are processors.
    Auto,
    /// So many; 0 means that nothing is built here.
    Number(u32),
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Not JSON, or not an object.
    #[error("the output of `nix config show --json` is not understood: {0}")]
    Json(String),
    /// A setting has a value that it cannot have.
    #[error("the Nix setting '{name}' has the value '{value}', which is not {wanted}")]
    Value {
        /// Which.
        name: &'static str,
        /// What it is, shortened.
        value: String,
        /// What it should be.
        wanted: &'static str,
    },
}

impl NixConfig {
    /// Reads `nix config show --json` (`nix show-config --json` before Nix 2.20).
    ///
    /// # Errors
    /// When it is not such JSON, or a setting is of no use.
    pub fn from_json(json: &[u8]) -> Result<Self, ConfigError> {
        let mut all: BTreeMap<String, Value> =
            serde_json::from_slice(json).map_err(|e| ConfigError::Json(e.to_string()))?;
        // For a long time the default was the number of this machine's processors, which says nothing of builders.
        let is_default =
            |entry: &Value| entry.get("value").is_some_and(|v| entry.get("defaultValue") == Some(v));
        if all.get("cores").is_some_and(is_default) {
            all.remove("cores");
        }
        let value = |entry: Value| match entry {
            Value::Object(mut fields) => fields.remove("value").unwrap_or(Value::Null),
            plain => plain,
        };
        Settings(all.into_iter().map(|(name, entry)| (name, value(entry))).collect()).read()
    }

    /// Reads `nix config show` without `--json`. A line that begins no setting goes on with the last:
    /// `builders` may have several lines.
    ///
    /// # Errors
    /// When a setting is of no use.
    pub fn from_text(text: &str) -> Result<Self, ConfigError> {
        let mut settings: Vec<(&str, String)> = Vec::new();
        for line in text.lines() {
            let is_name =
                |n: &str| !n.is_empty() && n.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
            match line.split_once(" =").filter(|(n, v)| is_name(n) && (v.is_empty() || v.starts_with(' '))) {
                Some((name, value)) => settings.push((name, value.trim().to_owned())),
                None => {
                    if let Some((_, value)) = settings.last_mut() {
                        value.push('\n');
                        value.push_str(line);
                    }
                }
            }
        }
        Settings(settings.into_iter().map(|(n, v)| (n.to_owned(), Value::String(v))).collect()).read()
    }
}

struct Settings(BTreeMap<String, Value>);

impl Settings {
    fn read(&self) -> Result<NixConfig, ConfigError> {
        let max_jobs = match self.text("max-jobs", "1").trim() {
            "auto" => MaxJobs::Auto,
            _ => MaxJobs::Number(self.number("max-jobs", 1)?),
        };
        Ok(NixConfig {
            system: self.text("system", "").trim().to_owned(),
            extra_platforms: self.list("extra-platforms"),
            system_features: self.list("system-features"),
            max_jobs,
            cores: self.number("cores", 0)?,
            builders: self.text("builders", "@/etc/nix/machines"),
            builders_use_substitutes: self.flag("builders-use-substitutes", false)?,
            store: self.text("store", "auto"),
            store_dir: self.0.get("store-dir").map(plain),
            trusted_users: self.list("trusted-users"),
            trusted_public_keys: self.list("trusted-public-keys"),
            require_sigs: self.flag("require-sigs", true)?,
            substitute: self.flag("substitute", true)?,
            substituters: self.list("substituters"),
            max_silent_time: self.number("max-silent-time", 0)?,
            timeout: self.number("timeout", 0)?,
            connect_timeout: self.number("connect-timeout", 0)?,
            sandbox: self.text("sandbox", "true"),
            keep_going: self.flag("keep-going", false)?,
            keep_failed: self.flag("keep-failed", false)?,
            log_lines: self.number("log-lines", 25)?,
        })
    }

    fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name).filter(|v| !v.is_null())
    }

    fn text(&self, name: &str, default: &str) -> String {
        self.get(name).map_or_else(|| default.to_owned(), plain)
    }

    fn list(&self, name: &str) -> Vec<String> {
        match self.get(name) {
            Some(Value::Array(items)) => items.iter().map(plain).collect(),
            Some(other) => plain(other).split_whitespace().map(str::to_owned).collect(),
            None => Vec::new(),
        }
    }

    fn number<N: TryFrom<u64>>(&self, name: &'static str, default: N) -> Result<N, ConfigError> {
        let Some(value) = self.get(name) else { return Ok(default) };
        let number = plain(value).trim().parse::<u64>().ok().and_then(|n| n.try_into().ok());
        number.ok_or_else(|| bad(name, value, "a whole number in range"))
    }

    fn flag(&self, name: &'static str, default: bool) -> Result<bool, ConfigError> {
        let Some(value) = self.get(name) else { return Ok(default) };
        match plain(value).trim() {
            "true" | "yes" | "1" => Ok(true),
            "false" | "no" | "0" => Ok(false),
            _ => Err(bad(name, value, "true or false")),
        }
    }
}

fn bad(name: &'static str, value: &Value, wanted: &'static str) -> ConfigError {
    ConfigError::Value { name, value: plain(value).chars().take(80).collect(), wanted }
}

/// A value as nix.conf would have it.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join(" "),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const JSON: &str = r#"{
        "builders": {"aliases": [], "defaultValue": "@/etc/nix/machines", "value": "ssh://a\nssh://b"},
        "cores": {"value": 2}, "max-jobs": {"value": 4}, "sandbox": {"value": "relaxed"},
        "builders-use-substitutes": {"value": true}, "extra-platforms": {"value": ["i686-linux"]},
        "system": {"value": "x86_64-linux"}, "system-features": {"value": ["kvm", "nixos-test"]},
        "trusted-users": {"value": ["root", "@wheel"]}, "timeout": {"value": 60},
        "access-tokens": {"value": {}}, "max-free": {"value": 18446744073709551615}
    }"#;
    const TEXT: &str = "access-tokens = \nbuilders = ssh://a\nssh://b\ncores = 2\nmax-jobs = 4\n\
        sandbox = relaxed\nbuilders-use-substitutes = true\nextra-platforms = i686-linux\n\
        system = x86_64-linux\nsystem-features = kvm nixos-test\ntrusted-users = root @wheel\ntimeout = 60\n";

    #[test]
    fn both_forms_say_the_same() {
        let config = NixConfig::from_json(JSON.as_bytes()).unwrap();
        assert_eq!(config, NixConfig::from_text(TEXT).unwrap());
        assert_eq!(config.builders, "ssh://a\nssh://b");
        assert_eq!((config.max_jobs, config.cores), (MaxJobs::Number(4), 2));
        assert_eq!(config.trusted_users, ["root", "@wheel"]);
        assert!(config.builders_use_substitutes && config.substitute);
    }

    #[test]
    fn missing_settings_have_nixs_defaults() {
        let config = NixConfig::from_json(b"{}").unwrap();
        assert_eq!((config.builders.as_str(), config.max_jobs), ("@/etc/nix/machines", MaxJobs::Number(1)));
        assert_eq!((config.log_lines, config.timeout, config.keep_going), (25, 0, false));
    }

    #[test]
    fn the_default_of_cores_is_no_number_that_anybody_chose() {
        let cores = |text: &str| NixConfig::from_json(text.as_bytes()).unwrap().cores;
        assert_eq!(cores(r#"{"cores": {"defaultValue": 16, "value": 16}}"#), 0);
        assert_eq!(cores(r#"{"cores": {"defaultValue": 16, "value": 4}}"#), 4);
        assert_eq!(cores(r#"{"cores": {"defaultValue": 0, "value": 0}}"#), 0);
        assert_eq!(cores(r#"{"cores": 4}"#), 4);
    }

    #[test]
    fn takes_strings_for_numbers_and_lists() {
        let config = NixConfig::from_json(
            br#"{"max-jobs":{"value":"auto"},"cores":"0","extra-platforms":{"value":"a b"},"keep-going":1}"#,
        )
        .unwrap();
        assert_eq!((config.max_jobs, config.cores, config.keep_going), (MaxJobs::Auto, 0, true));
        assert_eq!(config.extra_platforms, ["a", "b"]);
    }

    #[test]
    fn says_which_setting_is_wrong() {
        let error = |json: &str| NixConfig::from_json(json.as_bytes()).unwrap_err().to_string();
        insta::assert_snapshot!(error(r#"{"max-jobs":{"value":-1}}"#), @"the Nix setting 'max-jobs' has the value '-1', which is not a whole number in range");
        insta::assert_snapshot!(error(r#"{"keep-going":"maybe"}"#), @"the Nix setting 'keep-going' has the value 'maybe', which is not true or false");
        assert!(error("[1]").starts_with("the output of `nix config show --json` is not understood"));
    }

    proptest! {
        #[test]
        fn never_panics(text in "(\\PC|\n){0,200}", json in "[{}\\[\\]\":,a-z0-9]{0,60}") {
            let _ = NixConfig::from_text(&text);
            let _ = NixConfig::from_json(json.as_bytes());
        }
    }
}
