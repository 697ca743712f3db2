//! What is said of a criterion beside its verdict: why it is open, what would settle it, and what it rests on.
//! Whoever acts on a verdict reads these and not the data.

use crate::resources::*;
use crate::runner::*;
use serde_json::{Value, json};

/// What is recorded beside a man, and the criterion.
type Case = (&'static str, Vec<Value>, &'static str);

/// The codes of the reasons and their words.
const WORDS: &[(&str, &str)] = &[
    ("not-found", "nothing is recorded, and the record is not declared complete"),
    ("stale", "the last result is older than its window"),
    ("conflict", "results of the same time disagree"),
    ("date-imprecise", "a date is too coarse for the window"),
    ("straddles", "what is known lies on both sides of the limit"),
    ("unconfirmed", "an entry is not confirmed"),
    ("date-unknown", "an entry has no certain time"),
    ("route-unknown", "the route of a drug is not given"),
    ("unreadable", "the newest result is none of the known answers"),
    ("unclassified", "an entry carries a code that may stand below a listed one"),
    ("unresolved-reference", "the study of an entry was not received"),
    ("unmapped", "an entry carries a code that cannot be read here"),
    ("hint", "a drug's name suggests it, and it has no code"),
    ("needs-attestation", "only a person can say"),
];

/// Judges the cases, each of a man unless it brings a Patient of its own, and returns what is said.
fn judge(cases: &[Case], site: Option<&str>) -> Vec<Value> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("site.toml");
    std::fs::write(&path, site.unwrap_or("id = \"plain\"\n")).expect("a site file");
    let path = path.to_str().expect("a path").to_owned();
    let rows: Vec<Row> = cases
        .iter()
        .map(|(name, resources, _)| {
            let has_patient = resources.iter().any(|r| r["resourceType"] == "Patient");
            let own = (!has_patient).then(man).into_iter();
            ((*name).to_owned(), own.chain(resources.iter().cloned()).collect())
        })
        .collect();
    let screenings = screen_table(&rows, &["--site", &path]);
    cases.iter().zip(&screenings).map(|((.., criterion), s)| criterion_of(s, criterion).clone()).collect()
}

fn texts(list: &Value) -> Vec<&str> {
    list.as_array().map(|l| l.iter().map(|x| x.as_str().expect("a text")).collect()).unwrap_or_default()
}

/// The evidence in words.
fn evidence(judged: &Value) -> Vec<&str> {
    let all = judged["evidence"].as_array().expect("evidence");
    all.iter().map(|e| e["summary"].as_str().expect("a summary")).collect()
}

/// A case, the reasons why it is open, what would settle it, and the evidence.
type Open = (Case, &'static [&'static str], &'static [&'static str], &'static [&'static str]);

/// Compares; the reason in words is that of the codes.
fn open(lines: Vec<Open>, site: Option<&str>) {
    let cases: Vec<Case> = lines.iter().map(|(case, ..)| case.clone()).collect();
    for (((name, _, criterion), why, needs, shown), judged) in lines.iter().zip(judge(&cases, site)) {
        assert_eq!(texts(&judged["why"]), *why, "{criterion}, {name}");
        assert_eq!(texts(&judged["needs"]), *needs, "{criterion}, {name}");
        assert_eq!(evidence(&judged), *shown, "{criterion}, {name}");
        let word = |code: &&str| WORDS.iter().find(|(c, _)| c == code).expect("a known code").1;
        let words = why.iter().map(word).collect::<Vec<_>>().join("; ");
        let reason = judged["reason"].as_str().expect("a reason");
        // What a result is missing for stands behind.
        let more = reason.strip_prefix(&*words).unwrap_or_else(|| panic!("{criterion}, {name}: {reason}"));
        assert!(more.is_empty() || more.starts_with("; a result for "), "{criterion}, {name}: {reason}");
    }
}

