//! The keys of one authorization server, alive: opened, published, rotated.
//!
//! The order of a change is what keeps every token good:
//! 1. the store takes it over (another node may be first: then read again);
//! 2. the gate gets the new set, then the endpoint's text changes;
//! 3. only then does the new key sign.
//!
//! So no token is ever signed by a key that the store might lose or that the gate does not know.
//!
//! A revoked key goes the other way round: the fact is in the store and in the table that the gate
//! reads before anything is done about the key itself. From that moment on every token of it is dead,
//! and each node that knows the fact neither publishes the key nor signs with it ([`ServerKeys::heed`]),
//! whatever the rows still say. Its row goes with the next change; a crash in between only delays that.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use serde_json::{Value, json};

use crate::audit::{AuditEvent, AuditKind};
use crate::issuer::Services;
use crate::jose::alg::Algorithm;
use crate::jose::key::{JWKS_KEYS_MAX, KeySet};
use crate::jose::sign::{SignError, SigningKey};
use crate::keys::LiveKeys;
use crate::model::digest::Digest;
use crate::model::id::{AuthorizationServerId, Kid};
use crate::model::time::Timestamp;
use crate::oauth::keyring::{self, KeyRecord, KeyState, Rotation, Step};
use crate::revocation::Revocations;
use crate::store::seal::{NotOpened, SealingKey};
use crate::store::{Changed, KeyChange, StoreError, StoredKey};

/// How often a change is tried when other nodes keep being first.
const ATTEMPTS_MAX: usize = 8;

/// Why the keys could not be opened or changed.
#[derive(Debug, thiserror::Error)]
pub enum KeyFailure {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A private key does not open.
    #[error("the key `{kid}`: {source}")]
    Sealed {
        /// Which key.
        kid: Kid,
        /// Why.
        #[source]
        source: NotOpened,
    },
    /// A key could not be made or read.
    #[error(transparent)]
    Key(#[from] SignError),
    /// The task that makes a key was stopped.
    #[error("making a key was interrupted")]
    Interrupted,
    /// Other nodes changed the keys each time.
    #[error("the keys were changed by others {ATTEMPTS_MAX} times in a row")]
    Contended,
    /// There is no such authorization server.
    #[error("there is no authorization server `{0}`")]
    UnknownServer(String),
    /// The server has no such key.
    #[error("the authorization server `{server}` has no key `{kid}`: it may be forgotten already")]
    UnknownKey {
        /// Whose key.
        server: AuthorizationServerId,
        /// Which key.
        kid: String,
    },
    /// Verifiers read so many keys and no more.
    #[error(
        "{published} keys are published, and verifiers read {JWKS_KEYS_MAX} at most: rotate again once the oldest is forgotten"
    )]
    TooManyKeys {
        /// How many there are.
        published: usize,
    },
    /// The key is dead, and nothing has taken its place yet.
    #[error("the key is revoked and its tokens are dead; a key in its place could not be had yet: {0}")]
    NotReplaced(#[source] Box<KeyFailure>),
}

/// The key set as it is published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Jwks {
    /// The document (RFC 7517 section 5): public parts alone.
    pub body: Arc<str>,
    /// Its entity tag, with its quotes.
    pub etag: Arc<str>,
    /// For how long it may be kept.
    pub max_age: Duration,
}

/// The keys of one authorization server.
pub(super) struct ServerKeys {
    server: AuthorizationServerId,
    live: Arc<LiveKeys>,
    ring: ArcSwap<Ring>,
    /// One change at a time on this node.
    changing: tokio::sync::Mutex<()>,
    /// The ring and the set that the gate reads are replaced together.
    publishing: parking_lot::Mutex<()>,
}

/// Why the keys are looked at.
#[derive(Debug, Clone, Copy)]
pub(super) enum Wish<'a> {
    /// To do what is due.
    Due,
    /// To have another key than this one sign.
    Rotate {
        /// The key that was ACTIVE when it was asked for.
        from: &'a Kid,
        /// Who asks.
        actor: Option<&'a str>,
    },
}

impl Wish<'_> {
    fn actor(&self) -> Option<&str> {
        match self {
            Self::Due => None,
            Self::Rotate { actor, .. } => *actor,
        }
    }
}

/// The keys at one moment.
struct Ring {
    max_age: Duration,
    keys: Vec<(KeyRecord, Arc<SigningKey>)>,
    jwks: Arc<Jwks>,
}

impl ServerKeys {
    /// Without keys: [`ServerKeys::advance`] opens or makes them.
    pub(super) fn new(server: AuthorizationServerId) -> Self {
        Self {
            server,
            live: LiveKeys::new(KeySet::empty()),
            ring: ArcSwap::from_pointee(Ring::new(Vec::new(), Duration::ZERO)),
            changing: tokio::sync::Mutex::new(()),
            publishing: parking_lot::Mutex::new(()),
        }
    }

