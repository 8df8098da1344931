//! Authorization servers that are administered, as the gate of the same process finds them: now, and whenever
//! something has changed.
//!
//! Whoever is told that a change is done can rely on the gate: [`Issuer::listen`]ers are called before the answer goes
//! out, on the node that makes the change as on every other one that reads it.

use std::sync::Arc;

use crate::issuer::directory::ManagedServer;
use crate::issuer::{Endpoint, Issuer, Listener, Snapshot};
use crate::model::id::{AuthorizationServerId, Issuer as IssuerId};

/// An administered server that answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActiveServer {
    /// Its identifier.
    pub id: AuthorizationServerId,
    /// The `iss` of its tokens.
    pub issuer: IssuerId,
    /// Their `aud`.
    pub audience: String,
}

impl Issuer {
    /// Has this called whenever something else is in force. The first who asks is heard, and no other.
    pub fn listen(&self, listener: Box<dyn Fn() + Send + Sync>) {
        let _ = self.listener.set(listener);
    }

    /// The administered server of this identifier, if it works.
    #[must_use]
    pub fn active_server(&self, id: &AuthorizationServerId) -> Option<ActiveServer> {
        let snapshot = self.snapshot.load();
        let managed = snapshot.directory.server(id.as_str())?;
        active(&snapshot, managed)
    }

    /// The administered server of this name, if it works. A name that two servers have is nobody's: two nodes may have
    /// given it at the same time.
    #[must_use]
    pub fn active_server_named(&self, name: &str) -> Option<ActiveServer> {
        let snapshot = self.snapshot.load();
        let mut named = (snapshot.directory.servers()).filter(|server| server.document.name == name);
        match (named.next(), named.next()) {
            (Some(managed), None) => active(&snapshot, managed),
            (Some(_), Some(_)) => {
                tracing::error!("several authorization servers are named `{name}`: none of them is taken for it");
                None
            }
            (None, _) => None,
        }
    }

    /// Puts a snapshot in force, and says so.
    pub(super) fn put_snapshot(&self, next: Arc<Snapshot>) {
        self.snapshot.store(next);
        if let Some(listener) = self.listener.get() {
            let listener: &Listener = listener;
            listener();
        }
    }
}

fn active(snapshot: &Snapshot, managed: &ManagedServer) -> Option<ActiveServer> {
    // What is broken is not compiled; where the file has the name too, this one is broken.
    let compiled = managed.compiled.as_ref()?;
    let endpoint: Arc<Endpoint> = snapshot.endpoint(&managed.id)?;
    Arc::ptr_eq(&endpoint.server, compiled).then(|| ActiveServer {
        id: endpoint.server.id.clone(),
        issuer: endpoint.issuer.clone(),
        audience: endpoint.server.audience.clone(),
    })
}
