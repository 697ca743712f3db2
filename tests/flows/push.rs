//! FHIR pushed to the real program: what a sender is told, what is kept, and what becomes of it. The ids in
//! the comments are those of the fault list.

use super::service::*;
use super::support::*;
use serde_json::{Value, json};
use std::fs;
use trialbridge::sandbox::synthetic_cases;

const JSON: &str = "Content-Type: application/fhir+json";

/// Nothing is pulled: nobody listens at the address.
fn bench(more: &str) -> Bench {
    Bench::with("http://127.0.0.1:9/fhir", &format!("{FREE}[pull]\nschedule = \"0 0 3 1 1 *\"\n{more}"))
}

fn lab(id: &str, version: u32, value: f64, day: &str) -> String {
    json!({
        "resourceType": "Observation", "id": id,
        "meta": {"versionId": version.to_string(), "lastUpdated": format!("2026-11-20T08:00:0{version}Z")},
        "status": "final", "note": [{"text": "canarynote"}],
        "code": {"coding": [{"system": "http://loinc.org", "code": "14631-6"}]},
        "subject": {"reference": "Patient/x1", "display": "Canaryname"},
        "effectiveDateTime": day,
        "valueQuantity": {"value": value, "unit": "umol/L", "system": "http://unitsofmeasure.org", "code": "umol/L"}
    })
    .to_string()
}

fn patient() -> String {
    json!({
        "resourceType": "Patient", "id": "x1", "gender": "female", "birthDate": "1970-01-01",
        "name": [{"family": "Canaryname"}], "identifier": [{"system": "urn:mrn", "value": "SYN000X1"}]
    })
    .to_string()
}

/// `valueQuantity` loses its unit.
fn without_unit(text: &str) -> String {
    let mut value: Value = serde_json::from_str(text).expect("JSON");
    value["valueQuantity"] = json!({"value": 7.5});
    value.to_string()
}

fn bundle(bundle_type: &str, resources: &[Value]) -> String {
    let entry = |r: &Value| {
        let url =
            format!("{}/{}", r["resourceType"].as_str().unwrap_or("?"), r["id"].as_str().unwrap_or("?"));
        json!({"resource": r, "request": {"method": "PUT", "url": url}})
    };
    let entries: Vec<Value> = resources.iter().map(entry).collect();
    json!({"resourceType": "Bundle", "type": bundle_type, "entry": entries}).to_string()
}

fn settled(bench: &Bench) {
    assert!(wait_for(|| bench.count("SELECT count(*) FROM inbox WHERE state = 'pending'") == 0), "pending");
}

/// PSH-01, DUR-07: the same bytes, at once and after a restart, are one message with one receipt.
#[test]
fn a_push_that_comes_again_is_one() {
    let bench = bench("");
    let mut service = Service::start(&bench);
    let body = lab("o1", 1, 40.0, "2026-11-20T08:00:00Z");
    let answers: Vec<Answer> = std::thread::scope(|scope| {
        let send = || service.fhir("PUT", "/fhir/Observation/o1", &body);
        let threads: Vec<_> = (0..50).map(|_| scope.spawn(send)).collect();
        threads.into_iter().map(|t| t.join().expect("answered")).collect()
    });
    let receipt = answers[0].header("X-Trialbridge-Message").expect("a receipt").to_owned();
    assert!(answers.iter().all(|a| a.header("X-Trialbridge-Message") == Some(&receipt)));
    let first = answers.iter().filter(|a| a.status == 201).count();
    let again = answers.iter().filter(|a| a.status == 200 && a.header("Idempotent-Replay") == Some("true"));
    assert_eq!((first, again.count()), (1, 49));
    // Neither a crash nor a stop makes it another one.
    for is_crash in [true, false] {
        match is_crash {
            true => service.kill(),
            false => service.stop(),
        }
        service = Service::start(&bench);
        let answer = service.fhir("PUT", "/fhir/Observation/o1", &body);
        assert_eq!((answer.status, answer.header("X-Trialbridge-Message")), (200, Some(receipt.as_str())));
        assert_eq!(answer.header("Idempotent-Replay"), Some("true"));
    }
    service.stop();
    assert_eq!(bench.count("SELECT count(*) FROM inbox WHERE origin = 'push'"), 1);
    bench.ok(&["verify"]);
}

