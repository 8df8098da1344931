//! DPoP proofs (RFC 9449 section 4.3): the caller holds the key that its token is bound to.
//!
//! [`verify_proof`] checks one proof against one request and gives the key that signed it. What it
//! cannot know is left to the caller, who must
//! - refuse a request with more than one `DPoP` header (case X08);
//! - compare the key with the token's `cnf.jkt`;
//! - refuse a `(thumbprint, jti)` that was seen before and is not past [`ProvenKey::useful_until`]
//!   (case X05), and a nonce that is not its own.
//!
//! The `htu` claim and the request's URL are compared after the normalisation of RFC 3986 section
//! 6.2.2 and 6.2.3: scheme and host without case, no default port, `/` for an empty path, unreserved
//! characters decoded, the hex digits of other escapes in upper case; query and fragment do not
//! count (RFC 9449 section 4.3). A trailing slash does, and dot segments are not resolved.

use std::borrow::Cow;
use std::time::Duration;

use serde_json::{Map, Value};

use crate::jose::alg::Algorithm;
use crate::jose::compact::Compact;
use crate::jose::json::{self, Limits, whole_number};
use crate::jose::key::VerifyingKey;
use crate::model::digest::Digest;
use crate::model::time::Timestamp;

/// The longest `jti` or `nonce` of a proof, in bytes: they are kept, so they are bounded.
pub const PROOF_TEXT_BYTES_MAX: usize = 256;

/// What a proof must be about.
#[derive(Debug, Clone, Copy)]
pub struct ExpectedProof<'a> {
    /// The request's verb, case-sensitive (case X01).
    pub method: &'a str,
    /// `https` or `http`, from trusted configuration and never from a client's header (case X02).
    pub scheme: &'a str,
    /// The host that the client addressed, with its port if it is not the scheme's.
    pub authority: &'a str,
    /// The path that the client addressed, before any rewriting (case X03). A query is ignored.
    pub path: &'a str,
    /// The SHA-256 of the access token that the proof must name in `ath`; `None` at the token
    /// endpoint, where there is no token yet.
    pub access_token_digest: Option<&'a Digest>,
    /// The wall clock.
    pub now: Timestamp,
    /// How old a proof may be.
    pub max_age: Duration,
    /// How far clocks may be apart, to both sides.
    pub leeway: Duration,
}

/// A key whose possession was proven for one request. Only [`verify_proof`] makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct ProvenKey {
    /// The key's RFC 7638 thumbprint: what `cnf.jkt` must be.
    pub thumbprint: Digest,
    /// The proof's `jti`.
    pub jti: String,
    /// The proof's `iat`.
    pub issued_at: Timestamp,
    /// From this moment on the proof is too old: until then its `jti` must be remembered.
    pub useful_until: Timestamp,
    /// The proof's `nonce`, if it has one. Nobody has compared it yet.
    pub nonce: Option<String>,
    seal: Seal,
}

/// Keeps the literal of [`ProvenKey`] out of reach of other rooms, whose fields are open to read.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seal;

impl ProvenKey {
    /// A key that nobody proved, for the tests of other rooms.
    #[cfg(test)]
    pub(crate) fn assertion_for_test(thumbprint: Digest, now: Timestamp) -> Self {
        Self {
            thumbprint,
            jti: "assumed".to_owned(),
            issued_at: now,
            useful_until: now,
            nonce: None,
            seal: Seal,
        }
    }
}

/// Why a proof proves nothing. It prints one sentence whatever the reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[error("the DPoP proof is not valid")]
pub enum ProofError {
    /// Not one compact JWS with a JSON payload.
    Malformed,
    /// `typ` is not `dpop+jwt`.
    Type,
    /// The algorithm is symmetric.
    Algorithm,
    /// `jwk` is absent, private, weak, or does not go with the algorithm.
    Key,
    /// The signature is not the key's.
    BadSignature,
    /// `htm` is not the request's verb.
    Method,
    /// `htu` is not the request's URL.
    Url,
    /// `iat` is absent, malformed or outside the window, or `exp` or `nbf` forbid the proof.
    Time,
    /// `jti` is absent, empty, too long or holds control characters.
    Jti,
    /// `ath` is absent or not the access token's.
    AccessToken,
    /// `nonce` is no string, or too long.
    Nonce,
}

