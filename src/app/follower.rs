//! A gate that runs alone follows the store of its issuer: it only reads.
//!
//! - What is revoked at any issuer is in the gate's table a moment later (`store::follow`).
//! - Managed authorization servers are found as they are in the store; their keys are fetched from the issuer, as those
//!   of the file are. It needs no sealing key: it never opens a private key.
//! - A store that is away leaves what is known in force for a stated time. Beyond that, and before it was read once,
//!   nobody can tell whether a token of ours is revoked, and checks of such tokens are denied as unavailable.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::app::ours::Ours;
use crate::clock::Clock;
use crate::config::Settings;
use crate::keys::LiveKeys;
use crate::lifecycle::{Lifecycle, NotReady};
use crate::model::id::AuthorizationServerId;
use crate::oauth::document::{Document as _, ServerDocument};
use crate::oauth::metadata::issuer_of;
use crate::revocation::Revocations;
use crate::store::follow::{self, Words};
use crate::store::nodes::Heads;
use crate::store::objects::{ObjectKind, StoredObject};
use crate::store::settings::StoreSettings;
use crate::store::{Store, StoreError, open};
use crate::trust::settings::{ManagedReference, ManagedServer};

/// For how long a silent store is trusted, unless the file says something else.
pub(super) const STALE_AFTER: Duration = Duration::from_secs(300);

/// For how long the first start waits for the store.
const FIRST_WAIT: Duration = Duration::from_secs(10);

/// How often a store is tried that does not open.
const OPEN_EVERY: Duration = Duration::from_secs(1);

const WORDS: Words = Words {
    away: "the issuer's store cannot be read, so revocations are not heard of; what is known stays in force for a while",
    back: "the issuer's store is back: its revocations are followed again",
};

/// Follows the issuer's store.
pub(super) struct Follower {
    settings: StoreSettings,
    revocations: Arc<Revocations>,
    clock: Arc<dyn Clock>,
    stale_after: Duration,
    /// Whether tokens are denied, and that was said: as before the first look.
    denies: AtomicBool,
    /// Names that the file declares are the file's.
    of_file: BTreeSet<AuthorizationServerId>,
    followed: Mutex<Heads>,
    managed: ArcSwap<Vec<Managed>>,
    listener: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

/// A managed server that is active.
struct Managed {
    id: AuthorizationServerId,
    name: String,
    audience: String,
}

impl Follower {
    /// Begins to follow the store that the settings name. `None` where there is none on this machine.
    ///
    /// # Errors
    /// Where the settings say how stale revocations may be, and there is nothing to follow.
    pub(super) fn start(
        settings: &Settings,
        clock: &Arc<dyn Clock>,
        revocations: &Arc<Revocations>,
        lifecycle: &Lifecycle,
    ) -> anyhow::Result<Option<Arc<Self>>> {
        let (Some(issuer), Some(store)) = (&settings.issuer, &settings.store) else {
            return Ok(None);
        };
        if let StoreSettings::Sqlite(path) = store
            && !path.exists()
        {
            if settings.gate.revocations_stale_after.is_some() {
                anyhow::bail!(
                    "`gate.revocations` says how stale revocations may be, and the issuer's store `{}` is not here to be followed",
                    path.display()
                );
            }
            tracing::warn!(
                "this gate does not hear of revocations: the issuer's store `{}` is not on this machine; with a store in PostgreSQL it would",
                path.display()
            );
            return Ok(None);
        }
        let stale_after = settings.gate.revocations_stale_after.unwrap_or(STALE_AFTER);
        revocations.trust_silence_for(stale_after);
        tracing::info!(
            "this gate follows the revocations of its issuer's store; when the store has been away for {} s, it denies tokens of the issuer",
            stale_after.as_secs()
        );
        let follower = Arc::new(Self {
            settings: store.clone(),
            revocations: revocations.clone(),
            clock: clock.clone(),
            stale_after,
            denies: AtomicBool::new(true),
            of_file: (issuer.declared.servers.iter())
                .map(|server| server.id.value.clone())
                .collect(),
            followed: Mutex::default(),
            managed: ArcSwap::default(),
            listener: OnceLock::new(),
        });
        let waiting = lifecycle.readiness.wait_for("the issuer's revocations");
        let stop = lifecycle.stop().soft.clone();
        lifecycle.beside(first_look(follower.clone(), waiting));
        lifecycle.essential("the issuer's store", follower.clone().run(stop));
        Ok(Some(follower))
    }

