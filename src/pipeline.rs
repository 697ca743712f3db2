//! The one path, on one screen: what lies in the inbox becomes records; what changed is judged again.
//!
//! Everything here can be done again from the inbox and ends the same. Nothing here talks to a
//! server: sources end in the inbox, the write-back begins at the committed rows.

use crate::collection::{Loose, SharedFacts, Surroundings, path_of, reason, surroundings, type_of};
use crate::eligibility::{Screening, screen};
use crate::fact::{Fact, Gap, Reason};
use crate::fhir::bundle::{self, Content};
use crate::fhir::json::{self, JsonError};
use crate::fhir::reference::{is_id, type_and_id};
use crate::fhir::release::is_resource_type;
use crate::fhir::resource::Head;
use crate::fhir::text::Text;
use crate::mapping;
use crate::normalize::{Body, fhir};
use crate::protocol::Trial;
use crate::protocol::document::hex;
use crate::store::{
    FactRow, Fate, GapRow, InboxItem, InboxState, NewAudit, NewDecision, NewQuarantine, NewRecord, Record,
    RecordKey, RecordState, Settlement, Store, StoreError,
};
use chrono::{DateTime, NaiveDate, SecondsFormat, Utc};
use sha2::{Digest, Sha256};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// Inbox rows and subjects that are taken at a time.
const BATCH: usize = 256;

pub struct Pipeline {
    pub store: Arc<dyn Store>,
    pub trial: Arc<Trial>,
}

/// What a run of the pipeline changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Progressed {
    pub documents: usize,
    pub new: usize,
    pub changed: usize,
    pub same: usize,
    pub quarantined: usize,
    /// Subjects judged.
    pub judged: usize,
    /// Subjects whose decision is another one now: subject, before, after.
    pub decisions: Vec<(String, Option<String>, String)>,
}

/// UTC, RFC 3339 with `Z`.
pub fn stamp(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}

impl Pipeline {
    /// Digests the inbox and judges whoever is concerned.
    pub fn run(&self, now: DateTime<Utc>, as_of: NaiveDate) -> Result<Progressed, StoreError> {
        let mut done = Progressed::default();
        self.digest(now, &mut done)?;
        self.judge(now, as_of, &mut done)?;
        Ok(done)
    }

    /// Inbox to records.
    pub fn digest(&self, now: DateTime<Utc>, done: &mut Progressed) -> Result<(), StoreError> {
        loop {
            let items = self.store.pending(BATCH)?;
            if items.is_empty() {
                return Ok(());
            }
            for item in items {
                self.digest_one(&item, now, done)?;
            }
        }
    }

    fn digest_one(
        &self,
        item: &InboxItem,
        now: DateTime<Utc>,
        done: &mut Progressed,
    ) -> Result<(), StoreError> {
        let at = stamp(now);
        let mut intake = Intake::new(item, &at);
        let state = match intake.take() {
            Ok(()) => InboxState::Processed,
            Err(error) => {
                // The bytes stand in the inbox row itself.
                intake.quarantine(reason(&error), &path_of(&error), None);
                InboxState::Quarantined
            }
        };
        done.documents += 1;
        done.quarantined += intake.quarantine.len();
        let shared = intake.records.iter().map(|r| is_shared(&r.key.resource_type)).collect::<Vec<_>>();
        let fates = self.store.settle(Settlement {
            seq: item.seq,
            state,
            records: intake.records,
            quarantine: intake.quarantine,
            at: at.clone(),
        })?;
        let mut shared_changed = false;
        for (fate, shared) in fates.iter().zip(shared) {
            match fate {
                Fate::New => done.new += 1,
                Fate::Newer | Fate::Conflict => done.changed += 1,
                Fate::Same | Fate::Older => done.same += 1,
            }
            shared_changed |= shared && !matches!(fate, Fate::Same | Fate::Older);
        }
        if shared_changed {
            // A Medication or study tells nobody who refers to it: all are looked at again.
            let subjects = self.store.subjects()?;
            self.store.mark_dirty(subjects, &at)?;
        }
        Ok(())
    }

    /// What of a document cannot be used, as path and reason. Stores nothing.
    pub fn unusable(&self, item: &InboxItem) -> Vec<(String, String)> {
        let mut intake = Intake::new(item, "");
        if let Err(error) = intake.take() {
            intake.quarantine(reason(&error), &path_of(&error), None);
        }
        intake.quarantine.into_iter().map(|q| (q.path, q.reason)).collect()
    }

