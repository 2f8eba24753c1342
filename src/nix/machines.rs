//! The `builders` setting and machines files: text in, machines out.
//!
//! The line form follows Nix's machines.cc, the TOML form ([`toml_form`]) Lix. Files are read by a
//! callback, so nothing here touches the disk. Which machines a run uses is `fleet/`'s affair.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::numbers::{parse_jobs, parse_speed};
use super::store_uri::StoreUri;

mod toml_form;

/// `@file` within `@file` at most this deep.
const MAX_DEPTH: usize = 16;
/// Files read for one setting at most, so that files that name others twice cannot blow up.
const MAX_FILES: usize = 256;

/// One builder.
#[derive(Clone, Debug, PartialEq)]
pub struct Machine {
    /// Its name in the TOML form.
    pub alias: Option<String>,
    /// Where it is.
    pub uri: StoreUri,
    /// The systems it builds for, as written, each once.
    pub systems: Vec<String>,
    /// The private key to log in with, from its field or `?ssh-key=`.
    pub key: Option<PathBuf>,
    /// Builds at a time; 0 means that it is never used.
    pub max_jobs: u32,
    /// Relative speed; finite and above 0.
    pub speed: f64,
    /// Features it supports, without the mandatory ones.
    pub features: Vec<String>,
    /// Features that a derivation must require to be built there.
    pub mandatory: Vec<String>,
    /// Its public host key, `ssh-ed25519 AAAA…`, from its field or `?base64-ssh-public-host-key=`.
    pub host_key: Option<String>,
    /// Where it is written.
    pub origin: Origin,
}

/// A place in the setting or in a machines file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The file; `None` is the `builders` setting itself.
    pub file: Option<PathBuf>,
    /// The line, from 1.
    pub line: usize,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.file {
            Some(file) => write!(f, "{}:{}", file.display(), self.line),
            None => write!(f, "`builders`, line {}", self.line),
        }
    }
}

/// What a `builders` setting comes to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Machines {
    /// The machines that can be reached over ssh, in the order written, those with 0 jobs included.
    pub list: Vec<Machine>,
    /// One warning for each machine that cannot be used here: where, what, why.
    pub warnings: Vec<String>,
    /// Files named by `@` that are not there; Nix passes over them in silence.
    pub missing: Vec<PathBuf>,
}

/// Why a `builders` setting cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum MachinesError {
    /// A field is wrong.
    #[error("{origin}: {field}: {why}")]
    Field {
        /// Where.
        origin: Origin,
        /// The field, by name and number.
        field: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// A file cannot be read.
    #[error("{origin}: cannot read the machines file '{}': {cause}", file.display())]
    Read {
        /// Where it is named.
        origin: Origin,
        /// The file.
        file: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// A file names itself by way of others, or the nesting or number of files is absurd.
    #[error("{origin}: '@{}' {why}", file.display())]
    Nesting {
        /// Where it is named.
        origin: Origin,
        /// The file.
        file: PathBuf,
        /// What is wrong.
        why: &'static str,
    },
    /// A TOML machines file is wrong.
    #[error("{origin}: {why}")]
    Toml {
        /// Where.
        origin: Origin,
        /// What the parser said.
        why: String,
    },
}

/// Reads a `builders` setting. `system` is for machines that name none; `read` gives the text of a
/// file named by `@`.
///
/// # Errors
/// The first wrong field, unreadable file (a missing one is passed over), or circular `@file`.
pub fn parse_machines(
    builders: &str,
    system: &str,
    read: &mut dyn FnMut(&Path) -> io::Result<String>,
) -> Result<Machines, MachinesError> {
    let mut reader = Reader { system, read, files: 0, stack: Vec::new(), out: Machines::default() };
    reader.text(builders, None)?;
    Ok(reader.out)
}

struct Reader<'a> {
    system: &'a str,
    read: &'a mut dyn FnMut(&Path) -> io::Result<String>,
    files: usize,
    stack: Vec<PathBuf>,
    out: Machines,
}

