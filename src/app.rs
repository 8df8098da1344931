//! The composition root: settings go in, a process that serves comes out.
//!
//! [`App::start`] makes everything, in this order: telemetry, the issuer with its store, the gate with its first policy, every
//! listener bound, and only then the first byte served. If one step fails, nothing has been served, and the error says which
//! in one line. Addresses are known afterwards, so that production and in-process tests share this code (port 0 is allowed).
//!
//! [`App::run`] serves until it is asked to end or cannot go on, and ends in order: not ready, drain, cut, flush, report.
//!
//! Threads: the gate's, one runtime each, run checks and nothing else. Everything else (issuer, telemetry pages, key
//! fetching, introspection) shares the runtime that `start` is called on, so that abuse of the issuer costs no check.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::clock::Clock;
use crate::config::{Settings, Source};
use crate::envoy::service::CheckSettings;
use crate::lifecycle::{Cause, DrainSettings, ExitReport, Lifecycle};
use crate::net::limits::{Limits, Protocol};
use crate::net::settings::{ListenAddress, ListenerSettings};
use crate::net::tls::Tls;
use crate::revocation::Revocations;
use crate::telemetry::Telemetry;

mod follower;
mod gate;
mod issuer;
mod ours;
mod reload;
mod serving;

use follower::Follower;
use gate::Gate;
use ours::{Ours, Unheard};
use reload::Reloader;
use serving::{Bound, GateServing, GateSettings};

/// A part of the program that can run alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Answers checks.
    Gate,
    /// Mints tokens.
    Issuer,
}

/// How to run, beside what the configuration says.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The one part to run; both if not said.
    pub only: Option<Part>,
    /// How many threads answer checks; as many as there are processors if not said.
    pub gate_threads: Option<usize>,
    /// The bounds on connections, for each listener.
    pub limits: Limits,
    /// How long ending takes.
    pub drain: DrainSettings,
}

impl Options {
    fn runs(&self, part: Part) -> bool {
        self.only.is_none_or(|only| only == part)
    }
}

/// Where the process listens.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Addresses {
    /// Where Envoy asks.
    pub ext_authz: Option<ListenAddress>,
    /// Where clients get tokens.
    pub issuer: Option<ListenAddress>,
    /// Where operators administer.
    pub admin: Option<ListenAddress>,
    /// Where metrics and probes are read.
    pub telemetry: Option<ListenAddress>,
}

impl Addresses {
    /// Each listener that there is, with its name.
    pub fn all(&self) -> impl Iterator<Item = (&'static str, &ListenAddress)> {
        [
            ("ext_authz", &self.ext_authz),
            ("issuer", &self.issuer),
            ("admin", &self.admin),
            ("telemetry", &self.telemetry),
        ]
        .into_iter()
        .filter_map(|(name, address)| address.as_ref().map(|address| (name, address)))
    }
}

/// A process that serves.
pub struct App {
    addresses: Addresses,
    lifecycle: Lifecycle,
    drain: DrainSettings,
    telemetry: Arc<Telemetry>,
    gate: Option<GateServing>,
    reloader: Arc<Reloader>,
    journal: Option<JoinHandle<()>>,
}

