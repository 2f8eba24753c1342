//! What `nix --version` says, and which command names follow from it.

use std::fmt;

/// A Nix by version and maker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NixVersion {
    /// As in 2.34: the 2.
    pub major: u32,
    /// The 34. Determinate Nix counts by the Nix that it is made from.
    pub minor: u32,
    /// Who made it.
    pub flavour: Flavour,
    /// The whole line, for messages.
    pub text: String,
}

/// The Nix implementations in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavour {
    /// NixOS/nix.
    Nix,
    /// Lix.
    Lix,
    /// Determinate Nix.
    Determinate,
}

impl NixVersion {
    /// The oldest that has what is needed.
    pub const OLDEST: (u32, u32) = (2, 4);

    /// Reads `nix (Nix) 2.8.0`, `nix (Lix, like Nix) 2.91.0` or `nix (Determinate Nix 3.8.5) 2.30.2`;
    /// `None` if that is not it.
    pub fn parse(output: &str) -> Option<Self> {
        let text = output.lines().find(|line| line.starts_with("nix"))?.trim();
        let mut numbers = text.rsplit(' ').next()?.split('.');
        let digits =
            |part: &str| part.chars().take_while(char::is_ascii_digit).collect::<String>().parse().ok();
        let (major, minor) = (digits(numbers.next()?)?, digits(numbers.next()?)?);
        let flavour = match text {
            t if t.contains("(Lix") => Flavour::Lix,
            t if t.contains("(Determinate") => Flavour::Determinate,
            _ => Flavour::Nix,
        };
        Some(Self { major, minor, flavour, text: text.to_owned() })
    }

    /// Whether this is `major.minor` or later.
    pub fn at_least(&self, major: u32, minor: u32) -> bool {
        (self.major, self.minor) >= (major, minor)
    }

    /// The words for `nix config show`, likeliest first: `nix show-config` before 2.20.
    pub fn config_show(&self) -> [&'static [&'static str]; 2] {
        let (new, old): (&[_], &[_]) = (&["config", "show"], &["show-config"]);
        if self.at_least(2, 20) { [new, old] } else { [old, new] }
    }

    /// The words for `nix derivation show`: `nix show-derivation` before 2.15.
    pub fn derivation_show(&self) -> &'static [&'static str] {
        if self.has_stdin() { &["derivation", "show"] } else { &["show-derivation"] }
    }

    /// Whether installables can be read from standard input (`--stdin`, from 2.15 on).
    pub fn has_stdin(&self) -> bool {
        self.at_least(2, 15)
    }
}

impl fmt::Display for NixVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_each_maker() {
        for (text, flavour, major, minor) in [
            ("nix (Nix) 2.8.0", Flavour::Nix, 2, 8),
            ("nix (Nix) 2.19.0pre20231003_abcdef\n", Flavour::Nix, 2, 19),
            ("nix (Nix) 2.4pre-rc1", Flavour::Nix, 2, 4),
            ("warning: x\nnix (Lix, like Nix) 2.91.0\n", Flavour::Lix, 2, 91),
            ("nix (Determinate Nix 3.8.5) 2.30.2", Flavour::Determinate, 2, 30),
        ] {
            let v = NixVersion::parse(text).unwrap();
            assert_eq!((v.flavour, v.major, v.minor), (flavour, major, minor), "{text}");
        }
        assert_eq!(NixVersion::parse("nix: command not found"), None);
        assert_eq!(NixVersion::parse("nix (Nix) 2"), None);
    }

    #[test]
    fn knows_which_words_to_use() {
        let of = |text| NixVersion::parse(text).unwrap();
        assert_eq!(of("nix (Nix) 2.19.2").config_show()[0], ["show-config"]);
        assert_eq!(of("nix (Nix) 2.20.0").config_show()[0], ["config", "show"]);
        assert_eq!(of("nix (Nix) 2.14.1").derivation_show(), ["show-derivation"]);
        assert_eq!(of("nix (Lix, like Nix) 2.90.0").derivation_show(), ["derivation", "show"]);
    }

    proptest! {
        #[test]
        fn never_panics(text in "(nix )?(\\PC|\n|[0-9.]){0,40}") {
            let _ = NixVersion::parse(&text);
        }
    }
}
