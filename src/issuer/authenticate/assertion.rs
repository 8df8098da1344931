//! Client assertions (RFC 7523 section 2.2, OpenID Connect Core section 9): signed by the client, for us, once.
//!
//! The order is: claims, signature, first use. What is dead by its claims costs no fetch of keys, and only what the
//! client itself signed is remembered, so that strangers cannot fill the store.

use crate::issuer::{Endpoint, Issuer};
use crate::jose::alg::Algorithm;
use crate::jose::unverified::Unverified;
use crate::jose::verify::{VerifyError, check_signature};
use crate::model::secret::Secret;
use crate::oauth::assertion::{AssertionProblem, LIFETIME_MAX, Rules, judge};
use crate::oauth::client::{Client, SharedSecrets};
use crate::oauth::error::{AuthenticationFailure, OAuthError};
use crate::oauth::peer_keys::PeerKeys;
use crate::store::grants::ReplayPurpose;

/// What the client may have signed with. A public key is no secret, whatever `alg` says (case 069).
#[derive(Clone, Copy)]
pub(super) enum Signers<'a> {
    /// `client_secret_jwt`.
    Secrets(&'a SharedSecrets),
    /// `private_key_jwt`.
    Keys(&'a PeerKeys),
}

/// Verifies an assertion, and uses it up.
pub(super) async fn verify(
    issuer: &Issuer,
    endpoint: &Endpoint,
    client: &Client,
    signers: Signers<'_>,
    assertion: &Secret<String>,
) -> Result<(), OAuthError> {
    let problem = |problem| OAuthError::ClientAuthentication(AuthenticationFailure::Assertion(problem));
    let token = Unverified::parse(assertion.expose_secret()).map_err(|_| problem(AssertionProblem::Malformed))?;
    let id = client.id.as_str();
    let rules = Rules {
        issuer: id,
        subject: Some(id),
        audiences: &issuer.assertion_audiences(endpoint),
        lifetime_max: LIFETIME_MAX,
        now: issuer.services.clock.now(),
    };
    let signing_input = token.signing_input().as_bytes();
    let accepted = judge(token.claims_unverified(), signing_input, &rules).map_err(problem)?;
    match signers {
        Signers::Secrets(secrets) => by_secret(secrets, &token),
        Signers::Keys(keys) => issuer.peers.verify(&issuer.services, keys, &token).await,
    }
    .map_err(problem)?;
    // Durable and shared: neither a restart nor another node takes it again (case 068).
    let first =
        issuer
            .services
            .store
            .store
            .first_use(ReplayPurpose::ClientAssertion, &accepted.replay, accepted.expires_at);
    if first.await.map_err(OAuthError::internal)? {
        Ok(())
    } else {
        Err(problem(AssertionProblem::Replayed))
    }
}

fn by_secret(secrets: &SharedSecrets, token: &Unverified<'_>) -> Result<(), AssertionProblem> {
    let algorithms: &[Algorithm] = &SharedSecrets::ALGORITHMS;
    let mut problem = AssertionProblem::UnknownKey;
    for set in secrets.sets() {
        match check_signature(token, set, algorithms) {
            Ok(()) => return Ok(()),
            Err(VerifyError::Algorithm) => problem = AssertionProblem::Algorithm,
            Err(VerifyError::BadSignature) => problem = AssertionProblem::Signature,
            Err(_) => {}
        }
    }
    Err(problem)
}
