//! The claim sets of access tokens: RFC 9068, and Okta's.
//!
//! | claim | `rfc9068` | `okta` |
//! |---|---|---|
//! | `iss` `aud` `sub` `iat` `exp` `jti` | all | all |
//! | client | `client_id`, and `cid` | `cid` |
//! | scopes | `scope`, a string | `scp`, an array |
//! | `ver` | | 1 |
//! | user | `sub` is the login, `uid` the identifier | the same |
//! | sign-in | `sid`, `auth_time`, `amr`, `acr` (RFC 9068 section 2.2.1) | the same |
//! | key, where it is bound to one | `cnf` | `cnf` |
//! | who acts for the subject, after an exchange | `act` | `act` |
//!
//! Both are signed with `typ: at+jwt`. **Invariant:** a custom claim never replaces one of these:
//! the compiler refuses the reserved names, and here the registered claims are written last.

use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::model::id::{ClientId, GrantId, Issuer, Jti, Subject};
use crate::model::scope::{Scope, ScopeSet};
use crate::model::time::Timestamp;
use crate::oauth::claims::RESERVED;
use crate::oauth::declared::TokenProfile;
use crate::oauth::refresh::KeyBinding;

/// The `typ` header of access tokens (RFC 9068 section 2.1).
pub const ACCESS_TOKEN_TYPE: &str = "at+jwt";

/// What an access token says.
#[derive(Debug, Clone)]
pub struct AccessToken<'a> {
    /// How it looks.
    pub profile: TokenProfile,
    /// Who mints it.
    pub issuer: &'a Issuer,
    /// Whom it is for: one at least (RFC 8707).
    pub audiences: &'a [String],
    /// Whom it speaks for: the client itself where there is no user.
    pub subject: &'a Subject,
    /// The user's identifier; `None` where there is no user.
    pub user: Option<&'a str>,
    /// Who asked for it.
    pub client: &'a ClientId,
    /// What it may do.
    pub scopes: &'a ScopeSet,
    /// The sign-in that it follows from; `None` where nobody signed in for it.
    pub session: Option<TokenSession<'a>>,
    /// When it is minted.
    pub issued_at: Timestamp,
    /// How long it lives: `exp` is `iat` and this, exactly (case 109).
    pub lifetime: Duration,
    /// Its identifier.
    pub id: &'a Jti,
    /// The key that it is bound to.
    pub binding: Option<KeyBinding>,
    /// Who acts for the subject, and for whom that one acts (RFC 8693 section 4.1).
    pub actor: Option<&'a Value>,
    /// What it says besides.
    pub custom: Map<String, Value>,
}

/// The sign-in that a token follows from.
#[derive(Debug, Clone, Copy)]
pub struct TokenSession<'a> {
    /// The grant: by its `sid` all tokens of a grant are revoked at once.
    pub id: &'a GrantId,
    /// When the user signed in.
    pub auth_time: Timestamp,
    /// How (RFC 8176).
    pub amr: &'a [String],
    /// How surely.
    pub acr: Option<&'a str>,
}

impl AccessToken<'_> {
    /// The claim set.
    #[must_use]
    pub fn claims(&self) -> Map<String, Value> {
        let mut claims = self.custom.clone();
        // SECURITY: registered claims that this profile does not write must not come from elsewhere.
        claims.retain(|name, _| !RESERVED.contains(&name.as_str()));
        let mut set = |name: &str, value: Value| {
            claims.insert(name.to_owned(), value);
        };
        set("iss", json!(self.issuer.as_str()));
        match self.audiences {
            [one] => set("aud", json!(one)),
            several => set("aud", json!(several)),
        }
        set("sub", json!(self.subject.as_str()));
        set("iat", json!(self.issued_at.unix_seconds()));
        set("exp", json!(self.issued_at.plus(self.lifetime).unix_seconds()));
        set("jti", json!(self.id.as_str()));
        set("cid", json!(self.client.as_str()));
        match self.profile {
            TokenProfile::Rfc9068 => {
                set("client_id", json!(self.client.as_str()));
                set("scope", json!(self.scopes.to_string()));
            }
            TokenProfile::Okta => {
                let scopes: Vec<&str> = self.scopes.iter().map(Scope::as_str).collect();
                set("ver", json!(1));
                set("scp", json!(scopes));
            }
        }
        if let Some(user) = self.user {
            set("uid", json!(user));
        }
        if let Some(session) = &self.session {
            set("sid", json!(session.id.as_str()));
            set("auth_time", json!(session.auth_time.unix_seconds()));
            if !session.amr.is_empty() {
                set("amr", json!(session.amr));
            }
            if let Some(acr) = session.acr {
                set("acr", json!(acr));
            }
        }
        if let Some(binding) = &self.binding {
            set("cnf", binding.confirmation());
        }
        if let Some(actor) = self.actor {
            set("act", actor.clone());
        }
        claims
    }
}

