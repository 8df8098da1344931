//! Redirect URIs: which may be registered, and when a presented one is the registered one.
//!
//! A registered URI is kept as text and compared byte for byte (RFC 9700 section 2.1, attack F01).
//! The single exception is the port of a loopback address (RFC 8252 section 7.3). Reading is strict
//! here so that comparing can be simple there.

use url::{Host, Url};

use crate::oauth::declared::ClientKind;

/// Why a URI may not be registered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RefusedRedirect {
    /// It is no absolute URI of printable ASCII.
    #[error("it is no absolute URI")]
    NotAbsolute,
    /// It has a fragment (RFC 6749 section 3.1.2).
    #[error("it has a fragment")]
    Fragment,
    /// It has a user name or password.
    #[error("it has a user name or password in it")]
    UserInfo,
    /// It has a wildcard.
    #[error("it has a wildcard")]
    Wildcard,
    /// It is `http` and leaves the machine.
    #[error("plain http is for loopback addresses only")]
    PlainHttp,
    /// Its scheme runs or reads something instead of reaching an app.
    #[error("its scheme does not lead to an app")]
    DangerousScheme,
    /// Its private-use scheme is no reversed domain name (RFC 8252 section 7.1).
    #[error("a private-use scheme is a reversed domain name, with a dot in it")]
    SchemeWithoutDot,
    /// It has a private-use scheme, and the client is no app on a device.
    #[error("a private-use scheme is for native clients only")]
    SchemeNotNative,
    /// Its query has a parameter of an authorization response (attack F03).
    #[error("its query holds a parameter of the response")]
    ResponseParameter,
}

impl RefusedRedirect {
    /// The finding's code.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::PlainHttp => "redirect_uri_plain_http",
            Self::DangerousScheme | Self::SchemeWithoutDot | Self::SchemeNotNative => "redirect_uri_scheme",
            Self::NotAbsolute | Self::Fragment | Self::UserInfo | Self::Wildcard | Self::ResponseParameter => {
                "invalid_redirect_uri"
            }
        }
    }

    /// What would be right.
    #[must_use]
    pub const fn hint(self) -> &'static str {
        match self {
            Self::PlainHttp => "use https, or http://127.0.0.1 for an app on the same machine (RFC 8252 section 7.3)",
            Self::DangerousScheme => "use https, or for a native client a scheme like `com.example.app`",
            Self::SchemeWithoutDot => {
                "use the reversed name of a domain that you own, like `com.example.app:/callback`"
            }
            Self::SchemeNotNative => "use https, or `type: native` if it is an app on a person's device",
            Self::Fragment => "leave out the part from `#` on",
            Self::UserInfo => "leave out the part before `@`",
            Self::Wildcard => "list every redirect URI in full: they are compared exactly",
            Self::NotAbsolute => "write it in full, like `https://app.example.com/callback`",
            Self::ResponseParameter => "leave out `code`, `state`, `error` and the like: the response sets them",
        }
    }
}

/// Parameters of an authorization response: a registered query must not hold one.
const RESPONSE_PARAMETERS: [&str; 11] = [
    "access_token",
    "code",
    "error",
    "error_description",
    "error_uri",
    "expires_in",
    "id_token",
    "iss",
    "response",
    "state",
    "token_type",
];

/// Schemes that run or read something where they are opened.
const DANGEROUS_SCHEMES: [&str; 12] = [
    "about",
    "blob",
    "chrome",
    "data",
    "file",
    "filesystem",
    "ftp",
    "javascript",
    "mailto",
    "vbscript",
    "view-source",
    "ws",
];

/// Whether a client of this kind may register this URI.
///
/// # Errors
/// [`RefusedRedirect`] says which rule it breaks.
pub fn may_register(text: &str, kind: ClientKind) -> Result<(), RefusedRedirect> {
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) || text.contains('\\') {
        return Err(RefusedRedirect::NotAbsolute);
    }
    if text.contains('*') {
        return Err(RefusedRedirect::Wildcard);
    }
    if text.contains('#') {
        return Err(RefusedRedirect::Fragment);
    }
    let url = Url::parse(text).map_err(|_| RefusedRedirect::NotAbsolute)?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(RefusedRedirect::UserInfo);
    }
    if url
        .query_pairs()
        .any(|(name, _)| RESPONSE_PARAMETERS.contains(&name.as_ref()))
    {
        return Err(RefusedRedirect::ResponseParameter);
    }
    match url.scheme() {
        "https" => Ok(()),
        "http" if is_loopback(&url) => Ok(()),
        "http" => Err(RefusedRedirect::PlainHttp),
        scheme if DANGEROUS_SCHEMES.contains(&scheme) || scheme == "wss" => Err(RefusedRedirect::DangerousScheme),
        scheme if !scheme.contains('.') => Err(RefusedRedirect::SchemeWithoutDot),
        _ if kind != ClientKind::Native => Err(RefusedRedirect::SchemeNotNative),
        _ => Ok(()),
    }
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_009_case_010_attack_f03_what_may_be_registered() {
        use RefusedRedirect as R;
        let rows = [
            ("https://app.example/cb", ClientKind::Web, None),
            ("https://app.example/cb?tenant=1", ClientKind::Web, None),
            ("http://127.0.0.1/cb", ClientKind::Native, None),
            ("http://[::1]:7777/cb", ClientKind::Native, None),
            ("http://localhost:3000/cb", ClientKind::Web, None),
            ("com.bank.app:/callback", ClientKind::Native, None),
            ("com.bank.app:/callback", ClientKind::Web, Some(R::SchemeNotNative)),
            ("bankapp:/callback", ClientKind::Native, Some(R::SchemeWithoutDot)),
            ("http://app.example/cb", ClientKind::Native, Some(R::PlainHttp)),
            (
                "http://127.0.0.1.evil.example/cb",
                ClientKind::Native,
                Some(R::PlainHttp),
            ),
            ("javascript:alert(1)", ClientKind::Native, Some(R::DangerousScheme)),
            ("JAVASCRIPT:alert(1)", ClientKind::Native, Some(R::DangerousScheme)),
            ("data:text/html,x", ClientKind::Native, Some(R::DangerousScheme)),
            ("https://app.example/cb#x", ClientKind::Web, Some(R::Fragment)),
            ("https://app.example/cb#", ClientKind::Web, Some(R::Fragment)),
            ("https://*.example/cb", ClientKind::Web, Some(R::Wildcard)),
            ("https://a:b@app.example/cb", ClientKind::Web, Some(R::UserInfo)),
            (
                "https://app.example/cb?code=1",
                ClientKind::Web,
                Some(R::ResponseParameter),
            ),
            (
                "https://app.example/cb?%73tate=1",
                ClientKind::Web,
                Some(R::ResponseParameter),
            ),
            ("/cb", ClientKind::Web, Some(R::NotAbsolute)),
            (
                "https://app.example\\@evil.example/",
                ClientKind::Web,
                Some(R::NotAbsolute),
            ),
            ("https://app.example/c b", ClientKind::Web, Some(R::NotAbsolute)),
            ("https://app.example/\tcb", ClientKind::Web, Some(R::NotAbsolute)),
        ];
        for (text, kind, refusal) in rows {
            assert_eq!(may_register(text, kind).err(), refusal, "{text:?} for {kind:?}");
        }
    }
}
