//! The keys of a server as an operator sees and changes them: list, rotate, revoke.
//!
//! **A compromise** ([`Issuer::revoke_key`]) has this order, and each step holds when the next one fails:
//! 1. the fact is durable, with its audit record;
//! 2. the gate refuses every token of the key, cached ones too;
//! 3. the key is gone from the published set, and signs no more on this node;
//! 4. NEXT signs, if it was the ACTIVE key, and the row of the revoked key is gone.
//!
//! A crash after 1 is made good at the next start, and every other node does 2 and 3 as soon as it hears
//! of the fact: nobody has to believe a row. A revoked key never comes back, from no state.
//!
//! **NEXT may be young.** Neither a compromise nor a rotation by hand waits until every verifier has seen
//! the successor (case 148). [`Takeover::seen_from`] says until when a verifier that does not fetch an
//! unknown key may refuse its tokens; the gate of this process never does.

use serde_json::{Value, json};

use crate::audit::{AuditEvent, AuditKind, AuditTarget};
use crate::issuer::signing::{KeyFailure, Wish};
use crate::issuer::{Endpoint, Issuer, rotation_of};
use crate::jose::alg::Algorithm;
use crate::model::event::Event;
use crate::model::id::{AuthorizationServerId, Kid};
use crate::model::time::Timestamp;
use crate::oauth::keyring::{self, KeyRecord, KeyState};
use crate::revocation::Revocation;

/// A key as it is shown.
#[derive(Debug, Clone, PartialEq)]
pub struct KeyView {
    /// Its identifier.
    pub kid: Kid,
    /// What it signs with.
    pub algorithm: Algorithm,
    /// Where it is in its life.
    pub state: KeyState,
    /// When it was made, and so published.
    pub created_at: Timestamp,
    /// When it entered the state that it is in.
    pub entered_at: Timestamp,
    /// When it leaves this state by itself: NEXT signs, ACTIVE expires, EXPIRED is forgotten. `None` where keys
    /// are rotated by hand.
    pub next_rotation: Option<Timestamp>,
    /// The public key as it is published (RFC 7517).
    pub jwk: Value,
}

/// Who signs after a rotation or a compromise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Takeover {
    /// The key that signs.
    pub active: Kid,
    /// The key that will.
    pub next: Kid,
    /// From when on every verifier has had the time to see the key that signs. It lies ahead if the key was
    /// published less than one `max-age` ago: a verifier that fetches no unknown key may refuse its tokens until then.
    pub seen_from: Timestamp,
}

/// What became of a key that was revoked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RevokedKey {
    /// Where it was in its life; `None` if it was revoked before.
    pub was: Option<KeyState>,
    /// Who signs now.
    pub takeover: Takeover,
}

impl Issuer {
    /// The keys of a server, the one that signs first; nothing if there is no such server.
    #[must_use]
    pub fn key_records(&self, server: &str) -> Vec<KeyView> {
        let snapshot = self.snapshot.load();
        let Some(endpoint) = snapshot.endpoint(server) else {
            return Vec::new();
        };
        endpoint.keys.heed(&self.services.revocations);
        let documents = endpoint.keys.documents();
        let records: Vec<KeyRecord> = documents.iter().map(|(record, _)| record.clone()).collect();
        let rotation = rotation_of(&endpoint.server);
        let view = |(record, jwk): (KeyRecord, Value)| KeyView {
            next_rotation: keyring::leaves_at(&record, &records, &rotation),
            kid: record.kid,
            algorithm: record.algorithm,
            state: record.state,
            created_at: record.created_at,
            entered_at: record.entered_at,
            jwk,
        };
        let mut views: Vec<KeyView> = documents.into_iter().map(view).collect();
        let rank = |state| match state {
            KeyState::Active => 0,
            KeyState::Next => 1,
            KeyState::Expired => 2,
        };
        views.sort_by_key(|view| (rank(view.state), std::cmp::Reverse(view.entered_at)));
        views
    }

    /// Rotates now, as Okta's `keyRotate` does: ACTIVE expires, NEXT signs, and there is a fresh NEXT. Whoever asks at
    /// the same time, on whichever node, gets the one rotation: the key that is ACTIVE when it is asked is left once.
    ///
    /// # Errors
    /// [`KeyFailure`]; the keys are as they were, or as another node has made them.
    pub async fn rotate_keys(&self, server: &str, actor: Option<&str>) -> Result<Takeover, KeyFailure> {
        let endpoint = self.endpoint_of(server)?;
        // Read before anybody waits: who comes second must leave the key that the first one has left.
        let stored = self.services.store.store.keys(&endpoint.server.id).await?;
        let active = stored.iter().find(|key| key.record.state == KeyState::Active);
        let wish = active.map_or(Wish::Due, |key| Wish::Rotate {
            from: &key.record.kid,
            actor,
        });
        let endpoint = self.change_keys(server, wish).await?;
        let takeover = Self::takeover(&endpoint)?;
        self.tell(&endpoint, &takeover);
        Ok(takeover)
    }

