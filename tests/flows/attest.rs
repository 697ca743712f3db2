//! What only a person knows: attestations, bedside grades, consent.

use super::support::*;

fn attest(bench: &Bench, subject: &str, criterion: &str, verdict: &str) -> Ran {
    bench.run(&["attest", subject, criterion, "--verdict", verdict, "--by", "Dr A", "--reason", "seen"])
}

fn verdict(ran: &Ran, id: &str) -> String {
    let v = ran.json();
    let criterion = v["criteria"].as_array().expect("criteria").iter().find(|c| c["id"] == id).cloned();
    criterion.expect("the criterion")["verdict"].as_str().expect("a verdict").to_owned()
}

#[test]
fn a_person_settles_what_the_data_leave_open_and_the_last_word_counts() {
    let hospital = Hospital::of(&["p-009", "p-020", "p-037"]);
    let bench = Bench::new(&hospital);
    bench.ok(&["pull"]);
    assert_eq!(bench.decision("p-037"), "undetermined");
    for (said, then, decision) in
        [("no", "clear", "eligible"), ("yes", "excludes", "ineligible"), ("no", "clear", "eligible")]
    {
        let ran = attest(&bench, "p-037", "E8", said).code(0);
        assert_eq!(verdict(&ran, "E8"), then);
        assert_eq!(ran.json()["decision"], decision, "{said}");
    }
    // An exclusion that the data show is not talked away.
    let ran = attest(&bench, "p-009", "E1", "no").code(0);
    assert_eq!(
        (verdict(&ran, "E1").as_str(), ran.json()["decision"].as_str()),
        ("excludes", Some("ineligible"))
    );
    // Bedside grades.
    assert_eq!(bench.decision("p-020"), "undetermined");
    for (grade, decision) in [("mild", "eligible"), ("moderate-severe", "eligible")] {
        let ran = attest(&bench, "p-020", "ascites", grade).code(0);
        assert_eq!(ran.json()["variables"]["ascites"]["value"], grade);
        assert_eq!(ran.json()["decision"], decision, "{grade}");
    }

    let none =
        attest(&bench, "p-020", "ascites", "severe").code(2).says("answers: none, mild, moderate-severe");
    assert!(none.out.is_empty());
    attest(&bench, "p-020", "E99", "no").code(2).says("criteria: I1");
    attest(&bench, "p-020", "bilirubin_total", "3").code(2);
    attest(&bench, "p-020", "E8", "perhaps").code(2).says("`yes` or `no`");
    attest(&bench, "p-999", "E8", "no").code(1).says("not in the store");
    attest(&bench, "p 20", "E8", "no").code(2);
    bench.run(&["attest", "p-020", "E8", "--verdict", "no", "--by", " ", "--reason", "x"]).code(2);
    bench.run(&["attest", "p-020", "E8", "--verdict", "no", "--by", "A\nB", "--reason", "x"]).code(2);
    bench.run(&["attest", "p-020", "E8", "--verdict", "no", "--by", "A", "--reason", ""]).code(2);

    let mut log = bench.ok(&["audit", "show", "--subject", "p-037"]).lines();
    assert_eq!(log.remove(0)["schema"], "trialbridge/audit-subject/v1");
    let said: Vec<&str> = log
        .iter()
        .filter(|e| e["action"] == "attest")
        .filter_map(|e| e["detail"]["verdict"].as_str())
        .collect();
    assert_eq!(said, ["no", "yes", "no"]);
    assert!(log.iter().all(|e| e["subject"] == "Patient/p-037"));
    assert!(
        log.iter()
            .any(|e| e["action"] == "attest" && e["actor"] == "Dr A" && e["detail"]["reason"] == "seen")
    );
    let decided: Vec<&str> = log
        .iter()
        .filter(|e| e["action"] == "decide")
        .filter_map(|e| e["detail"]["decision"].as_str())
        .collect();
    assert_eq!(decided, ["undetermined", "eligible", "ineligible", "eligible"]);
    // A later pull takes nothing back.
    bench.ok(&["pull", "--full"]);
    assert_eq!(bench.decision("p-037"), "eligible");
    bench.ok(&["audit", "verify"]);
}

#[test]
fn consent_is_recorded_withdrawn_and_recorded_again() {
    let hospital = Hospital::of(&["p-007"]);
    let bench = Bench::ready(&hospital, "");
    let consent = |what: &str, date: &[&str]| {
        let mut args = vec!["consent", what, "Patient/p-007", "--by", "Coordinator"];
        args.extend(date);
        bench.run(&args)
    };
    let randomize = || bench.run(&["randomize", "p-007", "--by", "A"]);
    randomize().code(17).says("no-consent");
    // Signed in the future is not signed.
    assert_eq!(consent("record", &["--date", "2999-01-01"]).code(0).json()["decision"], "undetermined");
    randomize().code(17);
    assert_eq!(consent("record", &[]).code(0).json()["decision"], "eligible");
    let withdrawn = consent("withdraw", &[]).code(0);
    assert_eq!(verdict(&withdrawn, "I3"), "not-met");
    assert_eq!(withdrawn.json()["decision"], "ineligible");
    randomize().code(17).says("not-eligible").says("I3");
    assert_eq!(bench.count("SELECT count(*) FROM allocation"), 0);
    assert_eq!(consent("record", &[]).code(0).json()["decision"], "eligible");
    randomize().code(0);
    consent("record", &["--date", "tomorrow"]).code(2).says("--date");
    bench.run(&["consent", "record", "p-999", "--by", "A"]).code(1).says("not in the store");
    let log = bench.ok(&["audit", "show", "--subject", "p-007"]).lines();
    let actions: Vec<&str> =
        log.iter().filter_map(|e| e["action"].as_str()).filter(|a| a.starts_with("consent")).collect();
    assert_eq!(actions, ["consent.record", "consent.record", "consent.withdraw", "consent.record"]);
}
