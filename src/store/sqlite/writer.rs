//! The one thread that writes, with group commit: it takes all operations that wait, runs each in
//! its own savepoint inside one transaction, commits, and only then answers.
//!
//! Nothing is answered before the commit, refusals included: a refusal may rest on a neighbour's row
//! that is not on disk yet. Between the commit and the answers the end of the audit chain is written down
//! outside the database; see `anchor`. When the commit fails, every caller of the batch is told so, and the
//! connection is thrown away: after a failed fsync the system may have forgotten the pages, so that
//! a second fsync would report a success that never happened. The readers' connections stay open,
//! and with them SQLite's index of the log; it does not list the failed pages, so that they are never
//! read again: the next commit writes over them, or starts the log anew.
//!
//! The log stays short: SQLite begins it anew by itself only in a moment in which nobody reads an older
//! state, and where pages are read all day that moment never comes. So once it is long, the writer
//! waits a little for its readers.

use super::super::error::{AllocateError, StoreError};
use super::super::rows::{Done, Health};
use super::anchor::Anchoring;
use super::{PATIENCE, trouble};
use rusqlite::Connection;
use std::collections::VecDeque;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// Operations in one commit, at most. Bounds how long the first waits for the last.
const BATCH: usize = 256;
/// Operations that wait, at most; further callers block.
const QUEUE: usize = 1024;
/// Bytes of log at which the writer waits for the readers, so that it can be emptied.
const LONG_LOG: u64 = 16 << 20;
/// Bytes by which it grows after an attempt in vain before the next. A reader that stays, such as a
/// backup, costs one wait for so much written.
const LOG_STEP: u64 = 8 << 20;
/// How long an attempt may hold up the writes that wait.
const LOG_PATIENCE: Duration = Duration::from_millis(250);

pub(super) type Opener = Box<dyn Fn() -> Result<Connection, StoreError> + Send>;

/// An error an operation may end with.
pub(super) trait Failure: From<StoreError> + Send + 'static {
    fn store(&self) -> Option<&StoreError>;
}

impl Failure for StoreError {
    fn store(&self) -> Option<&StoreError> {
        Some(self)
    }
}

impl Failure for AllocateError {
    fn store(&self) -> Option<&StoreError> {
        match self {
            AllocateError::Store(error) => Some(error),
            AllocateError::Refused(_) => None,
        }
    }
}

/// Whether what an operation wrote stays.
enum Ran {
    Keep,
    Undo(Option<StoreError>),
}

trait Job: Send {
    fn run(&mut self, connection: &Connection) -> Ran;
    fn answer(self: Box<Self>, batch: Result<(), StoreError>);
}

struct Call<T, E, F, R> {
    operation: Option<F>,
    result: Option<Result<T, E>>,
    reply: R,
}

impl<T, E, F, R> Job for Call<T, E, F, R>
where
    T: Send,
    E: Failure,
    F: FnOnce(&Connection) -> Result<T, E> + Send,
    R: FnOnce(Result<T, E>) + Send,
{
    fn run(&mut self, connection: &Connection) -> Ran {
        let Some(operation) = self.operation.take() else { return Ran::Undo(None) };
        // Whatever state the operation leaves behind is rolled back with its savepoint.
        let result = catch_unwind(AssertUnwindSafe(|| operation(connection))).unwrap_or_else(|_| {
            Err(StoreError::storage("running an operation", "the operation panicked").into())
        });
        let ran = match &result {
            Ok(_) => Ran::Keep,
            Err(error) => Ran::Undo(error.store().cloned()),
        };
        self.result = Some(result);
        ran
    }

    fn answer(self: Box<Self>, batch: Result<(), StoreError>) {
        let result = match (batch, self.result) {
            (Err(error), _) => Err(error.into()),
            (Ok(()), Some(result)) => result,
            (Ok(()), None) => Err(StoreError::storage("writing", "the operation was not run").into()),
        };
        // An answer that panics must not take the writer with it.
        let reply = self.reply;
        if catch_unwind(AssertUnwindSafe(|| reply(result))).is_err() {
            tracing::error!(event = "store.answer", "an answer could not be given: it panicked");
        }
    }
}

pub(super) struct Writer {
    queue: Mutex<Option<SyncSender<Box<dyn Job>>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    health: Arc<AtomicU8>,
}

