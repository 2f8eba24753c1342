//! The command line: one file per verb; flags to options, errors to exit codes and hints.
//!
//! No logic: what a verb does is done on the floors below.

mod args;
mod build;
mod error;
mod explain;
mod hosts;
mod outcome;
mod plan;
mod prepare;
mod setup;
mod split;
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
    /// Divide what is to be built among machines that work by themselves
    Split(Box<split::SplitArgs>),
    /// Show the fleet as a run would see it
    Hosts(hosts::HostsArgs),
    /// Print a completion script for a shell
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page
    #[command(hide = true)]
    Man,
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
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(verb: &Verb) -> Result<u8, CliError> {
    match verb {
        Verb::Build(args) => build::run(args),
        Verb::Plan(args) => plan::run(args).map(|()| 0),
        Verb::Explain(args) => explain::run(args).map(|()| 0),
        Verb::Split(args) => split::run(args).map(|()| 0),
        Verb::Hosts(args) => hosts::run(args),
        Verb::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut Cli::command(), "drvdispatch", &mut script);
            put(&String::from_utf8_lossy(&script), "the completion script").map(|()| 0)
        }
        Verb::Man => {
            let page = clap_mangen::Man::new(Cli::command());
            page.render(&mut std::io::stdout()).map_err(CliError::io("writing the manual page"))?;
            Ok(0)
        }
    }
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
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).without_time().init();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }
}
