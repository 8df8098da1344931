//! What must be recorded: who asked for what, and what became of it.
//!
//! - A **durable** event is stored in the same transaction as the change that it tells of: a key
//!   that rolled, a token that was revoked. There is no change without its record. Its entry is
//!   chained to the one before it ([`chained`]), so that nobody changes the log unseen.
//! - A **denial by policy** is stored with its trace under the `error_id` that the client got, in the
//!   background and within bounds: a client that is refused in a loop must not fill the disk.
//! - A **granted token** goes to the log alone: no row is written per access token.
//!
//! An event never holds a credential. The names of the kinds are those of Okta's system log.

mod chain;

use serde_json::Value;

pub use crate::audit::chain::{AuditEntry, BEFORE_FIRST, ChainBreak, ChainEnd, chained, verify};
use crate::model::id::{AuthorizationServerId, ClientId};
use crate::model::time::Timestamp;

/// What kind of thing happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AuditKind {
    /// An access token was granted.
    AccessTokenGranted,
    /// A refresh token was granted: a grant began.
    RefreshTokenGranted,
    /// The access policies refused a token.
    AccessDenied,
    /// A rule matched on everything but the scopes.
    ScopeDenied,
    /// A token was refused before or after the policies were asked.
    TokenRefused,
    /// A client failed to authenticate.
    ClientAuthenticationFailed,
    /// A user failed to authenticate.
    UserAuthenticationFailed,
    /// A user has failed too often.
    UserLocked,
    /// A token was revoked.
    TokenRevoked,
    /// A grant was revoked: what a user agreed to, with all its tokens.
    GrantRevoked,
    /// A refresh token was used after its successor: the grant was revoked.
    RefreshReuseDetected,
    /// An authorization code was used twice: what it gave was revoked.
    CodeReplayed,
    /// Signing keys changed their state.
    KeyRollover,
    /// A signing key was given up as compromised.
    KeyRevoked,
    /// An authorization server was created.
    ServerCreated,
    /// An authorization server was updated.
    ServerUpdated,
    /// An authorization server was activated.
    ServerActivated,
    /// An authorization server was deactivated.
    ServerDeactivated,
    /// An authorization server was deleted.
    ServerDeleted,
    /// A scope was created.
    ScopeCreated,
    /// A scope was updated.
    ScopeUpdated,
    /// A scope was deleted.
    ScopeDeleted,
    /// A claim was created.
    ClaimCreated,
    /// A claim was updated.
    ClaimUpdated,
    /// A claim was deleted.
    ClaimDeleted,
    /// An access policy was created.
    PolicyCreated,
    /// An access policy was updated.
    PolicyUpdated,
    /// An access policy was activated.
    PolicyActivated,
    /// An access policy was deactivated.
    PolicyDeactivated,
    /// An access policy was deleted.
    PolicyDeleted,
    /// A rule of an access policy was added.
    RuleAdded,
    /// A rule of an access policy was updated.
    RuleUpdated,
    /// A rule of an access policy was activated.
    RuleActivated,
    /// A rule of an access policy was deactivated.
    RuleDeactivated,
    /// A rule of an access policy was deleted.
    RuleDeleted,
    /// A client was created.
    ClientCreated,
    /// A client was updated.
    ClientUpdated,
    /// A client was activated.
    ClientActivated,
    /// A client was deactivated.
    ClientDeactivated,
    /// A client was deleted.
    ClientDeleted,
    /// A secret or key of a client was created.
    ClientCredentialCreated,
    /// A secret or key of a client was activated.
    ClientCredentialActivated,
    /// A secret or key of a client was deactivated.
    ClientCredentialDeactivated,
    /// A secret or key of a client was deleted.
    ClientCredentialDeleted,
    /// An assignment of a user or group to a client was added.
    AssignmentAdded,
    /// An assignment of a user or group to a client was removed.
    AssignmentRemoved,
    /// A user was created.
    UserCreated,
    /// A user was updated.
    UserUpdated,
    /// A user was activated.
    UserActivated,
    /// A user was suspended.
    UserSuspended,
    /// A user was deactivated.
    UserDeactivated,
    /// A user was deleted.
    UserDeleted,
    /// A group was created.
    GroupCreated,
    /// A group was updated.
    GroupUpdated,
    /// A group was deleted.
    GroupDeleted,
    /// A membership of a user in a group was added.
    MembershipAdded,
    /// A membership of a user in a group was removed.
    MembershipRemoved,
    /// A role of an administrator was granted.
    RoleGranted,
    /// A role of an administrator was revoked.
    RoleRevoked,
    /// An initial access token for the registration of clients was created.
    RegistrationTokenCreated,
    /// An initial access token for the registration of clients was revoked.
    RegistrationTokenRevoked,
}

