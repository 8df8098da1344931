//! From the claims of a believed token to the parts that rules ask about.
//!
//! A claim that a rule would ask about and that cannot be read with certainty refuses the whole token:
//! a client that is no string, a scope outside the grammar, a `cnf` that asks for a proof that we do
//! not know. What is absent, or an empty set, grants nothing and refuses nothing.
//!
//! [`Statement::read`] checks what is each token's own; [`Statement::lay_out`] reads client and scopes too. A token of a
//! known kind skips that: the texts that they were read from are equal.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use base64::Engine as _;
use indexmap::Equivalent;
use serde_json::{Map, Value};

use crate::jose::object::{Object, ValueRef};
use crate::model::digest::Digest;
use crate::model::id::{self, AuthorizationServerId, ClientId, Issuer, Kid};
use crate::model::scope::{Scope, ScopeSet};
use crate::model::time::Timestamp;
use crate::policy::caller::{ClaimNames, Common, Confirmation, Mark, Reading, TokenFacts};
use crate::policy::held::{self, Laid, Overlay, is_shared};

/// Why the claims cannot be believed: a sentence for the log, from a fixed list.
pub type Unreadable = &'static str;

/// What is known of a token beside its claims.
#[derive(Debug, Clone, Copy)]
pub struct Provenance<'c> {
    /// The authorization server that vouches for it.
    pub server: &'c AuthorizationServerId,
    /// What that server's issuer calls it, where that is another name.
    pub issued_as: Option<&'c AuthorizationServerId>,
    /// `iss`.
    pub issuer: &'c Issuer,
    /// The key that signed it; `None` for an introspected token.
    pub kid: Option<&'c Kid>,
    /// `exp`; an introspection answer need not say it.
    pub expires_at: Timestamp,
}

/// A believed token's claims. All but client and scopes were checked.
#[derive(Debug)]
pub struct Statement<'c> {
    provenance: Provenance<'c>,
    claims: &'c Object,
    client: Option<(&'c str, ValueRef<'c>)>,
    scopes: Option<(&'c str, ValueRef<'c>)>,
    confirmation: Confirmation,
}

impl<'c> Statement<'c> {
    /// Reads the claims. `names` say which of them name the client and the scopes: the first that is present counts
    /// (cases J13, J16).
    ///
    /// # Errors
    /// [`Unreadable`] if a claim that rules ask about has the wrong type, or a value that cannot be checked.
    pub fn read(provenance: Provenance<'c>, names: &'c ClaimNames, claims: &'c Object) -> Result<Self, Unreadable> {
        let known = Known::among(claims);
        identifier(known.subject, "the token's `sub` is not a usable string")?;
        identifier(known.jti, "the token's `jti` is not a usable string")?;
        text(known.session, "the token's `sid` is not a string")?;
        text(known.acr, "the token's `acr` is not a string")?;
        moment(known.issued_at, "the token's `iat` is not a whole number of seconds")?;
        moment(
            known.auth_time,
            "the token's `auth_time` is not a whole number of seconds",
        )?;
        let first = |names: &'c [String]| names.iter().find_map(|name| Some((name.as_str(), claims.get(name)?)));
        Ok(Self {
            provenance,
            claims,
            client: first(&names.client),
            scopes: first(&names.scope),
            confirmation: confirmation(known.confirmation)?,
        })
    }

    /// Lays everything out.
    ///
    /// # Errors
    /// [`Unreadable`] if the client or the scopes cannot be read.
    pub fn lay_out(&self) -> Result<TokenFacts, Unreadable> {
        let client = client(self.client.map(|(_, item)| item))?;
        let scopes = scopes(self.scopes.map(|(_, item)| item))?;
        let (claims, laid) = normalise(self.claims.to_map(), client.as_ref(), &scopes);
        let provenance = self.provenance;
        Ok(TokenFacts::new(Reading {
            server: provenance.server.clone(),
            issued_as: provenance.issued_as.cloned(),
            issuer: provenance.issuer.clone(),
            kid: provenance.kid.cloned(),
            expires_at: provenance.expires_at,
            confirmation: self.confirmation,
            claims,
            client,
            scopes,
            mark: self.mark(laid),
        }))
    }

