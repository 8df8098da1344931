//! The gate's threads: each with a runtime of its own, on which nothing runs but checks.
//!
//! One loop accepts, and hands each connection to the thread that has the fewest. Envoy opens few connections and keeps
//! them for hours, one for each of its own threads: a shared port would let the kernel's hash put two of them on one
//! thread and leave another idle.

use std::future::{Future, poll_fn};
use std::io;
use std::sync::Arc;
use std::task::Poll;

use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};
use tokio_util::task::TaskTracker;

use crate::net::limits::{Limits, Stop};
use crate::net::listen::{Accepted, Handoff, Stream};
use crate::net::tls::Tls;

/// What a thread does with a connection.
pub trait Serve: Clone + Send + 'static {
    /// Serves one connection until it ends or is ended.
    fn serve(self, stream: Stream, settings: WorkerSettings) -> impl Future<Output = ()> + Send;
}

/// The threads.
#[derive(Debug)]
pub struct Workers {
    workers: Vec<Worker>,
}

#[derive(Debug)]
struct Worker {
    connections: mpsc::UnboundedSender<(Handoff, Seat)>,
    open: Arc<watch::Sender<usize>>,
}

/// A connection's place among those of its thread and of its listener.
#[derive(Debug)]
struct Seat {
    open: Arc<watch::Sender<usize>>,
    _listener: OwnedSemaphorePermit,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.open.send_modify(|open| *open -= 1);
    }
}

/// After how many turns of connections a thread looks for what has arrived on the others. Seldom, by default: a thread that is
/// never idle would let new calls lie in their sockets, where their time does not run.
pub(crate) const EVENT_INTERVAL: u32 = 4;

/// What the threads have in common.
#[derive(Debug, Clone)]
pub struct WorkerSettings {
    /// How many there are.
    pub count: usize,
    /// The bounds on each connection.
    pub limits: Limits,
    /// The listener's TLS.
    pub tls: Option<Arc<Tls>>,
    /// When they end.
    pub stop: Stop,
}

impl Workers {
    /// Starts the threads; `service` is called once for each.
    ///
    /// # Errors
    /// When the operating system gives no thread or no runtime.
    pub fn start<S: Serve>(settings: &WorkerSettings, mut service: impl FnMut(usize) -> S) -> io::Result<Self> {
        let start_one = |index| {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .event_interval(EVENT_INTERVAL)
                .build()?;
            let (connections, mut handed) = mpsc::unbounded_channel::<(Handoff, Seat)>();
            let (settings, service) = (settings.clone(), service(index));
            std::thread::Builder::new()
                .name(format!("gate-{index}"))
                .spawn(move || {
                    runtime.block_on(async move {
                        let tracker = TaskTracker::new();
                        while let Some((handoff, seat)) = handed.recv().await {
                            let (settings, service) = (settings.clone(), service.clone());
                            tracker.spawn(async move {
                                let _seat = seat;
                                let Ok(stream) = handoff.resume() else { return };
                                service.serve(stream, settings).await;
                            });
                        }
                        // Whoever started the threads is gone: what is under way ends first.
                        tracker.close();
                        tracker.wait().await;
                    });
                })?;
            Ok(Worker {
                connections,
                open: Arc::new(watch::Sender::new(0)),
            })
        };
        Ok(Self {
            workers: (0..settings.count.max(1)).map(start_one).collect::<io::Result<_>>()?,
        })
    }

    /// Hands a connection to the thread that has the fewest.
    pub fn dispatch(&self, accepted: Accepted) {
        let alive = self.workers.iter().filter(|worker| !worker.connections.is_closed());
        let Some(worker) = alive.min_by_key(|worker| *worker.open.borrow()) else {
            return;
        };
        worker.open.send_modify(|open| *open += 1);
        let seat = Seat {
            open: worker.open.clone(),
            _listener: accepted.seat,
        };
        match accepted.stream.hand_off() {
            // A thread that has ended drops what it is sent, and with it the seat.
            Ok(handoff) => drop(worker.connections.send((handoff, seat))),
            Err(error) => tracing::warn!(%error, "cannot hand a connection to a gate thread"),
        }
    }

    /// Waits until a thread has ended. None does before this is dropped, unless it panics.
    pub async fn any_ended(&self) {
        let mut ends: Vec<_> = self
            .workers
            .iter()
            .map(|worker| Box::pin(worker.connections.closed()))
            .collect();
        poll_fn(|context| {
            let ended = ends.iter_mut().any(|end| end.as_mut().poll(context).is_ready());
            if ended { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    /// How many connections are open.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.workers.iter().map(|worker| *worker.open.borrow()).sum()
    }

    /// Waits until no connection is open. To be called once none is dispatched any more.
    pub async fn idle(&self) {
        for worker in &self.workers {
            let mut open = worker.open.subscribe();
            // An error means that the thread is gone, and its connections with it.
            let _ = open.wait_for(|open| *open == 0).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_thread_that_has_ended_is_noticed() {
        let worker = || {
            let (connections, handed) = mpsc::unbounded_channel();
            let open = Arc::new(watch::Sender::new(0));
            (Worker { connections, open }, handed)
        };
        let ((first, _lives), (second, ends)) = (worker(), worker());
        let workers = Workers {
            workers: vec![first, second],
        };
        let mut ended = Box::pin(workers.any_ended());
        let polled = poll_fn(|context| Poll::Ready(ended.as_mut().poll(context))).await;
        assert!(polled.is_pending(), "both live");
        drop(ends);
        ended.await;
    }
}
