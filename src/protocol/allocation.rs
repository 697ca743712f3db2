//! `[allocation]` and `[masking]`, compiled: the plan that a list is drawn up from, and who may see arms.
//!
//! A scheme has its own keys, and a key of another scheme is refused: nobody should believe in a probability
//! that no draw ever uses. Decimals are read as they are written, never through a binary fraction.
//!
//! Invariant: findings name keys, factors and levels; block sizes, limits and probabilities are repeated
//! only where they are refused.

use super::compile::Trial;
use super::document::{Definition, File, Finding, Severity};
use super::factor::Factor;
use super::rule::Rule;
use super::schema;
use super::variable::Variable;
use crate::access::{Disclosure, Masking, Role};
use crate::randomize::plan;
use crate::randomize::{Arms, Distance, Plan, Probability, Scheme, SchemeError, Weight};
use std::collections::BTreeSet;
use std::fmt::Display;
use std::ops::Range;
use std::str::FromStr;
use toml::Spanned;

/// `[allocation]`, compiled.
#[derive(Clone, Debug)]
pub struct Allocation {
    /// Participants in the trial, over all strata.
    pub total: u32,
    /// Days for which a screening decision may be used for randomization.
    pub decision_valid_days: u32,
    pub scheme: Scheme,
    pub factors: Vec<Factor>,
}

impl Allocation {
    /// What a list between these arms follows from, besides its seed.
    pub(super) fn plan(&self, arms: Arms) -> Plan {
        let factor = |f: &Factor| plan::Factor { name: f.name.clone(), levels: f.levels.clone() };
        Plan {
            scheme: self.scheme.clone(),
            arms,
            factors: self.factors.iter().map(factor).collect(),
            total: self.total,
        }
    }
}

/// What the trial has that a factor may name.
pub(super) struct Known<'a> {
    pub variables: &'a [Variable],
    pub scores: &'a [&'static str],
    /// The file, for decimals as they are written.
    pub text: &'a str,
}

/// What is wrong, and where.
#[derive(Debug)]
pub(super) struct Problem {
    pub id: &'static str,
    pub span: Range<usize>,
    pub text: String,
    pub hint: String,
}

/// A decimal as it stands in the file: the text of a string, the digits of a number.
pub(super) fn written<'a>(value: &'a Spanned<toml::Value>, text: &'a str) -> &'a str {
    match value.get_ref() {
        toml::Value::String(string) => string,
        _ => text.get(value.span()).unwrap_or_default(),
    }
}

/// The names of the schemes, with the keys that each needs, and may have.
const SCHEMES: [(&str, &[&str], &[&str]); 7] = [
    ("permuted-blocks", &["block_sizes"], &[]),
    ("complete", &[], &[]),
    ("biased-coin", &["probability"], &[]),
    ("efron", &["probability"], &[]),
    ("big-stick", &["limit"], &[]),
    ("minimization", &["probability", "distance"], &["weight"]),
    ("imported", &[], &["equal"]),
];

struct Compiler<'a> {
    section: &'a schema::Allocation,
    known: &'a Known<'a>,
    problems: Vec<Problem>,
}

/// Compiles `[allocation]`, or says everything that is wrong with it.
pub(super) fn compile(section: &schema::Allocation, known: &Known<'_>) -> Result<Allocation, Vec<Problem>> {
    let mut c = Compiler { section, known, problems: Vec::new() };
    let factors = c.factors();
    let scheme = c.scheme();
    match scheme {
        Some(scheme) if c.problems.is_empty() => Ok(Allocation {
            total: *section.total.get_ref(),
            decision_valid_days: section.decision_valid_days,
            scheme,
            factors,
        }),
        _ => Err(c.problems),
    }
}

