//! Grants and people by identifier: what is asked for while a statement is under way is read by the next one.
//!
//! A refresh looks up its grant and its person. A statement costs two changes of threads, whatever it reads (a connection
//! has a thread of its own, since SQLite's calls block), and a pool adds two more for each time that a connection goes
//! out and comes back. So those who ask at the same time share a statement. Nobody waits for others to come: what is
//! asked for alone is read alone, at once.
//!
//! A look-up begins after it was asked for, so it sees every change that was acknowledged before.

use std::collections::HashMap;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteRow};
use sqlx::{ConnectOptions as _, Connection as _, Row as _};
use tokio::sync::{mpsc, oneshot};

use crate::model::id::{GrantId, UserId};
use crate::oauth::refresh::GrantRecord;
use crate::oauth::user::UserRecord;
use crate::store::sqlite::directory::{SELECT_PEOPLE, person};
use crate::store::sqlite::grants::{SELECT_AMONG, grant};
use crate::store::sqlite::together::FailedTogether;
use crate::store::{StoreError, StoreFuture};

/// The most that one statement reads.
const BATCH_MAX: usize = 256;

/// How many may wait; who comes then waits to wait.
const QUEUE_MAX: usize = 4096;

/// Where look-ups queue up.
#[derive(Debug, Clone)]
pub(super) struct LookUps {
    queue: mpsc::Sender<Message>,
}

enum Message {
    Grant(Asked<GrantRecord>),
    Person(Asked<(UserRecord, Vec<String>)>),
    Close(oneshot::Sender<()>),
}

/// Somebody who wants to know.
struct Asked<T> {
    id: String,
    answer: oneshot::Sender<Result<Option<T>, StoreError>>,
}

impl LookUps {
    /// A desk for look-ups; it connects when it is first asked, and its task ends when the last handle is gone.
    pub(super) fn start(options: SqliteConnectOptions) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE_MAX);
        let desk = Desk {
            options,
            connection: None,
        };
        tokio::spawn(desk.work(waiting));
        Self { queue }
    }

    /// A grant.
    pub(super) fn grant<'a>(&'a self, id: &'a GrantId) -> StoreFuture<'a, Option<GrantRecord>> {
        Box::pin(self.ask(id.as_str(), Message::Grant))
    }

    /// A user, and the groups that it is in.
    pub(super) fn person<'a>(&'a self, id: &'a UserId) -> StoreFuture<'a, Option<(UserRecord, Vec<String>)>> {
        Box::pin(self.ask(id.as_str(), Message::Person))
    }

    async fn ask<T>(&self, id: &str, message: fn(Asked<T>) -> Message) -> Result<Option<T>, StoreError> {
        let (answer, answered) = oneshot::channel();
        let asked = Asked {
            id: id.to_owned(),
            answer,
        };
        let gone = || StoreError::Unavailable("the store is closed".into());
        self.queue.send(message(asked)).await.map_err(|_| gone())?;
        answered.await.map_err(|_| gone())?
    }

    /// Closes the connection.
    pub(super) async fn close(&self) {
        let (answer, answered) = oneshot::channel();
        if self.queue.send(Message::Close(answer)).await.is_ok() {
            // An error says that the task is gone, and the connection with it.
            answered.await.ok();
        }
    }
}

/// What the desk's task holds.
struct Desk {
    options: SqliteConnectOptions,
    /// `None` before the first look-up and after a failure: the next one connects anew.
    connection: Option<SqliteConnection>,
}

impl Desk {
    async fn work(mut self, mut waiting: mpsc::Receiver<Message>) {
        let mut messages = Vec::with_capacity(BATCH_MAX);
        while waiting.recv_many(&mut messages, BATCH_MAX).await > 0 {
            let (mut grants, mut people) = (Vec::new(), Vec::new());
            let mut closing = None;
            for message in messages.drain(..) {
                match message {
                    // Dropped, which tells who waits that the store is closed.
                    Message::Grant(_) | Message::Person(_) if closing.is_some() => {}
                    Message::Grant(asked) => grants.push(asked),
                    Message::Person(asked) => people.push(asked),
                    Message::Close(answer) => closing = Some(answer),
                }
            }
            self.look_up(SELECT_AMONG, grants, grant).await;
            self.look_up(SELECT_PEOPLE, people, person).await;
            if let Some(answer) = closing {
                if let Some(connection) = self.connection.take() {
                    connection.close().await.ok();
                }
                answer.send(()).ok();
                return;
            }
        }
    }

    /// Answers everybody who asks for rows of one table.
    async fn look_up<T>(
        &mut self,
        statement: &'static str,
        asked: Vec<Asked<T>>,
        read: fn(&SqliteRow) -> Result<T, StoreError>,
    ) {
        if asked.is_empty() {
            return;
        }
        match self.rows(statement, &asked).await {
            Ok(rows) => {
                let rows: HashMap<&str, &SqliteRow> = rows
                    .iter()
                    .filter_map(|row| Some((row.try_get("id").ok()?, row)))
                    .collect();
                for Asked { id, answer } in asked {
                    // Who waits no longer has no use for it.
                    answer.send(rows.get(id.as_str()).map(|row| read(row)).transpose()).ok();
                }
            }
            Err(error) => {
                let failed = FailedTogether::new("the look-up failed", error);
                for Asked { answer, .. } in asked {
                    answer.send(Err(StoreError::Unavailable(Box::new(failed.clone())))).ok();
                }
            }
        }
    }

    async fn rows<T>(&mut self, statement: &'static str, asked: &[Asked<T>]) -> Result<Vec<SqliteRow>, sqlx::Error> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.options.connect().await?,
        };
        let ids: serde_json::Value = asked.iter().map(|asked| asked.id.as_str()).collect();
        let rows = sqlx::query(statement)
            .bind(ids.to_string())
            .fetch_all(&mut connection)
            .await?;
        self.connection = Some(connection);
        Ok(rows)
    }
}
