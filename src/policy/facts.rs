//! What a request says, as Envoy saw it: borrowed text, nothing interpreted yet.

use smallvec::SmallVec;

/// One header field line (or, without `encode_raw_headers`, one joined value).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header<'a> {
    /// The name as Envoy sent it: lower case, pseudo-headers included.
    pub name: &'a str,
    /// The value's bytes. They are raw only when [`RequestFacts::raw_headers`] says so; else Envoy
    /// has written `!` for each byte that is no UTF-8.
    pub value: &'a [u8],
}

/// Everything that the gate may look at. A field that the caller of the protocol left out is empty
/// or `None`; what is absent is tolerated, what is ambiguous is refused by who reads it.
#[derive(Debug, Clone, Default)]
pub struct RequestFacts<'a> {
    /// `HttpRequest.method`; verbs are case-sensitive (RFC 9110 section 9.1).
    pub method: &'a str,
    /// `HttpRequest.scheme`, `http` or `https` or empty.
    pub scheme: &'a str,
    /// `HttpRequest.host`: the authority, case and port as sent.
    pub host: &'a str,
    /// `HttpRequest.path`: the path **with** its query (Envoy leaves `query` empty).
    pub target: &'a str,
    /// The headers, in the order in which they came.
    pub headers: SmallVec<[Header<'a>; 32]>,
    /// Whether they came as `header_map` with raw bytes, repeated ones apart.
    pub raw_headers: bool,
    /// `HttpRequest.id`: Envoy's stream id; the same when Envoy retries the check.
    pub request_id: &'a str,
    /// `source.certificate`: the client's certificate (and chain) as URL-encoded PEM.
    pub peer_certificate: Option<&'a str>,
    /// `tls_session.sni`.
    pub tls_server_name: Option<&'a str>,
    /// `context_extensions["scopegate.api"]`: set by Envoy's route configuration, never by a client.
    pub pinned_api: Option<&'a str>,
}

/// How often a header occurs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Occurrence<'a> {
    /// Not at all.
    None,
    /// Once, with this value.
    Once(&'a [u8]),
    /// More than once.
    Several,
}

impl<'a> RequestFacts<'a> {
    /// How often the header of this (lower-case) name occurs, and its value if once.
    #[must_use]
    pub fn header(&self, name: &str) -> Occurrence<'a> {
        let mut found = Occurrence::None;
        for header in &self.headers {
            if header.name.eq_ignore_ascii_case(name) {
                if found != Occurrence::None {
                    return Occurrence::Several;
                }
                found = Occurrence::Once(header.value);
            }
        }
        found
    }

    /// The path without its query: everything before the first `?`.
    #[must_use]
    pub fn path(&self) -> &'a str {
        self.target.split_once('?').map_or(self.target, |(path, _)| path)
    }

    /// The query without its `?`, if there is one.
    #[must_use]
    pub fn query(&self) -> Option<&'a str> {
        self.target.split_once('?').map(|(_, query)| query)
    }
}
