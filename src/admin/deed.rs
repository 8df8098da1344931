//! What the audit log says of what an administrator did.

use serde_json::{Map, Value};

use crate::audit::{AuditEvent, AuditKind, AuditTarget};
use crate::model::id::{AuthorizationServerId, ClientId};
use crate::model::time::Timestamp;

/// What was done to what. Neither side of it holds a secret: it is made of what the API shows.
#[derive(Debug, Clone)]
pub struct Deed {
    kind: AuditKind,
    target: AuditTarget,
    before: Value,
    after: Value,
    server: Option<AuthorizationServerId>,
    client: Option<ClientId>,
}

impl Deed {
    /// What was done, to an object of this kind and identifier.
    #[must_use]
    pub fn new(kind: AuditKind, target: &str, id: &str) -> Self {
        Self {
            kind,
            target: AuditTarget {
                kind: target.to_owned(),
                id: id.to_owned(),
            },
            before: Value::Null,
            after: Value::Null,
            server: None,
            client: None,
        }
    }

    /// How the object was.
    #[must_use]
    pub fn before(mut self, before: Value) -> Self {
        self.before = before;
        self
    }

    /// How it is.
    #[must_use]
    pub fn after(mut self, after: Value) -> Self {
        self.after = after;
        self
    }

    /// At which authorization server.
    #[must_use]
    pub fn at_server(mut self, server: Option<AuthorizationServerId>) -> Self {
        self.server = server;
        self
    }

    /// To what of which client.
    #[must_use]
    pub fn of_client(mut self, client: ClientId) -> Self {
        self.client = Some(client);
        self
    }

    /// The entry: who did it, and when.
    #[must_use]
    pub fn event(self, actor: &str, at: Timestamp) -> AuditEvent {
        let sides = [("before", self.before), ("after", self.after)];
        let known = sides.into_iter().filter(|(_, side)| !side.is_null());
        AuditEvent {
            at,
            kind: self.kind,
            server: self.server,
            client: self.client,
            error_id: None,
            actor: Some(actor.to_owned()),
            target: Some(self.target),
            detail: Value::Object(known.map(|(name, side)| (name.to_owned(), side)).collect::<Map<_, _>>()),
        }
    }
}
