//! What becomes of single stories.

use super::*;

#[test]
fn of_a_transaction_with_a_bad_entry_nothing_is_taken() {
    let world = World::new();
    let mut bad = bilirubin("o2", of("p1"), "2");
    bad["id"] = "not an id".into();
    world.push(&transaction(&[patient("p1", &["7"]), bilirubin("o1", of("p1"), "1"), bad]));
    let done = world.run();
    assert_eq!((done.documents, done.new), (1, 0));
    assert_eq!(world.store.subjects().expect("read"), [""; 0]);
    assert!(
        world.set_aside().iter().any(|(reason, _)| reason == "transaction-refused"),
        "{:?}",
        world.set_aside()
    );
    assert_eq!(world.store.count_by_state().expect("read").quarantined, 1);
    // The same as a batch takes what can be taken.
    let mut batch = transaction(&[patient("p1", &["7"]), bilirubin("o1", of("p1"), "1"), json!({"id": "x"})]);
    batch["type"] = "batch".into();
    world.push(&batch);
    assert_eq!(world.run().new, 2);
    assert_eq!(world.store.records_of("Patient/p1").expect("read").len(), 2);
}

#[test]
fn a_document_that_makes_the_program_fail_costs_itself_and_nothing_else() {
    fn faulty(item: &InboxItem, trial: &Trial, salt: &str, at: &str) -> Taken {
        assert!(!String::from_utf8_lossy(&item.bytes).contains("poison"), "a fault of this program");
        intake::take(item, trial, salt, at)
    }
    let mut world = World::new();
    let sound = Pipeline::new(Arc::clone(&world.store), Arc::clone(&world.pipeline.trial));
    world.pipeline = sound.with_take(faulty);
    world.push(&patient("p1", &[]));
    let poison = world.push(&patient("poison", &[]));
    world.push(&patient("p2", &[]));
    let done = world.run();
    assert_eq!((done.documents, done.new), (3, 2));
    assert_eq!(world.store.subjects().expect("read"), ["Patient/p1", "Patient/p2"]);
    let item = world.store.inbox_item(poison).expect("there");
    assert_eq!((item.state, item.attempts), (InboxState::Quarantined, ATTEMPTS));
    assert_eq!(
        world.set_aside().iter().map(|(reason, _)| reason.as_str()).collect::<Vec<_>>(),
        ["processing-failed"]
    );
    // Once the fault is mended, reading it again is enough.
    world.pipeline = Pipeline::new(Arc::clone(&world.store), Arc::clone(&world.pipeline.trial));
    assert_eq!(world.pipeline.unusable(&item).expect("read"), []);
    world.store.mark(poison, InboxState::Pending).expect("marked");
    assert_eq!(world.run().new, 1);
}

#[test]
fn somebody_known_by_a_number_is_attached_when_the_patient_comes() {
    let world = World::new();
    let (alias, p1) = (alias("7"), "Patient/p1");
    world.push(&bilirubin("o1", known_as("7"), "3"));
    world.run();
    assert_eq!(world.word(&alias), "undetermined");
    world.push(&patient("p1", &["7"]));
    world.run();
    assert_eq!((world.word(&alias).as_str(), world.word(p1).as_str()), (ATTACHED, "undetermined"));
    assert_eq!(world.json(&alias)["attachedTo"], p1);
    assert_eq!(world.json(p1)["variables"]["bilirubin_total"]["source"], "Observation/o1");
    assert_eq!(world.blocked(p1), [""; 0]);
    let listed: Vec<String> =
        world.store.latest_decisions().expect("read").into_iter().map(|d| d.subject).collect();
    assert_eq!(listed, [p1]);
    // The Patient lost the number: the result is nobody's again.
    let mut other = patient("p1", &["8"]);
    other["meta"] = json!({"lastUpdated": "2030-01-01T00:00:00Z"});
    world.push(&other);
    world.run();
    assert_eq!(world.word(&alias), "undetermined");
    assert!(world.json(p1)["variables"]["bilirubin_total"].is_null());
}

#[test]
fn an_older_version_that_tells_what_a_key_stands_for_is_heard() {
    let world = World::new();
    let (alias, p1) = (alias("7"), "Patient/p1");
    world.push(&patient(alias.trim_start_matches("Patient/"), &[]));
    world.push(&patient("p1", &["7"]));
    let mut newer = bilirubin("o1", of("p2"), "3");
    newer["meta"] = json!({"lastUpdated": "2026-11-05T00:00:00Z"});
    world.push(&newer);
    world.run();
    assert_eq!(world.word(&alias), "undetermined");
    let mut older = bilirubin("o1", known_as("7"), "3");
    older["meta"] = json!({"lastUpdated": "2026-11-01T00:00:00Z"});
    world.push(&older);
    world.run();
    assert_eq!(
        (world.word(&alias).as_str(), world.json(&alias)["attachedTo"].as_str()),
        (ATTACHED, Some(p1))
    );
}

