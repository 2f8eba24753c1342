//! The link to this machine's own Nix.

use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::child::{self, Kind};
use super::{Called, End, Ending, Interrupt, Link, LinkError, Stream, silence};

/// The name under which errors speak of this machine.
const LOCAL: &str = "this machine";
/// What to do where nobody listens at the daemon's socket.
const START: &str = "start its nix-daemon (`systemctl start nix-daemon.socket`, or `nix-daemon` as root)";

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

impl LocalNix {
    /// The socket to connect to, or `None` where a child process is to open the store.
    ///
    /// # Errors
    /// Neither can go well ([`LinkError::Home`]).
    pub fn socket(&self) -> Result<Option<PathBuf>, LinkError> {
        let may_write = |path: &Path| {
            rustix::fs::access(path, rustix::fs::Access::WRITE_OK | rustix::fs::Access::READ_OK).is_ok()
        };
        // Whether it exists in a directory that is closed to this user shows when connecting.
        let exists = |path: &Path| path.try_exists().unwrap_or(true);
        let socket = self.socket_to_use(may_write, exists);
        let as_nix_likes = ["", "auto"].contains(&self.remote.as_str());
        if socket.is_none() && as_nix_likes && self.state.exists() && !may_write(&self.state) {
            let (socket, state, user) = (self.socket.display(), self.state.display(), user_name());
            let cause = format!("there is no {socket}, and the user '{user}' may not write to {state}");
            return Err(LinkError::Home { cause, remedy: START.to_owned() });
        }
        Ok(socket)
    }
}

/// The name of the user that this process runs as, or else the number.
#[must_use]
pub fn user_name() -> String {
    let uid = rustix::process::getuid().as_raw();
    name_of(uid, "/etc/passwd").unwrap_or_else(|| {
        // Who is not in that file may be known to some other service.
        let said = Command::new("id").arg("-un").output().ok().filter(|out| out.status.success());
        let name = said.and_then(|out| String::from_utf8(out.stdout).ok()).map(|name| name.trim().to_owned());
        name.filter(|name| !name.is_empty()).unwrap_or_else(|| uid.to_string())
    })
}

/// The name that goes with a number in `/etc/passwd` or `/etc/group`.
fn name_of(id: u32, file: &str) -> Option<String> {
    let text = std::fs::read_to_string(file).ok()?;
    let entry = |line: &str| {
        let mut fields = line.split(':');
        let name = fields.next()?.to_owned();
        (fields.nth(1)? == id.to_string()).then_some(name)
    };
    text.lines().find_map(entry)
}

/// Why the socket cannot be connected to, and what to do.
fn refused(socket: &Path, error: &io::Error) -> LinkError {
    let (at, user) = (socket.display(), user_name());
    let (cause, remedy) = match error.kind() {
        io::ErrorKind::NotFound => (format!("there is no {at}"), START.to_owned()),
        io::ErrorKind::ConnectionRefused => (format!("nobody listens at {at}"), START.to_owned()),
        io::ErrorKind::PermissionDenied => {
            let cause = format!("the user '{user}' may not connect to {at} (permission denied)");
            (cause, admit(socket, &user))
        }
        _ => (format!("{at}: {error}"), START.to_owned()),
    };
    LinkError::Home { cause, remedy }
}

/// How a user gets access to the socket: by the group of what is closed to everybody else.
fn admit(socket: &Path, user: &str) -> String {
    const GROUP_MAY_PASS: u32 = 0o010;
    const GROUP_MAY_WRITE: u32 = 0o020;
    let closed = |path: &&Path| {
        rustix::fs::access(*path, rustix::fs::Access::EXEC_OK).is_err()
            && rustix::fs::access(*path, rustix::fs::Access::WRITE_OK).is_err()
    };
    let mut way: Vec<&Path> = socket.ancestors().collect();
    way.reverse();
    let first = way.into_iter().find(closed).unwrap_or(socket);
    let by_group = first.metadata().ok().filter(|m| m.mode() & (GROUP_MAY_PASS | GROUP_MAY_WRITE) != 0);
    match by_group.map(|m| m.gid()) {
        Some(gid @ 1..) => {
            let group = name_of(gid, "/etc/group").unwrap_or_else(|| gid.to_string());
            format!("add the user to the group '{group}' (`usermod -aG {group} {user}`) and log in again")
        }
        _ => format!("let the user through {} (as root, with chmod or chgrp)", first.display()),
    }
}