impl Compiler<'_> {
    fn report(&mut self, id: &'static str, span: Range<usize>, text: impl Into<String>, hint: &str) {
        self.problems.push(Problem { id, span, text: text.into(), hint: hint.into() });
    }

    /// The keys that stand there besides those that every scheme has, with their places.
    fn keys(&self) -> Vec<(&'static str, Range<usize>)> {
        let a = self.section;
        let weight = a.factor.iter().find_map(|f| Some(f.weight.as_ref()?.span()));
        let all = [
            ("block_sizes", a.block_sizes.as_ref().map(Spanned::span)),
            ("probability", a.probability.as_ref().map(Spanned::span)),
            ("limit", a.limit.as_ref().map(Spanned::span)),
            ("distance", a.distance.as_ref().map(Spanned::span)),
            ("equal", a.equal.as_ref().map(Spanned::span)),
            ("weight", weight),
        ];
        all.into_iter().filter_map(|(key, span)| Some((key, span?))).collect()
    }

    fn scheme(&mut self) -> Option<Scheme> {
        let a = self.section;
        let name = a.scheme.get_ref().as_str();
        let Some((_, needed, optional)) = SCHEMES.iter().find(|(n, ..)| *n == name) else {
            let names = SCHEMES.map(|(name, ..)| name).join(", ");
            self.report("TB-T024", a.scheme.span(), format!("`{name}` is no allocation scheme"), &names);
            return None;
        };
        let keys = self.keys();
        for key in needed.iter().filter(|key| !keys.iter().any(|(k, _)| k == *key)) {
            self.report("TB-T027", a.scheme.span(), format!("scheme `{name}` needs `{key}`"), "add the key");
        }
        for (key, span) in keys {
            if !needed.contains(&key) && !optional.contains(&key) {
                let text = format!("`{key}` is no key of scheme `{name}`");
                self.report("TB-T027", span, text, "remove it, or choose the scheme that it belongs to");
            }
        }
        match name {
            "permuted-blocks" => {
                a.block_sizes.as_ref().map(|s| Scheme::PermutedBlocks { sizes: s.get_ref().clone() })
            }
            "complete" => Some(Scheme::Complete),
            "biased-coin" | "efron" => {
                Some(Scheme::Efron { probability: self.decimal(a.probability.as_ref()?)? })
            }
            "big-stick" => a.limit.as_ref().map(|limit| Scheme::BigStick { limit: *limit.get_ref() }),
            "minimization" => {
                let probability = a.probability.as_ref().and_then(|p| self.decimal(p));
                let distance = a.distance.as_ref().and_then(|d| self.distance(d));
                let weights = self.weights();
                Some(Scheme::Minimization {
                    probability: probability?,
                    distance: distance?,
                    weights: weights?,
                })
            }
            _ => Some(Scheme::Imported { equal: a.equal.as_ref().is_none_or(|e| *e.get_ref()) }),
        }
    }

    fn decimal<T: FromStr<Err: Display>>(&mut self, value: &Spanned<toml::Value>) -> Option<T> {
        match written(value, self.known.text).parse() {
            Ok(value) => Some(value),
            Err(error) => {
                self.report(
                    "TB-T027",
                    value.span(),
                    error.to_string(),
                    "a number, or a text such as \"0.8\"",
                );
                None
            }
        }
    }

    fn distance(&mut self, name: &Spanned<String>) -> Option<Distance> {
        let found = Distance::named(name.get_ref());
        if found.is_none() {
            let text = format!("`{}` is no distance", name.get_ref());
            self.report("TB-T027", name.span(), text, &Distance::ALL.map(Distance::name).join(", "));
        }
        found
    }

    /// One for each factor: 1 where none is written.
    fn weights(&mut self) -> Option<Vec<Weight>> {
        let section = self.section;
        let one = Weight::from_units(Weight::ONE);
        let all: Vec<Option<Weight>> = section
            .factor
            .iter()
            .map(|f| f.weight.as_ref().map_or(one, |weight| self.decimal(weight)))
            .collect();
        all.into_iter().collect()
    }

    fn factors(&mut self) -> Vec<Factor> {
        let mut factors: Vec<Factor> = Vec::new();
        for f in &self.section.factor {
            match Factor::compile(f, self.known) {
                Ok(factor) => factors.push(factor),
                Err(problems) => self.problems.extend(problems),
            }
        }
        factors
    }
}

/// The masking of `[masking]`, or what is wrong with it.
pub(super) fn masking(section: &schema::Masking) -> Result<Masking, Vec<Problem>> {
    let (mut arm_visible_to, mut problems) = (BTreeSet::new(), Vec::new());
    let mut report = |role: &Spanned<String>, text: String, hint: &str| {
        problems.push(Problem { id: "TB-T032", span: role.span(), text, hint: hint.into() });
    };
    for name in &section.arm_visible_to {
        match Role::named(name.get_ref()) {
            Some(role @ (Role::Monitor | Role::Administrator)) => {
                let text = format!("the {role} never sees an arm, whatever a trial says");
                report(name, text, "remove the role");
            }
            Some(role) => {
                arm_visible_to.insert(role);
            }
            None => {
                let roles = Role::ASSIGNABLE.map(Role::name).join(", ");
                report(name, format!("`{}` is no role", name.get_ref()), &roles);
            }
        }
    }
    if problems.is_empty() {
        return Ok(Masking { arm_visible_to, write_back: section.write_back });
    }
    Err(problems)
}

