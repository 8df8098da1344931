//! What must be recorded: who asked for what, and what became of it.
//!
//! - A **durable** event is stored in the same transaction as the change that it tells of: a key
//!   that rolled, a token that was revoked. There is no change without its record.
//! - A **denial by policy** is stored with its trace under the `error_id` that the client got, in the
//!   background and within bounds: a client that is refused in a loop must not fill the disk.
//! - A **granted token** goes to the log alone: no row is written per access token.
//!
//! An event never holds a credential. The names of the kinds are those of Okta's system log.

use serde_json::Value;

use crate::model::id::{AuthorizationServerId, ClientId};
use crate::model::time::Timestamp;

/// What kind of thing happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AuditKind {
    /// An access token was granted.
    AccessTokenGranted,
    /// The access policies refused a token.
    AccessDenied,
    /// A token was refused before or after the policies were asked.
    TokenRefused,
    /// A client failed to authenticate.
    ClientAuthenticationFailed,
    /// A token was revoked.
    TokenRevoked,
    /// Signing keys changed their state.
    KeyRollover,
}

impl AuditKind {
    /// Every kind.
    pub const ALL: [Self; 6] = [
        Self::AccessTokenGranted,
        Self::AccessDenied,
        Self::TokenRefused,
        Self::ClientAuthenticationFailed,
        Self::TokenRevoked,
        Self::KeyRollover,
    ];

    /// The name in the system log (okta-model section 9).
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AccessTokenGranted => "app.oauth2.as.token.grant.access_token",
            Self::AccessDenied => "app.oauth2.as.authorize",
            Self::TokenRefused => "app.oauth2.as.token.grant",
            Self::ClientAuthenticationFailed => "app.oauth2.invalid_client_credentials",
            Self::TokenRevoked => "app.oauth2.as.token.revoke",
            Self::KeyRollover => "app.oauth2.as.key.rollover",
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
    /// The particulars: reason, rule, trace.
    pub detail: Value,
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
    tracing::info!(
        target: "scopegate::audit",
        event_type = event.kind.as_str(),
        event_time = event.at.unix_seconds(),
        authorization_server = event.server.as_ref().map(AuthorizationServerId::as_str),
        client_id = event.client.as_ref().map(ClientId::as_str),
        error_id = event.error_id.as_deref(),
        detail = %event.detail,
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
    }
}
