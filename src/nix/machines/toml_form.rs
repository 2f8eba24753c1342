//! The TOML form of a machines file, as Lix 2.95 and later have it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::Spanned;

use super::{Machine, MachinesError, Origin, check_host_key, parse_factor, parse_jobs};
use crate::nix::store_uri::StoreUri;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: Option<u16>,
    #[serde(default)]
    machines: BTreeMap<String, Spanned<Entry>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Entry {
    uri: String,
    system_types: Option<Vec<String>>,
    ssh_key: Option<String>,
    jobs: Option<u32>,
    speed_factor: Option<f64>,
    #[serde(default)]
    supported_features: Vec<String>,
    #[serde(default)]
    mandatory_features: Vec<String>,
    ssh_public_host_key: Option<String>,
    #[serde(alias = "enable")]
    enabled: Option<bool>,
}

/// The machines, in the order written; `None` if the text is not in this form.
pub(super) fn parse(
    text: &str,
    system: &str,
    file: Option<&Path>,
) -> Result<Option<Vec<Machine>>, MachinesError> {
    if !is_meant(text, file) {
        return Ok(None);
    }
    let at = |offset: usize| {
        let line = text.bytes().take(offset).filter(|b| *b == b'\n').count() + 1;
        Origin { file: file.map(Path::to_owned), line }
    };
    let parsed: File = toml::from_str(text).map_err(|e| MachinesError::Toml {
        origin: at(e.span().map_or(0, |span| span.start)),
        why: e.message().to_owned(),
    })?;
    if let Some(version) = parsed.version.filter(|v| *v != 1) {
        let why = format!("version {version} of the machines file is unknown; only version 1 is");
        return Err(MachinesError::Toml { origin: at(0), why });
    }
    let mut entries: Vec<_> = parsed.machines.into_iter().collect();
    entries.sort_by_key(|(_, entry)| entry.span().start);
    entries
        .into_iter()
        .filter(|(_, entry)| entry.get_ref().enabled != Some(false))
        .map(|(name, entry)| machine(name, at(entry.span().start), entry.into_inner(), system))
        .collect::<Result<_, _>>()
        .map(Some)
}

/// Whether this is TOML, or was meant to be.
fn is_meant(text: &str, file: Option<&Path>) -> bool {
    if text.lines().any(|line| line.trim_start().starts_with("[machines")) {
        return true;
    }
    match toml::from_str::<toml::Table>(text) {
        // A file of comments is both; it comes to nothing either way.
        Ok(table) => !table.is_empty(),
        Err(_) => file.and_then(Path::extension).is_some_and(|ext| ext == "toml"),
    }
}

fn machine(name: String, origin: Origin, entry: Entry, system: &str) -> Result<Machine, MachinesError> {
    let bad = |field, why: String| MachinesError::Field {
        origin: origin.clone(),
        field,
        why: format!("machine '{name}': {why}"),
    };
    let uri = StoreUri::parse(&entry.uri).map_err(|why| bad("uri", why))?;
    let speed = parse_factor(&entry.speed_factor.unwrap_or(1.0).to_string());
    let speed = speed.map_err(|why| bad("speed-factor", why))?;
    let max_jobs = parse_jobs(&entry.jobs.unwrap_or(1).to_string()).map_err(|why| bad("jobs", why))?;
    let host_key = match entry.ssh_public_host_key {
        Some(key) => check_host_key(&key).map_err(|why| bad("ssh-public-host-key", why))?,
        None => match uri.params.get("base64-ssh-public-host-key") {
            Some(key) => super::decode_host_key(key).map_err(|why| bad("uri", why))?,
            None => None,
        },
    };
    let key = entry.ssh_key.filter(|k| !k.is_empty()).or_else(|| uri.params.get("ssh-key").cloned());
    Ok(Machine {
        systems: entry.system_types.unwrap_or_else(|| vec![system.to_owned()]),
        key: key.map(PathBuf::from),
        max_jobs,
        speed,
        features: entry.supported_features,
        mandatory: entry.mandatory_features,
        host_key,
        uri,
        origin,
        alias: Some(name),
    })
}