#[test]
#[rustfmt::skip] // a table: one case a line
fn why_it_is_open() {
    let cirrhosis = || condition(WHO, "K74.6");
    let bilirubin = |value: &str, when: &str| lab("1975-2", value, "mg/dL", when);
    let confirmed = |answer: &str| finding("44873-8", answer, RECENT);
    let infarction = |when: &str| with(with(condition(CM, "I21.4"), clinical("resolved")), json!({"onsetDateTime": when}));
    let unnamed = |status: &str, when: &str| with(consent(status, when), json!({"identifier": null}));
    let undated = |consent: Value| with(consent, json!({"dateTime": null}));
    let takes_part = |status: &str, study: &str, period: Value| participation(status, &format!("ResearchStudy/{study}"), period);
    let theirs = || study("theirs", "NCT00000001");
    let drug = |words: &str| with(order(RXNORM, "8640", "2026-08-01"), json!({"medicationCodeableConcept": {"text": words}}));
    const HAS_CIRRHOSIS: &str = "cirrhosis of the liver (K74.6), 2026-10-01, active";
    open(
        vec![
            (("no birth date", vec![with(man(), json!({"birthDate": null}))], "I1"), &["not-found"], &["birth-date"], &[]),
            (("a year across the limit", vec![patient("male", "2008")], "I1"), &["straddles"], &["birth-date"], &["age [17, 18] on 2026-11-22"]),
            (("nothing", vec![], "I2"), &["not-found"], &["attestation:I2"], &[]),
            (("one result would settle it", vec![cirrhosis()], "I2"), &["not-found"], &["bilirubin_total"], &[HAS_CIRRHOSIS]),
            (("an old result", vec![cirrhosis(), bilirubin("9", "2026-01-01")], "I2"), &["not-found", "stale"], &["bilirubin_total"], &[HAS_CIRRHOSIS]),
            (("a result of some day", vec![cirrhosis(), bilirubin("9", "2026-11")], "I2"), &["not-found", "date-imprecise"], &["bilirubin_total"], &[HAS_CIRRHOSIS]),
            (("two results", vec![cirrhosis(), bilirubin("9", RECENT), bilirubin("2", RECENT)], "I2"), &["not-found", "conflict"], &["bilirubin_total"], &[HAS_CIRRHOSIS]),
            (("no consent", vec![], "I3"), &["not-found"], &["consent"], &[]),
            (("no date", vec![undated(consent("active", ""))], "I3"), &["date-unknown"], &["consent"], &[]),
            (("a month", vec![consent("active", "2026-11")], "I3"), &["date-imprecise"], &["consent"], &["consent not surely valid on the day, 2026-11"]),
            (("refused in general, later", vec![consent("active", "2026-11-19"), unnamed("inactive", "2026-11-20")], "I3"), &["conflict"], &["consent"], &["consent refused or withdrawn, 2026-11-20"]),
            (("refused some day", vec![consent("active", "2026-11-19"), undated(consent("inactive", ""))], "I3"), &["date-unknown"], &["consent"], &["consent refused or withdrawn, without a date"]),
            (("nothing", vec![], "E1"), &["not-found"], &["attestation:E1"], &[]),
            (("suspected", vec![with(condition(WHO, "C22.0"), verification("differential"))], "E1"), &["unconfirmed"], &["attestation:E1"],
                &["malignant, in-situ or uncertain neoplasm (C22.0), 2026-10-01, active; unconfirmed"]),
            (("suspected, and a local code", vec![with(condition(WHO, "C22.0"), verification("differential")), condition("urn:his", "4711")], "E1"),
                &["unconfirmed", "unmapped"], &["attestation:E1"], &["malignant, in-situ or uncertain neoplasm (C22.0), 2026-10-01, active; unconfirmed"]),
            (("nothing", vec![], "E3"), &["not-found", "needs-attestation"], &["attestation:E3"], &[]),
            (("some time this year", vec![infarction("2026")], "E3"), &["not-found", "date-unknown", "needs-attestation"], &["attestation:E3"],
                &["myocardial infarction, pulmonary embolism, cerebral infarction or haemorrhage (I21.4), 2026; time not certain"]),
            (("nothing", vec![], "E4"), &["needs-attestation"], &["attestation:E4"], &[]),
            (("an old screening", vec![finding("56888-1", NEGATIVE, "2026-01-01")], "E5"), &["not-found"], &["hiv_screen"], &[]),
            (("two confirmatory tests", vec![confirmed(POSITIVE), confirmed(NEGATIVE)], "E5"), &["not-found", "conflict"], &["attestation:E5"], &[]),
            (("an answer nobody knows", vec![confirmed("1")], "E5"), &["not-found", "unreadable"], &["attestation:E5"], &[]),
            (("prednisone, no route", vec![order(RXNORM, "8640", "2026-08-01")], "E6"), &["not-found", "route-unknown"], &["attestation:E6"],
                &["glucocorticoid, by ingredient (8640), 2026-08-01 to 2026-08-01; route not given"]),
            (("prednisolone by name", vec![drug("Prednisolone 5 mg")], "E6"), &["unmapped", "hint"], &["attestation:E6"],
                &["glucocorticoid, by ingredient, 2026-08-01 to 2026-08-01; name only"]),
            (("nothing", vec![], "E8"), &["not-found"], &["attestation:E8"], &[]),
            (("in this study", vec![study("ours", "NCT06242405"), takes_part("on-study", "ours", json!({"start": "2026-01-01"}))], "E8"), &["not-found"], &["attestation:E8"], &[]),
            (("a candidate of another", vec![theirs(), takes_part("candidate", "theirs", json!({"start": "2026-01-01"}))], "E8"), &["not-found"], &["attestation:E8"], &[]),
            (("left another in October", vec![theirs(), takes_part("off-study", "theirs", json!({"start": "2026-01-01", "end": "2026-10"}))], "E8"), &["date-unknown"], &["attestation:E8"],
                &["takes part in another study, 2026-01-01/2026-10"]),
            (("in a study that nobody sent", vec![takes_part("on-study", "gone", json!({"start": "2026-01-01"}))], "E8"), &["unresolved-reference"], &["attestation:E8"],
                &["takes part in another study, 2026-01-01/"]),
            (("a woman", vec![woman()], "E9"), &["not-found"], &["pregnancy_test", "breastfeeding"], &[]),
            (("a woman who does not breastfeed", vec![woman(), finding("63895-7", "373067005", "2026-11-10")], "E9"), &["not-found"], &["pregnancy_test"], &["Breastfeeding no, 2026-11-10"]),
            (("sex not known", vec![patient("unknown", "1986-05-01")], "E9"), &["not-found"], &["pregnancy_test", "breastfeeding"], &[]),
            (("an allergy of no category", vec![allergy("medication", "1"), with(allergy("medication", "2"), json!({"category": null}))], "E10"), &["not-found", "unconfirmed"], &["attestation:E10"],
                &["allergy, medication", "allergy, category not given"]),
            (("no known allergy", vec![with(allergy("medication", "716186003"), json!({"category": null}))], "E10"), &["not-found"], &["attestation:E10"], &["no known allergy is recorded"]),
        ],
        None,
    );
    let gone = || with(drug(""), json!({"medicationCodeableConcept": null, "medicationReference": {"reference": "Medication/gone"}}));
    open(
        vec![
            (("a local code", vec![condition("urn:his", "4711")], "E1"), &["unmapped"], &["attestation:E1"], &[]),
            (("a SNOMED code that is not listed", vec![condition(SNOMED, "25370001")], "E1"), &["unclassified"], &["attestation:E1"], &[]),
            (("a drug that nobody sent", vec![gone()], "E6"), &["unmapped"], &["attestation:E6"], &[]),
        ],
        Some(COMPLETE),
    );
}

