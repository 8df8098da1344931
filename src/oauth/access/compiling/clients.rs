//! Clients and users.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use crate::model::digest::Digest;
use crate::model::id::ClientId;
use crate::model::location::Located;
use crate::oauth::access::User;
use crate::oauth::access::compiling::{Compiler, quoted};
use crate::oauth::client::Client;
use crate::oauth::declared::{ClientDeclaration, ClientKind, UserDeclaration};
use crate::oauth::grant::GrantType;
use crate::oauth::redirect;

impl Compiler<'_> {
    pub(super) fn clients(&mut self, declared: &[ClientDeclaration]) -> HashMap<ClientId, Arc<Client>> {
        let mut clients = HashMap::new();
        for declaration in declared {
            let client = self.client(declaration);
            if clients.insert(client.id.clone(), Arc::new(client)).is_some() {
                let message = format!("the client `{}` is declared twice", declaration.id.value);
                self.error(
                    "duplicate_client",
                    declaration.id.location,
                    message,
                    "give each its own identifier",
                );
            }
        }
        clients
    }

    fn client(&mut self, declared: &ClientDeclaration) -> Client {
        let id = &declared.id;
        let name = id.value.as_str();
        if name == "ALL_CLIENTS" || !name.bytes().all(|byte| (0x21..=0x7e).contains(&byte)) || name.len() > 100 {
            self.error(
                "invalid_client_id",
                id.location,
                format!("`{name}` is no client identifier"),
                "use at most 100 printable ASCII characters without space (RFC 6749 appendix A.1)",
            );
        }
        let mut grants = BTreeSet::new();
        for name in &declared.grants {
            let Some(grant) = self.grant(name) else { continue };
            if grant.is_allowed_for(declared.kind) {
                grants.insert(grant);
            } else {
                let kind = kind_name(declared.kind);
                let allowed: Vec<&str> = GrantType::ALL
                    .into_iter()
                    .filter(|grant| grant.is_allowed_for(declared.kind))
                    .map(GrantType::as_str)
                    .collect();
                self.error(
                    "grant_not_allowed_for_type",
                    name.location,
                    format!("a client of type `{kind}` cannot use the grant `{}`", grant.as_str()),
                    format!("it can use {}", quoted(&allowed)),
                );
            }
        }
        if declared.grants.is_empty() {
            self.error(
                "no_grant",
                id.location,
                format!("the client `{name}` has no grant type"),
                "say which ones it may use: `grants: […]`",
            );
        }
        let needs_code = matches!(declared.kind, ClientKind::Web | ClientKind::Native);
        if needs_code
            && !declared.grants.is_empty()
            && !declared.grants.iter().any(|grant| grant.value == "authorization_code")
        {
            self.error(
                "missing_authorization_code",
                declared.kind_location,
                format!(
                    "a client of type `{}` signs people in, and lacks the grant `authorization_code`",
                    kind_name(declared.kind)
                ),
                "add it, or use `type: service` for a client without a person",
            );
        }
        for uri in &declared.redirect_uris {
            if let Err(refusal) = redirect::may_register(&uri.value, declared.kind) {
                self.error(
                    refusal.code(),
                    uri.location,
                    format!("the redirect URI `{}` is refused: {refusal}", uri.value),
                    refusal.hint(),
                );
            }
        }
        let needs_redirect = grants.contains(&GrantType::AuthorizationCode) || grants.contains(&GrantType::Implicit);
        if needs_redirect && declared.redirect_uris.is_empty() {
            self.error(
                "missing_redirect_uri",
                id.location,
                format!("the client `{name}` signs people in and has no redirect URI"),
                "add `redirect_uris: […]`",
            );
        }
        for group in &declared.assigned_groups {
            self.group(group);
        }
        for login in &declared.assigned_users {
            self.login(login);
        }
        self.client_options(declared);
        let texts = |list: &[Located<String>]| list.iter().map(|item| item.value.clone()).collect();
        Client {
            id: id.value.clone(),
            kind: declared.kind,
            grants,
            redirect_uris: declared.redirect_uris.iter().map(|uri| uri.value.clone()).collect(),
            credentials: self.credentials(declared),
            assigned_groups: texts(&declared.assigned_groups),
            assigned_users: texts(&declared.assigned_users),
            options: Arc::new(declared.options.clone()),
        }
    }

    pub(super) fn users(&mut self, declared: &[UserDeclaration]) -> BTreeMap<String, Arc<User>> {
        let mut users = BTreeMap::new();
        for declaration in declared {
            for group in &declaration.groups {
                self.group(group);
            }
            let user = User {
                login: declaration.login.value.clone(),
                groups: declaration.groups.iter().map(|group| group.value.clone()).collect(),
                profile: declaration.profile.clone(),
                password: Digest::of(declaration.password.expose_secret().as_bytes()),
            };
            if users.insert(user.login.clone(), Arc::new(user)).is_some() {
                let message = format!("the user `{}` is declared twice", declaration.login.value);
                self.error(
                    "duplicate_user",
                    declaration.login.location,
                    message,
                    "leave one of them out",
                );
            }
        }
        users
    }
}

pub(super) fn kind_name(kind: ClientKind) -> &'static str {
    match kind {
        ClientKind::Web => "web",
        ClientKind::Native => "native",
        ClientKind::Browser => "browser",
        ClientKind::Service => "service",
    }
}
