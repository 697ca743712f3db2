//! Rows that the audit chain answers for: decisions and allocations. Whoever changes one of them in the
//! database would have to change its entry too, and with it the chain.
//!
//! A decision has an entry `decide` that names its row. Versions before wrote none that does; rows from
//! then are counted, not accused.

use super::super::Result;
use super::super::chain::particulars;
use super::super::error::StoreError;
use super::super::rows::*;
use super::{allocation as allocated, anchor, audit, rows, sha256_hex, trouble};
use rusqlite::Connection;
use std::collections::BTreeMap;

/// The action of a decision's entry.
const DECIDE: &str = "decide";
/// The particular that names the row of a decision.
const ROW: &str = "row";

/// The entry of a decision that was stored as row `row`.
pub(super) fn entry(new: &NewDecision, row: i64, before: Option<&str>) -> Result<NewAudit> {
    let detail: BTreeMap<&str, String> = [
        (ROW, row.to_string()),
        ("decision", new.decision.clone()),
        ("deciding", new.deciding.join(" ")),
        ("asOf", new.as_of.clone()),
        ("definition", new.definition.clone()),
        ("input", new.input.clone()),
        ("json", format!("sha256:{}", sha256_hex(new.json.as_bytes()))),
        ("before", before.unwrap_or("none").to_owned()),
        ("records", new.records.to_string()),
    ]
    .into();
    Ok(NewAudit {
        at: new.decided_at.clone(),
        actor: "trialbridge".to_owned(),
        role: anchor::SERVICE.to_owned(),
        action: DECIDE.to_owned(),
        subject: Some(new.subject.clone()),
        detail: serde_json::to_string(&detail).map_err(|e| StoreError::storage("writing the audit", e))?,
    })
}

/// What a row and its entry both say: the place in words, and both texts.
type Said<'a> = (&'static str, &'a str, Option<&'a str>);

