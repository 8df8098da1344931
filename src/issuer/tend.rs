//! What the issuer does by itself: keys that are due, facts that can be forgotten.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::issuer::{Issuer, StartError, TEND_EVERY_MAX, rotation_of};

impl Issuer {
    /// Looks after keys and store until it is told to stop. A failure is logged and tried again at the
    /// next look; the last keys stay in force meanwhile.
    pub async fn tend(self: Arc<Self>, stop: CancellationToken) {
        loop {
            let wait = self.next_look();
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(wait) => self.tend_once().await,
            }
        }
    }

    /// Does what is due now.
    pub async fn tend_once(&self) {
        // What failed is said where it did, and tried again.
        let _ = self.advance_keys().await;
        let now = self.services.clock.now();
        self.services.revocations.prune(now);
        if let Err(error) = self.services.store.store.prune(now).await {
            tracing::error!(%error, "the store could not be pruned");
        }
    }

    /// Reads the keys of every server and does what is due. A failure of one server leaves none of the others out; it is
    /// logged, and the last one given.
    pub(super) async fn advance_keys(&self) -> Result<(), StartError> {
        // Not beside a reload: the old snapshot would undo what the new one asked of the keys.
        let _not_reloading = self.reloading.lock().await;
        let snapshot = self.snapshot.load_full();
        let mut outcome = Ok(());
        for (id, endpoint) in &snapshot.servers {
            let server = &endpoint.server;
            let lifetime = server.access_token_lifetime_max();
            let advanced = endpoint
                .keys
                .advance(&self.services, &rotation_of(server), lifetime)
                .await;
            if let Err(source) = advanced {
                tracing::error!(authorization_server.id = %id, error = %source, "signing keys could not be looked after");
                outcome = Err(StartError::Keys {
                    server: id.clone(),
                    source,
                });
            }
        }
        outcome
    }

    /// Until when nothing is due; a minute at most, a second at least.
    fn next_look(&self) -> Duration {
        let now = self.services.clock.now();
        let snapshot = self.snapshot.load();
        let due = snapshot
            .servers
            .values()
            .filter_map(|endpoint| endpoint.keys.due_at(&rotation_of(&endpoint.server)))
            .min();
        let wait = due.map_or(TEND_EVERY_MAX, |due| due.since(now));
        wait.clamp(Duration::from_secs(1), TEND_EVERY_MAX)
    }
}
