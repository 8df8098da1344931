//! The keys of peers that live at a URL: of clients (`jwks_uri`), and of issuers whose assertions are a grant.
//!
//! - A set is fetched when it is first needed, and again when it is older than its `Cache-Control` allows.
//! - What it lacks (a `kid`, a certificate) costs one more fetch, and at most one in [`COOLDOWN`]; a fetch that failed
//!   cools down just the same (case 071). So a key that a client rolls to is taken within that time (case 145).
//! - A failed fetch leaves the last good set in force, for [`STALE_MAX`] at most.
//! - Whoever needs what is there never waits; at most [`WAITING_MAX`] requests wait for fetches at a time, whatever
//!   number of slow hosts strangers have registered (case 072).
//!
//! How far a fetch may reach is the business of [`Fetch`](crate::trust::fetch::Fetch): no redirect, no private
//! address, size and time bounded (attack F18).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use crate::issuer::Services;
use crate::jose::alg::Algorithm;
use crate::jose::unverified::Unverified;
use crate::jose::verify::{VerifyError, check_signature};
use crate::model::digest::Digest;
use crate::oauth::assertion::AssertionProblem;
use crate::oauth::peer_keys::{KeysUrl, PeerKeySet, PeerKeys};
use crate::trust::settings::FetchPolicy;

/// The shortest time between two fetches from one URL.
const COOLDOWN: Duration = Duration::from_secs(30);

/// How long a set is kept where its answer has no `Cache-Control`.
const FRESH_DEFAULT: Duration = Duration::from_secs(300);

/// The longest that a set is kept without asking, whatever `Cache-Control` says: so long a key that the peer has
/// withdrawn is still good here.
const FRESH_MAX: Duration = Duration::from_secs(3600);

/// For how long a set stays in force while it cannot be fetched.
const STALE_MAX: Duration = Duration::from_secs(24 * 3600);

/// How many requests may wait for fetches at a time.
const WAITING_MAX: usize = 64;

/// How many URLs are remembered.
const URLS_MAX: usize = 4096;

/// The keys of peers.
pub(super) struct Peers {
    remotes: Mutex<HashMap<KeysUrl, Arc<Remote>>>,
    waiting: Semaphore,
}

/// What is known of one URL.
#[derive(Default)]
struct Remote {
    held: ArcSwapOption<Held>,
    /// When a fetch was last begun; held while one is under way.
    begun: tokio::sync::Mutex<Option<Duration>>,
}

/// A set, and when it came, on the monotonic clock.
struct Held {
    set: Arc<PeerKeySet>,
    had_at: Duration,
    fresh_for: Duration,
}

impl Peers {
    pub(super) fn new() -> Self {
        Self {
            remotes: Mutex::default(),
            waiting: Semaphore::new(WAITING_MAX),
        }
    }

    /// Whether one of these keys signed the token. Its claims are the caller's matter.
    pub(super) async fn verify(
        &self,
        services: &Services,
        keys: &PeerKeys,
        token: &Unverified<'_>,
    ) -> Result<(), AssertionProblem> {
        let signed = |set: &PeerKeySet| check_signature(token, set.keys(), &Algorithm::ASYMMETRIC);
        let outcome = match keys {
            PeerKeys::Here(set) => signed(set),
            PeerKeys::At(url) => {
                let has_key = |set: &PeerKeySet| token.kid().is_none_or(|kid| set.keys().contains_kid(kid));
                let set = self.set(services, url, has_key).await.ok_or(AssertionProblem::NoKeys)?;
                match (signed(&set), token.kid()) {
                    // Without a name the key may be a new one as well: ask again, if it is not too soon.
                    (Err(VerifyError::BadSignature | VerifyError::NoKey), None) => {
                        let newer = self.set(services, url, |set| signed(set).is_ok()).await;
                        newer.map_or(Err(VerifyError::NoKey), |set| signed(&set))
                    }
                    (outcome, _) => outcome,
                }
            }
        };
        outcome.map_err(|error| match error {
            VerifyError::Algorithm => AssertionProblem::Algorithm,
            VerifyError::BadSignature => AssertionProblem::Signature,
            _ => AssertionProblem::UnknownKey,
        })
    }

