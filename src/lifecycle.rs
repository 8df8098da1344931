//! How the process becomes ready, and how it ends.
//!
//! - **Ready** is what is left when every [`NotReady`] guard is gone: who must be waited for holds one. Readiness names
//!   what it waits for.
//! - **A task that ends unasked is a failure**: the process then drains and exits with 1, for whoever supervises it to start
//!   it anew, rather than live on without its issuer or its accept loop.
//! - **Ending** is soft first (no longer ready, then GOAWAY and no new connections, calls finish) and hard at a deadline. A
//!   second signal ends each wait at once.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio_util::task::TaskTracker;

use crate::net::limits::Stop;

/// How long the steps of ending take.
#[derive(Debug, Clone, Copy)]
pub struct DrainSettings {
    /// For how long checks are still served as before after readiness was withdrawn: long enough for Envoy's health checks and
    /// for a load balancer to look elsewhere.
    pub delay: Duration,
    /// For how long calls and connections may then take to end.
    pub deadline: Duration,
}

impl Default for DrainSettings {
    fn default() -> Self {
        Self {
            delay: Duration::from_secs(3),
            deadline: Duration::from_secs(10),
        }
    }
}

/// What the process waits for before it is ready.
#[derive(Debug, Clone, Default)]
pub struct Readiness(Arc<Waiting>);

#[derive(Debug)]
struct Waiting {
    names: Mutex<Vec<Arc<str>>>,
    ready: watch::Sender<bool>,
}

impl Default for Waiting {
    fn default() -> Self {
        Self {
            names: Mutex::default(),
            ready: watch::Sender::new(true),
        }
    }
}

impl Readiness {
    /// Makes the process not ready until the guard is dropped.
    #[must_use = "dropping the guard is what makes ready"]
    pub fn wait_for(&self, name: &str) -> NotReady {
        let name: Arc<str> = Arc::from(name);
        let mut names = self.0.names.lock();
        names.push(name.clone());
        self.0.ready.send_replace(false);
        NotReady {
            waiting: self.0.clone(),
            name,
        }
    }

    /// Makes the process not ready for good: it is about to end.
    pub fn withdraw(&self, name: &str) {
        self.0.names.lock().push(Arc::from(name));
        self.0.ready.send_replace(false);
    }

    /// The names of what is waited for; none means ready.
    #[must_use]
    pub fn waiting_for(&self) -> Vec<String> {
        self.0.names.lock().iter().map(ToString::to_string).collect()
    }

    /// Whether the process is ready, and each change of that.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<bool> {
        self.0.ready.subscribe()
    }
}

/// The process is not ready while this exists.
#[derive(Debug)]
pub struct NotReady {
    waiting: Arc<Waiting>,
    name: Arc<str>,
}

impl Drop for NotReady {
    fn drop(&mut self) {
        let mut names = self.waiting.names.lock();
        if let Some(index) = names.iter().position(|name| Arc::ptr_eq(name, &self.name)) {
            names.swap_remove(index);
        }
        self.waiting.ready.send_replace(names.is_empty());
        if names.is_empty() {
            tracing::info!("ready");
        } else {
            tracing::debug!("`{}` is there, waiting for {}", self.name, names.join(", "));
        }
    }
}

/// The tasks of the process, and the two ways of ending them.
#[derive(Debug, Clone, Default)]
pub struct Lifecycle {
    stop: Stop,
    tasks: TaskTracker,
    failed: Arc<watch::Sender<Option<&'static str>>>,
    /// What must be there before the process is ready.
    pub readiness: Readiness,
}

impl Lifecycle {
    /// The signals to end.
    #[must_use]
    pub fn stop(&self) -> &Stop {
        &self.stop
    }

    /// Runs a task without which the process is of no use. It may end once the process is asked to.
    pub fn essential(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let watched = Watched {
            name,
            lifecycle: self.clone(),
        };
        self.tasks.spawn(async move {
            // Dropped when the task ends, also by a panic.
            let _watched = watched;
            task.await;
        });
    }

