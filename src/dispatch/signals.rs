//! Ctrl-C and the requests to end: the first ends the run cleanly, the second ends this program.

use crossbeam::channel::{Receiver, Sender, unbounded};
use tokio::runtime::Handle;
use tokio::signal::unix::{SignalKind, signal};

/// The exit status of a command that a signal ended, as shells have it for Ctrl-C.
pub const EXIT_INTERRUPTED: u8 = 130;

/// Listens for SIGINT, SIGTERM and SIGHUP. `at_once` is run before a second one ends the program.
///
/// # Errors
/// The system does not allow handlers.
pub fn listen(runtime: &Handle, at_once: impl Fn() + Send + 'static) -> std::io::Result<Receiver<()>> {
    let (sender, receiver) = unbounded();
    let _inside = runtime.enter();
    let mut int = signal(SignalKind::interrupt())?;
    let mut term = signal(SignalKind::terminate())?;
    let mut hup = signal(SignalKind::hangup())?;
    runtime.spawn(async move {
        let mut seen = 0;
        loop {
            tokio::select! {
                _ = int.recv() => (),
                _ = term.recv() => (),
                _ = hup.recv() => (),
            }
            seen += 1;
            react(seen, &sender, &at_once);
        }
    });
    Ok(receiver)
}

fn react(seen: u32, sender: &Sender<()>, at_once: &impl Fn()) {
    // A hung-up receiver means that the run is over and only the tidying is left.
    if seen == 1 && sender.send(()).is_ok() {
        return;
    }
    at_once();
    std::process::exit(i32::from(EXIT_INTERRUPTED));
}
