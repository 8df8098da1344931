//! What happened, as plain values: the rooms that act report, `telemetry` decides the form.
//!
//! Nothing here holds a credential. A path is without its query; a subject and a client are
//! identifiers that the token's issuer gave out.

use std::time::{Duration, SystemTime};

use crate::model::reason::Reason;

/// A route's number in one compiled policy: the index of its metric handles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RouteIndex(pub u32);

/// What came out of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The request may pass.
    Allow,
    /// The request is denied, for this reason.
    Deny(Reason),
}

/// Where the verdict on the token came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CacheOutcome {
    /// No token was looked at.
    Unused,
    /// The verdict was in the cache: the token is valid.
    Hit,
    /// The refusal was in the cache: the token is not valid.
    NegativeHit,
    /// The token was verified (or introspected) for this check.
    Miss,
}

impl CacheOutcome {
    /// The word for logs, metrics and traces.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unused => "unused",
            Self::Hit => "hit",
            Self::NegativeHit => "negative_hit",
            Self::Miss => "miss",
        }
    }
}

/// One check, from its first byte to its answer. Exactly one is reported for each check, also for
/// one that panicked or was cancelled.
#[derive(Debug, Clone)]
pub struct CheckEvent<'a> {
    /// The id that the denial's body, the dynamic metadata and the log share.
    pub decision_id: &'a str,
    /// The route that decided, if one matched.
    pub route: Option<RouteIndex>,
    /// The API's name, if a route matched.
    pub api: Option<&'a str>,
    /// The route's name, if one matched.
    pub route_name: Option<&'a str>,
    /// The decision.
    pub outcome: Outcome,
    /// One of a fixed list of sentences on what exactly failed; for logs, never for the client.
    pub detail: Option<&'static str>,
    /// Where the verdict on the token came from.
    pub cache: CacheOutcome,
    /// When the check began, on the wall clock (for spans and logs).
    pub started: SystemTime,
    /// How long it took.
    pub latency: Duration,
    /// The request's method, as the peer sent it.
    pub method: &'a str,
    /// The request's authority, as the peer sent it.
    pub host: &'a str,
    /// The request's path without its query, as the peer sent it.
    pub path: &'a str,
    /// Envoy's stream id or what stands for it.
    pub request_id: &'a str,
    /// The authorization server that vouched for the token.
    pub authorization_server: Option<&'a str>,
    /// The token's subject.
    pub subject: Option<&'a str>,
    /// The token's client.
    pub client_id: Option<&'a str>,
    /// Whether the request opens a long-lived connection (an upgrade).
    pub long_lived: bool,
    /// The W3C `traceparent` that is our span's parent: from the gRPC metadata, else from the request.
    pub traceparent: Option<&'a str>,
    /// The W3C `tracestate` that came with it.
    pub tracestate: Option<&'a str>,
}

/// Receives each check once it is decided. Called on the check path: it must neither block nor await.
pub trait CheckObserver: Send + Sync {
    /// Takes note of one check.
    fn check_decided(&self, event: &CheckEvent<'_>);
}

/// An observer that takes note of nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unobserved;

impl CheckObserver for Unobserved {
    fn check_decided(&self, _event: &CheckEvent<'_>) {}
}

/// Things that happen beside the checks.
#[derive(Debug, Clone)]
pub enum Event<'a> {
    /// Keys of an authorization server were fetched.
    KeysFetched {
        /// Whose keys.
        authorization_server: &'a str,
        /// How many are usable.
        usable: usize,
    },
    /// Keys of an authorization server could not be fetched; the last good ones stay.
    KeysFetchFailed {
        /// Whose keys.
        authorization_server: &'a str,
        /// What failed, without secrets.
        error: &'a str,
    },
    /// An introspection endpoint was asked.
    Introspected {
        /// Whose endpoint.
        authorization_server: &'a str,
        /// Whether it answered in a form that can be used.
        answered: bool,
    },
    /// The configuration was read again.
    Reloaded {
        /// The errors that kept the last good configuration in force; `None` when the new one is in force.
        error: Option<&'a str>,
    },
    /// Something was revoked.
    Revoked {
        /// `token`, `client`, `key`, …
        kind: &'static str,
    },
    /// The issuer answered a token request.
    TokenRequest {
        /// Whose token endpoint.
        authorization_server: &'a str,
        /// The grant type, from the closed list of those that we know, else `other`.
        grant: &'static str,
        /// `granted`, or the OAuth error code.
        outcome: &'static str,
    },
}

/// Receives what happens beside the checks.
pub trait EventSink: Send + Sync {
    /// Takes note of one event.
    fn record(&self, event: &Event<'_>);
}

/// A sink that takes note of nothing.
impl EventSink for Unobserved {
    fn record(&self, _event: &Event<'_>) {}
}

/// The state of one cache, read when metrics are scraped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CacheStats {
    /// How many entries it holds.
    pub entries: u64,
    /// How many bytes they weigh.
    pub bytes: u64,
    /// The bytes at which entries are dropped.
    pub bytes_max: u64,
    /// Look-ups that found an entry, since the start.
    pub hits: u64,
    /// Look-ups that found none, since the start.
    pub misses: u64,
}
