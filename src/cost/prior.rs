//! What is assumed of a job of which nothing is known but its derivation.
//!
//! A job is put into a class by its name and attributes; a class has a typical median and a wide
//! interval. It counts where neither history nor the shipped table (`shipped`) knows the package. Where
//! the figures come from is said at each class. "Assumed" means that no measurement was at hand: such
//! classes are short, and [`super::Live`] corrects them within a run.

use serde::{Deserialize, Serialize};

use super::estimate::Cost;
use super::names::module;
use crate::base::{Span, Table};
use crate::graph::{Job, JobId, Origin, Workload};

/// Kinds of derivation that take about the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OutputClass {
    /// A fetched archive or source tree. 3 s, 0.8 s to 20 s; assumed.
    Archive,
    /// A fetched patch. 0.8 s, 0.3 s to 3 s; assumed.
    Patch,
    /// All dependencies of a language's package, fetched at once. 30 s, 8 s to 150 s; assumed.
    Vendor,
    /// A set-up hook or compiler wrapper. 1 s, 0.4 s to 3 s; assumed.
    Hook,
    /// A text, unit or configuration file. 0.3 s, 0.1 s to 1 s; assumed.
    Text,
    /// Links to other paths: environments, `system-path`, `etc`. 2 s, 0.5 s to 15 s; assumed.
    Join,
    /// A package of an interpreted language: unpacked, copied, checked. 12 s, 5 s to 60 s; assumed
    /// between [`OutputClass::Join`] and [`OutputClass::Source`].
    Module,
    /// A package built from source. 30 s, 8 s to 200 s. Measured elsewhere: 837 merges on one Gentoo
    /// host have a median of 43 s (80 %: 15 s to 234 s); a Debian archive build of 10,052 packages
    /// one of 27 s; 1,741 packages by name, Linux From Scratch's units taken as 95 s, one of 19 s
    /// (80 %: 5 s to 171 s).
    Source,
    /// Marked `big-parallel`: compilers, browsers, kernels. 30 min, 5 min to 3 h. 16 packages of this
    /// kind with public measurements have a median of 36 min (80 %: 4 min to 6 h).
    BigParallel,
}

impl OutputClass {
    /// All classes.
    pub const ALL: [OutputClass; 9] = [
        OutputClass::Archive,
        OutputClass::Patch,
        OutputClass::Vendor,
        OutputClass::Hook,
        OutputClass::Text,
        OutputClass::Join,
        OutputClass::Module,
        OutputClass::Source,
        OutputClass::BigParallel,
    ];

    /// The class of a job, by what its derivation says.
    pub fn of(job: &Job) -> OutputClass {
        let name = job.name.as_str();
        if job.fixed_output {
            return fetched(name);
        }
        if job.features.iter().any(|feature| feature == "big-parallel") {
            return OutputClass::BigParallel;
        }
        if is_hook(name) {
            OutputClass::Hook
        } else if is_join(name) {
            OutputClass::Join
        } else if is_text(name) || job.prefer_local {
            OutputClass::Text
        } else if is_module(name) {
            OutputClass::Module
        } else {
            OutputClass::Source
        }
    }

    /// Whether it takes processors rather than the network: how long downloads take says nothing about how
    /// fast a host builds.
    pub fn is_built(self) -> bool {
        !matches!(self, OutputClass::Archive | OutputClass::Patch | OutputClass::Vendor)
    }

    /// What a job of this class costs before anything is measured.
    pub fn prior(self) -> Cost {
        let (p10, median, p90) = match self {
            OutputClass::Archive => (800, 3_000, 20_000),
            OutputClass::Patch => (300, 800, 3_000),
            OutputClass::Vendor => (8_000, 30_000, 150_000),
            OutputClass::Hook => (400, 1_000, 3_000),
            OutputClass::Text => (100, 300, 1_000),
            OutputClass::Join => (500, 2_000, 15_000),
            OutputClass::Module => (5_000, 12_000, 60_000),
            OutputClass::Source => (8_000, 30_000, 200_000),
            OutputClass::BigParallel => (300_000, 1_800_000, 10_800_000),
        };
        Cost { median: Span::from_millis(median), p10: Span::from_millis(p10), p90: Span::from_millis(p90) }
    }

