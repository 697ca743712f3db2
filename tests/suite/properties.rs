//! What holds for all inputs: the order, the number and the packing of the resources do not show; less
//! evidence never decides more; what was retracted was never there.

use crate::resources::*;
use crate::runner::{AS_OF, Ran, lines_of, run_in, screen};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::sync::OnceLock;
use trialbridge::collection::Collection;
use trialbridge::eligibility::evaluate::Context;
use trialbridge::eligibility::{Chart, Screening, Truth};
use trialbridge::fact::{Fact, Sex};
use trialbridge::protocol::Trial;
use trialbridge::protocol::rule::{Comparison, Rule};
use trialbridge::score;

fn trial() -> &'static Trial {
    static TRIAL: OnceLock<Trial> = OnceLock::new();
    TRIAL.get_or_init(Trial::shipped)
}

/// Screens in the pure core; each screening as its JSON.
fn judge(lines: &[String]) -> Vec<Value> {
    let mut collection = Collection::new(trial());
    for line in lines {
        collection.add(line.as_bytes(), "test").expect("a resource");
    }
    let day = AS_OF.parse().expect("a day");
    collection.settle().screen(day).map(|s: Screening| serde_json::to_value(&s).expect("JSON")).collect()
}

/// Two patients with everything that can make a difference.
fn mixture() -> Vec<String> {
    let versioned = |id: &str, version: &str, base: Value| {
        with(base, json!({"id": format!("$P-{id}"), "meta": {"versionId": version}}))
    };
    let extra = vec![
        versioned("v", "1", lab("777-3", "90", "10*9/L", RECENT)),
        versioned("v", "2", with(lab("777-3", "80", "10*9/L", RECENT), json!({"status": "corrected"}))),
        versioned("e", "1", condition(WHO, "C22.0")),
        versioned("e", "2", with(condition(WHO, "C22.0"), verification("entered-in-error"))),
        versioned("k", "7", lab("1742-6", "40", "U/L", RECENT)),
        versioned("k", "7", lab("1742-6", "50", "U/L", RECENT)),
        lab("1920-8", "60", "U/L", RECENT),
        lab("1920-8", "70", "U/L", RECENT),
        lab("6768-6", "60", "fL", RECENT),
        order(ATC, "L03AB11", "2026-01-15"),
        form("2026-11-20T09:00:00+08:00", &[("E4", true)]),
        allergy("medication", "1"),
    ];
    let mut lines = lines_of("a", &eligible());
    lines.extend(lines_of("b", &[eligible(), extra].concat()));
    lines.push(study("s", "NCT00000001").to_string());
    lines
}

fn zipped(text: &str) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text.as_bytes()).expect("memory");
    encoder.finish().expect("memory")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn packing_does_not_show(
        (lines, doubled, cuts) in (Just(mixture()).prop_shuffle(), prop::collection::vec(any::<prop::sample::Index>(), 0..9),
                                   prop::collection::vec((1usize..9, 0u8..5), 8))
    ) {
        let plain = screen(&[], mixture().join("\n").as_bytes());
        prop_assert_eq!(plain.code, 0);
        let mut lines = lines;
        for index in &doubled {
            lines.push(index.get(&lines).clone());
        }
        let folder = tempfile::tempdir().expect("a folder");
        let mut rest: &[String] = &lines;
        for (at, (size, kind)) in cuts.iter().cycle().enumerate() {
            if rest.is_empty() {
                break;
            }
            let (part, left) = rest.split_at((*size).min(rest.len()));
            rest = left;
            let entries: Vec<Value> =
                part.iter().map(|l| json!({"resource": serde_json::from_str::<Value>(l).expect("JSON")})).collect();
            let bundle = json!({"resourceType": "Bundle", "type": "collection", "entry": entries});
            let pretty = serde_json::to_string_pretty(&bundle).expect("JSON");
            let (name, bytes) = match kind {
                0 => ("ndjson", part.join("\n").into_bytes()),
                1 => ("ndjson", part.join("\r\n\r\n").into_bytes()),
                2 => ("json", bundle.to_string().into_bytes()),
                3 => ("json.gz", zipped(&pretty)),
                _ => ("ndjson.gz", zipped(&part.join("\n"))),
            };
            fs::write(folder.path().join(format!("{at:02}.{name}")), bytes).expect("a file");
        }
        let Ran { code, stdout, stderr } = run_in(folder.path(), &["screen", ".", "--as-of", AS_OF], b"");
        prop_assert_eq!(code, 0, "{}", stderr);
        prop_assert_eq!(String::from_utf8(stdout), String::from_utf8(plain.stdout));
    }
}

