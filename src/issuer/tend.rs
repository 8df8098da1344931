//! What the issuer does by itself: keys that are due, facts that can be forgotten.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::issuer::{Issuer, TEND_EVERY_MAX, rotation_of};

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
        // Not beside a reload: the old snapshot would undo what the new one asked of the keys.
        let not_reloading = self.reloading.lock().await;
        let snapshot = self.snapshot.load_full();
        for (id, endpoint) in &snapshot.servers {
            let server = &endpoint.server;
            let lifetime = server.access_token_lifetime_max();
            if let Err(error) = endpoint
                .keys
                .advance(&self.services, &rotation_of(server), lifetime)
                .await
            {
                tracing::error!(authorization_server.id = %id, %error, "signing keys could not be looked after");
            }
        }
        drop(not_reloading);
        let now = self.services.clock.now();
        self.services.revocations.prune(now);
        if let Err(error) = self.services.store.store.prune(now).await {
            tracing::error!(%error, "the store could not be pruned");
        }
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
