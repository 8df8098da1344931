//! From what was granted to the answer of the token endpoint: signed tokens.
//!
//! What an access token says is [`minting::access_token`]'s matter, which the preview shows too.

use serde_json::Value;

use crate::entropy;
use crate::issuer::people::Person;
use crate::issuer::{Endpoint, Issuer};
use crate::model::id::{ClientId, GrantId, Jti, Kid, Subject};
use crate::model::scope::{Scope, ScopeSet};
use crate::model::secret::Secret;
use crate::model::time::Timestamp;
use crate::oauth::access::Granted;
use crate::oauth::client::Client;
use crate::oauth::declared::ClaimPlace;
use crate::oauth::error::OAuthError;
use crate::oauth::grant::GrantType;
use crate::oauth::id_token::{ID_TOKEN_LIFETIME_MAX, ID_TOKEN_TYPE, IdToken};
use crate::oauth::minting::{self, Minting};
use crate::oauth::refresh::KeyBinding;
use crate::oauth::token::{ACCESS_TOKEN_TYPE, TokenSession, access_token_id};

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
    /// The refresh token, where one is given (RFC 6749 section 6).
    pub refresh_token: Option<Secret<String>>,
    /// The ID token, where `openid` is granted (OIDC Core section 3.1.3.3).
    pub id_token: Option<Secret<String>>,
    /// What kind of token an exchange has given (RFC 8693 section 2.2.1).
    pub issued_token_type: Option<&'static str>,
    /// The key that it is bound to: by DPoP, its `token_type` is `DPoP`.
    pub binding: Option<KeyBinding>,
    /// The nonce for the next DPoP proof, where the server asks for one.
    pub dpop_nonce: Option<String>,
    /// What of the access token a revocation may speak of.
    pub(super) minted: Minted,
}

/// What of an access token a revocation may speak of: as its claims say it, without reading them again.
#[derive(Debug)]
pub(super) struct Minted {
    pub(super) id: Jti,
    pub(super) session: Option<GrantId>,
    pub(super) subject: Subject,
    pub(super) client: ClientId,
    pub(super) kid: Kid,
    pub(super) issued_at: Timestamp,
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

/// Everything that the tokens of one answer follow from.
#[derive(Debug, Clone)]
pub(super) struct MintRequest<'a> {
    /// The client that asks.
    pub(super) client: &'a Client,
    /// The grant that it asks by.
    pub(super) grant: GrantType,
    /// What was granted.
    pub(super) granted: &'a Granted,
    /// Whom the tokens speak for; the client itself if nobody.
    pub(super) person: Option<&'a Person>,
    /// The sign-in that they follow from; with a person and `openid`, there is an ID token.
    pub(super) session: Option<TokenSession<'a>>,
    /// The `nonce` of the authorization request.
    pub(super) nonce: Option<&'a str>,
    /// What the access token is for; the server's audience if empty.
    pub(super) audiences: &'a [String],
    /// The key that it is bound to.
    pub(super) binding: Option<KeyBinding>,
    /// Who acts for whom it speaks for.
    pub(super) actor: Option<&'a Value>,
    /// When it is minted: the one reading of the clock that the whole request went by, so that no
    /// revocation that comes after it is older than the token.
    pub(super) issued_at: Timestamp,
    /// It does not live longer than this.
    pub(super) not_after: Option<Timestamp>,
    /// Its identifier; an unguessable one if `None`.
    pub(super) id: Option<Jti>,
}

impl<'a> MintRequest<'a> {
    /// Of a client that acts for itself.
    pub(super) fn of_client(
        client: &'a Client,
        grant: GrantType,
        granted: &'a Granted,
        audiences: &'a [String],
        binding: Option<KeyBinding>,
        now: Timestamp,
    ) -> Self {
        Self {
            client,
            grant,
            granted,
            person: None,
            session: None,
            nonce: None,
            audiences,
            binding,
            actor: None,
            issued_at: now,
            not_after: None,
            id: None,
        }
    }
}

/// Mints the access token, and the ID token where there is one. The refresh token is the grant's matter.
pub(super) fn mint(issuer: &Issuer, endpoint: &Endpoint, request: &MintRequest<'_>) -> Result<TokenAnswer, OAuthError> {
    let granted = request.granted;
    let random = || access_token_id(&entropy::random_text::<TOKEN_ID_BYTES>());
    let id = request.id.clone().unwrap_or_else(random);
    let rule = request.issued_at.plus(granted.access_token());
    let expires_at = request.not_after.map_or(rule, |latest| rule.min(latest));
    let lifetime = expires_at.since(request.issued_at);
    let own_audience = std::slice::from_ref(&endpoint.server.audience);
    let audiences = if request.audiences.is_empty() {
        own_audience
    } else {
        request.audiences
    };
    let minting = Minting {
        server: &endpoint.server,
        issuer: &endpoint.issuer,
        audiences,
        client: request.client,
        grant: request.grant,
        scopes: granted.scopes(),
        lifetime,
        user: request.person.map(Person::of_token),
        session: request.session,
        binding: request.binding,
        actor: request.actor,
        issued_at: request.issued_at,
        id: &id,
    };
    let subject = minting.subject()?;
    let claims = minting::access_token(&minting, &subject)?;
    let signer = endpoint
        .keys
        .signer()
        // Only for the moment between the end of a compromised key and the turn of its successor.
        .ok_or(OAuthError::Overtaken)?;
    let access_token = signer.sign(ACCESS_TOKEN_TYPE, &claims).map_err(OAuthError::internal)?;
    let id_token = match (request.person, request.session) {
        (Some(person), Some(session)) if names(granted.scopes(), "openid") => {
            let token = IdToken {
                issuer: &endpoint.issuer,
                user: &person.id,
                client: &request.client.id,
                issued_at: request.issued_at,
                lifetime: ID_TOKEN_LIFETIME_MAX.min(endpoint.server.access_token_lifetime_max()),
                auth_time: session.auth_time,
                amr: session.amr,
                acr: session.acr,
                nonce: request.nonce,
                session: session.id,
                beside: (access_token.expose_secret(), signer.algorithm()),
                custom: minting::custom_claims(&minting, ClaimPlace::IdToken)?,
            };
            let id_token = signer.sign(ID_TOKEN_TYPE, &token.claims());
            Some(id_token.map_err(OAuthError::internal)?)
        }
        _ => None,
    };
    Ok(TokenAnswer {
        access_token,
        expires_in_seconds: expires_at.since(issuer.services.clock.now()).as_secs(),
        scope: granted.scopes().to_string(),
        refresh_token: None,
        id_token,
        issued_token_type: None,
        binding: request.binding,
        dpop_nonce: None,
        minted: Minted {
            session: request.session.map(|session| session.id.clone()),
            subject,
            client: request.client.id.clone(),
            kid: signer.kid().clone(),
            issued_at: request.issued_at,
            id,
        },
    })
}

/// Whether a scope is in a set.
pub(super) fn names(scopes: &ScopeSet, name: &str) -> bool {
    scopes.iter().map(Scope::as_str).any(|scope| scope == name)
}
