//! The one way out: how `trust` asks for documents, without knowing who carries the request.
//!
//! `net::fetch` implements [`Fetch`] with a real HTTP client that follows no redirect, reads at most
//! [`DOCUMENT_BYTES_MAX`], gives up after [`FETCH_TIMEOUT`] and connects to no private address
//! unless the server's [`FetchPolicy`] allows it. Tests put a scripted one in its place.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use url::Url;

use crate::model::secret::Secret;
use crate::trust::settings::FetchPolicy;

/// The longest document that is read, in bytes: a key set of a hundred keys fits.
pub const DOCUMENT_BYTES_MAX: usize = 64 * 1024;

/// How long one request may take, from the look-up of the name to the last byte.
pub const FETCH_TIMEOUT: Duration = Duration::from_secs(5);

/// A future that can be kept in a trait object.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What came back. Any status is an answer here; what it means is the caller's matter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// The HTTP status.
    pub status: u16,
    /// The body, at most [`DOCUMENT_BYTES_MAX`] bytes.
    pub body: Vec<u8>,
    /// `max-age` of `Cache-Control` (RFC 9111 section 5.2.2.1).
    pub max_age: Option<Duration>,
    /// `Retry-After` in its form of seconds (RFC 9110 section 10.2.3).
    pub retry_after: Option<Duration>,
}

/// Why nothing came back.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// Neither `https`, nor `http` where that is allowed.
    #[error("only https URLs are fetched (http where `dev: true` allows it)")]
    Scheme,
    /// Every address of the host is private, loopback, link-local or otherwise not public.
    #[error("the host has no public address; say `allow_private_addresses: true` if that is meant")]
    PrivateAddress,
    /// The answer is a redirect, and none is followed.
    #[error("the server answered with a redirect, which is not followed")]
    Redirect,
    /// The answer is longer than [`DOCUMENT_BYTES_MAX`].
    #[error("the answer is longer than {DOCUMENT_BYTES_MAX} bytes")]
    TooLong,
    /// No whole answer within [`FETCH_TIMEOUT`].
    #[error("no whole answer within {} seconds", FETCH_TIMEOUT.as_secs())]
    Timeout,
    /// The certificate authority file cannot be used.
    #[error("the `ca_file` cannot be used: {0}")]
    CaFile(String),
    /// No connection, a TLS failure, or a broken answer.
    #[error("the request failed: {0}")]
    Transport(String),
}

/// Asks for documents.
pub trait Fetch: Send + Sync {
    /// `GET` of a document.
    ///
    /// # Errors
    /// [`FetchError`] when there is no whole answer.
    fn get<'a>(&'a self, url: &'a Url, policy: &'a FetchPolicy) -> BoxFuture<'a, Result<Fetched, FetchError>>;

    /// `POST` of a form, with HTTP Basic authentication (RFC 6749 section 2.3.1 encodes both parts).
    ///
    /// # Errors
    /// [`FetchError`] when there is no whole answer.
    fn post_form<'a>(
        &'a self,
        url: &'a Url,
        policy: &'a FetchPolicy,
        client: (&'a str, &'a Secret<String>),
        form: &'a [(&'a str, &'a str)],
    ) -> BoxFuture<'a, Result<Fetched, FetchError>>;
}
