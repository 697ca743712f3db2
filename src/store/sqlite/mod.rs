//! The store on SQLite: one writing thread with group commit, a few readers, one lock a directory.
//!
//! WAL with `synchronous=FULL`: a commit returns after the log is on disk. Statements are grouped in
//! files by what they are about; this file opens, closes and hands out.

mod account;
mod allocation;
mod anchor;
mod attempt;
mod audit;
mod backup;
mod clock;
mod covered;
mod cursor;
mod decision;
mod deviation;
mod draw;
mod inbox;
mod lock;
mod migrate;
mod outbox;
mod person;
mod quarantine;
mod readers;
mod record;
mod session;
mod signature;
mod subscription;
mod verify;
mod writer;

#[cfg(test)]
mod audit_tests;
#[cfg(test)]
mod tests;

use super::account::*;
use super::anchor::AnchorStatus;
use super::error::{AllocateError, StoreError};
use super::rows::*;
use super::subscription::{Heard, NewSubscription, Noted, Subscription, SubscriptionChange, Wanted};
use super::{Result, Store};
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, Row, ffi};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

const DATABASE: &str = "trialbridge.db";
/// How long a statement waits for a lock that another program holds.
const PATIENCE: Duration = Duration::from_secs(5);
/// What the log is cut back to after a checkpoint.
const LOG_BYTES: i64 = 64 << 20;

/// What the writer keeps of the database in memory, at most: what a day's work touches, so that a commit need
/// not read first what it writes, and no page is written twice for want of room.
const WRITER_CACHE_KIB: i64 = 32 << 10;
/// Pages in the log at which it is moved into the database, if nobody reads an older state. A page that many
/// commits wrote is moved once, so that less often is cheaper; below [`writer`]'s limit of a long log.
const CHECKPOINT_PAGES: i64 = 3000;

/// A data directory, opened. Dropping it finishes the writes that wait and releases the lock.
pub struct SqliteStore {
    chain: Arc<dyn Chain>,
    anchoring: Arc<anchor::Anchoring>,
    database: PathBuf,
    readers: readers::Readers,
    /// None: opened for reading only.
    writer: Option<writer::Writer>,
    _lock: Option<lock::DirectoryLock>,
}

impl SqliteStore {
    /// Opens a data directory for writing, making what is missing. `command` and `now` (UTC, RFC
    /// 3339) are shown to whoever finds the directory locked.
    ///
    /// # Errors
    /// `Locked` by another process; `Schema` for a newer or foreign database, or an SQLite with a
    /// known corruption bug; `Storage`, `Full`, `Corrupt`.
    pub fn open(dir: &Path, command: &str, now: &str, chain: Arc<dyn Chain>) -> Result<SqliteStore> {
        migrate::check_library(rusqlite::version_number())?;
        lock::prepare_directory(dir, DATABASE)?;
        let lock = lock::acquire(dir, command, now)?;
        let database = dir.join(DATABASE);
        let failed = |e| StoreError::storage(format!("making {}", database.display()), e);
        // Made before SQLite sees it, so that it is never readable by others; the log inherits the mode.
        lock::open_private(&database).and_then(|file| file.sync_all()).map_err(failed)?;
        lock::sync_directory(dir).map_err(failed)?;

        let mut connection = open_writer(&database)?;
        // A log left by a crash is moved into the database and synced anew: its pages may have been
        // read from a cache that a failed fsync left behind.
        connection
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
            .map_err(trouble("recovering the log"))?;
        migrate::migrate(&mut connection, migrate::MIGRATIONS)?;
        migrate::scrub(&connection);
        clock::opened(&connection, chain.as_ref(), now)?;
        let anchoring = Arc::new(anchor::Anchoring::new(Arc::clone(&chain)));
        anchoring.begin(&connection, now)?;
        let readers = readers::Readers::open(&database)?;
        let again = database.clone();
        let log = dir.join(format!("{DATABASE}-wal"));
        let open = Box::new(move || open_writer(&again));
        let writer = writer::Writer::start(connection, log, open, Arc::clone(&anchoring))?;
        Ok(SqliteStore { chain, anchoring, database, readers, writer: Some(writer), _lock: Some(lock) })
    }

