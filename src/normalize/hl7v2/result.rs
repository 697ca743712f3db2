//! OBX in its OBR: one Observation each.

use super::person::Person;
use super::{Context, Problem, bad_escape};
use crate::clinical::{code, number};
use crate::fact::Reason;
use crate::hl7v2::message::{BadEscape, Field, Repetition, Segment};
use crate::hl7v2::time;
use serde_json::{Map, Value, json};
use std::borrow::Cow;

/// An order: its OBR, and the ORC beside it.
pub(super) struct Order<'a> {
    pub(super) request: Segment<'a>,
    pub(super) common: Option<Segment<'a>>,
    /// An OBX has been read in it.
    pub(super) used: bool,
}

/// The value of an Observation: its elements, or the reason and the field that prevent it.
type Read<T> = Result<T, (Reason, usize)>;

impl Context<'_> {
    /// The Observation of an OBX, and why its value or time could not be read. Without the Observation
    /// it cannot even be told which result it is.
    pub(super) fn observation(
        &self,
        obx: Segment<'_>,
        order: &Order<'_>,
        person: &Person,
    ) -> (Option<Value>, Option<Problem>) {
        let (id, concept) = match self.identity(obx, order, person) {
            Ok(identity) => identity,
            Err(problem) => return (None, Some(problem)),
        };
        let status = status(&obx.field(11).component(1).decoded().text);
        let mut observation = json!({
            "resourceType": "Observation",
            "id": id,
            "meta": self.meta,
            "status": status,
            "code": concept,
            "subject": person.subject(self),
        });
        // Taken back or never done: what stands beside it does not matter.
        if matches!(status, "entered-in-error" | "cancelled") {
            return (Some(observation), None);
        }
        let mut problem = None;
        match self.effective(obx, order.request) {
            Ok(Some(when)) => observation["effectiveDateTime"] = when.into(),
            Ok(None) => {}
            Err(found) => problem = Some(found),
        }
        match self.value(obx) {
            Ok(value) => {
                for (element, content) in value {
                    observation[element] = content;
                }
            }
            Err((reason, field)) => {
                without_value(&mut observation, "error");
                problem = problem.or_else(|| Some((reason, obx.location(field).to_string())));
            }
        }
        let interpretation = interpretation(obx.field(8));
        if !interpretation.is_empty() {
            observation["interpretation"] = interpretation.into();
        }
        if let Some(range) = reference_range(obx.field(7)) {
            observation["referenceRange"] = json!([range]);
        }
        (Some(observation), problem)
    }

    /// Which result it is: the order, the code and the sub-id. A later message about the same result has
    /// the same, whatever its status and value.
    ///
    /// # Source
    /// HL7 v2.8 chapter 7, OBR-3: the filler order number is unique among the orders of one filler;
    /// OBX-4: the sub-id tells results under one OBR and one OBX-3 apart.
    fn identity(
        &self,
        obx: Segment<'_>,
        order: &Order<'_>,
        person: &Person,
    ) -> Result<(String, Value), Problem> {
        let code = obx.field(3);
        let Some(concept) = self.concept(code.first()).map_err(bad_escape)? else {
            return Err((Reason::Structure, code.location().to_string()));
        };
        let own = |v: Option<Cow<'_, str>>| v.map(Cow::into_owned).unwrap_or_default();
        // The first code that is given names it, else the words.
        let (named, system) = match (text(code, 1)?, text(code, 4)?) {
            (Some(first), _) => (own(Some(first)), own(text(code, 3)?)),
            (None, Some(other)) => (own(Some(other)), own(text(code, 6)?)),
            (None, None) => (own(text(code, 2)?), String::new()),
        };
        let sub_id = own(obx.field(4).first().text().map_err(bad_escape)?);
        // OBR and ORC carry the same numbers, and a sender may fill either.
        let number = |of_request: usize, of_common: usize| -> Result<Option<Vec<String>>, Problem> {
            let fields = [Some(order.request.field(of_request)), order.common.map(|c| c.field(of_common))];
            for field in fields.into_iter().flatten() {
                if let Some(entity) = text(field, 1)? {
                    return Ok(Some(vec![entity.into_owned(), own(text(field, 2)?)]));
                }
            }
            Ok(None)
        };
        let request = order.request;
        let of_order = if let Some(filler) = number(3, 3)? {
            [vec!["filler".to_owned()], filler].concat()
        } else if let Some(placer) = number(2, 2)? {
            [vec!["placer".to_owned()], placer].concat()
        } else {
            let (panel, when) = (own(text(request.field(4), 1)?), own(text(request.field(7), 1)?));
            if panel.is_empty() || when.is_empty() {
                return Err((Reason::Structure, request.location(3).to_string()));
            }
            let [system, value] = person.parts();
            vec!["patient".to_owned(), system.to_owned(), value.to_owned(), panel, when]
        };
        let mut parts: Vec<&str> = of_order.iter().map(String::as_str).collect();
        parts.extend([named.as_str(), system.as_str(), sub_id.as_str()]);
        Ok((format!("obx.{}", (self.key)(&parts)), concept))
    }

    /// OBX-14, else OBR-7.
    fn effective(&self, obx: Segment<'_>, request: Segment<'_>) -> Result<Option<String>, Problem> {
        for field in [obx.field(14), request.field(7)] {
            if let Some(text) = field.component(1).value().map_err(bad_escape)? {
                let read = time::as_precise_as_known(&text, self.site.time_zone);
                return read.map(Some).map_err(|_| (Reason::DateInvalid, field.location().to_string()));
            }
        }
        Ok(None)
    }

    /// `value[x]` by the type in OBX-2; empty where there is no value.
    fn value(&self, obx: Segment<'_>) -> Read<Map<String, Value>> {
        const VALUE: usize = 5;
        let field = obx.field(VALUE);
        let mut elements = Map::new();
        if field.is_empty() || field.is_null() {
            return Ok(elements);
        }
        let value_type = obx.field(2).component(1).decoded().text.trim().to_owned();
        // A document is no result that anything here could read; it is nobody's mistake either.
        if matches!(value_type.as_str(), "ED" | "RP") {
            let absent = json!({ "coding": [{ "system": DATA_ABSENT, "code": "unsupported" }] });
            elements.insert("dataAbsentReason".to_owned(), absent);
            return Ok(elements);
        }
        if field.is_repeated() {
            return Err((Reason::UnexpectedType, VALUE));
        }
        let first = field.first();
        let escape = |_: BadEscape| (Reason::Structure, VALUE);
        let (element, content) = match value_type.as_str() {
            "NM" => {
                let text = first.text().map_err(escape)?.unwrap_or_default();
                let number = decimal(&text).ok_or((Reason::ValueInvalid, VALUE))?;
                ("valueQuantity", self.quantity(number, None, obx)?)
            }
            "SN" => self.structured(first, obx)?,
            "CE" | "CWE" | "CNE" => match self.concept(first).map_err(escape)? {
                Some(concept) => ("valueCodeableConcept", concept),
                None => return Ok(elements),
            },
            "ST" | "TX" | "FT" => match first.text().map_err(escape)? {
                Some(text) => ("valueString", text.into_owned().into()),
                None => return Ok(elements),
            },
            "DT" | "DTM" | "TS" => {
                let text = first.component(1).value().map_err(escape)?.unwrap_or_default();
                let when = time::date_time(&text, self.site.time_zone);
                ("valueDateTime", when.map_err(|_| (Reason::DateInvalid, VALUE))?.into())
            }
            "" => return Err((Reason::UnexpectedType, 2)),
            _ => return Err((Reason::UnexpectedType, VALUE)),
        };
        elements.insert(element.to_owned(), content);
        Ok(elements)
    }

    /// A structured numeric: a number with a comparator, or a range. Ratios and the rest are no number.
    fn structured(&self, sn: Repetition<'_>, obx: Segment<'_>) -> Read<(&'static str, Value)> {
        const VALUE: usize = 5;
        let part = |n: usize| match sn.component(n).value() {
            Ok(text) => Ok(text.unwrap_or_default()),
            Err(_) => Err((Reason::Structure, VALUE)),
        };
        let (comparator, low, separator, high) = (part(1)?, part(2)?, part(3)?, part(4)?);
        let number = |text: &str| decimal(text).ok_or((Reason::ValueInvalid, VALUE));
        match (&*comparator, &*separator, &*high) {
            ("" | "=", "", "") => Ok(("valueQuantity", self.quantity(number(&low)?, None, obx)?)),
            ("<" | ">" | "<=" | ">=", "", "") => {
                Ok(("valueQuantity", self.quantity(number(&low)?, Some(&comparator), obx)?))
            }
            ("" | "=", "-", _) => {
                let (from, to) = (number(&low)?, number(&high)?);
                let (first, second) = (number::parse(&low), number::parse(&high));
                let is_range = match (first.map(|i| i.low.value()), second.map(|i| i.high.value())) {
                    (Ok(Some(a)), Ok(Some(b))) => a <= b,
                    _ => false,
                };
                if !is_range {
                    return Err((Reason::ValueInvalid, VALUE));
                }
                let (from, to) = (self.quantity(from, None, obx)?, self.quantity(to, None, obx)?);
                Ok(("valueRange", json!({ "low": from, "high": to })))
            }
            _ => Err((Reason::UnexpectedType, VALUE)),
        }
    }

    /// A number with the unit of OBX-6: as code where a coding system says that it is UCUM, else as text,
    /// which the mapping looks up among the site's spellings.
    fn quantity(
        &self,
        number: serde_json::Number,
        comparator: Option<&str>,
        obx: Segment<'_>,
    ) -> Read<Value> {
        const UNIT: usize = 6;
        let field = obx.field(UNIT);
        let part = |n: usize| field.component(n).value().map_err(|_| (Reason::Structure, UNIT));
        let mut quantity = json!({ "value": number });
        if let Some(comparator) = comparator {
            quantity["comparator"] = comparator.into();
        }
        let is_ucum = |n: usize| -> Read<bool> {
            Ok(part(n)?.is_some_and(|name| self.site.code_system(&name) == Some(code::UCUM)))
        };
        let given = |first: usize, second: usize| -> Read<Option<String>> {
            Ok(part(first)?.or(part(second)?).map(Cow::into_owned))
        };
        let (text, ucum) = if is_ucum(3)? {
            (given(2, 1)?, part(1)?)
        } else if is_ucum(6)? {
            (given(1, 2)?, part(4)?)
        } else if is_power_of_ten(field) {
            (Some(field.raw().trim().to_owned()), None)
        } else {
            (given(1, 2)?, None)
        };
        if let Some(text) = text {
            quantity["unit"] = text.into();
        }
        if let Some(code) = ucum {
            quantity["system"] = code::UCUM.into();
            quantity["code"] = code.as_ref().into();
        }
        Ok(quantity)
    }

    /// A coded element (types CE, CWE, CNE): the code, its alternate, and the words. `None` where
    /// nothing is given.
    fn concept(&self, coded: Repetition<'_>) -> Result<Option<Value>, BadEscape> {
        let mut codings = Vec::new();
        for first in [1, 4] {
            let Some(code) = coded.component(first).value()? else { continue };
            let mut coding = Map::new();
            if let Some(name) = coded.component(first + 2).value()?
                && let Some(system) = self.site.code_system(&name)
            {
                coding.insert("system".to_owned(), system.into());
            }
            coding.insert("code".to_owned(), code.into_owned().into());
            if let Some(words) = coded.component(first + 1).value()? {
                coding.insert("display".to_owned(), words.into_owned().into());
            }
            codings.push(Value::Object(coding));
        }
        let mut words = None;
        for at in [9, 2, 5] {
            words = words.or(coded.component(at).value()?);
        }
        let mut concept = Map::new();
        if !codings.is_empty() {
            concept.insert("coding".to_owned(), codings.into());
        }
        if let Some(words) = words {
            concept.insert("text".to_owned(), words.into_owned().into());
        }
        Ok((!concept.is_empty()).then_some(Value::Object(concept)))
    }
}

