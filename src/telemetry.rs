//! What operators see: metrics, traces, the decision log, the program's own log, the probes.
//!
//! The rooms that act report typed events ([`crate::model::event`]); this room decides their form.
//!
//! Rules:
//! 1. A check is never slowed or denied by what is told about it. Counting is two atomic additions;
//!    spans and decision lines go into bounded buffers that other threads empty, and what does not fit
//!    is dropped and counted.
//! 2. No label, attribute or log field holds a credential, and no label comes from a peer.
//! 3. Every name that an operator can meet is in [`VOCABULARY`]; a test compares it with what comes out.
//!
//! ```text
//!  authz ── CheckEvent ──▶ CheckObserver ─┬─▶ metrics  (per-route atomics) ──▶ /metrics
//!                          (per policy)   ├─▶ trace    (queue, thread)     ──▶ OTLP collector
//!                                         └─▶ decision_log (buffer, thread) ─▶ stdout, file
//!  trust, issuer, app ── Event ──▶ EventSink ─┬─▶ metrics
//!                                             └─▶ log
//! ```

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::clock::Clock;
use crate::model::event::{CacheStats, CheckObserver, Event, EventSink};
use crate::model::id::{ApiName, RouteName};
use crate::telemetry::decision_log::DecisionLog;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::observer::Observer;
use crate::telemetry::probes::Readiness;
use crate::telemetry::settings::TelemetrySettings;
use crate::telemetry::trace::Tracer;
use crate::telemetry::trace::settings::TraceSettings;

mod decision_log;
pub mod log;
mod metrics;
mod observer;
pub mod probes;
pub mod settings;
mod share;
#[cfg(test)]
mod testing;
mod text;
mod trace;

