//! OperationOutcome: how the sandbox says no. Diagnostics name elements and parameters, never their values.

use serde_json::{Value, json};

/// A refusal: HTTP status, `OperationOutcome.issue.code`, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub status: u16,
    pub code: &'static str,
    pub diagnostics: String,
    pub expression: Option<String>,
}

impl Refusal {
    pub fn new(status: u16, code: &'static str, diagnostics: impl Into<String>) -> Self {
        Self { status, code, diagnostics: diagnostics.into(), expression: None }
    }

    /// 400: the request itself is wrong.
    pub fn invalid(diagnostics: impl Into<String>) -> Self {
        Self::new(400, "invalid", diagnostics)
    }

    /// 404.
    pub fn not_found(diagnostics: impl Into<String>) -> Self {
        Self::new(404, "not-found", diagnostics)
    }

    /// 412: the state of the server is not what the client made its request depend on.
    pub fn precondition(diagnostics: impl Into<String>) -> Self {
        Self::new(412, "conflict", diagnostics)
    }

    /// 422: well-formed, and breaks a rule of the resource.
    pub fn unprocessable(code: &'static str, expression: String, diagnostics: impl Into<String>) -> Self {
        Self { expression: Some(expression), ..Self::new(422, code, diagnostics) }
    }

    pub fn outcome(&self) -> Value {
        let mut issue = json!({"severity": "error", "code": self.code, "diagnostics": self.diagnostics});
        if let Some(expression) = &self.expression {
            issue["expression"] = json!([expression]);
        }
        json!({"resourceType": "OperationOutcome", "issue": [issue]})
    }
}

/// One `warning` issue for each diagnostic.
pub(super) fn warnings(diagnostics: &[String]) -> Value {
    let issues: Vec<Value> = diagnostics
        .iter()
        .map(|text| json!({"severity": "warning", "code": "not-supported", "diagnostics": text}))
        .collect();
    json!({"resourceType": "OperationOutcome", "issue": issues})
}
