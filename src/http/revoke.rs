//! `POST /oauth2/{id}/v1/revoke` (RFC 7009).

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};

use crate::http::reply;
use crate::http::request::{Received, ServerName};
use crate::issuer::Issuer;

pub(super) async fn answer(State(issuer): State<Arc<Issuer>>, server: ServerName, request: Request) -> Response {
    let received = match Received::read(&issuer, &server, request).await {
        Ok(received) => received,
        Err(response) => return response,
    };
    match issuer.revoke(&server.0, &received.lists().request()).await {
        Ok(()) => StatusCode::OK.into_response(),
        Err(failure) => reply::failure(&failure),
    }
}