impl AuditKind {
    /// Every kind.
    pub const ALL: [Self; 61] = [
        Self::AccessTokenGranted,
        Self::RefreshTokenGranted,
        Self::AccessDenied,
        Self::ScopeDenied,
        Self::TokenRefused,
        Self::ClientAuthenticationFailed,
        Self::UserAuthenticationFailed,
        Self::UserLocked,
        Self::TokenRevoked,
        Self::GrantRevoked,
        Self::RefreshReuseDetected,
        Self::CodeReplayed,
        Self::KeyRollover,
        Self::KeyRevoked,
        Self::ServerCreated,
        Self::ServerUpdated,
        Self::ServerActivated,
        Self::ServerDeactivated,
        Self::ServerDeleted,
        Self::ScopeCreated,
        Self::ScopeUpdated,
        Self::ScopeDeleted,
        Self::ClaimCreated,
        Self::ClaimUpdated,
        Self::ClaimDeleted,
        Self::PolicyCreated,
        Self::PolicyUpdated,
        Self::PolicyActivated,
        Self::PolicyDeactivated,
        Self::PolicyDeleted,
        Self::RuleAdded,
        Self::RuleUpdated,
        Self::RuleActivated,
        Self::RuleDeactivated,
        Self::RuleDeleted,
        Self::ClientCreated,
        Self::ClientUpdated,
        Self::ClientActivated,
        Self::ClientDeactivated,
        Self::ClientDeleted,
        Self::ClientCredentialCreated,
        Self::ClientCredentialActivated,
        Self::ClientCredentialDeactivated,
        Self::ClientCredentialDeleted,
        Self::AssignmentAdded,
        Self::AssignmentRemoved,
        Self::UserCreated,
        Self::UserUpdated,
        Self::UserActivated,
        Self::UserSuspended,
        Self::UserDeactivated,
        Self::UserDeleted,
        Self::GroupCreated,
        Self::GroupUpdated,
        Self::GroupDeleted,
        Self::MembershipAdded,
        Self::MembershipRemoved,
        Self::RoleGranted,
        Self::RoleRevoked,
        Self::RegistrationTokenCreated,
        Self::RegistrationTokenRevoked,
    ];

    /// The name in the system log (okta-model section 9).
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AccessTokenGranted => "app.oauth2.as.token.grant.access_token",
            Self::RefreshTokenGranted => "app.oauth2.as.token.grant.refresh_token",
            Self::AccessDenied => "app.oauth2.as.authorize",
            Self::ScopeDenied => "app.oauth2.as.authorize.scope_denied",
            Self::TokenRefused => "app.oauth2.as.token.grant",
            Self::ClientAuthenticationFailed => "app.oauth2.invalid_client_credentials",
            Self::UserAuthenticationFailed => "user.authentication.failed",
            Self::UserLocked => "user.account.lock",
            Self::TokenRevoked => "app.oauth2.as.token.revoke",
            Self::GrantRevoked => "app.oauth2.as.consent.revoke",
            Self::RefreshReuseDetected => "app.oauth2.as.token.detect_reuse",
            Self::CodeReplayed => "app.oauth2.as.authorize.code",
            Self::KeyRollover => "app.oauth2.as.key.rollover",
            Self::KeyRevoked => "app.oauth2.as.key.revoke",
            Self::ServerCreated => "oauth2.as.created",
            Self::ServerUpdated => "oauth2.as.updated",
            Self::ServerActivated => "oauth2.as.activated",
            Self::ServerDeactivated => "oauth2.as.deactivated",
            Self::ServerDeleted => "oauth2.as.deleted",
            Self::ScopeCreated => "oauth2.scope.created",
            Self::ScopeUpdated => "oauth2.scope.updated",
            Self::ScopeDeleted => "oauth2.scope.deleted",
            Self::ClaimCreated => "oauth2.claim.created",
            Self::ClaimUpdated => "oauth2.claim.updated",
            Self::ClaimDeleted => "oauth2.claim.deleted",
            Self::PolicyCreated => "policy.lifecycle.create",
            Self::PolicyUpdated => "policy.lifecycle.update",
            Self::PolicyActivated => "policy.lifecycle.activate",
            Self::PolicyDeactivated => "policy.lifecycle.deactivate",
            Self::PolicyDeleted => "policy.lifecycle.delete",
            Self::RuleAdded => "policy.rule.add",
            Self::RuleUpdated => "policy.rule.update",
            Self::RuleActivated => "policy.rule.activate",
            Self::RuleDeactivated => "policy.rule.deactivate",
            Self::RuleDeleted => "policy.rule.delete",
            Self::ClientCreated => "app.oauth2.client.lifecycle.create",
            Self::ClientUpdated => "app.oauth2.client.lifecycle.update",
            Self::ClientActivated => "app.oauth2.client.lifecycle.activate",
            Self::ClientDeactivated => "app.oauth2.client.lifecycle.deactivate",
            Self::ClientDeleted => "app.oauth2.client.lifecycle.delete",
            Self::ClientCredentialCreated => "app.oauth2.credentials.lifecycle.create",
            Self::ClientCredentialActivated => "app.oauth2.credentials.lifecycle.activate",
            Self::ClientCredentialDeactivated => "app.oauth2.credentials.lifecycle.deactivate",
            Self::ClientCredentialDeleted => "app.oauth2.credentials.lifecycle.delete",
            Self::AssignmentAdded => "application.user_membership.add",
            Self::AssignmentRemoved => "application.user_membership.remove",
            Self::UserCreated => "user.lifecycle.create",
            Self::UserUpdated => "user.lifecycle.update",
            Self::UserActivated => "user.lifecycle.activate",
            Self::UserSuspended => "user.lifecycle.suspend",
            Self::UserDeactivated => "user.lifecycle.deactivate",
            Self::UserDeleted => "user.lifecycle.delete",
            Self::GroupCreated => "group.lifecycle.create",
            Self::GroupUpdated => "group.lifecycle.update",
            Self::GroupDeleted => "group.lifecycle.delete",
            Self::MembershipAdded => "group.user_membership.add",
            Self::MembershipRemoved => "group.user_membership.remove",
            Self::RoleGranted => "user.account.privilege.grant",
            Self::RoleRevoked => "user.account.privilege.revoke",
            Self::RegistrationTokenCreated => "app.oauth2.registration_token.create",
            Self::RegistrationTokenRevoked => "app.oauth2.registration_token.revoke",
        }
    }

    /// Reads the name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq)]
