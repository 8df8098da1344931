//! What the ext_authz listener offers: Check, the standard health service, reflection where the file turns it on, and
//! UNIMPLEMENTED for everything else.
//!
//! Check is answered by hand (see `envoy::connection`); the others are tonic's own services (see [`generated`]), and so
//! would be any other that is not asked ten thousand times a second.
//!
//! [`generated`]: crate::envoy::generated

use std::sync::Arc;

use http::header::CONTENT_TYPE;
use http::{Method, Request};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::envoy::connection;
use crate::envoy::generated::{Generated, GeneratedServices};
use crate::envoy::grpc;
use crate::envoy::service::{CheckService, Checks};
use crate::envoy::turns::Turns;
use crate::net::limits::{self, Limits, Stop};
use crate::net::listen::Stream;
use crate::net::workers::{Serve, WorkerSettings};

/// The path of the one method of `envoy.service.auth.v3.Authorization`.
pub const CHECK_PATH: &str = "/envoy.service.auth.v3.Authorization/Check";

/// The services of the ext_authz listener, for one worker.
pub struct ExtAuthz<C> {
    check: Arc<CheckService<C>>,
    generated: GeneratedServices,
    turns: Arc<Turns>,
}

impl<C> Clone for ExtAuthz<C> {
    fn clone(&self) -> Self {
        Self {
            check: self.check.clone(),
            generated: self.generated.clone(),
            turns: self.turns.clone(),
        }
    }
}

/// Where a request goes.
pub(super) enum Destination<'s> {
    /// To the check.
    Check,
    /// To one of tonic's services.
    Generated(&'s Generated),
    /// There is no such method.
    Unknown,
    /// It is no gRPC call.
    NotGrpc,
}

impl<C: Checks> ExtAuthz<C> {
    /// The check of one worker, and the services beside it.
    pub fn new(check: Arc<CheckService<C>>, generated: GeneratedServices) -> Self {
        Self {
            check,
            generated,
            turns: Arc::default(),
        }
    }

    pub(super) fn turns(&self) -> &Arc<Turns> {
        &self.turns
    }

    pub(super) fn check(&self) -> &Arc<CheckService<C>> {
        &self.check
    }

    pub(super) fn destination<B>(&self, request: &Request<B>) -> Destination<'_> {
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
        } else {
            self.generated
                .of(path)
                .map_or(Destination::Unknown, Destination::Generated)
        }
    }

    /// Serves one connection without TLS until it ends or is ended.
    pub async fn serve_plain<I>(&self, io: I, limits: &Limits, stop: &Stop)
    where
        I: AsyncRead + AsyncWrite + Unpin + Send,
    {
        connection::serve(io, self, limits, stop).await;
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
