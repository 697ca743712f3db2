//! What the write-back needs of a hospital's FHIR server, so that it can be tested against one that
//! answers late, twice, or races.

use std::future::Future;

/// Why a call did not give an answer that can be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ServerError {
    /// No connection, TLS failure, time-out, a body cut short. The request may have had its effect.
    #[error("{method} {path}: {reason}")]
    Unreachable { method: &'static str, path: String, reason: String },
    /// 401 or 403.
    #[error("{method} {path}: the server refused the credentials ({status})")]
    Refused { method: &'static str, path: String, status: u16 },
    /// Any other status that is not a success. `outcome` holds OperationOutcome issue codes only.
    #[error("{method} {path}: status {status} {outcome}")]
    Status { method: &'static str, path: String, status: u16, outcome: String },
    /// An answer that breaks the protocol: not FHIR, a foreign link, a dropped search parameter.
    #[error("{method} {path}: {code}: {reason}")]
    Protocol { method: &'static str, path: String, code: &'static str, reason: String },
}

/// A resource as the server gave it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    pub id: String,
    /// `ETag`, or `W/"meta.versionId"` where the resource came in a Bundle; `None` if neither is there.
    pub etag: Option<String>,
    /// The resource, as received.
    pub body: Vec<u8>,
}

/// What a create or update led to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    pub status: u16,
    /// From `Location`, or from the returned body.
    pub id: Option<String>,
    pub etag: Option<String>,
}

/// The verbs of the write-back. Paths are relative to the configured base; nothing else is reachable.
pub trait FhirServer: Send + Sync {
    /// All matches of a search, over all pages. A parameter that the server dropped is an error
    /// (`Protocol`, code `dropped-parameter`), never a full load.
    fn search(
        &self,
        resource_type: &str,
        parameters: &[(&str, &str)],
    ) -> impl Future<Output = Result<Vec<Found>, ServerError>> + Send;

    /// `Ok(None)` for 404 and 410.
    fn read(
        &self,
        resource_type: &str,
        id: &str,
    ) -> impl Future<Output = Result<Option<Found>, ServerError>> + Send;

    /// POST. `if_none_exist` is sent as the header of that name. Not retried by itself.
    fn create(
        &self,
        resource_type: &str,
        body: &[u8],
        if_none_exist: Option<&str>,
    ) -> impl Future<Output = Result<Written, ServerError>> + Send;

    /// PUT, with `If-Match` where an etag is given.
    fn update(
        &self,
        resource_type: &str,
        id: &str,
        body: &[u8],
        if_match: Option<&str>,
    ) -> impl Future<Output = Result<Written, ServerError>> + Send;
}
