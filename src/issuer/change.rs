//! Changes of what is administered: compiled, durable, in force, in this order.
//!
//! 1. What other nodes changed meanwhile is read; then the change is applied to a copy, and the copy compiled. With
//!    an error, or with an object that somebody else has changed, nothing happens.
//! 2. Servers that are new get their keys.
//! 3. The store takes the change over, with what it revokes and its audit records, if no other node was first.
//! 4. The snapshot is swapped: nothing is minted by the old one any more.
//! 5. The revocations are put into the table that the gate reads. Whoever is told that the change is done can rely
//!    on every check that begins from then on.
//!
//! What a deactivated or deleted server or client had issued stays dead when it comes back: a revocation says "dead
//! since", and grants are ended again before anything begins to work.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Value, json};
use url::Url;

use crate::audit::{AuditEvent, AuditKind};
use crate::issuer::directory::{Directory, Principal, Refused, Surroundings, Tentative};
use crate::issuer::management;
use crate::issuer::signing::ServerKeys;
use crate::issuer::undeclared;
use crate::issuer::{Endpoint, Issuer, KeyFailure, Services, Snapshot, rotation_of};
use crate::model::event::Event;
use crate::model::finding::Finding;
use crate::model::id::{AuthorizationServerId, ClientId};
use crate::model::time::Timestamp;
use crate::oauth::access::Model;
use crate::oauth::declared::IssuerDeclaration;
use crate::revocation::Revocation;
use crate::store::grants::GrantSelector;
use crate::store::objects::{ObjectChange, ObjectKind};
use crate::store::{Changed, StoreError};

/// A change of objects, with all that belongs to it.
#[derive(Debug, Default)]
pub struct Change {
    /// The objects. What follows from them (a deleted client goes out of policies) comes by itself.
    pub changes: Vec<ObjectChange>,
    /// What dies with it, beside what a deactivated or deleted server or client had issued.
    pub revocations: Vec<Revocation>,
    /// Which grants end with it, likewise.
    pub grants: Vec<GrantSelector>,
    /// What the audit log says of it.
    pub audit: Vec<AuditEvent>,
}

/// A change that is done, or would be.
#[derive(Debug, Clone)]
pub struct Applied {
    /// Everything as it is after it.
    pub directory: Arc<Directory>,
    /// What the compiler advises.
    pub warnings: Vec<Finding>,
    /// What dies with it.
    pub revocations: Vec<Revocation>,
}

/// Why a change was not done.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// It has errors.
    #[error("the change has errors")]
    Findings(Vec<Finding>),
    /// Somebody else has changed an object of it meanwhile: nothing was changed.
    #[error("somebody else has changed it at the same time")]
    Overtaken,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The keys of a new server could not be made.
    #[error("the keys of the authorization server `{server}`: {source}")]
    Keys {
        /// Whose.
        server: AuthorizationServerId,
        /// Why.
        #[source]
        source: KeyFailure,
    },
}

impl Issuer {
    /// What is administered, now.
    #[must_use]
    pub fn directory(&self) -> Arc<Directory> {
        Arc::clone(&self.snapshot.load().directory)
    }

    /// What the file declares, now.
    #[must_use]
    pub fn declared(&self) -> Arc<IssuerDeclaration> {
        Arc::clone(&self.snapshot.load().declared)
    }

    /// The names of groups, by identifier: those of the file have one for both. For claims and for people; access
    /// is decided by identifiers, which no renaming changes.
    #[must_use]
    pub fn group_names(&self, ids: &[String]) -> Vec<String> {
        let directory = self.directory();
        let name = |id: &String| {
            let group = directory.group(id);
            group.map_or_else(|| id.clone(), |group| group.document.name.clone())
        };
        ids.iter().map(name).collect()
    }

    /// What it works with: store, clock, revocations.
    pub fn services(&self) -> &Services {
        &self.services
    }