impl Writer {
    /// `log`: the file of the write-ahead log.
    pub(super) fn start(
        connection: Connection,
        log: PathBuf,
        open: Opener,
        anchoring: Arc<Anchoring>,
    ) -> Result<Writer, StoreError> {
        let (sender, receiver) = sync_channel(QUEUE);
        let health = Arc::new(AtomicU8::new(Health::Ok as u8));
        let mut desk = Desk {
            connection: Some(connection),
            open,
            health: Arc::clone(&health),
            log,
            log_is_long_at: LONG_LOG,
            anchoring,
        };
        let thread = std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || desk.serve(&receiver))
            .map_err(|e| StoreError::storage("starting the writer", e))?;
        Ok(Writer { queue: Mutex::new(Some(sender)), thread: Mutex::new(Some(thread)), health })
    }

    /// Runs an operation on the writer and waits until it is on disk.
    pub(super) fn write<T, E, F>(&self, operation: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: Failure,
        F: FnOnce(&Connection) -> Result<T, E> + Send + 'static,
    {
        self.write_noting(operation, || ())
    }

    /// Like [`write`](Writer::write); calls `queued` as soon as the operation waits for its turn.
    pub(super) fn write_noting<T, E, F>(&self, operation: F, queued: impl FnOnce()) -> Result<T, E>
    where
        T: Send + 'static,
        E: Failure,
        F: FnOnce(&Connection) -> Result<T, E> + Send + 'static,
    {
        let closed = || E::from(StoreError::storage("writing", "the store is closed"));
        let (reply, answer) = sync_channel(1);
        // A caller that has gone away needs no answer.
        let reply = move |result| drop(reply.send(result));
        let call = Call { operation: Some(operation), result: None, reply };
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner).clone();
        queue.ok_or_else(closed)?.send(Box::new(call)).map_err(|_| closed())?;
        queued();
        answer.recv().unwrap_or_else(|_| Err(closed()))
    }

    /// Like [`write`](Writer::write) without waiting: `done` is called on the writer after the commit,
    /// or at once if nothing more can wait.
    pub(super) fn write_then<T, F>(&self, operation: F, done: Done<T>)
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    {
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(queue) = queue else {
            return done(Err(StoreError::storage("writing", "the store is closed")));
        };
        let call = Call { operation: Some(operation), result: None, reply: done };
        if let Err(TrySendError::Full(job) | TrySendError::Disconnected(job)) = queue.try_send(Box::new(call))
        {
            job.answer(Err(StoreError::Busy));
        }
    }

    pub(super) fn health(&self) -> Health {
        match self.health.load(Ordering::Relaxed) {
            h if h == Health::Ok as u8 => Health::Ok,
            h if h == Health::DiskFull as u8 => Health::DiskFull,
            _ => Health::StorageFailed,
        }
    }

    /// Takes no more operations, finishes those that wait, closes the connection.
    pub(super) fn stop(&self) {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).take();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread
            && thread.thread().id() != std::thread::current().id()
        {
            // The thread catches the panics of operations; there is nothing else to report.
            let _ = thread.join();
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.stop();
    }
}

/// What the writing thread has in front of it.
struct Desk {
    connection: Option<Connection>,
    open: Opener,
    health: Arc<AtomicU8>,
    log: PathBuf,
    log_is_long_at: u64,
    anchoring: Arc<Anchoring>,
}

impl Desk {
    fn serve(&mut self, queue: &Receiver<Box<dyn Job>>) {
        while let Ok(first) = queue.recv() {
            let mut waiting = VecDeque::from([first]);
            while waiting.len() < BATCH
                && let Ok(next) = queue.try_recv()
            {
                waiting.push_back(next);
            }
            while !waiting.is_empty() {
                let mut ran = Vec::with_capacity(waiting.len());
                self.anchoring.look_again();
                if let Some(connection) = &self.connection {
                    self.anchoring.catch_up(connection);
                }
                let outcome = self.transaction(&mut waiting, &mut ran);
                match (&outcome, &self.connection) {
                    // Committed, whatever becomes of the anchor: the answers stand.
                    (Ok(()), Some(connection)) => self.anchoring.committed(connection),
                    (Ok(()), None) => {}
                    (Err(error), _) => {
                        self.anchoring.undone();
                        self.give_up(error);
                    }
                }
                self.note(&outcome);
                for job in ran {
                    job.answer(outcome.clone());
                }
                self.tend_log();
            }
        }
    }

