//! Abuse of the port that Envoy asks at: frames sent by hand, and the gate goes on answering everybody else.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::stage::{LAB, Lab, lab_gate, strict};
use crate::support::checks;
use crate::support::h2_client::Client;
use crate::support::scopegate::{Scopegate, ScopegateBuilder};
use crate::support::tokens::Server;
use crate::support::wait;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;

/// One HTTP/2 frame (RFC 9113 section 4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("small").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A header block for a `Check`, without Huffman coding: `:method POST`, `:scheme http`, a path, a content type.
fn check_headers() -> Vec<u8> {
    let literal = |name_index: u8, value: &[u8]| {
        let mut field = vec![name_index];
        field.push(u8::try_from(value.len()).expect("short"));
        field.extend_from_slice(value);
        field
    };
    let mut block = vec![0x83, 0x86];
    block.extend(literal(0x04, b"/envoy.service.auth.v3.Authorization/Check"));
    block.extend(literal(0x01, b"gate"));
    block.extend([0x0f, 0x10]);
    block.extend([16]);
    block.extend_from_slice(b"application/grpc");
    block
}

/// Opens a connection, sends the preface, then chunks until the peer gives up or `limit` chunks are sent. Returns how
/// many were sent.
async fn flood(to: SocketAddr, limit: usize, mut chunk: impl FnMut(u32) -> Vec<u8>) -> usize {
    let stream = TcpStream::connect(to).await.expect("the gate accepts");
    let (mut read, mut write) = stream.into_split();
    // What the gate says is read and thrown away; its end is the end of the flood.
    let closed = tokio::spawn(async move { while matches!(read.read(&mut [0; 4096]).await, Ok(1..)) {} });
    let preface = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), frame(SETTINGS, 0, 0, &[])].concat();
    if write.write_all(&preface).await.is_err() {
        return 0;
    }
    for number in 0..limit {
        let bytes = chunk(u32::try_from(number).expect("small"));
        if closed.is_finished() || write.write_all(&bytes).await.is_err() {
            return number;
        }
    }
    limit
}