    /// Makes a change, or with `dry_run` says what it would do.
    ///
    /// # Errors
    /// [`ChangeError`]; nothing was changed then.
    pub async fn change(&self, change: Change, dry_run: bool) -> Result<Applied, ChangeError> {
        let _one_at_a_time = self.reloading.lock().await;
        self.read_on().await?;
        let last = self.snapshot.load_full();
        let at = self.services.clock.now();
        let surroundings = Surroundings {
            declared: &last.declared,
            sealing: &self.services.store.sealing,
        };
        let tentative =
            Tentative::of(&last.directory, change.changes, at, surroundings).map_err(|refused| match refused {
                Refused::Overtaken => ChangeError::Overtaken,
                Refused::Findings(findings) => ChangeError::Findings(findings),
            })?;
        let mut revocations = change.revocations;
        revocations.extend(tentative.ended.iter().map(|ended| ended.revocation(at)));
        if dry_run {
            return Ok(Applied {
                directory: Arc::new(tentative.directory),
                warnings: tentative.warnings,
                revocations,
            });
        }
        let next = last.with(tentative.directory).snapshot(&last);
        let new = tentative.servers.iter().filter_map(|id| next.servers.get(id));
        let failed = |(server, source)| ChangeError::Keys { server, source };
        self.open_keys(new).await.map_err(failed)?;
        // A crash after a deactivation may have left grants of an older life.
        for begun in &tentative.begun {
            self.end_rows(&begun.grants(), at).await?;
        }
        let store = &self.services.store.store;
        if store
            .change_objects(&tentative.changes, &revocations, &change.audit)
            .await?
            == Changed::Overtaken
        {
            self.read_on().await?;
            return Err(ChangeError::Overtaken);
        }
        let directory = Arc::clone(&next.directory);
        self.put_snapshot(Arc::new(next));
        for revocation in &revocations {
            self.put_in_force(revocation.clone());
        }
        for event in &change.audit {
            crate::audit::log(event);
        }
        self.overtake_minting(&tentative.ended, at).await?;
        let ended = tentative.ended.iter().map(Principal::grants);
        for grants in change.grants.into_iter().chain(ended) {
            self.end_rows(&grants, at).await?;
        }
        Ok(Applied {
            directory,
            warnings: tentative.warnings,
            revocations,
        })
    }

    /// Reads what other nodes have changed, if they have. To be called when somebody says so, and now and then.
    ///
    /// # Errors
    /// [`StoreError`]; what is in force stays.
    pub async fn reread(&self) -> Result<(), StoreError> {
        let _one_at_a_time = self.reloading.lock().await;
        self.read_on().await
    }

    async fn read_on(&self) -> Result<(), StoreError> {
        let last = self.snapshot.load_full();
        if generation(&self.services).await? == last.directory.generation {
            return Ok(());
        }
        let directory = read_directory(&self.services, &last.declared).await?;
        let next = last.with(directory).snapshot(&last);
        let new = next.servers.iter().filter(|(id, _)| !last.servers.contains_key(*id));
        if let Err((server, error)) = self.open_keys(new.map(|(_, endpoint)| endpoint)).await {
            tracing::error!(authorization_server.id = %server, %error, "the keys of an authorization server could not be opened");
        }
        let next = Arc::new(next);
        self.put_snapshot(Arc::clone(&next));
        self.end_what_was_minted_meanwhile(&last, &next).await;
        Ok(())
    }

    /// Between another node's change and this moment we minted by what we knew, perhaps in a later second than its
    /// revocation speaks of.
    async fn end_what_was_minted_meanwhile(&self, last: &Snapshot, next: &Snapshot) {
        let at = self.services.clock.now();
        let before = undeclared::declared(&last.model);
        for principal in before.iter().filter(|principal| !undeclared::works(next, principal)) {
            let revocation = principal.revocation(at);
            let event = AuditEvent {
                kind: AuditKind::TokenRevoked,
                ..undeclared_event(principal, at)
            };
            self.services.revocations.revoke(revocation.clone());
            if let Err(error) = self.services.store.store.revoke(&revocation, &event).await {
                tracing::error!(%error, "what was minted while another node deactivated or deleted is dead on this node only");
            }
        }
    }

    /// Opens or makes keys, and writes down how long they have to stay, before anything is signed.
    pub(super) async fn open_keys(
        &self,
        endpoints: impl Iterator<Item = &Arc<Endpoint>>,
    ) -> Result<(), (AuthorizationServerId, KeyFailure)> {
        for endpoint in endpoints {
            let server = &endpoint.server;
            let lifetime = server.access_token_lifetime_max();
            let opened = endpoint
                .keys
                .advance(&self.services, &rotation_of(server), lifetime)
                .await;
            opened.map_err(|error| (server.id.clone(), error))?;
        }
        Ok(())
    }

    /// What the file has declared before and declares no more dies, as if it had been deleted.
    pub(super) async fn end_undeclared(&self, last: &Snapshot) -> Result<(), StoreError> {
        let at = self.services.clock.now();
        let next = self.snapshot.load_full();
        let remembered = self.remembered().await?;
        let mut before = undeclared::declared(&last.of_file);
        before.extend(remembered.principals.iter().cloned());
        for principal in before.iter().filter(|principal| !undeclared::works(&next, principal)) {
            let revocation = principal.revocation(at);
            let event = undeclared_event(principal, at);
            self.services.store.store.revoke(&revocation, &event).await?;
            self.put_in_force(revocation);
            crate::audit::log(&event);
            self.end_rows(&principal.grants(), at).await?;
        }
        if let Err(error) = self.remember(remembered, &next).await {
            // What is dead stays dead; only what goes out of the file during the next stop would be missed.
            tracing::error!(%error, "the names that the file declares could not be kept");
        }
        Ok(())
    }

    /// Puts a revocation in force that the store has.
    pub(crate) fn put_in_force(&self, revocation: Revocation) {
        self.services.events.record(&Event::Revoked {
            kind: revocation.kind(),
        });
        self.services.revocations.revoke(revocation);
    }

