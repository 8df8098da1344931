//! Requests of the issuer's endpoints, read strictly.
//!
//! - A form is UTF-8 without NUL, at most 64 KiB and 100 parameters; a parameter stands in it once
//!   (attack F39), but for `resource` and `audience`, which RFC 8707 and RFC 8693 repeat.
//! - A parameter without a value counts as absent (RFC 6749 section 3.2).
//! - Credentials come by Basic, in the form, or as an assertion, never in two ways at once (RFC 6749 section
//!   2.3), and never in the query. Basic is decoded as RFC 6749 section 2.3.1 says: base64, then each part as a form value.
//!
//! Values are secrets until proven otherwise: a form has no `Debug` that shows them.

use base64::Engine as _;

use crate::jose::unverified::Unverified;
use crate::model::id::ClientId;
use crate::model::secret::Secret;
use crate::oauth::assertion::{AssertionProblem, CLIENT_ASSERTION_TYPE};
use crate::oauth::error::{AuthenticationFailure, OAuthError};

/// The largest form, in bytes.
pub const FORM_BYTES_MAX: usize = 64 * 1024;

/// The most parameters of a form.
pub const PARAMETERS_MAX: usize = 100;

/// The longest `scope`, in characters (okta-model section 3).
pub const SCOPE_BYTES_MAX: usize = 1024;

/// Parameters that may stand in a form more than once.
const REPEATABLE: [&str; 2] = ["audience", "resource"];

/// Why a request cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MalformedRequest {
    /// The body is no form.
    #[error("the body has to be a form: content-type application/x-www-form-urlencoded")]
    NotAForm,
    /// The body is larger than [`FORM_BYTES_MAX`].
    #[error("the body is larger than {FORM_BYTES_MAX} bytes")]
    TooLarge,
    /// There are more than [`PARAMETERS_MAX`] parameters.
    #[error("the form has more than {PARAMETERS_MAX} parameters")]
    TooManyParameters,
    /// A percent escape is broken, or what it gives is no UTF-8 or holds NUL.
    #[error("the form holds an escape or a character that cannot be read")]
    Unreadable,
    /// A parameter stands there twice.
    #[error("the parameter `{0}` is repeated")]
    Duplicate(&'static str),
    /// Parameters stand in the query: it is logged everywhere, and the endpoint reads the body alone.
    #[error("parameters belong into the body, not into the query")]
    Query,
    /// There is more than one Authorization header.
    #[error("there is more than one Authorization header")]
    RepeatedAuthorization,
    /// The client authenticates in two ways.
    #[error("the client authenticates in more than one way")]
    TwoAuthentications,
    /// `client_id` differs from the one that authenticated.
    #[error("the parameter `client_id` differs from the client that authenticates")]
    ClientMismatch,
    /// A client assertion of a type that we do not know, or one without the other.
    #[error(
        "a client assertion needs `client_assertion` and `client_assertion_type`, which is {CLIENT_ASSERTION_TYPE}"
    )]
    AssertionType,
    /// The `scope` is longer than [`SCOPE_BYTES_MAX`].
    #[error("the parameter `scope` is longer than {SCOPE_BYTES_MAX} bytes")]
    ScopeTooLong,
}

impl MalformedRequest {
    /// Our stable name.
    #[must_use]
    pub const fn error_code(&self) -> &'static str {
        match self {
            Self::NotAForm => "not_a_form",
            Self::TooLarge => "request_too_large",
            Self::TooManyParameters => "too_many_parameters",
            Self::Unreadable => "unreadable_form",
            Self::Duplicate(_) => "duplicate_oauth_params",
            Self::Query => "parameters_in_query",
            Self::RepeatedAuthorization => "repeated_authorization",
            Self::TwoAuthentications => "multiple_client_credentials",
            Self::ClientMismatch => "client_mismatch",
            Self::AssertionType => "client_assertion_type_invalid",
            Self::ScopeTooLong => "scope_too_long",
        }
    }
}

/// The parameters of a form.
pub struct Form {
    parameters: Vec<(String, Secret<String>)>,
}

impl std::fmt::Debug for Form {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Form({} parameters)", self.parameters.len())
    }
}

