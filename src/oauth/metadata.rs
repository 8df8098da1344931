//! The metadata documents: RFC 8414, and OpenID Connect Discovery.
//!
//! They list what is built, and grow with it: a value that is listed works, and one that is not
//! listed is refused (case 147). Custom scopes are named only where `metadata: true` says so; custom
//! claims never are.

use serde_json::{Value, json};
use url::Url;

use crate::jose::alg::Algorithm;
use crate::model::id::{AuthorizationServerId, Issuer};
use crate::oauth::access::Server;
use crate::oauth::client::SharedSecrets;
use crate::oauth::declared::AuthenticationMethod;
use crate::oauth::grant::GrantType;

/// The grants that the token endpoint answers and that a client has a way to. (The codes of `authorization_code` come
/// from sign-in pages, which are not there yet.)
pub const GRANTS: [GrantType; 5] = [
    GrantType::ClientCredentials,
    GrantType::RefreshToken,
    GrantType::Password,
    GrantType::TokenExchange,
    GrantType::JwtBearer,
];

/// What DPoP proofs may be signed with: every asymmetric algorithm but RSASSA-PKCS1-v1_5, which FAPI 2.0 rules out.
pub const DPOP_ALGORITHMS: [Algorithm; 6] = [
    Algorithm::Es256,
    Algorithm::Es384,
    Algorithm::EdDsa,
    Algorithm::Ps256,
    Algorithm::Ps384,
    Algorithm::Ps512,
];

/// The name of the management authorization server. The `@` keeps it apart from every other: it is in no identifier
/// that the compiler accepts.
pub const MANAGEMENT: &str = "@management";

/// The issuer of a local authorization server: `{public_url}/oauth2/{id}`, and the public URL itself for the
/// management authorization server. It comes from the configuration alone, never from a request (attack F26).
///
/// # Panics
/// Never for a server id that `oauth::access::compile` accepted: it has at most 100 characters.
#[must_use]
pub fn issuer_of(public_url: &Url, id: &AuthorizationServerId) -> Issuer {
    let base = public_url.as_str().trim_end_matches('/');
    if id.as_str() == MANAGEMENT {
        return Issuer::parse(base).expect("a checked URL makes an issuer");
    }
    Issuer::parse(&format!("{base}/oauth2/{id}")).expect("a checked URL and a checked name make an issuer")
}

/// The URL of an endpoint: `path` is below `/v1/`. That of the management authorization server is below `/oauth2/`,
/// where its issuer is not.
#[must_use]
pub fn endpoint(issuer: &Issuer, server: &AuthorizationServerId, path: &str) -> String {
    let below = if server.as_str() == MANAGEMENT { "/oauth2" } else { "" };
    format!("{issuer}{below}/v1/{path}")
}

/// How a client may prove itself at this server. With a certificate only while the listener asks for one.
fn authentication_methods(certificates: bool) -> Vec<&'static str> {
    let needs_certificate = |method: &AuthenticationMethod| {
        matches!(
            method,
            AuthenticationMethod::TlsClientAuth | AuthenticationMethod::SelfSignedTlsClientAuth
        )
    };
    AuthenticationMethod::ALL
        .into_iter()
        .filter(|method| certificates || !needs_certificate(method))
        .map(AuthenticationMethod::as_str)
        .collect()
}

/// The grants that some rule of the server gives: no other one can ever succeed here.
fn grants(server: &Server) -> Vec<&'static str> {
    let is_given = |grant: &GrantType| {
        let rules = server.policies.iter().flat_map(|policy| &policy.rules);
        rules.into_iter().any(|rule| rule.grants.contains(grant))
            && (*grant != GrantType::JwtBearer || !server.trusted_issuers.is_empty())
    };
    GRANTS.into_iter().filter(is_given).map(GrantType::wire_name).collect()
}

fn names(algorithms: impl IntoIterator<Item = Algorithm>) -> Vec<&'static str> {
    algorithms.into_iter().map(Algorithm::as_str).collect()
}

/// The RFC 8414 document. `certificates` says whether clients can show certificates (RFC 8705).
#[must_use]
pub fn authorization_server(issuer: &Issuer, server: &Server, certificates: bool) -> Value {
    let at = |path: &str| endpoint(issuer, &server.id, path);
    let public: Vec<&str> = server
        .scopes
        .iter()
        .filter(|(_, info)| info.metadata)
        .map(|(scope, _)| scope.as_str())
        .collect();
    let methods = authentication_methods(certificates);
    // Who asks about tokens has to prove who it is: a public client cannot.
    let proving: Vec<&str> = methods.iter().copied().filter(|method| *method != "none").collect();
    let signing = names(Algorithm::ASYMMETRIC.into_iter().chain(SharedSecrets::ALGORITHMS));
    json!({
        "issuer": issuer.as_str(),
        "token_endpoint": at("token"),
        "jwks_uri": at("keys"),
        "revocation_endpoint": at("revoke"),
        "introspection_endpoint": at("introspect"),
        "registration_endpoint": at("clients"),
        "scopes_supported": public,
        "response_types_supported": [],
        "grant_types_supported": grants(server),
        "token_endpoint_auth_methods_supported": methods,
        "token_endpoint_auth_signing_alg_values_supported": signing,
        "revocation_endpoint_auth_methods_supported": methods,
        "revocation_endpoint_auth_signing_alg_values_supported": signing,
        "introspection_endpoint_auth_methods_supported": proving,
        "introspection_endpoint_auth_signing_alg_values_supported": signing,
        "introspection_signing_alg_values_supported": names([server.algorithm]),
        "dpop_signing_alg_values_supported": names(DPOP_ALGORITHMS),
        "tls_client_certificate_bound_access_tokens": certificates,
    })
}

/// The OpenID Connect document: the same, with what OpenID Connect Discovery section 3 adds.
#[must_use]
pub fn openid_configuration(issuer: &Issuer, server: &Server, certificates: bool) -> Value {
    let mut document = authorization_server(issuer, server, certificates);
    document["userinfo_endpoint"] = json!(endpoint(issuer, &server.id, "userinfo"));
    document["subject_types_supported"] = json!(["public"]);
    document["id_token_signing_alg_values_supported"] = json!([server.algorithm.as_str()]);
    document
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_issuer_is_the_public_url_and_the_name_whatever_slashes_it_ends_with() {
        let id = AuthorizationServerId::parse("transfers").expect("valid");
        for (base, issuer) in [
            ("https://127.0.0.1:8443", "https://127.0.0.1:8443/oauth2/transfers"),
            (
                "https://bank.example/auth/",
                "https://bank.example/auth/oauth2/transfers",
            ),
        ] {
            assert_eq!(issuer_of(&Url::parse(base).expect("valid"), &id).as_str(), issuer);
        }
    }
}
