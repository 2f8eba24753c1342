//! A child process as a stream: its stdin and stdout as pipes, its stderr collected.
//!
//! Pipes and not a socket pair, because some versions of `nix-daemon --stdio` splice from and to them.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, kill_process};

use super::{End, Ending, Interrupt, STDERR_KEPT, Stream, silence};

/// How long a child that was asked to end gets before it is killed.
const GRACE: Duration = Duration::from_secs(1);
/// How often it is looked at meanwhile, at first and at last; there is no portable waiting with a
/// timeout. Most children end within a millisecond, and a run ends as many as it has connections.
const LOOK_FIRST: Duration = Duration::from_micros(250);
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Bytes of a pipe to or from a child, where that can be chosen.
#[cfg(any(target_os = "linux", target_os = "android"))]
const PIPE: usize = 256 << 10;

/// The last of a command's stderr. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Tail(Arc<Mutex<Vec<u8>>>);

impl Tail {
    pub(super) fn push(&self, bytes: &[u8]) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.extend_from_slice(bytes);
        let excess = kept.len().saturating_sub(STDERR_KEPT);
        kept.drain(..excess);
    }

    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }

    /// Collects from `source` on a thread; the receiver hears when it ended.
    pub(super) fn collect(&self, mut source: impl Read + Send + 'static) -> io::Result<Receiver<()>> {
        let (tail, (done, ended)) = (self.clone(), mpsc::channel::<()>());
        std::thread::Builder::new().name("link-stderr".to_owned()).spawn(move || {
            let _done = done;
            let mut buffer = [0; 4096];
            loop {
                match source.read(&mut buffer) {
                    Ok(0) => break,
                    Ok(count) => tail.push(&buffer[..count]),
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(_) => break,
                }
            }
        })?;
        Ok(ended)
    }
}

/// A child that several threads may end.
#[derive(Clone)]
pub(super) struct Shared(Arc<Mutex<Child>>);

impl Shared {
    pub(super) fn new(child: Child) -> Shared {
        Shared(Arc::new(Mutex::new(child)))
    }

    fn child(&self) -> MutexGuard<'_, Child> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks the child to end, if it has not.
    pub(super) fn terminate(&self) {
        let mut child = self.child();
        // Not yet waited for, so the id is still this child's.
        if let Ok(None) = child.try_wait() {
            let _ = kill_process(Pid::from_child(&child), Signal::TERM);
        }
    }

    pub(super) fn wait_until(&self, deadline: Instant) -> Option<ExitStatus> {
        let mut pause = LOOK_FIRST;
        loop {
            if let Ok(Some(status)) = self.child().try_wait() {
                return Some(status);
            }
            if Instant::now() >= deadline {
                return None;
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(LOOK_EVERY);
        }
    }

    /// Sees to it that the child is gone.
    pub(super) fn end(&self) {
        self.terminate();
        if self.wait_until(Instant::now() + GRACE).is_none() {
            let mut child = self.child();
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// What kind of program the child is: tells whose exit status it ends with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Ssh,
    Program,
}

pub(super) struct ChildStream {
    stdin: Option<ChildStdin>,
    stdout: ChildStdout,
    /// Becomes readable when the interrupt is fired.
    wake: UnixStream,
    interrupt: Interrupt,
    child: Shared,
    tail: Tail,
    stderr_ended: Receiver<()>,
    kind: Kind,
    patience: Option<Duration>,
}

/// Starts `command` as a stream.
pub(super) fn spawn(command: &mut Command, kind: Kind) -> io::Result<ChildStream> {
    let (wake, waker) = UnixStream::pair()?;
    // A group of its own: Ctrl-C at the terminal is this program's to handle, not the child's.
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()?;
    let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let child = Shared::new(child);
    let (Some(stdin), Some(stdout), Some(stderr)) = pipes else {
        child.end();
        return Err(io::Error::other("the child has no pipes"));
    };
    let tail = Tail::default();
    let started = tail.collect(stderr).and_then(|ended| {
        rustix::io::ioctl_fionbio(&stdin, true)?;
        rustix::io::ioctl_fionbio(&stdout, true)?;
        enlarge(&stdin);
        enlarge(&stdout);
        Ok(ended)
    });
    let stderr_ended = started.inspect_err(|_| child.end())?;
    let interrupt = Interrupt::new(End::Child { wake: waker, child: child.clone() });
    Ok(ChildStream {
        stdin: Some(stdin),
        stdout,
        wake,
        interrupt,
        child,
        tail,
        stderr_ended,
        kind,
        patience: None,
    })
}

/// Whole NARs pass through: the larger the pipe, the less often both sides wake each other. Well below the
/// most that a user may have (64 MiB over all pipes, after which new ones are tiny).
fn enlarge(pipe: impl AsFd) {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    if let Err(error) = rustix::pipe::fcntl_setpipe_size(pipe, PIPE) {
        tracing::debug!(%error, "a pipe keeps its size");
    }
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    let _ = pipe;
}

impl ChildStream {
    pub(super) fn interrupt(&self) -> Interrupt {
        self.interrupt.clone()
    }

    /// Reads exactly `expected`, or says what came instead.
    pub(super) fn expect_line(&mut self, expected: &str, deadline: Instant) -> io::Result<()> {
        let mut got = Vec::new();
        while got.len() < expected.len() {
            // No more than is expected: what follows belongs to whoever reads the stream.
            let mut byte = [0];
            match self.stdout.read(&mut byte) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) => got.push(byte[0]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return Err(io::ErrorKind::TimedOut.into());
                    }
                    self.wait(self.stdout.as_fd(), PollFlags::IN, Some(left))?;
                }
                Err(error) => return Err(error),
            }
        }
        if got == expected.as_bytes() { Ok(()) } else { Err(io::ErrorKind::InvalidData.into()) }
    }

