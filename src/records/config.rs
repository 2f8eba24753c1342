//! The user's configuration: `$XDG_CONFIG_HOME/drvdispatch/config.toml`.
//!
//! It has two tables, `[policy]` and `[cost]`, whose keys are the parameters of [`Policy`] and
//! [`CostParams`]. What is not there is as by default. Written to only by `drvdispatch tune`, and only the
//! values: comments, order and everything else stay as the user has them.

use std::fs;
use std::io::{self, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

use toml_edit::{Document, DocumentMut, Item, TableLike};

use crate::base::{Parameter, Value};
use crate::cost::CostParams;
use crate::sched::Policy;

const POLICY: &str = "policy";
const COST: &str = "cost";

/// What the configuration says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Config {
    /// The default policy with the user's numbers.
    pub policy: Policy,
    /// The default estimator with the user's numbers.
    pub cost: CostParams,
}

/// A new value for a parameter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Change {
    /// Of the policy.
    Policy(&'static str, Value),
    /// Of the estimator.
    Cost(&'static str, Value),
}

/// What is wrong with a configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// There is no home directory to look for it in.
    #[error("no place for the configuration: neither XDG_CONFIG_HOME nor HOME is set to an absolute path")]
    NoHome,
    /// The file could not be read.
    #[error("cannot read {}: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },
    /// It says something that cannot be.
    #[error("{}:{line}: {why}", path.display())]
    Wrong { path: PathBuf, line: usize, why: String },
    /// The file could not be written.
    #[error("cannot write {}: {source}; to have the new values, put there:\n{lines}", path.display())]
    Write { path: PathBuf, source: io::Error, lines: String },
}

/// A file that is there or may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigFile {
    path: PathBuf,
}

/// Something wrong, where in the text.
type Mistake = (Option<Range<usize>>, String);

impl Change {
    fn parts(self) -> (&'static str, &'static str, Value) {
        match self {
            Change::Policy(name, value) => (POLICY, name, value),
            Change::Cost(name, value) => (COST, name, value),
        }
    }
}

impl ConfigFile {
    /// The user's own, by the XDG base directory specification.
    ///
    /// # Errors
    /// There is no home directory.
    pub fn of_user() -> Result<ConfigFile, ConfigError> {
        super::config_dir().map(|dir| ConfigFile::at(dir.join("config.toml"))).ok_or(ConfigError::NoHome)
    }

