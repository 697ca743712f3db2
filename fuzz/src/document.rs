//! Whole documents, as a file, a push or a page of results brings them.

use super::{is_path, trial};
use chrono::NaiveDate;
use serde_json::Value;
use trialbridge::cli;
use trialbridge::collection::Collection;
use trialbridge::fhir::bundle::{self, Content};
use trialbridge::fhir::json;
use trialbridge::fhir::reference::is_id;
use trialbridge::mapping;
use trialbridge::normalize::fhir;
use trialbridge::pipeline::intake::{HL7_V2, Taken, take, without_blanks};
use trialbridge::store::{InboxItem, InboxState};

/// Most lines of one input: the rest says nothing new and takes time.
const LINES: usize = 24;

fn day() -> NaiveDate {
    NaiveDate::from_ymd_opt(2026, 11, 22).expect("a day")
}

fn is_subject(key: &str) -> bool {
    key.strip_prefix("Patient/").is_some_and(is_id)
}

/// Screenings as JSON, by subject; panics where a key is none or a place repeats content.
fn judged<'a>(lines: impl Iterator<Item = &'a [u8]>) -> Vec<String> {
    let mut collection = Collection::new(trial());
    for line in lines {
        let _ = collection.add(line, "line");
    }
    for orphan in collection.orphans() {
        assert!(is_path(&orphan.path), "{orphan:?}");
    }
    let settled = collection.settle();
    for (subject, all) in &settled.subjects {
        assert!(is_subject(subject), "{subject:?} is no key of a patient");
        for gap in &all.gaps {
            let kind = gap.reference.split('/').next().unwrap_or_default();
            assert!(is_path(&gap.path) && is_path(kind), "{gap:?}");
        }
    }
    settled.screen(day()).map(|s| serde_json::to_string(&s).expect("a screening is JSON")).collect()
}

/// NDJSON into a collection: what comes out depends neither on the order of the lines nor on how often
/// they come.
pub fn collection(data: &[u8]) {
    let lines: Vec<&[u8]> =
        data.split(|b| *b == b'\n').filter(|l| !l.trim_ascii().is_empty()).take(LINES).collect();
    let once = judged(lines.iter().copied());
    if once.is_empty() {
        return;
    }
    assert_eq!(once, judged(lines.iter().rev().copied()), "in reverse");
    assert_eq!(once, judged(lines.iter().chain(&lines).copied()), "twice");
}

/// A row of the inbox.
fn row(media_type: &str, data: &[u8]) -> InboxItem {
    InboxItem {
        seq: 1,
        received_at: "2026-11-22T00:00:00.000Z".into(),
        origin: "push".into(),
        source: "http://127.0.0.1/fhir".into(),
        media_type: media_type.into(),
        sha256: String::new(),
        bytes: data.to_vec(),
        state: InboxState::Pending,
        attempts: 0,
    }
}

