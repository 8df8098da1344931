//! Load with many different requests, which h2load cannot send. Its own cost does not count: it is another process.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::load::{CONNECTIONS, STREAMS, Seen, at};

/// Sends each of the checks once, over gRPC, with as many under way as h2load has. All are answered when it returns.
pub(crate) fn checks(address: &str, path: &str, bodies: &[Bytes]) {
    let url = format!("http://{address}{path}");
    let (bodies, next) = (Arc::new(bodies.to_vec()), Arc::new(AtomicUsize::new(0)));
    runtime().block_on(async {
        let mut tasks = Vec::new();
        for _ in 0..CONNECTIONS {
            let io = TokioIo::new(connect(address).await);
            let (client, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io)
                .await
                .expect("HTTP/2");
            tokio::spawn(connection);
            for _ in 0..STREAMS {
                let (mut client, url, bodies, next) = (client.clone(), url.clone(), bodies.clone(), next.clone());
                tasks.push(tokio::spawn(async move {
                    while let Some(body) = bodies.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let request = http::Request::post(&url)
                            .header("content-type", "application/grpc")
                            .header("te", "trailers")
                            .body(Full::new(body.clone()))
                            .expect("valid");
                        let response = client.send_request(request).await.expect("answers");
                        let body = response.into_body().collect().await.expect("a whole answer");
                        let status = body.trailers().and_then(|trailers| trailers.get("grpc-status"));
                        assert_eq!(status.expect("a status"), "0");
                    }
                }));
            }
        }
        for task in tasks {
            task.await.expect("no call fails");
        }
    });
}

/// Sends `calls` requests of HTTP/1.1, taking turns among these, over so many connections with one under way on each.
/// Every answer must have this status.
pub(crate) fn requests(address: &str, connections: usize, requests: &[Bytes], calls: usize, status: u16) -> Seen {
    let (requests, next) = (Arc::new(requests.to_vec()), Arc::new(AtomicUsize::new(0)));
    let (mut times, took) = runtime().block_on(async {
        let mut streams = Vec::new();
        for _ in 0..connections {
            streams.push(connect(address).await);
        }
        let started = Instant::now();
        let tasks: Vec<_> = streams
            .into_iter()
            .map(|stream| tokio::spawn(keep_asking(stream, requests.clone(), next.clone(), calls, status)))
            .collect();
        let mut times = Vec::with_capacity(calls);
        for task in tasks {
            times.extend(task.await.expect("no request fails"));
        }
        (times, started.elapsed())
    });
    assert_eq!(times.len(), calls, "every request is answered");
    times.sort_unstable();
    Seen {
        answered: calls,
        per_second: calls as f64 / took.as_secs_f64(),
        p50: at(&times, 0.50) / 1000.0,
        p99: at(&times, 0.99) / 1000.0,
    }
}

/// How long each of its requests took, in nanoseconds.
async fn keep_asking(
    mut stream: TcpStream,
    requests: Arc<Vec<Bytes>>,
    next: Arc<AtomicUsize>,
    calls: usize,
    status: u16,
) -> Vec<u32> {
    let (mut times, mut answer) = (Vec::new(), Vec::with_capacity(4096));
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        if number >= calls {
            return times;
        }
        let started = Instant::now();
        stream
            .write_all(&requests[number % requests.len()])
            .await
            .expect("it listens");
        answer.clear();
        while !is_whole(&answer) {
            let read = stream.read_buf(&mut answer).await.expect("it answers");
            assert_ne!(read, 0, "the connection stays open");
        }
        times.push(u32::try_from(started.elapsed().as_nanos()).unwrap_or(u32::MAX));
        let seen = answer.get(9..12).unwrap_or_default();
        assert_eq!(
            seen,
            status.to_string().as_bytes(),
            "{}",
            String::from_utf8_lossy(&answer)
        );
    }
}

/// Whether this is a head and the whole body that its `content-length` announces.
fn is_whole(answer: &[u8]) -> bool {
    let Some(head) = answer.windows(4).position(|four| four == b"\r\n\r\n") else {
        return false;
    };
    let text = std::str::from_utf8(&answer[..head]).expect("ASCII");
    let length = text
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))
        .map_or(0, |value| value.parse().expect("a number"));
    answer.len() >= head + 4 + length
}

async fn connect(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).await.expect("it listens");
    stream.set_nodelay(true).expect("a socket");
    stream
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
}
