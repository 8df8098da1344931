use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use h2::client::{Connection as ClientConnection, SendRequest};
use http::{HeaderMap, Request, StatusCode};
use prost::Message as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tonic_health::server::HealthReporter;

use super::*;
use crate::clock::{Clock, ManualClock, Now, SystemClock};
use crate::envoy::generated::GeneratedServices;
use crate::envoy::pb::envoy::service::auth::v3::attribute_context::{HttpRequest, Request as PbRequest};
use crate::envoy::pb::envoy::service::auth::v3::{AttributeContext, CheckRequest, CheckResponse};
use crate::envoy::server::CHECK_PATH;
use crate::envoy::service::{CheckService, CheckSettings, Decided, Step};
use crate::model::event::{CacheOutcome, CheckObserver, Unobserved};
use crate::model::reason::Reason;
use crate::model::time::Timestamp;
use crate::net::workers::EVENT_INTERVAL;
use crate::policy::decision::{Decision, Denial};
use crate::policy::facts::RequestFacts;

/// Denies everything; a check of `/wait` first waits until it is released, one of `/slow` keeps the thread for a millisecond.
#[derive(Default)]
struct Denying {
    release: Arc<Notify>,
    released: Arc<AtomicBool>,
    slow: AtomicUsize,
}

impl Checks for Denying {
    type Lookup = ();

    fn check(&self, facts: &RequestFacts<'_>, _: Now) -> Step<()> {
        if facts.path() == "/wait" && !self.released.load(Ordering::SeqCst) {
            return Step::Wait(());
        }
        if facts.path() == "/slow" {
            self.slow.fetch_add(1, Ordering::SeqCst);
            std::thread::sleep(Duration::from_millis(1));
        }
        Step::Decided(Decided {
            decision: Decision::Deny(Denial::new(Reason::NoRoute)),
            cache: CacheOutcome::Unused,
            observer: Arc::new(Unobserved),
        })
    }

    fn finish(&self, (): ()) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let (release, released) = (self.release.clone(), self.released.clone());
        Box::pin(async move {
            release.notified().await;
            released.store(true, Ordering::SeqCst);
        })
    }

    fn observer(&self) -> Arc<dyn CheckObserver> {
        Arc::new(Unobserved)
    }
}

struct World {
    gate: Arc<Denying>,
    service: ExtAuthz<Denying>,
    stop: Stop,
    served: tokio::task::JoinHandle<()>,
    /// How often the connection had its turn.
    turns: Arc<AtomicUsize>,
}

/// A connection that is served, and the peer's end of it.
fn serve_with(limits: Limits, deadline: Duration) -> (World, DuplexStream) {
    let settings = CheckSettings {
        deadline,
        ..CheckSettings::default()
    };
    serve_by(Arc::new(SystemClock::start()), settings, limits)
}

fn serve_by(clock: Arc<dyn Clock>, settings: CheckSettings, limits: Limits) -> (World, DuplexStream) {
    let gate = Arc::new(Denying::default());
    let check = CheckService::new(gate.clone(), clock, settings, Handle::current());
    let service = ExtAuthz::new(check, GeneratedServices::health(HealthReporter::new()));
    let served_by = service.clone();
    let (ours, theirs) = tokio::io::duplex(1 << 20);
    let stop = Stop::default();
    let stopped = stop.clone();
    let turns = Arc::new(AtomicUsize::new(0));
    let counted = turns.clone();
    let served = tokio::spawn(async move {
        let mut serving = pin!(serve(theirs, &service, &limits, &stopped));
        poll_fn(|context| {
            counted.fetch_add(1, Ordering::SeqCst);
            serving.as_mut().poll(context)
        })
        .await;
    });
    let world = World {
        gate,
        service: served_by,
        stop,
        served,
        turns,
    };
    (world, ours)
}

fn serve_patiently() -> (World, DuplexStream) {
    serve_with(Limits::default(), Duration::from_secs(30))
}

async fn client(io: DuplexStream) -> SendRequest<Bytes> {
    let (client, connection): (_, ClientConnection<_, Bytes>) = h2::client::handshake(io).await.expect("handshake");
    tokio::spawn(connection);
    client
}

