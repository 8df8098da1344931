//! Every bound on a connection, in one place, and the serving of one web connection within them.
//!
//! | attack | bound |
//! |---|---|
//! | E01 rapid reset | streams that were reset before being served: [`Limits::pending_resets_max`], then GOAWAY |
//! | E02 resets that we are made to send | [`Limits::local_resets_max`], then GOAWAY |
//! | E03, E06 CONTINUATION floods, HPACK bombs | header list of at most [`Limits::header_list_bytes_max`] |
//! | E04, E05 floods of empty and control frames | h2's own bounds; streams, windows and send buffers below |
//! | E07 idle and slow peers | [`Limits::first_bytes`] for handshake and preface, then pings that must be answered |

use std::future::Future as _;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::{Request, Response};
use hyper::body::{Body, Incoming};
use hyper::service::Service;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use crate::model::certificate::ClientCertificate;
use crate::net::listen::Stream;
use crate::net::tls::Tls;

/// The bounds on one listener's connections.
#[derive(Debug, Clone)]
pub struct Limits {
    /// How many connections may be open.
    pub connections_max: usize,
    /// How many calls one connection may have under way.
    pub streams_max: u32,
    /// The bytes of one call's headers. A CheckRequest lies in the body: the headers are gRPC's own.
    pub header_list_bytes_max: u32,
    /// How many streams may be reset by the peer before they were served.
    pub pending_resets_max: usize,
    /// How many streams we may be made to reset.
    pub local_resets_max: usize,
    /// How much of one stream, and of one connection, may be under way towards us.
    pub stream_window_bytes: u32,
    /// See [`Limits::stream_window_bytes`].
    pub connection_window_bytes: u32,
    /// How much of an answer is buffered for a slow reader, for each stream.
    pub send_buffer_bytes: usize,
    /// A TLS handshake, and then the first bytes of HTTP, must arrive within this time.
    pub first_bytes: Duration,
    /// A quiet connection is pinged this often, …
    pub ping_interval: Duration,
    /// … and closed if it does not answer for this long.
    pub ping_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 4096,
            // The default of Envoy's circuit breaker (`max_requests`), so that a connection whose SETTINGS it has not read yet
            // is not asked for more. What is beyond is refused by `h2`, which Envoy takes for a fault of the service, and
            // enough of it ends the connection by `local_resets_max`.
            streams_max: 1024,
            header_list_bytes_max: 16 * 1024,
            // More than a connection's window has room for: callers that gave up again and again during a pause of this
            // process, and lie in the socket with their resets, are no attack.
            pending_resets_max: 1024,
            local_resets_max: 128,
            stream_window_bytes: 256 * 1024,
            connection_window_bytes: 1024 * 1024,
            send_buffer_bytes: 64 * 1024,
            first_bytes: Duration::from_secs(10),
            ping_interval: Duration::from_secs(20),
            ping_timeout: Duration::from_secs(10),
        }
    }
}

/// When to end: `soft` asks the peer to go (GOAWAY, `connection: close`) and lets calls finish, `hard` cuts.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    /// Accept nothing new; finish what is under way.
    pub soft: CancellationToken,
    /// Let go of everything.
    pub hard: CancellationToken,
}

/// What a listener speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/2 with prior knowledge alone: gRPC.
    Grpc,
    /// HTTP/1.1 or HTTP/2, whichever the peer begins.
    Web,
}

/// Serves one web connection until it ends or is ended. The one of gRPC is `envoy::connection`.
pub async fn serve<S, B>(stream: Stream, tls: Option<&Tls>, limits: &Limits, stop: &Stop, service: S)
where
    S: Service<Request<Incoming>, Response = Response<B>> + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    let Some(tls) = tls else {
        return serve_io(stream, limits, stop, service).await;
    };
    let Some((stream, certificate)) = handshake(stream, tls, limits, stop).await else {
        return;
    };
    match certificate {
        Some(certificate) => {
            let service = WithCertificate { service, certificate };
            serve_io(stream, limits, stop, service).await;
        }
        None => serve_io(stream, limits, stop, service).await,
    }
}

