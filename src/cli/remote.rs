//! Talking to a running Scopegate: where it is, whom to be, and what it answers.
//!
//! - TLS always, but for `http` on loopback; a CA file (or the CA of `dev: true`) is trusted alone.
//! - No redirect is followed and no proxy of the environment is used: an answer comes from where it
//!   was asked for, and a credential goes nowhere else.
//! - Secrets come from files, the environment or standard input, never from the command line, which
//!   every process of the machine can read.

pub(crate) mod admin;
pub(crate) mod credentials;
pub(crate) mod told;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args;
use reqwest::{Method, RequestBuilder, Response, StatusCode, redirect};
use serde_json::{Map, Value};
use url::{Host, Url};

use crate::config::Settings;
use crate::config::source::{Source, System};
use crate::net::dev_ca;
use crate::net::settings::{ListenAddress, ListenerSettings, TlsSettings};

/// The variable with the configuration file.
const CONFIG_VARIABLE: &str = "SCOPEGATE_CONFIG";

/// The variable with the CA file.
const CA_VARIABLE: &str = "SCOPEGATE_CA_FILE";

/// For how long one answer is waited.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The largest answer that is read, in bytes.
const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Where the running Scopegate is.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct PlaceArgs {
    /// The configuration file of the running Scopegate: says where it listens and, with `dev: true`, what CA to trust.
    /// Or the variable `SCOPEGATE_CONFIG`.
    #[arg(short, long, value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,
    /// The base URL of the listener instead, as `https://auth.example.com`; or the variable `SCOPEGATE_URL`, and for
    /// administration `SCOPEGATE_ADMIN_URL`.
    #[arg(long, value_name = "URL", global = true)]
    pub url: Option<String>,
    /// The CA to trust, PEM, instead of the system's; or the variable `SCOPEGATE_CA_FILE`.
    #[arg(long, value_name = "FILE", global = true)]
    pub ca_file: Option<PathBuf>,
}

/// Which listener is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Listener {
    /// Where clients get tokens.
    Issuer,
    /// Where administrators work.
    Admin,
}

impl Listener {
    /// The variable with the base URL.
    const fn variable(self) -> &'static str {
        match self {
            Self::Issuer => "SCOPEGATE_URL",
            Self::Admin => "SCOPEGATE_ADMIN_URL",
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Issuer => "issuer",
            Self::Admin => "admin",
        }
    }
}

/// A way to one listener.
#[derive(Debug, Clone)]
pub(crate) struct Connection {
    http: reqwest::Client,
    base: Url,
}

impl Connection {
    /// Finds the listener that the arguments, the environment or the configuration name.
    pub(crate) fn find(place: &PlaceArgs, listener: Listener) -> anyhow::Result<Self> {
        Self::find_by(place, listener, &System)
    }

    fn find_by(place: &PlaceArgs, listener: Listener, source: &dyn Source) -> anyhow::Result<Self> {
        let config = place.config.clone();
        let config = config.or_else(|| source.variable(CONFIG_VARIABLE).map(PathBuf::from));
        let settings = config.as_deref().map(super::load).transpose()?;
        let said = place.url.clone().or_else(|| source.variable(listener.variable()));
        let base = match (said, &settings) {
            (Some(text), _) => base_of(&text)?,
            (None, Some(settings)) => configured(settings, listener)?,
            (None, None) => bail!(
                "it is not said where Scopegate runs: say `-c FILE`, `--url URL`, {CONFIG_VARIABLE} or {}",
                listener.variable()
            ),
        };
        let ca_file = place
            .ca_file
            .clone()
            .or_else(|| source.variable(CA_VARIABLE).map(PathBuf::from))
            .or_else(|| settings.as_ref().and_then(|settings| dev_ca_of(settings, listener)));
        Self::new(base, ca_file.as_deref())
    }

    fn new(base: Url, ca_file: Option<&Path>) -> anyhow::Result<Self> {
        let mut builder = reqwest::Client::builder()
            .redirect(redirect::Policy::none())
            .no_proxy()
            .timeout(TIMEOUT)
            .user_agent(concat!("scopegate/", env!("CARGO_PKG_VERSION")));
        if let Some(path) = ca_file {
            let told = || format!("the CA file `{}`", path.display());
            let pem = std::fs::read(path).with_context(told)?;
            builder = builder.tls_certs_only(reqwest::Certificate::from_pem_bundle(&pem).with_context(told)?);
        }
        Ok(Self {
            http: builder.build()?,
            base,
        })
    }

    /// The base URL, without a slash at its end.
    pub(crate) fn base(&self) -> &str {
        self.base.as_str().trim_end_matches('/')
    }

