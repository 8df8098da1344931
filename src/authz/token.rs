//! From the claims of a believed token to the parts that rules ask about.
//!
//! A claim that a rule would ask about and that cannot be read with certainty refuses the whole token:
//! a client that is no string, a scope outside the grammar, a `cnf` that asks for a proof that we do
//! not know. What is absent, or an empty set, grants nothing and refuses nothing.

use base64::Engine as _;
use serde_json::{Map, Value};

use crate::jose::json::whole_number;
use crate::model::digest::Digest;
use crate::model::id::{self, ClientId, Kid};
use crate::model::scope::{Scope, ScopeSet};
use crate::model::time::Timestamp;
use crate::policy::caller::{ClaimNames, Confirmation, Reading, TokenFacts};
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
    let known = Known::among(&claims, &server.claim_names);
    identifier(known.subject, "the token's `sub` is not a usable string")?;
    identifier(known.jti, "the token's `jti` is not a usable string")?;
    let client = client(known.client)?;
    let scopes = scopes(known.scopes)?;
    text(known.session, "the token's `sid` is not a string")?;
    text(known.acr, "the token's `acr` is not a string")?;
    moment(known.issued_at, "the token's `iat` is not a whole number of seconds")?;
    moment(
        known.auth_time,
        "the token's `auth_time` is not a whole number of seconds",
    )?;
    let confirmation = confirmation(known.confirmation)?;
    Ok(TokenFacts::new(Reading {
        server: server.id.clone(),
        issued_as: server.issued_as.clone(),
        issuer: server.issuer.clone(),
        kid,
        expires_at,
        confirmation,
        claims: normalise(claims, client.as_ref(), &scopes),
        client,
        scopes,
    }))
}

/// The claims that are asked about, found in one pass.
#[derive(Default)]
struct Known<'c> {
    subject: Option<&'c Value>,
    jti: Option<&'c Value>,
    session: Option<&'c Value>,
    acr: Option<&'c Value>,
    issued_at: Option<&'c Value>,
    auth_time: Option<&'c Value>,
    confirmation: Option<&'c Value>,
    /// The first claim of the server's list that is present counts (cases J13, J16).
    client: Option<&'c Value>,
    /// The same.
    scopes: Option<&'c Value>,
}

impl<'c> Known<'c> {
    fn among(claims: &'c Map<String, Value>, names: &ClaimNames) -> Self {
        let mut known = Self::default();
        let (mut client_place, mut scope_place) = (names.client.len(), names.scope.len());
        for (name, value) in claims {
            let slot = match name.as_str() {
                "sub" => Some(&mut known.subject),
                "jti" => Some(&mut known.jti),
                "sid" => Some(&mut known.session),
                "acr" => Some(&mut known.acr),
                "iat" => Some(&mut known.issued_at),
                "auth_time" => Some(&mut known.auth_time),
                "cnf" => Some(&mut known.confirmation),
                _ => None,
            };
            if let Some(slot) = slot {
                *slot = Some(value);
            }
            // An operator may name any claim, one of those above too.
            let place = |names: &[String]| names.iter().position(|known| known == name);
            if let Some(place) = place(&names.client).filter(|place| *place < client_place) {
                (client_place, known.client) = (place, Some(value));
            }
            if let Some(place) = place(&names.scope).filter(|place| *place < scope_place) {
                (scope_place, known.scopes) = (place, Some(value));
            }
        }
        known
    }
}

/// Lays the normalised values over the claims, so that an expression reads the same whatever the
/// issuer calls them.
fn normalise(mut claims: Map<String, Value>, client: Option<&ClientId>, scopes: &ScopeSet) -> Map<String, Value> {
    // Most issuers use these names themselves: what is there already is not written again.
    let mut lay = |name: &str, value: &str| {
        if claims.get(name).and_then(Value::as_str) != Some(value) {
            claims.insert(name.to_owned(), value.into());
        }
    };
    if let Some(client) = client {
        lay("client_id", client.as_str());
    }
    lay("scope", &scopes.to_string());
    claims
}

fn identifier(claim: Option<&Value>, otherwise: Unreadable) -> Result<(), Unreadable> {
    match claim {
        None => Ok(()),
        Some(Value::String(text)) => id::check(text).map_err(|_| otherwise),
        Some(_) => Err(otherwise),
    }
}

fn text(claim: Option<&Value>, otherwise: Unreadable) -> Result<(), Unreadable> {
    match claim {
        None | Some(Value::Null | Value::String(_)) => Ok(()),
        Some(_) => Err(otherwise),
    }
}

fn moment(claim: Option<&Value>, otherwise: Unreadable) -> Result<(), Unreadable> {
    match claim {
        None | Some(Value::Null) => Ok(()),
        Some(value) => match whole_number(value) {
            Some(seconds) if seconds >= 0 => Ok(()),
            _ => Err(otherwise),
        },
    }
}

fn client(claim: Option<&Value>) -> Result<Option<ClientId>, Unreadable> {
    let refusal = "the token's client is not a usable string";
    match claim {
        None => Ok(None),
        Some(Value::String(client)) => ClientId::parse(client).map(Some).map_err(|_| refusal),
        Some(_) => Err(refusal),
    }
}

/// A space-delimited string, or an array of scopes. Null and objects are the empty set (case J17); a
/// part outside the grammar, a member with a space in it, or one that is no string refuses the token.
fn scopes(claim: Option<&Value>) -> Result<ScopeSet, Unreadable> {
    let refusal = "the token's scopes are not in the grammar of RFC 6749";
    match claim {
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
fn confirmation(claim: Option<&Value>) -> Result<Confirmation, Unreadable> {
    let Some(value) = claim else {
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
