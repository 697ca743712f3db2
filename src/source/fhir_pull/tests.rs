//! Pulls from a small hospital on loopback that can be made to misbehave.

use super::*;
use crate::client::mock::{Mock, Reply, Seen, observation, page};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

const DATE: &str = "Sun, 22 Nov 2026 02:00:30 GMT";
/// [`DATE`] less the default overlap.
const THROUGH: &str = "2026-11-22T01:45:30Z";

#[derive(Default)]
struct MemorySink {
    pages: Vec<(String, Option<String>, Vec<u8>)>,
    cursors: BTreeMap<String, String>,
    /// Fails the nth page from now, counted from 0.
    fail_page: Option<usize>,
}

impl PullSink for MemorySink {
    fn accept_page(
        &mut self,
        _origin: &str,
        resource_type: &str,
        patient: Option<&str>,
        bytes: &[u8],
    ) -> Result<PageFate, String> {
        if let Some(left) = self.fail_page {
            if left == 0 {
                return Err("disk full".into());
            }
            self.fail_page = Some(left - 1);
        }
        let stored = !self.pages.iter().any(|(_, _, known)| known == bytes);
        if stored {
            self.pages.push((resource_type.to_owned(), patient.map(str::to_owned), bytes.to_vec()));
        }
        Ok(PageFate { stored, resources: bytes.windows(13).filter(|w| w == b"resourceType\"").count() - 1 })
    }

    fn cursor(&self, key: &str) -> Result<Option<String>, String> {
        Ok(self.cursors.get(key).cloned())
    }

    fn set_cursor(&mut self, key: &str, value: &str) -> Result<(), String> {
        self.cursors.insert(key.to_owned(), value.to_owned());
        Ok(())
    }
}

impl MemorySink {
    /// `Type/patient` of every mark.
    fn marks(&self) -> BTreeSet<String> {
        let mark = |key: &String| {
            let parts: Vec<&str> = key.split('/').collect();
            match parts.as_slice() {
                ["pull", resource_type, _, "patient", id] => Some(format!("{resource_type}/{id}")),
                _ => None,
            }
        };
        self.cursors.keys().filter_map(mark).collect()
    }

    fn holds(&self, text: &str) -> bool {
        self.pages.iter().any(|(_, _, bytes)| String::from_utf8_lossy(bytes).contains(text))
    }
}

/// Answers of the hospital that a test wants otherwise; `None` leaves them as they are.
type Twist = Box<dyn Fn(&Seen) -> Option<Reply> + Send + Sync>;

#[derive(Default)]
struct Hospital {
    patients: Vec<&'static str>,
    capability: Option<&'static str>,
}

struct Ward {
    mock: Mock,
    patients: Arc<Mutex<Vec<&'static str>>>,
    twist: Arc<Mutex<Option<Twist>>>,
}

impl Ward {
    fn twist(&self, twist: impl Fn(&Seen) -> Option<Reply> + Send + Sync + 'static) {
        *self.twist.lock().expect("twist") = Some(Box::new(twist));
    }

    fn straight(&self) {
        *self.twist.lock().expect("twist") = None;
    }

    /// The searches for a type since the nth request, as `patient since`.
    fn searches(&self, resource_type: &str, from: usize) -> Vec<String> {
        let path = format!("/fhir/{resource_type}/_search");
        let mut list: Vec<String> = self.mock.seen()[from..]
            .iter()
            .filter(|s| s.path == path)
            .map(|s| {
                let patient = s.param("patient").or(s.param("subject")).unwrap_or("-");
                format!("{patient} {}", s.param("_lastUpdated").unwrap_or("full"))
            })
            .collect();
        list.sort();
        list
    }
}

fn patient(id: &str) -> String {
    format!(r#"{{"resourceType":"Patient","id":"{id}"}}"#)
}

const CAPABILITY: &str = r#"{"resourceType":"CapabilityStatement","fhirVersion":"4.0.1","rest":[{"mode":"server","resource":[
    {"type":"Patient","interaction":[{"code":"read"},{"code":"search-type"}]},
    {"type":"Observation","interaction":[{"code":"search-type"}],"searchParam":[{"name":"patient"},{"name":"_lastUpdated"}]},
    {"type":"Condition","interaction":[{"code":"search-type"}],"searchParam":[{"name":"patient"},{"name":"_lastUpdated"}]},
    {"type":"MedicationRequest","interaction":[{"code":"search-type"}]},
    {"type":"Medication","interaction":[{"code":"search-type"},{"code":"read"}]}]}]}"#;

