use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc as std_mpsc;

use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::trace::SpanExporter;
use parking_lot::Mutex;

use super::*;
use crate::model::reason::Reason;
use crate::telemetry::settings::OtlpSettings;
use crate::telemetry::testing::{SAMPLED, UNSAMPLED, event};
use crate::telemetry::trace::settings::QueueSettings;

const SOON: Duration = Duration::from_secs(30);

/// Keeps what is exported, fails as long as it is told to, and says when it is called.
#[derive(Debug, Clone)]
pub(in crate::telemetry) struct MemoryExporter {
    spans: Arc<Mutex<Vec<SpanData>>>,
    pub(in crate::telemetry) fail: Arc<AtomicBool>,
    called: std_mpsc::Sender<usize>,
}

impl MemoryExporter {
    pub(in crate::telemetry) fn new() -> (Self, std_mpsc::Receiver<usize>) {
        let (called, calls) = std_mpsc::channel();
        let exporter = Self {
            spans: Arc::default(),
            fail: Arc::default(),
            called,
        };
        (exporter, calls)
    }

    pub(in crate::telemetry) fn spans(&self) -> Vec<SpanData> {
        self.spans.lock().clone()
    }
}

impl SpanExporter for MemoryExporter {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let result = if self.fail.load(Ordering::SeqCst) {
            Err(OTelSdkError::InternalFailure("no collector".to_owned()))
        } else {
            self.spans.lock().extend(batch.iter().cloned());
            Ok(())
        };
        let _ = self.called.send(batch.len());
        result
    }
}

/// Counts the ids that are asked for: no span can be built without one.
#[derive(Debug, Clone, Default)]
struct CountedIds(Arc<AtomicUsize>);

impl IdGenerator for CountedIds {
    fn new_trace_id(&self) -> TraceId {
        let count = self.0.fetch_add(1, Ordering::SeqCst) as u64;
        // Evenly spread low halves: 1/20, 3/20, 5/20, … of the range below the top bit.
        TraceId::from(1_u128 << 100 | u128::from((count % 10 * 2 + 1) * (u64::MAX / 40)))
    }

    fn new_span_id(&self) -> SpanId {
        SpanId::from(self.0.fetch_add(1, Ordering::SeqCst) as u64 + 1)
    }
}

pub(in crate::telemetry) const QUEUE: QueueSettings = QueueSettings {
    spans_max: 64,
    batch_max: 16,
    delay: Duration::ZERO,
};

pub(in crate::telemetry) fn sampler(sample: f64, name: Option<&str>) -> Sampler {
    let file = OtlpSettings {
        endpoint: "http://127.0.0.1:4317".to_owned(),
        sample,
    };
    let env = |variable: &str| name.filter(|_| variable == "OTEL_TRACES_SAMPLER").map(str::to_owned);
    TraceSettings::resolve(Some(&file), &env)
        .unwrap()
        .expect("traces are on")
        .sampler
}

pub(in crate::telemetry) fn tracer_to(exporter: MemoryExporter, sampler: Sampler) -> Tracer {
    let worker = Worker::start(QUEUE, Drops::default(), move || Ok(exporter)).unwrap();
    Tracer::with(sampler, Box::new(RandomIdGenerator::default()), worker)
}

