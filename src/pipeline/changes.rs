//! What changed a decision: from one stored decision to the next, what moved, and which arrival moved it.
//!
//! Worked out from what is kept for ever, the decisions and the versions of records with the inbox rows
//! that brought them; nothing is stored for it. A decision rests on what had come in by its time.

use super::ATTACHED;
use super::OWN_SOURCE;
use super::deviation::is_withdrawn;
use super::questions::linkage_id;
use crate::fhir::reference::type_and_id;
use crate::identity::{self, Stands};
use crate::normalize::precedence::{Standing, Version, standing};
use crate::store::{Decision, Record, RecordKey, RecordState, Store, StoreError};
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// The newest changes that are told.
const TOLD: usize = 10;

/// One change of what was decided, and because of what.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Change {
    pub at: String,
    pub decision_before: String,
    pub decision_after: String,
    pub criteria: Vec<CriterionMoved>,
    pub scores: Vec<ScoreMoved>,
    pub because: Vec<Cause>,
}

/// Another verdict of a criterion.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CriterionMoved {
    pub id: String,
    pub before: String,
    pub after: String,
}

/// Another score: a number, `{low, high}` where only limits are known, null where nothing is.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ScoreMoved {
    pub name: String,
    pub before: Value,
    pub after: Value,
}

/// What brought a change about.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Cause {
    /// `Observation/o1`; `asOf` for another day, `definition` for another trial definition.
    pub reference: String,
    /// Versioned references; days; hashes of definitions.
    pub before: Option<String>,
    pub after: Option<String>,
    /// `new`, `corrected`, `retracted`, `deleted`, `attached`, `definition`, `day`.
    pub what: &'static str,
    /// The inbox row that brought the version.
    pub receipt: Option<i64>,
    pub origin: Option<String>,
    pub received_at: Option<String>,
}

/// The changes of a subject's decision, newest first. The first decision changes nothing, and a day
/// that moved nothing is no change.
///
/// # Errors
/// Those of the store.
pub fn of(store: &dyn Store, subject: &str) -> Result<Vec<Change>, StoreError> {
    let history = store.decision_history(subject)?;
    let mut told = Vec::new();
    let mut arrivals: Option<Arrivals> = None;
    for pair in history.windows(2).rev() {
        let [before, after] = pair else { continue };
        let (old, new) = (parsed(before), parsed(after));
        let mut change = Change {
            at: after.decided_at.clone(),
            decision_before: before.decision.clone(),
            decision_after: after.decision.clone(),
            criteria: criteria(&old, &new),
            scores: scores(&old, &new),
            because: Vec::new(),
        };
        let stands_elsewhere = old["blocked"] != new["blocked"] || old["attachedTo"] != new["attachedTo"];
        let moved = change.decision_before != change.decision_after
            || !change.criteria.is_empty()
            || !change.scores.is_empty()
            || stands_elsewhere;
        if !moved && old["variables"] == new["variables"] {
            continue;
        }
        if before.input != after.input {
            let arrivals = match &mut arrivals {
                Some(arrivals) => arrivals,
                None => arrivals.insert(Arrivals::of(store, subject)?),
            };
            change.because = arrivals.between(store, (before, &old), (after, &new), stands_elsewhere)?;
        }
        if before.definition != after.definition {
            let hashes = (before.definition.clone(), after.definition.clone());
            change.because.push(outer("definition", "definition", hashes));
        }
        if moved && before.as_of != after.as_of {
            change.because.push(outer("asOf", "day", (before.as_of.clone(), after.as_of.clone())));
        }
        if !moved && change.because.is_empty() {
            continue;
        }
        told.push(change);
        if told.len() == TOLD {
            break;
        }
    }
    Ok(told)
}

fn parsed(decision: &Decision) -> Value {
    serde_json::from_str(&decision.json).unwrap_or_default()
}

/// What is no record.
fn outer(reference: &str, what: &'static str, (before, after): (String, String)) -> Cause {
    Cause {
        reference: reference.to_owned(),
        before: Some(before),
        after: Some(after),
        what,
        receipt: None,
        origin: None,
        received_at: None,
    }
}