#[test]
fn two_patients_with_one_number_block_each_other_until_a_person_rules() {
    let world = World::cohort();
    assert_eq!(world.word(ELIGIBLE), "eligible");
    let mut first = world.body(ELIGIBLE);
    first["identifier"] = json!([{"system": MRN, "value": "7"}]);
    first["meta"] = json!({"versionId": "900", "lastUpdated": "2026-11-22T07:59:00Z"});
    world.push(&first);
    world.push(&patient("p2", &["7"]));
    world.run();
    for subject in [ELIGIBLE, "Patient/p2"] {
        assert_eq!(
            (world.word(subject).as_str(), world.blocked(subject)),
            ("undetermined", vec!["shared-identifier".to_owned()]),
            "{subject}"
        );
    }
    assert!(world.randomize(ELIGIBLE).is_err());
    world.rule(ELIGIBLE, "Patient/p2", false);
    world.run();
    assert_eq!((world.word(ELIGIBLE).as_str(), world.blocked(ELIGIBLE).len()), ("eligible", 0));
    assert_eq!(world.blocked("Patient/p2"), [""; 0]);
    // The last word counts.
    world.rule(ELIGIBLE, "Patient/p2", true);
    world.run();
    assert_eq!(world.word("Patient/p2"), ATTACHED);
    assert_eq!(world.blocked(ELIGIBLE), ["person-disagrees"], "another birth date");
}

#[test]
fn a_merge_of_two_numbers_is_a_question() {
    let world = World::new();
    let (gone, stays) = (alias("8"), alias("7"));
    world.push(&bilirubin("o7", known_as("7"), "1"));
    world.push(&bilirubin("o8", known_as("8"), "2"));
    world.run();
    let mut merged = patient(gone.trim_start_matches("Patient/"), &["8"]);
    merged["active"] = false.into();
    merged["link"] = json!([{"type": "replaced-by", "other": {"reference": stays}}]);
    world.push(&merged);
    world.run();
    for subject in [&gone, &stays] {
        assert_eq!(world.blocked(subject), ["merged"], "{subject}");
    }
    world.rule(&stays, &gone, true);
    world.run();
    assert_eq!(world.word(&gone), ATTACHED);
    assert_eq!(world.blocked(&stays), [""; 0], "a question that was answered is not asked again");
    let found = questions::open(&*world.store, &world.pipeline.trial).expect("read");
    assert_eq!(found, []);
}

#[test]
fn a_merge_never_moves_somebody_who_was_randomized() {
    let world = World::cohort();
    world.randomize(ELIGIBLE).expect("allocated");
    let allocated = world.allocations();
    let mut merged = world.body(ELIGIBLE);
    merged["meta"] = json!({"versionId": "900", "lastUpdated": "2026-11-22T07:59:00Z"});
    merged["link"] = json!([{"type": "replaced-by", "other": of("p2")}]);
    let mut survivor = world.body(ELIGIBLE);
    survivor["id"] = "p2".into();
    survivor["identifier"] = json!([]);
    world.push(&survivor);
    world.push(&merged);
    world.run();
    for subject in [ELIGIBLE, "Patient/p2"] {
        assert_eq!(world.blocked(subject), ["merged"], "{subject}");
        assert_eq!(world.word(subject), "undetermined", "{subject}");
    }
    assert!(world.randomize("Patient/p2").is_err(), "no second draw");
    assert_eq!(world.allocations(), allocated);
    assert_eq!(world.deviations(), [("no-longer-eligible".to_owned(), "identity".to_owned())]);
    let kept = questions::open(&*world.store, &world.pipeline.trial).expect("read");
    assert_eq!(kept.len(), 1);
    assert_eq!(
        (kept[0].kind.as_str(), kept[0].subject.as_str(), kept[0].other.as_str()),
        ("merged", ELIGIBLE, "Patient/p2")
    );
    assert_eq!(kept[0].allocated, [ELIGIBLE]);
    // A person confirms: the one who was randomized goes on, whatever the hospital calls the survivor.
    world.rule(ELIGIBLE, "Patient/p2", true);
    world.run();
    assert_eq!((world.word(ELIGIBLE).as_str(), world.word("Patient/p2").as_str()), ("eligible", ATTACHED));
    assert!(world.randomize("Patient/p2").is_err(), "no second draw");
    assert_eq!(world.allocations(), allocated);
}

