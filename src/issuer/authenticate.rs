//! Is it the client? The proof is a value that only this file makes.
//!
//! A client has one registered way to prove itself, and only that one counts (case 064):
//!
//! | registered | what has to come |
//! |---|---|
//! | nothing: a public client | `client_id` alone |
//! | secrets | one of them, in the place that is registered |
//! | `client_secret_jwt`, `private_key_jwt` | an assertion: `assertion` |
//! | `tls_client_auth`, `self_signed_tls_client_auth` | the certificate of the connection: `certificate` |
//!
//! Whatever is wrong, the answer is the same `invalid_client`; the log has the reason.

mod assertion;
mod certificate;

use std::sync::Arc;

use crate::issuer::{Endpoint, FormRequest, Issuer, Note, Snapshot};
use crate::oauth::client::{Client, Credentials, SecretPlace, secret_matches};
use crate::oauth::error::{AuthenticationFailure, OAuthError};
use crate::oauth::request::{Form, PresentedCredential, presented_client};

/// A client that has proven to be itself, or that has nothing to prove it by: see
/// [`Client::is_public`]. Whatever depends on a proof must ask.
#[must_use]
pub(super) struct AuthenticatedClient(Arc<Client>);

impl AuthenticatedClient {
    pub(super) fn client(&self) -> &Client {
        &self.0
    }
}

/// Authenticates the client of a request to an endpoint of this authorization server.
pub(super) async fn authenticate(
    issuer: &Issuer,
    snapshot: &Snapshot,
    endpoint: &Endpoint,
    request: &FormRequest<'_>,
    form: &Form,
    note: &mut Note,
) -> Result<AuthenticatedClient, OAuthError> {
    use AuthenticationFailure as F;
    let presented = presented_client(request.authorization, form)?;
    let client = snapshot.model.clients.get(&presented.client);
    let failure = |failure| Err(OAuthError::ClientAuthentication(failure));
    // SECURITY: the comparison comes first and does the same work for an unknown client (attack F16);
    // only then is it looked at why it failed.
    let secret = presented.credential.secret();
    let matched = secret.is_some_and(|secret| secret_matches(client.map(Arc::as_ref), secret));
    let Some(client) = client else {
        return failure(F::UnknownClient);
    };
    note.client = Some(client.id.clone());
    if client.options.inactive {
        return failure(F::Inactive);
    }
    match (&client.credentials, &presented.credential) {
        (Credentials::Public, PresentedCredential::None) => {}
        (Credentials::Public, PresentedCredential::Basic(_) | PresentedCredential::Body(_)) => {
            return failure(F::SecretOfPublicClient);
        }
        (Credentials::Secrets(secrets), credential) => {
            let is_in_place = match credential {
                PresentedCredential::Basic(_) => secrets.place() != SecretPlace::Body,
                PresentedCredential::Body(_) => secrets.place() != SecretPlace::Basic,
                PresentedCredential::None => return failure(F::SecretMissing),
                PresentedCredential::Assertion(_) => false,
            };
            if !is_in_place {
                return failure(F::WrongMethod);
            }
            if !matched {
                return failure(F::WrongSecret);
            }
        }
        (Credentials::SharedSecrets(secrets), PresentedCredential::Assertion(assertion)) => {
            let signers = assertion::Signers::Secrets(secrets);
            assertion::verify(issuer, endpoint, client, signers, assertion).await?;
        }
        (Credentials::Keys(keys), PresentedCredential::Assertion(assertion)) => {
            let signers = assertion::Signers::Keys(keys);
            assertion::verify(issuer, endpoint, client, signers, assertion).await?;
        }
        (Credentials::Certificate(subject), PresentedCredential::None) => {
            certificate::verify_subject(issuer, request.certificate, subject)?;
        }
        (Credentials::SelfSignedCertificate(keys), PresentedCredential::None) => {
            certificate::verify_registered(issuer, request.certificate, keys).await?;
        }
        _ => return failure(F::WrongMethod),
    }
    Ok(AuthenticatedClient(Arc::clone(client)))
}

#[cfg(test)]
mod tests;
