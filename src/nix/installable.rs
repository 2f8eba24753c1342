//! What to build, as written on the command line: text only, nothing looked up.
//!
//! `^out,dev` is taken off here and applied by this program, since Nix before 2.13 does not know it.
//! What an installable evaluates to is `dispatch/`'s affair.

use std::fmt;

/// One argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installable {
    /// What is meant.
    pub target: Target,
    /// Which of its outputs.
    pub outputs: Outputs,
}

/// What an installable stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A flake reference with its `#fragment`, as written; or a path, which may lead into the store.
    Reference(String),
    /// An attribute of the `--file` or `--expr`; empty for all of it.
    Attribute(String),
}

/// Which outputs are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outputs {
    /// Those that Nix would build: of an attribute, what its package says; of a `.drv`, all.
    Default,
    /// `^*`.
    All,
    /// `^out,dev`: ascending, each once.
    Named(Vec<String>),
}

/// An argument that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the installable '{text}' is not understood: {why}")]
pub struct BadInstallable {
    /// The argument.
    pub text: String,
    /// What is wrong.
    pub why: &'static str,
}

impl Installable {
    /// Reads a positional argument. With `in_expression` (there is a `--file` or `--expr`), what has
    /// no `#`, `/` or `:` outside quotes and begins with no `.` is an attribute of that.
    ///
    /// # Errors
    /// When the outputs after `^` are malformed, or the text would be taken for an option.
    pub fn parse(text: &str, in_expression: bool) -> Result<Self, BadInstallable> {
        let (target, outputs) = split_outputs(text)?;
        let reference = target.starts_with('.') || has_unquoted(target, &['#', '/', ':']);
        let target = target.to_owned();
        if in_expression && !reference {
            return Ok(Self { target: Target::Attribute(target), outputs });
        }
        if target.is_empty() {
            return Err(bad(text, "it names nothing to build; '.' is the flake in this directory"));
        }
        Ok(Self { target: Target::Reference(target), outputs })
    }

    /// Reads the argument of `-A`.
    ///
    /// # Errors
    /// As [`Installable::parse`].
    pub fn parse_attribute(text: &str) -> Result<Self, BadInstallable> {
        let (target, outputs) = split_outputs(text)?;
        Ok(Self { target: Target::Attribute(target.to_owned()), outputs })
    }

    /// The default package of the flake in this directory: what no arguments mean.
    pub fn here() -> Self {
        Self { target: Target::Reference(".".to_owned()), outputs: Outputs::Default }
    }
}

impl fmt::Display for Installable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Target::Reference(text) | Target::Attribute(text)) = &self.target;
        f.write_str(text)?;
        match &self.outputs {
            Outputs::Default => Ok(()),
            Outputs::All => f.write_str("^*"),
            Outputs::Named(names) => write!(f, "^{}", names.join(",")),
        }
    }
}

/// What a flake reference means if its fragment is one of the well-known configurations: the same
/// with the attribute of its derivation. `None` for all others.
pub fn configuration(reference: &str) -> Option<String> {
    let (_, fragment) = reference.split_once('#')?;
    let (set, name) = fragment.split_once('.')?;
    let name = match name.strip_prefix('"') {
        Some(rest) => rest.strip_suffix('"').filter(|inner| !inner.contains('"'))?,
        None => Some(name).filter(|n| !n.contains(['.', '"']))?,
    };
    let derivation = match set.strip_prefix('"').and_then(|s| s.strip_suffix('"')).unwrap_or(set) {
        "nixosConfigurations" => "config.system.build.toplevel",
        "darwinConfigurations" => "system",
        "homeConfigurations" => "activationPackage",
        _ => return None,
    };
    (!name.is_empty()).then(|| format!("{reference}.{derivation}"))
}

fn bad(text: &str, why: &'static str) -> BadInstallable {
    BadInstallable { text: text.to_owned(), why }
}

