//! Grants that live on, things that are good for one use, and what was seen before.

use crate::audit::AuditEvent;
use crate::model::digest::Digest;
use crate::model::id::{AuthorizationServerId, ClientId, GrantId, UserId};
use crate::model::time::Timestamp;
use crate::oauth::refresh::GrantRecord;
use crate::revocation::Revocation;
use crate::store::StoreFuture;

/// Grants and their refresh tokens.
pub trait GrantStore: Send + Sync {
    /// Keeps a new grant. An identifier that is taken is [`crate::store::StoreError::Taken`].
    fn insert_grant<'a>(&'a self, grant: &'a GrantRecord) -> StoreFuture<'a, ()>;

    /// A grant, dead or alive, until it is pruned.
    fn grant<'a>(&'a self, id: &'a GrantId) -> StoreFuture<'a, Option<GrantRecord>>;

    /// The refresh token of this generation gets its successor, if it is still current and the grant is alive,
    /// neither revoked nor past one of its ends: one winner, however many callers and nodes.
    fn rotate_grant<'a>(&'a self, rotation: &'a Rotation<'a>) -> StoreFuture<'a, Rotated>;

    /// Ends all grants of a kind, with the revocations of their tokens and the audit records, in one transaction.
    /// Gives the grants that this call ended, by identifier; the facts and records are kept whether there are any.
    fn revoke_grants<'a>(
        &'a self,
        which: &'a GrantSelector,
        at: Timestamp,
        revocations: &'a [Revocation],
        audit: &'a [AuditEvent],
    ) -> StoreFuture<'a, Vec<GrantId>>;

    /// Grants of a kind that are not revoked, after this one, by identifier. Who asks looks at their ends.
    fn grants<'a>(
        &'a self,
        which: &'a GrantSelector,
        after: Option<&'a GrantId>,
        limit: u32,
    ) -> StoreFuture<'a, Vec<GrantRecord>>;

    /// Keeps a thing that is good for one use: a code. One that is kept already is
    /// [`crate::store::StoreError::Taken`].
    fn put_one_time<'a>(&'a self, thing: &'a OneTime) -> StoreFuture<'a, ()>;

    /// Looks at it without using it.
    fn one_time<'a>(&'a self, kind: OneTimeKind, digest: &'a Digest) -> StoreFuture<'a, Option<OneTime>>;

    /// Replaces the payload, if it is still this one and unused: a device code is approved.
    fn change_one_time<'a>(
        &'a self,
        kind: OneTimeKind,
        digest: &'a Digest,
        from: &'a serde_json::Value,
        to: &'a serde_json::Value,
    ) -> StoreFuture<'a, crate::store::Changed>;

    /// Uses it, and keeps the grant that comes of it in the same transaction: one winner. `by` is kept for who
    /// comes second. Whether it has ended is for the caller to see before ([`GrantStore::one_time`]).
    fn use_one_time<'a>(
        &'a self,
        kind: OneTimeKind,
        digest: &'a Digest,
        by: &'a GrantId,
        grant: Option<&'a GrantRecord>,
    ) -> StoreFuture<'a, Used>;

    /// Whether nobody has shown this before, on any node; from now until `until` nobody may again. An entry holds
    /// until it is pruned, which is never before its `until`.
    fn first_use<'a>(&'a self, purpose: ReplayPurpose, digest: &'a Digest, until: Timestamp) -> StoreFuture<'a, bool>;

    /// Counts a failed attempt under this key and gives how many there are since the last success or pause.
    /// A key that has had no failure for `window` starts from nothing. A clock that goes back moves no failure back.
    fn count_failure<'a>(
        &'a self,
        key: &'a Digest,
        now: Timestamp,
        window: std::time::Duration,
    ) -> StoreFuture<'a, Failures>;

    /// The failed attempts under this key.
    fn failures<'a>(
        &'a self,
        key: &'a Digest,
        now: Timestamp,
        window: std::time::Duration,
    ) -> StoreFuture<'a, Failures>;

    /// Forgets the failed attempts under this key.
    fn clear_failures<'a>(&'a self, key: &'a Digest) -> StoreFuture<'a, ()>;
}

/// A refresh token gets its successor.
#[derive(Debug, Clone)]
pub struct Rotation<'a> {
    /// Of which grant.
    pub id: &'a GrantId,
    /// The generation that was shown.
    pub from: u32,
    /// When.
    pub at: Timestamp,
    /// When the successor ends if it is not used.
    pub idle_expires_at: Timestamp,
}

/// What became of a rotation.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Rotated {
    /// This caller made the successor; the grant as it is now.
    Done(GrantRecord),
    /// Somebody else was first, or the grant is dead: as it is now.
    Overtaken(GrantRecord),
    /// There is no such grant.
    Unknown,
}

/// Which grants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GrantSelector {
    /// This one.
    One(GrantId),
    /// These.
    Among(Vec<GrantId>),
    /// Those that meet every condition that is given.
    Where {
        /// At this server.
        server: Option<AuthorizationServerId>,
        /// Of this client.
        client: Option<ClientId>,
        /// Of this user.
        user: Option<UserId>,
    },
}

/// A thing that is good for one use. The digest is of the whole secret text.
#[derive(Debug, Clone, PartialEq)]
pub struct OneTime {
    /// What it is: a thing of one kind is unknown as any other (attack F06).
    pub kind: OneTimeKind,
    /// The SHA-256 of its text.
    pub digest: Digest,
    /// When it ends.
    pub expires_at: Timestamp,
    /// What it stands for.
    pub payload: serde_json::Value,
    /// The grant that came of it, if it was used.
    pub used_by: Option<GrantId>,
}

/// What a thing that is good for one use is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum OneTimeKind {
    /// RFC 6749 section 4.1.2.
    AuthorizationCode,
    /// RFC 8628 section 3.2.
    DeviceCode,
    /// RFC 8628 section 3.2: what the person types.
    UserCode,
    /// RFC 9126 section 2.2.
    PushedRequest,
    /// RFC 7591 section 3.1.
    InitialAccessToken,
}

impl OneTimeKind {
    /// Every kind.
    pub const ALL: [Self; 5] = [
        Self::AuthorizationCode,
        Self::DeviceCode,
        Self::UserCode,
        Self::PushedRequest,
        Self::InitialAccessToken,
    ];

    /// The name in a table.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AuthorizationCode => "authorization_code",
            Self::DeviceCode => "device_code",
            Self::UserCode => "user_code",
            Self::PushedRequest => "pushed_request",
            Self::InitialAccessToken => "initial_access_token",
        }
    }
}

/// What became of the use of a thing that is good for one.
#[derive(Debug, Clone, PartialEq)]
#[must_use]
pub enum Used {
    /// This caller used it; what it stands for.
    First(OneTime),
    /// It was used before, and this came of it.
    Again(GrantId),
    /// There is no such thing.
    Unknown,
}

/// What must not be shown twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ReplayPurpose {
    /// The `jti` of a client's assertion, with its client (RFC 7523 section 3).
    ClientAssertion,
    /// The `jti` of an assertion that is a grant, with its issuer.
    GrantAssertion,
    /// The `jti` of a DPoP proof, with its key (RFC 9449 section 11.1).
    DpopProof,
}

impl ReplayPurpose {
    /// The name in a table.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ClientAssertion => "client_assertion",
            Self::GrantAssertion => "grant_assertion",
            Self::DpopProof => "dpop_proof",
        }
    }
}

/// Failed attempts under a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Failures {
    /// How many, one after the other.
    pub count: u32,
    /// When the last one was; `None` if there was none.
    pub last_at: Option<Timestamp>,
}
