//! The service: pulls by itself, never twice at a time, catches up once, stops when told.

use super::service::*;
use super::support::*;
use std::time::Duration;
use trialbridge::sandbox::Fault;

fn bench(hospital: &Hospital, schedule: &str) -> Bench {
    Bench::with(&hospital.url, &format!("{FREE}[pull]\nschedule = \"{schedule}\"\n"))
}

/// `GET` of the operations port: the status line's code.
fn status(address: &str, path: &str) -> u16 {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(address).expect("connected");
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").expect("sent");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("an answer");
    text.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status line")
}

#[test]
fn it_pulls_by_itself_and_stops_when_told() {
    let hospital = Hospital::of(&["p-001", "p-009"]);
    let bench = bench(&hospital, "0 0 3 1 1 *");
    let service = Service::start(&bench);
    assert!(wait_for(|| bench.run(&["subjects"]).out.lines().count() == 2), "nothing was pulled");
    assert_eq!(status(&service.ops, "/livez"), 200);
    assert!(wait_for(|| status(&service.ops, "/readyz") == 200), "ready after a pull");
    // Who wants to write is told who does.
    bench.run(&["pull"]).code(15).says("serve");
    service.stop();
    bench.ok(&["verify"]);
    assert_eq!(bench.decision("p-001"), "eligible");

    // Nothing was missed: no pull at the next start.
    hospital.sandbox.faults().forget_requests();
    let service = Service::start(&bench);
    std::thread::sleep(Duration::from_millis(700));
    service.stop();
    assert_eq!(hospital.asked("Patient"), 0);
    // Several were missed: one is caught up.
    bench
        .database()
        .execute("UPDATE meta SET value = '2020-06-01T00:00:00.000Z' WHERE key = 'schedule.last-run'", [])
        .expect("sql");
    let service = Service::start(&bench);
    assert!(wait_for(|| hospital.asked("Patient") == 1), "a missed run is caught up");
    std::thread::sleep(Duration::from_millis(700));
    service.stop();
    assert_eq!(hospital.asked("Patient"), 1);
}

#[test]
fn two_runs_never_overlap() {
    let hospital = Hospital::of(&["p-001"]);
    // Each run takes longer than its period.
    hospital.sandbox.faults().inject(
        1000,
        |r| r.resource_type() == "ResearchSubject",
        Fault::DelayBefore(Duration::from_millis(1500)),
    );
    let bench = bench(&hospital, "* * * * * *");
    let service = Service::start(&bench);
    assert!(wait_for(|| hospital.asked("Patient") >= 3), "it does not run again");
    service.stop();
    // One run begins with one search for its patients, and all its other searches come before the next.
    let log = hospital.sandbox.faults().requests();
    let runs: Vec<&[_]> = log.split(|r| r.resource_type() == "Patient").skip(1).collect();
    for run in &runs[..runs.len() - 1] {
        assert_eq!(run.iter().filter(|r| r.resource_type() == "ResearchSubject").count(), 1, "{run:?}");
        assert_eq!(run.iter().filter(|r| r.resource_type() == "Consent").count(), 1);
    }
    bench.ok(&["verify"]);
}

#[test]
fn a_stop_in_the_middle_of_a_pull_is_a_clean_one() {
    let hospital = Hospital::of(&["p-001", "p-009"]);
    hospital.sandbox.faults().inject(
        1,
        |r| r.resource_type() == "Consent",
        Fault::DelayBefore(Duration::from_secs(600)),
    );
    let bench = bench(&hospital, "0 0 3 1 1 *");
    let service = Service::start(&bench);
    assert!(wait_for(|| hospital.asked("Consent") >= 1));
    service.stop();
    bench.ok(&["verify"]);
    bench.ok(&["pull"]);
    assert_eq!(bench.decision("p-001"), "eligible");
}

#[test]
fn a_schedule_that_is_none_or_never_comes_is_refused() {
    let hospital = Hospital::of(&["p-001"]);
    for schedule in ["whenever", "0 0 * *", "99 * * * * *", "0 0 0 30 2 *", ""] {
        bench(&hospital, schedule).run(&["serve"]).code(10).says("pull.schedule");
    }
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let more = format!(
        "[serve]\nlisten = \"{}\"\nops_listen = \"127.0.0.1:0\"\n",
        taken.local_addr().expect("bound")
    );
    Bench::with(&hospital.url, &more).run(&["serve"]).code(10).says("serve.listen");
}
