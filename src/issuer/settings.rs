//! What the issuer needs to know.

use std::time::Duration;

use url::Url;

use crate::oauth::declared::IssuerDeclaration;
use crate::oauth::grant::GrantType;

/// The issuer's part of the configuration, already checked.
#[derive(Debug)]
pub struct IssuerSettings {
    /// Authorization server `X` lives at `{public_url}/oauth2/X`.
    pub public_url: Url,
    /// Everything that the file declares.
    pub declared: IssuerDeclaration,
    /// Whether `dev: true` relaxes what is safe on loopback only.
    pub dev: bool,
}

/// What clients may register themselves as (RFC 7591).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistrationPolicy {
    /// Anybody may, without an initial access token.
    pub open: bool,
    /// The grant types that they may use.
    pub grants: Vec<GrantType>,
    /// How they may authenticate, by the names of `token_endpoint_auth_method`.
    pub authentication: Vec<String>,
    /// How many of them there may be.
    pub clients_max: u32,
    /// One that nobody has used for so long is forgotten.
    pub unused_for: Duration,
    /// A public client that registers again within this time is the same one.
    pub same_within: Duration,
}

impl Default for RegistrationPolicy {
    fn default() -> Self {
        Self {
            open: false,
            grants: vec![GrantType::AuthorizationCode, GrantType::RefreshToken],
            authentication: ["none", "client_secret_basic", "client_secret_post", "private_key_jwt"]
                .map(str::to_owned)
                .to_vec(),
            clients_max: 1000,
            unused_for: Duration::from_secs(90 * 24 * 3600),
            same_within: Duration::from_secs(3600),
        }
    }
}
