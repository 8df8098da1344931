//! Errors of the management API, in Okta's shape.
//!
//! The codes are Okta's where it has one; ours begin with `SG` and are for what Okta does not have: a failed
//! precondition, a read-only object, a body that is too large. A client may rely on codes and statuses;
//! summaries and causes are for people.
//!
//! What went wrong inside is in the log under `errorId`, and never in the answer.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::admin::AdminError;
use crate::entropy;
use crate::http::reply;

/// An error, ready to be answered.
#[derive(Debug, Clone)]
#[must_use]
pub(in crate::http) struct ApiError(Box<Parts>);

#[derive(Debug, Clone)]
struct Parts {
    status: StatusCode,
    code: &'static str,
    summary: String,
    causes: Vec<String>,
    id: String,
    challenge: Option<HeaderValue>,
}

/// The `errorId` of a response: what its request id is too, so that one search finds both.
#[derive(Debug, Clone)]
pub(in crate::http) struct ErrorId(pub(in crate::http) String);

impl ApiError {
    fn new(status: StatusCode, code: &'static str, summary: impl Into<String>) -> Self {
        Self(Box::new(Parts {
            status,
            code,
            summary: summary.into(),
            causes: Vec::new(),
            id: new_id(),
            challenge: None,
        }))
    }

    /// A value that is not accepted: `object` is what was validated, each cause one mistake.
    pub(in crate::http) fn validation(object: &str, causes: impl IntoIterator<Item = String>) -> Self {
        let summary = format!("Api validation failed: {object}");
        let mut error = Self::new(StatusCode::BAD_REQUEST, "E0000001", summary);
        error.0.causes.extend(causes);
        error
    }

    /// A body that is not what the endpoint reads at all.
    pub(in crate::http) fn malformed(cause: impl Into<String>) -> Self {
        let text = "The request body was not well-formed.";
        let mut error = Self::new(StatusCode::BAD_REQUEST, "E0000003", text);
        error.0.causes.push(cause.into());
        error
    }

    /// The caller is known, and may not do this.
    pub(in crate::http) fn forbidden() -> Self {
        let text = "You do not have permission to perform the requested action";
        Self::new(StatusCode::FORBIDDEN, "E0000006", text)
    }

    /// As [`Self::forbidden`], because the token lacks a scope (RFC 6750 section 3.1).
    pub(in crate::http) fn insufficient_scope(scope: &str) -> Self {
        let mut error = Self::forbidden();
        error
            .0
            .causes
            .push(format!("the access token lacks the scope `{scope}`"));
        let challenge = format!("Bearer error=\"insufficient_scope\", scope=\"{scope}\"");
        error.0.challenge = HeaderValue::from_str(&challenge).ok();
        error
    }

    /// The object is declared in the configuration file, which is where it is changed.
    pub(in crate::http) fn read_only(kind: &str, id: &str) -> Self {
        let text = "The object is declared in the configuration file and is read-only in this API";
        let mut error = Self::new(StatusCode::FORBIDDEN, "SG0000004", text);
        error
            .0
            .causes
            .push(format!("change the {kind} `{id}` in the file, and reload it"));
        error
    }

    /// There is no such object; or there is, and the caller may not know (attack F44).
    pub(in crate::http) fn not_found(kind: &str, id: &str) -> Self {
        let text = format!("Not found: Resource not found: {id} ({kind})");
        Self::new(StatusCode::NOT_FOUND, "E0000007", text)
    }

