use std::collections::BTreeSet;

use serde_json::Value;

use super::*;
use crate::clock::ManualClock;
use crate::model::event::{CheckEvent, Outcome, RouteIndex};
use crate::model::reason::Reason;
use crate::model::time::Timestamp;
use crate::telemetry::log::LogFormat;
use crate::telemetry::metrics::tests::Exposition;
use crate::telemetry::settings::{DecisionLogSettings, DecisionLogTarget};
use crate::telemetry::testing::{Captured, SAMPLED, UNSAMPLED, event};
use crate::telemetry::trace::tests::{MemoryExporter, sampler, tracer_to};

mod log_fields;

const SOON: Duration = Duration::from_secs(30);

/// Telemetry whose spans and decisions stay in memory.
struct Watched {
    telemetry: Telemetry,
    spans: MemoryExporter,
    decisions: Captured,
}

impl Watched {
    fn start() -> Self {
        let clock = Arc::new(ManualClock::at(Timestamp::from_unix_seconds(1_789_000_000)));
        let metrics = Arc::new(Metrics::new(clock));
        let (spans, _) = MemoryExporter::new();
        let tracer = tracer_to(spans.clone(), sampler(0.0, None));
        let decisions = Captured::default();
        let sink = decisions.clone();
        let settings = DecisionLogSettings {
            to: DecisionLogTarget::Stdout,
            allows: 1.0,
            denials: 1.0,
            mask: Vec::new(),
        };
        let log = DecisionLog::start_with(
            &settings,
            metrics.decision_log_drops.clone(),
            Box::new(move || Ok(Box::new(sink.clone()))),
        )
        .unwrap();
        Self {
            telemetry: Telemetry {
                metrics,
                tracer: Some(Arc::new(tracer)),
                decisions: Some(Arc::new(log)),
                failing_introspection: Mutex::default(),
            },
            spans,
            decisions,
        }
    }

    fn observer(&self) -> Arc<dyn CheckObserver> {
        self.telemetry.observer_for(&[
            route("transfers", "GET /transfers/{id}"),
            route("transfers", "POST /transfers"),
        ])
    }
}

fn route(api: &str, route: &str) -> (ApiName, RouteName) {
    (ApiName::parse(api).unwrap(), RouteName::parse(route).unwrap())
}

fn everything_that_happens() -> [Event<'static>; 9] {
    let introspected = |answered| Event::Introspected {
        authorization_server: "okta",
        answered,
    };
    [
        Event::KeysFetched {
            authorization_server: "okta",
            usable: 2,
        },
        Event::KeysFetchFailed {
            authorization_server: "okta",
            error: "connection refused",
        },
        introspected(false),
        introspected(false),
        introspected(true),
        Event::Reloaded { error: None },
        Event::Reloaded {
            error: Some("scopegate.yaml:3:1: unknown key"),
        },
        Event::Revoked { kind: "token" },
        Event::TokenRequest {
            authorization_server: "bank",
            grant: "client_credentials",
            outcome: "granted",
        },
    ]
}

fn log_of(act: impl FnOnce()) -> String {
    let captured = Captured::default();
    let subscriber = log::subscriber(Some("trace"), LogFormat::Json, captured.clone()).unwrap();
    tracing::subscriber::with_default(subscriber, act);
    captured.text()
}

#[test]
fn each_check_is_counted_where_it_belongs_and_a_foreign_index_harms_nobody() {
    let watched = Watched::start();
    let observer = watched.observer();
    let at = |route, outcome| CheckEvent {
        route,
        outcome,
        ..event()
    };
    let denied = Outcome::Deny(Reason::InvalidToken);
    observer.check_decided(&at(Some(RouteIndex(1)), denied));
    observer.check_decided(&at(Some(RouteIndex(0)), Outcome::Allow));
    observer.check_decided(&at(None, Outcome::Deny(Reason::NoRoute)));
    observer.check_decided(&at(Some(RouteIndex(99)), denied));
    let text = watched.telemetry.metrics.exposition();
    for series in [
        r#"api="transfers",route="POST /transfers",outcome="deny",reason="invalid_token"} 1"#,
        r#"api="transfers",route="GET /transfers/{id}",outcome="allow",reason=""} 1"#,
        r#"api="",route="",outcome="deny",reason="no_route"} 1"#,
        r#"api="",route="",outcome="deny",reason="invalid_token"} 1"#,
        "scopegate_check_duration_seconds_count 4",
    ] {
        assert!(text.contains(series), "{series} in {text}");
    }
}

