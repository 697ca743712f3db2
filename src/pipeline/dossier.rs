//! One subject for an auditor: who decided what, on what data, and what changed since.
//!
//! Put together from what is kept for ever: decisions, versions of records, audit entries, allocation,
//! deviations. Never tells an arm, a position or a block; it only looks.

use super::changes::{self, Change};
use crate::store::chain::particulars;
use crate::store::{AuditEntry, Decision, Signature, Store, StoreError, Word};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;

pub const SCHEMA: &str = "trialbridge/audit-subject/v1";

/// Rows that are read at a time.
const PAGE: usize = 1000;
const OUTBOX: usize = 100_000;

/// All that is known of one subject.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Dossier {
    pub schema: &'static str,
    pub subject: String,
    /// Oldest first. Days on which nothing but the day was another one are one decision.
    pub decisions: Vec<Decided>,
    /// Newest first.
    pub changes: Vec<Change>,
    /// Judgements and consents that a person recorded.
    pub statements: Vec<Stated>,
    /// Answers to who is who.
    pub identity: Vec<Stated>,
    pub allocation: Option<Allocated>,
    pub deviations: Vec<Deviated>,
    pub writeback: Vec<Written>,
    /// To whom the arm was shown, and when. Never the arm.
    pub shown: Vec<Stated>,
    /// What a person signed for.
    pub signatures: Vec<Signed>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Decided {
    pub row: i64,
    /// The audit entry; none for a decision of a version that wrote none.
    pub entry: Option<u64>,
    pub at: String,
    /// First and last day for which it was decided so.
    pub from: String,
    pub to: String,
    pub decision: String,
    pub deciding: Vec<String>,
    pub definition: String,
    pub input: String,
    pub records: Option<String>,
    pub rests_on: Vec<Ground>,
}

/// What a decision rests on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Ground {
    /// A criterion or a variable.
    pub what: String,
    pub verdict: Option<String>,
    /// Versioned.
    pub reference: String,
    pub value: String,
    pub effective: Option<String>,
}