    /// There is nothing at this path.
    pub(in crate::http) fn no_such_path() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "E0000022",
            "The endpoint does not support the provided path",
        )
    }

    /// No token, or none that is good here (RFC 6750 section 3).
    pub(in crate::http) fn unauthorized(has_token: bool) -> Self {
        let mut error = Self::new(StatusCode::UNAUTHORIZED, "E0000011", "Invalid token provided");
        let challenge = if has_token {
            "Bearer realm=\"management\", error=\"invalid_token\""
        } else {
            "Bearer realm=\"management\""
        };
        error.0.challenge = Some(HeaderValue::from_static(challenge));
        error
    }

    /// The path exists, the method does not; the router adds `Allow`.
    pub(in crate::http) fn method_not_allowed() -> Self {
        let text = "The endpoint does not support the provided HTTP method";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "E0000022", text)
    }

    /// The object is in a state that forbids this.
    pub(in crate::http) fn not_in_this_state(cause: impl Into<String>) -> Self {
        let text = "The operation is not allowed in the current state of the object";
        let mut error = Self::new(StatusCode::FORBIDDEN, "E0000056", text);
        error.0.causes.push(cause.into());
        error
    }

    /// Somebody else changed the same object at the same time; nothing was changed.
    pub(in crate::http) fn conflict(cause: impl Into<String>) -> Self {
        let text = "The object was changed at the same time: read it and try again";
        let mut error = Self::new(StatusCode::CONFLICT, "SG0000001", text);
        error.0.causes.push(cause.into());
        error
    }

    /// `If-Match` names another state of the object than the one that it is in (RFC 9110 section 13.1.1).
    pub(in crate::http) fn precondition_failed() -> Self {
        let text = "The object is not the one that If-Match names: read it and try again";
        Self::new(StatusCode::PRECONDITION_FAILED, "SG0000002", text)
    }

    /// The body is larger than any object.
    pub(in crate::http) fn too_large(bytes_max: usize) -> Self {
        let text = format!("The request body is larger than {bytes_max} bytes");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "SG0000003", text)
    }

    /// The body did not come in time.
    pub(in crate::http) fn body_timeout() -> Self {
        let text = "The request body did not come in time";
        Self::new(StatusCode::REQUEST_TIMEOUT, "SG0000005", text)
    }

    /// Our fault. The cause goes to the log under the id that the answer has.
    pub(in crate::http) fn internal(cause: &dyn std::error::Error) -> Self {
        let error = Self::new(StatusCode::INTERNAL_SERVER_ERROR, "E0000009", "Internal Server Error");
        tracing::error!(error_id = error.0.id, error = %cause, "the management API could not complete a request");
        error
    }

    /// One more cause.
    pub(in crate::http) fn because(mut self, cause: impl Into<String>) -> Self {
        self.0.causes.push(cause.into());
        self
    }
}

/// One match, so that a new reason needs an answer.
impl From<AdminError> for ApiError {
    fn from(error: AdminError) -> Self {
        match error {
            AdminError::Token(_) => Self::unauthorized(true),
            AdminError::Scope(scope) => Self::insufficient_scope(&scope),
            AdminError::Role => Self::forbidden().because("no role of the administrator lets it do this here"),
            AdminError::NotFound { kind, id } => Self::not_found(kind, &id),
            AdminError::ReadOnly { kind, id } => Self::read_only(kind, &id),
            AdminError::Precondition => Self::precondition_failed(),
            AdminError::Invalid { object, causes } => Self::validation(object, causes),
            AdminError::State(cause) => Self::not_in_this_state(cause),
            AdminError::Contended => Self::conflict("somebody else changes it again and again"),
            AdminError::Internal(cause) => Self::internal(&*cause),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let parts = *self.0;
        let causes: Vec<_> = parts
            .causes
            .iter()
            .map(|cause| json!({ "errorSummary": cause }))
            .collect();
        let body = json!({
            "errorCode": parts.code,
            "errorSummary": parts.summary,
            "errorLink": parts.code,
            "errorId": parts.id,
            "errorCauses": causes,
        });
        let mut response = reply::document(parts.status, body.to_string());
        if let Some(challenge) = parts.challenge {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
        response.extensions_mut().insert(ErrorId(parts.id));
        response
    }
}

/// A new `errorId` or request id.
pub(in crate::http) fn new_id() -> String {
    format!("sge{}", entropy::random_text::<12>())
}
