//! What counts as the same build: names without versions.

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

#[cfg(test)]
mod tests {
    use super::*;

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
}
