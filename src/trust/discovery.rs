//! Where an issuer's keys are: its discovery document (OIDC Discovery 1.0 section 4, RFC 8414 section 3).

use url::Url;

use crate::jose::json::{self, Limits};
use crate::model::id::Issuer;
use crate::trust::fetch::{Fetch, FetchError};
use crate::trust::settings::FetchPolicy;

/// Why the keys could not be found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DiscoveryError {
    /// The issuer identifier is no URL.
    #[error("the issuer is no URL, so it has no discovery document; say `jwks_uri` or `jwks_file`")]
    NoUrl,
    /// The document could not be fetched.
    #[error("the discovery document: {0}")]
    Fetch(#[from] FetchError),
    /// The document is not there.
    #[error("the discovery document answered {0}")]
    Status(u16),
    /// The document is no JSON object.
    #[error("the discovery document is no JSON object with unique members")]
    NotJson,
    /// The document speaks for somebody else (OIDC Discovery 1.0 section 4.3).
    #[error("the discovery document names another issuer than the configuration")]
    IssuerMismatch,
    /// There is no usable `jwks_uri` in it.
    #[error("the discovery document has no `jwks_uri` that is a URL")]
    NoJwksUri,
    /// The `jwks_uri` lies on another host or scheme than the issuer.
    #[error(
        "the discovery document's `jwks_uri` lies on another host; say `jwks_uri` in the configuration if that is right"
    )]
    ForeignJwksUri,
}

/// The `jwks_uri` of an issuer, by its own word.
///
/// The OpenID document is asked for first, then the OAuth one where the first is not there.
///
/// # Errors
/// [`DiscoveryError`] when neither document is there, or when the one that is there cannot be believed.
pub async fn jwks_uri(issuer: &Issuer, fetch: &dyn Fetch, policy: &FetchPolicy) -> Result<Url, DiscoveryError> {
    let base = Url::parse(issuer.as_str()).map_err(|_| DiscoveryError::NoUrl)?;
    let mut last = DiscoveryError::NoUrl;
    for url in documents(&base) {
        let answer = fetch.get(&url, policy).await?;
        if answer.status == 200 {
            return believe(issuer, &base, &answer.body);
        }
        last = DiscoveryError::Status(answer.status);
        if answer.status != 404 {
            break;
        }
    }
    Err(last)
}

fn documents(base: &Url) -> Vec<Url> {
    let path = base.path().trim_end_matches('/');
    let at = |path: String| {
        let mut url = base.clone();
        url.set_path(&path);
        url
    };
    vec![
        at(format!("{path}/.well-known/openid-configuration")),
        at(format!("/.well-known/oauth-authorization-server{path}")),
        at(format!("{path}/.well-known/oauth-authorization-server")),
    ]
}

fn believe(issuer: &Issuer, base: &Url, body: &[u8]) -> Result<Url, DiscoveryError> {
    let document = json::map(body, Limits::DOCUMENT).map_err(|_| DiscoveryError::NotJson)?;
    if document.get("issuer").and_then(|value| value.as_str()) != Some(issuer.as_str()) {
        return Err(DiscoveryError::IssuerMismatch);
    }
    let uri = document
        .get("jwks_uri")
        .and_then(|value| value.as_str())
        .ok_or(DiscoveryError::NoJwksUri)?;
    let uri = Url::parse(uri).map_err(|_| DiscoveryError::NoJwksUri)?;
    // SECURITY (attack B13): a document that was tampered with must not move the keys elsewhere, nor
    // down to http. A provider that does keep them elsewhere is named in the configuration.
    if uri.host() != base.host() || uri.scheme() != base.scheme() {
        return Err(DiscoveryError::ForeignJwksUri);
    }
    Ok(uri)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn issuer(text: &str) -> (Issuer, Url) {
        (Issuer::parse(text).expect("valid"), Url::parse(text).expect("a URL"))
    }

    #[test]
    fn asks_at_every_place_that_the_standards_name() {
        let (_, base) = issuer("https://as.example/oauth2/aus1");
        let urls: Vec<String> = documents(&base).into_iter().map(String::from).collect();
        assert_eq!(
            urls,
            [
                "https://as.example/oauth2/aus1/.well-known/openid-configuration",
                "https://as.example/.well-known/oauth-authorization-server/oauth2/aus1",
                "https://as.example/oauth2/aus1/.well-known/oauth-authorization-server",
            ]
        );
    }

    #[test]
    fn attack_b13_refuses_a_document_of_another_issuer_or_with_keys_elsewhere() {
        let (name, base) = issuer("https://as.example/a");
        let table = [
            (
                r#"{"issuer":"https://as.example/a","jwks_uri":"https://as.example/keys"}"#,
                Ok("https://as.example/keys"),
            ),
            (
                r#"{"issuer":"https://as.example/a/","jwks_uri":"https://as.example/keys"}"#,
                Err(DiscoveryError::IssuerMismatch),
            ),
            (
                r#"{"issuer":["https://as.example/a"],"jwks_uri":"https://as.example/keys"}"#,
                Err(DiscoveryError::IssuerMismatch),
            ),
            (
                r#"{"jwks_uri":"https://as.example/keys"}"#,
                Err(DiscoveryError::IssuerMismatch),
            ),
            (
                r#"{"issuer":"https://as.example/a","jwks_uri":"http://as.example/keys"}"#,
                Err(DiscoveryError::ForeignJwksUri),
            ),
            (
                r#"{"issuer":"https://as.example/a","jwks_uri":"https://evil.example/keys"}"#,
                Err(DiscoveryError::ForeignJwksUri),
            ),
            (
                r#"{"issuer":"https://as.example/a","jwks_uri":"keys"}"#,
                Err(DiscoveryError::NoJwksUri),
            ),
            (r#"{"issuer":"https://as.example/a"}"#, Err(DiscoveryError::NoJwksUri)),
            ("<html>", Err(DiscoveryError::NotJson)),
        ];
        for (body, expected) in table {
            let found = believe(&name, &base, body.as_bytes());
            assert_eq!(
                found.as_ref().map(Url::as_str),
                expected.as_ref().map(|text| *text),
                "{body}"
            );
        }
    }
}
