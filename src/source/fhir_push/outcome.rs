//! The OperationOutcome: what went wrong or what became of something, for a person and for a program.
//!
//! Every issue has a severity, FHIR's issue type, a reason code of ours, a sentence with the remedy and,
//! where one is concerned, the element. None repeats a value that was sent.

use crate::fact::Reason;
use crate::pipeline::intake::Problem;
use serde::Serialize;
use std::borrow::Cow;

/// System of the reason codes.
pub const REASONS: &str = "urn:trialbridge:reason";
/// A sender with a thousand broken entries is told of so many.
const MOST: usize = 100;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Severity {
    Error,
    Warning,
    Information,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Issue {
    pub severity: Severity,
    /// FHIR's issue type.
    pub kind: &'static str,
    /// Code of ours.
    pub reason: &'static str,
    pub text: Cow<'static, str>,
    /// FHIRPath; empty: none.
    pub expression: String,
}

impl Issue {
    pub fn error(kind: &'static str, reason: &'static str, text: impl Into<Cow<'static, str>>) -> Issue {
        Issue { severity: Severity::Error, kind, reason, text: text.into(), expression: String::new() }
    }

    pub fn warning(kind: &'static str, reason: &'static str, text: impl Into<Cow<'static, str>>) -> Issue {
        Issue { severity: Severity::Warning, ..Issue::error(kind, reason, text) }
    }

    pub fn information(reason: &'static str, text: impl Into<Cow<'static, str>>) -> Issue {
        Issue { severity: Severity::Information, ..Issue::error("informational", reason, text) }
    }

    pub fn at(self, expression: impl Into<String>) -> Issue {
        Issue { expression: expression.into(), ..self }
    }

    /// What the intake found. `expression`: where, from the outermost resource on.
    pub fn of(problem: &Problem, expression: String) -> Issue {
        let severity = if problem.fatal { Severity::Error } else { Severity::Warning };
        Issue {
            severity,
            kind: issue_type(problem.reason),
            reason: problem.reason.code(),
            text: sentence(problem.reason),
            expression,
        }
    }
}

/// # Source
/// FHIR R4, http://hl7.org/fhir/R4/valueset-issue-type.html
fn issue_type(reason: Reason) -> &'static str {
    match reason {
        Reason::NotJson
        | Reason::Encoding
        | Reason::TooDeep
        | Reason::DuplicateKey
        | Reason::Structure
        | Reason::NotAMessage => "structure",
        Reason::UnknownType | Reason::NotSupported => "not-supported",
        Reason::SubjectMissing
        | Reason::UnitMissing
        | Reason::ValueMissing
        | Reason::SystemMissing
        | Reason::EffectiveMissing => "required",
        Reason::UnitUnknown | Reason::CodeConflict | Reason::Unmapped | Reason::AnswerUnknown => {
            "code-invalid"
        }
        Reason::UnitConflict
        | Reason::Implausible
        | Reason::ValueInvalid
        | Reason::UnexpectedType
        | Reason::DateInvalid
        | Reason::DateImprecise => "value",
        Reason::Unresolved => "not-found",
        Reason::Conflict | Reason::VersionConflict | Reason::Merged => "conflict",
        Reason::ProcessingFailed => "exception",
        Reason::DataAbsent | Reason::WrongStatus | Reason::TransactionRefused => "processing",
    }
}

/// What is wrong, and what to do.
fn sentence(reason: Reason) -> Cow<'static, str> {
    let what = match reason {
        Reason::NotJson => "This is not JSON: the sender has to correct it.",
        Reason::Encoding => "This is not UTF-8: send UTF-8.",
        Reason::TooDeep => "It is nested deeper than 64 levels: the sender has to flatten it.",
        Reason::DuplicateKey => "A key stands here twice: the sender has to leave one of them out.",
        Reason::Structure => "This element is missing or has not the form that FHIR gives it: correct it.",
        Reason::UnknownType => {
            "FHIR has no resource of this type. It is kept, set aside, and used for nothing: correct the type."
        }
        Reason::SubjectMissing => {
            "It names no patient that can be resolved, so it counts for nobody: send the reference."
        }
        Reason::UnitMissing => "The value has no unit, so it is not used: send the unit as a UCUM code.",
        Reason::UnitUnknown => {
            "The unit is not known, so the value is not used: send a UCUM code, or have the spelling added to \
             the site file and replay the message."
        }
        Reason::UnitConflict => {
            "Unit text and UCUM code disagree, so the value is not used: send it again with the right unit."
        }
        Reason::Implausible => {
            "No living person has such a value, so it is not used: check value and unit, and send it again."
        }
        Reason::ValueMissing => {
            "The result has no value, so nothing is used: send it, or say why it is absent."
        }
        Reason::ValueInvalid => "The value is not a FHIR decimal, so it is not used: send it again as one.",
        Reason::UnexpectedType => {
            "No number is taken from a value of this type without an approved rule: send a Quantity."
        }
        Reason::CodeConflict => "The codings contradict each other, so none is used: correct the mapping.",
        Reason::AnswerUnknown => {
            "The answer is none of those that are known: have it added to the site file."
        }
        Reason::EffectiveMissing => "It does not say when it was taken, so it is not used: send the time.",
        Reason::DateInvalid => {
            "This is not a FHIR date, or a time without a time zone: send it again as one."
        }
        Reason::NotSupported => "This interaction is not offered: send a create, an update or a delete.",
        Reason::TransactionRefused => "One entry cannot be used, so nothing of the transaction is taken.",
        other => {
            let mut text = other.hint().to_owned();
            if let Some(first) = text.get_mut(..1) {
                first.make_ascii_uppercase();
            }
            text.push('.');
            return text.into();
        }
    };
    what.into()
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Written<'a> {
    resource_type: &'static str,
    #[serde(skip_serializing_if = "str::is_empty")]
    id: &'a str,
    issue: Vec<WrittenIssue<'a>>,
}

