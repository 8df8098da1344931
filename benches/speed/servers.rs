//! What we are compared with: servers that answer OK to everything, small and our own.
//!
//! | server | what it does |
//! |---|---|
//! | stock | tonic and prost as generated, on tokio's default runtime with one worker |
//! | tuned | the same on a current-thread runtime |
//! | hyper | hyper's HTTP/2: reads the message, does not decode it, answers one fixed message |
//! | verifying | as hyper, and verifies a signature for each call |
//! | handed | as tuned, on several threads: one accept loop hands connections to them in turn; Scopegate's to the one that has fewest, which is the same for connections that stay |
//! | shared | the same, each thread with a listener of its own on the one port (SO_REUSEPORT): the kernel chooses |
//!
//! How they are compiled, and with which allocator, is up to the program around them: see `benches/baselines`.

#![allow(clippy::expect_used, clippy::disallowed_methods, reason = "programs for developers")]

use std::convert::Infallible;
use std::io::Write as _;

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
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio_stream::{Stream, StreamExt as _};

use crate::signed::Signed;

/// Serves until the process is ended: `serve NAME [SOCKET | THREADS]`. The address is printed first. `stock` takes a path
/// for a unix socket, `handed` and `shared` how many threads there are, `verifying` a path of tokens.
pub(crate) fn main() {
    let arguments: Vec<_> = std::env::args().skip(2).collect();
    let argument = arguments.get(1);
    match arguments.first().map_or("", String::as_str) {
        // On the runtime's own worker, not on the thread that blocks here.
        "stock" => stock_runtime().block_on(async {
            match argument {
                None => tokio::spawn(tonic()),
                Some(path) => tokio::spawn(tonic_on(path.clone())),
            }
            .await
            .expect("serves");
        }),
        "tuned" => current_thread().block_on(tonic()),
        "hyper" => current_thread().block_on(hyper(|| ())),
        "verifying" => {
            let signed = std::sync::Arc::new(Signed::read(argument.expect("a path").as_ref()));
            current_thread().block_on(hyper(move || signed.verify_one()));
        }
        "handed" => handed(threads(argument)),
        "shared" => shared(threads(argument)),
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
    serve(tonic::transport::server::TcpIncoming::from(listen().await).with_nodelay(Some(true))).await;
}

fn threads(argument: Option<&String>) -> usize {
    argument
        .and_then(|count| count.parse().ok())
        .expect("a count of threads")
}

fn handed(count: usize) {
    let threads: Vec<_> = (0..count)
        .map(|_| {
            let (hand, handed) = tokio::sync::mpsc::unbounded_channel();
            std::thread::spawn(move || {
                current_thread().block_on(async move {
                    let streams = tokio_stream::wrappers::UnboundedReceiverStream::new(handed);
                    serve(streams.map(TcpStream::from_std)).await;
                });
            });
            hand
        })
        .collect();
    current_thread().block_on(async {
        let listener = listen().await;
        for hand in threads.iter().cycle() {
            let (stream, _) = listener.accept().await.expect("accepts");
            stream.set_nodelay(true).expect("a socket");
            hand.send(stream.into_std().expect("a socket")).expect("a thread");
        }
    });
}

fn shared(count: usize) {
    use socket2::{Domain, Protocol, Socket, Type};
    let mut address = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
    let listeners: Vec<_> = (0..count)
        .map(|_| {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP)).expect("a socket");
            socket.set_reuse_port(true).expect("a socket");
            socket.set_nonblocking(true).expect("a socket");
            socket.bind(&address.into()).expect("binds");
            socket.listen(1024).expect("listens");
            let listener = std::net::TcpListener::from(socket);
            address = listener.local_addr().expect("bound");
            listener
        })
        .collect();
    announce(&address.to_string());
    let threads: Vec<_> = listeners
        .into_iter()
        .map(|listener| {
            std::thread::spawn(move || {
                current_thread().block_on(async move {
                    let listener = TcpListener::from_std(listener).expect("a listener");
                    serve(tonic::transport::server::TcpIncoming::from(listener).with_nodelay(Some(true))).await;
                });
            })
        })
        .collect();
    for thread in threads {
        thread.join().expect("serves");
    }
}

async fn serve(incoming: impl Stream<Item = std::io::Result<TcpStream>>) {
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

/// Does some `work` for each call.
async fn hyper(work: impl Fn() + Clone + Send + Sync + 'static) {
    let listener = listen().await;
    let framed = framed();
    loop {
        let (stream, _) = listener.accept().await.expect("accepts");
        stream.set_nodelay(true).expect("a socket");
        let (framed, work) = (framed.clone(), work.clone());
        let service = hyper::service::service_fn(move |request: Request<Incoming>| {
            let (framed, work) = (framed.clone(), work.clone());
            async move {
                std::hint::black_box(request.into_body().collect().await.expect("a message"));
                work();
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
