//! The verbs of the write-back over HTTP.
//!
//! A create is sent once: whether it had its effect is for the caller to find out. An update with
//! `If-Match` is repeated only where the first attempt was not accepted, because a lost success
//! would come back as a conflict.

use super::bundle::{Bundle, EntryMode};
use super::exchange::{Answer, Ask, Expect, Repeat, text_of};
use super::filter::matches_filter;
use super::pages::dropped;
use super::server::{FhirServer, Found, ServerError, Written};
use super::{FHIR_JSON, FhirClient};
use reqwest::header::HeaderValue;
use serde::Deserialize;

#[derive(Deserialize, Default)]
struct Head {
    #[serde(default, rename = "resourceType")]
    resource_type: Option<String>,
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    meta: Option<Meta>,
}

#[derive(Deserialize, Default)]
struct Meta {
    #[serde(default, rename = "versionId")]
    version_id: Option<String>,
}

impl Head {
    fn read(bytes: &[u8]) -> Head {
        serde_json::from_slice(bytes).unwrap_or_default()
    }

    fn etag(&self) -> Option<String> {
        Some(format!("W/\"{}\"", self.meta.as_ref()?.version_id.as_ref()?))
    }
}

impl FhirServer for FhirClient {
    async fn search(
        &self,
        resource_type: &str,
        parameters: &[(&str, &str)],
    ) -> Result<Vec<Found>, ServerError> {
        let asked: Vec<(String, String)> =
            parameters.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        let place = Ask::get(
            self.url(&[resource_type], "GET", "search")?,
            format!("{resource_type} ({} parameters)", parameters.len()),
        );
        let mut pages = self.search_pages(resource_type, asked);
        let mut found = Vec::new();
        while let Some(page) = pages.next().await? {
            let bundle = Bundle::parse(&page.bytes, resource_type).map_err(|what| place.not_fhir(what))?;
            if bundle.odd_entries > 0 {
                return Err(place.not_fhir("an entry holds no resource"));
            }
            for entry in bundle.entries.iter().filter(|e| e.mode == EntryMode::Match) {
                for (name, value) in parameters {
                    if matches_filter(entry.resource, name, value) == Some(false) {
                        return Err(dropped(&place, name, "a result does not match it"));
                    }
                }
                let body = entry.resource.get().as_bytes();
                let head = Head::read(body);
                let etag = head.etag();
                let Some(id) = head.id else { return Err(place.not_fhir("a result has no id")) };
                found.push(Found { id, etag, body: body.to_vec() });
            }
        }
        Ok(found)
    }