#[test]
fn edge_o08_attack_e19_scanners_add_to_numbers_and_not_to_series() {
    let watched = Watched::start();
    let observer = watched.observer();
    let before = Exposition::read(&watched.telemetry.metrics.exposition()).samples.len();
    for n in 0..10_000 {
        let (host, path) = (format!("h{n}.example"), format!("/p{n}"));
        observer.check_decided(&CheckEvent {
            route: None,
            api: None,
            route_name: None,
            outcome: Outcome::Deny(Reason::NoRoute),
            method: &path,
            host: &host,
            path: &path,
            request_id: &host,
            subject: Some(&path),
            client_id: Some(&host),
            ..event()
        });
    }
    let after = Exposition::read(&watched.telemetry.metrics.exposition());
    assert_eq!(after.samples.len(), before + 1);
    assert_eq!(
        after.value(r#"scopegate_decisions_total{api="",route="",outcome="deny",reason="no_route"}"#),
        Some(10_000.0)
    );
}

#[test]
fn edge_o07_the_decision_log_names_the_callers_trace_whether_it_is_sampled_or_not() {
    let watched = Watched::start();
    let observer = watched.observer();
    for traceparent in [Some(SAMPLED), Some(UNSAMPLED), Some("nonsense"), None] {
        observer.check_decided(&CheckEvent { traceparent, ..event() });
    }
    assert!(watched.telemetry.shutdown(SOON));
    let traces: Vec<Value> = watched
        .decisions
        .text()
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["trace_id"].clone())
        .collect();
    let named = Value::from("0af7651916cd43dd8448eb211c80319c");
    assert_eq!(traces, [named.clone(), named, Value::Null, Value::Null]);
    assert_eq!(watched.spans.spans().len(), 1);
}

#[test]
fn attack_e18_edge_o06_a_canary_in_every_field_comes_out_nowhere() {
    // Identifiers of tokens (subject, client) and request ids are logged by design; a credential in
    // any field is not.
    let canary = "eyJjYW5hcnkiOiJjYW5hcnkifQ.eyJjYW5hcnkiOjF9.c2lnbmF0dXJlLWNhbmFyeQ";
    let path = format!("/{canary}?access_token={canary}#{canary}");
    let host = format!("{canary}:{canary}@bank.example");
    let log = log_of(|| {
        let watched = Watched::start();
        watched.observer().check_decided(&CheckEvent {
            decision_id: canary,
            method: canary,
            host: &host,
            path: &path,
            request_id: canary,
            subject: Some(canary),
            client_id: Some(canary),
            traceparent: Some(canary),
            tracestate: Some(canary),
            ..event()
        });
        watched.observer().check_decided(&CheckEvent {
            host: &host,
            path: &path,
            traceparent: Some(SAMPLED),
            ..event()
        });
        assert!(watched.telemetry.shutdown(SOON));
        assert_eq!(watched.spans.spans().len(), 1);
        let seen = [
            watched.decisions.text(),
            watched.telemetry.metrics.exposition(),
            format!("{:?}", watched.spans.spans()),
            format!("{:?}", watched.telemetry),
        ];
        assert_eq!(seen[0].lines().count(), 2);
        for output in seen {
            for part in canary.split('.') {
                assert!(!output.contains(part), "{part} in {output}");
            }
        }
    });
    assert!(!log.contains("canary"), "{log}");
}

#[test]
fn an_introspection_endpoint_that_fails_is_logged_at_its_turns_alone() {
    let log = log_of(|| {
        let watched = Watched::start();
        for answered in [true, false, false, false, true, true, false] {
            watched.telemetry.record(&Event::Introspected {
                authorization_server: "okta",
                answered,
            });
        }
    });
    let levels: Vec<String> = log
        .lines()
        .map(|line| {
            serde_json::from_str::<Value>(line).unwrap()["level"]
                .as_str()
                .unwrap()
                .to_owned()
        })
        .collect();
    assert_eq!(levels, ["WARN", "INFO", "WARN"], "{log}");
}

