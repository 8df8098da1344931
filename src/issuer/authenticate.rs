//! Is it the client? The proof is a value that only this file makes.

use std::sync::Arc;

use crate::issuer::{FormRequest, Note, Snapshot};
use crate::oauth::client::{Client, secret_matches};
use crate::oauth::error::{AuthenticationFailure, OAuthError};
use crate::oauth::request::{Form, presented_client};

/// A client that has proven to be itself, or that has nothing to prove it by: see
/// [`Client::is_public`]. Whatever depends on a proof must ask.
#[must_use]
pub(super) struct AuthenticatedClient(Arc<Client>);

impl AuthenticatedClient {
    pub(super) fn client(&self) -> &Client {
        &self.0
    }
}

/// Authenticates the client of a request.
pub(super) fn authenticate(
    snapshot: &Snapshot,
    request: &FormRequest<'_>,
    form: &Form,
    note: &mut Note,
) -> Result<AuthenticatedClient, OAuthError> {
    let presented = presented_client(request.authorization, form)?;
    let client = snapshot.model.clients.get(&presented.client);
    let failure = |failure| Err(OAuthError::ClientAuthentication(failure));
    // SECURITY: the comparison comes first and does the same work for an unknown client (attack F16);
    // only then is it looked at why it failed.
    let matched = presented
        .secret
        .as_ref()
        .is_some_and(|secret| secret_matches(client.map(Arc::as_ref), secret));
    let Some(client) = client else {
        return failure(AuthenticationFailure::UnknownClient);
    };
    note.client = Some(client.id.clone());
    match (&presented.secret, client.is_public()) {
        (None, true) => Ok(AuthenticatedClient(Arc::clone(client))),
        (Some(_), false) if matched => Ok(AuthenticatedClient(Arc::clone(client))),
        (Some(_), false) => failure(AuthenticationFailure::WrongSecret),
        (None, false) => failure(AuthenticationFailure::SecretMissing),
        (Some(_), true) => failure(AuthenticationFailure::SecretOfPublicClient),
    }
}
