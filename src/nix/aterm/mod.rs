//! The text of a `.drv` file, exactly: what a builder is sent is made from this.
//!
//! Nix's strings are bytes, so arguments and environment are kept as such. The parser takes just what
//! Nix writes: whatever it accepts is written back as the same bytes.

mod parse;
#[cfg(test)]
mod tests;

use super::assemble::{BadDerivation, OutputParts, Parts};
use super::attributes::Environment;
use super::derivation::Derivation;
use super::store_path::{BadStorePath, StorePath};

/// A derivation as its `.drv` file has it, in the order of the file.
///
/// Its own path is not in the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recipe {
    /// The outputs.
    pub outputs: Vec<RecipeOutput>,
    /// Paths of input derivations, with the outputs used of each.
    pub input_drvs: Vec<(String, Vec<String>)>,
    /// Paths of source inputs.
    pub input_srcs: Vec<String>,
    /// The Nix system, or `builtin`.
    pub system: String,
    /// The builder program: a path, or `builtin:…`.
    pub builder: String,
    /// Its arguments.
    pub args: Vec<Vec<u8>>,
    /// Its environment. Structured attributes are the value of `__json` here, byte for byte.
    pub env: Vec<(String, Vec<u8>)>,
}

/// One output as the `.drv` file has it; what is not known is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecipeOutput {
    /// `out`, `dev`, ….
    pub name: String,
    /// Where it will be.
    pub path: String,
    /// For a fixed output the algorithm, after `r:` if it is of the archive and not of the one file.
    pub hash_algo: String,
    /// For a fixed output the hash, in hexadecimal digits.
    pub hash: String,
}

/// Why the text of a `.drv` file could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AtermError {
    /// It is not what Nix writes, or ends too early.
    #[error("the .drv text is wrong at byte {offset}: expected {expected}, found {found}")]
    Syntax {
        /// From the beginning, counted from 0.
        offset: usize,
        /// What should be there.
        expected: &'static str,
        /// The bytes that are there, or that it ends.
        found: String,
    },
    /// It is in the form with a version, which Nix uses for dynamic derivations.
    #[error(
        "the .drv text is of version '{version}', which is for dynamic derivations; drvdispatch cannot build \
         these yet; build it with `nix build`"
    )]
    Version {
        /// The version it says it has.
        version: String,
    },
}

/// Reads the text of a `.drv` file.
///
/// # Errors
/// When it is not exactly as Nix writes it, to the last byte; and when it is a dynamic derivation.
pub fn parse_drv(text: &[u8]) -> Result<Recipe, AtermError> {
    parse::recipe(text)
}

impl Recipe {
    /// The text of the `.drv` file.
    pub fn write(&self) -> Vec<u8> {
        let mut out = b"Derive(".to_vec();
        list(&mut out, &self.outputs, |out, output| {
            let fields = [&output.name, &output.path, &output.hash_algo, &output.hash];
            between(out, b'(', b')', fields, |out, field| string(out, field.as_bytes()));
        });
        out.push(b',');
        list(&mut out, &self.input_drvs, |out, (path, used)| {
            out.push(b'(');
            string(out, path.as_bytes());
            out.push(b',');
            list(out, used, |out, name| string(out, name.as_bytes()));
            out.push(b')');
        });
        out.push(b',');
        list(&mut out, &self.input_srcs, |out, path| string(out, path.as_bytes()));
        out.push(b',');
        string(&mut out, self.system.as_bytes());
        out.push(b',');
        string(&mut out, self.builder.as_bytes());
        out.push(b',');
        list(&mut out, &self.args, |out, arg| string(out, arg));
        out.push(b',');
        list(&mut out, &self.env, |out, (name, value)| {
            between(out, b'(', b')', [name.as_bytes(), value], string);
        });
        out.push(b')');
        out
    }

    /// The facts that scheduling needs, the same as from `nix derivation show`.
    ///
    /// # Errors
    /// When a path in it is none, or it is of a kind that cannot be built yet.
    pub fn facts(&self, path: StorePath) -> Result<Derivation, BadDerivation> {
        let outputs: Result<_, BadDerivation> = self.outputs.iter().map(RecipeOutput::parts).collect();
        let input_srcs: Result<_, BadStorePath> =
            self.input_srcs.iter().map(|src| StorePath::parse(src)).collect();
        let input_drv = |(drv, used): &(String, Vec<String>)| Ok((StorePath::parse(drv)?, used.clone()));
        let input_drvs: Result<_, BadStorePath> = self.input_drvs.iter().map(input_drv).collect();
        let mut environment = Environment::default();
        for (name, value) in &self.env {
            if let Some(slot) = environment.slot(name.as_bytes()) {
                // Bytes that are no text cannot bear on scheduling; what is executed is the recipe.
                *slot = Some(String::from_utf8_lossy(value));
            }
        }
        let parts = Parts {
            path,
            system: &self.system,
            builder: &self.builder,
            outputs: outputs?,
            input_srcs: input_srcs?,
            input_drvs: input_drvs?,
            environment: &environment,
            structured: None,
        };
        parts.assemble()
    }

    /// The value of an environment variable.
    pub fn variable(&self, name: &str) -> Option<&[u8]> {
        self.env.iter().find(|(key, _)| key == name).map(|(_, value)| &**value)
    }
}

impl RecipeOutput {
    fn parts(&self) -> Result<OutputParts<'_>, BadDerivation> {
        let known = |text| Some(text).filter(|text: &&str| !text.is_empty());
        Ok(OutputParts {
            name: &self.name,
            path: known(&self.path).map(StorePath::parse).transpose()?,
            method: None,
            algo: known(&self.hash_algo),
            hash: known(&self.hash),
            impure: false,
        })
    }
}

fn list<T>(out: &mut Vec<u8>, items: impl IntoIterator<Item = T>, item: impl FnMut(&mut Vec<u8>, T)) {
    between(out, b'[', b']', items, item);
}

fn between<T>(
    out: &mut Vec<u8>,
    open: u8,
    close: u8,
    items: impl IntoIterator<Item = T>,
    mut write: impl FnMut(&mut Vec<u8>, T),
) {
    out.push(open);
    for (place, item) in items.into_iter().enumerate() {
        if place > 0 {
            out.push(b',');
        }
        write(out, item);
    }
    out.push(close);
}

/// A string in quotes, with the five escapes that Nix has.
fn string(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'"');
    for byte in bytes {
        match byte {
            b'"' | b'\\' => out.extend([b'\\', *byte]),
            b'\n' => out.extend(b"\\n"),
            b'\r' => out.extend(b"\\r"),
            b'\t' => out.extend(b"\\t"),
            other => out.push(*other),
        }
    }
    out.push(b'"');
}
