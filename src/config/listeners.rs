//! `public_url`, `listeners`, `store`: what the process is to the outside.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use url::{Host, Url};

use super::context::Context;
use super::decode::{Stated, shown};
use super::file::{ClientCertificate, ExtAuthzListenerFile, ListenerFile, ListenersFile, StoreFile, StoreUrl, TlsFile};
use super::scalar::{Address, UrlText};
use crate::model::location::{Located, Location};
use crate::model::secret::Secret;
use crate::net::settings::{ListenAddress, ListenerSettings, Listeners, TlsSettings};
use crate::store::settings::{SealingKeySource, StoreSettings};

/// Where the local CA is kept, below the store's folder.
const DEV_CA_FOLDER: &str = "dev-ca";

/// The folder for what the process makes where no SQLite file says another.
const DATA_FOLDER: &str = "data";

/// The sealing key that `dev: true` makes there.
const SEALING_KEY: &str = "scopegate.key";

impl Context<'_> {
    /// The URL that clients see, checked.
    pub(crate) fn public_url(&mut self, url: &Located<UrlText>) -> Url {
        let (at, written, url) = (url.location, shown(&url.value.text), &url.value.url);
        let loopback = match url.host() {
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
            None => false,
        };
        match url.scheme() {
            "https" => {}
            "http" if self.dev && loopback => {}
            "http" => {
                let message = format!("`{written}` is plain http: tokens and secrets would travel in the clear");
                let hint = "say `https://…`; plain http is for loopback with `dev: true`";
                self.error("insecure_public_url", at, message, hint);
            }
            other => {
                let message = format!("a public URL has no scheme `{}`", shown(other));
                self.error("invalid_public_url", at, message, "say `https://…`");
            }
        }
        if url.query().is_some() || url.fragment().is_some() {
            let message = format!("`{written}` holds a query or a fragment");
            let hint = "an issuer has neither (RFC 8414 section 2): leave them out";
            self.error("invalid_public_url", at, message, hint);
        }
        url.clone()
    }

    /// The store. What it writes starts where the process runs, not at the file's folder: the file
    /// may stand where nothing can be written.
    pub(crate) fn store(&mut self, store: &StoreFile) -> StoreSettings {
        let StoreFile(store) = store;
        match (&store.url.value, &store.password_file) {
            (StoreUrl::Sqlite(path), password) => {
                if let Some(password) = password {
                    let message = "an SQLite store has no password";
                    self.error(
                        "unused_password",
                        password.location,
                        message,
                        "leave `password_file` out",
                    );
                }
                StoreSettings::Sqlite(PathBuf::from(path))
            }
            (StoreUrl::Postgres(url), password) => {
                let password = password.as_ref().and_then(|file| {
                    let bytes = self.secret(file)?;
                    let text = str::from_utf8(&bytes).map(|text| Secret::new(text.to_owned())).ok();
                    if text.is_none() {
                        let message = "the password is no UTF-8 text";
                        self.error("invalid_secret", file.location, message, "write it as text");
                    }
                    text
                });
                StoreSettings::Postgres {
                    url: url.clone(),
                    password,
                }
            }
        }
    }

    /// Where the sealing key comes from, if the file says so.
    pub(crate) fn sealing_key(&mut self, StoreFile(store): &StoreFile) -> Option<SealingKeySource> {
        let Some(file) = &store.sealing_key else {
            if let StoreUrl::Postgres(_) = store.url.value {
                if self.dev {
                    return Some(SealingKeySource::File(Path::new(DATA_FOLDER).join(SEALING_KEY)));
                }
                let message = "a store in PostgreSQL needs a sealing key, the same on every node";
                let hint =
                    "say `sealing_key: { file: … }`, or `env: NAME` or `command: [PROGRAM, …]` instead of `file`";
                self.error("missing_sealing_key", store.url.location, message, hint);
            }
            return None;
        };
        match (&file.file, &file.env, &file.command) {
            (Some(path), None, None) => Some(SealingKeySource::File(self.path(&path.value))),
            (None, Some(name), None) => {
                let text = self.source.variable(&name.value);
                if text.is_none() {
                    let message = format!("the variable `{}` is not set here", shown(&name.value));
                    let hint =
                        "an issuer does not start without it: it holds the sealing key; a gate that runs alone does";
                    // No error to serve either: opening the store says it, where the key is needed.
                    self.warn("sealing_key_unset", name.location, message, hint);
                }
                Some(SealingKeySource::Variable {
                    name: name.value.clone(),
                    text: text.map(Secret::new),
                })
            }
            (None, None, Some(words)) if !words.value.is_empty() => {
                Some(SealingKeySource::Command(words.value.clone()))
            }
            _ => {
                let message = "a sealing key comes from one place";
                let hint = "say one of `file: …`, `env: NAME` and `command: [PROGRAM, …]`";
                self.error("invalid_sealing_key", file.at, message, hint);
                None
            }
        }
    }

    /// Every listener, checked against the others and against `dev`.
    pub(crate) fn listeners(
        &mut self,
        file: Option<&Stated<ListenersFile>>,
        issues_tokens: bool,
        public_url: Option<&Url>,
        store: Option<&StoreSettings>,
    ) -> Listeners {
        let data = match store {
            Some(StoreSettings::Sqlite(path)) => path.parent().map(Path::to_owned).unwrap_or_default(),
            _ => PathBuf::from(DATA_FOLDER),
        };
        let speaks_http = public_url.is_some_and(|url| url.scheme() == "http");
        let dev_tls = if speaks_http {
            TlsSettings::Plain
        } else {
            TlsSettings::Dev {
                folder: data.join(DEV_CA_FOLDER),
            }
        };
        let Some(file) = file else {
            let at = |port, tls| ListenerSettings {
                address: on_loopback(port),
                tls,
            };
            if issues_tokens && !self.dev {
                let message = "there are no `listeners`, and the issuer speaks no plain http";
                let hint = "say `listeners: { ext_authz: { … }, issuer: { address: …, tls: { certificate_file: …, key_file: … } } }`";
                self.error("missing_tls", Location { line: 1, column: 1 }, message, hint);
            }
            return Listeners {
                ext_authz: Some(at(9191, TlsSettings::Plain)),
                reflection: false,
                issuer: issues_tokens.then(|| at(8443, dev_tls)),
                admin: None,
                telemetry: None,
            };
        };
        let Stated(Some(file)) = file else {
            return Listeners {
                ext_authz: None,
                reflection: false,
                issuer: None,
                admin: None,
                telemetry: None,
            };
        };
        let mut taken = Vec::new();
        Listeners {
            ext_authz: self.listener("ext_authz", 9191, file.ext_authz.as_ref(), None, &mut taken),
            reflection: file
                .ext_authz
                .as_ref()
                .is_some_and(|file| file.reflection == Some(true)),
            issuer: self.listener("issuer", 8443, file.issuer.as_ref(), Some(&dev_tls), &mut taken),
            admin: self.listener("admin", 8444, file.admin.as_ref(), Some(&dev_tls), &mut taken),
            telemetry: self.listener("telemetry", 9464, file.telemetry.as_ref(), None, &mut taken),
        }
    }

    /// One listener. `dev_tls` is what stands in for a certificate in dev, where one is needed.
    fn listener<'f>(
        &mut self,
        name: &'static str,
        port: u16,
        file: Option<impl Into<Written<'f>>>,
        dev_tls: Option<&TlsSettings>,
        taken: &mut Vec<(&'static str, ListenAddress, Location)>,
    ) -> Option<ListenerSettings> {
        let file = file?.into();
        let (address, at) = match file.address {
            Some(address) => (address.value.0.clone(), address.location),
            None => (on_loopback(port), file.at),
        };
        if let Some((other, _, first)) = taken.iter().find(|(_, other, _)| collide(other, &address)) {
            let message = format!("`{address}` is taken by `{other}` in line {}", first.line);
            self.error(
                "duplicate_address",
                at,
                message,
                "give each listener an address of its own",
            );
        }
        taken.push((name, address.clone(), at));
        if let ListenAddress::Tcp(socket) = address
            && self.dev
            && !socket.ip().is_loopback()
        {
            let message = format!("`{address}` is not on loopback, and `dev: true` is for loopback only");
            self.error("dev_not_loopback", at, message, "say `127.0.0.1`, or leave `dev` out");
        }
        let tls = match (file.tls, dev_tls) {
            (Some(Stated(Some(tls))), _) => TlsSettings::Files {
                certificate_file: self.path(&tls.certificate_file),
                key_file: self.path(&tls.key_file),
                client_ca_file: self.optional_path(tls.client_ca_file.as_ref()),
                client_certificate_optional: self.is_certificate_optional(name, tls),
            },
            (Some(Stated(None)), _) | (None, None) => TlsSettings::Plain,
            (None, Some(dev_tls)) => {
                if !self.dev {
                    let message = format!("the listener `{name}` has no `tls`, and it speaks no plain http");
                    let hint = "say `tls: { certificate_file: …, key_file: … }`; with `dev: true` a local CA is made";
                    self.error("missing_tls", at, message, hint);
                }
                dev_tls.clone()
            }
        };
        Some(ListenerSettings { address, tls })
    }
}

