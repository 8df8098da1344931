//! The preview: what the token endpoint would answer, without a credential, a signature or a trace in
//! the log.
//!
//! It calls what the token endpoint calls ([`minting::admit`], [`decide`], [`Held`], [`minting::access_token`]),
//! with the same model: what it shows is what would be minted, but for the moment and the identifier.
//! What a grant's own proof decides (a code, a password, an assertion) is taken for given: a sign-in of now, a grant
//! that has not come to its end, a token to exchange that another client was given.

use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::issuer::Issuer;
use crate::model::id::{AuthorizationServerId, ClientId, Issuer as IssuerId, Jti, UserId};
use crate::model::scope::ScopeSet;
use crate::model::time::Timestamp;
use crate::oauth::access::{
    AccessDecision, AccessDenial, Granted, Model, RefreshLifetimes, Server, TokenRequestFacts, UserFacts, decide,
};
use crate::oauth::client::Client;
use crate::oauth::declared::ClaimPlace;
use crate::oauth::error::{AssertionFailure, OAuthError, PasswordFailure};
use crate::oauth::grant::GrantType;
use crate::oauth::held::{Held, renewed};
use crate::oauth::id_token::{ID_TOKEN_LIFETIME_MAX, IdToken};
use crate::oauth::metadata;
use crate::oauth::minting::{self, Minting, TokenUser};
use crate::oauth::refresh::new_grant_id;
use crate::oauth::token::{TokenSession, access_token_id};

/// The largest token, in bytes, that fits into the headers that servers accept by default (case 108).
pub const TOKEN_BYTES_MAX: usize = 8 * 1024;

/// What a signature and a header of the longest kind add to the claims, in bytes of the compact form.
const SIGNATURE_AND_HEADER_BYTES: usize = 512;

/// The request that is previewed.
#[derive(Debug, Clone, Copy)]
pub struct PreviewRequest<'a> {
    /// The authorization server.
    pub server: &'a AuthorizationServerId,
    /// The client, taken for authenticated.
    pub client: &'a ClientId,
    /// The grant, taken for proven.
    pub grant: GrantType,
    /// The user that the token would speak for.
    pub user: Option<PreviewUser<'a>>,
    /// The `scope` as a request would have it.
    pub scope: Option<&'a str>,
    /// What is refreshed or exchanged; nothing is held for any other grant.
    pub held: Held<'a>,
}

/// The user of a preview.
#[derive(Debug, Clone, Copy)]
pub struct PreviewUser<'a> {
    /// What the token would say of the user.
    pub token: TokenUser<'a>,
    /// Whether the user may sign in at all.
    pub active: bool,
}

/// What the token endpoint would answer.
#[derive(Debug)]
#[must_use]
pub struct Preview {
    /// The token, or the error.
    pub outcome: Result<PreviewToken, OAuthError>,
    /// Every policy and rule that was looked at, with the first condition that failed; nothing if the
    /// request fails before.
    pub decision: Option<AccessDecision>,
}

/// The token that would be minted.
#[derive(Debug, Clone)]
pub struct PreviewToken {
    /// The claims of the access token.
    pub access_token: Map<String, Value>,
    /// The claims of the ID token beside it, but for its `at_hash`; `None` if none is given.
    pub id_token: Option<Map<String, Value>>,
    /// The scopes.
    pub scopes: ScopeSet,
    /// The policy that grants.
    pub policy: String,
    /// The rule that grants.
    pub rule: String,
    /// How long the access token lives.
    pub access_token_lifetime: Duration,
    /// How long a refresh token lives; `None` if none is given.
    pub refresh_token: Option<RefreshLifetimes>,
    /// About how many bytes the signed access token has.
    pub bytes: usize,
}

impl PreviewToken {
    /// Whether many servers would refuse the token for its size (case 108).
    #[must_use]
    pub fn is_too_large(&self) -> bool {
        self.bytes > TOKEN_BYTES_MAX
    }
}

/// Previews a token request.
pub fn preview(model: &Model, issuer: &IssuerId, request: &PreviewRequest<'_>, now: Timestamp) -> Preview {
    let (server, client) = match parties(model, request) {
        Ok(parties) => parties,
        Err(error) => return refused(error),
    };
    let scopes = match asked(client, request) {
        Ok(scopes) => scopes,
        Err(error) => return refused(error),
    };
    let facts = TokenRequestFacts {
        server: request.server,
        client: request.client,
        grant: request.grant,
        user: request.user.map(|user| UserFacts {
            id: user.token.id,
            login: user.token.login,
            groups: user.token.groups,
            active: user.active,
        }),
        scopes: scopes.as_ref(),
    };
    let decision = match request.grant {
        GrantType::RefreshToken => request.held.decide_refresh(model, &facts),
        _ => decide(model, &facts),
    };
    let granted = decision.outcome.clone().map_err(OAuthError::from);
    let granted = match request.grant {
        GrantType::RefreshToken => renewed(granted).map(|(granted, _)| granted),
        _ => granted,
    };
    Preview {
        outcome: granted.and_then(|granted| compose(server, issuer, client, request, &granted, now)),
        decision: Some(decision),
    }
}

/// The scopes that are asked for, of a client that may ask and a user who may sign in.
fn asked(client: &Client, request: &PreviewRequest<'_>) -> Result<Option<ScopeSet>, OAuthError> {
    minting::admit(client, request.grant)?;
    // Of a user who may not sign in, assertions and passwords tell no more than of one who is not there.
    let is_kept_out = request.user.is_some_and(|user| !user.active);
    if is_kept_out && request.grant == GrantType::JwtBearer {
        return Err(AssertionFailure::UnknownUser.into());
    }
    let scopes = minting::requested_scopes(request.scope)?;
    if is_kept_out && request.grant == GrantType::Password {
        return Err(PasswordFailure::NotActive.into());
    }
    match request.grant {
        GrantType::RefreshToken => request.held.refreshed_scopes(scopes),
        GrantType::TokenExchange => request.held.exchanged_scopes(scopes),
        _ => Ok(scopes),
    }
}