fn text<'a>(field: Field<'a>, component: usize) -> Result<Option<Cow<'a, str>>, Problem> {
    field.component(component).value().map_err(bad_escape)
}

const DATA_ABSENT: &str = "http://terminology.hl7.org/CodeSystem/data-absent-reason";

/// Takes every value away and says that there is none.
pub(super) fn without_value(observation: &mut Value, reason: &str) {
    if let Some(elements) = observation.as_object_mut() {
        elements.retain(|name, _| !name.starts_with("value"));
    }
    observation["dataAbsentReason"] = json!({ "coding": [{ "system": DATA_ABSENT, "code": reason }] });
}

/// Observation.status of OBX-11. What the table does not have is `unknown`, which decides nothing.
///
/// # Source
/// HL7 v2-to-FHIR, ConceptMap table-hl70085-to-observation-status: A amended, C corrected, D and W
/// entered-in-error, F final, I registered, P and S preliminary. Where it maps nothing: B adds to a
/// final result, so amended; V is verified and U final without being sent again, so final; R is not
/// verified, so preliminary; O orders, so registered; X and N have no result, so cancelled.
fn status(code: &str) -> &'static str {
    match code.trim() {
        "F" | "U" | "V" => "final",
        "C" => "corrected",
        "A" | "B" => "amended",
        "P" | "R" | "S" => "preliminary",
        "I" | "O" => "registered",
        "D" | "W" => "entered-in-error",
        "X" | "N" => "cancelled",
        _ => "unknown",
    }
}

