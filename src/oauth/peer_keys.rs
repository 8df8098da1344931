//! The public keys of peers: of clients that sign assertions, and of issuers whose assertions are a grant.
//!
//! A key set is read once, where it is declared or fetched, and is then immutable. Beside its keys it may name
//! certificates (`x5c`, RFC 7517 section 4.7): those are what `self_signed_tls_client_auth` compares with
//! (RFC 8705 section 2.2.2).

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use url::{Host, Url};

use crate::jose::key::{JwksError, KeyProblem, KeySet};
use crate::model::digest::Digest;

/// Where a peer's keys are.
#[derive(Debug, Clone)]
pub enum PeerKeys {
    /// Here.
    Here(Arc<PeerKeySet>),
    /// At a URL of the peer, which may change them.
    At(KeysUrl),
}

/// A URL that serves a key set.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct KeysUrl {
    /// The URL.
    pub url: Url,
    /// Whether the host may have a private, loopback or link-local address: an operator says so, never the peer.
    pub allow_private_addresses: bool,
}

/// The keys of a peer.
#[derive(Debug, Default)]
pub struct PeerKeySet {
    keys: KeySet,
    certificates: Vec<Digest>,
}

impl PeerKeySet {
    /// Reads a JWK set. What refuses the set and what skips a key is [`KeySet::from_jwks`]'s matter: two keys under
    /// one `kid` refuse it (case 071).
    ///
    /// # Errors
    /// [`JwksError`] says why the set is refused.
    pub fn from_jwks(json: &[u8]) -> Result<(Self, Vec<KeyProblem>), JwksError> {
        let (keys, problems) = KeySet::from_jwks(json)?;
        let document: Value = serde_json::from_slice(json).map_err(|_| JwksError::NotJson)?;
        let entries = document["keys"].as_array().map(Vec::as_slice).unwrap_or_default();
        // The first certificate of `x5c` is the one of the key; the others would vouch for it.
        let certificates = entries
            .iter()
            .filter_map(|entry| entry["x5c"][0].as_str())
            .filter_map(|text| STANDARD.decode(text).ok())
            .map(|der| Digest::of(&der))
            .collect();
        Ok((Self { keys, certificates }, problems))
    }

    /// The keys.
    #[must_use]
    pub fn keys(&self) -> &KeySet {
        &self.keys
    }

    /// Whether the set names any certificate.
    #[must_use]
    pub fn names_certificates(&self) -> bool {
        !self.certificates.is_empty()
    }

    /// Whether it names the certificate with this digest of its DER.
    #[must_use]
    pub fn names_certificate(&self, digest: &Digest) -> bool {
        self.certificates.contains(digest)
    }
}

/// Why a URL cannot be one of keys.
///
/// # Errors
/// The reason, in the words of a message: "the URL …".
pub fn may_serve_keys(url: &Url) -> Result<(), &'static str> {
    let is_loopback = match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => return Err("names no host"),
    };
    match url.scheme() {
        "https" => {}
        "http" if is_loopback => {}
        "http" => return Err("is plain http: whoever sits between could answer with keys of their own"),
        _ => return Err("is neither https nor http"),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("holds credentials");
    }
    if url.fragment().is_some() {
        return Err("has a fragment");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::jose::alg::Algorithm;
    use crate::jose::sign::SigningKey;

    #[test]
    fn case_071_two_keys_under_one_kid_refuse_the_set() {
        let jwk = |kid: &str| {
            let mut jwk = SigningKey::generate(Algorithm::Es256).expect("a key").public_jwk();
            jwk["kid"] = json!(kid);
            jwk
        };
        let set = |one: Value, two: Value| PeerKeySet::from_jwks(json!({ "keys": [one, two] }).to_string().as_bytes());
        assert!(matches!(set(jwk("a"), jwk("a")), Err(JwksError::DuplicateKid(_))));
        assert_eq!(set(jwk("a"), jwk("b")).expect("a set").0.keys().len(), 2);
    }

    #[test]
    fn case_076_a_set_names_the_first_certificate_of_each_x5c_alone() {
        let mut jwk = SigningKey::generate(Algorithm::Es256).expect("a key").public_jwk();
        jwk["x5c"] = json!([STANDARD.encode("own"), STANDARD.encode("authority")]);
        let (set, _) = PeerKeySet::from_jwks(json!({ "keys": [jwk] }).to_string().as_bytes()).expect("a set");
        assert!(set.names_certificate(&Digest::of(b"own")));
        assert!(!set.names_certificate(&Digest::of(b"authority")));
    }

    #[test]
    fn attack_f18_a_url_of_keys_is_https_without_credentials() {
        for (url, good) in [
            ("https://client.example/jwks", true),
            ("http://127.0.0.1:8080/jwks", true),
            ("http://client.example/jwks", false),
            ("https://user:pass@client.example/jwks", false),
            ("https://client.example/jwks#x", false),
            ("file:///etc/passwd", false),
            ("gopher://client.example/", false),
        ] {
            let url = Url::parse(url).expect("a URL");
            assert_eq!(may_serve_keys(&url).is_ok(), good, "{url}");
        }
    }
}
