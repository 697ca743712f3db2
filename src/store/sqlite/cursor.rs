//! How far each pull has come, and small facts about this installation: keys and values.

use super::super::Result;
use super::{row, run};
use rusqlite::Connection;

/// The statements of one table of keys and values.
#[derive(Clone, Copy)]
pub(super) struct Table {
    get: &'static str,
    set: &'static str,
}

pub(super) const CURSOR: Table = Table {
    get: "SELECT value FROM cursor WHERE key = ?1",
    set: "INSERT INTO cursor (key, value) VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
};
pub(super) const META: Table = Table {
    get: "SELECT value FROM meta WHERE key = ?1",
    set: "INSERT INTO meta (key, value) VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
};

pub(super) fn get(c: &Connection, table: Table, key: &str) -> Result<Option<String>> {
    row(c, "reading a cursor", table.get, [key], |r| r.get(0))
}

pub(super) fn set(c: &Connection, table: Table, key: &str, value: &str) -> Result<()> {
    run(c, "storing a cursor", table.set, [key, value]).map(drop)
}
