//! What the ext_authz listener offers: Check, the standard health service, and UNIMPLEMENTED for everything else.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use http::header::CONTENT_TYPE;
use http::{Method, Request, Response};
use hyper::body::Incoming;
use tonic_health::pb::health_server::HealthServer;
use tonic_health::server::{HealthReporter, HealthService};
use tower::Service as _;

use crate::envoy::grpc::{self, Never, ReplyBody, RpcError};
use crate::envoy::service::{CheckService, Checks};

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

type Reply = Result<Response<ReplyBody>, Never>;

impl<C: Checks> hyper::service::Service<Request<Incoming>> for ExtAuthz<C> {
    type Response = Response<ReplyBody>;
    type Error = Never;
    type Future = Pin<Box<dyn Future<Output = Reply> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let is_call = request.method() == Method::POST
            && request
                .headers()
                .get(CONTENT_TYPE)
                .is_some_and(|content_type| grpc::is_grpc(content_type.as_bytes()));
        if !is_call {
            return Box::pin(std::future::ready(Ok(grpc::not_grpc())));
        }
        let path = request.uri().path();
        if path == CHECK_PATH {
            let reply = self.check.call(request);
            return Box::pin(async move { Ok(reply.await) });
        }
        if path.starts_with(HEALTH_PREFIX) {
            let mut health = self.health.clone();
            return Box::pin(async move {
                let response = health.call(request).await?;
                Ok(response.map(ReplyBody::Generated))
            });
        }
        Box::pin(std::future::ready(Ok(grpc::error(RpcError::UnknownMethod))))
    }
}
