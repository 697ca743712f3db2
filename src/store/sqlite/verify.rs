//! Everything that can be checked without a key. Looks, and repairs nothing.

use super::super::rows::*;
use super::super::{AnchorFault, Result};
use super::anchor::Anchoring;
use super::{audit, covered, rows, sha256_hex, trouble};
use rusqlite::Connection;

/// Rules that a query can check: its rows name the places where the rule is broken. What only the reader of a
/// document can check, that its records are there, is `Pipeline::unaccounted`.
const RULES: &[(&str, &str)] = &[
    (
        "one-slot-a-participant",
        "SELECT 'allocation list ' || list_id || ': a participant with ' || count(*) || ' allocations'
           FROM allocation GROUP BY list_id, subject HAVING count(*) > 1",
    ),
    (
        "positions-without-hole",
        "SELECT 'allocation list ' || list_id || ': ' || count(*) || ' allocations of a stratum on positions '
                || min(position) || ' to ' || max(position)
           FROM allocation GROUP BY list_id, stratum
         HAVING min(position) <> 1 OR max(position) <> count(*) OR count(DISTINCT position) <> count(*)",
    ),
    (
        "numbers-without-hole",
        "SELECT 'allocation list ' || list_id || ': ' || count(*) || ' allocations with the numbers '
                || min(number) || ' to ' || max(number)
           FROM allocation GROUP BY list_id
         HAVING min(number) <> 1 OR max(number) <> count(*) OR count(DISTINCT number) <> count(*)",
    ),
    (
        "list-complete",
        "SELECT 'allocation list ' || l.id || ': ' || count(s.position) || ' slots instead of ' || l.slots
           FROM allocation_list l LEFT JOIN allocation_slot s ON s.list_id = l.id
          GROUP BY l.id HAVING count(s.position) <> l.slots",
    ),
    (
        "slots-without-hole",
        "SELECT 'allocation list ' || list_id || ': ' || count(*) || ' slots of a stratum on positions '
                || min(position) || ' to ' || max(position)
           FROM allocation_slot GROUP BY list_id, stratum HAVING min(position) <> 1 OR max(position) <> count(*)",
    ),
    (
        "allocation-within-total",
        "SELECT 'allocation list ' || l.id || ': more allocations than were planned' FROM allocation_list l
          WHERE (SELECT count(*) FROM allocation a WHERE a.list_id = l.id) > l.total",
    ),
    // Allocations of earlier versions have neither; every later one has both.
    (
        "allocation-is-signed",
        "SELECT 'allocation ' || a.id || ': its signature is missing or of another' FROM allocation a
          WHERE NOT (a.signature IS NULL AND a.leaf = '')
            AND (a.leaf = '' OR NOT EXISTS (SELECT 1 FROM signature s WHERE s.id = a.signature
                                               AND s.subject = a.subject AND s.actor = a.actor))",
    ),
    (
        "record-has-inbox-row",
        "SELECT 'record_history ' || h.seq || ': no inbox row ' || h.inbox_seq FROM record_history h
          WHERE NOT EXISTS (SELECT 1 FROM inbox i WHERE i.seq = h.inbox_seq)",
    ),
    (
        "record-has-version",
        "SELECT 'record ' || r.rowid || ': its version is not in the history' FROM record r
          WHERE NOT EXISTS (SELECT 1 FROM record_history h WHERE h.seq = r.history_seq AND h.sha256 = r.sha256
                               AND h.source = r.source AND h.resource_type = r.resource_type AND h.id = r.id)",
    ),
    (
        "decision-current",
        "SELECT 'decision ' || max(d.seq) || ': is the latest of its subject, but another is marked current'
           FROM decision d LEFT JOIN decision_current n ON n.subject = d.subject
          GROUP BY d.subject HAVING max(d.seq) IS NOT max(n.decision_seq)",
    ),
    (
        "allocation-has-decision",
        "SELECT 'allocation ' || a.id || ': its decision is missing or another' FROM allocation a
          WHERE NOT EXISTS (SELECT 1 FROM decision d WHERE d.seq = a.decision_seq AND d.subject = a.subject
                               AND d.input = a.decided_input AND d.definition = a.definition)",
    ),
    (
        "inbox-state",
        "SELECT 'inbox ' || seq || ': neither pending, processed nor quarantined' FROM inbox
          WHERE state NOT IN ('pending', 'processed', 'quarantined')",
    ),
    // Rows are numbered one by one and never deleted: a missing number is a missing receipt.
    (
        "inbox-without-hole",
        "SELECT 'inbox: ' || count(*) || ' rows with the numbers ' || min(seq) || ' to ' || max(seq) FROM inbox
         HAVING count(*) > 0 AND (min(seq) <> 1 OR max(seq) <> count(*))",
    ),
    // Whatever is looked into is counted, in the transaction that stores what came of it.
    (
        "processed-was-read",
        "SELECT 'inbox ' || seq || ': is processed, but was never looked into' FROM inbox
          WHERE state = 'processed' AND attempts = 0",
    ),
    (
        "quarantined-has-entry",
        "SELECT 'inbox ' || i.seq || ': is quarantined, and no entry says why' FROM inbox i
          WHERE i.state = 'quarantined' AND NOT EXISTS (SELECT 1 FROM quarantine q WHERE q.inbox_seq = i.seq)",
    ),
    (
        "message-key-of-row",
        "SELECT 'message_key ' || k.inbox_seq || ': no inbox row of its origin and source' FROM message_key k
          WHERE NOT EXISTS (SELECT 1 FROM inbox i WHERE i.seq = k.inbox_seq AND i.origin = k.origin
                               AND i.source = k.source)",
    ),
    // The first row of a key holds it; a later one is set aside, and nothing ever comes of it.
    (
        "message-key-once",
        "SELECT 'inbox ' || i.seq || ': its key is that of an earlier row, and it is not set aside'
           FROM message_key k JOIN inbox i ON i.seq = k.inbox_seq
          WHERE EXISTS (SELECT 1 FROM message_key first WHERE first.origin = k.origin AND first.source = k.source
                           AND first.key = k.key AND first.inbox_seq < k.inbox_seq)
            AND (i.state <> 'quarantined'
                 OR NOT EXISTS (SELECT 1 FROM quarantine q WHERE q.inbox_seq = i.seq AND q.reason = 'control-id-reuse')
                 OR EXISTS (SELECT 1 FROM record_history h WHERE h.inbox_seq = i.seq))",
    ),
    (
        "deviation-has-allocation",
        "SELECT 'deviation ' || d.id || ': no allocation of its subject' FROM deviation d
          WHERE NOT EXISTS (SELECT 1 FROM allocation a WHERE a.id = d.allocation_id AND a.subject = d.subject)",
    ),
];

