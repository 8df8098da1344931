//! Stopping: readiness falls, checks under way and those that Envoy still sends are answered, the process ends with 0.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use serde_json::json;

use super::stage::{LAB, strict};
use crate::support::envoy::EnvoyBuilder;
use crate::support::http1::Connection;
use crate::support::scopegate::ScopegateBuilder;
use crate::support::tokens::Server;
use crate::support::upstream::Upstream;
use crate::support::wait;

/// Requests that are sent without a pause until told to stop.
pub(super) struct Load {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    senders: tokio::task::JoinSet<Vec<u16>>,
}

impl Load {
    /// Starts `connections` senders of this request.
    pub(super) fn start(to: std::net::SocketAddr, request: &[u8], connections: usize) -> Self {
        let (stop, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let mut senders = tokio::task::JoinSet::new();
        for _ in 0..connections {
            let (stop, sent, request) = (Arc::clone(&stop), Arc::clone(&sent), request.to_vec());
            senders.spawn(async move {
                let mut connection = Connection::open(to).await.expect("Envoy accepts");
                let mut failures = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    let reply = connection.exchange(&request).await.expect("Envoy answers");
                    sent.fetch_add(1, Ordering::Relaxed);
                    if reply.status != 200 {
                        failures.push(reply.status);
                    }
                }
                failures
            });
        }
        Self { stop, sent, senders }
    }

    /// Waits until this many more requests were answered.
    pub(super) async fn more(&self, count: u64) {
        let goal = self.sent.load(Ordering::Relaxed) + count;
        wait::until("more requests are answered", || async {
            (self.sent.load(Ordering::Relaxed) >= goal).then_some(())
        })
        .await;
    }

    /// Ends it; how often each status other than 200 came.
    pub(super) async fn end(self) -> BTreeMap<u16, usize> {
        self.stop.store(true, Ordering::Relaxed);
        let mut counts = BTreeMap::new();
        for status in self.senders.join_all().await.concat() {
            *counts.entry(status).or_default() += 1;
        }
        counts
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn edge_o04_a_rolling_restart_under_load_fails_no_request() {
    // Two gates behind one Envoy that checks their health, as a rollout has it: the first is stopped under load.
    let server = Server::new("lab");
    let jwks = server.jwks().to_string();
    let first = ScopegateBuilder::new(LAB)
        .file("lab.jwks.json", jwks.clone())
        .start()
        .await;
    let second = ScopegateBuilder::new(LAB).file("lab.jwks.json", jwks).start().await;
    let upstream = Upstream::start().await;
    let envoy = EnvoyBuilder::recommended(first.service(), upstream.address)
        .and_service(second.ports.ext_authz)
        .service_health_checks()
        .start()
        .await;
    let token = server.token(&json!({ "scope": "lab:read" }));
    let load = Load::start(envoy.address, &strict("/items").bearer(&token).bytes(), 4);
    load.more(200).await;
    let mut first = first;
    first.signal("TERM");
    let status = first.ended().await;
    load.more(200).await;
    let failures = load.end().await;
    assert!(failures.is_empty(), "{failures:?}");
    assert!(status.success(), "{status}");
}

#[tokio::test]
async fn edge_o04_a_gate_that_stops_says_so_first() {
    let server = Server::new("lab");
    let mut gate = ScopegateBuilder::new(LAB)
        .file("lab.jwks.json", server.jwks().to_string())
        .start()
        .await;
    gate.signal("TERM");
    let status = gate.ended().await;
    assert!(status.success(), "{status}: {}", gate.output());
}

#[tokio::test]
async fn edge_o04_a_gate_without_keys_is_not_ready() {
    let config = LAB.replace(
        "jwks_file: lab.jwks.json",
        "jwks_uri: https://127.0.0.1:1/jwks\n    allow_private_addresses: true",
    );
    let gate = ScopegateBuilder::new(&config).start_without_waiting();
    let waiting_for = gate
        .telemetry_until("/readyz", |reply| (reply.status == 503).then(|| reply.text()))
        .await;
    assert!(
        waiting_for.contains("lab"),
        "readiness names what it waits for: {waiting_for}"
    );
}
