//! Who calls: nobody in particular, or a token that was verified, its parts laid out for the rules.

use std::sync::Arc;

use serde_json::{Map, Value};

use crate::model::digest::Digest;
use crate::model::id::{AuthorizationServerId, ClientId, Issuer, Jti, Kid, Subject};
use crate::model::scope::ScopeSet;
use crate::model::time::Timestamp;

pub use crate::policy::challenge::Scheme;

/// Who calls.
#[derive(Debug, Clone)]
pub enum Caller {
    /// Nobody in particular: no token, or one that was not looked at.
    Anonymous,
    /// The bearer of a verified token.
    Token {
        /// The token.
        token: Arc<VerifiedToken>,
        /// The thumbprint of the key whose DPoP proof was verified for this request.
        proof: Option<Digest>,
        /// The thumbprint of the client certificate that Envoy vouches for (or, where the API says
        /// `trust_xfcc`, that a sanitised `x-forwarded-client-cert` names).
        certificate: Option<Digest>,
        /// The scheme of the Authorization header.
        scheme: Scheme,
    },
}

/// Which claims name the client and the scopes (`claim_names` of an authorization server). The
/// first one that is present counts; the others are not looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimNames {
    /// Claims that may name the client.
    pub client: Vec<String>,
    /// Claims that may hold the scopes, as a space-delimited string or an array of strings.
    pub scope: Vec<String>,
}

impl Default for ClaimNames {
    fn default() -> Self {
        Self {
            client: ["client_id", "cid", "azp"].map(str::to_owned).to_vec(),
            scope: ["scope", "scp"].map(str::to_owned).to_vec(),
        }
    }
}

/// The key that a token is bound to (RFC 7800 `cnf`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Confirmation {
    /// `jkt`: the thumbprint of a DPoP key (RFC 9449 section 6.1).
    pub dpop_key: Option<Digest>,
    /// `x5t#S256`: the thumbprint of a client certificate (RFC 8705 section 3.1).
    pub certificate: Option<Digest>,
}

/// What a token is known to say. Built by `authz` from a verified JWS or an introspection answer,
/// or, for `explain` and `test`, from assumed claims: see the constructors below.
#[derive(Debug, Clone)]
pub struct TokenFacts {
    /// The authorization server that vouches for it.
    pub server: AuthorizationServerId,
    /// `iss`.
    pub issuer: Issuer,
    /// `sub`, if there is one.
    pub subject: Option<Subject>,
    /// The client, by the server's claim names.
    pub client: Option<ClientId>,
    /// The scopes, by the server's claim names.
    pub scopes: ScopeSet,
    /// `jti`.
    pub jti: Option<Jti>,
    /// The key that signed it; `None` for an introspected token.
    pub kid: Option<Kid>,
    /// `sid`: the session or grant that it descends from.
    pub session: Option<String>,
    /// `iat`.
    pub issued_at: Option<Timestamp>,
    /// `exp`.
    pub expires_at: Timestamp,
    /// `auth_time` (RFC 9470 section 6.2).
    pub auth_time: Option<Timestamp>,
    /// `acr`.
    pub acr: Option<String>,
    /// `cnf`.
    pub confirmation: Confirmation,
    /// Every claim, with `client_id`, `sub` and `scope` (a space-delimited string) laid over by the
    /// normalised values, so that an expression reads the same whatever the issuer calls them.
    pub claims: Arc<Map<String, Value>>,
}

/// A token that was verified: the only thing from which a permit for a caller can be built.
///
/// **Invariant:** it exists only if `authz` verified the signature (or asked introspection) and the
/// claims, or if an operator's tool assumed it. There is no `Deserialize` and no `Default`.
#[derive(Debug, Clone)]
#[must_use]
pub struct VerifiedToken(TokenFacts);

impl VerifiedToken {
    /// Vouches for the facts. Only `authz` may call this, after verification; `tests/it/architecture.rs`
    /// holds that.
    pub(crate) fn assertion_by_authz(facts: TokenFacts) -> Self {
        Self(facts)
    }

    /// What the token says.
    #[must_use]
    pub fn facts(&self) -> &TokenFacts {
        &self.0
    }
}
