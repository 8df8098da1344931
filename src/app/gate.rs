//! Puts the gate together: declared rules → compiled policy, trusted servers → one snapshot, swapped whole.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::runtime::Handle;

use crate::app::issuer::Issuer;
use crate::app::reload::brief;
use crate::authz::{self, GateSettings, Lookup, Snapshot};
use crate::clock::Clock;
use crate::config::Settings;
use crate::envoy::service::{Checks, Decided, Step};
use crate::lifecycle::Lifecycle;
use crate::model::event::{CacheStats, CheckObserver, EventSink};
use crate::model::id::AuthorizationServerId;
use crate::net::fetch::HttpFetch;
use crate::policy::compile::compile;
use crate::policy::compiled::CompiledPolicy;
use crate::policy::facts::RequestFacts;
use crate::revocation::Revocations;
use crate::telemetry::Telemetry;
use crate::trust::Trust;
use crate::trust::fetch::Fetch;
use crate::trust::settings::{KeySource, TrustedServerSettings};

/// How often what can matter no more is forgotten.
const TIDY_EVERY: Duration = Duration::from_secs(10);

/// The gate, and what is needed to give it another snapshot.
pub(super) struct Gate {
    checks: Arc<LiveGate>,
    surroundings: Surroundings,
}

/// What snapshots are made with.
struct Surroundings {
    telemetry: Arc<Telemetry>,
    clock: Arc<dyn Clock>,
    fetch: Arc<dyn Fetch>,
    io: Handle,
}

/// Rules that are compiled. What remains is to find the keys of their servers.
pub(super) struct Prepared {
    policy: CompiledPolicy,
    servers: Vec<TrustedServerSettings>,
}

impl Gate {
    /// Makes the gate with its first snapshot. To be called on the I/O runtime.
    pub(super) fn start(
        settings: &Settings,
        clock: &Arc<dyn Clock>,
        telemetry: &Arc<Telemetry>,
        issuer: Option<&Issuer>,
        revocations: &Arc<Revocations>,
        lifecycle: &Lifecycle,
    ) -> anyhow::Result<Self> {
        let surroundings = Surroundings {
            telemetry: telemetry.clone(),
            clock: clock.clone(),
            fetch: Arc::new(HttpFetch::new()),
            io: Handle::current(),
        };
        let snapshot = surroundings.snapshot(prepare(settings)?, None, issuer)?;
        let limits = GateSettings {
            verdict_bytes_max: settings.gate.verdict_cache_bytes as u64,
            ..GateSettings::default()
        };
        let gate = authz::Gate::new(&limits, snapshot, clock.clone(), revocations.clone());
        show(&gate, telemetry);
        wait_for_keys(&gate, lifecycle);
        let tidied = Arc::downgrade(&gate);
        lifecycle.beside(async move { tidy(tidied).await });
        Ok(Self {
            checks: Arc::new(LiveGate(gate)),
            surroundings,
        })
    }

    /// What answers checks.
    pub(super) fn checks(&self) -> Arc<LiveGate> {
        self.checks.clone()
    }

    /// Compiles the rules of new settings, and changes nothing yet.
    pub(super) fn prepare(settings: &Settings) -> anyhow::Result<Prepared> {
        prepare(settings)
    }

    /// Puts them in force. The issuer must have its new settings already: its keys are asked for.
    pub(super) fn install(&self, prepared: Prepared, issuer: Option<&Issuer>) -> anyhow::Result<()> {
        let last = self.checks.0.snapshot();
        let next = self.surroundings.snapshot(prepared, Some(last.trust()), issuer)?;
        self.checks.0.install(next);
        Ok(())
    }
}

fn prepare(settings: &Settings) -> anyhow::Result<Prepared> {
    let (policy, findings) = compile(&settings.policy);
    let Some(policy) = policy else {
        bail!(brief(&settings.source_path, &findings));
    };
    Ok(Prepared {
        policy,
        servers: settings.trust.clone(),
    })
}

