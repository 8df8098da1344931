//! The administration's objects, as one immutable value: what is in force, and what a change would make of it.
//!
//! ```text
//! stored objects ─ read ─▶ documents ─ declare ─▶ declarations ─ compile ─▶ servers, clients
//!                                          ▲
//!              the file's declaration ─────┘ names that may be referred to
//! ```
//!
//! - Each object is compiled alone, against the names of all others: a change costs what it changes, however
//!   many objects there are. Only where a name went away is everything looked at again.
//! - A *change* with an error is refused whole. An object that is broken *already* (another node, or a file that
//!   took away what it refers to) is set aside: it does nothing, is listed with its findings, and stops no other
//!   change. The rest of it is not taken: a dropped part could widen what the remainder allows.
//! - Names that the file declares are the file's.

mod changing;
mod compiling;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::entropy;
use crate::model::finding::{Finding, Severity};
use crate::model::id::{AuthorizationServerId, ClientId};
use crate::model::time::Timestamp;
use crate::oauth::access::Server;
use crate::oauth::client::Client;
use crate::oauth::document::{
    ClientDocument, Document, GroupDocument, IdPrefix, InvalidDocument, RoleBindingDocument, ServerDocument,
};
use crate::oauth::schema::UserSchema;
use crate::store::objects::{ObjectKind, StoredObject};

pub(super) use changing::{Principal, Refused, Tentative};
pub(super) use compiling::{Surroundings, secret_context};

/// A new identifier, unguessable and never given again.
#[must_use]
pub fn new_id(prefix: IdPrefix) -> String {
    prefix.identifier(u128::from_be_bytes(entropy::random_bytes()))
}

/// An object that is administered, with what it was compiled to.
#[derive(Debug, Clone)]
pub struct Managed<D, C = ()> {
    /// Its identifier.
    pub id: String,
    /// Moves on by one with each change: what `ETag` shows and `If-Match` compares.
    pub revision: i64,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// What it says.
    pub document: D,
    /// What it does, unless it is broken.
    pub(super) compiled: Option<Arc<C>>,
    /// What the compiler says of it.
    pub findings: Vec<Finding>,
}

impl<D, C> Managed<D, C> {
    /// What the file declares, as if it were administered: it has no revision and no time.
    #[must_use]
    pub fn of_file(id: &str, document: D) -> Self {
        Self {
            id: id.to_owned(),
            revision: 0,
            created_at: Timestamp::from_unix_seconds(0),
            updated_at: Timestamp::from_unix_seconds(0),
            document,
            compiled: None,
            findings: Vec::new(),
        }
    }

    /// Whether it is set aside: it does nothing.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.findings.iter().any(|finding| finding.severity == Severity::Error)
    }
}

/// An authorization server that is administered.
pub type ManagedServer = Managed<ServerDocument, Server>;
/// A client that is administered.
pub type ManagedClient = Managed<ClientDocument, Client>;
/// A group that is administered.
pub type ManagedGroup = Managed<GroupDocument>;
/// A role of an administrator.
pub type ManagedRole = Managed<RoleBindingDocument>;

/// What the profiles of users may hold.
pub type ManagedSchema = Managed<UserSchema>;

/// The identifier of the one schema of users.
pub const USER_SCHEMA: &str = "default";

/// Every administered object at one moment.
#[derive(Debug, Clone, Default)]
pub struct Directory {
    pub(super) generation: i64,
    pub(super) servers: BTreeMap<String, Arc<ManagedServer>>,
    pub(super) clients: BTreeMap<String, Arc<ManagedClient>>,
    pub(super) groups: BTreeMap<String, Arc<ManagedGroup>>,
    pub(super) roles: BTreeMap<String, Arc<ManagedRole>>,
    pub(super) schemas: BTreeMap<String, Arc<ManagedSchema>>,
}

impl Directory {
    /// The authorization servers, by identifier.
    pub fn servers(&self) -> impl Iterator<Item = &Arc<ManagedServer>> {
        self.servers.values()
    }

    /// An authorization server.
    #[must_use]
    pub fn server(&self, id: &str) -> Option<&Arc<ManagedServer>> {
        self.servers.get(id)
    }

    /// The clients, by identifier.
    pub fn clients(&self) -> impl Iterator<Item = &Arc<ManagedClient>> {
        self.clients.values()
    }

    /// A client.
    #[must_use]
    pub fn client(&self, id: &str) -> Option<&Arc<ManagedClient>> {
        self.clients.get(id)
    }

