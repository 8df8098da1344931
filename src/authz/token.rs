//! From the claims of a believed token to the parts that rules ask about.
//!
//! A claim that a rule would ask about and that cannot be read with certainty refuses the whole token:
//! a client that is no string, a scope outside the grammar, a `cnf` that asks for a proof that we do
//! not know. What is absent, or an empty set, grants nothing and refuses nothing.

use std::sync::Arc;

use base64::Engine as _;
use serde_json::{Map, Value};

use crate::jose::json::whole_number;
use crate::model::digest::Digest;
use crate::model::id::{ClientId, Jti, Kid, Subject};
use crate::model::scope::{Scope, ScopeSet};
use crate::model::time::Timestamp;
use crate::policy::caller::{ClaimNames, Confirmation, TokenFacts};
use crate::trust::settings::TrustedServerSettings;

/// Why the claims cannot be believed: a fixed sentence.
pub(crate) type Unreadable = &'static str;

/// Lays the claims of a token of this server out. `expires_at` is known to the caller, since an
/// introspection answer need not say it.
pub(crate) fn lay_out(
    server: &TrustedServerSettings,
    claims: Map<String, Value>,
    kid: Option<Kid>,
    expires_at: Timestamp,
) -> Result<TokenFacts, Unreadable> {
    let subject = identifier(
        &claims,
        "sub",
        Subject::parse,
        "the token's `sub` is not a usable string",
    )?;
    let jti = identifier(&claims, "jti", Jti::parse, "the token's `jti` is not a usable string")?;
    let client = client(&claims, &server.claim_names)?;
    let scopes = scopes(&claims, &server.claim_names)?;
    let facts = TokenFacts {
        server: server.id.clone(),
        issuer: server.issuer.clone(),
        jti,
        kid,
        session: text(&claims, "sid", "the token's `sid` is not a string")?,
        issued_at: moment(&claims, "iat", "the token's `iat` is not a whole number of seconds")?,
        expires_at,
        auth_time: moment(
            &claims,
            "auth_time",
            "the token's `auth_time` is not a whole number of seconds",
        )?,
        acr: text(&claims, "acr", "the token's `acr` is not a string")?,
        confirmation: confirmation(&claims)?,
        claims: Arc::new(normalise(claims, client.as_ref(), subject.as_ref(), &scopes)),
        subject,
        client,
        scopes,
    };
    Ok(facts)
}

/// Lays the normalised values over the claims, so that an expression reads the same whatever the
/// issuer calls them.
fn normalise(
    mut claims: Map<String, Value>,
    client: Option<&ClientId>,
    subject: Option<&Subject>,
    scopes: &ScopeSet,
) -> Map<String, Value> {
    // Most issuers use these names themselves: what is there already is not written again.
    let mut lay = |name: &str, value: &str| {
        if claims.get(name).and_then(Value::as_str) != Some(value) {
            claims.insert(name.to_owned(), value.into());
        }
    };
    if let Some(client) = client {
        lay("client_id", client.as_str());
    }
    if let Some(subject) = subject {
        lay("sub", subject.as_str());
    }
    lay("scope", &scopes.to_string());
    claims
}

fn identifier<T, E>(
    claims: &Map<String, Value>,
    name: &str,
    parse: impl FnOnce(&str) -> Result<T, E>,
    otherwise: Unreadable,
) -> Result<Option<T>, Unreadable> {
    match claims.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => parse(text).map(Some).map_err(|_| otherwise),
        Some(_) => Err(otherwise),
    }
}

fn text(claims: &Map<String, Value>, name: &str, otherwise: Unreadable) -> Result<Option<String>, Unreadable> {
    match claims.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(otherwise),
    }
}

fn moment(claims: &Map<String, Value>, name: &str, otherwise: Unreadable) -> Result<Option<Timestamp>, Unreadable> {
    match claims.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => match whole_number(value) {
            Some(seconds) if seconds >= 0 => Ok(Some(Timestamp::from_unix_seconds(seconds))),
            _ => Err(otherwise),
        },
    }
}

/// The first claim of the server's list that is present counts (cases J13, J16).
fn client(claims: &Map<String, Value>, names: &ClaimNames) -> Result<Option<ClientId>, Unreadable> {
    let refusal = "the token's client is not a usable string";
    match names.client.iter().find_map(|name| claims.get(name)) {
        None => Ok(None),
        Some(Value::String(client)) => ClientId::parse(client).map(Some).map_err(|_| refusal),
        Some(_) => Err(refusal),
    }
}

/// A space-delimited string, or an array of scopes. Null and objects are the empty set (case J17); a
/// part outside the grammar, a member with a space in it, or one that is no string refuses the token.
fn scopes(claims: &Map<String, Value>, names: &ClaimNames) -> Result<ScopeSet, Unreadable> {
    let refusal = "the token's scopes are not in the grammar of RFC 6749";
    match names.scope.iter().find_map(|name| claims.get(name)) {
        Some(Value::String(scopes)) => ScopeSet::parse(scopes).map_err(|_| refusal),
        Some(Value::Array(members)) => members
            .iter()
            .map(|member| {
                member
                    .as_str()
                    .and_then(|scope| Scope::parse(scope).ok())
                    .ok_or(refusal)
            })
            .collect(),
        None | Some(Value::Null | Value::Object(_)) => Ok(ScopeSet::default()),
        Some(Value::Bool(_) | Value::Number(_)) => Err(refusal),
    }
}

/// `cnf` (RFC 7800). A member that we cannot check refuses the token: to leave it unchecked would
/// turn a bound token into a bearer token (case X15).
fn confirmation(claims: &Map<String, Value>) -> Result<Confirmation, Unreadable> {
    let Some(value) = claims.get("cnf") else {
        return Ok(Confirmation::default());
    };
    let members = value.as_object().ok_or("the token's `cnf` is not an object")?;
    let mut confirmation = Confirmation::default();
    for (name, value) in members {
        let slot = match name.as_str() {
            "jkt" => &mut confirmation.dpop_key,
            "x5t#S256" => &mut confirmation.certificate,
            _ => return Err("the token's `cnf` asks for a proof that the gate does not know"),
        };
        *slot = Some(thumbprint(value).ok_or("the token's `cnf` has a thumbprint that is none")?);
    }
    if members.is_empty() {
        return Err("the token's `cnf` is empty");
    }
    Ok(confirmation)
}

fn thumbprint(value: &Value) -> Option<Digest> {
    let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD
        .decode(value.as_str()?)
        .ok()?;
    Some(Digest::from_bytes(bytes.try_into().ok()?))
}

#[cfg(test)]
mod tests;