    /// Opens a data directory for reading, without the lock: for commands that only look, while
    /// another process writes. Every write is refused as `read-only`.
    pub fn open_read_only(dir: &Path, chain: Arc<dyn Chain>) -> Result<SqliteStore> {
        migrate::check_library(rusqlite::version_number())?;
        let database = dir.join(DATABASE);
        if !database.exists() {
            return Err(StoreError::not_found(format!("database in {}", dir.display())));
        }
        let readers = readers::Readers::open(&database)?;
        let known = migrate::MIGRATIONS.len();
        let version = readers.read(|c| migrate::check(c, migrate::MIGRATIONS))?;
        if version < known {
            return Err(StoreError::Schema {
                cause: format!(
                    "the database has schema {version}, this program reads {known}; run a command that writes, such as `pull`, to bring it forward"
                ),
            });
        }
        let anchoring = Arc::new(anchor::Anchoring::new(Arc::clone(&chain)));
        Ok(SqliteStore { chain, anchoring, database, readers, writer: None, _lock: None })
    }

    fn read<T>(&self, reading: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        self.readers.read(reading)
    }

    fn write<T, E, F>(&self, operation: F) -> std::result::Result<T, E>
    where
        T: Send + 'static,
        E: writer::Failure,
        F: FnOnce(&Connection) -> std::result::Result<T, E> + Send + 'static,
    {
        match &self.writer {
            Some(writer) => writer.write(operation),
            None => Err(read_only().into()),
        }
    }
}

fn read_only() -> StoreError {
    StoreError::conflict("read-only", "the store was opened for reading only")
}

impl Drop for SqliteStore {
    fn drop(&mut self) {
        self.readers.close();
        if let Some(writer) = &self.writer {
            writer.stop();
        }
    }
}

fn open_writer(database: &Path) -> Result<Connection> {
    let failed = trouble("opening the database");
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(database, flags).map_err(&failed)?;
    connection.busy_timeout(PATIENCE).map_err(&failed)?;
    // Its answer is not relied upon: see `ensure_log`.
    connection.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(())).map_err(&failed)?;
    connection
        .execute_batch(
            "PRAGMA synchronous = FULL;
             PRAGMA fullfsync = ON;
             PRAGMA checkpoint_fullfsync = ON;
             PRAGMA foreign_keys = ON;
             PRAGMA recursive_triggers = ON;
             PRAGMA trusted_schema = OFF;
             PRAGMA cell_size_check = ON;
             PRAGMA temp_store = MEMORY;",
        )
        .map_err(&failed)?;
    connection.pragma_update(None, "cache_size", -WRITER_CACHE_KIB).map_err(&failed)?;
    connection
        .pragma_update_and_check(None, "wal_autocheckpoint", CHECKPOINT_PAGES, |_| Ok(()))
        .map_err(&failed)?;
    connection.pragma_update_and_check(None, "journal_size_limit", LOG_BYTES, |_| Ok(())).map_err(&failed)?;
    connection.set_prepared_statement_cache_capacity(128);
    ensure_log(&connection, database)?;
    Ok(connection)
}

/// Makes sure that commits go to a write-ahead log, and that the log's name is on disk.
///
/// `PRAGMA journal_mode = wal` answers `wal` even when an fsync failed while the mode was changed; the
/// connection then goes on with a rollback journal, whose commits a power cut can undo, because the
/// journal's removal is not synced. A checkpoint knows: it reports -1 pages where there is no log.
/// SQLite syncs the directory when it makes the log, but ignores how that ends.
fn ensure_log(connection: &Connection, database: &Path) -> Result<()> {
    let failed = trouble("opening the write-ahead log");
    connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(())).map_err(&failed)?;
    let pages: i64 =
        connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| row.get(1)).map_err(&failed)?;
    if pages < 0 {
        return Err(StoreError::storage("opening the database", "there is no write-ahead log"));
    }
    let dir = database.parent().unwrap_or(Path::new("."));
    lock::sync_directory(dir).map_err(|e| StoreError::storage("opening the write-ahead log", e))
}

