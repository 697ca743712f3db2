//! PID and MRG: who it is about. Identifiers, birth date, sex and death are taken; name, address,
//! telephone number and whatever else stands there is not.

use super::{Context, MessageProblem, Problem, bad_escape};
use crate::fact::Reason;
use crate::hl7v2::ack::ErrorCode;
use crate::hl7v2::message::{BadEscape, Repetition, Segment};
use crate::hl7v2::time;
use serde_json::{Value, json};

/// A patient as a message names one.
pub(super) struct Person {
    /// All identifiers, as system and value, without repetition.
    identifiers: Vec<(String, String)>,
    /// Which of them names the patient.
    chosen: usize,
}

impl Person {
    /// Of PID-3.
    pub(super) fn read(context: &Context<'_>, pid: Segment<'_>) -> Result<Person, MessageProblem> {
        Person::read_field(context, pid, 3)
    }

    /// Of a field of identifiers (type CX, repeating).
    pub(super) fn read_field(
        context: &Context<'_>,
        segment: Segment<'_>,
        number: usize,
    ) -> Result<Person, MessageProblem> {
        let field = segment.field(number);
        let problem = |code, text: &str| MessageProblem::new(code, field.location(), text);
        let mut identifiers: Vec<(String, String)> = Vec::new();
        for repetition in field.repetitions() {
            let read = identifier(context, repetition)
                .map_err(|_| problem(ErrorCode::DataTypeError, "an escape sequence that cannot be read"))?;
            if let Some(identifier) = read
                && !identifiers.contains(&identifier)
            {
                identifiers.push(identifier);
            }
            if identifiers.len() > MAX_IDENTIFIERS {
                return Err(problem(ErrorCode::DataTypeError, "more identifiers than a patient can have"));
            }
        }
        if identifiers.is_empty() {
            let text = "no identifier says which patient it is";
            return Err(problem(ErrorCode::RequiredFieldMissing, text));
        }
        let wanted = context.site.patient_identifier.as_deref();
        let chosen = identifiers.iter().position(|(system, _)| Some(system.as_str()) == wanted).unwrap_or(0);
        Ok(Person { identifiers, chosen })
    }

    fn chosen(&self) -> (&str, &str) {
        let (system, value) = &self.identifiers[self.chosen];
        (system, value)
    }

    /// `id.` and a key: what the patient is called here.
    fn id(&self, context: &Context<'_>) -> String {
        let (system, value) = self.chosen();
        format!("id.{}", (context.key)(&[system, value]))
    }

    /// The parts that tell this patient from others, for the id of what has no order number.
    pub(super) fn parts(&self) -> [&str; 2] {
        let (system, value) = self.chosen();
        [system, value]
    }

    pub(super) fn subject(&self, context: &Context<'_>) -> Value {
        let (system, value) = self.chosen();
        json!({
            "reference": format!("Patient/{}", self.id(context)),
            "identifier": { "system": system, "value": value },
        })
    }

    fn skeleton(&self, context: &Context<'_>) -> Value {
        let identifiers: Vec<Value> = self
            .identifiers
            .iter()
            .map(|(system, value)| json!({ "system": system, "value": value }))
            .collect();
        json!({
            "resourceType": "Patient",
            "id": self.id(context),
            "meta": context.meta,
            "identifier": identifiers,
        })
    }

    /// The Patient of a PID, and which of its fields could not be used.
    pub(super) fn patient(&self, context: &Context<'_>, pid: Segment<'_>) -> (Value, Vec<Problem>) {
        let mut patient = self.skeleton(context);
        let mut problems = Vec::new();
        let mut value = |field: usize| match pid.field(field).component(1).value() {
            Ok(value) => value,
            Err(error) => {
                problems.push(bad_escape(error));
                None
            }
        };
        let (birth, sex) = (value(7), value(8));
        let (died, is_dead) = (value(29), value(30));
        if let Some(text) = birth {
            match time::date(&text) {
                Ok(date) => patient["birthDate"] = date.into(),
                Err(_) => problems.push((Reason::DateInvalid, pid.location(7).to_string())),
            }
        }
        // HL7 table 0001; ambiguous and not applicable are no sex of the record.
        let gender = match sex.as_deref() {
            Some("F") => Some("female"),
            Some("M") => Some("male"),
            Some("A" | "N" | "O") => Some("other"),
            Some("U") => Some("unknown"),
            _ => None,
        };
        if let Some(gender) = gender {
            patient["gender"] = gender.into();
        }
        let died = died.map(|text| time::as_precise_as_known(&text, context.site.time_zone));
        match (died, is_dead.as_deref()) {
            (_, Some("N")) | (None, None) => {}
            (Some(Ok(when)), _) => patient["deceasedDateTime"] = when.into(),
            // A time of death that cannot be read is still a death.
            (Some(Err(_)), _) => {
                problems.push((Reason::DateInvalid, pid.location(29).to_string()));
                patient["deceasedBoolean"] = true.into();
            }
            (None, Some("Y")) => patient["deceasedBoolean"] = true.into(),
            (None, Some(_)) => {}
        }
        (patient, problems)
    }

    /// The Patient that was merged into another.
    pub(super) fn merged_into(&self, context: &Context<'_>, survivor: &Person) -> Value {
        let mut patient = self.skeleton(context);
        patient["active"] = false.into();
        patient["link"] = json!([{ "other": survivor.subject(context), "type": "replaced-by" }]);
        patient
    }
}

/// Most identifiers of one patient; each is compared with the others.
const MAX_IDENTIFIERS: usize = 100;

/// One repetition of type CX: CX.1 is the number, CX.4 its assigning authority (type HD).
fn identifier(
    context: &Context<'_>,
    repetition: Repetition<'_>,
) -> Result<Option<(String, String)>, BadEscape> {
    let Some(value) = repetition.component(1).value()? else { return Ok(None) };
    let authority = repetition.component(4);
    let (namespace, universal) = (authority.subcomponent(1)?, authority.subcomponent(2)?);
    let system = context.site.identifier_system(
        namespace.as_deref().unwrap_or_default(),
        universal.as_deref().unwrap_or_default(),
    );
    Ok(Some((system, value.into_owned())))
}
