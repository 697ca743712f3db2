//! The schema and its history. A database is brought forward step by step, each step in one
//! transaction; one that is newer than this program, or not ours, is refused.

use super::super::error::StoreError;
use super::trouble;
use rusqlite::Connection;

/// Written into the file's header: tells our databases from others ("TrBr").
pub(super) const APPLICATION_ID: i64 = 0x5472_4272;

/// One step. Its number is its place in the list, from 1.
pub(super) struct Migration {
    pub name: &'static str,
    pub sql: &'static str,
}

pub(super) const MIGRATIONS: &[Migration] = &[
    Migration { name: "0001_first", sql: include_str!("../migrations/0001_first.sql") },
    Migration { name: "0002_push", sql: include_str!("../migrations/0002_push.sql") },
    Migration { name: "0003_subscriptions", sql: include_str!("../migrations/0003_subscriptions.sql") },
    Migration { name: "0004_signatures", sql: include_str!("../migrations/0004_signatures.sql") },
    Migration { name: "0005_allocations", sql: include_str!("../migrations/0005_allocations.sql") },
    Migration { name: "0006_accounts", sql: include_str!("../migrations/0006_accounts.sql") },
    Migration { name: "0007_allocated", sql: include_str!("../migrations/0007_allocated.sql") },
    Migration { name: "0008_reads", sql: include_str!("../migrations/0008_reads.sql") },
];

/// Applies the steps that are missing. What a step removes is overwritten in the file, not only unlinked.
pub(super) fn migrate(connection: &mut Connection, migrations: &[Migration]) -> Result<(), StoreError> {
    let version = check(connection, migrations)?;
    if version == migrations.len() {
        return Ok(());
    }
    let preparing = trouble("preparing the schema");
    let checked: bool =
        connection.pragma_query_value(None, "foreign_keys", |row| row.get(0)).map_err(&preparing)?;
    // A table that others refer to can only be made anew while references are not followed; each step's end
    // is checked as a whole instead.
    connection.pragma_update(None, "foreign_keys", false).map_err(&preparing)?;
    set_secure_delete(connection, true).map_err(&preparing)?;
    let applied = apply(connection, migrations, version);
    let restored = connection
        .pragma_update(None, "foreign_keys", checked)
        .and_then(|()| set_secure_delete(connection, false))
        .map_err(&preparing);
    applied.and(restored)
}

fn apply(connection: &mut Connection, migrations: &[Migration], from: usize) -> Result<(), StoreError> {
    for (number, step) in migrations.iter().enumerate().skip(from).map(|(i, m)| (i + 1, m)) {
        let failed = trouble(format!("applying schema {}", step.name));
        let transaction = connection
            .transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)
            .map_err(&failed)?;
        transaction.execute_batch(step.sql).map_err(&failed)?;
        let dangling = {
            let mut statement = transaction.prepare("PRAGMA foreign_key_check").map_err(&failed)?;
            statement.exists([]).map_err(&failed)?
        };
        if dangling {
            return Err(StoreError::Corrupt {
                doing: format!("applying schema {}", step.name),
                cause: "a row refers to one that is not there".to_owned(),
            });
        }
        transaction.pragma_update(None, "application_id", APPLICATION_ID).map_err(&failed)?;
        transaction.pragma_update(None, "user_version", number as i64).map_err(&failed)?;
        transaction.commit().map_err(&failed)?;
    }
    Ok(())
}

/// Whether SQLite overwrites with zeros what it deletes.
fn set_secure_delete(connection: &Connection, on: bool) -> rusqlite::Result<()> {
    connection.pragma_update_and_check(None, "secure_delete", on, |_| Ok(()))
}

/// Rewrites the whole file once, where a step left the note that something in it must not be read any more:
/// pages that were free before the step, and the ends of others, may still hold it. What fails is tried
/// again when the store is opened next.
pub(super) fn scrub(connection: &Connection) {
    let result = (|| -> rusqlite::Result<()> {
        let noted = connection.prepare("SELECT 1 FROM meta WHERE key = 'scrub'")?.exists([])?;
        if !noted {
            return Ok(());
        }
        set_secure_delete(connection, true)?;
        connection.execute_batch("VACUUM")?;
        let busy: i64 = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
        if busy == 0 {
            connection.execute("DELETE FROM meta WHERE key = 'scrub'", [])?;
        }
        set_secure_delete(connection, false)
    })();
    if let Err(error) = result {
        let error = trouble("rewriting the database")(error);
        tracing::warn!(
            event = "store.scrub",
            code = error.code(),
            %error,
            "the file may still hold what an earlier version stored openly; tried again at the next start"
        );
    }
}