    /// Runs a task that may end whenever it likes: a connection.
    pub fn passing(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(task);
    }

    /// Runs a task that ends with the process, and that nothing waits for.
    pub fn beside(&self, task: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.soft.clone();
        tokio::spawn(async move { stop.run_until_cancelled_owned(task).await });
    }

    /// Waits for the first essential task that ends unasked.
    pub async fn failed(&self) -> &'static str {
        let mut failed = self.failed.subscribe();
        let name = failed.wait_for(Option::is_some).await;
        // The sender lives as long as `self`.
        name.ok().and_then(|name| *name).unwrap_or("a task")
    }

    /// Waits until every task has ended. To be called once none is started any more.
    pub async fn ended(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// How many tasks there are.
    #[must_use]
    pub fn tasks(&self) -> usize {
        self.tasks.len()
    }
}

struct Watched {
    name: &'static str,
    lifecycle: Lifecycle,
}

impl Drop for Watched {
    fn drop(&mut self) {
        if !self.lifecycle.stop.soft.is_cancelled() && !self.lifecycle.stop.hard.is_cancelled() {
            tracing::error!("`{}` has ended unasked", self.name);
            self.lifecycle.failed.send_replace(Some(self.name));
        }
    }
}

/// SIGTERM and SIGINT.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Takes the signals over from the operating system's default, which is to die.
    ///
    /// # Errors
    /// When the operating system refuses.
    pub fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// The name of the next one that comes.
    pub async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

/// Why the process ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// It was asked to, by this signal or by this test.
    Asked(&'static str),
    /// This task ended unasked.
    TaskEnded(&'static str),
}

/// How the process ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExitReport {
    /// Why.
    pub cause: Cause,
    /// How many connections had to be cut at the deadline.
    pub connections_cut: usize,
    /// Whether everything that telemetry had was written and sent.
    pub telemetry_flushed: bool,
}

impl ExitReport {
    /// 0 if it was asked to end, 1 if it could not go on.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self.cause {
            Cause::Asked(_) => 0,
            Cause::TaskEnded(_) => 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn is_ready_when_the_last_guard_is_gone_and_names_the_others() {
        let readiness = Readiness::default();
        assert!(*readiness.subscribe().borrow());
        let (keys, store) = (readiness.wait_for("keys"), readiness.wait_for("store"));
        let twice = readiness.wait_for("keys");
        assert_eq!(readiness.waiting_for(), ["keys", "store", "keys"]);
        drop(keys);
        drop(store);
        assert_eq!(readiness.waiting_for(), ["keys"]);
        let mut ready = readiness.subscribe();
        assert!(!*ready.borrow_and_update());
        drop(twice);
        ready.changed().await.expect("is told");
        assert!(*ready.borrow_and_update() && readiness.waiting_for().is_empty());
        readiness.withdraw("draining");
        drop(readiness.wait_for("keys"));
        assert!(!*ready.borrow());
        assert_eq!(readiness.waiting_for(), ["draining"]);
    }

    #[tokio::test]
    async fn an_essential_task_that_ends_or_panics_unasked_is_a_failure() {
        for panics in [false, true] {
            let lifecycle = Lifecycle::default();
            lifecycle.essential("steady", std::future::pending());
            lifecycle.essential("fleeting", async move { assert!(!panics, "on purpose") });
            assert_eq!(lifecycle.failed().await, "fleeting");
        }
    }

    #[tokio::test]
    async fn a_task_that_ends_when_asked_is_none() {
        let lifecycle = Lifecycle::default();
        let stop = lifecycle.stop().clone();
        lifecycle.essential("obedient", async move { stop.soft.cancelled().await });
        lifecycle.stop().soft.cancel();
        lifecycle.ended().await;
        assert_eq!(*lifecycle.failed.borrow(), None);
    }
}
