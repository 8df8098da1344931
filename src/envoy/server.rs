//! What the ext_authz listener offers: Check, the standard health service, and UNIMPLEMENTED for everything else.
//!
//! Check is answered by hand (see `envoy::connection`); health is tonic's own service, and so would be
//! any other that is not asked ten thousand times a second.

use std::sync::Arc;

use http::header::CONTENT_TYPE;
use http::{Method, Request};
use tokio::io::{AsyncRead, AsyncWrite};
use tonic_health::pb::health_server::HealthServer;
use tonic_health::server::{HealthReporter, HealthService};

use crate::envoy::connection;
use crate::envoy::grpc;
use crate::envoy::service::{CheckService, Checks};
use crate::net::limits::{self, Limits, Stop};
use crate::net::listen::Stream;
use crate::net::workers::{Serve, WorkerSettings};

/// The path of the one method of `envoy.service.auth.v3.Authorization`.
pub const CHECK_PATH: &str = "/envoy.service.auth.v3.Authorization/Check";

const HEALTH_PREFIX: &str = "/grpc.health.v1.Health/";

/// The services of the ext_authz listener, for one worker.
pub struct ExtAuthz<C> {
    check: Arc<CheckService<C>>,
    health: HealthServer<HealthService>,
}

impl<C> Clone for ExtAuthz<C> {
    fn clone(&self) -> Self {
        Self {
            check: self.check.clone(),
            health: self.health.clone(),
        }
    }
}

impl<C: Checks> ExtAuthz<C> {
    /// The check of one worker beside the health that `reporter` is told.
    pub fn new(check: Arc<CheckService<C>>, reporter: HealthReporter) -> Self {
        Self {
            check,
            health: HealthServer::new(HealthService::from_health_reporter(reporter)),
        }
    }
}

/// Where a request goes.
pub(super) enum Destination {
    /// To the check.
    Check,
    /// To tonic's health service.
    Health,
    /// There is no such method.
    Unknown,
    /// It is no gRPC call.
    NotGrpc,
}

impl<C: Checks> ExtAuthz<C> {
    pub(super) fn check(&self) -> &Arc<CheckService<C>> {
        &self.check
    }

    pub(super) fn health(&self) -> HealthServer<HealthService> {
        self.health.clone()
    }

    /// Serves one connection without TLS until it ends or is ended.
    pub async fn serve_plain<I>(&self, io: I, limits: &Limits, stop: &Stop)
    where
        I: AsyncRead + AsyncWrite + Unpin + Send,
    {
        connection::serve(io, self, limits, stop).await;
    }
}

pub(super) fn destination<B>(request: &Request<B>) -> Destination {
    let is_call = request.method() == Method::POST
        && request
            .headers()
            .get(CONTENT_TYPE)
            .is_some_and(|content_type| grpc::is_grpc(content_type.as_bytes()));
    let path = request.uri().path();
    if !is_call {
        Destination::NotGrpc
    } else if path == CHECK_PATH {
        Destination::Check
    } else if path.starts_with(HEALTH_PREFIX) {
        Destination::Health
    } else {
        Destination::Unknown
    }
}

impl<C: Checks> Serve for ExtAuthz<C> {
    async fn serve(self, stream: Stream, settings: WorkerSettings) {
        let (limits, stop) = (&settings.limits, &settings.stop);
        match settings.tls.as_deref() {
            None => connection::serve(stream, &self, limits, stop).await,
            // Envoy's own certificate is no matter of the service that it asks: the handshake has judged it.
            Some(tls) => {
                if let Some((stream, _)) = limits::handshake(stream, tls, limits, stop).await {
                    connection::serve(stream, &self, limits, stop).await;
                }
            }
        }
    }
}
