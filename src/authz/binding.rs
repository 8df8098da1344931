//! What the caller proves to hold beside the token: a DPoP key (RFC 9449), a certificate (RFC 8705).
//!
//! Proofs are judged on each check, whatever the cache says of the token (X11). Whether the proven key
//! is the one that the token is bound to, and whether the route asks for one, is `policy`'s to judge.
//!
//! A proof is used up only when its key is the token's: else anybody could fill the replay table.

use std::time::Duration;

use crate::authz::credential::Credential;
use crate::authz::nonce::{Nonces, Worth};
use crate::authz::replay::{Replays, Use};
use crate::jose::certificate;
use crate::jose::dpop::{self, ExpectedProof};
use crate::model::digest::Digest;
use crate::model::reason::Reason;
use crate::model::time::Timestamp;
use crate::policy::caller::{Scheme, TokenFacts};
use crate::policy::declared::DpopOptions;
use crate::policy::facts::{Occurrence, RequestFacts};
use crate::policy::select::BindingOptions;

/// How far the client's clock may be apart, for the `iat` of a proof. Proofs are remembered for this
/// much longer than their window (`ProvenKey::useful_until`), so the two move together.
const PROOF_LEEWAY: Duration = Duration::from_secs(30);

/// What is asked: about which request, which token.
pub(crate) struct Asked<'a, 'r> {
    pub(crate) facts: &'a RequestFacts<'r>,
    pub(crate) options: BindingOptions<'a>,
    pub(crate) credential: Credential<'r>,
    pub(crate) token: &'a TokenFacts,
    pub(crate) now: Timestamp,
}

/// What is proven.
#[derive(Debug, Default)]
pub(crate) struct Bindings {
    pub(crate) proof: Option<Digest>,
    pub(crate) certificate: Option<Digest>,
    /// The nonce that the client should use from now on.
    pub(crate) next_nonce: Option<String>,
}

/// Why nothing is proven, and it is no use to ask the rules.
#[derive(Debug)]
pub(crate) struct Unproven {
    pub(crate) reason: Reason,
    pub(crate) detail: &'static str,
    /// The nonce that a proof must have.
    pub(crate) nonce: Option<String>,
}

impl Unproven {
    fn proof(detail: &'static str) -> Self {
        Self {
            reason: Reason::InvalidDpopProof,
            detail,
            nonce: None,
        }
    }
}

/// Judges what the request proves.
pub(crate) fn prove(asked: &Asked<'_, '_>, replays: &Replays, nonces: &Nonces) -> Result<Bindings, Unproven> {
    let confirmation = asked.token.confirmation;
    let mut bindings = Bindings::default();
    if confirmation.certificate.is_some() {
        bindings.certificate = certificate(asked.facts, asked.options.trust_xfcc);
    }
    // A token that is bound to no key cannot be used with the scheme: `policy` says so.
    if asked.credential.scheme == Scheme::Dpop
        && let Some(bound) = confirmation.dpop_key
    {
        let (proof, next_nonce) = dpop(asked, bound, replays, nonces)?;
        bindings.proof = Some(proof);
        bindings.next_nonce = next_nonce;
    }
    Ok(bindings)
}

fn dpop(
    asked: &Asked<'_, '_>,
    bound: Digest,
    replays: &Replays,
    nonces: &Nonces,
) -> Result<(Digest, Option<String>), Unproven> {
    let (facts, options) = (asked.facts, asked.options.dpop);
    let proof = match facts.header("dpop") {
        // With `allowed_headers` set, Envoy sends it only if it is listed there.
        Occurrence::None => return Err(Unproven::proof("the request has no DPoP header")),
        Occurrence::Several => return Err(Unproven::proof("the request has more than one DPoP header")),
        Occurrence::Once(value) => {
            std::str::from_utf8(value).map_err(|_| Unproven::proof("the DPoP header is not text"))?
        }
    };
    let (scheme, authority) = address(facts, options);
    let digest = asked.credential.digest();
    let expected = ExpectedProof {
        method: facts.method,
        scheme,
        authority,
        path: facts.path(),
        access_token_digest: Some(&digest),
        now: asked.now,
        max_age: options.max_age,
        leeway: PROOF_LEEWAY,
    };
    let proven = dpop::verify_proof(proof, &expected).map_err(|error| Unproven::proof(error.detail()))?;
    if proven.thumbprint != bound {
        return Ok((proven.thumbprint, None));
    }
    let mut next_nonce = None;
    if options.require_nonce {
        let worth = proven
            .nonce
            .as_deref()
            .map_or(Worth::Nothing, |nonce| nonces.judge(nonce, asked.now));
        match worth {
            Worth::Current => {}
            Worth::Previous => next_nonce = Some(nonces.issue(asked.now)),
            Worth::Nothing => {
                return Err(Unproven {
                    reason: Reason::UseDpopNonce,
                    detail: "the DPoP proof has no nonce of ours that is still good",
                    nonce: Some(nonces.issue(asked.now)),
                });
            }
        }
    }
    if options.consume {
        match replays.consume(&proven, facts.request_id, asked.now) {
            Use::First | Use::Again => {}
            Use::Replayed => return Err(Unproven::proof("the DPoP proof was used before")),
            Use::Full => {
                return Err(Unproven {
                    reason: Reason::Overloaded,
                    detail: "there is no room to remember another DPoP proof",
                    nonce: None,
                });
            }
        }
    }
    Ok((proven.thumbprint, next_nonce))
}

/// The scheme and authority that the client addressed: as configured, else as Envoy saw them.
fn address<'a, 'r: 'a>(facts: &RequestFacts<'r>, options: &'a DpopOptions) -> (&'a str, &'a str) {
    if let Some((scheme, authority)) = options.origin.as_deref().and_then(|origin| origin.split_once("://")) {
        return (scheme, authority.trim_end_matches('/'));
    }
    // A caller that leaves the scheme out (gRPC servers) does not make `http` good.
    let scheme = if facts.scheme.is_empty() { "https" } else { facts.scheme };
    (scheme, facts.host)
}

/// The certificate that Envoy vouches for; a header's only where it is declared to be sanitised. One
/// that cannot be read proves nothing.
pub(in crate::authz) fn certificate(facts: &RequestFacts<'_>, trust_xfcc: bool) -> Option<Digest> {
    if let Some(pem) = facts.peer_certificate {
        return certificate::thumbprint_of_url_encoded_pem(pem).ok();
    }
    if !trust_xfcc {
        return None;
    }
    match facts.header("x-forwarded-client-cert") {
        Occurrence::Once(value) => certificate::thumbprint_from_xfcc(std::str::from_utf8(value).ok()?).ok()?,
        Occurrence::None | Occurrence::Several => None,
    }
}