#[test]
#[rustfmt::skip] // a table: one case a line
fn a_question_of_the_protocol_is_the_reason() {
    let heart_failure = with(condition(WHO, "I50.9"), json!({"onsetDateTime": "2026-11-01"}));
    let lines: Vec<(Case, &str, &str)> = vec![
        (("a history", vec![condition(WHO, "Z85.0")], "E1"), "a past malignant neoplasm is recorded", "personal history of a malignant neoplasm (Z85.0), 2026-10-01, active"),
        (("heart failure", vec![heart_failure], "E3"), "heart failure is recorded without saying whether it is acute", "heart failure, not said to be acute (I50.9), 2026-11-01, active"),
        (("reactive", vec![finding("56888-1", POSITIVE, RECENT)], "E5"), "the screening test is reactive and needs a confirmatory test", "HIV antigen or antibody, screening positive, 2026-11-20T08:00:00+08:00"),
    ];
    let cases: Vec<Case> = lines.iter().map(|(case, ..)| case.clone()).collect();
    for (((name, _, criterion), reason, shown), judged) in lines.iter().zip(judge(&cases, None)) {
        assert_eq!(judged["verdict"], "unknown", "{name}");
        assert_eq!(judged["reason"], *reason, "{name}");
        assert_eq!(evidence(&judged), [*shown], "{name}");
        assert_eq!(texts(&judged["needs"]), [format!("attestation:{criterion}")], "{name}");
    }
}