fn criteria(before: &Value, after: &Value) -> Vec<CriterionMoved> {
    let verdicts = |v: &Value| -> BTreeMap<String, String> {
        let all = v["criteria"].as_array().into_iter().flatten();
        all.filter_map(|c| Some((c["id"].as_str()?.to_owned(), c["verdict"].as_str()?.to_owned()))).collect()
    };
    // Where the records count for somebody else there are no verdicts of its own.
    if before["attachedTo"].is_string() || after["attachedTo"].is_string() {
        return Vec::new();
    }
    let before = verdicts(before);
    let in_order = after["criteria"].as_array().into_iter().flatten().filter_map(|c| c["id"].as_str());
    let after = verdicts(after);
    in_order
        .filter_map(|id| {
            let (was, is) = (before.get(id)?, after.get(id)?);
            (was != is).then(|| CriterionMoved { id: id.to_owned(), before: was.clone(), after: is.clone() })
        })
        .collect()
}

fn scores(before: &Value, after: &Value) -> Vec<ScoreMoved> {
    if before["attachedTo"].is_string() || after["attachedTo"].is_string() {
        return Vec::new();
    }
    let shown = |score: &Value| match score["status"].as_str() {
        Some("known") => score["value"].clone(),
        Some("range") => serde_json::json!({"low": score["low"], "high": score["high"]}),
        _ => Value::Null,
    };
    let mut moved = Vec::new();
    for (name, is) in after["scores"].as_object().into_iter().flatten() {
        let (was, is) = (shown(&before["scores"][name]), shown(is));
        if was != is {
            moved.push(ScoreMoved { name: name.clone(), before: was, after: is });
        }
    }
    moved
}

/// `Type/id` of everything that a decision names.
fn named(decision: &Value) -> BTreeSet<String> {
    let variables = decision["variables"].as_object().into_iter().flatten().map(|(_, v)| &v["source"]);
    let criteria = decision["criteria"].as_array().into_iter().flatten();
    let evidence =
        criteria.flat_map(|c| c["evidence"].as_array().into_iter().flatten()).map(|e| &e["reference"]);
    let gaps = decision["gaps"].as_array().into_iter().flatten().map(|g| &g["reference"]);
    let all = variables.chain(evidence).chain(gaps).filter_map(Value::as_str);
    all.filter_map(|r| type_and_id(r).map(|(t, id)| format!("{t}/{id}"))).collect()
}

/// What came in about a subject: every version of whatever may have counted.
struct Arrivals {
    subject: String,
    /// The subjects that are one with it now, and whether it is the one that is judged.
    members: BTreeSet<String>,
    records: BTreeMap<RecordKey, Vec<Record>>,
    /// Origin and time of inbox rows.
    rows: BTreeMap<i64, (String, String)>,
}

impl Arrivals {
    fn of(store: &dyn Store, subject: &str) -> Result<Arrivals, StoreError> {
        let group = store.group(subject)?;
        let members: BTreeSet<String> = match identity::stands(&group, subject) {
            Stands::Itself { members, .. } => members.into_iter().collect(),
            Stands::AttachedTo(root) => [subject.to_owned(), root].into(),
        };
        let mut arrivals = Arrivals {
            subject: subject.to_owned(),
            members,
            records: BTreeMap::new(),
            rows: BTreeMap::new(),
        };
        for member in arrivals.members.clone() {
            for record in store.records_of(&member)? {
                arrivals.learn(store, record.key)?;
            }
        }
        // Whoever is asked about came with a Patient, and the answer is a Linkage.
        for member in &group.members {
            arrivals.learn_named(store, &member.subject)?;
            let id = linkage_id(subject, &member.subject);
            let key = RecordKey { source: OWN_SOURCE.into(), resource_type: "Linkage".into(), id };
            arrivals.learn(store, key)?;
        }
        Ok(arrivals)
    }

    fn learn_named(&mut self, store: &dyn Store, reference: &str) -> Result<(), StoreError> {
        let Some((resource_type, id)) = type_and_id(reference) else { return Ok(()) };
        for record in store.records_named(resource_type, id)? {
            self.learn(store, record.key)?;
        }
        Ok(())
    }

    fn learn(&mut self, store: &dyn Store, key: RecordKey) -> Result<(), StoreError> {
        if self.records.contains_key(&key) {
            return Ok(());
        }
        let versions = store.record_history(&key)?;
        for version in &versions {
            if !self.rows.contains_key(&version.inbox_seq) {
                let item = store.inbox_item(version.inbox_seq)?;
                self.rows.insert(item.seq, (item.origin, item.received_at));
            }
        }
        self.records.insert(key, versions);
        Ok(())
    }

