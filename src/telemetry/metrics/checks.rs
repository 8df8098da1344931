//! Counting checks: a table of atomics for each route, found once when a policy is compiled.
//!
//! A route's cells live as long as an observer that has them. Two policies that have the same route,
//! as before and after a reload, share its cells, so that its counters go on.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::registry::Unit;

use crate::model::event::Outcome;
use crate::model::reason::Reason;

/// The upper bounds of the latency's buckets, in microseconds: 25 µs to 100 ms.
const BUCKETS_MICROS: [u64; 12] = [
    25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000,
];

/// Allows, then each reason.
const OUTCOMES: usize = Reason::ALL.len() + 1;

/// The API and the route, as labels.
type Labels = (String, String);

/// The counters of checks.
#[derive(Debug, Default)]
pub(in crate::telemetry) struct CheckMetrics {
    routes: Mutex<HashMap<Labels, Weak<RouteCells>>>,
    /// Checks that no route matched: they have no labels, whatever host and path they named.
    unmatched: Arc<RouteCells>,
    latency: Latency,
}

impl CheckMetrics {
    /// The cells of these routes, each by its API and its name: the same ones as long as anyone has them.
    pub(in crate::telemetry) fn cells<'r>(
        &self,
        wanted: impl IntoIterator<Item = (&'r str, &'r str)>,
    ) -> Box<[Arc<RouteCells>]> {
        let mut routes = self.routes.lock();
        // Here is where a reload passes by: the place to forget routes that are gone.
        routes.retain(|_, cells| cells.strong_count() > 0);
        let find = |(api, route): (&str, &str)| {
            let known = routes.entry((api.to_owned(), route.to_owned())).or_default();
            known.upgrade().unwrap_or_else(|| {
                let cells = Arc::new(RouteCells::default());
                *known = Arc::downgrade(&cells);
                cells
            })
        };
        wanted.into_iter().map(find).collect()
    }

    /// The cells for checks that matched no route.
    pub(in crate::telemetry) fn unmatched(&self) -> Arc<RouteCells> {
        Arc::clone(&self.unmatched)
    }

    /// Takes note of how long a check took.
    pub(in crate::telemetry) fn observe(&self, latency: Duration) {
        self.latency.observe(latency);
    }
}

/// The counters of one route.
#[derive(Debug, Default)]
pub(in crate::telemetry) struct RouteCells([AtomicU64; OUTCOMES]);

impl RouteCells {
    /// Counts one decision.
    pub(in crate::telemetry) fn count(&self, outcome: Outcome) {
        let cell = match outcome {
            Outcome::Allow => 0,
            Outcome::Deny(reason) => reason as usize + 1,
        };
        self.0[cell].fetch_add(1, Ordering::Relaxed);
    }

    fn series(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
        let allow = ("allow", "", self.0[0].load(Ordering::Relaxed));
        let denials = Reason::ALL.into_iter().map(|reason| {
            (
                "deny",
                reason.as_str(),
                self.0[reason as usize + 1].load(Ordering::Relaxed),
            )
        });
        // A route's allows are shown from the start, so that the first one is seen as an increase;
        // twenty zeros for each of a thousand routes would help nobody.
        std::iter::once(allow).chain(denials.filter(|(_, _, count)| *count > 0))
    }
}

/// A histogram without locks.
#[derive(Debug, Default)]
struct Latency {
    /// One more than there are bounds: the last is for whatever took longer.
    buckets: [AtomicU64; BUCKETS_MICROS.len() + 1],
    sum_nanos: AtomicU64,
}

impl Latency {
    fn observe(&self, latency: Duration) {
        let nanos = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        let bucket = BUCKETS_MICROS.partition_point(|micros| micros * 1_000 < nanos);
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        // 2^64 ns are 584 years of checking: no overflow that anyone sees.
        self.sum_nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut bounds = BUCKETS_MICROS
            .iter()
            .map(|micros| Duration::from_micros(*micros).as_secs_f64());
        let buckets: [(f64, u64); BUCKETS_MICROS.len() + 1] = std::array::from_fn(|index| {
            let bound = bounds.next().unwrap_or(f64::INFINITY);
            (bound, self.buckets[index].load(Ordering::Relaxed))
        });
        let count = buckets.iter().map(|(_, count)| count).sum();
        let sum = Duration::from_nanos(self.sum_nanos.load(Ordering::Relaxed)).as_secs_f64();
        encoder
            .encode_descriptor(
                "scopegate_check_duration",
                "How long a check took from its first byte to its answer",
                Some(&Unit::Seconds),
                MetricType::Histogram,
            )?
            .encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
    }
}

impl Collector for CheckMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        // Cloned out of the lock: a scrape must not keep a reload waiting for its formatting.
        let mut routes: Vec<(Labels, Arc<RouteCells>)> = self
            .routes
            .lock()
            .iter()
            .filter_map(|(labels, cells)| Some((labels.clone(), cells.upgrade()?)))
            .collect();
        routes.push(((String::new(), String::new()), self.unmatched()));
        routes.sort_by(|(left, _), (right, _)| left.cmp(right));
        let mut metric = encoder.encode_descriptor(
            "scopegate_decisions",
            "Checks decided, by API, route, outcome and reason",
            None,
            MetricType::Counter,
        )?;
        for ((api, route), cells) in &routes {
            for (outcome, reason, count) in cells.series() {
                let labels = [
                    ("api", api.as_str()),
                    ("route", route.as_str()),
                    ("outcome", outcome),
                    ("reason", reason),
                ];
                ConstCounter::new(count).encode(metric.encode_family(&labels)?)?;
            }
        }
        self.latency.encode(&mut encoder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(metrics: &CheckMetrics, route: &str) -> Arc<RouteCells> {
        Arc::clone(&metrics.cells([("a", route)])[0])
    }

    #[test]
    fn routes_that_nobody_has_any_more_take_no_memory() {
        let metrics = CheckMetrics::default();
        let kept = cell(&metrics, "kept");
        for n in 0..1000 {
            drop(cell(&metrics, &format!("renamed {n}")));
        }
        assert!(metrics.routes.lock().len() <= 2);
        assert!(Arc::ptr_eq(&kept, &cell(&metrics, "kept")));
    }
}
