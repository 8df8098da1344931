//! DPoP at the token endpoint (RFC 9449 section 5): which key the tokens of a request are bound to.
//!
//! A proof counts once: its `jti` is remembered with its key, durably and for every node, until the proof is too
//! old (attack F30). The URL that a proof has to name comes from the configuration, never from the request.
//!
//! Nonces (section 8) are needed where the server says so. One is the keyed digest of a window of time, so that no
//! node remembers any and each knows those of the others; one of the window before is still good, and every answer
//! brings the one of now (case 129).

use std::time::Duration;

use aws_lc_rs::constant_time;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::issuer::authenticate::AuthenticatedClient;
use crate::issuer::{Endpoint, FormRequest, Issuer, management};
use crate::jose::compact::Compact;
use crate::jose::dpop::{ExpectedProof, ProofError, ProvenKey, verify_proof};
use crate::model::digest::Digest;
use crate::model::time::Timestamp;
use crate::oauth::error::{DpopProblem, OAuthError};
use crate::oauth::metadata::DPOP_ALGORITHMS;
use crate::oauth::refresh::KeyBinding;
use crate::store::grants::ReplayPurpose;

/// How old a proof may be (okta-model section 8: five minutes).
const PROOF_AGE_MAX: Duration = Duration::from_secs(300);

/// How far the client's clock may be from ours.
const LEEWAY: Duration = Duration::from_secs(30);

/// How long a nonce is the current one, in seconds; it is good for as long again.
const NONCE_WINDOW_SECONDS: i64 = 120;

/// How much of a nonce's keyed digest is kept: 128 bits.
const NONCE_MAC_BYTES: usize = 16;

/// What the tokens of this request are bound to. The client has authenticated: strangers fill no table of proofs.
pub(super) async fn binding(
    issuer: &Issuer,
    endpoint: &Endpoint,
    client: &AuthenticatedClient,
    request: &FormRequest<'_>,
) -> Result<Option<KeyBinding>, OAuthError> {
    let options = &client.client().options;
    if options.certificate_bound_access_tokens {
        let shown = request.certificate.ok_or(OAuthError::CertificateMissing)?;
        return Ok(Some(KeyBinding::Certificate(Digest::of(&shown.der))));
    }
    // Okta's SDKs send a proof to the management server whether or not the app is bound, and then show a bearer token:
    // only an app that is bound gets a token that is (the API takes no bound one as a bearer token).
    if endpoint.server.id.as_str() == management::ID && !options.dpop_bound_access_tokens {
        return Ok(None);
    }
    let proof = match request.dpop {
        [] if options.dpop_bound_access_tokens => return Err(OAuthError::Dpop(DpopProblem::Missing)),
        [] => return Ok(None),
        [proof] => proof,
        _ => return Err(OAuthError::Dpop(DpopProblem::Several)),
    };
    let now = issuer.services.clock.now();
    let key = prove("POST", &endpoint.token_url, None, proof, now)?;
    if endpoint.server.options.dpop_nonce_required {
        let good = key
            .nonce
            .as_deref()
            .is_some_and(|nonce| is_good(issuer, endpoint, nonce, now));
        if !good {
            return Err(OAuthError::DpopNonce);
        }
    }
    once(issuer, &key).await.map(Some)
}

/// The key that a request to another endpoint of ours proves to hold, with an access token (RFC 9449 section 7).
pub(super) async fn prove_resource(
    issuer: &Issuer,
    method: &str,
    url: &str,
    access_token: &Digest,
    proofs: &[&[u8]],
    now: Timestamp,
) -> Result<KeyBinding, OAuthError> {
    let proof = match proofs {
        [] => return Err(OAuthError::Dpop(DpopProblem::Missing)),
        [proof] => proof,
        _ => return Err(OAuthError::Dpop(DpopProblem::Several)),
    };
    let key = prove(method, url, Some(access_token), proof, now)?;
    once(issuer, &key).await
}

/// A proof counts once.
async fn once(issuer: &Issuer, key: &ProvenKey) -> Result<KeyBinding, OAuthError> {
    let mut name = key.thumbprint.as_bytes().to_vec();
    name.extend_from_slice(key.jti.as_bytes());
    let (store, name) = (&issuer.services.store.store, Digest::of(&name));
    let first = store.first_use(ReplayPurpose::DpopProof, &name, key.useful_until);
    if first.await.map_err(OAuthError::internal)? {
        Ok(KeyBinding::Dpop(key.thumbprint))
    } else {
        Err(OAuthError::Dpop(DpopProblem::Replayed))
    }
}

fn prove(
    method: &str,
    url: &str,
    access_token: Option<&Digest>,
    proof: &[u8],
    now: Timestamp,
) -> Result<ProvenKey, OAuthError> {
    let invalid = |error| OAuthError::Dpop(DpopProblem::Proof(error));
    let proof = std::str::from_utf8(proof).map_err(|_| invalid(ProofError::Malformed))?;
    let algorithm = Compact::parse(proof)
        .map_err(|_| invalid(ProofError::Malformed))?
        .algorithm();
    if !DPOP_ALGORITHMS.contains(&algorithm) {
        return Err(OAuthError::Dpop(DpopProblem::Algorithm));
    }
    let (scheme, rest) = url.split_once("://").unwrap_or_default();
    let (authority, path) = rest.find('/').map_or((rest, "/"), |slash| rest.split_at(slash));
    let expected = ExpectedProof {
        method,
        scheme,
        authority,
        path,
        access_token_digest: access_token,
        now,
        max_age: PROOF_AGE_MAX,
        leeway: LEEWAY,
    };
    verify_proof(proof, &expected).map_err(invalid)
}

/// The nonce of now, where the server asks for nonces.
pub(super) fn nonce(issuer: &Issuer, endpoint: &Endpoint) -> Option<String> {
    let required = endpoint.server.options.dpop_nonce_required;
    let window = issuer
        .services
        .clock
        .now()
        .unix_seconds()
        .div_euclid(NONCE_WINDOW_SECONDS);
    required.then(|| URL_SAFE_NO_PAD.encode(of_window(issuer, endpoint, window)))
}

fn is_good(issuer: &Issuer, endpoint: &Endpoint, nonce: &str, now: Timestamp) -> bool {
    let Ok(bytes) = URL_SAFE_NO_PAD.decode(nonce) else {
        return false;
    };
    let window = now.unix_seconds().div_euclid(NONCE_WINDOW_SECONDS);
    [window, window - 1].into_iter().any(|window| {
        let ours = of_window(issuer, endpoint, window);
        constant_time::verify_slices_are_equal(&ours, &bytes).is_ok()
    })
}

fn of_window(issuer: &Issuer, endpoint: &Endpoint, window: i64) -> [u8; NONCE_MAC_BYTES] {
    let message = format!("{} {window}", endpoint.server.id);
    let mac = issuer.services.store.sealing.mac("dpop nonce", message.as_bytes());
    let mut nonce = [0; NONCE_MAC_BYTES];
    nonce.copy_from_slice(&mac[..NONCE_MAC_BYTES]);
    nonce
}

#[cfg(test)]
mod tests;
