//! Where a credential may come from: the Authorization header, once, and nowhere else.
//!
//! Cookies, bodies, `Proxy-Authorization` and the like are not looked at (case C07); a token in the
//! query is refused before this, by `policy`. The grammar is `scheme 1*SP b64token` (RFC 6750 section
//! 2.1, RFC 9110 section 11.4), and what does not fit it is refused rather than read generously:
//! whoever stands behind the gate might read it otherwise.
//!
//! | header | reading |
//! |---|---|
//! | none, or empty | [`Presented::Nothing`] |
//! | `Basic …`, `Bearer-x`: another scheme | [`Presented::Nothing`]: 401 with the plain challenge |
//! | `bearer t`, `DPoP   t` | [`Presented::Token`] |
//! | twice, or joined with a comma (`Basic x, Bearer t` too) | refused, 400 |
//! | `Bearer`, `Bearer<TAB>t`, `Bearer a b`, bytes outside the grammar | refused, 400 |
//! | a token over 8,192 bytes | refused, 400, before anything is hashed |
//!
//! The cases' list (C08) answers an over-long token with 401, the numbered edge 14 with 400; we follow
//! the edge, which agrees with the design: such a request cannot be a good one presented badly.

use crate::model::digest::Digest;
use crate::policy::caller::Scheme;
use crate::policy::facts::{Occurrence, RequestFacts};

/// The longest token, in bytes.
pub const TOKEN_BYTES_MAX: usize = 8192;

/// What the request presents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presented<'r> {
    /// No credential of a scheme that we know.
    Nothing,
    /// A token, not yet looked at.
    Token(Credential<'r>),
}

/// A token as it was presented. It has no `Display`, and its `Debug` hides it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Credential<'r> {
    /// How it was presented.
    pub scheme: Scheme,
    token: &'r [u8],
}

impl<'r> Credential<'r> {
    /// Whether it is one token and nothing else. Asked of each that is not known already: one that equals a token which was
    /// believed is in the grammar as that one is.
    ///
    /// # Errors
    /// A fixed sentence, for a request that must be refused with `invalid_request`.
    pub fn check_grammar(&self) -> Result<(), &'static str> {
        if is_b64token(self.token) {
            Ok(())
        } else {
            Err("the authorization header is not one scheme and one token")
        }
    }

    /// The token's text; empty if it is no UTF-8. Only [`Credential::check_grammar`] says that it is one token. It must reach
    /// no output channel.
    #[must_use]
    pub fn expose_token(&self) -> &'r str {
        std::str::from_utf8(self.token).unwrap_or_default()
    }

    /// The token's bytes. They must reach no output channel.
    #[must_use]
    pub fn expose_bytes(&self) -> &'r [u8] {
        self.token
    }

    /// The digest of the whole token.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::of(self.token)
    }
}

impl std::fmt::Debug for Credential<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credential")
            .field("scheme", &self.scheme)
            .finish_non_exhaustive()
    }
}

/// Reads the credential. What stands for the token is looked at by [`Credential::check_grammar`].
///
/// # Errors
/// A fixed sentence, for a request that must be refused with `invalid_request`.
pub fn read<'r>(facts: &RequestFacts<'r>) -> Result<Presented<'r>, &'static str> {
    let value = match facts.header("authorization") {
        Occurrence::None => return Ok(Presented::Nothing),
        Occurrence::Several => return Err("there is more than one authorization header"),
        Occurrence::Once(value) => value,
    };
    if value.is_empty() {
        return Ok(Presented::Nothing);
    }
    let scheme_end = value.iter().position(|byte| !is_tchar(*byte)).unwrap_or(value.len());
    let (scheme, rest) = value.split_at(scheme_end);
    let scheme = if scheme.eq_ignore_ascii_case(b"bearer") {
        Scheme::Bearer
    } else if scheme.eq_ignore_ascii_case(b"dpop") {
        Scheme::Dpop
    } else if scheme.is_empty() {
        return Err("the authorization header begins with no scheme");
    } else if hides_token(rest) {
        return Err("the authorization header joins another credential with a token");
    } else {
        return Ok(Presented::Nothing);
    };
    let token_start = rest.iter().position(|byte| *byte != b' ').unwrap_or(rest.len());
    let (spaces, token) = rest.split_at(token_start);
    if token.is_empty() {
        return Err("the authorization header has a scheme and no token");
    }
    if spaces.is_empty() {
        return Err("the authorization header's scheme and token are not separated by a space");
    }
    if token.len() > TOKEN_BYTES_MAX {
        return Err("the token is longer than 8192 bytes");
    }
    Ok(Presented::Token(Credential { scheme, token }))
}

