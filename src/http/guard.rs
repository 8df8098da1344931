//! What stands around every endpoint.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
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

/// Runs a request in a task of its own, within the limits.
pub(super) async fn run(State(guard): State<Guard>, mut request: Request, next: Next) -> Response {
    let Ok(permit) = Arc::clone(&guard.permits).try_acquire_owned() else {
        return reply::unavailable("too many requests at once");
    };
    request.extensions_mut().insert(guard.body_timeout);
    // The permit goes with the work: work that outlives its deadline still counts.
    let work = tokio::spawn(async move {
        let response = next.run(request).await;
        drop(permit);
        response
    });
    match tokio::time::timeout(guard.timeout, work).await {
        Ok(Ok(response)) => response,
        Ok(Err(_panic)) => {
            tracing::error!("a request of the issuer panicked");
            reply::internal()
        }
        Err(_elapsed) => reply::unavailable("the request took too long"),
    }
}

/// Headers that every response has.
pub(super) async fn headers(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
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
    response
}
