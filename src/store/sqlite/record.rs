//! Versions of resources, which of them stands, and whose decision has to be made again.

use super::super::Result;
use super::super::error::StoreError;
use super::super::precedence::{Standing, Version, standing};
use super::super::rows::*;
use super::{decision, limited, person, row, rows, run, sha256_hex, word};
use rusqlite::{Connection, Row, params};
use std::collections::BTreeSet;

const DOING: &str = "storing records";

/// A version with its hash, worked out before it queues for the writer.
pub(super) struct Hashed {
    record: NewRecord,
    sha256: String,
}

pub(super) fn hashed(records: Vec<NewRecord>) -> Vec<Hashed> {
    let hash = |record: NewRecord| Hashed { sha256: sha256_hex(&record.body), record };
    records.into_iter().map(hash).collect()
}

pub(super) fn put(c: &Connection, records: &[Hashed], at: &str) -> Result<Vec<Fate>> {
    records.iter().map(|record| put_one(c, record, at)).collect()
}

fn put_one(c: &Connection, new: &Hashed, at: &str) -> Result<Fate> {
    let (fate_if_unchanged, is_new_alias) = match remember(c, new)? {
        Remembered::AsItWas => return Ok(Fate::Same),
        Remembered::SeenEarlier => (Fate::Same, false),
        Remembered::First { is_new_alias } => (Fate::Older, is_new_alias),
    };
    let key = &new.record.key;
    let seen = versions(c, key)?;
    let compared: Vec<Version> = seen.iter().map(|s| s.version.clone()).collect();
    let Some(stands) = standing(&compared) else {
        return Err(StoreError::storage(DOING, "a version just stored is not there"));
    };
    let (shown, conflict) = match stands {
        Standing::One(i) => (&seen[i], false),
        Standing::Conflict(i) => (&seen[i], true),
    };
    let after = Stands {
        state: match (conflict, shown.version.deleted) {
            (true, _) => RecordState::Conflict,
            (false, true) => RecordState::Deleted,
            (false, false) => RecordState::Current,
        },
        inbox_seq: shown.inbox_seq,
        path: shown.path.clone(),
        history_seq: shown.seq,
        version: shown.version.clone(),
    };
    let before = stored(c, key)?;
    if before.as_ref() != Some(&after) {
        store(c, key, &after)?;
    }
    let usable_data_changed =
        before.as_ref().is_none_or(|b| b.state != after.state || b.version != after.version);
    if !usable_data_changed
        && let Some(subject) = &new.record.subject
        && (is_new_alias
            || after.state == RecordState::Conflict
            || row(c, DOING, "SELECT 1 FROM decision_current WHERE subject = ?1", [subject], |_| Ok(()))?
                .is_none())
    {
        // A version that does not stand names somebody for the first time, or as one who is concerned
        // by a conflict, or tells which identifier a key stands for: whoever is named is judged, in
        // whatever order the versions came.
        mark_dirty(c, std::iter::once(subject.as_str()), at)?;
    }
    if usable_data_changed {
        let both = before.iter().chain([&after]);
        let named: BTreeSet<&str> = if both.clone().any(|r| r.state == RecordState::Conflict) {
            seen.iter().filter_map(|s| s.version.subject.as_deref()).collect()
        } else {
            both.filter_map(|r| r.version.subject.as_deref()).collect()
        };
        // Whoever was connected before is as concerned as whoever is connected now.
        let mut concerned: BTreeSet<String> = named.into_iter().map(str::to_owned).collect();
        if matches!(&*key.resource_type, "Patient" | "Linkage") {
            for history_seq in before.iter().map(|b| b.history_seq).chain([after.history_seq]) {
                concerned.extend(person::named(c, history_seq)?);
            }
        }
        // What belongs to nobody concerns whoever refers to it.
        concerned.extend(decision::readers(c, key)?);
        mark_dirty(c, concerned.iter().map(String::as_str), at)?;
    }
    Ok(match before {
        _ if fate_if_unchanged == Fate::Same => Fate::Same,
        None => Fate::New,
        Some(_) if after.state == RecordState::Conflict => Fate::Conflict,
        // The version just stored has the highest number.
        Some(_) if seen.last().is_some_and(|last| last.seq == after.history_seq) => Fate::Newer,
        Some(_) => Fate::Older,
    })
}

/// One row of `record`.
#[derive(PartialEq, Eq)]
struct Stands {
    state: RecordState,
    inbox_seq: i64,
    path: String,
    history_seq: i64,
    version: Version,
}

/// One row of `record_history`, without its body.
struct Seen {
    seq: i64,
    inbox_seq: i64,
    path: String,
    version: Version,
}

enum Remembered {
    First {
        is_new_alias: bool,
    },
    /// Known, but from a later inbox row than this one.
    SeenEarlier,
    AsItWas,
}

