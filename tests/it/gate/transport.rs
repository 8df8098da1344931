//! How Envoy reaches the gate: over TCP, a unix socket, and with mutual TLS.

use serde_json::json;

use super::stage::{LAB, strict};
use crate::support::envoy::{EnvoyBuilder, Service};
use crate::support::h2_client::Client;
use crate::support::scopegate::ScopegateBuilder;
use crate::support::tls::{self, Ca};
use crate::support::tokens::Server;
use crate::support::upstream::Upstream;

const LISTENER: &str = "ext_authz: { address: \"127.0.0.1:9191\" }";

#[tokio::test]
async fn a_unix_socket_serves_as_tcp_does() {
    let server = Server::new("lab");
    let builder = ScopegateBuilder::new(LAB);
    let socket = builder.folder().join("authz.sock");
    let config = LAB.replace(
        LISTENER,
        &format!("ext_authz: {{ address: \"unix:{}\" }}", socket.display()),
    );
    let gate = builder
        .config(&config)
        .file("lab.jwks.json", server.jwks().to_string())
        .start()
        .await;
    let upstream = Upstream::start().await;
    let envoy = EnvoyBuilder::recommended(Service::Unix(socket.clone()), upstream.address)
        .start()
        .await;
    let token = server.token(&json!({ "scope": "lab:read" }));
    assert_eq!(strict("/items").bearer(&token).send(envoy.address).await.status, 200);
    assert_eq!(strict("/items").send(envoy.address).await.status, 401);

    let direct = Client::open_unix(&socket).await;
    let health = direct.grpc("gate", "/grpc.health.v1.Health/Check", b"", &[]).await;
    assert_eq!(health.grpc_status(), Some(0));
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&socket).unwrap().permissions());
    assert_eq!(mode & 0o007, 0, "nobody else may ask");
    drop(gate);
}

#[tokio::test]
async fn mutual_tls_lets_only_the_right_envoy_ask() {
    let server = Server::new("lab");
    let builder = ScopegateBuilder::new(LAB);
    let ca = Ca::new(builder.folder());
    let (gates, envoys) = (ca.issue("gate"), ca.issue("envoy"));
    let stranger_folder = tempfile::tempdir().unwrap();
    let stranger = Ca::new(stranger_folder.path()).issue("stranger");
    let tls = format!(
        "ext_authz: {{ address: \"127.0.0.1:9191\", tls: {{ certificate_file: {}, key_file: {}, client_ca_file: {} }} }}",
        gates.certificate.display(),
        gates.key.display(),
        ca.certificate.display(),
    );
    let gate = builder
        .config(&LAB.replace(LISTENER, &tls))
        .file("lab.jwks.json", server.jwks().to_string())
        .start()
        .await;
    let upstream = Upstream::start().await;
    let envoy = async |pair: &tls::Pair| {
        let service = Service::Mtls {
            address: gate.ports.ext_authz,
            ca: ca.certificate.clone(),
            certificate: pair.certificate.clone(),
            key: pair.key.clone(),
        };
        EnvoyBuilder::recommended(service, upstream.address).start().await
    };
    let right = envoy(&envoys).await;
    assert_eq!(strict("/public").send(right.address).await.status, 200);
    assert_eq!(strict("/items").send(right.address).await.status, 401);
    let wrong = envoy(&stranger).await;
    assert_eq!(
        strict("/public").send(wrong.address).await.status,
        503,
        "the stranger's checks fail, and so close"
    );
}
