//! From what was granted to what the token says: the one way there.
//!
//! The token endpoint signs what [`access_token`] gives; the preview shows it. So the preview cannot
//! differ from the token, but for the moment and the identifier, which both of them hand in.

use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::model::id::{Issuer, Jti, Subject};
use crate::model::scope::{Scope, ScopeSet};
use crate::model::time::Timestamp;
use crate::oauth::access::{AccessDenial, Granted, RefreshLifetimes, Server};
use crate::oauth::claims::{self, ClaimFacts, ClaimUser};
use crate::oauth::client::Client;
use crate::oauth::declared::{ClaimPlace, Consent};
use crate::oauth::error::OAuthError;
use crate::oauth::grant::GrantType;
use crate::oauth::metadata;
use crate::oauth::refresh::KeyBinding;
use crate::oauth::request::{MalformedRequest, SCOPE_BYTES_MAX};
use crate::oauth::token::{AccessToken, TokenSession};

/// Everything that a token follows from.
#[derive(Debug, Clone, Copy)]
pub struct Minting<'a> {
    /// The authorization server.
    pub server: &'a Server,
    /// Its issuer.
    pub issuer: &'a Issuer,
    /// Whom the token is for: the server's audience, or some of its resources (RFC 8707).
    pub audiences: &'a [String],
    /// The client that asks.
    pub client: &'a Client,
    /// The grant that it asks by.
    pub grant: GrantType,
    /// The scopes that were granted.
    pub scopes: &'a ScopeSet,
    /// How long the access token lives.
    pub lifetime: Duration,
    /// The user that it speaks for.
    pub user: Option<TokenUser<'a>>,
    /// The sign-in that it follows from.
    pub session: Option<TokenSession<'a>>,
    /// When it is minted.
    pub issued_at: Timestamp,
    /// Its identifier.
    pub id: &'a Jti,
    /// The key that it is bound to.
    pub binding: Option<KeyBinding>,
    /// Who acts for the user or the client (RFC 8693 section 4.1).
    pub actor: Option<&'a Value>,
}

/// The user that a token speaks for.
#[derive(Debug, Clone, Copy)]
pub struct TokenUser<'a> {
    /// The identifier: `uid`.
    pub id: &'a str,
    /// The login: `sub`.
    pub login: &'a str,
    /// The groups.
    pub groups: &'a [String],
    /// The profile's attributes.
    pub profile: &'a Map<String, Value>,
}

impl Minting<'_> {
    /// Whom the token speaks for: the user, or the client itself.
    ///
    /// # Errors
    /// When a login is no subject.
    pub fn subject(&self) -> Result<Subject, OAuthError> {
        let name = self.user.map_or(self.client.id.as_str(), |user| user.login);
        Subject::parse(name).map_err(OAuthError::internal)
    }
}

/// The claim set of the access token.
///
/// # Errors
/// When a claim has no value: there is no half token (case 106).
pub fn access_token(minting: &Minting<'_>, subject: &Subject) -> Result<Map<String, Value>, OAuthError> {
    let custom = custom_claims(minting, ClaimPlace::AccessToken)?;
    let token = AccessToken {
        profile: minting.server.profile,
        issuer: minting.issuer,
        audiences: minting.audiences,
        subject,
        user: minting.user.map(|user| user.id),
        client: &minting.client.id,
        scopes: minting.scopes,
        session: minting.session,
        issued_at: minting.issued_at,
        lifetime: minting.lifetime,
        id: minting.id,
        binding: minting.binding,
        actor: minting.actor,
        custom,
    };
    Ok(token.claims())
}

/// The claims of one document that the authorization server declares.
///
/// # Errors
/// When a claim has no value.
pub fn custom_claims(minting: &Minting<'_>, place: ClaimPlace) -> Result<Map<String, Value>, OAuthError> {
    let facts = ClaimFacts {
        client: minting.client,
        grant: minting.grant,
        scopes: minting.scopes,
        user: minting.user.map(|user| ClaimUser {
            login: user.login,
            groups: user.groups,
            profile: user.profile,
        }),
    };
    let mut values = claims::evaluate(&minting.server.claims, place, &facts)?;
    if values.contains_key(claims::CLAIM_NAMES) {
        let endpoint = metadata::endpoint(minting.issuer, &minting.server.id, "userinfo");
        values.insert(
            "_claim_sources".to_owned(),
            json!({ claims::CLAIM_SOURCE: { "endpoint": endpoint } }),
        );
    }
    Ok(values)
}

/// Reads a `scope` as a token request has it; `None` if it names none.
///
/// # Errors
/// When it is too long, or breaks the grammar.
pub fn requested_scopes(text: Option<&str>) -> Result<Option<ScopeSet>, OAuthError> {
    let Some(text) = text else {
        return Ok(None);
    };
    if text.len() > SCOPE_BYTES_MAX {
        return Err(MalformedRequest::ScopeTooLong.into());
    }
    Ok(Some(ScopeSet::parse(text)?).filter(|scopes| !scopes.is_empty()))
}

/// What a client has to be and to have for a grant, before anything of the grant is looked at.
///
/// # Errors
/// When a client that proves nothing wants to speak for itself (RFC 6749 section 4.4), or the client is not
/// registered for the grant.
pub fn admit(client: &Client, grant: GrantType) -> Result<(), OAuthError> {
    // SECURITY: whoever knows its name could be such a client.
    if client.is_public() && !grant.has_user() {
        return Err(OAuthError::PublicClient(grant.as_str()));
    }
    if !client.grants.contains(&grant) {
        return Err(OAuthError::GrantNotAllowed(grant.as_str()));
    }
    Ok(())
}

/// For how long a refresh token is given, if one is given at all: with a refresh always; with a sign-in if the client
/// may refresh, and where `openid` was granted, `offline_access` was too (OIDC Core section 11). A plain OAuth request
/// has no such scope to ask with.
#[must_use]
pub fn refresh_lifetimes(client: &Client, grant: GrantType, granted: &Granted) -> Option<RefreshLifetimes> {
    let has = |name: &str| granted.scopes().iter().any(|scope| scope.as_str() == name);
    let is_asked_for = grant == GrantType::RefreshToken || !has("openid") || has("offline_access");
    let may_refresh = client.grants.contains(&GrantType::RefreshToken);
    granted
        .refresh_token()
        .filter(|_| may_refresh && is_asked_for && grant.signs_in())
}

/// Refuses the scopes that a person would have to be asked for, where a person signs in and cannot be asked.
///
/// # Errors
/// [`AccessDenial::ConsentRequired`].
pub fn ask_nobody(server: &Server, client: &Client, scopes: &ScopeSet) -> Result<(), OAuthError> {
    let needs_asking = |scope: &&Scope| {
        server.scopes.get(*scope).is_some_and(|info| match info.consent {
            Consent::Implicit => false,
            Consent::Flexible => client.options.asks_consent,
            Consent::Required => true,
        })
    };
    let needed: ScopeSet = scopes.iter().filter(needs_asking).cloned().collect();
    if needed.is_empty() {
        Ok(())
    } else {
        Err(AccessDenial::ConsentRequired(needed).into())
    }
}
