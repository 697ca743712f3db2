//! Each criterion decided each way. A row: what is recorded beside the patient, the criterion, the
//! verdict.

use crate::resources::*;
use crate::runner::*;
use serde_json::{Value, json};

pub type Line = (&'static str, Vec<Value>, &'static str, &'static str);

/// Screens the lines, each with a man unless it brings a Patient of its own.
pub fn judge(lines: Vec<Line>, site: Option<&str>) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("site.toml");
    std::fs::write(&path, site.unwrap_or("id = \"plain\"\n")).expect("a site file");
    let path = path.to_str().expect("a path").to_owned();
    let rows: Vec<Row> = lines
        .iter()
        .map(|(name, resources, ..)| {
            let has_patient = resources.iter().any(|r| r["resourceType"] == "Patient");
            let own = (!has_patient).then(man).into_iter();
            ((*name).to_owned(), own.chain(resources.iter().cloned()).collect())
        })
        .collect();
    for (line, screening) in lines.iter().zip(screen_table(&rows, &["--site", &path])) {
        let (name, _, criterion, expected) = line;
        let judged = criterion_of(&screening, criterion);
        assert_eq!(judged["verdict"], *expected, "{criterion}, {name}: {judged}\ngaps {}", screening["gaps"]);
        let all = screening["criteria"].as_array().expect("criteria");
        assert_eq!(all.len(), 14, "{name}");
    }
}

#[test]
#[rustfmt::skip] // a table: one case a line
fn i1_age() {
    judge(
        vec![
            ("18 today", vec![patient("male", "2008-11-22")], "I1", "met"),
            ("18 tomorrow", vec![patient("male", "2008-11-23")], "I1", "not-met"),
            ("80 years and 364 days", vec![patient("male", "1945-11-23")], "I1", "met"),
            ("81 today", vec![patient("male", "1945-11-22")], "I1", "not-met"),
            ("a year across the limit", vec![patient("male", "2008")], "I1", "unknown"),
            ("a month across the limit", vec![patient("male", "2008-11")], "I1", "unknown"),
            ("a month above the limit", vec![patient("male", "2008-10")], "I1", "met"),
            ("a year below the limit", vec![patient("male", "1945")], "I1", "unknown"),
            ("a year across the upper limit", vec![patient("male", "1944")], "I1", "not-met"),
            ("no birth date", vec![json!({"resourceType": "Patient", "id": "$P"})], "I1", "unknown"),
            ("no such day", vec![patient("male", "1966-02-30")], "I1", "unknown"),
            ("born in the future", vec![patient("male", "2027-01-01")], "I1", "unknown"),
            ("deceased", vec![with(man(), json!({"deceasedBoolean": true}))], "I1", "not-met"),
            ("not deceased", vec![with(man(), json!({"deceasedBoolean": false}))], "I1", "met"),
            ("died", vec![with(man(), json!({"deceasedDateTime": "2026-11-01"}))], "I1", "not-met"),
            ("dies later", vec![with(man(), json!({"deceasedDateTime": "2026-12-01"}))], "I1", "met"),
        ],
        None,
    );
}