    /// Whether the peer has registered the certificate with this digest.
    pub(super) async fn names_certificate(&self, services: &Services, keys: &PeerKeys, digest: &Digest) -> bool {
        match keys {
            PeerKeys::Here(set) => set.names_certificate(digest),
            PeerKeys::At(url) => {
                let names = |set: &PeerKeySet| set.names_certificate(digest);
                self.set(services, url, names).await.is_some_and(|set| names(&set))
            }
        }
    }

    /// The set of a URL: one that has what is needed if there is any, else the best there is.
    async fn set(
        &self,
        services: &Services,
        url: &KeysUrl,
        has_it: impl Fn(&PeerKeySet) -> bool,
    ) -> Option<Arc<PeerKeySet>> {
        let remote = self.remote(url);
        let good = |remote: &Remote| {
            remote
                .younger_than(services, |held| held.fresh_for)
                .filter(|set| has_it(set))
        };
        let stale = |remote: &Remote| remote.younger_than(services, |_| STALE_MAX);
        if let Some(set) = good(&remote) {
            return Some(set);
        }
        let Ok(_turn) = self.waiting.try_acquire() else {
            return stale(&remote);
        };
        let mut begun = remote.begun.lock().await;
        // Somebody else may have fetched it meanwhile.
        if let Some(set) = good(&remote) {
            return Some(set);
        }
        let now = services.clock.monotonic();
        if begun.is_none_or(|begun| now.saturating_sub(begun) >= COOLDOWN) {
            *begun = Some(now);
            match fetch(services, url).await {
                Ok(held) => remote.held.store(Some(Arc::new(held))),
                Err(error) => tracing::warn!(%error, "the keys of a client or of a trusted issuer could not be had"),
            }
        }
        stale(&remote)
    }

    fn remote(&self, url: &KeysUrl) -> Arc<Remote> {
        let mut remotes = self.remotes.lock();
        if remotes.len() >= URLS_MAX && !remotes.contains_key(url) {
            // Who is forgotten is fetched anew: a cache, and nothing that must not be lost. One that is in use is
            // held by its users, so that its cooldown stays.
            remotes.retain(|_, remote| Arc::strong_count(remote) > 1);
        }
        Arc::clone(remotes.entry(url.clone()).or_default())
    }
}

impl Remote {
    fn younger_than(&self, services: &Services, age: impl Fn(&Held) -> Duration) -> Option<Arc<PeerKeySet>> {
        let held = self.held.load_full()?;
        let since = services.clock.monotonic().saturating_sub(held.had_at);
        (since < age(&held)).then(|| Arc::clone(&held.set))
    }
}

async fn fetch(services: &Services, url: &KeysUrl) -> Result<Held, String> {
    let policy = FetchPolicy {
        allow_private_addresses: url.allow_private_addresses,
        // The compiler lets plain http pass on loopback alone.
        allow_http: url.allow_private_addresses,
        ca_file: None,
    };
    let answer = services.fetch.get(&url.url, &policy).await;
    let answer = answer.map_err(|error| format!("`{}`: {error}", url.url))?;
    if answer.status != 200 {
        return Err(format!("`{}` answered {}", url.url, answer.status));
    }
    let (set, _) = PeerKeySet::from_jwks(&answer.body).map_err(|error| format!("`{}`: {error}", url.url))?;
    Ok(Held {
        set: Arc::new(set),
        had_at: services.clock.monotonic(),
        fresh_for: answer.max_age.unwrap_or(FRESH_DEFAULT).clamp(COOLDOWN, FRESH_MAX),
    })
}
