//! From what the user asks for to root derivations, by way of the `nix` command.
//!
//! Evaluation is `nix build --dry-run --json`, which from Nix 2.4 on writes the derivations and lists
//! them in the order of its arguments. So arguments are evaluated together, in
//! one call for flakes and one for each set of outputs wanted of a file; an argument that stands for
//! several derivations, or none, is told by their number, and then each is evaluated by itself.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

use super::nix_cli::{EvalOptions, NixCli, NixError, Stderr};
use crate::nix::{
    BadInstallable, DryRunEntry, DryRunFilter, Installable, Outputs, StorePath, Target, configuration,
    parse_drv, parse_dry_run,
};

/// One derivation that the user asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Root {
    /// The derivation, which is in the store.
    pub drv: StorePath,
    /// The outputs wanted of it, by name, ascending; at least one.
    pub outputs: Vec<(String, StorePath)>,
    /// The number of the argument that it comes from; the next number where there were none or the
    /// expression as a whole is meant. Where one attribute of a file is an empty set and another
    /// holds several derivations, theirs may be counted to the empty one.
    pub from: usize,
}

/// An argument, in the order of the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Argument {
    /// A positional one.
    Installable(String),
    /// That of `-A`.
    Attribute(String),
}

/// Why there are no roots.
#[derive(Debug, thiserror::Error)]
pub enum EvalError {
    /// An argument cannot be read.
    #[error(transparent)]
    Argument(#[from] BadInstallable),
    /// `-A` without anything to look it up in.
    #[error("-A {0} needs a --file or --expr to look it up in; for a flake, write '.#{0}'")]
    AttributeOfNothing(String),
    /// Two expressions.
    #[error("--file and --expr exclude each other")]
    TwoExpressions,
    /// Nix failed; what went wrong it has said itself, on stderr.
    #[error(transparent)]
    Nix(#[from] NixError),
    /// Nix printed what it should not.
    #[error("the output of `nix build --dry-run --json` is not understood: {0}")]
    Json(String),
    /// There is nothing to build.
    #[error(
        "{}, which is no derivation, so there is nothing to build; name a package, or a .drv file",
        if installable == path { format!("{path} is a store path") } else { format!("'{installable}' is {path}") }
    )]
    NoDerivation {
        /// The argument.
        installable: String,
        /// The store path that it stands for.
        path: String,
    },
    /// A derivation file that is missing or broken.
    #[error("cannot read {drv}: {why}")]
    Derivation {
        /// The derivation.
        drv: StorePath,
        /// What is wrong.
        why: String,
    },
    /// A wrong `^name`.
    #[error("{drv} has no output '{output}'; it has: {known}")]
    NoSuchOutput {
        /// The derivation.
        drv: StorePath,
        /// The name.
        output: String,
        /// Those it has.
        known: String,
    },
    /// A content-addressed or impure derivation.
    #[error(
        "the output '{output}' of {drv} has no path before it is built; such derivations are not supported yet, build it with `nix build`"
    )]
    Floating {
        /// The derivation.
        drv: StorePath,
        /// The output.
        output: String,
    },
}

/// Evaluates.
pub struct Evaluator<'a> {
    /// The command.
    pub nix: &'a NixCli,
    /// What to pass through to it.
    pub options: &'a EvalOptions,
    /// The store directory, `/nix/store` as a rule: which paths on the command line are store paths.
    pub store_dir: &'a str,
    /// Reads a `.drv` file; [`read_drv_file`], but for tests.
    pub read_drv: &'a dyn Fn(&StorePath) -> io::Result<Vec<u8>>,
    /// Gets what Nix says: all of its stderr but the dry run's lists.
    pub stderr: Stderr<'a>,
}

/// Reads a `.drv` file where its path says.
///
/// # Errors
/// As [`std::fs::read`].
pub fn read_drv_file(drv: &StorePath) -> io::Result<Vec<u8>> {
    std::fs::read(drv.as_str())
}

/// A derivation before its outputs are looked up.
struct Found {
    from: usize,
    drv: StorePath,
    /// What Nix would build of it.
    default: Option<Vec<(String, Option<String>)>>,
}

