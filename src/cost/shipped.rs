//! What packages usually take, from public measurements: a table shipped in the binary.
//!
//! `prior.tsv` has 1,321 packages by their names in Nix, tabulated by `scripts/tabulate-prior` from times
//! that others published: Linux From Scratch and Beyond Linux From Scratch (nine of ten, in units that are
//! taken as 100 s on one core), a log of Buildroot, Phoronix's builds of compilers and kernels, a rebuild
//! of Debian etch, and what users report of browsers and compilers. All are normalised to one core of one
//! machine, which is a host of speed 1. The unit is between what Buildroot's 21 common packages come to
//! (33 s each, in parallel) and what Phoronix's come to (129 to 208 s on the threads of one machine).
//!
//! A package is off by a factor of e^0.63, about 1.9, as a rule. What a fleet's builds have to do with the
//! table altogether is learned, see `levels`.

use super::names::module;
use super::prior::OutputClass;

/// One package's line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Shipped {
    /// Seconds on one core of a host of speed 1.
    pub seconds: f64,
    /// Bytes of the source's archive, 0 where unknown.
    pub source_size: u64,
}

const TABLE: &str = include_str!("prior.tsv");
/// What is appended to the names of packages that are built in more than one way.
const ENDS: [&str; 13] = [
    "-unwrapped",
    "-minimal",
    "-minimal-libs",
    "-headless",
    "-full",
    "-interactive",
    "-bootstrap",
    "-nightly",
    "-apng",
    "-with-icons",
    "-dev",
    "-lib",
    "-static",
];
const STARTS: [&str; 2] = ["bootstrap-", "host-"];
/// A compiler that the standard environment is bootstrapped with.
const SAME: [(&str, &str); 4] =
    [("xgcc", "gcc"), ("clang", "llvm"), ("git-minimal", "git"), ("linux-zen", "linux")];

/// The lines by name, ascending.
#[derive(Clone, Debug)]
pub(super) struct Table(Vec<(&'static str, Shipped)>);

impl Table {
    /// The shipped table.
    pub fn new() -> Table {
        let line = |line: &'static str| {
            let mut fields = line.split('\t');
            let name = fields.next()?;
            let seconds: f64 = fields.next()?.parse().ok()?;
            let kib: u64 = fields.next()?.parse().ok()?;
            (seconds.is_finite() && seconds > 0.0)
                .then_some((name, Shipped { seconds, source_size: kib << 10 }))
        };
        Table(TABLE.lines().filter_map(line).collect())
    }

    /// What the table says of a package of this name and kind: only of what is built from source.
    pub fn package(&self, pname: &str, class: OutputClass) -> Option<Shipped> {
        let built = matches!(class, OutputClass::Source | OutputClass::BigParallel | OutputClass::Module);
        if built { self.named(pname) } else { None }
    }

    /// Bytes of an archive of this name, where the table has the package.
    pub fn archive_size(&self, pname: &str) -> Option<u64> {
        self.named(pname).map(|found| found.source_size).filter(|size| *size > 0)
    }

    fn named(&self, pname: &str) -> Option<Shipped> {
        let lower = pname.to_ascii_lowercase().replace('_', "-");
        let (language, mut name) = match module(&lower) {
            Some((language, module)) => (Some(language), module),
            None => (None, lower.as_str()),
        };
        loop {
            if let Some(found) = self.exact(language, name) {
                return Some(found);
            }
            let shorter = ENDS
                .iter()
                .find_map(|end| name.strip_suffix(end))
                .or_else(|| STARTS.iter().find_map(|start| name.strip_prefix(start)))?;
            name = shorter;
        }
    }

    fn exact(&self, language: Option<&str>, name: &str) -> Option<Shipped> {
        let name =
            SAME.iter().find(|(from, _)| *from == name && language.is_none()).map_or(name, |(_, to)| to);
        let full = language.map(|language| format!("{language}:{name}"));
        let key = full.as_deref().unwrap_or(name);
        self.0.binary_search_by(|(known, _)| (*known).cmp(key)).ok().map(|at| self.0[at].1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_read_and_in_order() {
        let table = Table::new();
        assert_eq!(table.0.len(), TABLE.lines().count());
        assert!(table.0.is_sorted_by(|a, b| a.0 < b.0), "names are sorted, each once");
        assert!(TABLE.len() < 60_000, "compact");
        assert!(table.0.iter().all(|(name, line)| !name.is_empty() && (0.5..1e6).contains(&line.seconds)));
    }

    #[test]
    fn names_in_nix_are_found() {
        let table = Table::new();
        let of = |name: &str| table.package(name, OutputClass::Source);
        for name in [
            "gcc",
            "xgcc",
            "gnum4",
            "icu4c",
            "glib",
            "krb5",
            "util-linux-minimal",
            "python3",
            "openssl",
            "python3.13-setuptools",
            "python3.13-setuptools_scm",
            "python3.13-bootstrap-flit-core",
            "perl5.40.0-XML-Parser",
            "rustc",
            "systemd-minimal",
            "libpng-apng",
            "rust-bindgen-unwrapped",
            "xf86-input-libinput",
            "python3.13-build",
        ] {
            assert!(of(name).is_some(), "{name}");
        }
        assert_eq!(of("xgcc"), of("gcc"));
        for name in ["", "-dev", "unheard-of", "python3.13-gcc", "setuptools-minimal"] {
            assert_eq!(of(name), None, "{name}");
        }
        assert_eq!(table.package("gcc", OutputClass::Hook), None, "not for wrappers");
        assert!(table.archive_size("firefox").is_some_and(|size| size > 100 << 20));
    }
}
