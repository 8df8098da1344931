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
use crate::oauth::grant::GrantType;

/// The grants that work from beginning to end. Those that need a page on which a person signs in follow with it.
pub const GRANTS: [GrantType; 3] = [
    GrantType::ClientCredentials,
    GrantType::Password,
    GrantType::RefreshToken,
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

/// The RFC 8414 document.
#[must_use]
pub fn authorization_server(issuer: &Issuer, server: &Server) -> Value {
    let at = |path: &str| endpoint(issuer, &server.id, path);
    let public: Vec<&str> = server
        .scopes
        .iter()
        .filter(|(_, info)| info.metadata)
        .map(|(scope, _)| scope.as_str())
        .collect();
    let methods = ["client_secret_basic", "client_secret_post"];
    json!({
        "issuer": issuer.as_str(),
        "token_endpoint": at("token"),
        "jwks_uri": at("keys"),
        "revocation_endpoint": at("revoke"),
        "scopes_supported": public,
        "response_types_supported": [],
        "grant_types_supported": GRANTS.map(GrantType::wire_name),
        "token_endpoint_auth_methods_supported": methods,
        "revocation_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post", "none"],
    })
}

/// The OpenID Connect document: the same, with what OpenID Connect Discovery section 3 adds.
#[must_use]
pub fn openid_configuration(issuer: &Issuer, server: &Server) -> Value {
    let mut document = authorization_server(issuer, server);
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