impl App {
    /// Makes everything that the settings ask for. To be called on the I/O runtime.
    ///
    /// # Errors
    /// The first step that fails; nothing was served then.
    pub async fn start(
        settings: Settings,
        options: Options,
        clock: Arc<dyn Clock>,
        source: Arc<dyn Source + Send + Sync>,
    ) -> anyhow::Result<Self> {
        let lifecycle = Lifecycle::default();
        let starting = lifecycle.readiness.wait_for("start");
        let env = |name: &str| source.variable(name);
        let telemetry = Arc::new(Telemetry::start(&settings.telemetry, &env, clock.clone())?);
        let revocations = Revocations::new(clock.clone());
        let issuer = if options.runs(Part::Issuer) {
            issuer::start(&settings, &clock, &telemetry, &revocations, &lifecycle).await?
        } else {
            None
        };
        let (issuer, journal) = issuer.unzip();
        let gate = if options.runs(Part::Gate) {
            let ours = ours(issuer.as_ref(), &settings, &clock, &revocations, &lifecycle)?;
            let gate = Gate::start(&settings, &clock, &telemetry, &ours, &revocations, &lifecycle)?;
            Some(gate)
        } else {
            None
        };
        let bind = |wanted: bool, listener: &Option<ListenerSettings>, protocol| {
            let listener = listener.as_ref().filter(|_| wanted);
            listener
                .map(|listener| Bound::bind(listener, protocol, &*clock))
                .transpose()
        };
        let ext_authz = bind(gate.is_some(), &settings.listeners.ext_authz, Protocol::Grpc)?;
        let issuer_listener = bind_issuer(issuer.as_ref(), &settings, &*clock)?;
        let admin_listener = bind(issuer.is_some(), &settings.listeners.admin, Protocol::Web)?;
        let telemetry_listener = bind(true, &settings.listeners.telemetry, Protocol::Web)?;
        let address = |bound: &Option<Bound>| bound.as_ref().map(Bound::address);
        let addresses = Addresses {
            ext_authz: address(&ext_authz),
            issuer: address(&issuer_listener),
            admin: address(&admin_listener),
            telemetry: address(&telemetry_listener),
        };
        let certificates: Vec<Arc<Tls>> = [&ext_authz, &issuer_listener, &admin_listener, &telemetry_listener]
            .into_iter()
            .filter_map(|bound| bound.as_ref().and_then(Bound::tls))
            .collect();

        if !certificates.is_empty() {
            lifecycle.beside(reload::follow_certificates(certificates.clone()));
        }

        // From here on, everything is bound and nothing can fail but the operating system.
        if let Some(bound) = telemetry_listener {
            let readiness = lifecycle.readiness.clone();
            let router = telemetry.router(Arc::new(move || readiness.waiting_for()));
            bound.serve_web("telemetry listener", router, options.limits.clone(), &lifecycle);
        }
        if let (Some(bound), Some(issuer)) = (issuer_listener, &issuer) {
            bound.serve_web("issuer listener", issuer.router(), options.limits.clone(), &lifecycle);
        }
        if let (Some(bound), Some(issuer)) = (admin_listener, &issuer) {
            issuer.serve_management_at(&bound);
            bound.serve_web(
                "admin listener",
                issuer.admin_router(),
                options.limits.clone(),
                &lifecycle,
            );
        }
        let serving = match (ext_authz, &gate) {
            (Some(bound), Some(gate)) => {
                let gate_settings = gate_settings(&settings, &options);
                Some(GateServing::start(bound, gate_settings, &gate.checks(), &clock, &telemetry, &lifecycle).await?)
            }
            _ => None,
        };
        if let Some(serving) = &serving {
            serving.follow_readiness(&lifecycle);
        }
        let reloader = Arc::new(Reloader {
            path: settings.source_path.clone(),
            source,
            certificates,
            gate,
            issuer,
            telemetry: telemetry.clone(),
            in_force: tokio::sync::Mutex::new(settings),
        });
        lifecycle.essential("reload", reloader.clone().run(lifecycle.stop().soft.clone()));
        for (name, address) in addresses.all() {
            tracing::info!(listener.address = %address, "{name} listens on {address}");
        }
        drop(starting);
        Ok(Self {
            addresses,
            lifecycle,
            drain: options.drain,
            telemetry,
            gate: serving,
            reloader,
            journal,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// What it waits for before it is ready; none means ready.
    #[must_use]
    pub fn waiting_for(&self) -> Vec<String> {
        self.lifecycle.readiness.waiting_for()
    }

    /// Reads the configuration again now, as SIGHUP does.
    ///
    /// # Errors
    /// Why the last good configuration stays in force.
    pub async fn reload(&self) -> Result<(), String> {
        self.reloader.reload().await
    }

    /// Serves until the first ask (a signal's name), or until an essential task ends. Each further ask ends a wait at once. If
    /// nobody can ask any more, it serves on.
    pub async fn run(self, mut asks: mpsc::Receiver<&'static str>) -> ExitReport {
        let cause = tokio::select! {
            ask = next(&mut asks) => Cause::Asked(ask),
            name = self.lifecycle.failed() => Cause::TaskEnded(name),
        };
        tracing::info!("ending: {cause:?}");
        self.lifecycle.readiness.withdraw("draining");
        if let Some(gate) = &self.gate {
            // At once, not when the task that follows readiness comes to it.
            gate.withdraw().await;
        }
        // Nobody waits for a load balancer at a keyboard, nor after a failure.
        if cause == Cause::Asked("SIGTERM") {
            wait(self.drain.delay, &mut asks).await;
        }
        self.lifecycle.stop().soft.cancel();
        let ended = async {
            self.lifecycle.ended().await;
            if let Some(gate) = &self.gate {
                gate.ended().await;
            }
        };
        tokio::select! {
            () = ended => {}
            () = wait(self.drain.deadline, &mut asks) => {}
        }
        let connections_cut = self.lifecycle.tasks() + self.gate.as_ref().map_or(0, GateServing::connections);
        self.lifecycle.stop().hard.cancel();
        // The issuer goes, and what its journal still holds is written.
        drop(self.reloader);
        if let Some(journal) = self.journal {
            let _ = tokio::time::timeout(FLUSH_DEADLINE, journal).await;
        }
        let telemetry = self.telemetry;
        let flush = tokio::task::spawn_blocking(move || telemetry.shutdown(FLUSH_DEADLINE));
        ExitReport {
            cause,
            connections_cut,
            telemetry_flushed: flush.await.unwrap_or(false),
        }
    }
}

/// For how long the journal, and then telemetry, may write and send what they have.
const FLUSH_DEADLINE: Duration = Duration::from_secs(3);

async fn next(asks: &mut mpsc::Receiver<&'static str>) -> &'static str {
    match asks.recv().await {
        Some(ask) => ask,
        None => std::future::pending().await,
    }
}

/// Waits, until it is asked again.
async fn wait(time: Duration, asks: &mut mpsc::Receiver<&'static str>) {
    tokio::select! {
        () = tokio::time::sleep(time) => {}
        _ = next(asks) => {}
    }
}

/// Our authorization servers as the gate finds them: here, or where it runs alone in the issuer's store.
fn ours(
    issuer: Option<&issuer::Issuer>,
    settings: &Settings,
    clock: &Arc<dyn Clock>,
    revocations: &Arc<Revocations>,
    lifecycle: &Lifecycle,
) -> anyhow::Result<Arc<dyn Ours>> {
    if let Some(issuer) = issuer {
        return Ok(issuer.ours());
    }
    Ok(match Follower::start(settings, clock, revocations, lifecycle)? {
        Some(follower) => follower,
        None => Arc::new(Unheard),
    })
}

/// The issuer's listener, which may ask its clients for certificates.
fn bind_issuer(
    issuer: Option<&issuer::Issuer>,
    settings: &Settings,
    clock: &dyn Clock,
) -> anyhow::Result<Option<Bound>> {
    let (Some(issuer), Some(listener)) = (issuer, &settings.listeners.issuer) else {
        return Ok(None);
    };
    let asking = issuer.asking_for_certificates();
    Bound::bind_asking(listener, Protocol::Web, clock, asking).map(Some)
}

fn gate_settings(settings: &Settings, options: &Options) -> GateSettings {
    let processors = || std::thread::available_parallelism().map_or(1, usize::from);
    GateSettings {
        workers: options.gate_threads.unwrap_or_else(processors),
        limits: options.limits.clone(),
        checks: CheckSettings {
            deadline: settings.gate.check_timeout,
            in_flight_max: settings.gate.checks_max,
            message_bytes_max: settings.gate.message_bytes_max,
            busy_poll: settings.gate.busy_poll,
            ..CheckSettings::default()
        },
        reflection: settings.listeners.reflection,
    }
}

#[cfg(test)]
mod tests;
