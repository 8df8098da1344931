//! How an authorization server is made, changed and deleted, with what the audit log says of it.

use std::sync::Arc;

use crate::admin::desk::TRIES;
use crate::admin::{Action, AdminError, Administration, Administrator, Deed, Place, Resource};
use crate::audit::AuditKind;
use crate::issuer::change::{Applied, Change, ChangeError};
use crate::issuer::directory::{ManagedServer, new_id};
use crate::model::id::AuthorizationServerId;
use crate::model::time::Timestamp;
use crate::oauth::document::{Document as _, IdPrefix, ServerDocument};
use crate::store::objects::{ObjectChange, ObjectKind, StoredObject};

/// Which authorization server is edited, and how.
#[derive(Debug, Clone, Copy)]
pub struct ServerEdit<'a> {
    /// The server.
    pub id: &'a str,
    /// What of it.
    pub resource: Resource,
    /// Everything is checked, and nothing is changed.
    pub dry_run: bool,
}

impl Administration {
    /// Makes an authorization server.
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn create_server(
        &self,
        who: &Administrator,
        document: ServerDocument,
        dry_run: bool,
    ) -> Result<(Arc<ManagedServer>, Applied), AdminError> {
        who.may(Action::Manage, Resource::AuthorizationServers, Place::Everywhere)?;
        let (id, at) = (new_id(IdPrefix::Server), self.now());
        let deed = Deed::new(AuditKind::ServerCreated, "AuthorizationServer", &id)
            .after(document.body())
            .at_server(AuthorizationServerId::parse(&id).ok());
        let object = StoredObject::new(ObjectKind::AuthorizationServer, &id, document.body(), at);
        let change = Change {
            changes: vec![ObjectChange::Insert(object)],
            audit: vec![deed.event(who.client().as_str(), at)],
            ..Change::default()
        };
        let applied = self.issuer().change(change, dry_run).await;
        let applied = applied.map_err(|error| AdminError::of_change("authorizationServer", error))?;
        let made = applied.directory.server(&id).cloned();
        let made = made.ok_or_else(|| AdminError::Internal("a server that was made is not there".into()))?;
        Ok((made, applied))
    }

    /// Edits an authorization server. `edit` is a function of the state that it decides upon, and gives what the
    /// audit log says; it is asked again if somebody else was first.
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn edit_server<T, F>(
        &self,
        who: &Administrator,
        request: ServerEdit<'_>,
        mut edit: F,
    ) -> Result<(T, Arc<ManagedServer>), AdminError>
    where
        F: FnMut(&Arc<ManagedServer>, &mut ServerDocument, Timestamp) -> Result<(T, Deed), AdminError> + Send,
        T: Send,
    {
        let ServerEdit { id, resource, dry_run } = request;
        for _ in 0..TRIES {
            let seen = self.writable_server(who, resource, id)?;
            let at = self.now();
            let mut document = seen.document.clone();
            let (answer, deed) = edit(&seen, &mut document, at)?;
            let deed = deed.at_server(AuthorizationServerId::parse(id).ok());
            if document == seen.document {
                return Ok((answer, seen));
            }
            let change = Change {
                changes: vec![ObjectChange::Replace {
                    kind: ObjectKind::AuthorizationServer,
                    id: id.to_owned(),
                    from: seen.revision,
                    body: document.body(),
                    at,
                }],
                audit: vec![deed.event(who.client().as_str(), at)],
                ..Change::default()
            };
            match self.issuer().change(change, dry_run).await {
                Ok(applied) => {
                    let server = applied.directory.server(id).cloned();
                    return Ok((
                        answer,
                        server.ok_or_else(|| AdminError::not_found("AuthorizationServer", id))?,
                    ));
                }
                Err(ChangeError::Overtaken) => {}
                Err(error) => return Err(AdminError::of_change("authorizationServer", error)),
            }
        }
        Err(AdminError::Contended)
    }

    /// Deletes an authorization server: its tokens are dead when this returns. `check` is asked about the state that
    /// is deleted.
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn delete_server<F>(
        &self,
        who: &Administrator,
        id: &str,
        check: F,
        dry_run: bool,
    ) -> Result<(), AdminError>
    where
        F: Fn(&Arc<ManagedServer>) -> Result<(), AdminError> + Send,
    {
        for _ in 0..TRIES {
            let seen = self.writable_server(who, Resource::AuthorizationServers, id)?;
            check(&seen)?;
            let deed = Deed::new(AuditKind::ServerDeleted, "AuthorizationServer", id)
                .before(seen.document.body())
                .at_server(AuthorizationServerId::parse(id).ok());
            let change = Change {
                changes: vec![ObjectChange::Remove {
                    kind: ObjectKind::AuthorizationServer,
                    id: id.to_owned(),
                    from: seen.revision,
                }],
                audit: vec![deed.event(who.client().as_str(), self.now())],
                ..Change::default()
            };
            match self.issuer().change(change, dry_run).await {
                Ok(_) => return Ok(()),
                Err(ChangeError::Overtaken) => {}
                Err(error) => return Err(AdminError::of_change("authorizationServer", error)),
            }
        }
        Err(AdminError::Contended)
    }

    fn writable_server(
        &self,
        who: &Administrator,
        resource: Resource,
        id: &str,
    ) -> Result<Arc<ManagedServer>, AdminError> {
        let listed = self.server(who, Action::Manage, resource, id)?;
        if listed.in_file {
            return Err(AdminError::read_only("AuthorizationServer", id));
        }
        Ok(listed.object)
    }
}