#[test]
fn the_vocabulary_is_what_comes_out() {
    let mut seen: BTreeSet<(Channel, String)> = BTreeSet::new();
    let watched = Watched::start();
    watched.telemetry.register_cache("verdicts", CacheStats::default);
    watched
        .telemetry
        .register_key_ages(|| vec![("okta".to_owned(), Duration::ZERO)]);
    watched.telemetry.register_in_flight(|| 0);
    let observer = watched.observer();
    for outcome in [Outcome::Allow, Outcome::Deny(Reason::Internal)] {
        observer.check_decided(&CheckEvent {
            outcome,
            traceparent: Some(SAMPLED),
            ..event()
        });
    }
    let log = log_of(|| {
        for event in everything_that_happens() {
            watched.telemetry.record(&event);
        }
        let env = |name: &str| (name == "OTEL_TRACES_EXPORTER").then(|| "zipkin".to_owned());
        assert!(TraceSettings::resolve(None, &env).unwrap().is_none());
    });
    assert!(watched.telemetry.shutdown(SOON));

    let exposition = Exposition::read(&watched.telemetry.metrics.exposition());
    seen.extend(exposition.families.into_iter().map(|name| (Channel::Metric, name)));
    seen.extend(exposition.labels.into_iter().map(|name| (Channel::Label, name)));
    for span in watched.spans.spans() {
        seen.extend(
            span.attributes
                .iter()
                .map(|attribute| (Channel::Attribute, attribute.key.to_string())),
        );
    }
    let keys = |line: &str| -> Vec<String> {
        let line: serde_json::Map<String, Value> = serde_json::from_str(line).unwrap();
        line.into_iter().map(|(name, _)| name).collect()
    };
    for line in watched.decisions.text().lines() {
        seen.extend(keys(line).into_iter().map(|name| (Channel::Decision, name)));
    }
    let of_the_format = ["timestamp", "level", "target", "message"];
    for line in log.lines() {
        let names = keys(line)
            .into_iter()
            .filter(|name| !of_the_format.contains(&name.as_str()));
        seen.extend(names.map(|name| (Channel::Log, name)));
    }

    let listed: BTreeSet<(Channel, String)> = VOCABULARY
        .iter()
        .flat_map(|(channel, names)| names.iter().map(|name| (*channel, (*name).to_owned())))
        .collect();
    let missing: Vec<_> = seen.difference(&listed).collect();
    // What rare events log is not seen here: the next test reads it in the sources.
    let stale: Vec<_> = listed
        .difference(&seen)
        .filter(|(channel, _)| *channel != Channel::Log)
        .collect();
    assert!(
        missing.is_empty() && stale.is_empty(),
        "not listed: {missing:?}; listed for nothing: {stale:?}"
    );
}

#[test]
fn every_log_field_in_the_sources_is_in_the_vocabulary() {
    assert_eq!(
        log_fields::in_text(
            r#"tracing::info!(target: "x", { a.b = f(c, ","), %d }, "say {e}", g = 1); tracing::warn!("none");
               tracing::debug!(h, ?i, "j")"#
        ),
        ["a.b", "d", "h", "i"]
    );
    let (_, listed) = VOCABULARY.iter().find(|(channel, _)| *channel == Channel::Log).unwrap();
    let found = log_fields::in_sources(&std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    let unlisted: Vec<_> = found
        .iter()
        .filter(|(field, _)| !listed.contains(&field.as_str()))
        .collect();
    assert!(
        unlisted.is_empty(),
        "log fields that telemetry::VOCABULARY does not list: {unlisted:?}"
    );
    let stale: Vec<_> = listed
        .iter()
        .filter(|name| !found.iter().any(|(field, _)| field == *name))
        .collect();
    assert!(stale.is_empty(), "listed and logged nowhere: {stale:?}");
}

#[test]
fn starts_with_nothing_configured_and_stops_at_once() {
    let clock = Arc::new(ManualClock::at(Timestamp::from_unix_seconds(0)));
    let telemetry = Telemetry::start(&TelemetrySettings::default(), &|_| None, clock).unwrap();
    telemetry.observer_for(&[]).check_decided(&event());
    telemetry.reopen_decision_log();
    assert!(telemetry.shutdown(Duration::ZERO));
}

#[tokio::test]
async fn a_collector_that_refuses_connections_costs_its_spans_and_nothing_else() {
    // Bound and closed again: nobody listens there.
    let port = {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        listener.local_addr().unwrap().port()
    };
    let settings = TelemetrySettings::default();
    let env = |name: &str| (name == "OTEL_EXPORTER_OTLP_ENDPOINT").then(|| format!("http://127.0.0.1:{port}"));
    let clock = Arc::new(ManualClock::at(Timestamp::from_unix_seconds(0)));
    // Started within a runtime, as the app does: the exporter must bring its own.
    let telemetry = Telemetry::start(&settings, &env, clock).unwrap();
    telemetry.observer_for(&[]).check_decided(&event());
    assert!(telemetry.shutdown(SOON));
    let text = telemetry.metrics.exposition();
    assert!(
        text.contains(r#"scopegate_spans_dropped_total{cause="export_failed"} 1"#),
        "{text}"
    );
}
