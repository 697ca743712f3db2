//! The one path, on one screen: what lies in the inbox becomes records; what changed is judged again.
//!
//! Everything here can be done again from the inbox and ends the same. Nothing here talks to a
//! server: sources end in the inbox, the write-back begins at the committed rows.

mod account;
pub mod changes;
mod deviation;
pub mod dossier;
pub mod intake;
pub mod poison;
pub mod questions;
#[cfg(test)]
mod tests;

use crate::collection::{SharedFacts, path_of, reason};
use crate::eligibility::{Screening, screen};
use crate::fact::{Fact, Gap, Reason};
use crate::fhir::json;
use crate::fhir::reference::type_and_id;
use crate::fhir::release::is_resource_type;
use crate::identity::{self, LinkKind, PersonLink, Stands};
use crate::mapping;
use crate::normalize::{Body, fhir};
use crate::protocol::Trial;
use crate::protocol::document::hex;
use crate::store::{
    FactRow, Fate, GapRow, InboxItem, InboxState, NewAudit, NewDecision, NewQuarantine, Record, RecordKey,
    RecordState, Settlement, Store, StoreError,
};
use chrono::{DateTime, NaiveDate, SecondsFormat, Utc};
use intake::Taken;
use sha2::{Digest, Sha256};
use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Inbox rows and subjects that are taken at a time.
const BATCH: usize = 64;
/// A document that makes the program fail is taken up so often, and then set aside.
const ATTEMPTS: i64 = 3;

pub struct Pipeline {
    pub store: Arc<dyn Store>,
    pub trial: Arc<Trial>,
    turn: Arc<Turn>,
    take: Take,
}

/// Whose turn it is, for all pipelines that share it: two at a time would do everything twice.
#[derive(Debug, Default)]
pub struct Turn {
    held: Mutex<()>,
    is_over: AtomicBool,
}

impl Turn {
    /// Nobody's any more: a run that has begun ends behind the document or subject in hand, and leaves
    /// the rest pending. For a program that is told to stop while much is waiting.
    pub fn end(&self) {
        self.is_over.store(true, Ordering::Relaxed);
    }

    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }
}

type Take = fn(&InboxItem, &Trial, &str, &str) -> Taken;

/// What a run of the pipeline changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Progressed {
    pub documents: usize,
    pub new: usize,
    pub changed: usize,
    pub same: usize,
    /// Entries that could not be read, or belong to nobody.
    pub quarantined: usize,
    /// Values set aside of resources that could be read.
    pub values: usize,
    /// Deviations opened.
    pub deviations: usize,
    /// Subjects judged.
    pub judged: usize,
    /// Subjects whose decision is another one now: subject, before, after.
    pub decisions: Vec<(String, Option<String>, String)>,
}

/// A subject screened, and what that rests on.
struct Screened<'t> {
    screening: Screening<'t>,
    /// Hash of the versioned inputs.
    input: String,
    /// How many records there were.
    records: usize,
    /// What was looked for among what belongs to nobody.
    reads: Vec<RecordKey>,
}

/// By which version of [`intake`] the records were made.
const INTAKE: &str = "intake.version";
/// Changes whenever the same document gives other records.
const INTAKE_VERSION: &str = "2";

/// For which day and under which definition everybody was judged, or marked for it, last.
const JUDGED_FOR: &str = "judged.for";

/// Under which site file everybody was judged last.
const SITE: &str = "judged.site";

/// The name under which what people record stands beside the hospital's servers.
pub const OWN_SOURCE: &str = "trialbridge";

/// What stands in place of a decision where the records count for another subject.
pub const ATTACHED: &str = "attached";

/// UTC, RFC 3339 with `Z`.
pub fn stamp(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}

impl Pipeline {
    pub fn new(store: Arc<dyn Store>, trial: Arc<Trial>) -> Pipeline {
        Pipeline { store, trial, turn: Arc::default(), take: intake::take }
    }

    /// Takes turns with the other pipelines that were given the same lock.
    pub fn taking_turns(self, turn: Arc<Turn>) -> Pipeline {
        Pipeline { turn, ..self }
    }