/// Takes a row apart, twice: the same each time, everything under keys that hold nothing of a person, and
/// refused with a word if at all.
fn taken(item: &InboxItem) -> Taken {
    let taken = take(item, trial(), "salt", "");
    let again = take(item, trial(), "salt", "");
    assert_eq!(format!("{:?}", taken.entries), format!("{:?}", again.entries));
    assert!(taken.state() == InboxState::Processed || !taken.quarantine.is_empty(), "refused without a word");
    for record in &taken.records {
        assert!(is_id(&record.key.id), "{:?} is no id", record.key);
        let kind = &record.key.resource_type;
        assert!(!kind.is_empty() && kind.bytes().all(|b| b.is_ascii_alphabetic()), "{:?}", record.key);
        assert!(record.subject.as_deref().is_none_or(is_subject), "{:?}", record.subject);
        assert!(is_path(&record.path), "{:?}", record.path);
        assert!(std::str::from_utf8(&record.body).is_ok(), "a record is text");
        assert!(record.identity.links.iter().all(|l| is_subject(&l.subject) && is_subject(&l.other)));
    }
    for put_aside in &taken.quarantine {
        assert!(is_path(&put_aside.path), "{put_aside:?}");
        assert!(put_aside.reason.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'));
    }
    for entry in &taken.entries {
        assert!(entry.problems.iter().all(|p| is_path(&p.path)), "{entry:?}");
        assert!(entry.id.is_empty() || is_id(&entry.id) || !entry.is_taken(), "{entry:?}");
    }
    taken
}

/// Types that say something of a message and nothing of a patient: nothing is kept of them.
const ENVELOPES: [&str; 4] = ["Parameters", "SubscriptionStatus", "OperationOutcome", "MessageHeader"];

/// A document of FHIR that was pushed: no entry is dropped; bytes as received.
pub fn intake(data: &[u8]) {
    let taken = taken(&row("application/fhir+json", data));
    let Ok(text) = json::text(data) else { return };
    // References inside a Bundle are made literal; all else but blanks is as it came.
    if !text.contains("fullUrl") {
        let received = String::from_utf8(without_blanks(text)).unwrap_or_default();
        for record in &taken.records {
            assert!(received.contains(std::str::from_utf8(&record.body).unwrap_or_default()), "as received");
        }
    }
    if taken.whole.is_none()
        && let Ok(Value::Object(object)) = serde_json::from_str::<Value>(text)
        && object.get("resourceType").and_then(Value::as_str) == Some("Bundle")
        && let Ok(pieces) = bundle::split(text)
    {
        for piece in pieces {
            match piece.content {
                // A Bundle in a Bundle may be empty.
                Ok(Content::Resource(text)) if text.contains("Bundle") => continue,
                Ok(Content::Resource(text)) if ENVELOPES.iter().any(|e| text.contains(e)) => continue,
                Ok(Content::Nothing) => continue,
                Ok(Content::Resource(_) | Content::Deletion(_)) | Err(_) => {}
            }
            let there = &piece.path;
            assert!(taken.entries.iter().any(|e| e.path == *there), "{there} was dropped");
        }
    }
}

/// An HL7 v2 message, converted and taken in: what comes out of the conversion is FHIR that is read.
pub fn hl7_intake(data: &[u8]) {
    let taken = taken(&row(HL7_V2, data));
    for record in &taken.records {
        let text = std::str::from_utf8(&record.body).unwrap_or_default();
        let read =
            fhir::record(text).unwrap_or_else(|e| panic!("converted to what is not read: {e}: {text}"));
        assert_eq!(*read.head.resource_type, *record.key.resource_type);
        assert_eq!(mapping::apply(&read, trial()), mapping::apply(&read, trial()));
    }
}

/// A line for `score`: the same answer twice, ranges in order, and an error that does not repeat it.
pub fn score_line(data: &[u8]) {
    let read = || cli::score::line(data, trial());
    match (read(), read()) {
        (Ok(one), Ok(two)) => {
            for (name, score) in one.scores.iter() {
                assert!(score.low <= score.high || score.high.is_none(), "{name}: {score:?}");
                assert!(score.class_low <= score.class_high, "{name}: {score:?}");
            }
            let text = |line| serde_json::to_string(line).expect("an answer is JSON");
            assert_eq!(text(&one), text(&two));
        }
        (Err(one), Err(two)) => {
            assert_eq!(one, two);
            assert!(one.is_ascii() && one.len() < 300, "{one:?}");
        }
        (one, two) => panic!("{one:?}, then {two:?}"),
    }
}

/// The table of attestations: every line is taken or named; the order of the lines does not show.
pub fn attestations(data: &[u8]) {
    let read = |data: &[u8]| {
        let mut collection = Collection::new(trial());
        let (attested, problems) = cli::files::attestations(data, "a.csv", trial()).ok()?;
        for (subject, fact, key) in attested {
            collection.attest(&subject, fact, &key);
        }
        for problem in &problems {
            assert!(problem.place.starts_with("a.csv") && problem.text.is_ascii(), "{problem:?}");
        }
        let settled = collection.settle();
        for subject in settled.subjects.keys() {
            assert!(is_subject(subject), "{subject:?} is no key of a patient");
        }
        let screenings: Vec<String> =
            settled.screen(day()).map(|s| serde_json::to_string(&s).expect("JSON")).collect();
        Some((screenings, problems.len()))
    };
    let Some((screenings, problems)) = read(data) else { return };
    // Quotes may hold line ends: only without them is a line a row.
    if data.contains(&b'"') || data.contains(&b'\r') {
        return;
    }
    let mut lines = data.split(|b| *b == b'\n').filter(|l| !l.is_empty());
    let Some(head) = lines.next() else { return };
    let mut rest: Vec<&[u8]> = lines.collect();
    rest.push(head);
    rest.reverse();
    let turned = read(&rest.join(&b'\n'));
    assert_eq!(turned, Some((screenings, problems)), "in reverse");
}
