//! Ctrl-C and the requests to end: the first ends the run cleanly, the second ends this program. While
//! there is no run yet, nothing has to be cleaned up, and the first one ends it, too.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam::channel::{Receiver, Sender, unbounded};
use tokio::runtime::Handle;
use tokio::signal::unix::{SignalKind, signal};

/// The exit status of a command that a signal ended, as shells have it for Ctrl-C.
pub const EXIT_INTERRUPTED: u8 = 130;

/// Where requests to end arrive.
#[derive(Clone, Debug)]
pub struct Interrupts {
    requests: Receiver<()>,
    begun: Arc<AtomicBool>,
}

impl Interrupts {
    /// From now on there is a run that listens, and ends cleanly when it is asked to.
    pub fn heed(&self) -> Receiver<()> {
        self.begun.store(true, Ordering::SeqCst);
        self.requests.clone()
    }
}

/// Listens for SIGINT, SIGTERM and SIGHUP. `at_once` is run before one ends the program.
///
/// # Errors
/// The system does not allow handlers.
pub fn listen(runtime: &Handle, at_once: impl Fn() + Send + 'static) -> std::io::Result<Interrupts> {
    let (sender, requests) = unbounded();
    let begun = Arc::new(AtomicBool::new(false));
    let _inside = runtime.enter();
    let mut int = signal(SignalKind::interrupt())?;
    let mut term = signal(SignalKind::terminate())?;
    let mut hup = signal(SignalKind::hangup())?;
    let heard = Arc::clone(&begun);
    runtime.spawn(async move {
        let mut seen = 0;
        loop {
            tokio::select! {
                _ = int.recv() => (),
                _ = term.recv() => (),
                _ = hup.recv() => (),
            }
            seen += u32::from(heard.load(Ordering::SeqCst));
            react(seen, &sender, &at_once);
        }
    });
    Ok(Interrupts { requests, begun })
}

/// `seen` counts the requests since there is a run.
fn react(seen: u32, sender: &Sender<()>, at_once: &impl Fn()) {
    // A hung-up receiver means that the run is over and only the tidying is left.
    if seen == 1 && sender.send(()).is_ok() {
        return;
    }
    at_once();
    std::process::exit(i32::from(EXIT_INTERRUPTED));
}