/// The gate answers as ever, and has not grown by more than a few dozen MiB.
async fn unharmed(gate: &Scopegate, before_kib: u64) {
    let client = Client::open(gate.ports.ext_authz).await;
    let public = checks::check("GET", "strict.example", "/public", "1", &[]);
    assert_eq!(checks::status(&client, &public).await, 0);
    let grown = gate.resident_kib().saturating_sub(before_kib);
    assert!(grown < 64 * 1024, "grown by {grown} KiB");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attack_e01_streams_opened_and_reset_end_the_connection() {
    let (_server, gate) = lab_gate(LAB).await;
    let before = gate.resident_kib();
    let block = check_headers();
    let limit = 100_000;
    let sent = wait::bounded(
        "the flood ends",
        flood(gate.ports.ext_authz, limit, |number| {
            let stream = number * 2 + 1;
            let cancel = 8_u32.to_be_bytes();
            [
                frame(HEADERS, END_HEADERS, stream, &block),
                frame(RST_STREAM, 0, stream, &cancel),
            ]
            .concat()
        }),
    )
    .await;
    assert!(sent < limit, "the connection was never closed");
    unharmed(&gate, before).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attack_e03_attack_e06_endless_headers_end_the_connection() {
    let (_server, gate) = lab_gate(LAB).await;
    let before = gate.resident_kib();
    let limit = 10_000;
    // CONTINUATION without an end.
    let sent = wait::bounded(
        "the flood ends",
        flood(gate.ports.ext_authz, limit, |number| {
            if number == 0 {
                frame(HEADERS, 0, 1, &check_headers())
            } else {
                frame(CONTINUATION, 0, 1, &[0x82; 8192])
            }
        }),
    )
    .await;
    assert!(sent < limit, "the connection was never closed");
    // One 4,000-byte field put into the table, then named 4,000 times in each request.
    let mut bomb = check_headers();
    bomb.extend([0x40, 1, b'x', 0x7f, 0xa1, 0x1e]);
    bomb.extend(vec![b'a'; 4000]);
    bomb.extend(vec![0xbe; 4000]);
    wait::bounded(
        "the flood ends",
        flood(gate.ports.ext_authz, 500, |number| {
            frame(HEADERS, END_HEADERS, number * 2 + 1, &bomb)
        }),
    )
    .await;
    unharmed(&gate, before).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attack_e02_attack_e04_attack_e05_floods_of_small_frames_cost_no_memory() {
    let (_server, gate) = lab_gate(LAB).await;
    let before = gate.resident_kib();
    let batch = |frame: Vec<u8>| frame.repeat(100);
    let block = check_headers();
    wait::bounded(
        "empty DATA",
        flood(gate.ports.ext_authz, 2000, |number| {
            if number == 0 {
                frame(HEADERS, END_HEADERS, 1, &block)
            } else {
                batch(frame(DATA, 0, 1, &[]))
            }
        }),
    )
    .await;
    unharmed(&gate, before).await;
    wait::bounded(
        "PING",
        flood(gate.ports.ext_authz, 2000, |_| batch(frame(PING, 0, 0, &[0; 8]))),
    )
    .await;
    unharmed(&gate, before).await;
    wait::bounded(
        "SETTINGS",
        flood(gate.ports.ext_authz, 2000, |_| batch(frame(SETTINGS, 0, 0, &[]))),
    )
    .await;
    unharmed(&gate, before).await;
    // Each WINDOW_UPDATE of 0 makes the gate reset the stream itself.
    let limit = 100_000;
    let sent = wait::bounded(
        "resets that the gate is made to send",
        flood(gate.ports.ext_authz, limit, |number| {
            let stream = number * 2 + 1;
            [
                frame(HEADERS, END_HEADERS, stream, &block),
                frame(8, 0, stream, &[0; 4]),
            ]
            .concat()
        }),
    )
    .await;
    assert!(sent < limit, "the connection was never closed");
    unharmed(&gate, before).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attack_e07_idle_connections_are_closed_and_nobody_waits_for_them() {
    let (_server, gate) = lab_gate(LAB).await;
    let mut idle = Vec::new();
    for _ in 0..500 {
        idle.push(
            TcpStream::connect(gate.ports.ext_authz)
                .await
                .expect("the gate accepts"),
        );
    }
    unharmed(&gate, gate.resident_kib()).await;
    for stream in &mut idle {
        // The gate's own preface may come first; then the end.
        wait::bounded("an idle connection is closed", async {
            while matches!(stream.read(&mut [0; 256]).await, Ok(1..)) {}
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attack_e08_without_file_descriptors_it_stays_and_recovers() {
    let server = Server::new("lab");
    let gate = ScopegateBuilder::new(LAB)
        .file("lab.jwks.json", server.jwks().to_string())
        .files_max(64)
        .start()
        .await;
    let mut held = Vec::new();
    for _ in 0..200 {
        if let Ok(stream) = TcpStream::connect(gate.ports.ext_authz).await {
            held.push(stream);
        }
    }
    drop(held);
    unharmed(&gate, gate.resident_kib()).await;
}

#[tokio::test]
async fn attack_e17_what_a_client_sends_stays_one_line_of_the_log() {
    let (_server, gate) = lab_gate(LAB).await;
    let client = Client::open(gate.ports.ext_authz).await;
    let paths = [
        "/a\n{\"decision_id\":\"forged\"}",
        "/a\r\nforged",
        "/\u{1b}[31mforged",
        "/a\",\"outcome\":\"allow",
        "/\u{2028}forged",
    ];
    for path in paths {
        let check = checks::check(
            "GET",
            "strict.example",
            path,
            "1",
            &[("user-agent", "\u{1b}[2J\nforged")],
        );
        assert_ne!(checks::status(&client, &check).await, 0);
    }
    wait::until("each check is logged", || async {
        (gate.decisions().len() >= paths.len()).then_some(())
    })
    .await;
    let log = gate.decisions();
    assert_eq!(log.len(), paths.len(), "{log:#?}");
    assert!(
        log.iter()
            .all(|line| line["decision_id"] != "forged" && line["outcome"] != "allow"),
        "{log:#?}"
    );
    assert!(!gate.output().contains('\u{1b}'));
}

#[tokio::test]
async fn attack_e19_edge_o08_scanners_make_no_new_series() {
    let lab = Lab::start().await;
    lab.ask(&strict("/nothing")).await;
    let series = async || {
        lab.gate
            .telemetry("/metrics")
            .await
            .text()
            .lines()
            .filter(|line| !line.starts_with('#'))
            .count()
    };
    let before = series().await;
    let client = Client::open(lab.gate.ports.ext_authz).await;
    for number in 0..1000 {
        let (host, path) = (format!("h{number}.example"), format!("/p{number}"));
        checks::status(&client, &checks::check("GET", &host, &path, "1", &[])).await;
        checks::status(&client, &checks::check("GET", "strict.example", &path, "1", &[])).await;
    }
    assert_eq!(series().await, before);
}

#[tokio::test]
async fn attack_e14_a_large_request_gets_a_small_answer() {
    let lab = Lab::start().await;
    let large = "a".repeat(10 * 1024);
    for request in [
        strict("/items").header("X-Large", &large),
        strict("/items").bearer(&large),
        strict(format!("/items?{large}")),
        strict(format!("/{large}")),
    ] {
        let reply = lab.ask(&request).await;
        assert!(matches!(reply.status, 400 | 401 | 403), "{}", reply.text());
        assert!(reply.body.len() < 2048, "{} bytes", reply.body.len());
    }
}

#[tokio::test]
async fn attack_e11_deep_metadata_is_decided_all_the_same() {
    let (_server, gate) = lab_gate(LAB).await;
    let client = Client::open(gate.ports.ext_authz).await;
    // google.protobuf.Value { struct_value { fields { value: … } } }, a thousand deep, as metadata_context.
    let mut nested = Vec::new();
    let wrap = |tag: u8, inner: &[u8]| {
        let mut outer = vec![tag];
        prost::encoding::encode_varint(inner.len() as u64, &mut outer);
        outer.extend_from_slice(inner);
        outer
    };
    for _ in 0..1000 {
        let entry = [wrap(0x0a, b"k"), wrap(0x12, &nested)].concat();
        nested = wrap(0x2a, &wrap(0x0a, &entry));
    }
    let public = checks::check("GET", "strict.example", "/public", "1", &[]);
    let mut attributes = prost::Message::encode_to_vec(&public.attributes.unwrap());
    let metadata = wrap(
        0x5a,
        &wrap(
            0x0a,
            &[
                wrap(0x0a, b"n"),
                wrap(0x12, &wrap(0x0a, &[wrap(0x0a, b"k"), wrap(0x12, &nested)].concat())),
            ]
            .concat(),
        ),
    );
    attributes.extend(metadata);
    let reply = client
        .grpc(
            "gate",
            "/envoy.service.auth.v3.Authorization/Check",
            &wrap(0x0a, &attributes),
            &[],
        )
        .await;
    assert_eq!(
        reply.grpc_status(),
        Some(0),
        "a decision, not a failure: {:?}",
        reply.grpc_field("grpc-message")
    );
}
