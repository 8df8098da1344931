//! Mutual TLS (RFC 8705 section 2): the certificate that the connection shows is the client's.
//!
//! The handshake has proven that the peer holds the private key. It is the TLS connection's certificate and nothing
//! else: a header that names one (`x-forwarded-client-cert`) is not looked at, whoever sent it (case 076).

use crate::issuer::Issuer;
use crate::model::certificate::ClientCertificate;
use crate::model::digest::Digest;
use crate::oauth::certificate;
use crate::oauth::declared::TlsSubject;
use crate::oauth::error::{AuthenticationFailure as F, OAuthError};
use crate::oauth::peer_keys::PeerKeys;

/// `tls_client_auth`: an authority of the listener vouches for it, and its subject is the registered one.
pub(super) fn verify_subject(
    issuer: &Issuer,
    shown: Option<&ClientCertificate>,
    subject: &TlsSubject,
) -> Result<(), OAuthError> {
    let shown = in_its_time(issuer, shown)?;
    if !shown.is_vouched_for {
        return failure(F::CertificateUntrusted);
    }
    if !certificate::is_of(&shown.der, subject) {
        return failure(F::CertificateMismatch);
    }
    Ok(())
}

/// `self_signed_tls_client_auth`: it is one of those that the client has registered; who signed it does not matter.
pub(super) async fn verify_registered(
    issuer: &Issuer,
    shown: Option<&ClientCertificate>,
    keys: &PeerKeys,
) -> Result<(), OAuthError> {
    let shown = in_its_time(issuer, shown)?;
    let digest = Digest::of(&shown.der);
    if issuer.peers.names_certificate(&issuer.services, keys, &digest).await {
        Ok(())
    } else {
        failure(F::CertificateMismatch)
    }
}

fn in_its_time<'c>(issuer: &Issuer, shown: Option<&'c ClientCertificate>) -> Result<&'c ClientCertificate, OAuthError> {
    let shown = shown.ok_or(OAuthError::ClientAuthentication(F::CertificateMissing))?;
    if certificate::is_in_its_time(&shown.der, issuer.services.clock.now()) {
        Ok(shown)
    } else {
        failure(F::CertificateExpired)
    }
}

fn failure<T>(failure: F) -> Result<T, OAuthError> {
    Err(OAuthError::ClientAuthentication(failure))
}