/// A JSON number with the digits as received. An exponent, a plus sign or a comparator is none.
fn decimal(text: &str) -> Option<serde_json::Number> {
    if text.contains(['e', 'E']) || number::parse(text).is_err() {
        return None;
    }
    text.parse().ok()
}

/// `10^9/L` whose `^` the sender did not escape: the unit falls apart into a code `10` and words that no
/// sender means.
fn is_power_of_ten(unit: Field<'_>) -> bool {
    let mut components = unit.first().components();
    let (ten, rest) = (components.next(), components.next());
    let is_ten = ten.is_some_and(|c| matches!(c.raw().trim(), "10" | "x10" | "X10" | "×10" | "*10"));
    is_ten
        && rest.is_some_and(|c| c.raw().starts_with(|c: char| c.is_ascii_digit()) && c.raw().contains('/'))
        && components.next().is_none()
        && !unit.is_repeated()
}

/// Codes of HL7 table 0078 that FHIR's code system for interpretations has as well.
const INTERPRETATIONS: [&str; 26] = [
    "<", ">", "A", "AA", "B", "D", "DET", "H", "HH", "HU", "I", "IE", "IND", "L", "LL", "LU", "N", "ND",
    "NEG", "NR", "POS", "R", "RR", "S", "U", "WR",
];

