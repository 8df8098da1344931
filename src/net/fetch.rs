//! Fetching documents of others: the only outbound HTTP, behind `trust`'s [`Fetch`].
//!
//! What it guards against (attacks B05, B14, F18):
//! - no redirect is followed, so an allowed URL cannot lead to another one;
//! - a name is resolved by `PublicOnly`, which drops every address that is not public, and the
//!   connection is made to an address that passed: a second look-up cannot bring another one;
//! - a URL with a literal address is judged before anything is sent;
//! - the body is read as it comes and dropped at [`DOCUMENT_BYTES_MAX`]; it is not decompressed;
//! - everything together ends after [`FETCH_TIMEOUT`];
//! - no proxy of the environment is used: it would resolve names in our place.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{Client, RequestBuilder, Response, redirect};
use url::{Host, Url};

use crate::model::digest::Digest;
use crate::model::secret::Secret;
use crate::trust::fetch::{BoxFuture, DOCUMENT_BYTES_MAX, FETCH_TIMEOUT, Fetch, FetchError, Fetched};
use crate::trust::settings::FetchPolicy;

/// The HTTP client, one connection pool for each policy.
pub struct HttpFetch {
    clients: Mutex<HashMap<FetchPolicy, Pooled>>,
    timeout: Duration,
}

/// A client, and the content of the `ca_file` that it trusts: a new content takes a new client.
struct Pooled {
    ca: Option<Digest>,
    client: Client,
}

impl Default for HttpFetch {
    fn default() -> Self {
        Self {
            clients: Mutex::default(),
            timeout: FETCH_TIMEOUT,
        }
    }
}

impl HttpFetch {
    /// A client without connections.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    async fn client(&self, policy: &FetchPolicy) -> Result<Client, FetchError> {
        let pem = match &policy.ca_file {
            Some(path) => Some(tokio::fs::read(path).await.map_err(|error| unusable(path, &error))?),
            None => None,
        };
        let ca = pem.as_deref().map(Digest::of);
        if let Some(pooled) = self.clients.lock().get(policy).filter(|pooled| pooled.ca == ca) {
            return Ok(pooled.client.clone());
        }
        let client = build(policy, pem.as_deref())?;
        let pooled = Pooled {
            ca,
            client: client.clone(),
        };
        self.clients.lock().insert(policy.clone(), pooled);
        Ok(client)
    }

    async fn send(
        &self,
        url: &Url,
        policy: &FetchPolicy,
        shape: impl Fn(Client) -> RequestBuilder,
    ) -> Result<Fetched, FetchError> {
        judge_url(url, policy)?;
        let whole = async {
            let request = shape(self.client(policy).await?);
            let response = request.send().await.map_err(|error| transport(&error))?;
            read(response).await
        };
        tokio::time::timeout(self.timeout, whole)
            .await
            .map_err(|_| FetchError::Timeout)?
    }
}

impl Fetch for HttpFetch {
    fn get<'a>(&'a self, url: &'a Url, policy: &'a FetchPolicy) -> BoxFuture<'a, Result<Fetched, FetchError>> {
        Box::pin(self.send(url, policy, move |client| {
            client.get(url.clone()).header("accept", "application/json")
        }))
    }

    fn post_form<'a>(
        &'a self,
        url: &'a Url,
        policy: &'a FetchPolicy,
        client: (&'a str, &'a Secret<String>),
        form: &'a [(&'a str, &'a str)],
    ) -> BoxFuture<'a, Result<Fetched, FetchError>> {
        let (id, secret) = client;
        Box::pin(self.send(url, policy, move |client| {
            // RFC 6749 section 2.3.1: both parts are form-encoded before they are joined.
            let encoded = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
            client
                .post(url.clone())
                .header("accept", "application/json")
                .basic_auth(encoded(id), Some(encoded(secret.expose_secret())))
                .form(form)
        }))
    }
}

fn build(policy: &FetchPolicy, ca: Option<&[u8]>) -> Result<Client, FetchError> {
    let mut builder = Client::builder()
        .redirect(redirect::Policy::none())
        .no_proxy()
        .timeout(FETCH_TIMEOUT)
        .pool_max_idle_per_host(8)
        .user_agent(concat!("scopegate/", env!("CARGO_PKG_VERSION")));
    if !policy.allow_private_addresses {
        builder = builder.dns_resolver(Arc::new(PublicOnly));
    }
    if let (Some(path), Some(pem)) = (&policy.ca_file, ca) {
        let certificates = reqwest::Certificate::from_pem_bundle(pem).map_err(|error| unusable(path, &error))?;
        builder = builder.tls_certs_merge(certificates);
    }
    builder.build().map_err(|error| transport(&error))
}