/// PSH-02 and PSH-03: the newest version stands; the newest result counts.
#[test]
fn the_order_of_arrival_decides_nothing() {
    let bench = bench("");
    let service = Service::start(&bench);
    let now = today().to_string();
    assert_eq!(service.fhir("PUT", "/fhir/Patient/x1", &patient()).status, 201);
    for (version, value) in [(3, 33.0), (1, 11.0), (2, 22.0)] {
        let answer = service.fhir("PUT", "/fhir/Observation/o1", &lab("o1", version, value, &now));
        assert_eq!((answer.status, answer.header("ETag")), (201, Some(format!("W/\"{version}\"").as_str())));
    }
    let yesterday = today().pred_opt().expect("a day").to_string();
    service.fhir("PUT", "/fhir/Observation/o2", &lab("o2", 1, 99.0, &yesterday));
    settled(&bench);
    assert_eq!(bench.count("SELECT count(*) FROM record_history WHERE resource_type = 'Observation'"), 4);
    let value = || bench.ok(&["explain", "x1"]).json()["variables"]["bilirubin_total"].clone();
    assert!(wait_for(|| value()["source"] == "Observation/o1"), "{}", value());
    assert_eq!(
        (value()["value"].to_string().trim_matches('"'), value()["version"].as_str()),
        ("33", Some("3"))
    );
    // An update that was made from another version than the one that stands is refused.
    let with = |version: &str| {
        let header = format!("If-Match: W/\"{version}\"");
        service.send("PUT", "/fhir/Observation/o1", &[JSON, &header], lab("o1", 4, 44.0, &now).as_bytes())
    };
    assert_eq!(with("2").said(), (412, "version-conflict".into()));
    assert_eq!(with("3").status, 201);
    // What was sent before and is not what stands is said so.
    let older = service.fhir("PUT", "/fhir/Observation/o1", &lab("o1", 1, 11.0, &now));
    assert_eq!(older.said(), (200, "superseded".into()));
    // A deletion, the same again, and again after it was made anew.
    for _ in 0..2 {
        assert_eq!(service.fhir("DELETE", "/fhir/Observation/o1", "").status, 204);
    }
    assert_eq!(bench.count("SELECT count(*) FROM inbox WHERE origin = 'push'"), 8);
    assert!(wait_for(|| value()["source"] == "Observation/o2"), "{}", value());
    service.stop();
    bench.ok(&["verify"]);
}

/// PSH-04: one entry of a hundred is broken.
#[test]
fn a_transaction_is_taken_as_a_whole_and_a_batch_entry_by_entry() {
    let bench = bench("");
    let service = Service::start(&bench);
    let mut entries: Vec<Value> = (0..100)
        .map(|n| serde_json::from_str(&lab(&format!("o{n}"), 1, 40.0, "2026-11-20")).expect("JSON"))
        .collect();
    entries[56]["code"] = json!(17);
    let answer = service.fhir("POST", "/fhir", &bundle("transaction", &entries));
    assert_eq!(answer.said(), (422, "structure".into()));
    let at = answer.json()["issue"][0]["expression"][0].as_str().expect("a place").to_owned();
    assert!(at.starts_with("Bundle.entry[56].resource"), "{at}");
    let seq: i64 = answer.header("X-Trialbridge-Message").expect("a receipt").parse().expect("a number");
    settled(&bench);
    assert_eq!(bench.count("SELECT count(*) FROM record"), 0);
    let kept =
        format!("SELECT count(*) FROM quarantine WHERE inbox_seq = {seq} AND reason = 'transaction-refused'");
    assert_eq!(bench.count(&kept), 1);
    let answer = service.fhir("POST", "/fhir", &bundle("batch", &entries));
    assert_eq!(answer.status, 200);
    let said = answer.json();
    assert_eq!(
        (said["type"].as_str(), said["entry"].as_array().map(Vec::len)),
        (Some("batch-response"), Some(100))
    );
    for (n, entry) in said["entry"].as_array().expect("entries").iter().enumerate() {
        let response = &entry["response"];
        let expected = if n == 56 { "400 Bad Request" } else { "201 Created" };
        assert_eq!(response["status"], expected, "{n}");
        assert_eq!(response["outcome"].is_object(), n == 56);
    }
    settled(&bench);
    assert_eq!(bench.count("SELECT count(*) FROM record WHERE state = 'current'"), 100);
    service.stop();
}

