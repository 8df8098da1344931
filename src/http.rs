//! The issuer's endpoints over HTTP: one file for each.
//!
//! | path, below `{public_url}` | methods | file |
//! |---|---|---|
//! | `/oauth2/{id}/v1/token` | POST | `token` |
//! | `/oauth2/{id}/v1/revoke` | POST | `revoke` |
//! | `/oauth2/{id}/v1/keys` | GET | `keys` |
//! | `/oauth2/{id}/.well-known/oauth-authorization-server`, `…/openid-configuration` | GET | `discovery` |
//! | `/.well-known/oauth-authorization-server/oauth2/{id}`, `…/openid-configuration/…` (of the host) | GET | `discovery` |
//!
//! Layers, from the outside, each with its reason:
//! 1. `guard::headers`: whatever answers, also a failure of the layers below, has the security headers;
//! 2. `guard::run`: at most so many requests at once, each with a deadline, in a task of its own: a
//!    panic is a 500, and a client that hangs up does not stop a revocation half-way.
//!
//! Nothing here reads `Host` or a forwarding header: every URL comes from the configuration (attack
//! F26). TLS, HTTP/2 limits and connection caps are the listener's.

#[allow(dead_code, reason = "the resources of the management API are built on it one by one")]
mod admin;
mod discovery;
mod guard;
mod keys;
mod reply;
mod request;
mod revoke;
mod token;

use std::sync::Arc;

use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{get, post};

use crate::issuer::Issuer;

pub use guard::Limits;

/// The router of the public endpoints.
///
/// The path of the public URL is read once: a reload that changes it needs a restart.
pub fn router(issuer: Arc<Issuer>) -> Router {
    router_with(issuer, Limits::default())
}

/// The router with other limits than the usual ones.
pub fn router_with(issuer: Arc<Issuer>, limits: Limits) -> Router {
    let public_url = issuer.public_url();
    let server = format!("{}/oauth2/{{id}}", public_url.path().trim_end_matches('/'));
    let at = |path: &str| format!("{server}{path}");
    let router = Router::new()
        .route(&at("/v1/token"), post(token::answer))
        .route(&at("/v1/revoke"), post(revoke::answer))
        .route(&at("/v1/keys"), get(keys::answer))
        .route(
            &at("/.well-known/oauth-authorization-server"),
            get(discovery::authorization_server),
        )
        .route(
            &at("/.well-known/openid-configuration"),
            get(discovery::openid_configuration),
        )
        .route(
            &format!("/.well-known/oauth-authorization-server{server}"),
            get(discovery::authorization_server),
        )
        .route(
            &format!("/.well-known/openid-configuration{server}"),
            get(discovery::openid_configuration),
        )
        .fallback(reply::not_found)
        .method_not_allowed_fallback(reply::method_not_allowed)
        .with_state(issuer);
    router
        .layer(from_fn_with_state(guard::Guard::new(limits), guard::run))
        .layer(from_fn(guard::headers))
}

#[cfg(test)]
mod tests;