async fn ward(hospital: Hospital) -> Ward {
    let patients = Arc::new(Mutex::new(hospital.patients));
    let twist: Arc<Mutex<Option<Twist>>> = Arc::default();
    let (list, twisted) = (patients.clone(), twist.clone());
    let capability = hospital.capability.unwrap_or(CAPABILITY);
    let mock = Mock::start(move |seen, _| {
        let other = twisted.lock().expect("twist").as_ref().and_then(|t| t(seen));
        let reply = other.unwrap_or_else(|| match seen.path.as_str() {
            "/fhir/metadata" => Reply::json(capability),
            "/fhir/Patient/_search" => {
                let asked: Option<Vec<&str>> = seen.param("_id").map(|ids| ids.split(',').collect());
                let list = list.lock().expect("patients");
                let found: Vec<String> = list
                    .iter()
                    .filter(|p| asked.as_ref().is_none_or(|a| a.contains(*p)))
                    .map(|p| patient(p))
                    .collect();
                Reply::json(page(&found, None))
            }
            "/fhir/Observation/_search" => {
                let id = seen.param("patient").unwrap_or("nobody");
                Reply::json(page(&[observation(&format!("o-{id}"), id)], None))
            }
            path if path.ends_with("/_search") => Reply::json(page(&[], None)),
            _ => Reply::status(404),
        });
        reply.header("date", DATE)
    })
    .await;
    Ward { mock, patients, twist }
}

async fn three() -> Ward {
    ward(Hospital { patients: vec!["p1", "p2", "p3"], capability: None }).await
}

fn need(resource_type: &str) -> Need {
    let code_lists = match resource_type {
        "Observation" => {
            vec![CodeList { parameter: "code".into(), tokens: vec!["1975-2".into(), "1742-6".into()] }]
        }
        _ => vec![],
    };
    Need { resource_type: resource_type.into(), params: vec![], patient_param: "patient".into(), code_lists }
}

fn needs() -> Vec<Need> {
    vec![need("Observation"), need("Condition")]
}

fn now() -> DateTime<Utc> {
    "2026-11-22T02:00:00Z".parse().expect("a time")
}

fn options() -> PullOptions {
    PullOptions::new(now())
}

async fn run(ward: &Ward, sink: &mut MemorySink) -> PullReport {
    run_with(ward, sink, &Cohort::All, &needs(), &options()).await
}

async fn run_with(
    ward: &Ward,
    sink: &mut MemorySink,
    cohort: &Cohort,
    needs: &[Need],
    options: &PullOptions,
) -> PullReport {
    let (client, _) = ward.mock.client_with(|c| c.retry.retries = 1);
    pull(&client, cohort, needs, options, sink, &Silent).await
}

fn codes(report: &PullReport) -> Vec<&str> {
    report.warnings.iter().map(|w| w.code).collect()
}

fn set(list: &[&str]) -> BTreeSet<String> {
    list.iter().map(|s| (*s).to_owned()).collect()
}

#[tokio::test]
async fn a_first_pull_loads_everything_and_moves_the_cursors() {
    let ward = three().await;
    let mut sink = MemorySink::default();
    let report = run(&ward, &mut sink).await;
    assert!(report.is_complete(), "{report:?}");
    assert_eq!((report.patients, report.pages, report.resources), (3, 7, 6));
    assert_eq!((report.requests, report.retried), (8, 0));
    assert_eq!(report.by_type["Observation"], TypeCount { pages: 3, stored_pages: 3, resources: 3 });
    assert_eq!(report.warnings, []);
    assert_eq!(ward.searches("Observation", 0), ["p1 full", "p2 full", "p3 full"]);
    let client = ward.mock.client();
    for need in needs() {
        let cursor = sink.cursors.get(&cohort_cursor_key(&client, &Cohort::All, &need));
        assert_eq!(cursor.map(String::as_str), Some(THROUGH), "{}", need.resource_type);
    }
    assert_eq!(sink.marks().len(), 6);
    // Nothing of a patient in any URL, and both codes in one search.
    assert!(ward.mock.lines().iter().all(|l| !l.contains("p1")), "{:?}", ward.mock.lines());
    assert!(ward.mock.seen().iter().any(|s| s.param("code") == Some("1975-2,1742-6")));
}

#[tokio::test]
async fn the_second_pull_asks_for_changes_and_a_new_patient_in_full() {
    let ward = three().await;
    let mut sink = MemorySink::default();
    run(&ward, &mut sink).await;
    ward.patients.lock().expect("patients").push("p4");
    let from = ward.mock.seen().len();
    let report = run(&ward, &mut sink).await;
    assert!(report.is_complete());
    let since = format!("ge{THROUGH}");
    let expected: Vec<String> =
        ["p1", "p2", "p3"].iter().map(|p| format!("{p} {since}")).chain(["p4 full".to_owned()]).collect();
    assert_eq!(ward.searches("Observation", from), expected);
    assert_eq!(ward.searches("Condition", from), expected);
    // The full load asks for all, and so does a need with another code.
    let from = ward.mock.seen().len();
    run_with(&ward, &mut sink, &Cohort::All, &needs(), &PullOptions { full: true, ..options() }).await;
    assert_eq!(ward.searches("Observation", from), ["p1 full", "p2 full", "p3 full", "p4 full"]);
    let from = ward.mock.seen().len();
    let mut more = needs();
    more[0].code_lists[0].tokens.push("2823-3".into());
    run_with(&ward, &mut sink, &Cohort::All, &more, &options()).await;
    assert_eq!(ward.searches("Observation", from), ["p1 full", "p2 full", "p3 full", "p4 full"]);
    assert!(ward.searches("Condition", from).iter().all(|s| s.contains("ge")));
}

