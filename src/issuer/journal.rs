//! The audit sink of a running issuer: everything into the log, denials into the store too.
//!
//! A denial is written in the background, through a queue that drops what it cannot take: neither a
//! slow disk nor a client that is refused in a loop holds a response up. What was dropped is counted
//! and said.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::mpsc;

use crate::audit::{self, AuditEvent, AuditKind, AuditSink};
use crate::store::Store;

/// How many denials may wait to be written.
const QUEUE_MAX: usize = 1024;

/// How many denials are written in one transaction.
const BATCH_MAX: usize = 128;

/// Takes events; [`Journal::start`] makes it with the task that writes them.
#[derive(Debug)]
pub struct Journal {
    queue: mpsc::Sender<AuditEvent>,
    dropped: AtomicU64,
}

impl Journal {
    /// A journal, and the future that writes until the journal is gone: spawn it.
    pub fn start(store: Arc<dyn Store>) -> (Arc<Self>, impl Future<Output = ()> + Send + 'static) {
        let (queue, waiting) = mpsc::channel(QUEUE_MAX);
        let journal = Arc::new(Self {
            queue,
            dropped: AtomicU64::new(0),
        });
        (journal, write(store, waiting))
    }

    /// How many denials were not kept, since the start.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

impl AuditSink for Journal {
    fn record(&self, event: AuditEvent) {
        audit::log(&event);
        // Only who has authenticated gets as far as a denial; the rest stays in the log.
        if event.kind == AuditKind::AccessDenied && self.queue.try_send(event).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

async fn write(store: Arc<dyn Store>, mut waiting: mpsc::Receiver<AuditEvent>) {
    let mut batch = Vec::with_capacity(BATCH_MAX);
    while waiting.recv_many(&mut batch, BATCH_MAX).await > 0 {
        if let Err(error) = store.append_audit(&batch).await {
            tracing::error!(%error, denials = batch.len(), "denials could not be kept");
        }
        batch.clear();
    }
}