impl Form {
    /// Reads a body, given the content type that it came with.
    ///
    /// # Errors
    /// [`MalformedRequest`].
    pub fn parse(content_type: Option<&str>, body: &[u8]) -> Result<Self, MalformedRequest> {
        let essence = content_type.and_then(|value| value.split(';').next()).map(str::trim);
        if !essence.is_some_and(|essence| essence.eq_ignore_ascii_case("application/x-www-form-urlencoded")) {
            return Err(MalformedRequest::NotAForm);
        }
        if body.len() > FORM_BYTES_MAX {
            return Err(MalformedRequest::TooLarge);
        }
        let text = std::str::from_utf8(body).map_err(|_| MalformedRequest::Unreadable)?;
        let mut parameters: Vec<(String, Secret<String>)> = Vec::new();
        for (index, pair) in text.split('&').filter(|pair| !pair.is_empty()).enumerate() {
            if index == PARAMETERS_MAX {
                return Err(MalformedRequest::TooManyParameters);
            }
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let name = form_decode(name).ok_or(MalformedRequest::Unreadable)?;
            let value = Secret::new(form_decode(value).ok_or(MalformedRequest::Unreadable)?);
            let repeated = parameters.iter().any(|(earlier, _)| *earlier == name);
            if repeated && !REPEATABLE.contains(&name.as_str()) {
                return Err(MalformedRequest::Duplicate(known_name(&name)));
            }
            parameters.push((name, value));
        }
        Ok(Self { parameters })
    }

    /// The value of a parameter; `None` if it is absent or empty.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&Secret<String>> {
        self.parameters
            .iter()
            .find(|(candidate, value)| candidate == name && !value.expose_secret().is_empty())
            .map(|(_, value)| value)
    }

    /// Every value of a parameter that may be repeated.
    pub fn texts<'f>(&'f self, name: &'f str) -> impl Iterator<Item = &'f str> {
        let named = self.parameters.iter().filter(move |(candidate, _)| candidate == name);
        named
            .map(|(_, value)| value.expose_secret().as_str())
            .filter(|value| !value.is_empty())
    }

    /// The value of a parameter that is no secret.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.value(name).map(|value| value.expose_secret().as_str())
    }
}

/// The name for the message: one of ours, so that a peer's text is not echoed.
fn known_name(name: &str) -> &'static str {
    const NAMES: [&str; 9] = [
        "client_assertion",
        "client_assertion_type",
        "client_id",
        "client_secret",
        "grant_type",
        "scope",
        "token",
        "token_type_hint",
        "code",
    ];
    NAMES.into_iter().find(|known| *known == name).unwrap_or("?")
}

/// How a client presents itself.
#[derive(Debug)]
pub struct Presented {
    /// Who it says it is.
    pub client: ClientId,
    /// What it shows for it.
    pub credential: PresentedCredential,
}

/// What a client shows to prove that it is who it says.
#[derive(Debug)]
pub enum PresentedCredential {
    /// Nothing in the request: it is public, or the connection shows its certificate.
    None,
    /// A secret by the Authorization header: then a 401 has a challenge.
    Basic(Secret<String>),
    /// A secret in the body.
    Body(Secret<String>),
    /// A signed assertion (RFC 7523 section 2.2).
    Assertion(Secret<String>),
}

impl PresentedCredential {
    /// The secret, if one was sent.
    #[must_use]
    pub fn secret(&self) -> Option<&Secret<String>> {
        match self {
            Self::Basic(secret) | Self::Body(secret) => Some(secret),
            Self::None | Self::Assertion(_) => None,
        }
    }
}

/// Finds the client's credentials.
///
/// # Errors
/// [`OAuthError::Malformed`] when there are two, [`OAuthError::ClientAuthentication`] when there are
/// none that can be read.
pub fn presented_client(authorization: &[&[u8]], form: &Form) -> Result<Presented, OAuthError> {
    let failure = |failure| OAuthError::ClientAuthentication(failure);
    let has_assertion = form.value("client_assertion").is_some() || form.value("client_assertion_type").is_some();
    let body_secret = form.value("client_secret");
    match authorization {
        [] if has_assertion && body_secret.is_some() => Err(MalformedRequest::TwoAuthentications.into()),
        [] if has_assertion => by_assertion(form),
        [] => {
            let id = form.text("client_id").ok_or(failure(AuthenticationFailure::Missing))?;
            Ok(Presented {
                client: ClientId::parse(id).map_err(|_| failure(AuthenticationFailure::UnknownClient))?,
                credential: body_secret
                    .cloned()
                    .map_or(PresentedCredential::None, PresentedCredential::Body),
            })
        }
        [_] if has_assertion || body_secret.is_some() => Err(MalformedRequest::TwoAuthentications.into()),
        [header] => {
            let (client, secret) = basic(header).ok_or(failure(AuthenticationFailure::MalformedBasic))?;
            if form.text("client_id").is_some_and(|id| id != client.as_str()) {
                return Err(MalformedRequest::ClientMismatch.into());
            }
            Ok(Presented {
                client,
                credential: PresentedCredential::Basic(secret),
            })
        }
        _ => Err(MalformedRequest::RepeatedAuthorization.into()),
    }
}