    /// A request for a path below the base.
    pub(crate) fn request(&self, method: Method, path: &str) -> anyhow::Result<RequestBuilder> {
        Ok(self.http.request(method, self.at(path)?))
    }

    /// The URL of a path, or of a whole URL of the same origin.
    fn at(&self, path: &str) -> anyhow::Result<Url> {
        let url = if path.starts_with('/') {
            Url::parse(&format!("{}{path}", self.base()))
        } else {
            Url::parse(path)
        };
        let url = url.with_context(|| format!("`{path}` is no path and no URL"))?;
        // SECURITY: a credential goes along; it must not leave for where somebody else's text points.
        if url.origin() != self.base.origin() {
            bail!("`{url}` is not at `{}`", self.base());
        }
        Ok(url)
    }
}

/// An answer, read whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) etag: Option<String>,
    /// Where the next page is.
    pub(crate) next: Option<String>,
    /// Null if there is no body.
    pub(crate) body: Value,
}

impl Answer {
    /// Sends a request and reads the answer.
    pub(crate) async fn to(request: RequestBuilder) -> anyhow::Result<Self> {
        let mut response = request.send().await.map_err(unreachable)?;
        let header = |name: &str| {
            let value = response.headers().get(name)?.to_str().ok()?;
            Some(value.to_owned())
        };
        let (etag, next) = (header("etag"), next_page(&response));
        let status = response.status();
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
            bytes.extend_from_slice(&chunk);
            if bytes.len() > ANSWER_BYTES_MAX {
                bail!("the answer has more than {ANSWER_BYTES_MAX} bytes");
            }
        }
        let body = if bytes.is_empty() {
            Value::Null
        } else {
            serde_json::from_slice(&bytes).or_else(|_| {
                let text = String::from_utf8_lossy(&bytes).chars().take(200).collect();
                if status.is_success() {
                    bail!("the answer is no JSON: is this the address of a Scopegate?")
                }
                Ok(Value::String(text))
            })?
        };
        Ok(Self {
            status,
            etag,
            next,
            body,
        })
    }

    /// The answer, if it is not a refusal.
    pub(crate) fn accepted(self) -> anyhow::Result<Self> {
        if self.status.is_success() {
            return Ok(self);
        }
        bail!("{}", refusal(self.status, &self.body))
    }
}

/// What a refusal says, whichever of the three forms it has: the management API's, OAuth's, or none.
fn refusal(status: StatusCode, body: &Value) -> String {
    let text = |name: &str| body.get(name).and_then(Value::as_str);
    let mut told = format!("refused with {}", status.as_u16());
    if let Some(code) = text("errorCode").or_else(|| text("error")) {
        let _ = write!(told, ", `{code}`");
    }
    if let Some(summary) = text("errorSummary").or_else(|| text("error_description")) {
        let _ = write!(told, ": {summary}");
    }
    let causes = body.get("errorCauses").and_then(Value::as_array);
    for cause in causes.into_iter().flatten() {
        if let Some(summary) = cause.get("errorSummary").and_then(Value::as_str) {
            let _ = write!(told, "; {summary}");
        }
    }
    if let Some(id) = text("errorId").or_else(|| text("error_id")) {
        let _ = write!(told, " (error id {id})");
    }
    told
}

/// The causes are told, the URL is not repeated: it may hold what an operator keeps to himself.
fn unreachable(error: reqwest::Error) -> anyhow::Error {
    let host = error.url().map(|url| url[..url::Position::BeforePath].to_owned());
    let error = anyhow::Error::new(error.without_url());
    match host {
        Some(host) => error.context(format!("`{host}` cannot be asked")),
        None => error,
    }
}

/// The URL that a `Link` header calls `next` (RFC 8288).
fn next_page(response: &Response) -> Option<String> {
    let values = response.headers().get_all("link").iter();
    let links = values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(", "));
    links.filter(|link| link.contains("rel=\"next\"")).find_map(|link| {
        let (url, _) = link.trim().strip_prefix('<')?.split_once('>')?;
        Some(url.to_owned())
    })
}

fn base_of(text: &str) -> anyhow::Result<Url> {
    let url = Url::parse(text).with_context(|| format!("`{text}` is no URL"))?;
    let on_loopback = match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    };
    match url.scheme() {
        "https" => Ok(url),
        "http" if on_loopback => Ok(url),
        _ => bail!("`{text}` is no https URL, and credentials are not sent in the clear"),
    }
}

fn listener_of(settings: &Settings, listener: Listener) -> Option<&ListenerSettings> {
    match listener {
        Listener::Issuer => settings.listeners.issuer.as_ref(),
        Listener::Admin => settings.listeners.admin.as_ref(),
    }
}

