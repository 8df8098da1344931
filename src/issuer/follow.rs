//! Follows what other nodes do to the store that they share with this one.
//!
//! - A revocation of another node is in the table that the gate reads within a quarter of a second: the store is
//!   looked at ten times a second ([`crate::store::follow`]), and at once where it can tell that something has changed.
//! - Keys that another node rotated, and objects that it changed, are read again.
//! - A store that is away is said once, and looked for with growing pauses. What is known stays in force: neither the
//!   gate nor this task ends over it.
//! - A store that has gone back to an earlier state (a backup was restored) is read from its beginning. What it
//!   forgot stays dead here until the restart; the operator is told.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::issuer::{Issuer, Services, StartError};
use crate::store::follow::{self, Words};
use crate::store::nodes::Heads;
use crate::store::{Cursor, StoreError};

const WORDS: Words = Words {
    away: "other nodes cannot be followed; what is known stays in force",
    back: "the store is back: other nodes are followed again",
};

/// How far this node has followed.
#[derive(Debug, Default)]
pub(super) struct Followed(tokio::sync::Mutex<Heads>);

impl Followed {
    /// Puts the revocations of the store into the table, before anything is answered. Following goes on from there.
    pub(super) async fn replay(services: &Services) -> Result<Self, StoreError> {
        let heads = services.store.store.heads().await?;
        let began = services.clock.monotonic();
        let store = &*services.store.store;
        let revocations = follow::catch_up(store, &services.revocations, Cursor::default()).await?;
        services.revocations.heard_at(began);
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
        follow::follow(&*store, &stop, WORDS, || self.follow_once()).await;
    }

    /// Takes over what other nodes have done since the last look.
    ///
    /// # Errors
    /// [`StartError`]: what was taken over before the failure is in force, the rest is tried at the next look.
    pub async fn follow_once(&self) -> Result<(), StartError> {
        let mut followed = self.followed.0.lock().await;
        let began = self.services.clock.monotonic();
        let heads = self.services.store.store.heads().await?;
        follow::take_over(
            &*self.services.store.store,
            &self.services.revocations,
            &mut followed,
            heads,
        )
        .await?;
        self.services.revocations.heard_at(began);
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

#[cfg(test)]
mod tests;
