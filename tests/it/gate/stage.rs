//! The gate, an Envoy that asks it, and the upstream behind.

use serde_json::{Value, json};

use crate::support::envoy::{Envoy, EnvoyBuilder, Service};
use crate::support::http1::{Reply, Request};
use crate::support::scopegate::{Scopegate, ScopegateBuilder};
use crate::support::tokens::Server;
use crate::support::upstream::Upstream;

/// The configuration with a route for every rule.
pub(super) const LAB: &str = include_str!("lab.yaml");

/// The lab behind an Envoy.
pub(super) struct Lab {
    pub(super) server: Server,
    pub(super) gate: Scopegate,
    pub(super) envoy: Envoy,
    pub(super) upstream: Upstream,
}

impl Lab {
    /// With the Envoy that we recommend.
    pub(super) async fn start() -> Self {
        Self::with(|envoy| envoy).await
    }

    /// With the Envoy that we recommend, but for this.
    pub(super) async fn with(configure: impl FnOnce(EnvoyBuilder) -> EnvoyBuilder) -> Self {
        Self::with_config(LAB, configure).await
    }

    /// The same with another configuration that trusts the lab's authorization server.
    pub(super) async fn with_config(config: &str, configure: impl FnOnce(EnvoyBuilder) -> EnvoyBuilder) -> Self {
        let (server, gate) = lab_gate(config).await;
        let upstream = Upstream::start().await;
        let envoy = configure(EnvoyBuilder::recommended(gate.service(), upstream.address))
            .start()
            .await;
        Self {
            server,
            gate,
            envoy,
            upstream,
        }
    }

    /// Another Envoy before the same gate and upstream.
    pub(super) async fn another_envoy(&self, configure: impl FnOnce(EnvoyBuilder) -> EnvoyBuilder) -> Envoy {
        configure(EnvoyBuilder::plain(self.gate.service(), self.upstream.address))
            .start()
            .await
    }

    /// Sends a request to Envoy; the upstream must have seen it if and only if the answer is the upstream's.
    pub(super) async fn ask(&self, request: &Request) -> Reply {
        let before = self.upstream.count();
        let reply = request.send(self.envoy.address).await;
        let passed = self.upstream.count() - before;
        assert_eq!(
            passed,
            usize::from(reply.header("x-upstream").is_some()),
            "{request:?} {reply:?}"
        );
        reply
    }

    /// A token that may read.
    pub(super) fn reader(&self) -> String {
        self.server.token(&json!({ "scope": "lab:read" }))
    }

    /// A token that may write.
    pub(super) fn writer(&self) -> String {
        self.server.token(&json!({ "scope": "lab:write" }))
    }

    /// Sends every row's request and compares the answers.
    pub(super) async fn expect(&self, rows: impl IntoIterator<Item = Row>) {
        for row in rows {
            let reply = self.ask(&row.request).await;
            assert_eq!(reply.status, row.status, "{}: {}", row.name, reply.text());
            if let Some(reason) = row.reason {
                assert_eq!(reply.json()["reason"], reason, "{}", row.name);
            }
        }
    }
}

/// The gate alone, with a configuration that trusts this authorization server.
pub(super) async fn lab_gate(config: &str) -> (Server, Scopegate) {
    let server = Server::new("lab");
    let gate = ScopegateBuilder::new(config)
        .file("lab.jwks.json", server.jwks().to_string())
        .start()
        .await;
    (server, gate)
}

/// A request with the answer that it must get.
pub(super) struct Row {
    name: String,
    request: Request,
    status: u16,
    reason: Option<&'static str>,
}

/// A request that must pass.
pub(super) fn passes(name: impl Into<String>, request: Request) -> Row {
    Row {
        name: name.into(),
        request,
        status: 200,
        reason: None,
    }
}

/// A request that must be denied for this reason.
pub(super) fn denied(name: impl Into<String>, request: Request, status: u16, reason: &'static str) -> Row {
    Row {
        name: name.into(),
        request,
        status,
        reason: Some(reason),
    }
}

/// A request that Envoy itself must refuse, or the gate without a body.
pub(super) fn refused(name: impl Into<String>, request: Request, status: u16) -> Row {
    Row {
        name: name.into(),
        request,
        status,
        reason: None,
    }
}

/// A `GET` of the API `strict`.
pub(super) fn strict(target: impl AsRef<[u8]>) -> Request {
    Request::get(target).host("strict.example")
}

/// Where a gate listens, as a direct caller needs it.
pub(super) fn tcp(service: &Service) -> std::net::SocketAddr {
    match service {
        Service::Tcp(address) | Service::Mtls { address, .. } => *address,
        Service::Unix(path) => panic!("{} is no TCP address", path.display()),
    }
}

/// The problem document's own words, for a denial that came through Envoy.
pub(super) fn problem(reply: &Reply) -> Value {
    assert_eq!(reply.header("content-type"), Some("application/problem+json"));
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    let problem = reply.json();
    assert_eq!(problem["status"], reply.status);
    assert!(
        problem["decision_id"].as_str().is_some_and(|id| id.len() >= 16),
        "{problem}"
    );
    problem
}
