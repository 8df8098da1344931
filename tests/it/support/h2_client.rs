//! An HTTP/2 client without TLS, and gRPC over it: it sends the fields and the bytes that it is given.

use std::net::SocketAddr;

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use super::wait;

/// One answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) trailers: HeaderMap,
}

impl Reply {
    /// A gRPC status: of the trailers, else of the headers (a "trailers-only" answer).
    pub(crate) fn grpc_status(&self) -> Option<u32> {
        self.grpc_field("grpc-status")?.parse().ok()
    }

    /// A gRPC field of the trailers, else of the headers.
    pub(crate) fn grpc_field(&self, name: &str) -> Option<&str> {
        self.trailers
            .get(name)
            .or_else(|| self.headers.get(name))?
            .to_str()
            .ok()
    }

    /// The one gRPC message.
    pub(crate) fn grpc_message(&self) -> Bytes {
        assert!(
            self.body.len() >= 5 && self.body[0] == 0,
            "no plain gRPC message in {:?}",
            self.body
        );
        self.body.slice(5..)
    }
}

/// One connection.
#[derive(Clone)]
pub(crate) struct Client {
    requests: h2::client::SendRequest<Bytes>,
}

impl Client {
    pub(crate) async fn open(to: SocketAddr) -> Self {
        Self::over(TcpStream::connect(to).await.expect("the peer accepts")).await
    }

    pub(crate) async fn open_unix(to: &std::path::Path) -> Self {
        Self::over(UnixStream::connect(to).await.expect("the peer accepts")).await
    }

    async fn over(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Self {
        let (requests, connection) = h2::client::handshake(stream).await.expect("HTTP/2 is spoken");
        tokio::spawn(connection);
        Self { requests }
    }

    /// Sends a request with this body and reads the whole answer.
    ///
    /// # Errors
    /// What HTTP/2 reports: a reset stream, a closed connection.
    pub(crate) async fn try_request(&self, request: http::Request<()>, body: Bytes) -> Result<Reply, h2::Error> {
        wait::bounded("an HTTP/2 exchange", async {
            let mut requests = self.requests.clone().ready().await?;
            let (response, mut sending) = requests.send_request(request, body.is_empty())?;
            if !body.is_empty() {
                sending.send_data(body, true)?;
            }
            let (head, mut incoming) = response.await?.into_parts();
            let mut body = BytesMut::new();
            while let Some(chunk) = incoming.data().await {
                let chunk = chunk?;
                incoming.flow_control().release_capacity(chunk.len())?;
                body.extend_from_slice(&chunk);
            }
            let trailers = incoming.trailers().await?.unwrap_or_default();
            Ok(Reply {
                status: head.status.as_u16(),
                headers: head.headers,
                body: body.freeze(),
                trailers,
            })
        })
        .await
    }

    /// The same where an answer is certain.
    pub(crate) async fn request(&self, request: http::Request<()>, body: Bytes) -> Reply {
        self.try_request(request, body).await.expect("the peer answers")
    }

    /// Sends a request that opens a tunnel; the status of the answer, whose stream is then given up.
    pub(crate) async fn head(&self, request: http::Request<()>) -> u16 {
        wait::bounded("the head of an HTTP/2 answer", async {
            let mut requests = self.requests.clone().ready().await.expect("the connection lives");
            let (response, _sending) = requests.send_request(request, false).expect("a valid request");
            response.await.expect("the peer answers").status().as_u16()
        })
        .await
    }

    /// A unary gRPC call with these bytes as the message.
    pub(crate) async fn grpc(&self, authority: &str, path: &str, message: &[u8], headers: &[(&str, &str)]) -> Reply {
        let mut request = http::Request::post(format!("http://{authority}{path}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.request(request.body(()).expect("a valid request"), frame(message))
            .await
    }

    /// Waits until the peer allows extended CONNECT (RFC 8441), which it says in its settings.
    pub(crate) async fn extended_connect_allowed(&self) {
        wait::until("the peer allows extended CONNECT", || {
            let allowed = self.requests.is_extended_connect_protocol_enabled();
            async move { allowed.then_some(()) }
        })
        .await;
    }
}

/// A gRPC message in its frame.
pub(crate) fn frame(message: &[u8]) -> Bytes {
    let length = u32::try_from(message.len())
        .expect("a message below 4 GiB")
        .to_be_bytes();
    [&[0][..], &length, message].concat().into()
}