fn open_reader(database: &Path) -> Result<Connection> {
    let failed = trouble("opening the database for reading");
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(database, flags).map_err(&failed)?;
    connection.busy_timeout(PATIENCE).map_err(&failed)?;
    connection
        .execute_batch(
            "PRAGMA query_only = ON; PRAGMA trusted_schema = OFF; PRAGMA temp_store = MEMORY;
             SELECT count(*) FROM sqlite_schema;",
        )
        .map_err(&failed)?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

/// Says in our words what SQLite reports, and what was being done. SQLite's messages name tables and
/// columns, never values.
fn trouble(doing: impl Into<String>) -> impl Fn(rusqlite::Error) -> StoreError {
    let doing = doing.into();
    move |error| {
        let doing = doing.clone();
        let rusqlite::Error::SqliteFailure(failure, message) = &error else {
            return match error {
                rusqlite::Error::QueryReturnedNoRows => StoreError::not_found("such row"),
                // The display of a conversion error may quote what it could not convert.
                rusqlite::Error::FromSqlConversionFailure(column, kind, _) => StoreError::Corrupt {
                    doing,
                    cause: format!("column {column} holds an unexpected {kind}"),
                },
                other => StoreError::storage(doing, other),
            };
        };
        let cause = match message {
            Some(message) => format!("{message} (SQLite {})", failure.extended_code),
            None => format!("{failure}"),
        };
        match (failure.code, failure.extended_code) {
            (ErrorCode::DiskFull, _) | (_, ffi::SQLITE_IOERR_SHMSIZE) => StoreError::Full { doing },
            (ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase, _) => StoreError::Corrupt { doing, cause },
            (_, ffi::SQLITE_CONSTRAINT_FOREIGNKEY) => {
                StoreError::not_found(format!("row that is referred to while {doing}"))
            }
            (_, ffi::SQLITE_CONSTRAINT_TRIGGER) => StoreError::conflict("immutable", cause),
            (ErrorCode::ConstraintViolation, _) => StoreError::conflict("constraint", cause),
            _ => StoreError::Storage { doing, cause },
        }
    }
}

/// Lower-case hex SHA-256.
fn sha256_hex(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A column that holds one of our words.
fn word<W: Word>(row: &Row<'_>, column: &str) -> rusqlite::Result<W> {
    let text: String = row.get(column)?;
    W::from_word(&text).ok_or_else(|| {
        let index = row.as_ref().column_index(column).unwrap_or(0);
        rusqlite::Error::FromSqlConversionFailure(index, rusqlite::types::Type::Text, "unknown word".into())
    })
}

/// Runs a query and collects its rows.
fn rows<T>(
    connection: &Connection,
    doing: &str,
    sql: &str,
    parameters: impl rusqlite::Params,
    read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
) -> Result<Vec<T>> {
    let query = || {
        let mut statement = connection.prepare_cached(sql)?;
        statement.query_map(parameters, read)?.collect::<rusqlite::Result<Vec<T>>>()
    };
    query().map_err(trouble(doing))
}

/// Runs a query for at most one row.
fn row<T>(
    connection: &Connection,
    doing: &str,
    sql: &str,
    parameters: impl rusqlite::Params,
    read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
) -> Result<Option<T>> {
    let query = || connection.prepare_cached(sql)?.query_row(parameters, read).optional();
    query().map_err(trouble(doing))
}

/// Runs a statement; returns the number of rows it changed.
fn run(connection: &Connection, doing: &str, sql: &str, parameters: impl rusqlite::Params) -> Result<usize> {
    let statement = || connection.prepare_cached(sql)?.execute(parameters);
    statement().map_err(trouble(doing))
}

/// As SQLite counts. More than it can count is as good as all.
fn limited(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

impl Store for SqliteStore {
    fn accept(&self, incoming: Incoming) -> Result<Receipt> {
        let row = inbox::Hashed::new(incoming);
        self.write(move |c| inbox::accept(c, &row))
    }
    fn accept_then(&self, incoming: Incoming, done: Done<Receipt>) {
        let row = inbox::Hashed::new(incoming);
        match &self.writer {
            Some(writer) => writer.write_then(move |c| inbox::accept(c, &row), done),
            None => done(Err(read_only())),
        }
    }
    fn accept_many(&self, incoming: Vec<Incoming>) -> Result<Vec<Receipt>> {
        let rows: Vec<_> = incoming.into_iter().map(inbox::Hashed::new).collect();
        self.write(move |c| rows.iter().map(|row| inbox::accept(c, row)).collect())
    }
    fn accept_aside(&self, incoming: Incoming, reason: &str, path: &str) -> Result<Receipt> {
        let (reason, path) = (reason.to_owned(), path.to_owned());
        let row = inbox::Hashed::new(incoming);
        self.write(move |c| inbox::accept_aside(c, &row, &reason, &path))
    }
    fn pending(&self, limit: usize) -> Result<Vec<InboxItem>> {
        self.read(|c| inbox::pending(c, limit))
    }
    fn last_inbox_row(&self) -> Result<i64> {
        self.read(inbox::last)
    }
    fn inbox_item(&self, seq: i64) -> Result<InboxItem> {
        self.read(|c| inbox::item(c, seq))
    }
    fn count_by_state(&self) -> Result<InboxCounts> {
        self.read(inbox::counts)
    }
    fn mark(&self, seq: i64, state: InboxState) -> Result<()> {
        self.write(move |c| inbox::mark(c, seq, state))
    }
    fn settle(&self, settlements: Vec<Settlement>) -> Result<Vec<Vec<Fate>>> {
        let hashed = |s: Settlement| (s.seq, s.state, record::hashed(s.records), s.quarantine, s.at);
        let settlements: Vec<_> = settlements.into_iter().map(hashed).collect();
        self.write(move |c| {
            let mut all = Vec::with_capacity(settlements.len());
            for (seq, state, records, quarantine, at) in &settlements {
                all.push(record::put(c, records, at)?);
                quarantine::put(c, quarantine)?;
                inbox::mark(c, *seq, *state)?;
            }
            Ok(all)
        })
    }
    fn replay_all(&self, audit: NewAudit) -> Result<i64> {
        let chain = Arc::clone(&self.chain);
        self.write(move |c| {
            let count = inbox::replay_all(c, &audit.at)?;
            audit::append(c, chain.as_ref(), &audit)?;
            Ok(count)
        })
    }

    fn put_records(&self, records: Vec<NewRecord>, at: &str) -> Result<Vec<Fate>> {
        let (records, at) = (record::hashed(records), at.to_owned());
        self.write(move |c| record::put(c, &records, &at))
    }
    fn records_of(&self, subject: &str) -> Result<Vec<Record>> {
        self.read(|c| record::of_subject(c, subject))
    }
    fn records_by_ids(&self, keys: &[RecordKey]) -> Result<Vec<Record>> {
        self.read(|c| record::by_keys(c, keys))
    }
    fn records_named(&self, resource_type: &str, id: &str) -> Result<Vec<Record>> {
        self.read(|c| record::named(c, resource_type, id))
    }
    fn record_history(&self, key: &RecordKey) -> Result<Vec<Record>> {
        self.read(|c| record::history(c, key))
    }
    fn group(&self, subject: &str) -> Result<Group> {
        self.read(|c| person::group(c, subject))
    }
    fn subjects(&self) -> Result<Vec<String>> {
        self.read(record::subjects)
    }
    fn is_named(&self, subject: &str) -> Result<bool> {
        self.read(|c| record::is_named(c, subject))
    }
    fn mark_dirty(&self, subjects: Vec<String>, at: &str) -> Result<()> {
        let at = at.to_owned();
        self.write(move |c| record::mark_dirty(c, subjects.iter().map(String::as_str), &at))
    }
    fn dirty(&self, limit: usize) -> Result<Vec<DirtySubject>> {
        self.read(|c| record::dirty(c, limit))
    }

    fn clear_dirty(&self, subject: &str, change: i64) -> Result<()> {
        let subject = subject.to_owned();
        self.write(move |c| record::clear_dirty(c, &subject, change))
    }

    fn quarantine(&self, entries: Vec<NewQuarantine>) -> Result<Vec<i64>> {
        self.write(move |c| quarantine::put(c, &entries))
    }
    fn quarantine_list(&self, state: Option<QuarantineState>, limit: usize) -> Result<Vec<Quarantined>> {
        self.read(|c| quarantine::list(c, state, limit))
    }
    fn quarantine_item(&self, id: i64) -> Result<Quarantined> {
        self.read(|c| quarantine::item(c, id))
    }
    fn resolve_quarantine(&self, id: i64, audit: NewAudit) -> Result<()> {
        let chain = Arc::clone(&self.chain);
        self.write(move |c| {
            quarantine::resolve(c, id)?;
            audit::append(c, chain.as_ref(), &audit).map(drop)
        })
    }

    fn put_decision(&self, decision: NewDecision) -> Result<bool> {
        let chain = Arc::clone(&self.chain);
        self.write(move |c| decision::put(c, chain.as_ref(), &decision))
    }
    fn latest_decision(&self, subject: &str) -> Result<Option<Decision>> {
        self.read(|c| decision::latest(c, subject))
    }
    fn stale(&self, as_of: &str, definition: &str) -> Result<Vec<String>> {
        self.read(|c| decision::stale(c, as_of, definition))
    }
    fn latest_decisions(&self) -> Result<Vec<Decision>> {
        self.read(decision::latest_of_all)
    }
    fn decision_history(&self, subject: &str) -> Result<Vec<Decision>> {
        self.read(|c| decision::history(c, subject))
    }
    fn facts(&self, subject: &str) -> Result<Vec<FactRow>> {
        self.read(|c| decision::facts(c, subject))
    }
    fn gaps(&self, subject: &str) -> Result<Vec<GapRow>> {
        self.read(|c| decision::gaps(c, subject))
    }

    fn put_allocation_list(&self, list: NewAllocationList) -> Result<()> {
        let chain = Arc::clone(&self.chain);
        self.write(move |c| allocation::put_list(c, chain.as_ref(), &list))
    }
    fn allocation_list(&self, trial: &str) -> Result<Option<AllocationList>> {
        self.read(|c| allocation::list(c, trial))
    }
    fn sealed_slots(&self, list_id: &str) -> Result<Vec<Vec<u8>>> {
        self.read(|c| allocation::sealed_slots(c, list_id))
    }
    fn sealed_slot(&self, list_id: &str, stratum: i64, position: i64) -> Result<Option<Vec<u8>>> {
        self.read(|c| allocation::sealed_slot(c, list_id, stratum, position))
    }
    fn draws(&self, list_id: &str, before: i64) -> Result<Vec<PastDraw>> {
        self.read(|c| allocation::draws(c, list_id, before))
    }
    fn allocate(
        &self,
        request: AllocationRequest,
        check: Check,
    ) -> std::result::Result<AllocationOutcome, AllocateError> {
        let (chain, anchoring) = (Arc::clone(&self.chain), Arc::clone(&self.anchoring));
        // What was drawn before is told again, whatever became of the log since. The whole chain is looked at
        // out here, where nobody waits for it; its end once more inside.
        let is_settled = |c: &Connection| {
            Ok(allocation::is_key(c, &request.idempotency_key)? || anchoring.is_known_whole(c)?)
        };
        if !self.read(is_settled)? {
            self.read(|c| Ok(anchoring.proves(c)))??;
        }
        self.write(move |c| {
            let permits = |c: &Connection| anchoring.permits(c, &request.at);
            draw::allocate(c, chain.as_ref(), &request, permits, check)
        })
    }
    fn consider(&self, trial: &str, subject: &str, check: Check) -> std::result::Result<(), AllocateError> {
        self.read(|c| Ok(self.anchoring.proves(c)))??;
        // The anchor before anything else of the transaction: see `verify`.
        let agrees = |c: &Connection| self.anchoring.agrees(c);
        self.read(|c| Ok(draw::decide(c, trial, subject, None, None, agrees, check).map(drop)))?
    }
    fn allocations(&self, trial: &str) -> Result<Vec<Allocation>> {
        self.read(|c| allocation::all(c, trial))
    }
    fn allocation_of(&self, trial: &str, subject: &str) -> Result<Option<Allocation>> {
        self.read(|c| allocation::of_subject(c, trial, subject))
    }
    fn is_on_record(&self, allocation: &Allocation) -> Result<bool> {
        self.read(|c| covered::is_on_record(c, allocation))
    }
    fn allocation_by_key(&self, idempotency_key: &str) -> Result<Option<Allocation>> {
        self.read(|c| allocation::by_key(c, idempotency_key))
    }

    fn put_allocation_event(&self, event: NewAllocationEvent) -> Result<AllocationEvent> {
        let chain = Arc::clone(&self.chain);
        self.write(move |c| allocation::put_event(c, chain.as_ref(), &event))
    }
    fn allocation_events(&self, trial: &str) -> Result<Vec<AllocationEvent>> {
        self.read(|c| allocation::events(c, trial))
    }
    fn note_told(&self, allocation_id: &str, audit: NewAudit) -> Result<bool> {
        let (chain, id) = (Arc::clone(&self.chain), allocation_id.to_owned());
        self.write(move |c| allocation::note_told(c, chain.as_ref(), &id, &audit))
    }

    fn open_deviations(&self, new: Vec<NewDeviation>) -> Result<Vec<i64>> {
        let chain = Arc::clone(&self.chain);
        self.write(move |c| deviation::open(c, chain.as_ref(), &new))
    }
    fn deviations(&self, state: Option<DeviationState>) -> Result<Vec<Deviation>> {
        self.read(|c| deviation::list(c, state))
    }
    fn acknowledge_deviation(&self, id: i64, signature: NewSignature, audit: NewAudit) -> Result<()> {
        let chain = Arc::clone(&self.chain);
        self.write(move |c| {
            deviation::acknowledge(c, id)?;
            let signature = signature::put(c, &signature)?;
            audit::append(c, chain.as_ref(), &signature::bind(&signature, &audit)?).map(drop)
        })
    }

    fn sign(&self, signature: NewSignature, audit: Vec<NewAudit>) -> Result<Signature> {
        let chain = Arc::clone(&self.chain);
        self.write(move |c| {
            let signature = signature::put(c, &signature)?;
            for entry in &audit {
                audit::append(c, chain.as_ref(), &signature::bind(&signature, entry)?)?;
            }
            Ok(signature)
        })
    }
    fn signatures(&self, subject: Option<&str>) -> Result<Vec<Signature>> {
        self.read(|c| signature::all(c, subject))
    }

    fn enqueue(&self, items: Vec<NewOutbox>) -> Result<Vec<i64>> {
        self.write(move |c| items.iter().map(|item| outbox::put(c, item)).collect())
    }
    fn outbox(&self, state: Option<OutboxState>, limit: usize) -> Result<Vec<OutboxItem>> {
        self.read(|c| outbox::list(c, state, limit))
    }
    fn settle_outbox(&self, id: i64, outcome: OutboxOutcome, audit: Option<NewAudit>) -> Result<()> {
        let chain = Arc::clone(&self.chain);
        self.write(move |c| {
            outbox::settle(c, id, &outcome)?;
            audit.iter().try_for_each(|entry| audit::append(c, chain.as_ref(), entry).map(drop))
        })
    }
    fn put_known_id(&self, known: KnownId) -> Result<()> {
        self.write(move |c| outbox::put_known_id(c, &known))
    }
    fn known_id(&self, server: &str, kind: &str, key: &str) -> Result<Option<KnownId>> {
        self.read(|c| outbox::known_id(c, server, kind, key))
    }
    fn known_ids(&self, server: &str) -> Result<Vec<KnownId>> {
        self.read(|c| outbox::known_ids(c, server))
    }

    fn accounts(&self) -> Result<Vec<Account>> {
        self.read(account::all)
    }
    fn account(&self, name: &str) -> Result<Option<Account>> {
        self.read(|c| account::one(c, name))
    }
    fn password(&self, name: &str) -> Result<Option<String>> {
        self.read(|c| account::password(c, name))
    }
    fn put_account(&self, new: NewAccount, authority: Authority, audit: NewAudit) -> Result<()> {
        let chain = Arc::clone(&self.chain);
        self.write(move |c| account::put(c, chain.as_ref(), &new, &authority, &audit))
    }
    fn change_account(
        &self,
        name: &str,
        change: AccountChange,
        at: &str,
        authority: Authority,
        audit: NewAudit,
    ) -> Result<()> {
        let (chain, name, at) = (Arc::clone(&self.chain), name.to_owned(), at.to_owned());
        self.write(move |c| account::change(c, chain.as_ref(), &name, &change, &at, &authority, &audit))
    }
    fn begin_attempt(&self, name: &str, key: &str, at: &str) -> Result<Attempt> {
        let chain = Arc::clone(&self.chain);
        let (name, key, at) = (name.to_owned(), key.to_owned(), at.to_owned());
        self.write(move |c| attempt::begin(c, chain.as_ref(), &name, &key, &at))
    }
    fn end_attempt(&self, name: &str, end: AttemptEnd, audit: Option<NewAudit>) -> Result<()> {
        let (chain, name) = (Arc::clone(&self.chain), name.to_owned());
        self.write(move |c| attempt::end(c, chain.as_ref(), &name, &end, audit.as_ref()))
    }
    fn open_session(&self, new: NewSession, audit: NewAudit) -> Result<()> {
        let chain = Arc::clone(&self.chain);
        self.write(move |c| session::open(c, chain.as_ref(), &new, &audit))
    }
    fn see_session(&self, token_sha256: &str, at: &str, limits: SessionLimits) -> Result<Option<Account>> {
        // Most requests find a session that was seen a moment ago: nothing has to be written.
        if let Some(account) = self.read(|c| session::recent(c, token_sha256, at, limits))? {
            return Ok(Some(account));
        }
        let (chain, token, at) = (Arc::clone(&self.chain), token_sha256.to_owned(), at.to_owned());
        self.write(move |c| session::see(c, chain.as_ref(), &token, &at, limits))
    }
    fn end_session(&self, token_sha256: &str, audit: NewAudit) -> Result<bool> {
        let (chain, token) = (Arc::clone(&self.chain), token_sha256.to_owned());
        self.write(move |c| session::end(c, chain.as_ref(), &token, &audit))
    }
    fn sessions(&self) -> Result<Vec<SessionRow>> {
        self.read(session::all)
    }
    fn put_oidc_request(&self, new: OidcRequest) -> Result<()> {
        let chain = Arc::clone(&self.chain);
        self.write(move |c| session::ask(c, chain.as_ref(), &new))
    }
    fn take_oidc_request(
        &self,
        state_sha256: &str,
        at: &str,
        at_most: chrono::TimeDelta,
    ) -> Result<Option<OidcRequest>> {
        let (chain, state, at) = (Arc::clone(&self.chain), state_sha256.to_owned(), at.to_owned());
        self.write(move |c| session::answered(c, chain.as_ref(), &state, &at, at_most))
    }
    fn sources(&self, subject: Option<&str>) -> Result<Vec<(String, String)>> {
        self.read(|c| record::sources(c, subject))
    }

    fn append_audit(&self, entry: NewAudit) -> Result<AuditEntry> {
        let chain = Arc::clone(&self.chain);
        self.write(move |c| audit::append(c, chain.as_ref(), &entry))
    }
    fn audit_entries(&self, from: u64, limit: usize) -> Result<Vec<AuditEntry>> {
        self.read(|c| audit::entries(c, from, limit))
    }
    fn audit_head(&self) -> Result<Option<AuditEntry>> {
        self.read(audit::head)
    }
    fn audit_anchor(&self) -> Result<AnchorStatus> {
        self.read(|c| self.anchoring.compare(c))
    }
    fn accept_audit(&self, entry: NewAudit) -> Result<AuditEntry> {
        let anchoring = Arc::clone(&self.anchoring);
        self.write(move |c| anchoring.accept(c, &entry))
    }
    fn note_clock(&self, now: &str) -> Result<()> {
        let (chain, now) = (Arc::clone(&self.chain), now.to_owned());
        self.write(move |c| clock::note(c, chain.as_ref(), &now, true))
    }
    fn audit_coverage(&self) -> Result<Coverage> {
        self.read(covered::coverage)
    }

    fn put_subscription(&self, new: NewSubscription, audit: NewAudit) -> Result<()> {
        let chain = Arc::clone(&self.chain);
        self.write(move |c| {
            subscription::put(c, &new)?;
            audit::append(c, chain.as_ref(), &audit).map(drop)
        })
    }
    fn subscription(&self, id: &str) -> Result<Option<Subscription>> {
        self.read(|c| subscription::one(c, id))
    }
    fn subscriptions(&self) -> Result<Vec<Subscription>> {
        self.read(subscription::all)
    }
    fn note_subscription(&self, id: &str, heard: Heard) -> Result<Noted> {
        let id = id.to_owned();
        self.write(move |c| subscription::note(c, &id, &heard))
    }
    fn change_subscription(
        &self,
        id: &str,
        change: SubscriptionChange,
        audit: Option<NewAudit>,
    ) -> Result<()> {
        let (chain, id) = (Arc::clone(&self.chain), id.to_owned());
        self.write(move |c| {
            subscription::change(c, &id, &change)?;
            audit.iter().try_for_each(|entry| audit::append(c, chain.as_ref(), entry).map(drop))
        })
    }
    fn subscription_wanted(&self, limit: usize) -> Result<Vec<Wanted>> {
        self.read(|c| subscription::wanted(c, limit))
    }
    fn settle_wanted(&self, wanted: Wanted, asked_before: &str, done: bool) -> Result<()> {
        let before = asked_before.to_owned();
        self.write(move |c| subscription::settle_wanted(c, &wanted, &before, done))
    }

    fn cursor(&self, key: &str) -> Result<Option<String>> {
        self.read(|c| cursor::get(c, cursor::CURSOR, key))
    }
    fn set_cursor(&self, key: &str, value: &str) -> Result<()> {
        let (key, value) = (key.to_owned(), value.to_owned());
        self.write(move |c| cursor::set(c, cursor::CURSOR, &key, &value))
    }
    fn meta(&self, key: &str) -> Result<Option<String>> {
        self.read(|c| cursor::get(c, cursor::META, key))
    }
    fn set_meta(&self, key: &str, value: &str) -> Result<()> {
        let (key, value) = (key.to_owned(), value.to_owned());
        self.write(move |c| cursor::set(c, cursor::META, &key, &value))
    }

    fn health(&self) -> Health {
        self.writer.as_ref().map_or(Health::Ok, writer::Writer::health)
    }
    fn verify(&self) -> Result<VerifyReport> {
        self.read(|c| Ok(verify::verify(c, self.chain.as_ref(), &self.anchoring)))
    }
    fn backup(&self, to: &Path) -> Result<Backup> {
        backup::backup(&self.database, to)
    }
}
