//! Good and bad siblings of every resource type that is written. Each bad one differs from a good one
//! by exactly what its row says.

use trialbridge_fhir_typed::{CheckError, Release, check, is_compiled};

const STUDY: &str = r#"{"resourceType":"ResearchStudy","identifier":[{"system":"https://clinicaltrials.gov","value":"NCT06242405"}],"title":"t","status":"active","arm":[{"name":"Single infusion"},{"name":"Double infusion"}]}"#;
const SUBJECT: &str = r#"{"resourceType":"ResearchSubject","id":"7","identifier":[{"system":"urn:trialbridge:subject","value":"S-1"}],"status":"on-study","period":{"start":"2026-11-22"},"study":{"reference":"ResearchStudy/1"},"individual":{"reference":"Patient/1"},"assignedArm":"Single infusion","consent":{"reference":"Consent/1"}}"#;
const OBSERVATION: &str = r#"{"resourceType":"Observation","status":"final","code":{"coding":[{"system":"urn:trialbridge:score","code":"meld3"}]},"subject":{"reference":"Patient/1"},"effectiveDateTime":"2026-11-20T08:00:00+08:00","valueQuantity":{"value":20.50,"unit":"{score}","system":"http://unitsofmeasure.org","code":"{score}"},"derivedFrom":[{"reference":"Observation/1/_history/2"}]}"#;
const PROVENANCE: &str = r#"{"resourceType":"Provenance","target":[{"reference":"Observation/9"}],"recorded":"2026-11-22T00:00:00Z","agent":[{"who":{"display":"trialbridge"}}],"entity":[{"role":"source","what":{"reference":"Observation/1/_history/2"}}]}"#;
const OUTCOME: &str =
    r#"{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"invalid"}]}"#;
const CAPABILITY: &str = r#"{"resourceType":"CapabilityStatement","status":"active","date":"2026-11-22","kind":"instance","fhirVersion":"4.0.1","format":["json"]}"#;

const STUDY_R5: &str = r#"{"resourceType":"ResearchStudy","identifier":[{"system":"https://clinicaltrials.gov","value":"NCT06242405"}],"title":"t","status":"active","comparisonGroup":[{"linkId":"single","name":"Single infusion"}]}"#;
const SUBJECT_R5: &str = r#"{"resourceType":"ResearchSubject","status":"active","progress":[{"subjectState":{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/research-subject-state","code":"on-study"}]},"startDate":"2026-11-22"}],"study":{"reference":"ResearchStudy/1"},"subject":{"reference":"Patient/1"},"assignedComparisonGroup":"single","consent":[{"reference":"Consent/1"}]}"#;

#[cfg(feature = "r4")]
#[test]
fn good_resources_are_named() {
    for (json, resource_type, id) in [
        (STUDY, "ResearchStudy", None),
        (SUBJECT, "ResearchSubject", Some("7")),
        (OBSERVATION, "Observation", None),
        (PROVENANCE, "Provenance", None),
        (OUTCOME, "OperationOutcome", None),
        (CAPABILITY, "CapabilityStatement", None),
    ] {
        let checked = check(Release::R4, json.as_bytes()).unwrap_or_else(|e| panic!("{resource_type}: {e}"));
        assert_eq!((checked.resource_type.as_str(), checked.id.as_deref()), (resource_type, id));
    }
}

#[derive(Debug, PartialEq)]
enum Kind {
    Syntax,
    Structure,
    Content,
}

fn kind(release: Release, json: &str) -> Option<Kind> {
    match check(release, json.as_bytes()) {
        Ok(_) => None,
        Err(CheckError::Syntax { .. }) => Some(Kind::Syntax),
        Err(CheckError::Structure { .. }) => Some(Kind::Structure),
        Err(CheckError::Content { .. }) => Some(Kind::Content),
        Err(e @ CheckError::NotCompiled(_)) => panic!("{e}"),
    }
}