fn differing(said: &[Said<'_>]) -> Option<&'static str> {
    said.iter().find(|(_, row, entry)| Some(*row) != *entry).map(|(what, ..)| *what)
}

pub(super) fn coverage(c: &Connection) -> Result<Coverage> {
    let mut coverage = Coverage::default();
    // No reader that begins at the first entry would see them.
    let outside = "SELECT sequence FROM audit WHERE sequence < 1 ORDER BY sequence";
    let outside = rows(c, "reading the audit", outside, [], |r| r.get::<_, i64>(0))?;
    coverage.findings.extend(outside.into_iter().map(|n| format!("audit entry {n}: it was put in by hand")));
    decisions(c, &mut coverage)?;
    allocations(c, &mut coverage)?;
    Ok(coverage)
}

/// Rows and entries were written together, so that both are in the same order: one pass over each.
fn decisions(c: &Connection, coverage: &mut Coverage) -> Result<()> {
    let doing = "holding decisions against the audit";
    let failed = trouble(doing);
    let mut statement =
        c.prepare("SELECT * FROM audit WHERE action = ?1 ORDER BY sequence").map_err(&failed)?;
    let entries = statement.query_map([DECIDE], audit::read).map_err(&failed)?;
    let mut entries = entries
        .filter_map(|entry| match entry {
            Ok(entry) => {
                let detail = particulars(&entry.entry.detail).unwrap_or_default();
                let row = detail.get(ROW)?.parse::<i64>().ok()?;
                Some(Ok((row, entry, detail)))
            }
            Err(error) => Some(Err(error)),
        })
        .peekable();
    let mut statement = c.prepare("SELECT * FROM decision ORDER BY seq").map_err(&failed)?;
    let rows = statement.query_map([], super::decision::read).map_err(&failed)?;
    let told = |coverage: &mut Coverage, text: String| coverage.findings.push(text);
    for row in rows {
        let row = row.map_err(&failed)?;
        let mut found = None;
        while let Some(next) = entries.next_if(|next| next.as_ref().is_ok_and(|(n, ..)| *n <= row.seq)) {
            let (number, entry, detail) = next.map_err(&failed)?;
            coverage.decisions_from.get_or_insert(entry.sequence);
            if number == row.seq {
                found = Some((entry, detail));
                break;
            }
            told(
                coverage,
                format!("decision {number}: audit entry {} tells of it, and it is gone", entry.sequence),
            );
        }
        let Some((entry, detail)) = found else {
            match coverage.decisions_from {
                None => coverage.decisions_uncovered += 1,
                Some(_) => told(coverage, format!("decision {}: no audit entry tells of it", row.seq)),
            }
            continue;
        };
        coverage.decisions += 1;
        let said = |key: &str| detail.get(key).map(String::as_str);
        let (deciding, json) =
            (row.deciding.join(" "), format!("sha256:{}", sha256_hex(row.json.as_bytes())));
        let other = differing(&[
            ("subject", &row.subject, entry.entry.subject.as_deref()),
            ("time", &row.decided_at, Some(&entry.entry.at)),
            ("decision", &row.decision, said("decision")),
            ("deciding criteria", &deciding, said("deciding")),
            ("day", &row.as_of, said("asOf")),
            ("definition", &row.definition, said("definition")),
            ("input", &row.input, said("input")),
            ("content", &json, said("json")),
        ]);
        if let Some(what) = other {
            let text =
                format!("decision {}: its {what} is not what audit entry {} says", row.seq, entry.sequence);
            told(coverage, text);
        }
    }
    for rest in entries {
        let (number, entry, _) = rest.map_err(&failed)?;
        told(
            coverage,
            format!("decision {number}: audit entry {} tells of it, and it is gone", entry.sequence),
        );
    }
    Ok(())
}

/// Allocations are few. What tells of an arm stands in neither; the leaf says which slot it is.
fn allocations(c: &Connection, coverage: &mut Coverage) -> Result<()> {
    let doing = "holding allocations against the audit";
    let mut entries = BTreeMap::new();
    let drawn =
        rows(c, doing, "SELECT * FROM audit WHERE action = 'allocate' ORDER BY sequence", [], audit::read)?;
    for entry in drawn {
        let detail = particulars(&entry.entry.detail).unwrap_or_default();
        if let Some(id) = detail.get("allocation").cloned() {
            entries.insert(id, (entry, detail));
        }
    }
    let stored = rows(c, doing, "SELECT * FROM allocation ORDER BY id", [], allocated::read)?;
    for a in stored {
        let id = &a.id;
        let Some((entry, detail)) = entries.remove(id) else {
            coverage.findings.push(format!("allocation {id}: no audit entry tells of it"));
            continue;
        };
        coverage.allocations += 1;
        if let Some(what) = differs(&a, &entry.entry, &detail) {
            let text = format!("allocation {id}: its {what} is not what audit entry {} says", entry.sequence);
            coverage.findings.push(text);
        }
    }
    for (id, (entry, _)) in entries {
        let text = format!("allocation {id}: audit entry {} tells of it, and it is gone", entry.sequence);
        coverage.findings.push(text);
    }
    Ok(())
}

/// What an allocation says otherwise than its audit entry.
fn differs(a: &Allocation, entry: &NewAudit, detail: &BTreeMap<String, String>) -> Option<&'static str> {
    let said = |key: &str| detail.get(key).map(String::as_str);
    let (number, levels) = (a.number.to_string(), levels(a));
    differing(&[
        ("subject", &a.subject, entry.subject.as_deref()),
        ("actor", &a.actor, Some(&entry.actor)),
        ("time", &a.at, Some(&entry.at)),
        ("input", &a.decided_input, said("input")),
        ("definition", &a.definition, said("definition")),
        ("list", &a.list_id, said("list")),
        // Versions before knew one stratum, whose positions became the numbers, and neither leaf nor levels.
        // Without the leaf two participants could be given each other's slots, and with them each other's arms.
        ("number", &number, said("number").or(said("position"))),
        ("leaf", &a.leaf, Some(said("leaf").unwrap_or_default())),
        ("levels", &levels, Some(said("levels").unwrap_or(&levels))),
    ])
}

/// The levels as the audit log holds them: a hash, for they are a participant's data.
pub(super) fn levels(a: &Allocation) -> String {
    sha256_hex(format!("{}\n{}", a.leaf, a.levels).as_bytes())
}

/// Is an allocation what was written down when it was made? What is told of one must not come from a row
/// that somebody exchanged.
pub(super) fn is_on_record(c: &Connection, a: &Allocation) -> Result<bool> {
    let doing = "holding an allocation against the audit";
    let sql = "SELECT * FROM audit WHERE action = 'allocate' AND subject = ?1";
    let drawn = rows(c, doing, sql, [&a.subject], audit::read)?;
    Ok(drawn.iter().any(|entry| {
        let detail = particulars(&entry.entry.detail).unwrap_or_default();
        detail.get("allocation") == Some(&a.id) && differs(a, &entry.entry, &detail).is_none()
    }))
}