    /// The size of one output as a NAR in bytes, to the order of magnitude; assumed.
    pub fn output_size(self) -> u64 {
        const KIB: u64 = 1 << 10;
        const MIB: u64 = 1 << 20;
        match self {
            OutputClass::Text => 4 * KIB,
            OutputClass::Patch => 8 * KIB,
            OutputClass::Hook | OutputClass::Join => 64 * KIB,
            OutputClass::Archive | OutputClass::Module => MIB,
            OutputClass::Source => 2 * MIB,
            OutputClass::Vendor => 30 * MIB,
            OutputClass::BigParallel => 300 * MIB,
        }
    }
}

/// The class of every job.
pub fn classify(work: &Workload) -> Table<JobId, OutputClass> {
    work.jobs.iter().map(|(_, job)| OutputClass::of(job)).collect()
}

/// Gives the paths that jobs make, and of which no size is known, the size that is usual for the
/// class of the job.
pub fn guess_sizes(work: &mut Workload) {
    let sizes: Table<JobId, u64> =
        work.jobs.iter().map(|(_, job)| OutputClass::of(job).output_size()).collect();
    for (_, path) in work.paths.iter_mut() {
        if let (Origin::Job(job), 0) = (path.origin, path.size) {
            path.size = sizes.get(job).copied().unwrap_or(0);
        }
    }
}

fn any_end(name: &str, ends: &[&str]) -> bool {
    ends.iter().any(|end| name.ends_with(end))
}

fn any_start(name: &str, starts: &[&str]) -> bool {
    starts.iter().any(|start| name.starts_with(start))
}

fn fetched(name: &str) -> OutputClass {
    let vendor =
        ["-vendor", "-vendor-staging", "-go-modules", "-npm-deps", "-yarn-deps", "-pnpm-deps", "-mix-deps"];
    if any_end(name, &[".patch", ".diff", ".patch.gz", ".patch.xz"]) {
        OutputClass::Patch
    } else if any_end(name, &vendor) || name.starts_with("cargo-deps") || name.contains("-cargo-deps") {
        OutputClass::Vendor
    } else {
        OutputClass::Archive
    }
}

fn is_hook(name: &str) -> bool {
    any_end(name, &["-hook", "-hook.sh", "-hooks", "-wrapper", "stdenv-linux", "stdenv-darwin"])
        || name.contains("-wrapper-")
}

fn is_join(name: &str) -> bool {
    let exact = ["etc", "system-path", "system-units", "user-units", "user-environment", "home-manager-path"];
    exact.contains(&name)
        || any_end(
            name,
            &["-env", "-symlinks", "-symlink-join", "-texmfdist", "-texmfroot", "-fhs", "-units"],
        )
        || any_start(name, &["nixos-system-", "darwin-system-", "home-manager-generation"])
}

fn is_text(name: &str) -> bool {
    let ends = [
        ".json",
        ".conf",
        ".cfg",
        ".ini",
        ".toml",
        ".yaml",
        ".yml",
        ".xml",
        ".txt",
        ".sh",
        ".rules",
        ".nix",
        ".service",
        ".socket",
        ".timer",
        ".target",
        ".mount",
        ".path",
        ".slice",
        ".desktop",
        ".pam",
        ".patch",
        "-script",
        "-start",
        "-stop",
        "-pre-start",
        "-post-start",
        "-config.json",
    ];
    any_start(name, &["unit-", "etc-", "X-Restart-Triggers-", "pam.d-"]) || any_end(name, &ends)
}

