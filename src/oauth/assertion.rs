//! Assertions (RFC 7521, RFC 7523): what the claims of a signed statement must be before it counts.
//!
//! The signature is the caller's matter; here the claims are judged, all of them, strictly:
//!
//! | claim | must be |
//! |---|---|
//! | `iss`, `sub` | who the caller expects, as a string |
//! | `aud` | one string, and one of those that the caller accepts: a list is refused, since who else is in it could use the assertion in our place (attack F17) |
//! | `exp` | there, ahead, and at most [`Rules::lifetime_max`] ahead (case 066) |
//! | `iat`, `nbf` | if there, at most [`LEEWAY`] ahead (case 067) |
//! | `jti` | if there, a string of at most [`JTI_BYTES_MAX`] |
//!
//! An assertion without `jti` is good once all the same: what was signed names it.

use std::time::Duration;

use crate::jose::object::{Object, ValueRef};
use crate::model::digest::Digest;
use crate::model::time::Timestamp;

/// The `client_assertion_type` of JWTs (RFC 7523 section 2.2).
pub const CLIENT_ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// How far ahead of ours the peer's clock may be.
pub const LEEWAY: Duration = Duration::from_secs(30);

/// How long an assertion may live (okta-model section 7).
pub const LIFETIME_MAX: Duration = Duration::from_secs(60 * 60);

/// The longest `jti`, in bytes.
pub const JTI_BYTES_MAX: usize = 1024;

/// What an assertion must be.
#[derive(Debug, Clone, Copy)]
pub struct Rules<'a> {
    /// Who has to be its `iss`.
    pub issuer: &'a str,
    /// Who has to be its `sub`; anybody if `None`.
    pub subject: Option<&'a str>,
    /// What its `aud` may be.
    pub audiences: &'a [String],
    /// How long it may live from now on.
    pub lifetime_max: Duration,
    /// The time.
    pub now: Timestamp,
}

/// What is kept of an assertion whose claims are good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// What names it, among all assertions of its issuer: to be used once.
    pub replay: Digest,
    /// When it ends: until then it must not be used again.
    pub expires_at: Timestamp,
    /// Whom it speaks of.
    pub subject: String,
}

/// Why an assertion does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum AssertionProblem {
    /// It is no compact JWS with a JSON object as payload, or has an extension that is not understood.
    #[error("the assertion is not a compact JWS with a JSON object as payload")]
    Malformed,
    /// The algorithm is none of those that its keys are for.
    #[error("the assertion's `alg` is not one that its keys are for")]
    Algorithm,
    /// No key has its `kid`, or none fits.
    #[error("no key of the issuer fits the assertion's `kid` and `alg`")]
    UnknownKey,
    /// The keys cannot be had.
    #[error("the keys of the issuer cannot be had")]
    NoKeys,
    /// The signature is wrong.
    #[error("the assertion's signature does not verify")]
    Signature,
    /// `iss` is absent or another.
    #[error("the assertion's `iss` is not the expected one")]
    Issuer,
    /// `sub` is absent or another.
    #[error("the assertion's `sub` is not the expected one")]
    Subject,
    /// `aud` is absent, a list, or none of ours.
    #[error("the assertion's `aud` is not one string that names this server")]
    Audience,
    /// There is no `exp`.
    #[error("the assertion has no `exp`")]
    ExpiryAbsent,
    /// `exp` has passed.
    #[error("the assertion has expired")]
    Expired,
    /// `exp` is too far ahead.
    #[error("the assertion expires too far in the future")]
    TooLong,
    /// `iat` or `nbf` lies ahead.
    #[error("the assertion's `iat` or `nbf` lies in the future")]
    Early,
    /// A time is no whole number of seconds.
    #[error("the assertion's `exp`, `iat` or `nbf` is no whole number of seconds")]
    Time,
    /// `jti` is no string, or too long.
    #[error("the assertion's `jti` is not a usable string")]
    Jti,
    /// It was used before.
    #[error("the assertion was used before")]
    Replayed,
}

impl AssertionProblem {
    /// The stable name for logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "assertion_malformed",
            Self::Algorithm => "assertion_invalid_signature_algorithm",
            Self::UnknownKey => "assertion_invalid_kid",
            Self::NoKeys => "assertion_keys_unavailable",
            Self::Signature => "assertion_invalid_signature",
            Self::Issuer => "assertion_invalid_issuer",
            Self::Subject => "assertion_invalid_subject",
            Self::Audience => "assertion_invalid_audience",
            Self::ExpiryAbsent => "assertion_expiration_required",
            Self::Expired => "assertion_expired_token",
            Self::TooLong => "assertion_expires_too_far_in_future",
            Self::Early => "assertion_issued_in_future",
            Self::Time => "assertion_invalid_time",
            Self::Jti => "assertion_invalid_jti",
            Self::Replayed => "assertion_already_used",
        }
    }
}

