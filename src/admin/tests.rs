//! What each role may do: every role × action × kind of object × place, against a table.

use std::fmt::Write as _;

use crate::admin::{Action, AdminError, Administrator, Place, Resource};
use crate::issuer::management::SCOPES;
use crate::oauth::document::{Assignee, Role, RoleBindingDocument};

fn binding(role: Role, servers: Option<&[&str]>) -> RoleBindingDocument {
    RoleBindingDocument {
        assignee: Assignee::Client("admin".to_owned()),
        role,
        servers: servers.map(|ids| ids.iter().map(|id| (*id).to_owned()).collect()),
    }
}

fn with(role: Role, servers: Option<&[&str]>) -> Administrator {
    Administrator::assertion_for_test("admin", &SCOPES.join(" "), vec![binding(role, servers)])
}

/// For each action and kind: `*` everywhere, `x` at the server `x`, `-` nowhere.
fn reach(who: &Administrator, action: Action, resource: Resource) -> &'static str {
    let may = |place| who.may(action, resource, place).is_ok();
    match (
        may(Place::Everywhere),
        may(Place::Server("x")),
        may(Place::Server("y")),
        may(Place::Some),
    ) {
        (true, true, true, true) => "*",
        (false, true, false, true) => "x",
        (false, false, false, false) => "-",
        odd => panic!("no such reach: {odd:?}"),
    }
}

#[test]
fn case_155_each_role_may_do_what_the_table_says_and_nothing_else() {
    let mut table = String::new();
    for role in Role::ALL {
        for servers in [None, Some(&["x"][..]), Some(&[][..])] {
            let who = with(role, servers);
            let at = servers.map_or(
                "everywhere",
                |servers| if servers.is_empty() { "nowhere" } else { "at x" },
            );
            write!(table, "{} {at}:", role.as_str()).expect("text");
            for resource in Resource::ALL {
                let (read, manage) = (
                    reach(&who, Action::Read, resource),
                    reach(&who, Action::Manage, resource),
                );
                write!(table, " {resource:?}={read}{manage}").expect("text");
            }
            table.push('\n');
        }
    }
    let golden = "\
SUPER_ADMIN everywhere: AuthorizationServers=** Policies=** Apps=** Clients=** Users=** Groups=** Roles=** Logs=**
SUPER_ADMIN at x: AuthorizationServers=xx Policies=xx Apps=-- Clients=-- Users=-- Groups=-- Roles=-- Logs=--
SUPER_ADMIN nowhere: AuthorizationServers=-- Policies=-- Apps=-- Clients=-- Users=-- Groups=-- Roles=-- Logs=--
API_ACCESS_MANAGEMENT_ADMIN everywhere: AuthorizationServers=** Policies=** Apps=** Clients=** Users=*- Groups=*- Roles=-- Logs=*-
API_ACCESS_MANAGEMENT_ADMIN at x: AuthorizationServers=xx Policies=xx Apps=-- Clients=-- Users=-- Groups=-- Roles=-- Logs=--
API_ACCESS_MANAGEMENT_ADMIN nowhere: AuthorizationServers=-- Policies=-- Apps=-- Clients=-- Users=-- Groups=-- Roles=-- Logs=--
READ_ONLY_ADMIN everywhere: AuthorizationServers=*- Policies=*- Apps=*- Clients=*- Users=*- Groups=*- Roles=*- Logs=*-
READ_ONLY_ADMIN at x: AuthorizationServers=x- Policies=x- Apps=-- Clients=-- Users=-- Groups=-- Roles=-- Logs=--
READ_ONLY_ADMIN nowhere: AuthorizationServers=-- Policies=-- Apps=-- Clients=-- Users=-- Groups=-- Roles=-- Logs=--
";
    // `okta.logs.manage` is no scope: nobody manages the log.
    let golden = golden.replace("Logs=**", "Logs=*-");
    assert_eq!(table, golden);
}

#[test]
fn each_kind_and_action_needs_its_own_scope() {
    let mut table = String::new();
    for scope in SCOPES {
        let who = Administrator::assertion_for_test("admin", scope, vec![binding(Role::SuperAdmin, None)]);
        write!(table, "{scope}:").expect("text");
        for resource in Resource::ALL {
            for action in Action::ALL {
                if who.may(action, resource, Place::Everywhere).is_ok() {
                    write!(table, " {action:?}{resource:?}").expect("text");
                }
            }
        }
        table.push('\n');
    }
    let golden = "\
okta.apps.manage: ReadApps ManageApps
okta.apps.read: ReadApps
okta.authorizationServers.manage: ReadAuthorizationServers ManageAuthorizationServers ReadPolicies ManagePolicies
okta.authorizationServers.read: ReadAuthorizationServers ReadPolicies
okta.clients.manage: ReadClients ManageClients
okta.clients.read: ReadClients
okta.groups.manage: ReadGroups ManageGroups
okta.groups.read: ReadGroups
okta.logs.read: ReadLogs
okta.policies.manage: ReadPolicies ManagePolicies
okta.policies.read: ReadPolicies
okta.roles.manage: ReadRoles ManageRoles
okta.roles.read: ReadRoles
okta.users.manage: ReadUsers ManageUsers
okta.users.read: ReadUsers
";
    assert_eq!(table, golden);
}

#[test]
fn a_scope_without_a_role_and_a_role_without_a_scope_are_nothing() {
    let without_role = Administrator::assertion_for_test("admin", &SCOPES.join(" "), Vec::new());
    let without_scope = Administrator::assertion_for_test("admin", "", vec![binding(Role::SuperAdmin, None)]);
    for resource in Resource::ALL {
        for place in [Place::Everywhere, Place::Server("x"), Place::Some] {
            let refused = without_role.may(Action::Read, resource, place);
            assert!(matches!(refused, Err(AdminError::Role)), "{refused:?}");
            let refused = without_scope.may(Action::Read, resource, place);
            assert!(matches!(refused, Err(AdminError::Scope(_))), "{refused:?}");
        }
    }
}