    /// One commit. Moves what it took from `waiting` to `ran`; on an error nothing of `ran` is stored.
    fn transaction(
        &mut self,
        waiting: &mut VecDeque<Box<dyn Job>>,
        ran: &mut Vec<Box<dyn Job>>,
    ) -> Result<(), StoreError> {
        let begun = self
            .connected()
            .and_then(|c| c.execute_batch("BEGIN IMMEDIATE").map_err(trouble("beginning a write")));
        if let Err(error) = begun {
            ran.extend(waiting.drain(..));
            return Err(error);
        }
        let connection = self.connected()?;
        while let Some(mut job) = waiting.pop_front() {
            let step = in_savepoint(connection, job.as_mut());
            ran.push(job);
            step?;
        }
        connection.execute_batch("COMMIT").map_err(trouble("committing"))
    }

    /// The connection; opens it again if it was thrown away.
    fn connected(&mut self) -> Result<&Connection, StoreError> {
        if self.connection.is_none() {
            self.connection = Some((self.open)()?);
        }
        self.connection.as_ref().ok_or_else(|| StoreError::storage("writing", "there is no connection"))
    }

    fn give_up(&mut self, error: &StoreError) {
        let undone = self
            .connection
            .as_ref()
            .is_some_and(|c| c.is_autocommit() || c.execute_batch("ROLLBACK").is_ok());
        // A full disk is an honest answer: no fsync failed, and the connection can go on.
        if !(undone && matches!(error, StoreError::Full { .. })) {
            self.connection = None;
        }
    }

    /// Empties the log if it has become long. Nobody's answer depends on it: what fails here is tried again
    /// later, and until then the log holds what the database does not.
    fn tend_log(&mut self) {
        let Some(connection) = &self.connection else { return };
        let length = fs::metadata(&self.log).map_or(0, |file| file.len());
        if length < self.log_is_long_at {
            return;
        }
        match empty_log(connection) {
            Ok(true) => self.log_is_long_at = LONG_LOG,
            Ok(false) => self.log_is_long_at = length + LOG_STEP,
            Err(error) => {
                tracing::warn!(event = "store.log", code = error.code(), %error, "the log could not be emptied");
                self.log_is_long_at = length + LOG_STEP;
                self.connection = None;
            }
        }
    }

    fn note(&self, outcome: &Result<(), StoreError>) {
        let health = match outcome {
            Ok(()) => Health::Ok,
            Err(StoreError::Full { .. }) => Health::DiskFull,
            Err(_) => Health::StorageFailed,
        };
        self.health.store(health as u8, Ordering::Relaxed);
    }
}

/// Moves the log into the database and cuts it to nothing. False if somebody reads from it all the time.
fn empty_log(connection: &Connection) -> Result<bool, StoreError> {
    let failed = trouble("emptying the log");
    connection.busy_timeout(LOG_PATIENCE).map_err(&failed)?;
    let busy: i64 =
        connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0)).map_err(&failed)?;
    connection.busy_timeout(PATIENCE).map_err(&failed)?;
    Ok(busy == 0)
}

/// Runs one operation so that its failure harms nobody else. An error means that the whole
/// transaction is lost.
fn in_savepoint(connection: &Connection, job: &mut dyn Job) -> Result<(), StoreError> {
    let run = |sql: &str| connection.prepare_cached(sql)?.execute([]);
    let step = |sql: &str| run(sql).map(drop).map_err(trouble("running an operation"));
    step("SAVEPOINT operation")?;
    match job.run(connection) {
        Ran::Keep => step("RELEASE operation"),
        // SQLite rolls the whole transaction back by itself after some failures (no space, I/O).
        Ran::Undo(error) if connection.is_autocommit() => {
            Err(error
                .unwrap_or_else(|| StoreError::storage("running an operation", "the transaction was lost")))
        }
        // No space: what was written so far would not fit either, and a sender's retry comes later.
        Ran::Undo(Some(full @ StoreError::Full { .. })) => Err(full),
        Ran::Undo(_) => step("ROLLBACK TO operation").and_then(|()| step("RELEASE operation")),
    }
}
