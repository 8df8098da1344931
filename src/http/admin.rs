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
pub(super) mod caller;
mod credentials;
pub(super) mod error;
pub(super) mod etag;
mod grants;
mod groups;
mod logs;
pub(super) mod paging;
pub(super) mod request;
pub(super) mod seat;
pub(super) mod shape;
mod users;

/// Apps, people, and what was done.
pub(super) fn people() -> axum::Router<crate::admin::Administration> {
    apps::routes()
        .merge(assignments::routes())
        .merge(credentials::routes())
        .merge(grants::routes())
        .merge(groups::routes())
        .merge(logs::routes())
        .merge(users::routes())
}

#[cfg(test)]
mod tests;
