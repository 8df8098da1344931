//! The only way from a token to its claims.
//!
//! [`verify`] takes a well-formed token, a key set and what is expected, and gives
//! [`Verified<Claims>`] or one error. What is checked, in this order:
//!
//! 1. the algorithm is one of the authorization server's;
//! 2. one key fits `kid` and algorithm, and the signature is its own;
//! 3. `typ` marks an access token; `iss` is equal; `aud` names one of ours;
//! 4. the clock, with leeway `l` (at most 60 s, one value for all three):
//!
//! | claim | accepted if | absent | no whole number of seconds from 0 |
//! |---|---|---|---|
//! | `exp` | `now < exp + l` | refused | refused |
//! | `nbf` | `nbf <= now + l` | accepted | refused |
//! | `iat` | `iat <= now + l` | accepted | refused |
//!
//! 5. `sub` and `jti`, where they are present, are identifiers.
//!
//! So a token with `exp = now - l` is dead and one with `exp = now - l + 1` has a second to live
//! (RFC 7519 section 4.1.4: "on or after"). A fraction of a second is refused though the RFC allows
//! it: no authorization server in use writes one, and two readings of one number are an opening.
//!
//! A token whose `kid` is unknown is checked for 3 and 4 before that is said: it causes a fetch of
//! keys, which a token that is dead anyway must not.
//!
//! Errors are alike to the outside (attack A42): [`VerifyError`] prints one sentence, and
//! [`VerifyError::detail`] has the fixed one for logs.

use std::fmt;
use std::time::Duration;

#[cfg(test)]
use serde_json::Map;
use serde_json::Value;

use crate::jose::alg::Algorithm;
use crate::jose::compact::Compact;
use crate::jose::key::{KeySet, Lookup, VerifyingKey};
use crate::jose::object::{Object, ValueRef};
use crate::jose::unverified::Unverified;
use crate::model::id::{self, Issuer, Jti, Kid, Subject};
use crate::model::time::Timestamp;

/// The most that clocks may be apart (attack A27, case J10). A larger leeway is cut to this.
pub const LEEWAY_MAX: Duration = Duration::from_secs(60);

/// Something that a signature vouches for. Only this module makes one.
#[must_use]
pub struct Verified<T>(T);

impl<T> Verified<T> {
    /// What was verified.
    pub fn get(&self) -> &T {
        &self.0
    }

    /// What was verified, without the proof: the caller vouches for it from here on.
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl<T> fmt::Debug for Verified<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Verified(..)")
    }
}

/// What a token must be, to be believed.
#[derive(Debug, Clone, Copy)]
pub struct Expectations<'a> {
    /// The exact `iss`.
    pub issuer: &'a Issuer,
    /// `aud` must name one of these exactly. An empty list accepts no token.
    pub audiences: &'a [String],
    /// The algorithms that the authorization server signs with. An empty list accepts no token.
    pub algorithms: &'a [Algorithm],
    /// What its `typ` may be.
    pub token_types: &'a TokenTypes,
    /// How far clocks may be apart, up to [`LEEWAY_MAX`].
    pub leeway: Duration,
    /// The wall clock.
    pub now: Timestamp,
}

/// Which `typ` header values mark access tokens. They are compared without case and without an
/// `application/` prefix (RFC 7515 section 4.1.9).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenTypes {
    /// `JWT`, `at+jwt`, or no `typ` at all: what the providers of the world send. Unless the `typ`
    /// is `at+jwt`, a token that bears the mark of another kind (ID token, logout token, DPoP
    /// proof) is refused.
    Usual,
    /// One of these; an absent `typ` is refused.
    Only(Vec<String>),
}

/// The claims of a verified token.
#[derive(Debug, Clone)]
pub struct Claims {
    /// Every claim as the token has it.
    pub members: Object,
    /// The `kid` of the key that signed it, if that key has one.
    pub kid: Option<Kid>,
    /// `iat`.
    pub issued_at: Option<Timestamp>,
    /// `exp`, without the leeway.
    pub expires_at: Timestamp,
}

impl Claims {
    /// Every claim, as a map.
    #[cfg(test)]
    pub(crate) fn map(&self) -> Map<String, Value> {
        self.members.to_map()
    }

