use std::collections::BTreeSet;

use super::*;
use crate::clock::ManualClock;
use crate::model::event::Outcome;
use crate::model::reason::Reason;
use crate::telemetry::metrics::checks::RouteCells;

/// An exposition that was read strictly: every rule of the text form that our metrics touch.
#[derive(Debug, Default)]
pub(in crate::telemetry) struct Exposition {
    pub(in crate::telemetry) families: BTreeSet<String>,
    pub(in crate::telemetry) labels: BTreeSet<String>,
    /// By name with labels as written.
    pub(in crate::telemetry) samples: BTreeMap<String, f64>,
}

impl Exposition {
    /// Reads it, and panics at whatever a scraper could refuse.
    pub(in crate::telemetry) fn read(text: &str) -> Self {
        let body = text.strip_suffix("# EOF\n").expect("ends with # EOF");
        let mut read = Self::default();
        let mut family: Option<(String, String)> = None;
        for line in body.lines() {
            assert!(!line.is_empty(), "an empty line");
            if let Some(comment) = line.strip_prefix("# ") {
                let mut words = comment.splitn(3, ' ');
                let (keyword, name, rest) = (
                    words.next(),
                    words.next().expect("a name"),
                    words.next().expect("a text"),
                );
                match keyword {
                    Some("HELP") => assert!(!rest.is_empty()),
                    Some("TYPE") => {
                        assert!(read.families.insert(name.to_owned()), "{name} is described twice");
                        family = Some((name.to_owned(), rest.to_owned()));
                    }
                    Some("UNIT") => assert!(name.ends_with(&format!("_{rest}")), "{line}"),
                    _ => panic!("unknown comment {line}"),
                }
                continue;
            }
            let (series, value) = line.rsplit_once(' ').expect("a value");
            let value: f64 = value.parse().expect("a number");
            assert!(value.is_finite() && value >= 0.0, "{line}");
            let (family_name, kind) = family.as_ref().expect("described before its samples");
            let (name, labels) = series
                .split_once('{')
                .map_or((series, None), |(name, rest)| (name, rest.strip_suffix('}')));
            let suffix = name
                .strip_prefix(family_name.as_str())
                .unwrap_or_else(|| panic!("{name} is not of {family_name}"));
            let suffixes: &[&str] = match kind.as_str() {
                "counter" => &["_total"],
                "gauge" => &[""],
                "info" => &["_info"],
                "histogram" => &["_sum", "_count", "_bucket"],
                other => panic!("type {other}"),
            };
            assert!(suffixes.contains(&suffix), "{name} of a {kind}");
            if let Some(labels) = labels {
                read.read_labels(labels);
            }
            assert!(
                read.samples.insert(series.to_owned(), value).is_none(),
                "{series} is there twice"
            );
        }
        read
    }

    fn read_labels(&mut self, mut rest: &str) {
        while !rest.is_empty() {
            let (name, after) = rest.split_once("=\"").expect("name=\"");
            assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{name}");
            self.labels.insert(name.to_owned());
            let mut escaped = false;
            let end = after
                .find(|c: char| {
                    let ends = c == '"' && !escaped;
                    escaped = c == '\\' && !escaped;
                    ends
                })
                .expect("a closing quote");
            rest = after[end + 1..].trim_start_matches(',');
        }
    }

    pub(in crate::telemetry) fn value(&self, series: &str) -> Option<f64> {
        self.samples.get(series).copied()
    }
}

fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::at(Timestamp::from_unix_seconds(1_789_000_000)))
}

fn is(got: Option<f64>, expected: f64) -> bool {
    got.is_some_and(|got| (got - expected).abs() < 1e-9)
}

fn cell(metrics: &Metrics, api: &str, route: &str) -> Arc<RouteCells> {
    Arc::clone(&metrics.checks.cells([(api, route)])[0])
}

