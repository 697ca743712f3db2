//! What an unusable answer means for a resource.

use crate::client::server::ServerError;
use crate::sink::report::Outcome;

/// Did the request perhaps have its effect?
pub(super) fn is_unknown(error: &ServerError) -> bool {
    match error {
        ServerError::Unreachable { .. } | ServerError::Protocol { .. } => true,
        ServerError::Status { status, .. } => *status >= 500 && *status != 501 || *status == 408,
        ServerError::Refused { .. } => false,
    }
}

/// Does the answer to a search mean "I cannot search by that"?
pub(super) fn is_unsearchable(error: &ServerError) -> bool {
    match error {
        ServerError::Protocol { code, .. } => *code == "dropped-parameter",
        ServerError::Status { status, .. } => matches!(status, 400 | 422 | 501),
        _ => false,
    }
}

/// Does the answer to a create mean "not with If-None-Exist"? It may also mean "not this resource";
/// sending it once more without the header tells the two apart.
pub(super) fn may_refuse_conditional(error: &ServerError) -> bool {
    matches!(status(error), Some(400 | 405 | 422 | 501))
}

pub(super) fn status(error: &ServerError) -> Option<u16> {
    match error {
        ServerError::Status { status, .. } | ServerError::Refused { status, .. } => Some(*status),
        _ => None,
    }
}

/// The outcome of a request that certainly had no effect, or only read.
pub(super) fn outcome(error: &ServerError) -> Outcome {
    let (code, retry) = match error {
        ServerError::Unreachable { .. } => ("unreachable", true),
        ServerError::Refused { .. } => ("refused", false),
        ServerError::Protocol { .. } => ("protocol", false),
        ServerError::Status { status, .. } => match status {
            404 | 405 | 501 => ("not-supported", false),
            429 => ("throttled", true),
            408 | 500.. => ("server-error", true),
            _ => ("rejected", false),
        },
    };
    Outcome::Failed { code, retry }
}

pub(super) fn failed(code: &'static str) -> Outcome {
    Outcome::Failed { code, retry: false }
}

pub(super) fn retry(code: &'static str) -> Outcome {
    Outcome::Failed { code, retry: true }
}

pub(super) fn human(code: &'static str, ids: Vec<String>) -> Outcome {
    Outcome::NeedsHuman { code, ids }
}
