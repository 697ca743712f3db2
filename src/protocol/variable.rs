//! A variable, compiled: which units it takes and with which factor, which answers it knows.

use super::schema;
use crate::clinical::interval::Interval;
use crate::clinical::unit::{self, Factor, UnitError};
use crate::fact::Index;
use rust_decimal::Decimal;
use std::collections::HashMap;

#[derive(Debug)]
pub struct Variable {
    pub id: String,
    pub title: schema::Words,
    pub window_days: Option<u32>,
    /// Systems and codes, in order of preference.
    pub codes: Vec<(String, String)>,
    /// Remarks by code.
    pub flags: HashMap<String, String>,
    pub kind: Kind,
}

#[derive(Debug)]
pub enum Kind {
    Measured(Measured),
    Coded(Coded),
}

#[derive(Debug)]
pub struct Measured {
    /// Canonical UCUM unit.
    pub unit: String,
    /// Every spelling that is accepted, to its factor into the canonical unit.
    pub factors: HashMap<String, Factor>,
    pub unitless: bool,
    pub plausible: Option<(Decimal, Decimal)>,
}

#[derive(Debug)]
pub struct Coded {
    pub answers: Vec<AnswerSet>,
    pub threshold: Option<Threshold>,
}

#[derive(Debug)]
pub struct AnswerSet {
    pub id: String,
    pub codes: Vec<(String, String)>,
    /// Lower case.
    pub texts: Vec<String>,
    pub boolean: Option<bool>,
}

#[derive(Debug)]
pub struct Threshold {
    pub units: Vec<String>,
    pub below: Decimal,
    pub answer_below: Index,
    pub answer_otherwise: Index,
}

/// A problem in a variable's definition, for `check`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    Unit(UnitError, std::ops::Range<usize>),
    AliasTarget(String, std::ops::Range<usize>),
    /// The spelling is another accepted unit already.
    AliasTaken(String, std::ops::Range<usize>),
    Number(String),
    NeitherUnitNorAnswers,
    AnswerUnknown(String),
}

impl Variable {
    pub fn compile(v: &schema::Variable, site: &HashMap<String, String>) -> Result<Variable, Vec<Problem>> {
        let mut problems = Vec::new();
        let kind = match (&v.unit, v.answers.is_empty()) {
            (Some(unit), true) => {
                Kind::Measured(measured(v, unit.get_ref(), unit.span(), site, &mut problems))
            }
            (None, false) => Kind::Coded(coded(v, &mut problems)),
            _ => return Err(vec![Problem::NeitherUnitNorAnswers]),
        };
        if !problems.is_empty() {
            return Err(problems);
        }
        Ok(Variable {
            id: v.id.get_ref().clone(),
            title: v.title.clone(),
            window_days: v.window_days,
            codes: v
                .codes
                .iter()
                .flat_map(|(system, codes)| codes.iter().map(|c| (system.clone(), c.get_ref().clone())))
                .collect(),
            flags: v.flags.clone().into_iter().collect(),
            kind,
        })
    }

    pub fn measured(&self) -> Option<&Measured> {
        match &self.kind {
            Kind::Measured(m) => Some(m),
            Kind::Coded(_) => None,
        }
    }

    pub fn coded(&self) -> Option<&Coded> {
        match &self.kind {
            Kind::Coded(c) => Some(c),
            Kind::Measured(_) => None,
        }
    }
}

fn measured(
    v: &schema::Variable,
    canonical: &str,
    span: std::ops::Range<usize>,
    site: &HashMap<String, String>,
    problems: &mut Vec<Problem>,
) -> Measured {
    let mut factors = HashMap::new();
    let mut accept = |unit: &str, span: std::ops::Range<usize>, problems: &mut Vec<Problem>| {
        match factor(v, unit, canonical) {
            Ok(factor) => {
                // UCUM has the litre as `l` and as `L`.
                for spelling in [unit.to_owned(), unit.replace('L', "l")] {
                    factors.insert(spelling, factor);
                }
            }
            Err(error) => problems.push(Problem::Unit(error, span)),
        }
    };
    accept(canonical, span, problems);
    for unit in &v.units {
        // Spellings with a caret are not UCUM; they are aliases of the star.
        accept(&unit.get_ref().replace('^', "*"), unit.span(), problems);
    }
    let caret: Vec<(String, Factor)> =
        factors.iter().filter(|(u, _)| u.contains('*')).map(|(u, f)| (u.replace('*', "^"), *f)).collect();
    factors.extend(caret);
    let spelled = (v.aliases.iter().map(|(alias, target)| (alias, target.get_ref(), target.span())))
        .chain(site.iter().map(|(alias, target)| (alias, target, 0..0)));
    for (alias, target, span) in spelled {
        match (factors.get(target).copied(), factors.get(alias).copied()) {
            (None, _) => problems.push(Problem::AliasTarget(alias.clone(), span)),
            (Some(to), Some(own)) if to != own => problems.push(Problem::AliasTaken(alias.clone(), span)),
            (Some(to), _) => {
                factors.insert(alias.clone(), to);
            }
        }
    }
    let plausible = v.plausible.as_ref().and_then(|[low, high]| {
        match (low.parse::<Decimal>(), high.parse::<Decimal>()) {
            (Ok(low), Ok(high)) if low <= high => Some((low, high)),
            _ => {
                problems.push(Problem::Number(format!("{low} to {high}")));
                None
            }
        }
    });
    Measured { unit: canonical.to_owned(), factors, unitless: v.unitless, plausible }
}

