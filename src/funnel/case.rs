//! One patient as the funnel sees it: verdicts, reasons, what is missing. Read from a [`Screening`], or from
//! the JSON of one that was stored.
//!
//! Invariant: both ways give the same case for the same screening.

use crate::eligibility::Screening;
use crate::eligibility::decide::{Decision, Verdict};
use chrono::NaiveDate;
use serde::Deserialize;
use std::borrow::Cow;
use std::fmt;

/// What of one screening is counted. Keys that are not counted are skipped.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Case<'a> {
    /// Hash of the trial definition under which it was judged.
    #[serde(borrow)]
    pub definition: Cow<'a, str>,
    pub as_of: NaiveDate,
    pub decision: Decision,
    /// The subject that these records count for, where it is not this one.
    #[serde(default)]
    pub attached_to: Option<Cow<'a, str>>,
    /// Questions of identity that keep the subject from being eligible.
    #[serde(default)]
    pub blocked: Vec<Cow<'a, str>>,
    /// In the trial's order.
    #[serde(default)]
    pub criteria: Vec<Judged<'a>>,
    /// The facts that would settle an open decision.
    #[serde(default)]
    pub needs: Vec<Cow<'a, str>>,
    #[serde(default)]
    pub gaps: Vec<Unusable<'a>>,
}

/// One criterion of one patient.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Judged<'a> {
    #[serde(borrow)]
    pub id: Cow<'a, str>,
    pub verdict: Verdict,
    /// Reason codes; empty when decided.
    #[serde(default)]
    pub why: Vec<Cow<'a, str>>,
    #[serde(default)]
    pub needs: Vec<Cow<'a, str>>,
}

impl Judged<'_> {
    pub(super) fn is_open(&self) -> bool {
        !self.verdict.is_adverse() && !self.verdict.is_favourable()
    }
}

/// Why something of the patient's record could not be used.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Unusable<'a> {
    #[serde(borrow)]
    pub reason: Cow<'a, str>,
}

/// Why a case is not counted. Names no patient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// Judged under another definition of the trial: its verdicts answer other questions.
    Definition,
    /// The criteria are not those of the trial, or not in its order.
    Criteria,
    /// The decision does not follow from the verdicts.
    Contradiction,
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Unfit::Definition => "was judged under another definition of the trial",
            Unfit::Criteria => "does not hold the trial's criteria in the trial's order",
            Unfit::Contradiction => "holds a decision that does not follow from its verdicts",
        })
    }
}

impl std::error::Error for Unfit {}

impl<'a> Case<'a> {
    /// Reads a stored screening.
    ///
    /// # Errors
    /// Where the text is not the JSON of a screening.
    pub fn read(json: &'a str) -> Result<Case<'a>, serde_json::Error> {
        serde_json::from_str(json)
    }

    /// The decision that the verdicts come to.
    pub(super) fn follows(&self) -> Decision {
        match Decision::of(self.criteria.iter().map(|c| c.verdict)) {
            Decision::Eligible if !self.blocked.is_empty() => Decision::Undetermined,
            decision => decision,
        }
    }
}

impl<'a> From<&'a Screening<'_>> for Case<'a> {
    fn from(s: &'a Screening) -> Case<'a> {
        let names = |all: &'a [String]| all.iter().map(|name| Cow::from(name.as_str())).collect();
        let codes = |all: &[&'static str]| all.iter().map(|code| Cow::from(*code)).collect();
        Case {
            definition: s.definition.into(),
            as_of: s.as_of,
            decision: s.decision,
            attached_to: s.attached_to.as_deref().map(Cow::from),
            blocked: codes(&s.blocked),
            criteria: s
                .criteria
                .iter()
                .map(|c| Judged {
                    id: c.id.into(),
                    verdict: c.verdict,
                    why: codes(&c.why),
                    needs: names(&c.needs),
                })
                .collect(),
            needs: names(&s.needs),
            gaps: s.gaps.iter().map(|g| Unusable { reason: g.reason.code().into() }).collect(),
        }
    }
}
