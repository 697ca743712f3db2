//! Every reader of foreign text against its properties (`fuzz/src`): all seeds and all inputs that once
//! broke something, then 2,000 inputs made of them by chance with a fixed seed. The same functions are
//! what libFuzzer drives for hours (`docs/fuzzing.md`).

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use trialbridge::collection::Collection;
use trialbridge::pipeline::intake;
use trialbridge::protocol::Trial;
use trialbridge::store::{InboxItem, InboxState};

#[path = "../../fuzz/src/lib.rs"]
mod properties;

/// Mutated inputs a reader.
const INPUTS: u32 = 2_000;
/// Longest input that is made by chance: time, in a build without optimization.
const LONGEST: usize = 4096;

/// Inputs of a folder by name, none if there is no such folder.
fn inputs(folder: &str, target: &str) -> BTreeMap<String, Vec<u8>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz").join(folder).join(target);
    let Ok(entries) = fs::read_dir(path) else { return BTreeMap::new() };
    entries
        .map(|entry| {
            let path = entry.expect("a readable folder lists its entries").path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            (name, fs::read(&path).expect("a seed is read"))
        })
        .collect()
}

/// xorshift64*: the same everywhere and for ever, which no library promises.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }
}

/// What breaks readers.
const ODD: &[&[u8]] = &[
    b"\0",
    b"\xff",
    b"\xc0\x80",
    b"\\ud800",
    b"\\u0000",
    b"\"",
    b"{",
    b"[",
    b"]}",
    b"null",
    b"true",
    b"-0",
    b"1e400",
    b"0.00000000000000000000000000000000001",
    b"99999999999999999999999999999",
    b"\xef\xbb\xbf",
    b"\n",
    b"\r\n",
    b"<",
    b">=",
    b"entered-in-error",
    b"9999-12-31",
    b"0000",
    b"urn:uuid:",
    b"Patient/",
    b"#",
    b"\xe6\x80\xbb",
];

/// One to four changes: a byte, a span gone or doubled, something odd, the tail of another input.
fn mutated(seeds: &[&Vec<u8>], chance: &mut Chance) -> Vec<u8> {
    let mut bytes = seeds[chance.below(seeds.len())].clone();
    for _ in 0..=chance.below(4) {
        let at = chance.below(bytes.len() + 1);
        let end = (at + 1 + chance.below(16)).min(bytes.len());
        match chance.below(6) {
            0 if at < bytes.len() => bytes[at] = chance.next() as u8,
            1 if at < end => {
                bytes.drain(at..end);
            }
            2 if at < end => {
                let span = bytes[at..end].to_vec();
                bytes.splice(at..at, span);
            }
            3 => {
                let odd = ODD[chance.below(ODD.len())];
                bytes.splice(at..end.max(at), odd.iter().copied());
            }
            4 => {
                let other = seeds[chance.below(seeds.len())];
                bytes.truncate(at);
                bytes.extend_from_slice(&other[chance.below(other.len() + 1)..]);
            }
            _ => {
                let odd = ODD[chance.below(ODD.len())];
                bytes.splice(at..at, odd.iter().copied());
            }
        }
    }
    bytes.truncate(LONGEST);
    bytes
}

fn holds(target: &str) {
    let (_, property) = *properties::ALL.iter().find(|(name, _)| *name == target).expect("a target");
    let seeds = inputs("corpus", target);
    assert!(!seeds.is_empty(), "fuzz/corpus/{target} is empty; python3 fuzz/seeds.py writes it");
    let regressions = inputs("regressions", target);
    for bytes in seeds.values().chain(regressions.values()) {
        property(bytes);
    }
    let known: Vec<&Vec<u8>> = seeds.values().chain(regressions.values()).collect();
    let mut chance = Chance(0x7472_6961_6c62_7269);
    for n in 0..INPUTS {
        let bytes = mutated(&known, &mut chance);
        // What it was that broke is not lost with the panic.
        let failed = std::panic::catch_unwind(|| property(&bytes)).is_err();
        assert!(!failed, "{target}, input {n}: {}", bytes.escape_ascii());
    }
}