/// The identifier of an access token, from unguessable text.
///
/// # Panics
/// When the text is no part of an identifier; random text in base64url always is.
#[must_use]
pub fn access_token_id(random: &str) -> Jti {
    Jti::parse(&format!("AT.{random}")).expect("random text in base64url is an identifier")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims(profile: TokenProfile, user: Option<&str>, custom: Value) -> Value {
        let issuer = Issuer::parse("https://127.0.0.1:8443/oauth2/transfers").expect("valid");
        let Value::Object(custom) = custom else {
            panic!("an object")
        };
        let token = AccessToken {
            profile,
            issuer: &issuer,
            audiences: &["https://api.bank.example/transfers".to_owned()],
            subject: &Subject::parse(user.unwrap_or("nightly-batch")).expect("valid"),
            user,
            client: &ClientId::parse("nightly-batch").expect("valid"),
            scopes: &ScopeSet::parse("transfers:write transfers:read").expect("valid"),
            session: None,
            issued_at: Timestamp::from_unix_seconds(1000),
            lifetime: Duration::from_secs(600),
            id: &access_token_id("abc"),
            binding: None,
            actor: None,
            custom,
        };
        Value::Object(token.claims())
    }

    #[test]
    fn case_100_case_109_case_081_the_rfc_9068_profile_of_a_client_on_its_own() {
        let expected = json!({
            "iss": "https://127.0.0.1:8443/oauth2/transfers", "aud": "https://api.bank.example/transfers",
            "sub": "nightly-batch", "client_id": "nightly-batch", "cid": "nightly-batch",
            "scope": "transfers:read transfers:write", "iat": 1000, "exp": 1600, "jti": "AT.abc",
        });
        assert_eq!(claims(TokenProfile::Rfc9068, None, json!({})), expected);
    }

    #[test]
    fn case_100_case_081_the_okta_profile_of_a_client_on_its_own_has_no_uid() {
        let expected = json!({
            "iss": "https://127.0.0.1:8443/oauth2/transfers", "aud": "https://api.bank.example/transfers",
            "sub": "nightly-batch", "cid": "nightly-batch", "ver": 1,
            "scp": ["transfers:read", "transfers:write"], "iat": 1000, "exp": 1600, "jti": "AT.abc",
        });
        assert_eq!(claims(TokenProfile::Okta, None, json!({})), expected);
        assert_eq!(claims(TokenProfile::Okta, Some("u1"), json!({}))["uid"], "u1");
    }

    #[test]
    fn case_100_case_102_a_token_of_a_user_says_who_signed_in_when_and_which_key_it_needs() {
        let amr = ["pwd".to_owned()];
        let user = Subject::parse("ada@bank.example").expect("valid");
        let actor = json!({ "sub": "nightly-batch" });
        let token = AccessToken {
            profile: TokenProfile::Rfc9068,
            issuer: &Issuer::parse("https://127.0.0.1:8443/oauth2/transfers").expect("valid"),
            audiences: &["https://a.example".to_owned(), "https://b.example".to_owned()],
            subject: &user,
            user: Some("u1"),
            client: &ClientId::parse("mobile").expect("valid"),
            scopes: &ScopeSet::parse("transfers:read").expect("valid"),
            session: Some(TokenSession {
                id: &GrantId::parse("gcx").expect("valid"),
                auth_time: Timestamp::from_unix_seconds(900),
                amr: &amr,
                acr: Some("high"),
            }),
            binding: Some(KeyBinding::Dpop(crate::model::digest::Digest::from_bytes([0; 32]))),
            actor: Some(&actor),
            issued_at: Timestamp::from_unix_seconds(1000),
            lifetime: Duration::from_secs(600),
            id: &access_token_id("abc"),
            custom: Map::new(),
        };
        let expected = json!({
            "iss": "https://127.0.0.1:8443/oauth2/transfers", "aud": ["https://a.example", "https://b.example"],
            "sub": "ada@bank.example", "uid": "u1", "client_id": "mobile", "cid": "mobile", "scope": "transfers:read",
            "sid": "gcx", "auth_time": 900, "amr": ["pwd"], "acr": "high", "act": { "sub": "nightly-batch" },
            "cnf": { "jkt": "A".repeat(43) }, "iat": 1000, "exp": 1600, "jti": "AT.abc",
        });
        assert_eq!(Value::Object(token.claims()), expected);
    }

    #[test]
    fn a_custom_claim_never_replaces_a_registered_one() {
        let custom = json!({ "iss": "https://evil.example", "uid": "root", "scp": ["admin"], "scope": "admin", "act": {}, "tier": "gold" });
        let plain = claims(TokenProfile::Rfc9068, None, json!({ "tier": "gold" }));
        assert_eq!(claims(TokenProfile::Rfc9068, None, custom.clone()), plain);
        let okta = claims(TokenProfile::Okta, None, custom);
        assert_eq!((okta.get("uid"), okta.get("scope")), (None, None));
        assert_eq!(okta["tier"], "gold");
    }
}