    /// The facts of this token, which is [of this kind](Equivalent::equivalent).
    ///
    /// # Panics
    /// In tests, if it is not.
    #[must_use]
    pub fn of_kind(&self, kind: Arc<Common>) -> TokenFacts {
        debug_assert!(self.equivalent(&kind), "only a token of the kind is read by it");
        TokenFacts::of_kind(kind, self.claims, self.provenance.expires_at, self.confirmation)
    }

    /// By what the next token of the kind is recognised: only if what they have in common says who the client is and what
    /// the scopes are, and if nothing that is the token's own was replaced.
    fn mark(&self, laid: Laid) -> Option<Mark> {
        let says = |claim: Option<(&str, ValueRef<'_>)>| claim.is_none_or(|(name, item)| is_shared(name, item));
        let was_shared = |name: &str, overlay: &Overlay| match overlay {
            Overlay::Other(value) => is_shared(name, value.into()),
            Overlay::Same | Overlay::Absent => true,
        };
        let is_marked = says(self.client)
            && says(self.scopes)
            && was_shared("client_id", &laid.client_id)
            && was_shared("scope", &laid.scope);
        is_marked.then(|| Mark {
            client: self.client_claim().map(Box::from),
            scopes: self.scopes_claim().map(Box::from),
            laid,
        })
    }

    /// The name of the claim that names the client.
    fn client_claim(&self) -> Option<&'c str> {
        self.client.map(|(name, _)| name)
    }

    /// The name of the claim that holds the scopes.
    fn scopes_claim(&self) -> Option<&'c str> {
        self.scopes.map(|(name, _)| name)
    }
}

impl Hash for Statement<'_> {
    /// As the kind that it is of.
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.provenance.server, &self.provenance.kid).hash(state);
        held::hash(self.claims, state);
    }
}

impl Equivalent<Arc<Common>> for Statement<'_> {
    /// Whether the token is of this kind. Then client and scopes are the kind's: they were read from equal texts of the same
    /// claims.
    fn equivalent(&self, kind: &Arc<Common>) -> bool {
        let Provenance {
            server,
            issued_as,
            issuer,
            kid,
            expires_at: _,
        } = self.provenance;
        kind.mark.as_ref().is_some_and(|mark| {
            mark.client.as_deref() == self.client_claim()
                && mark.scopes.as_deref() == self.scopes_claim()
                && kind.server == *server
                && kind.issued_as.as_ref() == issued_as
                && kind.issuer == *issuer
                && kind.kid.as_ref() == kid
                && kind.shape.is_of(self.claims, &mark.laid)
        })
    }
}

/// The claims that are asked about whose names do not depend on the server, found in one pass.
#[derive(Default)]
struct Known<'c> {
    subject: Option<ValueRef<'c>>,
    jti: Option<ValueRef<'c>>,
    session: Option<ValueRef<'c>>,
    acr: Option<ValueRef<'c>>,
    issued_at: Option<ValueRef<'c>>,
    auth_time: Option<ValueRef<'c>>,
    confirmation: Option<ValueRef<'c>>,
}

impl<'c> Known<'c> {
    fn among(claims: &'c Object) -> Self {
        let mut known = Self::default();
        for (name, item) in claims.iter() {
            let slot = match name {
                "sub" => &mut known.subject,
                "jti" => &mut known.jti,
                "sid" => &mut known.session,
                "acr" => &mut known.acr,
                "iat" => &mut known.issued_at,
                "auth_time" => &mut known.auth_time,
                "cnf" => &mut known.confirmation,
                _ => continue,
            };
            *slot = Some(item);
        }
        known
    }
}

