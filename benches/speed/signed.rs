//! Bare verifications of signatures, everything decoded before: what a first check is compared with.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use aws_lc_rs::rsa::PublicKeyComponents;
use aws_lc_rs::signature::{self, ParsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use scopegate::jose::alg::Algorithm;

/// Tokens, decoded, and the key that has signed them.
pub(crate) struct Signed {
    key: ParsedPublicKey,
    parts: Vec<(Vec<u8>, Vec<u8>)>,
    next: AtomicUsize,
}

impl Signed {
    /// Reads a file: the name of the algorithm, the public JWK, then a token in each line.
    pub(crate) fn read(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).expect("readable");
        let mut lines = text.lines();
        let algorithm = lines.next().and_then(Algorithm::parse).expect("an algorithm");
        let jwk = serde_json::from_str(lines.next().expect("a key")).expect("JSON");
        let parts = lines.map(|token| {
            let (message, signature) = token.rsplit_once('.').expect("a token");
            let signature = URL_SAFE_NO_PAD.decode(signature).expect("base64url");
            (message.as_bytes().to_vec(), signature)
        });
        Self {
            key: public_key(&jwk, algorithm),
            parts: parts.collect(),
            next: AtomicUsize::new(0),
        }
    }

    /// Verifies the next of them.
    pub(crate) fn verify_one(&self) {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let (message, signature) = &self.parts[number % self.parts.len()];
        self.key.verify_sig(message, signature).expect("a good signature");
    }
}

fn public_key(jwk: &serde_json::Value, algorithm: Algorithm) -> ParsedPublicKey {
    let member = |name: &str| {
        URL_SAFE_NO_PAD
            .decode(jwk[name].as_str().expect("a member"))
            .expect("base64url")
    };
    let rsa = |parameters| {
        let (n, e) = (member("n"), member("e"));
        PublicKeyComponents { n, e }.to_parsed_public_key(parameters).ok()
    };
    let point = || [vec![4], member("x"), member("y")].concat();
    match algorithm {
        Algorithm::Rs256 => rsa(&signature::RSA_PKCS1_2048_8192_SHA256),
        Algorithm::Ps256 => rsa(&signature::RSA_PSS_2048_8192_SHA256),
        Algorithm::Es256 => ParsedPublicKey::new(&signature::ECDSA_P256_SHA256_FIXED, point()).ok(),
        Algorithm::Es384 => ParsedPublicKey::new(&signature::ECDSA_P384_SHA384_FIXED, point()).ok(),
        Algorithm::EdDsa => ParsedPublicKey::new(&signature::ED25519, member("x")).ok(),
        other => panic!("no token of the benchmark is signed by {}", other.as_str()),
    }
    .expect("a key")
}
