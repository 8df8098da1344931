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
use crate::model::certificate::ClientCertificate;
use crate::oauth::error::ErrorCode;
use crate::oauth::request::FORM_BYTES_MAX;

/// Marks a request to the management authorization server: its paths have no `{id}`.
#[derive(Debug, Clone, Copy)]
pub(super) struct OfManagement;

/// The `{id}` of the path. A path that cannot be read names no server.
pub(super) struct ServerName(pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for ServerName {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Response> {
        if parts.extensions.get::<OfManagement>().is_some() {
            return Ok(Self(management::ID.to_owned()));
        }
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
    dpop: Vec<Vec<u8>>,
    accept: Option<String>,
    certificate: Option<ClientCertificate>,
}

/// The headers of which a request may have several, as the issuer looks at them.
pub(super) struct Lists<'a> {
    received: &'a Received,
    authorization: Vec<&'a [u8]>,
    dpop: Vec<&'a [u8]>,
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
        let values = |name: &str| {
            let values = parts.headers.get_all(name).iter();
            values.map(|value| value.as_bytes().to_vec()).collect()
        };
        Ok(Self {
            authorization: values("authorization"),
            dpop: values("dpop"),
            accept: single(&parts.headers, &header::ACCEPT),
            // From the connection: no header can say what certificate a client has (case 076).
            certificate: parts.extensions.get::<ClientCertificate>().cloned(),
            content_type: single(&parts.headers, &header::CONTENT_TYPE),
            has_query: parts.uri.query().is_some_and(|query| !query.is_empty()),
            body,
        })
    }

    /// The request, to be looked at.
    pub(super) fn lists(&self) -> Lists<'_> {
        Lists {
            received: self,
            authorization: self.authorization.iter().map(Vec::as_slice).collect(),
            dpop: self.dpop.iter().map(Vec::as_slice).collect(),
        }
    }
}

impl Lists<'_> {
    /// The request in the issuer's terms.
    pub(super) fn request(&self) -> FormRequest<'_> {
        FormRequest {
            authorization: &self.authorization,
            content_type: self.received.content_type.as_deref(),
            has_query: self.received.has_query,
            body: &self.received.body,
            dpop: &self.dpop,
            certificate: self.received.certificate.as_ref(),
            accept: self.received.accept.as_deref(),
        }
    }
}

/// The value of a header that stands there once and can be read.
fn single(headers: &HeaderMap, name: &header::HeaderName) -> Option<String> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then(|| value.to_owned())
}