fn unusable(ca_file: &Path, error: &dyn std::fmt::Display) -> FetchError {
    FetchError::CaFile(format!("`{}`: {error}", ca_file.display()))
}

fn judge_url(url: &Url, policy: &FetchPolicy) -> Result<(), FetchError> {
    match url.scheme() {
        "https" => {}
        "http" if policy.allow_http => {}
        _ => return Err(FetchError::Scheme),
    }
    let literal = match url.host() {
        Some(Host::Ipv4(address)) => Some(IpAddr::V4(address)),
        Some(Host::Ipv6(address)) => Some(IpAddr::V6(address)),
        Some(Host::Domain(_)) | None => None,
    };
    match literal {
        Some(address) if !policy.allow_private_addresses && !is_public(address) => Err(FetchError::PrivateAddress),
        _ => Ok(()),
    }
}

async fn read(mut response: Response) -> Result<Fetched, FetchError> {
    if response.status().is_redirection() {
        return Err(FetchError::Redirect);
    }
    let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
    let max_age = header("cache-control").and_then(max_age);
    let retry_after = header("retry-after")
        .and_then(|text| text.trim().parse().ok())
        .map(Duration::from_secs);
    let status = response.status().as_u16();
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| transport(&error))? {
        if body.len() + chunk.len() > DOCUMENT_BYTES_MAX {
            return Err(FetchError::TooLong);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Fetched {
        status,
        body,
        max_age,
        retry_after,
    })
}

fn max_age(cache_control: &str) -> Option<Duration> {
    let directives = cache_control.split(',').map(str::trim);
    let mut found = None;
    for directive in directives {
        if directive.eq_ignore_ascii_case("no-store") || directive.eq_ignore_ascii_case("no-cache") {
            return Some(Duration::ZERO);
        }
        if let Some((name, value)) = directive.split_once('=')
            && name.eq_ignore_ascii_case("max-age")
        {
            found = value.trim_matches('"').parse().ok().map(Duration::from_secs);
        }
    }
    found
}

/// The error with its causes. The URL is left out: it may hold what an operator keeps to himself.
fn transport(error: &reqwest::Error) -> FetchError {
    if error.is_timeout() {
        return FetchError::Timeout;
    }
    let mut text = String::new();
    let mut cause: Option<&dyn std::error::Error> = std::error::Error::source(error);
    while let Some(error) = cause {
        if error.downcast_ref::<NoPublicAddress>().is_some() {
            return FetchError::PrivateAddress;
        }
        if !text.is_empty() {
            text.push_str(": ");
        }
        text.push_str(&error.to_string());
        cause = error.source();
    }
    FetchError::Transport(if text.is_empty() {
        "no further cause is known".to_owned()
    } else {
        text
    })
}

/// Resolves names to public addresses only.
struct PublicOnly;

/// A name that has no public address.
#[derive(Debug, thiserror::Error)]
#[error("the name has no public address")]
struct NoPublicAddress;

impl Resolve for PublicOnly {
    fn resolve(&self, name: Name) -> Resolving {
        let name = name.as_str().to_owned();
        Box::pin(async move {
            let all = tokio::net::lookup_host((name, 0)).await?;
            let public: Vec<SocketAddr> = all.filter(|address| is_public(address.ip())).collect();
            if public.is_empty() {
                return Err(NoPublicAddress.into());
            }
            Ok(Box::new(public.into_iter()) as Addrs)
        })
    }
}

/// Whether an address belongs to the public internet (IANA's special-purpose registries).
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let special = matches!(
        (a, b, c),
        (0 | 10 | 127 | 224..=255, _, _)
            | (100, 64..=127, _)
            | (169, 254, _)
            | (172, 16..=31, _)
            | (192, 0, 0 | 2)
            | (192, 88, 99)
            | (192, 168, _)
            | (198, 18..=19, _)
            | (198, 51, 100)
            | (203, 0, 113)
    );
    !special
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    // Forms that carry an IPv4 address reach that address: it is the one to judge.
    let embedded = match segments {
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => {
            Some((high, low))
        }
        _ => None,
    };
    if let Some((high, low)) = embedded {
        let [a, b] = high.to_be_bytes();
        let [c, d] = low.to_be_bytes();
        return is_public_v4(Ipv4Addr::new(a, b, c, d));
    }
    // Only 2000::/3 is handed out as public; within it, Teredo, benchmarking and documentation are not.
    let global = segments[0] & 0xe000 == 0x2000;
    let special = matches!(segments, [0x2001, 0..=0x1ff | 0xdb8, ..] | [0x3fff, 0..=0xfff, ..]);
    global && !special
}

#[cfg(test)]
mod tests;
