//! A foreign authorization server in a test's hand: its keys, and tokens with exactly the header and claims that a test
//! wants. It signs with aws-lc-rs alone and shares no code with the gate's own signer.

use std::time::{Duration, SystemTime};

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

/// Base64url without padding.
pub(crate) fn base64url(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The SHA-256 in base64url, as `ath`, `x5t#S256` and thumbprints are written.
pub(crate) fn sha256(bytes: impl AsRef<[u8]>) -> String {
    base64url(digest(&SHA256, bytes.as_ref()))
}

/// Now, in seconds since 1970: tokens in tests live by the machine's clock, as the gate's process does.
#[expect(clippy::disallowed_methods, reason = "the process under test reads the same clock")]
pub(crate) fn now() -> i64 {
    let since = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(Duration::ZERO, |since| since);
    i64::try_from(since.as_secs()).expect("before the year 292 billion")
}

/// An ES256 key.
pub(crate) struct Key {
    pair: EcdsaKeyPair,
    pub(crate) kid: String,
}

impl Key {
    pub(crate) fn new(kid: &str) -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key");
        Self {
            pair,
            kid: kid.to_owned(),
        }
    }

    /// The public key as a JWK with only what its thumbprint covers (RFC 7638).
    pub(crate) fn bare_jwk(&self) -> Value {
        let point = self.pair.public_key().as_ref();
        json!({ "crv": "P-256", "kty": "EC", "x": base64url(&point[1..33]), "y": base64url(&point[33..]) })
    }

    /// The public key as a key set lists it.
    pub(crate) fn jwk(&self) -> Value {
        let mut jwk = self.bare_jwk();
        jwk["kid"] = json!(self.kid);
        jwk["use"] = json!("sig");
        jwk["alg"] = json!("ES256");
        jwk
    }

    /// The RFC 7638 thumbprint. `serde_json` writes members in the order of their names, as it must be.
    pub(crate) fn thumbprint(&self) -> String {
        sha256(self.bare_jwk().to_string())
    }

    /// A compact JWS of exactly this header and payload.
    pub(crate) fn sign(&self, header: &Value, payload: &Value) -> String {
        self.sign_text(&header.to_string(), &payload.to_string())
    }

    /// The same of exactly these bytes.
    pub(crate) fn sign_text(&self, header: &str, payload: &str) -> String {
        let input = format!("{}.{}", base64url(header), base64url(payload));
        let signature = self
            .pair
            .sign(&SystemRandom::new(), input.as_bytes())
            .expect("a signature");
        format!("{input}.{}", base64url(signature))
    }

    /// A DPoP proof (RFC 9449 section 4.2) for this request, with changes to its header and claims.
    pub(crate) fn proof(
        &self,
        method: &str,
        uri: &str,
        token: &str,
        changes: impl FnOnce(&mut Value, &mut Value),
    ) -> String {
        let mut header = json!({ "typ": "dpop+jwt", "alg": "ES256", "jwk": self.bare_jwk() });
        let mut claims = json!({
            "htm": method, "htu": uri, "iat": now(), "jti": unique("proof"), "ath": sha256(token),
        });
        changes(&mut header, &mut claims);
        self.sign(&header, &claims)
    }
}

/// A text that no other call returns.
pub(crate) fn unique(what: &str) -> String {
    format!("{what}-{}", uuid::Uuid::now_v7())
}

/// A foreign authorization server.
pub(crate) struct Server {
    pub(crate) issuer: String,
    pub(crate) audience: String,
    pub(crate) key: Key,
}

impl Server {
    pub(crate) fn new(id: &str) -> Self {
        Self {
            issuer: format!("https://{id}.test"),
            audience: format!("https://api.bank.example/{id}"),
            key: Key::new(&format!("{id}-1")),
        }
    }

    pub(crate) fn jwks(&self) -> Value {
        json!({ "keys": [self.key.jwk()] })
    }

    /// The header that its tokens have.
    pub(crate) fn header(&self) -> Value {
        json!({ "typ": "at+jwt", "alg": "ES256", "kid": self.key.kid })
    }

    /// The claims that its tokens have, and these beside or instead; a `null` takes a claim away.
    pub(crate) fn claims(&self, changes: &Value) -> Value {
        let now = now();
        let mut claims = json!({
            "iss": self.issuer, "aud": self.audience, "iat": now, "exp": now + 300, "jti": unique("token"),
            "sub": "ada", "client_id": "mobile",
        });
        for (name, value) in changes.as_object().expect("changes are an object") {
            if value.is_null() {
                claims.as_object_mut().expect("an object").remove(name);
            } else {
                claims[name] = value.clone();
            }
        }
        claims
    }

    /// A token with these claims beside or instead of the usual ones.
    pub(crate) fn token(&self, changes: &Value) -> String {
        self.key.sign(&self.header(), &self.claims(changes))
    }
}
