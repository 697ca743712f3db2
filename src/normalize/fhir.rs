//! FHIR R4, R4B and R5 resources to records. Where the releases differ, both spellings are read.

use super::{Body, Date, Event, Given, Head, Record};
use crate::clinical::time::When;
use crate::fact::{Certainty, ConsentState, Kind, Sex};
use crate::fhir::json::{JsonError, read_shallow, too_deep};
use crate::fhir::release::is_type_name;
use crate::fhir::resource::*;
use crate::fhir::text::Text;
use serde::Deserialize;
use std::borrow::Cow;

/// Types that say something about a trial's criteria. All others are kept where they are pushed, and used for
/// nothing.
pub(crate) const TYPES: [&str; 14] = [
    "AllergyIntolerance",
    "Condition",
    "Consent",
    "Medication",
    "MedicationAdministration",
    "MedicationDispense",
    "MedicationRequest",
    "MedicationStatement",
    "Observation",
    "Patient",
    "Procedure",
    "QuestionnaireResponse",
    "ResearchStudy",
    "ResearchSubject",
];

/// The type of a resource. Most servers write it first; the others are read twice.
pub fn resource_type(text: &str) -> Option<&str> {
    let rest = text.trim_start().strip_prefix('{')?.trim_start().strip_prefix("\"resourceType\"")?;
    let rest = rest.trim_start().strip_prefix(':')?.trim_start().strip_prefix('"')?;
    let end = memchr::memchr2(b'"', b'\\', rest.as_bytes())?;
    (rest.as_bytes()[end] == b'"').then(|| &rest[..end])
}

/// Reads one resource. The text must hold nothing else.
pub fn record(text: &str) -> Result<Record<'_>, JsonError> {
    if too_deep(text) {
        return Err(JsonError::TooDeep);
    }
    record_shallow(text)
}

/// As [`record`], for a text whose depth has been checked.
pub fn record_shallow(text: &str) -> Result<Record<'_>, JsonError> {
    match resource_type(text) {
        Some(resource_type) => typed(resource_type, text),
        None => {
            let head: crate::fhir::resource::Head<'_> = read_shallow(text)?;
            match head.resource_type {
                Some(resource_type) => typed(&resource_type, text),
                None => Err(JsonError::Structure { path: "resourceType".into() }),
            }
        }
    }
}

fn typed<'a>(resource_type: &str, text: &'a str) -> Result<Record<'a>, JsonError> {
    match resource_type {
        "Patient" => patient(read_shallow(text)?),
        "Observation" => observation(read_shallow(text)?),
        "Condition" => condition(read_shallow(text)?),
        "Procedure" => procedure(read_shallow(text)?),
        "AllergyIntolerance" => allergy(read_shallow(text)?),
        "MedicationRequest" | "MedicationStatement" | "MedicationAdministration" | "MedicationDispense" => {
            let kind = Kind::from_name(resource_type).expect("the four types above are kinds");
            medication_use(kind, read_shallow(text)?)
        }
        "Medication" => {
            let m: Medication<'a> = read_shallow(text)?;
            Ok(Record {
                head: head("Medication", m.id, m.meta),
                subject: None,
                body: Body::Medication { code: m.code },
            })
        }
        "Consent" => consent(read_shallow(text)?),
        "ResearchSubject" => research_subject(read_shallow(text)?),
        "ResearchStudy" => {
            let s: ResearchStudy<'a> = read_shallow(text)?;
            Ok(Record {
                head: head("ResearchStudy", s.id, s.meta),
                subject: None,
                body: Body::Study { identifiers: s.identifier },
            })
        }
        "QuestionnaireResponse" => answers(read_shallow(text)?),
        other => {
            let h: crate::fhir::resource::Head<'a> = read_shallow(text)?;
            if !is_type_name(other) {
                return Err(JsonError::Structure { path: "resourceType".into() });
            }
            Ok(Record { head: head(other.to_owned(), h.id, h.meta), subject: None, body: Body::Other })
        }
    }
}

fn head<'a>(
    resource_type: impl Into<Cow<'a, str>>,
    id: Option<Text<'a>>,
    meta: Option<Meta<'a>>,
) -> Head<'a> {
    let meta = meta.unwrap_or_default();
    Head {
        resource_type: resource_type.into(),
        id: id.map_or(Cow::Borrowed(""), |id| id.0),
        version: meta.version_id,
        last_updated: meta.last_updated,
    }
}

fn date(text: &Option<Text<'_>>) -> Date {
    text.as_deref().map(When::parse)
}

