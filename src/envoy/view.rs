//! Reads a CheckRequest where it lies: borrowed text for [`RequestFacts`], nothing copied, nothing decoded that is not looked at.
//!
//! Rules:
//!
//! - **Total and bounded.** Any bytes give facts or [`Undecodable`]; there is no recursion (the nesting of the fields that
//!   we read is fixed, and the `Struct`s of `metadata_context` are skipped by their length, however deep they are), and at
//!   most [`HEADERS_MAX`] headers.
//! - **Tolerant of what is absent or unknown**, since other callers of the protocol fill fewer fields than Envoy, and
//!   newer ones more. Unknown fields are skipped; groups, which protobuf gave up long ago, are refused.
//! - **Strict where two readers could differ.** Text that is no UTF-8 is refused (proto3 says that a `string` is UTF-8). A
//!   repeated scalar field counts by its last occurrence and a repeated message is merged, as protobuf says; but a
//!   header that is twice in the map stays twice, so that who reads it sees [`Occurrence::Several`], and both forms of
//!   headers at once, both values of one header, or two pins of the API are refused.
//!
//! [`Occurrence::Several`]: crate::policy::facts::Occurrence::Several

use crate::policy::facts::{Header, RequestFacts};

/// The most headers that a request may carry. Envoy's own default is 100.
pub const HEADERS_MAX: usize = 256;

/// The key in `context_extensions` by which Envoy's route configuration pins the API.
pub const PINNED_API: &str = "scopegate.api";

/// Why a message is refused. The text is for the decision log: constant, nothing of the request in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Undecodable(pub &'static str);

type Result<T> = std::result::Result<T, Undecodable>;

/// The facts of one CheckRequest.
///
/// # Errors
/// [`Undecodable`] when the bytes are no CheckRequest, hold no HTTP request, or can be read in two ways.
pub fn read(message: &[u8]) -> Result<RequestFacts<'_>> {
    let mut view = View::default();
    let mut fields = Fields(message);
    while let Some((number, value)) = fields.next()? {
        if number == 1 {
            view.attributes(value.bytes()?)?;
        }
    }
    view.finish()
}

/// What has been read so far.
#[derive(Default)]
struct View<'a> {
    facts: RequestFacts<'a>,
    has_http: bool,
    in_map: bool,
    in_header_map: bool,
}