/// The factor from an accepted unit to the canonical one, through the analyte's molar factor where
/// one of them is a mass and the other a substance.
fn factor(v: &schema::Variable, unit: &str, canonical: &str) -> Result<Factor, UnitError> {
    let direct = unit::factor(unit, canonical);
    let Some(molar) = &v.molar else { return direct };
    let through = |per_unit: Decimal| -> Result<Factor, UnitError> {
        let to_molar = unit::factor(unit, &molar.unit)?;
        let to_mass = Factor { numerator: Decimal::ONE, denominator: per_unit };
        to_molar.then(&to_mass).ok_or_else(|| UnitError::NotUcum(unit.to_owned()))
    };
    match (direct, molar.per_unit.parse::<Decimal>()) {
        (Ok(factor), _) => Ok(factor),
        (Err(UnitError::Incommensurable { .. }), Ok(per_unit)) if per_unit > Decimal::ZERO => {
            through(per_unit)
        }
        (Err(error), _) => Err(error),
    }
}

fn coded(v: &schema::Variable, problems: &mut Vec<Problem>) -> Coded {
    let answers: Vec<AnswerSet> = v
        .answers
        .iter()
        .map(|a| AnswerSet {
            id: a.id.clone(),
            codes: a
                .codes
                .iter()
                .flat_map(|(s, codes)| codes.iter().map(|c| (s.clone(), c.clone())))
                .collect(),
            texts: a.texts.iter().map(|t| t.to_lowercase()).collect(),
            boolean: a.boolean,
        })
        .collect();
    let position = |id: &str, problems: &mut Vec<Problem>| -> Index {
        match answers.iter().position(|a| a.id == id) {
            Some(at) => at as Index,
            None => {
                problems.push(Problem::AnswerUnknown(id.to_owned()));
                0
            }
        }
    };
    let threshold = v.threshold.as_ref().and_then(|t| {
        let Ok(below) = t.below.parse() else {
            problems.push(Problem::Number(t.below.clone()));
            return None;
        };
        Some(Threshold {
            units: std::iter::once(t.unit.clone()).chain(t.aliases.iter().cloned()).collect(),
            below,
            answer_below: position(&t.answer_below, problems),
            answer_otherwise: position(&t.answer_otherwise, problems),
        })
    });
    Coded { answers, threshold }
}

/// Why a unit was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnitRefusal {
    Missing,
    Unknown,
    /// Code and text are both accepted units and differ.
    Conflict,
}

impl Measured {
    /// The factor for a unit as sent: the UCUM code is preferred, the text has to agree.
    pub fn factor(&self, code: Option<&str>, text: Option<&str>) -> Result<Factor, UnitRefusal> {
        let find = |unit: &str| self.lookup(unit);
        match (code.filter(|c| !c.is_empty()), text.filter(|t| !t.is_empty())) {
            (None, None) if self.unitless => Ok(Factor::ONE),
            (None, None) => Err(UnitRefusal::Missing),
            (Some(code), text) => {
                let by_code = find(code).ok_or(UnitRefusal::Unknown)?;
                match text.and_then(find) {
                    Some(by_text) if by_text != by_code => Err(UnitRefusal::Conflict),
                    _ => Ok(by_code),
                }
            }
            (None, Some(text)) => find(text).ok_or(UnitRefusal::Unknown),
        }
    }

    fn lookup(&self, unit: &str) -> Option<Factor> {
        if let Some(factor) = self.factors.get(unit) {
            return Some(*factor);
        }
        // Both code points of the micro sign stand for `u`; blanks around a unit mean nothing.
        let plain = unit.trim().replace(['\u{b5}', '\u{3bc}'], "u");
        self.factors.get(&plain).copied()
    }

    /// Is the whole range outside what a living person can have?
    pub fn is_implausible(&self, value: &Interval) -> bool {
        self.plausible.is_some_and(|(low, high)| {
            value.is_below(low) == Some(true) || value.is_above(high) == Some(true)
        })
    }
}
