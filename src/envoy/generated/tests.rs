use std::collections::BTreeSet;
use std::time::Duration;

use prost::Message as _;
use prost_types::{FileDescriptorProto, FileDescriptorSet};
use tokio::runtime::Handle;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;

use super::*;
use crate::clock::{Now, SystemClock};
use crate::envoy::grpc;
use crate::envoy::server::{CHECK_PATH, ExtAuthz};
use crate::envoy::service::{CheckService, CheckSettings, Checks, Step};
use crate::model::event::{CheckObserver, Unobserved};
use crate::net::limits::{Limits, Stop};
use crate::policy::facts::RequestFacts;

const REFLECTION: &str = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";

fn reflecting() -> GeneratedServices {
    let services = GeneratedServices::health(HealthReporter::new());
    services.with_reflection().expect("the descriptors can be read")
}

#[test]
fn attack_d30_a_service_is_found_by_its_whole_name_and_reflection_only_where_it_is_asked_for() {
    let (health, reflecting) = (GeneratedServices::health(HealthReporter::new()), reflecting());
    for (path, without, with) in [
        ("/grpc.health.v1.Health/Check", true, true),
        (REFLECTION, false, true),
        (
            "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
            false,
            true,
        ),
        ("/grpc.health.v1.Health", false, false),
        ("/grpc.health.v1.HealthCheck/Check", false, false),
        ("/grpc.health.v1.health/Check", false, false),
        ("//grpc.health.v1.Health/Check", false, false),
        (
            "/grpc.reflection.v2.ServerReflection/ServerReflectionInfo",
            false,
            false,
        ),
        ("/envoy.service.auth.v2.Authorization/Check", false, false),
        ("grpc.health.v1.Health/Check", false, false),
        ("/", false, false),
        ("*", false, false),
    ] {
        assert_eq!(health.of(path).is_some(), without, "{path}");
        assert_eq!(reflecting.of(path).is_some(), with, "{path}");
    }
}

#[test]
fn the_descriptors_hold_the_check_and_all_that_its_file_imports() {
    let set = FileDescriptorSet::decode(pb::FILE_DESCRIPTOR_SET).expect("decodes");
    let files: BTreeSet<&str> = set.file.iter().map(FileDescriptorProto::name).collect();
    for file in &set.file {
        for import in &file.dependency {
            assert!(files.contains(import.as_str()), "{} imports {import}", file.name());
        }
    }
    let methods: Vec<String> = set
        .file
        .iter()
        .flat_map(|file| file.service.iter().map(move |service| (file.package(), service)))
        .flat_map(|(package, service)| service.method.iter().map(move |method| (package, service, method)))
        .map(|(package, service, method)| format!("/{package}.{}/{}", service.name(), method.name()))
        .collect();
    assert_eq!(methods, [CHECK_PATH]);
}

/// Is never asked.
struct Unasked;

impl Checks for Unasked {
    type Lookup = ();

    fn check(&self, _: &RequestFacts<'_>, _: Now) -> Step<()> {
        Step::Wait(())
    }

    fn finish(&self, (): ()) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(std::future::pending())
    }

    fn observer(&self) -> Arc<dyn CheckObserver> {
        Arc::new(Unobserved)
    }
}

/// Sends the same request many times, in frames as large as there is room for, and ends the stream.
async fn ask(mut stream: SendStream<Bytes>, count: usize) {
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::FileContainingSymbol(
            "envoy.service.auth.v3.CheckResponse".to_owned(),
        )),
    };
    let mut buffer = grpc::buffer(0);
    buffer.extend_from_slice(&request.encode_to_vec());
    let requests = Bytes::from(grpc::frame(buffer).repeat(count));
    send_as_there_is_room(requests, &mut stream)
        .await
        .expect("the stream is open");
    stream.send_data(Bytes::new(), true).expect("the stream is open");
}

#[tokio::test]
async fn attack_e05_a_peer_that_asks_and_does_not_read_is_not_answered_into_our_memory() {
    const ASKED: usize = 2_000;
    let clock = Arc::new(SystemClock::start());
    let check = CheckService::new(Arc::new(Unasked), clock, CheckSettings::default(), Handle::current());
    let service = ExtAuthz::new(check, reflecting());
    let (ours, theirs) = tokio::io::duplex(1 << 14);
    let limits = Limits {
        stream_window_bytes: 1 << 14,
        ..Limits::default()
    };
    tokio::spawn(async move { service.serve_plain(theirs, &limits, &Stop::default()).await });
    let (mut client, connection) = h2::client::handshake(ours).await.expect("handshake");
    tokio::spawn(connection);
    let request = Request::post(format!("http://gate{REFLECTION}"))
        .header("content-type", "application/grpc")
        .body(())
        .expect("valid");
    let (answer, stream) = client.send_request(request, false).expect("sent");

    let mut asking = tokio::spawn(ask(stream, ASKED));
    let patience = Duration::from_millis(500);
    let stalled = tokio::time::timeout(patience, &mut asking).await.is_err();
    assert!(stalled, "all was taken in while nothing was read");

    let mut body = answer.await.expect("answers").into_body();
    let mut received = Vec::new();
    while let Some(data) = body.data().await {
        let data = data.expect("a whole answer");
        body.flow_control().release_capacity(data.len()).expect("room");
        received.extend_from_slice(&data);
    }
    asking.await.expect("all was asked");
    let trailers = body.trailers().await.expect("ends well").expect("trailers");
    assert_eq!(trailers["grpc-status"], "0");
    let (mut rest, mut answers) = (&received[..], 0);
    while let Some((prefix, message)) = rest.split_first_chunk::<{ grpc::PREFIX_BYTES }>() {
        let length = u32::from_be_bytes([prefix[1], prefix[2], prefix[3], prefix[4]]);
        rest = &message[usize::try_from(length).expect("small")..];
        answers += 1;
    }
    assert_eq!((answers, rest.len()), (ASKED, 0), "none is lost, and none is cut");
}