/// What compiles and is still wrong, or unwise.
pub(super) fn check(trial: &Trial, definition: &Definition, findings: &mut Vec<Finding>) {
    let sections = |file| {
        let file: &File = file;
        Some((file, file.document.allocation.as_ref()?.get_ref()))
    };
    let Some((file, section)) = definition.files.iter().find_map(sections) else {
        findings.push(Finding {
            severity: Severity::Warning,
            place: "trial".into(),
            id: "TB-T024",
            text: "the trial has no [allocation]".into(),
            hint: "without it nobody can be randomized".into(),
        });
        return;
    };
    let mut report = |severity, span, id, text: String, hint: &str| {
        findings.push(Finding { severity, place: file.place(span), id, text, hint: hint.into() });
    };
    if !trial.criteria.iter().any(|c| matches!(c.rule, Rule::Consent)) {
        let text = "no criterion's rule is `consent`: nobody could be asked for it before the draw";
        let hint = "add an inclusion criterion with rule = { consent = {} }";
        report(Severity::Error, section.total.span(), "TB-T035", text.into(), hint);
    }
    if let Err(error) = Arms::new(trial.arms.iter().map(|arm| arm.name.clone())) {
        let hint = "correct the [[arm]] sections";
        return report(Severity::Error, section.scheme.span(), "TB-T024", error.to_string(), hint);
    }
    let Some(plan) = trial.plan() else { return };
    if let Err(error) = plan.check() {
        let (id, span) = place(&error, section);
        return report(Severity::Error, span, id, error.to_string(), "nobody could be randomized like this");
    }
    if let Scheme::Minimization { probability, .. } = &plan.scheme
        && probability.ten_thousandths() == Probability::ONE
        && let Some(key) = &section.probability
    {
        let text = "with probability 1 only ties are left to chance: whoever knows the participants so far \
                    knows the next arm";
        report(Severity::Warning, key.span(), "TB-T024", text.into(), "use 0.7 to 0.9");
    }
    let strata = plan.strata().len() as u64;
    // Below this a stratum has hardly any list to be balanced by.
    let (least, what) = match &plan.scheme {
        Scheme::PermutedBlocks { sizes } => {
            (2 * u64::from(sizes.iter().copied().max().unwrap_or_default()), "two of the longest blocks")
        }
        _ => (10, "ten participants"),
    };
    if strata > 1 && u64::from(plan.total) < least * strata {
        let text = format!(
            "{strata} strata share {} participants: a stratum has fewer than {what} on average",
            plan.total
        );
        let span = section.factor.first().map_or_else(|| section.scheme.span(), |f| f.name.span());
        let hint = "unfinished blocks add up to imbalance; use fewer factors, or minimization";
        report(Severity::Warning, span, "TB-T031", text, hint);
    }
}

/// The check and the key that an error of the plan is about.
fn place(error: &SchemeError, section: &schema::Allocation) -> (&'static str, Range<usize>) {
    let key = |span: Option<Range<usize>>| span.unwrap_or_else(|| section.scheme.span());
    let factor = |index: usize| key(section.factor.get(index).map(|f| f.name.span()));
    match error {
        SchemeError::NoSize
        | SchemeError::ManySizes { .. }
        | SchemeError::RepeatedSize { .. }
        | SchemeError::SmallSize { .. }
        | SchemeError::UnequalSize { .. }
        | SchemeError::Incomplete { .. } => ("TB-T024", key(section.block_sizes.as_ref().map(Spanned::span))),
        SchemeError::Total { .. } => ("TB-T024", section.total.span()),
        SchemeError::Coin { .. } | SchemeError::Preference { .. } => {
            ("TB-T024", key(section.probability.as_ref().map(Spanned::span)))
        }
        SchemeError::ShortStick { .. } | SchemeError::LongStick { .. } => {
            ("TB-T024", key(section.limit.as_ref().map(Spanned::span)))
        }
        SchemeError::ManyFactors { .. } => ("TB-T030", factor(Scheme::MOST_FACTORS)),
        SchemeError::FactorName { index } | SchemeError::FactorTwice { index, .. } => {
            ("TB-T030", factor(index.saturating_sub(1)))
        }
        SchemeError::Levels { index, .. }
        | SchemeError::LevelName { index, .. }
        | SchemeError::LevelTwice { index, .. } => ("TB-T029", factor(index.saturating_sub(1))),
        SchemeError::ManyStrata { .. } => ("TB-T031", factor(0)),
        _ => ("TB-T024", section.scheme.span()),
    }
}

/// What `[masking]` leaves open, or opens too wide.
pub(super) fn check_masking(trial: &Trial, definition: &Definition, findings: &mut Vec<Finding>) {
    let mut warn = |place: String, id, text: &str, hint: &str| {
        let severity = Severity::Warning;
        findings.push(Finding { severity, place, id, text: text.into(), hint: hint.into() });
    };
    let section = |file| {
        let file: &File = file;
        Some((file, file.document.masking.as_ref()?))
    };
    let Some((file, section)) = definition.files.iter().find_map(section) else {
        let text = "the trial has no [masking]: pharmacist and statistician alone see arms, and the hospital \
                    is told none";
        return warn("trial".into(), "TB-T033", text, "say in [masking] who may know the arm");
    };
    for role in &section.get_ref().arm_visible_to {
        if role.get_ref() == Role::Coordinator.name() {
            let text = "the coordinator enrols and would see arms: who knows what was allocated can guess \
                        what comes next";
            warn(file.place(role.span()), "TB-T034", text, "leave the role out unless the trial is open");
        }
    }
    let masks_treatment = ["double", "triple", "quadruple"].contains(&trial.study.masking.as_str());
    if masks_treatment && trial.masking.write_back == Disclosure::Disclose {
        let text = "the study is masked to those who treat, and the hospital would be told arms";
        warn(file.place(section.span()), "TB-T034", text, "write_back = \"code\" or \"withhold\"");
    }
}

#[cfg(test)]
mod tests;
