//! RFC 7662: what is this token? Asked by resource servers, and by clients about their own tokens.
//!
//! An access token is shown to the client that it was issued to, and to a client that is a resource server of one of
//! its audiences (`audiences`); a refresh token to its client alone (case 114). Everything else (expired, revoked,
//! malformed, of another server, not for the caller) is answered by the same two words, `active: false`, so that who
//! may not know a token learns nothing of it (attack F14).
//!
//! Who asks for `application/token-introspection+jwt` gets the answer signed (RFC 9701), for the caller and nobody else.

use serde_json::{Map, Value, json};

use crate::issuer::authenticate::authenticate;
use crate::issuer::living::{self, LivingToken};
use crate::issuer::{Endpoint, Failure, FormRequest, Issuer, Note, Snapshot};
use crate::model::secret::Secret;
use crate::oauth::access::AccessDenial;
use crate::oauth::client::Client;
use crate::oauth::error::{AuthenticationFailure, OAuthError};
use crate::oauth::refresh::{GrantRecord, Presented, RefreshToken, present};
use crate::revocation::Life;

/// The media type of a signed answer (RFC 9701 section 4).
pub const INTROSPECTION_JWT: &str = "application/token-introspection+jwt";

/// The `typ` of a signed answer (RFC 9701 section 5).
const INTROSPECTION_TYPE: &str = "token-introspection+jwt";

/// What is known of a token.
#[derive(Debug)]
pub enum IntrospectionAnswer {
    /// A JSON document.
    Json(Value),
    /// A signed one.
    Jwt(Secret<String>),
}

impl Issuer {
    /// Answers an introspection request.
    ///
    /// # Errors
    /// [`Failure`] when the caller does not authenticate, or the request cannot be read; a token that is not good is
    /// an answer.
    pub async fn introspect(&self, server: &str, request: &FormRequest<'_>) -> Result<IntrospectionAnswer, Failure> {
        let snapshot = self.snapshot.load_full();
        let mut note = Note::new(server);
        let outcome = match snapshot.endpoint(server) {
            Some(endpoint) => answer(self, &snapshot, &endpoint, request, &mut note).await,
            None => Err(AccessDenial::UnknownServer.into()),
        };
        outcome.map_err(|error| self.fail(error, request, note))
    }
}

async fn answer(
    issuer: &Issuer,
    snapshot: &Snapshot,
    endpoint: &Endpoint,
    request: &FormRequest<'_>,
    note: &mut Note,
) -> Result<IntrospectionAnswer, OAuthError> {
    let form = request.form()?;
    let caller = authenticate(issuer, snapshot, endpoint, request, &form, note).await?;
    // SECURITY: whoever knows the name of a public client could ask in its place (case 113).
    if caller.client().is_public() {
        return Err(OAuthError::ClientAuthentication(AuthenticationFailure::SecretMissing));
    }
    // `token_type_hint` only says where to look first (RFC 7662 section 2.1).
    let token = form.text("token").ok_or(OAuthError::MissingParameter("token"))?;
    let known = match RefreshToken::parse(token) {
        Some(token) => refresh_token(issuer, endpoint, caller.client(), &token).await?,
        None => living::access_token(issuer, snapshot, endpoint, token)
            .filter(|token| may_know(caller.client(), token))
            .map(|token| describe(&token)),
    };
    let document = Value::Object(known.unwrap_or_else(inactive));
    if !request.accept.is_some_and(wants_jwt) {
        return Ok(IntrospectionAnswer::Json(document));
    }
    let claims = json!({
        "iss": endpoint.issuer.as_str(),
        "aud": caller.client().id.as_str(),
        "iat": issuer.services.clock.now().unix_seconds(),
        "token_introspection": document,
    });
    let claims = claims.as_object().cloned().unwrap_or_default();
    let signer = endpoint
        .keys
        .signer()
        // Only for the moment between the end of a compromised key and the turn of its successor.
        .ok_or(OAuthError::Overtaken)?;
    let answer = signer.sign(INTROSPECTION_TYPE, &claims).map_err(OAuthError::internal)?;
    Ok(IntrospectionAnswer::Jwt(answer))
}

