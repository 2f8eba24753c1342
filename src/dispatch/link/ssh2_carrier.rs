//! A link through libssh2, in this process: one TCP connection, one session, one channel.
//!
//! Once the command runs, the session is non-blocking and this module waits by itself, so that a
//! read that waits for an hour-long build still sends keep-alives, empties stderr and can be ended.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::{SockRef, TcpKeepalive};
use ssh2::{BlockDirections, Channel, ErrorCode, MethodType, Session};

use super::child::Tail;
use super::cipher;
use super::{End, Ending, Interrupt, Link, LinkError, Resolved, Steps, Stream, auth, silence};

/// A dead peer or a cut link is noticed by the kernels alone: the host's acknowledges what arrives
/// however busy its programs are, so that load raises no alarm. On a link that nobody reads from: silent
/// for 4 s, then probes 2 s apart, of which 3 in vain are enough.
const PROBE_AFTER: Duration = Duration::from_secs(4);
const PROBE_EVERY: Duration = Duration::from_secs(2);
const PROBES: u32 = 3;
/// Sent data that nobody acknowledges for so long means the same. TCP sends it again about five times
/// meanwhile (0.2, 0.6, 1.4, 3 and 6.2 s later on a fast link), so a few lost packets do no harm.
/// With what comes before ([`SAY_EVERY`]) and after (a slot tries once more to connect) a cut link is
/// known for one after 10 to 12 s. Less would take a Wi-Fi that roams or a VPN that renews its keys
/// for a cut link, at the price of the builds that run.
const UNACKNOWLEDGED: Duration = Duration::from_secs(8);
/// While a read waits, something is sent so often: over a cut link it is not acknowledged. Were it
/// rarer, it would come in between the kernel's probes and put off their verdict.
const SAY_EVERY: Duration = Duration::from_secs(2);
/// One in so many asks for an answer, since the kernel of a host whose sshd hangs acknowledges too.
/// Not each of them: libssh2 keeps the answers in memory.
const ASK_EACH: u32 = 15;
const SILENT_FOR: Duration = Duration::from_secs(75);

/// libssh2: key exchange failed, no common method, host key unusable, algorithm unsupported.
const DISAGREEMENT: [i32; 5] = [-5, -8, -10, -33, -51];

/// Why libssh2 did not get through.
pub(super) enum Failure {
    Error(LinkError),
    /// OpenSSH may do better, for this reason.
    Beyond(String),
}

impl From<LinkError> for Failure {
    fn from(error: LinkError) -> Failure {
        Failure::Error(error)
    }
}

pub(super) fn open(host: &Resolved, command: &str, steps: Steps) -> Result<Link, Failure> {
    let accepted = host.accepted()?;
    let tcp = connect(host, steps.connect)?;
    let lost = |what: &str, error: &dyn std::fmt::Display, timed_out| {
        Failure::Error(LinkError::unreachable(&host.called(), &format!("{what}: {error}"), timed_out))
    };
    let local = |error: io::Error| lost("preparing the socket", &error, false);
    tune(&tcp).map_err(local)?;
    let (polled, cut) = (tcp.try_clone().map_err(local)?, tcp.try_clone().map_err(local)?);

    let mut session = Session::new().map_err(|error| lost("starting libssh2", &error, false))?;
    session.set_tcp_stream(tcp);
    session.set_timeout(u32::try_from(steps.each.as_millis()).unwrap_or(u32::MAX));
    let supported = session.supported_algs(MethodType::HostKey).unwrap_or_default();
    if !supported.is_empty() {
        let wanted = accepted.preference(&supported);
        session
            .method_pref(MethodType::HostKey, &wanted)
            .map_err(|error| lost("choosing keys", &error, false))?;
    }
    let ciphers = session.supported_algs(MethodType::CryptCs).unwrap_or_default();
    let wanted = cipher::preference(&ciphers, host.config().get("ciphers"));
    for direction in [MethodType::CryptCs, MethodType::CryptSc] {
        let chosen = session.method_pref(direction, &wanted);
        chosen.map_err(|error| lost("choosing ciphers", &error, false))?;
    }
    session.handshake().map_err(|error| match error.code() {
        ErrorCode::Session(code) if DISAGREEMENT.contains(&code) => {
            Failure::Beyond(error.message().to_owned())
        }
        code => lost("ssh handshake", &error.message(), code == ErrorCode::Session(-9)),
    })?;
    let (key, _) = session.host_key().ok_or_else(|| Failure::Beyond("it shows no host key".to_owned()))?;
    accepted.check(&host.called(), key)?;
    auth::authenticate(&session, host)?;

    let start = |session: &Session| {
        let mut channel = session.channel_session()?;
        channel.exec(command)?;
        Ok::<Channel, ssh2::Error>(channel)
    };
    let channel = start(&session).map_err(|error| {
        lost("starting the remote program", &error.message(), error.code() == ErrorCode::Session(-9))
    })?;
    session.set_blocking(false);
    let interrupt = Interrupt::new(End::Tcp(cut));
    let stream = Ssh2Stream {
        stderr: channel.stderr(),
        channel,
        session,
        tcp: polled,
        interrupt: interrupt.clone(),
        tail: Tail::default(),
        heard: Instant::now(),
        patience: None,
    };
    Ok(Link::new(Box::new(stream), interrupt, host.called(), &host.program()))
}

