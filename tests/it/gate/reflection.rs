//! Server reflection: what a client without a schema is told, where the file says so.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use prost::Message as _;
use prost_types::FileDescriptorProto;
use serde_json::Value;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_reflection::pb::v1::{ServerReflectionRequest, ServerReflectionResponse};

use super::stage::{LAB, lab_gate};
use crate::support::h2_client::{Client, Reply};
use crate::support::peers::python_tool;
use crate::support::scopegate::Scopegate;
use crate::support::wait;

const AUTHORIZATION: &str = "envoy.service.auth.v3.Authorization";

/// Both versions: they differ in their names alone.
const VERSIONS: [&str; 2] = ["v1", "v1alpha"];

/// The lab with reflection.
async fn reflecting() -> Scopegate {
    let listener = "ext_authz: { address: \"127.0.0.1:9191\"";
    let config = LAB.replace(listener, &format!("{listener}, reflection: true"));
    lab_gate(&config).await.1
}

/// Asks one thing.
async fn asked(client: &Client, version: &str, what: MessageRequest) -> Reply {
    let path = format!("/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo");
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(what),
    };
    client.grpc("gate", &path, &request.encode_to_vec(), &[]).await
}

/// The same where there is an answer.
async fn ask(client: &Client, version: &str, what: MessageRequest) -> MessageResponse {
    let reply = asked(client, version, what).await;
    assert_eq!(reply.grpc_status(), Some(0), "{reply:?}");
    let response = ServerReflectionResponse::decode(reply.grpc_message()).expect("an answer of reflection decodes");
    response.message_response.expect("an answer says something")
}

/// The one file that an answer holds.
fn file_of(answer: MessageResponse) -> FileDescriptorProto {
    let MessageResponse::FileDescriptorResponse(files) = answer else {
        panic!("no file: {answer:?}")
    };
    let [file] = files.file_descriptor_proto.as_slice() else {
        panic!("{} files", files.file_descriptor_proto.len())
    };
    FileDescriptorProto::decode(file.as_slice()).expect("a descriptor decodes")
}

#[tokio::test]
async fn it_lists_the_services_of_the_listener() {
    let gate = reflecting().await;
    let client = Client::open(gate.ports.ext_authz).await;
    for version in VERSIONS {
        let answer = ask(&client, version, MessageRequest::ListServices("*".to_owned())).await;
        let MessageResponse::ListServicesResponse(services) = answer else {
            panic!("no list: {answer:?}")
        };
        let names: BTreeSet<&str> = services.service.iter().map(|service| service.name.as_str()).collect();
        let expected = [
            AUTHORIZATION,
            "grpc.health.v1.Health",
            "grpc.reflection.v1.ServerReflection",
            "grpc.reflection.v1alpha.ServerReflection",
        ];
        assert_eq!(names, BTreeSet::from(expected), "{version}");
    }
}

#[tokio::test]
async fn a_service_is_described_by_its_file_and_all_that_it_imports() {
    let gate = reflecting().await;
    let client = Client::open(gate.ports.ext_authz).await;
    for version in VERSIONS {
        let symbol = MessageRequest::FileContainingSymbol(AUTHORIZATION.to_owned());
        let mut files = BTreeMap::new();
        let mut wanted = vec![file_of(ask(&client, version, symbol).await)];
        while let Some(file) = wanted.pop() {
            for import in &file.dependency {
                if !files.contains_key(import) {
                    let named = MessageRequest::FileByFilename(import.clone());
                    wanted.push(file_of(ask(&client, version, named).await));
                }
            }
            files.insert(file.name().to_owned(), file);
        }
        for name in [
            "envoy/service/auth/v3/external_auth.proto",
            "envoy/service/auth/v3/attribute_context.proto",
            "google/rpc/status.proto",
            "google/protobuf/struct.proto",
        ] {
            assert!(files.contains_key(name), "{version}: {name} among {:?}", files.keys());
        }
    }
}

#[tokio::test]
async fn attack_d30_it_opens_no_other_method_and_what_it_does_not_know_is_not_found() {
    let gate = reflecting().await;
    let client = Client::open(gate.ports.ext_authz).await;
    for path in [
        "/envoy.service.auth.v2.Authorization/Check",
        "/envoy.service.auth.v3.Authorization/Other",
        "/grpc.reflection.v1.ServerReflection/Other",
        "/grpc.reflection.v2.ServerReflection/ServerReflectionInfo",
    ] {
        assert_eq!(
            client.grpc("gate", path, b"", &[]).await.grpc_status(),
            Some(12),
            "{path}"
        );
    }
    for version in VERSIONS {
        let unknown = MessageRequest::FileContainingSymbol("envoy.service.auth.v2.Authorization".to_owned());
        assert_eq!(
            asked(&client, version, unknown).await.grpc_status(),
            Some(5),
            "{version}"
        );
    }
}

/// What `buf curl` says, which is given no schema.
async fn buf_curl(gate: &Scopegate, method: &str, message: &str) -> (bool, String) {
    let mut command = Command::new(python_tool("buf"));
    command
        .args([
            "curl",
            "--protocol",
            "grpc",
            "--http2-prior-knowledge",
            "--data",
            message,
        ])
        .arg(format!("http://{}/{method}", gate.ports.ext_authz))
        .current_dir(gate.folder())
        // What it would keep for itself.
        .env("BUF_CACHE_DIR", gate.folder())
        .env("HOME", gate.folder());
    let ran = tokio::task::spawn_blocking(move || command.output());
    let output = wait::bounded("buf curl", ran)
        .await
        .expect("no panic")
        .expect("buf runs");
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(text).expect("UTF-8"))
}

#[tokio::test]
async fn a_client_without_a_schema_asks_for_a_check_and_is_denied_in_words() {
    let gate = reflecting().await;
    let (ended_well, text) = buf_curl(&gate, "envoy.service.auth.v3.Authorization/Check", "{}").await;
    assert!(ended_well, "{text}");
    let answer: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    assert_eq!(answer["status"]["message"], "malformed_check", "{text}");
    assert_ne!(answer["status"]["code"], Value::Null, "{text}");
    assert_eq!(answer["deniedResponse"]["status"]["code"], 400, "{text}");

    let (ended_well, text) = buf_curl(&gate, "grpc.health.v1.Health/Check", "{}").await;
    assert!(ended_well && text.contains("SERVING"), "{text}");
}

#[tokio::test]
async fn attack_d30_a_client_without_a_schema_learns_nothing_by_default() {
    let gate = lab_gate(LAB).await.1;
    let (ended_well, text) = buf_curl(&gate, "envoy.service.auth.v3.Authorization/Check", "{}").await;
    assert!(!ended_well && text.contains("failed to find service"), "{text}");
}