impl Evaluator<'_> {
    /// The derivations that the arguments stand for, in their order. None at all means the default
    /// package of the flake in this directory, or all of the `--file` or `--expr`; so does an
    /// expression of which no attribute is asked for.
    ///
    /// # Errors
    /// When an argument is wrong, Nix fails, or there is nothing to build.
    pub fn roots(&mut self, arguments: &[Argument]) -> Result<Vec<Root>, EvalError> {
        let installables = self.read(arguments)?;
        let mut found = Vec::new();
        let mut references = Vec::new();
        let mut attributes: BTreeMap<String, Vec<(usize, String)>> = BTreeMap::new();
        for (from, installable) in installables.iter().enumerate() {
            match &installable.target {
                Target::Reference(text) => match self.store_path(text) {
                    Some(drv) if drv.is_derivation() => found.push(Found { from, drv, default: None }),
                    Some(path) => return Err(no_derivation(installable, path.as_str())),
                    None => references.push((from, self.meant(text)?)),
                },
                Target::Attribute(path) => {
                    // An argument may stand for several derivations, so that a right number of results
                    // can be chance; with one choice of outputs for all in a call, no harm is done.
                    let outputs =
                        Installable { target: Target::Attribute(String::new()), ..installable.clone() };
                    attributes.entry(outputs.to_string()).or_default().push((from, path.clone()));
                }
            }
        }
        let calls = std::iter::once((false, references)).chain(attributes.into_values().map(|a| (true, a)));
        for (in_expression, group) in calls {
            found.extend(self.evaluate(&group, in_expression, &installables)?);
        }
        found.sort_by_key(|f| f.from);
        found.into_iter().map(|f| self.root(f, &installables)).collect()
    }

    fn read(&self, arguments: &[Argument]) -> Result<Vec<Installable>, EvalError> {
        let in_expression = self.options.in_expression();
        if self.options.file.is_some() && self.options.expr.is_some() {
            return Err(EvalError::TwoExpressions);
        }
        let mut installables = Vec::with_capacity(arguments.len() + 1);
        for argument in arguments {
            installables.push(match argument {
                Argument::Installable(text) => Installable::parse(text, in_expression)?,
                Argument::Attribute(text) if !in_expression => {
                    return Err(EvalError::AttributeOfNothing(text.clone()));
                }
                Argument::Attribute(text) => Installable::parse_attribute(text)?,
            });
        }
        if in_expression && !installables.iter().any(|i| matches!(i.target, Target::Attribute(_))) {
            installables.push(Installable::parse_attribute("")?);
        }
        if installables.is_empty() {
            installables.push(Installable::here());
        }
        Ok(installables)
    }

    /// The store path that an argument is or leads to, by symlinks too.
    fn store_path(&self, text: &str) -> Option<StorePath> {
        // A flake reference may be of the store too, with a `#` or `?` in it.
        if !text.contains('/') || text.contains(['#', '?', ':']) {
            return None;
        }
        let in_store = |text: &str| StorePath::parse(text).ok().filter(|p| p.store_dir() == self.store_dir);
        in_store(text).or_else(|| in_store(Path::new(text).canonicalize().ok()?.to_str()?))
    }

    /// The reference itself, or that of the derivation of the configuration that it names.
    fn meant(&mut self, reference: &str) -> Result<String, EvalError> {
        let Some(derivation) = configuration(reference) else { return Ok(reference.to_owned()) };
        let mut args = vec!["eval".to_owned(), "--json".to_owned()];
        args.extend(self.options.flags(false));
        let test = r#"x: (x.type or null) == "derivation""#;
        args.extend([reference, "--apply", test].map(str::to_owned));
        // What it has to say, it says again when the thing itself is evaluated.
        match self.nix.run(&args, None, &mut |_| ()) {
            Ok(json) if json.trim_ascii() == b"false" => Ok(derivation),
            Ok(_) | Err(NixError::Failed { .. }) => Ok(reference.to_owned()),
            Err(e) => Err(e.into()),
        }
    }

    /// Evaluates a group of arguments, all of them in the expression or none.
    fn evaluate(
        &mut self,
        group: &[(usize, String)],
        in_expression: bool,
        installables: &[Installable],
    ) -> Result<Vec<Found>, EvalError> {
        // Each text once, so that no version's way with repetitions matters; in their order, so that
        // the roots are in that order whichever argument they are counted to.
        let mut seen = BTreeSet::new();
        let texts = group.iter().map(|(_, text)| text.as_str()).filter(|text| seen.insert(*text));
        let texts: Vec<&str> = texts.collect();
        if texts.is_empty() {
            return Ok(Vec::new());
        }
        let together = self.dry_run(&texts, in_expression)?;
        let lists: Vec<Vec<DryRunEntry>> = if texts.len() == 1 {
            vec![together]
        } else if together.len() == texts.len() {
            together.into_iter().map(|entry| vec![entry]).collect()
        } else {
            texts.iter().map(|text| self.dry_run(&[text], in_expression)).collect::<Result<_, _>>()?
        };
        let by_text: BTreeMap<&str, Vec<DryRunEntry>> = texts.into_iter().zip(lists).collect();
        let mut found = Vec::new();
        for (from, text) in group {
            for entry in by_text.get(text.as_str()).into_iter().flatten() {
                let drv = StorePath::parse(&entry.path).map_err(|e| EvalError::Json(e.to_string()))?;
                // A `.drv` as a path and no more is what an attribute's `drvPath` comes to.
                if !drv.is_derivation() {
                    return Err(no_derivation(&installables[*from], drv.as_str()));
                }
                found.push(Found { from: *from, drv, default: entry.outputs.clone() });
            }
        }
        Ok(found)
    }

    fn dry_run(&mut self, texts: &[&str], in_expression: bool) -> Result<Vec<DryRunEntry>, EvalError> {
        let mut args: Vec<String> = ["build", "--dry-run", "--json", "--no-link"].map(str::to_owned).to_vec();
        args.extend(self.options.flags(in_expression));
        // The whole of an expression is what Nix takes '.' for there.
        args.extend(texts.iter().map(|t| (if t.is_empty() { "." } else { t }).to_owned()));
        let mut filter = DryRunFilter::default();
        let stderr = &mut self.stderr;
        let json = self.nix.run(&args, None, &mut |line| {
            if filter.keep(line) {
                stderr(line);
            }
        })?;
        parse_dry_run(&json).map_err(EvalError::Json)
    }

    /// Looks up the outputs.
    fn root(&self, found: Found, installables: &[Installable]) -> Result<Root, EvalError> {
        let Found { from, drv, default } = found;
        let wanted = match (&installables[from].outputs, default) {
            (Outputs::Default, Some(outputs)) => outputs,
            (Outputs::Default | Outputs::All, _) => self.outputs(&drv)?,
            (Outputs::Named(names), _) => named(&drv, names, &self.outputs(&drv)?)?,
        };
        let mut outputs = Vec::with_capacity(wanted.len());
        for (output, path) in wanted {
            let path =
                path.ok_or_else(|| EvalError::Floating { drv: drv.clone(), output: output.clone() })?;
            let path = StorePath::parse(&path).map_err(|e| EvalError::Json(e.to_string()))?;
            outputs.push((output, path));
        }
        outputs.sort();
        if outputs.is_empty() {
            return Err(EvalError::Json(format!("{drv} has no outputs")));
        }
        Ok(Root { drv, outputs, from })
    }

    /// All outputs of a derivation, from its file.
    fn outputs(&self, drv: &StorePath) -> Result<Vec<(String, Option<String>)>, EvalError> {
        let broken = |why: String| EvalError::Derivation { drv: drv.clone(), why };
        let text = (self.read_drv)(drv).map_err(|e| broken(e.to_string()))?;
        let recipe = parse_drv(&text).map_err(|e| broken(e.to_string()))?;
        let known = |path: String| Some(path).filter(|p| !p.is_empty());
        Ok(recipe.outputs.into_iter().map(|o| (o.name, known(o.path))).collect())
    }
}

/// Those of a derivation's outputs that are asked for by name.
fn named(
    drv: &StorePath,
    names: &[String],
    all: &[(String, Option<String>)],
) -> Result<Vec<(String, Option<String>)>, EvalError> {
    let find = |output: &String| {
        all.iter().find(|(name, _)| name == output).cloned().ok_or_else(|| EvalError::NoSuchOutput {
            drv: drv.clone(),
            output: output.clone(),
            known: all.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", "),
        })
    };
    names.iter().map(find).collect()
}

fn no_derivation(installable: &Installable, path: &str) -> EvalError {
    EvalError::NoDerivation { installable: installable.to_string(), path: path.to_owned() }
}

#[cfg(test)]
mod tests;