    pub(super) fn live(&self) -> Arc<LiveKeys> {
        Arc::clone(&self.live)
    }

    pub(super) fn jwks(&self) -> Arc<Jwks> {
        Arc::clone(&self.ring.load().jwks)
    }

    /// What is known of each key.
    pub(super) fn records(&self) -> Vec<KeyRecord> {
        self.ring.load().records()
    }

    /// The public form of each key, in the order of [`ServerKeys::records`].
    pub(super) fn documents(&self) -> Vec<(KeyRecord, Value)> {
        let ring = self.ring.load();
        let document = |(record, key): &(KeyRecord, Arc<SigningKey>)| (record.clone(), key.public_jwk());
        ring.keys.iter().map(document).collect()
    }

    /// The key that signs now.
    pub(super) fn signer(&self) -> Option<Arc<SigningKey>> {
        let ring = self.ring.load();
        let active = ring.keys.iter().find(|(record, _)| record.state == KeyState::Active);
        active.map(|(_, key)| Arc::clone(key))
    }

    /// When something may be due next.
    pub(super) fn due_at(&self, rotation: &Rotation) -> Option<Timestamp> {
        keyring::due_at(&self.records(), rotation)
    }

    /// Takes revoked keys out of the set, at once and without the store. Whether one is left that signs.
    pub(super) fn heed(&self, revocations: &Revocations) -> bool {
        let is_revoked = |key: &(KeyRecord, Arc<SigningKey>)| revocations.is_key_revoked(&self.server, &key.0.kid);
        let ring = self.ring.load();
        if ring.keys.iter().any(is_revoked) {
            drop(ring);
            let _together = self.publishing.lock();
            let ring = self.ring.load();
            let alive = ring.keys.iter().filter(|key| !is_revoked(key)).cloned().collect();
            self.replace(Ring::new(alive, ring.max_age));
        }
        self.signer().is_some()
    }

    /// Reads the keys and does what is due. `lifetime` is the longest life of a token from now on.
    pub(super) async fn advance(
        &self,
        services: &Services,
        rotation: &Rotation,
        lifetime: Duration,
    ) -> Result<(), KeyFailure> {
        self.change(services, rotation, lifetime, Wish::Due).await
    }

    /// Reads the keys, does what is due, and then what is wished.
    pub(super) async fn change(
        &self,
        services: &Services,
        rotation: &Rotation,
        lifetime: Duration,
        wish: Wish<'_>,
    ) -> Result<(), KeyFailure> {
        let _one_at_a_time = self.changing.lock().await;
        let store = &services.store.store;
        store.raise_lifetime(&self.server, lifetime).await?;
        for _ in 0..ATTEMPTS_MAX {
            let stored = store.keys(&self.server).await?;
            let records: Vec<KeyRecord> = stored.iter().map(|key| key.record.clone()).collect();
            let now = services.clock.now();
            let steps = self.steps(&services.revocations, &records, rotation, now, wish)?;
            if steps.is_empty() {
                let opened = self.open(&services.store.sealing, &stored)?;
                self.publish(Ring::new(opened, rotation.jwks_max_age()));
                // A fact that came while the keys were read counts too.
                self.heed(&services.revocations);
                return Ok(());
            }
            let changes = self
                .changes(&services.store.sealing, &steps, rotation, lifetime, now)
                .await?;
            let audit = self.record(&steps, now, wish.actor());
            if store
                .change_keys(&self.server, &changes, std::slice::from_ref(&audit))
                .await?
                == Changed::Done
            {
                crate::audit::log(&audit);
                tracing::info!(authorization_server.id = %self.server, changes = changes.len(), "signing keys have changed");
            }
        }
        Err(KeyFailure::Contended)
    }

    /// What is to be done: what is compromised goes, then what is due, then what is wished.
    fn steps(
        &self,
        revocations: &Revocations,
        records: &[KeyRecord],
        rotation: &Rotation,
        now: Timestamp,
        wish: Wish<'_>,
    ) -> Result<Vec<Step>, KeyFailure> {
        let is_revoked = |kid: &Kid| revocations.is_key_revoked(&self.server, kid);
        let (alive, mut steps) = keyring::without_revoked(records, is_revoked);
        steps.extend(keyring::plan(&alive, rotation, now));
        let Wish::Rotate { from, .. } = wish else {
            return Ok(steps);
        };
        if steps.is_empty() {
            steps = keyring::rotate(&alive, from, rotation);
            // One more key than now: a set that verifiers refuse as a whole would stop everything.
            if !steps.is_empty() && alive.len() >= JWKS_KEYS_MAX {
                return Err(KeyFailure::TooManyKeys { published: alive.len() });
            }
        }
        Ok(steps)
    }