/// Whether a later member of a comma-joined value is a token of ours (case C05): Envoy's extractors,
/// and servers behind it, may find it there.
fn hides_token(rest: &[u8]) -> bool {
    rest.split(|byte| *byte == b',').skip(1).any(|member| {
        let member = member.trim_ascii_start();
        let end = member.iter().position(|byte| !is_tchar(*byte)).unwrap_or(member.len());
        let scheme = &member[..end];
        scheme.eq_ignore_ascii_case(b"bearer") || scheme.eq_ignore_ascii_case(b"dpop")
    })
}

/// `1*( ALPHA / DIGIT / "-" / "." / "_" / "~" / "+" / "/" ) *"="`: no comma, no space, and none of the
/// `!` that Envoy writes for a byte that is no UTF-8.
fn is_b64token(token: &[u8]) -> bool {
    let end = token.iter().rposition(|byte| *byte != b'=').map_or(0, |last| last + 1);
    // Without an early exit inside of a chunk, so that the compiler looks at many bytes at once: a token has a thousand.
    end > 0
        && token[..end]
            .chunks(64)
            .all(|chunk| chunk.iter().fold(true, |good, byte| good & is_b64token_byte(*byte)))
}

/// A byte that a b64token may hold before its padding.
#[expect(
    clippy::needless_bitwise_bool,
    reason = "without branches many bytes are looked at at once"
)]
const fn is_b64token_byte(byte: u8) -> bool {
    let letter = (byte | 0x20).wrapping_sub(b'a') < 26;
    // `-./0123456789` lie next to each other.
    let digit_or_mark = byte.wrapping_sub(b'-') < 13;
    letter | digit_or_mark | (byte == b'_') | (byte == b'~') | (byte == b'+')
}