#[test]
fn counts_by_api_route_outcome_and_reason() {
    let metrics = Metrics::new(clock());
    let cells = cell(&metrics, "transfers", "GET /transfers/{id}");
    cells.count(Outcome::Allow);
    cells.count(Outcome::Allow);
    for reason in Reason::ALL {
        for _ in 0..=reason as usize {
            cells.count(Outcome::Deny(reason));
        }
    }
    let read = Exposition::read(&metrics.exposition());
    let series = |outcome, reason| {
        format!(
            r#"scopegate_decisions_total{{api="transfers",route="GET /transfers/{{id}}",outcome="{outcome}",reason="{reason}"}}"#
        )
    };
    assert!(is(read.value(&series("allow", "")), 2.0));
    for (index, reason) in (1_u32..).zip(Reason::ALL) {
        assert!(
            is(read.value(&series("deny", reason.as_str())), f64::from(index)),
            "{reason:?}"
        );
    }
}

#[test]
fn the_latency_falls_into_buckets_from_25_microseconds_to_100_milliseconds() {
    let metrics = Metrics::new(clock());
    for nanos in [0, 25_000, 25_001, 100_000_000, 100_000_001] {
        metrics.checks.observe(Duration::from_nanos(nanos));
    }
    let read = Exposition::read(&metrics.exposition());
    let bucket = |le: &str| read.value(&format!(r#"scopegate_check_duration_seconds_bucket{{le="{le}"}}"#));
    assert!(
        is(bucket("0.000025").or(bucket("2.5e-5")), 2.0),
        "{:?}",
        read.samples.keys()
    );
    assert!(is(bucket("0.00005").or(bucket("5e-5")), 3.0));
    assert!(is(bucket("0.1"), 4.0));
    assert!(is(bucket("+Inf"), 5.0));
    assert!(is(read.value("scopegate_check_duration_seconds_count"), 5.0));
    assert!(is(read.value("scopegate_check_duration_seconds_sum"), 0.200_050_002));
}

#[test]
fn a_reload_keeps_the_counters_of_routes_that_stay_and_forgets_those_that_go() {
    let metrics = Metrics::new(clock());
    let (stays, goes) = (cell(&metrics, "a", "stays"), cell(&metrics, "a", "goes"));
    stays.count(Outcome::Allow);
    goes.count(Outcome::Allow);
    let after = cell(&metrics, "a", "stays");
    drop((stays, goes));
    after.count(Outcome::Allow);
    let text = metrics.exposition();
    assert!(
        text.contains(r#"{api="a",route="stays",outcome="allow",reason=""} 2"#),
        "{text}"
    );
    assert!(!text.contains("goes"));
    for n in 0..1000 {
        drop(cell(&metrics, "a", &format!("renamed {n}")));
    }
    assert!(Exposition::read(&metrics.exposition()).samples.len() < 60);
}

#[test]
fn asks_caches_keys_and_checks_under_way_at_the_scrape() {
    let clock = clock();
    let metrics = Metrics::new(Arc::<ManualClock>::clone(&clock));
    let stats = |hits| {
        move || CacheStats {
            entries: 1,
            bytes: 2,
            bytes_max: 3,
            hits,
            misses: 5,
        }
    };
    metrics.pulled.cache("verdicts", Box::new(stats(3)));
    metrics.pulled.cache("verdicts", Box::new(stats(4)));
    metrics.pulled.cache("introspection", Box::new(stats(0)));
    metrics
        .pulled
        .key_ages(Box::new(|| vec![("okta".to_owned(), Duration::from_millis(1500))]));
    metrics.pulled.in_flight(Box::new(|| 7));
    clock.advance(Duration::from_secs(90));
    clock.step_wall_clock(-3600);
    let read = Exposition::read(&metrics.exposition());
    for (series, value) in [
        (r#"scopegate_cache_entries{cache="verdicts"}"#, 1.0),
        (r#"scopegate_cache_bytes{cache="verdicts"}"#, 2.0),
        (r#"scopegate_cache_bytes_max{cache="verdicts"}"#, 3.0),
        (r#"scopegate_cache_hits_total{cache="verdicts"}"#, 4.0),
        (r#"scopegate_cache_misses_total{cache="verdicts"}"#, 5.0),
        (r#"scopegate_cache_hits_total{cache="introspection"}"#, 0.0),
        (r#"scopegate_jwks_age_seconds{authorization_server="okta"}"#, 1.5),
        ("scopegate_checks_inflight", 7.0),
        ("scopegate_config_age_seconds", 90.0),
        ("scopegate_config_last_load_timestamp_seconds", 1_789_000_000.0),
    ] {
        assert!(is(read.value(series), value), "{series}: {:?}", read.value(series));
    }
}

#[test]
fn counts_what_happens_beside_the_checks() {
    let clock = clock();
    let metrics = Metrics::new(Arc::<ManualClock>::clone(&clock));
    clock.advance(Duration::from_secs(60));
    for event in [
        Event::KeysFetched {
            authorization_server: "okta",
            usable: 2,
        },
        Event::KeysFetchFailed {
            authorization_server: "okta",
            error: "canary",
        },
        Event::Introspected {
            authorization_server: "okta",
            answered: false,
        },
        Event::Reloaded { error: Some("canary") },
        Event::Revoked { kind: "token" },
        Event::TokenRequest {
            authorization_server: "bank",
            grant: "client_credentials",
            outcome: "granted",
        },
    ] {
        metrics.count(&event);
    }
    let text = metrics.exposition();
    assert!(!text.contains("canary"));
    let read = Exposition::read(&text);
    for series in [
        r#"scopegate_jwks_fetches_total{authorization_server="okta",outcome="ok"}"#,
        r#"scopegate_jwks_fetches_total{authorization_server="okta",outcome="failed"}"#,
        r#"scopegate_introspections_total{authorization_server="okta",outcome="failed"}"#,
        r#"scopegate_reloads_total{outcome="failed"}"#,
        r#"scopegate_revocations_total{kind="token"}"#,
        r#"scopegate_token_requests_total{authorization_server="bank",grant="client_credentials",outcome="granted"}"#,
    ] {
        assert!(is(read.value(series), 1.0), "{series} in {text}");
    }
    // A refused configuration leaves the age of the one in force alone; a good one starts it anew.
    assert!(is(read.value("scopegate_config_age_seconds"), 60.0));
    metrics.count(&Event::Reloaded { error: None });
    let read = Exposition::read(&metrics.exposition());
    assert!(is(read.value("scopegate_config_age_seconds"), 0.0));
    assert!(is(
        read.value("scopegate_config_last_load_timestamp_seconds"),
        1_789_000_060.0
    ));
}

#[test]
fn names_of_the_configuration_are_escaped() {
    let metrics = Metrics::new(clock());
    let _cells = cell(&metrics, "a\"b\\c", "d");
    let text = metrics.exposition();
    Exposition::read(&text);
    assert!(text.contains(r#"api="a\"b\\c""#), "{text}");
}

#[test]
fn attack_e19_names_of_servers_are_bounded_even_if_a_peer_makes_them_up() {
    let metrics = Metrics::new(clock());
    for n in 0..10_000 {
        metrics.count(&Event::TokenRequest {
            authorization_server: &format!("made-up-{n}"),
            grant: "other",
            outcome: "invalid_request",
        });
    }
    let read = Exposition::read(&metrics.exposition());
    let series = read.samples.keys().filter(|series| series.contains("made-up")).count();
    assert_eq!(series, SERVERS_MAX);
    let other =
        r#"scopegate_token_requests_total{authorization_server="other",grant="other",outcome="invalid_request"}"#;
    assert!(is(read.value(other), 10_000.0 - 1024.0));
}
