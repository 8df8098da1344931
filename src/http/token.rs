//! `POST /oauth2/{id}/v1/token` (RFC 6749 section 3.2).

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::json;

use crate::http::reply;
use crate::http::request::{Received, ServerName};
use crate::issuer::Issuer;

pub(super) async fn answer(State(issuer): State<Arc<Issuer>>, server: ServerName, request: Request) -> Response {
    let received = match Received::read(&issuer, &server, request).await {
        Ok(received) => received,
        Err(response) => return response,
    };
    match issuer.token(&server.0, &received.lists().request()).await {
        Ok(answer) => {
            let mut body = json!({
                "token_type": answer.token_type(),
                "expires_in": answer.expires_in_seconds,
                "access_token": answer.access_token.expose_secret(),
                "scope": answer.scope,
            });
            for (name, token) in [("refresh_token", &answer.refresh_token), ("id_token", &answer.id_token)] {
                if let Some(token) = token {
                    body[name] = json!(token.expose_secret());
                }
            }
            if let Some(kind) = answer.issued_token_type {
                body["issued_token_type"] = json!(kind);
            }
            let mut response = reply::document(StatusCode::OK, body.to_string());
            reply::dpop_nonce(&mut response, answer.dpop_nonce.as_deref());
            response
        }
        Err(failure) => reply::failure(&failure),
    }
}