impl<'a> View<'a> {
    fn attributes(&mut self, message: &'a [u8]) -> Result<()> {
        let mut fields = Fields(message);
        while let Some((number, value)) = fields.next()? {
            match number {
                1 => self.source(value.bytes()?)?,
                4 => self.request(value.bytes()?)?,
                10 => self.context_extension(value.bytes()?)?,
                12 => self.tls_session(value.bytes()?)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn source(&mut self, peer: &'a [u8]) -> Result<()> {
        let mut fields = Fields(peer);
        while let Some((number, value)) = fields.next()? {
            if number == 5 {
                self.facts.peer_certificate = Some(value.text()?).filter(|text| !text.is_empty());
            }
        }
        Ok(())
    }

    fn tls_session(&mut self, session: &'a [u8]) -> Result<()> {
        let mut fields = Fields(session);
        while let Some((number, value)) = fields.next()? {
            if number == 1 {
                self.facts.tls_server_name = Some(value.text()?).filter(|text| !text.is_empty());
            }
        }
        Ok(())
    }

    fn context_extension(&mut self, entry: &'a [u8]) -> Result<()> {
        let (key, value) = map_entry(entry)?;
        if key == PINNED_API {
            if self.facts.pinned_api.is_some() {
                return Err(Undecodable("the API is pinned twice"));
            }
            let value = std::str::from_utf8(value).map_err(|_| NOT_UTF8)?;
            self.facts.pinned_api = Some(value);
        }
        Ok(())
    }

    fn request(&mut self, request: &'a [u8]) -> Result<()> {
        let mut fields = Fields(request);
        while let Some((number, value)) = fields.next()? {
            if number == 2 {
                self.has_http = true;
                self.http(value.bytes()?)?;
            }
        }
        Ok(())
    }

    fn http(&mut self, http: &'a [u8]) -> Result<()> {
        let mut fields = Fields(http);
        while let Some((number, value)) = fields.next()? {
            match number {
                1 => self.facts.request_id = value.text()?,
                2 => self.facts.method = value.text()?,
                3 => {
                    let (name, value) = map_entry(value.bytes()?)?;
                    // A token is long and ASCII, which is seen at once.
                    if !value.is_ascii() {
                        std::str::from_utf8(value).map_err(|_| NOT_UTF8)?;
                    }
                    self.in_map = true;
                    self.header(name, value)?;
                }
                4 => self.facts.target = value.text()?,
                5 => self.facts.host = value.text()?,
                6 => self.facts.scheme = value.text()?,
                13 => self.header_map(value.bytes()?)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn header_map(&mut self, map: &'a [u8]) -> Result<()> {
        let mut fields = Fields(map);
        while let Some((number, value)) = fields.next()? {
            if number == 1 {
                self.in_header_map = true;
                let (name, value) = header_value(value.bytes()?)?;
                self.header(name, value)?;
            }
        }
        Ok(())
    }

    fn header(&mut self, name: &'a str, value: &'a [u8]) -> Result<()> {
        if self.facts.headers.len() == HEADERS_MAX {
            return Err(Undecodable("the request has more headers than the gate reads"));
        }
        self.facts.headers.push(Header { name, value });
        Ok(())
    }

    fn finish(mut self) -> Result<RequestFacts<'a>> {
        if !self.has_http {
            return Err(Undecodable("the check holds no HTTP request"));
        }
        if self.in_map && self.in_header_map {
            return Err(Undecodable("the check holds both `headers` and `header_map`"));
        }
        self.facts.raw_headers = self.in_header_map;
        Ok(self.facts)
    }
}

/// One entry of a `map<string, string>`: a message with the key as 1 and the value as 2. The value is not yet known to be
/// UTF-8: who keeps it checks it.
fn map_entry(entry: &[u8]) -> Result<(&str, &[u8])> {
    if let Some((key, text)) = usual_entry(entry) {
        let key = match usual_name(key) {
            Some(name) => name,
            None => std::str::from_utf8(key).map_err(|_| NOT_UTF8)?,
        };
        return Ok((key, text));
    }
    let (mut key, mut text) = ("", &[][..]);
    let mut fields = Fields(entry);
    while let Some((number, value)) = fields.next()? {
        match number {
            1 => key = value.text()?,
            2 => text = value.bytes()?,
            _ => {}
        }
    }
    Ok((key, text))
}

/// An entry as every encoder writes it: the key, then the value, each with a length of one byte or (the value) two, and
/// nothing else. Read without a loop, since a request has a dozen of them.
#[inline]
fn usual_entry(entry: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&[KEY, key_length], rest) = entry.split_first_chunk()? else {
        return None;
    };
    // From 0x80 on a length has another byte.
    if key_length >= 0x80 {
        return None;
    }
    let (key, rest) = rest.split_at_checked(usize::from(key_length))?;
    let (&[VALUE, low], rest) = rest.split_first_chunk()? else {
        return None;
    };
    let (length, text) = match (low, rest) {
        (0..0x80, text) => (usize::from(low), text),
        (_, &[high @ 1..0x80, ref text @ ..]) => (usize::from(low & 0x7f) | usize::from(high) << 7, text),
        _ => return None,
    };
    (text.len() == length).then_some((key, text))
}

/// A header name that nearly every request has: to know it costs less than to find that it is UTF-8, and a request has a
/// dozen of them.
fn usual_name(key: &[u8]) -> Option<&'static str> {
    Some(match key {
        b":authority" => ":authority",
        b":method" => ":method",
        b":path" => ":path",
        b":scheme" => ":scheme",
        b"accept" => "accept",
        b"accept-encoding" => "accept-encoding",
        b"accept-language" => "accept-language",
        b"authorization" => "authorization",
        b"content-length" => "content-length",
        b"content-type" => "content-type",
        b"cookie" => "cookie",
        b"origin" => "origin",
        b"referer" => "referer",
        b"traceparent" => "traceparent",
        b"user-agent" => "user-agent",
        b"x-forwarded-for" => "x-forwarded-for",
        b"x-forwarded-proto" => "x-forwarded-proto",
        b"x-request-id" => "x-request-id",
        _ => return None,
    })
}

/// The tags of a map entry's key and value.
const KEY: u8 = 1 << 3 | 2;
const VALUE: u8 = 2 << 3 | 2;

/// A `HeaderValue`: Envoy fills either `value` or, with `encode_raw_headers`, `raw_value`.
fn header_value(header: &[u8]) -> Result<(&str, &[u8])> {
    let (mut key, mut text, mut raw) = ("", "", &[][..]);
    let mut fields = Fields(header);
    while let Some((number, value)) = fields.next()? {
        match number {
            1 => key = value.text()?,
            2 => text = value.text()?,
            3 => raw = value.bytes()?,
            _ => {}
        }
    }
    match (text.is_empty(), raw.is_empty()) {
        (_, true) => Ok((key, text.as_bytes())),
        (true, false) => Ok((key, raw)),
        (false, false) if text.as_bytes() == raw => Ok((key, raw)),
        (false, false) => Err(Undecodable("a header has two values that differ")),
    }
}

// === impl Fields ===

const TRUNCATED: Undecodable = Undecodable("the message ends inside a field");
const WRONG_TYPE: Undecodable = Undecodable("a field has another wire type than its message says");
const NOT_UTF8: Undecodable = Undecodable("a string holds bytes that are no UTF-8");

/// A field's value, by wire type.
#[derive(Debug, Clone, Copy)]
enum Wire<'a> {
    /// Length-delimited: a string, bytes or a message.
    Bytes(&'a [u8]),
    /// A varint or a fixed-width number. Nothing that we read is one; the value is not kept.
    Number,
}

impl<'a> Wire<'a> {
    fn bytes(self) -> Result<&'a [u8]> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            Self::Number => Err(WRONG_TYPE),
        }
    }

    fn text(self) -> Result<&'a str> {
        std::str::from_utf8(self.bytes()?).map_err(|_| NOT_UTF8)
    }
}