/// Key, hash and bytes of every row that has a hash.
const HASHES: &[(&str, &str, &str)] = &[
    ("inbox-hash", "inbox", "SELECT seq, sha256, bytes FROM inbox ORDER BY seq"),
    ("record-hash", "record_history", "SELECT seq, sha256, body FROM record_history ORDER BY seq"),
    (
        "quarantine-hash",
        "quarantine",
        "SELECT q.id, q.sha256, ifnull(q.bytes, i.bytes) FROM quarantine q LEFT JOIN inbox i ON i.seq = q.inbox_seq
          ORDER BY q.id",
    ),
    (
        "signature-hash",
        "signature",
        "SELECT id, record_sha256, CAST(record AS BLOB) FROM signature ORDER BY id",
    ),
];

const COUNT_BY_STATE: &str = "SELECT count(*) FILTER (WHERE state = 'pending'),
        count(*) FILTER (WHERE state = 'processed'), count(*) FILTER (WHERE state = 'quarantined') FROM inbox";

/// What was found so far. A check that cannot even read is a finding like others, and the next one
/// goes on.
#[derive(Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, check: &'static str, places: Result<Vec<String>>) {
        let messages = places.unwrap_or_else(|error| vec![error.to_string()]);
        self.0.extend(messages.into_iter().map(|message| Finding { check, message }));
    }

    fn number(&mut self, check: &'static str, number: Result<i64>) -> i64 {
        number.unwrap_or_else(|error| {
            self.add(check, Err(error));
            0
        })
    }
}

