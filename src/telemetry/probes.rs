//! The telemetry listener's pages: `/metrics`, `/livez`, `/readyz`.
//!
//! They are apart from the data path and read-only. They show no secret, but names of APIs and
//! routes: the listener's default address is on loopback, and the configuration says if it is not.
//!
//! `/livez` says that the process answers at all: restart it if not. `/readyz` says that it should be
//! sent traffic, or names what it waits for.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderName, StatusCode};
use axum::response::IntoResponse;
use axum::routing::get;

use crate::telemetry::metrics::{self, Metrics};

/// What the process waits for before it should be sent traffic.
pub trait Readiness: Send + Sync + 'static {
    /// The names of what is not there yet, or no longer; none means ready.
    fn waiting_for(&self) -> Vec<String>;
}

impl<F: Fn() -> Vec<String> + Send + Sync + 'static> Readiness for F {
    fn waiting_for(&self) -> Vec<String> {
        self()
    }
}

#[derive(Clone)]
struct Pages {
    metrics: Arc<Metrics>,
    readiness: Arc<dyn Readiness>,
}

/// The three pages.
pub(super) fn router(metrics: Arc<Metrics>, readiness: Arc<dyn Readiness>) -> Router {
    Router::new()
        .route("/metrics", get(show_metrics))
        .route(
            "/livez",
            get(|| async { page(StatusCode::OK, TEXT, "alive\n".to_owned()) }),
        )
        .route("/readyz", get(show_readiness))
        .with_state(Pages { metrics, readiness })
}

const TEXT: &str = "text/plain; charset=utf-8";

async fn show_metrics(State(pages): State<Pages>) -> impl IntoResponse {
    page(StatusCode::OK, metrics::CONTENT_TYPE, pages.metrics.exposition())
}

async fn show_readiness(State(pages): State<Pages>) -> impl IntoResponse {
    let missing = pages.readiness.waiting_for();
    if missing.is_empty() {
        return page(StatusCode::OK, TEXT, "ready\n".to_owned());
    }
    page(
        StatusCode::SERVICE_UNAVAILABLE,
        TEXT,
        format!("not ready, waiting for: {}\n", missing.join(", ")),
    )
}

fn page(
    status: StatusCode,
    content_type: &'static str,
    body: String,
) -> (StatusCode, [(HeaderName, &'static str); 3], String) {
    let headers = [
        (CONTENT_TYPE, content_type),
        (CACHE_CONTROL, "no-store"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (status, headers, body)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use axum::body::Body;
    use axum::http::Request;
    use http_body_util::BodyExt as _;
    use tower::ServiceExt as _;

    use super::*;
    use crate::clock::ManualClock;
    use crate::model::time::Timestamp;

    async fn get(router: &Router, method: &str, path: &str) -> (u16, String, String) {
        let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
        let response = router.clone().oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let content_type = response
            .headers()
            .get(CONTENT_TYPE)
            .map(|value| value.to_str().unwrap().to_owned())
            .unwrap_or_default();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, content_type, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn shows_metrics_life_and_what_readiness_waits_for() {
        let clock = Arc::new(ManualClock::at(Timestamp::from_unix_seconds(1_789_000_000)));
        let ready = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&ready);
        let readiness = move || {
            if seen.load(Ordering::SeqCst) {
                Vec::new()
            } else {
                vec!["keys of `okta`".to_owned(), "the store".to_owned()]
            }
        };
        let router = router(Arc::new(Metrics::new(clock)), Arc::new(readiness));

        let (status, content_type, body) = get(&router, "GET", "/metrics").await;
        assert_eq!(status, 200);
        assert_eq!(
            content_type,
            "application/openmetrics-text; version=1.0.0; charset=utf-8"
        );
        assert!(body.ends_with("# EOF\n"));
        assert_eq!(get(&router, "GET", "/livez").await.0, 200);
        let (status, _, body) = get(&router, "GET", "/readyz").await;
        assert_eq!(status, 503);
        assert_eq!(body, "not ready, waiting for: keys of `okta`, the store\n");
        ready.store(true, Ordering::SeqCst);
        assert_eq!(get(&router, "GET", "/readyz").await.0, 200);
        assert_eq!(get(&router, "HEAD", "/readyz").await.0, 200);
        assert_eq!(get(&router, "POST", "/metrics").await.0, 405);
        assert_eq!(get(&router, "GET", "/").await.0, 404);
    }
}
