//! Pages a second of the pull's client against a loop in Python (requests + orjson) over the same
//! prebuilt pages, in alternating pairs. `cargo bench --bench pull` prints the table of
//! docs/benchmarks.md; without Python, requests or orjson only our side is timed, and it says so.

use axum::Router;
use axum::extract::{Query, State};
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::get;
use std::collections::HashMap;
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;
use trialbridge::client::{ClientConfig, FhirClient};

const PAGES: usize = 45;
const PAGE_SIZE: usize = 100;
const PAIRS: usize = 7;

fn observation(n: usize) -> String {
    format!(
        r#"{{"fullUrl":"http://127.0.0.1/fhir/Observation/o{n}","resource":{{"resourceType":"Observation","id":"o{n}","meta":{{"versionId":"1","lastUpdated":"2026-11-20T08:00:00.000Z"}},"status":"final","category":[{{"coding":[{{"system":"http://terminology.hl7.org/CodeSystem/observation-category","code":"laboratory","display":"Laboratory"}}]}}],"code":{{"coding":[{{"system":"http://loinc.org","code":"1975-2","display":"Bilirubin.total [Mass/volume] in Serum or Plasma"}}],"text":"Total bilirubin"}},"subject":{{"reference":"Patient/p1"}},"effectiveDateTime":"2026-11-20T08:00:00+08:00","issued":"2026-11-20T09:00:00.000Z","valueQuantity":{{"value":{}.{},"unit":"mg/dL","system":"http://unitsofmeasure.org","code":"mg/dL"}},"referenceRange":[{{"low":{{"value":0.1,"unit":"mg/dL"}},"high":{{"value":1.2,"unit":"mg/dL"}}}}]}},"search":{{"mode":"match"}}}}"#,
        n % 20,
        n % 10
    )
}

fn page(base: &str, number: usize) -> String {
    let entries: Vec<String> = (number * PAGE_SIZE..(number + 1) * PAGE_SIZE).map(observation).collect();
    let next = if number + 1 < PAGES {
        format!(r#",{{"relation":"next","url":"{base}/Observation?patient=p1&page={}"}}"#, number + 1)
    } else {
        String::new()
    };
    format!(
        r#"{{"resourceType":"Bundle","type":"searchset","total":{},"link":[{{"relation":"self","url":"{base}/Observation?patient=p1"}}{next}],"entry":[{}]}}"#,
        PAGES * PAGE_SIZE,
        entries.join(",")
    )
}

async fn serve(
    State(pages): State<Arc<Vec<String>>>,
    Query(query): Query<HashMap<String, String>>,
) -> impl IntoResponse {
    let number: usize = query.get("page").and_then(|p| p.parse().ok()).unwrap_or(0);
    ([(header::CONTENT_TYPE, "application/fhir+json")], pages[number.min(PAGES - 1)].clone())
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let base = format!("http://{}/fhir", listener.local_addr().expect("an address"));
    let pages: Arc<Vec<String>> = Arc::new((0..PAGES).map(|n| page(&base, n)).collect());
    let bytes: usize = pages.iter().map(String::len).sum();
    let router = Router::new()
        .route("/fhir/Observation", get(serve))
        .route(
            "/fhir/Observation/_search",
            axum::routing::post(|state: State<Arc<Vec<String>>>| serve(state, Query(HashMap::new()))),
        )
        .with_state(Arc::clone(&pages));
    tokio::spawn(async move { axum::serve(listener, router).await });
    println!("{PAGES} pages of {PAGE_SIZE} resources, {:.1} MB", bytes as f64 / 1e6);

    let python = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/pull_requests.py");
    let mut ratios = Vec::new();
    for pair in 0..PAIRS {
        let ours = pull(&base).await;
        let peer = tokio::task::spawn_blocking({
            let base = base.clone();
            move || Command::new("python3").arg(python).arg(base).arg(PAGES.to_string()).output()
        })
        .await
        .expect("the task runs");
        let theirs: Option<f64> = peer
            .ok()
            .filter(|o| o.status.success())
            .and_then(|o| String::from_utf8_lossy(&o.stdout).trim().parse().ok());
        match theirs {
            Some(theirs) => {
                ratios.push(ours / theirs);
                println!(
                    "pair {pair}: ours {ours:>7.0} pages/s   requests + orjson {theirs:>7.0} pages/s   ratio {:.2}",
                    ours / theirs
                );
            }
            None => println!(
                "pair {pair}: ours {ours:>7.0} pages/s   (python3 with requests and orjson is not here)"
            ),
        }
    }
    if !ratios.is_empty() {
        ratios.sort_by(f64::total_cmp);
        println!("median ratio {:.2}", ratios[ratios.len() / 2]);
    }
}

/// Pages a second of one whole search, checked as the pull checks it.
async fn pull(base: &str) -> f64 {
    let client = FhirClient::new(ClientConfig::new(base)).expect("a client");
    let begun = Instant::now();
    let mut search = client.search_pages("Observation", vec![("patient".into(), "p1".into())]);
    let mut resources = 0;
    let mut count = 0;
    while let Some(page) = search.next().await.expect("a page") {
        resources += page.resources;
        count += 1;
    }
    assert_eq!((count, resources), (PAGES, PAGES * PAGE_SIZE), "every resource once");
    count as f64 / begun.elapsed().as_secs_f64()
}
