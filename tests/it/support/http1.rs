//! An HTTP/1.1 client that sends exactly the bytes it is given.
//!
//! Real client libraries repair what a test wants broken: they fold case, resolve `..`, join or refuse headers.

use std::io;
use std::net::SocketAddr;

use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use super::wait;

/// One answer.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    /// Names in lower case; values byte for byte, each byte one character.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    /// The header's only value; `None` if absent.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let all = self.headers(name);
        assert!(all.len() <= 1, "`{name}` came {} times: {all:?}", all.len());
        all.first().copied()
    }

    /// Every value of the header.
    pub(crate) fn headers(&self, name: &str) -> Vec<&str> {
        self.headers
            .iter()
            .filter(|(n, _)| n == name)
            .map(|(_, value)| value.as_str())
            .collect()
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {:?}", self.text()))
    }
}

/// A request that is well formed but for what a test says.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    method: Vec<u8>,
    target: Vec<u8>,
    host: Option<Vec<u8>>,
    headers: Vec<(Vec<u8>, Vec<u8>)>,
    body: Vec<u8>,
}

impl Request {
    pub(crate) fn new(method: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Self {
        Self {
            method: method.as_ref().to_vec(),
            target: target.as_ref().to_vec(),
            host: Some(b"api.bank.example".to_vec()),
            headers: Vec::new(),
            body: Vec::new(),
        }
    }

    pub(crate) fn get(target: impl AsRef<[u8]>) -> Self {
        Self::new("GET", target)
    }

    pub(crate) fn post(target: impl AsRef<[u8]>) -> Self {
        Self::new("POST", target)
    }

    pub(crate) fn host(mut self, host: impl AsRef<[u8]>) -> Self {
        self.host = Some(host.as_ref().to_vec());
        self
    }

    pub(crate) fn header(mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        self.headers.push((name.as_ref().to_vec(), value.as_ref().to_vec()));
        self
    }

    pub(crate) fn bearer(self, token: &str) -> Self {
        self.header("Authorization", format!("Bearer {token}"))
    }

    pub(crate) fn body(mut self, body: impl AsRef<[u8]>) -> Self {
        self.body = body.as_ref().to_vec();
        self
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = [&self.method, &b" "[..], &self.target, b" HTTP/1.1\r\n"].concat();
        let mut line = |name: &[u8], value: &[u8]| bytes.extend([name, b": ", value, b"\r\n"].concat());
        if let Some(host) = &self.host {
            line(b"Host", host);
        }
        for (name, value) in &self.headers {
            line(name, value);
        }
        if !self.body.is_empty() || self.method == b"POST" || self.method == b"PUT" {
            line(b"Content-Length", self.body.len().to_string().as_bytes());
        }
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(&self.body);
        bytes
    }

    /// Sends it on a connection of its own.
    pub(crate) async fn send(&self, to: SocketAddr) -> Reply {
        send(to, &self.bytes()).await
    }
}

/// Sends these bytes on a connection of their own, and reads one answer.
pub(crate) async fn send(to: SocketAddr, bytes: &[u8]) -> Reply {
    let mut connection = Connection::open(to).await.expect("the peer accepts");
    connection.exchange(bytes).await.expect("the peer answers")
}

/// The same, but reads the answer's head alone: what follows it is a tunnel.
pub(crate) async fn send_head(to: SocketAddr, bytes: &[u8]) -> Reply {
    let mut connection = Connection::open(to).await.expect("the peer accepts");
    connection.write(bytes).await;
    wait::bounded("the head of an answer", connection.answer(true))
        .await
        .expect("the peer answers")
}

/// A `GET` to a peer that may not be up yet.
pub(crate) async fn try_get(to: SocketAddr, target: &str) -> io::Result<Reply> {
    let bytes = Request::get(target).host("localhost").bytes();
    Connection::open(to).await?.exchange(&bytes).await
}

/// A connection that is kept for several exchanges.
pub(crate) struct Connection<S = TcpStream> {
    stream: S,
    read: Vec<u8>,
}

impl Connection {
    pub(crate) async fn open(to: SocketAddr) -> io::Result<Self> {
        Ok(Self::over(TcpStream::connect(to).await?))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    pub(crate) fn over(stream: S) -> Self {
        Self {
            stream,
            read: Vec::new(),
        }
    }

    /// Sends these bytes and reads one answer.
    pub(crate) async fn exchange(&mut self, bytes: &[u8]) -> io::Result<Reply> {
        let head_request = bytes.starts_with(b"HEAD ");
        wait::bounded("an HTTP/1.1 exchange", async {
            self.stream.write_all(bytes).await?;
            self.answer(head_request).await
        })
        .await
    }

    /// Sends bytes without waiting, for instance frames after an upgrade.
    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.expect("the peer reads");
    }

    /// Reads exactly this many bytes, for instance frames after an upgrade.
    pub(crate) async fn read(&mut self, count: usize) -> Vec<u8> {
        wait::bounded("bytes after an upgrade", async {
            while self.read.len() < count {
                self.more().await.expect("the peer writes");
            }
        })
        .await;
        self.read.drain(..count).collect()
    }

    async fn answer(&mut self, head_request: bool) -> io::Result<Reply> {
        let end = loop {
            if let Some(at) = find(&self.read, b"\r\n\r\n") {
                break at;
            }
            self.more().await?;
        };
        let head: Vec<u8> = self.read.drain(..end + 4).collect();
        let (status, headers) = parse_head(&head[..end]);
        let mut reply = Reply {
            status,
            headers,
            body: Vec::new(),
        };
        let bodiless = head_request || matches!(status, 101 | 204 | 304);
        if bodiless {
            return Ok(reply);
        }
        if reply.header("transfer-encoding") == Some("chunked") {
            reply.body = self.chunks().await?;
        } else if let Some(length) = reply.header("content-length") {
            let length: usize = length.parse().expect("a length is a number");
            while self.read.len() < length {
                self.more().await?;
            }
            reply.body = self.read.drain(..length).collect();
        } else {
            while self.more().await.is_ok() {}
            reply.body = std::mem::take(&mut self.read);
        }
        Ok(reply)
    }

    async fn chunks(&mut self) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let end = loop {
                if let Some(at) = find(&self.read, b"\r\n") {
                    break at;
                }
                self.more().await?;
            };
            let line: Vec<u8> = self.read.drain(..end + 2).collect();
            let size = usize::from_str_radix(String::from_utf8_lossy(&line).trim(), 16).expect("a chunk has a size");
            while self.read.len() < size + 2 {
                self.more().await?;
            }
            body.extend(self.read.drain(..size));
            self.read.drain(..2);
            if size == 0 {
                return Ok(body);
            }
        }
    }

    async fn more(&mut self) -> io::Result<()> {
        if self.stream.read_buf(&mut self.read).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(())
    }
}

fn parse_head(head: &[u8]) -> (u16, Vec<(String, String)>) {
    let text: String = head.iter().copied().map(char::from).collect();
    let mut lines = text.split("\r\n");
    let status = lines
        .next()
        .and_then(|line| line.split(' ').nth(1))
        .and_then(|code| code.parse().ok());
    let headers = lines.filter_map(|line| {
        let (name, value) = line.split_once(':')?;
        Some((name.to_ascii_lowercase(), value.trim().to_owned()))
    });
    (status.expect("a status line"), headers.collect())
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}
