//! Grants that live on, and their refresh tokens (RFC 6749 section 6, RFC 9700 section 4.14).
//!
//! A grant is one record, whatever number of refresh tokens came of it: the record has the
//! *generation* that is current, and a refresh token names its grant and generation, with a keyed
//! digest of both. So
//! - no refresh token is kept, not even as a hash: a dump of the store yields none;
//! - the successor of a token can be told again to who lost the answer, within the grace;
//! - a token of a generation that has not been yet shows that an old backup was restored (attack G06).

use crate::model::digest::Digest;
use crate::model::id::{AuthorizationServerId, ClientId, GrantId, Subject, UserId};
use crate::model::scope::ScopeSet;
use crate::model::time::Timestamp;

/// A grant that lives on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrantRecord {
    /// Its identifier: the `sid` of its tokens.
    pub id: GrantId,
    /// Where it was given.
    pub server: AuthorizationServerId,
    /// To whom.
    pub client: ClientId,
    /// By which user; none where a client acts for itself.
    pub user: Option<UserId>,
    /// The `sub` of its tokens.
    pub subject: Subject,
    /// The most that its tokens may do.
    pub scopes: ScopeSet,
    /// The resources that its tokens may be for (RFC 8707); the server's audience if empty.
    pub resources: Vec<String>,
    /// When the user signed in.
    pub auth_time: Timestamp,
    /// How (RFC 8176).
    pub amr: Vec<String>,
    /// How surely, if that was said.
    pub acr: Option<String>,
    /// The key that its refresh tokens are bound to.
    pub binding: Option<KeyBinding>,
    /// When it was given.
    pub created_at: Timestamp,
    /// When it ends, whatever happens.
    pub expires_at: Timestamp,
    /// Which refresh token is current, counted from 0.
    pub generation: u32,
    /// When the current one was given.
    pub rotated_at: Timestamp,
    /// When the current one ends if it is not used.
    pub idle_expires_at: Timestamp,
    /// Since when it is revoked.
    pub revoked_at: Option<Timestamp>,
}

/// The key that a token is bound to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyBinding {
    /// By DPoP: the thumbprint of the key (RFC 9449 section 6.1, `jkt`).
    Dpop(Digest),
    /// By mutual TLS: the digest of the certificate (RFC 8705 section 3.1, `x5t#S256`).
    Certificate(Digest),
}