impl Surroundings {
    fn snapshot(
        &self,
        prepared: Prepared,
        previous: Option<&Trust>,
        issuer: Option<&Issuer>,
    ) -> anyhow::Result<Snapshot> {
        let Prepared { policy, mut servers } = prepared;
        if issuer.is_none() {
            servers.iter_mut().for_each(fetch_from_issuer);
        }
        let keys = |id: &AuthorizationServerId| issuer.and_then(|issuer| issuer.live_keys(id));
        let events: Arc<dyn EventSink> = self.telemetry.clone();
        let trust = Trust::start(servers, previous, &keys, &self.fetch, &self.clock, &events, &self.io)?;
        let names: Vec<_> = policy
            .routes()
            .iter()
            .map(|route| (route.api.clone(), route.name.clone()))
            .collect();
        let observer = self.telemetry.observer_for(&names);
        Snapshot::new(policy, trust, observer).context("an API's authorization server")
    }
}

/// A gate that runs alone has the keys of its own issuer from where everybody has them.
fn fetch_from_issuer(server: &mut TrustedServerSettings) {
    if matches!(server.keys, KeySource::Local)
        && let Ok(url) = format!("{}/v1/keys", server.issuer.as_str()).parse()
    {
        server.keys = KeySource::Uri(url);
        // The operator's own issuer, as `public_url` names it: it may well live in a private network.
        server.fetch.allow_private_addresses = true;
    }
}

/// Shows the gate's caches and the age of its keys among the metrics.
fn show(gate: &Arc<authz::Gate>, telemetry: &Telemetry) {
    type Of = fn(&authz::GateStats) -> CacheStats;
    let caches: [(&'static str, Of); 4] = [
        ("verdicts", |stats| stats.verdicts),
        ("refusals", |stats| stats.refusals),
        ("dpop_proofs", |stats| stats.replays),
        ("revocations", |stats| stats.revocations),
    ];
    for (name, of) in caches {
        let gate = gate.clone();
        telemetry.register_cache(name, move || of(&gate.stats()));
    }
    let gate = gate.clone();
    telemetry.register_key_ages(move || gate.snapshot().trust().key_ages());
}

/// Holds readiness back until each server's keys were had once, or for as long as is reasonable to wait for somebody else's
/// issuer: one that is away denies its own tokens and must not keep the others waiting for ever (attack B06).
fn wait_for_keys(gate: &authz::Gate, lifecycle: &Lifecycle) {
    let snapshot = gate.snapshot();
    for waited in snapshot.trust().waiting_for() {
        let guard = lifecycle.readiness.wait_for(&waited);
        let trust = Arc::downgrade(snapshot.trust());
        lifecycle.beside(async move {
            let _guard = guard;
            let mut polls = KEYS_WAIT.as_millis() / KEYS_POLL.as_millis();
            while polls > 0 && is_waiting(&trust, &waited) {
                tokio::time::sleep(KEYS_POLL).await;
                polls -= 1;
            }
        });
    }
}

/// For how long the first start waits for the keys of an external issuer.
const KEYS_WAIT: Duration = Duration::from_secs(10);
/// How often it looks.
const KEYS_POLL: Duration = Duration::from_millis(20);

fn is_waiting(trust: &Weak<Trust>, name: &str) -> bool {
    trust
        .upgrade()
        .is_some_and(|trust| trust.waiting_for().iter().any(|waited| waited == name))
}

async fn tidy(gate: Weak<authz::Gate>) {
    while let Some(held) = gate.upgrade() {
        held.tidy();
        drop(held);
        tokio::time::sleep(TIDY_EVERY).await;
    }
}

/// Answers checks by whichever snapshot is in force.
pub(super) struct LiveGate(Arc<authz::Gate>);

impl Checks for LiveGate {
    type Lookup = Lookup;

    fn check(&self, facts: &RequestFacts<'_>) -> Step<Lookup> {
        match self.0.check(facts) {
            authz::Step::Decided(authz::Decided {
                decision,
                cache,
                observer,
            }) => Step::Decided(Decided {
                decision,
                cache,
                observer,
            }),
            authz::Step::Wait(lookup) => Step::Wait(lookup),
        }
    }

    fn finish(&self, lookup: Lookup) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(self.0.finish(lookup))
    }

    fn observer(&self) -> Arc<dyn CheckObserver> {
        self.0.snapshot().observer().clone()
    }
}
