//! Many tokens at once, which h2load cannot send: it repeats one message.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};

use crate::load::{CONNECTIONS, STREAMS};
use crate::world::{World, framed};

/// So many tokens, all different.
pub(crate) fn tokens(world: &World, count: usize) -> Arc<Vec<String>> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let each = count.div_ceil(threads);
    let tokens = std::thread::scope(|scope| {
        let parts: Vec<_> = (0..threads)
            .map(|part| {
                scope.spawn(move || {
                    let range = part * each..count.min((part + 1) * each);
                    range.map(|number| world.member(number)).collect::<Vec<_>>()
                })
            })
            .collect();
        parts.into_iter().flat_map(|part| part.join().expect("signs")).collect()
    });
    Arc::new(tokens)
}

/// Checks `GET /transfers/7` of the first API with each token in turn, `calls` times in all.
pub(crate) fn ask(address: &str, tokens: &Arc<Vec<String>>, calls: usize) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let next = Arc::new(AtomicUsize::new(0));
    runtime.block_on(async {
        let mut streams = tokio::task::JoinSet::new();
        for _ in 0..CONNECTIONS {
            let client = connect(address).await;
            for _ in 0..STREAMS {
                let (mut client, tokens, next) = (client.clone(), tokens.clone(), next.clone());
                streams.spawn(async move {
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        if number >= calls {
                            return;
                        }
                        let token = &tokens[number % tokens.len()];
                        call(
                            &mut client,
                            framed("api0.bank.example", "GET", "/transfers/7", Some(token)),
                        )
                        .await;
                    }
                });
            }
        }
        while let Some(stream) = streams.join_next().await {
            stream.expect("no call fails");
        }
    });
}

type Client = hyper::client::conn::http2::SendRequest<Full<Bytes>>;

async fn connect(address: &str) -> Client {
    let stream = tokio::net::TcpStream::connect(address).await.expect("connects");
    stream.set_nodelay(true).expect("nodelay");
    let (client, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .expect("handshake");
    tokio::spawn(connection);
    client
}

async fn call(client: &mut Client, body: Vec<u8>) {
    let request = http::Request::post("http://gate/envoy.service.auth.v3.Authorization/Check")
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(Full::new(Bytes::from(body)))
        .expect("valid");
    let response = client.send_request(request).await.expect("answers");
    let answer = response.into_body().collect().await.expect("a whole answer");
    let status = answer
        .trailers()
        .and_then(|trailers| trailers.get("grpc-status"))
        .cloned();
    assert_eq!(status.expect("a status"), "0");
}
