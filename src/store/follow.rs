//! Following a store that others write to: what they revoke is in the table of this process a moment later.
//!
//! - A store is looked at every [`LOOK_EVERY`], and at once where it can tell that something has changed.
//! - One that is away is said once, and looked for with growing pauses.
//! - One that has gone back to an earlier state (a backup was restored) is read from its beginning. What it forgot
//!   stays dead here until the restart; the operator is told.

use std::fmt::Display;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::revocation::Revocations;
use crate::store::nodes::Heads;
use crate::store::{Cursor, Store, StoreError, StoreFuture};

/// How often the store is looked at.
pub const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The longest pause between two looks at a store that is away.
pub const PAUSE_MAX: Duration = Duration::from_secs(2);

/// How many revocations are read at a time.
const PAGE: u32 = 10_000;

/// What is said of a store that goes away and comes back.
#[derive(Debug, Clone, Copy)]
pub struct Words {
    /// When it goes.
    pub away: &'static str,
    /// When it is there again.
    pub back: &'static str,
}

/// Looks at the store until it is told to stop.
pub async fn follow<E, F>(store: &dyn Store, stop: &CancellationToken, words: Words, look: impl Fn() -> F)
where
    E: Display,
    F: Future<Output = Result<(), E>>,
{
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
            looked = look() => looked,
        };
        match looked {
            Ok(()) => {
                if pause > LOOK_EVERY {
                    tracing::info!("{}", words.back);
                }
                pause = LOOK_EVERY;
                news = news.or_else(|| Some(store.changed()));
            }
            Err(error) => {
                if pause == LOOK_EVERY {
                    tracing::error!(%error, "{}", words.away);
                }
                news = None;
                pause = (pause * 2).min(PAUSE_MAX);
            }
        }
    }
}

/// Puts the revocations into the table that have come since the last look. `heads` is how far the store has come.
///
/// # Errors
/// [`StoreError`]: what was read before the failure is in force, the rest is tried at the next look.
pub async fn take_over(
    store: &dyn Store,
    revocations: &Revocations,
    followed: &mut Heads,
    heads: Heads,
) -> Result<(), StoreError> {
    if heads.revocations < followed.revocations {
        tracing::error!(
            "the store has gone back to an earlier state: what it has forgotten stays revoked until the restart"
        );
        *followed = Heads::default();
    }
    if heads.revocations > followed.revocations {
        // Everything up to the head can be read by now; what was forgotten is not there any more.
        let last = catch_up(store, revocations, followed.revocations).await?;
        followed.revocations = last.max(heads.revocations);
    }
    Ok(())
}

/// Puts the revocations after this one into the table; gives the last one.
///
/// # Errors
/// [`StoreError`], likewise.
pub async fn catch_up(store: &dyn Store, revocations: &Revocations, mut cursor: Cursor) -> Result<Cursor, StoreError> {
    loop {
        let page = store.revocations_after(cursor, PAGE).await?;
        let Some((last, _)) = page.last() else {
            return Ok(cursor);
        };
        cursor = *last;
        for (_, revocation) in page {
            revocations.revoke(revocation);
        }
    }
}
