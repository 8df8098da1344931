//! Puts the gate together: declared rules → compiled policy, trusted servers → one snapshot, swapped whole.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::runtime::Handle;

use crate::app::issuer::Issuer;
use crate::authz::{self, GateSettings, Lookup, Snapshot};
use crate::clock::{Clock, Now};
use crate::config::Settings;
use crate::config::report::brief;
use crate::envoy::service::{Checks, Decided, Step};
use crate::lifecycle::Lifecycle;
use crate::model::event::{CacheStats, CheckObserver, EventSink};
use crate::model::id::AuthorizationServerId;
use crate::model::reason::Reason;
use crate::net::dev_ca;
use crate::net::fetch::HttpFetch;
use crate::net::settings::TlsSettings;
use crate::policy::compile::compile;
use crate::policy::compiled::CompiledPolicy;
use crate::policy::decision::Decision;
use crate::policy::facts::{Occurrence, RequestFacts};
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
    /// The certificate of the local CA that the issuer of `dev: true` has, wherever it runs.
    dev_ca: Option<PathBuf>,
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
            checks: Arc::new(LiveGate {
                gate,
                unseen: AtomicU32::new(0),
            }),
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
        let last = self.checks.gate.snapshot();
        let next = self.surroundings.snapshot(prepared, Some(last.trust()), issuer)?;
        self.checks.gate.install(next);
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
        dev_ca: match settings.listeners.issuer.as_ref().map(|issuer| &issuer.tls) {
            Some(TlsSettings::Dev { folder }) => Some(dev_ca::ca_file(folder)),
            _ => None,
        },
    })
}

impl Surroundings {
    fn snapshot(
        &self,
        prepared: Prepared,
        previous: Option<&Trust>,
        issuer: Option<&Issuer>,
    ) -> anyhow::Result<Snapshot> {
        let Prepared {
            policy,
            mut servers,
            dev_ca,
        } = prepared;
        if issuer.is_none() {
            for server in &mut servers {
                fetch_from_issuer(server, dev_ca.as_deref());
            }
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
fn fetch_from_issuer(server: &mut TrustedServerSettings, dev_ca: Option<&Path>) {
    if matches!(server.keys, KeySource::Local)
        && let Ok(url) = format!("{}/v1/keys", server.issuer.as_str()).parse()
    {
        server.keys = KeySource::Uri(url);
        // The operator's own issuer, as `public_url` names it: it may well live in a private network.
        server.fetch.allow_private_addresses = true;
        server.fetch.ca_file = dev_ca.map(Path::to_owned);
        tracing::warn!(
            authorization_server.id = %server.id,
            "a gate without its issuer in the same process does not hear of revocations in this version"
        );
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

/// After how many denied checks without an Authorization header somebody is told that none ever came (case C10).
const UNSEEN_MAX: u32 = 100;

/// Answers checks by whichever snapshot is in force.
pub(super) struct LiveGate {
    gate: Arc<authz::Gate>,
    /// How many checks were denied for want of a token since the start, while none had one; `u32::MAX` once one had.
    unseen: AtomicU32,
}

impl LiveGate {
    /// Envoy's `allowed_headers` may leave the Authorization header out: then nobody can ever come in, and each denial
    /// looks like any other. One warning says so.
    fn note_authorization(&self, facts: &RequestFacts<'_>, decision: &Decision) {
        let unseen = self.unseen.load(Ordering::Relaxed);
        if unseen > UNSEEN_MAX {
            return;
        }
        if facts.header("authorization") != Occurrence::None {
            self.unseen.store(u32::MAX, Ordering::Relaxed);
        } else if matches!(decision, Decision::Deny(denial) if denial.reason() == Reason::MissingToken)
            && self.unseen.fetch_add(1, Ordering::Relaxed) == UNSEEN_MAX
        {
            tracing::warn!(
                "no check has had an Authorization header yet: if clients send one, look whether Envoy's `allowed_headers` lets it through"
            );
        }
    }
}

impl Checks for LiveGate {
    type Lookup = Lookup;

    fn check(&self, facts: &RequestFacts<'_>, now: Now) -> Step<Lookup> {
        match self.gate.check_at(facts, now) {
            authz::Step::Decided(authz::Decided {
                decision,
                cache,
                observer,
            }) => {
                self.note_authorization(facts, &decision);
                Step::Decided(Decided {
                    decision,
                    cache,
                    observer,
                })
            }
            authz::Step::Wait(lookup) => Step::Wait(lookup),
        }
    }

    fn finish(&self, lookup: Lookup) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(self.gate.finish(lookup))
    }

    fn observer(&self) -> Arc<dyn CheckObserver> {
        self.gate.snapshot().observer().clone()
    }
}
