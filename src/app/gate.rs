//! Puts the gate together: declared rules → compiled policy, trusted servers → one snapshot, swapped whole.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use anyhow::Context as _;
use parking_lot::Mutex;
use tokio::runtime::Handle;

use crate::app::ours::Ours;
use crate::authz::{self, GateSettings, Lookup, Snapshot};
use crate::clock::{Clock, Now};
use crate::config::Settings;
use crate::envoy::service::{Checks, Decided, Step};
use crate::lifecycle::Lifecycle;
use crate::model::event::{CacheStats, CheckObserver, EventSink};
use crate::model::id::AuthorizationServerId;
use crate::model::reason::Reason;
use crate::net::dev_ca;
use crate::net::fetch::HttpFetch;
use crate::net::settings::TlsSettings;
use crate::policy::compiled::CompiledPolicy;
use crate::policy::decision::Decision;
use crate::policy::facts::{Occurrence, RequestFacts};
use crate::revocation::Revocations;
use crate::telemetry::Telemetry;
use crate::trust::Trust;
use crate::trust::fetch::Fetch;
use crate::trust::settings::{KeySource, ManagedServer, ManagedServerSettings, TrustedServerSettings};

/// How often what can matter no more is forgotten.
const TIDY_EVERY: Duration = Duration::from_secs(10);

/// The gate, and what is needed to give it another snapshot.
pub(super) struct Gate {
    checks: Arc<LiveGate>,
    installer: Arc<Installer>,
}

/// Gives the gate its snapshots, one at a time: when the file has changed, and when a managed server has.
struct Installer {
    gate: Arc<authz::Gate>,
    surroundings: Surroundings,
    servers: Mutex<Servers>,
}

/// What snapshots are made with.
struct Surroundings {
    telemetry: Arc<Telemetry>,
    clock: Arc<dyn Clock>,
    fetch: Arc<dyn Fetch>,
    io: Handle,
    ours: Arc<dyn Ours>,
}

/// Rules that are compiled. What remains is to find the keys of their servers.
pub(super) struct Prepared {
    policy: Arc<CompiledPolicy>,
    servers: Servers,
}

/// The authorization servers that the file names.
struct Servers {
    stated: Vec<TrustedServerSettings>,
    managed: Vec<ManagedServerSettings>,
    /// Which of the managed ones are there, in the same order.
    found: Vec<Option<ManagedServer>>,
    /// The certificate of the local CA that the issuer of `dev: true` has, wherever it runs.
    dev_ca: Option<PathBuf>,
}

impl Gate {
    /// Makes the gate with its first snapshot. To be called on the I/O runtime.
    pub(super) fn start(
        settings: &Settings,
        clock: &Arc<dyn Clock>,
        telemetry: &Arc<Telemetry>,
        ours: &Arc<dyn Ours>,
        revocations: &Arc<Revocations>,
        lifecycle: &Lifecycle,
    ) -> anyhow::Result<Self> {
        let surroundings = Surroundings {
            telemetry: telemetry.clone(),
            clock: clock.clone(),
            fetch: Arc::new(HttpFetch::new()),
            io: Handle::current(),
            ours: ours.clone(),
        };
        let Prepared { policy, mut servers } = prepare(settings);
        servers.look(&**ours);
        let trust = surroundings.trust(&servers, None)?;
        let snapshot = surroundings.snapshot(policy, trust)?;
        let limits = GateSettings {
            verdict_bytes_max: settings.gate.verdict_cache_bytes as u64,
            ..GateSettings::default()
        };
        let gate = authz::Gate::new(&limits, snapshot, clock.clone(), revocations.clone());
        show(&gate, telemetry);
        wait_for_keys(&gate, lifecycle);
        let tidied = Arc::downgrade(&gate);
        lifecycle.beside(async move { tidy(tidied).await });
        let installer = Arc::new(Installer {
            gate: gate.clone(),
            surroundings,
            servers: Mutex::new(servers),
        });
        let told = Arc::downgrade(&installer);
        ours.listen(Box::new(move || {
            if let Some(installer) = told.upgrade() {
                installer.look_again();
            }
        }));
        // What changed before anybody listened.
        installer.look_again();
        Ok(Self {
            checks: Arc::new(LiveGate {
                gate,
                unseen: AtomicU32::new(0),
            }),
            installer,
        })
    }

    /// What answers checks.
    pub(super) fn checks(&self) -> Arc<LiveGate> {
        self.checks.clone()
    }

    /// Takes what it needs of new settings, and changes nothing yet.
    pub(super) fn prepare(settings: &Settings) -> Prepared {
        prepare(settings)
    }

