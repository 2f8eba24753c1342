//! What ends a command, as a message and an exit code.

use crate::dispatch::{EvalError, LoadError, NixError};
use crate::fleet::{FleetError, NoHost};
use crate::nix::{MachinesError, ShowError};
use crate::records::history::HistoryError;
use crate::report::plural;
use crate::run::Failure;
use crate::sched::{Ending, Verdict};

/// drvdispatch's own failures; a failed build is none.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// Evaluation. Nix has said what was wrong.
    #[error(transparent)]
    Eval(#[from] EvalError),
    /// Running Nix.
    #[error(transparent)]
    Nix(#[from] NixError),
    /// Reading the graph, asking what is missing.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The `builders` setting.
    #[error(transparent)]
    Machines(#[from] MachinesError),
    /// Options about hosts.
    #[error(transparent)]
    Fleet(#[from] FleetError),
    /// Derivations that nobody can build.
    #[error("{}", no_host(.0, NoHost::to_string))]
    NoHost(Vec<NoHost>),
    /// The same of a run that is gone through again, which has other options.
    #[error(
        "{}\nleave a host that can out of --without, give it slots with --jobs HOST=N, or name others with --hosts",
        no_host(.0, NoHost::lack)
    )]
    NobodyLeft(Vec<NoHost>),
    /// The file of `--graph`.
    #[error("{from}: {cause}; a graph is what `nix derivation show -r` prints, and this is not that")]
    Graph {
        /// The file.
        from: String,
        /// What is wrong with it.
        cause: ShowError,
    },
    /// This machine would have to build alone what it cannot.
    #[error("{lack}; other hosts are of no use: {why}")]
    Alone {
        /// What of it, and why not.
        lack: String,
        /// Why other hosts are of no use.
        why: String,
    },
    /// The history of builds.
    #[error(transparent)]
    History(#[from] HistoryError),
    /// ssh's options.
    #[error(transparent)]
    Link(#[from] crate::dispatch::link::LinkError),
    /// The user's configuration.
    #[error(transparent)]
    Config(#[from] crate::records::ConfigError),
    /// Reading or writing something.
    #[error("{what}: {cause}")]
    Io {
        /// What was being done.
        what: String,
        /// What the system said.
        cause: std::io::Error,
    },
    /// The user asked for an end.
    #[error("interrupted")]
    Interrupted,
    /// Arguments that do not go together.
    #[error("{0}")]
    Usage(String),
}

impl CliError {
    /// An I/O error with what was being done.
    pub fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> CliError {
        let what = what.into();
        move |cause| CliError::Io { what, cause }
    }
}

fn no_host(refusals: &[NoHost], say: fn(&NoHost) -> String) -> String {
    const SHOWN: usize = 5;
    // What lacks the same, such as slots anywhere, is said once.
    let mut groups: Vec<(&NoHost, Vec<&str>)> = Vec::new();
    for refusal in refusals {
        match groups.iter_mut().find(|(first, _)| first.lacks == refusal.lacks) {
            Some((_, names)) => names.push(&refusal.name),
            None => groups.push((refusal, vec![&refusal.name])),
        }
    }
    let line = |(first, names): &(&NoHost, Vec<&str>)| {
        say(&NoHost { name: some_of(names), lacks: first.lacks.clone() })
    };
    let mut lines: Vec<String> = groups.iter().take(SHOWN).map(line).collect();
    if groups.len() > SHOWN {
        let more = groups[SHOWN..].iter().map(|(_, names)| names.len()).sum();
        lines.push(format!("(and {} for other reasons)", plural(more, "more derivation")));
    }
    lines.join("\n")
}

/// The first few of many names.
pub fn some_of(names: &[&str]) -> String {
    const NAMED: usize = 3;
    let named = names.iter().take(NAMED).copied().collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(NAMED) {
        0 => named,
        more => format!("{named} and {more} more"),
    }
}

/// The exit code of a run, after Nix's `status-build-failure`: 100 with a bit for each kind of failure,
/// or-combined. A run that failed for other reasons is 1.
pub fn exit_code(verdict: &Verdict) -> u8 {
    let bit = |ending: &Ending| match ending {
        Ending::GivenUp { .. } => 0,
        Ending::Failed { failure, .. } => match failure {
            Failure::Build | Failure::LogLimit => 0x64,
            Failure::TimedOut => 0x65,
            Failure::HashMismatch => 0x66,
            Failure::NotDeterministic => 0x68,
        },
    };
    let code = verdict.endings.iter().map(|(_, ending)| bit(ending)).fold(0, |a, b| a | b);
    match code {
        0 if verdict.endings.is_empty() && verdict.missing.is_empty() => 0,
        0 => 1,
        code => code,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::Lack;
    use crate::graph::{JobId, PathId};

    #[test]
    fn what_nobody_can_build_for_the_same_reason_takes_one_line() {
        let lack =
            |name: &str, lack| NoHost { name: name.to_owned(), lacks: vec![("local".to_owned(), lack)] };
        let slots = |name| lack(name, Lack::Slots);
        let other = lack("x", Lack::System("riscv64-linux".to_owned()));
        let refusals = vec![slots("a"), slots("b"), other, slots("c"), slots("d"), slots("e")];
        let text = CliError::NoHost(refusals.clone()).to_string();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 4, "{text}");
        assert_eq!(
            lines[0],
            "no chosen host can build a, b, c and 2 more: local builds nothing in this run (0 slots)"
        );
        assert_eq!(lines[2], "no chosen host can build x: local does not build for riscv64-linux");
        let left = CliError::NobodyLeft(refusals).to_string();
        assert_eq!(left.lines().take(2).collect::<Vec<_>>(), [lines[0], lines[2]]);
        let advice = left.lines().nth(2).unwrap();
        assert!(advice.starts_with("leave a host that can out of --without, ") && left.lines().count() == 3);
    }

    fn code(failures: &[Failure]) -> u8 {
        let ending = |&failure| (JobId(0), Ending::Failed { failure, message: String::new() });
        exit_code(&Verdict { endings: failures.iter().map(ending).collect(), ..Verdict::default() })
    }

    #[test]
    fn codes_are_those_of_nix_and_combine() {
        assert_eq!(code(&[]), 0);
        assert_eq!(code(&[Failure::Build]), 100);
        assert_eq!(code(&[Failure::TimedOut]), 101);
        assert_eq!(code(&[Failure::HashMismatch]), 102);
        assert_eq!(code(&[Failure::NotDeterministic]), 104);
        assert_eq!(code(&[Failure::TimedOut, Failure::HashMismatch, Failure::Build]), 103);
    }

    #[test]
    fn a_lost_host_is_never_a_failed_build() {
        let ending = (JobId(0), Ending::GivenUp { cause: String::new() });
        assert_eq!(exit_code(&Verdict { endings: vec![ending], ..Verdict::default() }), 1);
        assert_eq!(exit_code(&Verdict { missing: vec![PathId(0)], ..Verdict::default() }), 1);
    }
}
