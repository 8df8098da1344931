//! How answers look: JSON, with `error`, `error_description`, `error_code` and `error_id` where
//! something failed.

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::entropy;
use crate::issuer::Failure;
use crate::oauth::error::ErrorCode;

/// A JSON document.
pub(super) fn document(status: StatusCode, body: String) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

/// A failed request of an OAuth endpoint.
pub(super) fn failure(failure: &Failure) -> Response {
    let error = &failure.error;
    let status = StatusCode::from_u16(error.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = error_document(
        status,
        error.code().as_str(),
        &error.description(),
        error.error_code(),
        &failure.error_id,
    );
    if status == StatusCode::SERVICE_UNAVAILABLE {
        // What is in the way is over with the second in which it came.
        response
            .headers_mut()
            .insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    if failure.challenge {
        let challenge = HeaderValue::from_static("Basic realm=\"oauth2\", charset=\"UTF-8\"");
        response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
    }
    dpop_nonce(&mut response, failure.dpop_nonce.as_deref());
    response
}

/// The nonce for the next DPoP proof (RFC 9449 section 8.1).
pub(super) fn dpop_nonce(response: &mut Response, nonce: Option<&str>) {
    if let Some(value) = nonce.and_then(|nonce| HeaderValue::from_str(nonce).ok()) {
        response
            .headers_mut()
            .insert(HeaderName::from_static("dpop-nonce"), value);
    }
}

/// A request that did not come as far as the issuer.
pub(super) fn refused(status: StatusCode, error: ErrorCode, description: &str, code: &'static str) -> Response {
    error_document(status, error.as_str(), description, code, &entropy::random_text::<12>())
}

fn error_document(status: StatusCode, error: &str, description: &str, code: &str, id: &str) -> Response {
    let body: Value = json!({
        "error": error,
        "error_description": description,
        "error_code": code,
        "error_id": id,
    });
    document(status, body.to_string())
}

/// There is no such authorization server, or no such path.
pub(super) async fn not_found() -> Response {
    let text = "there is nothing at this URL: authorization servers live at /oauth2/{id}";
    error_document(
        StatusCode::NOT_FOUND,
        "not_found",
        text,
        "not_found",
        &entropy::random_text::<12>(),
    )
}

/// The path exists, the method does not; the router adds `Allow`.
pub(super) async fn method_not_allowed() -> Response {
    let text = "the method is not allowed here: see the Allow header";
    refused(
        StatusCode::METHOD_NOT_ALLOWED,
        ErrorCode::InvalidRequest,
        text,
        "method_not_allowed",
    )
}

/// Too much at once, or too slow.
pub(super) fn unavailable(description: &str) -> Response {
    let code = ErrorCode::TemporarilyUnavailable;
    refused(StatusCode::SERVICE_UNAVAILABLE, code, description, "overloaded")
}

/// A panic.
pub(super) fn internal() -> Response {
    let text = "the server could not complete the request";
    refused(
        StatusCode::INTERNAL_SERVER_ERROR,
        ErrorCode::ServerError,
        text,
        "internal",
    )
}

/// A public document that may be kept, with its entity tag; 304 where the peer has it already.
pub(super) fn cacheable(body: &str, etag: &str, max_age_seconds: u64, if_none_match: &[&[u8]]) -> Response {
    let matches = |values: &&[u8]| {
        let values = String::from_utf8_lossy(values);
        values
            .split(',')
            .map(str::trim)
            .any(|value| value == "*" || value.trim_start_matches("W/") == etag)
    };
    let mut response = if if_none_match.iter().any(matches) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        document(StatusCode::OK, body.to_owned())
    };
    let headers = response.headers_mut();
    let cache = format!("public, max-age={max_age_seconds}");
    for (name, value) in [(header::CACHE_CONTROL, cache.as_str()), (header::ETAG, etag)] {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    }
    // These documents are public, and read by apps in browsers (RFC 8414 section 3, case: CORS *).
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    response
}
