//! Metrics, in the OpenMetrics text form.
//!
//! Rules:
//! 1. **Labels come from closed lists and from the configuration, never from a peer** (case O08, attack
//!    E19): a scanner adds to numbers, not to series. Names of authorization servers are texts in the
//!    events; should one that is not configured ever get in, [`SERVERS_MAX`] bounds the harm.
//! 2. A check costs two atomic additions: handles are found once, when a policy is compiled ([`checks`]).
//! 3. What others keep count of is asked for at the scrape, through closures: caches, the age of
//!    keys, checks under way.
//! 4. Series of routes live as long as a policy that has them: a reload that removes a route removes its series.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use crate::clock::Clock;
use crate::model::event::{CacheStats, Event};
use crate::model::time::Timestamp;
use crate::telemetry::metrics::checks::CheckMetrics;
use crate::telemetry::{decision_log, trace};

pub(super) mod checks;

/// How many authorization servers have series of their own; further ones share `other`.
const SERVERS_MAX: usize = 1024;

/// What the probes send as content type.
pub(super) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

type Labels = Vec<(&'static str, String)>;

/// All metrics of the process.
#[derive(Debug)]
pub(super) struct Metrics {
    registry: Registry,
    pub(super) checks: Arc<CheckMetrics>,
    pub(super) pulled: Arc<Pulled>,
    pub(super) decision_log_drops: decision_log::Drops,
    pub(super) span_drops: trace::Drops,
    key_fetches: Family<Labels, Counter>,
    introspections: Family<Labels, Counter>,
    reloads: Family<Labels, Counter>,
    revocations: Family<Labels, Counter>,
    token_requests: Family<Labels, Counter>,
    servers: Mutex<HashSet<String>>,
}

impl Metrics {
    /// Registers them all. The configuration counts as loaded now.
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        let mut registry = Registry::default();
        registry.register(
            "scopegate_build",
            "The version that runs",
            Info::new([("version", env!("CARGO_PKG_VERSION"))]),
        );
        let checks = Arc::new(CheckMetrics::default());
        registry.register_collector(Box::new(Arc::clone(&checks)));
        let pulled = Arc::new(Pulled::new(clock));
        registry.register_collector(Box::new(Arc::clone(&pulled)));
        let mut family = |name: &str, help: &str| {
            let family = Family::<Labels, Counter>::default();
            registry.register(name, help, family.clone());
            family
        };
        let lines = family(
            "scopegate_decision_log_dropped",
            "Decisions that were to be logged and were not, by cause",
        );
        let spans = family(
            "scopegate_spans_dropped",
            "Spans that did not reach the collector, by cause",
        );
        let cause = |family: &Family<Labels, Counter>, cause: &str| {
            family.get_or_create_owned(&vec![("cause", cause.to_owned())])
        };
        Self {
            decision_log_drops: decision_log::Drops {
                full: cause(&lines, "full"),
                write_failed: cause(&lines, "write_failed"),
            },
            span_drops: trace::Drops {
                full: cause(&spans, "full"),
                export_failed: cause(&spans, "export_failed"),
            },
            key_fetches: family(
                "scopegate_jwks_fetches",
                "Fetches of key sets, by authorization server and outcome",
            ),
            introspections: family(
                "scopegate_introspections",
                "Calls of introspection endpoints, by authorization server and outcome",
            ),
            reloads: family(
                "scopegate_reloads",
                "Times that the configuration was read again, by outcome",
            ),
            revocations: family("scopegate_revocations", "Revocations, by what was revoked"),
            token_requests: family(
                "scopegate_token_requests",
                "Answers of the token endpoints, by authorization server, grant type and outcome",
            ),
            registry,
            checks,
            pulled,
            servers: Mutex::default(),
        }
    }

    /// Counts what happened beside the checks.
    pub(super) fn count(&self, event: &Event<'_>) {
        let outcome = |ok: bool| ("outcome", if ok { "ok" } else { "failed" }.to_owned());
        match event {
            Event::KeysFetched {
                authorization_server, ..
            } => add(
                &self.key_fetches,
                &vec![self.server(authorization_server), outcome(true)],
            ),
            Event::KeysFetchFailed {
                authorization_server, ..
            } => add(
                &self.key_fetches,
                &vec![self.server(authorization_server), outcome(false)],
            ),
            Event::Introspected {
                authorization_server,
                answered,
            } => add(
                &self.introspections,
                &vec![self.server(authorization_server), outcome(*answered)],
            ),
            Event::Reloaded { error } => {
                add(&self.reloads, &vec![outcome(error.is_none())]);
                if error.is_none() {
                    self.pulled.loaded();
                }
            }
            Event::Revoked { kind } => add(&self.revocations, &vec![("kind", (*kind).to_owned())]),
            Event::TokenRequest {
                authorization_server,
                grant,
                outcome,
            } => add(
                &self.token_requests,
                &vec![
                    self.server(authorization_server),
                    ("grant", (*grant).to_owned()),
                    ("outcome", (*outcome).to_owned()),
                ],
            ),
        }
    }

    /// The label of an authorization server, bounded in number whatever comes in.
    fn server(&self, id: &str) -> (&'static str, String) {
        let mut known = self.servers.lock();
        let name = if known.contains(id) {
            id
        } else if known.len() < SERVERS_MAX {
            known.insert(id.to_owned());
            id
        } else {
            "other"
        };
        ("authorization_server", name.to_owned())
    }

    /// Everything, as a scrape gets it.
    pub(super) fn exposition(&self) -> String {
        let mut out = String::with_capacity(16 << 10);
        prometheus_client::encoding::text::encode(&mut out, &self.registry)
            .expect("texts and numbers are written to memory");
        out
    }
}