#[test]
#[rustfmt::skip] // a table: one case a line
fn i2_end_stage_liver_disease() {
    let cirrhosis = || condition(WHO, "K74.6");
    judge(
        vec![
            ("hepatic failure", vec![condition(WHO, "K72.9")], "I2", "met"),
            ("hepatic failure, Chinese edition", vec![condition(WHO, "K72.900x002")], "I2", "met"),
            ("hepatic failure, over a day later", vec![with(with(condition(WHO, "K72.9"), clinical("resolved")),
                json!({"onsetDateTime": "2026-10-01", "abatementDateTime": "2026-11-23"}))], "I2", "met"),
            ("hepatic failure, over that day", vec![with(with(condition(WHO, "K72.9"), clinical("resolved")),
                json!({"onsetDateTime": "2026-10-01", "abatementDateTime": "2026-11-22"}))], "I2", "unknown"),
            ("hepatic failure, over", vec![with(condition(WHO, "K72.9"), clinical("resolved"))], "I2", "unknown"),
            ("cirrhosis alone", vec![cirrhosis()], "I2", "unknown"),
            ("ascites alone", vec![condition(WHO, "R18")], "I2", "unknown"),
            ("cirrhosis and ascites", vec![cirrhosis(), condition(WHO, "R18")], "I2", "met"),
            // WHO I85.0 bleeds, CM I85.00 does not.
            ("WHO I85.0 is bleeding", vec![cirrhosis(), condition(WHO, "I85.0")], "I2", "met"),
            ("WHO I85.9 is not", vec![cirrhosis(), condition(WHO, "I85.9")], "I2", "unknown"),
            ("CM I85.00 is not", vec![cirrhosis(), condition(CM, "I85.00")], "I2", "unknown"),
            ("CM I85.01 is", vec![cirrhosis(), condition(CM, "I85.01")], "I2", "met"),
            ("CM K70.31 is both", vec![condition(CM, "K70.31")], "I2", "met"),
            ("portal hypertension is not", vec![cirrhosis(), condition(WHO, "K76.6")], "I2", "unknown"),
            ("bilirubin 3.0", vec![cirrhosis(), lab("1975-2", "3.0", "mg/dL", RECENT)], "I2", "met"),
            ("bilirubin 51.3 umol/L", vec![cirrhosis(), lab("14631-6", "51.3", "umol/L", RECENT)], "I2", "met"),
            ("bilirubin 51.2 umol/L", vec![cirrhosis(), lab("14631-6", "51.2", "umol/L", RECENT)], "I2", "unknown"),
            (
                "Child-Pugh 7 by what is known",
                vec![cirrhosis(), lab("1751-7", "27", "g/L", RECENT), lab("6301-6", "2.4", "1", RECENT)],
                "I2",
                "met",
            ),
            (
                "MELD 15",
                vec![
                    cirrhosis(),
                    lab("1975-2", "2.5", "mg/dL", RECENT),
                    lab("6301-6", "1.5", "1", RECENT),
                    lab("2160-0", "1.2", "mg/dL", RECENT),
                ],
                "I2",
                "met",
            ),
            (
                "compensated, and everything is known",
                vec![
                    cirrhosis(),
                    lab("1975-2", "0.8", "mg/dL", RECENT),
                    lab("6301-6", "1.0", "1", RECENT),
                    lab("2160-0", "0.8", "mg/dL", RECENT),
                    lab("1751-7", "42", "g/L", RECENT),
                    grades("2026-11-20", "none", "0"),
                ],
                "I2",
                "unknown",
            ),
            ("SNOMED cirrhosis, encephalopathy", vec![condition(SNOMED, "19943007"), condition(SNOMED, "13920009")], "I2", "met"),
            ("unconfirmed", vec![with(condition(WHO, "K72.9"), verification("provisional"))], "I2", "unknown"),
            ("refuted", vec![with(condition(WHO, "K72.9"), verification("refuted"))], "I2", "unknown"),
            ("no system", vec![with(condition(WHO, "K72.9"), json!({"code": {"coding": [{"code": "K72.9"}]}}))], "I2", "unknown"),
            ("an investigator says so", vec![cirrhosis(), form("2026-11-20", &[("I2", true)])], "I2", "met"),
            ("an investigator says no", vec![condition(WHO, "K72.9"), form("2026-11-20", &[("I2", false)])], "I2", "not-met"),
            // Cirrhosis does not pass; ascites does.
            ("cirrhosis without a status", vec![with(cirrhosis(), json!({"clinicalStatus": null})), condition(WHO, "R18")], "I2", "met"),
            ("ascites without a status", vec![cirrhosis(), with(condition(WHO, "R18"), json!({"clinicalStatus": null}))], "I2", "unknown"),
            ("recorded later", vec![with(condition(WHO, "K72.9"), json!({"recordedDate": "2026-11-23"}))], "I2", "unknown"),
        ],
        None,
    );
    judge(
        vec![
            ("no cirrhosis in a complete record", vec![condition(WHO, "I10")], "I2", "not-met"),
            (
                "compensated, and the record is complete",
                vec![
                    cirrhosis(),
                    lab("1975-2", "0.8", "mg/dL", RECENT),
                    lab("6301-6", "1.0", "1", RECENT),
                    lab("2160-0", "0.8", "mg/dL", RECENT),
                    lab("1751-7", "42", "g/L", RECENT),
                    grades("2026-11-20", "none", "0"),
                ],
                "I2",
                "not-met",
            ),
        ],
        Some(COMPLETE),
    );
}