#[derive(Serialize)]
struct WrittenIssue<'a> {
    severity: Severity,
    code: &'a str,
    details: Details<'a>,
    diagnostics: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    expression: Option<[&'a str; 1]>,
}

#[derive(Serialize)]
struct Details<'a> {
    coding: [Coding<'a>; 1],
}

#[derive(Serialize)]
struct Coding<'a> {
    system: &'static str,
    code: &'a str,
}

/// Issues as an OperationOutcome. At least one is given; after a hundred it says how many were left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    pub issues: Vec<Issue>,
    /// Where it is contained in another resource.
    pub id: &'static str,
}

impl Outcome {
    pub fn of(mut issues: Vec<Issue>) -> Outcome {
        if issues.len() > MOST {
            let more = issues.len() - MOST;
            issues.truncate(MOST);
            issues.push(Issue::information("more", format!("{more} more of the kind are not listed.")));
        }
        Outcome { issues, id: "" }
    }

    pub fn one(issue: Issue) -> Outcome {
        Outcome { issues: vec![issue], id: "" }
    }
}

impl Serialize for Outcome {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let issue = |i| {
            let Issue { severity, kind, reason, text, expression }: &Issue = i;
            WrittenIssue {
                severity: *severity,
                code: kind,
                details: Details { coding: [Coding { system: REASONS, code: reason }] },
                diagnostics: text,
                expression: (!expression.is_empty()).then_some([expression.as_str()]),
            }
        };
        let issue = self.issues.iter().map(issue).collect();
        Written { resource_type: "OperationOutcome", id: self.id, issue }.serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_issue_says_what_where_and_what_to_do() {
        let problem = Problem { reason: Reason::UnitMissing, path: "x".into(), fatal: false };
        let outcome = Outcome::one(Issue::of(&problem, "Observation.valueQuantity".into()));
        assert_eq!(
            serde_json::to_string(&outcome).expect("JSON"),
            concat!(
                r#"{"resourceType":"OperationOutcome","issue":[{"severity":"warning","code":"required","#,
                r#""details":{"coding":[{"system":"urn:trialbridge:reason","code":"unit-missing"}]},"#,
                r#""diagnostics":"The value has no unit, so it is not used: send the unit as a UCUM code.","#,
                r#""expression":["Observation.valueQuantity"]}]}"#
            )
        );
        let other = Problem { reason: Reason::Merged, path: String::new(), fatal: true };
        let issue = Issue::of(&other, String::new());
        assert_eq!(issue.text, "The record was merged into another; review by hand.");
        assert_eq!((issue.severity, issue.kind), (Severity::Error, "conflict"));
    }

    #[test]
    fn a_thousand_issues_are_counted() {
        let outcome = Outcome::of(vec![Issue::error("structure", "structure", "x"); 1000]);
        assert_eq!(outcome.issues.len(), 101);
        assert_eq!(outcome.issues[100].text, "900 more of the kind are not listed.");
    }

    #[cfg(feature = "typed-r4")]
    #[test]
    fn it_is_the_resource_that_r4_knows() {
        let issues = vec![
            Issue::error("login", "token-missing", "x").at("Bundle.entry[3].resource"),
            Issue::information("stored", "y"),
        ];
        let text = serde_json::to_vec(&Outcome::of(issues)).expect("JSON");
        trialbridge_fhir_typed::check(trialbridge_fhir_typed::Release::R4, &text).expect("an R4 resource");
    }
}
