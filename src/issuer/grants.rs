//! Grants, as who administers sees them: listed, and ended.
//!
//! What ends a grant ends its tokens: the refresh token with the row, the access tokens by a fact that the gate
//! reads. A grant is ended in the store first, with the facts and the audit record in the same transaction; then
//! the facts are in force; then it is acknowledged.
//!
//! | which grants | the fact |
//! |---|---|
//! | of a client, at every server | the client's tokens are dead up to now |
//! | of a server | the server's tokens are dead up to now |
//! | others | each grant is dead |
//!
//! [`Issuer::revoke_user`] ends the grants of a user, and kills also the tokens that follow from no grant that is kept.

use serde_json::json;

use crate::audit::{AuditEvent, AuditKind, AuditTarget};
use crate::issuer::{Issuer, people};
use crate::model::event::Event;
use crate::model::id::{GrantId, Subject, UserId};
use crate::model::time::Timestamp;
use crate::oauth::error::OAuthError;
use crate::oauth::refresh::GrantRecord;
use crate::revocation::Revocation;
use crate::store::StoreError;
use crate::store::grants::GrantSelector;

/// How many grants are read at a time.
const PAGE: u32 = 500;

impl Issuer {
    /// Living grants of a kind after this one, by identifier, at most `limit` of them.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn grants_of(
        &self,
        which: &GrantSelector,
        after: Option<&GrantId>,
        limit: u32,
    ) -> Result<Vec<GrantRecord>, StoreError> {
        self.services.store.store.grants(which, after, limit).await
    }

    /// Ends all grants of a kind, with all their tokens. `actor` is who said so. Gives the grants that ended.
    ///
    /// # Errors
    /// When the store fails: then nothing was acknowledged, and it can be said again.
    pub async fn revoke_grants(&self, which: &GrantSelector, actor: Option<&str>) -> Result<Vec<GrantId>, StoreError> {
        let now = self.services.clock.now();
        let mut revocations = facts_of(which, now);
        if revocations.is_empty() {
            revocations = self.sessions(which, now).await?;
        }
        self.end(which, &revocations, actor, now).await
    }

    /// Ends every grant of a user and kills every token that speaks for the user: who was disabled, or lost a
    /// device. Gives the grants that ended.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn revoke_user(&self, user: &UserId, actor: Option<&str>) -> Result<Vec<GrantId>, OAuthError> {
        let now = self.services.clock.now();
        let which = GrantSelector::Where {
            server: None,
            client: None,
            user: Some(user.clone()),
        };
        let mut revocations = self.sessions(&which, now).await.map_err(OAuthError::internal)?;
        let person = people::by_id(self, &self.snapshot.load_full(), user).await?;
        if let Some(person) = person {
            // Also the tokens that follow from no grant that is kept.
            revocations.push(Revocation::Subject {
                server: None,
                subject: Subject::parse(&person.login).map_err(OAuthError::internal)?,
                before: now,
            });
        }
        let ended = self.end(&which, &revocations, actor, now).await;
        ended.map_err(OAuthError::internal)
    }

    /// "Dead" for each living grant of a kind.
    async fn sessions(&self, which: &GrantSelector, now: Timestamp) -> Result<Vec<Revocation>, StoreError> {
        let mut sessions = Vec::new();
        let mut after: Option<GrantId> = None;
        loop {
            let page = self.grants_of(which, after.as_ref(), PAGE).await?;
            let Some(last) = page.last() else { return Ok(sessions) };
            after = Some(last.id.clone());
            sessions.extend(
                page.iter()
                    .map(|grant| Revocation::ended_session(&grant.server, grant.id.as_str(), now)),
            );
        }
    }

    async fn end(
        &self,
        which: &GrantSelector,
        revocations: &[Revocation],
        actor: Option<&str>,
        now: Timestamp,
    ) -> Result<Vec<GrantId>, StoreError> {
        let store = &self.services.store.store;
        let event = event(which, actor, now);
        let ended = store
            .revoke_grants(which, now, revocations, std::slice::from_ref(&event))
            .await?;
        for revocation in revocations {
            self.put_in_force(revocation.clone());
        }
        crate::audit::log(&event);
        self.services.events.record(&Event::Revoked { kind: "grant" });
        // A grant that began while the list was read has ended too: its access token must, as well.
        for id in &ended {
            let is_known =
                |known: &Revocation| matches!(known, Revocation::Session { session, .. } if *session == id.as_str());
            if revocations.iter().any(is_known) || !needs_session(which) {
                continue;
            }
            if let Some(record) = store.grant(id).await? {
                let revocation = Revocation::ended_session(&record.server, id.as_str(), now);
                store.revoke(&revocation, &event).await?;
                self.put_in_force(revocation);
            }
        }
        Ok(ended)
    }
}

/// The one fact that kills every token of a kind.
fn facts_of(which: &GrantSelector, before: Timestamp) -> Vec<Revocation> {
    match which {
        GrantSelector::Where {
            server: None,
            client: Some(client),
            user: None,
        } => vec![Revocation::Client {
            client: client.clone(),
            before,
        }],
        GrantSelector::Where {
            server: Some(server),
            client: None,
            user: None,
        } => vec![Revocation::Server {
            server: server.clone(),
            before,
        }],
        GrantSelector::One(_) | GrantSelector::Where { .. } => Vec::new(),
    }
}

fn needs_session(which: &GrantSelector) -> bool {
    facts_of(which, Timestamp::from_unix_seconds(0)).is_empty()
}

fn event(which: &GrantSelector, actor: Option<&str>, now: Timestamp) -> AuditEvent {
    let (server, client, target) = match which {
        GrantSelector::One(id) => (None, None, Some(("Grant", id.to_string()))),
        GrantSelector::Where { server, client, user } => {
            let user = user.as_ref().map(|user| ("User", user.to_string()));
            (server.clone(), client.clone(), user)
        }
    };
    AuditEvent {
        at: now,
        kind: AuditKind::GrantRevoked,
        server,
        client,
        error_id: None,
        actor: actor.map(str::to_owned),
        target: target.map(|(kind, id)| AuditTarget {
            kind: kind.to_owned(),
            id,
        }),
        detail: json!({}),
    }
}
