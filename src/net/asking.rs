//! Asking clients for certificates that no authority has to vouch for.
//!
//! The issuer's clients prove themselves by certificates that are registered one by one (RFC 8705 section 2.2), or by
//! ones of an authority while other clients have none. So the handshake takes whatever is shown, once the peer has
//! proven that it holds the private key, and the issuer judges it at each request.
//!
//! Whether to ask is looked up for each handshake: browsers bother people when a server asks, so it is asked only
//! while a client is registered that needs it.

use std::fmt;
use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};

/// Whether a listener asks for certificates now.
#[derive(Clone)]
pub struct Asking(Option<Arc<dyn Fn() -> bool + Send + Sync>>);

impl Asking {
    /// It never does.
    #[must_use]
    pub fn never() -> Self {
        Self(None)
    }

    /// It always does.
    #[must_use]
    pub fn always() -> Self {
        Self::while_needed(|| true)
    }

    /// It does while this says so.
    pub fn while_needed(is_needed: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(is_needed)))
    }

    pub(in crate::net) fn may_ever(&self) -> bool {
        self.0.is_some()
    }

    fn now(&self) -> bool {
        self.0.as_ref().is_some_and(|is_needed| is_needed())
    }
}

impl fmt::Debug for Asking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Asking(..)")
    }
}

/// Takes any certificate whose private key the peer holds.
#[derive(Debug)]
pub(in crate::net) struct AnyCertificate {
    asking: Asking,
    algorithms: WebPkiSupportedAlgorithms,
}

impl AnyCertificate {
    pub(in crate::net) fn new(asking: Asking, provider: &CryptoProvider) -> Self {
        Self {
            asking,
            algorithms: provider.signature_verification_algorithms,
        }
    }
}

impl ClientCertVerifier for AnyCertificate {
    fn offer_client_auth(&self) -> bool {
        self.asking.now()
    }

    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    // SECURITY: this says nothing about who the peer is. The signatures below do prove that it holds the key, and the
    // issuer compares the certificate with what is registered before it counts for anything.
    fn verify_client_cert(
        &self,
        _own: &CertificateDer<'_>,
        _others: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
