//! Which facts a criterion can be found to lack, by the trial's definition: so that a fact which no patient
//! lacks is shown with its zero, and not left out.

use crate::protocol::rule::Rule;
use crate::protocol::{Criterion, Trial};
use crate::score::{self, Inputs};

/// What a person has to settle where it is not sure who the subject is.
pub(super) const IDENTITY: &str = "identity";

/// The facts that this criterion can lack, in the order in which they are shown.
pub(super) fn of_criterion(trial: &Trial, criterion: &Criterion) -> Vec<String> {
    let mut facts = vec![attestation(criterion)];
    for rule in std::iter::once(&criterion.rule).chain(&criterion.clear_when) {
        rule.walk(&mut |rule| of_rule(trial, rule, &mut facts));
    }
    ordered(trial, facts)
}

/// The facts that any criterion can lack, and who the subject is.
pub(super) fn of_trial(trial: &Trial) -> Vec<String> {
    let of_criteria = trial.criteria.iter().flat_map(|c| of_criterion(trial, c));
    ordered(trial, of_criteria.chain([IDENTITY.to_owned()]).collect())
}

/// A person's word settles any criterion that the data leave open.
fn attestation(criterion: &Criterion) -> String {
    format!("attestation:{}", criterion.id)
}

fn of_rule(trial: &Trial, rule: &Rule, facts: &mut Vec<String>) {
    match rule {
        Rule::Age { .. } => facts.push("birth-date".to_owned()),
        Rule::Sex(_) => facts.push("sex".to_owned()),
        Rule::Result { variable, .. } | Rule::Answer { variable, .. } => {
            facts.push(trial.variables[*variable as usize].id.clone());
        }
        // Of somebody of whom nothing is known, a score lacks everything that it is made of.
        Rule::Score { score, .. } => {
            let of_nobody = score::all(&Inputs::default(), &trial.score_options);
            let missing = of_nobody.get(score).map(|s| s.missing.as_slice()).unwrap_or_default();
            facts.extend(missing.iter().map(|name| (*name).to_owned()));
        }
        Rule::Consent => facts.push("consent".to_owned()),
        // Only a person can say, which is the attestation; or rules of their own, which are walked.
        Rule::Finding(_) | Rule::Allergies { .. } | Rule::OtherStudy { .. } | Rule::Attested => {}
        Rule::All(_) | Rule::Any(_) | Rule::Not(_) => {}
    }
}

/// Results in the trial's order, then what else is in the record, then consent, attestations, identity: from
/// what a laboratory has to what only a person knows.
fn ordered(trial: &Trial, mut facts: Vec<String>) -> Vec<String> {
    let rank = |fact: &str| match fact.strip_prefix("attestation:") {
        Some(criterion) => (3, trial.criterion(criterion)),
        None if fact == IDENTITY => (4, None),
        None if fact == "consent" => (2, None),
        None => match trial.variable(fact) {
            Some(variable) => (0, Some(variable)),
            None => (1, None),
        },
    };
    facts.sort_by(|a, b| rank(a).cmp(&rank(b)).then_with(|| a.cmp(b)));
    facts.dedup();
    facts
}