#[tokio::test]
async fn an_explicit_start_moves_no_mark_over_a_gap() {
    let ward = three().await;
    let mut sink = MemorySink::default();
    run(&ward, &mut sink).await;
    for key in sink.cursors.clone().keys().filter(|k| k.contains("/patient/")) {
        sink.cursors.insert(key.clone(), "2026-01-01T00:00:00Z".into());
    }
    let before = sink.cursors.clone();
    let later = PullOptions { since: "2026-06-01T00:00:00Z".parse().ok(), ..options() };
    let from = ward.mock.seen().len();
    run_with(&ward, &mut sink, &Cohort::All, &needs(), &later).await;
    assert_eq!(ward.searches("Condition", from)[0], "p1 ge2026-06-01T00:00:00Z");
    assert_eq!(sink.cursors, before);
    let earlier = PullOptions { since: "2025-06-01T00:00:00Z".parse().ok(), ..options() };
    run_with(&ward, &mut sink, &Cohort::All, &needs(), &earlier).await;
    assert!(sink.cursors.iter().filter(|(k, _)| k.contains("/patient/")).all(|(_, v)| v == THROUGH));
}

#[tokio::test]
async fn one_patient_leaves_the_cursors_of_the_cohort_alone() {
    let ward = three().await;
    let mut sink = MemorySink::default();
    let options = PullOptions { patient: Some("Patient/p2".into()), ..options() };
    let report = run_with(&ward, &mut sink, &Cohort::All, &needs(), &options).await;
    assert_eq!((report.patients, report.is_complete()), (1, true));
    assert_eq!(sink.marks(), set(&["Observation/p2", "Condition/p2"]));
    assert!(sink.cursors.keys().all(|k| k.contains("/patient/")), "{:?}", sink.cursors);
    let refused = PullOptions { patient: Some("../x".into()), ..options };
    let report = run_with(&ward, &mut sink, &Cohort::All, &needs(), &refused).await;
    assert!(matches!(report.fatal, Some(Fatal::Cohort(_))));
}

#[tokio::test]
async fn a_search_that_fails_moves_no_cursor_and_the_next_pull_asks_just_that() {
    let ward = three().await;
    let mut sink = MemorySink::default();
    ward.twist(|s| {
        (s.path.contains("Observation") && s.param("patient") == Some("p2")).then(|| Reply::status(503))
    });
    let report = run(&ward, &mut sink).await;
    assert_eq!(report.incomplete, ["Observation?patient={id}&code=(2 codes) (1 patients)"]);
    assert_eq!((report.fatal.as_ref(), codes(&report)), (None, vec!["server-error"]));
    assert_eq!(
        sink.marks(),
        set(&["Observation/p1", "Observation/p3", "Condition/p1", "Condition/p2", "Condition/p3"])
    );
    let client = ward.mock.client();
    let [observation, condition] = needs().try_into().expect("two needs");
    assert_eq!(sink.cursors.get(&cohort_cursor_key(&client, &Cohort::All, &observation)), None);
    assert!(sink.cursors.contains_key(&cohort_cursor_key(&client, &Cohort::All, &condition)));
    // The next pull does what is missing.
    ward.straight();
    let from = ward.mock.seen().len();
    let report = run(&ward, &mut sink).await;
    assert!(report.is_complete() && report.resumed);
    assert_eq!((ward.searches("Observation", from), report.skipped), (vec!["p2 full".to_owned()], 5));
    assert_eq!(ward.searches("Condition", from), Vec::<String>::new());
    assert!(sink.cursors.contains_key(&cohort_cursor_key(&client, &Cohort::All, &observation)));
    // And the one after that asks for news again.
    let from = ward.mock.seen().len();
    let report = run(&ward, &mut sink).await;
    assert!(!report.resumed);
    assert_eq!(ward.searches("Observation", from).len(), 3);
}

#[tokio::test]
async fn one_search_that_always_fails_does_not_hold_up_the_others() {
    let ward = three().await;
    let mut sink = MemorySink::default();
    ward.twist(|s| {
        (s.path.contains("Observation") && s.param("patient") == Some("p2")).then(|| Reply::status(500))
    });
    let mut asked = Vec::new();
    for _ in 0..3 {
        let from = ward.mock.seen().len();
        let report = run(&ward, &mut sink).await;
        assert_eq!(report.incomplete.len(), 1);
        asked.push(ward.searches("Observation", from).len());
    }
    assert_eq!(asked, [3, 1, 3]);
}

