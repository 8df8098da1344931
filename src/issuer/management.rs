//! The management authorization server: whose tokens the management API takes, and nobody else.
//!
//! It is built in: what Okta calls the org authorization server. Its issuer is the public URL itself, and so is its
//! audience; its scopes are `okta.*`. Clients that hold a role, and no others, get tokens by client credentials.
//!
//! SECURITY: no API of the gate can name it ([`ID`] is no identifier that a file or the API can give a server), and
//! the management API takes no token of another issuer: each is useless at the other.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use url::Url;

use crate::issuer::directory::Directory;
use crate::issuer::{Endpoint, Issuer};
use crate::jose::alg::Algorithm;
use crate::jose::object::ValueRef;
use crate::jose::sign::SigningKey;
use crate::jose::unverified::Unverified;
use crate::jose::verify::{Claims, Expectations, LEEWAY_MAX, TokenTypes, verify};
use crate::model::id::{AuthorizationServerId, ClientId};
use crate::model::scope::{Scope, ScopeSet};
use crate::oauth::access::{ClientSelector, Model, Policy, Rule, ScopeInfo, ScopeSelector, Server};
use crate::oauth::declared::{Consent, ServerOptions, TokenProfile};
use crate::oauth::document::Assignee;
use crate::oauth::grant::GrantType;
use crate::oauth::metadata;
use crate::oauth::token::ACCESS_TOKEN_TYPE;
use crate::revocation::Life;

/// Its name. The `@` keeps it apart from every server that is declared or administered.
pub const ID: &str = metadata::MANAGEMENT;

/// How long its tokens live (okta-model section 2).
const LIFETIME: Duration = Duration::from_secs(3600);

/// Its scopes: a name for each kind of object, and what may be done.
pub const SCOPES: [&str; 15] = [
    "okta.apps.manage",
    "okta.apps.read",
    "okta.authorizationServers.manage",
    "okta.authorizationServers.read",
    "okta.clients.manage",
    "okta.clients.read",
    "okta.groups.manage",
    "okta.groups.read",
    "okta.logs.read",
    "okta.policies.manage",
    "okta.policies.read",
    "okta.roles.manage",
    "okta.roles.read",
    "okta.users.manage",
    "okta.users.read",
];

/// What a good management token says.
#[derive(Debug, Clone)]
#[must_use]
pub struct ManagementToken {
    /// The client that holds it.
    pub client: ClientId,
    /// What it may be used for.
    pub scopes: ScopeSet,
}

/// Why a token is none of the management API's. Outside there is one answer for all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ManagementTokenError {
    /// It is no JWT.
    #[error("the token cannot be read")]
    Malformed,
    /// It was not signed for the management API, or its time is over.
    #[error("the token is not one of the management authorization server, or has expired")]
    NotVerified,
    /// It is bound to a key, and shown as a bearer token.
    #[error("the token is bound to a key")]
    Bound,
    /// It was revoked, or its client is gone.
    #[error("the token is revoked")]
    Revoked,
}

impl Issuer {
    /// Says where the management API is reached, once its listener is bound: its links begin so, and a client's
    /// assertion may name the token endpoint that it finds there.
    pub fn serve_management_at(&self, url: Url) {
        self.management_url.store(Some(Arc::new(url)));
    }

    /// Where the management API is reached.
    #[must_use]
    pub fn management_url(&self) -> Url {
        let said = self.management_url.load_full();
        said.map_or_else(|| self.public_url(), |url| Url::clone(&url))
    }

    /// The audiences that a client's assertion may have at this endpoint.
    pub(super) fn assertion_audiences(&self, endpoint: &Endpoint) -> Vec<String> {
        let mut audiences = endpoint.assertion_audiences.to_vec();
        if endpoint.server.id.as_str() == ID {
            let mut bases = vec![self.management_url()];
            let mut by_name = bases[0].clone();
            if is_loopback(&by_name) && by_name.set_host(Some("localhost")).is_ok() {
                bases.push(by_name);
            }
            for base in bases {
                let base = base.as_str().trim_end_matches('/');
                audiences.push(base.to_owned());
                audiences.push(format!("{base}/oauth2/v1/token"));
            }
        }
        audiences
    }