/// The schema number of a database, if this program can open it. 0: nothing in it yet.
pub(super) fn check(connection: &Connection, migrations: &[Migration]) -> Result<usize, StoreError> {
    let number = |pragma: &str| {
        connection
            .pragma_query_value(None, pragma, |row| row.get::<_, i64>(0))
            .map_err(trouble("reading the schema number"))
    };
    let (version, owner) = (number("user_version")?, number("application_id")?);
    let tables: i64 = connection
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
        .map_err(trouble("reading the schema"))?;
    let refused = |cause: String| Err(StoreError::Schema { cause });
    if tables == 0 {
        return Ok(0);
    }
    if owner != APPLICATION_ID {
        return refused(
            "the database was not made by this program; choose another data directory".to_owned(),
        );
    }
    match usize::try_from(version) {
        Ok(v) if v <= migrations.len() => Ok(v),
        _ => refused(format!(
            "the database has schema {version}, this program knows up to {}; use the newer program",
            migrations.len()
        )),
    }
}

/// SQLite before 3.51.3 may corrupt a database in WAL mode when a reset of the log races with a
/// checkpoint.
///
/// # Source
/// sqlite.org/wal.html, "The WAL-reset bug".
pub(super) fn check_library(version: i32) -> Result<(), StoreError> {
    const OLDEST: i32 = 3_051_003;
    if version >= OLDEST {
        return Ok(());
    }
    let dotted = |v: i32| format!("{}.{}.{}", v / 1_000_000, v / 1000 % 1000, v % 1000);
    Err(StoreError::Schema {
        cause: format!(
            "SQLite {} has the WAL-reset bug, which can corrupt the database; link {} or newer",
            dotted(version),
            dotted(OLDEST)
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Migration =
        Migration { name: "0001", sql: "CREATE TABLE a (x TEXT) STRICT; INSERT INTO a VALUES ('kept');" };
    const SECOND: Migration =
        Migration { name: "0002", sql: "ALTER TABLE a ADD COLUMN y TEXT; CREATE TABLE b (z TEXT) STRICT;" };
    const BROKEN: Migration =
        Migration { name: "0002", sql: "CREATE TABLE b (z TEXT) STRICT; CREATE TABLE a (again TEXT);" };

    fn schema(connection: &Connection) -> Vec<String> {
        let mut statement = connection
            .prepare("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY type, name")
            .expect("a schema can be read");
        let rows = statement.query_map([], |row| row.get(0)).expect("a schema can be read");
        rows.map(|row| row.expect("text")).collect()
    }

    #[test]
    fn step_by_step_equals_all_at_once() {
        let mut stepwise = Connection::open_in_memory().expect("memory");
        migrate(&mut stepwise, &[FIRST]).expect("first");
        migrate(&mut stepwise, &[FIRST, SECOND]).expect("second");
        migrate(&mut stepwise, &[FIRST, SECOND]).expect("nothing left to do");
        let mut fresh = Connection::open_in_memory().expect("memory");
        migrate(&mut fresh, &[FIRST, SECOND]).expect("both");
        assert_eq!(schema(&stepwise), schema(&fresh));
        let kept: String = stepwise.query_row("SELECT x FROM a", [], |r| r.get(0)).expect("row");
        assert_eq!(kept, "kept");
    }

    #[test]
    fn a_step_that_fails_leaves_the_step_before() {
        let mut connection = Connection::open_in_memory().expect("memory");
        migrate(&mut connection, &[FIRST]).expect("first");
        let before = schema(&connection);
        assert!(migrate(&mut connection, &[FIRST, BROKEN]).is_err());
        assert_eq!(schema(&connection), before);
        assert_eq!(check(&connection, &[FIRST, BROKEN]), Ok(1));
    }

    #[test]
    fn a_newer_or_foreign_database_is_refused() {
        let mut connection = Connection::open_in_memory().expect("memory");
        migrate(&mut connection, &[FIRST, SECOND]).expect("both");
        let error = migrate(&mut connection, &[FIRST]).expect_err("newer");
        assert_eq!(error.code(), "schema");
        assert!(error.to_string().contains("schema 2, this program knows up to 1"), "{error}");

        let foreign = Connection::open_in_memory().expect("memory");
        foreign.execute_batch("CREATE TABLE customers (name TEXT)").expect("table");
        assert_eq!(check(&foreign, MIGRATIONS).expect_err("foreign").code(), "schema");
    }

    #[test]
    fn an_old_sqlite_is_refused() {
        let error = check_library(3_050_002).expect_err("old");
        assert!(error.to_string().contains("SQLite 3.50.2 has the WAL-reset bug"), "{error}");
        assert_eq!(check_library(3_051_003), Ok(()));
        assert_eq!(check_library(rusqlite::version_number()), Ok(()));
    }
}
