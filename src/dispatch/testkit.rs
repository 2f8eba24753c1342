//! A daemon for tests, which says what it was told to and then falls silent on a connection that lives.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::time::Duration;

use tempfile::TempDir;

use super::link::LocalNix;
use super::patience::Patience;
use super::session::Access;

pub const LAST: u64 = 0x616c_7473;

/// What is long for a test whose daemon is silent, and short for everything else.
pub const LIMITS: Patience = Patience {
    greeting: Duration::from_secs(60),
    asking: Duration::from_millis(50),
    fetching: Duration::from_millis(50),
    storing: u64::MAX,
};

/// The daemon's half of a conversation.
#[derive(Clone, Default)]
pub struct Says(pub Vec<u8>);

impl Says {
    /// A greeting by a daemon that trusts us.
    pub fn greeting() -> Self {
        Says::default().word(0x6478_696f).word(0x100 + 37).string("2.x").word(1).word(LAST)
    }

    pub fn word(mut self, word: u64) -> Self {
        self.0.extend(word.to_le_bytes());
        self
    }

    pub fn string(self, text: &str) -> Self {
        let mut says = self.word(text.len() as u64);
        says.0.extend(text.as_bytes());
        says.0.resize(says.0.len().next_multiple_of(8), 0);
        says
    }
}

/// A host whose daemon says this on every connection. It takes in what it is sent only if it `reads`.
/// The directory holds its socket.
pub fn host(says: &Says, reads: bool) -> (Access, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("s");
    let listener = UnixListener::bind(&socket).unwrap();
    let says = says.clone();
    std::thread::spawn(move || {
        let mut kept = Vec::new();
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            stream.write_all(&says.0).unwrap();
            kept.push(stream.try_clone().unwrap());
            if reads {
                std::thread::spawn(move || while stream.read(&mut [0; 4096]).is_ok_and(|n| n > 0) {});
            }
        }
    });
    let how = LocalNix { program: Vec::new(), remote: "daemon".to_owned(), socket, state: PathBuf::new() };
    (Access::local(how).with_patience(LIMITS), dir)
}
