//! Follows what other nodes do to the store that they share with this one.
//!
//! - A revocation of another node is in the table that the gate reads within a quarter of a second: the store is
//!   looked at every [`LOOK_EVERY`], and at once where it can tell that something has changed.
//! - Keys that another node rotated, and objects that it changed, are read again.
//! - A store that is away is said once, and looked for with growing pauses. What is known stays in force: neither the
//!   gate nor this task ends over it.
//! - A store that has gone back to an earlier state (a backup was restored) is read from its beginning. What it
//!   forgot stays dead here until the restart; the operator is told.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::issuer::{Issuer, Services, StartError};
use crate::store::nodes::Heads;
use crate::store::{Cursor, StoreError, StoreFuture};

/// How often the store is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The longest pause between two looks at a store that is away.
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// How many revocations are read at a time.
const PAGE: u32 = 10_000;

/// How far this node has followed.
#[derive(Debug, Default)]
pub(super) struct Followed(tokio::sync::Mutex<Heads>);

impl Followed {
    /// Puts the revocations of the store into the table, before anything is answered. Following goes on from there.
    pub(super) async fn replay(services: &Services) -> Result<Self, StoreError> {
        let heads = services.store.store.heads().await?;
        let revocations = catch_up(services, Cursor::default()).await?;
        Ok(Self(tokio::sync::Mutex::new(Heads {
            revocations: revocations.max(heads.revocations),
            // Keys and objects are read after this: whatever changes meanwhile is looked at again.
            ..heads
        })))
    }
}

impl Issuer {
    /// Follows the other nodes until it is told to stop.
    pub async fn follow(self: Arc<Self>, stop: CancellationToken) {
        let store = Arc::clone(&self.services.store.store);
        let mut news: Option<StoreFuture<'_, ()>> = Some(store.changed());
        let mut pause = LOOK_EVERY;
        loop {
            let heard = async {
                match &mut news {
                    Some(news) => news.await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                heard = heard => news = heard.is_ok().then(|| store.changed()),
                () = tokio::time::sleep(pause) => {}
            }
            let looked = tokio::select! {
                () = stop.cancelled() => return,
                looked = self.follow_once() => looked,
            };
            match looked {
                Ok(()) => {
                    if pause > LOOK_EVERY {
                        tracing::info!("the store is back: other nodes are followed again");
                    }
                    pause = LOOK_EVERY;
                    news = news.or_else(|| Some(store.changed()));
                }
                Err(error) => {
                    if pause == LOOK_EVERY {
                        tracing::error!(%error, "other nodes cannot be followed; what is known stays in force");
                    }
                    news = None;
                    pause = (pause * 2).min(PAUSE_MAX);
                }
            }
        }
    }

    /// Takes over what other nodes have done since the last look.
    ///
    /// # Errors
    /// [`StartError`]: what was taken over before the failure is in force, the rest is tried at the next look.
    pub async fn follow_once(&self) -> Result<(), StartError> {
        let mut followed = self.followed.0.lock().await;
        let heads = self.services.store.store.heads().await?;
        if heads.revocations < followed.revocations {
            tracing::error!(
                "the store has gone back to an earlier state: what it has forgotten stays revoked until the restart"
            );
            *followed = Heads::default();
        }
        if heads.revocations > followed.revocations {
            // Everything up to the head can be read by now; what was forgotten is not there any more.
            let last = catch_up(&self.services, followed.revocations).await?;
            followed.revocations = last.max(heads.revocations);
        }
        if heads.keys != followed.keys {
            self.advance_keys().await?;
            followed.keys = heads.keys;
        }
        if heads.objects != followed.objects {
            self.reread().await?;
            followed.objects = heads.objects;
        }
        Ok(())
    }
}

/// Puts the revocations after this one into the table; gives the last one.
async fn catch_up(services: &Services, mut cursor: Cursor) -> Result<Cursor, StoreError> {
    loop {
        let page = services.store.store.revocations_after(cursor, PAGE).await?;
        let Some((last, _)) = page.last() else {
            return Ok(cursor);
        };
        cursor = *last;
        for (_, revocation) in page {
            services.revocations.revoke(revocation);
        }
    }
}

#[cfg(test)]
mod tests;
