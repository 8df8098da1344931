//! The one writer of a database: changes that wait together are committed together.
//!
//! A commit waits for the disk, whatever is in it. So changes queue up while one commit is under way, and the next
//! one takes all of them (at most [`BATCH_MAX`]):
//!
//! - Nobody is answered before the commit of its change has returned: what is acknowledged is durable.
//! - A change that fails, or that was overtaken halfway, undoes itself alone, by its savepoint. A change of one
//!   statement has none: SQLite undoes a statement that fails.
//! - Where the disk fails, SQLite may give up the whole transaction; what would follow would then be committed piece
//!   by piece. After each failure we look whether the transaction still is ([`Batch`] is its own outer savepoint), and
//!   if it is not, every change of the batch has failed.
//!
//! SQLite has one writer at a time anyway: a second connection that writes would only wait for this one.

use std::future::Future;
use std::pin::Pin;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _};
use tokio::sync::{mpsc, oneshot};

use crate::store::sqlite::together::FailedTogether;
use crate::store::{StoreError, StoreFuture};

/// The most changes that one transaction takes.
const BATCH_MAX: usize = 256;

/// How many changes may wait; who comes then waits to wait.
const QUEUE_MAX: usize = 4096;

/// A change that is being made.
pub(super) type Pending<'c, T> = Pin<Box<dyn Future<Output = Result<Verdict<T>, StoreError>> + Send + 'c>>;

/// What is to become of what a change has written.
#[derive(Debug)]
pub(super) enum Verdict<T> {
    /// It stays, and this is the answer.
    Keep(T),
    /// It is undone, and this is the answer.
    Undo(T),
}

/// Whether a change undoes itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    /// At most one of its statements writes: SQLite undoes it if it fails. Never with [`Verdict::Undo`].
    Statement,
    /// Several write.
    Statements,
}

/// Where changes queue up.
#[derive(Debug, Clone)]
pub(super) struct Writer {
    queue: mpsc::Sender<Message>,
}

enum Message {
    Change(Box<dyn Change>),
    Close(oneshot::Sender<()>),
}

impl Writer {
    /// A writer over this connection; its task ends when the last handle is gone.
    pub(super) fn start(options: SqliteConnectOptions, connection: SqliteConnection) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE_MAX);
        let desk = Desk {
            options,
            connection: Some(connection),
        };
        tokio::spawn(desk.work(waiting));
        Self { queue }
    }

    /// Makes a change and answers when it is durable.
    pub(super) fn change<T, F>(&self, extent: Extent, make: F) -> StoreFuture<'_, T>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut SqliteConnection) -> Pending<'c, T> + Send + 'static,
    {
        Box::pin(async move { self.seat().await?.take(extent, make).await })
    }

    /// Waits for a place in the queue.
    pub(super) async fn seat(&self) -> Result<Seat<'_>, StoreError> {
        let permit = self.queue.reserve().await;
        permit.map(Seat).map_err(|_| closed())
    }

    /// Closes the connection after the changes that wait.
    pub(super) async fn close(&self) {
        let (answer, answered) = oneshot::channel();
        if self.queue.send(Message::Close(answer)).await.is_ok() {
            // An error says that the task is gone, and the connection with it.
            answered.await.ok();
        }
    }
}

/// A place in the queue, which is given up if it is not taken.
pub(super) struct Seat<'w>(mpsc::Permit<'w, Message>);

impl Seat<'_> {
    /// Queues a change, at once; what is to be awaited is that it is durable.
    pub(super) fn take<T, F>(self, extent: Extent, make: F) -> impl Future<Output = Result<T, StoreError>> + use<T, F>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut SqliteConnection) -> Pending<'c, T> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        self.queue(extent, make, Answer::One(answer));
        async { answered.await.map_err(|_| closed())? }
    }

    /// Queues a change for several who wait: `deliver` is called with what became of it when it is durable, or when it
    /// is known that it never will be.
    pub(super) fn take_for_many<T, F>(
        self,
        extent: Extent,
        make: F,
        deliver: impl FnOnce(Result<T, StoreError>) + Send + 'static,
    ) where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut SqliteConnection) -> Pending<'c, T> + Send + 'static,
    {
        self.queue(extent, make, Answer::Many(Box::new(deliver)));
    }

    fn queue<T, F>(self, extent: Extent, make: F, answer: Answer<T>)
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut SqliteConnection) -> Pending<'c, T> + Send + 'static,
    {
        self.0.send(Message::Change(Box::new(Task {
            extent,
            make: Some(make),
            outcome: None,
            answer,
        })));
    }
}

/// Who is told what became of a change.
enum Answer<T> {
    One(oneshot::Sender<Result<T, StoreError>>),
    Many(Box<dyn FnOnce(Result<T, StoreError>) + Send>),
}

fn closed() -> StoreError {
    StoreError::Unavailable("the store is closed".into())
}

/// A queued change, whatever it answers.
trait Change: Send {
    fn extent(&self) -> Extent;
    /// Whether nobody waits for it any more.
    fn is_given_up(&self) -> bool;
    /// Makes the change and keeps its outcome. Gives whether what it has written stays.
    fn make<'c>(&'c mut self, connection: &'c mut SqliteConnection) -> Pin<Box<dyn Future<Output = bool> + Send + 'c>>;
    /// Gives the outcome to who waits, if the batch was committed.
    fn answer(self: Box<Self>, committed: Result<(), FailedTogether>);
}

