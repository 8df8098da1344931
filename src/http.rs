//! The issuer's endpoints over HTTP: one file for each.
//!
//! | path, below `{public_url}` | methods | file |
//! |---|---|---|
//! | `/oauth2/{id}/v1/token` | POST | `token` |
//! | `/oauth2/{id}/v1/revoke` | POST | `revoke` |
//! | `/oauth2/{id}/v1/introspect` | POST | `introspect` |
//! | `/oauth2/{id}/v1/userinfo` | GET, POST | `userinfo` |
//! | `/oauth2/{id}/v1/device/authorize` | POST | `device` |
//! | `/oauth2/{id}/v1/keys` | GET | `keys` |
//! | `/oauth2/{id}/.well-known/oauth-authorization-server`, `…/openid-configuration` | GET | `discovery` |
//! | `/.well-known/oauth-authorization-server/oauth2/{id}`, `…/openid-configuration/…` (of the host) | GET | `discovery` |
//! | `/oauth2/{id}/v1/clients`, `…/{client}` | GET, POST, PUT, DELETE | `registration` |
//! | the same without `/{id}`: the management authorization server, whose issuer is the public URL | | |
//!
//! The listener `admin` has the management API (`admin`) and the endpoints of the management authorization server.
//!
//! Around everything stands `guard::run`, which from the outside does this, each with its reason:
//! 1. whatever answers, also a failure of what follows, has the security headers;
//! 2. at most so many requests at once, each with a deadline and to its end: a panic is a 500, and a client that hangs
//!    up does not stop a revocation half-way.
//!
//! Around the endpoints of a server stands `cors`: which web pages may read their answers.
//!
//! Nothing here reads `Host` or a forwarding header: every URL comes from the configuration (attack
//! F26). TLS, HTTP/2 limits and connection caps are the listener's.

mod admin;
mod cors;
mod device;
mod discovery;
mod guard;
mod introspect;
mod keys;
mod registration;
mod reply;
mod request;
mod revoke;
mod token;
mod userinfo;

use std::sync::Arc;

use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};
use axum::{Extension, Router};

use crate::admin::Administration;
use crate::http::request::OfManagement;
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
    let base = issuer.public_url().path().trim_end_matches('/').to_owned();
    let clients = registration::routes(&base)
        .method_not_allowed_fallback(reply::method_not_allowed)
        .with_state(Administration::new(Arc::clone(&issuer)));
    let router = of_servers(&base, &issuer)
        .merge(of_management(&base))
        .fallback(reply::not_found)
        .method_not_allowed_fallback(reply::method_not_allowed)
        .with_state(issuer)
        .merge(clients);
    guarded(router, limits)
}

/// The router of the listener `admin`: the management API, and beside it the endpoints that give the tokens for it, so
/// that a client needs one base URL for both, as Okta's SDKs have it.
pub fn admin_router(issuer: Arc<Issuer>, limits: Limits) -> Router {
    let tokens = of_management("")
        .method_not_allowed_fallback(reply::method_not_allowed)
        .with_state(Arc::clone(&issuer));
    let clients = registration::routes("")
        .method_not_allowed_fallback(reply::method_not_allowed)
        .with_state(Administration::new(Arc::clone(&issuer)));
    guarded(
        admin::router(Administration::new(issuer)).merge(tokens).merge(clients),
        limits,
    )
}

fn guarded(router: Router, limits: Limits) -> Router {
    router.layer(from_fn_with_state(guard::Guard::new(limits), guard::run))
}

/// The endpoints of every authorization server that is declared or administered.
fn of_servers(base: &str, issuer: &Arc<Issuer>) -> Router<Arc<Issuer>> {
    let server = format!("{base}/oauth2/{{id}}");
    // The fallback first: one that is set after a layer stands outside of it, and would answer a preflight.
    let endpoints = endpoints(&server)
        .method_not_allowed_fallback(reply::method_not_allowed)
        .layer(from_fn_with_state(Arc::clone(issuer), cors::allow));
    endpoints.merge(documents(&server))
}

/// The endpoints of the management authorization server. Its issuer is the base itself.
fn of_management(base: &str) -> Router<Arc<Issuer>> {
    endpoints(&format!("{base}/oauth2"))
        .merge(documents(base))
        .layer(Extension(OfManagement))
}

/// Everything that is below the name of a server.
fn endpoints(server: &str) -> Router<Arc<Issuer>> {
    let at = |path: &str| format!("{server}{path}");
    Router::new()
        .route(&at("/v1/token"), post(token::answer))
        .route(&at("/v1/revoke"), post(revoke::answer))
        .route(&at("/v1/introspect"), post(introspect::answer))
        .route(&at("/v1/userinfo"), get(userinfo::answer).post(userinfo::answer))
        .route(&at("/v1/device/authorize"), post(device::answer))
        .route(&at("/v1/keys"), get(keys::answer))
}

/// The metadata documents, behind the path of the issuer and between its host and its path.
fn documents(issuer: &str) -> Router<Arc<Issuer>> {
    let mut router = Router::new();
    for place in [
        "/.well-known/oauth-authorization-server",
        "/.well-known/openid-configuration",
    ] {
        let answer = || match place {
            "/.well-known/oauth-authorization-server" => get(discovery::authorization_server),
            _ => get(discovery::openid_configuration),
        };
        router = router.route(&format!("{issuer}{place}"), answer());
        if !issuer.is_empty() {
            router = router.route(&format!("{place}{issuer}"), answer());
        }
    }
    router
}

#[cfg(test)]
mod tests;
