//! The way of spans to the collector: a bounded queue and a thread with a runtime of its own.
//!
//! The thread is not one of the gate's, so that a collector that is slow or gone takes no time from a
//! check. It sleeps until a batch is full or the delay has passed, sends what waits, and counts what is
//! not taken. It is not woken for a span: that would cost more than the span. There is no retry: a span
//! is worth less than the memory that a queue of retries can grow to. That the collector does not take
//! spans is said once, and again only after it has taken some.

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use opentelemetry_otlp::{SpanExporter as OtlpExporter, WithExportConfig as _};
use opentelemetry_sdk::trace::{SpanData, SpanExporter};
use parking_lot::{Condvar, Mutex};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::telemetry::TelemetryError;
use crate::telemetry::trace::Drops;
use crate::telemetry::trace::settings::{QueueSettings, TraceSettings};

/// The longest text of an error that is logged, in bytes: it may come from the collector.
const ERROR_BYTES_MAX: usize = 256;

/// The exporter to the collector that the settings name. Needs a runtime around it.
pub(super) fn otlp(settings: &TraceSettings) -> Result<OtlpExporter, TelemetryError> {
    let mut exporter = OtlpExporter::builder()
        .with_tonic()
        .with_endpoint(settings.endpoint.as_str())
        .build()
        .map_err(TelemetryError::Exporter)?;
    exporter.set_resource(&settings.resource);
    Ok(exporter)
}

/// The queue's near end.
#[derive(Debug)]
pub(super) struct Worker {
    queue: Arc<Queue>,
    drops: Drops,
    end: Arc<End>,
}

/// Spans that wait.
#[derive(Debug)]
struct Queue {
    settings: QueueSettings,
    /// Held for as long as it takes to move a span, or a batch of them.
    waiting: Mutex<Waiting>,
    batch_is_full: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    spans: VecDeque<SpanData>,
    closed: bool,
}

impl Queue {
    fn new(settings: QueueSettings) -> Self {
        Self {
            settings,
            waiting: Mutex::default(),
            batch_is_full: Notify::new(),
        }
    }

    /// False if there is no room.
    fn push(&self, span: SpanData) -> bool {
        let mut waiting = self.waiting.lock();
        if waiting.closed || waiting.spans.len() >= self.settings.spans_max {
            return false;
        }
        waiting.spans.push_back(span);
        let count = waiting.spans.len();
        drop(waiting);
        // Once for each batch. If the thread is busy with one, the next is found when it looks again.
        if count == self.settings.batch_max {
            self.batch_is_full.notify_one();
        }
        true
    }

    /// The oldest of those that wait, a batch at most.
    fn take(&self) -> Vec<SpanData> {
        let mut waiting = self.waiting.lock();
        let count = waiting.spans.len().min(self.settings.batch_max);
        waiting.spans.drain(..count).collect()
    }

    fn has_batch(&self) -> bool {
        self.waiting.lock().spans.len() >= self.settings.batch_max
    }

    /// Takes no more spans.
    fn close(&self) {
        self.waiting.lock().closed = true;
    }
}

/// How the two ends agree to stop.
#[derive(Debug, Default)]
struct End {
    asked: CancellationToken,
    /// Set before `asked` is.
    deadline: OnceLock<Instant>,
    finished: Mutex<bool>,
    done: Condvar,
}

impl Worker {
    /// Starts the thread; `build` makes the exporter on it, within its runtime.
    ///
    /// # Errors
    /// What `build` says, or that no thread or runtime is to be had.
    pub(super) fn start<E, B>(settings: QueueSettings, drops: Drops, build: B) -> Result<Self, TelemetryError>
    where
        E: SpanExporter + 'static,
        B: FnOnce() -> Result<E, TelemetryError> + Send + 'static,
    {
        let queue = Arc::new(Queue::new(settings));
        let end = Arc::new(End::default());
        let (report, is_built) = std::sync::mpsc::channel();
        let (thread_queue, thread_end, thread_drops) = (Arc::clone(&queue), Arc::clone(&end), drops.clone());
        thread::Builder::new()
            .name("trace-export".to_owned())
            .spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                let runtime = match runtime {
                    Ok(runtime) => runtime,
                    Err(error) => {
                        let _ = report.send(Err(TelemetryError::Thread(error)));
                        return;
                    }
                };
                runtime.block_on(async {
                    let exporter = match build() {
                        Ok(exporter) => exporter,
                        Err(error) => {
                            let _ = report.send(Err(error));
                            return;
                        }
                    };
                    let _ = report.send(Ok(()));
                    let export = Export {
                        exporter,
                        queue: thread_queue,
                        drops: thread_drops,
                        end: Arc::clone(&thread_end),
                        failing: false,
                    };
                    export.run().await;
                });
                *thread_end.finished.lock() = true;
                thread_end.done.notify_all();
            })
            .map_err(TelemetryError::Thread)?;
        is_built
            .recv()
            .unwrap_or_else(|_| Err(TelemetryError::Thread(std::io::Error::other("the thread ended"))))?;
        Ok(Self { queue, drops, end })
    }

    /// Queues a span, or counts it as dropped.
    pub(super) fn send(&self, span: SpanData) {
        if !self.queue.push(span) {
            self.drops.full.inc();
        }
    }

    /// Sends what waits and ends the thread; false if that took longer than `deadline`.
    pub(super) fn shutdown(&self, deadline: Duration) -> bool {
        let _ = self.end.deadline.set(Instant::now() + deadline);
        self.end.asked.cancel();
        let mut finished = self.end.finished.lock();
        !self
            .end
            .done
            .wait_while_for(&mut finished, |finished| !*finished, deadline)
            .timed_out()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // Without a shutdown nothing is waited for; the thread must end all the same.
        let _ = self.end.deadline.set(Instant::now());
        self.end.asked.cancel();
    }
}