#[test]
fn a_correction_after_randomization_is_one_deviation_and_leaves_the_allocation() {
    let world = World::cohort();
    world.randomize(ELIGIBLE).expect("allocated");
    let allocated = world.allocations();
    let mut corrected = world.next(ELIGIBLE, "bilirubin_total");
    corrected["status"] = "corrected".into();
    corrected["valueQuantity"]["value"] = json!(1);
    world.push(&corrected);
    let opened = world.run().deviations;
    let kinds: Vec<String> = world.deviations().into_iter().map(|(kind, _)| kind).collect();
    assert_eq!(opened, kinds.len());
    assert!(
        kinds.iter().any(|k| k == "result-corrected") && kinds.iter().any(|k| k == "score-changed"),
        "{kinds:?}"
    );
    for _ in 0..2 {
        world.push(&corrected);
        // The same once more in other bytes.
        world.push(&transaction(&[corrected.clone()]));
        assert_eq!(world.run().deviations, 0);
    }
    world.store.replay_all(crate::store::suite::audit("replay")).expect("replayed");
    assert_eq!(world.run().deviations, 0);
    assert_eq!(world.deviations().len(), kinds.len());
    assert_eq!(world.allocations(), allocated);
}

#[test]
fn a_version_that_says_the_same_is_no_deviation() {
    let world = World::cohort();
    world.randomize(ELIGIBLE).expect("allocated");
    let mut same = world.next(ELIGIBLE, "bilirubin_total");
    same["note"] = json!([{"text": "seen"}]);
    let mut moved = world.body(ELIGIBLE);
    moved["meta"] = json!({"versionId": "900"});
    moved["address"] = json!([{"city": "elsewhere"}]);
    world.push(&transaction(&[same, moved]));
    assert_eq!(world.run().deviations, 0, "{:?}", world.deviations());
}

#[test]
fn a_retraction_after_randomization_is_a_deviation() {
    let world = World::cohort();
    world.randomize(ELIGIBLE).expect("allocated");
    let mut retracted = world.next(ELIGIBLE, "inr");
    retracted["status"] = "entered-in-error".into();
    world.push(&retracted);
    world.run();
    let source = format!("Observation/{}", retracted["id"].as_str().expect("an id"));
    assert!(
        world.deviations().contains(&("result-retracted".to_owned(), source)),
        "{:?}",
        world.deviations()
    );
    assert_eq!(world.allocations().len(), 1);
}

#[test]
fn without_version_and_date_arrival_counts_for_what_is_pushed_and_nothing_for_what_is_pulled() {
    let world = World::new();
    world.push(&patient("p1", &[]));
    world.push(&bilirubin("o1", of("p1"), "2"));
    world.push(&bilirubin("o1", of("p1"), "5"));
    world.run();
    assert_eq!(world.json("Patient/p1")["variables"]["bilirubin_total"]["value"], json!(5));
    let world = World::new();
    world.pull(&patient("p1", &[]));
    world.pull(&bilirubin("o1", of("p1"), "2"));
    world.pull(&bilirubin("o1", of("p1"), "5"));
    world.run();
    let json = world.json("Patient/p1");
    assert!(json["variables"]["bilirubin_total"].is_null());
    assert_eq!(json["gaps"][0]["reason"], "version-conflict", "{}", json["gaps"]);
}

#[test]
fn a_decision_is_not_dated_before_what_it_rests_on() {
    let world = World::new();
    let mut late = world.incoming("push", BASE, patient("p1", &[]).to_string().into_bytes());
    late.received_at = "2026-11-22T23:00:00.000Z".into();
    world.store.accept(late).expect("accepted");
    world.run();
    let decision = world.store.latest_decision("Patient/p1").expect("read").expect("a decision");
    assert_eq!(decision.decided_at, "2026-11-22T23:00:00.000Z");
}

#[test]
fn a_number_that_was_randomized_keeps_its_key_when_its_patient_comes() {
    let world = World::new();
    let alias = alias("7");
    world.push(&bilirubin("o1", known_as("7"), "3"));
    world.run();
    world.draw(&alias);
    let allocated = world.allocations();
    world.push(&patient("p1", &["7"]));
    world.run();
    assert_eq!((world.word("Patient/p1").as_str(), world.word(&alias).as_str()), (ATTACHED, "undetermined"));
    assert_eq!(world.json("Patient/p1")["attachedTo"], alias.as_str());
    assert_eq!(world.json(&alias)["variables"]["sex"]["source"], "Patient/p1");
    assert!(world.randomize("Patient/p1").is_err(), "no second draw");
    assert_eq!(world.allocations(), allocated);
}
