//! The command line: one file per verb; flags to options, errors to exit codes and hints.
//!
//! No logic: what a verb does is done on the floors below.

/// Writes a line to stderr. If nobody reads it, there is no one to tell, and no reason to stop.
macro_rules! tell {
    ($($what:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr().lock(), $($what)*);
    }};
}
use tell;

mod args;
mod build;
mod configured;
mod error;
mod explain;
mod history;
mod hosts;
mod learned;
mod outcome;
mod plan;
mod policies;
mod prepare;
mod replay;
mod runs;
mod setup;
mod split;
mod tune;
mod watch;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use error::CliError;

/// Builds Nix closures on several machines at once: critical path first, over plain ssh, this machine
/// included.
#[derive(Parser, Debug)]
#[command(name = "drvdispatch", version, max_term_width = 100, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
    /// Say more about what drvdispatch does; twice for everything
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    verbose: u8,
}

#[derive(Subcommand, Debug)]
enum Verb {
    /// Build derivations on several machines at once
    Build(Box<build::BuildArgs>),
    /// Show what would be built where, how long it would take, and why
    Plan(Box<plan::PlanArgs>),
    /// Say why a derivation was built where it was built
    Explain(explain::ExplainArgs),
    /// Go through recorded runs again: check their orders, or see what else they might have come to
    Replay(Box<replay::ReplayArgs>),
    /// Divide what is to be built among machines that work by themselves
    Split(Box<split::SplitArgs>),
    /// Search for better settings by going through recorded runs again
    Tune(tune::TuneArgs),
    /// Show the fleet as a run would see it
    Hosts(hosts::HostsArgs),
    /// Show, export, import and forget what is remembered of builds
    History(history::HistoryArgs),
    /// Print a completion script for a shell
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// Print a manual page: `drvdispatch man build | man -l -`
    Man {
        /// The command that it is about; none for drvdispatch itself
        #[arg(value_name = "COMMAND")]
        of: Vec<String>,
    },
}

/// Parses the command line and does what it says.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version come as errors too, but are none. There is no one to tell if this fails.
            let _ = error.print();
            return if error.use_stderr() { ExitCode::FAILURE } else { ExitCode::SUCCESS };
        }
    };
    log_to_stderr(cli.verbose);
    match run(&cli.verb) {
        Ok(code) => ExitCode::from(code),
        Err(CliError::Interrupted) => ExitCode::from(crate::dispatch::EXIT_INTERRUPTED),
        Err(error) => {
            tell!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(verb: &Verb) -> Result<u8, CliError> {
    match verb {
        Verb::Build(args) => build::run(args),
        Verb::Plan(args) => plan::run(args).map(|()| 0),
        Verb::Explain(args) => explain::run(args).map(|()| 0),
        Verb::Replay(args) => replay::run(args),
        Verb::Split(args) => split::run(args).map(|()| 0),
        Verb::Tune(args) => tune::run(args),
        Verb::Hosts(args) => hosts::run(args),
        Verb::History(args) => history::run(args).map(|()| 0),
        Verb::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut Cli::command(), "drvdispatch", &mut script);
            put(&String::from_utf8_lossy(&script), "the completion script").map(|()| 0)
        }
        Verb::Man { of } => put(&manual_page(of)?, "the manual page").map(|()| 0),
    }
}

/// The page of a command, in roff.
fn manual_page(of: &[String]) -> Result<String, CliError> {
    // There are pages for commands only, and `help` is none that anybody looks up.
    let mut cli = Cli::command().disable_help_subcommand(true);
    cli.build();
    let mut command = &cli;
    for name in of {
        let found = command.find_subcommand(name);
        command = found.ok_or_else(|| {
            let known: Vec<&str> = command.get_subcommands().map(clap::Command::get_name).collect();
            let whose = command.get_bin_name().unwrap_or("drvdispatch");
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            CliError::Usage(format!("{whose} has no command '{name}' to have a page; it has: {known}"))
        })?;
    }
    // Named as it is looked up: `man drvdispatch-hosts-check`.
    let name = command.get_display_name().unwrap_or("drvdispatch").to_owned();
    let mut page = Vec::new();
    let page_of = command.clone().version(env!("CARGO_PKG_VERSION"));
    clap_mangen::Man::new(page_of)
        .title(name)
        .render(&mut page)
        .map_err(CliError::io("writing the manual page"))?;
    Ok(String::from_utf8_lossy(&page).into_owned())
}

/// Writes to stdout; `what` is for the error. That nobody reads to the end (`| head`) is none.
fn put(text: &str, what: &str) -> Result<(), CliError> {
    use std::io::Write as _;
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        done => done.map_err(CliError::io(format!("writing {what} to stdout"))),
    }
}

fn log_to_stderr(verbose: u8) {
    use tracing_subscriber::EnvFilter;
    let level = ["warn", "drvdispatch=info", "drvdispatch=debug"][usize::from(verbose.min(2))];
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(crate::report::colors())
        .with_target(false)
        .without_time()
        .init();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_has_a_page_under_its_own_name() {
        let page = |of: &str| manual_page(&of.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
        for (of, title) in [
            ("", "drvdispatch"),
            ("build", "drvdispatch-build"),
            ("plan", "drvdispatch-plan"),
            ("hosts", "drvdispatch-hosts"),
            ("hosts check", "drvdispatch-hosts-check"),
        ] {
            let page = page(of).unwrap();
            assert!(page.contains(&format!("\n.TH {title} 1")), "{of}: {page}");
            assert!(!page.contains("help(1)"), "{of} refers to a page that is not there: {page}");
        }
        insta::assert_snapshot!(page("hosts bogus").unwrap_err().to_string(), @r"drvdispatch hosts has no command 'bogus' to have a page; it has: check");
    }
}
