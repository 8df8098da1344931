//! Lays out the claims of a token for the rules: the client, the scopes, the times, the bound key.
//!
//! The token was verified before (or its introspection answer was received): this reads what the
//! claims mean, and refuses a claim of the wrong type rather than reading it as absent, because a
//! rule could then take "absent" for "nothing is asked".

use serde_json::{Map, Value};

use crate::model::digest::Digest;
use crate::model::id::{AuthorizationServerId, ClientId, Issuer, Jti, Kid, Subject};
use crate::model::scope::{Scope, ScopeSet};
use crate::model::time::Timestamp;
use crate::policy::caller::{ClaimNames, Confirmation, Reading, TokenFacts};

/// Why the claims cannot be laid out: a sentence for the log, from a fixed list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadClaim(pub &'static str);

impl ClaimNames {
    /// The client: the first of the claims that is present.
    ///
    /// # Errors
    /// [`BadClaim`] if that claim is no client identifier.
    pub fn client(&self, claims: &Map<String, Value>) -> Result<Option<ClientId>, BadClaim> {
        let bad = BadClaim("the claim that names the client is no client identifier");
        match present(claims, &self.client) {
            None => Ok(None),
            Some(Value::String(text)) => ClientId::parse(text).map(Some).map_err(|_| bad),
            Some(_) => Err(bad),
        }
    }

    /// The scopes: the first of the claims that is present, a space-delimited string or an array of
    /// single scopes. What is `null`, an object or the like names no scope.
    ///
    /// # Errors
    /// [`BadClaim`] if a part is no scope token (RFC 6749 section 3.3), such as `"a b"` in an array.
    pub fn scopes(&self, claims: &Map<String, Value>) -> Result<ScopeSet, BadClaim> {
        let bad = BadClaim("the claim that holds the scopes has one that is none");
        match present(claims, &self.scope) {
            Some(Value::String(text)) => ScopeSet::parse(text).map_err(|_| bad),
            Some(Value::Array(items)) => items
                .iter()
                .map(|item| item.as_str().and_then(|text| Scope::parse(text).ok()).ok_or(bad))
                .collect(),
            _ => Ok(ScopeSet::default()),
        }
    }
}

impl Confirmation {
    /// Reads `cnf` (RFC 7800). A way of binding that we do not know is refused: we could not ask for
    /// the proof.
    ///
    /// # Errors
    /// [`BadClaim`] if it is no object, has an unknown member, or a thumbprint that is none.
    pub fn read(claims: &Map<String, Value>) -> Result<Self, BadClaim> {
        let Some(value) = claims.get("cnf") else {
            return Ok(Self::default());
        };
        let Value::Object(members) = value else {
            return Err(BadClaim("`cnf` is no object"));
        };
        if members.is_empty() {
            return Err(BadClaim("`cnf` is empty"));
        }
        let mut confirmation = Self::default();
        for (name, value) in members {
            let place = match name.as_str() {
                "jkt" => &mut confirmation.dpop_key,
                "x5t#S256" => &mut confirmation.certificate,
                _ => return Err(BadClaim("`cnf` binds the token in a way that is not known here")),
            };
            *place = Some(thumbprint(value).ok_or(BadClaim("`cnf` has a thumbprint that is none"))?);
        }
        Ok(confirmation)
    }
}

/// What a verified token says beside its claims.
#[derive(Debug, Clone)]
pub struct Provenance {
    /// The authorization server that vouches for it.
    pub server: AuthorizationServerId,
    /// `iss`.
    pub issuer: Issuer,
    /// The key that signed it.
    pub kid: Option<Kid>,
    /// `exp`.
    pub expires_at: Timestamp,
}

