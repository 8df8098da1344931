use std::collections::HashMap;
use std::sync::Mutex;

use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message as _;
use tokio::sync::Notify;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use super::*;
use crate::clock::SystemClock;
use crate::envoy::generated::GeneratedServices;
use crate::envoy::pb::envoy::service::auth::v3::attribute_context::{HttpRequest, Request as PbRequest};
use crate::envoy::pb::envoy::service::auth::v3::check_response::HttpResponse;
use crate::envoy::pb::envoy::service::auth::v3::{AttributeContext, CheckRequest, CheckResponse};
use crate::envoy::server::{CHECK_PATH, ExtAuthz};
use crate::model::event::RouteIndex;
use crate::model::id::{ApiName, RouteName};
use crate::net::limits::{Limits, Stop};
use crate::policy::decision::{Permit, RouteRef, Written};

/// What was recorded: decision id, outcome, detail, path, traceparent.
type Recorded = (String, Outcome, Option<&'static str>, String, Option<String>);

/// A gate by script: the path says what happens.
#[derive(Default)]
struct Scripted {
    events: Arc<Events>,
    /// Look-ups finish when this says so.
    release: Arc<Notify>,
    /// Told when a look-up has begun.
    began: Arc<Notify>,
    helped: Arc<AtomicUsize>,
}

#[derive(Default)]
struct Events {
    recorded: Mutex<Vec<Recorded>>,
    changed: Notify,
}

impl CheckObserver for Events {
    fn check_decided(&self, event: &CheckEvent<'_>) {
        self.recorded.lock().expect("not poisoned").push((
            event.decision_id.to_owned(),
            event.outcome,
            event.detail,
            event.path.to_owned(),
            event.traceparent.map(str::to_owned),
        ));
        self.changed.notify_one();
    }
}

fn allow() -> Decision {
    Decision::Allow(Permit::assertion_for_test(
        Arc::new(RouteRef {
            index: RouteIndex(0),
            api: ApiName::parse("a").expect("valid"),
            name: RouteName::parse("GET /").expect("valid"),
            allowed: Written::default(),
        }),
        None,
        vec![(Arc::from("x-auth-subject"), "ada".to_owned())],
        Vec::new(),
        Vec::new(),
    ))
}

impl Checks for Scripted {
    type Lookup = &'static str;

    fn check(&self, facts: &RequestFacts<'_>, _: Now) -> Step<&'static str> {
        let decision = match facts.path() {
            "/panic" => panic!("by script"),
            "/wait" if self.helped.load(Ordering::SeqCst) == 0 => return Step::Wait("helps"),
            "/allow" | "/wait" => allow(),
            "/hopeless" => return Step::Wait("does not help"),
            _ => Decision::Deny(Denial::new(Reason::NoRoute)),
        };
        Step::Decided(Decided {
            decision,
            cache: CacheOutcome::Unused,
            observer: self.events.clone(),
        })
    }

    fn finish(&self, lookup: &'static str) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let (release, began, helped) = (self.release.clone(), self.began.clone(), self.helped.clone());
        Box::pin(async move {
            if lookup == "helps" {
                began.notify_one();
                release.notified().await;
                helped.fetch_add(1, Ordering::SeqCst);
            }
        })
    }

    fn observer(&self) -> Arc<dyn CheckObserver> {
        self.events.clone()
    }
}

struct World {
    gate: Arc<Scripted>,
    service: Arc<CheckService<Scripted>>,
    health: HealthReporter,
    client: SendRequest<Full<Bytes>>,
}

/// What came back over the wire.
#[derive(Debug)]
struct Wire {
    http: StatusCode,
    grpc_status: Option<String>,
    message: Option<Bytes>,
}

impl Wire {
    fn response(&self) -> CheckResponse {
        assert_eq!(
            (self.http, self.grpc_status.as_deref()),
            (StatusCode::OK, Some("0")),
            "{self:?}"
        );
        CheckResponse::decode(self.message.clone().expect("a message")).expect("decodes")
    }

    /// The reason and HTTP status of an explicit denial; `None` if it is an allow.
    fn denial(&self) -> Option<(String, i32)> {
        let response = self.response();
        let status = response.status.expect("status");
        match response.http_response.expect("one of them") {
            HttpResponse::DeniedResponse(denied) => {
                assert_ne!(status.code, 0);
                Some((status.message, denied.status.expect("status").code))
            }
            HttpResponse::OkResponse(_) => {
                assert_eq!(status.code, 0);
                None
            }
            HttpResponse::ErrorResponse(_) => panic!("never written"),
        }
    }
}

#[expect(clippy::unnecessary_wraps, reason = "to be compared with what `Wire::denial` says")]
fn denied(reason: Reason) -> Option<(String, i32)> {
    Some((reason.as_str().to_owned(), i32::from(reason.http_status())))
}

impl World {
    async fn start(settings: CheckSettings) -> Self {
        let gate = Arc::new(Scripted::default());
        let service = CheckService::new(
            gate.clone(),
            Arc::new(SystemClock::start()),
            settings,
            Handle::current(),
        );
        let health = HealthReporter::new();
        let (ours, theirs) = tokio::io::duplex(1 << 20);
        let served = ExtAuthz::new(service.clone(), GeneratedServices::health(health.clone()));
        tokio::spawn(async move { served.serve_plain(theirs, &Limits::default(), &Stop::default()).await });
        let (client, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(ours))
            .await
            .expect("handshake");
        tokio::spawn(connection);
        Self {
            gate,
            service,
            health,
            client,
        }
    }

    fn request(path: &str, metadata: &[(&str, &str)], body: Bytes) -> Request<Full<Bytes>> {
        let mut request = Request::post(format!("http://gate{path}")).header("content-type", "application/grpc");
        for (name, value) in metadata {
            request = request.header(*name, *value);
        }
        request.body(Full::new(body)).expect("valid")
    }

    async fn send(&self, request: Request<Full<Bytes>>) -> Wire {
        let mut client = self.client.clone();
        let response = client.send_request(request).await.expect("an HTTP response");
        let http = response.status();
        let text = |headers: &HeaderMap| {
            headers
                .get("grpc-status")
                .and_then(|value| value.to_str().ok())
                .map(str::to_owned)
        };
        let in_headers = text(response.headers());
        let collected = response.into_body().collect().await.expect("a whole body");
        let in_trailers = collected.trailers().and_then(text);
        let bytes = collected.to_bytes();
        Wire {
            http,
            grpc_status: in_headers.or(in_trailers),
            message: (!bytes.is_empty()).then(|| bytes.slice(5..)),
        }
    }

    async fn framed(&self, metadata: &[(&str, &str)], framed: Bytes) -> Wire {
        self.send(Self::request(CHECK_PATH, metadata, framed)).await
    }

    async fn check(&self, path: &str) -> Wire {
        self.framed(&[], framed(&check_bytes(path))).await
    }

    fn events(&self) -> Vec<Recorded> {
        self.gate.events.recorded.lock().expect("not poisoned").clone()
    }
}

fn framed(message: &[u8]) -> Bytes {
    let mut buffer = grpc::buffer(message.len());
    buffer.extend_from_slice(message);
    grpc::frame(buffer)
}

fn check_bytes(path: &str) -> Vec<u8> {
    check_with(path, &[])
}

fn check_with(path: &str, headers: &[(&str, &str)]) -> Vec<u8> {
    let http = HttpRequest {
        method: "GET".into(),
        path: path.into(),
        headers: headers
            .iter()
            .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()))
            .collect::<HashMap<_, _>>(),
        ..HttpRequest::default()
    };
    CheckRequest {
        attributes: Some(AttributeContext {
            request: Some(PbRequest {
                time: None,
                http: Some(http),
            }),
            ..AttributeContext::default()
        }),
    }
    .encode_to_vec()
}

