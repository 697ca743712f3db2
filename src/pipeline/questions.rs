//! Questions of identity that are open, and the answer that a person gives to one.
//!
//! A question names two subjects and why somebody has to look; never the identifier that they share.

use super::detail;
use crate::identity::{self, Stands};
use crate::protocol::Trial;
use crate::protocol::document::hex;
use crate::store::{Allocation, NewAudit, NewDeviation, Store, StoreError};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// Two subjects about whom a person has to say whether they are one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Question {
    /// Why it is asked: a code of `blocked`.
    pub kind: String,
    /// The one that was randomized, where one of them was.
    pub subject: String,
    pub other: String,
    /// Time of the first decision in a row that it blocked.
    pub since: Option<String>,
    /// Who cannot become eligible before it is answered.
    pub blocks: Vec<String>,
    /// Who of them has an allocation.
    pub allocated: Vec<String>,
}

/// What keeps a subject back besides the criteria, of a stored decision.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Blocked {
    blocked: Vec<String>,
}

fn blocked(json: &str) -> Vec<String> {
    serde_json::from_str::<Blocked>(json).unwrap_or_default().blocked
}

/// Every open question once, ordered by its subjects.
///
/// # Errors
/// Those of the store.
pub fn open(store: &dyn Store, trial: &Trial) -> Result<Vec<Question>, StoreError> {
    let allocated: Vec<String> = store.allocations(&trial.study.id)?.into_iter().map(|a| a.subject).collect();
    let mut found: BTreeMap<(String, String, String), Question> = BTreeMap::new();
    for decision in store.latest_decisions()? {
        let codes = blocked(&decision.json);
        if codes.is_empty() {
            continue;
        }
        let subject = &decision.subject;
        let Stands::Itself { members, open } = identity::stands(&store.group(subject)?, subject) else {
            continue;
        };
        let between = open.into_iter().map(|o| (o.why.code().to_owned(), o.with, true));
        // Among records that are put together already.
        let disagree = codes.iter().any(|c| c == "person-disagrees");
        let others = members.iter().filter(|m| disagree && *m != subject);
        let within = others.map(|m| ("person-disagrees".to_owned(), m.clone(), false));
        for (kind, other, is_between) in between.chain(within) {
            let is_second = allocated.contains(&other) && !allocated.contains(subject);
            let ordered = match (is_second, allocated.contains(subject) && !allocated.contains(&other)) {
                (true, _) => (other.clone(), subject.clone()),
                (_, true) => (subject.clone(), other.clone()),
                _ => (subject.min(&other).clone(), subject.max(&other).clone()),
            };
            let key = (ordered.0.clone(), ordered.1.clone(), kind.clone());
            if found.contains_key(&key) {
                continue;
            }
            let question = Question {
                since: since(store, subject, &kind)?,
                blocks: if is_between {
                    vec![ordered.0.clone(), ordered.1.clone()]
                } else {
                    vec![subject.clone()]
                },
                allocated: [&ordered.0, &ordered.1]
                    .into_iter()
                    .filter(|s| allocated.contains(s))
                    .cloned()
                    .collect(),
                kind,
                subject: ordered.0,
                other: ordered.1,
            };
            found.insert(key, question);
        }
    }
    Ok(found.into_values().collect())
}

fn since(store: &dyn Store, subject: &str, kind: &str) -> Result<Option<String>, StoreError> {
    let history = store.decision_history(subject)?;
    let asked = history.iter().rev().take_while(|d| blocked(&d.json).iter().any(|code| code == kind));
    Ok(asked.last().map(|d| d.decided_at.clone()))
}

/// The id of the Linkage about two subjects, whichever is named first: a later word replaces an earlier.
pub fn linkage_id(subject: &str, other: &str) -> String {
    let (a, b) = (subject.min(other), subject.max(other));
    let digest = Sha256::digest(format!("trialbridge/linkage/v1\n{a}\n{b}"));
    format!("link-{}", &hex(&digest)[..16])
}

/// A person's word: `other` belongs to `subject`, which goes on, or they are two persons.
///
/// # Source
/// FHIR R4 linkage.html, in our words: `source` is the record that is kept as the truth, `alternate` the
/// one that is superseded.
pub fn linkage(subject: &str, other: &str, same: bool, at: &str) -> Value {
    json!({
        "resourceType": "Linkage",
        "id": linkage_id(subject, other),
        "meta": {"lastUpdated": at},
        "active": same,
        "item": [
            {"type": "source", "resource": {"reference": subject}},
            {"type": "alternate", "resource": {"reference": other}}
        ]
    })
}

/// One person was randomized twice: what is opened on each of the allocations.
pub fn enrolled_twice(allocation: &Allocation, other: &str, by: &str, at: &str) -> NewDeviation {
    NewDeviation {
        subject: allocation.subject.clone(),
        allocation_id: allocation.id.clone(),
        opened_at: at.to_owned(),
        kind: "enrolled-twice".into(),
        reference: other.to_owned(),
        detail: json!({"other": other}).to_string(),
        audit: NewAudit {
            at: at.to_owned(),
            actor: by.to_owned(),
            role: "investigator".into(),
            action: "deviation.open".into(),
            subject: Some(allocation.subject.clone()),
            detail: detail(&[("kind", "enrolled-twice"), ("reference", other)]),
        },
    }
}