    async fn run(self: Arc<Self>, stop: CancellationToken) {
        let Some(store) = stop.run_until_cancelled(self.open()).await else {
            return;
        };
        follow::follow(&*store, &stop, WORDS, || self.look(&*store)).await;
    }

    /// Opens the store, however long it takes until it is there.
    async fn open(&self) -> Arc<dyn Store> {
        let mut told = false;
        loop {
            let opened = async {
                let store = open::open_to_read(&self.settings).await?;
                self.look(&*store).await?;
                Ok::<_, StoreError>(store)
            };
            match opened.await {
                Ok(store) => return store,
                Err(error) if !told => {
                    told = true;
                    tracing::error!(%error, "the issuer's store cannot be read yet: until it is, tokens of the issuer are denied");
                }
                Err(_) => {}
            }
            tokio::time::sleep(OPEN_EVERY).await;
        }
    }

    async fn look(&self, store: &dyn Store) -> Result<(), StoreError> {
        let mut followed = self.followed.lock().await;
        // Before the store is asked: what is revoked while it answers is heard of at the next look.
        let began = self.clock.monotonic();
        let outcome = async {
            let heads = store.heads().await?;
            follow::take_over(store, &self.revocations, &mut followed, heads).await?;
            if heads.objects != followed.objects {
                self.read_managed(&store.objects(ObjectKind::AuthorizationServer).await?);
                followed.objects = heads.objects;
            }
            Ok(())
        }
        .await;
        if outcome.is_ok() {
            self.revocations.heard_at(began);
            self.denies.store(false, Ordering::Relaxed);
        } else if !self.was_heard() && !self.denies.swap(true, Ordering::Relaxed) {
            tracing::error!(
                "revocations have not been heard of for {} s: tokens of the issuer are denied until they are",
                self.stale_after.as_secs()
            );
        }
        outcome
    }

    fn read_managed(&self, objects: &[StoredObject]) {
        let read = |object: &StoredObject| {
            let id = AuthorizationServerId::parse(&object.id).ok()?;
            let document = ServerDocument::read(&object.body).ok()?;
            let works = document.status.is_active() && !self.of_file.contains(&id);
            works.then_some(Managed {
                id,
                audience: document.audiences.first()?.clone(),
                name: document.name,
            })
        };
        self.managed.store(Arc::new(objects.iter().filter_map(read).collect()));
        if let Some(listener) = self.listener.get() {
            listener();
        }
    }

    fn was_heard(&self) -> bool {
        !self.revocations.is_stale(self.clock.monotonic())
    }
}

/// Holds readiness back until the store was read once, or for as long as is reasonable: the gate has other routes.
async fn first_look(follower: Arc<Follower>, waiting: NotReady) {
    let _until = tokio::time::timeout(FIRST_WAIT, async {
        while !follower.was_heard() {
            tokio::time::sleep(follow::LOOK_EVERY / 5).await;
        }
    })
    .await;
    drop(waiting);
}

impl Ours for Follower {
    fn has_keys(&self) -> bool {
        false
    }

    fn keys(&self, _: &AuthorizationServerId) -> Option<Arc<LiveKeys>> {
        None
    }

    fn find(&self, reference: &ManagedReference, public_url: &Url) -> Option<ManagedServer> {
        let managed = self.managed.load();
        let is_meant = |server: &&Managed| match reference {
            ManagedReference::Id(id) => server.id == *id,
            ManagedReference::Name(name) => server.name == *name,
        };
        let mut meant = managed.iter().filter(is_meant);
        // A name that two servers have is nobody's, as at the issuer.
        let (Some(server), None) = (meant.next(), meant.next()) else {
            return None;
        };
        Some(ManagedServer {
            id: server.id.clone(),
            issuer: issuer_of(public_url, &server.id),
            audience: server.audience.clone(),
        })
    }

    fn listen(&self, listener: Box<dyn Fn() + Send + Sync>) {
        let _ = self.listener.set(listener);
    }
}
