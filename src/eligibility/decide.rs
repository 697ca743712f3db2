//! Criteria to verdicts, and verdicts to a decision.

use super::evaluate::{ATTESTATION, Context, Eval, Why, Whys, cost};
use super::evidence::{Evidence, Ground};
use super::truth::Truth;
use crate::clinical::time::days_before;
use crate::fact::Index;
use crate::protocol::{Criterion, CriterionKind};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// What is said of one criterion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// An inclusion that holds.
    Met,
    /// An inclusion that does not hold.
    NotMet,
    /// An exclusion that surely does not apply.
    Clear,
    /// An exclusion that applies.
    Excludes,
    /// An exclusion that cannot apply to this subject at all.
    NotApplicable,
    /// The data do not say.
    Unknown,
    /// Only a person can say.
    Attest,
}

impl Verdict {
    /// Does it let the subject in?
    pub fn is_favourable(self) -> bool {
        matches!(self, Verdict::Met | Verdict::Clear | Verdict::NotApplicable)
    }
    /// Does it keep the subject out?
    pub fn is_adverse(self) -> bool {
        matches!(self, Verdict::NotMet | Verdict::Excludes)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Decision {
    Eligible,
    Ineligible,
    Undetermined,
}

impl Decision {
    /// Ineligible if any verdict keeps the subject out; eligible only if every one lets it in.
    pub fn of(verdicts: impl Iterator<Item = Verdict> + Clone) -> Decision {
        if verdicts.clone().any(Verdict::is_adverse) {
            Decision::Ineligible
        } else if verdicts.clone().all(Verdict::is_favourable) && verdicts.count() > 0 {
            Decision::Eligible
        } else {
            Decision::Undetermined
        }
    }
    pub fn word(self) -> &'static str {
        match self {
            Decision::Eligible => "eligible",
            Decision::Ineligible => "ineligible",
            Decision::Undetermined => "undetermined",
        }
    }
}

/// One criterion judged.
#[derive(Clone, Debug)]
pub struct Judged<'t> {
    pub verdict: Verdict,
    pub reason: Cow<'t, str>,
    pub why: Whys,
    pub evidence: Vec<Evidence>,
    /// What would settle it, if it is open.
    pub needs: Vec<String>,
}

/// Judges one criterion.
pub fn judge<'t: 'a, 'a>(context: &Context<'a>, index: Index, criterion: &'t Criterion) -> Judged<'t> {
    let chart = context.chart;
    let inclusion = criterion.kind == CriterionKind::Inclusion;
    // A word in favour that was good for a time only is none after it; one against stands.
    let attestation = context.chart.attestations[index as usize].filter(|a| {
        let from = criterion.attestation_days.map(|days| days_before(context.chart.as_of, days));
        a.applies != inclusion || from.is_none_or(|from| a.when.first >= from)
    });
    let eval = context.evaluate(&criterion.rule, inclusion);
    // What the record shows stands, even where the criterion is not made for the subject.
    if let (Some(applies), true) = (&criterion.applies, eval.truth != Truth::True) {
        let e = context.evaluate(applies, false);
        if e.truth == Truth::False && attestation.is_none_or(|a| !a.applies) {
            let reason = "does not apply to this subject".into();
            return settled(Verdict::NotApplicable, reason, e.grounds.evidence(chart));
        }
    }
    let mut question: Option<(&'t str, Eval<'a>)> = None;
    if eval.truth != Truth::True {
        question = criterion.questions.iter().find_map(|(rule, reason)| {
            let asked = context.evaluate(rule, inclusion);
            (asked.truth == Truth::True).then_some((reason.as_str(), asked))
        });
    }
    let open_signal = question.is_some() || eval.why.iter().any(|w| !w.is_absence());
    let mut alternative: Option<Eval<'a>> = None;
    if eval.truth == Truth::Unknown
        && question.is_none()
        && eval.why.iter().all(|w| w.yields_to_negative())
        && attestation.is_none_or(|a| !a.applies)
        && let Some(rule) = &criterion.clear_when
    {
        let clear = context.evaluate(rule, true);
        if clear.truth == Truth::True {
            let evidence = clear.grounds.evidence(chart);
            return settled(Verdict::Clear, summary(&evidence).into(), evidence);
        }
        alternative = Some(clear);
    }
    // A question that the data raise is answered by a person, even where nothing else is open.
    let truth = if question.is_some() { Truth::Unknown } else { eval.truth };
    // The data decide; a person settles what they leave open. Where the two contradict each other
    // the safer one stands: an exclusion found is not talked away, and neither is one attested.
    let (truth, attested) = match (truth, attestation.map(|a| a.applies)) {
        (Truth::Unknown, Some(applies)) => (Truth::from(Some(applies)), true),
        (Truth::True, Some(false)) if inclusion => (Truth::False, true),
        (Truth::False, Some(true)) if !inclusion => (Truth::True, true),
        (truth, _) => (truth, false),
    };
    let mut evidence = eval.grounds.evidence(chart);
    if let Some((_, asked)) = &question {
        evidence.extend(asked.grounds.evidence(chart));
    }
    if let Some(a) = attestation.filter(|_| attested) {
        evidence.push(Ground::Attested(a).evidence(chart));
    }
    match truth {
        Truth::True | Truth::False => {
            let verdict = match (inclusion, truth == Truth::True) {
                (true, true) => Verdict::Met,
                (true, false) => Verdict::NotMet,
                (false, true) => Verdict::Excludes,
                (false, false) => Verdict::Clear,
            };
            let reason = if attested { "attested".into() } else { summary(&evidence).into() };
            settled(verdict, reason, evidence)
        }
        Truth::Unknown => {
            // Whatever the data would have to say, a person's word is always another way.
            let by_data = match question {
                None => eval.needs.into_iter().chain(alternative.and_then(|a| a.needs)),
                Some(_) => None.into_iter().chain(None),
            };
            let cheapest = by_data.filter(|n| !n.is_empty()).min_by_key(|n| cost(n));
            let needs: Vec<String> = match cheapest.filter(|n| cost(n) < ATTESTATION) {
                Some(names) => names.into_iter().map(str::to_owned).collect(),
                None => vec![["attestation:", &criterion.id].concat()],
            };
            let only_a_person = eval.why.contains(Why::NeedsAttestation) && !open_signal;
            let by_consent = needs.first().is_some_and(|n| n == "consent") && !open_signal;
            let verdict = if only_a_person || by_consent { Verdict::Attest } else { Verdict::Unknown };
            let reason = question.map_or_else(|| words(eval.why), |(reason, _)| reason.into());
            Judged { verdict, reason, why: eval.why, evidence, needs }
        }
    }
}

