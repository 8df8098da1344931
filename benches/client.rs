//! The client of the benchmarks: checks as Envoy sends them, over a few connections.

use std::collections::HashMap;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message as _;
use scopegate::envoy::pb::envoy::service::auth::v3::attribute_context::{HttpRequest, Request};
use scopegate::envoy::pb::envoy::service::auth::v3::{AttributeContext, CheckRequest};
use scopegate::envoy::server::CHECK_PATH;

pub(crate) const CONNECTIONS: usize = 8;
pub(crate) const STREAMS: usize = 32;

/// A check as Envoy sends it for a browser's request.
pub(crate) fn check_request(token: &str) -> Bytes {
    let headers = [
        (":authority", "api.bank.example".to_owned()),
        (":method", "GET".to_owned()),
        (":path", "/transfers/7".to_owned()),
        (":scheme", "https".to_owned()),
        ("accept", "application/json".to_owned()),
        ("accept-encoding", "gzip, deflate, br".to_owned()),
        ("authorization", format!("Bearer {token}")),
        (
            "user-agent",
            "Mozilla/5.0 (X11; Linux x86_64) Gecko/20100101".to_owned(),
        ),
        ("x-forwarded-for", "10.0.0.1".to_owned()),
        ("x-forwarded-proto", "https".to_owned()),
        ("x-request-id", "0b8b9c1e-0000-4000-8000-000000000000".to_owned()),
    ];
    let message = CheckRequest {
        attributes: Some(AttributeContext {
            request: Some(Request {
                time: None,
                http: Some(HttpRequest {
                    id: "123456789".into(),
                    method: "GET".into(),
                    path: "/transfers/7".into(),
                    host: "api.bank.example".into(),
                    scheme: "https".into(),
                    protocol: "HTTP/2".into(),
                    size: -1,
                    headers: headers
                        .into_iter()
                        .map(|(name, value)| (name.to_owned(), value))
                        .collect::<HashMap<_, _>>(),
                    ..HttpRequest::default()
                }),
            }),
            ..AttributeContext::default()
        }),
    }
    .encode_to_vec();
    let mut framed = vec![0];
    framed.extend_from_slice(&u32::try_from(message.len()).expect("small").to_be_bytes());
    framed.extend_from_slice(&message);
    Bytes::from(framed)
}

pub(crate) type Client = hyper::client::conn::http2::SendRequest<Full<Bytes>>;

pub(crate) async fn connect(address: &str) -> Client {
    let stream = tokio::net::TcpStream::connect(address).await.expect("connects");
    stream.set_nodelay(true).expect("nodelay");
    let (client, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .expect("handshake");
    tokio::spawn(connection);
    client
}

pub(crate) async fn call(client: &mut Client, body: Bytes) -> Bytes {
    let request = http::Request::post(format!("http://gate{CHECK_PATH}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(Full::new(body))
        .expect("valid");
    let response = client.send_request(request).await.expect("answers");
    let body = response.into_body().collect().await.expect("a whole answer");
    let status = body
        .trailers()
        .and_then(|trailers| trailers.get("grpc-status"))
        .cloned();
    assert_eq!(status.expect("a status"), "0");
    body.to_bytes()
}

pub(crate) async fn batch(clients: &[Client], calls: usize, body: &Bytes) {
    let each = calls / (CONNECTIONS * STREAMS);
    let mut tasks = Vec::new();
    for client in clients {
        for _ in 0..STREAMS {
            let (mut client, body) = (client.clone(), body.clone());
            tasks.push(tokio::spawn(async move {
                for _ in 0..each {
                    call(&mut client, body.clone()).await;
                }
            }));
        }
    }
    for task in tasks {
        task.await.expect("no call fails");
    }
}