impl Reader<'_> {
    fn text(&mut self, text: &str, file: Option<&Path>) -> Result<(), MachinesError> {
        if let Some(machines) = toml_form::parse(text, self.system, file)? {
            machines.into_iter().for_each(|m| self.push(m));
            return Ok(());
        }
        for (number, line) in text.split('\n').enumerate() {
            let origin = Origin { file: file.map(Path::to_owned), line: number + 1 };
            // The comment goes before the `;` split: `a # b; c` is one machine.
            let line = line.split('#').next().unwrap_or("");
            for entry in line.split(';').map(|e| e.trim_matches(is_blank)).filter(|e| !e.is_empty()) {
                match entry.strip_prefix('@') {
                    Some(path) => self.file(Path::new(path.trim_matches(is_blank)), origin.clone())?,
                    None => {
                        let machine = parse_entry(entry, self.system, origin.clone())?;
                        self.push(machine);
                    }
                }
            }
        }
        Ok(())
    }

    fn file(&mut self, path: &Path, origin: Origin) -> Result<(), MachinesError> {
        let nesting = |why| MachinesError::Nesting { origin: origin.clone(), file: path.to_owned(), why };
        if self.stack.iter().any(|open| open == path) {
            return Err(nesting("includes itself; take one of the '@' lines out"));
        }
        if self.stack.len() >= MAX_DEPTH || self.files >= MAX_FILES {
            return Err(nesting("is one file too many; put the machines into fewer files"));
        }
        self.files += 1;
        match (self.read)(path) {
            Ok(text) => {
                self.stack.push(path.to_owned());
                self.text(&text, Some(path))?;
                self.stack.pop();
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => self.out.missing.push(path.to_owned()),
            Err(cause) => return Err(MachinesError::Read { origin, file: path.to_owned(), cause }),
        }
        Ok(())
    }

    fn push(&mut self, machine: Machine) {
        match machine.uri.unsupported() {
            None => self.out.list.push(machine),
            Some(why) => {
                let warning = format!("{}: the machine '{}' is left out: {why}", machine.origin, machine.uri);
                self.out.warnings.push(warning);
            }
        }
    }
}

/// What C's tokenizer takes for space.
fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r')
}

/// Reads one line of fields.
fn parse_entry(entry: &str, system: &str, origin: Origin) -> Result<Machine, MachinesError> {
    let fields: Vec<&str> = entry.split(is_blank).filter(|f| !f.is_empty()).collect();
    let field = |i: usize| fields.get(i).copied().filter(|f| *f != "-");
    let bad = |field, why| MachinesError::Field { origin: origin.clone(), field, why };

    let uri = field(0).ok_or_else(|| bad(NAMES[0], "it is missing".to_owned()))?;
    let uri = StoreUri::parse(uri).map_err(|why| bad(NAMES[0], why))?;
    let max_jobs = match field(3) {
        Some(text) => parse_jobs(text).map_err(|why| bad(NAMES[3], why))?,
        None => 1,
    };
    let speed = match field(4) {
        Some(text) => parse_factor(text).map_err(|why| bad(NAMES[4], why))?,
        None => 1.0,
    };
    let param = |key: &str| uri.params.get(key).filter(|v| !v.is_empty()).cloned();
    let host_key = match field(7).map(str::to_owned).or_else(|| param("base64-ssh-public-host-key")) {
        Some(text) => decode_host_key(&text).map_err(|why| bad(NAMES[7], why))?,
        None => None,
    };
    Ok(Machine {
        alias: None,
        systems: field(1).map_or_else(|| vec![system.to_owned()], commas),
        key: field(2).map(str::to_owned).or_else(|| param("ssh-key")).map(PathBuf::from),
        max_jobs,
        speed,
        features: field(5).map(commas).unwrap_or_default(),
        mandatory: field(6).map(commas).unwrap_or_default(),
        host_key,
        uri,
        origin,
    })
}

const NAMES: [&str; 8] = [
    "store URI (field 1)",
    "systems (field 2)",
    "ssh key (field 3)",
    "maximum jobs (field 4)",
    "speed factor (field 5)",
    "supported features (field 6)",
    "mandatory features (field 7)",
    "public host key (field 8)",
];

/// A comma list as a set that keeps its order.
fn commas(list: &str) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    for item in list.split(',').filter(|item| !item.is_empty()) {
        if !out.iter().any(|seen| seen == item) {
            out.push(item.to_owned());
        }
    }
    out
}

/// A speed factor; 0 stands for 1.
fn parse_factor(text: &str) -> Result<f64, String> {
    if text.parse() == Ok(0.0) { Ok(1.0) } else { parse_speed(text) }
}

/// Decodes the host key of field 8: base64 of a whole public key line.
fn decode_host_key(text: &str) -> Result<Option<String>, String> {
    let config = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let bytes = GeneralPurpose::new(&base64::alphabet::STANDARD, config).decode(text).map_err(|e| {
        format!("it is not base64 ({e}); write `base64 -w0` of the host's ssh_host_…_key.pub")
    })?;
    let key = String::from_utf8(bytes).map_err(|_| "it does not decode to a line of text".to_owned())?;
    check_host_key(&key)
}

/// A public key line: one line, algorithm and key.
fn check_host_key(key: &str) -> Result<Option<String>, String> {
    let key = key.trim();
    if key.is_empty() {
        return Ok(None);
    }
    if key.contains(['\n', '\0']) || key.split_whitespace().count() < 2 {
        return Err("it is not one line 'ALGORITHM KEY', as in ssh_host_ed25519_key.pub".to_owned());
    }
    Ok(Some(key.to_owned()))
}

#[cfg(test)]
mod tests;
