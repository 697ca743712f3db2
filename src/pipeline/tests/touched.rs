//! Who is judged again: whom something touches, and nobody else. Every case counts the evaluations.

use super::*;
use crate::protocol::Definition;
use crate::protocol::document::SiteFile;

/// Glucocorticoids: excluded by E6.
const PREDNISOLONE: &str = "H02AB06";
const CRITERION: &str = "E6";

fn drug(id: &str, code: &str) -> Value {
    json!({
        "resourceType": "Medication", "id": id,
        "code": {"coding": [{"system": "http://www.whocc.no/atc", "code": code}]}
    })
}

fn taken(id: &str, patient: &str, drug: &str) -> Value {
    json!({
        "resourceType": "MedicationStatement", "id": id, "status": "active", "subject": of(patient),
        "medicationReference": {"reference": format!("Medication/{drug}")}, "effectiveDateTime": "2026-11-20"
    })
}

/// The next version of a resource.
fn version(mut resource: Value, version: u32) -> Value {
    let at = format!("2026-11-21T08:00:{version:02}Z");
    resource["meta"] = json!({"versionId": version.to_string(), "lastUpdated": at});
    resource
}

impl World {
    /// So many patients of whom little is known, `p0` and on, all judged.
    fn crowd(count: usize) -> World {
        let world = World::new();
        let patients = (0..count).map(|n| world.patient_row(n)).collect();
        world.store.accept_many(patients).expect("accepted");
        assert_eq!(world.run().judged, count);
        assert_eq!(world.run().judged, 0, "nothing came, nobody is judged");
        world
    }

    fn patient_row(&self, n: usize) -> Incoming {
        self.incoming("pull", BASE, version(patient(&format!("p{n}"), &[]), 1).to_string().into_bytes())
    }

    /// Pushes something, and says how many were judged for it.
    fn judged_for(&self, document: &Value) -> usize {
        self.push(document);
        self.run().judged
    }

    fn verdict(&self, patient: &str, criterion: &str) -> String {
        let json = self.json(&format!("Patient/{patient}"));
        let all = json["criteria"].as_array().cloned().unwrap_or_default();
        let found = all.iter().find(|c| c["id"] == criterion).and_then(|c| c["verdict"].as_str());
        found.unwrap_or_default().to_owned()
    }
}

#[test]
fn a_result_touches_its_patient_alone() {
    let world = World::crowd(40);
    let result = version(bilirubin("o1", of("p7"), "3.1"), 1);
    assert_eq!(world.judged_for(&result), 1);
    assert_eq!(world.json("Patient/p7")["variables"]["bilirubin_total"]["source"], "Observation/o1");
    assert_eq!(world.judged_for(&result), 0, "the same again");
    assert_eq!(world.judged_for(&version(bilirubin("o1", of("p7"), "3.2"), 2)), 1);
    assert_eq!(
        world.judged_for(&version(bilirubin("o1", of("p8"), "3.2"), 3)),
        2,
        "who had it, and who has it"
    );
    assert_eq!(world.judged_for(&deletion("Observation/o1")), 1);
    let two = transaction(&[bilirubin("o2", of("p1"), "1.0"), bilirubin("o3", of("p2"), "1.0")]);
    assert_eq!(world.judged_for(&two), 2);
    assert_eq!(world.judged_for(&version(patient("p3", &[]), 2)), 1);
}

#[test]
fn a_medication_touches_those_who_refer_to_it() {
    let world = World::crowd(40);
    assert_eq!(world.judged_for(&drug("none", PREDNISOLONE)), 0, "nobody refers to it");
    for (id, patient, drug) in [("s1", "p1", "m1"), ("s2", "p2", "m1"), ("s3", "p3", "m2")] {
        assert_eq!(world.judged_for(&version(taken(id, patient, drug), 1)), 1, "{id}");
    }
    let unknown = world.verdict("p1", CRITERION);
    assert_eq!(world.judged_for(&version(drug("m1", PREDNISOLONE), 1)), 2, "it comes after its statements");
    for patient in ["p1", "p2"] {
        assert_eq!(world.verdict(patient, CRITERION), "excludes", "{patient}; before: {unknown}");
    }
    assert_ne!(world.verdict("p3", CRITERION), "excludes");
    assert_eq!(world.judged_for(&version(drug("m1", PREDNISOLONE), 1)), 0, "the same again");
    assert_eq!(world.judged_for(&version(drug("m1", "A11CC05"), 2)), 2);
    assert_ne!(world.verdict("p1", CRITERION), "excludes");

    // Another server's resource of the same name is another one.
    let other = version(drug("m1", PREDNISOLONE), 3);
    world.accept("push", "http://127.0.0.1/other", &other);
    assert_eq!(world.run().judged, 0);

    // A statement that refers to another one now is not touched by the first any more.
    assert_eq!(world.judged_for(&version(taken("s2", "p2", "m2"), 2)), 1);
    assert_eq!(world.judged_for(&version(drug("m1", PREDNISOLONE), 3)), 1);
    assert_eq!(world.judged_for(&version(drug("m2", PREDNISOLONE), 1)), 2);
    assert_eq!(world.judged_for(&deletion("Medication/m2")), 2);
}

#[test]
fn both_in_one_run_and_in_any_order_are_judged_once() {
    let world = World::crowd(5);
    for (first, second) in [
        (taken("s1", "p1", "m1"), drug("m1", PREDNISOLONE)),
        (drug("m2", PREDNISOLONE), taken("s2", "p2", "m2")),
    ] {
        world.push(&first);
        world.push(&second);
        assert_eq!(world.run().judged, 1);
    }
    assert_eq!([world.verdict("p1", CRITERION), world.verdict("p2", CRITERION)], ["excludes", "excludes"]);
}

/// The mark is in the commit of the record: what ends between the two loses nothing.
#[test]
fn a_run_that_ends_behind_the_records_leaves_the_marks() {
    let world = World::crowd(5);
    assert_eq!(world.judged_for(&taken("s1", "p1", "m1")), 1);
    world.push(&drug("m1", PREDNISOLONE));
    world.pipeline.digest(world.now(), &mut Progressed::default()).expect("digested");
    let marked: Vec<String> = world.store.dirty(9).expect("read").into_iter().map(|d| d.subject).collect();
    assert_eq!(marked, ["Patient/p1"]);
    assert_eq!(world.run().judged, 1);
}

#[test]
fn a_day_a_definition_and_a_site_file_touch_everybody_once() {
    let world = World::crowd(12);
    let next: NaiveDate = "2026-11-23".parse().expect("a day");
    let run = |trial: Trial, day| {
        let pipeline = Pipeline::new(Arc::clone(&world.store), Arc::new(trial));
        pipeline.run(world.now(), day).expect("a run").judged
    };
    let day: NaiveDate = DAY.parse().expect("a day");
    assert_eq!([run(Trial::shipped(), next), run(Trial::shipped(), next)], [12, 0]);
    // What comes on the new day touches one again.
    world.push(&bilirubin("o1", of("p1"), "1.0"));
    assert_eq!(run(Trial::shipped(), next), 1);
    // A clock that is set back is a day like another.
    assert_eq!([run(Trial::shipped(), day), run(Trial::shipped(), day)], [12, 0]);

    let other = || {
        let mut trial = Trial::shipped();
        trial.hash = format!("sha256:{}", "0".repeat(64));
        trial
    };
    assert_eq!([run(other(), day), run(other(), day)], [12, 0]);
    let site = || Trial::compile(&Definition::shipped(), &SiteFile::demo()).expect("a trial");
    assert_eq!([run(site(), day), run(site(), day)], [12, 0]);
}
