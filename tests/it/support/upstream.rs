//! The upstream behind Envoy: it remembers, byte for byte, what reached it.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, combinators::BoxBody};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// A request as the upstream received it.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) method: String,
    /// Path and query.
    pub(crate) target: String,
    /// Names in lower case; values byte for byte, each byte one character; repeated ones apart.
    pub(crate) headers: Vec<(String, String)>,
}

impl Seen {
    /// Every value of the header.
    pub(crate) fn headers(&self, name: &str) -> Vec<&str> {
        self.headers
            .iter()
            .filter(|(n, _)| n == name)
            .map(|(_, value)| value.as_str())
            .collect()
    }

    /// The header's only value; `None` if absent.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let all = self.headers(name);
        assert!(
            all.len() <= 1,
            "`{name}` reached the upstream {} times: {all:?}",
            all.len()
        );
        all.first().copied()
    }
}

/// A server that answers everything: 200 with `x-upstream: 1`, an upgrade with 101 and an echo of its bytes, gRPC
/// with an empty message and `grpc-status: 0`.
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    accepting: JoinHandle<()>,
}

impl Upstream {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .expect("port 0 is free");
        let address = listener.local_addr().expect("a bound socket has an address");
        let seen = Arc::new(Mutex::new(Vec::new()));
        let record = Arc::clone(&seen);
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let record = Arc::clone(&record);
                let service = hyper::service::service_fn(move |request| answer(request, Arc::clone(&record)));
                tokio::spawn(async move {
                    let builder = auto::Builder::new(TokioExecutor::new());
                    // A connection that breaks is Envoy's business.
                    let _ = builder
                        .serve_connection_with_upgrades(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        Self {
            address,
            seen,
            accepting,
        }
    }

    /// How many requests have reached it.
    pub(crate) fn count(&self) -> usize {
        self.seen.lock().len()
    }

    /// The only request since the last call; fails if there were none or several.
    pub(crate) fn take_one(&self) -> Seen {
        let mut seen = self.take();
        assert_eq!(seen.len(), 1, "requests that reached the upstream: {seen:#?}");
        seen.remove(0)
    }

    /// Every request since the last call.
    pub(crate) fn take(&self) -> Vec<Seen> {
        std::mem::take(&mut self.seen.lock())
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

type Body = BoxBody<Bytes, Infallible>;

async fn answer(mut request: Request<Incoming>, record: Arc<Mutex<Vec<Seen>>>) -> Result<Response<Body>, Infallible> {
    record.lock().push(Seen {
        method: request.method().to_string(),
        target: request
            .uri()
            .path_and_query()
            .map_or_else(String::new, ToString::to_string),
        headers: request
            .headers()
            .iter()
            .map(|(name, value)| (name.to_string(), latin1(value)))
            .collect(),
    });
    if request.headers().contains_key(header::UPGRADE) {
        return Ok(upgrade(&mut request));
    }
    let grpc = request
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|t| t.as_bytes().starts_with(b"application/grpc"));
    // Read to the end, so that a connection can be used again.
    let _ = request.into_body().collect().await;
    let mut response = if grpc {
        let trailers = HeaderMap::from_iter([("grpc-status".parse().expect("a name"), HeaderValue::from_static("0"))]);
        let message = Full::new(Bytes::from_static(&[0; 5])).with_trailers(async move { Some(Ok(trailers)) });
        let mut response = Response::new(message.boxed());
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        response
    } else {
        Response::new(Full::new(Bytes::from_static(b"from the upstream")).boxed())
    };
    response
        .headers_mut()
        .insert("x-upstream", HeaderValue::from_static("1"));
    Ok(response)
}

fn upgrade(request: &mut Request<Incoming>) -> Response<Body> {
    let protocol = request.headers()[header::UPGRADE].clone();
    let upgraded = hyper::upgrade::on(request);
    tokio::spawn(async move {
        let Ok(stream) = upgraded.await else { return };
        let mut stream = TokioIo::new(stream);
        let mut bytes = [0; 1024];
        while let Ok(count @ 1..) = stream.read(&mut bytes).await {
            if stream.write_all(&bytes[..count]).await.is_err() {
                return;
            }
        }
    });
    let mut response = Response::new(Full::new(Bytes::new()).boxed());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    response
        .headers_mut()
        .insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    response.headers_mut().insert(header::UPGRADE, protocol);
    response
        .headers_mut()
        .insert("x-upstream", HeaderValue::from_static("1"));
    response
}

fn latin1(value: &HeaderValue) -> String {
    value.as_bytes().iter().copied().map(char::from).collect()
}