#[test]
#[rustfmt::skip] // a table: one case a line
fn i3_consent() {
    let given = || consent("active", "2026-11-19");
    let unnamed = |status: &str, when: &str| with(consent(status, when), json!({"identifier": null}));
    let r5 = |status: &str, decision: &str| {
        with(
            consent(status, ""),
            json!({"scope": null, "patient": null, "dateTime": null, "date": "2026-11-19", "decision": decision,
                   "subject": {"reference": "Patient/$P"},
                   "category": [concept("http://terminology.hl7.org/CodeSystem/consentcategorycodes", "research")]}),
        )
    };
    let names = |extension: Value| {
        with(
            unnamed("active", "2026-11-19"),
            json!({"extension": [{"url": "http://hl7.org/fhir/StructureDefinition/workflow-researchStudy",
                                  "valueReference": extension}]}),
        )
    };
    judge(
        vec![
            ("none", vec![], "I3", "attest"),
            ("given", vec![given()], "I3", "met"),
            ("names no study", vec![unnamed("active", "2026-11-19")], "I3", "met"),
            ("names another study", vec![names(json!({"identifier": {"value": "NCT00000001"}}))], "I3", "attest"),
            ("names this one", vec![names(json!({"identifier": {"value": "NCT06242405"}}))], "I3", "met"),
            ("refers to this one", vec![names(json!({"reference": "ResearchStudy/ours"})), study("ours", "NCT06242405")], "I3", "met"),
            ("refers to another", vec![names(json!({"reference": "ResearchStudy/theirs"})), study("theirs", "NCT00000001")], "I3", "attest"),
            ("refers to one not received", vec![names(json!({"reference": "ResearchStudy/gone"}))], "I3", "attest"),
            ("about treatment", vec![with(given(), json!({"scope": concept("x", "treatment")}))], "I3", "attest"),
            ("withdrawn", vec![consent("inactive", "2026-11-19")], "I3", "not-met"),
            ("rejected", vec![consent("rejected", "2026-11-19")], "I3", "not-met"),
            ("denied", vec![with(given(), json!({"provision": {"type": "deny"}}))], "I3", "not-met"),
            ("a draft", vec![consent("draft", "2026-11-19")], "I3", "attest"),
            ("proposed", vec![consent("proposed", "2026-11-19")], "I3", "attest"),
            ("expired", vec![with(given(), json!({"provision": {"period": {"end": "2026-11-21"}}}))], "I3", "not-met"),
            ("expires today", vec![with(given(), json!({"provision": {"period": {"end": "2026-11-22"}}}))], "I3", "met"),
            ("expires some day this month", vec![with(given(), json!({"provision": {"period": {"end": "2026-11"}}}))], "I3", "unknown"),
            ("valid from tomorrow", vec![with(given(), json!({"provision": {"period": {"start": "2026-11-23"}}}))], "I3", "unknown"),
            ("signed tomorrow", vec![consent("active", "2026-11-23")], "I3", "attest"),
            ("signed this month", vec![consent("active", "2026-11")], "I3", "unknown"),
            ("without a date", vec![with(given(), json!({"dateTime": null}))], "I3", "unknown"),
            ("entered in error", vec![consent("entered-in-error", "2026-11-19")], "I3", "attest"),
            ("given, then withdrawn", vec![given(), consent("inactive", "2026-11-20")], "I3", "not-met"),
            ("withdrawn, then given", vec![consent("inactive", "2026-11-18"), given()], "I3", "met"),
            ("withdrawn on the same day", vec![given(), consent("inactive", "2026-11-19T09:00:00+08:00")], "I3", "not-met"),
            ("withdrawn some day", vec![given(), with(consent("inactive", ""), json!({"dateTime": null}))], "I3", "unknown"),
            ("research as such refused later", vec![given(), unnamed("inactive", "2026-11-20")], "I3", "unknown"),
            ("research as such refused before", vec![given(), unnamed("inactive", "2026-11-01")], "I3", "met"),
            ("this refused, research agreed to later", vec![consent("inactive", "2026-11-18"), unnamed("active", "2026-11-20")], "I3", "not-met"),
            ("R5", vec![r5("active", "permit")], "I3", "met"),
            ("R5, denied", vec![r5("active", "deny")], "I3", "not-met"),
            ("R5, not done", vec![r5("not-done", "permit")], "I3", "not-met"),
            ("R5, expired", vec![with(r5("active", "permit"), json!({"period": {"end": "2026-11-21"}}))], "I3", "not-met"),
            ("attested", vec![form("2026-11-20", &[("I3", true)])], "I3", "met"),
            ("attested against a withdrawal", vec![consent("inactive", "2026-11-19"), form("2026-11-20", &[("I3", true)])], "I3", "not-met"),
            ("attested as missing", vec![given(), form("2026-11-20", &[("I3", false)])], "I3", "not-met"),
        ],
        None,
    );
}

#[test]
#[rustfmt::skip] // a table: one case a line
fn e1_tumour() {
    judge(
        vec![
            ("nothing", vec![], "E1", "unknown"),
            ("hepatocellular carcinoma", vec![condition(WHO, "C22.0")], "E1", "excludes"),
            ("long over", vec![with(condition(WHO, "C18.9"), clinical("resolved"))], "E1", "excludes"),
            ("in situ", vec![condition(CM, "D05.1")], "E1", "excludes"),
            ("uncertain", vec![condition(CM, "D37.6")], "E1", "excludes"),
            ("malignant ascites", vec![condition(CM, "R18.0")], "E1", "excludes"),
            ("benign", vec![condition(WHO, "D13.4")], "E1", "unknown"),
            ("by its history", vec![condition(WHO, "Z85.0")], "E1", "unknown"),
            ("by its history, asked", vec![condition(WHO, "Z85.0"), form("2026-11-20", &[("E1", false)])], "E1", "clear"),
            ("suspected", vec![with(condition(WHO, "C22.0"), verification("differential"))], "E1", "unknown"),
            ("refuted", vec![with(condition(WHO, "C22.0"), verification("refuted"))], "E1", "unknown"),
            ("refuted under a local code first", vec![with(condition(WHO, "C22.0"),
                json!({"verificationStatus": {"coding": [{"system": "urn:his", "code": "7"},
                    {"system": "http://terminology.hl7.org/CodeSystem/condition-ver-status", "code": "refuted"}]}}))], "E1", "unknown"),
            ("lower case, no dot", vec![condition(WHO, "c220")], "E1", "excludes"),
            ("by OID", vec![condition("urn:oid:2.16.840.1.113883.6.3", "C22.0")], "E1", "excludes"),
            ("attested no", vec![form("2026-11-20", &[("E1", false)])], "E1", "clear"),
            ("attested yes", vec![form("2026-11-20", &[("E1", true)])], "E1", "excludes"),
            ("attested no against the record", vec![condition(WHO, "C22.0"), form("2026-11-20", &[("E1", false)])], "E1", "excludes"),
        ],
        None,
    );
    judge(
        vec![
            ("nothing in a complete record", vec![condition(WHO, "I10")], "E1", "clear"),
            ("an unmapped code in it", vec![condition("urn:his", "4711")], "E1", "unknown"),
            ("words only", vec![with(condition(WHO, ""), json!({"code": {"text": "x"}}))], "E1", "unknown"),
            // 25370001 is hepatocellular carcinoma: below 363346000, and nothing here can tell.
            ("a SNOMED code that is not listed", vec![condition(SNOMED, "25370001")], "E1", "unknown"),
            ("a SNOMED code that is listed elsewhere", vec![condition(SNOMED, "19943007")], "E1", "clear"),
            ("SNOMED with ICD-10 beside it", vec![with(condition(WHO, "I10"),
                json!({"code": {"coding": [{"system": SNOMED, "code": "38341003"}, {"system": WHO, "code": "I10"}]}}))], "E1", "clear"),
            ("a history is asked about", vec![condition(WHO, "Z85.0")], "E1", "unknown"),
            ("attested yes against it", vec![form("2026-11-20", &[("E1", true)])], "E1", "excludes"),
        ],
        Some(COMPLETE),
    );
}

