//! Which issuers we believe, and where their keys come from.
//!
//! [`Trust`] holds a [`TrustedServer`] for each authorization server of the configuration. The
//! check path asks a server for its current keys (a pointer) and, when a token names a `kid` that
//! they lack, for one more fetch. The rules (DESIGN 4.3):
//!
//! - A set is fetched at the start, and again ahead of its `Cache-Control`.
//! - An unknown `kid` costs one fetch for all who wait, and at most one in
//!   [`TrustedServerSettings::keys_cooldown`]; a fetch that failed cools down just the same.
//! - A set is replaced whole. A failed fetch, an empty set or one with private keys leaves the last
//!   good one in force, for [`TrustedServerSettings::keys_stale_max`] at most.
//! - Whoever names a known `kid` never waits.
//!
//! Not here: caching verdicts and introspection answers (`authz`), and how bytes travel (`net`).

pub mod discovery;
pub mod fetch;
mod introspect;
mod server;
pub mod settings;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;

pub use introspect::Introspection;
pub use server::{KeysState, Refreshed, TrustedServer};

use crate::clock::Clock;
use crate::keys::LiveKeys;
use crate::model::event::EventSink;
use crate::model::id::AuthorizationServerId;
use crate::trust::fetch::Fetch;
use crate::trust::server::Surroundings;
use crate::trust::settings::TrustedServerSettings;

/// Why an authorization server cannot be trusted as configured.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// No local authorization server has this name.
    #[error("the authorization server `{0}` is not minted here and has no keys")]
    NoLocalKeys(AuthorizationServerId),
    /// The shared secret is too short for the algorithm.
    #[error("the authorization server `{server}`: {error}")]
    WeakSecret {
        /// Whose secret.
        server: AuthorizationServerId,
        /// What is wrong with it.
        error: crate::jose::key::WeakSecret,
    },
}

/// The authorization servers that we believe. A server that nobody holds any more ends its own
/// background work.
pub struct Trust {
    servers: HashMap<AuthorizationServerId, Arc<TrustedServer>>,
    /// Servers that an API may name and that are not there just now: nobody vouches in their place.
    absent: HashSet<AuthorizationServerId>,
}

impl Trust {
    /// Takes up the servers, and starts fetching the keys of those that are elsewhere.
    ///
    /// `local_keys` finds the keys of an authorization server of this process; `io` is the runtime
    /// that fetches run on, which is never one of the gate's. A server of `previous` whose settings
    /// are still the same is taken over with its keys: a reload costs no fetch and no check.
    ///
    /// # Errors
    /// [`TrustError`] when a server's keys can never be had as configured.
    pub fn start(
        servers: Vec<TrustedServerSettings>,
        previous: Option<&Self>,
        local_keys: &dyn Fn(&AuthorizationServerId) -> Option<Arc<LiveKeys>>,
        fetch: &Arc<dyn Fetch>,
        clock: &Arc<dyn Clock>,
        events: &Arc<dyn EventSink>,
        io: &Handle,
    ) -> Result<Arc<Self>, TrustError> {
        let mut map = HashMap::with_capacity(servers.len());
        for settings in servers {
            let known = previous.and_then(|previous| previous.server(&settings.id));
            let stays = |known: &&Arc<TrustedServer>| {
                known.settings.is_same_as(&settings) && known.has_keys_of(local_keys(settings.id_at_issuer()))
            };
            if let Some(known) = known.filter(stays) {
                map.insert(settings.id, Arc::clone(known));
                continue;
            }
            let surroundings = Surroundings {
                fetch: Arc::clone(fetch),
                clock: Arc::clone(clock),
                events: Arc::clone(events),
                io: io.clone(),
            };
            let server = TrustedServer::new(settings, local_keys, surroundings)?;
            server.spawn_background();
            map.insert(server.settings.id.clone(), server);
        }
        Ok(Arc::new(Self {
            servers: map,
            absent: HashSet::new(),
        }))
    }

    /// The same, with the names of servers that may come later.
    #[must_use]
    pub fn without(self: &Arc<Self>, absent: impl IntoIterator<Item = AuthorizationServerId>) -> Arc<Self> {
        Arc::new(Self {
            servers: self.servers.clone(),
            absent: absent.into_iter().collect(),
        })
    }

    /// Whether an API may name this server although it is not there.
    #[must_use]
    pub fn is_absent(&self, id: &AuthorizationServerId) -> bool {
        self.absent.contains(id)
    }

    /// The server of this name.
    #[must_use]
    pub fn server(&self, id: &AuthorizationServerId) -> Option<&Arc<TrustedServer>> {
        self.servers.get(id)
    }

    /// Every server.
    pub fn servers(&self) -> impl Iterator<Item = &Arc<TrustedServer>> {
        self.servers.values()
    }

    /// The servers whose keys have never been had: what readiness waits for.
    #[must_use]
    pub fn waiting_for(&self) -> Vec<String> {
        let mut waiting: Vec<String> = self
            .servers
            .values()
            .filter(|server| server.keys_state() == KeysState::NeverFetched)
            .map(|server| format!("keys of the authorization server `{}`", server.settings.id))
            .collect();
        waiting.sort_unstable();
        waiting
    }

    /// How old each server's keys are: the time since they were last had.
    #[must_use]
    pub fn key_ages(&self) -> Vec<(String, Duration)> {
        let age = |server: &Arc<TrustedServer>| Some((server.settings.id.to_string(), server.keys_age()?));
        self.servers.values().filter_map(age).collect()
    }
}

#[cfg(test)]
mod tests;