impl Issuer {
    /// Previews a token request by what is in force now.
    pub fn preview(&self, request: &PreviewRequest<'_>) -> Preview {
        let snapshot = self.snapshot.load_full();
        let issuer = metadata::issuer_of(&snapshot.public_url, request.server);
        preview(&snapshot.model, &issuer, request, self.services.clock.now())
    }
}

fn refused(error: OAuthError) -> Preview {
    Preview {
        outcome: Err(error),
        decision: None,
    }
}

fn parties<'m>(model: &'m Model, request: &PreviewRequest<'_>) -> Result<(&'m Server, &'m Client), OAuthError> {
    let server = model.servers.get(request.server).ok_or(AccessDenial::UnknownServer)?;
    let client = model.clients.get(request.client).ok_or(AccessDenial::UnknownClient)?;
    Ok((server, client))
}

fn compose(
    server: &Server,
    issuer: &IssuerId,
    client: &Client,
    request: &PreviewRequest<'_>,
    granted: &Granted,
    now: Timestamp,
) -> Result<PreviewToken, OAuthError> {
    if matches!(
        request.grant,
        GrantType::Password | GrantType::JwtBearer | GrantType::TokenExchange
    ) {
        minting::ask_nobody(server, client, granted.scopes())?;
    }
    let id = placeholder();
    let user = request.user.filter(|_| request.grant.has_user()).map(|user| user.token);
    let grant_id = new_grant_id(request.held.began_by.unwrap_or(request.grant), "preview-of-a-grant");
    let minting = Minting {
        server,
        issuer,
        audiences: std::slice::from_ref(&server.audience),
        client,
        grant: request.grant,
        scopes: granted.scopes(),
        lifetime: granted.access_token(),
        user,
        session: user.map(|_| TokenSession {
            id: &grant_id,
            auth_time: now,
            amr: &[],
            acr: None,
        }),
        binding: None,
        actor: None,
        issued_at: now,
        id: &id,
    };
    let access_token = minting::access_token(&minting, &minting.subject()?)?;
    Ok(PreviewToken {
        bytes: signed_bytes(&access_token),
        access_token,
        id_token: id_token(&minting)?,
        scopes: granted.scopes().clone(),
        policy: granted.policy().to_owned(),
        rule: granted.rule().to_owned(),
        access_token_lifetime: granted.access_token(),
        refresh_token: minting::refresh_lifetimes(client, request.grant, granted),
    })
}

/// What the ID token would say, where there would be one.
fn id_token(minting: &Minting<'_>) -> Result<Option<Map<String, Value>>, OAuthError> {
    let asks = minting.scopes.iter().any(|scope| scope.as_str() == "openid");
    let (Some(user), Some(session), true) = (minting.user, minting.session, asks) else {
        return Ok(None);
    };
    // An exchange gives what was asked for (RFC 8693 section 2.2.1).
    if minting.grant == GrantType::TokenExchange {
        return Ok(None);
    }
    let token = IdToken {
        issuer: minting.issuer,
        user: &UserId::parse(user.id).map_err(OAuthError::internal)?,
        client: &minting.client.id,
        issued_at: minting.issued_at,
        lifetime: ID_TOKEN_LIFETIME_MAX.min(minting.server.access_token_lifetime_max()),
        auth_time: session.auth_time,
        amr: session.amr,
        acr: session.acr,
        nonce: None,
        session: session.id,
        beside: ("", minting.server.algorithm),
        custom: minting::custom_claims(minting, ClaimPlace::IdToken)?,
    };
    let mut claims = token.claims();
    // The access token that it would be the hash of is not signed.
    claims.remove("at_hash");
    Ok(Some(claims))
}

/// An identifier of the length that a real one has.
fn placeholder() -> Jti {
    access_token_id("preview-of-a-token-unsigned")
}

/// The bytes of the compact form, a little more rather than less.
fn signed_bytes(claims: &Map<String, Value>) -> usize {
    let json = Value::Object(claims.clone()).to_string().len();
    json.div_ceil(3) * 4 + SIGNATURE_AND_HEADER_BYTES
}

impl Preview {
    /// The preview as JSON: what `scopegate preview -o json` prints and the management API answers.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let trace = self
            .decision
            .as_ref()
            .map_or_else(|| json!([]), AccessDecision::trace_json);
        match &self.outcome {
            Ok(token) => json!({
                "outcome": "granted",
                "access_token": token.access_token,
                "id_token": token.id_token,
                "scope": token.scopes.to_string(),
                "policy": token.policy,
                "rule": token.rule,
                "access_token_seconds": token.access_token_lifetime.as_secs(),
                "refresh_token_seconds": token.refresh_token.map(|refresh| refresh.lifetime.as_secs()),
                "refresh_token_idle_seconds": token
                    .refresh_token
                    .and_then(|refresh| refresh.idle)
                    .map(|idle| idle.as_secs()),
                "bytes": token.bytes,
                "too_large": token.is_too_large(),
                "trace": trace,
            }),
            Err(error) => json!({
                "outcome": "denied",
                "error": error.code().as_str(),
                "error_code": error.error_code(),
                "error_description": error.description(),
                "trace": trace,
            }),
        }
    }
}

#[cfg(test)]
mod tests;