#[test]
#[rustfmt::skip] // a table: one case a line
fn e2_transplant_e3_acute_events_e4_e11() {
    let acute = |code: &str, when: &str, status: &str| {
        with(with(condition(CM, code), clinical(status)), json!({"onsetDateTime": when}))
    };
    judge(
        vec![
            ("nothing", vec![], "E2", "unknown"),
            ("status", vec![condition(WHO, "Z94.4")], "E2", "excludes"),
            ("the operation", vec![procedure(SNOMED, "18027006", "2019-01-01")], "E2", "excludes"),
            ("the operation, R5", vec![with(procedure(SNOMED, "18027006", ""), json!({"performedDateTime": null, "occurrenceDateTime": "2019-01-01"}))], "E2", "excludes"),
            ("not done", vec![with(procedure(SNOMED, "18027006", "2019-01-01"), json!({"status": "not-done"}))], "E2", "unknown"),
            ("planned", vec![with(procedure(SNOMED, "18027006", "2019-01-01"), json!({"status": "preparation"}))], "E2", "unknown"),
            ("waiting list is none", vec![condition(CM, "Z76.82")], "E2", "unknown"),
            ("attested", vec![form("2026-11-20", &[("E2", false)])], "E2", "clear"),
            ("nothing", vec![], "E3", "attest"),
            ("infarction on the first day", vec![acute("I21.4", "2026-08-24", "resolved")], "E3", "excludes"),
            ("infarction before", vec![acute("I21.4", "2026-08-23", "resolved")], "E3", "attest"),
            ("infarction before, still active", vec![acute("I21.4", "2026-08-23", "active")], "E3", "excludes"),
            ("infarction some time this year", vec![acute("I21.4", "2026", "resolved")], "E3", "unknown"),
            ("embolism", vec![acute("I26.99", "2026-10-01", "active")], "E3", "excludes"),
            ("stroke, SNOMED", vec![with(condition(SNOMED, "432504007"), json!({"onsetDateTime": "2026-10-01"}))], "E3", "excludes"),
            ("sequelae are none", vec![acute("I69.30", "2026-10-01", "active")], "E3", "attest"),
            ("respiratory failure 30 days", vec![acute("J96.01", "2026-10-23", "resolved")], "E3", "excludes"),
            ("respiratory failure 31 days", vec![acute("J96.01", "2026-10-22", "resolved")], "E3", "attest"),
            ("acute heart failure", vec![acute("I50.21", "2026-11-01", "active")], "E3", "excludes"),
            ("WHO heart failure is asked about", vec![with(condition(WHO, "I50.9"), json!({"onsetDateTime": "2026-11-01"}))], "E3", "unknown"),
            ("attested", vec![form("2026-11-20", &[("E3", false)])], "E3", "clear"),
            ("nothing", vec![], "E4", "attest"),
            ("attested no", vec![form("2026-11-20", &[("E4", false)])], "E4", "clear"),
            ("attested yes", vec![form("2026-11-20", &[("E4", true)])], "E4", "excludes"),
            ("nothing", vec![], "E11", "attest"),
            ("attested no", vec![form("2026-11-20", &[("E11", false)])], "E11", "clear"),
            ("attested yes", vec![form("2026-11-20", &[("E11", true)])], "E11", "excludes"),
            ("a form of another trial", vec![with(form("2026-11-20", &[("E11", false)]), json!({"questionnaire": "urn:other"}))], "E11", "attest"),
            ("a form with a version", vec![with(form("2026-11-20", &[("E11", false)]), json!({"questionnaire": format!("{FORM}|2")}))], "E11", "clear"),
            ("a form in progress", vec![with(form("2026-11-20", &[("E11", false)]), json!({"status": "in-progress"}))], "E11", "attest"),
            ("a form without a day", vec![with(form("2026-11-20", &[("E11", false)]), json!({"authored": null}))], "E11", "attest"),
            ("a form of tomorrow", vec![form("2026-11-23", &[("E11", false)])], "E11", "attest"),
            ("yes, then no", vec![form("2026-11-19", &[("E11", true)]), form("2026-11-20", &[("E11", false)])], "E11", "clear"),
            ("no, then yes", vec![form("2026-11-20", &[("E11", true)]), form("2026-11-19", &[("E11", false)])], "E11", "excludes"),
            ("both on one day", vec![form("2026-11-20", &[("E11", true)]), form("2026-11-20T23:00:00+08:00", &[("E11", false)])], "E11", "excludes"),
        ],
        None,
    );
}

