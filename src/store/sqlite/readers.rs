//! A few connections that only read. A read sees one moment of the database, and never waits for the
//! writer.

use super::super::error::StoreError;
use super::trouble;
use rusqlite::Connection;
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

const READERS: usize = 4;

pub(super) struct Readers {
    database: PathBuf,
    pool: Mutex<Pool>,
    returned: Condvar,
}

#[derive(Default)]
struct Pool {
    idle: Vec<Connection>,
    open: usize,
}

impl Readers {
    /// Opens the first connection at once: it keeps SQLite's index of the log alive when the writer
    /// has to reopen its own (see `writer`).
    pub(super) fn open(database: &Path) -> Result<Readers, StoreError> {
        let first = super::open_reader(database)?;
        let pool = Mutex::new(Pool { idle: vec![first], open: 1 });
        Ok(Readers { database: database.to_owned(), pool, returned: Condvar::new() })
    }

    pub(super) fn read<T>(
        &self,
        reading: impl FnOnce(&Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let loan = self.take()?;
        let connection = loan
            .connection
            .as_ref()
            .ok_or_else(|| StoreError::storage("reading", "there is no connection"))?;
        let transaction = connection.unchecked_transaction().map_err(trouble("beginning a read"))?;
        let result = reading(&transaction)?;
        transaction.finish().map_err(trouble("ending a read"))?;
        Ok(result)
    }

    fn take(&self) -> Result<Loan<'_>, StoreError> {
        let mut pool = self.lock();
        loop {
            if let Some(connection) = pool.idle.pop() {
                return Ok(Loan { connection: Some(connection), home: self });
            }
            if pool.open < READERS {
                pool.open += 1;
                drop(pool);
                let mut loan = Loan { connection: None, home: self };
                loan.connection = Some(super::open_reader(&self.database)?);
                return Ok(loan);
            }
            pool = self.returned.wait(pool).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Pool> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Closes what is idle, so that the writer is the last to close and can clear the log away.
    pub(super) fn close(&self) {
        self.lock().idle.clear();
    }
}

/// A connection on loan; comes back when dropped, also by a panic.
struct Loan<'a> {
    connection: Option<Connection>,
    home: &'a Readers,
}

impl Drop for Loan<'_> {
    fn drop(&mut self) {
        let mut pool = self.home.lock();
        match self.connection.take() {
            Some(connection) => pool.idle.push(connection),
            None => pool.open -= 1,
        }
        drop(pool);
        self.home.returned.notify_one();
    }
}