    /// `sub`; `None` if it is absent: [`verify`] refuses an unusable one.
    #[must_use]
    pub fn subject(&self) -> Option<Subject> {
        self.members.text("sub").and_then(|text| Subject::parse(text).ok())
    }

    /// `jti`; `None` if it is absent: [`verify`] refuses an unusable one.
    #[must_use]
    pub fn jti(&self) -> Option<Jti> {
        self.members.text("jti").and_then(|text| Jti::parse(text).ok())
    }
}

/// Why a token is not believed. It prints one sentence whatever the reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[error("the token is not valid")]
pub enum VerifyError {
    /// The algorithm is not one of the authorization server's.
    Algorithm,
    /// No key of the set has the token's `kid`: a newer set may.
    UnknownKid,
    /// The key with this `kid` serves another algorithm, or without a `kid` no single key fits.
    NoKey,
    /// The signature is not the key's.
    BadSignature,
    /// `typ`, or a claim, marks another kind of token.
    TokenType,
    /// `iss` is absent, malformed or another issuer.
    Issuer,
    /// `aud` is absent, malformed or names none of ours.
    Audience,
    /// `exp` is absent.
    ExpiryAbsent,
    /// `exp`, `nbf` or `iat` is no whole number of seconds.
    Time,
    /// `exp` has passed.
    Expired,
    /// `nbf` lies ahead.
    NotYetValid,
    /// `iat` lies ahead.
    IssuedInFuture,
    /// `sub` or `jti` is no usable string.
    Identifier,
}

impl VerifyError {
    /// The reason as a fixed sentence, for logs and `explain`; never for the client.
    #[must_use]
    pub fn detail(&self) -> &'static str {
        match self {
            Self::Algorithm => "the token's `alg` is not one that the authorization server is configured with",
            Self::UnknownKid => "no key of the authorization server has the token's `kid`",
            Self::NoKey => "no single key of the authorization server fits the token's `kid` and `alg`",
            Self::BadSignature => "the token's signature does not verify",
            Self::TokenType => "the token is not an access token: its `typ` or its claims mark another kind",
            Self::Issuer => "the token's `iss` is not the authorization server's",
            Self::Audience => "the token's `aud` names none of the configured audiences",
            Self::ExpiryAbsent => "the token has no `exp`",
            Self::Time => "the token's `exp`, `nbf` or `iat` is not a whole number of seconds",
            Self::Expired => "the token has expired",
            Self::NotYetValid => "the token's `nbf` lies in the future",
            Self::IssuedInFuture => "the token's `iat` lies in the future",
            Self::Identifier => "the token's `sub` or `jti` is not a usable string",
        }
    }
}

/// Verifies a token and gives its claims. They are taken out of the token: after a success it has none, and no key and no
/// expectation would be met by it again.
///
/// # Errors
/// [`VerifyError`]; [`VerifyError::UnknownKid`] alone is worth a fetch of newer keys.
pub fn verify(
    token: &mut Unverified<'_>,
    keys: &KeySet,
    expect: &Expectations<'_>,
) -> Result<Verified<Claims>, VerifyError> {
    let checked = |token: &Unverified<'_>| check_claims(token.claims_unverified(), token.typ(), expect);
    match signer(token.compact(), keys, expect.algorithms) {
        Ok(key) => {
            let (issued_at, expires_at) = checked(token)?;
            Ok(Verified(Claims {
                members: token.take_claims(),
                kid: key.kid().cloned(),
                issued_at,
                expires_at,
            }))
        }
        Err(VerifyError::UnknownKid) => Err(checked(token).err().unwrap_or(VerifyError::UnknownKid)),
        Err(refusal) => Err(refusal),
    }
}

/// A token that a key has signed. What it says is believed of no moment and by nobody yet: [`Signed::judge`].
#[must_use]
pub struct Signed {
    claims: Object,
    typ: Option<String>,
    kid: Option<Kid>,
    algorithm: Algorithm,
}

/// Verifies the signature of a token alone, for who judges the token more than once. [`verify`] is this and
/// [`Signed::judge`].
///
/// # Errors
/// [`VerifyError`] of the first two checks of this module.
pub fn signed(mut token: Unverified<'_>, keys: &KeySet, algorithms: &[Algorithm]) -> Result<Signed, VerifyError> {
    let kid = signer(token.compact(), keys, algorithms)?.kid().cloned();
    Ok(Signed {
        typ: token.typ().map(str::to_owned),
        algorithm: token.algorithm(),
        claims: token.take_claims(),
        kid,
    })
}