#[test]
#[rustfmt::skip] // a table: one case a line
fn e5_hiv() {
    let screening = |answer: &str, when: &str| finding("56888-1", answer, when);
    judge(
        vec![
            ("nothing", vec![], "E5", "unknown"),
            ("negative", vec![screening(NEGATIVE, RECENT)], "E5", "clear"),
            ("negative 90 days ago", vec![screening(NEGATIVE, "2026-08-24")], "E5", "clear"),
            ("negative 91 days ago", vec![screening(NEGATIVE, "2026-08-23")], "E5", "unknown"),
            ("negative some time this year", vec![screening(NEGATIVE, "2026")], "E5", "unknown"),
            ("reactive", vec![screening(POSITIVE, RECENT)], "E5", "unknown"),
            ("reactive after negative", vec![screening(NEGATIVE, "2026-11-01"), screening(POSITIVE, RECENT)], "E5", "unknown"),
            ("two tests of one time disagree", vec![screening(NEGATIVE, RECENT), finding("31201-7", POSITIVE, RECENT)], "E5", "unknown"),
            ("indeterminate after negative", vec![screening(NEGATIVE, "2026-11-01"), screening("82334004", RECENT)], "E5", "unknown"),
            ("confirmed", vec![finding("44873-8", POSITIVE, "2020-01-01")], "E5", "excludes"),
            ("viral load", vec![lab("20447-9", "1200", "{copies}/mL", RECENT)], "E5", "excludes"),
            ("viral load below detection", vec![with(observation("20447-9", RECENT), json!({"valueQuantity":
                {"value": 20, "comparator": "<", "unit": "copies/mL"}}))], "E5", "unknown"),
            ("diagnosis", vec![condition(WHO, "B20")], "E5", "excludes"),
            ("diagnosis against a negative test", vec![condition(WHO, "B20"), screening(NEGATIVE, RECENT)], "E5", "excludes"),
            ("WHO R75 needs confirmation", vec![condition(WHO, "R75"), screening(NEGATIVE, RECENT)], "E5", "unknown"),
            ("CM R75 too", vec![condition(CM, "R75")], "E5", "unknown"),
            ("suspected", vec![with(condition(WHO, "B20"), verification("provisional")), screening(NEGATIVE, RECENT)], "E5", "unknown"),
            ("an entry nobody can read does not outweigh a test", vec![condition("urn:his", "1"), screening(NEGATIVE, RECENT)], "E5", "clear"),
            ("preliminary", vec![with(screening(NEGATIVE, RECENT), json!({"status": "preliminary"}))], "E5", "unknown"),
            ("by interpretation alone", vec![with(observation("56888-1", RECENT), json!({"interpretation":
                [concept("http://terminology.hl7.org/CodeSystem/v3-ObservationInterpretation", "NEG")]}))], "E5", "clear"),
            ("value against interpretation", vec![with(screening(NEGATIVE, RECENT), json!({"interpretation":
                [concept("http://terminology.hl7.org/CodeSystem/v3-ObservationInterpretation", "POS")]}))], "E5", "unknown"),
            ("in words that were approved", vec![with(observation("56888-1", RECENT), json!({"valueString": " 阴性 "}))], "E5", "clear"),
            ("in other words", vec![with(observation("56888-1", RECENT), json!({"valueString": "negative?"}))], "E5", "unknown"),
            ("attested yes against a negative test", vec![screening(NEGATIVE, RECENT), form("2026-11-20", &[("E5", true)])], "E5", "excludes"),
            ("attested no to a reactive test", vec![screening(POSITIVE, RECENT), form("2026-11-21", &[("E5", false)])], "E5", "clear"),
        ],
        None,
    );
}

