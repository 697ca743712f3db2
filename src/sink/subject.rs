//! ResearchSubject: how it is built, and how it is brought up to date without taking anything from
//! other authors.
//!
//! R4 and R4B: `individual`, the state as `status`, `assignedArm`, one `consent`.
//! R5: `subject`, the state as the open `progress` entry, `assignedComparisonGroup`, several `consent`;
//! `status` is a publication status there.

use super::element::{CodeableConcept, Identifier, Period, Reference, bytes};
use super::release::Release;
use super::stored::{Merge, Stored, same_resource};
use super::wanted::SubjectState;
use chrono::NaiveDate;
use serde::Serialize;

/// System of the identifier by which we find a participant again.
pub const IDENTIFIER_SYSTEM: &str = "urn:trialbridge:subject";

// # Source
// > http://terminology.hl7.org/CodeSystem/research-subject-state
// > https://hl7.org/fhir/R5/researchsubject-definitions.html#ResearchSubject.progress.subjectState
const STATE_SYSTEM: &str = "http://terminology.hl7.org/CodeSystem/research-subject-state";

/// A participant, ready to be written: references are those of the hospital's server.
pub struct Subject<'a> {
    pub key: &'a str,
    /// `ResearchStudy/x`
    pub study: &'a str,
    /// `Patient/x`
    pub patient: &'a str,
    pub state: SubjectState,
    pub since: NaiveDate,
    /// The arm's name (R4), its group's `linkId` (R5) or an opaque code; `None` writes no arm.
    pub arm: Option<&'a str>,
    pub consent: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Progress {
    subject_state: CodeableConcept,
    start_date: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ResearchSubject<'a> {
    resource_type: &'static str,
    identifier: [Identifier; 1],
    status: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    progress: Vec<Progress>,
    period: Period,
    study: Reference,
    #[serde(skip_serializing_if = "Option::is_none")]
    individual: Option<Reference>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<Reference>,
    #[serde(skip_serializing_if = "Option::is_none")]
    assigned_arm: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    assigned_comparison_group: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    consent: Option<Consent>,
}

/// One in R4 and R4B, several in R5.
#[derive(Serialize)]
#[serde(untagged)]
enum Consent {
    One(Reference),
    Several([Reference; 1]),
}

/// The subject as it is created.
pub fn build(release: Release, subject: &Subject<'_>) -> Vec<u8> {
    let r5 = release.is_r5();
    let since = day(subject.since);
    let patient = Reference::to(subject.patient);
    let withdrawn = subject.state == SubjectState::Withdrawn;
    bytes(&ResearchSubject {
        resource_type: "ResearchSubject",
        identifier: [Identifier::new(IDENTIFIER_SYSTEM, subject.key)],
        status: if r5 { "active" } else { subject.state.code() },
        progress: if r5 { vec![progress(subject.state, &since)] } else { Vec::new() },
        period: Period { start: Some(since.clone()), end: withdrawn.then_some(since) },
        study: Reference::to(subject.study),
        individual: (!r5).then(|| patient.clone()),
        subject: r5.then_some(patient),
        assigned_arm: subject.arm.filter(|_| !r5),
        assigned_comparison_group: subject.arm.filter(|_| r5),
        consent: subject
            .consent
            .map(Reference::to)
            .map(|c| if r5 { Consent::Several([c]) } else { Consent::One(c) }),
    })
}

fn day(date: NaiveDate) -> String {
    date.format("%Y-%m-%d").to_string()
}

fn progress(state: SubjectState, since: &str) -> Progress {
    Progress {
        subject_state: CodeableConcept::coded(STATE_SYSTEM, state.code(), Some(state.display())),
        start_date: since.to_owned(),
    }
}