    /// Another way of taking documents apart, for tests of what a fault in it costs.
    #[cfg(test)]
    fn with_take(self, take: Take) -> Pipeline {
        Pipeline { take, ..self }
    }

    /// Digests the inbox and judges whoever is concerned.
    pub fn run(&self, now: DateTime<Utc>, as_of: NaiveDate) -> Result<Progressed, StoreError> {
        let _turn = self.turn.held.lock().unwrap_or_else(PoisonError::into_inner);
        self.read_anew(now)?;
        let mut done = Progressed::default();
        let newest = self.digest(now, &mut done)?;
        // What came in meanwhile counts already: a decision is never dated before what it rests on.
        self.judge(newest.map_or(now, |at| at.max(now)), as_of, &mut done)?;
        Ok(done)
    }

    /// Documents that an older program read otherwise are read again: versions that it told apart by their
    /// blanks would contradict those that come now.
    fn read_anew(&self, now: DateTime<Utc>) -> Result<(), StoreError> {
        if self.store.meta(INTAKE)?.as_deref() == Some(INTAKE_VERSION) {
            return Ok(());
        }
        tracing::warn!(
            event = "pipeline.replay",
            "this version reads documents otherwise: all are read again"
        );
        self.store.replay_all(NewAudit {
            at: stamp(now),
            actor: "trialbridge".into(),
            role: "service".into(),
            action: "replay".into(),
            subject: None,
            detail: detail(&[("intake", INTAKE_VERSION)]),
        })?;
        self.store.set_meta(INTAKE, INTAKE_VERSION)
    }

    /// The salt of this installation, which subjects known by an identifier are named with.
    pub fn salt(store: &dyn Store) -> Result<String, StoreError> {
        store.meta("identity.salt")?.ok_or_else(|| StoreError::not_found("salt of this installation"))
    }

    /// Inbox to records: all that is there when it begins, and nothing that comes later. Nobody is judged
    /// on a part of what was there, as a replay would have it, and nobody waits for a decision until no more
    /// is sent. Returns when the latest of the documents came.
    fn digest(&self, now: DateTime<Utc>, done: &mut Progressed) -> Result<Option<DateTime<Utc>>, StoreError> {
        let (at, salt) = (stamp(now), Self::salt(&*self.store)?);
        let (mut newest, last) = (None, self.store.last_inbox_row()?);
        loop {
            let mut items = self.store.pending(BATCH)?;
            items.retain(|item| item.seq <= last);
            if items.is_empty() || self.turn.is_over() {
                return Ok(newest);
            }
            let values_before = done.values;
            newest = newest.max(items.iter().filter_map(|i| i.received_at.parse().ok()).max());
            let mut settlements = Vec::with_capacity(items.len());
            for item in &items {
                match poison::guarded(|| (self.take)(item, &self.trial, &salt, &at)) {
                    Ok(taken) => {
                        done.values += taken.values;
                        settlements.push(settlement(item.seq, taken, &at));
                    }
                    Err(place) => {
                        tracing::error!(event = "pipeline.panic", inbox = item.seq, place);
                        if item.attempts + 1 < ATTEMPTS {
                            self.store.mark(item.seq, InboxState::Pending)?;
                        } else {
                            settlements.push(given_up(item.seq, place, &at));
                        }
                    }
                }
            }
            done.documents += settlements.len();
            let set_aside = settlements.iter().map(|s| s.quarantine.len()).sum::<usize>();
            done.quarantined += set_aside - (done.values - values_before);
            for fate in self.store.settle(settlements)?.iter().flatten() {
                match fate {
                    Fate::New => done.new += 1,
                    Fate::Newer | Fate::Conflict => done.changed += 1,
                    Fate::Same | Fate::Older => done.same += 1,
                }
            }
        }
    }

