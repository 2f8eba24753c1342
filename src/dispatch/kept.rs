//! Something that is made when first needed, given up by one thread and made anew by another.
//!
//! Giving up takes effect at once, clearing away may take its time: what was made anew meanwhile is not
//! cleared away with what was given up.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// A value with the count of givings-up it was made after.
#[derive(Debug)]
pub(super) struct Kept<T> {
    given_up: AtomicU64,
    value: Mutex<Option<(u64, T)>>,
}

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Self { given_up: AtomicU64::new(0), value: Mutex::new(None) }
    }
}

impl<T> Kept<T> {
    /// Uses the value, if it was not given up and is `good`, or a new one. A value that is given up while
    /// it is made is good for this one use.
    pub fn with<R, E>(
        &self,
        good: impl FnOnce(&T) -> bool,
        make: impl FnOnce() -> Result<T, E>,
        work: impl FnOnce(&T) -> Result<R, E>,
    ) -> Result<R, E> {
        let mut slot = self.value.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.given_up.load(Ordering::SeqCst);
        let kept = match slot.take().filter(|(count, value)| *count == now && good(value)) {
            Some(kept) => kept,
            None => (now, make()?),
        };
        work(&slot.insert(kept).1)
    }

    /// What there is, given up or not.
    pub fn get_mut(&mut self) -> Option<&mut T> {
        self.value.get_mut().unwrap_or_else(PoisonError::into_inner).as_mut().map(|(_, value)| value)
    }

    /// Gives up what there is, or is being made; it still has to be cleared away.
    pub fn give_up(&self) {
        self.given_up.fetch_add(1, Ordering::SeqCst);
    }

    /// Drops what was given up, if it is still there.
    pub fn clear_away(&self) {
        let mut slot = self.value.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.given_up.load(Ordering::SeqCst);
        let old = if slot.as_ref().is_some_and(|(count, _)| *count != now) { slot.take() } else { None };
        // Others need not wait until it is gone.
        drop(slot);
        drop(old);
    }

    /// Whether there is a value that was not given up and is `good`; `None` while somebody uses it.
    pub fn is_good(&self, good: impl FnOnce(&T) -> bool) -> Option<bool> {
        let slot = self.value.try_lock().ok()?;
        let now = self.given_up.load(Ordering::SeqCst);
        Some(slot.as_ref().is_some_and(|(count, value)| *count == now && good(value)))
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    fn value(kept: &Kept<u32>, fresh: u32) -> u32 {
        let result: Result<u32, Infallible> = kept.with(|_| true, || Ok(fresh), |value| Ok(*value));
        result.unwrap_or_else(|e| match e {})
    }

    #[test]
    fn clearing_away_late_spares_what_was_made_anew() {
        let kept = Kept::default();
        assert_eq!(value(&kept, 1), 1);
        kept.give_up();
        assert_eq!(kept.is_good(|_| true), Some(false));
        assert_eq!(value(&kept, 2), 2, "what was given up is not used again");
        kept.clear_away();
        assert_eq!(value(&kept, 3), 2, "and nothing else was cleared away");
    }

    #[test]
    fn what_is_given_up_while_it_is_made_does_not_stay() {
        let kept = Kept::default();
        let made: Result<u32, Infallible> = kept.with(
            |_| true,
            || {
                kept.give_up();
                Ok(1)
            },
            |value| Ok(*value),
        );
        assert_eq!((made, kept.is_good(|_| true)), (Ok(1), Some(false)));
        kept.clear_away();
        assert_eq!(value(&kept, 2), 2);
    }

    #[test]
    fn what_is_no_good_is_made_anew() {
        let kept = Kept::default();
        value(&kept, 1);
        let made: Result<u32, Infallible> = kept.with(|v| *v > 1, || Ok(2), |value| Ok(*value));
        assert_eq!(made, Ok(2));
        assert_eq!(kept.is_good(|v| *v > 1), Some(true));
    }
}