impl TokenFacts {
    /// Lays out the claims of a token of this provenance.
    ///
    /// # Errors
    /// [`BadClaim`] if a claim that rules ask about has the wrong type.
    pub fn read(provenance: Provenance, names: &ClaimNames, mut claims: Map<String, Value>) -> Result<Self, BadClaim> {
        if let Some(subject) = text(&claims, "sub", BadClaim("`sub` is no text"))? {
            Subject::parse(subject).map_err(|_| BadClaim("`sub` is no identifier"))?;
        }
        if let Some(jti) = text(&claims, "jti", BadClaim("`jti` is no text"))? {
            Jti::parse(jti).map_err(|_| BadClaim("`jti` is no identifier"))?;
        }
        text(&claims, "sid", BadClaim("`sid` is no text"))?;
        text(&claims, "acr", BadClaim("`acr` is no text"))?;
        time(&claims, "iat", BadClaim("`iat` is no whole number of seconds"))?;
        time(
            &claims,
            "auth_time",
            BadClaim("`auth_time` is no whole number of seconds"),
        )?;
        let confirmation = Confirmation::read(&claims)?;
        let client = names.client(&claims)?;
        let scopes = names.scopes(&claims)?;
        match &client {
            Some(client) => claims.insert("client_id".to_owned(), client.as_str().into()),
            None => claims.remove("client_id"),
        };
        claims.insert("scope".to_owned(), scopes.to_string().into());
        Ok(Self::new(Reading {
            server: provenance.server,
            issued_as: None,
            issuer: provenance.issuer,
            client,
            scopes,
            kid: provenance.kid,
            expires_at: provenance.expires_at,
            confirmation,
            claims,
        }))
    }
}

/// The first of these claims that is present. `null` is absent.
fn present<'a>(claims: &'a Map<String, Value>, names: &[String]) -> Option<&'a Value> {
    names
        .iter()
        .find_map(|name| claims.get(name).filter(|value| !value.is_null()))
}

fn text<'a>(claims: &'a Map<String, Value>, name: &str, bad: BadClaim) -> Result<Option<&'a str>, BadClaim> {
    match claims.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => value.as_str().map(Some).ok_or(bad),
    }
}

fn time(claims: &Map<String, Value>, name: &str, bad: BadClaim) -> Result<(), BadClaim> {
    match claims.get(name) {
        None | Some(Value::Null) => Ok(()),
        Some(value) => value.as_i64().map(drop).ok_or(bad),
    }
}