impl Context<'_> {
    /// A gate that lets everybody connect, certificate or not, is what nobody means by mutual TLS.
    fn is_certificate_optional(&mut self, listener: &'static str, tls: &TlsFile) -> bool {
        let Some(stated) = tls.client_certificate.as_ref() else {
            return false;
        };
        if stated.value == ClientCertificate::Required {
            return false;
        }
        if listener != "issuer" {
            let message =
                format!("the listener `{listener}` would serve peers without a certificate like those with one");
            let hint = "`client_certificate: optional` is for the issuer's listener: leave it out";
            self.error("optional_certificate", stated.location, message, hint);
        } else if tls.client_ca_file.is_none() {
            let message = "no authority is named that could vouch for a certificate";
            let hint = "add `client_ca_file`, or leave `client_certificate` out";
            self.error("optional_certificate", stated.location, message, hint);
        }
        true
    }
}

/// What every listener may say.
struct Written<'f> {
    at: Location,
    address: Option<&'f Located<Address>>,
    tls: Option<&'f Stated<TlsFile>>,
}

impl<'f> From<&'f ListenerFile> for Written<'f> {
    fn from(file: &'f ListenerFile) -> Self {
        Self {
            at: file.at,
            address: file.address.as_ref(),
            tls: file.tls.as_ref(),
        }
    }
}

impl<'f> From<&'f ExtAuthzListenerFile> for Written<'f> {
    fn from(file: &'f ExtAuthzListenerFile) -> Self {
        Self {
            at: file.at,
            address: file.address.as_ref(),
            tls: file.tls.as_ref(),
        }
    }
}

fn on_loopback(port: u16) -> ListenAddress {
    ListenAddress::Tcp(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port))
}

/// Whether two listeners cannot both bind.
fn collide(one: &ListenAddress, other: &ListenAddress) -> bool {
    match (one, other) {
        (ListenAddress::Unix(one), ListenAddress::Unix(other)) => one == other,
        (ListenAddress::Tcp(one), ListenAddress::Tcp(other)) => {
            let overlap = one.ip() == other.ip() || one.ip().is_unspecified() || other.ip().is_unspecified();
            // port 0 means "any free one"
            one.port() == other.port() && one.port() != 0 && overlap
        }
        _ => false,
    }
}
