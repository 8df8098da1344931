//! What stands around every endpoint.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use crate::http::reply;

/// How much is answered at once, and for how long.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The most requests at once.
    pub concurrent_requests_max: usize,
    /// How long a request may take.
    pub request_timeout: Duration,
    /// How long a client may take to send a form.
    pub body_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            concurrent_requests_max: 512,
            request_timeout: Duration::from_secs(15),
            body_timeout: Duration::from_secs(10),
        }
    }
}

#[derive(Debug, Clone)]
pub(super) struct Guard {
    permits: Arc<Semaphore>,
    timeout: Duration,
    body_timeout: BodyTimeout,
}

/// How long a client may take to send a form: travels with the request to who reads the body.
#[derive(Debug, Clone, Copy)]
pub(super) struct BodyTimeout(pub(super) Duration);

impl Guard {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            permits: Arc::new(Semaphore::new(limits.concurrent_requests_max)),
            timeout: limits.request_timeout,
            body_timeout: BodyTimeout(limits.body_timeout),
        }
    }
}

/// What stands around every endpoint, in one layer: each costs a request a few allocations.
pub(super) async fn run(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    let mut response = within_limits(guard, request, next).await;
    add_headers(&mut response);
    response
}

/// Runs a request within the limits, to its end whatever becomes of the client.
///
/// It runs in the task of its connection, which costs no other thread a wake-up. What has to have a task of its own gets
/// one when the need is there ([`ToItsEnd`]): the client hangs up, or the deadline passes.
async fn within_limits(guard: Guard, mut request: Request, next: Next) -> Response {
    let Ok(permit) = Arc::clone(&guard.permits).try_acquire_owned() else {
        return reply::unavailable("too many requests at once");
    };
    request.extensions_mut().insert(guard.body_timeout);
    // The permit goes with the work: work that outlives its deadline still counts.
    let work = ToItsEnd::of(async move {
        let response = next.run(request).await;
        drop(permit);
        response
    });
    match tokio::time::timeout(guard.timeout, work).await {
        Ok(Ok(response)) => response,
        Ok(Err(Panicked)) => {
            tracing::error!("a request of the issuer panicked");
            reply::internal()
        }
        Err(_elapsed) => reply::unavailable("the request took too long"),
    }
}

/// Work that is done whole: where nobody waits for it any more, it goes on in a task of its own. A panic is an outcome.
struct ToItsEnd<T: 'static> {
    /// Gone once it has ended.
    work: Option<Work<T>>,
    has_begun: bool,
}

type Work<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// The work panicked; the hook has said where.
struct Panicked;

impl<T> ToItsEnd<T> {
    fn of(work: impl Future<Output = T> + Send + 'static) -> Self {
        Self {
            work: Some(Box::pin(work)),
            has_begun: false,
        }
    }
}

impl<T> Future for ToItsEnd<T> {
    type Output = Result<T, Panicked>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.has_begun = true;
        let Some(work) = &mut self.work else {
            return Poll::Ready(Err(Panicked));
        };
        // What the work shares with others is behind locks that a panic does not poison, as it was in a task.
        let polled = match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(context))) {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(outcome)) => Ok(outcome),
            Err(_) => Err(Panicked),
        };
        self.work = None;
        Poll::Ready(polled)
    }
}

impl<T> Drop for ToItsEnd<T> {
    fn drop(&mut self) {
        let Some(work) = self.work.take() else { return };
        // Outside of a runtime nothing can go on: the process is ending.
        if self.has_begun
            && let Ok(runtime) = Handle::try_current()
        {
            runtime.spawn(async move {
                work.await;
            });
        }
    }
}

/// Headers that every response has.
fn add_headers(response: &mut Response) {
    let headers = response.headers_mut();
    let always: [(HeaderName, &'static str); 5] = [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; frame-ancestors 'none'",
        ),
        (header::STRICT_TRANSPORT_SECURITY, "max-age=31536000"),
    ];
    headers.reserve(always.len() + 1);
    for (name, value) in always {
        headers.insert(name, HeaderValue::from_static(value));
    }
    // What does not say that it may be kept may not (attack F38).
    if !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    if response.status() == StatusCode::SERVICE_UNAVAILABLE {
        response
            .headers_mut()
            .insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
}