impl ProofError {
    /// The reason as a fixed sentence, for logs and `explain`.
    #[must_use]
    pub fn detail(&self) -> &'static str {
        match self {
            Self::Malformed => "the DPoP proof is not a compact JWS with a JSON object as payload",
            Self::Type => "the DPoP proof's `typ` is not `dpop+jwt`",
            Self::Algorithm => "the DPoP proof's `alg` is not asymmetric",
            Self::Key => "the DPoP proof's `jwk` is not a usable public key for its `alg`",
            Self::BadSignature => "the DPoP proof's signature does not verify",
            Self::Method => "the DPoP proof's `htm` is not the request's method",
            Self::Url => "the DPoP proof's `htu` is not the request's URL",
            Self::Time => "the DPoP proof is too old, from the future, or without a whole `iat`",
            Self::Jti => "the DPoP proof's `jti` is not a usable string",
            Self::AccessToken => "the DPoP proof's `ath` is not the digest of the access token",
            Self::Nonce => "the DPoP proof's `nonce` is not a usable string",
        }
    }
}

/// Verifies one proof for one request.
///
/// # Errors
/// [`ProofError`] names the first rule of RFC 9449 section 4.3 that the proof breaks.
pub fn verify_proof(proof: &str, expect: &ExpectedProof<'_>) -> Result<ProvenKey, ProofError> {
    let compact = Compact::parse(proof).map_err(|_| ProofError::Malformed)?;
    // RFC 9449 section 4.2 writes the type in full; RFC 7515 section 4.1.9 compares without case.
    if !compact.typ().is_some_and(|typ| typ.eq_ignore_ascii_case("dpop+jwt")) {
        return Err(ProofError::Type);
    }
    let algorithm = compact.algorithm();
    if algorithm.is_symmetric() {
        return Err(ProofError::Algorithm);
    }
    let (key, thumbprint) = embedded_key(&compact, algorithm)?;
    if !key.verifies(algorithm, compact.signing_input().as_bytes(), compact.signature()) {
        return Err(ProofError::BadSignature);
    }
    let claims = json::map(compact.payload_unverified(), Limits::TOKEN).map_err(|_| ProofError::Malformed)?;
    if text(&claims, "htm") != Some(expect.method) {
        return Err(ProofError::Method);
    }
    if !text(&claims, "htu").is_some_and(|htu| is_url_of(htu, expect)) {
        return Err(ProofError::Url);
    }
    let issued_at = check_time(&claims, expect)?;
    let jti = text(&claims, "jti")
        .filter(|jti| is_bounded_text(jti))
        .ok_or(ProofError::Jti)?;
    if let Some(digest) = expect.access_token_digest {
        // Both sides are public values of the request: no secret is compared here.
        if text(&claims, "ath") != Some(digest.to_base64url().as_str()) {
            return Err(ProofError::AccessToken);
        }
    }
    let nonce = match claims.get("nonce") {
        None => None,
        Some(Value::String(nonce)) if is_bounded_text(nonce) => Some(nonce.clone()),
        Some(_) => return Err(ProofError::Nonce),
    };
    Ok(ProvenKey {
        thumbprint,
        jti: jti.to_owned(),
        issued_at,
        useful_until: issued_at.plus(expect.max_age).plus(expect.leeway),
        nonce,
        seal: Seal,
    })
}

/// The public key of the header. Parsed for each proof: a client's key is seen once or seldom.
fn embedded_key(compact: &Compact<'_>, algorithm: Algorithm) -> Result<(VerifyingKey, Digest), ProofError> {
    let mut members = compact
        .embedded_key()
        .and_then(Value::as_object)
        .cloned()
        .ok_or(ProofError::Key)?;
    // Without `alg` an RSA key would be parsed for all six of its algorithms.
    members
        .entry("alg")
        .or_insert_with(|| Value::String(algorithm.as_str().to_owned()));
    let key = VerifyingKey::from_jwk(&members).map_err(|_| ProofError::Key)?;
    if !key.serves(algorithm) {
        return Err(ProofError::Key);
    }
    let thumbprint = key.thumbprint().ok_or(ProofError::Key)?;
    Ok((key, thumbprint))
}

