//! The invented patients: that each shows what it is there to show, and that a day gives the same bytes.

use std::collections::{BTreeMap, BTreeSet};

use chrono::NaiveDate;
use serde_json::Value;

use super::*;
use crate::eligibility::{Lookup, Screening, decide::Decision, screen};
use crate::fact::{Fact, Shared};
use crate::protocol::{Definition, Trial, document::SiteFile};
use crate::{mapping, normalize};

fn day() -> NaiveDate {
    NaiveDate::from_ymd_opt(2026, 11, 22).expect("a date")
}

fn of_type<'a>(case: &'a Case, kind: &str) -> Vec<&'a Value> {
    case.resources.iter().filter(|resource| resource["resourceType"] == kind).collect()
}

#[test]
fn the_same_day_gives_the_same_bytes() {
    let bytes = |as_of| serde_json::to_string(&synthetic_patients(as_of)).expect("JSON");
    assert_eq!(bytes(day()), bytes(day()));
    let next = day() + chrono::Days::new(1);
    assert_ne!(bytes(day()), bytes(next), "dates count back from the day");
}

#[test]
fn there_are_twenty_patients_a_dialect_in_order() {
    let cases = synthetic_cases(day());
    let ids: Vec<&str> = cases.iter().map(|case| case.id.as_str()).collect();
    let expected: Vec<String> = (1..=60).map(|number| format!("p-{number:03}")).collect();
    assert_eq!(ids, expected);
    let mut count = BTreeMap::new();
    for case in &cases {
        *count.entry(case.dialect).or_insert(0) += 1;
        assert_eq!(of_type(case, "Patient").len(), 1, "{}", case.id);
        assert_eq!(case.resources[0]["id"], case.id.as_str());
    }
    assert_eq!(count, BTreeMap::from([(Dialect::Shenyang, 20), (Dialect::Us, 20), (Dialect::Terse, 20)]));
}

#[test]
fn the_spread_covers_every_exclusion() {
    let mut count: BTreeMap<Intent, usize> = BTreeMap::new();
    for case in synthetic_cases(day()) {
        *count.entry(case.intent).or_default() += 1;
    }
    assert_eq!(count[&Intent::Eligible], 14);
    assert_eq!(count[&Intent::AwaitingConsent], 5);
    for criterion in ["I1", "I2", "E1", "E2", "E3", "E4", "E5", "E6", "E7", "E8", "E9", "E10", "E11"] {
        assert!(count.contains_key(&Intent::Ineligible(criterion)), "nobody is kept out by {criterion}");
    }
    let open = count.iter().filter(|(intent, _)| matches!(intent, Intent::Undetermined(_)));
    assert!(open.map(|(_, number)| number).sum::<usize>() >= 12);
}

#[test]
fn who_is_eligible_has_signed_and_answered_for_every_exclusion() {
    for case in synthetic_cases(day()) {
        let consents = of_type(&case, "Consent");
        match case.intent {
            Intent::Eligible => {
                assert!(consents.iter().any(|consent| consent["status"] == "active"), "{}", case.id)
            }
            Intent::AwaitingConsent | Intent::ScoreGap(_) => {
                assert!(consents.iter().all(|consent| consent["status"] != "active"), "{}", case.id);
            }
            _ => continue,
        }
        let forms = of_type(&case, "QuestionnaireResponse");
        let answers: BTreeMap<&str, &Value> = forms
            .iter()
            .flat_map(|form| form["item"].as_array().expect("items"))
            .map(|item| (item["linkId"].as_str().expect("linkId"), &item["answer"][0]))
            .collect();
        for item in ["E1", "E2", "E3", "E4", "E6", "E7", "E8", "E10", "E11"] {
            assert_eq!(answers[item]["valueBoolean"], false, "{} {item}", case.id);
        }
        if case.resources[0]["gender"] == "female" {
            assert_eq!(answers["E9"]["valueBoolean"], false, "{}", case.id);
        }
        let graded = answers.contains_key("ascites")
            || of_type(&case, "Observation")
                .iter()
                .any(|found| found["code"]["coding"][0]["code"] == "ascites");
        assert!(graded, "{}", case.id);
    }
}

