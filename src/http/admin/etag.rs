//! Entity tags, `If-Match` (RFC 9110 sections 8.8.3 and 13.1.1) and `?dryRun=true`.
//!
//! Every object has a strong tag. Two answers with one tag say the same: the tag is made of the text that is
//! answered, so that a part of an object (one scope, one rule) has a tag of its own, which does not move when
//! its neighbours do.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use serde_json::Value;

use crate::http::admin::error::ApiError;
use crate::http::admin::request::Query;
use crate::http::reply;
use crate::model::digest::Digest;

/// The strong entity tag of an object, quotes included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::http) struct EntityTag(String);

impl EntityTag {
    /// The tag of an answer.
    pub(in crate::http) fn of(object: &Value) -> Self {
        let digest = Digest::of(object.to_string().as_bytes());
        Self(format!("\"{}\"", digest.to_base64url()))
    }

    /// The text of the header.
    pub(in crate::http) fn as_str(&self) -> &str {
        &self.0
    }
}

/// What a change is conditional on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::http) enum IfMatch {
    /// Nothing: the last one wins, as in Okta's API.
    Unconditional,
    /// `*`: the object exists.
    Exists,
    /// The object is in one of these states.
    Any(Vec<String>),
}

impl IfMatch {
    /// Compares with the state that the object is in now, which must be read in the same step as it is changed.
    ///
    /// # Errors
    /// 412.
    pub(in crate::http) fn check(&self, now: &EntityTag) -> Result<(), ApiError> {
        match self {
            Self::Unconditional | Self::Exists => Ok(()),
            // Strong comparison: a weak tag never matches.
            Self::Any(tags) if tags.iter().any(|tag| tag == now.as_str()) => Ok(()),
            Self::Any(_) => Err(ApiError::precondition_failed()),
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for IfMatch {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let mut tags = Vec::new();
        for value in parts.headers.get_all(header::IF_MATCH) {
            // A condition that cannot be read must not be taken for none.
            let value = value.to_str().map_err(|_| ApiError::precondition_failed())?;
            tags.extend(value.split(',').map(|tag| tag.trim().to_owned()));
        }
        Ok(match tags.as_slice() {
            [] => Self::Unconditional,
            [one] if one == "*" => Self::Exists,
            _ => Self::Any(tags),
        })
    }
}

/// `?dryRun=true`: everything is checked and answered as if, and nothing is changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::http) struct DryRun(pub(in crate::http) bool);

impl<S: Send + Sync> FromRequestParts<S> for DryRun {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        Ok(Self(Query::of(&parts.uri)?.flag("dryRun")?))
    }
}

/// The answer that holds one object, with its tag.
pub(in crate::http) fn object(status: StatusCode, object: &Value) -> Response {
    object_with(status, object, &EntityTag::of(object))
}

/// The answer that holds an object and more than is ever read again: the tag is the object's.
pub(in crate::http) fn object_with(status: StatusCode, object: &Value, tag: &EntityTag) -> Response {
    let mut response = reply::document(status, object.to_string());
    if let Ok(value) = HeaderValue::from_str(tag.as_str()) {
        response.headers_mut().insert(header::ETAG, value);
    }
    response
}

/// The answer of a lifecycle operation: an empty object, as Okta's.
pub(in crate::http) fn empty_object() -> Response {
    reply::document(StatusCode::OK, "{}".to_owned())
}

/// The answer of an operation that has nothing to say.
pub(in crate::http) fn done() -> Response {
    let mut response = Response::new(axum::body::Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}
