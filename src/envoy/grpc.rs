//! gRPC's framing of one unary call, by hand, over HTTP/2: request bytes in, reply bytes out.
//!
//! Why not a generated service: its decoder turns bytes that do not parse into an RPC error, which Envoy with
//! `failure_mode_allow` takes for *allow*; here the raw message reaches the check, which denies in words. It also keeps
//! the whole way of a call in one screen, and copies nothing: the message is the DATA frame as it was read.
//!
//! Compression is not accepted: nothing is ever inflated (attack E09).

use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use http::{Response, StatusCode};

/// The most bytes of one message, if the settings say nothing else. Envoy sends request bodies only where it is told to, up to its `max_request_bytes`:
/// keep that below this. A larger message is answered with RESOURCE_EXHAUSTED.
pub const MESSAGE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The flag and the length before a message.
pub const PREFIX_BYTES: usize = 5;

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
const GRPC_ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");
const GRPC_ACCEPT_ENCODING: HeaderName = HeaderName::from_static("grpc-accept-encoding");
const APPLICATION_GRPC: HeaderValue = HeaderValue::from_static("application/grpc");

/// Why a call ends without a message of ours. None of these can be brought about by a client of Envoy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RpcError {
    /// The message is larger than the settings allow.
    ResourceExhausted,
    /// The message is compressed.
    Compressed,
    /// There is no such service or method.
    UnknownMethod,
}

/// What came in place of a whole message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unreadable {
    /// The call must end with an RPC error.
    Rpc(RpcError),
    /// The frame is broken: the check is denied.
    Malformed(&'static str),
}

/// Whether a content type is gRPC's: `application/grpc` alone, with `+proto` or with parameters. gRPC-Web is none.
#[must_use]
pub fn is_grpc(content_type: &[u8]) -> bool {
    const NAME: &[u8] = b"application/grpc";
    content_type.split_at_checked(NAME.len()).is_some_and(|(name, rest)| {
        name.eq_ignore_ascii_case(NAME) && matches!(rest.first(), None | Some(b'+' | b';' | b' '))
    })
}

/// Whether the call says that its message is compressed.
#[must_use]
pub fn is_compressed(metadata: &HeaderMap) -> bool {
    metadata
        .get(GRPC_ENCODING)
        .is_some_and(|encoding| encoding != "identity")
}

/// `grpc-timeout`: up to eight digits and a unit. An unreadable one counts as absent, as gRPC's own servers have it.
#[must_use]
pub fn timeout(metadata: &HeaderMap) -> Option<Duration> {
    let text = metadata.get(GRPC_TIMEOUT)?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(count * 3600)),
        "M" => Some(Duration::from_secs(count * 60)),
        "S" => Some(Duration::from_secs(count)),
        "m" => Some(Duration::from_millis(count)),
        "u" => Some(Duration::from_micros(count)),
        "n" => Some(Duration::from_nanos(count)),
        _ => None,
    }
}

/// The body of a unary call as its frames come in. A body in one frame, which is what Envoy sends, is not copied.
#[derive(Debug, Default)]
pub struct Incoming {
    whole: Bytes,
    parts: BytesMut,
}

impl Incoming {
    /// Takes one DATA frame.
    ///
    /// # Errors
    /// [`Unreadable`] once the body is longer than a message may be.
    pub fn push(&mut self, data: Bytes, bytes_max: usize) -> Result<(), Unreadable> {
        if self.whole.len() + self.parts.len() + data.len() > bytes_max + PREFIX_BYTES {
            return Err(Unreadable::Rpc(RpcError::ResourceExhausted));
        }
        if self.parts.is_empty() && self.whole.is_empty() {
            self.whole = data;
        } else {
            self.parts.extend_from_slice(&self.whole);
            self.parts.extend_from_slice(&data);
            self.whole = Bytes::new();
        }
        Ok(())
    }

    /// The message, once the body has ended.
    ///
    /// # Errors
    /// [`Unreadable`] when the message is too large, compressed or badly framed.
    pub fn message(self, bytes_max: usize) -> Result<Bytes, Unreadable> {
        let whole = if self.parts.is_empty() {
            self.whole
        } else {
            self.parts.freeze()
        };
        unframe(whole, bytes_max)
    }
}

/// Takes the prefix off a message.
fn unframe(mut framed: Bytes, bytes_max: usize) -> Result<Bytes, Unreadable> {
    if framed.len() < PREFIX_BYTES {
        return Err(Unreadable::Malformed("the call holds no message"));
    }
    let flag = framed.get_u8();
    let length = framed.get_u32();
    if flag != 0 {
        return Err(Unreadable::Rpc(RpcError::Compressed));
    }
    match usize::try_from(length) {
        Ok(length) if length == framed.len() => Ok(framed),
        Ok(length) if length <= bytes_max => Err(Unreadable::Malformed("the call holds more or less than one message")),
        _ => Err(Unreadable::Rpc(RpcError::ResourceExhausted)),
    }
}