    /// What of a document cannot be used, as path and reason. Stores nothing.
    pub fn unusable(&self, item: &InboxItem) -> Result<Vec<(String, String)>, StoreError> {
        let salt = Self::salt(&*self.store)?;
        Ok(match poison::guarded(|| (self.take)(item, &self.trial, &salt, "")) {
            Ok(taken) => taken.quarantine.into_iter().map(|q| (q.path, q.reason)).collect(),
            Err(place) => vec![(place, Reason::ProcessingFailed.code().to_owned())],
        })
    }

    /// Judges every subject that changed, and nobody else; on another day or under another definition everybody
    /// who was judged before it: windows move.
    fn judge(&self, now: DateTime<Utc>, as_of: NaiveDate, done: &mut Progressed) -> Result<(), StoreError> {
        // Looked up once, not with every push: all decisions are of the day and definition of the last run.
        let judged_for = format!("{as_of} {}", self.trial.hash);
        if self.store.meta(JUDGED_FOR)?.as_deref() != Some(&*judged_for) {
            let stale = self.store.stale(&as_of.to_string(), &self.trial.hash)?;
            self.store.mark_dirty(stale, &stamp(now))?;
            self.store.set_meta(JUDGED_FOR, &judged_for)?;
        }
        // The same bytes may mean something else under another site file.
        if self.store.meta(SITE)?.as_deref() != Some(&*self.trial.site_hash) {
            self.store.mark_dirty(self.store.subjects()?, &stamp(now))?;
            self.store.set_meta(SITE, &self.trial.site_hash)?;
        }
        loop {
            let dirty = self.store.dirty(BATCH)?;
            if dirty.is_empty() {
                return Ok(());
            }
            for subject in dirty {
                if self.turn.is_over() {
                    return Ok(());
                }
                // A link may name somebody of whom nothing was received.
                if !self.store.is_named(&subject.subject)? {
                    self.store.clear_dirty(&subject.subject, subject.change)?;
                    continue;
                }
                let before = self.store.latest_decision(&subject.subject)?.map(|d| d.decision);
                let (decision, screening) = self.decision(&subject.subject, now, as_of, subject.change)?;
                let after = decision.decision.clone();
                // Before the decision, which takes the mark off: a crash between the two repeats this, and
                // what is known is not opened again.
                if screening.attached_to.is_none() {
                    done.deviations += self.watch(&subject.subject, now)?;
                }
                self.store.put_decision(decision)?;
                done.judged += 1;
                metrics::counter!("trialbridge_judged_total").increment(1);
                if before.as_deref() != Some(after.as_str()) {
                    done.decisions.push((subject.subject, before, after));
                }
            }
        }
    }

    fn decision(
        &self,
        subject: &str,
        now: DateTime<Utc>,
        as_of: NaiveDate,
        change: i64,
    ) -> Result<(NewDecision, Screening<'_>), StoreError> {
        let Screened { screening, input, records, reads } = self.screened(subject, as_of)?;
        let json = serde_json::to_string(&screening)
            .map_err(|e| StoreError::storage("writing a decision", std::io::Error::other(e)))?;
        let decision = match screening.attached_to {
            Some(_) => ATTACHED,
            None => screening.decision.word(),
        };
        let new = NewDecision {
            subject: subject.to_owned(),
            as_of: as_of.to_string(),
            decided_at: stamp(now),
            decision: decision.to_owned(),
            deciding: screening.deciding.clone(),
            definition: screening.definition.to_owned(),
            input,
            json,
            facts: fact_rows(&screening),
            gaps: screening
                .gaps
                .iter()
                .map(|g| GapRow {
                    reference: g.reference.to_string(),
                    reason: g.reason.code().to_owned(),
                    path: g.path.to_string(),
                })
                .collect(),
            change: Some(change),
            records,
            reads,
            outbox: Vec::new(),
        };
        Ok((new, screening))
    }

    /// Screens a subject on what the store holds of the person, and names the input by a hash.
    pub fn screen(&self, subject: &str, as_of: NaiveDate) -> Result<(Screening<'_>, String), StoreError> {
        self.screened(subject, as_of).map(|screened| (screened.screening, screened.input))
    }

