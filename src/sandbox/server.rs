//! HTTP in front of the records: paths, headers, bodies, and the faults that a test asked for.
//!
//! Every error is an OperationOutcome. A body is read to its end, within a bound, before anything is done.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use serde_json::Value;

use super::Sandbox;
use super::faults::{Fault, RequestLine};
use super::interaction::{Conditions, Interaction, Reply, perform};
use super::outcome::Refusal;
use super::search::{Scope, read_pairs};

/// The largest body that is read.
const LARGEST_BODY_BYTES: usize = 8 * 1024 * 1024;
const BASE_PATH: &str = "/fhir";
const FHIR_JSON: &str = "application/fhir+json;charset=utf-8";
const FORM: &str = "application/x-www-form-urlencoded";

pub(super) fn router(sandbox: Sandbox) -> Router {
    Router::new().fallback(answer).with_state(sandbox)
}

async fn answer(State(sandbox): State<Sandbox>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let call = Call { method: head.method.as_str(), uri: &head.uri, headers: &head.headers };
    let body = match to_bytes(body, LARGEST_BODY_BYTES).await {
        Ok(body) => body,
        Err(_) => {
            return refuse(&Refusal::new(413, "too-long", "the body is larger than 8 MiB, or was cut off"));
        }
    };
    let faults = sandbox.faults().meet(&call.line(&body));
    let mut truncate_at = None;
    let mut replaced_by = None;
    let mut wait_after = None;
    for fault in faults {
        match fault {
            Fault::DelayBefore(time) => tokio::time::sleep(time).await,
            Fault::DelayAfter(time) => wait_after = Some(time),
            Fault::Truncate { bytes } => truncate_at = Some(bytes),
            Fault::DoneButAnswer { status } => replaced_by = Some(status),
            Fault::Answer { status, retry_after } => return injected(status, retry_after.as_deref()),
        }
    }
    let reply = call.perform(&sandbox, &body);
    if let Some(time) = wait_after {
        tokio::time::sleep(time).await;
    }
    match (replaced_by, reply) {
        (Some(status), _) => injected(status, None),
        (None, Ok(reply)) => respond(&reply, truncate_at),
        (None, Err(refusal)) => refuse(&refusal),
    }
}

/// A request, without its body.
struct Call<'a> {
    method: &'a str,
    uri: &'a axum::http::Uri,
    headers: &'a HeaderMap,
}

