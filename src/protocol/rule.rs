//! A criterion's rule, compiled: names become indices, texts become decimals.

use super::schema;
use crate::fact::{Index, Kind, Sex};
use crate::score;
use rust_decimal::Decimal;
use std::collections::HashMap;
use std::ops::Range;

#[derive(Debug, Clone)]
pub enum Rule {
    All(Vec<Rule>),
    Any(Vec<Rule>),
    Not(Box<Rule>),
    Age { at_least: Option<u32>, at_most: Option<u32> },
    Sex(Sex),
    Finding(FindingRule),
    Result { variable: Index, bounds: Vec<(Comparison, Decimal)>, within_days: Option<u32> },
    Answer { variable: Index, is: Index, within_days: Option<u32> },
    Score { score: &'static str, at_least: Decimal },
    Allergies { min_drug: u32, min_food: u32, both: bool, none: Index },
    Consent,
    OtherStudy { within_days: u32 },
    Attested,
}

#[derive(Debug, Clone)]
pub struct FindingRule {
    pub value_set: Index,
    pub kinds: Vec<Kind>,
    pub current: bool,
    pub within_days: Option<u32>,
    pub route: Option<Index>,
    pub not_route: Option<Index>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    AtLeast,
    Above,
    AtMost,
    Below,
}

/// The names that rules may use.
pub struct Scope<'a> {
    pub variables: &'a HashMap<String, Index>,
    pub answers: &'a HashMap<(Index, String), Index>,
    pub value_sets: &'a HashMap<String, Index>,
    pub scores: &'a [&'static str],
}

/// What is wrong in a rule: a text, and where in the file if the name has a place of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub text: String,
    pub span: Option<Range<usize>>,
}

impl Rule {
    pub fn compile(rule: &schema::Rule, scope: &Scope<'_>, problems: &mut Vec<Problem>) -> Rule {
        let list = |rules: &[schema::Rule], problems: &mut Vec<Problem>| {
            if rules.is_empty() {
                problem(problems, "an empty list of rules decides nothing", None);
            }
            rules.iter().map(|r| Rule::compile(r, scope, problems)).collect()
        };
        match rule {
            schema::Rule::All(rules) => Rule::All(list(rules, problems)),
            schema::Rule::Any(rules) => Rule::Any(list(rules, problems)),
            schema::Rule::Not(rule) => Rule::Not(Box::new(Rule::compile(rule, scope, problems))),
            schema::Rule::Age { at_least, at_most } => Rule::Age { at_least: *at_least, at_most: *at_most },
            schema::Rule::Sex(sex) => Rule::Sex(match sex.as_str() {
                "female" => Sex::Female,
                "male" => Sex::Male,
                other => {
                    problem(problems, &format!("`{other}` is not a sex: female or male"), None);
                    Sex::Female
                }
            }),
            schema::Rule::Finding(f) => Rule::Finding(FindingRule {
                value_set: value_set(&f.value_set, scope, problems),
                kinds: f
                    .resources
                    .iter()
                    .filter_map(|r| {
                        let kind = Kind::from_name(r.get_ref());
                        if kind.is_none() {
                            let text = format!("`{}` is not a resource type with findings", r.get_ref());
                            problem(problems, &text, Some(r.span()));
                        }
                        kind
                    })
                    .collect(),
                current: f.current,
                within_days: f.within_days,
                route: f.route.as_ref().map(|r| value_set(r, scope, problems)),
                not_route: f.not_route.as_ref().map(|r| value_set(r, scope, problems)),
            }),
            schema::Rule::Result { variable: v, at_least, above, at_most, below, within_days } => {
                let mut bounds = Vec::new();
                for (comparison, text) in [
                    (Comparison::AtLeast, at_least),
                    (Comparison::Above, above),
                    (Comparison::AtMost, at_most),
                    (Comparison::Below, below),
                ] {
                    if let Some(text) = text {
                        bounds.push((comparison, decimal(text, v.span(), problems)));
                    }
                }
                if bounds.is_empty() {
                    problem(problems, "a result without a bound decides nothing", Some(v.span()));
                }
                Rule::Result { variable: variable(v, scope, problems), bounds, within_days: *within_days }
            }
            schema::Rule::Answer { variable: v, is, within_days } => {
                let index = variable(v, scope, problems);
                let answer = scope.answers.get(&(index, is.clone())).copied().unwrap_or_else(|| {
                    problem(problems, &format!("`{}` has no answer `{is}`", v.get_ref()), Some(v.span()));
                    0
                });
                Rule::Answer { variable: index, is: answer, within_days: *within_days }
            }
            schema::Rule::Score { score, at_least } => {
                let known = scope.scores.iter().find(|s| *s == score.get_ref());
                if known.is_none() {
                    let text = format!("`{}` is not a score that is computed", score.get_ref());
                    problem(problems, &text, Some(score.span()));
                }
                Rule::Score {
                    score: known.copied().unwrap_or(score::NAMES[0]),
                    at_least: decimal(at_least, score.span(), problems),
                }
            }
            schema::Rule::Allergies { min_drug, min_food, combine, none } => {
                if !matches!(combine.as_str(), "and" | "or") {
                    problem(problems, "combine is `and` or `or`", Some(none.span()));
                }
                Rule::Allergies {
                    min_drug: *min_drug,
                    min_food: *min_food,
                    both: combine == "and",
                    none: value_set(none, scope, problems),
                }
            }
            schema::Rule::Consent {} => Rule::Consent,
            schema::Rule::OtherStudy { within_days } => Rule::OtherStudy { within_days: *within_days },
            schema::Rule::Attested {} => Rule::Attested,
        }
    }

    /// This rule and all rules inside it.
    pub fn walk(&self, visit: &mut dyn FnMut(&Rule)) {
        visit(self);
        match self {
            Rule::All(rules) | Rule::Any(rules) => rules.iter().for_each(|r| r.walk(visit)),
            Rule::Not(rule) => rule.walk(visit),
            _ => {}
        }
    }
}

fn problem(problems: &mut Vec<Problem>, text: &str, span: Option<Range<usize>>) {
    problems.push(Problem { text: text.to_owned(), span });
}

fn variable(name: &toml::Spanned<String>, scope: &Scope<'_>, problems: &mut Vec<Problem>) -> Index {
    scope.variables.get(name.get_ref()).copied().unwrap_or_else(|| {
        problem(problems, &format!("there is no variable `{}`", name.get_ref()), Some(name.span()));
        0
    })
}

fn value_set(name: &toml::Spanned<String>, scope: &Scope<'_>, problems: &mut Vec<Problem>) -> Index {
    scope.value_sets.get(name.get_ref()).copied().unwrap_or_else(|| {
        problem(problems, &format!("there is no value set `{}`", name.get_ref()), Some(name.span()));
        0
    })
}

fn decimal(text: &str, span: Range<usize>, problems: &mut Vec<Problem>) -> Decimal {
    text.parse().unwrap_or_else(|_| {
        problem(problems, &format!("`{text}` is not a decimal number"), Some(span));
        Decimal::ZERO
    })
}