    fn screened(&self, subject: &str, as_of: NaiveDate) -> Result<Screened<'_>, StoreError> {
        let mut input = Sha256::new();
        let group = self.store.group(subject)?;
        let (members, open) = match identity::stands(&group, subject) {
            Stands::Itself { members, open } => (members, open),
            Stands::AttachedTo(to) => {
                note(&mut input, &["attached-to", &to]);
                let nobody = SharedFacts(HashMap::new());
                let mut screening = screen(&self.trial, subject, as_of, &[], &nobody, []);
                screening.block(ATTACHED);
                screening.attached_to = Some(to);
                return Ok(Screened { screening, input: hash(input), records: 0, reads: Vec::new() });
            }
        };
        let mut records = Vec::new();
        for member in &members {
            records.extend(self.store.records_of(member)?);
        }
        let (mut facts, mut gaps, mut wanted) = (Vec::new(), Vec::new(), BTreeSet::new());
        for record in &records {
            note(&mut input, &[&record.key.resource_type, &record.key.id, &record.sha256]);
            self.facts_of(record, &mut facts, &mut gaps);
        }
        asked_already(&mut facts, &group.links);
        let (facts, disagree) = as_one_person(facts, subject, members.len());
        for fact in &facts {
            let reference = match fact {
                Fact::Finding(f) => f.medication.as_deref(),
                Fact::Participation(p) => p.study.as_deref(),
                Fact::Consent(c) => c.study.as_deref(),
                _ => None,
            };
            if let Some((resource_type, id)) = reference.and_then(type_and_id) {
                for source in records.iter().map(|r| &r.key.source).collect::<BTreeSet<_>>() {
                    wanted.insert((source.clone(), resource_type.to_owned(), id.to_owned()));
                }
            }
        }
        let keys: Vec<RecordKey> = wanted
            .into_iter()
            .map(|(source, resource_type, id)| RecordKey { source, resource_type, id })
            .collect();
        let mut shared = HashMap::new();
        let mut count = records.len();
        for record in self.store.records_by_ids(&keys)? {
            count += 1;
            note(&mut input, &[&record.key.resource_type, &record.key.id, &record.sha256]);
            let (mut found, mut ignored) = (Vec::new(), Vec::new());
            self.facts_of(&record, &mut found, &mut ignored);
            for fact in found {
                if let Fact::Shared(s) = fact {
                    shared.insert(format!("{}/{}", record.key.resource_type, record.key.id).into(), s);
                }
            }
        }
        let shared = SharedFacts(shared);
        let mut screening = screen(&self.trial, subject, as_of, &facts, &shared, gaps);
        for question in &open {
            note(&mut input, &[question.why.code(), &question.with]);
            screening.block(question.why.code());
        }
        if disagree {
            screening.block("person-disagrees");
        }
        Ok(Screened { screening, input: hash(input), records: count, reads: keys })
    }

    fn facts_of(&self, record: &Record, facts: &mut Vec<Fact>, gaps: &mut Vec<Gap>) {
        let reference = format!("{}/{}", record.key.resource_type, record.key.id);
        match record.state {
            RecordState::Deleted => return,
            RecordState::Conflict => {
                gaps.push(Gap {
                    reference: reference.into(),
                    reason: Reason::VersionConflict,
                    path: "meta.versionId".into(),
                    variable: None,
                    detail: None,
                });
                return;
            }
            RecordState::Current => {}
        }
        let read = json::text(&record.body).and_then(fhir::record);
        match read {
            Ok(mut parsed) => {
                parsed.head.id = record.key.id.clone().into();
                if matches!(parsed.body, Body::Other) && !is_resource_type(&parsed.head.resource_type) {
                    gaps.push(gap(&reference, Reason::UnknownType, &record.path, "resourceType"));
                    return;
                }
                let mapped = mapping::apply(&parsed, &self.trial);
                facts.extend(mapped.facts);
                gaps.extend(mapped.gaps);
            }
            Err(error) => gaps.push(gap(&reference, reason(&error), &record.path, &path_of(&error))),
        }
    }
}

