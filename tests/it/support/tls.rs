//! Certificates for one test: a CA, what it signs, and clients that trust it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::http1::Connection;

/// A certificate and its key, as files.
pub(crate) struct Pair {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

/// A CA that lives in one folder.
pub(crate) struct Ca {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: PathBuf,
    pub(crate) certificate: PathBuf,
}

impl Ca {
    pub(crate) fn new(folder: &Path) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "test CA");
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("a CA");
        let certificate = folder.join("ca.pem");
        std::fs::write(&certificate, issuer.pem()).expect("the CA can be written");
        Self {
            issuer,
            folder: folder.to_owned(),
            certificate,
        }
    }

    /// A certificate for `localhost` and 127.0.0.1 that both ends of a connection may show.
    pub(crate) fn issue(&self, name: &str) -> Pair {
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let mut params = CertificateParams::new(names).expect("valid names");
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        let pair = Pair {
            certificate: self.folder.join(format!("{name}.pem")),
            key: self.folder.join(format!("{name}.key")),
        };
        std::fs::write(&pair.certificate, certificate.pem()).expect("the certificate can be written");
        std::fs::write(&pair.key, key.serialize_pem()).expect("the key can be written");
        pair
    }
}

impl Pair {
    /// The certificate's DER, of which RFC 8705 takes the SHA-256.
    pub(crate) fn der(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_file(&self.certificate).expect("a certificate")
    }
}

/// A TLS connection to 127.0.0.1 as this server name, showing this certificate if any.
pub(crate) async fn connect(
    to: std::net::SocketAddr,
    name: &str,
    ca: &Path,
    show: Option<&Pair>,
) -> Connection<TlsStream<TcpStream>> {
    let mut roots = rustls::RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(ca).expect("a CA"))
        .expect("a CA");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider has TLS 1.2 and 1.3")
        .with_root_certificates(roots);
    let config = match show {
        None => builder.with_no_client_auth(),
        Some(pair) => {
            let key = PrivateKeyDer::from_pem_file(&pair.key).expect("a key");
            builder
                .with_client_auth_cert(vec![pair.der()], key)
                .expect("they belong together")
        }
    };
    let stream = TcpStream::connect(to).await.expect("the peer accepts");
    let name = ServerName::try_from(name.to_owned()).expect("a server name");
    let stream = TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
        .expect("a TLS handshake");
    Connection::over(stream)
}