/// Tries each address in turn.
fn connect(host: &Resolved, timeout: Duration) -> Result<TcpStream, LinkError> {
    let failed = |cause: String, timed_out| LinkError::unreachable(&host.called(), &cause, timed_out);
    let family = host.config().get("addressfamily").unwrap_or("any");
    let wanted = |address: &SocketAddr| {
        !matches!((family, address.ip()), ("inet", IpAddr::V6(_)) | ("inet6", IpAddr::V4(_)))
    };
    let addresses = (host.hostname(), host.port())
        .to_socket_addrs()
        .map_err(|error| failed(format!("{} has no address: {error}", host.hostname()), false))?;
    let mut last = failed(format!("{} has no {family} address", host.hostname()), false);
    for address in addresses.filter(wanted) {
        match TcpStream::connect_timeout(&address, timeout) {
            Ok(tcp) => return Ok(tcp),
            Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                last = failed(format!("{address} did not answer within {} s", timeout.as_secs_f32()), true);
            }
            Err(error) => last = failed(format!("{address}: {error}"), false),
        }
    }
    Err(last)
}

fn tune(tcp: &TcpStream) -> io::Result<()> {
    tcp.set_nodelay(true)?;
    let socket = SockRef::from(tcp);
    let probes = TcpKeepalive::new().with_time(PROBE_AFTER).with_interval(PROBE_EVERY).with_retries(PROBES);
    socket.set_tcp_keepalive(&probes)?;
    #[cfg(any(target_os = "linux", target_os = "android"))]
    socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED))?;
    Ok(())
}

struct Ssh2Stream {
    channel: Channel,
    stderr: ssh2::Stream,
    session: Session,
    tcp: TcpStream,
    interrupt: Interrupt,
    tail: Tail,
    /// When the socket last had something for us.
    heard: Instant,
    patience: Option<Duration>,
}