/// Time for tests whose outcome does not hang on it.
fn patient() -> CheckSettings {
    CheckSettings {
        deadline: Duration::from_secs(60),
        ..CheckSettings::default()
    }
}

#[tokio::test]
async fn answers_and_records_each_check_once() {
    let world = World::start(patient()).await;
    assert_eq!(world.check("/allow?x=1").await.denial(), None);
    assert_eq!(world.check("/other").await.denial(), denied(Reason::NoRoute));
    let events = world.events();
    assert_eq!(events.len(), 2);
    assert_eq!((events[0].1, events[0].3.as_str()), (Outcome::Allow, "/allow"));
    assert_eq!(events[1].1, Outcome::Deny(Reason::NoRoute));
    assert_ne!(events[0].0, events[1].0);
}

#[tokio::test]
async fn edge_o12_the_same_check_twice_differs_in_the_decision_id_alone() {
    let world = World::start(patient()).await;
    let mut texts = Vec::new();
    for path in ["/other", "/other"] {
        let message = world.check(path).await.message.expect("a message");
        let id = world.events().last().expect("recorded").0.clone();
        texts.push(String::from_utf8_lossy(&message).replace(&id, "ID"));
    }
    assert_eq!(texts[0], texts[1]);
}

#[tokio::test]
async fn attack_d01_edge_d06_a_panic_is_an_explicit_denial_and_the_service_goes_on() {
    let world = World::start(patient()).await;
    assert_eq!(world.check("/panic").await.denial(), denied(Reason::Internal));
    assert_eq!(world.check("/allow").await.denial(), None);
    let events = world.events();
    assert_eq!((events[0].1, events.len()), (Outcome::Deny(Reason::Internal), 2));
    assert_eq!(events[0].3, "/panic");
}