fn message(path: &str) -> Bytes {
    let http = HttpRequest {
        method: "GET".into(),
        host: "api.bank.example".into(),
        path: path.into(),
        ..HttpRequest::default()
    };
    let check = CheckRequest {
        attributes: Some(AttributeContext {
            request: Some(PbRequest {
                http: Some(http),
                time: None,
            }),
            ..AttributeContext::default()
        }),
    };
    let mut buffer = grpc::buffer(0);
    buffer.extend_from_slice(&check.encode_to_vec());
    grpc::frame(buffer)
}

fn post() -> Request<()> {
    Request::post(format!("http://gate{CHECK_PATH}"))
        .header("content-type", "application/grpc")
        .body(())
        .expect("valid")
}

/// Sends a call in as many DATA frames as there are parts.
fn begin(client: &mut SendRequest<Bytes>, parts: &[Bytes]) -> h2::client::ResponseFuture {
    let (answer, mut stream) = client.send_request(post(), false).expect("sent");
    for (place, part) in parts.iter().enumerate() {
        stream.send_data(part.clone(), place + 1 == parts.len()).expect("sent");
    }
    answer
}

/// Runs a test on a thread as the gate's are: by default, what is not a task of its own has its turn after 61 others.
fn in_turns(test: impl Future<Output = ()>) {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().event_interval(EVENT_INTERVAL).build();
    runtime.expect("a runtime").block_on(test);
}

/// What a call was answered with: the reason of the denial.
async fn reason(answer: h2::client::ResponseFuture) -> String {
    let response = answer.await.expect("answers");
    assert_eq!(response.status(), StatusCode::OK);
    let mut body = response.into_body();
    let mut bytes = Vec::new();
    while let Some(data) = body.data().await {
        let data = data.expect("a whole answer");
        body.flow_control().release_capacity(data.len()).expect("room");
        bytes.extend_from_slice(&data);
    }
    let trailers: HeaderMap = body.trailers().await.expect("ends well").expect("trailers");
    assert_eq!(trailers["grpc-status"], "0");
    let answer = CheckResponse::decode(&bytes[grpc::PREFIX_BYTES..]).expect("decodes");
    answer.status.expect("a status").message
}

#[tokio::test]
async fn attack_e07_a_peer_that_says_nothing_or_half_a_preface_is_let_go() {
    for said in [&b""[..], b"PRI *"] {
        let limits = Limits {
            first_bytes: Duration::from_millis(20),
            ..Limits::default()
        };
        let (world, mut peer) = serve_with(limits, Duration::from_secs(1));
        peer.write_all(said).await.expect("writes");
        world.served.await.expect("ends by itself, or hangs");
    }
}

#[tokio::test]
async fn attack_e07_a_peer_that_answers_no_ping_is_let_go_and_one_that_does_stays() {
    let limits = Limits {
        ping_interval: Duration::from_millis(20),
        ping_timeout: Duration::from_millis(200),
        ..Limits::default()
    };
    let (silent, mut peer) = serve_with(limits.clone(), Duration::from_secs(1));
    // The preface and empty SETTINGS, and then nothing any more: not even an answer to a ping.
    peer.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")
        .await
        .expect("writes");
    silent.served.await.expect("ends by itself, or hangs");
    let mut said = Vec::new();
    peer.read_to_end(&mut said).await.expect("reads");
    assert!(
        said.windows(9).any(|frame| frame[..5] == [0, 0, 8, 6, 0]),
        "it was asked"
    );

    let (world, peer) = serve_with(limits, Duration::from_secs(1));
    let mut client = client(peer).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(!world.served.is_finished());
    assert_eq!(reason(begin(&mut client, &[message("/")])).await, "no_route");
}