/// A SHA-256 thumbprint in base64url without padding: exactly 43 characters, in its one spelling.
fn thumbprint(value: &Value) -> Option<Digest> {
    use base64::Engine as _;
    let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD
        .decode(value.as_str()?)
        .ok()?;
    bytes.try_into().ok().map(Digest::from_bytes)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn claims(value: Value) -> Map<String, Value> {
        match value {
            Value::Object(map) => map,
            _ => panic!("claims are an object"),
        }
    }

    fn scopes(value: Value) -> Result<String, BadClaim> {
        ClaimNames::default().scopes(&claims(value)).map(|set| set.to_string())
    }

    fn provenance() -> Provenance {
        Provenance {
            server: AuthorizationServerId::parse("s").expect("valid"),
            issuer: Issuer::parse("https://s.example").expect("valid"),
            kid: None,
            expires_at: Timestamp::from_unix_seconds(100),
        }
    }

    #[test]
    fn edge_j13_the_first_client_claim_that_is_present_counts() {
        let client = |value| {
            ClaimNames::default()
                .client(&claims(value))
                .map(|client| client.map(|client| client.to_string()))
        };
        assert_eq!(client(json!({})), Ok(None));
        assert_eq!(client(json!({"azp": "a"})), Ok(Some("a".to_owned())));
        assert_eq!(client(json!({"azp": "a", "cid": "c"})), Ok(Some("c".to_owned())));
        assert_eq!(
            client(json!({"azp": "a", "cid": "c", "client_id": "i"})),
            Ok(Some("i".to_owned()))
        );
        assert!(client(json!({"client_id": 7, "cid": "c"})).is_err());
        assert!(client(json!({"client_id": ""})).is_err());
    }

    #[test]
    fn edge_j16_scopes_are_read_from_a_text_or_an_array_of_single_scopes() {
        assert_eq!(scopes(json!({"scope": "a  b"})), Ok("a b".to_owned()));
        assert_eq!(scopes(json!({"scope": " b a b"})), Ok("a b".to_owned()));
        assert_eq!(scopes(json!({"scp": ["b", "a", "b"]})), Ok("a b".to_owned()));
        assert!(scopes(json!({"scp": ["a b"]})).is_err());
        assert!(scopes(json!({"scp": ["a", 7]})).is_err());
        assert!(scopes(json!({"scope": "a\tb"})).is_err());
        // Both present and unequal: the first configured claim counts.
        assert_eq!(scopes(json!({"scope": "a", "scp": ["b"]})), Ok("a".to_owned()));
        let okta = ClaimNames {
            scope: vec!["scp".to_owned()],
            ..ClaimNames::default()
        };
        assert_eq!(
            okta.scopes(&claims(json!({"scope": "a", "scp": ["b"]})))
                .map(|set| set.to_string()),
            Ok("b".to_owned())
        );
    }

    #[test]
    fn edge_j17_what_is_no_list_of_scopes_names_none() {
        for value in [
            json!({}),
            json!({"scope": ""}),
            json!({"scope": null}),
            json!({"scope": {}}),
            json!({"scp": []}),
        ] {
            assert_eq!(scopes(value.clone()), Ok(String::new()), "{value}");
        }
    }

    #[test]
    fn attack_e21_a_hundred_thousand_scopes_are_one_sorted_set() {
        let many: Vec<String> = (0..100_000).map(|number| format!("s{}", number % 50_000)).collect();
        let set = ClaimNames::default()
            .scopes(&claims(json!({ "scp": many })))
            .expect("valid");
        assert_eq!(set.len(), 50_000);
    }

    #[test]
    fn edge_x15_a_confirmation_that_is_not_known_is_refused() {
        let thumbprint = Digest::of(b"k").to_base64url();
        let read = |value| Confirmation::read(&claims(value));
        assert_eq!(read(json!({})), Ok(Confirmation::default()));
        let both = read(json!({"cnf": {"jkt": thumbprint, "x5t#S256": thumbprint}})).expect("known");
        assert_eq!(
            (both.dpop_key, both.certificate),
            (Some(Digest::of(b"k")), Some(Digest::of(b"k")))
        );
        for bad in [
            json!({"cnf": {"kid": "x"}}),
            json!({"cnf": {"jkt": thumbprint, "jwk": {}}}),
            json!({"cnf": {}}),
            json!({"cnf": null}),
            json!({"cnf": "x"}),
            json!({"cnf": {"jkt": "short"}}),
            json!({"cnf": {"jkt": format!("{thumbprint}=")}}),
        ] {
            assert!(read(bad.clone()).is_err(), "{bad}");
        }
    }

    #[test]
    fn claims_of_the_wrong_type_are_refused_not_ignored() {
        for bad in [
            json!({"sub": 7}),
            json!({"jti": []}),
            json!({"acr": 2}),
            json!({"auth_time": "1"}),
            json!({"auth_time": 1.5}),
            json!({"iat": true}),
            json!({"sid": {}}),
        ] {
            let read = TokenFacts::read(provenance(), &ClaimNames::default(), claims(bad.clone()));
            assert!(read.is_err(), "{bad}");
        }
    }

    #[test]
    fn normalised_values_lie_over_the_claims() {
        let facts = TokenFacts::read(
            provenance(),
            &ClaimNames::default(),
            claims(json!({"cid": "mobile", "scp": ["b", "a"], "sub": "ada"})),
        )
        .expect("valid");
        let text = |name: &str| facts.claims().text(name).map(str::to_owned);
        assert_eq!(text("client_id").as_deref(), Some("mobile"));
        assert_eq!(text("scope").as_deref(), Some("a b"));
        assert_eq!(text("sub").as_deref(), Some("ada"));
    }
}