impl Ssh2Stream {
    /// Waits until the session can go on, sending keep-alives meanwhile; `since` is when the caller
    /// began to wait for a byte.
    fn wait(&mut self, since: Instant) -> io::Result<()> {
        let outbound =
            matches!(self.session.block_directions(), BlockDirections::Outbound | BlockDirections::Both);
        let waiting_since = Instant::now();
        let mut said = 0u32;
        loop {
            let ready = self.poll(outbound, self.next_look(since)?)?;
            if self.interrupt.fired() {
                return Err(Interrupt::error());
            }
            if !ready.is_empty() {
                self.heard = Instant::now();
                return Ok(());
            }
            // Silence from before this wait says nothing: nobody was listening.
            if self.heard.max(waiting_since).elapsed() >= SILENT_FOR {
                return Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    "the ssh server does not answer any more",
                ));
            }
            // With part of a packet still to be sent, libssh2 must not be given another one.
            if !outbound {
                said = said.wrapping_add(1);
                self.say(said.is_multiple_of(ASK_EACH))?;
            }
        }
    }

    /// How long to wait before looking again; that patience is at an end is an error. Counted from the
    /// start of the call: answers to keep-alives make the socket readable, too.
    fn next_look(&self, since: Instant) -> io::Result<Duration> {
        let Some(limit) = self.patience else { return Ok(SAY_EVERY) };
        match limit.saturating_sub(since.elapsed()) {
            Duration::ZERO => Err(silence(limit)),
            left => Ok(left.min(SAY_EVERY)),
        }
    }

    fn poll(&self, outbound: bool, timeout: Duration) -> io::Result<PollFlags> {
        // Not both: with a packet half sent libssh2 reads nothing, so readable would mean spinning.
        let interest = if outbound { PollFlags::OUT } else { PollFlags::IN };
        poll_one(&self.tcp, interest, timeout)
    }

    /// Sends a keep-alive if the socket takes it whole (libssh2 itself sends one in 2 s at most).
    fn say(&mut self, want_answer: bool) -> io::Result<()> {
        if poll_one(&self.tcp, PollFlags::OUT, Duration::ZERO)?.contains(PollFlags::OUT) {
            self.session.set_keepalive(want_answer, 2);
            self.session.keepalive_send().map_err(lost)?;
        }
        Ok(())
    }

    /// Takes what the command wrote to stderr so far.
    fn drain_stderr(&mut self) -> io::Result<()> {
        let mut buffer = [0; 4096];
        loop {
            match self.stderr.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(count) => self.tail.push(&buffer[..count]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    /// `None`: not now. An interrupted link gives that as the reason, whatever libssh2 says.
    fn now(&self, result: io::Result<usize>) -> io::Result<Option<usize>> {
        match result {
            _ if self.interrupt.fired() => Err(Interrupt::error()),
            Ok(count @ 1..) => Ok(Some(count)),
            Ok(_) => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(lost(error)),
        }
    }
}

/// libssh2 says where it noticed ("transport read"), not what that means.
fn lost(error: impl std::fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionReset, format!("the ssh connection is lost ({error})"))
}

fn poll_one(tcp: &TcpStream, interest: PollFlags, timeout: Duration) -> io::Result<PollFlags> {
    let mut fds = [PollFd::new(tcp, interest)];
    let timeout = Timespec::try_from(timeout).map_err(io::Error::other)?;
    match poll(&mut fds, Some(&timeout)) {
        Ok(_) => Ok(fds[0].revents()),
        Err(rustix::io::Errno::INTR) => Ok(PollFlags::empty()),
        Err(error) => Err(error.into()),
    }
}

impl Read for Ssh2Stream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        let mut since = None;
        loop {
            let result = self.channel.read(buf);
            // That there is nothing to wait for is the end; `eof` says so only once stderr was read, too, and if
            // both came at once nothing more will come that would end a wait.
            let is_end = matches!(result, Ok(0));
            if let Some(count) = self.now(result)? {
                return Ok(count);
            }
            if is_end || self.channel.eof() {
                let _ = self.drain_stderr();
                return Ok(0);
            }
            self.wait(*since.get_or_insert_with(Instant::now))?;
            // An error shows again at the next read of the stream proper.
            let _ = self.drain_stderr();
        }
    }
}

impl Write for Ssh2Stream {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        let mut since = None;
        loop {
            // libssh2 wants the very same bytes again after it could not send them all.
            let result = self.channel.write(buf);
            if let Some(count) = self.now(result)? {
                return Ok(count);
            }
            if self.channel.eof() {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            self.wait(*since.get_or_insert_with(Instant::now))?;
        }
    }

    /// Nothing is held back. (libssh2's own flush throws away what was received.)
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Stream for Ssh2Stream {
    fn keep_alive(&mut self) -> io::Result<()> {
        if self.interrupt.fired() {
            return Err(Interrupt::error());
        }
        self.drain_stderr()?;
        if self.channel.eof() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let ready = self.poll(false, Duration::ZERO)?;
        if ready.intersects(PollFlags::HUP | PollFlags::ERR) {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        self.say(false)
    }

    fn ending(&mut self, wait: Duration) -> Ending {
        let deadline = Instant::now() + wait;
        let mut discarded = [0; 4096];
        let mut status = None;
        loop {
            let alive = self.drain_stderr().is_ok();
            while let Ok(1..) = self.channel.read(&mut discarded) {}
            if self.channel.eof() && self.channel.wait_close().is_ok() {
                let by_signal = self.channel.exit_signal().is_ok_and(|signal| signal.exit_signal.is_some());
                status = if by_signal { None } else { self.channel.exit_status().ok() };
                break;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if !alive || left.is_zero() || self.interrupt.fired() {
                break;
            }
            match self.poll(false, left) {
                Ok(ready) if !ready.intersects(PollFlags::HUP | PollFlags::ERR) => {}
                _ => break,
            }
        }
        let _ = self.drain_stderr();
        Ending { status, stderr: self.tail.text(), carrier_failed: false }
    }

    fn set_patience(&mut self, limit: Option<Duration>) {
        self.patience = limit;
    }
}

impl Drop for Ssh2Stream {
    fn drop(&mut self) {
        // Says goodbye if that can be had at once; with the socket shut, nothing below can block or
        // ask to be called again.
        let _ = self.channel.close();
        let _ = self.tcp.shutdown(Shutdown::Both);
    }
}
