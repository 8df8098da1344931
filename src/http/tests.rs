//! The endpoints, asked through the router as the listener asks it.

mod bounds;
mod clients;
mod documents;
mod people;
mod revoke;
mod token;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, StatusCode, header};
use base64::Engine as _;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::http::{Limits, router, router_with};
use crate::issuer::fixture::{TestIssuer, quick_bank, settings};
use crate::oauth::declared::{ClientKind, Consent};
use crate::oauth::sample::{client, policy, rule, scope};

const TOKEN: &str = "/oauth2/transfers/v1/token";
const REVOKE: &str = "/oauth2/transfers/v1/revoke";
const FORM: &str = "application/x-www-form-urlencoded";

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no JSON: {:?}", self.body))
    }

    fn header(&self, name: header::HeaderName) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().expect("text"))
    }

    /// Status, `error`, `error_code`, after a look at what every error has.
    fn error(&self) -> (u16, String, String) {
        let body = self.json();
        let text = |name: &str| {
            body[name]
                .as_str()
                .unwrap_or_else(|| panic!("no {name} in {body}"))
                .to_owned()
        };
        assert!(text("error_id").len() >= 16);
        assert_eq!(self.header(header::CACHE_CONTROL), Some("no-store"));
        assert!(
            text("error_description")
                .bytes()
                .all(|byte| matches!(byte, 0x20..=0x21 | 0x23..=0x5b | 0x5d..=0x7e))
        );
        (self.status.as_u16(), text("error"), text("error_code"))
    }
}

async fn send(router: &Router, request: Request<Body>) -> Answer {
    let response = router.clone().oneshot(request).await.expect("the router answers");
    let (parts, body) = response.into_parts();
    let body = body.collect().await.expect("a body").to_bytes();
    Answer {
        status: parts.status,
        headers: parts.headers,
        body: String::from_utf8(body.to_vec()).expect("UTF-8"),
    }
}

fn post(path: &str, body: impl Into<Body>) -> Request<Body> {
    let request = Request::post(path).header(header::CONTENT_TYPE, FORM);
    request.body(body.into()).expect("a request")
}

fn post_with(path: &str, authorization: &[&str], body: &str) -> Request<Body> {
    let mut request = Request::post(path).header(header::CONTENT_TYPE, FORM);
    for value in authorization {
        request = request.header(header::AUTHORIZATION, *value);
    }
    request.body(Body::from(body.to_owned())).expect("a request")
}

fn basic(id: &str, secret: &str) -> String {
    let encoded = base64::engine::general_purpose::STANDARD.encode(format!("{id}:{secret}"));
    format!("Basic {encoded}")
}

async fn fetch(router: &Router, path: &str) -> Answer {
    send(router, Request::get(path).body(Body::empty()).expect("a request")).await
}

async fn bank() -> (TestIssuer, Router) {
    let test = TestIssuer::start().await;
    let router = router(Arc::clone(&test.issuer));
    (test, router)
}

const BATCH: &str = "grant_type=client_credentials&client_id=nightly-batch&client_secret=secret&scope=transfers:read";

async fn minted(router: &Router) -> String {
    let answer = send(router, post(TOKEN, BATCH)).await;
    answer.json()["access_token"].as_str().expect("a token").to_owned()
}