#[tokio::test]
async fn a_store_that_fails_ends_the_pull_before_the_cursor() {
    let ward = three().await;
    // Page 0 is the cohort.
    for failing in 0..7 {
        let mut sink = MemorySink { fail_page: Some(failing), ..MemorySink::default() };
        let report = run(&ward, &mut sink).await;
        assert!(matches!(report.fatal, Some(Fatal::Store(_))), "{failing}");
        assert!(sink.marks().len() < 6, "{failing}");
        assert!(!sink.cursors.keys().any(|k| k.contains("/cohort/")), "{failing}");
        // Every mark stands on a stored page.
        let stored: BTreeSet<String> =
            sink.pages.iter().filter_map(|(t, p, _)| p.as_ref().map(|p| format!("{t}/{p}"))).collect();
        let observations: BTreeSet<String> =
            sink.marks().into_iter().filter(|m| m.starts_with("Observation")).collect();
        assert!(observations.is_subset(&stored), "{failing}");
        // The next pull goes on and ends with everything.
        sink.fail_page = None;
        let done = sink.marks().len();
        let report = run(&ward, &mut sink).await;
        assert!(report.is_complete());
        assert_eq!((report.skipped, sink.marks().len()), (done, 6), "{failing}");
        assert!(["o-p1", "o-p2", "o-p3"].iter().all(|o| sink.holds(o)), "{failing}");
    }
}

#[tokio::test]
async fn an_outage_ends_the_pull_and_an_old_one_is_not_gone_on_with() {
    let ids: Vec<&'static str> = vec!["p1", "p2", "p3", "p4", "p5", "p6", "p7", "p8", "p9", "q1", "q2", "q3"];
    let ward = ward(Hospital { patients: ids, capability: None }).await;
    let mut sink = MemorySink::default();
    ward.twist(|s| s.param("patient").is_some_and(|p| p > "p3").then(|| Reply::status(503)));
    let report = run(&ward, &mut sink).await;
    assert!(matches!(report.fatal, Some(Fatal::Server(_))), "{report:?}");
    assert!(!report.is_complete() && !report.incomplete.is_empty());
    assert!(ward.mock.seen().len() < 40, "{}", ward.mock.seen().len());
    ward.straight();
    let done = sink.marks().len();
    let (key, value) = sink.cursors.iter().find(|(k, _)| k.starts_with("pull/run/")).expect("an open run");
    assert_eq!(value, &format!("{THROUGH} open"));
    let old = (key.clone(), "2026-11-20T00:00:00Z open".to_owned());
    let mut later = MemorySink { cursors: sink.cursors.clone(), ..MemorySink::default() };
    later.cursors.insert(old.0, old.1);
    assert!(!run(&ward, &mut later).await.resumed);
    let report = run(&ward, &mut sink).await;
    assert_eq!((report.resumed, report.skipped, report.is_complete()), (true, done, true));
}

#[tokio::test]
async fn refused_credentials_end_the_pull() {
    for path in ["metadata", "Patient", "Observation"] {
        let ward = three().await;
        ward.twist(move |s| s.path.contains(path).then(|| Reply::status(401)));
        let mut sink = MemorySink::default();
        let report = run(&ward, &mut sink).await;
        let refused = crate::client::server::ServerError::Refused {
            method: if path == "metadata" { "GET" } else { "POST" },
            path: if path == "metadata" { path.into() } else { format!("{path}/_search") },
            status: 401,
        };
        assert_eq!(report.fatal, Some(Fatal::Server(refused)), "{path}");
        assert!(!sink.cursors.keys().any(|k| k.contains("/cohort/")));
    }
}

#[tokio::test]
async fn a_type_without_permission_is_incomplete_and_asked_once() {
    let ward = three().await;
    ward.twist(|s| s.path.contains("Condition").then(|| Reply::status(403)));
    let (client, _) = ward.mock.client_with(|c| c.max_concurrent = 1);
    let mut sink = MemorySink::default();
    let report = pull(&client, &Cohort::All, &needs(), &options(), &mut sink, &Silent).await;
    assert_eq!(report.incomplete, ["Condition?patient={id} (3 patients)"]);
    assert_eq!((codes(&report), ward.searches("Condition", 0).len()), (vec!["refused"], 1));
    assert!(report.fatal.is_none() && sink.marks().contains("Observation/p3"));
}

#[tokio::test]
async fn types_that_the_server_does_not_offer_are_recorded_and_not_fatal() {
    // Not in the statement: never asked.
    let ward = three().await;
    let mut sink = MemorySink::default();
    let mut more = needs();
    more.push(need("Consent"));
    let report = run_with(&ward, &mut sink, &Cohort::All, &more, &options()).await;
    assert_eq!(
        (report.unsupported.as_slice(), report.is_complete()),
        (["Consent".to_owned()].as_slice(), true)
    );
    assert!(ward.searches("Consent", 0).is_empty());
    // Nothing stated: asked once, and found out.
    for status in [400, 404, 405, 501] {
        let ward = ward_without_statement().await;
        ward.twist(move |s| s.path.contains("Consent").then(|| Reply::status(status)));
        let (client, _) = ward.mock.client_with(|c| c.max_concurrent = 1);
        let mut sink = MemorySink::default();
        let report = pull(&client, &Cohort::All, &more, &options(), &mut sink, &Silent).await;
        assert_eq!(
            (report.unsupported.as_slice(), report.is_complete()),
            (["Consent".to_owned()].as_slice(), true)
        );
        assert_eq!(ward.searches("Consent", 0).len(), 1, "{status}");
        assert!(!sink.cursors.keys().any(|k| k.contains("Consent")));
        assert!(sink.marks().contains("Observation/p3"));
    }
    // Stated, and still refused: that is no missing type but a search that failed.
    let ward = three().await;
    ward.twist(|s| s.path.contains("Condition").then(|| Reply { status: 400, ..Reply::json("{}") }));
    let report = run(&ward, &mut MemorySink::default()).await;
    assert_eq!((report.incomplete.len(), codes(&report)), (1, vec!["search-refused"]));
    assert!(report.unsupported.is_empty());
}

