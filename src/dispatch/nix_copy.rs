//! Running `nix copy`, and telling one that is at work from one that hangs.
//!
//! It says nothing while a large path goes over, which may take an hour over a slow link. But every byte
//! passes through its own reads and writes, and Linux counts those. Where the system does not tell
//! there is no limit, for a copy that works must not be ended.

use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::io::AsyncReadExt as _;
use tokio::process::Command;
use tokio::time::timeout;

/// How much of its stderr is kept, from its end, in bytes.
const KEPT: usize = 64 << 10;

/// Looks at the counters in the time that it may be silent.
const LOOKS: u32 = 8;

/// Why a copy came to nothing.
#[derive(Debug)]
pub(super) enum Failed {
    /// It could not be run.
    Run(std::io::Error),
    /// It ended with this on its stderr.
    Said(String),
    /// It moved nothing for so long, and was ended.
    Silent(Duration),
}

/// Runs `command` to its end, or until it moves no byte for as long as `patience`.
pub(super) async fn run(mut command: Command, patience: Duration) -> Result<(), Failed> {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().map_err(Failed::Run)?;
    let mut pulse = Pulse { process: child.id(), last: None, since: Instant::now() };
    let (mut kept, mut buffer) = (Vec::new(), vec![0; 16 << 10]);
    if let Some(mut stderr) = child.stderr.take() {
        loop {
            match timeout(patience / LOOKS, stderr.read(&mut buffer)).await {
                Ok(Ok(0) | Err(_)) => break,
                Ok(Ok(n)) => {
                    kept.extend_from_slice(&buffer[..n]);
                    let excess = kept.len().saturating_sub(KEPT);
                    kept.drain(..excess);
                }
                // Dropping the child, which is what an error leads to, ends it.
                Err(_) => pulse.feel(patience)?,
            }
        }
    }
    let ended = loop {
        match timeout(patience / LOOKS, child.wait()).await {
            Ok(ended) => break ended.map_err(Failed::Run)?,
            Err(_) => pulse.feel(patience)?,
        }
    };
    if ended.success() { Ok(()) } else { Err(Failed::Said(String::from_utf8_lossy(&kept).into_owned())) }
}

/// Whether a process still reads and writes.
struct Pulse {
    process: Option<u32>,
    last: Option<[u64; 2]>,
    /// When that was first seen.
    since: Instant,
}

impl Pulse {
    fn feel(&mut self, patience: Duration) -> Result<(), Failed> {
        let now = self.process.and_then(bytes_moved);
        if now.is_none() || now != self.last {
            (self.last, self.since) = (now, Instant::now());
        }
        if self.since.elapsed() < patience { Ok(()) } else { Err(Failed::Silent(patience)) }
    }
}

/// Bytes that a process has read and written so far, through whatever files and pipes.
fn bytes_moved(process: u32) -> Option<[u64; 2]> {
    let text = std::fs::read_to_string(format!("/proc/{process}/io")).ok()?;
    let count = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
    Some([count("rchar:")?, count("wchar:")?])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str, patience: Duration) -> Result<(), Failed> {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(run(command, patience))
    }

    const LONG: Duration = Duration::from_secs(60);
    const SHORT: Duration = Duration::from_millis(40);

    #[test]
    fn its_last_words_are_kept() {
        assert!(sh("true", LONG).is_ok());
        let script = "head -c 100000 /dev/zero >&2; echo 'error: lacks a signature' >&2; exit 1";
        let Err(Failed::Said(text)) = sh(script, LONG) else { panic!("no complaint") };
        assert!(text.len() == KEPT && text.ends_with("error: lacks a signature\n"));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn one_that_moves_nothing_is_ended() {
        assert!(matches!(sh("exec sleep 100", SHORT), Err(Failed::Silent(p)) if p == SHORT));
        // After it closed its stderr, too.
        assert!(matches!(sh("exec sleep 100 2>&-", SHORT), Err(Failed::Silent(_))));
    }

    #[test]
    fn one_that_says_nothing_but_moves_bytes_is_let_be() {
        // Long enough for a process that has to wait for a processor.
        let patience = Duration::from_millis(250);
        let began = Instant::now();
        sh("n=0; while [ $n -lt 600000 ]; do echo; n=$((n + 1)); done", patience).unwrap();
        assert!(began.elapsed() > patience, "too quick to show anything");
    }
}
