//! Does an arm come out anywhere (BLI-01)? A trial whose arms are canaries of different lengths, people of
//! every role, participants randomized over the API, and then every way out: each route of pages and API, the
//! ports beside it, every command, the logs, the files of the data directory, a backup, the hospital.
//!
//! The routes come from the program's own table, so that a new one is crawled without anybody thinking of it.

use super::service::*;
use super::support::*;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use trialbridge::web::ROUTES;

/// In place of the arms' names. Of different lengths, so that a length tells them apart.
const ARM_CANARIES: [&str; 2] = ["zq-canary-arm-one", "zq-canary-arm-number-two-which-is-longer"];
const INITIAL: &str = "an initial one of nobody";
const PASSWORD: &str = "seven brown kettles sing";
const PEOPLE: [(&str, &str); 6] = [
    ("root", "administrator"),
    ("cora", "coordinator"),
    ("ivan", "investigator"),
    ("phil", "pharmacist"),
    ("stan", "statistician"),
    ("mona", "monitor"),
];
/// Eligible in the synthetic cohort, with consent.
const PARTICIPANTS: [&str; 4] = ["p-001", "p-002", "p-003", "p-004"];

fn canary_trial(to: &Path) {
    tiny_trial(to);
    for entry in fs::read_dir(to).expect("a folder") {
        let path = entry.expect("an entry").path();
        let text = fs::read_to_string(&path).expect("text");
        let named = ARMS.iter().zip(ARM_CANARIES);
        let text = named.fold(text, |text, (arm, canary)| {
            text.replace(&format!("name = \"{arm}\""), &format!("name = \"{canary}\""))
        });
        fs::write(path, text).expect("written");
    }
}

/// How often any canary is in some bytes: as text, UTF-16, hexadecimal or Base64 at each of its offsets.
fn hits(bytes: &[u8]) -> usize {
    let mut needles: BTreeSet<Vec<u8>> = BTreeSet::new();
    for canary in ARM_CANARIES {
        let plain = canary.as_bytes();
        needles.insert(plain.to_vec());
        needles.insert(canary.to_uppercase().into_bytes());
        needles.insert(canary.encode_utf16().flat_map(u16::to_le_bytes).collect());
        needles.insert(canary.encode_utf16().flat_map(u16::to_be_bytes).collect());
        let hex: String = plain.iter().map(|b| format!("{b:02x}")).collect();
        needles.insert(hex.to_uppercase().into_bytes());
        needles.insert(hex.into_bytes());
        for skip in 0..3 {
            // Whole groups of three bytes, whatever stands before them.
            let part = &plain[skip..];
            let part = &part[..part.len() / 3 * 3];
            needles.insert(base64(part).into_bytes());
        }
    }
    needles.iter().map(|n| bytes.windows(n.len()).filter(|w| w == &n.as_slice()).count()).sum()
}

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let group = |c: &[u8]| u32::from(c[0]) << 16 | u32::from(c[1]) << 8 | u32::from(c[2]);
    let digits = bytes.chunks_exact(3).flat_map(|c| [18, 12, 6, 0].map(|shift| group(c) >> shift & 63));
    digits.map(|digit| char::from(ALPHABET[digit as usize])).collect()
}

#[test]
fn the_search_finds_what_it_looks_for() {
    for (text, found) in [
        (ARM_CANARIES[0].as_bytes().to_vec(), true),
        (ARM_CANARIES[1].encode_utf16().flat_map(u16::to_le_bytes).collect(), true),
        (ARM_CANARIES[0].bytes().map(|b| format!("{b:02X}")).collect::<String>().into_bytes(), true),
        (base64(format!("xy{}", &ARM_CANARIES[0][..16]).as_bytes()).into_bytes(), true),
        (b"zq-canary-arm".to_vec(), false),
    ] {
        assert_eq!(hits(&text) > 0, found, "{}", String::from_utf8_lossy(&text));
    }
}

struct Person {
    cookie: String,
    csrf: String,
}

impl Person {
    /// One address may try five times a second.
    fn sign_in(service: &Service, name: &str) -> Person {
        std::thread::sleep(std::time::Duration::from_millis(210));
        let body = json!({"account": name, "password": PASSWORD}).to_string();
        let json = ["Content-Type: application/json"];
        let answer = service.send("POST", "/api/v1/session", &json, body.as_bytes());
        assert_eq!(answer.status, 201, "{name}: {}", answer.body);
        let cookie =
            answer.header("set-cookie").expect("a cookie").split(';').next().expect("its value").to_owned();
        Person { cookie, csrf: answer.json()["csrf"].as_str().expect("a token").to_owned() }
    }