impl Call<'_> {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    fn line(&self, body: &Bytes) -> RequestLine {
        let mut pairs = read_pairs(self.uri.query().unwrap_or_default().as_bytes());
        if self.is_form_search() {
            pairs.extend(read_pairs(body));
        }
        RequestLine {
            method: self.method.to_owned(),
            path: self.uri.path().to_owned(),
            query_keys: pairs.into_iter().map(|(key, _)| key).collect(),
            body_bytes: body.len(),
            conditional: self.headers.contains_key("if-none-exist"),
            if_match: self.header("if-match").map(str::to_owned),
        }
    }

    fn is_form_search(&self) -> bool {
        self.method == "POST" && self.uri.path().ends_with("/_search")
    }

    fn content_type_is(&self, wanted: &[&str]) -> bool {
        let given = self.header("content-type").unwrap_or_default();
        let media = given.split(';').next().unwrap_or_default().trim();
        wanted.iter().any(|known| media.eq_ignore_ascii_case(known))
    }

    /// A preference of any of the `Prefer` headers: `return=minimal`.
    fn prefers(&self, preference: &str) -> bool {
        self.headers
            .get_all("prefer")
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split([',', ';']))
            .any(|part| part.trim().eq_ignore_ascii_case(preference))
    }

    fn accepts_json(&self) -> bool {
        let format = read_pairs(self.uri.query().unwrap_or_default().as_bytes())
            .into_iter()
            .find_map(|(key, value)| (key == "_format").then_some(value));
        // `_format` overrides `Accept` (FHIR R4, http.html#parameters).
        match format.as_deref().or_else(|| self.header("accept")) {
            None => true,
            Some(wanted) => ["json", "*/*", "application/*"].iter().any(|part| wanted.contains(part)),
        }
    }

    /// The base URL as this client addressed it, so that links lead back here whatever the port.
    fn base(&self) -> String {
        format!("http://{}{BASE_PATH}", self.header("host").unwrap_or("127.0.0.1"))
    }

    fn perform(&self, sandbox: &Sandbox, body: &Bytes) -> Result<Reply, Refusal> {
        let interaction = self.interaction(body)?;
        let base = self.base();
        let switches = sandbox.faults().switches();
        let scope = Scope {
            release: sandbox.release(),
            base: &base,
            switches: &switches,
            strict: self.prefers("handling=strict"),
        };
        let now = sandbox.now();
        let reply = perform(&mut sandbox.records(), scope, now, interaction)?;
        let minimal = reply.wrote && self.prefers("return=minimal");
        Ok(if minimal { Reply { body: None, ..reply } } else { reply })
    }

    fn interaction(&self, body: &Bytes) -> Result<Interaction, Refusal> {
        let path = self
            .uri
            .path()
            .strip_prefix(BASE_PATH)
            .filter(|rest| rest.is_empty() || rest.starts_with('/'))
            .ok_or_else(|| Refusal::not_found("the FHIR base is /fhir"))?;
        if !self.accepts_json() {
            return Err(Refusal::new(406, "not-supported", "this server speaks application/fhir+json only"));
        }
        if self.is_form_search() {
            if !body.is_empty() && !self.content_type_is(&[FORM]) {
                return Err(Refusal::new(415, "not-supported", format!("_search takes {FORM}")));
            }
            let mut pairs = read_pairs(self.uri.query().unwrap_or_default().as_bytes());
            pairs.extend(read_pairs(body));
            return match Interaction::route(
                "GET",
                path.trim_end_matches("/_search"),
                None,
                None,
                Conditions::default(),
            )? {
                Interaction::Search { kind, .. } => Ok(Interaction::Search { kind, pairs }),
                _ => Err(Refusal::not_found("_search is offered under a resource type")),
            };
        }
        let conditions = Conditions {
            if_match: self.header("if-match").map(str::to_owned),
            if_none_match: self.header("if-none-match").map(str::to_owned),
            if_none_exist: self.header("if-none-exist").map(str::to_owned),
        };
        Interaction::route(self.method, path, self.uri.query(), self.resource(body)?, conditions)
    }

    /// The resource in the body of a POST or PUT.
    fn resource(&self, body: &Bytes) -> Result<Option<Value>, Refusal> {
        if !matches!(self.method, "POST" | "PUT") {
            return Ok(None);
        }
        if !self.content_type_is(&["application/fhir+json", "application/json", "text/json"]) {
            return Err(Refusal::new(415, "not-supported", "the Content-Type is not application/fhir+json"));
        }
        match serde_json::from_slice::<Value>(body) {
            Ok(resource) if resource.is_object() => Ok(Some(resource)),
            Ok(_) => Err(Refusal::new(400, "structure", "the body is JSON, and no object")),
            Err(error) => Err(Refusal::new(
                400,
                "structure",
                format!("the body is not JSON (line {}, column {})", error.line(), error.column()),
            )),
        }
    }
}

fn injected(status: u16, retry_after: Option<&str>) -> Response {
    let mut response = refuse(&Refusal::new(status, "transient", "a fault that a test asked for"));
    if let Some(value) = retry_after.and_then(|text| HeaderValue::from_str(text).ok()) {
        response.headers_mut().insert(header::RETRY_AFTER, value);
    }
    response
}

fn refuse(refusal: &Refusal) -> Response {
    respond(
        &Reply { status: refusal.status, body: Some(Arc::new(refusal.outcome())), ..Reply::default() },
        None,
    )
}

fn respond(reply: &Reply, truncate_at: Option<usize>) -> Response {
    let mut bytes = reply.body.as_ref().map(|body| body.to_string().into_bytes()).unwrap_or_default();
    if let Some(length) = truncate_at {
        bytes.truncate(length);
    }
    let has_body = !bytes.is_empty();
    let mut response = Response::new(Body::from(bytes));
    *response.status_mut() = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    if has_body {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(FHIR_JSON));
    }
    let modified = reply.last_modified.map(|at| at.format("%a, %d %b %Y %H:%M:%S GMT").to_string());
    for (name, value) in
        [(header::ETAG, &reply.etag), (header::LOCATION, &reply.location), (header::LAST_MODIFIED, &modified)]
    {
        if let Some(value) = value.as_deref().and_then(|text| HeaderValue::from_str(text).ok()) {
            headers.insert(name, value);
        }
    }
    response
}
