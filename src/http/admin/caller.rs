//! Who calls: a bearer token of the management authorization server, and nothing else.

use axum::extract::{FromRef, FromRequestParts};
use axum::http::header;
use axum::http::request::Parts;

use crate::admin::{AdminError, Administration, Administrator};
use crate::http::admin::error::ApiError;

/// The administrator that calls.
#[derive(Debug)]
pub(in crate::http) struct Caller(pub(in crate::http) Administrator);

impl<S> FromRequestParts<S> for Caller
where
    S: Send + Sync,
    Administration: FromRef<S>,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let administration = Administration::from_ref(state);
        let mut values = parts.headers.get_all(header::AUTHORIZATION).iter();
        let value = match (values.next(), values.next()) {
            (Some(value), None) => value,
            (None, _) => return Err(ApiError::unauthorized(false)),
            // SECURITY: two credentials, and who chooses between them?
            (Some(_), Some(_)) => return Err(ApiError::unauthorized(true)),
        };
        let token = value.to_str().ok().and_then(bearer);
        let token = token.ok_or_else(|| ApiError::unauthorized(true))?;
        match Administrator::authenticate(administration.issuer(), token) {
            Ok(administrator) => Ok(Self(administrator)),
            Err(error @ AdminError::Token(_)) => {
                tracing::info!(%error, "a token is not good for the management API");
                Err(error.into())
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// The token of `Bearer`, in any case (RFC 9110 section 11.1). Okta's `SSWS` has no meaning here.
fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    let token = token.trim_matches(' ');
    (scheme.eq_ignore_ascii_case("Bearer") && !token.is_empty() && !token.contains(' ')).then_some(token)
}
