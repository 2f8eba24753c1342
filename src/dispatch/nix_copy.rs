//! Running `nix copy`, and telling one that is at work from one that hangs.
//!
//! It is asked to report as JSON (`--log-format internal-json`), where each piece of a path that goes
//! over shows: as long as it says something it lives. Of all that, only its complaints are kept.

use std::process::Stdio;
use std::time::Duration;

use serde::Deserialize;
use tokio::io::AsyncReadExt as _;
use tokio::process::Command;
use tokio::time::timeout;

/// How much of the complaints is kept, from their end, in bytes; also the longest line that is read.
const KEPT: usize = 64 << 10;

/// Why a copy came to nothing.
#[derive(Debug)]
pub(super) enum Failed {
    /// It could not be run.
    Run(std::io::Error),
    /// It ended with this complaint.
    Said(String),
    /// It said nothing for so long, and was ended.
    Silent(Duration),
}

/// Runs `command` to its end, or until it is silent for too long.
pub(super) async fn run(mut command: Command, patience: Duration) -> Result<(), Failed> {
    command.args(["--log-format", "internal-json"]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().map_err(Failed::Run)?;
    let mut complaints = Complaints::default();
    if let Some(mut stderr) = child.stderr.take() {
        let mut buffer = vec![0; 16 << 10];
        loop {
            // Dropping the child, which is what an error here leads to, ends it.
            let read = timeout(patience, stderr.read(&mut buffer)).await;
            match read.map_err(|_| Failed::Silent(patience))? {
                Ok(0) | Err(_) => break,
                Ok(n) => complaints.push(&buffer[..n]),
            }
        }
    }
    let ended = timeout(patience, child.wait()).await.map_err(|_| Failed::Silent(patience))?;
    match ended.map_err(Failed::Run)? {
        status if status.success() => Ok(()),
        _ => Err(Failed::Said(complaints.text())),
    }
}

/// What is worth reading of Nix's stderr.
#[derive(Default)]
struct Complaints {
    line: Vec<u8>,
    kept: String,
}

/// A message among Nix's JSON lines.
#[derive(Deserialize)]
struct Message<'a> {
    action: &'a str,
    #[serde(default)]
    level: u64,
    #[serde(default)]
    msg: String,
}

impl Complaints {
    fn push(&mut self, bytes: &[u8]) {
        for piece in bytes.split_inclusive(|&b| b == b'\n') {
            let room = KEPT.saturating_sub(self.line.len());
            self.line.extend_from_slice(&piece[..piece.len().min(room)]);
            if piece.ends_with(b"\n") {
                self.take_line();
            }
        }
    }

    fn take_line(&mut self) {
        let line = std::mem::take(&mut self.line);
        let line = String::from_utf8_lossy(&line);
        let text = match line.trim_end().strip_prefix("@nix ") {
            // ssh, for one, speaks in plain text.
            None => line.trim_end().to_owned(),
            Some(json) => match serde_json::from_str::<Message>(json) {
                Ok(message) if message.action == "msg" && message.level == 0 => message.msg,
                _ => return,
            },
        };
        self.kept.push_str(&text);
        self.kept.push('\n');
        let excess = self.kept.len().saturating_sub(KEPT);
        let excess = (excess..).find(|&i| self.kept.is_char_boundary(i)).unwrap_or(0);
        self.kept.drain(..excess);
    }

    fn text(mut self) -> String {
        if !self.line.is_empty() {
            self.take_line();
        }
        self.kept
    }
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

    #[test]
    fn only_complaints_are_kept() {
        assert!(sh("true", LONG).is_ok());
        let script = r#"exec >&2; echo 'a word from ssh'
            echo '@nix {"action":"result","id":1,"type":105,"fields":[1,2]}'
            echo '@nix {"action":"msg","level":3,"msg":"copying"}'
            echo '@nix nonsense'
            printf '%s' '@nix {"action":"msg","level":0,"msg":"error: lacks a signature"}'; exit 1"#;
        let Err(Failed::Said(text)) = sh(script, LONG) else { panic!("no complaint") };
        assert_eq!(text, "a word from ssh\nerror: lacks a signature\n");
    }

    #[test]
    fn memory_is_bounded() {
        let mut complaints = Complaints::default();
        complaints.push(&vec![b'x'; 3 * KEPT]);
        assert_eq!(complaints.line.len(), KEPT);
        for _ in 0..5000 {
            complaints.push("\nüüüüüüüüüüüüüüüüüüüü".as_bytes());
        }
        assert!(complaints.kept.len() <= KEPT);
    }

    #[test]
    fn one_that_says_nothing_is_ended() {
        let patience = Duration::from_millis(30);
        assert!(matches!(sh("exec sleep 100", patience), Err(Failed::Silent(p)) if p == patience));
        // Silent after it closed its stderr, too.
        assert!(matches!(sh("exec sleep 100 2>&-", patience), Err(Failed::Silent(_))));
    }
}