    /// Reads a bearer token of the management API.
    ///
    /// # Errors
    /// [`ManagementTokenError`].
    pub fn management_token(&self, token: &str) -> Result<ManagementToken, ManagementTokenError> {
        use ManagementTokenError as E;
        let snapshot = self.snapshot.load_full();
        let endpoint = snapshot.servers.get(ID).ok_or(E::NotVerified)?;
        let mut unverified = Unverified::parse(token).map_err(|_| E::Malformed)?;
        let expectations = Expectations {
            issuer: &endpoint.issuer,
            audiences: std::slice::from_ref(&endpoint.server.audience),
            algorithms: &SigningKey::ALGORITHMS,
            token_types: &TokenTypes::Only(vec![ACCESS_TOKEN_TYPE.to_owned()]),
            leeway: LEEWAY_MAX.min(Duration::from_secs(5)),
            now: self.services.clock.now(),
        };
        let verified =
            verify(&mut unverified, &endpoint.keys.live().load(), &expectations).map_err(|_| E::NotVerified)?;
        let claims: &Claims = verified.get();
        if claims.members.contains("cnf") {
            return Err(E::Bound);
        }
        let text = |name: &str| claims.members.text(name);
        let client = text("cid")
            .and_then(|id| ClientId::parse(id).ok())
            .ok_or(E::NotVerified)?;
        let (jti, subject) = (claims.jti(), claims.subject());
        let life = Life {
            server: &endpoint.server.id,
            jti: jti.as_ref(),
            session: text("sid"),
            subject: subject.as_ref(),
            client: Some(&client),
            kid: claims.kid.as_ref(),
            issued_at: claims.issued_at,
        };
        if self.services.revocations.dead(&life).is_some() || !snapshot.model.clients.contains_key(&client) {
            return Err(E::Revoked);
        }
        let scopes = claims.members.get("scp").and_then(ValueRef::as_array);
        let scopes = scopes.into_iter().flatten().filter_map(serde_json::Value::as_str);
        Ok(ManagementToken {
            client,
            scopes: scopes.filter_map(|scope| Scope::parse(scope).ok()).collect(),
        })
    }
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        Some(url::Host::Domain(_)) | None => false,
    }
}

/// The server, for the clients that hold a role now. It stays the same value while they do.
pub(super) fn server(
    directory: &Directory,
    model: &Model,
    public_url: &Url,
    last: Option<&Arc<Server>>,
) -> Arc<Server> {
    let id = AuthorizationServerId::parse(ID).expect("a constant that is an identifier");
    let audience = metadata::issuer_of(public_url, &id).to_string();
    let holders = directory.roles().filter_map(|role| match &role.document.assignee {
        Assignee::Client(id) => model.clients.get_key_value(id.as_str()).map(|(id, _)| id.clone()),
        Assignee::User(_) => None,
    });
    let clients = ClientSelector::Only(holders.collect::<BTreeSet<ClientId>>());
    if let Some(last) = last
        && last.audience == audience
        && last.policies.iter().all(|policy| policy.clients == clients)
    {
        return Arc::clone(last);
    }
    let scopes = SCOPES.iter().filter_map(|name| Scope::parse(name).ok());
    let info = ScopeInfo {
        description: None,
        consent: Consent::Implicit,
        default: false,
        metadata: true,
    };
    Arc::new(Server {
        id,
        audience,
        algorithm: Algorithm::Es256,
        rotate_every: Some(Duration::from_secs(90 * 24 * 3600)),
        profile: TokenProfile::Okta,
        scopes: scopes.map(|scope| (scope, info.clone())).collect::<BTreeMap<_, _>>(),
        claims: Vec::new(),
        policies: vec![Policy {
            name: Arc::from("administrators"),
            clients,
            rules: vec![Rule {
                name: Arc::from("clients that hold a role"),
                grants: BTreeSet::from([GrantType::ClientCredentials]),
                groups: BTreeSet::new(),
                users: BTreeSet::new(),
                exclude_groups: BTreeSet::new(),
                scopes: ScopeSelector::Any,
                access_token: LIFETIME,
                refresh_token: None,
            }],
        }],
        trusted_issuers: Vec::new(),
        options: ServerOptions::default(),
    })
}

#[cfg(test)]
mod tests;