#[test]
#[rustfmt::skip] // a table: one case a line
fn what_a_decided_verdict_rests_on() {
    let cirrhosis = || condition(WHO, "K74.6");
    let bilirubin = |value: &str| lab("1975-2", value, "mg/dL", RECENT);
    const HAS_CIRRHOSIS: &str = "cirrhosis of the liver (K74.6), 2026-10-01, active";
    let theirs = || study("theirs", "NCT00000001");
    let takes_part = |period: Value| participation("on-study", "ResearchStudy/theirs", period);
    let check = |lines: Vec<(Case, &str, Vec<&str>)>, site: Option<&str>| {
        let cases: Vec<Case> = lines.iter().map(|(case, ..)| case.clone()).collect();
        for (((name, _, criterion), verdict, shown), judged) in lines.iter().zip(judge(&cases, site)) {
            assert_eq!(judged["verdict"], *verdict, "{criterion}, {name}");
            assert_eq!(evidence(&judged), *shown, "{criterion}, {name}");
            assert_eq!(judged["reason"], shown.join("; "), "{criterion}, {name}");
            assert!(judged["why"].is_null() && judged["needs"].is_null(), "{criterion}, {name}: {judged}");
        }
    };
    check(
        vec![
            (("60 years", vec![], "I1"), "met", vec!["age 60 on 2026-11-22"]),
            (("deceased", vec![with(man(), json!({"deceasedBoolean": true}))], "I1"), "not-met", vec!["deceased"]),
            (("a result, and the score that it decides", vec![cirrhosis(), bilirubin("4")], "I2"), "met", vec![
                HAS_CIRRHOSIS,
                "Child-Pugh [7, 15]: bilirubin_total 4 mg/dL, 2026-11-20T08:00:00+08:00",
                "bilirubin_total 4 mg/dL, 2026-11-20T08:00:00+08:00"]),
            (("MELD", vec![cirrhosis(), bilirubin("2.0"), lab("6301-6", "1.5", "1", RECENT), lab("2160-0", "1.2", "mg/dL", RECENT)], "I2"), "met", vec![
                HAS_CIRRHOSIS,
                "MELD (UNOS) 15: bilirubin_total 2 mg/dL, 2026-11-20T08:00:00+08:00",
                "MELD (UNOS) 15: inr 1.5 1, 2026-11-20T08:00:00+08:00",
                "MELD (UNOS) 15: creatinine 1.2 mg/dL, 2026-11-20T08:00:00+08:00"]),
            (("Child-Pugh, with grades of the bedside", vec![cirrhosis(), lab("1751-7", "27", "g/L", RECENT), lab("6301-6", "2.4", "1", RECENT), grades("2026-11-20", "mild", "0")], "I2"), "met", vec![
                HAS_CIRRHOSIS,
                "Child-Pugh [10, 12]: albumin 27 g/L, 2026-11-20T08:00:00+08:00",
                "Child-Pugh [10, 12]: inr 2.4 1, 2026-11-20T08:00:00+08:00",
                "Child-Pugh [10, 12]: ascites mild, 2026-11-20",
                "Child-Pugh [10, 12]: encephalopathy 0, 2026-11-20"]),
            (("a converted result, to four decimals", vec![cirrhosis(), lab("14631-6", "100", "umol/L", RECENT)], "I2"), "met", vec![
                HAS_CIRRHOSIS,
                "Child-Pugh [7, 15]: bilirubin_total 5.848 mg/dL, 2026-11-20T08:00:00+08:00",
                "bilirubin_total 5.848 mg/dL, 2026-11-20T08:00:00+08:00"]),
            (("given", vec![consent("active", "2026-11-19")], "I3"), "met", vec!["consent given, 2026-11-19"]),
            (("refused", vec![consent("rejected", "2026-11-19")], "I3"), "not-met", vec!["consent refused or withdrawn, 2026-11-19"]),
            (("expired", vec![with(consent("active", "2026-11-19"), json!({"provision": {"period": {"end": "2026-11-21"}}}))], "I3"), "not-met", vec!["consent expired, 2026-11-19"]),
            (("two tumours", vec![condition(WHO, "C22.0"), condition(WHO, "C18.9")], "E1"), "excludes", vec![
                "malignant, in-situ or uncertain neoplasm (C22.0), 2026-10-01, active",
                "malignant, in-situ or uncertain neoplasm (C18.9), 2026-10-01, active"]),
            (("one tumour, another suspected", vec![condition(WHO, "C22.0"), with(condition(WHO, "C18.9"), verification("differential"))], "E1"), "excludes", vec![
                "malignant, in-situ or uncertain neoplasm (C22.0), 2026-10-01, active"]),
            (("a negative screening", vec![finding("56888-1", NEGATIVE, RECENT)], "E5"), "clear", vec!["HIV antigen or antibody, screening negative, 2026-11-20T08:00:00+08:00"]),
            (("a positive confirmatory test", vec![finding("44873-8", POSITIVE, RECENT)], "E5"), "excludes", vec!["HIV, confirmatory test positive, 2026-11-20T08:00:00+08:00"]),
            (("an order that is over", vec![order(ATC, "H02AB06", "2026-08-01")], "E6"), "excludes", vec!["systemic glucocorticoid (H02AB06), 2026-08-01 to 2026-08-01"]),
            (("an order that goes on", vec![with(order(ATC, "H02AB06", "2024-01-01"), json!({"status": "active"}))], "E6"), "excludes", vec!["systemic glucocorticoid (H02AB06), 2024-01-01, active"]),
            (("both that it takes", vec![condition(WHO, "F20.0"), order(ATC, "N05AH03", "2026-01-01")], "E7"), "excludes", vec![
                "mental disorder (F20.0), 2026-10-01, active", "psychotropic drug (N05AH03), 2026-01-01 to 2026-01-01"]),
            (("in another study", vec![theirs(), takes_part(json!({"start": "2026-01-01"}))], "E8"), "excludes", vec!["takes part in another study, 2026-01-01/"]),
            (("in another study, no period", vec![theirs(), with(takes_part(json!({})), json!({"period": null}))], "E8"), "excludes", vec!["takes part in another study"]),
            (("three allergies", vec![allergy("medication", "1"), allergy("medication", "2"), allergy("food", "3")], "E10"), "excludes", vec![
                "allergy, medication", "allergy, medication", "allergy, food"]),
        ],
        None,
    );
    let no_asthma = "no allergic asthma, allergic urticaria or eczema in Condition, declared complete by the site";
    let too_few = "fewer allergies than the protocol names, in a record declared complete by the site";
    check(
        vec![
            (("nothing", vec![], "E1"), "clear", vec!["no malignant, in-situ or uncertain neoplasm in Condition, declared complete by the site"]),
            (("nothing", vec![], "E10"), "clear", vec![too_few, no_asthma]),
            (("no known allergy", vec![with(allergy("medication", "716186003"), json!({"category": null}))], "E10"), "clear", vec![no_asthma, "no known allergy is recorded"]),
            (("two drugs", vec![allergy("medication", "1"), allergy("medication", "2")], "E10"), "clear", vec![too_few, no_asthma, "allergy, medication", "allergy, medication"]),
        ],
        Some(COMPLETE),
    );
    let said = judge(
        &[
            ("a man", vec![], "E9"),
            ("a woman", vec![woman(), finding("2106-3", NEGATIVE, RECENT), finding("63895-7", "373067005", "2026-11-10")], "E9"),
            ("attested no", vec![form("2026-11-20", &[("E1", false)])], "E1"),
            ("attested yes", vec![form("2026-11-20", &[("E1", true)])], "E1"),
        ],
        None,
    );
    let shown: Vec<_> = said.iter().map(|j| (j["reason"].as_str().expect("a reason"), evidence(j))).collect();
    assert_eq!(shown[0], ("does not apply to this subject", vec!["male"]));
    assert_eq!(shown[1].1, ["Pregnancy test (hCG) negative, 2026-11-20T08:00:00+08:00", "Breastfeeding no, 2026-11-10"]);
    assert_eq!(shown[2], ("attested", vec!["attested no, 2026-11-20"]));
    assert_eq!(shown[3], ("attested", vec!["attested yes, 2026-11-20"]));
}