#[test]
fn every_reference_and_every_member_is_there() {
    let resources = synthetic_patients(day());
    let known: BTreeSet<String> = resources
        .iter()
        .map(|found| {
            format!("{}/{}", found["resourceType"].as_str().unwrap_or(""), found["id"].as_str().unwrap_or(""))
        })
        .collect();
    fn check(value: &Value, known: &BTreeSet<String>) {
        match value {
            Value::Array(items) => items.iter().for_each(|item| check(item, known)),
            Value::Object(members) => {
                if let Some(Value::String(reference)) = members.get("reference") {
                    assert!(known.contains(reference), "{reference} leads nowhere");
                }
                members.values().for_each(|member| check(member, known));
            }
            _ => {}
        }
    }
    resources.iter().for_each(|resource| check(resource, &known));
    // One resource has two versions; all others are there once.
    assert_eq!(known.len() + 1, resources.len());
    for (kind, id, list, least) in
        [("Group", "liver-ward", "member", 20), ("List", "esld-screening", "entry", 19)]
    {
        let found =
            resources.iter().find(|found| found["resourceType"] == kind && found["id"] == id).expect(id);
        assert_eq!(found[list].as_array().map(Vec::len), Some(least), "{id}");
    }
}

#[test]
fn the_boundary_ages_hold_on_every_day() {
    // A leap day, the day after, the ends of a year.
    for (year, month, date) in [(2028, 2, 29), (2028, 3, 1), (2026, 1, 1), (2026, 12, 31)] {
        let as_of = NaiveDate::from_ymd_opt(year, month, date).expect("a date");
        let cases = synthetic_cases(as_of);
        for (id, age) in [("p-006", 80), ("p-016", 81), ("p-017", 17)] {
            let case = cases.iter().find(|case| case.id == id).expect(id);
            let birth: NaiveDate = case.resources[0]["birthDate"]
                .as_str()
                .and_then(|text| text.parse().ok())
                .expect("birthDate");
            assert_eq!(as_of.years_since(birth), Some(age), "{id} on {as_of}");
        }
    }
}

#[test]
fn the_shenyang_dialect_spells_as_its_instruments_do() {
    let cases = synthetic_cases(day());
    let text = |dialect| {
        let own: Vec<&Value> =
            cases.iter().filter(|case| case.dialect == dialect).flat_map(|case| &case.resources).collect();
        serde_json::to_string(&own).expect("JSON")
    };
    let shenyang = text(Dialect::Shenyang);
    for spelling in
        ["\u{b5}mol/L", "\u{3bc}mol/L", "IU/L", "10^9/L", "\"sec\"", "＜5.1", "总胆红素", "R18.x00"]
    {
        assert!(shenyang.contains(spelling), "{spelling}");
    }
    assert!(!shenyang.contains("mg/dL"), "SI units only");
    let us = text(Dialect::Us);
    assert!(
        us.contains("us-core-birthsex") && us.contains("medicationReference") && us.contains("\"component\"")
    );
    let terse = text(Dialect::Terse);
    for trait_of_it in
        ["entered-in-error", "amended", "preliminary", "dataAbsentReason", "\"comparator\":\"<\""]
    {
        assert!(terse.contains(trait_of_it), "{trait_of_it}");
    }
}

#[test]
fn the_site_mapping_covers_the_local_codes_that_matter() {
    let site: toml::Table =
        toml::from_str(include_str!("../../../mappings/sites/demo.toml")).expect("the site file is TOML");
    let mapped: BTreeSet<(&str, &str)> = site["code"]
        .as_array()
        .expect("codes")
        .iter()
        .map(|entry| (entry["system"].as_str().unwrap_or(""), entry["code"].as_str().unwrap_or("")))
        .collect();
    let resources = synthetic_patients(day());
    let mut unmapped = BTreeSet::new();
    for resource in &resources {
        for element in ["code", "medicationCodeableConcept"] {
            for coding in resource[element]["coding"].as_array().into_iter().flatten() {
                let system = coding["system"].as_str().unwrap_or("");
                let code = coding["code"].as_str().unwrap_or("");
                if system.starts_with("urn:oid:1.2.156.99999.") && !mapped.contains(&(system, code)) {
                    unmapped.insert(code);
                }
            }
        }
    }
    assert_eq!(unmapped, BTreeSet::from(["B-TOT", "DBIL", "KREA", "PTA", "QUICK-INR"]));
}