    /// The version that stood at a time, and whether others contradicted it.
    fn at<'a>(&self, versions: &'a [Record], time: &str) -> Option<(&'a Record, bool)> {
        let came: Vec<&Record> = versions
            .iter()
            .filter(|v| self.rows.get(&v.inbox_seq).is_some_and(|(_, at)| !is_later(at, time)))
            .collect();
        let compared: Vec<Version> = came
            .iter()
            .map(|v| Version {
                version_id: v.version_id.clone(),
                last_updated: v.last_updated.clone(),
                subject: v.subject.clone(),
                deleted: v.state == RecordState::Deleted,
                sha256: v.sha256.clone(),
            })
            .collect();
        match standing(&compared)? {
            Standing::One(i) => Some((came[i], false)),
            Standing::Conflict(i) => Some((came[i], true)),
        }
    }

    /// What came between two decisions and may have moved the second.
    fn between(
        &mut self,
        store: &dyn Store,
        (before, old): (&Decision, &Value),
        (after, new): (&Decision, &Value),
        stands_elsewhere: bool,
    ) -> Result<Vec<Cause>, StoreError> {
        let (was_named, is_named) = (named(old), named(new));
        for reference in was_named.union(&is_named) {
            self.learn_named(store, reference)?;
        }
        let (mut causes, mut others) = (Vec::new(), Vec::new());
        for (key, versions) in &self.records {
            let reference = format!("{}/{}", key.resource_type, key.id);
            let counts = was_named.contains(&reference) || is_named.contains(&reference);
            let (was, is) = (self.at(versions, &before.decided_at), self.at(versions, &after.decided_at));
            if was != is {
                let cause = self.arrived(reference, was, is);
                let of_identity = matches!(&*key.resource_type, "Patient" | "Linkage");
                match counts || (of_identity && stands_elsewhere) {
                    true => causes.push(cause),
                    false => others.push(cause),
                }
            } else if let Some((record, _)) = is
                && counts
                && was_named.contains(&reference) != is_named.contains(&reference)
                && record.subject.as_ref().is_some_and(|s| *s != self.subject)
            {
                // It was there already, and is counted for another subject than before.
                let mut cause = self.arrived(reference.clone(), None, is);
                cause.what = ATTACHED;
                if was_named.contains(&reference) {
                    cause.before = cause.after.take();
                }
                causes.push(cause);
            }
        }
        if let Some(to) = new["attachedTo"].as_str().filter(|_| old["attachedTo"] != new["attachedTo"]) {
            let was = old["attachedTo"].as_str().map(str::to_owned);
            causes.insert(0, Cause { before: was, ..outer(to, ATTACHED, (String::new(), to.to_owned())) });
        }
        // Nothing that the decisions name: whatever else came.
        if causes.is_empty() {
            causes = others;
        }
        causes.sort_by(|a, b| (a.receipt, &a.reference).cmp(&(b.receipt, &b.reference)));
        Ok(causes)
    }

    fn arrived(&self, reference: String, was: Option<(&Record, bool)>, is: Option<(&Record, bool)>) -> Cause {
        let versioned = |r: &Record| match &r.version_id {
            Some(version) => format!("{reference}/_history/{version}"),
            None => reference.clone(),
        };
        let gone = |(r, _): &(&Record, bool)| r.state == RecordState::Deleted;
        let what = match (&was, &is) {
            (_, Some(is)) if gone(is) => "deleted",
            (_, Some((is, false))) if is_withdrawn(&is.body) => "retracted",
            (Some(was), _) if !gone(was) => "corrected",
            _ => "new",
        };
        let row = is.and_then(|(r, _)| self.rows.get(&r.inbox_seq).map(|row| (r.inbox_seq, row)));
        Cause {
            before: was.filter(|w| !gone(w)).map(|(r, _)| versioned(r)),
            after: is.filter(|i| !gone(i)).map(|(r, _)| versioned(r)),
            what,
            receipt: row.map(|(seq, _)| seq),
            origin: row.map(|(_, (origin, _))| origin.clone()),
            received_at: row.map(|(_, (_, at))| at.clone()),
            reference,
        }
    }
}

/// Times of our own making; what is no time is not later.
fn is_later(a: &str, b: &str) -> bool {
    let instant = |text: &str| text.parse::<DateTime<Utc>>().ok();
    matches!((instant(a), instant(b)), (Some(a), Some(b)) if a > b)
}