/// `iat` in `[now - max_age - leeway, now + leeway]`, and `exp` and `nbf` respected where present.
fn check_time(claims: &Map<String, Value>, expect: &ExpectedProof<'_>) -> Result<Timestamp, ProofError> {
    let seconds = |name: &str| match claims.get(name) {
        None => Ok(None),
        Some(value) => match whole_number(value) {
            Some(number) if number >= 0 => Ok(Some(Timestamp::from_unix_seconds(number))),
            _ => Err(ProofError::Time),
        },
    };
    let issued_at = seconds("iat")?.ok_or(ProofError::Time)?;
    let latest = expect.now.plus(expect.leeway);
    let earliest = expect.now.minus(expect.max_age).minus(expect.leeway);
    let in_window = issued_at > earliest && issued_at <= latest;
    let expired = seconds("exp")?.is_some_and(|moment| expect.now >= moment.plus(expect.leeway));
    let early = seconds("nbf")?.is_some_and(|moment| moment > latest);
    if !in_window || expired || early {
        return Err(ProofError::Time);
    }
    Ok(issued_at)
}

fn text<'c>(claims: &'c Map<String, Value>, name: &str) -> Option<&'c str> {
    claims.get(name).and_then(Value::as_str)
}

fn is_bounded_text(text: &str) -> bool {
    !text.is_empty() && text.len() <= PROOF_TEXT_BYTES_MAX && !text.chars().any(char::is_control)
}

// === URLs ===

/// Whether `htu` is the request's URL.
fn is_url_of(htu: &str, expect: &ExpectedProof<'_>) -> bool {
    let Some((scheme, rest)) = htu.split_once("://") else {
        return false;
    };
    let rest = rest.split(['?', '#']).next().unwrap_or(rest);
    let (authority, path) = match rest.find('/') {
        Some(slash) => rest.split_at(slash),
        None => (rest, ""),
    };
    let ours = expect.path.split(['?', '#']).next().unwrap_or(expect.path);
    scheme.eq_ignore_ascii_case(expect.scheme)
        && is_host(authority)
        && without_default_port(authority, scheme).eq_ignore_ascii_case(without_default_port(expect.authority, scheme))
        && matches!(
            (normal_path(path), normal_path(ours)),
            (Some(theirs), Some(ours)) if theirs == ours
        )
}

/// Printable ASCII without user information or a backslash, and not empty.
fn is_host(authority: &str) -> bool {
    !authority.is_empty()
        && authority
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'@' | b'\\'))
}

/// Drops the port if it is the scheme's own or empty (RFC 3986 section 6.2.3).
fn without_default_port<'u>(authority: &'u str, scheme: &str) -> &'u str {
    let default = if scheme.eq_ignore_ascii_case("https") {
        "443"
    } else {
        "80"
    };
    match authority.rsplit_once(':') {
        Some((host, port)) if port.is_empty() || port == default => host,
        _ => authority,
    }
}

/// The path with unreserved characters decoded and other escapes in upper case (RFC 3986 sections
/// 6.2.2.1 and 6.2.2.2). `None` for a broken escape, or a byte that is no part of a URL.
fn normal_path(path: &str) -> Option<Cow<'_, str>> {
    if path.is_empty() {
        return Some(Cow::Borrowed("/"));
    }
    if !path.bytes().all(|byte| byte.is_ascii_graphic()) {
        return None;
    }
    if !path.contains('%') {
        return Some(Cow::Borrowed(path));
    }
    let mut normal = String::with_capacity(path.len());
    let mut pieces = path.split('%');
    normal.push_str(pieces.next().unwrap_or_default());
    for piece in pieces {
        let digits = piece.get(..2)?;
        if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        let byte = u8::from_str_radix(digits, 16).ok()?;
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            normal.push(char::from(byte));
        } else {
            normal.push('%');
            normal.push_str(&digits.to_ascii_uppercase());
        }
        normal.push_str(&piece[2..]);
    }
    Some(Cow::Owned(normal))
}

#[cfg(test)]
mod tests;
