//! Writes a run's builds to the history while the run goes on, on a thread of its own.
//!
//! The scheduler's loop only hands rows over. They are written in batches, each in one transaction, and all
//! of them by the end of the run, however it ends. What cannot be written is said once and stops nothing.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, RecvTimeoutError, Sender, unbounded};

use super::aside::{identity, set_aside};
use super::{Fold, History, HistoryError, NomFile, Row, Trouble};
use crate::base::Time;
use crate::run::{Event, Order};

/// How long a row waits for others.
const GATHER: Duration = Duration::from_millis(300);
/// Rows in one transaction.
const BATCH: usize = 512;
/// Rows that wait while another process has the file locked; more are let go.
const MOST_WAITING: usize = 100_000;

/// Writes the history of one run.
#[derive(Debug)]
pub struct Keeper {
    fold: Option<Fold>,
    rows: Option<Sender<Row>>,
    thread: Option<JoinHandle<()>>,
    trouble: Arc<Mutex<Option<String>>>,
}

impl Keeper {
    /// Keeps nothing.
    pub fn off() -> Keeper {
        Keeper { fold: None, rows: None, thread: None, trouble: Arc::default() }
    }

    /// Keeps the builds of `fold`'s run in `history`, and passes them on to `nom`, as far as these are there.
    pub fn begin(history: Option<History>, fold: Fold, nom: Option<NomFile>) -> Keeper {
        if history.is_none() && nom.is_none() {
            return Keeper::off();
        }
        let (send, receive) = unbounded();
        let trouble: Arc<Mutex<Option<String>>> = Arc::default();
        let mut writer = Writer {
            identity: history.as_ref().and_then(|history| identity(history.path())),
            history,
            nom,
            waiting: Vec::new(),
            trouble: Arc::clone(&trouble),
        };
        let thread = std::thread::Builder::new()
            .name("history".to_owned())
            .spawn(move || writer.run(&receive))
            .map_err(|e| say(&trouble, format!("the history is not written: no thread for it: {e}")));
        Keeper { fold: Some(fold), rows: Some(send), thread: thread.ok(), trouble }
    }

    /// Takes in a fact.
    pub fn event(&mut self, at: Time, event: &Event) {
        if let (Some(fold), Some(rows)) = (&mut self.fold, &self.rows)
            && let Some(row) = fold.event(at, event)
        {
            // Nobody listens any more if the thread could not be started; that was said.
            let _ = rows.send(row);
        }
    }

    /// Takes in an order.
    pub fn order(&mut self, order: &Order) {
        if let Some(fold) = &mut self.fold {
            fold.order(order);
        }
    }

    /// What went wrong, the first time this is called after it did.
    pub fn warning(&mut self) -> Option<String> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Waits until all is written; what went wrong, if it was not said yet.
    pub fn finish(mut self) -> Option<String> {
        self.close();
        self.warning()
    }

    fn close(&mut self) {
        drop(self.rows.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            say(&self.trouble, "the history is not written any further: its thread has failed".to_owned());
        }
    }
}

/// A run that ends in an error has a history, too.
impl Drop for Keeper {
    fn drop(&mut self) {
        self.close();
    }
}

fn say(trouble: &Mutex<Option<String>>, text: String) {
    trouble.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(text);
}

/// The thread's side.
struct Writer {
    /// `None` once it cannot be written.
    history: Option<History>,
    /// The file that was opened.
    identity: Option<(u64, u64)>,
    nom: Option<NomFile>,
    waiting: Vec<Row>,
    trouble: Arc<Mutex<Option<String>>>,
}

impl Writer {
    fn run(&mut self, rows: &Receiver<Row>) {
        while let Ok(first) = rows.recv() {
            self.waiting.push(first);
            let from = self.waiting.len() - 1;
            let until = Instant::now() + GATHER;
            let mut ended = false;
            while self.waiting.len() - from < BATCH && !ended {
                match rows.recv_deadline(until) {
                    Ok(row) => self.waiting.push(row),
                    Err(RecvTimeoutError::Timeout) => break,
                    Err(RecvTimeoutError::Disconnected) => ended = true,
                }
            }
            if let Some(nom) = &mut self.nom
                && let Err(why) = nom.append(&self.waiting[from..])
            {
                say(&self.trouble, format!("nix-output-monitor's file is not written: {why}"));
                self.nom = None;
            }
            self.write(ended);
        }
        self.write(true);
    }

    /// Writes what waits; `last` if there will be no other time.
    fn write(&mut self, last: bool) {
        if self.waiting.is_empty() {
            return;
        }
        let Some(history) = &mut self.history else { return self.waiting.clear() };
        let path = history.path().to_owned();
        let error = match history.add(&self.waiting) {
            Ok(_) => return self.waiting.clear(),
            Err(error) => error,
        };
        match error.trouble() {
            Some(Trouble::Locked) if !last && self.waiting.len() < MOST_WAITING => {}
            Some(Trouble::Damaged) => self.begin_anew(&path, &error),
            _ => self.give_up(&error),
        }
    }

    fn begin_anew(&mut self, path: &Path, error: &HistoryError) {
        self.history = None;
        let fresh = || -> Result<_, HistoryError> {
            let kept = set_aside(path, self.identity)?;
            let mut history = History::open(path)?;
            history.add(&self.waiting)?;
            Ok((kept, history))
        };
        match fresh() {
            Ok((kept, history)) => {
                let kept =
                    kept.map_or_else(String::new, |kept| format!("; it is kept as {}", kept.display()));
                say(&self.trouble, format!("the history begins anew: {error}{kept}"));
                self.identity = identity(path);
                self.history = Some(history);
                self.waiting.clear();
            }
            Err(next) => self.give_up(&next),
        }
    }

    fn give_up(&mut self, error: &HistoryError) {
        self.history = None;
        self.waiting.clear();
        say(&self.trouble, format!("the history is not written any further: {error}"));
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::super::tests::{all, place, row};
    use super::*;

    fn writer(path: &Path) -> Writer {
        Writer {
            history: Some(History::open(path).unwrap()),
            identity: identity(path),
            nom: None,
            waiting: Vec::new(),
            trouble: Arc::default(),
        }
    }

    #[test]
    fn what_a_run_has_built_is_there_while_it_goes_on() {
        let (_temp, path) = place();
        let reader = History::open(&path).unwrap();
        let mut writer = writer(&path);
        // Nothing is sent before the thread takes it, which it does not do with one more than a batch before it
        // has written something.
        let (send, receive) = crossbeam::channel::bounded(0);
        std::thread::scope(|scope| {
            scope.spawn(move || writer.run(&receive));
            (0..=BATCH as u64).for_each(|n| send.send(row("hello", n, n)).unwrap());
            assert!(!all(&reader).is_empty());
            drop(send);
        });
        assert_eq!(all(&reader).len(), BATCH + 1);
    }

    #[test]
    fn a_lock_that_is_let_go_in_time_costs_nothing() {
        let (_temp, path) = place();
        let mut writer = writer(&path);
        let other = Connection::open(&path).unwrap();
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        writer.waiting.extend((0..5).map(|n| row("hello", n, n)));
        writer.write(false);
        assert_eq!((writer.waiting.len(), writer.trouble.lock().unwrap().take()), (5, None));
        other.execute_batch("ROLLBACK").unwrap();
        writer.waiting.push(row("hello", 5, 5));
        writer.write(true);
        assert_eq!((writer.waiting.len(), writer.trouble.lock().unwrap().take()), (0, None));
        assert_eq!(all(&History::open(&path).unwrap()).len(), 6);
    }
}