    /// The groups, by identifier.
    pub fn groups(&self) -> impl Iterator<Item = &Arc<ManagedGroup>> {
        self.groups.values()
    }

    /// A group.
    #[must_use]
    pub fn group(&self, id: &str) -> Option<&Arc<ManagedGroup>> {
        self.groups.get(id)
    }

    /// What administrators may do, by identifier.
    pub fn roles(&self) -> impl Iterator<Item = &Arc<ManagedRole>> {
        self.roles.values()
    }

    /// One role of an administrator.
    #[must_use]
    pub fn role(&self, id: &str) -> Option<&Arc<ManagedRole>> {
        self.roles.get(id)
    }

    /// The schema of users, if an administrator has changed it.
    #[must_use]
    pub fn schema(&self) -> Option<&Arc<ManagedSchema>> {
        self.schemas.get(USER_SCHEMA)
    }

    /// The servers that work, compiled.
    pub(super) fn compiled_servers(&self) -> impl Iterator<Item = (AuthorizationServerId, &Arc<Server>)> {
        let compiled = self.servers.values().filter_map(|server| server.compiled.as_ref());
        compiled.map(|server| (server.id.clone(), server))
    }

    /// The clients that work, compiled.
    pub(super) fn compiled_clients(&self) -> impl Iterator<Item = (ClientId, &Arc<Client>)> {
        let compiled = self.clients.values().filter_map(|client| client.compiled.as_ref());
        compiled.map(|client| (client.id.clone(), client))
    }

    /// Puts a stored object in its place, not compiled yet. One that cannot be read is kept out: it can neither do
    /// anything nor be shown, and the log says so.
    fn take(&mut self, object: &StoredObject) -> Result<(), InvalidDocument> {
        match object.kind {
            ObjectKind::AuthorizationServer => put(&mut self.servers, object),
            ObjectKind::Client => put(&mut self.clients, object),
            ObjectKind::Group => put(&mut self.groups, object),
            ObjectKind::RoleBinding => put(&mut self.roles, object),
            ObjectKind::UserSchema => put(&mut self.schemas, object),
            ObjectKind::FileDeclaration => Ok(()),
        }
    }

    fn revision(&self, kind: ObjectKind, id: &str) -> Option<i64> {
        match kind {
            ObjectKind::AuthorizationServer => self.servers.get(id).map(|object| object.revision),
            ObjectKind::Client => self.clients.get(id).map(|object| object.revision),
            ObjectKind::Group => self.groups.get(id).map(|object| object.revision),
            ObjectKind::RoleBinding => self.roles.get(id).map(|object| object.revision),
            ObjectKind::UserSchema => self.schemas.get(id).map(|object| object.revision),
            ObjectKind::FileDeclaration => None,
        }
    }

    fn created_at(&self, kind: ObjectKind, id: &str) -> Option<Timestamp> {
        match kind {
            ObjectKind::AuthorizationServer => self.servers.get(id).map(|object| object.created_at),
            ObjectKind::Client => self.clients.get(id).map(|object| object.created_at),
            ObjectKind::Group => self.groups.get(id).map(|object| object.created_at),
            ObjectKind::RoleBinding => self.roles.get(id).map(|object| object.created_at),
            ObjectKind::UserSchema => self.schemas.get(id).map(|object| object.created_at),
            ObjectKind::FileDeclaration => None,
        }
    }

    fn forget(&mut self, kind: ObjectKind, id: &str) {
        match kind {
            ObjectKind::AuthorizationServer => drop(self.servers.remove(id)),
            ObjectKind::Client => drop(self.clients.remove(id)),
            ObjectKind::Group => drop(self.groups.remove(id)),
            ObjectKind::RoleBinding => drop(self.roles.remove(id)),
            ObjectKind::UserSchema => drop(self.schemas.remove(id)),
            ObjectKind::FileDeclaration => {}
        }
    }
}

fn put<D: Document, C>(
    objects: &mut BTreeMap<String, Arc<Managed<D, C>>>,
    object: &StoredObject,
) -> Result<(), InvalidDocument> {
    let managed = Managed {
        id: object.id.clone(),
        revision: object.revision,
        created_at: object.created_at,
        updated_at: object.updated_at,
        document: D::read(&object.body)?,
        compiled: None,
        findings: Vec::new(),
    };
    objects.insert(object.id.clone(), Arc::new(managed));
    Ok(())
}

#[cfg(test)]
mod tests;
