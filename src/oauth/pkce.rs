//! Proof Key for Code Exchange (RFC 7636): S256 alone.
//!
//! - `plain` is refused, and so is a challenge without a method, which would mean `plain` (case 047).
//! - A public client has to bring a challenge, before anybody signs in (case 048).
//! - At the token endpoint the two must be there together: a verifier without a challenge is the mark
//!   of a downgrade (RFC 9700 section 4.8.2, attack F08).

use aws_lc_rs::constant_time;

use crate::model::digest::Digest;
use crate::model::secret::Secret;

/// The challenge of an authorization request: the SHA-256 of a verifier that only the client knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Challenge(Digest);

/// Why a request's PKCE parameters are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum InvalidPkce {
    /// The method is `plain`, unknown, or not said.
    #[error("the parameter `code_challenge_method` has to be `S256`")]
    Method,
    /// The challenge is no SHA-256 in base64url.
    #[error("the parameter `code_challenge` has to be a SHA-256 in base64url: 43 characters")]
    Challenge,
    /// A public client brings none.
    #[error("the parameter `code_challenge` is missing: this client needs PKCE")]
    Missing,
    /// The verifier is too short, too long, or holds other characters.
    #[error("the parameter `code_verifier` has to have 43 to 128 of the characters A-Z a-z 0-9 - . _ ~")]
    Verifier,
}

impl InvalidPkce {
    /// Our stable name.
    #[must_use]
    pub const fn error_code(self) -> &'static str {
        match self {
            Self::Method | Self::Challenge => "pkce_invalid_challenge",
            Self::Missing => "pkce_missing_challenge",
            Self::Verifier => "pkce_invalid_verifier",
        }
    }
}

impl Challenge {
    /// Reads the parameters of an authorization request (RFC 7636 section 4.3).
    ///
    /// # Errors
    /// [`InvalidPkce`] when they are malformed, or missing where they are needed.
    pub fn read(challenge: Option<&str>, method: Option<&str>, is_needed: bool) -> Result<Option<Self>, InvalidPkce> {
        let Some(challenge) = challenge else {
            // A method without a challenge is a client that means to use PKCE and does not.
            let is_missing = is_needed || method.is_some();
            return if is_missing {
                Err(InvalidPkce::Missing)
            } else {
                Ok(None)
            };
        };
        if method != Some("S256") {
            return Err(InvalidPkce::Method);
        }
        Self::from_base64url(challenge).map(Some).ok_or(InvalidPkce::Challenge)
    }

    /// A challenge as it is kept.
    #[must_use]
    pub fn from_base64url(text: &str) -> Option<Self> {
        Digest::from_base64url(text).map(Self)
    }

    /// The challenge as it is kept.
    #[must_use]
    pub fn to_base64url(self) -> String {
        self.0.to_base64url()
    }

    /// Whether this is the verifier.
    #[must_use]
    pub fn is_met_by(&self, verifier: &Verifier<'_>) -> bool {
        let digest = Digest::of(verifier.0.as_bytes());
        constant_time::verify_slices_are_equal(self.0.as_bytes(), digest.as_bytes()).is_ok()
    }
}

/// The verifier of a token request, well-formed.
#[derive(Clone, Copy)]
pub struct Verifier<'a>(&'a str);

impl std::fmt::Debug for Verifier<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Verifier(..)")
    }
}

impl<'a> Verifier<'a> {
    /// Reads the parameter (RFC 7636 section 4.1).
    ///
    /// # Errors
    /// [`InvalidPkce::Verifier`].
    pub fn read(text: &'a Secret<String>) -> Result<Self, InvalidPkce> {
        let text = text.expose_secret();
        let is_unreserved = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
        if !(43..=128).contains(&text.len()) || !text.bytes().all(is_unreserved) {
            return Err(InvalidPkce::Verifier);
        }
        Ok(Self(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7636 appendix B.
    const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

    fn read(text: &str) -> Result<(), InvalidPkce> {
        Verifier::read(&Secret::new(text.to_owned())).map(|_| ())
    }

    #[test]
    fn case_046_the_example_of_the_rfc_holds_and_no_other_verifier_does() {
        let challenge = Challenge::read(Some(CHALLENGE), Some("S256"), true)
            .expect("valid")
            .expect("there is one");
        let is_met = |text: &str| {
            let text = Secret::new(text.to_owned());
            challenge.is_met_by(&Verifier::read(&text).expect("well-formed"))
        };
        assert!(is_met(VERIFIER));
        assert!(!is_met(CHALLENGE));
        assert!(!is_met(&VERIFIER.to_lowercase()));
        assert_eq!(Challenge::from_base64url(&challenge.to_base64url()), Some(challenge));
    }

    #[test]
    fn case_047_case_048_case_050_attack_f08_only_a_whole_s256_challenge_is_taken() {
        use InvalidPkce as I;
        let rows: [(Option<&str>, Option<&str>, bool, I); 9] = [
            (Some(CHALLENGE), Some("plain"), false, I::Method),
            (Some(CHALLENGE), None, false, I::Method),
            (Some(CHALLENGE), Some("s256"), false, I::Method),
            (Some(&CHALLENGE[..42]), Some("S256"), false, I::Challenge),
            (Some(&"a".repeat(129)), Some("S256"), false, I::Challenge),
            (
                Some("E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw+cM"),
                Some("S256"),
                false,
                I::Challenge,
            ),
            (
                Some("E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cN"),
                Some("S256"),
                false,
                I::Challenge,
            ),
            (None, None, true, I::Missing),
            (None, Some("S256"), false, I::Missing),
        ];
        for (challenge, method, is_needed, expected) in rows {
            let refused = Challenge::read(challenge, method, is_needed);
            assert_eq!(refused, Err(expected), "{challenge:?} {method:?}");
        }
        assert_eq!(Challenge::read(None, None, false), Ok(None));
    }

    #[test]
    fn case_050_a_verifier_has_43_to_128_unreserved_characters() {
        for good in [43, 128] {
            assert_eq!(read(&"~".repeat(good)), Ok(()), "{good}");
        }
        for bad in [0, 42, 129] {
            assert_eq!(read(&"a".repeat(bad)), Err(InvalidPkce::Verifier), "{bad}");
        }
        for bad in ["+", "=", " ", "\u{e9}", "/"] {
            assert_eq!(read(&bad.repeat(43)), Err(InvalidPkce::Verifier), "{bad:?}");
        }
    }
}