    async fn read(&self, resource_type: &str, id: &str) -> Result<Option<Found>, ServerError> {
        let path = format!("{resource_type}/{{id}}");
        let ask = Ask::get(self.url(&[resource_type, id], "GET", &path)?, path);
        let answer = match self.0.exchange(&ask).await {
            Ok(answer) => answer,
            Err(ServerError::Status { status: 404 | 410, .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        found(&ask, answer, resource_type, id).map(Some)
    }

    async fn create(
        &self,
        resource_type: &str,
        body: &[u8],
        if_none_exist: Option<&str>,
    ) -> Result<Written, ServerError> {
        let mut ask = Ask {
            method: "POST",
            url: self.url(&[resource_type], "POST", resource_type)?,
            path: resource_type.to_owned(),
            headers: Vec::new(),
            body: Some((FHIR_JSON, body.to_vec())),
            repeat: Repeat::Never,
            expect: Expect::Anything,
        };
        if let Some(query) = if_none_exist {
            let value = header_value(&ask, "If-None-Exist", query)?;
            ask.headers.push(("If-None-Exist", value));
        }
        let answer = self.0.exchange(&ask).await?;
        Ok(self.written(resource_type, &answer))
    }

    async fn update(
        &self,
        resource_type: &str,
        id: &str,
        body: &[u8],
        if_match: Option<&str>,
    ) -> Result<Written, ServerError> {
        let path = format!("{resource_type}/{{id}}");
        let mut ask = Ask {
            method: "PUT",
            url: self.url(&[resource_type, id], "PUT", &path)?,
            path,
            headers: Vec::new(),
            body: Some((FHIR_JSON, body.to_vec())),
            repeat: if if_match.is_some() { Repeat::Unaccepted } else { Repeat::Idempotent },
            expect: Expect::Anything,
        };
        if let Some(etag) = if_match {
            let value = header_value(&ask, "If-Match", etag)?;
            ask.headers.push(("If-Match", value));
        }
        let answer = self.0.exchange(&ask).await?;
        let mut written = self.written(resource_type, &answer);
        written.id = Some(id.to_owned());
        Ok(written)
    }
}

impl FhirClient {
    /// `GET {type}/{id}` that tells a deleted resource (410) from one that never was (404).
    ///
    /// # Errors
    /// [`ServerError`]; 404 and 410 come as `Status`.
    pub async fn read_strict(&self, resource_type: &str, id: &str) -> Result<Found, ServerError> {
        let path = format!("{resource_type}/{{id}}");
        let ask = Ask::get(self.url(&[resource_type, id], "GET", &path)?, path);
        let answer = self.0.exchange(&ask).await?;
        found(&ask, answer, resource_type, id)
    }

    /// `GET {type}/{id}/{operation}` for an operation that changes nothing, such as `$status`: the
    /// answer as received.
    ///
    /// # Errors
    /// [`ServerError`]; a server without the operation answers with one of several statuses.
    pub async fn operation(
        &self,
        resource_type: &str,
        id: &str,
        operation: &str,
        parameters: &[(&str, &str)],
    ) -> Result<Vec<u8>, ServerError> {
        let path = format!("{resource_type}/{{id}}/{operation}");
        let mut url = self.url(&[resource_type, id, operation], "GET", &path)?;
        if !parameters.is_empty() {
            url.query_pairs_mut().extend_pairs(parameters);
        }
        let ask = Ask::get(url, path);
        self.0.exchange(&ask).await.map(|answer| answer.body)
    }

    /// `DELETE {type}/{id}`. What is not there any more counts as deleted.
    ///
    /// # Errors
    /// [`ServerError`].
    pub async fn delete(&self, resource_type: &str, id: &str) -> Result<(), ServerError> {
        let path = format!("{resource_type}/{{id}}");
        let ask = Ask {
            method: "DELETE",
            expect: Expect::Anything,
            ..Ask::get(self.url(&[resource_type, id], "DELETE", &path)?, path)
        };
        match self.0.exchange(&ask).await {
            Ok(_) | Err(ServerError::Status { status: 404 | 410, .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Id and version of what was written, from the headers, else from the returned body. A
    /// `Location` outside the configured base is not believed.
    fn written(&self, resource_type: &str, answer: &Answer) -> Written {
        let location =
            text_of(&answer.headers, "location").or_else(|| text_of(&answer.headers, "content-location"));
        let mut id = location.and_then(|l| self.0.base.id_in(l, resource_type));
        if location.is_some() && id.is_none() {
            tracing::warn!(event = "fhir.location.foreign", "a Location header outside the base was ignored");
        }
        let head = Head::read(&answer.body);
        let is_resource = head.resource_type.as_deref() == Some(resource_type);
        let etag = text_of(&answer.headers, "etag")
            .map(str::to_owned)
            .or_else(|| if is_resource { head.etag() } else { None });
        if id.is_none() && is_resource {
            id = head.id;
        }
        Written { status: answer.status, id, etag }
    }
}

fn found(ask: &Ask, answer: Answer, resource_type: &str, id: &str) -> Result<Found, ServerError> {
    let head = Head::read(&answer.body);
    if head.resource_type.as_deref() != Some(resource_type) || head.id.as_deref() != Some(id) {
        return Err(ask.not_fhir("the answer is not the resource that was asked for"));
    }
    let etag = text_of(&answer.headers, "etag").map(str::to_owned).or_else(|| head.etag());
    Ok(Found { id: id.to_owned(), etag, body: answer.body })
}

fn header_value(ask: &Ask, name: &str, text: &str) -> Result<HeaderValue, ServerError> {
    let mut value = HeaderValue::from_str(text).map_err(|_| {
        ask.protocol("invalid-request", format!("{name} holds a control character; nothing was sent"))
    })?;
    value.set_sensitive(true);
    Ok(value)
}