/// The spans of these checks, and how many ids were made for them.
fn traced(sampler: Sampler, events: &[CheckEvent<'_>]) -> (Vec<SpanData>, usize) {
    let (exporter, _calls) = MemoryExporter::new();
    let spans = exporter.clone();
    let ids = CountedIds::default();
    let worker = Worker::start(QUEUE, Drops::default(), move || Ok(exporter)).unwrap();
    let tracer = Tracer::with(sampler, Box::new(ids.clone()), worker);
    for event in events {
        tracer.trace(event);
    }
    assert!(tracer.shutdown(SOON));
    (spans.spans(), ids.0.load(Ordering::SeqCst))
}

fn with_parent(traceparent: &'static str) -> CheckEvent<'static> {
    CheckEvent {
        traceparent: Some(traceparent),
        tracestate: Some("vendor=x"),
        ..event()
    }
}

fn attribute(span: &SpanData, name: &str) -> Option<String> {
    span.attributes
        .iter()
        .find(|attribute| attribute.key.as_str() == name)
        .map(|attribute| attribute.value.to_string())
}

#[test]
fn edge_o07_the_span_is_its_parents_child_and_says_what_was_decided() {
    let denial = CheckEvent {
        outcome: Outcome::Deny(Reason::InsufficientScope),
        ..with_parent(SAMPLED)
    };
    let (spans, _) = traced(sampler(0.0, None), &[denial]);
    let [span] = spans.as_slice() else {
        panic!("one span, not {}", spans.len())
    };
    assert_eq!(span.name, SPAN_NAME);
    assert_eq!(span.span_kind, SpanKind::Server);
    assert_eq!(
        span.span_context.trace_id().to_string(),
        "0af7651916cd43dd8448eb211c80319c"
    );
    assert_eq!(span.parent_span_id.to_string(), "b7ad6b7169203331");
    assert!(span.parent_span_is_remote);
    assert_eq!(span.span_context.trace_state().get("vendor"), Some("x"));
    assert_eq!(span.start_time, event().started);
    assert_eq!(span.end_time, event().started + event().latency);
    assert_eq!(span.status, Status::Unset, "a denial is no error");
    for (name, value) in [
        ("rpc.system.name", "grpc"),
        ("rpc.method", SPAN_NAME),
        ("rpc.response.status_code", "OK"),
        ("authz.api", "transfers"),
        ("authz.route", "GET /transfers/{id}"),
        ("authz.decision", "deny"),
        ("authz.reason", "insufficient_scope"),
        ("authz.cache", "hit"),
        ("authz.decision_id", event().decision_id),
        ("authz.authorization_server", "bank"),
    ] {
        assert_eq!(attribute(span, name).as_deref(), Some(value), "{name}");
    }
}

#[test]
fn edge_o07_an_unsampled_parent_builds_nothing() {
    let (spans, ids) = traced(sampler(1.0, None), &vec![with_parent(UNSAMPLED); 1000]);
    assert_eq!((spans.len(), ids), (0, 0));
    // Nor does a check without a parent where nothing is to be sampled.
    let (spans, ids) = traced(sampler(0.0, None), &vec![event(); 1000]);
    assert_eq!((spans.len(), ids), (0, 0));
}

#[test]
fn a_sampler_that_is_not_parent_based_overrules_the_parent() {
    let (spans, _) = traced(sampler(0.0, Some("always_on")), &[with_parent(UNSAMPLED)]);
    assert_eq!(spans.len(), 1);
    assert_eq!(spans[0].parent_span_id.to_string(), "b7ad6b7169203331");
    let (spans, ids) = traced(sampler(1.0, Some("always_off")), &[with_parent(SAMPLED), event()]);
    assert_eq!((spans.len(), ids), (0, 0));
}

#[test]
fn the_ratio_takes_roots_by_their_trace_id() {
    let ids = CountedIds::default();
    let sampler = sampler(0.5, None);
    let taken = (0..10).filter(|_| sampler.takes(ids.new_trace_id())).count();
    assert_eq!(taken, 5);
}

#[test]
fn a_traceparent_that_breaks_the_grammar_is_none() {
    let good = [
        (SAMPLED, true),
        (UNSAMPLED, false),
        ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-03", true),
        (
            "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-what-comes-later",
            true,
        ),
    ];
    for (text, sampled) in good {
        assert_eq!(
            Parent::parse(text).map(|parent| parent.sampled),
            Some(sampled),
            "{text}"
        );
    }
    for text in [
        "",
        "00",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-1",
        "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01.x",
        "00-00000000000000000000000000000000-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
        "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
        "00-+af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "00_0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b716920333\u{fc}-01",
    ] {
        assert_eq!(Parent::parse(text), None, "{text}");
    }
}

#[test]
fn a_bad_parent_leaves_the_choice_to_the_ratio_and_a_bad_tracestate_is_left_out() {
    let (spans, _) = traced(sampler(1.0, None), &[with_parent("nonsense")]);
    assert_eq!(spans[0].parent_span_id, SpanId::INVALID);
    assert_eq!(
        spans[0].span_context.trace_state().header(),
        "",
        "it belongs to a parent that is none"
    );
    let long = format!("a={}", "x".repeat(600));
    let event = CheckEvent {
        tracestate: Some(&long),
        ..with_parent(SAMPLED)
    };
    let (spans, _) = traced(sampler(1.0, None), &[event]);
    assert_eq!(spans[0].span_context.trace_state().header(), "");
}

#[test]
fn only_faults_of_ours_are_errors() {
    for reason in Reason::ALL {
        let event = CheckEvent {
            outcome: Outcome::Deny(reason),
            ..with_parent(SAMPLED)
        };
        let (spans, _) = traced(sampler(1.0, None), &[event]);
        let ours = matches!(
            reason,
            Reason::Unavailable | Reason::Overloaded | Reason::Timeout | Reason::Internal
        );
        assert_eq!(spans[0].status != Status::Unset, ours, "{reason:?}");
        assert_eq!(attribute(&spans[0], "error.type").is_some(), ours, "{reason:?}");
    }
}

#[test]
fn attack_e18_edge_o06_a_span_holds_nothing_that_a_peer_wrote() {
    let event = CheckEvent {
        method: "canary",
        host: "canary",
        path: "canary",
        request_id: "canary",
        subject: Some("canary"),
        client_id: Some("canary"),
        traceparent: Some("canary"),
        tracestate: Some("canary=canary"),
        ..event()
    };
    let (spans, _) = traced(sampler(1.0, None), &[event]);
    assert_eq!(spans.len(), 1);
    assert!(!format!("{spans:?}").contains("canary"));
}

#[test]
fn a_collector_that_is_gone_costs_spans_which_are_counted() {
    let (exporter, calls) = MemoryExporter::new();
    exporter.fail.store(true, Ordering::SeqCst);
    let (remote, drops) = (exporter.clone(), Drops::default());
    let worker = Worker::start(QUEUE, drops.clone(), move || Ok(remote)).unwrap();
    let tracer = Tracer::with(sampler(1.0, None), Box::new(RandomIdGenerator::default()), worker);
    let mut lost = 0;
    for _ in 0..3 {
        tracer.trace(&event());
        lost += calls.recv().unwrap();
    }
    exporter.fail.store(false, Ordering::SeqCst);
    tracer.trace(&event());
    assert!(tracer.shutdown(SOON));
    assert_eq!((lost, drops.export_failed.get()), (3, 3));
    assert_eq!(exporter.spans().len(), 1, "it is used again once it is back");
}

#[test]
fn a_full_batch_is_sent_at_once_and_what_is_less_with_the_delay_or_the_end() {
    let queue = QueueSettings {
        delay: Duration::from_secs(3600),
        ..QUEUE
    };
    let (exporter, calls) = MemoryExporter::new();
    let worker = Worker::start(queue, Drops::default(), move || Ok(exporter)).unwrap();
    let tracer = Tracer::with(sampler(1.0, None), Box::new(RandomIdGenerator::default()), worker);
    for _ in 0..queue.batch_max {
        tracer.trace(&event());
    }
    assert_eq!(calls.recv_timeout(SOON), Ok(queue.batch_max));
    for _ in 0..3 {
        tracer.trace(&event());
    }
    assert!(tracer.shutdown(SOON));
    assert_eq!(calls.try_iter().collect::<Vec<_>>(), [3]);
}

/// An exporter that never comes to an end.
#[derive(Debug)]
struct Stuck(std_mpsc::Sender<()>);

impl SpanExporter for Stuck {
    async fn export(&self, _batch: Vec<SpanData>) -> OTelSdkResult {
        let _ = self.0.send(());
        std::future::pending().await
    }
}

#[test]
fn a_collector_that_hangs_fills_the_queue_and_neither_blocks_a_check_nor_the_shutdown() {
    let (begun, begins) = std_mpsc::channel();
    let drops = Drops::default();
    let worker = Worker::start(QUEUE, drops.clone(), move || Ok(Stuck(begun))).unwrap();
    let tracer = Tracer::with(sampler(1.0, None), Box::new(RandomIdGenerator::default()), worker);
    tracer.trace(&event());
    begins.recv().unwrap();
    for _ in 0..1000 {
        tracer.trace(&event());
    }
    assert_eq!(drops.full.get(), 1000 - QUEUE.spans_max as u64);
    // Returns though the exporter never does; whether in time or not depends on the machine.
    tracer.shutdown(Duration::from_millis(1));
    // That deadline also ends the thread, which gives up what it holds.
    assert!(tracer.shutdown(SOON));
    assert_eq!(drops.export_failed.get(), 1 + QUEUE.spans_max as u64);
}

#[test]
fn the_endpoint_is_refused_at_the_start() {
    let settings = TraceSettings {
        endpoint: "http://".to_owned(),
        ..TraceSettings::resolve(None, &|name| {
            (name == "OTEL_TRACES_EXPORTER").then(|| "otlp".to_owned())
        })
        .unwrap()
        .expect("traces are on")
    };
    assert!(Tracer::start(settings, Drops::default()).is_err());
}