/// Looks up an environment variable. `config::source` has the real one, tests have their own.
pub type Env<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Why telemetry could not be started.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// A part of something is not between 0 and 1.
    #[error("`{field}` is `{ratio}`: it must lie between 0 and 1")]
    Ratio {
        /// The setting.
        field: &'static str,
        /// What it says.
        ratio: f64,
    },
    /// Traces cannot be sent there.
    #[error("the trace endpoint `{endpoint}` {problem}")]
    Endpoint {
        /// What was given, without user and password.
        endpoint: String,
        /// What is wrong with it, and what would be right.
        problem: &'static str,
    },
    /// The OTLP exporter refuses its settings.
    #[error("traces cannot be exported")]
    Exporter(#[source] opentelemetry_otlp::ExporterBuildError),
    /// The decision log's target cannot be opened.
    #[error("the decision log `{target}` cannot be opened for appending")]
    DecisionLog {
        /// The file.
        target: String,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// No thread is to be had.
    #[error("a telemetry thread cannot be started")]
    Thread(#[source] std::io::Error),
}

/// Everything that is told to operators. One for each process.
#[derive(Debug)]
pub struct Telemetry {
    metrics: Arc<Metrics>,
    tracer: Option<Arc<Tracer>>,
    decisions: Option<Arc<DecisionLog>>,
    /// Authorization servers whose introspection fails just now, and of which the log has said so.
    failing_introspection: Mutex<HashSet<String>>,
}

impl Telemetry {
    /// Starts the decision log and the trace export. The `OTEL_*` variables that `env` knows win over
    /// the settings.
    ///
    /// # Errors
    /// [`TelemetryError`] if a setting cannot be used. A collector that does not answer is no error.
    pub fn start(settings: &TelemetrySettings, env: Env<'_>, clock: Arc<dyn Clock>) -> Result<Self, TelemetryError> {
        let metrics = Arc::new(Metrics::new(clock));
        let decisions = DecisionLog::start(&settings.decision_log, metrics.decision_log_drops.clone())?;
        let tracer = TraceSettings::resolve(settings.otlp.as_ref(), env)?
            .map(|traces| Tracer::start(traces, metrics.span_drops.clone()))
            .transpose()?;
        Ok(Self {
            metrics,
            tracer: tracer.map(Arc::new),
            decisions: decisions.map(Arc::new),
            failing_introspection: Mutex::default(),
        })
    }

    /// The observer for a compiled policy with these routes, by [`crate::model::event::RouteIndex`].
    /// Routes that an earlier policy had under the same names go on counting where they were.
    #[must_use]
    pub fn observer_for(&self, routes: &[(ApiName, RouteName)]) -> Arc<dyn CheckObserver> {
        Arc::new(Observer {
            checks: Arc::clone(&self.metrics.checks),
            routes: self
                .metrics
                .checks
                .cells(routes.iter().map(|(api, route)| (api.as_str(), route.as_str()))),
            unmatched: self.metrics.checks.unmatched(),
            tracer: self.tracer.clone(),
            log: self.decisions.clone(),
        })
    }

    /// Shows this cache in the metrics: it is asked at each scrape. A second one of the same name
    /// takes the place of the first.
    pub fn register_cache(&self, name: &'static str, stats: impl Fn() -> CacheStats + Send + Sync + 'static) {
        self.metrics.pulled.cache(name, Box::new(stats));
    }

    /// Shows how old the keys of each authorization server are: asked at each scrape.
    pub fn register_key_ages(&self, ages: impl Fn() -> Vec<(String, Duration)> + Send + Sync + 'static) {
        self.metrics.pulled.key_ages(Box::new(ages));
    }

    /// Shows how many checks are under way: asked at each scrape.
    pub fn register_in_flight(&self, count: impl Fn() -> u64 + Send + Sync + 'static) {
        self.metrics.pulled.in_flight(Box::new(count));
    }

    /// The pages `/metrics`, `/livez` and `/readyz`.
    pub fn router(&self, readiness: Arc<dyn Readiness>) -> axum::Router {
        probes::router(Arc::clone(&self.metrics), readiness)
    }

    /// Opens the decision log's file anew, for when the old one was moved away.
    pub fn reopen_decision_log(&self) {
        if let Some(decisions) = &self.decisions {
            decisions.reopen();
        }
    }

    /// Writes and sends what waits, each within `deadline`; false if something was cut off. Blocks:
    /// call it when the last check is done, from a thread that may.
    pub fn shutdown(&self, deadline: Duration) -> bool {
        let written = self
            .decisions
            .as_ref()
            .is_none_or(|decisions| decisions.shutdown(deadline));
        let sent = self.tracer.as_ref().is_none_or(|tracer| tracer.shutdown(deadline));
        written && sent
    }
}

impl EventSink for Telemetry {
    fn record(&self, event: &Event<'_>) {
        self.metrics.count(event);
        match *event {
            Event::KeysFetched {
                authorization_server,
                usable,
            } => tracing::debug!(
                authorization_server.id = authorization_server,
                keys.usable = usable,
                "fetched {usable} keys of `{authorization_server}`"
            ),
            Event::KeysFetchFailed {
                authorization_server,
                error,
            } => tracing::warn!(
                authorization_server.id = authorization_server,
                error,
                "the keys of `{authorization_server}` cannot be fetched, those at hand stay in use"
            ),
            Event::Introspected {
                authorization_server,
                answered,
            } => self.log_introspection(authorization_server, answered),
            Event::Reloaded { error: None } => tracing::info!("the configuration was reloaded"),
            Event::Reloaded { error: Some(error) } => {
                tracing::error!(
                    error,
                    "the new configuration is refused, the last good one stays in force"
                );
            }
            Event::Revoked { kind } => tracing::info!(revocation.kind = kind, "revoked a {kind}"),
            Event::TokenRequest {
                authorization_server,
                grant,
                outcome,
            } => tracing::debug!(
                authorization_server.id = authorization_server,
                token_request.grant = grant,
                token_request.outcome = outcome,
                "answered a token request with {outcome}"
            ),
        }
    }
}

impl Telemetry {
    /// Introspection runs for many checks: only the turn to the worse and to the better is logged.
    fn log_introspection(&self, authorization_server: &str, answered: bool) {
        let mut failing = self.failing_introspection.lock();
        if answered && failing.remove(authorization_server) {
            tracing::info!(
                authorization_server.id = authorization_server,
                "the introspection endpoint of `{authorization_server}` answers again"
            );
        } else if !answered && failing.insert(authorization_server.to_owned()) {
            tracing::warn!(
                authorization_server.id = authorization_server,
                "the introspection endpoint of `{authorization_server}` gives no usable answer, its tokens are denied"
            );
        }
    }
}

/// Where a name of the vocabulary is met.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Channel {
    /// A metric, by the name of its family.
    Metric,
    /// A metric's label.
    Label,
    /// An attribute of a check's span.
    Attribute,
    /// A key of the decision log.
    Decision,
    /// A field of the program's log.
    Log,
}

/// Every name that operators meet, with its channel: dashboards and alerts hang on these, so a change
/// here is a breaking change.
pub const VOCABULARY: &[(Channel, &[&str])] = &[
    (
        Channel::Metric,
        &[
            "scopegate_build",
            "scopegate_cache_bytes",
            "scopegate_cache_bytes_max",
            "scopegate_cache_entries",
            "scopegate_cache_hits",
            "scopegate_cache_misses",
            "scopegate_check_duration_seconds",
            "scopegate_checks_inflight",
            "scopegate_config_age_seconds",
            "scopegate_config_last_load_timestamp_seconds",
            "scopegate_decision_log_dropped",
            "scopegate_decisions",
            "scopegate_introspections",
            "scopegate_jwks_age_seconds",
            "scopegate_jwks_fetches",
            "scopegate_reloads",
            "scopegate_revocations",
            "scopegate_spans_dropped",
            "scopegate_token_requests",
        ],
    ),
    (
        Channel::Label,
        &[
            "api",
            "authorization_server",
            "cache",
            "cause",
            "grant",
            "kind",
            "le",
            "outcome",
            "reason",
            "route",
            "version",
        ],
    ),
    (
        Channel::Attribute,
        &[
            "authz.api",
            "authz.authorization_server",
            "authz.cache",
            "authz.decision",
            "authz.decision_id",
            "authz.reason",
            "authz.route",
            "error.type",
            "rpc.method",
            "rpc.response.status_code",
            "rpc.system.name",
        ],
    ),
    (
        Channel::Decision,
        &[
            "api",
            "authorization_server",
            "cache",
            "client_id",
            "connection",
            "decision_id",
            "detail",
            "host",
            "latency_us",
            "method",
            "outcome",
            "path",
            "reason",
            "request_id",
            "route",
            "subject",
            "time",
            "trace_id",
        ],
    ),
    (
        Channel::Log,
        &[
            "actor",
            "authorization_server",
            "authorization_server.id",
            "changes",
            "client_id",
            "config.version",
            "config.warnings",
            "connections_cut",
            "connections_max",
            "denials",
            "detail",
            "error",
            "error_id",
            "event_time",
            "event_type",
            "grant.id",
            "keys.usable",
            "listener.address",
            "object.id",
            "object.kind",
            "part",
            "problem",
            "revocation.kind",
            "seconds",
            "target_id",
            "target_type",
            "telemetry_flushed",
            "token_request.grant",
            "token_request.outcome",
            "variable",
        ],
    ),
];

#[cfg(test)]
mod tests;
