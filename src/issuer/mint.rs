//! From a grant to a signed token.

use crate::entropy;
use crate::issuer::authenticate::AuthenticatedClient;
use crate::issuer::{Endpoint, Issuer};
use crate::model::secret::Secret;
use crate::oauth::access::Granted;
use crate::oauth::error::OAuthError;
use crate::oauth::grant::GrantType;
use crate::oauth::minting::{self, Minting};
use crate::oauth::refresh::KeyBinding;
use crate::oauth::token::{ACCESS_TOKEN_TYPE, access_token_id};

/// The bytes of randomness in a token's identifier.
const TOKEN_ID_BYTES: usize = 20;

/// The answer of the token endpoint (RFC 6749 section 5.1).
#[derive(Debug)]
pub struct TokenAnswer {
    /// The access token.
    pub access_token: Secret<String>,
    /// For how many seconds it lives.
    pub expires_in_seconds: u64,
    /// What it may do.
    pub scope: String,
    /// The key that it is bound to: by DPoP, its `token_type` is `DPoP`.
    pub binding: Option<KeyBinding>,
    /// The nonce for the next DPoP proof, where the server asks for one.
    pub dpop_nonce: Option<String>,
}

impl TokenAnswer {
    /// `token_type` (RFC 6749 section 7.1, RFC 9449 section 5).
    #[must_use]
    pub fn token_type(&self) -> &'static str {
        match self.binding {
            Some(KeyBinding::Dpop(_)) => "DPoP",
            Some(KeyBinding::Certificate(_)) | None => "Bearer",
        }
    }
}

/// Mints the access token of a client that acts for itself.
pub(super) fn mint(
    issuer: &Issuer,
    endpoint: &Endpoint,
    client: &AuthenticatedClient,
    grant: GrantType,
    granted: &Granted,
    audiences: &[String],
    binding: Option<KeyBinding>,
) -> Result<TokenAnswer, OAuthError> {
    let id = access_token_id(&entropy::random_text::<TOKEN_ID_BYTES>());
    let claims = minting::access_token(&Minting {
        server: &endpoint.server,
        issuer: &endpoint.issuer,
        audiences,
        client: client.client(),
        grant,
        scopes: granted.scopes(),
        lifetime: granted.access_token(),
        user: None,
        issued_at: issuer.services.clock.now(),
        id: &id,
        binding,
        actor: None,
    })?;
    let signer = endpoint
        .keys
        .signer()
        .ok_or_else(|| OAuthError::internal("the authorization server has no active key"))?;
    Ok(TokenAnswer {
        access_token: signer.sign(ACCESS_TOKEN_TYPE, &claims).map_err(OAuthError::internal)?,
        expires_in_seconds: granted.access_token().as_secs(),
        scope: granted.scopes().to_string(),
        binding,
        dpop_nonce: None,
    })
}
