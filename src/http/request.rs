//! Reads requests: which server, and the body within its bounds.

use axum::body::Bytes;
use axum::extract::{FromRequestParts, Path, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};

use crate::http::guard::BodyTimeout;
use crate::http::reply;
use crate::issuer::{FormRequest, Issuer, management};
use crate::oauth::error::ErrorCode;
use crate::oauth::request::FORM_BYTES_MAX;

/// The `{id}` of the path. A path that cannot be read names no server.
pub(super) struct ServerName(pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for ServerName {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Response> {
        match Path::<String>::from_request_parts(parts, state).await {
            // The management authorization server has paths of its own, and no other.
            Ok(Path(name)) if name != management::ID => Ok(Self(name)),
            _ => Err(reply::not_found().await),
        }
    }
}

/// A form as it came, with what of the head belongs to it.
pub(super) struct Received {
    authorization: Vec<Vec<u8>>,
    content_type: Option<String>,
    has_query: bool,
    body: Bytes,
}

impl Received {
    /// Reads a request to an endpoint of this server whole.
    ///
    /// # Errors
    /// The response: 404 for a server that there is not, 413 for a body that is too large, 408 for one that does not come.
    pub(super) async fn read(issuer: &Issuer, server: &ServerName, request: Request) -> Result<Self, Response> {
        if !issuer.has_server(&server.0) {
            return Err(reply::not_found().await);
        }
        let (parts, body) = request.into_parts();
        let invalid = |status, text, code| reply::refused(status, ErrorCode::InvalidRequest, text, code);
        let limits = crate::http::Limits::default();
        let timeout = parts
            .extensions
            .get()
            .map_or(limits.body_timeout, |BodyTimeout(timeout)| *timeout);
        let collected = tokio::time::timeout(timeout, Limited::new(body, FORM_BYTES_MAX).collect()).await;
        let body = match collected {
            Ok(Ok(collected)) => collected.to_bytes(),
            Ok(Err(error)) if error.is::<LengthLimitError>() => {
                let text = "the body is larger than 65536 bytes";
                return Err(invalid(StatusCode::PAYLOAD_TOO_LARGE, text, "request_too_large"));
            }
            Ok(Err(_)) => {
                let text = "the body could not be read";
                return Err(invalid(StatusCode::BAD_REQUEST, text, "unreadable_body"));
            }
            Err(_) => {
                let text = "the body did not come in time";
                return Err(invalid(StatusCode::REQUEST_TIMEOUT, text, "body_timeout"));
            }
        };
        let values = parts.headers.get_all(header::AUTHORIZATION);
        Ok(Self {
            authorization: values.iter().map(|value| value.as_bytes().to_vec()).collect(),
            content_type: single(&parts.headers, &header::CONTENT_TYPE),
            has_query: parts.uri.query().is_some_and(|query| !query.is_empty()),
            body,
        })
    }

    /// The values of the Authorization header.
    pub(super) fn authorization(&self) -> Vec<&[u8]> {
        self.authorization.iter().map(Vec::as_slice).collect()
    }

    /// The request in the issuer's terms.
    pub(super) fn as_request<'a>(&'a self, authorization: &'a [&'a [u8]]) -> FormRequest<'a> {
        FormRequest {
            authorization,
            content_type: self.content_type.as_deref(),
            has_query: self.has_query,
            body: &self.body,
        }
    }
}

/// The value of a header that stands there once and can be read.
fn single(headers: &HeaderMap, name: &header::HeaderName) -> Option<String> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then(|| value.to_owned())
}
