//! The hash chain of the audit log, as the store asks for it: rows on one side, entries on the other.
//!
//! Invariant: one row, one spelling. The particulars of a row are a JSON object of texts in the order of
//! its keys, so that no byte of a row can change without its hash.

use super::{Anchor, AuditEntry, Chain, NewAudit};
use crate::audit::{self, Detail, Entry, Event, Head};
use std::sync::Arc;

/// The chain of [`audit`], and the anchor that belongs to it.
pub struct AuditChain {
    anchor: Option<Arc<dyn Anchor>>,
}

impl AuditChain {
    pub fn anchored(anchor: Arc<dyn Anchor>) -> AuditChain {
        AuditChain { anchor: Some(anchor) }
    }

    /// Nothing is written outside: for tools and measurements that keep no trial.
    pub fn unanchored() -> AuditChain {
        AuditChain { anchor: None }
    }
}

impl Chain for AuditChain {
    fn next(&self, previous: Option<(u64, &str)>, entry: &NewAudit) -> (u64, String, String) {
        // A number that no row can have: it matches no stored entry when the chain is checked, and it
        // cannot be stored, so that an action without its audit entry does not happen.
        let impossible = || (u64::MAX, String::new(), String::new());
        let head = match previous {
            Some((sequence, hash)) => match hash.parse() {
                Ok(hash) => Head { sequence, hash },
                Err(_) => return impossible(),
            },
            None => Head::EMPTY,
        };
        match event(entry).and_then(|event| audit::next(head, event).ok()) {
            Some(next) => (next.sequence, next.hash.to_string(), next.previous.to_string()),
            None => impossible(),
        }
    }

    fn anchor(&self) -> Option<&dyn Anchor> {
        self.anchor.as_deref()
    }
}

/// The particulars of a row, if they are spelled as they are written.
pub fn particulars(detail: &str) -> Option<Detail> {
    let read: Detail = serde_json::from_str(detail).ok()?;
    // A key given twice, an escape, a blank: another text for the same values.
    (serde_json::to_string(&read).ok()? == detail).then_some(read)
}

fn event(entry: &NewAudit) -> Option<Event> {
    Some(Event {
        at: entry.at.clone(),
        actor: entry.actor.clone(),
        role: entry.role.clone(),
        action: entry.action.clone(),
        subject: entry.subject.clone(),
        detail: particulars(&entry.detail)?,
    })
}

/// A stored row as the chain knows it; none if it holds what is never written.
pub fn entry(row: &AuditEntry) -> Option<Entry> {
    let Event { at, actor, role, action, subject, detail } = event(&row.entry)?;
    Some(Entry {
        sequence: row.sequence,
        at,
        actor,
        role,
        action,
        subject,
        detail,
        previous: row.previous.parse().ok()?,
        hash: row.hash.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_row_one_spelling() {
        let row = |detail: &str| NewAudit {
            at: "2026-03-01T08:00:00Z".into(),
            actor: "a".into(),
            role: "operator".into(),
            action: "x".into(),
            subject: None,
            detail: detail.into(),
        };
        let chain = AuditChain::unanchored();
        let good = r#"{"a":"1","b":"é\n"}"#;
        let (sequence, hash, previous) = chain.next(None, &row(good));
        assert_eq!(sequence, 1);
        let stored = AuditEntry { sequence, entry: row(good), previous, hash };
        assert_eq!(entry(&stored).map(|e| e.computed_hash() == e.hash), Some(true));
        for other in [
            r#"{"b":"é\n","a":"1"}"#,
            r#"{"a":"1", "b":"é\n"}"#,
            r#"{"a":"0","a":"1","b":"é\n"}"#,
            r#"{"a":"1","b":"\u00e9\n"}"#,
            r#"{"a":1}"#,
            "text",
            "",
        ] {
            assert_eq!(chain.next(None, &row(other)).0, u64::MAX, "{other}");
            assert_eq!(entry(&AuditEntry { entry: row(other), ..stored.clone() }), None, "{other}");
        }
        assert_eq!(entry(&AuditEntry { previous: String::new(), ..stored }), None);
    }
}
