//! Who calls: nobody in particular, or a token that was verified, its parts laid out for the rules.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::jose::json::whole_number;
use crate::jose::object::Object;
use crate::model::digest::Digest;
use crate::model::id::{AuthorizationServerId, ClientId, Issuer, Kid};
use crate::model::scope::ScopeSet;
use crate::model::time::Timestamp;
use crate::policy::held::{Claim, Claims, Laid, Overlay, Shape};

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
///
/// The gate keeps a million of these: what tokens of one kind have in common is in one place for all of them.
#[derive(Debug, Clone)]
pub struct TokenFacts {
    common: Arc<Common>,
    /// The claims that are its own, as [`crate::policy::held`] writes them.
    own: Box<str>,
    /// `exp`.
    expires_at: Timestamp,
    /// `cnf`, where there is one.
    confirmation: Option<Box<Confirmation>>,
}

/// What tokens of one kind have in common.
#[derive(Debug, PartialEq, Eq)]
pub struct Common {
    pub(in crate::policy) server: AuthorizationServerId,
    pub(in crate::policy) issued_as: Option<AuthorizationServerId>,
    pub(in crate::policy) issuer: Issuer,
    client: Option<ClientId>,
    scopes: ScopeSet,
    pub(in crate::policy) kid: Option<Kid>,
    pub(in crate::policy) shape: Shape,
    pub(in crate::policy) mark: Option<Mark>,
}

/// How tokens of a kind name their client and scopes. Where what they have in common says both, whatever else has the same
/// in common has the same client and scopes: they need not be read again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// The claim that names the client, if one does.
    pub(in crate::policy) client: Option<Box<str>>,
    /// The claim that holds the scopes, if one does.
    pub(in crate::policy) scopes: Option<Box<str>>,
    /// What was there, where something was laid over it.
    pub(in crate::policy) laid: Laid,
}

/// What token facts are made of. The claims of the client, the subject and the scopes were read already.
#[derive(Debug, Clone)]
pub struct Reading {
    /// The authorization server that vouches for it.
    pub server: AuthorizationServerId,
    /// What that server's issuer calls it, where that is another name.
    pub issued_as: Option<AuthorizationServerId>,
    /// `iss`.
    pub issuer: Issuer,
    /// The client, by the server's claim names.
    pub client: Option<ClientId>,
    /// The scopes, by the server's claim names.
    pub scopes: ScopeSet,
    /// The key that signed it; `None` for an introspected token.
    pub kid: Option<Kid>,
    /// `exp`.
    pub expires_at: Timestamp,
    /// `cnf`.
    pub confirmation: Confirmation,
    /// Every claim, with `client_id`, `sub` and `scope` (a space-delimited string) laid over by the
    /// normalised values, so that an expression reads the same whatever the issuer calls them.
    pub claims: Map<String, Value>,
    /// By what another token of the kind is recognised, if it can be.
    pub mark: Option<Mark>,
}

impl TokenFacts {
    /// Keeps what was read.
    #[must_use]
    pub fn new(reading: Reading) -> Self {
        let Reading {
            server,
            issued_as,
            issuer,
            client,
            scopes,
            kid,
            expires_at,
            confirmation,
            claims,
            mark,
        } = reading;
        let (shape, own) = Shape::of(claims);
        Self {
            common: Arc::new(Common {
                server,
                issued_as,
                issuer,
                client,
                scopes,
                kid,
                shape,
                mark,
            }),
            own,
            expires_at,
            confirmation: boxed(confirmation),
        }
    }

    /// The facts of a token with these claims, which is of this kind.
    pub(in crate::policy) fn of_kind(
        common: Arc<Common>,
        claims: &Object,
        expires_at: Timestamp,
        confirmation: Confirmation,
    ) -> Self {
        Self {
            own: common.shape.own(claims, common.laid()),
            common,
            expires_at,
            confirmation: boxed(confirmation),
        }
    }

    /// The authorization server that vouches for it.
    #[must_use]
    pub fn server(&self) -> &AuthorizationServerId {
        &self.common.server
    }

    /// What that server's issuer calls it: the name by which its tokens are revoked.
    #[must_use]
    pub fn issued_as(&self) -> &AuthorizationServerId {
        self.common.issued_as.as_ref().unwrap_or(&self.common.server)
    }

    /// `iss`.
    #[must_use]
    pub fn issuer(&self) -> &Issuer {
        &self.common.issuer
    }

