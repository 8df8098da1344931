//! Certificates of a listener, replaced while connections are made.
//!
//! A configuration is built whole, from files that were all read, and then swapped in: a half-written key file leaves the
//! last good one in force. Connections that stand keep what they were made with.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::UnixTime;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection};
use tokio_rustls::TlsAcceptor;

use crate::clock::Clock;
use crate::model::certificate::ClientCertificate;
use crate::model::digest::Digest;
use crate::net::asking::{AnyCertificate, Asking};
use crate::net::dev_ca::{self, DevCaError};
use crate::net::limits::Protocol;
use crate::net::settings::TlsSettings;

/// The TLS side of one listener.
#[derive(Debug)]
pub struct Tls {
    files: TlsFiles,
    protocol: Protocol,
    asking: Asking,
    current: ArcSwap<Ready>,
    /// What the files held when they were last looked at, whether or not it could be used.
    seen: Mutex<Digest>,
}

/// Certificates that were read and can be used.
#[derive(Debug)]
#[must_use]
pub struct PreparedTls(Arc<Ready>);

/// A configuration, ready to accept connections by.
#[derive(Debug)]
pub(in crate::net) struct Ready {
    config: Arc<ServerConfig>,
    authority: Option<Arc<dyn ClientCertVerifier>>,
}

impl Ready {
    pub(in crate::net) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.config))
    }

    /// The certificate that the peer of a connection has shown, and whether the authority vouches for it.
    pub(in crate::net) fn peer_certificate(&self, connection: &ServerConnection) -> Option<ClientCertificate> {
        let (own, others) = connection.peer_certificates()?.split_first()?;
        let vouch = |authority: &Arc<dyn ClientCertVerifier>| {
            authority.verify_client_cert(own, others, UnixTime::now()).is_ok()
        };
        Some(ClientCertificate {
            der: Arc::from(own.as_ref()),
            is_vouched_for: self.authority.as_ref().is_some_and(vouch),
        })
    }
}

/// Where certificates come from.
#[derive(Debug, Clone)]
struct TlsFiles {
    certificate: PathBuf,
    key: PathBuf,
    client_ca: Option<PathBuf>,
    /// Whether who shows no certificate of `client_ca` is served all the same.
    client_certificate_optional: bool,
}

/// A listener's TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read, or holds something else.
    #[error("cannot use `{file}` as {role}: {reason}", file = file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// What it should hold.
        role: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The files do not go together.
    #[error("the certificate `{file}` and its key do not go together: {source}", file = file.display())]
    Pair {
        /// The certificate's file.
        file: PathBuf,
        /// What is wrong.
        source: rustls::Error,
    },
    /// The local CA cannot be made.
    #[error(transparent)]
    DevCa(#[from] DevCaError),
}

impl Tls {
    /// The TLS that these settings ask for: none for [`TlsSettings::Plain`].
    ///
    /// # Errors
    /// [`TlsError`] names the file.
    pub fn load(settings: &TlsSettings, protocol: Protocol, clock: &dyn Clock) -> Result<Option<Arc<Self>>, TlsError> {
        Self::load_asking(settings, protocol, clock, Asking::never())
    }

    /// The same for a listener that may ask for certificates that no authority vouches for: whoever serves it judges them.
    ///
    /// # Errors
    /// [`TlsError`] names the file.
    pub fn load_asking(
        settings: &TlsSettings,
        protocol: Protocol,
        clock: &dyn Clock,
        asking: Asking,
    ) -> Result<Option<Arc<Self>>, TlsError> {
        let files = match settings {
            TlsSettings::Plain => return Ok(None),
            TlsSettings::Dev { folder } => {
                let made = dev_ca::ensure(folder, clock.now())?;
                TlsFiles {
                    certificate: made.certificate_file,
                    key: made.key_file,
                    client_ca: None,
                    client_certificate_optional: false,
                }
            }
            TlsSettings::Files {
                certificate_file,
                key_file,
                client_ca_file,
                client_certificate_optional,
            } => TlsFiles {
                certificate: certificate_file.clone(),
                key: key_file.clone(),
                client_ca: client_ca_file.clone(),
                client_certificate_optional: *client_certificate_optional,
            },
        };
        let seen = Mutex::new(files.fingerprint());
        let config = files.read(protocol, &asking)?;
        Ok(Some(Arc::new(Self {
            seen,
            files,
            protocol,
            asking,
            current: ArcSwap::from_pointee(config),
        })))
    }

    /// Reads the files again, and changes nothing yet.
    ///
    /// # Errors
    /// [`TlsError`] names the file.
    pub fn prepare(&self) -> Result<PreparedTls, TlsError> {
        self.files
            .read(self.protocol, &self.asking)
            .map(|config| PreparedTls(Arc::new(config)))
    }

    /// Puts what was read in force.
    pub fn install(&self, prepared: PreparedTls) {
        self.current.store(prepared.0);
    }

    /// Reads the files again if they hold something else than when they were last looked at: `true` if that is in force
    /// now. A fault is told once, not at each look.
    ///
    /// # Errors
    /// [`TlsError`] names the file; what was in force stays so.
    pub fn follow(&self) -> Result<bool, TlsError> {
        let now = self.files.fingerprint();
        if std::mem::replace(&mut *self.seen.lock(), now) == now {
            return Ok(false);
        }
        self.install(self.prepare()?);
        Ok(true)
    }

    /// What is in force now, to accept a connection by.
    pub(in crate::net) fn ready(&self) -> Arc<Ready> {
        self.current.load_full()
    }
}

