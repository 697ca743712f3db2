//! A FHIR server that is already running, over plain HTTP, and a cohort that only this run has.
//!
//! Nothing here uses the code under test: what was written is read back by other means.

use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

pub struct Hospital {
    pub base: String,
    client: reqwest::Client,
    runtime: tokio::runtime::Runtime,
}

impl Hospital {
    pub fn at(base: &str) -> Hospital {
        let client =
            reqwest::Client::builder().no_proxy().pool_max_idle_per_host(0).build().expect("an HTTP client");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        Hospital { base: base.trim_end_matches('/').to_owned(), client, runtime }
    }

    fn get(&self, url: &str) -> (u16, Value) {
        // Without the header HAPI answers a search with an older one's result.
        let request = self.client.get(url).header("cache-control", "no-cache");
        self.runtime.block_on(async {
            let answer = request.send().await.unwrap_or_else(|e| panic!("GET {url}: {e}"));
            let status = answer.status().as_u16();
            let text = answer.text().await.unwrap_or_else(|e| panic!("GET {url}: {e}"));
            (status, serde_json::from_str(&text).unwrap_or_default())
        })
    }

    pub fn read(&self, reference: &str) -> Value {
        let (status, body) = self.get(&format!("{}/{reference}", self.base));
        assert_eq!(status, 200, "GET {reference}");
        body
    }

    /// Stores a changed resource under its own id; the version that the server gave it.
    pub fn put(&self, resource: &Value) -> String {
        let reference = reference(resource);
        let request = self
            .client
            .put(format!("{}/{reference}", self.base))
            .header("content-type", "application/fhir+json")
            .body(resource.to_string());
        let status = self.runtime.block_on(async {
            request.send().await.unwrap_or_else(|e| panic!("PUT {reference}: {e}")).status().as_u16()
        });
        assert_eq!(status, 200, "PUT {reference}");
        text(&self.read(&reference)["meta"]["versionId"])
    }

    /// Sends a request of any kind; the status.
    pub fn send(&self, method: &str, url: &str, header: Option<&str>, body: &Value) -> u16 {
        let method = method.parse::<reqwest::Method>().expect("a method");
        let mut request = self.client.request(method, url).header("content-type", "application/fhir+json");
        if let Some(authorization) = header {
            request = request.header("authorization", authorization);
        }
        if !body.is_null() {
            request = request.body(body.to_string());
        }
        self.runtime.block_on(async {
            request.send().await.unwrap_or_else(|e| panic!("{url}: {e}")).status().as_u16()
        })
    }

    /// Every match of a search, to the last page.
    pub fn all(&self, search: &str) -> Vec<Value> {
        let mut next = Some(format!("{}/{search}", self.base));
        let mut found = Vec::new();
        let mut seen = BTreeSet::new();
        while let Some(url) = next.take() {
            assert!(seen.insert(url.clone()), "{search}: its pages run in a circle");
            let (status, page) = self.get(&url);
            assert_eq!(status, 200, "GET {url}");
            for entry in page["entry"].as_array().into_iter().flatten() {
                if entry["search"]["mode"] != "outcome" {
                    found.push(entry["resource"].clone());
                }
            }
            let links = page["link"].as_array().into_iter().flatten();
            next = links.filter(|l| l["relation"] == "next").map(|l| text(&l["url"])).next();
        }
        found
    }

    /// Does the CapabilityStatement offer to search this type?
    pub fn searches(&self, resource_type: &str) -> bool {
        let (status, statement) = self.get(&format!("{}/metadata", self.base));
        assert_eq!(status, 200, "GET metadata");
        let resources = statement["rest"][0]["resource"].as_array().cloned().unwrap_or_default();
        resources
            .iter()
            .filter(|r| r["type"] == resource_type)
            .any(|r| r["interaction"].as_array().into_iter().flatten().any(|i| i["code"] == "search-type"))
    }
}

/// The cohort of `fixtures/cohort/`, dated so that its newest result is of today, with ids that no
/// other run has.
pub struct Cohort {
    /// All resources.
    pub file: PathBuf,
    /// Only the forms.
    pub forms: PathBuf,
    pub patients: Vec<String>,
    suffix: String,
}

impl Cohort {
    pub fn make(folder: &Path) -> Cohort {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970");
        let suffix = format!("-{:x}", since.as_millis());
        let dated = folder.join("dated.ndjson");
        let today = chrono::Local::now().date_naive().to_string();
        python(
            "make_cohort.py",
            &[
                "--newest-lab",
                &today,
                "-o",
                utf8(&dated),
                &project("fixtures/cohort/cirrhosis-6.ndjson.gz"),
                &project("fixtures/cohort/additions.ndjson"),
            ],
        );
        let mut resources: Vec<Value> = fs::read_to_string(&dated)
            .expect("make_cohort.py wrote it")
            .lines()
            .map(|line| serde_json::from_str(line).expect("a resource"))
            .collect();
        for resource in &mut resources {
            resource["id"] = format!("{}{suffix}", text(&resource["id"])).into();
            rename(resource, &suffix);
        }
        let of = |resource_type: &str| {
            resources.iter().filter(|r| r["resourceType"] == resource_type).collect::<Vec<_>>()
        };
        let write = |name: &str, some: &[&Value]| {
            let file = folder.join(name);
            let lines: String = some.iter().map(|r| format!("{r}\n")).collect();
            fs::write(&file, lines).expect("the cohort is written");
            file
        };
        Cohort {
            file: write("cohort.ndjson", &resources.iter().collect::<Vec<_>>()),
            forms: write("forms.ndjson", &of("QuestionnaireResponse")),
            patients: of("Patient").iter().map(|p| text(&p["id"])).collect(),
            suffix,
        }
    }

    /// Puts everything on a server.
    pub fn load(&self, hospital: &Hospital) {
        python("load.py", &[&hospital.base, utf8(&self.file)]);
    }

    /// The id that one of `fixtures/cohort/` has in this run.
    pub fn id(&self, name: &str) -> String {
        format!("{name}{}", self.suffix)
    }
}

/// Gives every relative reference the ids of this run.
fn rename(node: &mut Value, suffix: &str) {
    match node {
        Value::Object(members) => {
            for (name, value) in members {
                match value.as_str() {
                    Some(target) if name == "reference" => *value = format!("{target}{suffix}").into(),
                    _ => rename(value, suffix),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| rename(item, suffix)),
        _ => {}
    }
}

fn python(script: &str, arguments: &[&str]) {
    let output = Command::new("python3")
        .arg(project("tests/servers/") + script)
        .args(arguments)
        .output()
        .unwrap_or_else(|e| panic!("{script} needs python3: {e}"));
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{script}: {said}\n{}", String::from_utf8_lossy(&output.stderr));
}

fn project(path: &str) -> String {
    format!("{}/{path}", env!("CARGO_MANIFEST_DIR"))
}

pub fn utf8(path: &Path) -> &str {
    path.to_str().expect("a temporary folder has a UTF-8 name")
}

pub fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// `Type/id` of a resource.
pub fn reference(resource: &Value) -> String {
    format!("{}/{}", text(&resource["resourceType"]), text(&resource["id"]))
}

/// A reference without server and version: some servers cut the one, some add the other.
pub fn plain(reference: &str) -> String {
    let unversioned = reference.split("/_history/").next().unwrap_or_default();
    let mut parts = unversioned.rsplit('/');
    match (parts.next(), parts.next()) {
        (Some(id), Some(resource_type)) => format!("{resource_type}/{id}"),
        _ => unversioned.to_owned(),
    }
}
