//! One trace: Envoy's span, and the gate's beneath it, at a real collector.

use super::stage::{LAB, strict};
use crate::support::collector::collector;
use crate::support::envoy::EnvoyBuilder;
use crate::support::scopegate::ScopegateBuilder;
use crate::support::tokens::Server;
use crate::support::upstream::Upstream;
use crate::support::wait;

/// The spans in the collector's output: service or span name, trace id, span id, parent's id.
#[derive(Debug, Clone, Default)]
struct Span {
    name: String,
    trace: String,
    id: String,
    parent: String,
    rest: String,
}

fn spans(output: &str) -> Vec<Span> {
    let mut spans: Vec<Span> = Vec::new();
    for line in output.lines() {
        let Some((key, value)) = line.trim().split_once(':') else {
            if let Some(span) = spans.last_mut() {
                span.rest.push_str(line);
                span.rest.push('\n');
            }
            continue;
        };
        let value = value.trim().to_owned();
        match key.trim() {
            "Trace ID" => spans.push(Span {
                trace: value,
                ..Span::default()
            }),
            "Parent ID" => spans.last_mut().expect("inside a span").parent = value,
            "ID" => spans.last_mut().expect("inside a span").id = value,
            "Name" if spans.last().is_some_and(|span| span.name.is_empty()) => {
                spans.last_mut().expect("inside a span").name = value;
            }
            _ => {
                if let Some(span) = spans.last_mut() {
                    span.rest.push_str(line);
                    span.rest.push('\n');
                }
            }
        }
    }
    spans
}

#[tokio::test]
async fn edge_o07_the_gates_span_lies_beneath_envoys_in_one_trace() {
    let folder = tempfile::tempdir().unwrap();
    let (collector, address) = collector(folder.path());
    let server = Server::new("lab");
    let config = LAB.replace(
        "telemetry:\n  decision_log:",
        &format!("telemetry:\n  otlp: {{ endpoint: \"http://{address}\", sample: 0.0 }}\n  decision_log:"),
    );
    let gate = ScopegateBuilder::new(&config)
        .file("lab.jwks.json", server.jwks().to_string())
        .environment("OTEL_BSP_SCHEDULE_DELAY", "50")
        .start()
        .await;
    let upstream = Upstream::start().await;
    let envoy = EnvoyBuilder::recommended(gate.service(), upstream.address)
        .tracing(address)
        .start()
        .await;
    assert_eq!(strict("/items").send(envoy.address).await.status, 401);
    let (parent, ours) = wait::until("both spans are at the collector", || async {
        let spans = spans(&collector.output());
        let ours = spans.iter().find(|span| span.rest.contains("authz."))?.clone();
        let parent = spans.iter().find(|span| span.id == ours.parent)?.clone();
        Some((parent, ours))
    })
    .await;
    assert_eq!(parent.trace, ours.trace);
    assert!(ours.name.contains("Authorization/Check"), "{ours:?}");
    for attribute in [
        "authz.api",
        "authz.route",
        "authz.decision",
        "authz.reason",
        "authz.cache",
    ] {
        assert!(ours.rest.contains(attribute), "{attribute} in {}", ours.rest);
    }
}