struct Task<T, F> {
    extent: Extent,
    make: Option<F>,
    outcome: Option<Result<T, StoreError>>,
    answer: Answer<T>,
}

impl<T, F> Change for Task<T, F>
where
    T: Send,
    F: for<'c> FnOnce(&'c mut SqliteConnection) -> Pending<'c, T> + Send,
{
    fn extent(&self) -> Extent {
        self.extent
    }

    fn is_given_up(&self) -> bool {
        match &self.answer {
            Answer::One(answer) => answer.is_closed(),
            Answer::Many(_) => false,
        }
    }

    fn make<'c>(&'c mut self, connection: &'c mut SqliteConnection) -> Pin<Box<dyn Future<Output = bool> + Send + 'c>> {
        Box::pin(async move {
            let Some(make) = self.make.take() else {
                return false;
            };
            let (stays, outcome) = match make(connection).await {
                Ok(Verdict::Keep(answer)) => (true, Ok(answer)),
                Ok(Verdict::Undo(answer)) => (false, Ok(answer)),
                Err(error) => (false, Err(error)),
            };
            self.outcome = Some(outcome);
            stays
        })
    }

    fn answer(self: Box<Self>, committed: Result<(), FailedTogether>) {
        let outcome = match (committed, self.outcome) {
            // What went wrong in a change itself says more than that its batch failed with it.
            (_, Some(Err(error))) => Err(error),
            (Err(failed), _) => Err(StoreError::Unavailable(Box::new(failed))),
            (Ok(()), Some(outcome)) => outcome,
            (Ok(()), None) => Err(StoreError::Corrupt("a change that was not made")),
        };
        match self.answer {
            // Who waits no longer has no use for it.
            Answer::One(answer) => drop(answer.send(outcome)),
            Answer::Many(deliver) => deliver(outcome),
        }
    }
}

/// What the writer's task holds.
struct Desk {
    options: SqliteConnectOptions,
    /// `None` after a failure: the next batch connects anew.
    connection: Option<SqliteConnection>,
}

impl Desk {
    async fn work(mut self, mut waiting: mpsc::Receiver<Message>) {
        let mut messages = Vec::with_capacity(BATCH_MAX);
        while waiting.recv_many(&mut messages, BATCH_MAX).await > 0 {
            let mut changes = Vec::with_capacity(messages.len());
            let mut closing = None;
            for message in messages.drain(..) {
                match message {
                    Message::Change(change) if closing.is_none() && !change.is_given_up() => changes.push(change),
                    // Dropped, which tells who waits that the store is closed.
                    Message::Change(_) => {}
                    Message::Close(answer) => closing = Some(answer),
                }
            }
            if !changes.is_empty() {
                self.commit_together(changes).await;
            }
            if let Some(answer) = closing {
                if let Some(connection) = self.connection.take() {
                    // Merges the log into the database; if that fails, the next one who opens it does.
                    connection.close().await.ok();
                }
                answer.send(()).ok();
                return;
            }
        }
    }

    async fn commit_together(&mut self, mut changes: Vec<Box<dyn Change>>) {
        let committed = self.transaction(&mut changes).await;
        if let Err(failed) = &committed {
            tracing::error!(error = %failed.cause(), changes = changes.len(), "changes could not be committed");
        }
        for change in changes {
            change.answer(committed.clone());
        }
    }

    async fn transaction(&mut self, changes: &mut [Box<dyn Change>]) -> Result<(), FailedTogether> {
        let failed = |error| FailedTogether::new("the transaction was not committed", error);
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.options.connect().await.map_err(failed)?,
        };
        match batch(&mut connection, changes).await {
            Ok(()) => {
                self.connection = Some(connection);
                Ok(())
            }
            Err(error) => {
                // Dropping the connection would undo the transaction as well, but later, on its own thread.
                execute(&mut connection, "ROLLBACK").await.ok();
                connection.close().await.ok();
                Err(failed(error))
            }
        }
    }
}

async fn batch(connection: &mut SqliteConnection, changes: &mut [Box<dyn Change>]) -> Result<(), sqlx::Error> {
    // The write lock from the first statement on: no other process can change what a change has read.
    execute(connection, "BEGIN IMMEDIATE; SAVEPOINT batch").await?;
    for change in changes {
        match change.extent() {
            Extent::Statement => {
                if !change.make(connection).await {
                    // Fails if the transaction is gone.
                    execute(connection, "RELEASE batch; SAVEPOINT batch").await?;
                }
            }
            Extent::Statements => {
                execute(connection, "SAVEPOINT change").await?;
                let end = if change.make(connection).await {
                    "RELEASE change"
                } else {
                    "ROLLBACK TO change; RELEASE change"
                };
                execute(connection, end).await?;
            }
        }
    }
    execute(connection, "COMMIT").await
}

async fn execute(connection: &mut SqliteConnection, statements: &'static str) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(AssertSqlSafe(statements))
        .execute(connection)
        .await
        .map(|_| ())
}