#[test]
#[rustfmt::skip] // a table: one case a line
fn e6_interferon_and_steroids() {
    let prednisone = |when: &str| order(RXNORM, "8640", when);
    let oral = || route("26643006");
    let r5 = json!({"resourceType": "MedicationRequest", "status": "completed", "intent": "order",
        "medication": {"concept": concept(ATC, "H02AB06")}, "subject": {"reference": "Patient/$P"}, "authoredOn": "2026-08-01"});
    let by_reference = |reference: &str| {
        with(prednisone("2026-08-01"), json!({"medicationCodeableConcept": null, "medicationReference": {"reference": reference}}))
    };
    let drug = |id: &str| json!({"resourceType": "Medication", "id": id, "code": concept(ATC, "H02AB06")});
    let named = |words: &str| with(prednisone("2026-08-01"), json!({"medicationCodeableConcept": {"text": words}}));
    let statement = |status: &str, period: Value| {
        json!({"resourceType": "MedicationStatement", "status": status, "medicationCodeableConcept": concept(ATC, "H02AB06"),
               "subject": {"reference": "Patient/$P"}, "effectivePeriod": period})
    };
    judge(
        vec![
            ("nothing", vec![], "E6", "unknown"),
            ("interferon", vec![order(ATC, "L03AB11", "2026-01-15")], "E6", "excludes"),
            ("prednisone by mouth", vec![with(prednisone("2026-08-01"), oral())], "E6", "excludes"),
            ("prednisone, route not given", vec![prednisone("2026-08-01")], "E6", "unknown"),
            ("hydrocortisone on the skin", vec![with(order(RXNORM, "5492", "2026-08-01"), route("6064005"))], "E6", "unknown"),
            ("ATC H02AB is systemic", vec![order(ATC, "H02AB06", "2026-08-01")], "E6", "excludes"),
            ("ATC D07 is not", vec![order(ATC, "D07AA02", "2026-08-01")], "E6", "unknown"),
            ("365 days ago", vec![order(ATC, "H02AB06", "2025-11-22")], "E6", "excludes"),
            ("366 days ago", vec![order(ATC, "H02AB06", "2025-11-21")], "E6", "unknown"),
            ("last year", vec![order(ATC, "H02AB06", "2025")], "E6", "unknown"),
            ("an order that still goes on", vec![with(order(ATC, "H02AB06", "2024-01-01"), json!({"status": "active"}))], "E6", "excludes"),
            ("an order on hold, begun long ago", vec![with(order(ATC, "H02AB06", "2024-01-01"), json!({"status": "on-hold"}))], "E6", "unknown"),
            ("an order that never began", vec![with(order(ATC, "H02AB06", "2026-08-01"), json!({"status": "cancelled"}))], "E6", "unknown"),
            ("a proposal", vec![with(order(ATC, "H02AB06", "2026-08-01"), json!({"intent": "proposal"}))], "E6", "unknown"),
            ("do not give", vec![with(order(ATC, "H02AB06", "2026-08-01"), json!({"doNotPerform": true}))], "E6", "unknown"),
            ("taken into the window", vec![statement("completed", json!({"start": "2025-01-01", "end": "2025-12-01"}))], "E6", "excludes"),
            ("ended before it", vec![statement("completed", json!({"start": "2025-01-01", "end": "2025-11-21"}))], "E6", "unknown"),
            ("R5, as it is recorded", vec![with(statement("recorded", json!({"start": "2026-08-01", "end": "2026-08-05"})),
                json!({"medicationCodeableConcept": null, "medication": {"concept": concept(ATC, "H02AB06")}}))], "E6", "excludes"),
            ("R5, not taken", vec![with(statement("recorded", json!({"start": "2026-08-01", "end": "2026-08-05"})),
                json!({"medicationCodeableConcept": null, "medication": {"concept": concept(ATC, "H02AB06")},
                       "adherence": {"code": concept("x", "not-taking")}}))], "E6", "unknown"),
            ("R5 order", vec![r5], "E6", "excludes"),
            ("given, R4", vec![json!({"resourceType": "MedicationAdministration", "status": "completed", "subject": {"reference": "Patient/$P"},
                "medicationCodeableConcept": concept(RXNORM, "6902"), "effectiveDateTime": "2026-08-01",
                "dosage": {"route": concept(SNOMED, "47625008")}})], "E6", "excludes"),
            ("given, R5", vec![json!({"resourceType": "MedicationAdministration", "status": "completed", "subject": {"reference": "Patient/$P"},
                "medication": {"concept": concept(RXNORM, "6902")}, "occurenceDateTime": "2026-08-01",
                "dosage": {"route": concept(SNOMED, "47625008")}})], "E6", "excludes"),
            ("by reference", vec![by_reference("Medication/$P-m"), drug("$P-m")], "E6", "excludes"),
            ("by a full reference with a version", vec![by_reference("https://his.example/fhir/Medication/$P-n/_history/2"), drug("$P-n")], "E6", "excludes"),
            ("by a reference that leads nowhere", vec![by_reference("Medication/gone")], "E6", "unknown"),
            ("contained", vec![with(by_reference("#m"), json!({"contained": [drug("m")]}))], "E6", "excludes"),
            ("a name that says it, without a code", vec![named("醋酸泼尼松片")], "E6", "unknown"),
            ("a name that says nothing, without a code", vec![named("乳果糖口服溶液")], "E6", "unknown"),
            ("attested", vec![form("2026-11-20", &[("E6", false)])], "E6", "clear"),
            ("attested against the record", vec![order(ATC, "H02AB06", "2026-08-01"), form("2026-11-20", &[("E6", false)])], "E6", "excludes"),
        ],
        None,
    );
    judge(
        vec![
            ("nothing in complete records", vec![], "E6", "clear"),
            ("366 days ago", vec![order(ATC, "H02AB06", "2025-11-21")], "E6", "clear"),
            ("on the skin", vec![with(order(RXNORM, "5492", "2026-08-01"), route("6064005"))], "E6", "clear"),
            ("ATC D07, whatever its name", vec![with(order(ATC, "D07AA02", "2026-08-01"), json!({"medicationCodeableConcept":
                {"coding": [{"system": ATC, "code": "D07AA02", "display": "Hydrocortisone"}]}}))], "E6", "clear"),
            ("another drug", vec![order(ATC, "A06AD11", "2026-08-01")], "E6", "clear"),
            // 312615 is a prednisone tablet: RxNorm knows, the list of ingredients does not.
            ("an RxNorm product", vec![order(RXNORM, "312615", "2026-08-01")], "E6", "unknown"),
            ("an RxNorm product outside the window", vec![order(RXNORM, "312615", "2020-08-01")], "E6", "clear"),
            ("a local code", vec![order("urn:his", "P-77", "2026-08-01")], "E6", "unknown"),
            ("a name that says it", vec![named("Prednisolone 5 mg")], "E6", "unknown"),
            ("a reference that leads nowhere", vec![by_reference("Medication/gone")], "E6", "unknown"),
        ],
        Some(COMPLETE),
    );
}