fn changed(json: &str, from: &str, to: &str) -> String {
    let bad = json.replacen(from, to, 1);
    assert_ne!(bad, json, "`{from}` is not in the good sibling");
    bad
}

#[cfg(feature = "r4")]
#[test]
fn bad_siblings_are_refused() {
    let table: &[(&str, &str, &str, &str, Kind)] = &[
        ("status outside the value set", STUDY, r#""active""#, r#""recruiting""#, Kind::Content),
        ("status missing", STUDY, r#""status":"active","#, "", Kind::Structure),
        (
            "arm without a name",
            STUDY,
            r#"{"name":"Single infusion"}"#,
            r#"{"description":"x"}"#,
            Kind::Structure,
        ),
        ("arms of R5", STUDY, r#""arm""#, r#""comparisonGroup""#, Kind::Structure),
        ("status of R5", SUBJECT, r#""on-study""#, r#""active""#, Kind::Content),
        ("status misspelt", SUBJECT, r#""on-study""#, r#""onstudy""#, Kind::Content),
        ("person of R5", SUBJECT, r#""individual""#, r#""subject""#, Kind::Structure),
        ("study missing", SUBJECT, r#""study":{"reference":"ResearchStudy/1"},"#, "", Kind::Structure),
        (
            "consent as list",
            SUBJECT,
            r#"{"reference":"Consent/1"}"#,
            r#"[{"reference":"Consent/1"}]"#,
            Kind::Content,
        ),
        ("arm as list", SUBJECT, r#""Single infusion""#, r#"["Single infusion"]"#, Kind::Content),
        (
            "identifier without list",
            SUBJECT,
            r#"[{"system":"urn:trialbridge:subject","value":"S-1"}]"#,
            r#"{"system":"urn:trialbridge:subject","value":"S-1"}"#,
            Kind::Content,
        ),
        ("title as number", STUDY, r#""t""#, "7", Kind::Structure),
        ("no such day", SUBJECT, "2026-11-22", "2026-11-31", Kind::Content),
        ("id with a space", SUBJECT, r#""id":"7""#, r#""id":"7 8""#, Kind::Content),
        ("empty arm", SUBJECT, r#""Single infusion""#, r#""""#, Kind::Content),
        ("empty reference", SUBJECT, r#"{"reference":"Patient/1"}"#, "{}", Kind::Content),
        ("explicit null", SUBJECT, r#""Single infusion""#, "null", Kind::Structure),
        ("unknown element", SUBJECT, r#""assignedArm""#, r#""allocatedArm""#, Kind::Structure),
        ("key twice", SUBJECT, r#""id":"7""#, r#""id":"7","id":"8""#, Kind::Syntax),
        ("status misspelt", OBSERVATION, r#""final""#, r#""FINALLY""#, Kind::Content),
        ("time without zone", OBSERVATION, "08:00:00+08:00", "08:00:00", Kind::Content),
        ("decimal as string", OBSERVATION, "20.50", r#""20.50""#, Kind::Content),
        (
            "two values",
            OBSERVATION,
            r#""valueQuantity""#,
            r#""valueInteger":1,"valueQuantity""#,
            Kind::Structure,
        ),
        (
            "code missing",
            OBSERVATION,
            r#""code":{"coding":[{"system":"urn:trialbridge:score","code":"meld3"}]},"#,
            "",
            Kind::Structure,
        ),
        ("recorded is a date", PROVENANCE, "2026-11-22T00:00:00Z", "2026-11-22", Kind::Content),
        ("recorded missing", PROVENANCE, r#""recorded":"2026-11-22T00:00:00Z","#, "", Kind::Structure),
        ("role of R5", PROVENANCE, r#""source""#, r#""instantiates""#, Kind::Content),
        ("severity of R5", OUTCOME, r#""error""#, r#""success""#, Kind::Content),
        ("kind unknown", CAPABILITY, r#""instance""#, r#""server""#, Kind::Content),
        ("unknown type", OUTCOME, "OperationOutcome", "OperationOutput", Kind::Structure),
    ];
    for (what, good, from, to, expected) in table {
        assert_eq!(kind(Release::R4, &changed(good, from, to)).as_ref(), Some(expected), "{what}");
    }
}

#[cfg(feature = "r4")]
#[test]
fn bytes_after_the_resource_are_refused() {
    assert_eq!(kind(Release::R4, &format!("{SUBJECT}\n  ")), None, "white space is no garbage");
    for tail in ["x", "{}", "}", SUBJECT, "\u{0}"] {
        assert_eq!(kind(Release::R4, &format!("{SUBJECT}{tail}")), Some(Kind::Syntax), "{tail:?}");
    }
    assert_eq!(kind(Release::R4, &SUBJECT[..SUBJECT.len() - 1]), Some(Kind::Syntax), "cut short");
    assert_eq!(kind(Release::R4, ""), Some(Kind::Syntax));
    assert!(matches!(kind(Release::R4, "[]"), Some(Kind::Structure | Kind::Content)));
}

#[cfg(feature = "r4")]
#[test]
fn no_error_repeats_a_value() {
    for (from, to) in [
        (r#""on-study""#, r#""CANARY""#),
        (r#""2026-11-22""#, r#""CANARY""#),
        (r#"{"start":"2026-11-22"}"#, r#""CANARY""#),
        (r#"{"reference":"Patient/1"}"#, r#""CANARY""#),
        (r#""Single infusion""#, r#"["CANARY"]"#),
    ] {
        let error = check(Release::R4, changed(SUBJECT, from, to).as_bytes()).expect_err("a bad sibling");
        assert!(!format!("{error} {error:?}").contains("CANARY"), "{error:?}");
    }
}

#[cfg(feature = "r4b")]
#[test]
fn r4b_has_the_subject_of_r4() {
    assert_eq!(kind(Release::R4B, SUBJECT), None);
    assert_eq!(kind(Release::R4B, STUDY), None);
    assert_eq!(kind(Release::R4B, SUBJECT_R5), Some(Kind::Structure));
}

#[cfg(feature = "r5")]
#[test]
fn r5_has_its_own() {
    assert_eq!(kind(Release::R5, SUBJECT_R5), None);
    assert_eq!(kind(Release::R5, STUDY_R5), None);
    assert_eq!(kind(Release::R5, SUBJECT), Some(Kind::Structure));
    let table = [
        (SUBJECT_R5, r#""status":"active""#, r#""status":"on-study""#),
        (SUBJECT_R5, r#""code":"on-study""#, r#""code":"active""#),
        (SUBJECT_R5, r#""single""#, r#""single infusion""#),
        (SUBJECT_R5, "2026-11-22", "22.11.2026"),
        (STUDY_R5, r#""linkId":"single""#, r#""linkId":"single infusion""#),
        (STUDY_R5, r#""active""#, r#""in-review""#),
    ];
    for (good, from, to) in table {
        assert_eq!(kind(Release::R5, &changed(good, from, to)), Some(Kind::Content), "{to}");
    }
}

#[test]
fn what_is_not_compiled_is_not_accepted() {
    for (release, compiled) in [
        (Release::R4, cfg!(feature = "r4")),
        (Release::R4B, cfg!(feature = "r4b")),
        (Release::R5, cfg!(feature = "r5")),
    ] {
        assert_eq!(is_compiled(release), compiled);
        let answer = check(release, OUTCOME.as_bytes());
        if compiled {
            assert!(answer.is_ok(), "{release}: {answer:?}");
        } else {
            assert_eq!(answer, Err(CheckError::NotCompiled(release)));
        }
    }
}

#[cfg(not(feature = "r5"))]
#[test]
fn not_compiled_comes_before_any_reading() {
    assert_eq!(check(Release::R5, b"not json"), Err(CheckError::NotCompiled(Release::R5)));
    let _ = (SUBJECT_R5, STUDY_R5);
}