/// The fields of one message, in order.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    #[inline]
    fn next(&mut self) -> Result<Option<(u32, Wire<'a>)>> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let key = u32::try_from(self.varint()?).map_err(|_| Undecodable("a field number is out of range"))?;
        let number = key >> 3;
        if number == 0 {
            return Err(Undecodable("a field number is out of range"));
        }
        let value = match key & 7 {
            0 => {
                self.varint()?;
                Wire::Number
            }
            1 => self.take(8).map(|_| Wire::Number)?,
            2 => {
                let length = usize::try_from(self.varint()?).map_err(|_| TRUNCATED)?;
                Wire::Bytes(self.take(length)?)
            }
            5 => self.take(4).map(|_| Wire::Number)?,
            _ => return Err(Undecodable("a field has a wire type that proto3 does not use")),
        };
        Ok(Some((number, value)))
    }

    #[inline]
    fn take(&mut self, length: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(TRUNCATED)?;
        self.0 = rest;
        Ok(taken)
    }

    #[inline]
    fn varint(&mut self) -> Result<u64> {
        // Nearly every key and length fits one byte.
        match self.0 {
            [first, rest @ ..] if *first < 0x80 => {
                self.0 = rest;
                Ok(u64::from(*first))
            }
            _ => self.long_varint(),
        }
    }

    fn long_varint(&mut self) -> Result<u64> {
        let mut value = 0_u64;
        for (index, byte) in self.0.iter().copied().take(10).enumerate() {
            // The tenth byte holds the 64th bit alone.
            if index == 9 && byte > 1 {
                return Err(Undecodable("a number has more than 64 bits"));
            }
            value |= u64::from(byte & 0x7f) << (7 * index);
            if byte < 0x80 {
                self.0 = &self.0[index + 1..];
                return Ok(value);
            }
        }
        Err(TRUNCATED)
    }
}

#[cfg(test)]
mod tests;
