//! Who an administrator is, and what each role may do.
//!
//! A request needs both: the *scope* of its token says what the client asked for, the *role* what the client was
//! given. Either alone is nothing.

use crate::admin::AdminError;
use crate::issuer::Issuer;
use crate::issuer::management::ManagementToken;
use crate::model::id::ClientId;
use crate::model::scope::ScopeSet;
use crate::oauth::document::{Role, RoleBindingDocument};

/// What is done to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// It is looked at.
    Read,
    /// It is made, changed or deleted.
    Manage,
}

/// Kinds of objects, as far as roles tell them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Resource {
    /// Authorization servers, with their scopes, claims, keys, clients and tokens.
    AuthorizationServers,
    /// The policies and rules of authorization servers.
    Policies,
    /// Clients as Okta's apps, their credentials and assignments.
    Apps,
    /// Clients as RFC 7591 has them, and their registration.
    Clients,
    /// Users, and what they are in.
    Users,
    /// Groups, and who is in them.
    Groups,
    /// The roles of administrators.
    Roles,
    /// The audit log.
    Logs,
}

impl Action {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Read, Self::Manage];

    const fn suffix(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Manage => "manage",
        }
    }
}

impl Resource {
    /// Every kind.
    pub const ALL: [Self; 8] = [
        Self::AuthorizationServers,
        Self::Policies,
        Self::Apps,
        Self::Clients,
        Self::Users,
        Self::Groups,
        Self::Roles,
        Self::Logs,
    ];

    /// The scopes any of which lets a token do this: `{family}.read`, or `{family}.manage`, which includes it.
    const fn scope_families(self) -> &'static [&'static str] {
        match self {
            Self::AuthorizationServers => &["okta.authorizationServers"],
            // As in Okta's API, who has the server has its policies.
            Self::Policies => &["okta.authorizationServers", "okta.policies"],
            Self::Apps => &["okta.apps"],
            Self::Clients => &["okta.clients"],
            Self::Users => &["okta.users"],
            Self::Groups => &["okta.groups"],
            Self::Roles => &["okta.roles"],
            Self::Logs => &["okta.logs"],
        }
    }
}

/// Where something is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place<'a> {
    /// Everywhere: a new server, a client, a user.
    Everywhere,
    /// At this authorization server.
    Server(&'a str),
    /// At one authorization server at least.
    Some,
}

/// **The** table: whether a role may do this to this kind of object, where it reaches.
#[must_use]
pub const fn may(role: Role, action: Action, resource: Resource) -> bool {
    use Resource as R;
    match (role, action) {
        (Role::SuperAdmin, _) | (Role::ReadOnlyAdmin, Action::Read) => true,
        (Role::ReadOnlyAdmin, Action::Manage) => false,
        // Whom it assigns to clients it has to see; what other administrators may do it has not.
        (Role::ApiAccessManagementAdmin, Action::Read) => !matches!(resource, R::Roles),
        (Role::ApiAccessManagementAdmin, Action::Manage) => {
            matches!(resource, R::AuthorizationServers | R::Policies | R::Apps | R::Clients)
        }
    }
}

/// Whether objects of a kind are at an authorization server, so that a role bound to one can reach them.
const fn is_at_a_server(resource: Resource) -> bool {
    matches!(resource, Resource::AuthorizationServers | Resource::Policies)
}

/// An administrator: a client that has shown a good token of the management authorization server, with the roles
/// that it holds.
#[derive(Debug)]
#[must_use]
pub struct Administrator {
    client: ClientId,
    scopes: ScopeSet,
    roles: Vec<RoleBindingDocument>,
}

impl Administrator {
    /// Reads a bearer token.
    ///
    /// # Errors
    /// [`AdminError::Token`] for anything but a good one.
    pub fn authenticate(issuer: &Issuer, token: &str) -> Result<Self, AdminError> {
        let ManagementToken { client, scopes } = issuer.management_token(token)?;
        let directory = issuer.directory();
        let held = directory
            .roles()
            .filter(|role| role.document.assignee.is_client(&client));
        Ok(Self {
            roles: held.map(|role| role.document.clone()).collect(),
            client,
            scopes,
        })
    }

    /// The client that acts: the actor of the audit log.
    #[must_use]
    pub fn client(&self) -> &ClientId {
        &self.client
    }

    /// Whether it may do this here.
    ///
    /// # Errors
    /// [`AdminError::Scope`] if the token was not asked for this, [`AdminError::Role`] if no role lets it.
    pub fn may(&self, action: Action, resource: Resource, place: Place<'_>) -> Result<(), AdminError> {
        let families = resource.scope_families();
        let holds = |family: &&str| {
            let held = |suffix| {
                let wanted = format!("{family}.{suffix}");
                self.scopes.iter().any(|scope| scope.as_str() == wanted)
            };
            held("manage") || (action == Action::Read && held("read"))
        };
        if !families.iter().any(holds) {
            return Err(AdminError::Scope(format!("{}.{}", families[0], action.suffix())));
        }
        let lets = |role: &RoleBindingDocument| may(role.role, action, resource) && reaches(role, resource, place);
        if self.roles.iter().any(lets) {
            Ok(())
        } else {
            Err(AdminError::Role)
        }
    }

    /// Whether it sees an authorization server in a list.
    #[must_use]
    pub fn sees_server(&self, id: &str) -> bool {
        self.may(Action::Read, Resource::AuthorizationServers, Place::Server(id))
            .is_ok()
    }

    /// Whether it holds the role of a super administrator everywhere: who else may give roles?
    #[must_use]
    pub fn is_super(&self) -> bool {
        let everywhere = |role: &RoleBindingDocument| role.role == Role::SuperAdmin && role.servers.is_none();
        self.roles.iter().any(everywhere)
    }

    /// An administrator who has proven nothing.
    #[cfg(test)]
    pub(crate) fn assertion_for_test(client: &str, scopes: &str, roles: Vec<RoleBindingDocument>) -> Self {
        Self {
            client: ClientId::parse(client).expect("an identifier"),
            scopes: ScopeSet::parse(scopes).expect("scopes"),
            roles,
        }
    }
}

fn reaches(role: &RoleBindingDocument, resource: Resource, place: Place<'_>) -> bool {
    let Some(servers) = &role.servers else { return true };
    is_at_a_server(resource)
        && match place {
            Place::Everywhere => false,
            Place::Server(id) => servers.iter().any(|server| server == id),
            Place::Some => !servers.is_empty(),
        }
}