/// Adds a version to the history. A version that comes again keeps the place where it came first by
/// the inbox's order, whichever was looked into first.
fn remember(c: &Connection, Hashed { record, sha256 }: &Hashed) -> Result<Remembered> {
    let known: Option<(i64, i64, String)> = row(
        c,
        DOING,
        "SELECT seq, inbox_seq, path FROM record_history
          WHERE source = ?1 AND resource_type = ?2 AND id = ?3 AND sha256 = ?4 AND deleted = ?5
            AND ifnull(version_id, '') = ifnull(?6, '') AND ifnull(last_updated, '') = ifnull(?7, '')
            AND ifnull(subject, '') = ifnull(?8, '')",
        params![
            record.key.source,
            record.key.resource_type,
            record.key.id,
            sha256,
            record.deleted,
            record.version_id,
            record.last_updated,
            record.subject
        ],
        |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?)),
    )?;
    let Some((seq, inbox_seq, path)) = known else {
        run(
            c,
            DOING,
            "INSERT INTO record_history (source, resource_type, id, version_id, last_updated, subject, deleted,
                                         inbox_seq, path, sha256, body)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
            params![
                record.key.source,
                record.key.resource_type,
                record.key.id,
                record.version_id,
                record.last_updated,
                record.subject,
                record.deleted,
                record.inbox_seq,
                record.path,
                sha256,
                record.body
            ],
        )?;
        let is_new_alias = person::remember(c, c.last_insert_rowid(), record)?;
        return Ok(Remembered::First { is_new_alias });
    };
    if (record.inbox_seq, &record.path) >= (inbox_seq, &path) {
        return Ok(Remembered::AsItWas);
    }
    run(
        c,
        DOING,
        "UPDATE record_history SET inbox_seq = ?2, path = ?3 WHERE seq = ?1",
        params![seq, record.inbox_seq, record.path],
    )?;
    Ok(Remembered::SeenEarlier)
}

fn version(r: &Row<'_>, deleted: bool) -> rusqlite::Result<Version> {
    Ok(Version {
        version_id: r.get("version_id")?,
        last_updated: r.get("last_updated")?,
        subject: r.get("subject")?,
        deleted,
        sha256: r.get("sha256")?,
    })
}

fn versions(c: &Connection, key: &RecordKey) -> Result<Vec<Seen>> {
    rows(
        c,
        DOING,
        "SELECT seq, version_id, last_updated, subject, deleted, sha256, inbox_seq, path FROM record_history
          WHERE source = ?1 AND resource_type = ?2 AND id = ?3 ORDER BY seq",
        [&key.source, &key.resource_type, &key.id],
        |r| {
            let version = version(r, r.get("deleted")?)?;
            Ok(Seen { seq: r.get("seq")?, inbox_seq: r.get("inbox_seq")?, path: r.get("path")?, version })
        },
    )
}

fn stored(c: &Connection, key: &RecordKey) -> Result<Option<Stands>> {
    row(
        c,
        DOING,
        "SELECT r.*, h.deleted FROM record r JOIN record_history h ON h.seq = r.history_seq
          WHERE r.source = ?1 AND r.resource_type = ?2 AND r.id = ?3",
        [&key.source, &key.resource_type, &key.id],
        |r| {
            Ok(Stands {
                state: word(r, "state")?,
                inbox_seq: r.get("inbox_seq")?,
                path: r.get("path")?,
                history_seq: r.get("history_seq")?,
                version: version(r, r.get("deleted")?)?,
            })
        },
    )
}

fn store(c: &Connection, key: &RecordKey, stands: &Stands) -> Result<()> {
    run(
        c,
        DOING,
        "INSERT INTO record (source, resource_type, id, version_id, last_updated, subject, state, inbox_seq, path,
                             sha256, history_seq)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
         ON CONFLICT (source, resource_type, id) DO UPDATE SET
             version_id = excluded.version_id, last_updated = excluded.last_updated, subject = excluded.subject,
             state = excluded.state, inbox_seq = excluded.inbox_seq, path = excluded.path,
             sha256 = excluded.sha256, history_seq = excluded.history_seq",
        params![
            key.source,
            key.resource_type,
            key.id,
            stands.version.version_id,
            stands.version.last_updated,
            stands.version.subject,
            stands.state.word(),
            stands.inbox_seq,
            stands.path,
            stands.version.sha256,
            stands.history_seq
        ],
    )
    .map(drop)
}

fn read(r: &Row<'_>) -> rusqlite::Result<Record> {
    Ok(Record {
        key: RecordKey { source: r.get("source")?, resource_type: r.get("resource_type")?, id: r.get("id")? },
        version_id: r.get("version_id")?,
        last_updated: r.get("last_updated")?,
        subject: r.get("subject")?,
        state: word(r, "state")?,
        inbox_seq: r.get("inbox_seq")?,
        path: r.get("path")?,
        sha256: r.get("sha256")?,
        body: r.get("body")?,
    })
}

