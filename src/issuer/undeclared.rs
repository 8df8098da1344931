//! What the file declares no more, whenever that was noticed.
//!
//! A server or client that goes out of the file dies as if it had been deleted. A reload sees it go. A restart with
//! another file would not: so the store has the names that the file declared last, and a start compares them with
//! those of its own file. The facts are kept first, then the names: a crash in between only repeats the facts, which
//! say the same again.
//!
//! Nodes that run with different files (a change that is being rolled out) each remember their own; the last one that
//! starts is who is compared with next.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::issuer::directory::Principal;
use crate::issuer::{Issuer, Snapshot};
use crate::model::id::{AuthorizationServerId, ClientId};
use crate::oauth::access::Model;
use crate::store::objects::{ObjectChange, ObjectKind, StoredObject};
use crate::store::{Changed, StoreError};

/// The one object of its kind.
const ID: &str = "file";

/// How often the names are written when other nodes keep being first.
const ATTEMPTS_MAX: usize = 5;

/// What the file of the last start or reload declared.
pub(super) struct Remembered {
    object: Option<StoredObject>,
    pub(super) principals: BTreeSet<Principal>,
}

impl Issuer {
    pub(super) async fn remembered(&self) -> Result<Remembered, StoreError> {
        let objects = self.services.store.store.objects(ObjectKind::FileDeclaration).await?;
        let object = objects.into_iter().find(|object| object.id == ID);
        let names = |member: &str| {
            let names = object.as_ref().and_then(|object| object.body.get(member)?.as_array());
            names.into_iter().flatten().filter_map(Value::as_str)
        };
        let servers = names("servers").filter_map(|id| AuthorizationServerId::parse(id).ok());
        let clients = names("clients").filter_map(|id| ClientId::parse(id).ok());
        let principals = servers
            .map(Principal::Server)
            .chain(clients.map(Principal::Client))
            .collect();
        Ok(Remembered { object, principals })
    }

    /// Keeps what the file declares now. To be called when everything is dead that it declares no more.
    pub(super) async fn remember(&self, mut last: Remembered, now: &Snapshot) -> Result<(), StoreError> {
        let principals = declared(&now.of_file);
        for _ in 0..ATTEMPTS_MAX {
            if last.object.is_some() && last.principals == principals {
                return Ok(());
            }
            let change = self.change_of(last.object.as_ref(), &principals);
            if self.services.store.store.change_objects(&[change], &[], &[]).await? == Changed::Done {
                return Ok(());
            }
            last = self.remembered().await?;
        }
        // Another node has written its own names so often just now: they are as good as ours.
        Ok(())
    }

    fn change_of(&self, last: Option<&StoredObject>, principals: &BTreeSet<Principal>) -> ObjectChange {
        let (mut servers, mut clients) = (Vec::new(), Vec::new());
        for principal in principals {
            match principal {
                Principal::Server(server) => servers.push(server.as_str()),
                Principal::Client(client) => clients.push(client.as_str()),
            }
        }
        let body = json!({ "servers": servers, "clients": clients });
        let (kind, id, at) = (ObjectKind::FileDeclaration, ID.to_owned(), self.services.clock.now());
        match last {
            Some(object) => ObjectChange::Replace {
                kind,
                id,
                from: object.revision,
                body,
                at,
            },
            None => ObjectChange::Insert(StoredObject::new(kind, &id, body, at)),
        }
    }
}

/// Whom a file declares to be active.
pub(super) fn declared(of_file: &Model) -> BTreeSet<Principal> {
    let servers = of_file.servers.iter().filter(|(_, server)| !server.options.inactive);
    let clients = of_file.clients.iter().filter(|(_, client)| !client.options.inactive);
    servers
        .map(|(id, _)| Principal::Server(id.clone()))
        .chain(clients.map(|(id, _)| Principal::Client(id.clone())))
        .collect()
}

/// Whether it issues tokens, or is given them, wherever it is declared.
pub(super) fn works(now: &Snapshot, principal: &Principal) -> bool {
    match principal {
        Principal::Server(server) => (now.model.servers.get(server)).is_some_and(|server| !server.options.inactive),
        Principal::Client(client) => now.model.clients.contains_key(client),
    }
}
