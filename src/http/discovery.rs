//! The metadata documents, in every URL shape of RFC 8414 section 3 and OpenID Connect Discovery
//! section 4: the suffix behind the issuer, and between its host and its path.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::Response;

use crate::http::reply;
use crate::http::request::ServerName;
use crate::issuer::{Document, Issuer};
use crate::model::digest::Digest;

/// For how long a client may keep a document.
const MAX_AGE_SECONDS: u64 = 300;

pub(super) async fn authorization_server(
    State(issuer): State<Arc<Issuer>>,
    server: ServerName,
    headers: HeaderMap,
) -> Response {
    answer(&issuer, &server, Document::AuthorizationServer, &headers).await
}

pub(super) async fn openid_configuration(
    State(issuer): State<Arc<Issuer>>,
    server: ServerName,
    headers: HeaderMap,
) -> Response {
    answer(&issuer, &server, Document::OpenidConfiguration, &headers).await
}

async fn answer(issuer: &Issuer, server: &ServerName, document: Document, headers: &HeaderMap) -> Response {
    let Some(text) = issuer.metadata(&server.0, document) else {
        return reply::not_found().await;
    };
    let etag = format!("\"{}\"", Digest::of(text.as_bytes()).to_base64url());
    let known = headers.get_all(header::IF_NONE_MATCH);
    let known: Vec<&[u8]> = known.iter().map(HeaderValue::as_bytes).collect();
    reply::cacheable(&text, &etag, MAX_AGE_SECONDS, &known)
}