    fn get(&self, service: &Service, path: &str) -> Answer {
        service.send("GET", path, &[&format!("Cookie: {}", self.cookie)], b"")
    }

    fn post(&self, service: &Service, path: &str, key: &str, body: &Value) -> Answer {
        let headers = [
            "Content-Type: application/json".to_owned(),
            format!("Cookie: {}", self.cookie),
            format!("X-CSRF-Token: {}", self.csrf),
            format!("Idempotency-Key: {key}"),
        ];
        let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
        service.send("POST", path, &headers, body.to_string().as_bytes())
    }

    fn randomize(&self, service: &Service, id: &str, key: &str) -> Answer {
        let shown = self.get(service, &format!("/api/v1/subjects/{id}/signing?meaning=randomize"));
        assert_eq!(shown.status, 200, "{}", shown.body);
        let body = json!({"meaning": "randomize", "record": shown.json()["sha256"], "password": PASSWORD});
        self.post(service, &format!("/api/v1/subjects/{id}/randomize"), key, &body)
    }
}

fn secret_file(bench: &Bench, name: &str, text: &str) -> PathBuf {
    use std::os::unix::fs::PermissionsExt;
    let path = bench.path(name);
    fs::write(&path, text).expect("written");
    fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).expect("set");
    path
}

/// Everything that the database holds in any column, but the public part of the list, which names the arms
/// that there are.
fn told_by_the_database(bench: &Bench) -> Vec<String> {
    let database = bench.database();
    let tables: Vec<String> = {
        let mut found = database.prepare("SELECT name FROM sqlite_schema WHERE type = 'table'").expect("sql");
        let rows = found.query_map([], |r| r.get(0)).expect("rows");
        rows.map(|r| r.expect("a name")).collect()
    };
    let mut told = Vec::new();
    for table in tables.iter().filter(|t| *t != "allocation_list") {
        let mut all = database.prepare(&format!("SELECT * FROM \"{table}\"")).expect("sql");
        let width = all.column_count();
        let mut rows = all.query([]).expect("rows");
        while let Some(row) = rows.next().expect("a row") {
            for at in 0..width {
                let bytes = match row.get_ref(at).expect("a value") {
                    rusqlite::types::ValueRef::Text(bytes) | rusqlite::types::ValueRef::Blob(bytes) => {
                        bytes.to_vec()
                    }
                    _ => continue,
                };
                if hits(&bytes) > 0 {
                    told.push(format!("{table} column {at}"));
                }
            }
        }
    }
    told
}

/// How often a copy of the whole database names an arm.
fn in_a_backup(bench: &Bench, name: &str, args: &[&str]) -> usize {
    let to = bench.path(name);
    let mut all = args.to_vec();
    all.extend(["backup", to.to_str().expect("a path")]);
    all.extend(["--by", "root"]);
    let ran = bench.command(&all).env("TRIALBRIDGE_PASSWORD", PASSWORD).output().expect("runs");
    let ran = finished(&all, ran).code(0);
    assert_eq!(hits(ran.out.as_bytes()) + hits(ran.err.as_bytes()), 0);
    hits(&fs::read(to).expect("a copy"))
}

