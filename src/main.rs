//! The `drvdispatch` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    drvdispatch::cli::main()
}