/// Takes `^…` off the end.
fn split_outputs(text: &str) -> Result<(&str, Outputs), BadInstallable> {
    if text.starts_with('-') {
        return Err(bad(text, "it begins with '-', as an option does"));
    }
    if text.contains('\0') {
        return Err(bad(text, "it has a NUL character in it"));
    }
    let Some((target, spec)) = text.rsplit_once('^') else { return Ok((text, Outputs::Default)) };
    if spec == "*" {
        return Ok((target, Outputs::All));
    }
    let mut names: Vec<String> = spec.split(',').map(str::to_owned).collect();
    let is_name =
        |n: &String| !n.is_empty() && n.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-._?=".contains(&b));
    if !names.iter().all(is_name) {
        return Err(bad(text, "after '^' come output names with commas between, or '*'"));
    }
    names.sort();
    names.dedup();
    Ok((target, Outputs::Named(names)))
}

/// Whether one of `wanted` stands outside double quotes.
fn has_unquoted(text: &str, wanted: &[char]) -> bool {
    let mut quoted = false;
    text.chars().any(|c| {
        quoted ^= c == '"';
        !quoted && wanted.contains(&c)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn named(names: &[&str]) -> Outputs {
        Outputs::Named(names.iter().map(|n| (*n).to_owned()).collect())
    }

    #[test]
    fn takes_outputs_off() {
        for (text, target, outputs) in [
            (".#a", ".#a", Outputs::Default),
            (".#a^*", ".#a", Outputs::All),
            (".#a^out,dev,out", ".#a", named(&["dev", "out"])),
            ("./x.drv^out", "./x.drv", named(&["out"])),
            ("nixpkgs", "nixpkgs", Outputs::Default),
            ("git+https://h/a^b?ref=c#d^lib", "git+https://h/a^b?ref=c#d", named(&["lib"])),
        ] {
            let i = Installable::parse(text, false).unwrap();
            assert_eq!((i.target, i.outputs), (Target::Reference(target.into()), outputs), "{text}");
        }
    }

    #[test]
    fn tells_attributes_from_references() {
        for attribute in ["tests", "a.b", r#"a."x/y#z:w".b"#, "hello^dev", ""] {
            let i = Installable::parse(attribute, true).unwrap();
            assert!(matches!(i.target, Target::Attribute(_)), "{attribute}");
        }
        for reference in [".", ".#a", "nixpkgs#a", "./x", "/nix/store/x.drv", "github:a/b", "path:x"] {
            let i = Installable::parse(reference, true).unwrap();
            assert!(matches!(i.target, Target::Reference(_)), "{reference}");
        }
        assert_eq!(Installable::parse_attribute("a/b").unwrap().target, Target::Attribute("a/b".into()));
    }

    #[test]
    fn refuses_what_cannot_be_meant() {
        for text in [".#a^", ".#a^out,", ".#a^o ut", "--impure", "^out", "a\0b"] {
            assert!(Installable::parse(text, false).is_err(), "{text}");
        }
    }

    #[test]
    fn knows_the_configurations() {
        for (reference, meant) in [
            (".#nixosConfigurations.x", Some(".#nixosConfigurations.x.config.system.build.toplevel")),
            (
                r#"/c#nixosConfigurations."my.host""#,
                Some(r#"/c#nixosConfigurations."my.host".config.system.build.toplevel"#),
            ),
            ("f#darwinConfigurations.mac", Some("f#darwinConfigurations.mac.system")),
            (r#".#homeConfigurations."me@h""#, Some(r#".#homeConfigurations."me@h".activationPackage"#)),
            (".#nixosConfigurations.x.config", None),
            (r#".#nixosConfigurations."a".b"#, None),
            (".#nixosConfigurations", None),
            (".#nixosConfigurations.", None),
            (r#".#nixosConfigurations."""#, None),
            (".#packages.x", None),
            ("nixosConfigurations.x", None),
        ] {
            assert_eq!(configuration(reference).as_deref(), meant, "{reference}");
        }
    }

    proptest! {
        #[test]
        fn shows_as_it_is_read(text in "([a-z.#/:^,*\"\\-]|\\PC){0,30}", file in any::<bool>()) {
            let _ = configuration(&text);
            if let Ok(i) = Installable::parse(&text, file) {
                prop_assert_eq!(&Installable::parse(&i.to_string(), file).unwrap(), &i);
            }
        }
    }
}