fn may_know(caller: &Client, token: &LivingToken) -> bool {
    caller.id == *token.client()
        || token
            .audiences()
            .iter()
            .any(|audience| caller.serves_audience(audience))
}

/// Every claim of the token, under the names of RFC 7662 section 2.2 whatever its profile.
fn describe(token: &LivingToken) -> Map<String, Value> {
    let (scope, client) = (token.scope(), token.client().clone());
    let mut document = token.claims().members.to_map();
    let is_dpop = document.get("cnf").is_some_and(|cnf| cnf.get("jkt").is_some());
    document.insert("active".to_owned(), json!(true));
    document.insert("scope".to_owned(), json!(scope));
    document.insert("client_id".to_owned(), json!(client.as_str()));
    let token_type = if is_dpop { "DPoP" } else { "Bearer" };
    document.insert("token_type".to_owned(), json!(token_type));
    document
}

/// A living refresh token of this very client; nothing is told of any other, nor is one used up by being asked about.
async fn refresh_token(
    issuer: &Issuer,
    endpoint: &Endpoint,
    caller: &Client,
    token: &RefreshToken,
) -> Result<Option<Map<String, Value>>, OAuthError> {
    let store = &issuer.services.store;
    let message = RefreshToken::message(token.grant(), token.shown());
    if !token.matches(&store.sealing.mac(RefreshToken::PURPOSE, &message)) {
        return Ok(None);
    }
    let record = store.store.grant(token.grant()).await.map_err(OAuthError::internal)?;
    let is_own = |record: &GrantRecord| record.server == endpoint.server.id && record.client == caller.id;
    let Some(record) = record.filter(is_own) else {
        return Ok(None);
    };
    let presented = present(
        &record,
        token.shown(),
        issuer.services.clock.now(),
        caller.options.refresh,
    );
    let life = Life {
        server: &record.server,
        jti: None,
        session: Some(record.id.as_str()),
        subject: Some(&record.subject),
        client: Some(&record.client),
        kid: None,
        issued_at: Some(record.created_at),
    };
    // One that has a successor is spent, although its client may still be told the successor for a moment.
    if presented != Presented::Current || issuer.services.revocations.dead(&life).is_some() {
        return Ok(None);
    }
    let mut document = Map::from_iter([
        ("active".to_owned(), json!(true)),
        ("token_type".to_owned(), json!("refresh_token")),
        ("iss".to_owned(), json!(endpoint.issuer.as_str())),
        ("client_id".to_owned(), json!(record.client.as_str())),
        ("sub".to_owned(), json!(record.subject.as_str())),
        ("scope".to_owned(), json!(record.scopes.to_string())),
        ("sid".to_owned(), json!(record.id.as_str())),
        ("iat".to_owned(), json!(record.rotated_at.unix_seconds())),
        (
            "exp".to_owned(),
            json!(record.expires_at.min(record.idle_expires_at).unix_seconds()),
        ),
    ]);
    if let Some(user) = &record.user {
        document.insert("uid".to_owned(), json!(user.as_str()));
    }
    if let Some(binding) = &record.binding {
        document.insert("cnf".to_owned(), binding.confirmation());
    }
    Ok(Some(document))
}

fn inactive() -> Map<String, Value> {
    Map::from_iter([("active".to_owned(), json!(false))])
}

/// Whether the caller asks for a signed answer. A wildcard does not: JSON is what it means.
fn wants_jwt(accept: &str) -> bool {
    accept.split(',').any(|range| {
        let mut parts = range.split(';').map(str::trim);
        let is_named = parts
            .next()
            .is_some_and(|kind| kind.eq_ignore_ascii_case(INTROSPECTION_JWT));
        let is_refused = parts.any(|parameter| {
            let weight = parameter.strip_prefix("q=").or_else(|| parameter.strip_prefix("Q="));
            weight.is_some_and(|weight| weight.trim_matches(['0', '.']).is_empty())
        });
        is_named && !is_refused
    })
}

#[cfg(test)]
mod tests;
