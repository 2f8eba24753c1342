//! What counts as the same build: names without versions, and words that names have in common.

/// Languages whose packages are named after the interpreter: `python3.13-…`, `perl5.40.0-…`.
const INTERPRETERS: [&str; 5] = ["python", "perl", "ruby", "lua", "php"];

/// Splits `gcc-14.3.0` into `gcc` and `14.3.0`: the version begins after the first dash that no letter
/// follows, as in Nix's `parseDrvName`. Without such a dash the version is empty.
pub fn pname_version(name: &str) -> (&str, &str) {
    let bytes = name.as_bytes();
    let dash = bytes.windows(2).position(|pair| pair[0] == b'-' && !pair[1].is_ascii_alphabetic());
    match dash {
        Some(at) => (&name[..at], &name[at + 1..]),
        None => (name, ""),
    }
}

/// Splits `python3.13-flit-core` into `python` and `flit-core`: an interpreter with its version, then a
/// name.
pub(super) fn module(name: &str) -> Option<(&'static str, &str)> {
    INTERPRETERS.iter().find_map(|language| {
        let (version, module) = name.strip_prefix(language)?.split_once('-')?;
        let versioned = version.starts_with(|c: char| c.is_ascii_digit())
            && version.chars().all(|c| c.is_ascii_digit() || c == '.');
        (versioned && module.starts_with(|c: char| c.is_alphabetic())).then_some((*language, module))
    })
}

/// The name class: the language of a module, otherwise the first word of the name without digits at its
/// end. `gst-plugins-base` and `gst-libav` are both of `gst`, `qt6-svg` and `qt5-base` of `qt`.
pub(super) fn name_class(pname: &str) -> &str {
    if let Some((language, _)) = module(pname) {
        return language;
    }
    let word = pname.split(['-', '_', '.', '+']).next().unwrap_or(pname);
    let stem = word.trim_end_matches(|c: char| c.is_ascii_digit());
    if stem.is_empty() { word } else { stem }
}

/// The first number of a version; `None` where there is none, or where it is a date: no digit of a date
/// stands for another generation.
fn major(version: &str) -> Option<&str> {
    let end = version.find(|c: char| !c.is_ascii_digit()).unwrap_or(version.len());
    (1..=3).contains(&end).then(|| &version[..end])
}

/// Whether two versions differ in their first number.
pub(super) fn major_differs(one: &str, other: &str) -> bool {
    match (major(one), major(other)) {
        (Some(one), Some(other)) => one != other,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_are_split_as_nix_does() {
        for (name, expected) in [
            ("gcc-14.3.0", ("gcc", "14.3.0")),
            ("gcc-wrapper-14.3.0", ("gcc-wrapper", "14.3.0")),
            ("hello", ("hello", "")),
            ("python3.13-flit-core-3.12.0", ("python3.13-flit-core", "3.12.0")),
            ("a--b", ("a", "-b")),
            ("a-", ("a-", "")),
            ("-1", ("", "1")),
            ("", ("", "")),
            ("naïve-é-2", ("naïve", "é-2")),
        ] {
            assert_eq!(pname_version(name), expected, "{name}");
        }
    }

    #[test]
    fn names_have_classes() {
        for (pname, class) in [
            ("python3.13-flit-core", "python"),
            ("perl5.40.0-Test-Requires", "perl"),
            ("python3", "python"),
            ("perl-wrapper", "perl"),
            ("gst-plugins-base", "gst"),
            ("libxml2", "libxml"),
            ("7zz", "7zz"),
            ("7", "7"),
            ("", ""),
        ] {
            assert_eq!(name_class(pname), class, "{pname}");
        }
        assert_eq!(module("python3.13-flit-core"), Some(("python", "flit-core")));
        assert_eq!(module("python3-3.13"), None);
    }

    #[test]
    fn only_another_generation_is_a_major_change() {
        assert!(major_differs("13.2", "14.0"));
        assert!(!major_differs("14.3", "14.0"));
        assert!(!major_differs("", "1"));
        assert!(!major_differs("20240101", "20250101"), "dates");
        assert!(!major_differs("2024.1", "2025.1"), "dates");
        assert!(!major_differs("unstable", "2"));
    }

    proptest! {
        #[test]
        fn nothing_is_lost(name in "[a-z0-9.+é-]{0,20}") {
            let (pname, version) = pname_version(&name);
            let rest = name.len() - pname.len() - version.len();
            prop_assert!(rest <= 1 && name.starts_with(pname) && name.ends_with(version));
            prop_assert_eq!(rest == 0, pname == name);
            prop_assert!(pname.starts_with(name_class(pname)));
        }
    }
}