struct Drugs(BTreeMap<String, Shared>);

impl Lookup for Drugs {
    fn shared(&self, reference: &str) -> Option<&Shared> {
        self.0.get(reference)
    }
}

/// Through the same core as a real patient, the last version of each resource alone.
fn screened<'t>(case: &Case, trial: &'t Trial, as_of: NaiveDate) -> Screening<'t> {
    let name = |resource: &Value| {
        format!(
            "{}/{}",
            resource["resourceType"].as_str().unwrap_or(""),
            resource["id"].as_str().unwrap_or("")
        )
    };
    let latest: BTreeMap<String, String> =
        case.resources.iter().map(|resource| (name(resource), resource.to_string())).collect();
    let (mut facts, mut gaps, mut shared) = (Vec::new(), Vec::new(), BTreeMap::new());
    for (reference, text) in &latest {
        let mapped = mapping::apply(&normalize::fhir::record(text).expect("a readable resource"), trial);
        for fact in mapped.facts {
            if let Fact::Shared(one) = &fact {
                shared.insert(reference.clone(), one.clone());
            }
            facts.push(fact);
        }
        gaps.extend(mapped.gaps);
    }
    screen(trial, &format!("Patient/{}", case.id), as_of, &facts, &Drugs(shared), gaps)
}

#[test]
fn the_shipped_trial_reads_every_patient_as_intended() {
    let trial = Trial::compile(&Definition::shipped(), &SiteFile::demo()).expect("trial and site agree");
    let days = [(2026, 11, 22), (2027, 1, 5), (2028, 3, 1)]
        .map(|(year, month, day)| NaiveDate::from_ymd_opt(year, month, day).expect("a date"));
    for (as_of, case) in
        days.into_iter().flat_map(|day| synthetic_cases(day).into_iter().map(move |case| (day, case)))
    {
        let result = screened(&case, &trial, as_of);
        let deciding: Vec<&str> = result.deciding.iter().map(String::as_str).collect();
        let as_intended = match case.intent {
            Intent::Eligible => result.decision == Decision::Eligible,
            Intent::AwaitingConsent => result.decision == Decision::Undetermined && deciding == ["I3"],
            Intent::Ineligible(criterion) => {
                result.decision == Decision::Ineligible && deciding == [criterion]
            }
            Intent::Undetermined(criterion) => {
                result.decision == Decision::Undetermined && deciding.contains(&criterion)
            }
            Intent::ScoreGap(variable) => {
                let gap = result.gaps.iter().any(|gap| gap.variable.as_deref() == Some(variable));
                result.decision == Decision::Undetermined && deciding == ["I3"] && gap
            }
        };
        assert!(
            as_intended,
            "{as_of} {} ({}): {:?}, but {:?} {deciding:?}",
            case.id, case.story, case.intent, result.decision
        );
    }
}

#[test]
fn who_is_eligible_has_all_scores() {
    let trial = Trial::compile(&Definition::shipped(), &SiteFile::demo()).expect("trial and site agree");
    for case in synthetic_cases(day()).iter().filter(|case| case.intent == Intent::Eligible) {
        let result = serde_json::to_value(screened(case, &trial, day())).expect("a screening is JSON");
        for score in ["meld_unos", "meld_na", "meld3", "child_pugh", "albi"] {
            assert_eq!(
                result["scores"][score]["status"], "known",
                "{} {score}: {}",
                case.id, result["scores"][score]
            );
        }
    }
}

/// Invented, terse or contradictory, and valid FHIR all the same: what is wrong with a patient is wrong in the
/// content.
#[cfg(feature = "typed-r4")]
#[test]
fn every_resource_has_the_structure_of_r4() {
    use trialbridge_fhir_typed::{Release, check};
    for resource in synthetic_patients(day()) {
        let checked = check(Release::R4, resource.to_string().as_bytes());
        assert!(checked.is_ok(), "{}/{}: {checked:?}", resource["resourceType"], resource["id"]);
    }
}
