//! Limits how many handshakes with one host happen at a time.
//!
//! sshd drops connections at random once `MaxStartups` (10:30:100) of them are unauthenticated.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// How many handshakes one host gets at a time: well below sshd's 10, others connect too.
const HANDSHAKES: usize = 4;

/// A counting semaphore, shared by the slots of one host. Cloning gives another handle to the same.
#[derive(Clone, Debug)]
pub struct Gate(Arc<(Mutex<usize>, Condvar)>);

/// The right to shake hands; leaves the gate when dropped.
pub(super) struct Pass<'a>(&'a Gate);

impl Default for Gate {
    fn default() -> Gate {
        Gate::new(HANDSHAKES)
    }
}

impl Gate {
    /// A gate that lets `limit` (at least one) through at a time.
    #[must_use]
    pub fn new(limit: usize) -> Gate {
        Gate(Arc::new((Mutex::new(limit.max(1)), Condvar::new())))
    }

    /// Waits for a place.
    pub(super) fn enter(&self) -> Pass<'_> {
        let mut free = self.free();
        while *free == 0 {
            free = self.0.1.wait(free).unwrap_or_else(PoisonError::into_inner);
        }
        *free -= 1;
        Pass(self)
    }

    /// The count is right even after a panic of another holder, whose pass was dropped.
    fn free(&self) -> MutexGuard<'_, usize> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        *self.0.free() += 1;
        self.0.0.1.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn never_more_inside_than_the_limit() {
        let gate = Gate::new(3);
        let (inside, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..12 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        let _pass = gate.enter();
                        most.fetch_max(inside.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                        std::thread::yield_now();
                        inside.fetch_sub(1, Ordering::SeqCst);
                    }
                });
            }
        });
        assert!(most.load(Ordering::SeqCst) <= 3);
        assert_eq!(*gate.free(), 3);
    }
}
