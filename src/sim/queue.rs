//! What is due when: by time, and at the same moment in the order in which it was caused.

use std::cmp::Ordering;
use std::collections::{BinaryHeap, VecDeque};

use crate::base::Time;

#[derive(Clone, Debug)]
struct Entry<T> {
    at: Time,
    seq: u64,
    due: T,
}

impl<T> Entry<T> {
    /// One number, which is compared without branches.
    fn key(&self) -> u128 {
        u128::from(self.at.0) << 64 | u128::from(self.seq)
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

    fn le(&self, other: &Self) -> bool {
        other.key() <= self.key()
    }
}

/// The earliest is the greatest, as the heap wants it.
impl<T> Ord for Entry<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        other.key().cmp(&self.key())
    }
}

/// A queue over virtual time of what is told, as a rule at the moment at which it happens, and of what is
/// done later.
#[derive(Clone, Debug)]
pub(super) struct Queue<N, L> {
    /// Each not before the one before it, so that no heap has to sort them.
    now: VecDeque<Entry<N>>,
    later: BinaryHeap<Entry<L>>,
    next: u64,
}

/// Which of the two is the next that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Which {
    Now,
    Later,
}

impl<N, L> Queue<N, L> {
    pub fn new() -> Self {
        Self { now: VecDeque::new(), later: BinaryHeap::new(), next: 0 }
    }

    fn seq(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    pub fn push(&mut self, at: Time, due: L) {
        let seq = self.seq();
        self.later.push(Entry { at, seq, due });
    }

    /// Whether [`Queue::push_now`] can take something that is due at this time.
    pub fn is_in_turn(&self, at: Time) -> bool {
        self.now.back().is_none_or(|last| last.at <= at)
    }

    /// Takes what is due no earlier than anything that was given to this function.
    pub fn push_now(&mut self, at: Time, due: N) {
        debug_assert!(self.is_in_turn(at));
        let seq = self.seq();
        self.now.push_back(Entry { at, seq, due });
    }

    /// The next, if it is due by `deadline`, and when.
    pub fn next(&self, deadline: Time) -> Option<(Time, Which)> {
        let now = self.now.front().map_or(u128::MAX, Entry::key);
        let later = self.later.peek().map_or(u128::MAX, Entry::key);
        let (first, which) = if now < later { (now, Which::Now) } else { (later, Which::Later) };
        let at = Time((first >> 64) as u64);
        (at <= deadline && first != u128::MAX).then_some((at, which))
    }

    /// Takes out the first of what is told.
    pub fn pop_now(&mut self) -> Option<N> {
        self.now.pop_front().map(|entry| entry.due)
    }

    /// Takes out the first of what is done later.
    pub fn pop_later(&mut self) -> Option<L> {
        self.later.pop().map(|entry| entry.due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_time_and_then_in_order() {
        let mut queue = Queue::new();
        queue.push(Time(5), 'a');
        queue.push_now(Time(3), 'b');
        queue.push_now(Time(5), 'c');
        queue.push(Time(5), 'd');
        queue.push(Time(3), 'e');
        assert!(queue.is_in_turn(Time(5)) && !queue.is_in_turn(Time(4)));
        assert_eq!(queue.next(Time(2)), None);
        let pop = || {
            let (at, which) = queue.next(Time(5))?;
            let due = if which == Which::Now { queue.pop_now() } else { queue.pop_later() };
            Some((at.0, which, due?))
        };
        let all: Vec<_> = std::iter::from_fn(pop).collect();
        let (now, later) = (Which::Now, Which::Later);
        let expected = [(3, now, 'b'), (3, later, 'e'), (5, later, 'a'), (5, now, 'c'), (5, later, 'd')];
        assert_eq!(all, expected);
        assert!(queue.is_in_turn(Time(1)));
    }

    #[test]
    fn the_end_of_time_comes_too() {
        let mut queue: Queue<char, char> = Queue::new();
        assert_eq!(queue.next(Time(u64::MAX)), None);
        queue.push(Time(u64::MAX), 'a');
        assert_eq!(queue.next(Time(u64::MAX)), Some((Time(u64::MAX), Which::Later)));
        assert_eq!(queue.pop_later(), Some('a'));
    }
}