/// A buffer that starts with room for the prefix.
#[must_use]
pub fn buffer(capacity: usize) -> Vec<u8> {
    let mut buffer = Vec::with_capacity(capacity);
    buffer.extend_from_slice(&[0; PREFIX_BYTES]);
    buffer
}

/// Fills in the prefix of a message that was written behind [`buffer`]'s room.
///
/// # Panics
/// Never: an answer has at most some hundred kilobytes.
#[must_use]
pub fn frame(mut buffer: Vec<u8>) -> Bytes {
    let length = u32::try_from(buffer.len() - PREFIX_BYTES).expect("an answer is bounded");
    buffer[1..PREFIX_BYTES].copy_from_slice(&length.to_be_bytes());
    Bytes::from(buffer)
}

/// How a call ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// One framed message, and `grpc-status: 0`.
    Message(Bytes),
    /// No message, and another status.
    Error(RpcError),
}

/// The head of the HTTP response that a message follows.
#[must_use]
pub fn head() -> Response<()> {
    let mut headers = HeaderMap::with_capacity(1);
    headers.insert(CONTENT_TYPE, APPLICATION_GRPC);
    let mut response = Response::new(());
    *response.headers_mut() = headers;
    response
}

/// What follows a message.
#[must_use]
pub fn trailers() -> HeaderMap {
    let mut trailers = HeaderMap::with_capacity(1);
    trailers.insert(GRPC_STATUS, HeaderValue::from_static("0"));
    trailers
}

/// The HTTP response that ends a call without a message.
#[must_use]
pub fn error(error: RpcError) -> Response<()> {
    let (status, message) = match error {
        RpcError::ResourceExhausted => ("8", "the message is larger than the gate reads"),
        RpcError::Compressed => ("12", "compressed messages are not accepted"),
        RpcError::UnknownMethod => ("12", "there is no such method"),
    };
    let mut response = head();
    let headers = response.headers_mut();
    headers.insert(GRPC_STATUS, HeaderValue::from_static(status));
    headers.insert(GRPC_MESSAGE, HeaderValue::from_static(message));
    if error == RpcError::Compressed {
        headers.insert(GRPC_ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    }
    response
}

/// The answer to a request that is no gRPC call at all.
#[must_use]
pub fn not_grpc() -> Response<()> {
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::UNSUPPORTED_MEDIA_TYPE;
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_grpc_from_its_neighbours() {
        for yes in ["application/grpc", "application/grpc+proto", "Application/gRPC; a=b"] {
            assert!(is_grpc(yes.as_bytes()), "{yes}");
        }
        for no in [
            "",
            "application/grp",
            "application/grpc-web",
            "application/grpcx",
            "application/json",
        ] {
            assert!(!is_grpc(no.as_bytes()), "{no}");
        }
    }

    #[test]
    fn edge_e24_reads_the_time_that_the_caller_leaves() {
        let read = |text: &str| {
            let mut metadata = HeaderMap::new();
            metadata.insert(GRPC_TIMEOUT, HeaderValue::from_str(text).expect("valid"));
            timeout(&metadata)
        };
        assert_eq!(read("200m"), Some(Duration::from_millis(200)));
        assert_eq!(read("1S"), Some(Duration::from_secs(1)));
        assert_eq!(read("99999999H"), Some(Duration::from_secs(99_999_999 * 3600)));
        assert_eq!(read("5u"), Some(Duration::from_micros(5)));
        for bad in ["", "m", "200", "999999999m", "-1m", "1 m", "1x"] {
            assert_eq!(read(bad), None, "{bad:?}");
        }
        assert_eq!(timeout(&HeaderMap::new()), None);
    }

    #[test]
    fn attack_e09_attack_d21_a_frame_is_one_whole_plain_message() {
        let unframed = |bytes: &'static [u8]| unframe(Bytes::from_static(bytes), MESSAGE_BYTES_MAX);
        assert_eq!(unframed(b"\0\0\0\0\x02ab"), Ok(Bytes::from_static(b"ab")));
        assert_eq!(unframed(b"\0\0\0\0\0"), Ok(Bytes::new()));
        for broken in [&b""[..], b"\0\0\0", b"\0\0\0\0\x03ab", b"\0\0\0\0\x01ab"] {
            assert!(matches!(unframed(broken), Err(Unreadable::Malformed(_))), "{broken:?}");
        }
        assert_eq!(
            unframed(b"\x01\0\0\0\x02ab"),
            Err(Unreadable::Rpc(RpcError::Compressed))
        );
        assert_eq!(
            unframed(b"\0\x00\x40\x00\x01ab"),
            Err(Unreadable::Rpc(RpcError::ResourceExhausted))
        );
    }

    #[test]
    fn frames_what_it_can_unframe() {
        let mut buffer = buffer(16);
        buffer.extend_from_slice(b"answer");
        assert_eq!(unframe(frame(buffer), 6), Ok(Bytes::from_static(b"answer")));
    }
}