    /// Waits for the next byte of a call, or of room for one, within the patience there is.
    fn wait_for_byte(
        &self,
        fd: BorrowedFd<'_>,
        interest: PollFlags,
        since: &mut Option<Instant>,
    ) -> io::Result<()> {
        let Some(limit) = self.patience else { return self.wait(fd, interest, None) };
        match limit.saturating_sub(since.get_or_insert_with(Instant::now).elapsed()) {
            Duration::ZERO => Err(silence(limit)),
            left => self.wait(fd, interest, Some(left)),
        }
    }

    fn wait(&self, fd: BorrowedFd<'_>, interest: PollFlags, timeout: Option<Duration>) -> io::Result<()> {
        let mut fds = [PollFd::from_borrowed_fd(fd, interest), PollFd::new(&self.wake, PollFlags::IN)];
        let timeout = timeout.map(Timespec::try_from).transpose().map_err(io::Error::other)?;
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        if self.interrupt.fired() { Err(Interrupt::error()) } else { Ok(()) }
    }
}

impl Read for ChildStream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let mut since = None;
        loop {
            if self.interrupt.fired() {
                return Err(Interrupt::error());
            }
            match self.stdout.read(buf) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.wait_for_byte(self.stdout.as_fd(), PollFlags::IN, &mut since)?;
                }
                result => return result,
            }
        }
    }
}

impl Write for ChildStream {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let mut since = None;
        loop {
            if self.interrupt.fired() {
                return Err(Interrupt::error());
            }
            let Some(stdin) = &mut self.stdin else { return Err(io::ErrorKind::BrokenPipe.into()) };
            match stdin.write(buf) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return result,
            }
            if let Some(stdin) = &self.stdin {
                self.wait_for_byte(stdin.as_fd(), PollFlags::OUT, &mut since)?;
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Stream for ChildStream {
    /// OpenSSH keeps its connection alive by itself, and a local program needs nothing.
    fn keep_alive(&mut self) -> io::Result<()> {
        match self.child.wait_until(Instant::now()) {
            _ if self.interrupt.fired() => Err(Interrupt::error()),
            Some(_) => Err(io::ErrorKind::UnexpectedEof.into()),
            None => Ok(()),
        }
    }

    fn ending(&mut self, wait: Duration) -> Ending {
        let deadline = Instant::now() + wait;
        self.stdin = None;
        let status = self.child.wait_until(deadline).and_then(|status| status.code());
        // Nothing is ever sent: this waits for the collector to end, or for the deadline.
        if status.is_some() {
            let _ = self.stderr_ended.recv_timeout(deadline.saturating_duration_since(Instant::now()));
        }
        let carrier_failed = self.kind == Kind::Ssh && status == Some(255);
        Ending { status, stderr: self.tail.text(), carrier_failed }
    }

    fn set_patience(&mut self, limit: Option<Duration>) {
        self.patience = limit;
    }
}

impl Drop for ChildStream {
    fn drop(&mut self) {
        self.stdin = None;
        self.child.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str) -> ChildStream {
        spawn(Command::new("sh").args(["-c", script]), Kind::Program).unwrap()
    }

    #[test]
    fn bytes_go_through_and_the_ending_is_known() {
        let mut stream = sh("head -c 5; echo words >&2; exit 3");
        stream.write_all(b"hello").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        assert_eq!(text, "hello");
        let ending = stream.ending(Duration::from_secs(10));
        assert_eq!(ending, Ending { status: Some(3), stderr: "words\n".to_owned(), carrier_failed: false });
        assert!(stream.keep_alive().is_err());
    }

    #[test]
    fn an_interrupt_ends_a_blocked_read_and_a_blocked_write() {
        // Ignores the polite signal, so only the wake socket can end the call.
        for write in [false, true] {
            let mut stream = sh("trap '' TERM; echo ready; exec sleep 100");
            stream.expect_line("ready\n", Instant::now() + Duration::from_secs(10)).unwrap();
            let interrupt = stream.interrupt();
            let blocked = std::thread::spawn(move || {
                let mut block = vec![0; 1 << 20];
                if write { stream.write_all(&block) } else { stream.read_exact(&mut block) }
            });
            interrupt.fire();
            let error = blocked.join().unwrap().unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::ConnectionAborted);
        }
    }

    #[test]
    fn patience_ends_a_read_and_a_write_that_wait_for_nothing() {
        for write in [false, true] {
            let mut stream = sh("echo ready; exec sleep 100");
            stream.set_patience(Some(Duration::from_millis(20)));
            let mut block = vec![0; 6];
            stream.read_exact(&mut block).unwrap();
            block.resize(1 << 20, 0);
            let error = if write { stream.write_all(&block) } else { stream.read_exact(&mut block) };
            assert_eq!(error.unwrap_err().kind(), io::ErrorKind::TimedOut);
        }
    }

    #[test]
    fn only_the_last_of_stderr_is_kept() {
        let tail = Tail::default();
        for _ in 0..100 {
            tail.push(&[b'x'; 1000]);
        }
        tail.push(b"end");
        assert_eq!(tail.text().len(), STDERR_KEPT);
        assert!(tail.text().ends_with("xend"));
    }
}
