//! `POST /oauth2/{id}/v1/token` (RFC 6749 section 3.2).

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;

use crate::http::reply;
use crate::http::request::{Received, ServerName};
use crate::issuer::Issuer;
use crate::model::secret::Secret;

pub(super) async fn answer(State(issuer): State<Arc<Issuer>>, server: ServerName, request: Request) -> Response {
    let received = match Received::read(&issuer, &server, request).await {
        Ok(received) => received,
        Err(response) => return response,
    };
    match issuer.token(&server.0, &received.lists().request()).await {
        Ok(answer) => {
            let body = Granted {
                access_token: answer.access_token.expose_secret(),
                expires_in: answer.expires_in_seconds,
                id_token: answer.id_token.as_ref().map(Secret::expose_secret),
                issued_token_type: answer.issued_token_type,
                refresh_token: answer.refresh_token.as_ref().map(Secret::expose_secret),
                scope: &answer.scope,
                token_type: answer.token_type(),
            };
            let Ok(body) = serde_json::to_string(&body) else {
                return reply::internal();
            };
            let mut response = reply::document(StatusCode::OK, body);
            reply::dpop_nonce(&mut response, answer.dpop_nonce.as_deref());
            response
        }
        Err(failure) => reply::failure(&failure),
    }
}

/// The answer (RFC 6749 section 5.1), as it is written.
#[derive(Serialize)]
struct Granted<'a> {
    access_token: &'a str,
    expires_in: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    id_token: Option<&'a String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    issued_token_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<&'a String>,
    scope: &'a str,
    token_type: &'static str,
}
