//! The administration: what administrators may do, and do.
//!
//! ```text
//! bearer token ─ authority ─▶ Administrator ─ may? ─▶ an edit of a document ─▶ Issuer::change
//!                                                          │                       │
//!                                        what it was and is (audit)     compiled, durable, in force
//! ```
//!
//! - An [`Administrator`] is proof: it is made of a verified token of the management authorization server and of the
//!   roles that its client holds *now*, and of nothing else.
//! - One table says which role may do what to which kind of object ([`authority::may`]); a role that is bound to
//!   authorization servers reaches nothing else.
//! - An edit is a function of the document that is in force. Where somebody else was first it is asked again with
//!   the newer document: an `If-Match` is then compared with what is really there.
//! - Each change is written to the audit log with who, before and after, in the same transaction.
//! - What the file declares is shown beside the rest, and is changed in the file.
//!
//! It knows no HTTP: how objects look on the wire is [`crate::http`]'s matter.

pub mod apps;
pub mod assignments;
pub mod authority;
pub mod bootstrap;
pub mod credentials;
mod declared;
mod deed;
pub mod desk;
mod edit;
mod error;
pub mod grants;
pub mod groups;
pub mod keys;
pub mod logs;
mod password;
pub mod preview;
pub mod registration;
pub mod roles;
pub mod schema;
pub mod tokens;
mod unassigned;
pub mod users;

use std::sync::Arc;

use url::Url;

pub use authority::{Action, Administrator, Place, Resource};
pub use declared::{Listed, NEVER, clients_of_file, servers_of_file};
pub use deed::Deed;
pub use edit::ServerEdit;
pub use error::AdminError;

use crate::issuer::Issuer;
use crate::issuer::directory::{ManagedClient, ManagedServer};
use crate::model::time::Timestamp;

/// The administration of one issuer.
#[derive(Debug, Clone)]
pub struct Administration {
    issuer: Arc<Issuer>,
}

impl Administration {
    /// Of this issuer.
    #[must_use]
    pub fn new(issuer: Arc<Issuer>) -> Self {
        Self { issuer }
    }

    /// The issuer.
    #[must_use]
    pub fn issuer(&self) -> &Arc<Issuer> {
        &self.issuer
    }

    /// The time.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.issuer.services().clock.now()
    }

    /// Where the management API is reached: what its links begin with, without a slash at the end.
    #[must_use]
    pub fn base(&self) -> String {
        self.base_url().as_str().trim_end_matches('/').to_owned()
    }

    /// Where the management API is reached.
    #[must_use]
    pub fn base_url(&self) -> Url {
        self.issuer.management_url()
    }

    /// Whether there is such a client, of the file or administered.
    #[must_use]
    pub fn has_client(&self, id: &str) -> bool {
        let declared = self.issuer.declared();
        declared.clients.iter().any(|client| client.id.value.as_str() == id)
            || self.issuer.directory().client(id).is_some()
    }

    /// Whether there is such an authorization server, of the file or administered.
    #[must_use]
    pub fn has_server(&self, id: &str) -> bool {
        let declared = self.issuer.declared();
        declared.servers.iter().any(|server| server.id.value.as_str() == id)
            || self.issuer.directory().server(id).is_some()
    }

    /// Every authorization server that the administrator may see: the file's first.
    ///
    /// # Errors
    /// [`AdminError`] if the administrator may see none.
    pub fn servers(&self, who: &Administrator) -> Result<Vec<Listed<ManagedServer>>, AdminError> {
        who.may(Action::Read, Resource::AuthorizationServers, Place::Some)?;
        let mut servers = self.all_servers();
        servers.retain(|server| who.sees_server(&server.object.id));
        Ok(servers)
    }

    /// One authorization server.
    ///
    /// # Errors
    /// [`AdminError`] if there is none, or the administrator may not do this to it.
    pub fn server(
        &self,
        who: &Administrator,
        action: Action,
        resource: Resource,
        id: &str,
    ) -> Result<Listed<ManagedServer>, AdminError> {
        who.may(action, resource, Place::Server(id))?;
        let managed = self.issuer.directory().server(id).cloned();
        let listed = match managed {
            Some(object) => Some(Listed { object, in_file: false }),
            None => servers_of_file(&self.issuer.declared())
                .into_iter()
                .find(|server| server.object.id == id),
        };
        listed.ok_or_else(|| AdminError::not_found("AuthorizationServer", id))
    }

    /// Every client: the file's first.
    #[must_use]
    pub fn all_clients(&self) -> Vec<Listed<ManagedClient>> {
        let mut clients = clients_of_file(&self.issuer.declared());
        let directory = self.issuer.directory();
        clients.extend(directory.clients().map(|object| Listed {
            object: Arc::clone(object),
            in_file: false,
        }));
        clients
    }

    fn all_servers(&self) -> Vec<Listed<ManagedServer>> {
        let mut servers = servers_of_file(&self.issuer.declared());
        let directory = self.issuer.directory();
        servers.extend(directory.servers().map(|object| Listed {
            object: Arc::clone(object),
            in_file: false,
        }));
        servers
    }
}

#[cfg(test)]
mod tests;