/// What to do about the state that the hospital shows.
#[derive(Debug, PartialEq, Eq)]
enum Course {
    Agrees,
    Write,
    Human(&'static str),
}

/// The hospital's own staff moves a participant on (infusion given, follow-up begun). A later step of
/// the same course agrees with ours; an end, or a start that we know nothing of, is for people.
fn course(theirs: &str, ours: SubjectState) -> Course {
    use SubjectState::{Eligible, OnStudy, Withdrawn};
    match (theirs, ours) {
        (theirs, ours) if theirs == ours.code() => Course::Agrees,
        ("on-study-intervention" | "on-study-observation" | "follow-up", OnStudy) => Course::Agrees,
        ("off-study", Withdrawn) | ("pending-on-study", Eligible) => Course::Agrees,
        ("off-study" | "withdrawn", OnStudy) => Course::Human("participation-ended"),
        (_, OnStudy | Withdrawn) => Course::Write,
        ("on-study" | "on-study-intervention" | "on-study-observation" | "follow-up" | "off-study", _) => {
            Course::Human("hospital-is-ahead")
        }
        _ => Course::Write,
    }
}

/// Brings a stored subject up to date. Everything that is not named here is left as it is.
///
/// - A subject of another patient or study stops the merge: identities are never re-keyed.
/// - An arm that differs from the committed allocation is set right and noticed; an arm where none may
///   be shown is left for people (`arm-present`), since taking it back would only hide that it was seen.
/// - `period.start` is written once.
pub fn merge(release: Release, stored: &Stored, subject: &Subject<'_>) -> Merge {
    let r5 = release.is_r5();
    let mut merge = Merge::of(stored);
    let person = if r5 { "subject" } else { "individual" };
    for (element, wanted, differs) in [
        (person, subject.patient, "subject-patient-differs"),
        ("study", subject.study, "subject-study-differs"),
    ] {
        match stored.reference(element) {
            Some(there) if same_resource(&there, wanted) => {}
            Some(_) => {
                merge.stop = Some(differs);
                return merge;
            }
            None => merge.set(element, &Reference::to(wanted)),
        }
    }
    if !stored.has_identifier(IDENTIFIER_SYSTEM, subject.key) {
        let mut identifiers = stored.objects("identifier");
        identifiers.push(Stored::from_value(&Identifier::new(IDENTIFIER_SYSTEM, subject.key)));
        merge.set("identifier", &identifiers);
    }
    if r5 {
        state_r5(&mut merge, stored, subject)
    } else {
        state_r4(&mut merge, stored, subject)
    }
    period(&mut merge, stored, r5, subject);
    let arm = if r5 { "assignedComparisonGroup" } else { "assignedArm" };
    match (stored.text(arm), subject.arm) {
        (None, Some(wanted)) => merge.set(arm, &wanted),
        (Some(there), Some(wanted)) if there != wanted => {
            merge.set(arm, &wanted);
            merge.notices.push("assigned-arm-corrected");
        }
        (Some(_), None) => merge.human = Some("arm-present"),
        _ => {}
    }
    if let Some(wanted) = subject.consent {
        consent(&mut merge, stored, r5, wanted);
    }
    merge
}

fn state_r4(merge: &mut Merge, stored: &Stored, subject: &Subject<'_>) {
    match course(&state_shown(false, stored), subject.state) {
        Course::Agrees => {}
        Course::Write => merge.set("status", &subject.state.code()),
        Course::Human(code) => merge.human = Some(code),
    }
}

/// The present state is the last entry of `progress` that is open and coded in the state system. It is
/// closed, never rewritten, and ours is added after it.
fn state_r5(merge: &mut Merge, stored: &Stored, subject: &Subject<'_>) {
    if stored.text("status").as_deref() != Some("active") {
        merge.set("status", &"active");
    }
    let mut entries = stored.objects("progress");
    let open = open_entry(&entries);
    match course(&state_shown(true, stored), subject.state) {
        Course::Agrees => {}
        Course::Human(code) => merge.human = Some(code),
        Course::Write => {
            let since = day(subject.since);
            if let Some(open) = open {
                entries[open].set("endDate", &since);
            }
            entries.push(Stored::from_value(&progress(subject.state, &since)));
            merge.set("progress", &entries);
        }
    }
}

fn open_entry(entries: &[Stored]) -> Option<usize> {
    entries.iter().rposition(|e| e.get("endDate").is_none() && state_of(e).is_some())
}

fn state_of(entry: &Stored) -> Option<String> {
    let codings = entry.object("subjectState")?.objects("coding");
    codings.iter().find(|c| c.text("system").as_deref() == Some(STATE_SYSTEM))?.text("code")
}

/// The state that the hospital shows; empty where it shows none.
fn state_shown(r5: bool, stored: &Stored) -> String {
    if r5 {
        let entries = stored.objects("progress");
        open_entry(&entries).and_then(|i| state_of(&entries[i])).unwrap_or_default()
    } else {
        stored.text("status").unwrap_or_default()
    }
}

fn period(merge: &mut Merge, stored: &Stored, r5: bool, subject: &Subject<'_>) {
    let withdrawn = subject.state == SubjectState::Withdrawn;
    let since = day(subject.since);
    let mut period = stored.object("period").unwrap_or_default();
    let mut changed = false;
    if period.get("start").is_none() {
        period.set("start", &since);
        changed = true;
    }
    if withdrawn && period.get("end").is_none() {
        period.set("end", &since);
        changed = true;
    }
    // Taken back into screening: the end that our own withdrawal wrote no longer holds.
    if !withdrawn && merge.human.is_none() && state_shown(r5, stored) == SubjectState::Withdrawn.code() {
        changed |= period.remove("end");
    }
    if changed {
        merge.set("period", &period);
    }
}

fn consent(merge: &mut Merge, stored: &Stored, r5: bool, wanted: &str) {
    let is_ours = |c: &Stored| c.text("reference").is_some_and(|r| same_resource(&r, wanted));
    if r5 {
        let mut consents = stored.objects("consent");
        if !consents.iter().any(is_ours) {
            consents.push(Stored::from_value(&Reference::to(wanted)));
            merge.set("consent", &consents);
        }
    } else if !stored.object("consent").as_ref().is_some_and(is_ours) {
        merge.set("consent", &Reference::to(wanted));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whose_state_holds() {
        use Course::{Agrees, Human, Write};
        use SubjectState::*;
        let ended = Human("participation-ended");
        let ahead = Human("hospital-is-ahead");
        let table = [
            // theirs,               ours,       course
            ("", Screening, Write),
            ("candidate", Screening, Write),
            ("screening", Screening, Agrees),
            ("screening", Eligible, Write),
            ("eligible", Ineligible, Write),
            ("ineligible", Eligible, Write),
            ("pending-on-study", Eligible, Agrees),
            ("pending-on-study", OnStudy, Write),
            ("screening", OnStudy, Write),
            ("eligible", OnStudy, Write),
            ("on-study", OnStudy, Agrees),
            ("on-study-intervention", OnStudy, Agrees),
            ("on-study-observation", OnStudy, Agrees),
            ("follow-up", OnStudy, Agrees),
            ("off-study", OnStudy, ended),
            ("withdrawn", OnStudy, Human("participation-ended")),
            ("on-study", Withdrawn, Write),
            ("follow-up", Withdrawn, Write),
            ("off-study", Withdrawn, Agrees),
            ("on-study", Screening, ahead),
            ("off-study", Eligible, Human("hospital-is-ahead")),
            ("withdrawn", Screening, Write),
        ];
        for (theirs, ours, expected) in table {
            assert_eq!(course(theirs, ours), expected, "{theirs} {ours:?}");
        }
    }
}