/// One test a target, and none forgotten.
macro_rules! targets {
    ($($target:ident)*) => {
        $(#[test]
        fn $target() {
            holds(stringify!($target));
        })*

        #[test]
        fn every_target_is_tested_here_and_has_its_binary() {
            let tested = [$(stringify!($target)),*];
            let named: Vec<&str> = properties::ALL.iter().map(|(name, _)| *name).collect();
            assert_eq!(named, tested);
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/fuzz_targets");
            let mut binaries: Vec<String> = fs::read_dir(folder)
                .expect("a folder")
                .map(|e| e.expect("an entry").path().file_stem().unwrap_or_default().to_string_lossy().into_owned())
                .collect();
            binaries.sort();
            assert_eq!(binaries, tested);
        }
    };
}

targets! {
    attestations
    bundle
    config_toml
    document
    fhir_resource
    hl7_charset
    hl7_escape
    hl7_intake
    hl7_message
    hl7_time
    intake
    json
    link
    mllp_frame
    number
    quantity
    retry_after
    score_line
    sealed_list
    search_page
    site_toml
    trial_toml
    unit
    when
}

fn row(bytes: &str) -> InboxItem {
    InboxItem {
        seq: 1,
        received_at: "2026-11-22T00:00:00.000Z".into(),
        origin: "push".into(),
        source: "http://127.0.0.1/fhir".into(),
        media_type: "application/fhir+json".into(),
        sha256: String::new(),
        bytes: bytes.as_bytes().to_vec(),
        state: InboxState::Pending,
        attempts: 0,
    }
}

/// A Bundle with one patient and one result of `subject`.
fn beside(patient: &str, subject: &str) -> String {
    format!(
        r#"{{"resourceType":"Bundle","entry":[{{"resource":{{"resourceType":"Patient"{patient}}}}},
        {{"resource":{{"resourceType":"Observation","id":"o","status":"final"{subject},
        "effectiveDateTime":"2026-11-20","valueQuantity":{{"value":2,"unit":"mg/dL"}},
        "code":{{"coding":[{{"system":"http://loinc.org","code":"1975-2"}}]}}}}}}]}}"#
    )
}

/// A result that names no patient, or something else than a patient, is nobody's, also where the only
/// patient of the Bundle is near: in the store as in `screen`.
#[test]
fn a_result_without_a_patient_is_not_given_to_the_next_one() {
    let trial = Trial::shipped();
    for (subject, owner) in [
        (r#","subject":{"reference":"Patient/p"}"#, Some("Patient/p")),
        ("", None),
        (r#","subject":{"reference":"Group/1"}"#, None),
        (r#","subject":{"reference":"Device/2"}"#, None),
        (r#","subject":{"display":"somebody"}"#, None),
    ] {
        let bytes = beside(r#","id":"p""#, subject);
        let taken = intake::take(&row(&bytes), &trial, "salt", "");
        let result = taken.records.iter().find(|r| r.key.resource_type == "Observation").expect("a record");
        assert_eq!(result.subject.as_deref(), owner, "{subject}");
        let reasons: Vec<&str> = taken.quarantine.iter().map(|q| q.reason.as_str()).collect();
        assert_eq!(reasons, if owner.is_some() { vec![] } else { vec!["subject-missing"] }, "{subject}");

        let mut collection = Collection::new(&trial);
        collection.add(bytes.as_bytes(), "b.json").expect("a Bundle");
        let settled = collection.settle();
        let known = &settled.subjects["Patient/p"];
        assert_eq!(known.facts.len(), if owner.is_some() { 2 } else { 1 }, "{subject}");
        assert_eq!(known.gaps.len(), usize::from(owner.is_none()), "{subject}");
    }
}

/// Of two patients of whom one has no usable id, the other is not the only one.
#[test]
fn a_patient_without_an_id_counts() {
    let trial = Trial::shipped();
    for nameless in ["", r#","id":"Zhang San""#, r#","id":7"#] {
        let two = beside(r#","id":"p""#, "").replacen(
            r#""entry":["#,
            &format!(r#""entry":[{{"resource":{{"resourceType":"Patient"{nameless}}}}},"#),
            1,
        );
        let mut collection = Collection::new(&trial);
        collection.add(two.as_bytes(), "b.json").expect("a Bundle");
        assert!(collection.orphans().iter().any(|o| o.path.ends_with("Observation.subject")), "{nameless}");
        let settled = collection.settle();
        assert!(settled.subjects["Patient/p"].gaps.is_empty(), "{nameless}");
    }
}