/// The client of an assertion is its `iss`, which nobody vouches for yet; `client_id` may repeat it (RFC 7521
/// section 4.2).
fn by_assertion(form: &Form) -> Result<Presented, OAuthError> {
    let (assertion, kind) = (form.value("client_assertion"), form.text("client_assertion_type"));
    let (Some(assertion), Some(CLIENT_ASSERTION_TYPE)) = (assertion, kind) else {
        return Err(MalformedRequest::AssertionType.into());
    };
    let problem = |problem| OAuthError::ClientAuthentication(AuthenticationFailure::Assertion(problem));
    let unverified = Unverified::parse(assertion.expose_secret()).map_err(|_| problem(AssertionProblem::Malformed))?;
    let issuer = unverified.issuer().ok_or(problem(AssertionProblem::Issuer))?;
    let client = ClientId::parse(issuer).map_err(|_| problem(AssertionProblem::Issuer))?;
    if form.text("client_id").is_some_and(|id| id != client.as_str()) {
        return Err(MalformedRequest::ClientMismatch.into());
    }
    Ok(Presented {
        client,
        credential: PresentedCredential::Assertion(assertion.clone()),
    })
}

/// RFC 7617 with the encoding of RFC 6749 section 2.3.1; strict at each step (attack F15).
fn basic(header: &[u8]) -> Option<(ClientId, Secret<String>)> {
    let header = std::str::from_utf8(header).ok()?;
    let (scheme, encoded) = header.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = base64::engine::general_purpose::STANDARD
        .decode(encoded.trim_matches(' '))
        .ok()?;
    let decoded = Secret::new(String::from_utf8(decoded).ok()?);
    let (id, secret) = decoded.expose_secret().split_once(':')?;
    let secret = Secret::new(form_decode(secret)?);
    Some((ClientId::parse(&form_decode(id)?).ok()?, secret))
}

/// One form value: `+` is a space, `%` has two hexadecimal digits after it, the result is UTF-8
/// without NUL.
fn form_decode(text: &str) -> Option<String> {
    if !text.bytes().any(|byte| matches!(byte, b'+' | b'%' | 0)) {
        return Some(text.to_owned());
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let (high, low) = (rest.next()?, rest.next()?);
                hexadecimal(high)? << 4 | hexadecimal(low)?
            }
            other => other,
        });
    }
    String::from_utf8(bytes).ok().filter(|text| !text.contains('\0'))
}