pub(super) fn verify(c: &Connection, chain: &dyn Chain, anchoring: &Anchoring) -> VerifyReport {
    let mut findings = Findings::default();
    let mut notes = Vec::new();

    // Before anything else is read: what another process commits and anchors meanwhile is not in the moment of
    // the database that this transaction sees, and would look like a log that was cut off.
    let stands = anchoring.compare(c);
    let integrity = rows(c, "checking the database", "PRAGMA integrity_check", [], |r| r.get(0));
    findings.add(
        "integrity",
        integrity.map(|lines: Vec<String>| lines.into_iter().filter(|l| l != "ok").collect()),
    );
    let references = rows(c, "checking references", "PRAGMA foreign_key_check", [], |r| {
        Ok(format!("{} {}: refers to a row that is not there", r.get::<_, String>(0)?, r.get::<_, i64>(1)?))
    });
    findings.add("references", references);
    for (check, sql) in RULES {
        findings.add(check, rows(c, "checking the rules", sql, [], |r| r.get(0)));
    }
    for (check, table, sql) in HASHES {
        let other = other_bytes(c, sql).map(|keys| {
            keys.into_iter().map(|key| format!("{table} {key}: its bytes do not have its hash")).collect()
        });
        findings.add(check, other);
    }
    let broken = audit::walk(c, chain, None).map(|walked| {
        let told = walked.broken.map(|n| format!("audit {n}: does not follow from the entry before it"));
        told.into_iter().collect()
    });
    findings.add("audit-chain", broken);
    let coverage = covered::coverage(c).map(|coverage| {
        notes.extend(coverage.note());
        coverage.findings
    });
    findings.add("audit-covers", coverage);
    let anchored = stands.map(|stands| {
        let text = stands.refusal().map(|refusal| refusal.text);
        match stands.fault.is_some_and(AnchorFault::is_evidence) {
            true => text.into_iter().collect(),
            false => {
                notes.extend(text);
                Vec::new()
            }
        }
    });
    findings.add("audit-anchor", anchored);

    let count = |sql: &str| c.query_row(sql, [], |r| r.get::<_, i64>(0)).map_err(trouble("counting"));
    let inbox = c.query_row(COUNT_BY_STATE, [], |r| {
        Ok(InboxCounts { pending: r.get(0)?, processed: r.get(1)?, quarantined: r.get(2)? })
    });
    let inbox = inbox.map_err(trouble("counting the inbox")).unwrap_or_else(|error| {
        findings.add("inbox-count", Err(error));
        InboxCounts::default()
    });
    let total = findings.number("inbox-count", count("SELECT count(*) FROM inbox"));
    if inbox.total() != total {
        let message = format!("inbox: {total} rows, of which {} are accounted for", inbox.total());
        findings.add("inbox-count", Ok(vec![message]));
    }
    VerifyReport {
        inbox,
        records: findings.number("records", count("SELECT count(*) FROM record")),
        allocations: findings.number("allocations", count("SELECT count(*) FROM allocation")),
        audit_entries: findings.number("audit", count("SELECT count(*) FROM audit")),
        findings: findings.0,
        notes,
    }
}

/// Keys of the rows whose bytes do not have the hash beside them. One row in memory at a time.
fn other_bytes(c: &Connection, sql: &str) -> Result<Vec<i64>> {
    let query = || -> rusqlite::Result<Vec<i64>> {
        let mut statement = c.prepare(sql)?;
        let mut found = Vec::new();
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            // Damage may have changed a type: whatever is not bytes has no hash.
            let right = row.get_ref(2)?.as_blob().is_ok_and(|bytes| {
                row.get_ref(1).is_ok_and(|hash| hash.as_str() == Ok(sha256_hex(bytes).as_str()))
            });
            if !right {
                found.push(row.get(0)?);
            }
        }
        Ok(found)
    };
    query().map_err(trouble("checking hashes"))
}