async fn ward_without_statement() -> Ward {
    let statement = r#"{"resourceType":"CapabilityStatement"}"#;
    ward(Hospital { patients: vec!["p1", "p2", "p3"], capability: Some(statement) }).await
}

#[tokio::test]
async fn without_a_capability_statement_the_server_is_found_out_by_asking() {
    let ward = three().await;
    ward.twist(|s| (s.path == "/fhir/metadata").then(|| Reply::status(404)));
    let report = run(&ward, &mut MemorySink::default()).await;
    assert_eq!((report.is_complete(), codes(&report)), (true, vec!["no-capability-statement"]));
}

#[tokio::test]
async fn a_type_without_last_updated_is_loaded_in_full_and_that_is_said() {
    // The statement leaves it out.
    let statement = CAPABILITY.replace(r#",{"name":"_lastUpdated"}"#, "");
    let ward = ward(Hospital { patients: vec!["p1", "p2"], capability: Some(statement.leak()) }).await;
    let mut sink = MemorySink::default();
    assert_eq!(codes(&run(&ward, &mut sink).await), Vec::<&str>::new());
    let from = ward.mock.seen().len();
    let report = run(&ward, &mut sink).await;
    assert_eq!((codes(&report), report.is_complete()), (vec!["full-reload", "full-reload"], true));
    assert_eq!(ward.searches("Observation", from), ["p1 full", "p2 full"]);

    // The statement lists it, and the server refuses or drops it.
    let dropped = page(&[], None).replace(
        r#""link":[]"#,
        r#""link":[{"relation":"self","url":"{base}/Observation?patient=x&code=y"}]"#,
    );
    for reply in [Reply { status: 400, ..Reply::json("{}") }, Reply::json(dropped)] {
        let ward = three().await;
        let mut sink = MemorySink::default();
        run(&ward, &mut sink).await;
        ward.twist(move |s| {
            (s.path.contains("Observation") && s.param("_lastUpdated").is_some()).then(|| reply.clone())
        });
        let (client, _) = ward.mock.client_with(|c| c.max_concurrent = 1);
        let from = ward.mock.seen().len();
        let report = pull(&client, &Cohort::All, &needs(), &options(), &mut sink, &Silent).await;
        assert_eq!((codes(&report), report.is_complete()), (vec!["full-reload"], true), "{report:?}");
        let searches = ward.searches("Observation", from);
        assert_eq!(
            searches,
            [format!("p1 ge{THROUGH}").as_str(), "p1 full", "p2 full", "p3 full"]
                .map(str::to_owned)
                .into_iter()
                .collect::<BTreeSet<_>>()
                .into_iter()
                .collect::<Vec<_>>()
        );
    }
}

#[tokio::test]
async fn a_dropped_patient_stops_the_type_and_stores_nothing() {
    let ward = three().await;
    ward.twist(|s| {
        let all = [observation("x1", "p7"), observation("x2", "p8")];
        s.path.contains("Observation").then(|| Reply::json(page(&all, None)))
    });
    let (client, _) = ward.mock.client_with(|c| c.max_concurrent = 1);
    let mut sink = MemorySink::default();
    let report = pull(&client, &Cohort::All, &needs(), &options(), &mut sink, &Silent).await;
    assert_eq!(codes(&report), ["dropped-parameter"]);
    assert_eq!(report.incomplete, ["Observation?patient={id}&code=(2 codes) (3 patients)"]);
    assert_eq!(ward.searches("Observation", 0).len(), 1);
    assert!(!sink.holds("x1") && !sink.marks().iter().any(|m| m.starts_with("Observation")));
}

#[tokio::test]
async fn a_resource_of_somebody_else_is_stored_and_reported() {
    let ward = three().await;
    ward.twist(|s| {
        let mixed = [observation("a", "p1"), observation("stray", "p2"), observation("b", "p1")];
        (s.path.contains("Observation") && s.param("patient") == Some("p1"))
            .then(|| Reply::json(page(&mixed, None)))
    });
    let mut sink = MemorySink::default();
    let report = run(&ward, &mut sink).await;
    assert_eq!((codes(&report), report.is_complete()), (vec!["compartment-violation"], true));
    assert!(sink.holds("stray"));
}

#[tokio::test]
async fn paging_faults_keep_what_was_read_and_leave_the_search_incomplete() {
    for (next, code) in
        [("{base}/Observation?again", "paging-loop"), ("http://127.0.0.1:9/fhir/x", "foreign-link")]
    {
        let ward = three().await;
        ward.twist(move |s| {
            let p1 = s.param("patient") == Some("p1") || s.query == "again";
            (s.path.contains("Observation") && p1)
                .then(|| Reply::json(page(&[observation("kept", "p1")], Some(next))))
        });
        let mut sink = MemorySink::default();
        let report = run(&ward, &mut sink).await;
        assert_eq!((codes(&report), report.incomplete.len()), (vec![code], 1));
        assert!(sink.holds("kept") && !sink.marks().contains("Observation/p1"), "{code}");
        assert!(sink.marks().contains("Observation/p2"));
    }
}

#[tokio::test]
async fn a_lying_total_is_asked_twice_and_never_taken_for_complete() {
    for (total, complete) in [(500, false), (0, true)] {
        let ward = three().await;
        ward.twist(move |s| {
            let body =
                page(&[observation("o", "p1")], None).replacen('{', &format!(r#"{{"total":{total},"#), 1);
            (s.path.contains("Observation") && s.param("patient") == Some("p1")).then(|| Reply::json(body))
        });
        let mut sink = MemorySink::default();
        let report = run(&ward, &mut sink).await;
        assert_eq!((codes(&report), report.is_complete()), (vec!["total-mismatch"], complete));
        assert_eq!(ward.searches("Observation", 0).len(), 4);
        assert_eq!(sink.marks().contains("Observation/p1"), complete, "{total}");
        assert!(sink.holds(r#""id":"o""#));
    }
    // Of the cohort itself.
    let ward = three().await;
    ward.twist(|s| {
        let body = page(&[patient("p1")], None).replacen('{', r#"{"total":9,"#, 1);
        (s.path == "/fhir/Patient/_search").then(|| Reply::json(body))
    });
    let mut sink = MemorySink::default();
    let report = run(&ward, &mut sink).await;
    assert_eq!(
        (codes(&report), report.incomplete.as_slice()),
        (vec!["total-mismatch"], ["Patient".to_owned()].as_slice())
    );
    assert!(sink.marks().contains("Observation/p1") && !sink.cursors.keys().any(|k| k.contains("/cohort/")));
}

#[tokio::test]
async fn a_search_that_the_server_forgot_between_pages_is_begun_again() {
    for (times, complete) in [(1, true), (9, false)] {
        let ward = three().await;
        let left = Mutex::new(times);
        ward.twist(move |s| {
            if s.query == "page=2" {
                let mut left = left.lock().expect("left");
                *left -= 1;
                return Some(if *left >= 0 {
                    Reply::status(410)
                } else {
                    Reply::json(page(&[observation("o2", "p1")], None))
                });
            }
            (s.path.contains("Observation") && s.param("patient") == Some("p1"))
                .then(|| Reply::json(page(&[observation("o1", "p1")], Some("?page=2"))))
        });
        let mut sink = MemorySink::default();
        let report = run(&ward, &mut sink).await;
        assert_eq!((report.is_complete(), sink.holds(r#""o2""#)), (complete, complete), "{report:?}");
        assert_eq!(sink.marks().contains("Observation/p1"), complete);
    }
}

#[tokio::test]
async fn ids_that_are_gone_or_unknown_are_told_apart() {
    let ward = three().await;
    ward.twist(|s| match s.path.as_str() {
        "/fhir/Patient/gone" => Some(Reply::status(410)),
        "/fhir/Patient/hidden" => Some(Reply::json(patient("hidden"))),
        _ => None,
    });
    let ids = ["p1", "gone", "nobody", "hidden", "p1"].map(str::to_owned).to_vec();
    let mut sink = MemorySink::default();
    let report = run_with(&ward, &mut sink, &Cohort::Ids(ids), &needs(), &options()).await;
    let found: Vec<(&str, &str)> = report.warnings.iter().map(|w| (w.code, w.place.as_str())).collect();
    assert_eq!(found, [("gone", "patient 2 of the cohort"), ("not-found", "patient 3 of the cohort")]);
    assert_eq!((report.patients, report.is_complete()), (2, true));
    assert!(sink.holds(r#""id":"hidden""#) && sink.marks().contains("Observation/hidden"));
}

#[tokio::test]
async fn groups_and_lists_name_the_cohort() {
    let ward = three().await;
    ward.twist(|s| match s.path.as_str() {
        "/fhir/Group/g" => Some(Reply::json(
            r#"{"resourceType":"Group","id":"g","member":[{"entity":{"reference":"Patient/p1"}},
                {"entity":{"reference":"{base}/Patient/p3"}},{"entity":{"reference":"Patient/p2"},"inactive":true},
                {"entity":{"reference":"http://127.0.0.1:9/fhir/Patient/p2"}},{"entity":{"reference":"Group/h"}}]}"#,
        )),
        "/fhir/List/l" => Some(Reply::json(
            r#"{"resourceType":"List","id":"l","entry":[{"item":{"reference":"Patient/p2"}}]}"#,
        )),
        _ => None,
    });
    let group = Cohort::Group("g".into());
    let report = run_with(&ward, &mut MemorySink::default(), &group, &needs(), &options()).await;
    assert_eq!(ward.searches("Condition", 0), ["p1 full", "p3 full"]);
    assert_eq!((codes(&report), report.warnings[0].count), (vec!["member-unusable"], 2));
    let from = ward.mock.seen().len();
    run_with(&ward, &mut MemorySink::default(), &Cohort::List("l".into()), &needs(), &options()).await;
    assert_eq!(ward.searches("Condition", from), ["p2 full"]);
    let absent = Cohort::Group("absent".into());
    let report = run_with(&ward, &mut MemorySink::default(), &absent, &needs(), &options()).await;
    assert!(matches!(report.fatal, Some(Fatal::Server(_))));
}

#[tokio::test]
async fn a_search_cohort_is_sent_decoded_and_must_not_be_dropped() {
    let cohort: Cohort =
        "Patient?_has:Condition:patient:code=http%3A%2F%2Fx%7CK74.6".parse().expect("a cohort");
    for (query, expected) in [
        ("?_has%3ACondition%3Apatient%3Acode=x", "none"),
        ("?_count=200", "fatal"),
        ("", "fatal"),
        ("none", "search-unproven"),
    ] {
        let ward = three().await;
        ward.twist(move |s| {
            let link = match query {
                "none" => r#""link":[]"#.to_owned(),
                _ => format!(r#""link":[{{"relation":"self","url":"{{base}}/Patient{query}"}}]"#),
            };
            (s.path == "/fhir/Patient")
                .then(|| Reply::json(page(&[patient("p2")], None).replace(r#""link":[]"#, &link)))
        });
        let mut sink = MemorySink::default();
        let report = run_with(&ward, &mut sink, &cohort, &needs(), &options()).await;
        let has = ward.mock.seen()[1].param("_has:Condition:patient:code").map(str::to_owned);
        assert_eq!(has.as_deref(), Some("http://x|K74.6"));
        match expected {
            "fatal" => assert!(matches!(report.fatal, Some(Fatal::Server(_))) && sink.pages.is_empty()),
            "none" => assert_eq!((codes(&report), report.patients), (vec![], 1)),
            code => assert_eq!(codes(&report), [code]),
        }
    }
}

#[tokio::test]
async fn a_search_cohort_that_names_a_person_stays_out_of_urls() {
    let ward = three().await;
    let cohort: Cohort = "Patient?active=true&identifier=urn:mrn%7Ccanary".parse().expect("a cohort");
    let report = run_with(&ward, &mut MemorySink::default(), &cohort, &needs(), &options()).await;
    // The ward's patients have no identifier: the parameter was plainly not used.
    assert!(matches!(report.fatal, Some(Fatal::Server(_))), "{report:?}");
    assert_eq!(ward.mock.lines(), ["GET /fhir/metadata", "POST /fhir/Patient/_search"]);
    assert!(!format!("{report:?}").contains("canary"));
}

#[tokio::test]
async fn a_cohort_whose_pages_were_forgotten_is_asked_again_once() {
    for (times, patients) in [(1, Some(2)), (9, None)] {
        let ward = three().await;
        let left = Mutex::new(times);
        ward.twist(move |s| match (s.path.as_str(), s.query.as_str()) {
            ("/fhir/Patient/_search", _) => Some(Reply::json(page(&[patient("p1")], Some("Patient?page=2")))),
            ("/fhir/Patient", "page=2") => {
                let mut left = left.lock().expect("left");
                *left -= 1;
                Some(if *left >= 0 { Reply::status(410) } else { Reply::json(page(&[patient("p2")], None)) })
            }
            _ => None,
        });
        let report = run(&ward, &mut MemorySink::default()).await;
        assert_eq!(report.fatal.is_none().then_some(report.patients), patients, "{report:?}");
    }
}

fn order(id: &str, reference: &str) -> String {
    format!(
        r#"{{"resourceType":"MedicationRequest","id":"{id}","subject":{{"reference":"Patient/p1"}},"medicationReference":{{"reference":"{reference}"}}}}"#
    )
}

fn medications_ward(s: &Seen) -> Option<Reply> {
    let medication = |id: &str| format!(r#"{{"resourceType":"Medication","id":"{id}"}}"#);
    match s.path.as_str() {
        "/fhir/MedicationRequest/_search" if s.param("patient") == Some("p1") => {
            let r5 = r#"{"resourceType":"MedicationRequest","id":"r5","subject":{"reference":"Patient/p1"},"medication":{"reference":{"reference":"Medication/m3"}}}"#;
            let orders = [
                order("1", "Medication/m1"),
                order("2", "{base}/Medication/m2/_history/4"),
                order("3", "#contained"),
                order("4", "http://127.0.0.1:9/fhir/Medication/evil"),
                order("5", "Medication/lost"),
                order("6", "Medication/m1"),
                r5.to_owned(),
            ];
            Some(Reply::json(page(&orders, None)))
        }
        "/fhir/Medication/_search" => {
            let found: Vec<String> = s
                .param("_id")
                .unwrap_or_default()
                .split(',')
                .filter(|id| id.starts_with('m'))
                .map(medication)
                .collect();
            Some(Reply::json(page(&found, None)))
        }
        "/fhir/Medication/m1" => Some(Reply::json(medication("m1"))),
        _ => None,
    }
}

#[tokio::test]
async fn medications_that_are_pointed_to_are_fetched_once() {
    let ward = three().await;
    ward.twist(medications_ward);
    let mut sink = MemorySink::default();
    let needs = [need("MedicationRequest")];
    let report = run_with(&ward, &mut sink, &Cohort::All, &needs, &options()).await;
    assert_eq!(codes(&report), ["foreign-reference", "dangling-reference"]);
    assert!(report.is_complete());
    let asked: Vec<String> =
        ward.mock.seen().iter().filter(|s| s.path.contains("/Medication/")).map(Seen::line).collect();
    assert_eq!(asked, ["POST /fhir/Medication/_search", "GET /fhir/Medication/lost"]);
    assert!(ward.mock.seen().iter().any(|s| s.param("_id") == Some("lost,m1,m2,m3")));
    assert!(["m1", "m2", "m3"].iter().all(|m| sink.holds(&format!(r#""Medication","id":"{m}""#))));
}

#[tokio::test]
async fn medications_are_read_where_they_cannot_be_searched_and_an_outage_leaves_the_mark() {
    let ward = three().await;
    let needs = [need("MedicationRequest")];
    ward.twist(|s| match s.path.as_str() {
        "/fhir/Medication/_search" | "/fhir/Medication" => Some(Reply::status(404)),
        _ => medications_ward(s),
    });
    let mut sink = MemorySink::default();
    let report = run_with(&ward, &mut sink, &Cohort::All, &needs, &options()).await;
    assert!(report.is_complete() && sink.holds(r#""Medication","id":"m1""#), "{report:?}");

    ward.twist(|s| match s.path.as_str() {
        "/fhir/Medication/_search" => Some(Reply::status(503)),
        _ => medications_ward(s),
    });
    let mut sink = MemorySink::default();
    let report = run_with(&ward, &mut sink, &Cohort::All, &needs, &options()).await;
    assert_eq!(report.incomplete, ["Medication?_id=… (1 patients)"]);
    assert_eq!(sink.marks(), set(&["MedicationRequest/p2", "MedicationRequest/p3"]));
}

#[tokio::test]
async fn a_dry_run_tells_what_it_would_ask_and_leaves_no_trace() {
    let ward = three().await;
    let mut sink = MemorySink::default();
    let dry = PullOptions { dry_run: true, ..options() };
    let report = run_with(&ward, &mut sink, &Cohort::All, &needs(), &dry).await;
    let plan: Vec<(&str, usize)> = report.plan.iter().map(|p| (p.text.as_str(), p.requests)).collect();
    assert_eq!(plan, [("Condition?patient={id}", 3), ("Observation?patient={id}&code=(2 codes)", 3)]);
    assert_eq!(ward.mock.lines(), ["GET /fhir/metadata", "POST /fhir/Patient/_search"]);
    assert!(sink.pages.is_empty() && sink.cursors.is_empty());
}

#[tokio::test]
async fn a_second_pull_of_the_same_pages_stores_nothing_twice() {
    let ward = three().await;
    let mut sink = MemorySink::default();
    run(&ward, &mut sink).await;
    let kept = sink.pages.len();
    let report = run(&ward, &mut sink).await;
    assert_eq!((report.stored_pages, sink.pages.len()), (0, kept));
}

#[tokio::test]
async fn a_skewed_clock_is_reported_and_the_servers_time_counts() {
    let ward = three().await;
    let mut sink = MemorySink::default();
    let skewed = PullOptions::new("2026-11-22T05:00:00Z".parse().expect("a time"));
    let report = run_with(&ward, &mut sink, &Cohort::All, &needs(), &skewed).await;
    assert_eq!(codes(&report), ["clock-skew"]);
    assert_eq!(report.through, THROUGH.parse().ok());
}

#[tokio::test]
async fn nothing_in_a_report_names_a_patient() {
    let ward = ward(Hospital { patients: vec!["canary1", "canary2"], capability: None }).await;
    ward.twist(|s| match s.param("patient") {
        Some("canary1") if s.path.contains("Observation") => Some(Reply::status(500)),
        Some("canary2") if s.path.contains("Observation") => {
            Some(Reply::json(page(&[observation("o", "canary1")], None)))
        }
        Some("canary2") => Some(Reply::json("{}")),
        _ => None,
    });
    let report = run(&ward, &mut MemorySink::default()).await;
    assert!(report.warnings.len() >= 3, "{report:?}");
    assert!(!format!("{report:?}").contains("canary"), "{report:?}");
    let ids = Cohort::Ids(vec!["canary9".into()]);
    let report = run_with(&ward, &mut MemorySink::default(), &ids, &needs(), &options()).await;
    assert_eq!(codes(&report), ["not-found"]);
    assert!(!format!("{report:?}").contains("canary"));
}

#[test]
fn a_pull_can_be_spawned() {
    fn sendable<T: Send>(_: T) {}
    let client =
        FhirClient::new(crate::client::ClientConfig::new("http://127.0.0.1:9/fhir")).expect("a client");
    let mut sink = MemorySink::default();
    sendable(pull(&client, &Cohort::All, &[], &options(), &mut sink, &Silent));
}