#[test]
#[rustfmt::skip] // a table: one case a line
fn e7_mental_illness_and_e8_other_trials() {
    let olanzapine = || order(ATC, "N05AH03", "2026-01-01");
    let ours = || study("ours", "NCT06242405");
    let theirs = || study("theirs", "NCT00000001");
    let takes_part = |status: &str, period: Value| participation(status, "ResearchStudy/theirs", period);
    judge(
        vec![
            ("nothing", vec![], "E7", "unknown"),
            ("diagnosis and drug", vec![condition(WHO, "F20.0"), olanzapine()], "E7", "excludes"),
            ("diagnosis alone", vec![condition(WHO, "F32.1")], "E7", "unknown"),
            ("drug alone", vec![olanzapine()], "E7", "unknown"),
            ("alcohol is asked about", vec![condition(WHO, "F10.2"), olanzapine()], "E7", "unknown"),
            ("hepatic encephalopathy as F05", vec![condition(WHO, "F05.9")], "E7", "unknown"),
            ("asked", vec![condition(WHO, "F32.1"), form("2026-11-20", &[("E7", false)])], "E7", "clear"),
            ("asked, yes", vec![olanzapine(), form("2026-11-20", &[("E7", true)])], "E7", "excludes"),
            ("nothing", vec![], "E8", "unknown"),
            ("in another, R4", vec![theirs(), takes_part("on-study", json!({"start": "2026-01-01"}))], "E8", "excludes"),
            ("in another, no period", vec![theirs(), with(takes_part("on-study", json!({})), json!({"period": null}))], "E8", "excludes"),
            ("left 30 days ago", vec![theirs(), takes_part("off-study", json!({"start": "2026-01-01", "end": "2026-10-23"}))], "E8", "excludes"),
            ("left 31 days ago", vec![theirs(), takes_part("off-study", json!({"start": "2026-01-01", "end": "2026-10-22"}))], "E8", "unknown"),
            ("left in October", vec![theirs(), takes_part("off-study", json!({"start": "2026-01-01", "end": "2026-10"}))], "E8", "unknown"),
            ("left, nobody knows when", vec![theirs(), with(takes_part("off-study", json!({})), json!({"period": null}))], "E8", "unknown"),
            ("only a candidate", vec![theirs(), takes_part("candidate", json!({"start": "2026-01-01"})), form("2026-11-20", &[("E8", false)])], "E8", "clear"),
            ("a study nobody sent", vec![participation("on-study", "ResearchStudy/gone", json!({"start": "2026-01-01"}))], "E8", "unknown"),
            ("this study", vec![ours(), participation("on-study", "ResearchStudy/ours", json!({"start": "2026-01-01"})), form("2026-11-20", &[("E8", false)])], "E8", "clear"),
            ("in another, R5", vec![theirs(), with(participation("active", "ResearchStudy/theirs", json!({"start": "2026-01-01"})),
                json!({"individual": null, "subject": {"reference": "Patient/$P"},
                       "progress": [{"subjectState": concept("x", "screening")}, {"subjectState": concept("x", "on-study")}]}))], "E8", "excludes"),
            ("screened by another, R5", vec![theirs(), with(participation("active", "ResearchStudy/theirs", json!({"start": "2026-01-01"})),
                json!({"individual": null, "subject": {"reference": "Patient/$P"}, "progress": [{"subjectState": concept("x", "screening")}]})),
                form("2026-11-20", &[("E8", false)])], "E8", "clear"),
            ("attested", vec![form("2026-11-20", &[("E8", false)])], "E8", "clear"),
            ("attested 30 days ago", vec![form("2026-10-23", &[("E8", false)])], "E8", "clear"),
            ("attested 31 days ago", vec![form("2026-10-22", &[("E8", false)])], "E8", "unknown"),
            ("attested yes long ago", vec![form("2026-01-01", &[("E8", true)])], "E8", "excludes"),
            ("attested against the record", vec![theirs(), takes_part("on-study", json!({"start": "2026-01-01"})), form("2026-11-20", &[("E8", false)])], "E8", "excludes"),
        ],
        None,
    );
}

