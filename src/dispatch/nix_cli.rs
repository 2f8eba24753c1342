//! The `nix` command: found, asked for its version, run.
//!
//! Calls block. What it says on stderr goes line by line to the caller, who knows what else is on
//! the terminal. Builds do not go this way: they speak the worker protocol.

use std::collections::BTreeSet;
use std::io::{self, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::nix::{ConfigError, NixConfig, NixVersion};

/// Installables on one command line, where they cannot be given on stdin; far below Linux's 2 MiB.
const CHUNK: usize = 5_000;

/// Where Nix's stderr goes, a line at a time and without the line's end.
pub type Stderr<'a> = &'a mut dyn FnMut(&str);

/// A `nix` that works and is not too old.
#[derive(Clone, Debug)]
pub struct NixCli {
    program: PathBuf,
    version: NixVersion,
    children: Children,
}

/// The processes of `nix` that run at the moment. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Children(Arc<(Mutex<BTreeSet<u32>>, Condvar)>);

/// How long a `nix` has for ending by itself. In the middle of an evaluation it may not look up at all.
const GRACE: Duration = Duration::from_millis(500);

impl Children {
    /// Ends them, for whoever waits for them is about to end, too.
    pub fn end(&self) {
        let running = self.running();
        send(&running, Signal::TERM);
        let left = self.0.1.wait_timeout_while(running, GRACE, |running| !running.is_empty());
        let (left, _) = left.unwrap_or_else(PoisonError::into_inner);
        send(&left, Signal::KILL);
    }

    /// `work` with a child that counts as running meanwhile, and not once its number can be another's.
    fn with<T>(&self, child: &mut Child, work: impl FnOnce(&mut Child) -> T) -> T {
        self.running().insert(child.id());
        let result = work(child);
        self.running().remove(&child.id());
        self.0.1.notify_all();
        result
    }

    fn running(&self) -> std::sync::MutexGuard<'_, BTreeSet<u32>> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why the `nix` command did not do as it was told.
#[derive(Debug, thiserror::Error)]
pub enum NixError {
    /// It could not be started.
    #[error("cannot run '{}': {cause}; is Nix installed and in PATH?", program.display())]
    Start {
        /// The program.
        program: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// It was started, but the pipe to it broke.
    #[error("cannot talk to `{command}`: {cause}")]
    Pipe {
        /// What was run.
        command: String,
        /// What the system said.
        cause: io::Error,
    },
    /// It ended with an error, which it has told on stderr.
    #[error("`{command}` failed ({status})")]
    Failed {
        /// What was run, shortened.
        command: String,
        /// How it ended.
        status: ExitStatus,
    },
    /// Its version is not to be made out.
    #[error("'{}' is no Nix that is known: `--version` prints '{output}'", program.display())]
    Unknown {
        /// The program.
        program: PathBuf,
        /// What it printed, shortened.
        output: String,
    },
    /// It lacks what is needed.
    #[error("{version} is too old; Nix {}.{} or later is needed", NixVersion::OLDEST.0, NixVersion::OLDEST.1)]
    TooOld {
        /// The version.
        version: NixVersion,
    },
    /// Its configuration is of no use.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

/// Sends a signal to processes. One that does not run any more is what is wanted.
fn send(processes: &BTreeSet<u32>, signal: Signal) {
    for id in processes {
        let pid = i32::try_from(*id).ok().and_then(Pid::from_raw);
        let _ = pid.map(|pid| kill_process(pid, signal));
    }
}

/// What is passed through to Nix for an evaluation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EvalOptions {
    /// `--file`.
    pub file: Option<String>,
    /// `--expr`.
    pub expr: Option<String>,
    /// `--impure`.
    pub impure: bool,
    /// `--override-input INPUT REFERENCE`.
    pub override_inputs: Vec<(String, String)>,
    /// `--option NAME VALUE`.
    pub options: Vec<(String, String)>,
    /// `--arg NAME EXPRESSION`.
    pub args: Vec<(String, String)>,
    /// `--argstr NAME STRING`.
    pub argstrs: Vec<(String, String)>,
    /// Any other flags for Nix, as they are.
    pub extra: Vec<String>,
}

impl EvalOptions {
    /// Whether attributes are looked up in a `--file` or `--expr`.
    pub fn in_expression(&self) -> bool {
        self.file.is_some() || self.expr.is_some()
    }

    /// `--option …`, for every command.
    pub fn settings(&self) -> Vec<String> {
        pairs("--option", &self.options).collect()
    }

    /// The flags for evaluating; those that name an expression only if `in_expression`.
    pub fn flags(&self, in_expression: bool) -> Vec<String> {
        let mut flags = self.settings();
        if self.impure {
            flags.push("--impure".to_owned());
        }
        flags.extend(pairs("--override-input", &self.override_inputs));
        // Nix refuses them beside flakes. With no expression at all it shall say so.
        if in_expression || !self.in_expression() {
            flags.extend(pairs("--arg", &self.args));
            flags.extend(pairs("--argstr", &self.argstrs));
        }
        if in_expression {
            let named = [("--file", &self.file), ("--expr", &self.expr)];
            let given = named.into_iter().filter_map(|(flag, value)| Some((flag, value.as_ref()?)));
            flags.extend(given.flat_map(|(flag, value)| [flag.to_owned(), value.clone()]));
        }
        flags.extend(self.extra.iter().cloned());
        flags
    }
}

fn pairs<'a>(flag: &'a str, pairs: &'a [(String, String)]) -> impl Iterator<Item = String> + 'a {
    pairs.iter().flat_map(move |(a, b)| [flag.to_owned(), a.clone(), b.clone()])
}

impl NixCli {
    /// Finds out what `program` (`nix`, as a rule) is.
    ///
    /// # Errors
    /// When it cannot be run, is no Nix, or is older than [`NixVersion::OLDEST`].
    pub fn detect(program: &Path) -> Result<Self, NixError> {
        let start = |cause| NixError::Start { program: program.to_owned(), cause };
        let output = Command::new(program).arg("--version").stdin(Stdio::null()).output().map_err(start)?;
        let text = String::from_utf8_lossy(&output.stdout);
        let version = NixVersion::parse(&text).ok_or_else(|| NixError::Unknown {
            program: program.to_owned(),
            output: text.trim().chars().take(200).collect(),
        })?;
        let (major, minor) = NixVersion::OLDEST;
        match version.at_least(major, minor) {
            true => Ok(Self { program: program.to_owned(), version, children: Children::default() }),
            false => Err(NixError::TooOld { version }),
        }
    }

    /// The same command, whose processes are told of in `children`.
    #[must_use]
    pub fn with_children(self, children: Children) -> Self {
        Self { children, ..self }
    }

    /// What it is.
    pub fn version(&self) -> &NixVersion {
        &self.version
    }

    /// Runs `nix ARGS`, with the experimental features it needs, and returns its stdout.
    ///
    /// # Errors
    /// When it cannot be run or ends with an error; its own words have gone to `stderr` by then.
    pub fn run(&self, args: &[String], stdin: Option<&[u8]>, stderr: Stderr) -> Result<Vec<u8>, NixError> {
        let command = || shortened(&format!("nix {}", shell_words::join(args)));
        let pipe = |cause| NixError::Pipe { command: command(), cause };
        tracing::debug!("running {}", command());
        let mut child = Command::new(&self.program)
            .args(["--extra-experimental-features", "nix-command flakes"])
            .args(args)
            .stdin(if stdin.is_some() { Stdio::piped() } else { Stdio::null() })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|cause| NixError::Start { program: self.program.clone(), cause })?;
        let read = self.children.with(&mut child, |child| talk(child, stdin, stderr));
        let status = child.wait().map_err(pipe)?;
        let bytes = read.map_err(pipe)?;
        if status.success() { Ok(bytes) } else { Err(NixError::Failed { command: command(), status }) }
    }

    /// Nix's effective configuration, with `--option` taken in.
    ///
    /// # Errors
    /// When Nix fails, or says what is of no use.
    pub fn config(&self, options: &EvalOptions, stderr: Stderr) -> Result<NixConfig, NixError> {
        let args = |words: &[&str]| {
            let mut args: Vec<String> = words.iter().map(|w| (*w).to_owned()).collect();
            args.push("--json".to_owned());
            args.extend(options.settings());
            args
        };
        let [likely, other] = self.version.config_show();
        let mut said = Vec::new();
        let first = self.run(&args(likely), None, &mut |line| said.push(line.to_owned()));
        let json = match first {
            Err(NixError::Failed { .. }) => {
                // The other spelling; if that fails too, the first one's words are the better ones.
                let second = self.run(&args(other), None, &mut |_| ());
                if second.is_err() {
                    said.iter().for_each(|line| stderr(line));
                    return Err(first.expect_err("matched as a failure"));
                }
                second
            }
            done => {
                said.iter().for_each(|line| stderr(line));
                done
            }
        }?;
        Ok(NixConfig::from_json(&json)?)
    }

    /// `nix derivation show -r` on `.drv` paths: one JSON document, or several where Nix cannot take
    /// all paths at once (before 2.15, and then only thousands).
    ///
    /// # Errors
    /// When Nix fails.
    pub fn derivation_show(
        &self,
        drvs: &[&str],
        options: &EvalOptions,
        stderr: Stderr,
    ) -> Result<Vec<Vec<u8>>, NixError> {
        let mut args: Vec<String> = self.version.derivation_show().iter().map(|w| (*w).to_owned()).collect();
        args.push("-r".to_owned());
        args.extend(options.settings());
        if self.version.has_stdin() {
            args.push("--stdin".to_owned());
            let paths = drvs.join("\n") + "\n";
            return Ok(vec![self.run(&args, Some(paths.as_bytes()), stderr)?]);
        }
        let with = |chunk: &[&str]| {
            let mut args = args.clone();
            args.extend(chunk.iter().map(|drv| (*drv).to_owned()));
            args
        };
        drvs.chunks(CHUNK).map(|chunk| self.run(&with(chunk), None, stderr)).collect()
    }
}

/// Writes all of a child's stdin and reads its stdout and stderr to their ends.
fn talk(child: &mut Child, stdin: Option<&[u8]>, stderr: Stderr) -> io::Result<Vec<u8>> {
    let (input, mut out, err) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    // All three pipes at once: whichever is left alone may block the child.
    std::thread::scope(|scope| {
        scope.spawn(move || {
            if let (Some(mut pipe), Some(bytes)) = (input, stdin) {
                // If it does not read to the end, its exit status says more than this error.
                let _ = pipe.write_all(bytes);
            }
        });
        let stdout = scope.spawn(move || {
            let mut bytes = Vec::new();
            out.as_mut().map_or(Ok(0), |out| out.read_to_end(&mut bytes)).map(|_| bytes)
        });
        let said = err.map_or(Ok(()), |err| each_line(BufReader::new(err), stderr));
        let bytes = stdout.join().unwrap_or_else(|_| Err(io::Error::other("the reader of its output died")));
        said.and(bytes)
    })
}

/// A command that fits into a message.
fn shortened(command: &str) -> String {
    const SHOWN: usize = 200;
    match command.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &command[..end]),
        None => command.to_owned(),
    }
}

/// Hands on each line; bytes that are no UTF-8 are replaced.
fn each_line(mut from: impl io::BufRead, to: Stderr) -> io::Result<()> {
    let mut line = Vec::new();
    while from.read_until(b'\n', &mut line)? > 0 {
        let text = String::from_utf8_lossy(&line);
        to(text.trim_end_matches(['\n', '\r']));
        line.clear();
    }
    Ok(())
}

#[cfg(test)]
pub(super) mod tests;