#[tokio::test]
async fn attack_d01_attack_d02_attack_d21_edge_o01_what_cannot_be_read_is_denied_and_never_an_rpc_error() {
    let world = World::start(patient()).await;
    let good = check_bytes("/allow");
    let mut cut = framed(&good).to_vec();
    cut.truncate(cut.len() - 1);
    let bodies: Vec<(&str, Bytes)> = vec![
        ("no frame", Bytes::new()),
        ("half a prefix", Bytes::from_static(b"\0\0")),
        ("no message", framed(b"")),
        ("not protobuf", framed(b"\xff\xff\xff")),
        ("no http", framed(&CheckRequest::default().encode_to_vec())),
        ("cut", Bytes::from(cut)),
        ("two messages", Bytes::from([framed(&good), framed(&good)].concat())),
        (
            "non-UTF-8 header",
            framed(b"\x0a\x0e\x22\x0c\x12\x0a\x1a\x08\x0a\x01x\x12\x03\xc3\x28w"),
        ),
    ];
    let count = bodies.len();
    for (name, body) in bodies {
        let wire = world.framed(&[], body).await;
        assert_eq!(wire.denial(), denied(Reason::MalformedCheck), "{name}");
    }
    assert_eq!(world.events().len(), count);
}

#[tokio::test]
async fn attack_d03_four_megabytes_of_headers_and_a_huge_path_get_a_decision() {
    let world = World::start(patient()).await;
    let huge = "a".repeat(3 << 20);
    let message = check_with(&format!("/{huge}"), &[("x-big", &huge[..512 << 10])]);
    assert!(message.len() < grpc::MESSAGE_BYTES_MAX);
    assert_eq!(
        world.framed(&[], framed(&message)).await.denial(),
        denied(Reason::NoRoute)
    );
}

#[tokio::test]
async fn edge_o01_attack_e09_too_large_and_compressed_messages_are_refused_uninflated() {
    let world = World::start(patient()).await;
    let large = vec![0; grpc::MESSAGE_BYTES_MAX + 1];
    let wire = world.framed(&[], framed(&large)).await;
    assert_eq!((wire.http, wire.grpc_status.as_deref()), (StatusCode::OK, Some("8")));
    let wire = world
        .framed(&[("grpc-encoding", "gzip")], framed(&check_bytes("/allow")))
        .await;
    assert_eq!(wire.grpc_status.as_deref(), Some("12"));
    let mut flagged = framed(&check_bytes("/allow")).to_vec();
    flagged[0] = 1;
    let wire = world.framed(&[], Bytes::from(flagged)).await;
    assert_eq!(wire.grpc_status.as_deref(), Some("12"));
    assert_eq!(world.events().len(), 3, "each is recorded");
    assert_eq!(world.check("/allow").await.denial(), None);
}