pub(super) fn of_subject(c: &Connection, subject: &str) -> Result<Vec<Record>> {
    rows(
        c,
        "reading a subject's records",
        "SELECT * FROM record_body WHERE subject = ?1
          UNION ALL
         SELECT b.*
           FROM (SELECT DISTINCT source, resource_type, id FROM record_history WHERE subject = ?1) named
                CROSS JOIN record_body b USING (source, resource_type, id)
          WHERE b.state = 'conflict' AND b.subject IS NOT ?1
          ORDER BY source, resource_type, id",
        [subject],
        read,
    )
}

pub(super) fn by_keys(c: &Connection, keys: &[RecordKey]) -> Result<Vec<Record>> {
    let wanted: BTreeSet<&RecordKey> = keys.iter().collect();
    let find = |key: &RecordKey| {
        row(
            c,
            "reading records",
            "SELECT * FROM record_body WHERE source = ?1 AND resource_type = ?2 AND id = ?3",
            [&key.source, &key.resource_type, &key.id],
            read,
        )
    };
    wanted.into_iter().filter_map(|key| find(key).transpose()).collect()
}

pub(super) fn named(c: &Connection, resource_type: &str, id: &str) -> Result<Vec<Record>> {
    // The sources are few: each is found by the one before it, and for each the key is known.
    rows(
        c,
        "reading records",
        "WITH RECURSIVE s (source) AS (
             SELECT min(source) FROM record
             UNION ALL
             SELECT (SELECT min(source) FROM record WHERE source > s.source) FROM s WHERE s.source IS NOT NULL)
         SELECT b.* FROM s CROSS JOIN record_body b
          WHERE b.source = s.source AND b.resource_type = ?1 AND b.id = ?2 ORDER BY b.source",
        [resource_type, id],
        read,
    )
}

pub(super) fn history(c: &Connection, key: &RecordKey) -> Result<Vec<Record>> {
    rows(
        c,
        "reading a record's history",
        "SELECT *, CASE deleted WHEN 1 THEN 'deleted' ELSE 'current' END AS state FROM record_history
          WHERE source = ?1 AND resource_type = ?2 AND id = ?3 ORDER BY inbox_seq, path, seq",
        [&key.source, &key.resource_type, &key.id],
        read,
    )
}

pub(super) fn subjects(c: &Connection) -> Result<Vec<String>> {
    rows(
        c,
        "reading the subjects",
        "SELECT subject FROM record WHERE subject IS NOT NULL
          UNION SELECT subject FROM decision_current ORDER BY subject",
        [],
        |r| r.get(0),
    )
}

/// Subject and source of every record that stands.
pub(super) fn sources(c: &Connection, subject: Option<&str>) -> Result<Vec<(String, String)>> {
    let doing = "reading where subjects' records come from";
    let read = |r: &Row<'_>| Ok((r.get(0)?, r.get(1)?));
    match subject {
        Some(subject) => {
            let sql = "SELECT DISTINCT subject, source FROM record WHERE subject = ?1 ORDER BY source";
            rows(c, doing, sql, [subject], read)
        }
        None => {
            let sql = "SELECT DISTINCT subject, source FROM record WHERE subject IS NOT NULL
                        ORDER BY subject, source";
            rows(c, doing, sql, [], read)
        }
    }
}

pub(super) fn mark_dirty<'a>(
    c: &Connection,
    subjects: impl Iterator<Item = &'a str>,
    at: &str,
) -> Result<()> {
    let doing = "marking subjects to decide again";
    let mut all: BTreeSet<String> = BTreeSet::new();
    for subject in subjects {
        if all.insert(subject.to_owned()) {
            all.extend(person::group(c, subject)?.members.into_iter().map(|m| m.subject));
        }
    }
    for subject in &all {
        run(c, doing, "UPDATE change_counter SET value = value + 1", [])?;
        run(
            c,
            doing,
            "INSERT INTO dirty_subject (subject, since, change)
             VALUES (?1, ?2, (SELECT value FROM change_counter))
             ON CONFLICT (subject) DO UPDATE SET change = excluded.change",
            [subject.as_str(), at],
        )?;
    }
    Ok(())
}

pub(super) fn is_named(c: &Connection, subject: &str) -> Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM record_history WHERE subject = ?1)
                   OR EXISTS (SELECT 1 FROM decision_current WHERE subject = ?1)";
    Ok(row(c, "looking for a subject", sql, [subject], |r| r.get(0))?.unwrap_or(false))
}

pub(super) fn clear_dirty(c: &Connection, subject: &str, change: i64) -> Result<()> {
    let sql = "DELETE FROM dirty_subject WHERE subject = ?1 AND change <= ?2";
    run(c, "clearing a mark", sql, params![subject, change]).map(drop)
}

pub(super) fn dirty(c: &Connection, limit: usize) -> Result<Vec<DirtySubject>> {
    rows(
        c,
        "reading the subjects to decide again",
        "SELECT subject, since, change FROM dirty_subject ORDER BY since, subject LIMIT ?1",
        [limited(limit)],
        |r| Ok(DirtySubject { subject: r.get(0)?, since: r.get(1)?, change: r.get(2)? }),
    )
}