/// OBX-8, all repetitions.
fn interpretation(field: Field<'_>) -> Vec<Value> {
    let mut concepts = Vec::new();
    for repetition in field.repetitions().take(10) {
        let Ok(Some(code)) = repetition.component(1).value() else { continue };
        let system = if INTERPRETATIONS.contains(&&*code) {
            "http://terminology.hl7.org/CodeSystem/v3-ObservationInterpretation"
        } else {
            "http://terminology.hl7.org/CodeSystem/v2-0078"
        };
        concepts.push(json!({ "coding": [{ "system": system, "code": code }] }));
    }
    concepts
}

/// OBX-7 as text, and as limits where it is plainly `low-high`. The limits are in the result's unit.
fn reference_range(field: Field<'_>) -> Option<Value> {
    if field.is_repeated() {
        return None;
    }
    let text = field.first().text().ok()??;
    let mut range = json!({ "text": text });
    if let Some((low, high)) = text.split_once('-')
        && let (Some(from), Some(to)) = (decimal(low.trim()), decimal(high.trim()))
        && let (Ok(first), Ok(second)) = (number::parse(low.trim()), number::parse(high.trim()))
        && first.low.value() <= second.high.value()
    {
        range["low"] = json!({ "value": from });
        range["high"] = json!({ "value": to });
    }
    Some(range)
}
