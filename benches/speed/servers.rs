//! What we are compared with: servers that answer OK to everything, small and our own.
//!
//! | server | what it does |
//! |---|---|
//! | stock | tonic and prost as generated, on tokio's default runtime with one worker and the system's allocator |
//! | tuned | the same on a current-thread runtime |
//! | hyper | hyper's HTTP/2: reads the message, does not decode it, answers one fixed message |
//! | h2 | the same on the `h2` crate alone, and it does not even wait for the message |

use std::convert::Infallible;
use std::future::Future as _;
use std::io::Write as _;
use std::task::Poll;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message as _;
use scopegate::envoy::pb::envoy::service::auth::v3::authorization_server::{Authorization, AuthorizationServer};
use scopegate::envoy::pb::envoy::service::auth::v3::check_response::HttpResponse;
use scopegate::envoy::pb::envoy::service::auth::v3::{CheckRequest, CheckResponse, OkHttpResponse};
use scopegate::envoy::pb::google::rpc::Status;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};

/// Serves until the process is ended. The address is printed first. The stock server takes a path for a unix socket.
pub(crate) fn serve(name: &str, socket: Option<&str>) {
    match name {
        // On the runtime's own worker, not on the thread that blocks here.
        "stock" => stock_runtime().block_on(async {
            match socket.map(str::to_owned) {
                None => tokio::spawn(tonic()),
                Some(path) => tokio::spawn(tonic_on(path)),
            }
            .await
            .expect("serves");
        }),
        "tuned" => current_thread().block_on(tonic()),
        "hyper" => current_thread().block_on(hyper()),
        "h2" => current_thread().block_on(h2()),
        other => panic!("there is no server `{other}`"),
    }
}

/// What `#[tokio::main]` makes, with one worker, so that threads are equal.
fn stock_runtime() -> Runtime {
    Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime")
}

fn current_thread() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime")
}

async fn listen() -> TcpListener {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    announce(&listener.local_addr().expect("bound").to_string());
    listener
}

fn announce(address: &str) {
    println!("{address}");
    std::io::stdout().flush().expect("a pipe");
}

struct Stock;

fn ok() -> CheckResponse {
    CheckResponse {
        status: Some(Status::default()),
        http_response: Some(HttpResponse::OkResponse(OkHttpResponse::default())),
        dynamic_metadata: None,
    }
}

#[tonic::async_trait]
impl Authorization for Stock {
    async fn check(
        &self,
        request: tonic::Request<CheckRequest>,
    ) -> Result<tonic::Response<CheckResponse>, tonic::Status> {
        std::hint::black_box(request.into_inner());
        Ok(tonic::Response::new(ok()))
    }
}

async fn tonic() {
    let incoming = tonic::transport::server::TcpIncoming::from(listen().await).with_nodelay(Some(true));
    tonic::transport::Server::builder()
        .add_service(AuthorizationServer::new(Stock))
        .serve_with_incoming(incoming)
        .await
        .expect("serves");
}

async fn tonic_on(path: String) {
    let listener = tokio::net::UnixListener::bind(&path).expect("binds");
    announce(&format!("unix:{path}"));
    tonic::transport::Server::builder()
        .add_service(AuthorizationServer::new(Stock))
        .serve_with_incoming(tokio_stream::wrappers::UnixListenerStream::new(listener))
        .await
        .expect("serves");
}

/// The fixed answer, behind gRPC's prefix.
fn framed() -> Bytes {
    let message = ok().encode_to_vec();
    let mut framed = vec![0];
    framed.extend_from_slice(&u32::try_from(message.len()).expect("small").to_be_bytes());
    framed.extend_from_slice(&message);
    Bytes::from(framed)
}

async fn h2() {
    let listener = listen().await;
    loop {
        let (stream, _) = listener.accept().await.expect("accepts");
        stream.set_nodelay(true).expect("a socket");
        let framed = framed();
        tokio::spawn(async move {
            let mut connection = h2::server::Builder::new()
                .initial_window_size(256 * 1024)
                .initial_connection_window_size(1024 * 1024)
                .handshake::<_, Bytes>(stream)
                .await
                .expect("HTTP/2");
            let mut accepted = Vec::new();
            // All that is there is accepted before anything is answered: an answer in between would be a write by itself.
            while let Some(Ok(first)) = connection.accept().await {
                accepted.push(first);
                while let Some(Ok(next)) = std::future::poll_fn(|context| {
                    let polled = std::pin::pin!(connection.accept()).poll(context);
                    Poll::Ready(if let Poll::Ready(next) = polled { next } else { None })
                })
                .await
                {
                    accepted.push(next);
                }
                for (request, respond) in accepted.drain(..) {
                    ok_to(request, respond, &framed).await;
                }
            }
        });
    }
}

async fn ok_to(request: Request<h2::RecvStream>, mut respond: h2::server::SendResponse<Bytes>, framed: &Bytes) {
    let mut body = request.into_body();
    // What is there is taken; awaiting more would keep the connection from reading it.
    let there = std::future::poll_fn(|context| match body.poll_data(context) {
        Poll::Ready(Some(Ok(data))) => Poll::Ready(data.len()),
        _ => Poll::Ready(0),
    });
    let there = there.await;
    let _ = body.flow_control().release_capacity(there);
    let mut response = Response::new(());
    response
        .headers_mut()
        .insert("content-type", HeaderValue::from_static("application/grpc"));
    let mut stream = respond.send_response(response, false).expect("open");
    stream.send_data(framed.clone(), false).expect("open");
    let trailers = HeaderMap::from_iter([("grpc-status".parse().expect("a name"), HeaderValue::from_static("0"))]);
    stream.send_trailers(trailers).expect("open");
}

async fn hyper() {
    let listener = listen().await;
    let framed = framed();
    loop {
        let (stream, _) = listener.accept().await.expect("accepts");
        stream.set_nodelay(true).expect("a socket");
        let framed = framed.clone();
        let service = hyper::service::service_fn(move |request: Request<Incoming>| {
            let framed = framed.clone();
            async move {
                std::hint::black_box(request.into_body().collect().await.expect("a message"));
                let trailers =
                    HeaderMap::from_iter([("grpc-status".parse().expect("a name"), HeaderValue::from_static("0"))]);
                let body = Full::new(framed).with_trailers(std::future::ready(Some(Ok::<_, Infallible>(trailers))));
                let mut response = Response::new(body);
                response
                    .headers_mut()
                    .insert("content-type", HeaderValue::from_static("application/grpc"));
                Ok::<_, Infallible>(response)
            }
        });
        tokio::spawn(async move {
            let _ = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}