/// The verdicts of the only screening, by criterion.
fn verdicts(lines: &[String]) -> BTreeMap<String, String> {
    let screenings = judge(lines);
    let Some(screening) = screenings.first() else { return BTreeMap::new() };
    screening["criteria"]
        .as_array()
        .expect("criteria")
        .iter()
        .map(|c| {
            (
                c["id"].as_str().expect("an id").to_owned(),
                c["verdict"].as_str().expect("a verdict").to_owned(),
            )
        })
        .collect()
}

fn decision(lines: &[String]) -> Option<String> {
    judge(lines).first().map(|s| s["decision"].as_str().expect("a decision").to_owned())
}

fn is_favourable(verdict: &str) -> bool {
    ["met", "clear", "not-applicable"].contains(&verdict)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever is taken away from an eligible patient: nothing becomes adverse, and the patient stays
    /// eligible only if all fourteen verdicts are still favourable.
    #[test]
    fn less_evidence_never_decides_more(kept in prop::collection::vec(any::<bool>(), 12)) {
        let all = lines_of("p", &eligible());
        prop_assert_eq!(all.len(), kept.len());
        let some: Vec<String> = all.iter().zip(&kept).filter(|(_, keep)| **keep).map(|(l, _)| l.clone()).collect();
        let verdicts = verdicts(&some);
        for (criterion, verdict) in &verdicts {
            prop_assert!(!["not-met", "excludes"].contains(&verdict.as_str()), "{} {}", criterion, verdict);
        }
        let all_favourable = verdicts.len() == 14 && verdicts.values().all(|v| is_favourable(v));
        match decision(&some).as_deref() {
            Some("eligible") => prop_assert!(all_favourable),
            Some("undetermined") => prop_assert!(!all_favourable),
            None => prop_assert!(some.is_empty()),
            other => prop_assert!(false, "{:?}", other),
        }
        // What cannot be missing: the patient, cirrhosis, the HIV test, the consent and the form.
        for needed in [0, 1, 8, 10, 11] {
            if !kept[needed] {
                prop_assert_ne!(decision(&some), Some("eligible".to_owned()), "without {}", needed);
            }
        }
    }

    /// A positive finding is never outweighed by anything that is added beside it.
    #[test]
    fn what_excludes_goes_on_excluding(
        positive in prop::sample::select(vec![0usize, 1, 2, 3, 4]),
        kept in prop::collection::vec(any::<bool>(), 12),
    ) {
        let (criterion, finding) = match positive {
            0 => ("E1", condition(WHO, "C22.0")),
            1 => ("E2", condition(WHO, "Z94.4")),
            2 => ("E5", finding("44873-8", POSITIVE, "2025-01-01")),
            3 => ("E6", order(ATC, "H02AB06", "2026-08-01")),
            _ => ("E10", condition(WHO, "L20.9")),
        };
        let beside = eligible().into_iter().zip(&kept).filter(|(_, keep)| **keep).map(|(r, _)| r);
        let lines = lines_of("p", &[finding].into_iter().chain(beside).collect::<Vec<_>>());
        prop_assert_eq!(verdicts(&lines)[criterion].clone(), "excludes");
        prop_assert_eq!(decision(&lines), Some("ineligible".to_owned()));
    }

    /// A resource whose newer version is entered in error was never there.
    #[test]
    fn what_is_retracted_was_never_there(which in 1usize..11, before in any::<bool>()) {
        let all = lines_of("p", &eligible());
        let without: Vec<String> = all.iter().enumerate().filter(|(at, _)| *at != which).map(|(_, l)| l.clone()).collect();
        let mut resource: Value = serde_json::from_str(&all[which]).expect("JSON");
        resource["meta"] = json!({"versionId": "1", "lastUpdated": "2026-11-20T00:00:00Z"});
        let first = resource.to_string();
        resource["meta"] = json!({"versionId": "2", "lastUpdated": "2026-11-21T00:00:00Z"});
        if resource["resourceType"] == "Condition" {
            resource["verificationStatus"] = concept("http://terminology.hl7.org/CodeSystem/condition-ver-status", "entered-in-error");
        } else {
            resource["status"] = "entered-in-error".into();
        }
        let second = resource.to_string();
        let pair = if before { [second, first] } else { [first, second] };
        let retracted: Vec<String> = without.iter().cloned().chain(pair).collect();
        prop_assert_eq!(judge(&retracted), judge(&without));
    }

    /// Arbitrary bytes are a document or an error, never a panic; arbitrary changes of a resource too.
    #[test]
    fn nothing_panics(at in any::<prop::sample::Index>(), line in any::<prop::sample::Index>(), byte in any::<u8>(),
                      noise in prop::collection::vec(any::<u8>(), 0..64)) {
        let lines = mixture();
        let mut bytes = line.get(&lines).clone().into_bytes();
        let position = at.index(bytes.len());
        bytes[position] = byte;
        for input in [bytes, noise] {
            let mut collection = Collection::new(trial());
            let _ = collection.add(&input, "test");
            let settled = collection.settle();
            for screening in settled.screen(AS_OF.parse().expect("a day")) {
                prop_assert!(serde_json::to_string(&screening).is_ok());
            }
        }
    }
}

