//! What was decided about a subject, appended when it changes, and the facts and gaps behind it.

use super::super::Result;
use super::super::error::StoreError;
use super::super::rows::*;
use super::{audit, covered, outbox, row, rows, run};
use rusqlite::{Connection, Row, params};

pub(super) fn put(c: &Connection, chain: &dyn Chain, new: &NewDecision) -> Result<bool> {
    let doing = "storing a decision";
    let before = latest(c, &new.subject)?;
    let changed = before.as_ref().is_none_or(|before| {
        (&before.definition, &before.input, &before.json) != (&new.definition, &new.input, &new.json)
    });
    if changed {
        let deciding = serde_json::to_string(&new.deciding).map_err(|e| StoreError::storage(doing, e))?;
        run(
            c,
            doing,
            "INSERT INTO decision (subject, as_of, decided_at, decision, deciding, definition, input, json)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            params![
                new.subject,
                new.as_of,
                new.decided_at,
                new.decision,
                deciding,
                new.definition,
                new.input,
                new.json
            ],
        )?;
        let seq = c.last_insert_rowid();
        run(
            c,
            doing,
            "INSERT INTO decision_current (subject, decision_seq) VALUES (?1, ?2)
             ON CONFLICT (subject) DO UPDATE SET decision_seq = excluded.decision_seq",
            params![new.subject, seq],
        )?;
        audit::append(c, chain, &covered::entry(new, seq, before.as_ref().map(|b| b.decision.as_str()))?)?;
        for item in &new.outbox {
            outbox::put(c, item)?;
        }
    }
    replace_facts(c, &new.subject, &new.facts)?;
    replace_gaps(c, &new.subject, &new.gaps)?;
    replace_reads(c, &new.subject, &new.reads)?;
    if let Some(change) = new.change {
        let sql = "DELETE FROM dirty_subject WHERE subject = ?1 AND change <= ?2";
        run(c, doing, sql, params![new.subject, change])?;
    }
    Ok(changed)
}

fn replace_facts(c: &Connection, subject: &str, facts: &[FactRow]) -> Result<()> {
    let doing = "storing facts";
    run(c, doing, "DELETE FROM fact WHERE subject = ?1", [subject])?;
    for (position, fact) in (0_i64..).zip(facts) {
        run(
            c,
            doing,
            "INSERT INTO fact (subject, position, variable, value, unit, effective, source, received, received_unit)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            params![
                subject,
                position,
                fact.variable,
                fact.value,
                fact.unit,
                fact.effective,
                fact.source,
                fact.received,
                fact.received_unit
            ],
        )?;
    }
    Ok(())
}

fn replace_gaps(c: &Connection, subject: &str, gaps: &[GapRow]) -> Result<()> {
    let doing = "storing gaps";
    run(c, doing, "DELETE FROM gap WHERE subject = ?1", [subject])?;
    for (position, gap) in (0_i64..).zip(gaps) {
        run(
            c,
            doing,
            "INSERT INTO gap (subject, position, reference, reason, path) VALUES (?1, ?2, ?3, ?4, ?5)",
            params![subject, position, gap.reference, gap.reason, gap.path],
        )?;
    }
    Ok(())
}

fn replace_reads(c: &Connection, subject: &str, reads: &[RecordKey]) -> Result<()> {
    let doing = "storing what a decision looked for";
    run(c, doing, "DELETE FROM decision_reads WHERE subject = ?1", [subject])?;
    for key in reads {
        run(
            c,
            doing,
            "INSERT OR IGNORE INTO decision_reads (source, resource_type, id, subject) VALUES (?1, ?2, ?3, ?4)",
            [&key.source, &key.resource_type, &key.id, subject],
        )?;
    }
    Ok(())
}

/// The subjects whose decisions looked for this record.
pub(super) fn readers(c: &Connection, key: &RecordKey) -> Result<Vec<String>> {
    let sql = "SELECT subject FROM decision_reads WHERE source = ?1 AND resource_type = ?2 AND id = ?3";
    rows(c, DOING, sql, [&key.source, &key.resource_type, &key.id], |r| r.get(0))
}

pub(super) fn read(r: &Row<'_>) -> rusqlite::Result<Decision> {
    let deciding: String = r.get("deciding")?;
    let unreadable = |e: serde_json::Error| {
        let index = r.as_ref().column_index("deciding").unwrap_or(0);
        rusqlite::Error::FromSqlConversionFailure(index, rusqlite::types::Type::Text, e.into())
    };
    Ok(Decision {
        seq: r.get("seq")?,
        subject: r.get("subject")?,
        as_of: r.get("as_of")?,
        decided_at: r.get("decided_at")?,
        decision: r.get("decision")?,
        deciding: serde_json::from_str(&deciding).map_err(unreadable)?,
        definition: r.get("definition")?,
        input: r.get("input")?,
        json: r.get("json")?,
    })
}

const DOING: &str = "reading decisions";

/// The word that stands in place of a decision where the records count for another subject.
const ATTACHED: &str = "attached";

pub(super) fn stale(c: &Connection, as_of: &str, definition: &str) -> Result<Vec<String>> {
    rows(
        c,
        DOING,
        "SELECT n.subject FROM decision_current n JOIN decision d ON d.seq = n.decision_seq
          WHERE d.as_of <> ?1 OR d.definition <> ?2",
        [as_of, definition],
        |r| r.get(0),
    )
}

pub(super) fn latest(c: &Connection, subject: &str) -> Result<Option<Decision>> {
    row(
        c,
        DOING,
        "SELECT d.* FROM decision_current n JOIN decision d ON d.seq = n.decision_seq WHERE n.subject = ?1",
        [subject],
        read,
    )
}

pub(super) fn latest_of_all(c: &Connection) -> Result<Vec<Decision>> {
    rows(
        c,
        DOING,
        "SELECT d.* FROM decision_current n JOIN decision d ON d.seq = n.decision_seq
          WHERE d.decision <> ?1 ORDER BY d.subject",
        [ATTACHED],
        read,
    )
}

pub(super) fn history(c: &Connection, subject: &str) -> Result<Vec<Decision>> {
    rows(c, DOING, "SELECT * FROM decision WHERE subject = ?1 ORDER BY seq", [subject], read)
}

pub(super) fn facts(c: &Connection, subject: &str) -> Result<Vec<FactRow>> {
    rows(c, "reading facts", "SELECT * FROM fact WHERE subject = ?1 ORDER BY position", [subject], |r| {
        Ok(FactRow {
            variable: r.get("variable")?,
            value: r.get("value")?,
            unit: r.get("unit")?,
            effective: r.get("effective")?,
            source: r.get("source")?,
            received: r.get("received")?,
            received_unit: r.get("received_unit")?,
        })
    })
}

pub(super) fn gaps(c: &Connection, subject: &str) -> Result<Vec<GapRow>> {
    rows(c, "reading gaps", "SELECT * FROM gap WHERE subject = ?1 ORDER BY position", [subject], |r| {
        Ok(GapRow { reference: r.get("reference")?, reason: r.get("reason")?, path: r.get("path")? })
    })
}