    /// Judges every subject that changed, and every subject last judged on another day: windows move.
    pub fn judge(
        &self,
        now: DateTime<Utc>,
        as_of: NaiveDate,
        done: &mut Progressed,
    ) -> Result<(), StoreError> {
        let day = as_of.to_string();
        let stale: Vec<String> = self
            .store
            .latest_decisions()?
            .into_iter()
            .filter(|d| d.as_of != day || d.definition != self.trial.hash)
            .map(|d| d.subject)
            .collect();
        if !stale.is_empty() {
            self.store.mark_dirty(stale, &stamp(now))?;
        }
        loop {
            let dirty = self.store.dirty(BATCH)?;
            if dirty.is_empty() {
                return Ok(());
            }
            for subject in dirty {
                let before = self.store.latest_decision(&subject.subject)?.map(|d| d.decision);
                let decision = self.decision(&subject.subject, now, as_of, Some(subject.change))?;
                let after = decision.decision.clone();
                self.store.put_decision(decision)?;
                done.judged += 1;
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
        change: Option<i64>,
    ) -> Result<NewDecision, StoreError> {
        let (screening, input) = self.screen(subject, as_of)?;
        let json = serde_json::to_string(&screening)
            .map_err(|e| StoreError::storage("writing a decision", std::io::Error::other(e)))?;
        let decision = screening.decision.word().to_owned();
        let audit = NewAudit {
            at: stamp(now),
            actor: "trialbridge".into(),
            role: "service".into(),
            action: "decide".into(),
            subject: Some(subject.to_owned()),
            detail: detail(&[
                ("decision", &decision),
                ("deciding", &screening.deciding.join(" ")),
                ("definition", &screening.definition),
                ("input", &input),
            ]),
        };
        Ok(NewDecision {
            subject: subject.to_owned(),
            as_of: as_of.to_string(),
            decided_at: stamp(now),
            decision,
            deciding: screening.deciding.clone(),
            definition: screening.definition.clone(),
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
            change,
            audit: vec![audit],
            outbox: Vec::new(),
        })
    }

    /// Screens a subject on what the store holds, and names the input by a hash.
    pub fn screen(&self, subject: &str, as_of: NaiveDate) -> Result<(Screening, String), StoreError> {
        let records = self.store.records_of(subject)?;
        let mut input = Sha256::new();
        let (mut facts, mut gaps, mut wanted) = (Vec::new(), Vec::new(), BTreeSet::new());
        for record in &records {
            note(&mut input, record);
            self.facts_of(record, &mut facts, &mut gaps);
        }
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
        for record in self.store.records_by_ids(&keys)? {
            note(&mut input, &record);
            let (mut found, mut ignored) = (Vec::new(), Vec::new());
            self.facts_of(&record, &mut found, &mut ignored);
            for fact in found {
                if let Fact::Shared(s) = fact {
                    shared.insert(format!("{}/{}", record.key.resource_type, record.key.id).into(), s);
                }
            }
        }
        let shared = SharedFacts(shared);
        let screening = screen(&self.trial, subject, as_of, &facts, &shared, gaps);
        Ok((screening, format!("sha256:{}", hex(&input.finalize()))))
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
                parsed.head.id = record.key.id.as_str().into();
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

fn note(input: &mut Sha256, record: &Record) {
    for part in [&record.key.resource_type, &record.key.id, &record.sha256] {
        input.update((part.len() as u64).to_be_bytes());
        input.update(part.as_bytes());
    }
}

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
    let text = |v: &serde_json::Value| v.as_str().map_or_else(|| v.to_string(), str::to_owned);
    screening
        .variables
        .0
        .iter()
        .map(|(name, v)| FactRow {
            variable: name.clone(),
            value: match (&v.value, &v.low, &v.high) {
                (Some(value), ..) => text(value),
                (None, low, high) => format!(
                    "{}..{}",
                    low.as_ref().map(text).unwrap_or_default(),
                    high.as_ref().map(text).unwrap_or_default()
                ),
            },
            unit: v.unit.clone(),
            effective: v.effective.clone(),
            source: match (&v.source, &v.version) {
                (Some(source), Some(version)) => format!("{source}/_history/{version}"),
                (Some(source), None) => source.clone(),
                _ => String::new(),
            },
            received: v.received.as_ref().map(|r| r.value.to_string()),
            received_unit: v.received.as_ref().and_then(|r| r.unit.as_deref().map(str::to_owned)),
        })
        .collect()
}

/// One inbox row, taken apart.
struct Intake<'a> {
    item: &'a InboxItem,
    at: &'a str,
    records: Vec<NewRecord>,
    quarantine: Vec<NewQuarantine>,
}

impl<'a> Intake<'a> {
    fn new(item: &'a InboxItem, at: &'a str) -> Self {
        Intake { item, at, records: Vec::new(), quarantine: Vec::new() }
    }

    /// An error means that nothing of the row could be read.
    fn take(&mut self) -> Result<(), JsonError> {
        let text = json::text(&self.item.bytes)?;
        if json::too_deep(text) {
            return Err(JsonError::TooDeep);
        }
        match json::read_shallow::<Head<'_>>(text)?.resource_type.as_deref() {
            Some("Bundle") => self.bundle(text, "")?,
            Some(_) => self.resource(text, None, &Surroundings::default(), ""),
            None => return Err(JsonError::Structure { path: "resourceType".into() }),
        }
        Ok(())
    }

    /// Takes in each entry; one that cannot be used leaves the others alone. The answer to a batch of
    /// searches holds Bundles.
    fn bundle(&mut self, text: &str, above: &str) -> Result<(), JsonError> {
        let pieces = bundle::split(text)?;
        let around = surroundings(&pieces);
        for piece in pieces {
            let path = if above.is_empty() { piece.path } else { format!("{above}.resource.{}", piece.path) };
            match piece.content {
                Ok(Content::Resource(text)) if type_of(text).as_deref() == Some("Bundle") => {
                    if let Err(error) = self.bundle(text, &path) {
                        self.quarantine(reason(&error), &path, Some(text));
                    }
                }
                // What a notification or an operation says of itself.
                Ok(Content::Resource(text))
                    if matches!(type_of(text).as_deref(), Some("Parameters" | "SubscriptionStatus")) => {}
                Ok(Content::Resource(text)) => {
                    self.resource(text, piece.full_url.as_deref(), &around, &path);
                }
                Ok(Content::Deletion(url)) => self.deletion(&url, &path),
                Ok(Content::Nothing) => {}
                Err(error) => self.quarantine(reason(&error), &path, None),
            }
        }
        Ok(())
    }

    fn resource(&mut self, text: &str, full_url: Option<&str>, around: &Surroundings, path: &str) {
        // The head and the subject are enough to store it; what is broken elsewhere is a gap later.
        let (resource_type, id, version_id, last_updated, subject) = match fhir::record_shallow(text) {
            Ok(record) => {
                let subject = record.subject.as_deref().and_then(|s| around.resolve(s));
                if matches!(record.body, Body::Other) && !is_resource_type(&record.head.resource_type) {
                    self.quarantine(Reason::UnknownType, path, Some(text));
                }
                let needs_one =
                    !matches!(record.body, Body::Medication { .. } | Body::Study { .. } | Body::Other);
                if subject.is_none() && needs_one && around.only_patient.is_none() {
                    self.quarantine(Reason::SubjectMissing, path, Some(text));
                }
                let h = record.head;
                (h.resource_type, h.id, h.version, h.last_updated, subject)
            }
            Err(error) => {
                self.quarantine(reason(&error), path, Some(text));
                let Ok(loose) = json::read::<Loose<'_>>(text) else { return };
                let subject = loose.subject.or(loose.patient).and_then(|r| r.reference);
                let subject = subject.as_deref().and_then(|s| around.resolve(s));
                let (Some(t), Some(id)) = (loose.resource_type, loose.id) else { return };
                // As a version of the resource: what an older one said may be corrected here, and is not
                // used any more.
                let meta = loose.meta.unwrap_or_default();
                let own = |text: Option<Text<'_>>| text.map(|t| Box::from(&*t));
                (Box::from(&*t), Box::from(&*id), own(meta.version_id), own(meta.last_updated), subject)
            }
        };
        if !id.is_empty() && !is_id(&id) {
            // An id is printed everywhere: one that is none could hold anything.
            self.quarantine(Reason::Structure, path, Some(text));
            return;
        }
        let id: String = if !id.is_empty() {
            id.into()
        } else if let Some(uuid) = full_url.and_then(|u| u.strip_prefix("urn:uuid:")) {
            uuid.to_owned()
        } else {
            hex(&Sha256::digest(text.as_bytes())[..8])
        };
        let subject = match &*resource_type {
            "Patient" => Some(format!("Patient/{id}")),
            _ => subject
                .or_else(|| (!is_shared(&resource_type)).then(|| around.only_patient.clone()).flatten()),
        };
        self.records.push(NewRecord {
            key: RecordKey { source: self.item.source.clone(), resource_type: resource_type.into(), id },
            version_id: version_id.map(String::from),
            last_updated: last_updated.map(String::from),
            subject,
            deleted: false,
            inbox_seq: self.item.seq,
            path: path.to_owned(),
            body: text.as_bytes().to_vec(),
        });
    }

    fn deletion(&mut self, url: &str, path: &str) {
        let Some((resource_type, id)) = type_and_id(url) else {
            self.quarantine(Reason::Unresolved, path, None);
            return;
        };
        self.records.push(NewRecord {
            key: RecordKey {
                source: self.item.source.clone(),
                resource_type: resource_type.to_owned(),
                id: id.to_owned(),
            },
            version_id: None,
            last_updated: Some(self.item.received_at.clone()),
            subject: None,
            deleted: true,
            inbox_seq: self.item.seq,
            path: path.to_owned(),
            body: Vec::new(),
        });
    }

    fn quarantine(&mut self, reason: Reason, path: &str, text: Option<&str>) {
        self.quarantine.push(NewQuarantine {
            inbox_seq: self.item.seq,
            reason: reason.code().to_owned(),
            path: path.to_owned(),
            bytes: text.map(|t| t.as_bytes().to_vec()),
            at: self.at.to_owned(),
        });
    }
}