/// What a person said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Stated {
    pub entry: u64,
    pub at: String,
    pub by: String,
    pub role: String,
    pub action: String,
    pub subject: Option<String>,
    pub detail: BTreeMap<String, String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Allocated {
    pub id: String,
    pub entry: Option<u64>,
    pub at: String,
    pub by: String,
    pub role: Option<String>,
    /// The row of the decision that it rests on.
    pub decision: i64,
    pub input: String,
    pub definition: String,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Deviated {
    pub id: i64,
    pub opened_at: String,
    pub kind: String,
    pub reference: String,
    pub detail: Value,
    pub state: &'static str,
    pub acknowledged: Option<Stated>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Written {
    pub kind: String,
    pub created_at: String,
    pub state: &'static str,
    pub attempts: i64,
    pub last_error: Option<String>,
    pub done_at: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Signed {
    /// The audit entry that names the signature.
    pub entry: Option<u64>,
    pub at: String,
    pub by: String,
    /// As it is printed.
    pub name: String,
    pub role: String,
    /// What it means.
    pub action: String,
    /// SHA-256 of what was signed.
    pub record: String,
    /// How the person was known; `unauthenticated`: the name was taken as it was said.
    pub signature: String,
}

/// The entries that are about a subject, in order: its own, and those of others that name it.
pub fn entries(store: &dyn Store, subject: &str) -> Result<Vec<AuditEntry>, StoreError> {
    let (mut found, mut from) = (Vec::new(), 1);
    loop {
        let page = store.audit_entries(from, PAGE)?;
        let Some(last) = page.last() else { return Ok(found) };
        from = last.sequence + 1;
        found.extend(page.into_iter().filter(|row| is_about(row, subject)));
    }
}

/// Is an entry about this subject?
pub fn is_about(row: &AuditEntry, subject: &str) -> bool {
    row.entry.subject.as_deref() == Some(subject)
        || particulars(&row.entry.detail).is_some_and(|d| d.get("other").is_some_and(|o| o == subject))
}

/// Puts it together from the store and the entries about the subject; none of whom nothing is known.
///
/// # Errors
/// Those of the store.
pub fn of(
    store: &dyn Store,
    trial: &str,
    subject: &str,
    entries: &[AuditEntry],
) -> Result<Option<Dossier>, StoreError> {
    let history = store.decision_history(subject)?;
    if history.is_empty() && entries.is_empty() {
        return Ok(None);
    }
    let stated: Vec<Stated> = entries.iter().map(stated).collect();
    let with = |prefixes: &[&str]| -> Vec<Stated> {
        let is_one = |s: &&Stated| prefixes.iter().any(|p| s.action.starts_with(p));
        stated.iter().filter(is_one).cloned().collect()
    };
    Ok(Some(Dossier {
        schema: SCHEMA,
        subject: subject.to_owned(),
        decisions: decisions(&history, &stated),
        changes: changes::of(store, subject)?,
        statements: with(&["attest", "consent."]),
        identity: with(&["identity."]),
        allocation: allocation(store, trial, subject, &stated)?,
        deviations: deviations(store, subject, &stated)?,
        writeback: writeback(store, subject)?,
        shown: with(&["arm.disclose", "allocation.unblind", "unblind"]),
        signatures: store.signatures(Some(subject))?.iter().map(|s| signed(s, &stated)).collect(),
    }))
}

fn stated(row: &AuditEntry) -> Stated {
    Stated {
        entry: row.sequence,
        at: row.entry.at.clone(),
        by: row.entry.actor.clone(),
        role: row.entry.role.clone(),
        action: row.entry.action.clone(),
        subject: row.entry.subject.clone(),
        // What is not spelled as it is written is shown as it is: `verify` finds it.
        detail: particulars(&row.entry.detail)
            .unwrap_or_else(|| [("text".to_owned(), row.entry.detail.clone())].into()),
    }
}

fn signed(signature: &Signature, stated: &[Stated]) -> Signed {
    let (id, signed) = (signature.id.to_string(), &signature.signed);
    let entry = stated.iter().find(|s| s.detail.get("signature") == Some(&id));
    Signed {
        entry: entry.map(|s| s.entry),
        at: signed.at.clone(),
        by: signed.actor.clone(),
        name: signed.printed_name.clone(),
        role: signed.role.clone(),
        action: signed.meaning.clone(),
        record: signature.record_sha256.clone(),
        signature: signed.method.name().to_owned(),
    }
}

fn decisions(history: &[Decision], stated: &[Stated]) -> Vec<Decided> {
    let rows: BTreeMap<&str, &Stated> = stated
        .iter()
        .filter(|s| s.action == "decide")
        .filter_map(|s| Some((s.detail.get("row")?.as_str(), s)))
        .collect();
    let mut told: Vec<Decided> = Vec::new();
    for d in history {
        let same = told.last_mut().filter(|last| {
            (&last.decision, &last.deciding, &last.definition, &last.input)
                == (&d.decision, &d.deciding, &d.definition, &d.input)
        });
        if let Some(last) = same {
            last.to.clone_from(&d.as_of);
            continue;
        }
        let entry = rows.get(d.seq.to_string().as_str());
        told.push(Decided {
            row: d.seq,
            entry: entry.map(|s| s.entry),
            at: d.decided_at.clone(),
            from: d.as_of.clone(),
            to: d.as_of.clone(),
            decision: d.decision.clone(),
            deciding: d.deciding.clone(),
            definition: d.definition.clone(),
            input: d.input.clone(),
            records: entry.and_then(|s| s.detail.get("records").cloned()),
            rests_on: grounds(&serde_json::from_str(&d.json).unwrap_or_default()),
        });
    }
    told
}

/// Variables with their sources, then what the criteria name as evidence.
fn grounds(decision: &Value) -> Vec<Ground> {
    let text = |v: &Value| v.as_str().map(str::to_owned);
    let mut grounds = Vec::new();
    for (name, v) in decision["variables"].as_object().into_iter().flatten() {
        let Some(source) = text(&v["source"]) else { continue };
        let amount = match (&v["value"], &v["low"], &v["high"]) {
            (Value::Null, Value::Null, Value::Null) => continue,
            (Value::Null, low, high) => format!("{}..{}", plain(low), plain(high)),
            (value, ..) => plain(value),
        };
        let value = text(&v["unit"]).map_or(amount.clone(), |unit| format!("{amount} {unit}"));
        let reference = match text(&v["version"]) {
            Some(version) => format!("{source}/_history/{version}"),
            None => source,
        };
        grounds.push(Ground {
            what: name.clone(),
            verdict: None,
            reference,
            value,
            effective: text(&v["effective"]),
        });
    }
    for c in decision["criteria"].as_array().into_iter().flatten() {
        for e in c["evidence"].as_array().into_iter().flatten() {
            let Some(reference) = text(&e["reference"]).filter(|r| !r.is_empty()) else { continue };
            grounds.push(Ground {
                what: text(&c["id"]).unwrap_or_default(),
                verdict: text(&c["verdict"]),
                reference,
                value: text(&e["summary"]).unwrap_or_default(),
                effective: None,
            });
        }
    }
    grounds
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn allocation(
    store: &dyn Store,
    trial: &str,
    subject: &str,
    stated: &[Stated],
) -> Result<Option<Allocated>, StoreError> {
    let Some(a) = store.allocation_of(trial, subject)? else { return Ok(None) };
    let entry = stated.iter().find(|s| s.detail.get("allocation") == Some(&a.id));
    Ok(Some(Allocated {
        entry: entry.map(|s| s.entry),
        role: entry.map(|s| s.role.clone()),
        id: a.id,
        at: a.at,
        by: a.actor,
        decision: a.decision_seq,
        input: a.decided_input,
        definition: a.definition,
    }))
}

fn deviations(store: &dyn Store, subject: &str, stated: &[Stated]) -> Result<Vec<Deviated>, StoreError> {
    let seen = |id: i64| {
        let id = id.to_string();
        let is_one =
            |s: &&Stated| s.action == "deviation.acknowledge" && s.detail.get("deviation") == Some(&id);
        stated.iter().find(is_one).cloned()
    };
    let all = store.deviations(None)?.into_iter().filter(|d| d.subject == subject);
    Ok(all
        .map(|d| Deviated {
            acknowledged: seen(d.id),
            id: d.id,
            opened_at: d.opened_at,
            kind: d.kind,
            reference: d.reference,
            detail: serde_json::from_str(&d.detail).unwrap_or(Value::String(d.detail)),
            state: d.state.word(),
        })
        .collect())
}

fn writeback(store: &dyn Store, subject: &str) -> Result<Vec<Written>, StoreError> {
    let all = store.outbox(None, OUTBOX)?.into_iter().filter(|item| item.subject == subject);
    Ok(all
        .map(|item| Written {
            kind: item.kind,
            created_at: item.created_at,
            state: item.state.word(),
            attempts: item.attempts,
            last_error: item.last_error,
            done_at: item.done_at,
        })
        .collect())
}