    /// Any file.
    pub fn at(path: impl Into<PathBuf>) -> ConfigFile {
        ConfigFile { path: path.into() }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What it says; the defaults if it is not there.
    ///
    /// # Errors
    /// It cannot be read, or says something that cannot be.
    pub fn read(&self) -> Result<Config, ConfigError> {
        let text = self.text()?;
        parse(&text).map_err(|(span, why)| {
            let before = &text.as_bytes()[..span.map_or(0, |span| span.start).min(text.len())];
            let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
            ConfigError::Wrong { path: self.path.clone(), line, why }
        })
    }

    /// Writes new values, and makes the file if it is not there. A file that is a link stays one.
    ///
    /// # Errors
    /// It cannot be read or written, or is wrong already: then it stays as it is.
    pub fn write(&self, changes: &[Change]) -> Result<(), ConfigError> {
        self.read()?;
        let mut document: DocumentMut = self.text()?.parse().unwrap_or_default();
        changes.iter().for_each(|change| put(&mut document, *change));
        self.replace(&document.to_string()).map_err(|source| {
            let mut lines = DocumentMut::new();
            changes.iter().for_each(|change| put(&mut lines, *change));
            ConfigError::Write {
                path: self.path.clone(),
                source,
                lines: lines.to_string().trim_end().to_owned(),
            }
        })
    }

    fn text(&self) -> Result<String, ConfigError> {
        match fs::read_to_string(&self.path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(String::new()),
            other => other.map_err(|source| ConfigError::Read { path: self.path.clone(), source }),
        }
    }

    /// In one step, so that nobody ever reads half of it.
    fn replace(&self, text: &str) -> io::Result<()> {
        let real = match fs::canonicalize(&self.path) {
            // A link that leads nowhere is left alone.
            Err(e) if e.kind() == io::ErrorKind::NotFound && !self.path.is_symlink() => self.path.clone(),
            other => other?,
        };
        let dir = real.parent().unwrap_or(Path::new("/"));
        fs::create_dir_all(dir)?;
        let mut new = tempfile::NamedTempFile::new_in(dir)?;
        new.write_all(text.as_bytes())?;
        if let Ok(old) = fs::metadata(&real) {
            new.as_file().set_permissions(old.permissions())?;
        }
        new.as_file().sync_all()?;
        new.persist(&real)?;
        Ok(())
    }
}

fn parse(text: &str) -> Result<Config, Mistake> {
    let document = Document::parse(text).map_err(|e| (e.span(), e.message().to_owned()))?;
    let mut config = Config::default();
    for (key, item) in document.as_table().iter() {
        let at = || document.as_table().key(key).and_then(toml_edit::Key::span);
        let table = |item: &'_ Item| item.is_table_like();
        match key {
            POLICY if table(item) => read_table(item, key, Policy::PARAMETERS, &mut config.policy)?,
            COST if table(item) => read_table(item, key, CostParams::PARAMETERS, &mut config.cost)?,
            POLICY | COST => return Err((at(), format!("'{key}' has to be a table: write [{key}]"))),
            _ => {
                return Err((at(), format!("there is no table '{key}' here; there are [policy] and [cost]")));
            }
        }
    }
    Ok(config)
}

fn read_table<T>(item: &Item, of: &str, known: &[Parameter<T>], into: &mut T) -> Result<(), Mistake> {
    let Some(table) = item.as_table_like() else { return Ok(()) };
    for (key, item) in table.iter() {
        let Some(parameter) = known.iter().find(|parameter| parameter.name == key) else {
            let at = table.key(key).and_then(toml_edit::Key::span);
            return Err((at, unknown(of, key, known.iter().map(|parameter| parameter.name))));
        };
        let value = value_of(item).filter(|value| parameter.domain.holds(*value));
        let Some(value) = value else {
            let at = item.span().or_else(|| table.key(key).and_then(toml_edit::Key::span));
            let written = item.to_string();
            let why = format!("{of}.{key} is {}; it has to be {}", written.trim(), parameter.domain);
            return Err((at, why));
        };
        (parameter.set)(into, value);
    }
    Ok(())
}

fn unknown<'a>(of: &str, key: &str, known: impl Iterator<Item = &'a str>) -> String {
    let known: Vec<&str> = known.collect();
    let close = known.iter().max_by(|a, b| strsim::jaro(a, key).total_cmp(&strsim::jaro(b, key)));
    match close.filter(|close| strsim::jaro(close, key) > 0.8) {
        Some(close) => format!("there is no parameter '{key}' in [{of}]; is '{close}' meant?"),
        None => format!("there is no parameter '{key}' in [{of}]; there are {}", known.join(", ")),
    }
}

fn value_of(item: &Item) -> Option<Value> {
    let integer = item.as_integer().map(|n| Value::Number(n as f64));
    integer.or_else(|| item.as_float().map(Value::Number)).or_else(|| item.as_bool().map(Value::Switch))
}

/// Sets a value; the comment beside an old one stays.
fn put(document: &mut DocumentMut, change: Change) {
    let (table, name, value) = change.parts();
    let whole = |n: f64| n.fract() == 0.0 && n.abs() < 1e15;
    let mut new = match value {
        Value::Switch(on) => toml_edit::Value::from(on),
        Value::Number(n) if whole(n) => toml_edit::Value::from(n as i64),
        Value::Number(n) => toml_edit::Value::from(n),
    };
    let root: &mut dyn TableLike = document.as_table_mut();
    let Some(table) = root.entry(table).or_insert_with(toml_edit::table).as_table_like_mut() else { return };
    if let Some(old) = table.get(name).and_then(Item::as_value) {
        *new.decor_mut() = old.decor().clone();
    }
    match table.get_mut(name) {
        Some(item) => *item = Item::Value(new),
        None => drop(table.insert(name, Item::Value(new))),
    }
}

#[cfg(test)]
mod tests;