/// The TLS handshake of one connection, within its time, and the certificate that the peer has shown in it.
pub async fn handshake(
    stream: Stream,
    tls: &Tls,
    limits: &Limits,
    stop: &Stop,
) -> Option<(TlsStream<Stream>, Option<ClientCertificate>)> {
    let ready = tls.ready();
    let accept = tokio::time::timeout(limits.first_bytes, ready.acceptor().accept(stream));
    let handshake = tokio::select! {
        () = stop.soft.cancelled() => return None,
        handshake = accept => handshake,
    };
    match handshake {
        Ok(Ok(stream)) => {
            let certificate = ready.peer_certificate(stream.get_ref().1);
            return Some((stream, certificate));
        }
        Ok(Err(error)) => tracing::debug!(%error, "a TLS handshake failed"),
        Err(_) => tracing::debug!("a TLS handshake took too long"),
    }
    None
}

/// A service that finds the certificate of the connection with each request.
struct WithCertificate<S> {
    service: S,
    certificate: ClientCertificate,
}

impl<S: Service<Request<Incoming>>> Service<Request<Incoming>> for WithCertificate<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn call(&self, mut request: Request<Incoming>) -> S::Future {
        request.extensions_mut().insert(self.certificate.clone());
        self.service.call(request)
    }
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

async fn serve_io<I, S, B>(io: I, limits: &Limits, stop: &Stop, service: S)
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: Service<Request<Incoming>, Response = Response<B>> + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    let builder = builder(limits);
    let io = TokioIo::new(FirstBytes::within(limits.first_bytes, io));
    let mut connection = pin!(builder.serve_connection(io, service));
    tokio::select! {
        () = stop.hard.cancelled() => return,
        () = stop.soft.cancelled() => {}
        ended = connection.as_mut() => return note(ended),
    }
    connection.as_mut().graceful_shutdown();
    tokio::select! {
        () = stop.hard.cancelled() => {}
        ended = connection.as_mut() => note(ended),
    }
}

fn note(ended: Result<(), BoxError>) {
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended");
    }
}

fn builder(limits: &Limits) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.first_bytes)
        .max_buf_size(HTTP1_BUFFER_BYTES_MAX);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams_max)
        .max_header_list_size(limits.header_list_bytes_max)
        .max_pending_accept_reset_streams(limits.pending_resets_max)
        .max_local_error_reset_streams(limits.local_resets_max)
        .initial_stream_window_size(limits.stream_window_bytes)
        .initial_connection_window_size(limits.connection_window_bytes)
        .max_send_buf_size(limits.send_buffer_bytes)
        .keep_alive_interval(limits.ping_interval)
        .keep_alive_timeout(limits.ping_timeout);
    builder
}

/// A request's line and headers, over HTTP/1.1.
const HTTP1_BUFFER_BYTES_MAX: usize = 64 * 1024;

/// Ends a connection whose first bytes do not come: HTTP's own code watches over a connection only once HTTP has begun.
pub(crate) struct FirstBytes<I> {
    io: I,
    left: usize,
    /// Gone once the first bytes have come.
    deadline: Option<Pin<Box<Sleep>>>,
}

/// The length of HTTP/2's preface, after which pings watch over the connection.
const PREFACE_BYTES: usize = 24;

impl<I> FirstBytes<I> {
    pub(crate) fn within(time: Duration, io: I) -> Self {
        Self {
            io,
            left: PREFACE_BYTES,
            deadline: Some(Box::pin(tokio::time::sleep(time))),
        }
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for FirstBytes<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.io).poll_read(context, buffer);
        let Some(deadline) = &mut self.deadline else {
            return polled;
        };
        if polled.is_pending() {
            ready!(deadline.as_mut().poll(context));
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        self.left = self.left.saturating_sub(buffer.filled().len() - before);
        if self.left == 0 {
            self.deadline = None;
        }
        polled
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for FirstBytes<I> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(context, buffer)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }

    // Not vectored, on purpose: h2 then copies answers of up to 1 KiB into its buffer, and many of them leave by one system
    // call. With vectored writes it hands each answer of more than 256 bytes to the kernel by itself.
    fn is_write_vectored(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;

    use super::*;

    /// Ends by itself, or hangs.
    #[tokio::test]
    async fn attack_e07_a_peer_that_says_nothing_or_half_a_preface_is_let_go() {
        for said in [&b""[..], b"PRI *"] {
            let (mut peer, io) = tokio::io::duplex(64);
            peer.write_all(said).await.expect("writes");
            let limits = Limits {
                first_bytes: Duration::from_millis(20),
                ..Limits::default()
            };
            let service = hyper::service::service_fn(|_| async {
                Ok::<_, BoxError>(Response::new(http_body_util::Empty::<bytes::Bytes>::new()))
            });
            serve_io(io, &limits, &Stop::default(), service).await;
        }
    }
}
