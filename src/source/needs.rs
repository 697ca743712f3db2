//! What eligibility needs of each patient, as searches: one a resource type, with all needed codes.

use super::fhir_pull::{CodeList, Need};
use crate::fact::Kind;
use crate::protocol::Trial;
use crate::protocol::rule::Rule;
use std::collections::BTreeSet;

/// The searches of a trial. Diagnoses, drugs and procedures are asked for without codes: their
/// classifications are matched by what stands below a code, which a search cannot say, and an entry
/// with a code that nobody can read has to be seen.
pub fn of(trial: &Trial) -> Vec<Need> {
    let mut kinds: BTreeSet<Kind> = BTreeSet::new();
    let (mut consent, mut participation) = (false, false);
    for criterion in &trial.criteria {
        let rules = std::iter::once(&criterion.rule)
            .chain(&criterion.applies)
            .chain(&criterion.clear_when)
            .chain(criterion.questions.iter().map(|(rule, _)| rule));
        for rule in rules {
            rule.walk(&mut |rule| match rule {
                Rule::Finding(f) => kinds.extend(f.kinds.iter().copied()),
                Rule::Allergies { .. } => {
                    kinds.insert(Kind::AllergyIntolerance);
                }
                Rule::Consent => consent = true,
                Rule::OtherStudy { .. } => participation = true,
                _ => {}
            });
        }
    }
    if !trial.scores.is_empty() {
        // Dialysis in the week before the creatinine.
        kinds.extend([Kind::Procedure, Kind::Condition]);
    }
    let plain = |resource_type: &str| Need {
        resource_type: resource_type.to_owned(),
        params: Vec::new(),
        patient_param: "patient".into(),
        code_lists: Vec::new(),
    };
    let mut tokens = BTreeSet::new();
    for variable in &trial.variables {
        for (system, code) in &variable.codes {
            tokens.insert(format!("{system}|{code}"));
            for (system, code) in trial.site.written_as(system, code) {
                tokens.insert(format!("{system}|{code}"));
            }
        }
    }
    let mut needs = Vec::new();
    if !tokens.is_empty() {
        needs.push(Need {
            code_lists: vec![CodeList { parameter: "code".into(), tokens: tokens.into_iter().collect() }],
            ..plain("Observation")
        });
    }
    needs.extend(kinds.iter().filter(|k| **k != Kind::Observation).map(|k| plain(k.name())));
    needs.push(plain("QuestionnaireResponse"));
    if consent {
        needs.push(plain("Consent"));
    }
    if participation {
        needs.push(plain("ResearchSubject"));
    }
    needs
}