    /// What began under the old snapshot may have been minted in a later second than the revocation speaks of.
    async fn overtake_minting(&self, ended: &[Principal], since: Timestamp) -> Result<(), StoreError> {
        let now = self.services.clock.now();
        if now <= since {
            return Ok(());
        }
        for principal in ended {
            let revocation = principal.revocation(now);
            let event = undeclared_event(principal, now);
            self.services.store.store.revoke(&revocation, &event).await?;
            self.services.revocations.revoke(revocation);
        }
        Ok(())
    }

    /// Ends the rows alone: the tokens die by the fact about their client or server.
    async fn end_rows(&self, grants: &GrantSelector, at: Timestamp) -> Result<(), StoreError> {
        self.services.store.store.revoke_grants(grants, at, &[], &[]).await?;
        Ok(())
    }
}

/// What a snapshot is made of.
pub(super) struct Plan {
    pub(super) public_url: Url,
    pub(super) declared: Arc<IssuerDeclaration>,
    pub(super) of_file: Arc<Model>,
    pub(super) directory: Arc<Directory>,
}

impl Plan {
    /// The snapshot. What has not changed since the last one is taken over: keys always, documents if the server is
    /// the same.
    pub(super) fn snapshot(self, last: &Snapshot) -> Snapshot {
        let mut model = Model {
            servers: self.of_file.servers.clone(),
            clients: HashMap::with_capacity(self.of_file.clients.len() + self.directory.clients.len()),
            users: self.of_file.users.clone(),
        };
        for (id, server) in self.directory.compiled_servers() {
            model.servers.entry(id).or_insert_with(|| Arc::clone(server));
        }
        // A client that is inactive is none: it authenticates nowhere (case 075).
        let of_file = self.of_file.clients.iter().map(|(id, client)| (id.clone(), client));
        let clients = self.directory.compiled_clients().chain(of_file);
        let active = clients.filter(|(_, client)| !client.options.inactive);
        model
            .clients
            .extend(active.map(|(id, client)| (id, Arc::clone(client))));
        let management = management::server(
            &self.directory,
            &model,
            &self.public_url,
            last.model.servers.get(management::ID),
        );
        model.servers.insert(management.id.clone(), management);

        let needs_certificates = model.needs_certificates();
        let mut servers = HashMap::with_capacity(model.servers.len());
        for (id, server) in &model.servers {
            let known = last.servers.get(id);
            let same = known.filter(|known| {
                Arc::ptr_eq(&known.server, server)
                    && self.public_url == last.public_url
                    && needs_certificates == last.needs_certificates
            });
            let endpoint = same.map_or_else(
                || {
                    let keys = known.map_or_else(
                        || Arc::new(ServerKeys::new(id.clone())),
                        |known| Arc::clone(&known.keys),
                    );
                    Arc::new(Endpoint::new(&self.public_url, server, keys, needs_certificates))
                },
                Arc::clone,
            );
            servers.insert(id.clone(), endpoint);
        }
        Snapshot {
            public_url: self.public_url,
            needs_certificates,
            browser_origins: model.browser_origins(),
            model,
            servers,
            declared: self.declared,
            of_file: self.of_file,
            directory: self.directory,
        }
    }
}

impl Snapshot {
    /// The same with another directory.
    fn with(&self, directory: Directory) -> Plan {
        Plan {
            public_url: self.public_url.clone(),
            declared: Arc::clone(&self.declared),
            of_file: Arc::clone(&self.of_file),
            directory: Arc::new(directory),
        }
    }
}

/// Reads everything that is administered.
pub(super) async fn read_directory(services: &Services, declared: &IssuerDeclaration) -> Result<Directory, StoreError> {
    // The number first: what changes while we read is read again.
    let generation = generation(services).await?;
    let mut objects = Vec::new();
    for kind in ObjectKind::ALL {
        objects.extend(services.store.store.objects(kind).await?);
    }
    let surroundings = Surroundings {
        declared,
        sealing: &services.store.sealing,
    };
    Ok(Tentative::read(generation, &objects, surroundings))
}

async fn generation(services: &Services) -> Result<i64, StoreError> {
    services.store.store.objects_generation().await
}

fn undeclared_event(principal: &Principal, at: Timestamp) -> AuditEvent {
    let (kind, server, client): (_, Option<AuthorizationServerId>, Option<ClientId>) = match principal {
        Principal::Server(server) => (AuditKind::ServerDeactivated, Some(server.clone()), None),
        Principal::Client(client) => (AuditKind::ClientDeactivated, None, Some(client.clone())),
    };
    let detail: Value = json!({ "reason": "it is declared or active no more" });
    AuditEvent {
        at,
        kind,
        server,
        client,
        error_id: None,
        actor: None,
        target: None,
        detail,
    }
}