/// Every status, with the reason that goes with it. PSH-09, PAR-01 to PAR-04, PAR-07.
#[test]
fn every_refusal_has_its_status_and_its_reason() {
    let bench = bench("");
    let service = Service::start(&bench);
    let o1 = "/fhir/Observation/o1";
    let good = lab("o1", 1, 40.0, "2026-11-20");
    let unknown = r#"{"resourceType":"Wearable","id":"w1","note":"canarynote"}"#;
    let doubled = good.replacen("\"status\":\"final\"", "\"status\":\"final\",\"status\":\"Canaryname\"", 1);
    let deep = |n: usize| {
        format!("{{\"resourceType\":\"Patient\",\"id\":\"x\",\"a\":{}{}}}", "[".repeat(n), "]".repeat(n))
    };
    let bom = format!("\u{feff}{}", lab("o2", 1, 40.0, "2026-11-20"));
    let message = |id: &str, note: &str| {
        let header = json!({"resourceType": "MessageHeader", "id": id, "eventUri": "urn:results"});
        let lab: Value = serde_json::from_str(&lab(note, 1, 40.0, "2026-11-20")).expect("JSON");
        let entry = json!([{"resource": header}, {"resource": lab}]);
        json!({"resourceType": "Bundle", "type": "message", "entry": entry}).to_string()
    };
    let (m1, m1_other) = (message("m1", "o8"), message("m1", "o9"));
    let one = |t: &str| bundle(t, &[serde_json::from_str(&good).expect("JSON")]);
    let (collection, nothing, odd) = (one("collection"), one(""), one("subscription-notification"));
    let deep = [deep(63), deep(64), deep(100_000)];
    let unitless = without_unit(&lab("o3", 1, 7.5, "2026-11-20"));
    let latin = "Content-Type: application/fhir+json; charset=iso-8859-1";
    for (method, path, headers, body, expected) in [
        ("PUT", o1, &[JSON][..], good.as_str(), (201, "stored")),
        ("PUT", o1, &[JSON, "Prefer: return=minimal"], &good, (200, "")),
        ("PUT", "/fhir/Observation/o2", &[JSON], &bom, (201, "stored")),
        ("PUT", "/fhir/Observation/o3", &[JSON], &unitless, (201, "unit-missing")),
        ("PUT", "/fhir/Observation/o9", &[JSON], &good, (400, "structure")),
        ("PUT", "/fhir/Patient/o1", &[JSON], &good, (400, "structure")),
        ("PUT", "/fhir/Observation", &[JSON], &good, (400, "structure")),
        ("POST", "/fhir/Observation", &[JSON], &doubled, (400, "duplicate-key")),
        ("POST", "/fhir/Wearable", &[JSON, "Prefer: handling=strict"], unknown, (422, "unknown-type")),
        ("POST", "/fhir/Wearable", &[JSON], unknown, (202, "unknown-type")),
        ("POST", "/fhir", &[JSON], &good, (422, "not-a-bundle")),
        ("POST", "/fhir/Bundle", &[JSON], &collection, (422, "not-supported")),
        ("POST", "/fhir", &[JSON], &collection, (202, "taken-as-batch")),
        ("POST", "/fhir", &[JSON], &odd, (422, "not-supported")),
        ("POST", "/fhir", &[JSON], &nothing, (422, "not-supported")),
        ("POST", "/fhir", &[JSON], "", (400, "empty")),
        ("POST", "/fhir", &[JSON], "{\"resourceType\":\"Bundle\",}", (400, "not-json")),
        ("POST", "/fhir", &[JSON], "{\"a\":NaN}", (400, "not-json")),
        ("POST", "/fhir", &[JSON], "<Bundle/>", (400, "not-json")),
        ("POST", "/fhir/Patient", &[JSON], &deep[0], (201, "stored")),
        ("POST", "/fhir/Patient", &[JSON], &deep[1], (400, "too-deep")),
        ("POST", "/fhir/Patient", &[JSON], &deep[2], (400, "too-deep")),
        ("POST", "/fhir", &[JSON], &m1_other.replace("m1", "m 1"), (400, "structure")),
        ("POST", "/fhir/$process-message", &[JSON], &m1, (200, "")),
        ("POST", "/fhir/$process-message", &[JSON], &m1, (200, "")),
        ("POST", "/fhir", &[JSON], &m1_other, (409, "control-id-reuse")),
        ("POST", "/fhir/$process-message", &[JSON], &collection, (400, "not-a-message")),
        ("POST", "/fhir/$validate", &[JSON], &unitless, (200, "unit-missing")),
        ("POST", "/fhir/$validate", &[JSON], "{", (400, "not-json")),
        ("PUT", o1, &["Content-Type: application/fhir+xml"], "<x/>", (415, "xml")),
        ("PUT", o1, &["Content-Type: text/plain"], &good, (415, "content-type")),
        ("PUT", o1, &[], &good, (415, "content-type")),
        ("PUT", o1, &[latin], &good, (415, "charset")),
        ("PUT", o1, &[JSON, "Content-Encoding: br"], &good, (415, "unsupported-coding")),
        ("PUT", o1, &[JSON, "Content-Encoding: gzip, gzip"], &good, (415, "unsupported-coding")),
        ("PUT", o1, &[JSON, "Accept: application/fhir+xml"], &good, (406, "accept")),
        ("GET", o1, &[], "", (405, "not-supported")),
        ("GET", "/fhir/Observation/o1/_history/1", &[], "", (404, "not-supported")),
        ("GET", "/fhir/.well-known/smart-configuration", &[], "", (404, "not-supported")),
        ("PUT", o1, &[JSON, "Content-Length: 1073741824"], "{", (413, "too-large")),
    ] {
        let answer = service.send(method, path, headers, body.as_bytes());
        let what = format!("{method} {path} {headers:?} {:.60}: {} {:.400}", body, answer.head, answer.body);
        assert_eq!(answer.said(), (expected.0, expected.1.to_owned()), "{what}");
        for header in ["X-Request-Id", "Date", "Cache-Control", "X-Content-Type-Options"] {
            assert!(answer.header(header).is_some(), "{header}: {what}");
        }
    }
    // What is not UTF-8 is named by its byte.
    let broken = service.send("POST", "/fhir", &[JSON], b"{\"resourceType\":\"Bundle\",\"id\":\"\xff\"}");
    assert_eq!(broken.said(), (400, "encoding".into()));
    assert!(broken.body.contains("Byte 31."), "{}", broken.body);
    // The same message gets the answer that it had.
    let [one, two] = [&m1, &m1].map(|m| service.fhir("POST", "/fhir", m));
    assert_eq!(one.body, two.body);
    assert_eq!(one.json()["entry"][0]["resource"]["response"]["identifier"], "m1");
    assert_eq!(service.send("GET", "/fhir/metadata", &[], b"").json()["resourceType"], "CapabilityStatement");
    settled(&bench);
    // What was accepted without being understood can be found (PSH-09).
    assert_eq!(bench.count("SELECT count(*) FROM quarantine WHERE reason = 'unknown-type'"), 1);
    service.stop();
    bench.ok(&["verify"]);
}

