//! How Envoy reaches the gate: over TCP, a unix socket, and with mutual TLS.

use std::sync::Arc;

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::stage::{LAB, strict};
use crate::support::envoy::{EnvoyBuilder, Service};
use crate::support::h2_client::Client;
use crate::support::scopegate::{Scopegate, ScopegateBuilder};
use crate::support::tls::{self, Ca};
use crate::support::tokens::Server;
use crate::support::upstream::Upstream;
use crate::support::wait;

/// What a TLS client says first.
fn client_hello() -> Vec<u8> {
    let config = rustls::ClientConfig::builder()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let name = "localhost".try_into().expect("a name");
    let mut client = rustls::ClientConnection::new(Arc::new(config), name).expect("a client");
    let mut hello = Vec::new();
    client.write_tls(&mut hello).expect("a buffer takes all");
    hello
}

#[tokio::test]
async fn attack_e15_an_odd_handshake_ends_and_the_issuer_goes_on() {
    let gate = Scopegate::bank().await;
    let hello = client_hello();
    let close_notify = [0x15, 3, 3, 0, 2, 1, 0];
    let rows: [(&str, Vec<u8>); 5] = [
        ("no TLS", b"GET / HTTP/1.1\r\n\r\n".to_vec()),
        ("a close before the hello", close_notify.to_vec()),
        ("a close within the hello", [&hello[..60], &close_notify].concat()),
        ("empty records", [0x16, 3, 1, 0, 0].repeat(1000)),
        ("half a hello", hello[..60].to_vec()),
    ];
    for (name, bytes) in rows {
        let mut stream = TcpStream::connect(gate.ports.issuer).await.expect("it listens");
        // It may have ended the connection before all is written.
        let _ = stream.write_all(&bytes).await;
        let _ = stream.shutdown().await;
        let mut answer = Vec::new();
        let ended = wait::bounded(name, stream.read_to_end(&mut answer)).await;
        assert!(ended.is_err() || answer.len() < 64, "{name}: {answer:?}");
    }
    // A hello of single bytes is a hello: the answer is a handshake record.
    let mut stream = TcpStream::connect(gate.ports.issuer).await.expect("it listens");
    stream.set_nodelay(true).expect("an option of every socket");
    for byte in hello {
        stream.write_all(&[byte]).await.expect("it reads on");
    }
    let kind = wait::bounded("the answer to a fragmented hello", stream.read_u8()).await;
    assert_eq!(kind.expect("an answer"), 0x16);
    gate.mint().await;
}

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
