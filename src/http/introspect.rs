//! `POST /oauth2/{id}/v1/introspect` (RFC 7662, RFC 9701).

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;

use crate::http::reply;
use crate::http::request::{Received, ServerName};
use crate::issuer::{INTROSPECTION_JWT, IntrospectionAnswer, Issuer};

pub(super) async fn answer(State(issuer): State<Arc<Issuer>>, server: ServerName, request: Request) -> Response {
    let received = match Received::read(&issuer, &server, request).await {
        Ok(received) => received,
        Err(response) => return response,
    };
    match issuer.introspect(&server.0, &received.lists().request()).await {
        Ok(IntrospectionAnswer::Json(document)) => reply::document(StatusCode::OK, document.to_string()),
        Ok(IntrospectionAnswer::Jwt(token)) => {
            let mut response = reply::document(StatusCode::OK, token.expose_secret().clone());
            let kind = HeaderValue::from_static(INTROSPECTION_JWT);
            response.headers_mut().insert(header::CONTENT_TYPE, kind);
            response
        }
        Err(failure) => reply::failure(&failure),
    }
}