    /// The client, by the server's claim names.
    #[must_use]
    pub fn client(&self) -> Option<&ClientId> {
        self.common.client.as_ref()
    }

    /// The scopes, by the server's claim names.
    #[must_use]
    pub fn scopes(&self) -> &ScopeSet {
        &self.common.scopes
    }

    /// The key that signed it; `None` for an introspected token.
    #[must_use]
    pub fn kid(&self) -> Option<&Kid> {
        self.common.kid.as_ref()
    }

    /// `sub`, if there is one.
    #[must_use]
    pub fn subject(&self) -> Option<&str> {
        self.claims().subject()
    }

    /// `jti`.
    #[must_use]
    pub fn jti(&self) -> Option<&str> {
        self.claims().text("jti")
    }

    /// `sid`: the session or grant that it descends from.
    #[must_use]
    pub fn session(&self) -> Option<&str> {
        self.claims().text("sid")
    }

    /// `acr`.
    #[must_use]
    pub fn acr(&self) -> Option<&str> {
        self.claims().text("acr")
    }

    /// `iat`.
    #[must_use]
    pub fn issued_at(&self) -> Option<Timestamp> {
        self.moment("iat")
    }

    /// `exp`.
    #[must_use]
    pub fn expires_at(&self) -> Timestamp {
        self.expires_at
    }

    /// `auth_time` (RFC 9470 section 6.2).
    #[must_use]
    pub fn auth_time(&self) -> Option<Timestamp> {
        self.moment("auth_time")
    }

    /// `cnf`.
    #[must_use]
    pub fn confirmation(&self) -> Confirmation {
        self.confirmation.as_deref().copied().unwrap_or_default()
    }

    /// Every claim, with `client_id`, `sub` and `scope` (a space-delimited string) laid over by the
    /// normalised values, so that an expression reads the same whatever the issuer calls them.
    #[must_use]
    pub fn claims(&self) -> Claims<'_> {
        Claims::new(&self.common.shape, &self.own)
    }

    fn moment(&self, name: &str) -> Option<Timestamp> {
        match self.claims().get(name)? {
            Claim::Json(value) => whole_number(&value).map(Timestamp::from_unix_seconds),
            Claim::Text(_) => None,
        }
    }

    /// What it has in common with other tokens of its kind.
    #[must_use]
    pub fn common(&self) -> &Arc<Common> {
        &self.common
    }

    /// The same, with an equal `common` that others have too.
    ///
    /// # Panics
    /// In tests, if it is not equal.
    #[must_use]
    pub fn sharing(mut self, common: Arc<Common>) -> Self {
        debug_assert_eq!(self.common, common, "only what is equal is shared");
        self.common = common;
        self
    }

    /// How much memory it takes, without what it has in common with others.
    #[must_use]
    pub fn own_bytes(&self) -> usize {
        let confirmation = self.confirmation.as_deref().map_or(0, size_of_val);
        size_of::<Self>() + self.own.len() + confirmation
    }
}

fn boxed(confirmation: Confirmation) -> Option<Box<Confirmation>> {
    (confirmation != Confirmation::default()).then(|| Box::new(confirmation))
}

impl Common {
    fn laid(&self) -> &Laid {
        static NOTHING: Laid = Laid {
            client_id: Overlay::Same,
            scope: Overlay::Same,
        };
        self.mark.as_ref().map_or(&NOTHING, |mark| &mark.laid)
    }

    /// How much memory it takes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let client = self.client.as_ref().map_or(0, |client| client.as_str().len());
        let scopes = self.scopes.iter().map(|scope| SCOPE_BYTES + scope.as_str().len());
        let mark = self.mark.as_ref().map_or(0, Mark::bytes);
        size_of::<Self>() + client + scopes.sum::<usize>() + self.shape.bytes() + mark
    }
}

impl Mark {
    fn bytes(&self) -> usize {
        let names = [&self.client, &self.scopes].into_iter().flatten();
        names.map(|name| name.len()).sum::<usize>() + self.laid.bytes()
    }
}

impl Hash for Common {
    /// Only what a statement says too, before it is laid out: a kind and its tokens hash alike.
    fn hash<H: Hasher>(&self, state: &mut H) {
        (&self.server, &self.kid).hash(state);
        self.shape.hash(self.laid(), state);
    }
}

/// What a scope takes beside its text: its place in the set, and its counters.
const SCOPE_BYTES: usize = 32;

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
