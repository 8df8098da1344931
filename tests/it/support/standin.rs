//! A scripted authorization service: it gives Envoy exactly the bytes that a test says, and remembers the checks.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use envoy_types::pb::envoy::config::core::v3::header_value_option::HeaderAppendAction;
use envoy_types::pb::envoy::config::core::v3::{HeaderValue, HeaderValueOption};
use envoy_types::pb::envoy::service::auth::v3::check_response::HttpResponse;
use envoy_types::pb::envoy::service::auth::v3::{CheckRequest, CheckResponse, DeniedHttpResponse, OkHttpResponse};
use envoy_types::pb::envoy::r#type::v3::HttpStatus;
use envoy_types::pb::google::protobuf::BoolValue;
use envoy_types::pb::google::rpc::Status;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full, combinators::BoxBody};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use parking_lot::Mutex;
use prost::Message;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::envoy::Service;
use super::h2_client::frame;

/// What the service does with a check.
#[derive(Debug, Clone)]
pub(crate) enum Answer {
    /// Answers with these bytes as the message.
    Bytes(Vec<u8>),
    /// Fails the call with this gRPC status.
    Error(u32),
    /// Never answers.
    Silence,
}

impl From<CheckResponse> for Answer {
    fn from(response: CheckResponse) -> Self {
        Self::Bytes(response.encode_to_vec())
    }
}

/// The running service.
pub(crate) struct StandIn {
    address: SocketAddr,
    checks: Arc<Mutex<Vec<CheckRequest>>>,
    answer: Arc<Mutex<Answer>>,
    accepting: JoinHandle<()>,
}

impl StandIn {
    /// A service that gives this answer until it is told another.
    pub(crate) async fn start(answer: impl Into<Answer>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .expect("port 0 is free");
        let address = listener.local_addr().expect("a bound socket has an address");
        let checks = Arc::new(Mutex::new(Vec::new()));
        let answer = Arc::new(Mutex::new(answer.into()));
        let (record, script) = (Arc::clone(&checks), Arc::clone(&answer));
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (record, script) = (Arc::clone(&record), Arc::clone(&script));
                let service =
                    hyper::service::service_fn(move |request| check(request, Arc::clone(&record), Arc::clone(&script)));
                tokio::spawn(async move {
                    let builder = auto::Builder::new(TokioExecutor::new()).http2_only();
                    // A connection that breaks is Envoy's business.
                    let _ = builder.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Self {
            address,
            checks,
            answer,
            accepting,
        }
    }

    pub(crate) fn service(&self) -> Service {
        Service::Tcp(self.address)
    }

    pub(crate) fn answer_with(&self, answer: impl Into<Answer>) {
        *self.answer.lock() = answer.into();
    }

    /// The only check since the last call; fails if there were none or several.
    pub(crate) fn take_one(&self) -> CheckRequest {
        let mut checks = self.take();
        assert_eq!(checks.len(), 1, "checks that Envoy made: {checks:#?}");
        checks.remove(0)
    }

    /// Every check since the last call.
    pub(crate) fn take(&self) -> Vec<CheckRequest> {
        std::mem::take(&mut self.checks.lock())
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn check(
    request: Request<Incoming>,
    checks: Arc<Mutex<Vec<CheckRequest>>>,
    script: Arc<Mutex<Answer>>,
) -> Result<Response<BoxBody<Bytes, Infallible>>, Infallible> {
    let body = request
        .into_body()
        .collect()
        .await
        .map(http_body_util::Collected::to_bytes)
        .unwrap_or_default();
    if let Some(message) = body.get(5..) {
        checks
            .lock()
            .push(CheckRequest::decode(message).expect("Envoy encodes what it says"));
    }
    let answer = script.lock().clone();
    let (message, status) = match answer {
        Answer::Bytes(message) => (frame(&message), 0),
        Answer::Error(status) => (Bytes::new(), status),
        Answer::Silence => std::future::pending().await,
    };
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", status.into());
    let body = Full::new(message).with_trailers(async move { Some(Ok(trailers)) });
    let mut response = Response::new(body.boxed());
    response
        .headers_mut()
        .insert("content-type", http::HeaderValue::from_static("application/grpc"));
    Ok(response)
}

/// An allow that changes the request in this way.
pub(crate) fn allow(changes: OkHttpResponse) -> CheckResponse {
    CheckResponse {
        status: Some(Status::default()),
        http_response: Some(HttpResponse::OkResponse(changes)),
        ..CheckResponse::default()
    }
}

/// A denial in the form that Envoy cannot misread: a status code that is not OK, and an HTTP status.
pub(crate) fn deny(code: i32, http_status: i32, headers: Vec<HeaderValueOption>, body: &str) -> CheckResponse {
    CheckResponse {
        status: Some(Status {
            code,
            ..Status::default()
        }),
        http_response: Some(HttpResponse::DeniedResponse(denied(http_status, headers, body))),
        ..CheckResponse::default()
    }
}

/// What a denial looks like to the client; `http_status` 0 leaves it unset.
pub(crate) fn denied(http_status: i32, headers: Vec<HeaderValueOption>, body: &str) -> DeniedHttpResponse {
    DeniedHttpResponse {
        status: (http_status != 0).then_some(HttpStatus { code: http_status }),
        headers,
        body: body.to_owned(),
    }
}

/// A header set as the gate sets it: `append` false and OVERWRITE_IF_EXISTS_OR_ADD.
pub(crate) fn set(name: &str, value: &str) -> HeaderValueOption {
    header(name, value, Some(false), HeaderAppendAction::OverwriteIfExistsOrAdd)
}

/// A header with either way of saying how it meets one of the same name.
#[expect(deprecated, reason = "`append` is what older releases read")]
pub(crate) fn header(name: &str, value: &str, append: Option<bool>, action: HeaderAppendAction) -> HeaderValueOption {
    HeaderValueOption {
        header: Some(HeaderValue {
            key: name.to_owned(),
            value: value.to_owned(),
            raw_value: Vec::new(),
        }),
        append: append.map(|value| BoolValue { value }),
        append_action: action.into(),
        keep_empty_value: false,
    }
}
