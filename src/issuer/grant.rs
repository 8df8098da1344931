//! Grants: one file each, with the same signature. What is not built yet answers
//! `unsupported_grant_type`, and is not listed in the metadata ([`crate::oauth::metadata::GRANTS`]).

mod authorization_code;
mod client_credentials;
mod device_code;
mod jwt_bearer;
mod password;
pub(super) mod person;
mod refresh;
mod token_exchange;

pub use device_code::DeviceAnswer;

use std::future::Future;
use std::pin::Pin;

use serde_json::json;

use crate::issuer::authenticate::{AuthenticatedClient, authenticate};
use crate::issuer::{Endpoint, FormRequest, Issuer, Note, Snapshot, TokenAnswer, dpop};
use crate::model::scope::ScopeSet;
use crate::oauth::access::Granted;
use crate::oauth::error::OAuthError;
use crate::oauth::grant::GrantType;
use crate::oauth::minting;
use crate::oauth::refresh::KeyBinding;
use crate::oauth::request::Form;

/// What every grant works with.
pub(super) struct GrantContext<'a> {
    issuer: &'a Issuer,
    snapshot: &'a Snapshot,
    endpoint: &'a Endpoint,
    client: &'a AuthenticatedClient,
    form: &'a Form,
    /// The key that the request proves to hold, and that its tokens are bound to.
    binding: Option<KeyBinding>,
}

/// What every grant gives.
type GrantAnswer<'a> = Pin<Box<dyn Future<Output = Result<TokenAnswer, OAuthError>> + Send + 'a>>;

/// Answers a token request: the form, the client, then the grant.
pub(super) async fn answer(
    issuer: &Issuer,
    snapshot: &Snapshot,
    endpoint: &Endpoint,
    request: &FormRequest<'_>,
    note: &mut Note,
) -> Result<TokenAnswer, OAuthError> {
    let form = request.form()?;
    let client = authenticate(issuer, snapshot, endpoint, request, &form, note).await?;
    let name = form
        .text("grant_type")
        .ok_or(OAuthError::MissingParameter("grant_type"))?;
    let grant = GrantType::parse_wire(name).ok_or(OAuthError::UnsupportedGrantType)?;
    note.grant = grant.as_str();
    note.set("grant", json!(grant.as_str()));
    let binding = dpop::binding(issuer, endpoint, &client, request).await?;
    let context = GrantContext {
        issuer,
        snapshot,
        endpoint,
        client: &client,
        form: &form,
        binding,
    };
    let answer = match grant {
        GrantType::ClientCredentials => client_credentials::answer(&context, note).await,
        GrantType::RefreshToken => refresh::answer(&context, note).await,
        GrantType::AuthorizationCode => authorization_code::answer(&context, note).await,
        GrantType::Password => password::answer(&context, note).await,
        GrantType::DeviceCode => device_code::answer(&context, note).await,
        GrantType::TokenExchange => token_exchange::answer(&context, note).await,
        GrantType::JwtBearer => jwt_bearer::answer(&context, note).await,
        GrantType::Implicit => Err(OAuthError::UnsupportedGrantType),
    };
    answer.map(|answer| TokenAnswer {
        dpop_nonce: dpop::nonce(issuer, endpoint).filter(|_| !request.dpop.is_empty()),
        ..answer
    })
}

impl GrantContext<'_> {
    /// Whether the client has the grant at all: asked before anything of the grant is looked at.
    fn admit(&self, grant: GrantType) -> Result<(), OAuthError> {
        minting::admit(self.client.client(), grant)
    }

    /// Refuses the scopes that a person would have to be asked for.
    fn ask_nobody(&self, granted: &Granted) -> Result<(), OAuthError> {
        minting::ask_nobody(&self.endpoint.server, self.client.client(), granted.scopes())
    }
}

/// The scopes that a request names; `None` if it names none.
fn requested_scopes(form: &Form) -> Result<Option<ScopeSet>, OAuthError> {
    minting::requested_scopes(form.text("scope"))
}
