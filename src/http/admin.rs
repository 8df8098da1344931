//! The management API: one file for each resource, in Okta's shape, so that its SDKs work unchanged.
//!
//! What all of them share:
//! - [`error`]: an error is `{errorCode, errorSummary, errorLink, errorId, errorCauses}`.
//! - [`request`]: a body is one JSON object, read strictly; identifiers come out of the path.
//! - [`paging`]: a list is an array, and its `Link` headers (RFC 8288) lead on.
//! - [`etag`]: every object has a strong entity tag; `If-Match` and `?dryRun=true` guard a change.
//!
//! **Members that we do not know are ignored**, as RFC 7591 section 2 does for a client's metadata: the SDKs send
//! back what they read, with `_links`, `created` and fields of products that are not here. What was understood
//! is what the answer says, for every answer holds the whole object. A member that would *narrow* who gets in,
//! and that we cannot honour, is refused by the resource that it belongs to, never ignored.

mod apps;
mod assignments;
mod authorization_servers;
pub(super) mod caller;
mod claims;
mod credentials;
pub(super) mod error;
pub(super) mod etag;
mod grants;
mod groups;
mod keys;
mod logs;
pub(super) mod paging;
mod part;
mod policies;
mod preview;
pub(super) mod request;
mod roles;
mod rules;
mod scopes;
pub(super) mod seat;
mod tokens;
mod users;
mod wire;

use axum::Router;
use axum::middleware::from_fn;

use crate::admin::Administration;
use crate::http::admin::error::ApiError;
use crate::oauth::document::{ClaimDocument, PolicyDocument, RuleDocument, ScopeDocument};

/// Everything below `/api/v1`, and the roles of clients.
pub(super) fn router(administration: Administration) -> Router {
    servers()
        .merge(people())
        .fallback(async || ApiError::no_such_path())
        .method_not_allowed_fallback(async || ApiError::method_not_allowed())
        .layer(from_fn(request::request_id))
        .with_state(administration)
}

/// Authorization servers, and what is in them.
fn servers() -> Router<Administration> {
    authorization_servers::routes()
        .merge(part::routes::<ScopeDocument>())
        .merge(part::routes::<ClaimDocument>())
        .merge(part::switched_routes::<PolicyDocument>())
        .merge(part::switched_routes::<RuleDocument>())
        .merge(keys::routes())
        .merge(tokens::routes())
        .merge(preview::routes())
}

/// Apps, people, and what was done.
pub(super) fn people() -> Router<Administration> {
    apps::routes()
        .merge(assignments::routes())
        .merge(credentials::routes())
        .merge(grants::routes())
        .merge(groups::routes())
        .merge(logs::routes())
        .merge(roles::routes())
        .merge(users::routes())
}

#[cfg(test)]
mod tests;