impl Signed {
    /// Checks everything but the signature.
    ///
    /// # Errors
    /// [`VerifyError`] of the checks of this module, but for the second.
    pub fn judge(&self, expect: &Expectations<'_>) -> Result<Verified<Claims>, VerifyError> {
        if !expect.algorithms.contains(&self.algorithm) {
            return Err(VerifyError::Algorithm);
        }
        let (issued_at, expires_at) = check_claims(&self.claims, self.typ.as_deref(), expect)?;
        Ok(Verified(Claims {
            members: self.claims.clone(),
            kid: self.kid.clone(),
            issued_at,
            expires_at,
        }))
    }
}

impl fmt::Debug for Signed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signed(..)")
    }
}

/// Verifies the signature alone, and gives the payload, whatever it is: `scopegate token decode` asks. The caller judges it.
///
/// # Errors
/// [`VerifyError`] of the first two checks of this module.
pub fn verify_signature<'t>(
    token: &'t Compact<'_>,
    keys: &KeySet,
    algorithms: &[Algorithm],
) -> Result<Verified<&'t [u8]>, VerifyError> {
    signer(token, keys, algorithms).map(|_| Verified(token.payload_unverified()))
}

/// Verifies the signature of a JWT that is no access token (an assertion). The caller judges the claims.
///
/// # Errors
/// [`VerifyError`] of the first two checks of this module.
pub fn check_signature(token: &Unverified<'_>, keys: &KeySet, algorithms: &[Algorithm]) -> Result<(), VerifyError> {
    signer(token.compact(), keys, algorithms).map(|_| ())
}

/// The key that signed the token.
fn signer<'k>(
    token: &Compact<'_>,
    keys: &'k KeySet,
    algorithms: &[Algorithm],
) -> Result<&'k VerifyingKey, VerifyError> {
    let algorithm = token.algorithm();
    if !algorithms.contains(&algorithm) {
        return Err(VerifyError::Algorithm);
    }
    let key = match keys.find(token.kid(), algorithm) {
        Lookup::Found(key) => key,
        Lookup::UnknownKid => return Err(VerifyError::UnknownKid),
        Lookup::NoFit => return Err(VerifyError::NoKey),
    };
    if !key.verifies(algorithm, token.signing_input().as_bytes(), token.signature()) {
        return Err(VerifyError::BadSignature);
    }
    Ok(key)
}

/// Checks the claims, and gives `iat` and `exp`.
fn check_claims(
    claims: &Object,
    typ: Option<&str>,
    expect: &Expectations<'_>,
) -> Result<(Option<Timestamp>, Timestamp), VerifyError> {
    let known = Known::among(claims);
    if !expect.token_types.accept(typ, &known) {
        return Err(VerifyError::TokenType);
    }
    if known.issuer.and_then(ValueRef::as_str) != Some(expect.issuer.as_str()) {
        return Err(VerifyError::Issuer);
    }
    if !names_one_of(known.audience, expect.audiences) {
        return Err(VerifyError::Audience);
    }
    let leeway = expect.leeway.min(LEEWAY_MAX);
    let expires_at = seconds(known.expires_at)?.ok_or(VerifyError::ExpiryAbsent)?;
    let not_before = seconds(known.not_before)?;
    let issued_at = seconds(known.issued_at)?;
    if expect.now >= expires_at.plus(leeway) {
        return Err(VerifyError::Expired);
    }
    let latest = expect.now.plus(leeway);
    if not_before.is_some_and(|moment| moment > latest) {
        return Err(VerifyError::NotYetValid);
    }
    if issued_at.is_some_and(|moment| moment > latest) {
        return Err(VerifyError::IssuedInFuture);
    }
    identifier(known.subject)?;
    identifier(known.jti)?;
    Ok((issued_at, expires_at))
}

/// The claims that are checked, found in one pass: to look each of them up costs more than all the checks.
#[derive(Default)]
struct Known<'c> {
    issuer: Option<ValueRef<'c>>,
    subject: Option<ValueRef<'c>>,
    audience: Option<ValueRef<'c>>,
    expires_at: Option<ValueRef<'c>>,
    not_before: Option<ValueRef<'c>>,
    issued_at: Option<ValueRef<'c>>,
    jti: Option<ValueRef<'c>>,
    typ: Option<ValueRef<'c>>,
    token_use: Option<ValueRef<'c>>,
    /// There is a claim that only other kinds of tokens have.
    has_foreign: bool,
}