/// Opens a link to this machine's Nix: over its daemon's socket, or through a child process that opens
/// the store itself (as root, or where `NIX_REMOTE` names another store).
///
/// # Errors
/// The daemon cannot be connected to, or Nix is not there ([`LinkError::Home`]).
pub fn open_local(how: &LocalNix) -> Result<Link, LinkError> {
    match how.socket()? {
        Some(socket) => open_socket(&socket),
        None => open_child(how),
    }
}

fn open_socket(socket: &Path) -> Result<Link, LinkError> {
    let failed = |error: io::Error| refused(socket, &error);
    let stream = UnixStream::connect(socket).map_err(failed)?;
    let cut = stream.try_clone().map_err(failed)?;
    let interrupt = Interrupt::new(End::Unix(cut));
    let stream = SocketStream { stream, interrupt: interrupt.clone(), patience: None };
    Ok(Link::new(Box::new(stream), interrupt, Called::local(LOCAL), "nix-daemon"))
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
    let stream = child::spawn(&mut command, Kind::Program).map_err(|error| LinkError::Home {
        cause: format!("`{text}` cannot be started ({error})"),
        remedy: "it comes with Nix: put the directory that has it into PATH".to_owned(),
    })?;
    let interrupt = stream.interrupt();
    Ok(Link::new(Box::new(stream), interrupt, Called::local(LOCAL), &text))
}

struct SocketStream {
    stream: UnixStream,
    interrupt: Interrupt,
    patience: Option<Duration>,
}

impl SocketStream {
    fn checked(&self, result: io::Result<usize>) -> io::Result<usize> {
        match (result, self.patience) {
            _ if self.interrupt.fired() => Err(Interrupt::error()),
            (Err(error), Some(limit)) if error.kind() == io::ErrorKind::WouldBlock => Err(silence(limit)),
            (result, _) => result,
        }
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

    fn set_patience(&mut self, limit: Option<Duration>) {
        self.patience = limit;
        // Refused only for a limit of zero, which nobody sets.
        let _ = self.stream.set_read_timeout(limit);
        let _ = self.stream.set_write_timeout(limit);
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
    fn a_socket_that_nobody_listens_at_is_told_from_a_closed_one() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("s");
        drop(UnixListener::bind(&socket).unwrap());
        let error = open_local(&LocalNix { socket: socket.clone(), ..how("daemon") }).unwrap_err();
        assert!(error.to_string().contains("nobody listens at"), "{error}");
        let closed = refused(&socket, &io::ErrorKind::PermissionDenied.into()).to_string();
        assert!(closed.contains(&format!("the user '{}' may not connect", user_name())), "{closed}");
    }

    #[test]
    fn a_silent_daemon_is_waited_for_only_so_long() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("s");
        let _listener = UnixListener::bind(&socket).unwrap();
        let mut link = open_local(&LocalNix { socket, ..how("daemon") }).unwrap();
        link.set_patience(Some(Duration::from_millis(20)));
        assert_eq!(link.read(&mut [0]).unwrap_err().kind(), io::ErrorKind::TimedOut);
        let block = vec![0; 1 << 20];
        assert_eq!(link.write_all(&block).unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn no_daemon_and_no_nix_are_said() {
        let refused =
            open_local(&LocalNix { socket: "/does/not/exist".into(), ..how("daemon") }).unwrap_err();
        insta::assert_snapshot!(refused, @"cannot use this machine's Nix: there is no /does/not/exist; start its nix-daemon (`systemctl start nix-daemon.socket`, or `nix-daemon` as root)");
        let missing = LocalNix { program: vec!["/no/nix-daemon".to_owned()], ..how("local") };
        let refused = open_local(&missing).unwrap_err();
        insta::assert_snapshot!(refused, @"cannot use this machine's Nix: `/no/nix-daemon` cannot be started (No such file or directory (os error 2)); it comes with Nix: put the directory that has it into PATH");
    }
}
