//! Who is who: identifiers, links and aliases of the versions that stand.

use super::super::Result;
use super::super::rows::*;
use super::{row, rows, run, word};
use rusqlite::{Connection, params};
use std::collections::{BTreeMap, BTreeSet};

const DOING: &str = "reading who is who";

/// Of a [`Group`] at most so many subjects are followed: more are not one person, and a mistake in
/// the data must not stop everything else.
const MEMBERS: usize = 64;

/// Keeps what a version says. Returns whether its subject's key is seen for the first time to stand for
/// an identifier, which lasts whatever becomes of the version.
pub(super) fn remember(c: &Connection, history_seq: i64, record: &NewRecord) -> Result<bool> {
    let mut is_new_alias = false;
    let doing = "storing who is who";
    let identity = &record.identity;
    if let Some(subject) = &record.subject {
        for identifier in &identity.identifiers {
            run(
                c,
                doing,
                "INSERT OR IGNORE INTO person_identifier (history_seq, subject, system, value)
                 VALUES (?1, ?2, ?3, ?4)",
                params![history_seq, subject, identifier.system, identifier.value],
            )?;
        }
        if let Some(alias) = &identity.alias {
            let added = run(
                c,
                doing,
                "INSERT OR IGNORE INTO person_alias (subject, system, value) VALUES (?1, ?2, ?3)",
                params![subject, alias.system, alias.value],
            )?;
            is_new_alias = added == 1;
        }
    }
    for link in &identity.links {
        run(
            c,
            doing,
            "INSERT OR IGNORE INTO person_link (history_seq, kind, subject, other) VALUES (?1, ?2, ?3, ?4)",
            params![history_seq, link.kind.word(), link.subject, link.other],
        )?;
    }
    Ok(is_new_alias)
}

/// The subjects that one version names, or that carry what it carries.
pub(super) fn named(c: &Connection, history_seq: i64) -> Result<Vec<String>> {
    rows(
        c,
        DOING,
        "SELECT subject FROM person_link WHERE history_seq = ?1
          UNION SELECT other FROM person_link WHERE history_seq = ?1
          UNION SELECT o.subject FROM person_identifier i
                  JOIN person_identifier o ON o.system = i.system AND o.value = i.value
                 WHERE i.history_seq = ?1
          UNION SELECT a.subject FROM person_identifier i
                  JOIN person_alias a ON a.system = i.system AND a.value = i.value
                 WHERE i.history_seq = ?1",
        [history_seq],
        |r| r.get(0),
    )
}

/// Whom identifiers and links of standing versions connect with a subject.
pub(super) fn group(c: &Connection, subject: &str) -> Result<Group> {
    let mut members: BTreeMap<String, Member> = BTreeMap::new();
    let mut links: BTreeSet<PersonLink> = BTreeSet::new();
    let mut waiting = vec![subject.to_owned()];
    while let Some(subject) = waiting.pop() {
        if members.len() >= MEMBERS || members.contains_key(&subject) {
            continue;
        }
        let member = member(c, &subject)?;
        for identifier in member.identifiers.iter().chain(&member.alias) {
            waiting.extend(carriers(c, identifier)?);
        }
        for link in linked(c, &subject)? {
            waiting.push(link.subject.clone());
            waiting.push(link.other.clone());
            links.insert(link);
        }
        members.insert(subject, member);
    }
    Ok(Group { members: members.into_values().collect(), links: links.into_iter().collect() })
}

fn identifier(r: &rusqlite::Row<'_>) -> rusqlite::Result<PersonIdentifier> {
    Ok(PersonIdentifier { system: r.get("system")?, value: r.get("value")? })
}

fn member(c: &Connection, subject: &str) -> Result<Member> {
    let id = subject.strip_prefix("Patient/").unwrap_or(subject);
    let sql =
        "SELECT EXISTS (SELECT 1 FROM record WHERE subject = ?1 AND resource_type = 'Patient' AND id = ?2
                                 AND state <> 'deleted'),
                EXISTS (SELECT 1 FROM allocation WHERE subject = ?1)";
    let both = row(c, DOING, sql, [subject, id], |r| Ok((r.get(0)?, r.get(1)?)))?;
    let (has_patient, is_allocated) = both.unwrap_or((false, false));
    Ok(Member {
        is_allocated,
        subject: subject.to_owned(),
        has_patient,
        alias: row(
            c,
            DOING,
            "SELECT system, value FROM person_alias WHERE subject = ?1",
            [subject],
            identifier,
        )?,
        identifiers: rows(
            c,
            DOING,
            "SELECT DISTINCT i.system, i.value FROM person_identifier i
               JOIN record r ON r.history_seq = i.history_seq
              WHERE i.subject = ?1 AND r.state <> 'deleted' ORDER BY i.system, i.value",
            [subject],
            identifier,
        )?,
    })
}

fn carriers(c: &Connection, identifier: &PersonIdentifier) -> Result<Vec<String>> {
    rows(
        c,
        DOING,
        "SELECT i.subject FROM person_identifier i JOIN record r ON r.history_seq = i.history_seq
          WHERE i.system = ?1 AND i.value = ?2 AND r.state <> 'deleted'
          UNION SELECT subject FROM person_alias WHERE system = ?1 AND value = ?2",
        [&identifier.system, &identifier.value],
        |r| r.get(0),
    )
}

fn linked(c: &Connection, subject: &str) -> Result<Vec<PersonLink>> {
    rows(
        c,
        DOING,
        "SELECT l.kind, l.subject, l.other FROM person_link l JOIN record r ON r.history_seq = l.history_seq
          WHERE l.subject = ?1 AND r.state <> 'deleted'
          UNION
         SELECT l.kind, l.subject, l.other FROM person_link l JOIN record r ON r.history_seq = l.history_seq
          WHERE l.other = ?1 AND r.state <> 'deleted'",
        [subject],
        |r| Ok(PersonLink { kind: word(r, "kind")?, subject: r.get("subject")?, other: r.get("other")? }),
    )
}