fn period(period: &Option<Period<'_>>) -> Date {
    let p = period.as_ref()?;
    if p.start.is_none() && p.end.is_none() {
        return None;
    }
    Some(When::period(p.start.as_deref(), p.end.as_deref()))
}

fn first_code<'a, 'b>(concept: &'b Option<CodeableConcept<'a>>) -> Option<&'b str> {
    concept.as_ref()?.coding.iter().find_map(|c| c.code.as_deref())
}

/// Does any coding of the concept carry one of these codes? Hospitals add codes of their own in any
/// place.
fn says(concept: &Option<CodeableConcept<'_>>, codes: &[&str]) -> bool {
    concept
        .iter()
        .flat_map(|c| &c.coding)
        .any(|c| c.code.as_deref().is_some_and(|code| codes.contains(&code)))
}

fn subject(reference: Option<Reference<'_>>) -> Option<Text<'_>> {
    reference.and_then(|r| r.reference)
}

/// US Core and HL7 extensions for the sex recorded at birth.
const BIRTH_SEX: [&str; 3] = [
    "http://hl7.org/fhir/StructureDefinition/patient-birthSex",
    "http://hl7.org/fhir/us/core/StructureDefinition/us-core-birthsex",
    "http://hl7.org/fhir/us/core/StructureDefinition/us-core-sex",
];

fn patient(p: Patient<'_>) -> Result<Record<'_>, JsonError> {
    // Administrative gender is only a proxy: the sex recorded at birth is preferred.
    let at_birth = p
        .extension
        .iter()
        .find(|e| e.url.as_deref().is_some_and(|u| BIRTH_SEX.contains(&u)))
        .and_then(|e| e.value_code.as_deref());
    let sex = match at_birth.or(p.gender.as_deref()) {
        Some("F" | "female" | "248152002") => Some(Sex::Female),
        Some("M" | "male" | "248153007") => Some(Sex::Male),
        _ => None,
    };
    let deceased = match (&p.deceased_date_time, p.deceased_boolean) {
        (Some(text), _) => Some(When::parse(text).ok()),
        (None, Some(true)) => Some(None),
        _ => None,
    };
    let replaced_by = p
        .link
        .into_iter()
        .find(|l| l.link_type.as_deref() == Some("replaced-by"))
        .and_then(|l| l.other)
        .and_then(|o| o.reference);
    let head = head("Patient", p.id, p.meta);
    let subject = Some(Text(format!("Patient/{}", head.id).into()));
    let body = Body::Patient { birth: date(&p.birth_date), sex, deceased, replaced_by };
    Ok(Record { head, subject, body })
}

fn observation(o: Observation<'_>) -> Result<Record<'_>, JsonError> {
    let head = head("Observation", o.id, o.meta);
    if o.status.as_deref() == Some("entered-in-error") {
        return Ok(Record { head, subject: subject(o.subject), body: retracted("entered-in-error") });
    }
    let of_another = !o.focus.is_empty();
    let effective = date(&o.effective_date_time)
        .or_else(|| date(&o.effective_instant))
        .or_else(|| period(&o.effective_period));
    let has_members = !o.has_member.is_empty() || !o.component.is_empty();
    let mut values = Vec::with_capacity(1 + o.component.len());
    values.push(Component {
        code: o.code,
        value_quantity: o.value_quantity,
        value_codeable_concept: o.value_codeable_concept,
        value_string: o.value_string,
        value_boolean: o.value_boolean,
        value_integer: o.value_integer,
        value_range: o.value_range,
        data_absent_reason: o.data_absent_reason,
        interpretation: o.interpretation,
        reference_range: o.reference_range,
    });
    values.extend(o.component);
    let body =
        Body::Result { status: o.status, category: o.category, effective, values, has_members, of_another };
    Ok(Record { head, subject: subject(o.subject), body })
}

fn retracted<'a>(status: &'static str) -> Body<'a> {
    Body::Retracted { status }
}

/// R4 ConditionVerificationStatusCodes; the same for allergies. No status: the record states the
/// diagnosis without reservation.
fn certainty(status: &Option<CodeableConcept<'_>>) -> Result<Certainty, &'static str> {
    if says(status, &["entered-in-error"]) {
        Err("entered-in-error")
    } else if says(status, &["refuted"]) {
        Err("refuted")
    } else if says(status, &["unconfirmed", "provisional", "differential", "presumed"]) {
        Ok(Certainty::Unconfirmed)
    } else {
        Ok(Certainty::Confirmed)
    }
}

/// Of two contradicting codes the one that says it goes on is taken.
fn is_current(status: &Option<CodeableConcept<'_>>) -> Option<bool> {
    if says(status, &["active", "recurrence", "relapse"]) {
        Some(true)
    } else if says(status, &["inactive", "remission", "resolved"]) {
        Some(false)
    } else {
        None
    }
}

fn condition(c: Condition<'_>) -> Result<Record<'_>, JsonError> {
    let head = head("Condition", c.id, c.meta);
    let certainty = match certainty(&c.verification_status) {
        Ok(certainty) => certainty,
        Err(status) => return Ok(Record { head, subject: subject(c.subject), body: retracted(status) }),
    };
    let start = c
        .onset_date_time
        .as_deref()
        .or(c.onset_period.as_ref().and_then(|p| p.start.as_deref()))
        .or(c.recorded_date.as_deref());
    let end = c
        .abatement_date_time
        .as_deref()
        .or(c.abatement_period.as_ref().and_then(|p| p.end.as_deref().or(p.start.as_deref())));
    let has_end = end.is_some();
    let current = is_current(&c.clinical_status).or(if has_end { Some(false) } else { None });
    let when = (start.is_some() || has_end).then(|| When::period(start, end));
    let event = Event {
        kind: Kind::Condition,
        code: c.code,
        medication: None,
        certainty,
        current,
        when,
        routes: Vec::new(),
        category: None,
    };
    Ok(Record { head, subject: subject(c.subject), body: Body::Event(event) })
}

fn procedure(p: Procedure<'_>) -> Result<Record<'_>, JsonError> {
    let head = head("Procedure", p.id, p.meta);
    let certainty = match p.status.as_deref() {
        Some("entered-in-error") => Err("entered-in-error"),
        Some("not-done") => Err("not-done"),
        Some("completed" | "in-progress" | "stopped") => Ok(Certainty::Confirmed),
        _ => Ok(Certainty::Unconfirmed),
    };
    let certainty = match certainty {
        Ok(certainty) => certainty,
        Err(status) => return Ok(Record { head, subject: subject(p.subject), body: retracted(status) }),
    };
    let when = date(&p.performed_date_time)
        .or_else(|| period(&p.performed_period))
        .or_else(|| date(&p.occurrence_date_time))
        .or_else(|| period(&p.occurrence_period));
    let event = Event {
        kind: Kind::Procedure,
        code: p.code,
        medication: None,
        certainty,
        current: None,
        when,
        routes: Vec::new(),
        category: None,
    };
    Ok(Record { head, subject: subject(p.subject), body: Body::Event(event) })
}

fn allergy(a: AllergyIntolerance<'_>) -> Result<Record<'_>, JsonError> {
    let head = head("AllergyIntolerance", a.id, a.meta);
    let certainty = match certainty(&a.verification_status) {
        Ok(certainty) => certainty,
        Err(status) => return Ok(Record { head, subject: subject(a.patient), body: retracted(status) }),
    };
    // An intolerance is no allergy. R4 gives a code, R5 a CodeableConcept.
    let is_intolerance = a.allergy_type.is_some_and(|raw| {
        let text = raw.get();
        match text.strip_prefix('"') {
            Some(code) => code.trim_end_matches('"') == "intolerance",
            None => read_shallow::<CodeableConcept<'_>>(text)
                .is_ok_and(|c| c.coding.iter().any(|c| c.code.as_deref() == Some("intolerance"))),
        }
    });
    if is_intolerance {
        return Ok(Record { head, subject: subject(a.patient), body: Body::Other });
    }
    // One that is filed under drugs and food at once is neither for sure.
    let mut category = None;
    if let [only] = a.category.as_slice() {
        category = Some(only.clone());
    }
    let event = Event {
        kind: Kind::AllergyIntolerance,
        code: a.code,
        medication: None,
        certainty,
        current: is_current(&a.clinical_status),
        when: date(&a.onset_date_time).or_else(|| date(&a.recorded_date)),
        routes: Vec::new(),
        category,
    };
    Ok(Record { head, subject: subject(a.patient), body: Body::Event(event) })
}

fn medication_use(kind: Kind, m: MedicationUse<'_>) -> Result<Record<'_>, JsonError> {
    let head = head(kind.name(), m.id, m.meta);
    // Not given, not taken, never started: no exposure. What was stopped or is on hold was begun.
    let status = match m.status.as_deref() {
        Some("entered-in-error") => Err("entered-in-error"),
        Some("not-done") => Err("not-done"),
        Some("not-taken") => Err("not-taken"),
        Some("cancelled") => Err("cancelled"),
        Some("declined") => Err("declined"),
        Some("draft" | "intended" | "preparation" | "unknown") | None => Ok(Certainty::Unconfirmed),
        Some(_) => Ok(Certainty::Confirmed),
    };
    let certainty = match status {
        Ok(certainty) => certainty,
        Err(status) => return Ok(Record { head, subject: subject(m.subject), body: retracted(status) }),
    };
    if m.do_not_perform == Some(true) {
        return Ok(Record { head, subject: subject(m.subject), body: retracted("do-not-perform") });
    }
    // A proposal or a plan is not an order.
    let certainty = match m.intent.as_deref() {
        Some("proposal" | "plan" | "option") => Certainty::Unconfirmed,
        _ => certainty,
    };
    // R5: whether it is taken stands apart from the status of the record.
    let adherence = m.adherence.map(|a| a.code).unwrap_or_default();
    let certainty =
        if says(&adherence, &["not-taking", "unknown"]) { Certainty::Unconfirmed } else { certainty };
    // An order or a course that is active goes on, however long ago it began.
    let current = match (m.status.as_deref(), certainty) {
        (Some("active" | "in-progress"), Certainty::Confirmed) => Some(true),
        _ => None,
    };
    let mut dosages = m.dosage_instruction;
    if let Some(raw) = m.dosage {
        // One dosage in MedicationAdministration, a list in MedicationStatement.
        let text = raw.get();
        if text.trim_start().starts_with('[') {
            dosages.extend(read_shallow::<Vec<Dosage<'_>>>(text)?);
        } else {
            dosages.push(read_shallow(text)?);
        }
    }
    let bounds = dosages
        .iter()
        .find_map(|d| period(&d.timing.as_ref().and_then(|t| t.repeat.as_ref()?.bounds_period.clone())));
    // An order without an end says when it began and not when it ended: the span stays open.
    let ordered = m.authored_on.as_deref().map(|start| {
        let stopped = matches!(m.status.as_deref(), Some("completed" | "stopped" | "ended"));
        let given_once = kind != Kind::MedicationRequest || stopped;
        When::period(Some(start), if given_once { Some(start) } else { None })
    });
    let when = period(&m.effective_period)
        .or_else(|| date(&m.effective_date_time))
        .or_else(|| period(&m.occurence_period))
        .or_else(|| date(&m.occurence_date_time))
        .or(bounds)
        .or_else(|| date(&m.when_handed_over))
        .or_else(|| date(&m.when_prepared))
        .or(ordered);
    let routes = dosages.into_iter().filter_map(|d| d.route).collect();
    let (r5_concept, r5_reference) = m.medication.map_or((None, None), |c| (c.concept, c.reference));
    let mut code = m.medication_codeable_concept.or(r5_concept);
    let mut medication = m.medication_reference.or(r5_reference).and_then(|r| r.reference);
    if let Some(local) = medication.as_ref().and_then(|r| r.strip_prefix('#')) {
        let inside = m
            .contained
            .iter()
            .find(|c| c.id.as_deref() == Some(local) && c.resource_type.as_deref() == Some("Medication"));
        code = match inside.and_then(|c| c.code) {
            Some(raw) => Some(
                CodeableConcept::deserialize(&mut serde_json::Deserializer::from_str(raw.get()))
                    .map_err(|_| JsonError::Structure { path: "contained.code".into() })?,
            ),
            None => code,
        };
        medication = None;
    }
    let event = Event {
        kind,
        code: code.unwrap_or_default(),
        medication,
        certainty,
        current,
        when,
        routes,
        category: None,
    };
    Ok(Record { head, subject: subject(m.subject), body: Body::Event(event) })
}

/// Extension by which a resource says which study it belongs to.
const RESEARCH_STUDY: &str = "http://hl7.org/fhir/StructureDefinition/workflow-researchStudy";

fn consent(c: Consent<'_>) -> Result<Record<'_>, JsonError> {
    let head = head("Consent", c.id, c.meta);
    let person = subject(c.patient).or_else(|| subject(c.subject));
    let provision = match c.provision.map(|raw| raw.get()) {
        Some(text) if text.trim_start().starts_with('{') => Some(read_shallow::<Provision<'_>>(text)?),
        _ => None,
    };
    let denied = provision.as_ref().and_then(|p| p.provision_type.as_deref()) == Some("deny")
        || c.decision.as_deref() == Some("deny");
    let state = match c.status.as_deref() {
        Some("entered-in-error") => {
            return Ok(Record { head, subject: person, body: retracted("entered-in-error") });
        }
        Some("active") if !denied => ConsentState::Given,
        Some("active" | "rejected" | "inactive" | "not-done") => ConsentState::NotGiven,
        // draft, proposed, unknown: nothing has been decided.
        _ => return Ok(Record { head, subject: person, body: Body::Other }),
    };
    // R5 has no scope: there the category carries the same word. A Consent that says neither
    // may be about treatment or privacy and is not taken for research.
    const RESEARCH: [&str; 4] = ["research", "RESEARCH", "rsdid", "rsreid"];
    let about_research = |concept: &CodeableConcept<'_>| {
        concept.coding.iter().any(|c| c.code.as_deref().is_some_and(|code| RESEARCH.contains(&code)))
    };
    let research = c.scope.as_ref().is_some_and(about_research) || c.category.iter().any(about_research);
    let mut studies = Vec::new();
    let mut study_reference = None;
    for extension in c.extension {
        if extension.url.as_deref() == Some(RESEARCH_STUDY)
            && let Some(reference) = extension.value_reference
        {
            studies.extend(reference.identifier);
            study_reference = study_reference.or(reference.reference);
        }
    }
    let valid = provision.and_then(|p| p.period).or(c.period);
    let (starts, expires) = valid.map_or((None, None), |p| (date(&p.start), date(&p.end)));
    let body = Body::Consent {
        state,
        research,
        identifiers: c.identifier,
        studies,
        study_reference,
        when: date(&c.date_time).or_else(|| date(&c.date)),
        starts,
        expires,
    };
    Ok(Record { head, subject: person, body })
}

fn research_subject(r: ResearchSubject<'_>) -> Result<Record<'_>, JsonError> {
    let head = head("ResearchSubject", r.id, r.meta);
    let person = subject(r.individual).or_else(|| subject(r.subject));
    // R5: the latest state of `progress`; R4 and R4B: `status` itself.
    let progress = r.progress.iter().rev().find_map(|p| first_code(&p.subject_state));
    let state = progress.or(r.status.as_deref());
    let ongoing = matches!(
        state,
        Some("on-study" | "on-study-intervention" | "on-study-observation" | "follow-up" | "active")
    );
    let screening_only = matches!(
        state,
        Some(
            "candidate"
                | "potential-candidate"
                | "ineligible"
                | "not-registered"
                | "screening"
                | "draft"
                | "eligible"
        )
    );
    if state == Some("entered-in-error") {
        return Ok(Record { head, subject: person, body: retracted("entered-in-error") });
    }
    let when = period(&r.period).or_else(|| {
        let start = r.progress.iter().find_map(|p| p.start_date.as_deref());
        let end = r.progress.last().and_then(|p| p.end_date.as_deref());
        (start.is_some() || end.is_some()).then(|| When::period(start, end))
    });
    let (study, study_identifier) = r.study.map_or((None, None), |s| (s.reference, s.identifier));
    let body = Body::Participation {
        study,
        study_identifier,
        identifiers: r.identifier,
        screening_only,
        ongoing,
        when,
    };
    Ok(Record { head, subject: person, body })
}

fn answers(q: QuestionnaireResponse<'_>) -> Result<Record<'_>, JsonError> {
    let head = head("QuestionnaireResponse", q.id, q.meta);
    let person = subject(q.subject);
    match q.status.as_deref() {
        Some("completed" | "amended") => {}
        Some("entered-in-error") => {
            return Ok(Record { head, subject: person, body: retracted("entered-in-error") });
        }
        // in-progress, stopped: not yet anybody's word.
        _ => return Ok(Record { head, subject: person, body: Body::Other }),
    }
    let mut items = Vec::new();
    collect(q.item, &mut items);
    let body = Body::Answers { questionnaire: q.questionnaire, authored: date(&q.authored), items };
    Ok(Record { head, subject: person, body })
}

fn collect<'a>(from: Vec<Item<'a>>, into: &mut Vec<(String, Given<'a>)>) {
    for item in from {
        if let Some(link) = &item.link_id {
            for answer in item.answer {
                let given = if let Some(yes) = answer.value_boolean {
                    Given::YesNo(yes)
                } else if let Some(code) = answer.value_coding.and_then(|c| c.code) {
                    Given::Code(code)
                } else if let Some(words) = answer.value_string {
                    Given::Words(words)
                } else {
                    continue;
                };
                into.push((link.to_string(), given));
            }
        }
        collect(item.item, into);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a type list leaves out would be lost in silence, so all types that FHIR has are tried.
    #[test]
    fn the_types_that_are_used_are_those_that_have_a_body() {
        for name in crate::fhir::release::RESOURCE_TYPES {
            let text =
                format!(r#"{{"resourceType":"{name}","id":"a","status":"entered-in-error","code":{{}}}}"#);
            let is_used = !matches!(record(&text), Ok(Record { body: Body::Other, .. }));
            assert_eq!(is_used, TYPES.contains(name), "{name}");
        }
    }
}