/// A character of a token in the sense of RFC 9110 section 5.6.2.
fn is_tchar(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::facts::Header;

    fn facts<'a>(values: &[&'a [u8]]) -> RequestFacts<'a> {
        RequestFacts {
            headers: values
                .iter()
                .map(|value| Header {
                    name: "authorization",
                    value,
                })
                .collect(),
            ..RequestFacts::default()
        }
    }

    fn one(value: &str) -> Result<Presented<'_>, &'static str> {
        checked(&facts(&[value.as_bytes()]))
    }

    fn checked<'r>(facts: &RequestFacts<'r>) -> Result<Presented<'r>, &'static str> {
        let presented = read(facts)?;
        if let Presented::Token(credential) = &presented {
            credential.check_grammar()?;
        }
        Ok(presented)
    }

    #[expect(clippy::unnecessary_wraps, reason = "compared with what `read` gives")]
    fn token(scheme: Scheme, token: &str) -> Result<Presented<'_>, &'static str> {
        Ok(Presented::Token(Credential {
            scheme,
            token: token.as_bytes(),
        }))
    }

    #[test]
    fn edge_c02_edge_e13_attack_a37_the_scheme_is_read_in_any_case_and_spaces_may_repeat() {
        assert_eq!(one("Bearer x"), token(Scheme::Bearer, "x"));
        assert_eq!(one("bearer x"), token(Scheme::Bearer, "x"));
        assert_eq!(one("BEARER x"), token(Scheme::Bearer, "x"));
        assert_eq!(one("Bearer    x"), token(Scheme::Bearer, "x"));
        assert_eq!(one("DPoP a.b-c_d~e+f/g=="), token(Scheme::Dpop, "a.b-c_d~e+f/g=="));
        assert_eq!(one("dpop x"), token(Scheme::Dpop, "x"));
    }

    #[test]
    fn edge_c03_edge_e13_attack_a37_what_is_not_one_scheme_and_one_token_is_refused() {
        let refused = [
            "Bearer",
            "Bearer ",
            "Bearer   ",
            "Bearer\tx",
            "Bearer \tx",
            "Bearer x ",
            "Bearer x y",
            "Bearer x\ty",
            "Bearer x,y",
            "Bearer x, Bearer y",
            "Bearer a,Bearer b",
            "Bearer,x",
            "Bearer=x",
            "Bearer \"x\"",
            "Bearer =",
            "Bearer x=y",
            "DPoP",
            "DPoP x y",
            " Bearer x",
            "\"Bearer\" x",
            ",Bearer x",
            "Bearer v!(w",
            "Bearer é",
        ];
        for value in refused {
            assert!(one(value).is_err(), "{value:?} was read as {:?}", one(value));
        }
        assert!(checked(&facts(&[b"Bearer v\xc3(w"])).is_err());
    }

    #[test]
    fn edge_c01_edge_e14_no_header_an_empty_one_and_another_scheme_present_nothing() {
        assert_eq!(checked(&facts(&[])), Ok(Presented::Nothing));
        let nothing = [
            "",
            "Basic dXNlcjpwYXNz",
            "Bearer-x",
            "Bearer-x y",
            "Bearerx y",
            "Digest a=\"b\", c=d",
            "Negotiate",
        ];
        for value in nothing {
            assert_eq!(one(value), Ok(Presented::Nothing), "{value:?}");
        }
    }

    #[test]
    fn edge_c04_edge_c05_attack_a38_two_credentials_are_refused_wherever_the_token_stands() {
        assert!(checked(&facts(&[b"Bearer good", b"Bearer evil"])).is_err());
        assert!(checked(&facts(&[b"Basic xx", b"Bearer tok"])).is_err());
        for value in [
            "Basic xx, Bearer tok",
            "Basic xx,bearer tok",
            "Bearer tok, Basic xx",
            "Basic x, DPoP t",
        ] {
            assert!(one(value).is_err(), "{value:?}");
        }
    }

    #[test]
    fn edge_c03_each_byte_of_a_token_is_of_rfc_6750s_alphabet() {
        for byte in 0..=u8::MAX {
            let listed = byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte);
            assert_eq!(is_b64token_byte(byte), listed, "{byte}");
        }
    }

    #[test]
    fn edge_c08_edge_e14_a_token_of_8192_bytes_is_read_and_one_more_is_refused() {
        let longest = "a".repeat(TOKEN_BYTES_MAX);
        assert_eq!(one(&format!("Bearer {longest}")), token(Scheme::Bearer, &longest));
        assert!(one(&format!("Bearer {longest}a")).is_err());
    }

    #[test]
    fn edge_c07_attack_a38_a_token_anywhere_else_is_not_looked_at() {
        let names = [
            "cookie",
            "proxy-authorization",
            "x-access-token",
            "x-authorization",
            "x_authorization",
        ];
        for name in names {
            let facts = RequestFacts {
                headers: std::iter::once(Header {
                    name,
                    value: b"Bearer x",
                })
                .collect(),
                ..RequestFacts::default()
            };
            assert_eq!(read(&facts), Ok(Presented::Nothing), "{name}");
        }
    }

    #[test]
    fn attack_e18_a_credential_does_not_print_its_token() {
        let printed = format!("{:?}", one("Bearer canary"));
        assert!(!printed.contains("canary"), "{printed}");
    }
}