fn hexadecimal(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FORM: Option<&str> = Some("application/x-www-form-urlencoded");

    fn form(body: &str) -> Form {
        Form::parse(FORM, body.as_bytes()).expect("a form")
    }

    fn basic_header(user_pass: &str) -> Vec<u8> {
        let encoded = base64::engine::general_purpose::STANDARD.encode(user_pass);
        format!("Basic {encoded}").into_bytes()
    }

    #[test]
    fn case_017_attack_f39_a_repeated_parameter_is_refused_but_for_resource() {
        for body in [
            "scope=a&scope=b",
            "client_id=a&client_id=a",
            "x=1&x=",
            "sc%6fpe=a&scope=b",
        ] {
            let refusal = Form::parse(FORM, body.as_bytes()).expect_err("refused");
            assert_eq!(refusal.error_code(), "duplicate_oauth_params", "{body}");
        }
        assert!(Form::parse(FORM, b"resource=a&resource=b&audience=c&audience=d").is_ok());
    }

    #[test]
    fn case_080_odd_bytes_and_floods_are_refused() {
        let large = vec![b'a'; FORM_BYTES_MAX + 1];
        let rows: [(&[u8], MalformedRequest); 7] = [
            (b"scope=%ff", MalformedRequest::Unreadable),
            (b"scope=\xff", MalformedRequest::Unreadable),
            (b"scope=%00", MalformedRequest::Unreadable),
            (b"scope=%4", MalformedRequest::Unreadable),
            (b"scope=%zz", MalformedRequest::Unreadable),
            (b"scope=%", MalformedRequest::Unreadable),
            (&large, MalformedRequest::TooLarge),
        ];
        for (body, refusal) in rows {
            assert_eq!(
                Form::parse(FORM, body).err(),
                Some(refusal),
                "{:?}",
                &body[..body.len().min(20)]
            );
        }
        let many = (0..10_000)
            .map(|index| format!("p{index}=1"))
            .collect::<Vec<_>>()
            .join("&");
        let refusal = Form::parse(FORM, &many.as_bytes()[..60_000]).err();
        assert_eq!(refusal, Some(MalformedRequest::TooManyParameters));
    }

    #[test]
    fn case_060_another_content_type_is_no_form() {
        for kind in [
            None,
            Some("application/json"),
            Some("text/plain"),
            Some("multipart/form-data"),
        ] {
            assert_eq!(
                Form::parse(kind, b"a=b").err(),
                Some(MalformedRequest::NotAForm),
                "{kind:?}"
            );
        }
        assert!(Form::parse(Some("Application/X-WWW-Form-Urlencoded; charset=UTF-8"), b"a=b").is_ok());
    }

    #[test]
    fn a_parameter_without_a_value_is_absent() {
        let form = form("scope=&grant_type=client_credentials&flag");
        assert!(form.text("scope").is_none() && form.text("flag").is_none());
        assert_eq!(form.text("grant_type"), Some("client_credentials"));
    }

    #[test]
    fn case_061_basic_decodes_each_part_as_a_form_value() {
        let header = basic_header("my%3Aapp+x:p%25%2Bs+%C3%A9:rest");
        let presented = presented_client(&[&header], &form("grant_type=x")).expect("credentials");
        assert_eq!(presented.client.as_str(), "my:app x");
        let PresentedCredential::Basic(secret) = presented.credential else {
            panic!("by the header")
        };
        assert_eq!(secret.expose_secret(), "p%+s \u{e9}:rest");
    }

    #[test]
    fn case_061_attack_f15_loose_encodings_are_refused() {
        let cases: [&[u8]; 9] = [
            b"Basic YTpi=",
            b"Basic YTp",
            b"Basic Y T pi",
            b"Basic",
            b"Basic !!!!",
            b"Bearer YTpi",
            b"Basic YWI=",
            b"Basic /zpi",
            b"Basic YTolNA==",
        ];
        for header in cases {
            let error = presented_client(&[header], &form("")).expect_err("refused");
            assert_eq!(error.http_status(), 401, "{}", String::from_utf8_lossy(header));
        }
        assert!(presented_client(&[b"bAsIc YTpi"], &form("")).is_ok());
    }

    #[test]
    fn case_062_attack_f15_two_ways_at_once_are_refused() {
        let header = basic_header("a:b");
        for body in [
            "client_secret=b",
            "client_assertion=x&client_assertion_type=y",
            "client_id=other",
        ] {
            let error = presented_client(&[&header], &form(body)).expect_err("refused");
            assert_eq!(error.code().as_str(), "invalid_request", "{body}");
        }
        assert!(presented_client(&[&header], &form("client_id=a")).is_ok());
        assert!(presented_client(&[&header, &header], &form("")).is_err());
        assert!(presented_client(&[], &form("client_id=a&client_secret=b&client_assertion=x")).is_err());
    }

    proptest! {
        #[test]
        fn whatever_is_encoded_reads_back(name in "[a-z]{1,8}", value in "\\PC{1,40}") {
            let body: String = url::form_urlencoded::Serializer::new(String::new()).append_pair(&name, &value).finish();
            let form = form(&body);
            prop_assert_eq!(form.text(&name), Some(value.as_str()));
        }

        #[test]
        fn no_body_takes_the_reader_down(body in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Form::parse(FORM, &body);
            let _ = basic(&body);
        }
    }
}