pub struct AuditEvent {
    /// When.
    pub at: Timestamp,
    /// What.
    pub kind: AuditKind,
    /// At which authorization server.
    pub server: Option<AuthorizationServerId>,
    /// By which client.
    pub client: Option<ClientId>,
    /// The `error_id` of the response, if it was an error.
    pub error_id: Option<String>,
    /// Who did it, where it was no client on its own: an administrator, a user.
    pub actor: Option<String>,
    /// What it was done to.
    pub target: Option<AuditTarget>,
    /// The particulars: reason, rule, trace; of a change, `before` and `after`.
    pub detail: Value,
}

/// What something was done to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditTarget {
    /// The kind of object: `AuthorizationServer`, `User`, …
    pub kind: String,
    /// Its identifier.
    pub id: String,
}

/// Takes note of what happens beside the store's own changes. It neither blocks nor fails: what it
/// cannot keep it drops, and counts.
pub trait AuditSink: Send + Sync + 'static {
    /// Takes note of one event.
    fn record(&self, event: AuditEvent);
}

/// A sink that writes to the log: each event is a line of target `scopegate::audit`.
#[derive(Debug, Clone, Copy, Default)]
pub struct LogSink;

impl AuditSink for LogSink {
    fn record(&self, event: AuditEvent) {
        log(&event);
    }
}

/// Writes one event to the log.
pub fn log(event: &AuditEvent) {
    // `Value`'s own `Display` says the same, one character at a time. A value has nothing that JSON could not say.
    let detail = serde_json::to_string(&event.detail).unwrap_or_default();
    tracing::info!(
        target: "scopegate::audit",
        event_type = event.kind.as_str(),
        event_time = event.at.unix_seconds(),
        authorization_server = event.server.as_ref().map(AuthorizationServerId::as_str),
        client_id = event.client.as_ref().map(ClientId::as_str),
        error_id = event.error_id.as_deref(),
        actor = event.actor.as_deref(),
        target_type = event.target.as_ref().map(|target| target.kind.as_str()),
        target_id = event.target.as_ref().map(|target| target.id.as_str()),
        %detail,
        "audit"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_read_back() {
        for kind in AuditKind::ALL {
            assert_eq!(AuditKind::parse(kind.as_str()), Some(kind));
        }
        let names: std::collections::BTreeSet<&str> = AuditKind::ALL.map(AuditKind::as_str).into();
        assert_eq!(names.len(), AuditKind::ALL.len());
    }
}
