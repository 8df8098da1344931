//! The observer of one compiled policy: counts each check, traces and logs those that are sampled.

use std::sync::Arc;

use crate::model::event::{CheckEvent, CheckObserver};
use crate::telemetry::decision_log::DecisionLog;
use crate::telemetry::metrics::checks::{CheckMetrics, RouteCells};
use crate::telemetry::trace::{Parent, Tracer};

/// Everything that one check reports to, found once.
#[derive(Debug)]
pub(super) struct Observer {
    pub(super) checks: Arc<CheckMetrics>,
    /// By `RouteIndex`.
    pub(super) routes: Box<[Arc<RouteCells>]>,
    pub(super) unmatched: Arc<RouteCells>,
    pub(super) tracer: Option<Arc<Tracer>>,
    pub(super) log: Option<Arc<DecisionLog>>,
}

impl CheckObserver for Observer {
    fn check_decided(&self, event: &CheckEvent<'_>) {
        // An index of another policy would be a bug of ours; a check must not panic for the sake of a counter.
        let cells = event
            .route
            .and_then(|index| self.routes.get(usize::try_from(index.0).ok()?))
            .unwrap_or(&self.unmatched);
        cells.count(event.outcome);
        self.checks.observe(event.latency);
        let trace_id = self.tracer.as_ref().and_then(|tracer| tracer.trace(event));
        if let Some(log) = self.log.as_ref().filter(|log| log.wants(event)) {
            // The caller's trace is worth naming even if we add no span to it.
            let trace_id = trace_id.or_else(|| Some(event.traceparent.and_then(Parent::parse)?.trace_id));
            log.write(event, trace_id.map(|id| id.to_string()));
        }
    }
}
