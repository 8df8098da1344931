//! ID tokens (OpenID Connect Core section 2): who signed in, told to the client.
//!
//! - `sub` is the user's identifier, which is never given to another user (OIDC Core section 5.7); the
//!   `sub` of an access token is the login, as in Okta's model. Userinfo says the former.
//! - The token endpoint always gives an access token along, so that its ID tokens are *thin*: what the
//!   scopes `profile`, `email`, `address` and `phone` stand for is told by userinfo (OIDC Core section
//!   5.4). Claims that are declared `in: id_token` are there always, if their scopes were granted.
//! - It is signed with the authorization server's key and `typ: JWT`, so that no API takes it for an
//!   access token (case 101), and lives for [`ID_TOKEN_LIFETIME_MAX`] at most, and no longer than the
//!   longest access token of the server: a key stays published for that long.

use std::time::Duration;

use aws_lc_rs::digest::{SHA256, SHA384, SHA512, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};

use crate::jose::alg::Algorithm;
use crate::model::id::{ClientId, GrantId, Issuer, UserId};
use crate::model::time::Timestamp;
use crate::oauth::claims::RESERVED;

/// The `typ` header of ID tokens.
pub const ID_TOKEN_TYPE: &str = "JWT";

/// The longest life of an ID token: an hour, as in Okta's model.
pub const ID_TOKEN_LIFETIME_MAX: Duration = Duration::from_secs(60 * 60);

/// What an ID token says.
#[derive(Debug, Clone)]
pub struct IdToken<'a> {
    /// Who mints it.
    pub issuer: &'a Issuer,
    /// Who signed in.
    pub user: &'a UserId,
    /// Whom it is for.
    pub client: &'a ClientId,
    /// When it is minted.
    pub issued_at: Timestamp,
    /// How long it lives.
    pub lifetime: Duration,
    /// When the user signed in.
    pub auth_time: Timestamp,
    /// How (RFC 8176).
    pub amr: &'a [String],
    /// How surely.
    pub acr: Option<&'a str>,
    /// The `nonce` of the authorization request.
    pub nonce: Option<&'a str>,
    /// The grant that it belongs to.
    pub session: &'a GrantId,
    /// The access token beside it, and the algorithm that the ID token is signed with.
    pub beside: (&'a str, Algorithm),
    /// What it says besides.
    pub custom: Map<String, Value>,
}

impl IdToken<'_> {
    /// The claim set.
    #[must_use]
    pub fn claims(&self) -> Map<String, Value> {
        let mut claims = self.custom.clone();
        // SECURITY: a custom claim never takes the place of one of these, written or not.
        claims.retain(|name, _| !RESERVED.contains(&name.as_str()));
        let mut set = |name: &str, value: Value| {
            claims.insert(name.to_owned(), value);
        };
        set("iss", json!(self.issuer.as_str()));
        set("sub", json!(self.user.as_str()));
        set("aud", json!(self.client.as_str()));
        set("azp", json!(self.client.as_str()));
        set("iat", json!(self.issued_at.unix_seconds()));
        set("exp", json!(self.issued_at.plus(self.lifetime).unix_seconds()));
        set("auth_time", json!(self.auth_time.unix_seconds()));
        set("sid", json!(self.session.as_str()));
        let (access_token, algorithm) = self.beside;
        set("at_hash", json!(half_hash(algorithm, access_token)));
        if !self.amr.is_empty() {
            set("amr", json!(self.amr));
        }
        if let Some(acr) = self.acr {
            set("acr", json!(acr));
        }
        if let Some(nonce) = self.nonce {
            set("nonce", json!(nonce));
        }
        claims
    }
}

/// The left half of the hash of a text, by the hash of the signature algorithm: `at_hash`, `c_hash`
/// (OIDC Core section 3.1.3.6). Ed25519 hashes with SHA-512.
#[must_use]
pub fn half_hash(algorithm: Algorithm, text: &str) -> String {
    use Algorithm as A;
    let hash = match algorithm {
        A::Rs256 | A::Ps256 | A::Es256 | A::Hs256 => &SHA256,
        A::Rs384 | A::Ps384 | A::Es384 | A::Hs384 => &SHA384,
        A::Rs512 | A::Ps512 | A::Hs512 | A::EdDsa => &SHA512,
    };
    let whole = digest(hash, text.as_bytes());
    URL_SAFE_NO_PAD.encode(&whole.as_ref()[..whole.as_ref().len() / 2])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_103_case_110_at_hash_is_the_left_half_by_the_hash_of_the_algorithm() {
        // OpenID Connect Core, appendix A.3: its access token under RS256.
        let token = "jHkWEdUXMU1BwAsC4vtUsZwnNvTIxEl0z9K3vx5KF0Y";
        assert_eq!(half_hash(Algorithm::Rs256, token), "77QmUPtjPfzWtF2AnpK9RQ");
        for (algorithm, characters) in [
            (Algorithm::Ps256, 22),
            (Algorithm::Es256, 22),
            (Algorithm::Es384, 32),
            (Algorithm::EdDsa, 43),
        ] {
            assert_eq!(half_hash(algorithm, token).len(), characters, "{algorithm:?}");
        }
    }

    #[test]
    fn case_103_an_id_token_says_who_when_and_for_whom_and_a_custom_claim_replaces_nothing() {
        let custom = json!({ "tier": "gold", "sub": "root", "nonce": "x", "acr": "high", "sid": "y" });
        let Value::Object(custom) = custom else {
            panic!("an object")
        };
        let amr = ["pwd".to_owned()];
        let token = IdToken {
            issuer: &Issuer::parse("https://127.0.0.1:8443/oauth2/transfers").expect("valid"),
            user: &UserId::parse("u1").expect("valid"),
            client: &ClientId::parse("mobile").expect("valid"),
            issued_at: Timestamp::from_unix_seconds(1000),
            lifetime: Duration::from_secs(300),
            auth_time: Timestamp::from_unix_seconds(900),
            amr: &amr,
            acr: None,
            nonce: None,
            session: &GrantId::parse("gcx").expect("valid"),
            beside: ("jHkWEdUXMU1BwAsC4vtUsZwnNvTIxEl0z9K3vx5KF0Y", Algorithm::Es256),
            custom,
        };
        let expected = json!({
            "iss": "https://127.0.0.1:8443/oauth2/transfers", "sub": "u1", "aud": "mobile", "azp": "mobile",
            "iat": 1000, "exp": 1300, "auth_time": 900, "sid": "gcx", "amr": ["pwd"],
            "at_hash": "77QmUPtjPfzWtF2AnpK9RQ", "tier": "gold",
        });
        assert_eq!(Value::Object(token.claims()), expected);
    }
}
