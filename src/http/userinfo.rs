//! `GET` and `POST /oauth2/{id}/v1/userinfo` (OpenID Connect Core section 5.3).

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use serde_json::Value;

use crate::http::reply;
use crate::http::request::{Received, ServerName};
use crate::issuer::{Failure, Issuer};
use crate::oauth::error::{BearerProblem, OAuthError};

pub(super) async fn answer(State(issuer): State<Arc<Issuer>>, server: ServerName, request: Request) -> Response {
    let method = request.method().clone();
    let received = match Received::read(&issuer, &server, request).await {
        Ok(received) => received,
        Err(response) => return response,
    };
    let lists = received.lists();
    match issuer.userinfo(&server.0, method.as_str(), &lists.request()).await {
        Ok(claims) => reply::document(StatusCode::OK, Value::Object(claims).to_string()),
        Err(failure) => {
            let mut response = reply::failure(&failure);
            if let Some(value) = challenge(&failure).and_then(|text| HeaderValue::from_str(&text).ok()) {
                response.headers_mut().insert(header::WWW_AUTHENTICATE, value);
            }
            response
        }
    }
}

/// RFC 6750 section 3: bare where nothing was shown, with the reason where something was.
fn challenge(failure: &Failure) -> Option<String> {
    let (code, description) = (failure.error.code().as_str(), failure.error.description());
    match &failure.error {
        OAuthError::Bearer(BearerProblem::Missing) => Some("Bearer".to_owned()),
        OAuthError::Bearer(BearerProblem::Scope(scope)) => Some(format!(
            "Bearer error=\"{code}\", error_description=\"{description}\", scope=\"{scope}\""
        )),
        OAuthError::Bearer(_) => Some(format!("Bearer error=\"{code}\", error_description=\"{description}\"")),
        OAuthError::Dpop(_) => Some(format!("DPoP error=\"{code}\", error_description=\"{description}\"")),
        _ => None,
    }
}