/// The queue's far end.
struct Export<E> {
    exporter: E,
    queue: Arc<Queue>,
    drops: Drops,
    end: Arc<End>,
    /// The collector does not take spans, and the log has said so.
    failing: bool,
}

impl<E: SpanExporter> Export<E> {
    async fn run(mut self) {
        while self.is_time().await {
            self.send_batch().await;
        }
        self.queue.close();
        while self.send_batch().await {}
        let _ = self.exporter.shutdown_with_timeout(Duration::ZERO);
    }

    /// Waits for a batch, or for the delay; false when the end is asked for.
    async fn is_time(&self) -> bool {
        if self.end.asked.is_cancelled() {
            return false;
        }
        if self.queue.has_batch() {
            return true;
        }
        tokio::select! {
            biased;
            () = self.end.asked.cancelled() => false,
            () = self.queue.batch_is_full.notified() => true,
            () = tokio::time::sleep(self.queue.settings.delay) => true,
        }
    }

    /// False if nothing waits.
    async fn send_batch(&mut self) -> bool {
        let batch = self.queue.take();
        let waited = !batch.is_empty();
        if waited {
            self.send(batch).await;
        }
        waited
    }

    async fn send(&mut self, batch: Vec<SpanData>) {
        let count = batch.len() as u64;
        let result = tokio::select! {
            biased;
            result = self.exporter.export(batch) => result.map_err(|error| error.to_string()),
            () = self.past_deadline() => Err("the shutdown's deadline has passed".to_owned()),
        };
        match result {
            Ok(()) => {
                if std::mem::take(&mut self.failing) {
                    tracing::info!("the collector takes spans again");
                }
            }
            Err(mut error) => {
                self.drops.export_failed.inc_by(count);
                error.truncate(error.floor_char_boundary(ERROR_BYTES_MAX));
                if !std::mem::replace(&mut self.failing, true) {
                    tracing::warn!(%error, "the collector takes no spans, checks go on without traces");
                }
            }
        }
    }

    async fn past_deadline(&self) {
        self.end.asked.cancelled().await;
        if let Some(deadline) = self.end.deadline.get() {
            tokio::time::sleep_until(*deadline).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use super::*;
    use crate::telemetry::log::{LogFormat, subscriber};
    use crate::telemetry::testing::Captured;
    use crate::telemetry::trace::tests::{MemoryExporter, QUEUE};

    #[test]
    fn a_collector_that_takes_no_spans_is_named_once_and_its_return_once() {
        let (exporter, _calls) = MemoryExporter::new();
        let mut export = Export {
            exporter: exporter.clone(),
            queue: Arc::new(Queue::new(QUEUE)),
            drops: Drops::default(),
            end: Arc::default(),
            failing: false,
        };
        let captured = Captured::default();
        let subscriber = subscriber(Some("info"), LogFormat::Human, captured.clone()).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        tracing::subscriber::with_default(subscriber, || {
            for fails in [true, true, true, false, false, true] {
                exporter.fail.store(fails, Ordering::SeqCst);
                runtime.block_on(export.send(Vec::new()));
            }
        });
        let text = captured.text();
        let levels: Vec<_> = text.lines().filter_map(|line| line.split_whitespace().nth(1)).collect();
        assert_eq!(levels, ["WARN", "INFO", "WARN"], "{text}");
        assert!(text.contains("no collector"), "the log says why: {text}");
    }
}
