//! `clients`, `groups`, `users` and the local authorization servers: the issuer's declaration.
//!
//! What these objects mean is checked by `oauth::access::compile`; here they only change their form.

use super::context::Context;
use super::file::access::{ClientFile, LocalServerFile, PolicyFile, RuleFile, ScopeFile, UserFile};
use crate::model::id::{AuthorizationServerId, ClientId};
use crate::model::location::{Located, Location};
use crate::oauth::declared::{
    AuthorizationServerDeclaration, ClaimDeclaration, ClientDeclaration, ClientSecretDeclaration, PolicyDeclaration,
    RefreshDeclaration, RuleDeclaration, ScopeDeclaration, SigningDeclaration, UserDeclaration,
};

/// What every OpenID Connect library can verify (OIDC Discovery section 3 makes it mandatory).
const SIGNING_ALGORITHM: &str = "RS256";

impl Context<'_> {
    /// A local authorization server.
    pub(crate) fn local_server(&mut self, file: &LocalServerFile) -> Option<AuthorizationServerDeclaration> {
        let id = self.identifier(&file.id, AuthorizationServerId::parse)?;
        let algorithm = file.signing.as_ref().and_then(|signing| signing.algorithm.clone());
        Some(AuthorizationServerDeclaration {
            signing: SigningDeclaration {
                algorithm: algorithm.unwrap_or_else(|| Located::new(SIGNING_ALGORITHM.to_owned(), id.location)),
                rotate_every: file
                    .signing
                    .as_ref()
                    .and_then(|signing| signing.rotate_every)
                    .map(|period| period.0),
            },
            id,
            audience: file.audience.clone(),
            token_profile: file.token_profile.unwrap_or_default(),
            scopes: file.scopes.iter().flatten().map(scope).collect(),
            claims: file
                .claims
                .iter()
                .flatten()
                .map(|claim| ClaimDeclaration {
                    name: claim.name.clone(),
                    value: claim.value.clone(),
                    place: claim.r#in,
                    scopes: claim.scopes.clone().unwrap_or_default(),
                })
                .collect(),
            policies: file.policies.iter().flatten().map(policy).collect(),
            options: self.server_options(file),
        })
    }

    /// A client.
    pub(crate) fn client(&mut self, file: &ClientFile) -> Option<ClientDeclaration> {
        let id = self.identifier(&file.id, ClientId::parse)?;
        let assigned = file.assigned.as_ref();
        let secret = |secret: &super::file::access::ClientSecretFile| ClientSecretDeclaration {
            location: secret.at,
            sha256: secret.sha256.0,
        };
        Some(ClientDeclaration {
            id,
            kind: file.r#type.value,
            kind_location: file.r#type.location,
            grants: file.grants.clone(),
            redirect_uris: file.redirect_uris.clone().unwrap_or_default(),
            secrets: file.secrets.iter().flatten().map(secret).collect(),
            assigned_groups: assigned
                .and_then(|assigned| assigned.groups.clone())
                .unwrap_or_default(),
            assigned_users: assigned.and_then(|assigned| assigned.users.clone()).unwrap_or_default(),
            options: self.client_options(file),
        })
    }

    /// The users: in dev only, since their passwords stand in plain text.
    pub(crate) fn users(&mut self, file: Option<Vec<UserFile>>) -> Vec<UserDeclaration> {
        let users = file.unwrap_or_default();
        if let (false, Some(user)) = (self.dev, users.first()) {
            let hint = "users live in the store; in the file they are for `dev: true` only";
            self.error(
                "users_outside_dev",
                user.at,
                "users with plain passwords stand in the file",
                hint,
            );
        }
        users
            .into_iter()
            .map(|user| UserDeclaration {
                login: user.login,
                password: user.password.0,
                groups: user.groups.unwrap_or_default(),
                profile: user.profile.map(|profile| profile.0).unwrap_or_default(),
            })
            .collect()
    }

    /// What is declared for local authorization servers where there is none.
    pub(crate) fn unused(&mut self, what: &str, at: Option<Location>) {
        if let Some(at) = at {
            let message = format!("{what} are declared, and no local authorization server");
            let hint = "an external authorization server has its own: leave them out";
            self.warn("unused_declaration", at, message, hint);
        }
    }
}

fn scope(ScopeFile(scope): &ScopeFile) -> ScopeDeclaration {
    ScopeDeclaration {
        name: scope.name.clone(),
        description: scope.description.clone(),
        consent: scope.consent.unwrap_or_default(),
        default: scope.default.unwrap_or(false),
        metadata: scope.metadata.unwrap_or(false),
    }
}

fn policy(policy: &PolicyFile) -> PolicyDeclaration {
    PolicyDeclaration {
        name: policy.name.clone(),
        clients: policy.clients.clone(),
        rules: policy.rules.iter().map(rule).collect(),
    }
}

fn rule(rule: &RuleFile) -> RuleDeclaration {
    RuleDeclaration {
        name: rule.name.clone(),
        grants: rule.grants.clone(),
        groups: rule.groups.clone().unwrap_or_default(),
        exclude_groups: rule.exclude_groups.clone().unwrap_or_default(),
        users: rule.users.clone().unwrap_or_default(),
        scopes: rule.scopes.clone(),
        access_token: Located::new(rule.access_token.value.0, rule.access_token.location),
        refresh_token: rule.refresh_token.as_ref().map(|refresh| RefreshDeclaration {
            lifetime: refresh.lifetime.0,
            idle: refresh.idle.map(|idle| idle.0),
        }),
    }
}
