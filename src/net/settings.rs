//! Where we listen, and how.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

/// An address that a listener binds.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ListenAddress {
    /// TCP.
    Tcp(SocketAddr),
    /// A unix socket at this path.
    Unix(PathBuf),
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// One listener.
#[derive(Debug, Clone, PartialEq)]
pub struct ListenerSettings {
    /// Where it binds.
    pub address: ListenAddress,
    /// The certificate that it shows, and whom it asks for one.
    pub tls: TlsSettings,
}

/// How a listener speaks TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TlsSettings {
    /// Not at all.
    Plain,
    /// With a certificate of the local CA that `dev: true` makes in this folder.
    Dev {
        /// Where the CA is kept.
        folder: PathBuf,
    },
    /// With these files, read again when they change.
    Files {
        /// The certificate chain, PEM.
        certificate_file: PathBuf,
        /// The private key, PEM.
        key_file: PathBuf,
        /// Clients must show a certificate that one of these signed (PEM): mutual TLS.
        client_ca_file: Option<PathBuf>,
        /// They may also show another one or none: whoever serves them judges. At the issuer's listener alone.
        client_certificate_optional: bool,
    },
}

/// Every listener.
#[derive(Debug, Clone, PartialEq)]
pub struct Listeners {
    /// Where Envoy asks.
    pub ext_authz: Option<ListenerSettings>,
    /// Whether that one tells clients what it offers (gRPC server reflection).
    pub reflection: bool,
    /// Where clients get tokens.
    pub issuer: Option<ListenerSettings>,
    /// Where operators administer.
    pub admin: Option<ListenerSettings>,
    /// Where metrics and probes are read.
    pub telemetry: Option<ListenerSettings>,
}