#[test]
fn an_arm_comes_out_to_who_may_know_it_and_nowhere_else() {
    let hospital = Hospital::of(&PARTICIPANTS);
    let more = format!(
        "{}[pull]\nschedule = \"0 0 3 1 1 *\"\n",
        FREE.replace("enabled = false", "enabled = false\narm = \"code\"")
    );
    let bench = Bench::with(&hospital.url, &more);
    let trial = bench.path("trial");
    canary_trial(&trial);
    let trial = trial.to_str().expect("a path").to_owned();
    let with = |args: &[&str]| -> Vec<String> {
        ["--trial", &trial].iter().chain(args).map(|a| (*a).to_owned()).collect()
    };
    let ok = |args: &[&str]| {
        let args = with(args);
        bench.ok(&args.iter().map(String::as_str).collect::<Vec<_>>())
    };
    ok(&["pull"]);
    ok(&["allocation", "generate", "--by", "statistician"]);
    let (initial, own) = (secret_file(&bench, "initial", INITIAL), secret_file(&bench, "own", PASSWORD));
    let (initial, own) = (initial.to_str().expect("a path"), own.to_str().expect("a path"));
    for (name, role) in PEOPLE {
        let mut add =
            vec!["--password-file", initial, "user", "add", name, "--role", role, "--printed-name", name];
        if name != "root" {
            add.extend(["--by", "root", "--by-password-file", own]);
        }
        ok(&add);
        ok(&["--password-file", initial, "user", "password", name, "--new-password-file", own]);
    }
    let prefix = ["--trial", trial.as_str()];
    let before = in_a_backup(&bench, "before.db", &prefix);

    let service = Service::start_with(&bench, &["--trial", &trial, "-vv", "serve"]);
    let mut people = BTreeMap::new();
    for (name, _) in PEOPLE {
        people.insert(name, Person::sign_in(&service, name));
    }
    // Everybody is randomized over the API while the service runs, and nobody is told an arm.
    let mut lengths = BTreeSet::new();
    for (n, id) in PARTICIPANTS.iter().enumerate() {
        let person = &people[if n % 2 == 0 { "cora" } else { "ivan" }];
        let key = format!("key-{n}");
        let first = person.randomize(&service, id, &key);
        assert_eq!(first.status, 201, "{id}: {}", first.body);
        let again = person.randomize(&service, id, &key);
        assert_eq!((again.status, again.header("idempotent-replay")), (200, Some("true")), "{}", again.body);
        assert_eq!(first.json()["allocation"], again.json()["allocation"]);
        let other = person.randomize(&service, id, &format!("other-{n}"));
        assert_eq!(other.status, 409);
        assert_eq!(
            (&other.json()["code"], &other.json()["allocation"]),
            (&json!("duplicate"), &first.json()["allocation"])
        );
        lengths
            .insert(first.body.replace(id, "").replace(if n % 2 == 0 { "cora" } else { "ivan" }, "").len());
        for answer in [first, again, other] {
            assert_eq!(hits(answer.head.as_bytes()) + hits(answer.body.as_bytes()), 0);
        }
    }
    assert_eq!(lengths.len(), 1, "an answer's length depends on the arm: {lengths:?}");

    // The pharmacist is told each arm, and each look is on record.
    let ids = bench.database();
    let ids: Vec<(String, String)> = {
        let mut found = ids.prepare("SELECT id, subject FROM allocation ORDER BY number").expect("sql");
        let rows = found.query_map([], |r| Ok((r.get(0)?, r.get(1)?))).expect("rows");
        rows.map(|r| r.expect("a row")).collect()
    };
    let looks = || bench.count("SELECT count(*) FROM audit WHERE action = 'arm.disclose'");
    let mut arms = BTreeMap::new();
    for (allocation, subject) in &ids {
        let path = format!("/api/v1/subjects/{}/allocation", subject.trim_start_matches("Patient/"));
        let seen = looks();
        let told = people["phil"].get(&service, &path).json();
        assert_eq!(looks(), seen + 1);
        let page = people["phil"].get(&service, &format!("/allocations/{allocation}"));
        assert_eq!(looks(), seen + 2);
        let arm = told["arm"].as_str().expect("an arm").to_owned();
        assert!(ARM_CANARIES.contains(&arm.as_str()) && page.body.contains(&arm), "{told}");
        arms.insert(subject.clone(), arm);
    }
    assert_eq!(
        arms.values().collect::<BTreeSet<_>>().len(),
        2,
        "both arms were given, or nothing is shown here"
    );

    // Everybody else asks every route, for every id there is: no canary, and nothing that depends on the arm.
    for name in ["root", "cora", "ivan", "mona"] {
        let mut sizes: BTreeMap<&str, BTreeMap<String, usize>> = BTreeMap::new();
        for route in ROUTES.iter().filter(|r| r.method == "GET") {
            for (allocation, subject) in &ids {
                let subject = subject.trim_start_matches("Patient/");
                let id = if route.path.contains("/subjects/") { subject } else { allocation };
                let path = route.path.replace("{id}", id).replace("{name}", "x.css");
                for path in
                    [path.clone(), format!("{path}?meaning=randomize"), format!("{path}?subject={subject}")]
                {
                    let answer = people[name].get(&service, &path);
                    assert_eq!(
                        hits(answer.head.as_bytes()) + hits(answer.body.as_bytes()),
                        0,
                        "{name} {path}"
                    );
                    if route.path.ends_with("/allocation") && path == route.path.replace("{id}", id) {
                        let size = answer.body.replace("cora", "").replace("ivan", "").len();
                        sizes.entry(route.path).or_default().insert(subject.to_owned(), size);
                    }
                }
            }
        }
        for (route, sizes) in sizes {
            assert_eq!(sizes.values().collect::<BTreeSet<_>>().len(), 1, "{name} {route}: {sizes:?}");
        }
    }
    // Beside the pages: what hospitals and monitors ask, and errors.
    for path in
        ["/fhir/metadata", "/fhir/Patient/p-001", "/fhir/ResearchSubject", "/fhir", "/hook/x", "/nowhere"]
    {
        let answer = service.send("GET", path, &[], b"");
        assert_eq!(hits(answer.head.as_bytes()) + hits(answer.body.as_bytes()), 0, "{path}");
    }
    for path in ["/metrics", "/readyz?verbose", "/livez", "/health", "/nowhere"] {
        let answer = service.ops(path);
        assert_eq!(hits(answer.as_bytes()), 0, "operations {path}");
    }

    // One participant is unblinded, for one investigator, and everybody can see that it happened.
    let (_, subject) = &ids[0];
    let id = subject.trim_start_matches("Patient/");
    let path = format!("/api/v1/subjects/{id}/unblind");
    let wish = |reason: &str| json!({"category": "emergency", "reason": reason, "password": PASSWORD});
    let refused = people["cora"].post(&service, &path, "", &wish("bleeding"));
    assert_eq!((refused.status, &refused.json()["code"]), (403, &json!("role")));
    let named = people["ivan"].post(&service, &path, "", &wish(&format!("was {}", ARM_CANARIES[0])));
    assert_eq!((named.status, &named.json()["code"]), (422, &json!("reason-names-arm")));
    assert_eq!(hits(named.body.as_bytes()), 0, "what was sent is not repeated");
    let told = people["ivan"].post(&service, &path, "", &wish("bleeding"));
    assert_eq!(
        (told.status, told.json()["arm"].as_str()),
        (201, Some(arms[subject].as_str())),
        "{}",
        told.body
    );
    let page = people["mona"].get(&service, &format!("/subjects/{id}"));
    assert!(page.body.contains("unblinded"), "{}", page.body);
    assert_eq!(hits(page.body.as_bytes()), 0);

    let log = service.stop_saying();
    assert!(!log.is_empty(), "the log was looked at");
    assert_eq!(hits(log.as_bytes()), 0, "{log}");

    // Every command that a person at the machine has.
    for args in [
        &["subjects"][..],
        &["subjects", "-o", "table"],
        &["explain", id],
        &["allocation", "status"],
        &["allocation", "status", "-o", "table"],
        &["audit", "show"],
        &["audit", "verify"],
        &["verify"],
        &["check", "--no-network"],
        &["doctor"],
        &["quarantine", "list"],
        &["deviation", "list"],
        &["identity", "list"],
        &["user", "list"],
        &["sub", "list"],
        &["writeback", "--dry-run"],
        &["randomize", id, "--by", "cora"],
        &["randomize", id, "--by", "nobody"],
    ] {
        let args = with(args);
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let ran = bench.command(&args).env("TRIALBRIDGE_PASSWORD", PASSWORD).output().expect("runs");
        let ran = finished(&args, ran);
        let shows = ["subjects", "explain", "show", "status"].iter().any(|word| args.contains(word));
        // A command that says nothing tells nothing either way.
        assert!(!shows || ran.code == 0 && !ran.out.is_empty(), "{}: {}", ran.what, ran.err);
        assert_eq!(
            hits(ran.out.as_bytes()) + hits(ran.err.as_bytes()),
            0,
            "{}: {} {}",
            ran.what,
            ran.out,
            ran.err
        );
    }
    // At rest: no table but the list's public part, no more of it in a copy than before anybody was
    // randomized, no file's name.
    assert_eq!(told_by_the_database(&bench), Vec::<String>::new());
    assert_eq!(in_a_backup(&bench, "after.db", &prefix), before);
    for entry in fs::read_dir(bench.path("data")).expect("data") {
        let name = entry.expect("an entry").file_name();
        assert_eq!(hits(name.as_encoded_bytes()), 0, "{name:?}");
    }
    // The hospital is told the allocation's id and no arm.
    for resource in hospital.research_subjects() {
        assert_eq!(hits(resource.to_string().as_bytes()), 0, "{resource}");
    }
}