#[tokio::test]
async fn a_connection_keeps_its_thread_awake_after_an_answer_where_it_is_told_to_and_then_lets_it_sleep() {
    let settle = async || {
        for _ in 0..1000 {
            tokio::task::yield_now().await;
        }
    };
    for (busy_poll, stays_awake) in [(Duration::ZERO, false), (Duration::from_millis(50), true)] {
        let settings = CheckSettings {
            busy_poll,
            ..CheckSettings::default()
        };
        let clock = Arc::new(ManualClock::at(Timestamp::from_unix_seconds(1_800_000_000)));
        let (world, peer) = serve_by(clock.clone(), settings, Limits::default());
        let mut client = client(peer).await;
        let is_awake = async || {
            settle().await;
            let then = world.turns.load(Ordering::SeqCst);
            settle().await;
            world.turns.load(Ordering::SeqCst) > then
        };
        assert!(!is_awake().await, "nothing was answered yet");
        assert_eq!(reason(begin(&mut client, &[message("/")])).await, "no_route");
        assert_eq!(is_awake().await, stays_awake);
        clock.advance(busy_poll);
        assert!(!is_awake().await);
    }
}

#[tokio::test]
async fn edge_o02_nothing_waits_behind_a_call_that_has_to_wait() {
    let (world, peer) = serve_patiently();
    let mut client = client(peer).await;
    let waiting = begin(&mut client, &[message("/wait")]);
    let others: Vec<_> = (0..100).map(|_| begin(&mut client, &[message("/")])).collect();
    for other in others {
        assert_eq!(reason(other).await, "no_route");
    }
    world.gate.release.notify_one();
    assert_eq!(reason(waiting).await, "no_route");
}

#[tokio::test]
async fn edge_e23_a_call_that_waited_for_too_long_is_denied_without_being_checked() {
    let (world, peer) = serve_with(Limits::default(), Duration::from_millis(50));
    let mut client = client(peer).await;
    let calls: Vec<_> = (0..200).map(|_| begin(&mut client, &[message("/slow")])).collect();
    let mut denied = 0;
    for call in calls {
        denied += usize::from(reason(call).await == "timeout");
    }
    let checked = world.gate.slow.load(Ordering::SeqCst);
    assert_eq!(checked + denied, 200);
    assert!((1..100).contains(&checked), "{checked} were checked in 50 ms");
}

#[test]
fn edge_e23_a_connection_with_much_to_answer_lets_the_others_have_their_turn() {
    in_turns(async {
        let (world, peer) = serve_patiently();
        let service = world.service.clone();
        let mut greedy = client(peer).await;
        let (ours, theirs) = tokio::io::duplex(1 << 20);
        tokio::spawn(async move { serve(theirs, &service, &Limits::default(), &Stop::default()).await });
        let mut modest = client(ours).await;
        assert_eq!(reason(begin(&mut modest, &[message("/")])).await, "no_route");
        let calls: Vec<_> = (0..300).map(|_| begin(&mut greedy, &[message("/slow")])).collect();
        // Until the first of them is under way.
        while world.gate.slow.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(reason(begin(&mut modest, &[message("/")])).await, "no_route");
        let checked = world.gate.slow.load(Ordering::SeqCst);
        assert!(
            checked < 300,
            "all {checked} of the other connection were checked first"
        );
        for call in calls {
            assert_eq!(reason(call).await, "no_route");
        }
    });
}

#[test]
fn edge_e23_connections_share_a_round_until_they_have_caught_up_or_are_cut() {
    in_turns(async {
        let (world, _peer) = serve_patiently();
        let turn = || world.service.turns().turn();
        let whole = turn();
        for is_cut in [false, true] {
            let (mut calls, mut ends) = (Vec::new(), Vec::new());
            for _ in 0..8 {
                let (ours, theirs) = tokio::io::duplex(1 << 20);
                let service = world.service.clone();
                ends.push(tokio::spawn(async move {
                    serve(theirs, &service, &Limits::default(), &Stop::default()).await;
                }));
                let mut greedy = client(ours).await;
                calls.extend((0..60).map(|_| begin(&mut greedy, &[message("/slow")])));
            }
            let shared = async {
                while turn() > whole / 2 {
                    tokio::task::yield_now().await;
                }
            };
            let waited = tokio::time::timeout(Duration::from_secs(30), shared).await;
            waited.expect("eight that are behind have half of a whole turn each");
            if is_cut {
                for end in ends {
                    end.abort();
                    let _ = end.await;
                }
            } else {
                for call in calls {
                    assert_eq!(reason(call).await, "no_route");
                }
            }
            assert_eq!(turn(), whole, "none is behind: {is_cut}");
        }
    });
}

