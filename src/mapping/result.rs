//! Laboratory results and other observations.

use super::Mapper;
use crate::clinical::interval::Interval;
use crate::clinical::number;
use crate::clinical::time::When;
use crate::clinical::unit::Factor;
use crate::fact::*;
use crate::fhir::resource::{CodeableConcept, Component, Quantity};
use crate::normalize::Date;
use crate::protocol::variable::{Coded, Measured, UnitRefusal};
use rust_decimal::Decimal;
use std::fmt;

/// Where a value stands: 0 is the Observation itself, then come its components.
#[derive(Clone, Copy)]
struct Base(usize);

impl fmt::Display for Base {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => f.write_str("Observation"),
            n => write!(f, "Observation.component[{}]", n - 1),
        }
    }
}

impl Mapper<'_> {
    pub(super) fn result(
        &mut self,
        status: Option<&str>,
        category: &[CodeableConcept<'_>],
        effective: &Date,
        values: &[Component<'_>],
        has_members: bool,
        of_another: bool,
    ) {
        for (position, value) in values.iter().enumerate() {
            let base = Base(position);
            let read = self.read(&value.code);
            let Some((variable, rank, flag)) = read.variable else {
                self.unmapped(&read, value, category, base);
                continue;
            };
            if read.conflict {
                self.gap(Reason::CodeConflict, &format!("{base}.code"), Some(variable), None);
                continue;
            }
            if of_another {
                self.gap(Reason::SubjectMissing, "Observation.focus", Some(variable), None);
                continue;
            }
            match status {
                Some("final" | "amended" | "corrected" | "appended") => {}
                other => {
                    let detail = other.filter(|s| s.len() < 32 && s.is_ascii()).unwrap_or("none");
                    self.gap(Reason::WrongStatus, "Observation.status", Some(variable), Some(detail.into()));
                    continue;
                }
            }
            let effective = match effective {
                Some(Ok(when)) => when.clone(),
                Some(Err(_)) => {
                    self.gap(Reason::DateInvalid, "Observation.effective", Some(variable), None);
                    continue;
                }
                None => {
                    self.gap(Reason::EffectiveMissing, "Observation.effective", Some(variable), None);
                    continue;
                }
            };
            // A panel speaks through its members.
            if position == 0 && has_members && is_empty(value) {
                continue;
            }
            // A reason for having no value contradicts a value (invariant obs-6): neither is taken.
            if value.data_absent_reason.is_some() {
                let path = format!("{base}.dataAbsentReason");
                self.gap(Reason::DataAbsent, &path, Some(variable), None);
                continue;
            }
            let definition = &self.trial.variables[variable as usize];
            if let Some(measured) = definition.measured() {
                self.measurement(variable, measured, value, base, effective, rank, flag);
            } else if let Some(coded) = definition.coded() {
                self.coded(variable, coded, value, base, effective, rank);
            }
        }
    }

    /// A result whose code nobody can read may be one that is needed: it is counted by code.
    fn unmapped(
        &mut self,
        read: &super::Read<'_>,
        value: &Component<'_>,
        category: &[CodeableConcept<'_>],
        base: Base,
    ) {
        let laboratory = category
            .iter()
            .flat_map(|c| &c.coding)
            .any(|c| matches!(c.code.as_deref(), Some("laboratory" | "LAB")));
        let measured = value.value_quantity.is_some() || value.value_string.is_some();
        if !(laboratory || measured) || !read.unreadable {
            return;
        }
        let path = format!("{base}.code");
        if read.no_system {
            self.gap(Reason::SystemMissing, &path, None, None);
        } else if read.first.is_some() {
            self.gap(Reason::Unmapped, &path, None, Some(read.code()));
        }
    }

    #[allow(clippy::too_many_arguments)]
    fn measurement(
        &mut self,
        variable: Index,
        measured: &Measured,
        value: &Component<'_>,
        base: Base,
        effective: When,
        rank: u16,
        flag: Option<Box<str>>,
    ) {
        let quantity = if let Some(quantity) = &value.value_quantity {
            self.quantity(variable, measured, quantity, base, "valueQuantity")
        } else if let Some(range) = &value.value_range {
            let path = format!("{base}.valueRange");
            let low = range.low.as_ref().map(|q| self.quantity(variable, measured, q, base, "valueRange"));
            let high = range.high.as_ref().map(|q| self.quantity(variable, measured, q, base, "valueRange"));
            match (low, high) {
                (Some(None), _) | (_, Some(None)) => None,
                (None, None) => {
                    self.gap(Reason::ValueMissing, &path, Some(variable), None);
                    None
                }
                (low, high) => {
                    let (low, high) = (low.flatten(), high.flatten());
                    let received = low.as_ref().or(high.as_ref()).map(|(_, r, _)| r.clone());
                    let interval = Interval {
                        low: low.map_or(crate::clinical::interval::Bound::Unbounded, |(i, ..)| i.low),
                        high: high.map_or(crate::clinical::interval::Bound::Unbounded, |(i, ..)| i.high),
                    };
                    if interval.is_empty() {
                        // The low end above the high end: nobody can tell which was meant.
                        self.gap(Reason::ValueInvalid, &path, Some(variable), None);
                        return;
                    }
                    received.map(|r| (interval, r, Factor::ONE))
                }
            }
        } else if let (Some(raw), true) = (value.value_integer, measured.unitless) {
            let quantity = Quantity { value: Some(raw), ..Quantity::default() };
            self.quantity(variable, measured, &quantity, base, "valueInteger")
        } else {
            let (reason, element) = if value.value_string.is_some() {
                // A number in words is not taken: `1,2` and `see note` cannot be told apart by rule.
                (Reason::UnexpectedType, ".valueString")
            } else if value.value_codeable_concept.is_some() {
                (Reason::UnexpectedType, ".valueCodeableConcept")
            } else if value.value_boolean.is_some() {
                (Reason::UnexpectedType, ".valueBoolean")
            } else if value.value_integer.is_some() {
                (Reason::UnitMissing, ".valueInteger")
            } else {
                (Reason::ValueMissing, ".value")
            };
            self.gap(reason, &format!("{base}{element}"), Some(variable), None);
            None
        };
        let Some((interval, received, factor)) = quantity else { return };
        if measured.is_implausible(&interval) {
            self.gap(Reason::Implausible, &format!("{base}.value"), Some(variable), None);
            return;
        }
        let upper_normal = value
            .reference_range
            .iter()
            .find_map(|r| r.high.as_ref())
            .and_then(|high| self.reference_limit(measured, high, &factor));
        self.out.facts.push(Fact::Measurement(Measurement {
            variable,
            value: interval,
            received,
            effective,
            rank,
            flag,
            upper_normal,
            source: self.source(),
        }));
    }

    /// The upper end of a reference range; without a unit it is in the result's own.
    fn reference_limit(&self, measured: &Measured, high: &Quantity<'_>, own: &Factor) -> Option<Decimal> {
        let factor = match measured.factor(high.code.as_deref(), high.unit.as_deref()) {
            Ok(factor) => factor,
            Err(UnitRefusal::Missing) => *own,
            Err(_) => return None,
        };
        let value = number::parse(high.value?.get()).ok()?;
        factor.apply(&value)?.exact().filter(|limit| *limit > Decimal::ZERO)
    }

    fn quantity(
        &mut self,
        variable: Index,
        measured: &Measured,
        quantity: &Quantity<'_>,
        base: Base,
        element: &str,
    ) -> Option<(Interval, Received, Factor)> {
        let Some(raw) = quantity.value.map(|v| v.get()) else {
            self.gap(Reason::ValueMissing, &format!("{base}.{element}.value"), Some(variable), None);
            return None;
        };
        let exact = match number::parse(raw) {
            Ok(value) => value,
            Err(_) => {
                self.gap(Reason::ValueInvalid, &format!("{base}.{element}.value"), Some(variable), None);
                return None;
            }
        };
        let limit = exact.high.value().unwrap_or_default();
        let below = quantity.comparator.as_deref() == Some("<") && limit <= Decimal::ZERO;
        if below || exact.is_below(Decimal::ZERO) == Some(true) {
            self.gap(Reason::Implausible, &format!("{base}.{element}.value"), Some(variable), None);
            return None;
        }
        // A code of another system than UCUM is the site's own and says nothing; the text does.
        let is_ucum = quantity
            .system
            .as_deref()
            .is_none_or(|s| crate::clinical::code::canonical_system(s) == crate::clinical::code::UCUM);
        let code = quantity.code.as_deref().filter(|_| is_ucum);
        let unit = quantity.unit.as_deref().or(quantity.code.as_deref());
        let factor = match measured.factor(code, quantity.unit.as_deref()) {
            Ok(factor) => factor,
            Err(refusal) => {
                let (reason, part) = match refusal {
                    UnitRefusal::Missing => (Reason::UnitMissing, "code"),
                    UnitRefusal::Unknown if code.is_some() => (Reason::UnitUnknown, "code"),
                    UnitRefusal::Unknown => (Reason::UnitUnknown, "unit"),
                    UnitRefusal::Conflict => (Reason::UnitConflict, "code"),
                };
                // A unit is no patient's datum; odd text in its place might be.
                let shown = unit.filter(|u| u.chars().count() <= 16).map(Box::from);
                self.gap(reason, &format!("{base}.{element}.{part}"), Some(variable), shown);
                return None;
            }
        };
        let (interval, sign) = match quantity.comparator.as_deref() {
            None => (exact, ""),
            Some("<") => (Interval::below(limit), "<"),
            Some("<=") => (Interval::at_most(limit), "<="),
            Some(">") => (Interval::above(exact.low.value().unwrap_or_default()), ">"),
            Some(">=") => (Interval::at_least(exact.low.value().unwrap_or_default()), ">="),
            // R5 `ad`: a sufficient quantity to reach the value; no number can be had from it.
            Some(_) => {
                self.gap(Reason::ValueInvalid, &format!("{base}.{element}.comparator"), Some(variable), None);
                return None;
            }
        };
        let converted = factor.apply(&interval).map(Interval::non_negative).filter(|i| !i.is_empty());
        let Some(converted) = converted else {
            self.gap(Reason::ValueInvalid, &format!("{base}.{element}.value"), Some(variable), None);
            return None;
        };
        let received = Received { value: format!("{sign}{raw}").into(), unit: unit.map(Box::from) };
        Some((converted, received, factor))
    }

    fn coded(
        &mut self,
        variable: Index,
        coded: &Coded,
        value: &Component<'_>,
        base: Base,
        effective: When,
        rank: u16,
    ) {
        let (answer, received) = if let Some(concept) = &value.value_codeable_concept {
            (self.answer_of(coded, concept), concept_text(concept))
        } else if let Some(text) = &value.value_string {
            // Only texts that somebody approved for this variable.
            let words = text.trim().to_lowercase();
            let found = coded.answers.iter().position(|a| a.texts.contains(&words));
            (found, None)
        } else if let Some(yes) = value.value_boolean {
            let found = coded.answers.iter().position(|a| a.boolean == Some(yes));
            (found, Some(yes.to_string()))
        } else if let Some(quantity) = &value.value_quantity {
            (self.by_threshold(coded, quantity), quantity.value.map(|v| v.get().to_owned()))
        } else {
            // Some laboratories say positive or negative by the interpretation alone.
            let found = value.interpretation.iter().find_map(|i| self.answer_of(coded, i));
            let received = value.interpretation.first().and_then(concept_text);
            if found.is_none() {
                self.gap(Reason::ValueMissing, &format!("{base}.value"), Some(variable), None);
                self.unreadable(variable, effective, rank);
                return;
            }
            (found, received)
        };
        let Some(answer) = answer else {
            self.gap(Reason::AnswerUnknown, &format!("{base}.value"), Some(variable), None);
            self.unreadable(variable, effective, rank);
            return;
        };
        // A value and an interpretation that contradict each other decide nothing.
        let interpreted = value.interpretation.iter().find_map(|i| self.answer_of(coded, i));
        if interpreted.is_some_and(|i| i != answer) && value.value_quantity.is_none() {
            self.gap(Reason::CodeConflict, &format!("{base}.interpretation"), Some(variable), None);
            self.unreadable(variable, effective, rank);
            return;
        }
        let value = received.unwrap_or_else(|| coded.answers[answer].id.clone());
        self.out.facts.push(Fact::Answer(Answer {
            variable,
            answer: answer as Index,
            received: Received { value: value.into(), unit: None },
            effective,
            rank,
            source: self.source(),
        }));
    }

    /// A result that is none of the variable's answers still tells that an older one is not the last.
    fn unreadable(&mut self, variable: Index, effective: When, rank: u16) {
        self.out.facts.push(Fact::Answer(Answer {
            variable,
            answer: Answer::UNREADABLE,
            received: Received { value: "".into(), unit: None },
            effective,
            rank,
            source: self.source(),
        }));
    }

    /// The answer that the codings of a concept agree on.
    fn answer_of(&self, coded: &Coded, concept: &CodeableConcept<'_>) -> Option<usize> {
        let mut found = None;
        for coding in &concept.coding {
            let (Some(system), Some(code)) = (coding.system.as_deref(), coding.code.as_deref()) else {
                continue;
            };
            let (system, code) = self.trial.site.read(system, code);
            let system = crate::clinical::code::canonical_system(system);
            let position =
                coded.answers.iter().position(|a| a.codes.iter().any(|(s, c)| s == system && c == code));
            match (found, position) {
                (Some(a), Some(b)) if a != b => return None,
                (None, Some(b)) => found = Some(b),
                _ => {}
            }
        }
        if found.is_none() && concept.coding.is_empty() {
            let words = concept.text.as_deref()?.trim().to_lowercase();
            return coded.answers.iter().position(|a| a.texts.contains(&words));
        }
        found
    }

    fn by_threshold(&self, coded: &Coded, quantity: &Quantity<'_>) -> Option<usize> {
        let threshold = coded.threshold.as_ref()?;
        let unit = quantity.code.as_deref().or(quantity.unit.as_deref())?;
        if !threshold.units.iter().any(|u| u == unit) {
            return None;
        }
        let value = number::parse(quantity.value?.get()).ok()?;
        if value.is_below(Decimal::ZERO) == Some(true) {
            return None;
        }
        let limit = value.high.value()?;
        let range = match quantity.comparator.as_deref() {
            None => value,
            Some("<") => Interval::below(limit),
            Some("<=") => Interval::at_most(limit),
            Some(">") => Interval::above(value.low.value()?),
            Some(">=") => Interval::at_least(value.low.value()?),
            Some(_) => return None,
        };
        match range.is_below(threshold.below)? {
            true => Some(threshold.answer_below as usize),
            false => Some(threshold.answer_otherwise as usize),
        }
    }
}

fn is_empty(value: &Component<'_>) -> bool {
    value.value_quantity.as_ref().is_none_or(|q| q.value.is_none())
        && value.value_codeable_concept.is_none()
        && value.value_string.is_none()
        && value.value_boolean.is_none()
        && value.value_integer.is_none()
        && value.value_range.is_none()
}

/// The first code of an answer: a code is no free text.
fn concept_text(concept: &CodeableConcept<'_>) -> Option<String> {
    concept.coding.iter().find_map(|c| c.code.as_deref()).map(str::to_owned)
}
