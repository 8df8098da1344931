//! Traces: one span for each sampled check, made after the fact.
//!
//! Rules:
//! 1. **Unsampled costs nothing** (case O07): the choice needs the flags of the parent, or one random
//!    number; only then is anything built.
//! 2. The parent is the event's `traceparent`, which the caller of this room took from the gRPC
//!    metadata, else from the request (W3C Trace Context). One that breaks the grammar counts as none.
//!    Its sampled flag decides, unless `OTEL_TRACES_SAMPLER` names a sampler that is not parent-based.
//! 3. A span holds names of the configuration and words of closed lists. No path, host, subject or
//!    client: Envoy's span above ours has what its operator wants of these.
//! 4. A denial is no error of ours, and its span has no error status. A denial with status 503 is.
//! 5. Spans wait in a bounded queue for a thread of their own ([`export`]). A collector that is slow or
//!    down costs spans, which are counted, and nothing else.
//!
//! Attributes follow the stable RPC conventions of OpenTelemetry (semconv 1.45: `rpc.system.name`,
//! the full `rpc.method`, `rpc.response.status_code`), which replaced `rpc.system` and `rpc.service`.
//!
//! Not here: a tracer as libraries use it, with contexts and scopes. Nothing runs beneath a check
//! that would deserve a span, so the check path does not pay for one.

use std::borrow::Cow;
use std::str::FromStr as _;
use std::time::Duration;

