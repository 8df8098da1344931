//! Spans against a real collector.

use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use scopegate::clock::SystemClock;
use scopegate::model::event::{CacheOutcome, CheckEvent, Outcome, RouteIndex};
use scopegate::model::id::{ApiName, RouteName};
use scopegate::model::reason::Reason;
use scopegate::telemetry::Telemetry;
use scopegate::telemetry::settings::{OtlpSettings, TelemetrySettings};

use crate::support::collector::collector;
use crate::support::wait;

/// How long the span may take on its way: the test fails then, and waits for nothing before.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn edge_o07_a_real_collector_receives_the_span_beneath_the_callers() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut rotel, endpoint) = collector(folder.path());
    wait::until("rotel listens", || {
        rotel.must_run();
        async move { TcpStream::connect(endpoint).is_ok().then_some(()) }
    })
    .await;
    let settings = TelemetrySettings {
        otlp: Some(OtlpSettings {
            endpoint: format!("http://{endpoint}"),
            sample: 0.0,
        }),
        ..TelemetrySettings::default()
    };
    let telemetry = Telemetry::start(&settings, &|_| None, Arc::new(SystemClock::start())).expect("it starts");
    let names = [(
        ApiName::parse("transfers").expect("a name"),
        RouteName::parse("GET /transfers/{id}").expect("a name"),
    )];
    let observer = telemetry.observer_for(&names);
    observer.check_decided(&CheckEvent {
        decision_id: "0198c0de-0000-7000-8000-000000000001",
        route: Some(RouteIndex(0)),
        api: Some("transfers"),
        route_name: Some("GET /transfers/{id}"),
        outcome: Outcome::Deny(Reason::InsufficientScope),
        detail: None,
        cache: CacheOutcome::Hit,
        started: SystemTime::UNIX_EPOCH + Duration::from_secs(1_789_000_000),
        latency: Duration::from_micros(42),
        method: "GET",
        host: "canary.example",
        path: "/canary",
        request_id: "canary",
        authorization_server: Some("bank"),
        subject: Some("canary"),
        client_id: Some("canary"),
        long_lived: false,
        traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        tracestate: None,
    });
    let flushed = tokio::task::spawn_blocking(move || telemetry.shutdown(PATIENCE)).await;
    assert!(flushed.expect("no panic"), "the span is sent before the end");
    // The last of its attributes: the rest has been printed by then.
    let output = wait::until("rotel prints the span", || {
        let output = rotel.output();
        async move { output.contains("authz.cache").then_some(output) }
    })
    .await;
    for part in [
        "0af7651916cd43dd8448eb211c80319c",
        "b7ad6b7169203331",
        "envoy.service.auth.v3.Authorization/Check",
        "insufficient_scope",
        "scopegate",
    ] {
        assert!(output.contains(part), "{part} in:\n{output}");
    }
    assert!(!output.contains("canary"), "attack E18:\n{output}");
}
