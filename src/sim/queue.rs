//! What is due when: by time, and at the same moment in the order in which it was caused.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use crate::base::Time;

#[derive(Clone, Debug)]
struct Entry<T> {
    at: Time,
    seq: u64,
    due: T,
}

impl<T> Entry<T> {
    fn key(&self) -> (Time, u64) {
        (self.at, self.seq)
    }
}

impl<T> PartialEq for Entry<T> {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl<T> Eq for Entry<T> {}

impl<T> PartialOrd for Entry<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The earliest is the greatest, as the heap wants it.
impl<T> Ord for Entry<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        other.key().cmp(&self.key())
    }
}

/// A queue over virtual time.
#[derive(Clone, Debug)]
pub(super) struct Queue<T> {
    entries: BinaryHeap<Entry<T>>,
    next: u64,
}

impl<T> Queue<T> {
    pub fn new() -> Self {
        Self { entries: BinaryHeap::new(), next: 0 }
    }

    pub fn push(&mut self, at: Time, due: T) {
        self.entries.push(Entry { at, seq: self.next, due });
        self.next += 1;
    }

    /// When the next is due.
    pub fn due(&self) -> Option<Time> {
        self.entries.peek().map(|entry| entry.at)
    }

    pub fn pop(&mut self) -> Option<(Time, T)> {
        self.entries.pop().map(|entry| (entry.at, entry.due))
    }
}
