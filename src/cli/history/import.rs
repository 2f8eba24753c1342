//! `drvdispatch history import`.

use std::io::Read;
use std::path::{Path, PathBuf};

use clap::Args;

use super::open;
use crate::cli::error::CliError;
use crate::records::history::{Defaults, History, ImportError, Imported, import};
use crate::report::{clean, plural};

/// Bad lines that are named for each file.
const SHOWN: usize = 20;

#[derive(Args, Debug)]
#[command(
    after_help = "Takes nix-output-monitor's $XDG_STATE_HOME/nix-output-monitor/build-reports.csv (older versions \
    have it in $XDG_CACHE_HOME), what `nix build --json` prints, and what `drvdispatch history export` does. Lines \
    that are wrong are named and left out; what is remembered already is not taken in again."
)]
pub struct ImportArgs {
    /// The files; - is stdin
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// The host that has built what does not say where it was built
    #[arg(long, value_name = "HOST", default_value = "local")]
    host: String,
    /// The system that it was built for; this machine's by default
    #[arg(long, value_name = "SYSTEM", default_value_t = own_system())]
    system: String,
}

pub fn run(args: &ImportArgs) -> Result<(), CliError> {
    let defaults = Defaults { system: args.system.clone(), host: args.host.clone() };
    let mut history = open()?;
    args.files.iter().try_for_each(|file| take(&mut history, file, &defaults))
}

fn take(history: &mut History, file: &Path, defaults: &Defaults) -> Result<(), CliError> {
    let stdin = file == Path::new("-");
    let name = if stdin { "standard input".to_owned() } else { file.display().to_string() };
    let mut bytes = Vec::new();
    let read = match stdin {
        true => std::io::stdin().lock().read_to_end(&mut bytes),
        false => std::fs::File::open(file).and_then(|mut file| file.read_to_end(&mut bytes)),
    };
    read.map_err(CliError::io(format!("reading {name}")))?;
    let imported = import(history, &String::from_utf8_lossy(&bytes), defaults).map_err(|e| match e {
        ImportError::Unknown => CliError::Usage(format!("{name}: {e}")),
        ImportError::History(e) => e.into(),
    })?;
    for bad in imported.bad.iter().take(SHOWN) {
        crate::cli::tell!("warning: {name}:{}: {}; left out", bad.line, clean(&bad.why));
    }
    if imported.bad.len() > SHOWN {
        crate::cli::tell!("warning: {name}: and {} more", plural(imported.bad.len() - SHOWN, "bad line"));
    }
    crate::cli::tell!("{name}: {}", said(&imported));
    Ok(())
}

fn said(imported: &Imported) -> String {
    let mut parts = vec![format!("{} taken in", plural(imported.builds, "build"))];
    if imported.transfers > 0 {
        parts.push(format!("{} too", plural(imported.transfers, "transfer")));
    }
    if imported.known > 0 {
        parts.push(format!("{} remembered already", imported.known));
    }
    if imported.unbuilt > 0 {
        parts.push(format!("{} not built but there", imported.unbuilt));
    }
    if !imported.bad.is_empty() {
        parts.push(format!("{} left out", imported.bad.len()));
    }
    parts.join(", ")
}

/// What Nix calls this machine's system.
fn own_system() -> String {
    let arch = match std::env::consts::ARCH {
        "x86" => "i686",
        "powerpc64" => "powerpc64le",
        arch => arch,
    };
    let os = if std::env::consts::OS == "macos" { "darwin" } else { std::env::consts::OS };
    format!("{arch}-{os}")
}