    /// Revokes a key that is, or may be, in the hands of somebody else. When it returns, every token that the key has
    /// signed is dead at the gate, the key is not published any more, and another one signs. Again is no error.
    ///
    /// # Errors
    /// [`KeyFailure::UnknownKey`] where there never was such a key; [`KeyFailure::NotReplaced`] where the key is dead
    /// already and only its successor could not be had; others where nothing has changed.
    pub async fn revoke_key(&self, server: &str, kid: &str, actor: Option<&str>) -> Result<RevokedKey, KeyFailure> {
        let endpoint = self.endpoint_of(server)?;
        let id = &endpoint.server.id;
        let unknown = || KeyFailure::UnknownKey {
            server: id.clone(),
            kid: kid.to_owned(),
        };
        let kid = Kid::parse(kid).map_err(|_| unknown())?;
        let stored = self.services.store.store.keys(id).await?;
        let was = stored.iter().find(|key| key.record.kid == kid);
        let was = was.map(|key| key.record.state);
        let is_known = was.is_some() || self.services.revocations.is_key_revoked(id, &kid);
        if !is_known {
            return Err(unknown());
        }
        if !self.services.revocations.is_key_revoked(id, &kid) {
            self.kill(id, &kid, was, actor).await?;
        }
        endpoint.keys.heed(&self.services.revocations);
        let replaced = async {
            let endpoint = self.change_keys(server, Wish::Due).await?;
            let takeover = Self::takeover(&endpoint)?;
            if was == Some(KeyState::Active) {
                self.tell(&endpoint, &takeover);
            }
            Ok(RevokedKey { was, takeover })
        };
        replaced
            .await
            .map_err(|failure| KeyFailure::NotReplaced(Box::new(failure)))
    }

    /// Durable, then in force.
    async fn kill(
        &self,
        server: &AuthorizationServerId,
        kid: &Kid,
        was: Option<KeyState>,
        actor: Option<&str>,
    ) -> Result<(), KeyFailure> {
        let event = AuditEvent {
            at: self.services.clock.now(),
            kind: AuditKind::KeyRevoked,
            server: Some(server.clone()),
            client: None,
            error_id: None,
            actor: actor.map(str::to_owned),
            target: Some(AuditTarget {
                kind: "JsonWebKey".to_owned(),
                id: kid.to_string(),
            }),
            detail: json!({ "was": was.map(KeyState::as_str) }),
        };
        let revocation = Revocation::Key {
            server: server.clone(),
            kid: kid.clone(),
        };
        self.services.store.store.revoke(&revocation, &event).await?;
        self.services.revocations.revoke(revocation);
        crate::audit::log(&event);
        self.services.events.record(&Event::Revoked { kind: "key" });
        Ok(())
    }

    /// Lets a server heed what was revoked since it looked last, here or on another node: a key that is revoked is
    /// published no more, and another one signs. Costs next to nothing where nothing was.
    pub(super) async fn heed_revoked_keys(&self, endpoint: &Endpoint) -> Result<(), KeyFailure> {
        if endpoint.keys.heed(&self.services.revocations) {
            return Ok(());
        }
        self.change_keys(endpoint.server.id.as_str(), Wish::Due).await.map(drop)
    }

    async fn change_keys(&self, server: &str, wish: Wish<'_>) -> Result<std::sync::Arc<Endpoint>, KeyFailure> {
        // Not beside a reload: the old snapshot would undo what the new one asked of the keys.
        let _not_reloading = self.reloading.lock().await;
        let endpoint = self.endpoint_of(server)?;
        let rotation = rotation_of(&endpoint.server);
        let lifetime = endpoint.server.access_token_lifetime_max();
        endpoint.keys.change(&self.services, &rotation, lifetime, wish).await?;
        Ok(endpoint)
    }

    fn endpoint_of(&self, server: &str) -> Result<std::sync::Arc<Endpoint>, KeyFailure> {
        let endpoint = self.snapshot.load().endpoint(server);
        endpoint.ok_or_else(|| KeyFailure::UnknownServer(server.to_owned()))
    }

    fn takeover(endpoint: &Endpoint) -> Result<Takeover, KeyFailure> {
        let records = endpoint.keys.records();
        let of_state = |state| records.iter().find(|key| key.state == state);
        // Another node may have revoked a key just now: then this one has to look again.
        let active = of_state(KeyState::Active).ok_or(KeyFailure::Contended)?;
        let next = of_state(KeyState::Next).ok_or(KeyFailure::Contended)?;
        Ok(Takeover {
            active: active.kid.clone(),
            next: next.kid.clone(),
            seen_from: keyring::seen_from(active, &rotation_of(&endpoint.server)),
        })
    }

    fn tell(&self, endpoint: &Endpoint, takeover: &Takeover) {
        let ahead = takeover.seen_from.since(self.services.clock.now());
        if !ahead.is_zero() {
            tracing::warn!(
                authorization_server.id = %endpoint.server.id,
                seconds = ahead.as_secs(),
                "the key `{}` signs, and was published only a moment ago: verifiers that do not fetch an unknown key may refuse its tokens for so long",
                takeover.active
            );
        }
    }
}