impl<'c> Known<'c> {
    fn among(claims: &'c Object) -> Self {
        let mut known = Self::default();
        for (name, item) in claims.iter() {
            let place = match name {
                "iss" => &mut known.issuer,
                "sub" => &mut known.subject,
                "aud" => &mut known.audience,
                "exp" => &mut known.expires_at,
                "nbf" => &mut known.not_before,
                "iat" => &mut known.issued_at,
                "jti" => &mut known.jti,
                "typ" => &mut known.typ,
                "token_use" => &mut known.token_use,
                "at_hash" | "c_hash" | "s_hash" | "events" | "htm" => {
                    known.has_foreign = true;
                    continue;
                }
                _ => continue,
            };
            *place = Some(item);
        }
        known
    }

    /// Whether a claim says that the token was made for another purpose than to be shown to an API
    /// (attack A30, case J14). Providers that write `typ: JWT` on everything tell them apart so:
    /// OpenID Connect by the hashes of an ID token (Core section 3.1.3.6), logout tokens by `events`
    /// (RFC 8417), DPoP proofs by `htm`; Keycloak by a claim `typ`, Cognito by `token_use`.
    fn mark_another_kind(&self) -> bool {
        let says = |claim: Option<ValueRef<'_>>, kinds: &[&str]| {
            claim
                .and_then(ValueRef::as_str)
                .is_some_and(|kind| kinds.iter().any(|other| kind.eq_ignore_ascii_case(other)))
        };
        self.has_foreign
            || says(self.typ, &["ID", "Refresh", "Offline", "Logout"])
            || says(self.token_use, &["id", "refresh"])
    }
}

/// A `NumericDate` that is a whole number and not before 1970.
fn seconds(claim: Option<ValueRef<'_>>) -> Result<Option<Timestamp>, VerifyError> {
    match claim {
        None => Ok(None),
        Some(item) => match item.whole_number() {
            Some(number) if number >= 0 => Ok(Some(Timestamp::from_unix_seconds(number))),
            _ => Err(VerifyError::Time),
        },
    }
}

fn identifier(claim: Option<ValueRef<'_>>) -> Result<(), VerifyError> {
    match claim {
        None => Ok(()),
        Some(ValueRef::Text(text)) => id::check(text).map_err(|_| VerifyError::Identifier),
        Some(ValueRef::Json(_)) => Err(VerifyError::Identifier),
    }
}

/// Whether `aud` (one string, or a non-empty array of strings and nothing else) names one of these.
fn names_one_of(audience: Option<ValueRef<'_>>, accepted: &[String]) -> bool {
    match audience {
        Some(ValueRef::Text(one)) => accepted.iter().any(|ours| ours == one),
        Some(ValueRef::Json(Value::Array(several))) => {
            several.iter().all(Value::is_string)
                && several
                    .iter()
                    .filter_map(Value::as_str)
                    .any(|one| accepted.iter().any(|ours| ours == one))
        }
        _ => false,
    }
}

// === impl TokenTypes ===

impl TokenTypes {
    fn accept(&self, typ: Option<&str>, known: &Known<'_>) -> bool {
        let typ = typ.map(without_application);
        match (self, typ) {
            (Self::Usual, Some(typ)) if typ.eq_ignore_ascii_case("at+jwt") => true,
            (Self::Usual, Some(typ)) if !typ.eq_ignore_ascii_case("JWT") => false,
            (Self::Usual, _) => !known.mark_another_kind(),
            (Self::Only(_), None) => false,
            (Self::Only(accepted), Some(typ)) => accepted
                .iter()
                .any(|one| without_application(one).eq_ignore_ascii_case(typ)),
        }
    }
}

fn without_application(typ: &str) -> &str {
    const PREFIX: &str = "application/";
    match typ.get(..PREFIX.len()) {
        Some(start) if start.eq_ignore_ascii_case(PREFIX) => &typ[PREFIX.len()..],
        _ => typ,
    }
}

#[cfg(test)]
mod tests;