    async fn changes(
        &self,
        sealing: &SealingKey,
        steps: &[Step],
        rotation: &Rotation,
        lifetime: Duration,
        now: Timestamp,
    ) -> Result<Vec<KeyChange>, KeyFailure> {
        let mut changes = Vec::with_capacity(steps.len());
        for step in steps {
            let enter = |kid: &Kid, from, to| KeyChange::Enter {
                kid: kid.clone(),
                from,
                to,
                at: now,
            };
            changes.push(match step {
                Step::Make(state) => {
                    let key = make(rotation.algorithm).await?;
                    let record = KeyRecord {
                        kid: key.kid().clone(),
                        algorithm: rotation.algorithm,
                        state: *state,
                        created_at: now,
                        entered_at: now,
                        lifetime_max: lifetime,
                    };
                    let sealed = sealing.seal(&self.context(&record.kid), &key.to_pkcs8());
                    KeyChange::Insert(StoredKey { record, sealed })
                }
                Step::Activate(kid) => enter(kid, KeyState::Next, KeyState::Active),
                Step::Expire(kid) => enter(kid, KeyState::Active, KeyState::Expired),
                Step::Remove(kid, from) => KeyChange::Remove {
                    kid: kid.clone(),
                    from: *from,
                },
            });
        }
        Ok(changes)
    }

    fn record(&self, steps: &[Step], now: Timestamp, actor: Option<&str>) -> AuditEvent {
        let steps: Vec<String> = steps
            .iter()
            .map(|step| match step {
                Step::Make(state) => format!("make {}", state.as_str()),
                Step::Activate(kid) => format!("activate {kid}"),
                Step::Expire(kid) => format!("expire {kid}"),
                Step::Remove(kid, _) => format!("remove {kid}"),
            })
            .collect();
        AuditEvent {
            at: now,
            kind: AuditKind::KeyRollover,
            server: Some(self.server.clone()),
            client: None,
            error_id: None,
            actor: actor.map(str::to_owned),
            target: None,
            detail: json!({ "steps": steps }),
        }
    }

    /// Opens what is sealed; a key that is open already is not opened again.
    fn open(
        &self,
        sealing: &SealingKey,
        stored: &[StoredKey],
    ) -> Result<Vec<(KeyRecord, Arc<SigningKey>)>, KeyFailure> {
        let ring = self.ring.load();
        let open_one = |stored: &StoredKey| {
            let record = stored.record.clone();
            if let Some((_, key)) = ring.keys.iter().find(|(known, _)| known.kid == record.kid) {
                return Ok((record, Arc::clone(key)));
            }
            let sealed = |source| KeyFailure::Sealed {
                kid: record.kid.clone(),
                source,
            };
            let pkcs8 = sealing
                .open(&self.context(&record.kid), &stored.sealed)
                .map_err(sealed)?;
            let key = SigningKey::from_pkcs8(record.algorithm, &pkcs8)?;
            Ok((record, Arc::new(key)))
        };
        stored.iter().map(open_one).collect()
    }

    fn publish(&self, ring: Ring) {
        let _together = self.publishing.lock();
        self.replace(ring);
    }

    /// To be called with `publishing` locked.
    fn replace(&self, ring: Ring) {
        let same_keys = ring.jwks.body == self.ring.load().jwks.body;
        // A new generation makes the gate judge every cached verdict anew: only for another set.
        if !same_keys {
            let verifying = ring.keys.iter().map(|(_, key)| key.verifying_key()).collect();
            self.live.publish(KeySet::from_keys(verifying));
        }
        self.ring.store(Arc::new(ring));
    }

    /// What a sealed key is bound to: its row.
    fn context(&self, kid: &Kid) -> String {
        format!("signing_key/{}/{kid}", self.server)
    }
}

impl Ring {
    fn new(keys: Vec<(KeyRecord, Arc<SigningKey>)>, max_age: Duration) -> Self {
        let documents: Vec<_> = keys.iter().map(|(_, key)| key.public_jwk()).collect();
        let body = json!({ "keys": documents }).to_string();
        let etag = format!("\"{}\"", Digest::of(body.as_bytes()).to_base64url());
        let jwks = Arc::new(Jwks {
            body: Arc::from(body),
            etag: Arc::from(etag),
            max_age,
        });
        Self { max_age, keys, jwks }
    }

    fn records(&self) -> Vec<KeyRecord> {
        self.keys.iter().map(|(record, _)| record.clone()).collect()
    }
}

/// Makes a key away from the threads that answer: an RSA key takes a fraction of a second.
async fn make(algorithm: Algorithm) -> Result<SigningKey, KeyFailure> {
    let made = tokio::task::spawn_blocking(move || SigningKey::generate(algorithm)).await;
    Ok(made.map_err(|_| KeyFailure::Interrupted)??)
}
