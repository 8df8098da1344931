//! `POST /oauth2/{id}/v1/device/authorize` (RFC 8628 section 3.1).

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
    match issuer.authorize_device(&server.0, &received.lists().request()).await {
        Ok(answer) => {
            let complete = format!("{}?user_code={}", answer.verification_uri, answer.user_code);
            let body = json!({
                "device_code": answer.device_code.expose_secret(),
                "user_code": answer.user_code,
                "verification_uri": answer.verification_uri,
                "verification_uri_complete": complete,
                "expires_in": answer.expires_in_seconds,
                "interval": answer.interval_seconds,
            });
            reply::document(StatusCode::OK, body.to_string())
        }
        Err(failure) => reply::failure(&failure),
    }
}
