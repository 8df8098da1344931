//! `GET /oauth2/{id}/v1/keys`: the key set (RFC 7517), for whoever verifies the tokens.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::Response;

use crate::http::reply;
use crate::http::request::ServerName;
use crate::issuer::Issuer;

pub(super) async fn answer(State(issuer): State<Arc<Issuer>>, server: ServerName, headers: HeaderMap) -> Response {
    let Some(jwks) = issuer.keys(&server.0) else {
        return reply::not_found().await;
    };
    let known = headers.get_all(header::IF_NONE_MATCH);
    let known: Vec<&[u8]> = known.iter().map(axum::http::HeaderValue::as_bytes).collect();
    reply::cacheable(&jwks.body, &jwks.etag, jwks.max_age.as_secs(), &known)
}