/// PSH-07 and gzip as it is meant.
#[test]
fn one_layer_of_gzip_is_undone_within_limits() {
    use flate2::{Compression, write::GzEncoder};
    use std::io::Write;
    let gzip = |bytes: &[u8]| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).expect("in memory");
        encoder.finish().expect("in memory")
    };
    let bench = bench("");
    let service = Service::start(&bench);
    let headers = [JSON, "Content-Encoding: gzip"];
    let body = lab("o1", 1, 40.0, "2026-11-20");
    let answer = service.send("PUT", "/fhir/Observation/o1", &headers, &gzip(body.as_bytes()));
    assert_eq!(answer.status, 201);
    // The accepted bytes are those that were packed: unpacked they are the same message.
    assert_eq!(service.fhir("PUT", "/fhir/Observation/o1", &body).status, 200);
    let bomb = service.send("POST", "/fhir", &headers, &gzip(&vec![0; 64 << 20]));
    assert_eq!(bomb.said(), (413, "unpacked-too-large".into()));
    // A Bundle that is looked into on a thread of its own.
    let many: Vec<Value> = (0..1000)
        .map(|n| serde_json::from_str(&lab(&format!("m{n}"), 1, 40.0, "2026-11-20")).expect("JSON"))
        .collect();
    let answer = service.send("POST", "/fhir", &headers, &gzip(bundle("transaction", &many).as_bytes()));
    assert_eq!((answer.status, answer.json()["entry"].as_array().map(Vec::len)), (200, Some(1000)));
    service.stop();
}

