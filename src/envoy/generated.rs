//! The services beside the check, as tonic generates them: health, and reflection where the file turns it on.
//!
//! They are asked now and then, and so each call has a task, a boxed future and a body of its own. Whoever adds one
//! adds it to [`GeneratedServices`]: the connection finds it by its name, after it has looked for the check.
//!
//! **Reflection** (`grpc.reflection.v1`, and `v1alpha` for older clients) tells a client that has no schema what can be
//! asked here. It knows what was compiled from `proto/` and nothing of the configuration; it is off by default, because
//! Envoy does not ask (attack D30).
//!
//! What a peer does not read is not sent: an answer waits for room in the peer's window, the service for its answer to
//! be taken, and the stream's next request to be read.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason as ResetReason, RecvStream, SendStream};
use http::{Request, Response};
use hyper::body::{Body as _, Frame};
use tonic::body::Body;
use tonic::server::NamedService;
use tonic_health::pb::health_server::HealthServer;
use tonic_health::server::{HealthReporter, HealthService};
use tonic_reflection::pb::{v1, v1alpha};
use tonic_reflection::server::Builder;
use tower::util::BoxCloneSyncService;
use tower::{Service, ServiceExt as _};

use crate::envoy::connection::note;
use crate::envoy::pb;

/// The most bytes of one request to reflection: it holds two names.
const REFLECTION_REQUEST_BYTES_MAX: usize = 8 * 1024;

/// The descriptors that were compiled in cannot be read: this build of the program is broken.
#[derive(Debug, thiserror::Error)]
#[error("the descriptors of the services, which are compiled in, cannot be read: build the program anew")]
pub struct UnreadableDescriptors(#[source] tonic_reflection::server::Error);

/// The services of the ext_authz listener beside the check. All threads share them.
#[derive(Debug, Clone)]
pub struct GeneratedServices(Arc<[Generated]>);

impl GeneratedServices {
    /// The standard health service (`grpc.health.v1`), which says what `reporter` is told.
    #[must_use]
    pub fn health(reporter: HealthReporter) -> Self {
        let health = HealthServer::new(HealthService::from_health_reporter(reporter));
        Self(Arc::new([Generated::new(health)]))
    }

    /// Adds server reflection, in both of its versions: each describes all that the listener offers then.
    ///
    /// # Errors
    /// [`UnreadableDescriptors`], which no working build gives.
    pub fn with_reflection(self) -> Result<Self, UnreadableDescriptors> {
        let described = || {
            [
                pb::FILE_DESCRIPTOR_SET,
                tonic_health::pb::FILE_DESCRIPTOR_SET,
                v1::FILE_DESCRIPTOR_SET,
                v1alpha::FILE_DESCRIPTOR_SET,
            ]
            .into_iter()
            .fold(Builder::configure(), Builder::register_encoded_file_descriptor_set)
        };
        let newer = described().build_v1().map_err(UnreadableDescriptors)?;
        let older = described().build_v1alpha().map_err(UnreadableDescriptors)?;
        let added = [
            Generated::new(newer.max_decoding_message_size(REFLECTION_REQUEST_BYTES_MAX)),
            Generated::new(older.max_decoding_message_size(REFLECTION_REQUEST_BYTES_MAX)),
        ];
        Ok(Self(self.0.iter().cloned().chain(added).collect()))
    }

    /// The service that a path names.
    pub(super) fn of(&self, path: &str) -> Option<&Generated> {
        let (service, _) = path.strip_prefix('/')?.split_once('/')?;
        self.0.iter().find(|generated| generated.name == service)
    }
}

/// One generated service.
#[derive(Debug, Clone)]
pub(super) struct Generated {
    name: &'static str,
    service: BoxCloneSyncService<Request<Body>, Response<Body>, Infallible>,
}

impl Generated {
    fn new<S>(service: S) -> Self
    where
        S: NamedService + Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
        S: Clone + Send + Sync + 'static,
        S::Future: Send + 'static,
    {
        Self {
            name: S::NAME,
            service: BoxCloneSyncService::new(service),
        }
    }

    /// Answers one call.
    pub(super) fn answer(
        &self,
        request: Request<RecvStream>,
        respond: SendResponse<Bytes>,
    ) -> impl Future<Output = ()> + Send + use<> {
        let request = request.map(|body| Body::new(Received(body)));
        let response = self.service.clone().oneshot(request);
        async move {
            let Ok(response) = response.await;
            relay(response, respond).await;
        }
    }
}

/// The request body of a call.
struct Received(RecvStream);

impl hyper::body::Body for Received {
    type Data = Bytes;
    type Error = h2::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        let Some(data) = ready!(self.0.poll_data(context)) else {
            let trailers = ready!(self.0.poll_trailers(context))?;
            return Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))));
        };
        if let Ok(data) = &data {
            let _ = self.0.flow_control().release_capacity(data.len());
        }
        Poll::Ready(Some(data.map(Frame::data)))
    }
}

/// Sends a response as it comes, until it ends or nobody wants it any more.
async fn relay(response: Response<Body>, mut respond: SendResponse<Bytes>) {
    let (head, body) = response.into_parts();
    let mut body = pin!(body);
    let ended = body.is_end_stream();
    let Ok(mut stream) = respond.send_response(Response::from_parts(head, ()), ended) else {
        return;
    };
    if ended {
        return;
    }
    loop {
        let frame = tokio::select! {
            _ = poll_fn(|context| stream.poll_reset(context)) => return,
            frame = poll_fn(|context| body.as_mut().poll_frame(context)) => frame,
        };
        let sent = match frame.map(|frame| frame.map(Frame::into_data)) {
            None => return note(stream.send_data(Bytes::new(), true)),
            Some(Err(_)) => return stream.send_reset(ResetReason::INTERNAL_ERROR),
            Some(Ok(Ok(data))) => send_as_there_is_room(data, &mut stream).await,
            Some(Ok(Err(frame))) => match frame.into_trailers() {
                Ok(trailers) => return note(stream.send_trailers(trailers)),
                Err(_) => Ok(()),
            },
        };
        if sent.is_err() {
            return;
        }
    }
}

/// Without asking for room `h2` would keep whatever it is handed, and a peer that asks and does not read would fill our
/// memory.
async fn send_as_there_is_room(mut data: Bytes, stream: &mut SendStream<Bytes>) -> Result<(), h2::Error> {
    while !data.is_empty() {
        stream.reserve_capacity(data.len());
        let room = match poll_fn(|context| stream.poll_capacity(context)).await {
            Some(room) => room?.min(data.len()),
            None => return Err(ResetReason::CANCEL.into()),
        };
        if room > 0 {
            stream.send_data(data.split_to(room), false)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
