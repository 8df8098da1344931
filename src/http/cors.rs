//! Which web pages may read the answers of the endpoints that apps in browsers call (case 079, attack F37).
//!
//! Only pages of an origin at which a client of type `browser` has a redirect URI: those are the apps that were
//! registered to run in a browser. The origin is compared as a whole, so that no sub-domain, other port, `http` in the place
//! of `https`, nor the opaque origin `null` passes. Cookies are never allowed: these endpoints read none.
//!
//! The metadata documents and key sets are public for everybody, and say so themselves.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use crate::issuer::Issuer;

/// For how many seconds a browser may remember the answer to a preflight.
const MAX_AGE: HeaderValue = HeaderValue::from_static("600");

/// Answers a preflight, and lets the page read the answer to the request itself.
pub(super) async fn allow(State(issuer): State<Arc<Issuer>>, request: Request, next: Next) -> Response {
    let Some(origin) = request.headers().get(header::ORIGIN).cloned() else {
        return next.run(request).await;
    };
    let is_allowed = origin.to_str().is_ok_and(|origin| issuer.allows_origin(origin));
    let is_preflight =
        request.method() == Method::OPTIONS && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    let mut response = if is_preflight {
        StatusCode::NO_CONTENT.into_response()
    } else {
        next.run(request).await
    };
    let headers = response.headers_mut();
    headers.append(header::VARY, HeaderValue::from_static("origin"));
    if is_allowed {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        if is_preflight {
            preflight(headers);
        } else {
            let exposed = HeaderValue::from_static("dpop-nonce, www-authenticate");
            headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
        }
    }
    response
}

fn preflight(headers: &mut HeaderMap) {
    for (name, value) in [
        (header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("POST")),
        (
            header::ACCESS_CONTROL_ALLOW_HEADERS,
            HeaderValue::from_static("authorization, content-type, dpop"),
        ),
        (header::ACCESS_CONTROL_MAX_AGE, MAX_AGE),
    ] {
        headers.insert(name, value);
    }
}