/// PSH-11 and HTP-07: who is unknown is not read, who sends too much waits.
#[test]
fn nobody_unknown_and_nobody_too_often() {
    let mut bench = bench("");
    fs::write(bench.path("lab.token"), "token-canary-of-the-laboratory").expect("written");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(bench.path("lab.token"), fs::Permissions::from_mode(0o600)).expect("set");
    }
    bench.reconfigure(&format!(
        "{FREE}[pull]\nschedule = \"0 0 3 1 1 *\"\n[push]\nauth = \"bearer\"\nmax_per_second = 1\n\
         [[push.client]]\nname = \"lab\"\ntoken_file = \"lab.token\"\n"
    ));
    let service = Service::start(&bench);
    let body = lab("o1", 1, 40.0, "2026-11-20");
    let big = vec![b' '; 8 << 20];
    let unknown = service.send("POST", "/fhir", &[JSON], &big);
    assert_eq!(unknown.said(), (401, "token-missing".into()));
    assert!(unknown.header("WWW-Authenticate").is_some_and(|w| w.starts_with("Bearer")));
    let wrong =
        service.send("POST", "/fhir", &[JSON, "Authorization: Bearer token-canaryx"], body.as_bytes());
    assert_eq!(wrong.said(), (401, "invalid-token".into()));
    assert_eq!(service.send("GET", "/fhir/metadata", &[], b"").status, 200);
    let known = [JSON, "Authorization: Bearer token-canary-of-the-laboratory"];
    let answers: Vec<Answer> =
        (0..30).map(|_| service.send("PUT", "/fhir/Observation/o1", &known, body.as_bytes())).collect();
    assert!(answers[0].status < 300);
    let late: Vec<&Answer> = answers.iter().filter(|a| a.status == 429).collect();
    assert!(!late.is_empty() && late.iter().all(|a| a.header("Retry-After").is_some()));
    service.stop();
    assert_eq!(bench.count("SELECT count(*) FROM inbox"), 1);
    // Without asking anybody, nobody else may reach it.
    bench.reconfigure("[serve]\nlisten = \"0.0.0.0:0\"\nops_listen = \"127.0.0.1:0\"\n");
    bench.run(&["serve"]).code(10).says("push.auth");
}

/// A unit that only the site file knows: set aside, corrected, replayed, decided.
#[test]
fn a_unit_that_is_added_to_the_site_file_changes_the_decision() {
    let bench = bench("");
    let mut case = synthetic_cases(today()).into_iter().find(|c| c.id == "p-001").expect("the case");
    for resource in &mut case.resources {
        if resource["code"]["coding"][0]["code"] == "TBIL" {
            let value = resource["valueQuantity"]["value"].clone();
            resource["valueQuantity"] = json!({"value": value, "unit": "Einheit7"});
        }
    }
    let service = Service::start(&bench);
    let answer = service.fhir("POST", "/fhir", &bundle("transaction", &case.resources));
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert!(answer.body.contains("unit-unknown"), "{}", answer.body);
    assert!(wait_for(|| bench.run(&["explain", "p-001"]).code == 0));
    service.stop();
    assert_eq!(bench.decision("p-001"), "undetermined");
    let open = "SELECT count(*) FROM quarantine WHERE state = 'open' AND reason = 'unit-unknown'";
    assert!(bench.count(open) > 0);
    let shipped = concat!(env!("CARGO_MANIFEST_DIR"), "/mappings/sites/demo.toml");
    let site = fs::read_to_string(shipped).expect("the site file");
    let better =
        site.replacen("[units.bilirubin_total]\n", "[units.bilirubin_total]\n\"Einheit7\" = \"umol/L\"\n", 1);
    fs::write(bench.path("site.toml"), better).expect("written");
    let site = bench.path("site.toml").display().to_string();
    bench.ok(&["--site", &site, "quarantine", "replay"]);
    assert_eq!(bench.count(open), 0);
    let after = bench.ok(&["--site", &site, "explain", "p-001"]).json();
    assert_eq!(after["decision"], "eligible");
}
