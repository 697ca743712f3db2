//! What eligibility needs of each patient, as searches: one a resource type, with all needed codes.

use super::fhir_pull::{CodeList, Need};
use crate::fact::Kind;
use crate::protocol::Trial;
use crate::protocol::rule::Rule;
use std::collections::BTreeSet;

/// The searches of a trial. Diagnoses, drugs and procedures are asked for without codes: their
/// classifications are matched by what stands below a code, which a search cannot say, and an entry
/// with a code that nobody can read has to be seen.
///
/// `offered`: what the server lets one search Observations by, where it says so. A value may stand in a
/// component of a panel, which `code` alone does not find: a server that cannot be asked for components
/// is asked for all Observations.
pub fn of(trial: &Trial, offered: Option<&BTreeSet<&str>>) -> Vec<Need> {
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
        let tokens: Vec<String> = tokens.into_iter().collect();
        let offers = |name: &str| offered.is_some_and(|o| o.contains(name));
        let parameters: &[&str] = if offers("combo-code") {
            &["combo-code"]
        } else if offers("code") && offers("component-code") {
            &["code", "component-code"]
        } else {
            &[]
        };
        let list = |p: &&str| CodeList { parameter: (*p).to_owned(), tokens: tokens.clone() };
        needs.push(Need { code_lists: parameters.iter().map(list).collect(), ..plain("Observation") });
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

/// Every type that the trial reads: what is searched for, and what is looked up by reference.
pub fn types(trial: &Trial) -> BTreeSet<String> {
    let found = of(trial, None).into_iter().map(|n| n.resource_type);
    let followed = ["Patient", "Medication", "ResearchStudy"].map(str::to_owned);
    found.chain(followed).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Definition;
    use crate::protocol::document::SiteFile;

    #[test]
    fn components_of_panels_are_asked_for() {
        let trial = Trial::compile(&Definition::shipped(), &SiteFile::default()).expect("the shipped trial");
        let parameters = |offered: Option<&[&str]>| {
            let offered = offered.map(|o| o.iter().copied().collect::<BTreeSet<_>>());
            let needs = of(&trial, offered.as_ref());
            let observation = needs.into_iter().find(|n| n.resource_type == "Observation").expect("a need");
            observation.code_lists.into_iter().map(|l| l.parameter).collect::<Vec<_>>()
        };
        assert_eq!(parameters(Some(&["code", "combo-code", "component-code"])), ["combo-code"]);
        assert_eq!(parameters(Some(&["code", "component-code"])), ["code", "component-code"]);
        assert!(parameters(Some(&["code"])).is_empty(), "all Observations rather than half a panel");
        assert!(parameters(None).is_empty());
    }
}