/// Lays the normalised values over the claims, so that an expression reads the same whatever the issuer calls them.
fn normalise(
    mut claims: Map<String, Value>,
    client: Option<&ClientId>,
    scopes: &ScopeSet,
) -> (Map<String, Value>, Laid) {
    // Most issuers use these names themselves: what is there already is not written again.
    let text = |name: &str| claims.get(name).and_then(Value::as_str);
    let client = client.filter(|client| text("client_id") != Some(client.as_str()));
    let has_scopes = text("scope").is_some_and(|text| scopes.is_written_as(text));
    let mut lay = |name: &str, text: String| match claims.insert(name.to_owned(), text.into()) {
        None => Overlay::Absent,
        Some(before) => Overlay::Other(before),
    };
    let laid = Laid {
        client_id: client.map_or(Overlay::Same, |client| lay("client_id", client.to_string())),
        scope: if has_scopes {
            Overlay::Same
        } else {
            lay("scope", scopes.to_string())
        },
    };
    (claims, laid)
}

fn identifier(claim: Option<ValueRef<'_>>, otherwise: Unreadable) -> Result<(), Unreadable> {
    match claim {
        None => Ok(()),
        Some(ValueRef::Text(text)) => id::check(text).map_err(|_| otherwise),
        Some(ValueRef::Json(_)) => Err(otherwise),
    }
}

fn text(claim: Option<ValueRef<'_>>, otherwise: Unreadable) -> Result<(), Unreadable> {
    match claim {
        None | Some(ValueRef::Json(Value::Null) | ValueRef::Text(_)) => Ok(()),
        Some(ValueRef::Json(_)) => Err(otherwise),
    }
}

fn moment(claim: Option<ValueRef<'_>>, otherwise: Unreadable) -> Result<(), Unreadable> {
    match claim {
        None | Some(ValueRef::Json(Value::Null)) => Ok(()),
        Some(item) => match item.whole_number() {
            Some(seconds) if seconds >= 0 => Ok(()),
            _ => Err(otherwise),
        },
    }
}

fn client(claim: Option<ValueRef<'_>>) -> Result<Option<ClientId>, Unreadable> {
    let refusal = "the token's client is not a usable string";
    match claim {
        None => Ok(None),
        Some(ValueRef::Text(client)) => ClientId::parse(client).map(Some).map_err(|_| refusal),
        Some(ValueRef::Json(_)) => Err(refusal),
    }
}

/// A space-delimited string, or an array of scopes. Null and objects are the empty set (case J17); a
/// part outside the grammar, a member with a space in it, or one that is no string refuses the token.
fn scopes(claim: Option<ValueRef<'_>>) -> Result<ScopeSet, Unreadable> {
    let refusal = "the token's scopes are not in the grammar of RFC 6749";
    match claim {
        Some(ValueRef::Text(scopes)) => ScopeSet::parse(scopes).map_err(|_| refusal),
        Some(ValueRef::Json(Value::Array(members))) => members
            .iter()
            .map(|member| {
                member
                    .as_str()
                    .and_then(|scope| Scope::parse(scope).ok())
                    .ok_or(refusal)
            })
            .collect(),
        None | Some(ValueRef::Json(Value::Null | Value::Object(_))) => Ok(ScopeSet::default()),
        Some(ValueRef::Json(_)) => Err(refusal),
    }
}

/// `cnf` (RFC 7800). A member that we cannot check refuses the token: to leave it unchecked would
/// turn a bound token into a bearer token (case X15).
fn confirmation(claim: Option<ValueRef<'_>>) -> Result<Confirmation, Unreadable> {
    let members = match claim {
        None => return Ok(Confirmation::default()),
        Some(ValueRef::Json(Value::Object(members))) => members,
        Some(_) => return Err("the token's `cnf` is not an object"),
    };
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
            server: &AuthorizationServerId::parse("bank").expect("valid"),
            issued_as: None,
            issuer: &Issuer::parse("https://bank.example").expect("valid"),
            kid: None,
            expires_at: EXPIRY,
        };
        let claims = claims.as_object().expect("an object").clone().into();
        Statement::read(provenance, names, &claims)?.lay_out()
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