fn configured(settings: &Settings, listener: Listener) -> anyhow::Result<Url> {
    if let (Listener::Issuer, Some(url)) = (listener, &settings.public_url) {
        return Ok(url.clone());
    }
    let name = listener.name();
    let Some(found) = listener_of(settings, listener) else {
        bail!("the file has no listener `{name}`: say `listeners: {{ {name}: {{ … }} }}`, or where it is with --url");
    };
    let ListenAddress::Tcp(address) = &found.address else {
        bail!("the listener `{name}` is no TCP address: say where it is with --url");
    };
    if address.ip().is_unspecified() || address.port() == 0 {
        bail!("the listener `{name}` binds `{address}`, which is no place to go: say where it is with --url");
    }
    let scheme = if found.tls == TlsSettings::Plain {
        "http"
    } else {
        "https"
    };
    base_of(&format!("{scheme}://{address}"))
}

fn dev_ca_of(settings: &Settings, listener: Listener) -> Option<PathBuf> {
    match &listener_of(settings, listener)?.tls {
        TlsSettings::Dev { folder } => Some(dev_ca::ca_file(folder)),
        TlsSettings::Plain | TlsSettings::Files { .. } => None,
    }
}

/// A JSON object that is put together member by member.
pub(crate) struct Body(Map<String, Value>);

impl Body {
    /// Begins with the members of an object.
    pub(crate) fn new(value: Value) -> Self {
        match value {
            Value::Object(members) => Self(members),
            _ => Self(Map::new()),
        }
    }

    pub(crate) fn set(&mut self, name: &str, value: Value) {
        self.0.insert(name.to_owned(), value);
    }

    pub(crate) fn set_some(&mut self, name: &str, value: Option<Value>) {
        if let Some(value) = value {
            self.set(name, value);
        }
    }

    pub(crate) fn into_value(self) -> Value {
        Value::Object(self.0)
    }
}

/// A JSON file; `-` is standard input.
pub(crate) fn json_file(path: &Path) -> anyhow::Result<Value> {
    let told = || format!("`{}`", path.display());
    let text = if path == Path::new("-") {
        std::io::read_to_string(std::io::stdin())
    } else {
        std::fs::read_to_string(path)
    };
    // The parser tells place and kind; the text, which may hold a secret, is not repeated.
    serde_json::from_str(&text.with_context(told)?).with_context(|| format!("{} is no JSON", told()))
}

/// Runs what waits for the network.
///
/// # Errors
/// What the future says, or the operating system when it gives no runtime.
pub(crate) fn block_on<T>(future: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(future)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn credentials_go_over_tls_or_stay_on_the_machine() {
        for good in [
            "https://auth.example",
            "http://127.0.0.1:8444",
            "http://[::1]:1",
            "http://localhost:1",
        ] {
            assert!(base_of(good).is_ok(), "{good}");
        }
        for bad in [
            "http://auth.example",
            "http://10.0.0.1",
            "ftp://127.0.0.1",
            "auth.example",
            "",
        ] {
            assert!(base_of(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_request_never_leaves_the_origin() {
        let connection = Connection::new(base_of("https://auth.example/base/").expect("good"), None).expect("built");
        let at = |path: &str| connection.at(path).map(|url| url.to_string()).ok();
        assert_eq!(
            at("/api/v1/apps"),
            Some("https://auth.example/base/api/v1/apps".to_owned())
        );
        assert_eq!(
            at("https://auth.example/base/api/v1/apps?after=1"),
            Some("https://auth.example/base/api/v1/apps?after=1".to_owned())
        );
        for elsewhere in [
            "https://evil.example/api",
            "http://auth.example/api",
            "//evil.example/",
            "api",
        ] {
            let went = at(elsewhere);
            assert!(
                went.is_none_or(|url| url.starts_with("https://auth.example/base//")),
                "{elsewhere}"
            );
        }
    }

    #[test]
    fn a_refusal_is_told_in_each_of_its_forms() {
        let body = json!({
            "errorCode": "E0000007", "errorSummary": "Not found", "errorId": "oae1",
            "errorCauses": [{ "errorSummary": "there is no app `x`" }],
        });
        assert_eq!(
            refusal(StatusCode::NOT_FOUND, &body),
            "refused with 404, `E0000007`: Not found; there is no app `x` (error id oae1)"
        );
        let body = json!({ "error": "invalid_client", "error_description": "client authentication failed" });
        assert_eq!(
            refusal(StatusCode::UNAUTHORIZED, &body),
            "refused with 401, `invalid_client`: client authentication failed"
        );
        assert_eq!(refusal(StatusCode::BAD_GATEWAY, &Value::Null), "refused with 502");
    }
}
