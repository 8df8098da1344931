//! From the claims of a believed token to the parts that rules ask about.
//!
//! A claim that a rule would ask about and that cannot be read with certainty refuses the whole token:
//! a client that is no string, a scope outside the grammar, a `cnf` that asks for a proof that we do
//! not know. What is absent, or an empty set, grants nothing and refuses nothing.

use base64::Engine as _;
use serde_json::{Map, Value};

use crate::jose::json::whole_number;
use crate::model::digest::Digest;
use crate::model::id::{self, AuthorizationServerId, ClientId, Issuer, Kid};
use crate::model::scope::{Scope, ScopeSet};
use crate::model::time::Timestamp;
use crate::policy::caller::{ClaimNames, Confirmation, Reading, TokenFacts};

/// Why the claims cannot be believed: a sentence for the log, from a fixed list.
pub type Unreadable = &'static str;

/// What is known of a token beside its claims.
#[derive(Debug, Clone)]
pub struct Provenance {
    /// The authorization server that vouches for it.
    pub server: AuthorizationServerId,
    /// What that server's issuer calls it, where that is another name.
    pub issued_as: Option<AuthorizationServerId>,
    /// `iss`.
    pub issuer: Issuer,
    /// The key that signed it; `None` for an introspected token.
    pub kid: Option<Kid>,
    /// `exp`; an introspection answer need not say it.
    pub expires_at: Timestamp,
}

impl TokenFacts {
    /// Lays the claims out. `names` say which of them name the client and the scopes.
    ///
    /// # Errors
    /// [`Unreadable`] if a claim that rules ask about has the wrong type, or a value that cannot be checked.
    pub fn read(provenance: Provenance, names: &ClaimNames, claims: Map<String, Value>) -> Result<Self, Unreadable> {
        let known = Known::among(&claims, names);
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
        Ok(Self::new(Reading {
            server: provenance.server,
            issued_as: provenance.issued_as,
            issuer: provenance.issuer,
            kid: provenance.kid,
            expires_at: provenance.expires_at,
            confirmation,
            claims: normalise(claims, client.as_ref(), &scopes),
            client,
            scopes,
        }))
    }
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
    let text = |name: &str| claims.get(name).and_then(Value::as_str);
    let has_client = client.is_none_or(|client| text("client_id") == Some(client.as_str()));
    let has_scopes = text("scope").is_some_and(|text| scopes.is_written_as(text));
    if let Some(client) = client
        && !has_client
    {
        claims.insert("client_id".to_owned(), client.as_str().into());
    }
    if !has_scopes {
        claims.insert("scope".to_owned(), scopes.to_string().into());
    }
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
mod tests {
    use serde_json::json;

    use super::*;

    const EXPIRY: Timestamp = Timestamp::from_unix_seconds(1_800_000_300);

    fn read(claims: &Value) -> Result<TokenFacts, Unreadable> {
        read_by(&ClaimNames::default(), claims)
    }

    fn read_by(names: &ClaimNames, claims: &Value) -> Result<TokenFacts, Unreadable> {
        let provenance = Provenance {
            server: AuthorizationServerId::parse("bank").expect("valid"),
            issued_as: None,
            issuer: Issuer::parse("https://bank.example").expect("valid"),
            kid: None,
            expires_at: EXPIRY,
        };
        TokenFacts::read(provenance, names, claims.as_object().expect("an object").clone())
    }

    #[test]
    fn edge_j16_edge_j17_attack_a41_scopes_are_exact_tokens_of_the_first_claim() {
        let cases = [
            (json!({"scope": "a  b"}), Some("a b")),
            (json!({"scope": " b a a"}), Some("a b")),
            (json!({"scp": ["b", "a"]}), Some("a b")),
            (json!({"scope": "a", "scp": ["b"]}), Some("a")),
            (json!({"scope": ""}), Some("")),
            (json!({"scope": null}), Some("")),
            (json!({"scope": {}}), Some("")),
            (json!({}), Some("")),
            (json!({"scp": ["a b"]}), None),
            (json!({"scp": ["a", 1]}), None),
            (json!({"scope": "a\tb"}), None),
            (json!({"scope": "a\u{a0}b"}), None),
            (json!({"scope": 7}), None),
        ];
        for (claims, expected) in cases {
            let scopes = read(&claims).ok().map(|facts| facts.scopes().to_string());
            assert_eq!(scopes.as_deref(), expected, "{claims}");
        }
    }

    #[test]
    fn edge_j13_the_client_is_the_first_of_the_names_that_is_present() {
        let client = |claims: Value| read(&claims).map(|facts| facts.client().map(ToString::to_string));
        assert_eq!(client(json!({"cid": "b", "azp": "c"})), Ok(Some("b".to_owned())));
        assert_eq!(client(json!({"client_id": "a", "cid": "b"})), Ok(Some("a".to_owned())));
        assert_eq!(client(json!({})), Ok(None));
        for bad in [json!(1), json!([]), json!(""), json!("a\nb"), Value::Null] {
            assert!(client(json!({"client_id": bad, "cid": "b"})).is_err(), "{bad}");
        }
    }

    #[test]
    fn edge_x15_a_confirmation_that_cannot_be_checked_refuses_the_token() {
        let print = Digest::of(b"key").to_base64url();
        let both = read(&json!({"cnf": {"jkt": print, "x5t#S256": print}})).expect("valid");
        assert_eq!(both.confirmation().dpop_key, Some(Digest::of(b"key")));
        assert_eq!(both.confirmation().certificate, Some(Digest::of(b"key")));
        for cnf in [
            json!({"kid": "1"}),
            json!({"jkt": print, "jwk": {}}),
            json!({"jkt": "short"}),
            json!({"jkt": format!("{print}=")}),
            json!({"jkt": 1}),
            json!({}),
            json!([]),
            json!("x"),
            Value::Null,
        ] {
            assert!(read(&json!({"cnf": cnf})).is_err(), "{cnf}");
        }
    }

    #[test]
    fn the_claims_read_the_same_whatever_the_issuer_calls_them() {
        let facts =
            read(&json!({"sub": "alice", "cid": "mobile", "scp": ["b", "a"], "sid": "s", "acr": "1"})).expect("valid");
        assert_eq!(facts.claims().text("client_id"), Some("mobile"));
        assert_eq!(facts.claims().text("scope"), Some("a b"));
        assert_eq!((facts.session(), facts.acr()), (Some("s"), Some("1")));
        for claims in [
            json!({"sub": 1}),
            json!({"sid": 1}),
            json!({"acr": 1}),
            json!({"auth_time": "x"}),
            json!({"iat": 1.5}),
        ] {
            assert!(read(&claims).is_err(), "{claims}");
        }
    }

    #[test]
    fn edge_j13_edge_j16_an_operator_may_name_any_claim() {
        let names = ClaimNames {
            client: vec!["sub".to_owned()],
            scope: vec!["scp".to_owned()],
        };
        let facts = read_by(&names, &json!({"sub": "app", "scope": "a", "scp": ["b"]})).expect("valid");
        assert_eq!(facts.client().map(ClientId::as_str), Some("app"));
        assert_eq!(facts.scopes().to_string(), "b");
        assert_eq!(facts.claims().text("scope"), Some("b"));
        assert_eq!(facts.subject(), Some("app"));
    }

    #[test]
    fn attack_e21_a_hundred_thousand_scopes_are_one_sorted_set() {
        let many: Vec<String> = (0..100_000).map(|number| format!("s{}", number % 50_000)).collect();
        let facts = read(&json!({ "scp": many })).expect("valid");
        assert_eq!(facts.scopes().len(), 50_000);
    }
}
