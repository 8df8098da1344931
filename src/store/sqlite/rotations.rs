//! Refresh tokens that get their successors together: one statement for all that wait.
//!
//! A statement costs two changes of threads, whatever it does (a connection has a thread of its own, since SQLite's calls
//! block), and under load that is most of what a rotation costs. So who comes first queues a change, and whoever comes
//! before it has its turn goes with it. Each grant stands among them once: a second rotation of one is a change by
//! itself, behind them, and is told as ever that it was overtaken.
//!
//! INVARIANT: while somebody waits here, a change is queued that will take them all ([`Passengers`] sees to it).

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::{Value, json};
use sqlx::Row as _;
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use tokio::sync::oneshot;

use crate::model::id::GrantId;
use crate::model::time::Timestamp;
use crate::oauth::refresh::GrantRecord;
use crate::store::StoreError;
use crate::store::grants::{Rotated, Rotation};
use crate::store::sqlite::grants::{SELECT_AMONG, grant, rotate};
use crate::store::sqlite::writer::{Extent, Verdict, Writer};

pub(super) const ROTATE_ALL: &str = "UPDATE oauth_grant
    SET generation = oauth_grant.generation + 1, rotated_at = asked.at, idle_expires_at = asked.idle
    FROM (SELECT value ->> 0 AS id, value ->> 1 AS generation, value ->> 2 AS at, value ->> 3 AS idle FROM json_each(?1))
    AS asked
    WHERE oauth_grant.id = asked.id AND oauth_grant.generation = asked.generation
    AND oauth_grant.generation < 4294967295 AND oauth_grant.revoked_at IS NULL
    AND oauth_grant.expires_at > asked.at AND oauth_grant.idle_expires_at > asked.at RETURNING *";

/// The rotations that wait, by grant.
#[derive(Debug, Clone, Default)]
pub(super) struct Rotations(Arc<Mutex<HashMap<GrantId, Asked>>>);

/// One of them.
#[derive(Debug)]
struct Asked {
    from: u32,
    at: Timestamp,
    idle_expires_at: Timestamp,
    answer: Answer,
}

type Answer = oneshot::Sender<Result<Rotated, StoreError>>;

impl Rotations {
    /// Rotates, and answers when it is durable.
    pub(super) async fn rotate(&self, writer: &Writer, rotation: Rotation<'_>) -> Result<Rotated, StoreError> {
        let id = rotation.id.clone();
        let (from, at, idle_expires_at) = (rotation.from, rotation.at, rotation.idle_expires_at);
        // Before anybody waits: from here on nothing can come between the waiting and the change.
        let seat = writer.seat().await?;
        let answered = {
            let mut waiting = self.0.lock();
            if waiting.contains_key(&id) {
                None
            } else {
                let (answer, answered) = oneshot::channel();
                let is_first = waiting.is_empty();
                let asked = Asked {
                    from,
                    at,
                    idle_expires_at,
                    answer,
                };
                waiting.insert(id.clone(), asked);
                Some((is_first, answered))
            }
        };
        let Some((is_first, answered)) = answered else {
            let alone = seat.take(Extent::Statement, move |connection| {
                Box::pin(async move {
                    let rotated = rotate(connection, &id, from, at, idle_expires_at).await?;
                    Ok(Verdict::Keep(rotated))
                })
            });
            return alone.await;
        };
        if is_first {
            let passengers = Passengers(Some(self.clone()));
            seat.take_for_many(
                Extent::Statement,
                move |connection| Box::pin(rotate_all(connection, passengers)),
                |done: Result<Vec<Done>, StoreError>| {
                    // Who waits is told of a failure by the loss of the answer.
                    for (answer, rotated) in done.unwrap_or_default() {
                        answer.send(rotated).ok();
                    }
                },
            );
        } else {
            drop(seat);
        }
        let lost = |_| StoreError::Unavailable("the transaction was not committed".into());
        answered.await.map_err(lost)?
    }
}

/// Who has to be told what, once it is committed.
type Done = (Answer, Result<Rotated, StoreError>);

/// Everybody who waits, as the change takes them. A change that is never made lets them go: their answers are lost.
struct Passengers(Option<Rotations>);

impl Passengers {
    fn take(mut self) -> HashMap<GrantId, Asked> {
        let waiting = self.0.take();
        let mut waiting = waiting
            .map(|waiting| std::mem::take(&mut *waiting.0.lock()))
            .unwrap_or_default();
        // Who hung up meanwhile wants no successor.
        waiting.retain(|_, asked| !asked.answer.is_closed());
        waiting
    }
}

impl Drop for Passengers {
    fn drop(&mut self) {
        if let Some(waiting) = &self.0 {
            waiting.0.lock().clear();
        }
    }
}

async fn rotate_all(
    connection: &mut SqliteConnection,
    passengers: Passengers,
) -> Result<Verdict<Vec<Done>>, StoreError> {
    let mut waiting = passengers.take();
    let mut done = Vec::with_capacity(waiting.len());
    if waiting.is_empty() {
        return Ok(Verdict::Keep(done));
    }
    let rotations = waiting.iter().map(|(id, asked)| {
        let (at, idle) = (asked.at.unix_seconds(), asked.idle_expires_at.unix_seconds());
        json!([id.as_str(), asked.from, at, idle])
    });
    let rotations = rotations.collect::<Value>().to_string();
    let rows = sqlx::query(ROTATE_ALL)
        .bind(rotations)
        .fetch_all(&mut *connection)
        .await?;
    take(&mut waiting, &rows, Rotated::Done, &mut done)?;
    if !waiting.is_empty() {
        let left: Value = waiting.keys().map(GrantId::as_str).collect();
        let rows = sqlx::query(SELECT_AMONG)
            .bind(left.to_string())
            .fetch_all(connection)
            .await?;
        take(&mut waiting, &rows, Rotated::Overtaken, &mut done)?;
    }
    done.extend(waiting.into_values().map(|asked| (asked.answer, Ok(Rotated::Unknown))));
    Ok(Verdict::Keep(done))
}

/// Takes out who is answered by these rows.
fn take(
    waiting: &mut HashMap<GrantId, Asked>,
    rows: &[SqliteRow],
    rotated: fn(GrantRecord) -> Rotated,
    done: &mut Vec<Done>,
) -> Result<(), StoreError> {
    for row in rows {
        let id: &str = row.try_get("id")?;
        if let Some(asked) = waiting.remove(id) {
            // A row that cannot be read is the trouble of who asked for it.
            done.push((asked.answer, grant(row).map(rotated)));
        }
    }
    Ok(())
}