/// `python3.13-…`, `perl5.40.0-…` and the like, and what is installed into an editor.
fn is_module(name: &str) -> bool {
    module(name).is_some() || any_start(name, &["vimplugin-", "emacs-packages-", "vscode-extension-"])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::PathSpec;

    fn job(name: &str) -> Job {
        Job {
            drv: format!("/nix/store/{}-{name}.drv", "0".repeat(32)),
            name: name.to_owned(),
            system: "x86_64-linux".to_owned(),
            features: Vec::new(),
            needs: Vec::new(),
            inputs: Vec::new(),
            outputs: Vec::new(),
            fixed_output: false,
            prefer_local: false,
            parallel: false,
        }
    }

    fn fixed(name: &str) -> OutputClass {
        OutputClass::of(&Job { fixed_output: true, ..job(name) })
    }

    #[test]
    fn names_tell_the_class() {
        let of = |name: &str| OutputClass::of(&job(name));
        for (name, class) in [
            ("hello-2.12", OutputClass::Source),
            ("openssh-10.0p2", OutputClass::Source),
            ("python3-3.13.9", OutputClass::Source),
            ("perl-5.40.0", OutputClass::Source),
            ("python3.13-flit-core-3.12.0", OutputClass::Module),
            ("perl5.40.0-Test-Requires-0.11", OutputClass::Module),
            ("python3-3.13.9-env", OutputClass::Join),
            ("system-path", OutputClass::Join),
            ("nixos-system-demo-25.11", OutputClass::Join),
            ("etc", OutputClass::Join),
            ("etc-hostname", OutputClass::Text),
            ("unit-sshd.service", OutputClass::Text),
            ("nix.conf", OutputClass::Text),
            ("gcc-wrapper-14.3.0", OutputClass::Hook),
            ("python-setup-hook.sh", OutputClass::Hook),
            ("bootstrap-stage3-stdenv-linux", OutputClass::Hook),
        ] {
            assert_eq!(of(name), class, "{name}");
        }
        assert_eq!(fixed("hello-2.12.tar.gz"), OutputClass::Archive);
        assert_eq!(fixed("fix-rpath.patch"), OutputClass::Patch);
        assert_eq!(fixed("age-1.3.1-go-modules"), OutputClass::Vendor);
    }

    #[test]
    fn attributes_tell_more_than_names() {
        let big = Job { features: vec!["big-parallel".to_owned()], ..job("python3.13-jaxlib-1") };
        assert_eq!(OutputClass::of(&big), OutputClass::BigParallel);
        let local = Job { prefer_local: true, ..job("activate") };
        assert_eq!(OutputClass::of(&local), OutputClass::Text);
        let fetched = Job { fixed_output: true, prefer_local: true, ..job("x.json") };
        assert_eq!(OutputClass::of(&fetched), OutputClass::Archive);
    }

    #[test]
    fn every_interval_holds_its_median() {
        for class in OutputClass::ALL {
            let Cost { median, p10, p90 } = class.prior();
            assert!(Span::ZERO < p10 && p10 < median && median < p90, "{class:?}");
        }
    }

    #[test]
    fn only_unknown_sizes_of_what_jobs_make_are_guessed() {
        let path = |origin, size| PathSpec { path: String::new(), origin, size, refs: Vec::new() };
        let mut work = Workload {
            jobs: [job("hello-2.12")].into_iter().collect(),
            paths: [path(Origin::Job(JobId(0)), 0), path(Origin::Job(JobId(0)), 5), path(Origin::Home, 0)]
                .into_iter()
                .collect(),
            wanted: Vec::new(),
        };
        guess_sizes(&mut work);
        let sizes: Vec<_> = work.paths.rows().iter().map(|path| path.size).collect();
        assert_eq!(sizes, [OutputClass::Source.output_size(), 5, 0]);
        assert_eq!(classify(&work).rows(), [OutputClass::Source]);
    }
}