/// Judges the claims of an assertion whose signature is good. `signed` is what was signed: its header and payload.
///
/// # Errors
/// [`AssertionProblem`] names the first rule that they break.
pub fn judge(claims: &Object, signed: &[u8], rules: &Rules<'_>) -> Result<Accepted, AssertionProblem> {
    use AssertionProblem as P;
    let text = |name: &str| claims.text(name);
    if text("iss") != Some(rules.issuer) {
        return Err(P::Issuer);
    }
    let subject = text("sub").filter(|subject| !subject.is_empty()).ok_or(P::Subject)?;
    if rules.subject.is_some_and(|expected| expected != subject) {
        return Err(P::Subject);
    }
    if !text("aud").is_some_and(|audience| rules.audiences.iter().any(|ours| ours == audience)) {
        return Err(P::Audience);
    }
    let expires_at = seconds(claims, "exp")?.ok_or(P::ExpiryAbsent)?;
    // No leeway here: an assertion lives long enough for a clock that is a little behind.
    if rules.now >= expires_at {
        return Err(P::Expired);
    }
    if expires_at > rules.now.plus(rules.lifetime_max).plus(LEEWAY) {
        return Err(P::TooLong);
    }
    let latest = rules.now.plus(LEEWAY);
    for name in ["iat", "nbf"] {
        if seconds(claims, name)?.is_some_and(|moment| moment > latest) {
            return Err(P::Early);
        }
    }
    let id = match claims.get("jti") {
        None => signed,
        Some(ValueRef::Text(jti)) if !jti.is_empty() && jti.len() <= JTI_BYTES_MAX => jti.as_bytes(),
        Some(_) => return Err(P::Jti),
    };
    // The length keeps issuer and identifier apart; the kind keeps a `jti` and a signed text apart.
    let kind = if claims.contains("jti") { "jti" } else { "jws" };
    let mut name = format!("{kind} {} {} ", rules.issuer.len(), rules.issuer).into_bytes();
    name.extend_from_slice(id);
    Ok(Accepted {
        replay: Digest::of(&name),
        expires_at,
        subject: subject.to_owned(),
    })
}

fn seconds(claims: &Object, name: &str) -> Result<Option<Timestamp>, AssertionProblem> {
    match claims.get(name) {
        None => Ok(None),
        Some(item) => match item.whole_number() {
            Some(number) if number >= 0 => Ok(Some(Timestamp::from_unix_seconds(number))),
            _ => Err(AssertionProblem::Time),
        },
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const NOW: i64 = 1_800_000_000;

    fn judged(changes: &Value) -> Result<Accepted, AssertionProblem> {
        let Value::Object(mut claims) =
            json!({ "iss": "c", "sub": "c", "aud": "https://as.example", "exp": NOW + 60, "iat": NOW, "jti": "1" })
        else {
            panic!("an object")
        };
        for (name, value) in changes.as_object().expect("changes") {
            if value.is_null() {
                claims.remove(name);
            } else {
                claims.insert(name.clone(), value.clone());
            }
        }
        let audiences = [
            "https://as.example".to_owned(),
            "https://as.example/v1/token".to_owned(),
        ];
        let rules = Rules {
            issuer: "c",
            subject: Some("c"),
            audiences: &audiences,
            lifetime_max: LIFETIME_MAX,
            now: Timestamp::from_unix_seconds(NOW),
        };
        judge(&claims.into(), b"signed", &rules)
    }

    #[test]
    fn case_065_case_066_case_067_case_068_attack_f17_each_claim_has_its_rule() {
        use AssertionProblem as P;
        let rows = [
            (json!({}), None),
            (json!({"aud": "https://as.example/v1/token"}), None),
            (json!({"aud": ["https://as.example"]}), Some(P::Audience)),
            (json!({"aud": "https://as.example/v1/par"}), Some(P::Audience)),
            (json!({"aud": "https://as.example/"}), Some(P::Audience)),
            (json!({"aud": null}), Some(P::Audience)),
            (json!({"iss": "d"}), Some(P::Issuer)),
            (json!({"iss": null}), Some(P::Issuer)),
            (json!({"sub": "d"}), Some(P::Subject)),
            (json!({"sub": null}), Some(P::Subject)),
            (json!({"exp": null}), Some(P::ExpiryAbsent)),
            (json!({"exp": NOW}), Some(P::Expired)),
            (json!({"exp": NOW + 1}), None),
            (json!({"exp": NOW + 3600}), None),
            (json!({"exp": NOW + 3631}), Some(P::TooLong)),
            (json!({"exp": NOW + 48 * 3600}), Some(P::TooLong)),
            (json!({"exp": "soon"}), Some(P::Time)),
            (json!({"exp": 1.5}), Some(P::Time)),
            (json!({"iat": NOW + 8, "nbf": NOW + 8}), None),
            (json!({"iat": NOW + 60}), Some(P::Early)),
            (json!({"nbf": NOW + 60}), Some(P::Early)),
            (json!({"iat": null}), None),
            (json!({"jti": 7}), Some(P::Jti)),
            (json!({"jti": ""}), Some(P::Jti)),
            (json!({"jti": "x".repeat(1025)}), Some(P::Jti)),
            (json!({"jti": null}), None),
        ];
        for (changes, problem) in rows {
            assert_eq!(judged(&changes).err(), problem, "{changes}");
        }
    }

    #[test]
    fn case_068_what_is_used_once_is_the_jti_or_else_what_was_signed() {
        let replay = |changes: Value| judged(&changes).expect("good").replay;
        assert_eq!(replay(json!({})), replay(json!({"exp": NOW + 90})));
        assert_ne!(replay(json!({})), replay(json!({"jti": "2"})));
        assert_ne!(replay(json!({"jti": null})), replay(json!({"jti": "signed"})));
    }
}