#[tokio::test]
async fn attack_d30_other_methods_are_unimplemented() {
    let world = World::start(patient()).await;
    for path in [
        "/envoy.service.auth.v3.Authorization/check",
        "/envoy.service.auth.v2.Authorization/Check",
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
        "/grpc.health.v1.HealthX/Check",
        "/",
    ] {
        let request = World::request(path, &[], framed(&check_bytes("/allow")));
        let wire = world.send(request).await;
        assert_eq!(
            (wire.grpc_status.as_deref(), wire.message),
            (Some("12"), None),
            "{path}"
        );
    }
    let mut plain = World::request(CHECK_PATH, &[], framed(&check_bytes("/allow")));
    plain
        .headers_mut()
        .insert("content-type", HeaderValue::from_static("application/json"));
    assert_eq!(world.send(plain).await.http, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert!(world.events().is_empty());
}

#[tokio::test]
async fn a_lookup_that_helps_leads_to_the_decision() {
    let world = World::start(patient()).await;
    world.gate.release.notify_one();
    assert_eq!(world.check("/wait").await.denial(), None);
    assert_eq!(world.events().len(), 1);
}

#[tokio::test]
async fn attack_d04_edge_e24_lookups_that_do_not_help_end_in_an_explicit_503() {
    let world = World::start(patient()).await;
    assert_eq!(world.check("/hopeless").await.denial(), denied(Reason::Unavailable));
    // The caller's time is the shorter one here, and nobody releases the look-up.
    let wire = world
        .framed(&[("grpc-timeout", "60m")], framed(&check_bytes("/wait")))
        .await;
    assert_eq!(wire.denial(), denied(Reason::Timeout));
    let HttpResponse::DeniedResponse(answer) = wire.response().http_response.expect("denied") else {
        panic!("is a denial")
    };
    let headers: Vec<String> = answer
        .headers
        .into_iter()
        .filter_map(|option| option.header.map(|header| header.key))
        .collect();
    assert!(headers.contains(&"retry-after".to_owned()));
    assert_eq!(world.events().len(), 2);
}

#[tokio::test]
async fn edge_o02_a_call_that_is_broken_off_is_recorded_once_and_counted_out() {
    let world = World::start(patient()).await;
    let mut client = world.client.clone();
    let request = World::request(CHECK_PATH, &[], framed(&check_bytes("/wait")));
    let calling = tokio::spawn(async move { client.send_request(request).await.map(|_| ()) });
    world.gate.began.notified().await;
    assert_eq!(world.service.in_flight.load(Ordering::SeqCst), 1);
    // Dropping the call resets its stream.
    calling.abort();
    world.gate.events.changed.notified().await;
    let events = world.events();
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].1, Outcome::Deny(Reason::Timeout));
    assert_eq!(events[0].2, Some("the caller broke the call off"));
    assert_eq!(world.service.in_flight.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn edge_e23_more_checks_than_the_cap_are_denied_at_once() {
    let world = World::start(CheckSettings {
        in_flight_max: 1,
        ..patient()
    })
    .await;
    let mut client = world.client.clone();
    let request = World::request(CHECK_PATH, &[], framed(&check_bytes("/wait")));
    let waiting = tokio::spawn(async move { client.send_request(request).await.map(|response| response.status()) });
    world.gate.began.notified().await;
    assert_eq!(world.check("/allow").await.denial(), denied(Reason::Overloaded));
    world.gate.release.notify_one();
    assert_eq!(waiting.await.expect("ends").expect("answers"), StatusCode::OK);
    world.gate.events.changed.notified().await;
}

#[tokio::test]
async fn edge_o07_the_parent_span_is_envoys_before_the_requests_own() {
    let world = World::start(patient()).await;
    let message = check_with("/allow", &[("traceparent", "00-request")]);
    world.framed(&[("traceparent", "00-envoy")], framed(&message)).await;
    world.framed(&[], framed(&message)).await;
    let parents: Vec<Option<String>> = world.events().into_iter().map(|event| event.4).collect();
    assert_eq!(parents, [Some("00-envoy".to_owned()), Some("00-request".to_owned())]);
}

#[tokio::test]
async fn edge_o04_health_says_what_the_reporter_was_told() {
    let world = World::start(patient()).await;
    for (status, number) in [(ServingStatus::NotServing, 2), (ServingStatus::Serving, 1)] {
        world.health.set_service_status("", status).await;
        let wire = world
            .send(World::request("/grpc.health.v1.Health/Check", &[], framed(b"")))
            .await;
        assert_eq!(wire.message.as_deref(), Some(&[8, number][..]), "{status:?}");
    }
}

#[test]
fn the_callers_time_is_kept_with_a_margin_and_ours_is_the_limit() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("runtime");
    let service = CheckService::new(
        Arc::new(Scripted::default()),
        Arc::new(SystemClock::start()),
        CheckSettings::default(),
        runtime.handle().clone(),
    );
    for (timeout, budget) in [("", 150), ("200m", 150), ("100m", 80), ("10m", 5), ("10S", 150)] {
        let mut metadata = HeaderMap::new();
        if !timeout.is_empty() {
            metadata.insert("grpc-timeout", HeaderValue::from_static(timeout));
        }
        let call = service.begin(&metadata, service.arrival());
        assert_eq!(call.budget, Duration::from_millis(budget), "{timeout}");
    }
}
