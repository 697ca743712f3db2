//! Signatures: stored together with the action that they are for, or not at all.

use super::super::Result;
use super::super::error::StoreError;
use super::super::rows::*;
use super::{rows, run, sha256_hex};
use rusqlite::{Connection, Row, params};
use std::collections::BTreeMap;

/// Stores a signature inside the transaction of its action. Returns it as it is bound to its record.
pub(super) fn put(c: &Connection, new: &NewSignature) -> Result<Signature> {
    let record_sha256 = sha256_hex(new.record.as_bytes());
    run(
        c,
        "storing a signature",
        "INSERT INTO signature (actor, printed_name, role, meaning, subject, record, record_sha256, method, at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        params![
            new.actor,
            new.printed_name,
            new.role,
            new.meaning,
            new.subject,
            new.record,
            record_sha256,
            new.method.name(),
            new.at
        ],
    )?;
    Ok(Signature { id: c.last_insert_rowid(), record_sha256, signed: new.clone() })
}

/// How an audit entry names the signature of its action, and what was signed.
pub(super) fn named(signature: &Signature) -> [(&'static str, String); 2] {
    [("signature", signature.id.to_string()), ("record", signature.record_sha256.clone())]
}

/// The audit entry of a signed action: its detail names the signature and the hash of what was signed.
pub(super) fn bind(signature: &Signature, entry: &NewAudit) -> Result<NewAudit> {
    let unreadable = |e| StoreError::storage("binding an audit entry to its signature", e);
    let mut detail: BTreeMap<String, String> = serde_json::from_str(&entry.detail).map_err(unreadable)?;
    detail.extend(named(signature).map(|(key, value)| (key.to_owned(), value)));
    let detail = serde_json::to_string(&detail).map_err(unreadable)?;
    Ok(NewAudit { detail, ..entry.clone() })
}

/// All, or those of one subject; the oldest first.
pub(super) fn all(c: &Connection, subject: Option<&str>) -> Result<Vec<Signature>> {
    let sql = "SELECT * FROM signature WHERE ?1 IS NULL OR subject = ?1 ORDER BY id";
    rows(c, "reading signatures", sql, [subject], read)
}

fn read(r: &Row<'_>) -> rusqlite::Result<Signature> {
    let method: String = r.get("method")?;
    Ok(Signature {
        id: r.get("id")?,
        record_sha256: r.get("record_sha256")?,
        signed: NewSignature {
            actor: r.get("actor")?,
            printed_name: r.get("printed_name")?,
            role: r.get("role")?,
            meaning: r.get("meaning")?,
            subject: r.get("subject")?,
            record: r.get("record")?,
            method: SignatureMethod::named(&method),
            at: r.get("at")?,
        },
    })
}
