//! A hospital's server that misbehaves: what is incomplete is said, no cursor passes it, and the next run
//! completes it.

use super::support::*;
use std::net::TcpListener;
use trialbridge::sandbox::{Fault, NextLink};

const FOUR: [&str; 4] = ["p-001", "p-007", "p-009", "p-021"];

/// What an undisturbed pull comes to.
fn undisturbed(hospital: &Hospital) -> String {
    let bench = Bench::new(hospital);
    bench.ok(&["pull"]);
    bench.ok(&["subjects"]).out
}

fn marks(bench: &Bench, resource_type: &str) -> i64 {
    bench.count(&format!("SELECT count(*) FROM cursor WHERE key LIKE 'pull/{resource_type}/%'"))
}

#[test]
fn a_burst_of_refusals_and_a_cut_page_are_asked_again() {
    let hospital = Hospital::of(&FOUR);
    let expected = undisturbed(&hospital);
    hospital.sandbox.faults().answer_next(2, |r| r.resource_type() == "Condition", 503, Some("1"));
    hospital.sandbox.faults().inject(
        1,
        |r| r.resource_type() == "Observation",
        Fault::Truncate { bytes: 700 },
    );
    let bench = Bench::new(&hospital);
    let report = bench.ok(&["pull"]).json();
    assert!(report["retried"].as_u64() >= Some(3), "{report}");
    assert_eq!(bench.ok(&["subjects"]).out, expected);
    assert_eq!(bench.count("SELECT count(*) FROM quarantine WHERE reason = 'not-json'"), 0);
}

#[test]
fn a_failed_search_is_incomplete_and_the_next_run_completes_it() {
    let hospital = Hospital::of(&FOUR);
    let expected = undisturbed(&hospital);
    let bench = Bench::new(&hospital);
    hospital.sandbox.faults().answer_next(1, |r| r.resource_type() == "Condition", 500, None);
    let report = bench.run(&["pull"]).code(13).json();
    assert!(
        report["incomplete"][0].as_str().is_some_and(|s| s.starts_with("Condition?patient={id}")),
        "{report}"
    );
    assert!(report["completeTo"].is_null());
    assert_eq!(marks(&bench, "Condition"), 3, "one patient has no mark, and the cohort has none");
    assert_eq!(marks(&bench, "Consent"), 5, "four patients and the cohort");
    hospital.sandbox.faults().forget_requests();
    let report = bench.ok(&["pull"]).json();
    assert!(report["completeTo"].is_string());
    assert_eq!(hospital.asked("Condition"), 1, "only what was missing is asked for");
    assert_eq!(bench.ok(&["subjects"]).out, expected);
}

#[test]
fn who_is_not_let_in_is_told_so() {
    let hospital = Hospital::of(&["p-001"]);
    for (status, code) in [(401, 12), (403, 12)] {
        hospital.sandbox.faults().answer_next(10_000, |_| true, status, None);
        let bench = Bench::new(&hospital);
        bench.run(&["pull"]).code(code).says("error:");
        bench.run(&["writeback"]).code(code);
        assert_eq!(bench.count("SELECT count(*) FROM cursor WHERE value NOT LIKE '%open'"), 0);
        hospital.sandbox.faults().clear();
        bench.ok(&["pull"]);
        assert_eq!(bench.decision("p-001"), "eligible");
    }
    // One type that is closed to us: the rest is there, the decision is not favourable, the code says so.
    hospital.sandbox.faults().answer_next(10_000, |r| r.resource_type() == "Consent", 403, None);
    let bench = Bench::new(&hospital);
    let report = bench.run(&["pull"]).code(13).json();
    assert!(report["warnings"].to_string().contains("refused"), "{report}");
    assert_eq!(bench.decision("p-001"), "undetermined");
}

#[test]
fn nobody_there_is_unreachable() {
    let port = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound").port();
    let bench = Bench::with(&format!("http://127.0.0.1:{port}/fhir"), "");
    bench.run(&["pull"]).code(11).says("error:").says("hint:");
    let bench = Bench::with("http://fhir.example.org/r4", "");
    bench.run(&["pull"]).code(10).says("https://");
}

#[test]
fn a_dropped_patient_parameter_is_not_a_load_of_everybody() {
    let hospital = Hospital::of(&FOUR);
    hospital.sandbox.faults().drop_parameter("patient");
    let bench = Bench::new(&hospital);
    let report = bench.run(&["pull", "--patient", "p-001"]).code(13).json();
    assert!(report["warnings"].to_string().contains("dropped-parameter"), "{report}");
    assert_eq!(bench.subjects().into_keys().collect::<Vec<_>>(), ["Patient/p-001"]);
    assert_eq!(bench.decision("p-001"), "undetermined");
    assert_eq!(marks(&bench, "Observation"), 0);
}

#[test]
fn a_next_link_leads_nowhere_else_and_not_in_a_circle() {
    let hospital = Hospital::of(&FOUR);
    let expected = undisturbed(&hospital);
    let trap = TcpListener::bind("127.0.0.1:0").expect("a port");
    trap.set_nonblocking(true).expect("a socket");
    let foreign = NextLink::Foreign(format!("http://{}", trap.local_addr().expect("bound")));
    for next in [foreign, NextLink::Loop] {
        hospital.sandbox.faults().next_link(next.clone());
        let token = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(token.path(), "token-canary\n").expect("written");
        let auth = format!("[fhir.auth]\nkind = \"bearer\"\ntoken_file = \"{}\"\n", token.path().display());
        let bench = Bench::with(&hospital.url, &auth);
        let ran = bench.run(&["pull", "-v"]).code(13);
        assert!(
            ran.err.contains("paging") || ran.err.contains("foreign") || ran.err.contains("next"),
            "{}",
            ran.err
        );
        assert_eq!(bench.count("SELECT count(*) FROM cursor WHERE key LIKE '%/cohort/%'"), 0, "{next:?}");
        hospital.sandbox.faults().clear();
        bench.ok(&["pull"]);
        assert_eq!(bench.ok(&["subjects"]).out, expected);
    }
    let visitor = trap.accept().map(|_| ()).expect_err("nobody came");
    assert_eq!(visitor.kind(), std::io::ErrorKind::WouldBlock);
}

#[test]
fn a_total_that_is_too_high_is_not_complete() {
    let hospital = Hospital::of(&["p-001"]);
    hospital.sandbox.faults().lie_about_total(Some(500));
    let bench = Bench::new(&hospital);
    let report = bench.run(&["pull"]).code(13).json();
    assert!(report["warnings"].to_string().contains("total-mismatch"), "{report}");
    hospital.sandbox.faults().clear();
    bench.ok(&["pull"]);
    assert_eq!(bench.decision("p-001"), "eligible");
}