impl TlsFiles {
    /// A name for what the files hold; a file that cannot be read counts as an empty one.
    fn fingerprint(&self) -> Digest {
        let paths = [Some(&self.certificate), Some(&self.key), self.client_ca.as_ref()];
        let digests = paths
            .into_iter()
            .flatten()
            .map(|path| Digest::of(&std::fs::read(path).unwrap_or_default()));
        let joined: Vec<u8> = digests.flat_map(|digest| *digest.as_bytes()).collect();
        Digest::of(&joined)
    }

    fn read(&self, protocol: Protocol, asking: &Asking) -> Result<Ready, TlsError> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let chain = certificates(&self.certificate, "a certificate chain (PEM)")?;
        let key = PrivateKeyDer::from_pem_file(&self.key).map_err(|error| TlsError::File {
            file: self.key.clone(),
            role: "a private key (PEM)",
            reason: error.to_string(),
        })?;
        let pair = |source| TlsError::Pair {
            file: self.certificate.clone(),
            source,
        };
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(pair)?;
        let authority = self
            .client_ca
            .as_deref()
            .map(|file| authority(file, &provider))
            .transpose()?;
        let builder = match &authority {
            Some(authority) if !self.client_certificate_optional => {
                builder.with_client_cert_verifier(Arc::clone(authority))
            }
            // Without an authority it is asked when somebody needs it; with an optional one always.
            Some(_) => builder.with_client_cert_verifier(Arc::new(AnyCertificate::new(Asking::always(), &provider))),
            None if asking.may_ever() => {
                builder.with_client_cert_verifier(Arc::new(AnyCertificate::new(asking.clone(), &provider)))
            }
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_single_cert(chain, key).map_err(pair)?;
        config.alpn_protocols = match protocol {
            Protocol::Grpc => vec![b"h2".to_vec()],
            Protocol::Web => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
        };
        Ok(Ready {
            config: Arc::new(config),
            authority,
        })
    }
}

/// Who vouches for clients' certificates.
fn authority(file: &Path, provider: &Arc<CryptoProvider>) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    const ROLE: &str = "the certificates of those who sign clients' (PEM)";
    let unusable = |reason: String| TlsError::File {
        file: file.to_owned(),
        role: ROLE,
        reason,
    };
    let mut roots = RootCertStore::empty();
    for certificate in certificates(file, ROLE)? {
        roots.add(certificate).map_err(|error| unusable(error.to_string()))?;
    }
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
        .build()
        .map_err(|error| unusable(error.to_string()))
}

fn certificates(file: &Path, role: &'static str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let unusable = |reason: String| TlsError::File {
        file: file.to_owned(),
        role,
        reason,
    };
    let certificates = CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| unusable(error.to_string()))?;
    if certificates.is_empty() {
        return Err(unusable("it holds no certificate".to_owned()));
    }
    Ok(certificates)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;

    #[test]
    fn a_broken_file_is_named_and_leaves_the_last_good_ones_in_force() {
        let folder = tempfile::tempdir().expect("folder");
        let clock = SystemClock::start();
        let dev = TlsSettings::Dev {
            folder: folder.path().to_owned(),
        };
        let tls = Tls::load(&dev, Protocol::Web, &clock).expect("loads").expect("is TLS");
        let before = Arc::as_ptr(&tls.current.load_full());
        tls.install(tls.prepare().expect("reads again"));
        let reloaded = Arc::as_ptr(&tls.current.load_full());
        assert_ne!(before, reloaded);
        std::fs::write(&tls.files.key, "half a").expect("writes");
        let error = tls.prepare().expect_err("is broken").to_string();
        assert!(error.contains(&format!("`{}`", tls.files.key.display())), "{error}");
        assert_eq!(reloaded, Arc::as_ptr(&tls.current.load_full()));
        assert!(
            Tls::load(&TlsSettings::Plain, Protocol::Grpc, &clock)
                .expect("loads")
                .is_none()
        );
    }

    #[test]
    fn changed_files_are_followed_and_a_fault_is_told_once() {
        let (folder, other) = (
            tempfile::tempdir().expect("folder"),
            tempfile::tempdir().expect("folder"),
        );
        let clock = SystemClock::start();
        let load = |folder: &Path| {
            let folder = folder.to_owned();
            Tls::load(&TlsSettings::Dev { folder }, Protocol::Web, &clock)
                .expect("loads")
                .expect("is TLS")
        };
        let (tls, next) = (load(folder.path()), load(other.path()));
        let in_force = || Arc::as_ptr(&tls.current.load_full());
        let first = in_force();
        assert!(!tls.follow().expect("nothing has changed"));
        std::fs::copy(&next.files.certificate, &tls.files.certificate).expect("copies");
        assert!(tls.follow().is_err(), "a certificate without its key");
        assert!(!tls.follow().expect("was told"));
        assert_eq!(in_force(), first);
        std::fs::copy(&next.files.key, &tls.files.key).expect("copies");
        assert!(tls.follow().expect("a pair"));
        assert_ne!(in_force(), first);
    }

    #[test]
    fn a_missing_certificate_is_named() {
        let settings = TlsSettings::Files {
            certificate_file: "/nonexistent/cert.pem".into(),
            key_file: "/nonexistent/key.pem".into(),
            client_ca_file: None,
            client_certificate_optional: false,
        };
        let error = Tls::load(&settings, Protocol::Grpc, &SystemClock::start()).expect_err("is missing");
        assert!(
            error
                .to_string()
                .contains("`/nonexistent/cert.pem` as a certificate chain"),
            "{error}"
        );
    }
}
