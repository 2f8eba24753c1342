//! The link to this machine's own Nix.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::child::{self, Kind};
use super::{End, Ending, Interrupt, Link, LinkError, Stream};

/// The name under which errors speak of this machine.
const LOCAL: &str = "this machine";

/// How this machine's Nix is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalNix {
    /// What to run where there is no daemon to connect to; `--stdio` is added.
    pub program: Vec<String>,
    /// `NIX_REMOTE`: `daemon`, `unix://PATH`, `local`, `auto`, empty, or another store.
    pub remote: String,
    /// The daemon's socket.
    pub socket: PathBuf,
    /// Nix's state directory: who may write there uses the store without a daemon.
    pub state: PathBuf,
}

impl LocalNix {
    /// From the environment, with the variables that Nix itself reads.
    #[must_use]
    pub fn from_env() -> LocalNix {
        let path = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let state = path("NIX_STATE_DIR").unwrap_or_else(|| PathBuf::from("/nix/var/nix"));
        LocalNix {
            program: vec!["nix-daemon".to_owned()],
            remote: std::env::var("NIX_REMOTE").unwrap_or_default(),
            socket: path("NIX_DAEMON_SOCKET_PATH").unwrap_or_else(|| state.join("daemon-socket/socket")),
            state,
        }
    }

    /// The socket to connect to, or `None` where a child process is to open the store, as Nix decides.
    fn socket_to_use(
        &self,
        may_write: impl Fn(&Path) -> bool,
        exists: impl Fn(&Path) -> bool,
    ) -> Option<PathBuf> {
        match self.remote.as_str() {
            "daemon" | "unix://" => Some(self.socket.clone()),
            "" | "auto" => (!may_write(&self.state) && exists(&self.socket)).then(|| self.socket.clone()),
            other => other.strip_prefix("unix://").filter(|rest| !rest.contains('?')).map(PathBuf::from),
        }
    }
}

/// Opens a link to this machine's Nix: over its daemon's socket, or through a child process that opens
/// the store itself (as root, or where `NIX_REMOTE` names another store).
///
/// # Errors
/// The daemon does not answer ([`LinkError::Unreachable`]) or Nix is not there ([`LinkError::NoNix`]).
pub fn open_local(how: &LocalNix) -> Result<Link, LinkError> {
    let may_write = |path: &Path| {
        rustix::fs::access(path, rustix::fs::Access::WRITE_OK | rustix::fs::Access::READ_OK).is_ok()
    };
    match how.socket_to_use(may_write, Path::exists) {
        Some(socket) => open_socket(&socket),
        None => open_child(how),
    }
}

fn open_socket(socket: &Path) -> Result<Link, LinkError> {
    let failed = |error: io::Error| LinkError::CommandFailed {
        host: LOCAL.to_owned(),
        program: "nix-daemon".to_owned(),
        status: "no answer".to_owned(),
        detail: format!("{}: {error} (is the nix-daemon service running?)", socket.display()),
    };
    let stream = UnixStream::connect(socket).map_err(failed)?;
    let cut = stream.try_clone().map_err(failed)?;
    let interrupt = Interrupt::new(End::Unix(cut));
    let stream = SocketStream { stream, interrupt: interrupt.clone() };
    Ok(Link::new(Box::new(stream), interrupt, LOCAL, "nix-daemon"))
}

fn open_child(how: &LocalNix) -> Result<Link, LinkError> {
    let text = shell_words::join(&how.program);
    let Some((program, args)) = how.program.split_first() else {
        return Err(LinkError::config(LOCAL, "no program is given for its Nix"));
    };
    let mut command = Command::new(program);
    command.args(args).arg("--stdio").env("NIX_REMOTE", &how.remote);
    if how.remote.is_empty() {
        command.env_remove("NIX_REMOTE");
    }
    let stream = child::spawn(&mut command, Kind::Program).map_err(|error| LinkError::NoNix {
        host: LOCAL.to_owned(),
        program: text.clone(),
        detail: error.to_string(),
    })?;
    let interrupt = stream.interrupt();
    Ok(Link::new(Box::new(stream), interrupt, LOCAL, &text))
}

struct SocketStream {
    stream: UnixStream,
    interrupt: Interrupt,
}

impl SocketStream {
    fn checked(&self, result: io::Result<usize>) -> io::Result<usize> {
        if self.interrupt.fired() { Err(Interrupt::error()) } else { result }
    }
}

impl Read for SocketStream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let result = self.stream.read(buf);
        self.checked(result)
    }
}

impl Write for SocketStream {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let result = self.stream.write(buf);
        self.checked(result)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Stream for SocketStream {
    fn keep_alive(&mut self) -> io::Result<()> {
        self.checked(Ok(0)).map(drop)
    }

    /// A daemon that is not this program's child tells nothing beside the protocol.
    fn ending(&mut self, _wait: Duration) -> Ending {
        Ending::default()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    fn how(remote: &str) -> LocalNix {
        LocalNix {
            program: vec!["cat".to_owned()],
            remote: remote.to_owned(),
            socket: PathBuf::from("/s"),
            state: PathBuf::from("/nix/var/nix"),
        }
    }

    #[test]
    fn chooses_as_nix_does() {
        let choose = |remote, root, daemon| how(remote).socket_to_use(|_| root, |_| daemon);
        assert_eq!(choose("", true, true), None);
        assert_eq!(choose("auto", false, true), Some("/s".into()));
        assert_eq!(choose("", false, false), None);
        assert_eq!(choose("daemon", true, false), Some("/s".into()));
        assert_eq!(choose("unix:///t", true, false), Some("/t".into()));
        assert_eq!(choose("local?root=/x", false, true), None);
    }

    #[test]
    fn the_socket_carries_bytes_and_an_interrupt_ends_a_read() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("s");
        let listener = UnixListener::bind(&socket).unwrap();
        let mut link = open_local(&LocalNix { socket, ..how("daemon") }).unwrap();
        let (mut peer, _) = listener.accept().unwrap();
        peer.write_all(b"hi").unwrap();
        let mut two = [0; 2];
        link.read_exact(&mut two).unwrap();
        assert_eq!(&two, b"hi");
        let interrupt = link.interrupt();
        let blocked = std::thread::spawn(move || link.read(&mut [0; 8]).map_err(|error| error.kind()));
        interrupt.fire();
        assert_eq!(blocked.join().unwrap(), Err(io::ErrorKind::ConnectionAborted));
    }

    #[test]
    fn no_daemon_and_no_nix_are_said() {
        let refused =
            open_local(&LocalNix { socket: "/does/not/exist".into(), ..how("daemon") }).unwrap_err();
        assert!(refused.to_string().contains("service running"), "{refused}");
        let missing = LocalNix { program: vec!["/no/nix-daemon".to_owned()], ..how("local") };
        assert!(matches!(open_local(&missing), Err(LinkError::NoNix { .. })));
    }
}