    /// Puts them in force. The issuer must have its new settings already: its keys are asked for.
    pub(super) fn install(&self, prepared: Prepared) -> anyhow::Result<()> {
        let Installer {
            gate,
            surroundings,
            servers,
        } = &*self.installer;
        let mut in_force = servers.lock();
        let Prepared { policy, mut servers } = prepared;
        servers.look(&*surroundings.ours);
        let trust = surroundings.trust(&servers, Some(gate.snapshot().trust()))?;
        gate.install(surroundings.snapshot(policy, trust)?);
        *in_force = servers;
        Ok(())
    }
}

impl Installer {
    /// Looks for the managed servers again. When this returns, the next check believes those that are there now, and
    /// no others. It is called by who has changed one of them, before anybody is told that the change is done.
    fn look_again(&self) {
        let mut servers = self.servers.lock();
        if !servers.look(&*self.surroundings.ours) {
            return;
        }
        let last = self.gate.snapshot();
        let trust = self.surroundings.trust(&servers, Some(last.trust()));
        let next = trust.and_then(|trust| last.with_trust(trust).context("an API's authorization server"));
        match next {
            Ok(next) => self.gate.install(next),
            // A server that went away meanwhile: whoever took it calls again.
            Err(error) => tracing::error!("the gate cannot take over a managed authorization server: {error:#}"),
        }
    }
}

impl Servers {
    /// Looks for the managed servers. Whether there is anything new.
    fn look(&mut self, ours: &dyn Ours) -> bool {
        let find = |server: &ManagedServerSettings| ours.find(&server.reference, &server.public_url);
        let found: Vec<_> = self.managed.iter().map(find).collect();
        if found == self.found {
            return false;
        }
        let nobody = std::iter::repeat_with(|| None).take(found.len());
        let before = std::mem::replace(&mut self.found, found);
        for ((server, found), before) in self
            .managed
            .iter()
            .zip(&self.found)
            .zip(before.into_iter().chain(nobody))
        {
            tell(server, found.as_ref(), before.as_ref());
        }
        true
    }

    /// Those that can be believed, and the names of those that are not there.
    fn there(&self) -> (Vec<TrustedServerSettings>, Vec<AuthorizationServerId>) {
        let (mut there, mut absent) = (self.stated.clone(), Vec::new());
        for (server, found) in self.managed.iter().zip(&self.found) {
            match found {
                Some(found) => there.push(server.trusted(found.clone())),
                None => absent.push(server.id.clone()),
            }
        }
        (there, absent)
    }
}

fn tell(server: &ManagedServerSettings, found: Option<&ManagedServer>, before: Option<&ManagedServer>) {
    let (id, meant) = (&server.id, &server.reference);
    match (before, found) {
        (_, Some(found)) if before != Some(found) => tracing::info!(
            authorization_server.id = %id,
            "the gate believes the managed authorization server `{id}`: it is `{}`, whose tokens are for `{}`",
            found.issuer,
            found.audience
        ),
        (Some(_), None) => tracing::warn!(
            authorization_server.id = %id,
            "the managed authorization server `{id}` is gone or inactive: its tokens are refused"
        ),
        (None, None) => tracing::warn!(
            authorization_server.id = %id,
            "there is no active managed authorization server {meant}: until there is, tokens of `{id}` are refused"
        ),
        _ => {}
    }
}

fn prepare(settings: &Settings) -> Prepared {
    Prepared {
        policy: Arc::clone(&settings.compiled),
        servers: Servers {
            stated: settings.trust.clone(),
            managed: settings.managed.clone(),
            found: Vec::new(),
            dev_ca: match settings.listeners.issuer.as_ref().map(|issuer| &issuer.tls) {
                Some(TlsSettings::Dev { folder }) => Some(dev_ca::ca_file(folder)),
                _ => None,
            },
        },
    }
}

impl Surroundings {
    fn trust(&self, servers: &Servers, previous: Option<&Arc<Trust>>) -> anyhow::Result<Arc<Trust>> {
        let (mut there, absent) = servers.there();
        if !self.ours.has_keys() {
            for server in &mut there {
                fetch_from_issuer(server, servers.dev_ca.as_deref());
            }
        }
        let keys = |id: &AuthorizationServerId| self.ours.keys(id);
        let events: Arc<dyn EventSink> = self.telemetry.clone();
        let previous = previous.map(|trust| &**trust);
        let trust = Trust::start(there, previous, &keys, &self.fetch, &self.clock, &events, &self.io)?;
        Ok(if absent.is_empty() {
            trust
        } else {
            trust.without(absent)
        })
    }

    fn snapshot(&self, policy: Arc<CompiledPolicy>, trust: Arc<Trust>) -> anyhow::Result<Snapshot> {
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