/// Particulars of an audit entry.
pub fn detail(pairs: &[(&str, &str)]) -> String {
    let map: std::collections::BTreeMap<_, _> = pairs.iter().copied().collect();
    serde_json::to_string(&map).expect("a map of texts is JSON")
}

fn note(input: &mut Sha256, parts: &[&str]) {
    for part in parts {
        input.update((part.len() as u64).to_be_bytes());
        input.update(part.as_bytes());
    }
}

fn hash(input: Sha256) -> String {
    format!("sha256:{}", hex(&input.finalize()))
}

fn settlement(seq: i64, taken: Taken, at: &str) -> Settlement {
    let state = taken.state();
    Settlement { seq, state, records: taken.records, quarantine: taken.quarantine, at: at.to_owned() }
}

/// A document that makes the program fail must not hold up what comes after it.
fn given_up(seq: i64, place: String, at: &str) -> Settlement {
    let entry = NewQuarantine {
        inbox_seq: seq,
        reason: Reason::ProcessingFailed.code().to_owned(),
        path: place,
        bytes: None,
        at: at.to_owned(),
    };
    Settlement {
        seq,
        state: InboxState::Quarantined,
        records: Vec::new(),
        quarantine: vec![entry],
        at: at.to_owned(),
    }
}

/// A merge of which the links tell is asked about among them, and a person's answer counts. What else a
/// Patient says about having been replaced keeps it back by itself.
fn asked_already(facts: &mut [Fact], links: &[PersonLink]) {
    for fact in facts {
        let Fact::Person(person) = fact else { continue };
        let by = person.replaced_by.as_deref().and_then(type_and_id).map(|(t, id)| format!("{t}/{id}"));
        let told = |l: &PersonLink| {
            l.kind == LinkKind::ReplacedBy
                && *l.subject == *person.source.reference
                && Some(&l.other) == by.as_ref()
        };
        if links.iter().any(told) {
            person.replaced_by = None;
        }
    }
}

/// The Patients of one person as one, where there are several.
fn as_one_person(facts: Vec<Fact>, subject: &str, members: usize) -> (Vec<Fact>, bool) {
    if members < 2 {
        return (facts, false);
    }
    let (mut persons, mut others) = (Vec::new(), Vec::new());
    for fact in facts {
        match fact {
            Fact::Person(person) => persons.push(person),
            other => others.push(other),
        }
    }
    let (person, disagree) = identity::one_person(persons, subject);
    others.extend(person.map(Fact::Person));
    (others, disagree)
}

/// Belongs to nobody, and is referred to.
fn is_shared(resource_type: &str) -> bool {
    matches!(resource_type, "Medication" | "ResearchStudy")
}

fn gap(reference: &str, reason: Reason, entry: &str, path: &str) -> Gap {
    let full = match (entry.is_empty(), path.is_empty()) {
        (true, _) => path.to_owned(),
        (false, true) => format!("{entry}.resource"),
        (false, false) => format!("{entry}.resource.{path}"),
    };
    Gap { reference: reference.into(), reason, path: full.into(), variable: None, detail: None }
}

fn fact_rows(screening: &Screening) -> Vec<FactRow> {
    screening
        .variables
        .0
        .iter()
        .map(|(name, v)| FactRow {
            variable: (*name).to_owned(),
            value: match (&v.value, &v.low, &v.high) {
                (Some(value), ..) => value.to_string(),
                (None, low, high) => format!(
                    "{}..{}",
                    low.map(|v| v.to_string()).unwrap_or_default(),
                    high.map(|v| v.to_string()).unwrap_or_default()
                ),
            },
            unit: v.unit.map(str::to_owned),
            effective: v.effective.as_deref().map(str::to_owned),
            source: match (&v.source, &v.version) {
                (Some(source), Some(version)) => format!("{source}/_history/{version}"),
                (Some(source), None) => source.to_string(),
                _ => String::new(),
            },
            received: v.received.as_ref().map(|r| r.value.to_string()),
            received_unit: v.received.as_ref().and_then(|r| r.unit.as_deref().map(str::to_owned)),
        })
        .collect()
}
