//! Reads requests of the management API: the body as one JSON object, the query, the identifiers of the path;
//! and gives every answer its request id.
//!
//! A body is read by [`crate::jose::json`]: no member twice, bounded in size, depth and number of values. Members that
//! we do not know are ignored ([`super`] says why).

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Uri, header};
use axum::middleware::Next;
use axum::response::Response;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::http::admin::error::{ApiError, ErrorId, new_id};
use crate::http::guard::BodyTimeout;
use crate::jose::json::{self, Limits};

/// The largest body: an authorization server with everything in it has room.
pub(in crate::http) const BODY_BYTES_MAX: usize = 256 * 1024;

/// A body that is one JSON object.
#[derive(Debug, Clone)]
pub(in crate::http) struct Body(pub(in crate::http) Map<String, Value>);

/// A body that may be left out, as Okta's lifecycle operations do.
#[derive(Debug, Clone)]
pub(in crate::http) struct OptionalBody(pub(in crate::http) Map<String, Value>);

impl<S: Send + Sync> FromRequest<S> for Body {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        let is_json = is_json(&request);
        let bytes = read(request).await?;
        if bytes.is_empty() {
            return Err(ApiError::malformed("a JSON object is expected, and the body is empty"));
        }
        if !is_json {
            let text = "a JSON object is expected: send `Content-Type: application/json`";
            return Err(ApiError::malformed(text));
        }
        parse(&bytes).map(Self)
    }
}

impl<S: Send + Sync> FromRequest<S> for OptionalBody {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let is_json = is_json(&request);
        let bytes = read(request).await?;
        if bytes.is_empty() {
            return Ok(Self(Map::new()));
        }
        let mut again = Request::new(axum::body::Body::from(bytes));
        if is_json {
            let json = HeaderValue::from_static("application/json");
            again.headers_mut().insert(header::CONTENT_TYPE, json);
        }
        Body::from_request(again, state)
            .await
            .map(|Body(members)| Self(members))
    }
}

fn is_json(request: &Request) -> bool {
    let mut values = request.headers().get_all(header::CONTENT_TYPE).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return false;
    };
    let essence = value.to_str().unwrap_or_default().split(';').next().unwrap_or_default();
    essence.trim().eq_ignore_ascii_case("application/json")
}

fn parse(bytes: &[u8]) -> Result<Map<String, Value>, ApiError> {
    json::map(bytes, Limits::DOCUMENT).map_err(|error| ApiError::malformed(error.to_string()))
}

async fn read(request: Request) -> Result<Bytes, ApiError> {
    let (parts, body) = request.into_parts();
    let timeout = parts
        .extensions
        .get()
        .map_or(crate::http::Limits::default().body_timeout, |BodyTimeout(timeout)| {
            *timeout
        });
    match tokio::time::timeout(timeout, Limited::new(body, BODY_BYTES_MAX).collect()).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(ApiError::too_large(BODY_BYTES_MAX)),
        Ok(Err(_)) => Err(ApiError::malformed("the body could not be read")),
        Err(_) => Err(ApiError::body_timeout()),
    }
}

/// The parameters of a query, none of them twice (attack F39).
#[derive(Debug, Clone, Default)]
pub(in crate::http) struct Query(Vec<(String, String)>);

impl Query {
    /// Reads the query of a URL.
    ///
    /// # Errors
    /// 400 when a parameter stands there twice.
    pub(in crate::http) fn of(uri: &Uri) -> Result<Self, ApiError> {
        let query = uri.query().unwrap_or_default();
        let mut read: Vec<(String, String)> = Vec::new();
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            if read.iter().any(|(known, _)| *known == name) {
                let cause = format!("{}: the parameter stands there twice", name.escape_debug());
                return Err(ApiError::validation("query", [cause]));
            }
            read.push((name.into_owned(), value.into_owned()));
        }
        Ok(Self(read))
    }

    /// A parameter's value.
    pub(in crate::http) fn one(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    /// A parameter that is `true` or `false`; false if it is not there.
    ///
    /// # Errors
    /// 400 for any other value: whoever writes `dryRun=yes` must not get a change.
    pub(in crate::http) fn flag(&self, name: &str) -> Result<bool, ApiError> {
        match self.one(name) {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => Err(ApiError::validation(
                "query",
                [format!("{name}: `true` or `false` is expected")],
            )),
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Query {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        Self::of(&parts.uri)
    }
}

/// The identifiers of the path: one text, or a tuple of them. A path that cannot be read names nothing.
#[derive(Debug, Clone)]
pub(in crate::http) struct Ids<T>(pub(in crate::http) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Ids<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        match Path::<T>::from_request_parts(parts, state).await {
            Ok(Path(ids)) => Ok(Self(ids)),
            Err(_) => Err(ApiError::no_such_path()),
        }
    }
}

/// Gives every answer its `x-okta-request-id`: the `errorId`, where it is an error.
pub(in crate::http) async fn request_id(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let id = match response.extensions().get::<ErrorId>() {
        Some(ErrorId(id)) => id.clone(),
        None => new_id(),
    };
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert("x-okta-request-id", value);
    }
    response
}
