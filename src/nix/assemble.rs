//! From what a format says to a [`Derivation`]: the checks that hold for the JSON and for the `.drv` text.
//!
//! Here also ends every derivation that cannot be built right yet: one with outputs whose paths are
//! not known beforehand.

use super::attributes::Environment;
use super::derivation::{Derivation, Output};
use super::fixed_output::{BadHash, FixedHash};
use super::store_path::{BadStorePath, StorePath, check_name, shorten};

/// Why something that could be read is no derivation that can be built.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadDerivation {
    /// Its paths are only known once something was built.
    #[error("{} {unsupported}, which drvdispatch cannot build yet; build it with `nix build`", what(.at))]
    Unsupported {
        /// Of what kind it is.
        unsupported: Unsupported,
        /// The output or the input derivation that makes it so.
        at: String,
    },
    /// A store path in it is none.
    #[error(transparent)]
    Path(#[from] BadStorePath),
    /// Its own path does not end in `.drv`.
    #[error("its path '{0}' does not end in '.drv'")]
    NotDerivation(StorePath),
    /// Its name is not the one in its path.
    #[error("its name '{0}' is not the one in its path")]
    Name(String),
    /// It does not say its inputs in any way that is known.
    #[error("{0}")]
    Inputs(&'static str),
    /// It builds nothing.
    #[error("it has no outputs")]
    NoOutputs,
    /// An output cannot be called so.
    #[error("it has an output '{name}': {why}")]
    OutputName {
        /// The name.
        name: String,
        /// What it breaks.
        why: &'static str,
    },
    /// An output is there twice.
    #[error("its output '{0}' is there twice")]
    DuplicateOutput(String),
    /// An input derivation is there twice.
    #[error("its input '{0}' is there twice")]
    DuplicateInput(StorePath),
    /// An input derivation is something else.
    #[error("its input derivation '{0}' does not end in '.drv'")]
    InputNotDerivation(StorePath),
    /// The hash of a fixed output.
    #[error("its output '{output}': {source}")]
    Hash {
        /// The output.
        output: String,
        /// What is wrong with the hash.
        source: BadHash,
    },
    /// A structured attribute of the wrong type.
    #[error("its attribute '{name}' is not {wanted}")]
    Attribute {
        /// The attribute.
        name: &'static str,
        /// What it should be.
        wanted: &'static str,
    },
    /// The structured attributes cannot be read.
    #[error("its structured attributes are not right: {0}")]
    Structured(String),
}

/// The kinds of derivations whose output paths are not known beforehand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsupported {
    /// An output's path comes from what is built.
    Floating,
    /// An output's path depends on a floating output.
    Deferred,
    /// Built anew each time.
    Impure,
    /// An input derivation is itself the output of a build.
    Dynamic,
}

impl std::fmt::Display for Unsupported {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Floating => "is floating content-addressed",
            Self::Deferred => "is deferred (it depends on a content-addressed derivation)",
            Self::Impure => "is impure",
            Self::Dynamic => "is dynamic (a derivation made by a build)",
        })
    }
}

/// An output is called by its name, an input by its path.
fn what(at: &str) -> String {
    if at.starts_with('/') { format!("its input '{at}'") } else { format!("its output '{at}'") }
}

/// What a derivation says of itself, taken apart but not yet checked.
#[derive(Debug)]
pub(super) struct Parts<'a> {
    pub(super) path: StorePath,
    pub(super) system: &'a str,
    pub(super) builder: &'a str,
    pub(super) outputs: Vec<OutputParts<'a>>,
    pub(super) input_srcs: Vec<StorePath>,
    pub(super) input_drvs: Vec<(StorePath, Vec<String>)>,
    pub(super) environment: &'a Environment<'a>,
    /// Structured attributes as JSON text, where they are not in the environment.
    pub(super) structured: Option<&'a str>,
}

/// An output, taken apart but not yet checked. What the format leaves empty is `None`.
#[derive(Debug, Default)]
pub(super) struct OutputParts<'a> {
    pub(super) name: &'a str,
    pub(super) path: Option<StorePath>,
    pub(super) method: Option<&'a str>,
    pub(super) algo: Option<&'a str>,
    pub(super) hash: Option<&'a str>,
    pub(super) impure: bool,
}

impl Parts<'_> {
    /// Checks everything and brings it into order.
    pub(super) fn assemble(self) -> Result<Derivation, BadDerivation> {
        let name = match self.path.derivation_name() {
            Some(name) => name.to_owned(),
            None => return Err(BadDerivation::NotDerivation(self.path)),
        };
        let dir = self.path.store_dir();
        let outputs: Result<_, _> = self.outputs.into_iter().map(|output| output.check(dir, &name)).collect();
        let outputs = in_order(outputs?)?;
        let mut input_srcs = self.input_srcs;
        input_srcs.sort_unstable();
        input_srcs.dedup();
        let input_drvs = check_inputs(self.input_drvs)?;
        let attributes = self.environment.read(self.structured)?;
        Ok(Derivation {
            name,
            pname: attributes.pname,
            version: attributes.version,
            system: self.system.to_owned(),
            builder: self.builder.to_owned(),
            outputs,
            input_srcs,
            input_drvs,
            options: attributes.options,
            path: self.path,
        })
    }
}

impl OutputParts<'_> {
    fn check(self, store_dir: &str, drv_name: &str) -> Result<Output, BadDerivation> {
        check_name(self.name.as_bytes())
            .map_err(|why| BadDerivation::OutputName { name: shorten(self.name), why })?;
        let unsupported =
            |unsupported| Err(BadDerivation::Unsupported { unsupported, at: self.name.to_owned() });
        let hashed = self.algo.is_some() || self.method.is_some();
        let (path, fixed) = match (self.hash, self.path) {
            (Some("impure"), _) => return unsupported(Unsupported::Impure),
            _ if self.impure => return unsupported(Unsupported::Impure),
            (Some(_), Some(path)) => (path, true),
            (Some(hash), None) => {
                let hash = FixedHash::parse(self.method, self.algo, hash)
                    .map_err(|source| BadDerivation::Hash { output: self.name.to_owned(), source })?;
                let path = match self.name {
                    "out" => hash.path(store_dir, drv_name),
                    other => hash.path(store_dir, &format!("{drv_name}-{other}")),
                };
                (path?, true)
            }
            (None, _) if hashed => return unsupported(Unsupported::Floating),
            (None, Some(path)) => (path, false),
            (None, None) => return unsupported(Unsupported::Deferred),
        };
        Ok(Output { name: self.name.to_owned(), path, fixed })
    }
}

fn in_order(mut outputs: Vec<Output>) -> Result<Vec<Output>, BadDerivation> {
    outputs.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    if let Some(pair) = outputs.windows(2).find(|pair| pair[0].name == pair[1].name) {
        return Err(BadDerivation::DuplicateOutput(pair[0].name.clone()));
    }
    if outputs.is_empty() {
        return Err(BadDerivation::NoOutputs);
    }
    Ok(outputs)
}

type InputDrvs = Vec<(StorePath, Vec<String>)>;

fn check_inputs(mut inputs: InputDrvs) -> Result<InputDrvs, BadDerivation> {
    inputs.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    if let Some(pair) = inputs.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        return Err(BadDerivation::DuplicateInput(pair[0].0.clone()));
    }
    if let Some((path, _)) = inputs.iter().find(|(path, _)| !path.is_derivation()) {
        return Err(BadDerivation::InputNotDerivation(path.clone()));
    }
    for (_, outputs) in &mut inputs {
        outputs.sort_unstable();
        outputs.dedup();
    }
    Ok(inputs)
}