#[test]
#[rustfmt::skip] // a table: one case a line
fn e9_pregnancy() {
    let test = |answer: &str, when: &str| finding("2106-3", answer, when);
    let breast = |answer: &str| finding("63895-7", answer, "2026-11-10");
    let (no, yes) = ("373067005", "373066001");
    judge(
        vec![
            ("a man", vec![], "E9", "not-applicable"),
            ("a woman, nothing known", vec![woman()], "E9", "unknown"),
            ("sex unknown", vec![patient("unknown", "1986-05-01")], "E9", "unknown"),
            ("negative, not breastfeeding", vec![woman(), test(NEGATIVE, RECENT), breast(no)], "E9", "clear"),
            ("negative alone", vec![woman(), test(NEGATIVE, RECENT)], "E9", "unknown"),
            ("not breastfeeding alone", vec![woman(), breast(no)], "E9", "unknown"),
            ("negative 7 days ago", vec![woman(), test(NEGATIVE, "2026-11-15"), breast(no)], "E9", "clear"),
            ("negative 8 days ago", vec![woman(), test(NEGATIVE, "2026-11-14"), breast(no)], "E9", "unknown"),
            ("positive", vec![woman(), test(POSITIVE, RECENT)], "E9", "excludes"),
            ("breastfeeding", vec![woman(), test(NEGATIVE, RECENT), breast(yes)], "E9", "excludes"),
            ("hCG below 25", vec![woman(), lab("21198-7", "3", "[IU]/L", RECENT), breast(no)], "E9", "clear"),
            ("hCG 25", vec![woman(), lab("21198-7", "25", "m[IU]/mL", RECENT)], "E9", "excludes"),
            ("hCG in another unit", vec![woman(), lab("21198-7", "3", "ng/mL", RECENT), breast(no)], "E9", "unknown"),
            ("status says no", vec![woman(), finding("82810-3", "60001007", RECENT), breast(no)], "E9", "clear"),
            ("status says yes", vec![woman(), finding("82810-3", "77386006", RECENT)], "E9", "excludes"),
            ("recorded as active", vec![woman(), condition(WHO, "Z33"), test(NEGATIVE, RECENT), breast(no)], "E9", "excludes"),
            ("recorded as over", vec![woman(), with(condition(WHO, "Z33"), clinical("resolved")), test(NEGATIVE, RECENT), breast(no)], "E9", "clear"),
            ("a man on paper with a positive test", vec![test(POSITIVE, RECENT)], "E9", "excludes"),
            ("female at birth", vec![with(patient("male", "1986-05-01"), json!({"extension": [
                {"url": "http://hl7.org/fhir/us/core/StructureDefinition/us-core-birthsex", "valueCode": "F"}]}))], "E9", "unknown"),
            ("attested", vec![woman(), form("2026-11-20", &[("E9", false)])], "E9", "clear"),
            ("attested long ago", vec![woman(), form("2026-09-20", &[("E9", false)])], "E9", "unknown"),
        ],
        None,
    );
}

#[test]
#[rustfmt::skip] // a table: one case a line
fn e10_allergy() {
    let drug = |code: &str| allergy("medication", code);
    let food = |code: &str| allergy("food", code);
    let none = || with(allergy("medication", "716186003"), json!({"category": null}));
    judge(
        vec![
            ("nothing", vec![], "E10", "unknown"),
            // WHO J45.0 is allergic asthma; in CM J45 says how severe it is, not why.
            ("WHO J45.0", vec![condition(WHO, "J45.0")], "E10", "excludes"),
            ("CM J45.40", vec![condition(CM, "J45.40")], "E10", "unknown"),
            ("WHO J45.9", vec![condition(WHO, "J45.9")], "E10", "unknown"),
            ("SNOMED allergic asthma", vec![condition(SNOMED, "389145006")], "E10", "excludes"),
            ("urticaria", vec![condition(WHO, "L50.0")], "E10", "excludes"),
            ("eczema", vec![condition(WHO, "L20.9")], "E10", "excludes"),
            ("two drugs and a food", vec![drug("1"), drug("2"), food("3")], "E10", "excludes"),
            ("two drugs", vec![drug("1"), drug("2")], "E10", "unknown"),
            ("one drug twice and a food", vec![drug("1"), drug("1"), food("3")], "E10", "unknown"),
            ("an intolerance is none", vec![drug("1"), with(drug("2"), json!({"type": "intolerance"})), food("3")], "E10", "unknown"),
            ("an intolerance is none, R5", vec![drug("1"), with(drug("2"), json!({"type": concept("x", "intolerance")})), food("3")], "E10", "unknown"),
            ("a refuted one is none", vec![drug("1"), with(drug("2"), verification("refuted")), food("3")], "E10", "unknown"),
            ("asked", vec![drug("1"), drug("2"), form("2026-11-20", &[("E10", false)])], "E10", "clear"),
        ],
        None,
    );
    judge(
        vec![
            ("nothing in complete records", vec![], "E10", "clear"),
            ("two drugs, no food", vec![drug("1"), drug("2")], "E10", "clear"),
            ("no known allergy", vec![none()], "E10", "clear"),
            ("one unconfirmed drug could not make it", vec![with(drug("1"), verification("unconfirmed")), food("3")], "E10", "clear"),
            ("a second, unconfirmed drug could", vec![drug("1"), with(drug("2"), verification("unconfirmed")), food("3")], "E10", "unknown"),
            ("a drug or a food", vec![drug("1"), drug("2"), with(food("3"), json!({"category": null}))], "E10", "unknown"),
            ("asthma is asked about", vec![condition(CM, "J45.40")], "E10", "unknown"),
        ],
        Some(COMPLETE),
    );
}