fn add(family: &Family<Labels, Counter>, labels: &Labels) {
    family.get_or_create(labels).inc();
}

/// Tells the state of a cache.
pub(super) type CacheReader = Box<dyn Fn() -> CacheStats + Send + Sync>;

/// Tells the ages of keys by authorization server.
pub(super) type KeyAgesReader = Box<dyn Fn() -> Vec<(String, Duration)> + Send + Sync>;

/// Tells a number.
pub(super) type CountReader = Box<dyn Fn() -> u64 + Send + Sync>;

/// One number of a cache: its metric's name and help, and where it stands.
type CacheNumber = (&'static str, &'static str, fn(&CacheStats) -> u64);

/// Numbers that are kept elsewhere and asked for at the scrape.
pub(super) struct Pulled {
    clock: Arc<dyn Clock>,
    /// When the configuration in force was loaded, on both clocks.
    loaded: Mutex<(Timestamp, Duration)>,
    caches: Mutex<BTreeMap<&'static str, CacheReader>>,
    key_ages: Mutex<Option<KeyAgesReader>>,
    in_flight: Mutex<Option<CountReader>>,
}

impl Pulled {
    fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            loaded: Mutex::new((clock.now(), clock.monotonic())),
            clock,
            caches: Mutex::default(),
            key_ages: Mutex::default(),
            in_flight: Mutex::default(),
        }
    }

    fn loaded(&self) {
        *self.loaded.lock() = (self.clock.now(), self.clock.monotonic());
    }

    /// Asks this cache at each scrape; one registered before under the same name is forgotten.
    pub(super) fn cache(&self, name: &'static str, stats: CacheReader) {
        self.caches.lock().insert(name, stats);
    }

    /// Asks for the age of each authorization server's keys at each scrape.
    pub(super) fn key_ages(&self, ages: KeyAgesReader) {
        *self.key_ages.lock() = Some(ages);
    }

    /// Asks at each scrape how many checks are under way.
    pub(super) fn in_flight(&self, count: CountReader) {
        *self.in_flight.lock() = Some(count);
    }
}

impl fmt::Debug for Pulled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pulled(..)")
    }
}

impl Collector for Pulled {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let (loaded_at, loaded_monotonic) = *self.loaded.lock();
        gauge(
            &mut encoder,
            "scopegate_config_last_load_timestamp_seconds",
            "When the configuration in force was loaded, in seconds since 1970",
            loaded_at.unix_seconds(),
        )?;
        gauge(
            &mut encoder,
            "scopegate_config_age_seconds",
            "How long ago the configuration in force was loaded",
            self.clock.monotonic().saturating_sub(loaded_monotonic).as_secs_f64(),
        )?;
        if let Some(count) = &*self.in_flight.lock() {
            gauge(&mut encoder, "scopegate_checks_inflight", "Checks under way", count())?;
        }
        if let Some(ages) = &*self.key_ages.lock() {
            let mut metric = encoder.encode_descriptor(
                "scopegate_jwks_age_seconds",
                "How long ago the keys in use were fetched, by authorization server",
                None,
                MetricType::Gauge,
            )?;
            for (server, age) in ages() {
                let labels = [("authorization_server", server.as_str())];
                ConstGauge::new(age.as_secs_f64()).encode(metric.encode_family(&labels)?)?;
            }
        }
        let stats: Vec<_> = self
            .caches
            .lock()
            .iter()
            .map(|(name, stats)| (*name, stats()))
            .collect();
        let gauges: [CacheNumber; 3] = [
            ("scopegate_cache_entries", "Entries, by cache", |stats| stats.entries),
            (
                "scopegate_cache_bytes",
                "Bytes that the entries weigh, by cache",
                |stats| stats.bytes,
            ),
            (
                "scopegate_cache_bytes_max",
                "Bytes at which entries are dropped, by cache",
                |stats| stats.bytes_max,
            ),
        ];
        let counters: [CacheNumber; 2] = [
            (
                "scopegate_cache_hits",
                "Look-ups that found an entry, by cache",
                |stats| stats.hits,
            ),
            (
                "scopegate_cache_misses",
                "Look-ups that found none, by cache",
                |stats| stats.misses,
            ),
        ];
        for (name, help, value) in gauges {
            let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for (cache, stats) in &stats {
                ConstGauge::new(value(stats)).encode(metric.encode_family(&[("cache", *cache)])?)?;
            }
        }
        for (name, help, value) in counters {
            let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            for (cache, stats) in &stats {
                ConstCounter::new(value(stats)).encode(metric.encode_family(&[("cache", *cache)])?)?;
            }
        }
        Ok(())
    }
}

fn gauge<N>(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: N) -> fmt::Result
where
    N: prometheus_client::encoding::EncodeGaugeValue,
{
    let metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    ConstGauge::new(value).encode(metric)
}

#[cfg(test)]
pub(super) mod tests;
