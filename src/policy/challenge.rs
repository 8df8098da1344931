//! `WWW-Authenticate` values (RFC 6750 section 3, RFC 9449 section 7.1, RFC 9470 section 3, RFC 9728
//! section 5.1).
//!
//! Every parameter is from the configuration or from a fixed list; none says which check of a token
//! failed, so that an attacker cannot tell a bad signature from an unknown key or an old token. What
//! RFC 6750 does not allow inside the quotes is left out.

use std::fmt::Write as _;
use std::time::Duration;

use crate::jose::alg::Algorithm;
use crate::model::scope::ScopeSet;

/// What all challenges of one API share.
#[derive(Debug, Clone)]
pub struct Protection {
    realm: String,
    resource_metadata: Option<String>,
}

/// The authentication scheme of a challenge, and of a credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// RFC 6750.
    Bearer,
    /// RFC 9449.
    Dpop,
}

impl Scheme {
    /// The scheme's name as the registry spells it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Bearer => "Bearer",
            Self::Dpop => "DPoP",
        }
    }
}

/// What a challenge says beside the scheme and the realm.
#[derive(Debug, Clone, Copy)]
pub enum Complaint<'a> {
    /// There was no token: no error code (RFC 6750 section 3.1).
    Missing,
    /// `invalid_request`.
    InvalidRequest,
    /// `invalid_token`.
    InvalidToken,
    /// `insufficient_scope`, with scopes that would do.
    InsufficientScope(&'a ScopeSet),
    /// `insufficient_user_authentication`.
    InsufficientUserAuthentication {
        /// The classes one of which is needed.
        acr: &'a [String],
        /// The most seconds since the user signed in.
        max_age: Option<Duration>,
    },
    /// `invalid_dpop_proof`.
    InvalidDpopProof,
    /// `use_dpop_nonce`.
    UseDpopNonce,
}

impl Protection {
    /// Takes the realm and the metadata's URL, less the characters that no challenge may hold.
    #[must_use]
    pub fn new(realm: &str, resource_metadata: Option<&str>) -> Self {
        Self {
            realm: printable(realm),
            resource_metadata: resource_metadata.map(printable),
        }
    }

    /// One challenge.
    #[must_use]
    pub fn challenge(&self, scheme: Scheme, complaint: Complaint<'_>) -> String {
        let mut value = String::with_capacity(128);
        value.push_str(scheme.as_str());
        value.push_str(" realm=\"");
        value.push_str(&self.realm);
        value.push('"');
        if let Some((error, description)) = complaint.words() {
            parameter(&mut value, "error", error);
            parameter(&mut value, "error_description", description);
        }
        match complaint {
            Complaint::InsufficientScope(scopes) if !scopes.is_empty() => {
                parameter(&mut value, "scope", &scopes.to_string());
            }
            Complaint::InsufficientUserAuthentication { acr, max_age } => {
                if !acr.is_empty() {
                    let classes: Vec<String> = acr.iter().map(|class| printable(class)).collect();
                    parameter(&mut value, "acr_values", &classes.join(" "));
                }
                if let Some(max_age) = max_age {
                    parameter(&mut value, "max_age", &max_age.as_secs().to_string());
                }
            }
            _ => {}
        }
        if scheme == Scheme::Dpop {
            parameter(&mut value, "algs", &dpop_algorithms());
        }
        if let Some(url) = &self.resource_metadata {
            parameter(&mut value, "resource_metadata", url);
        }
        value
    }
}

impl Complaint<'_> {
    /// The error code and the sentence that goes with it.
    const fn words(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Missing => None,
            Self::InvalidRequest => Some(("invalid_request", "the request presents its credential in a wrong way")),
            Self::InvalidToken => Some(("invalid_token", "the access token is not valid")),
            Self::InsufficientScope(_) => Some(("insufficient_scope", "the access token lacks a scope")),
            Self::InsufficientUserAuthentication { .. } => Some((
                "insufficient_user_authentication",
                "a stronger or more recent sign-in is needed",
            )),
            Self::InvalidDpopProof => Some(("invalid_dpop_proof", "the proof is not valid")),
            Self::UseDpopNonce => Some(("use_dpop_nonce", "the proof needs the nonce of this answer")),
        }
    }
}

fn parameter(value: &mut String, name: &str, text: &str) {
    // Writing to a String cannot fail.
    let _ = write!(value, ", {name}=\"{text}\"");
}

/// The text without what RFC 6750 section 3 forbids in `error_description` and a quoted string would
/// have to escape: only `%x20-21 / %x23-5B / %x5D-7E` stays.
fn printable(text: &str) -> String {
    text.chars()
        .filter(|c| matches!(c, ' '..='~') && !matches!(c, '"' | '\\'))
        .collect()
}

/// The algorithms that a proof may be signed with: every asymmetric one that we verify.
fn dpop_algorithms() -> String {
    Algorithm::ASYMMETRIC.map(Algorithm::as_str).join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn protection() -> Protection {
        Protection::new("transfers", None)
    }

    #[test]
    fn edge_d12_the_metadata_url_is_in_every_challenge() {
        let protection = Protection::new("api", Some("https://x.example/.well-known/oauth-protected-resource"));
        for complaint in [Complaint::Missing, Complaint::InvalidToken] {
            let challenge = protection.challenge(Scheme::Bearer, complaint);
            assert!(
                challenge.ends_with(", resource_metadata=\"https://x.example/.well-known/oauth-protected-resource\""),
                "{challenge}"
            );
        }
    }

    #[test]
    fn edge_d05_only_characters_of_rfc_6750_get_in() {
        let protection = Protection::new("a\"b\\c\r\nx-evil: 1\u{e9}\0", Some("https://x\r\n\"y"));
        let acr = vec!["mfa\" x=\"\r\n".to_owned(), "ok".to_owned()];
        let challenge = protection.challenge(
            Scheme::Dpop,
            Complaint::InsufficientUserAuthentication {
                acr: &acr,
                max_age: Some(Duration::from_secs(5)),
            },
        );
        assert!(
            challenge
                .bytes()
                .all(|byte| matches!(byte, b' '..=b'~') && byte != b'\\'),
            "{challenge}"
        );
        assert_eq!(challenge.matches('"').count() % 2, 0, "{challenge}");
        assert!(challenge.contains("realm=\"abcx-evil: 1\""), "{challenge}");
        assert!(
            challenge.contains("acr_values=\"mfa x= ok\", max_age=\"5\""),
            "{challenge}"
        );
    }

    #[test]
    fn edge_c01_a_missing_token_has_no_error() {
        assert_eq!(
            protection().challenge(Scheme::Bearer, Complaint::Missing),
            "Bearer realm=\"transfers\""
        );
    }

    #[test]
    fn edge_d01_a_missing_scope_is_named() {
        let scopes = ScopeSet::parse("b a").expect("valid");
        assert_eq!(
            protection().challenge(Scheme::Bearer, Complaint::InsufficientScope(&scopes)),
            "Bearer realm=\"transfers\", error=\"insufficient_scope\", \
             error_description=\"the access token lacks a scope\", scope=\"a b\""
        );
    }

    #[test]
    fn edge_x10_a_nonce_is_asked_for_with_the_algorithms() {
        let challenge = protection().challenge(Scheme::Dpop, Complaint::UseDpopNonce);
        assert!(challenge.starts_with("DPoP realm=\"transfers\", error=\"use_dpop_nonce\""));
        assert!(
            challenge.contains("algs=\"") && !challenge.contains("HS256"),
            "{challenge}"
        );
    }
}