#[test]
fn edge_o02_a_call_that_was_given_up_while_it_waited_is_not_checked() {
    in_turns(async {
        let (world, peer) = serve_patiently();
        let mut client = client(peer).await;
        let mut calls: Vec<_> = (0..300).map(|_| begin(&mut client, &[message("/slow")])).collect();
        while world.gate.slow.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
        // Dropping a call resets its stream.
        let kept = calls.split_off(299);
        drop(calls);
        for call in kept {
            assert_eq!(reason(call).await, "no_route");
        }
        let checked = world.gate.slow.load(Ordering::SeqCst);
        assert!(checked < 200, "{checked} were checked");
    });
}

#[tokio::test]
async fn edge_o01_a_message_in_many_frames_and_late_ones_is_one_message() {
    let (_world, peer) = serve_patiently();
    let mut client = client(peer).await;
    let whole = message("/a/long/enough/path");
    for cuts in [vec![1], vec![5], vec![3, 7, 20], (1..whole.len()).collect()] {
        let (mut parts, mut rest) = (Vec::new(), whole.clone());
        let mut taken = 0;
        for cut in cuts {
            parts.push(rest.split_to(cut - taken));
            taken = cut;
        }
        parts.push(rest);
        assert_eq!(reason(begin(&mut client, &parts)).await, "no_route");
        // The same with a pause before the last part, and with an end of its own.
        let (answer, mut stream) = client.send_request(post(), false).expect("sent");
        for part in parts {
            tokio::task::yield_now().await;
            stream.send_data(part, false).expect("sent");
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
        stream.send_data(Bytes::new(), true).expect("sent");
        assert_eq!(reason(answer).await, "no_route");
    }
}

#[tokio::test]
async fn attack_d04_edge_e24_a_message_that_does_not_come_is_denied_in_time() {
    let (_world, peer) = serve_with(Limits::default(), Duration::from_millis(30));
    let mut client = client(peer).await;
    let (answer, mut stream) = client.send_request(post(), false).expect("sent");
    stream.send_data(message("/").slice(..10), false).expect("sent");
    assert_eq!(reason(answer).await, "timeout");
}

#[tokio::test]
async fn a_soft_stop_lets_calls_end_and_a_hard_one_does_not() {
    let (world, peer) = serve_patiently();
    let mut client_one = client(peer).await;
    let waiting = begin(&mut client_one, &[message("/wait")]);
    // Answered: so the one before it is under way.
    assert_eq!(reason(begin(&mut client_one, &[message("/")])).await, "no_route");
    world.stop.soft.cancel();
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert!(!world.served.is_finished(), "a call is under way");
    world.gate.release.notify_one();
    assert_eq!(reason(waiting).await, "no_route");
    drop(client_one);
    world.served.await.expect("ends");

    let (world, peer) = serve_patiently();
    let mut client_two = client(peer).await;
    let waiting = begin(&mut client_two, &[message("/wait")]);
    assert_eq!(reason(begin(&mut client_two, &[message("/")])).await, "no_route");
    world.stop.hard.cancel();
    world.served.await.expect("ends");
    assert!(waiting.await.is_err(), "it was cut");
}

#[tokio::test]
async fn edge_o04_a_watch_of_health_is_told_of_each_change() {
    let (_world, peer) = serve_patiently();
    let mut client = client(peer).await;
    let mut request = post();
    *request.uri_mut() = "http://gate/grpc.health.v1.Health/Watch".parse().expect("valid");
    let (answer, mut stream) = client.send_request(request, false).expect("sent");
    stream.send_data(Bytes::from_static(b"\0\0\0\0\0"), true).expect("sent");
    let mut body = answer.await.expect("answers").into_body();
    let first = body.data().await.expect("a message").expect("whole");
    assert_eq!(&first[..], b"\0\0\0\0\x02\x08\x01", "SERVING, and the stream goes on");
}
