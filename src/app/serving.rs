//! Brings listeners up: the ext_authz one on the gate's threads, the web ones on the I/O runtime.

use std::sync::Arc;

use anyhow::Context as _;
use axum::Router;
use hyper_util::service::TowerToHyperService;
use tokio::runtime::Handle;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use crate::clock::Clock;
use crate::envoy::generated::GeneratedServices;
use crate::envoy::pb::envoy::service::auth::v3::authorization_server::SERVICE_NAME;
use crate::envoy::server::ExtAuthz;
use crate::envoy::service::{CheckService, CheckSettings, Checks};
use crate::lifecycle::Lifecycle;
use crate::net::asking::Asking;
use crate::net::limits::{self, Limits, Protocol};
use crate::net::listen::Listener;
use crate::net::settings::{ListenAddress, ListenerSettings};
use crate::net::tls::Tls;
use crate::net::workers::{WorkerSettings, Workers};
use crate::telemetry::Telemetry;

/// A listener that is bound, with its certificates, and serves nothing yet.
#[derive(Debug)]
pub(super) struct Bound {
    listener: Listener,
    tls: Option<Arc<Tls>>,
}

impl Bound {
    /// Binds a listener and reads its certificates.
    pub(super) fn bind(settings: &ListenerSettings, protocol: Protocol, clock: &dyn Clock) -> anyhow::Result<Self> {
        Self::bind_asking(settings, protocol, clock, Asking::never())
    }

    /// The same for a listener that may ask its clients for certificates.
    pub(super) fn bind_asking(
        settings: &ListenerSettings,
        protocol: Protocol,
        clock: &dyn Clock,
        asking: Asking,
    ) -> anyhow::Result<Self> {
        let tls = Tls::load_asking(&settings.tls, protocol, clock, asking)?;
        let listener = Listener::bind(&settings.address)?;
        Ok(Self { listener, tls })
    }

    pub(super) fn address(&self) -> ListenAddress {
        self.listener.address().clone()
    }

    pub(super) fn tls(&self) -> Option<Arc<Tls>> {
        self.tls.clone()
    }

    /// Serves a router on this runtime until the process ends.
    pub(super) fn serve_web(self, name: &'static str, router: Router, limits: Limits, lifecycle: &Lifecycle) {
        let connections = lifecycle.clone();
        lifecycle.essential(name, async move {
            let stop = connections.stop().clone();
            let take = |accepted: crate::net::listen::Accepted| {
                let (router, tls, limits, stop) = (router.clone(), self.tls.clone(), limits.clone(), stop.clone());
                connections.passing(async move {
                    let _seat = accepted.seat;
                    let service = TowerToHyperService::new(router);
                    limits::serve(accepted.stream, tls.as_deref(), &limits, &stop, service).await;
                });
            };
            self.listener
                .accept_each(limits.connections_max, &stop.soft, take)
                .await;
        });
    }
}

/// The gate's threads, and what Envoy's health checks are told.
#[derive(Debug)]
pub(super) struct GateServing {
    workers: Arc<Workers>,
    health: HealthReporter,
}

/// How the ext_authz listener serves.
#[derive(Debug, Clone)]
pub(super) struct GateSettings {
    /// How many threads; each has a runtime of its own.
    pub(super) workers: usize,
    /// The bounds on connections.
    pub(super) limits: Limits,
    /// The bounds on checks, for all threads together.
    pub(super) checks: CheckSettings,
    /// Whether it offers gRPC server reflection.
    pub(super) reflection: bool,
}

impl GateServing {
    /// Starts the threads, and serves until the process ends. Health is NOT_SERVING until it is told otherwise.
    pub(super) async fn start<C: Checks>(
        bound: Bound,
        settings: GateSettings,
        checks: &Arc<C>,
        clock: &Arc<dyn Clock>,
        telemetry: &Telemetry,
        lifecycle: &Lifecycle,
    ) -> anyhow::Result<Self> {
        let health = HealthReporter::new();
        set_health(&health, false).await;
        let mut beside = GeneratedServices::health(health.clone());
        if settings.reflection {
            beside = beside.with_reflection().context("cannot offer reflection")?;
        }
        let threads = settings.workers.max(1);
        let per_thread = CheckSettings {
            in_flight_max: settings.checks.in_flight_max.div_ceil(threads),
            ..settings.checks
        };
        let worker_settings = WorkerSettings {
            count: threads,
            limits: settings.limits.clone(),
            tls: bound.tls.clone(),
            stop: lifecycle.stop().clone(),
        };
        let io = Handle::current();
        let services: Vec<_> = (0..threads)
            .map(|_| CheckService::new(checks.clone(), clock.clone(), per_thread.clone(), io.clone()))
            .collect();
        let workers = Workers::start(&worker_settings, |index| {
            ExtAuthz::new(services[index].clone(), beside.clone())
        })
        .context("cannot start the gate's threads")?;
        telemetry.register_in_flight(move || services.iter().map(|service| service.in_flight() as u64).sum());
        let workers = Arc::new(workers);
        let (watched, stop) = (workers.clone(), lifecycle.stop().soft.clone());
        lifecycle.essential("a gate thread", async move {
            let _ = stop.run_until_cancelled(watched.any_ended()).await;
        });
        let (accepting, stop) = (workers.clone(), lifecycle.stop().clone());
        lifecycle.essential("ext_authz listener", async move {
            let take = |accepted| accepting.dispatch(accepted);
            bound
                .listener
                .accept_each(settings.limits.connections_max, &stop.soft, take)
                .await;
        });
        Ok(Self { workers, health })
    }

    /// Tells Envoy's health checks that this gate is about to end.
    pub(super) async fn withdraw(&self) {
        set_health(&self.health, false).await;
    }

    /// Lets health follow readiness until the process ends.
    pub(super) fn follow_readiness(&self, lifecycle: &Lifecycle) {
        let (health, stop) = (self.health.clone(), lifecycle.stop().soft.clone());
        let mut ready = lifecycle.readiness.subscribe();
        lifecycle.essential("health", async move {
            loop {
                let serving = *ready.borrow_and_update();
                set_health(&health, serving).await;
                tokio::select! {
                    () = stop.cancelled() => return,
                    changed = ready.changed() => if changed.is_err() { return },
                }
            }
        });
    }

    /// How many connections are open.
    pub(super) fn connections(&self) -> usize {
        self.workers.connections()
    }

    /// Waits until every connection has ended.
    pub(super) async fn ended(&self) {
        self.workers.idle().await;
    }
}

/// Both names that a health check may ask for: the server's, and the service's.
async fn set_health(health: &HealthReporter, serving: bool) {
    let status = if serving {
        ServingStatus::Serving
    } else {
        ServingStatus::NotServing
    };
    health.set_service_status("", status).await;
    health.set_service_status(SERVICE_NAME, status).await;
}