fn settled(verdict: Verdict, reason: Cow<'_, str>, evidence: Vec<Evidence>) -> Judged<'_> {
    Judged { verdict, reason, why: Whys::default(), evidence, needs: Vec::new() }
}

fn summary(evidence: &[Evidence]) -> String {
    let mut text = String::with_capacity(evidence.iter().map(|e| e.summary.len() + 2).sum());
    for (i, e) in evidence.iter().enumerate() {
        text.push_str(if i > 0 { "; " } else { "" });
        text.push_str(&e.summary);
    }
    text
}

/// The reasons in words.
fn words(why: Whys) -> Cow<'static, str> {
    let word = |w: Why| match w {
        Why::NotFound => "nothing is recorded, and the record is not declared complete",
        Why::Stale => "the last result is older than its window",
        Why::Conflict => "results of the same time disagree",
        Why::DateImprecise => "a date is too coarse for the window",
        Why::Straddles => "what is known lies on both sides of the limit",
        Why::Unconfirmed => "an entry is not confirmed",
        Why::DateUnknown => "an entry has no certain time",
        Why::RouteUnknown => "the route of a drug is not given",
        Why::Unreadable => "the newest result is none of the known answers",
        Why::Unclassified => "an entry carries a code that may stand below a listed one",
        Why::Unresolved => "the study of an entry was not received",
        Why::Unmapped => "an entry carries a code that cannot be read here",
        Why::Hint => "a drug's name suggests it, and it has no code",
        Why::NeedsAttestation => "only a person can say",
    };
    let mut all = why.iter().map(word);
    match (all.next(), all.next()) {
        (Some(only), None) => only.into(),
        _ => why.iter().map(word).collect::<Vec<_>>().join("; ").into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_never_counts_as_eligible() {
        use Verdict::*;
        for (verdicts, decision) in [
            (vec![Met, Clear, NotApplicable], Decision::Eligible),
            (vec![Met, Clear, Unknown], Decision::Undetermined),
            (vec![Met, Clear, Attest], Decision::Undetermined),
            (vec![Met, Excludes, Unknown], Decision::Ineligible),
            (vec![NotMet, Clear], Decision::Ineligible),
            (vec![], Decision::Undetermined),
        ] {
            assert_eq!(Decision::of(verdicts.iter().copied()), decision, "{verdicts:?}");
        }
    }
}