use opentelemetry::trace::{SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_sdk::trace::{IdGenerator, RandomIdGenerator, SpanData, SpanEvents, SpanLinks};
use prometheus_client::metrics::counter::Counter;

use crate::model::event::{CheckEvent, Outcome};
use crate::telemetry::TelemetryError;
use crate::telemetry::trace::export::Worker;
use crate::telemetry::trace::settings::{Sampler, TraceSettings};

pub(super) mod export;
pub(super) mod settings;

/// The span's name: the full method, as the RPC conventions say.
const SPAN_NAME: &str = "envoy.service.auth.v3.Authorization/Check";

/// The longest `tracestate` that is carried on (W3C Trace Context section 3.3.1.5 asks for 512).
const TRACESTATE_BYTES_MAX: usize = 512;

/// How spans that never reached the collector are counted.
#[derive(Debug, Clone, Default)]
pub(super) struct Drops {
    /// The queue was full.
    pub(super) full: Counter,
    /// The collector did not take them.
    pub(super) export_failed: Counter,
}

/// Makes spans of checks.
#[derive(Debug)]
pub(super) struct Tracer {
    sampler: Sampler,
    ids: Box<dyn IdGenerator>,
    scope: InstrumentationScope,
    worker: Worker,
}

impl Tracer {
    /// Starts the export to the collector that the settings name.
    ///
    /// # Errors
    /// [`TelemetryError`] if the endpoint cannot be used or no thread is to be had. That the
    /// collector is not there is no error: it may come.
    pub(super) fn start(settings: TraceSettings, drops: Drops) -> Result<Self, TelemetryError> {
        let sampler = settings.sampler;
        let worker = Worker::start(settings.queue, drops, move || export::otlp(&settings))?;
        Ok(Self::with(sampler, Box::new(RandomIdGenerator::default()), worker))
    }

    fn with(sampler: Sampler, ids: Box<dyn IdGenerator>, worker: Worker) -> Self {
        let scope = InstrumentationScope::builder("scopegate")
            .with_version(env!("CARGO_PKG_VERSION"))
            .build();
        Self {
            sampler,
            ids,
            scope,
            worker,
        }
    }

    /// Makes the check's span if it is sampled, and says in which trace it is.
    pub(super) fn trace(&self, event: &CheckEvent<'_>) -> Option<TraceId> {
        let parent = event.traceparent.and_then(Parent::parse);
        // The choice of the ratio needs the id that the trace would have, so that whoever samples the
        // same trace by ratio elsewhere chooses the same (`TraceIdRatioBased`).
        let trace_id = match parent {
            Some(parent) if self.sampler.parent_based => {
                if !parent.sampled {
                    return None;
                }
                parent.trace_id
            }
            Some(parent) => self.sampled_by_ratio(parent.trace_id)?,
            None => self.sampled_root()?,
        };
        self.worker.send(self.span(event, parent, trace_id));
        Some(trace_id)
    }

    fn sampled_root(&self) -> Option<TraceId> {
        if self.sampler.takes_nothing() {
            return None;
        }
        self.sampled_by_ratio(self.ids.new_trace_id())
    }

    fn sampled_by_ratio(&self, trace_id: TraceId) -> Option<TraceId> {
        self.sampler.takes(trace_id).then_some(trace_id)
    }

    fn span(&self, event: &CheckEvent<'_>, parent: Option<Parent>, trace_id: TraceId) -> SpanData {
        let state = parent
            .and(event.tracestate)
            .filter(|text| text.len() <= TRACESTATE_BYTES_MAX)
            .and_then(|text| TraceState::from_str(text).ok())
            .unwrap_or_default();
        let fault = match event.outcome {
            Outcome::Deny(reason) if reason.http_status() >= 500 => Some(reason.as_str()),
            Outcome::Allow | Outcome::Deny(_) => None,
        };
        SpanData {
            span_context: SpanContext::new(trace_id, self.ids.new_span_id(), TraceFlags::SAMPLED, false, state),
            parent_span_id: parent.map_or(SpanId::INVALID, |parent| parent.span_id),
            parent_span_is_remote: parent.is_some(),
            span_kind: SpanKind::Server,
            name: Cow::Borrowed(SPAN_NAME),
            start_time: event.started,
            end_time: event.started + event.latency,
            attributes: attributes(event, fault),
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: match fault {
                Some(reason) => Status::error(reason),
                None => Status::Unset,
            },
            instrumentation_scope: self.scope.clone(),
        }
    }

    /// Sends what waits and ends the export; false if that took longer than `deadline`.
    pub(super) fn shutdown(&self, deadline: Duration) -> bool {
        self.worker.shutdown(deadline)
    }
}

/// The attributes. Their names are part of `telemetry::VOCABULARY`.
fn attributes(event: &CheckEvent<'_>, fault: Option<&'static str>) -> Vec<KeyValue> {
    let mut attributes = Vec::with_capacity(12);
    attributes.push(KeyValue::new("rpc.system.name", "grpc"));
    attributes.push(KeyValue::new("rpc.method", SPAN_NAME));
    // Scopegate answers every check with OK, denials too (DESIGN section 4.2).
    attributes.push(KeyValue::new("rpc.response.status_code", "OK"));
    let (decision, reason) = match event.outcome {
        Outcome::Allow => ("allow", None),
        Outcome::Deny(reason) => ("deny", Some(reason.as_str())),
    };
    attributes.push(KeyValue::new("authz.decision", decision));
    if let Some(reason) = reason {
        attributes.push(KeyValue::new("authz.reason", reason));
    }
    let named = [
        ("authz.api", event.api),
        ("authz.route", event.route_name),
        ("authz.authorization_server", event.authorization_server),
        ("authz.decision_id", Some(event.decision_id)),
    ];
    for (name, value) in named {
        if let Some(value) = value {
            attributes.push(KeyValue::new(name, value.to_owned()));
        }
    }
    attributes.push(KeyValue::new("authz.cache", event.cache.as_str()));
    if let Some(fault) = fault {
        attributes.push(KeyValue::new("error.type", fault));
    }
    attributes
}

/// A `traceparent` (W3C Trace Context section 3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Parent {
    /// The trace.
    pub(super) trace_id: TraceId,
    /// The caller's span.
    span_id: SpanId,
    /// Whether the caller records its span.
    sampled: bool,
}

impl Parent {
    /// Reads the header; `None` for anything that its grammar does not allow.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        // Version 00 has exactly 55 bytes; later ones may go on after another dash.
        let (head, rest) = bytes.split_at_checked(55)?;
        let version = hex(&head[..2])?;
        let ends_rightly = match version {
            0xff => false,
            0 => rest.is_empty(),
            _ => rest.first().is_none_or(|byte| *byte == b'-'),
        };
        if !ends_rightly || [head[2], head[35], head[52]] != [b'-'; 3] {
            return None;
        }
        let trace_id = TraceId::from(hex(&head[3..35])?);
        let span_id = SpanId::from(u64::try_from(hex(&head[36..52])?).ok()?);
        let flags = hex(&head[53..55])?;
        (trace_id != TraceId::INVALID && span_id != SpanId::INVALID).then_some(Self {
            trace_id,
            span_id,
            sampled: flags & 1 == 1,
        })
    }
}

/// Lower-case hexadecimal alone: the standard refuses capitals, `from_str_radix` would take them and a sign.
fn hex(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0_u128, |value, digit| {
        let digit = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(value << 4 | u128::from(digit))
    })
}

#[cfg(test)]
pub(super) mod tests;