/// Facts of what a patient's record says, in part: without sex, birth date or some of the results.
fn facts(sex: bool, birth: bool, results: &[bool; 3]) -> Vec<Fact> {
    let mut person = man();
    if !sex {
        person = with(person, json!({"gender": null}));
    }
    if !birth {
        person = with(person, json!({"birthDate": null}));
    }
    let labs = [
        lab("1975-2", "3.0", "mg/dL", RECENT),
        lab("6301-6", "1.8", "1", RECENT),
        lab("2951-2", "134", "mmol/L", RECENT),
    ];
    let there = labs.into_iter().zip(results).filter(|(_, there)| **there).map(|(lab, _)| lab);
    let mut collection = Collection::new(trial());
    for line in lines_of("p", &[person].into_iter().chain(there).collect::<Vec<_>>()) {
        collection.add(line.as_bytes(), "test").expect("a resource");
    }
    collection.settle().subjects.into_values().flat_map(|s| s.facts).collect()
}

fn evaluate(rule: &Rule, facts: &[Fact]) -> Truth {
    let chart = Chart::new(trial(), AS_OF.parse().expect("a day"), facts, &());
    let scores = score::all(&score::Inputs::default(), &trial().score_options);
    Context { chart: &chart, scores: &scores }.evaluate(rule, true).truth
}

fn any_rule() -> impl Strategy<Value = Rule> {
    let result = |(name, limit, comparison): (&str, i64, Comparison)| Rule::Result {
        variable: trial().variable(name).expect("a variable"),
        bounds: vec![(comparison, limit.into())],
        within_days: None,
    };
    let comparisons = prop::sample::select(vec![Comparison::AtLeast, Comparison::Below]);
    let leaf = prop_oneof![
        (prop::sample::select(vec!["bilirubin_total", "inr", "sodium"]), 1i64..140, comparisons)
            .prop_map(result),
        (18u32..90).prop_map(|years| Rule::Age { at_least: Some(years), at_most: None }),
        any::<bool>().prop_map(|male| Rule::Sex(if male { Sex::Male } else { Sex::Female })),
        Just(Rule::Attested),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 1..4).prop_map(Rule::All),
            prop::collection::vec(inner.clone(), 1..4).prop_map(Rule::Any),
            inner.prop_map(|rule| Rule::Not(Box::new(rule))),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    /// What is decided on part of a record stays so when the rest comes to light.
    #[test]
    fn learning_what_was_unknown_flips_no_decided_rule(
        rule in any_rule(), sex in any::<bool>(), birth in any::<bool>(), results in any::<[bool; 3]>(),
    ) {
        let part = evaluate(&rule, &facts(sex, birth, &results));
        let whole = evaluate(&rule, &facts(true, true, &[true; 3]));
        prop_assert!(part == Truth::Unknown || part == whole, "{:?}: {:?}, then {:?}", rule, part, whole);
    }
}
